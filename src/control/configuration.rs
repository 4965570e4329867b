//! The configuration in the API: what is in force, which after a change of the file need not be what that says; and the
//! request to read it again.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Serialize;

use super::{client::Client, error::HttpError, rights::Granted, state::Control};
use crate::reload::Reload;

/// `GET /api/v1/config`.
pub(super) async fn show(State(control): State<Arc<Control>>) -> Json<InForce> {
    let (config, restart_needed) = (control.relay.config().shown(), control.relay.restart_needed());
    Json(InForce { config, restart_needed: restart_needed.to_vec() })
}

/// The configuration in force, and what waits for a restart.
#[derive(Serialize)]
pub(super) struct InForce {
    config: serde_json::Value,
    /// Keys whose values in the file differ from those in force, and take effect only after a restart.
    restart_needed: Vec<&'static str>,
}

/// What a reload has changed.
#[derive(Serialize)]
pub(super) struct Reloaded {
    /// Keys whose new values are in force.
    changed: Vec<String>,
    /// Keys whose values in the file differ from those in force, and take effect only after a restart.
    restart_needed: Vec<&'static str>,
}

/// `POST /api/v1/reload`.
pub(super) async fn reload(
    State(control): State<Arc<Control>>,
    Extension(client): Extension<Client>,
    Extension(granted): Extension<Granted>,
) -> Result<Json<Reloaded>, HttpError> {
    if !granted.write {
        return Err(HttpError::new(StatusCode::FORBIDDEN, "this request needs [api] token"));
    }
    // It reads files, which may take a moment.
    let by = format!("API, {}", client.peer);
    let outcome = tokio::task::spawn_blocking(move || control.reloader.reload(&control.relay, &by)).await;
    let outcome = outcome.unwrap_or_else(|error| Err(error.to_string()));
    let Reload { changed, restart_needed } =
        outcome.map_err(|reason| HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, reason))?;
    Ok(Json(Reloaded { changed, restart_needed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access, config::Config, net, reload::Reloader};

    fn toml(text: &str) -> Config {
        Config::from_toml("fanfare.toml", text).unwrap()
    }

    /// What the API shows after `newest` has replaced `first`.
    async fn in_force(first: Config, newest: Config) -> (serde_json::Value, Vec<&'static str>) {
        let relay = net::without_cores(first, Box::new(access::Open));
        relay.set_config(newest);
        let reloader = Reloader::new(Box::new(|| Err("there is no file".to_owned())));
        let control = Control::new(relay, reloader, Arc::default(), String::new(), Vec::new());
        let Json(InForce { config, restart_needed }) = show(State(Arc::new(control))).await;
        (config, restart_needed)
    }

    #[tokio::test]
    async fn the_configuration_is_the_one_in_force_and_names_what_waits_for_a_restart() {
        let first = toml("cores = 2\nplay.max_lag = '7s'\nlimits.streams = 70\napi.token = 'of-the-start'");
        assert_eq!(in_force(first.clone(), first.clone()).await.1, [""; 0]);
        let newest = toml("cores = 3\nplay.max_lag = '9s'\nplay.send_timeout = '9s'\nlimits.streams = 90");
        let (config, restart_needed) = in_force(first, newest).await;
        assert_eq!(restart_needed, ["cores", "play.max_lag", "api.token"]);
        for (pointer, value) in [
            ("/cores", 2.into()),
            ("/play/max_lag", "7s".into()),
            ("/play/send_timeout", "9s".into()),
            ("/limits/streams", 90.into()),
            ("/api/token", "***".into()),
        ] {
            assert_eq!(config.pointer(pointer), Some::<&serde_json::Value>(&value), "{pointer}");
        }
    }
}
