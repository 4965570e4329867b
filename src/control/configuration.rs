//! The configuration in the API: what is in force, which after a change of the configuration need not be what the file
//! says.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use super::state::Control;
use crate::config::Config;

/// `GET /api/v1/config`.
pub(super) async fn show(State(control): State<Arc<Control>>) -> Json<InForce> {
    let (config, restart_needed) = in_force(&control.first_config, &control.relay.config());
    Json(InForce { config, restart_needed })
}

/// The configuration in force, and what waits for a restart.
#[derive(Serialize)]
pub(super) struct InForce {
    config: serde_json::Value,
    /// Keys whose values in the file differ from those in force, and take effect only after a restart.
    restart_needed: Vec<&'static str>,
}

/// What is in force, after `newest` has replaced the one of the start, and what of `newest` is not in force.
fn in_force(first: &Config, newest: &Config) -> (serde_json::Value, Vec<&'static str>) {
    let [first_json, mut config] =
        [first, newest].map(|it| serde_json::to_value(it.without_secrets()).unwrap_or_default());
    let restart_needed = first.needs_restart(newest);
    for key in &restart_needed {
        let pointer = format!("/{}", key.replace('.', "/"));
        if let (Some(old), Some(new)) = (first_json.pointer(&pointer), config.pointer_mut(&pointer)) {
            *new = old.clone();
        }
    }
    (config, restart_needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_one_in_force_and_names_what_waits_for_a_restart() {
        let first = toml("cores = 2\nplay.max_lag = '7s'\nlimits.streams = 70\napi.token = 'of-the-start'");
        assert_eq!(in_force(&first, &first).1, [""; 0]);
        let newest = toml("cores = 3\nplay.max_lag = '9s'\nplay.send_timeout = '9s'\nlimits.streams = 90");
        let (config, restart_needed) = in_force(&first, &newest);
        assert_eq!(restart_needed, ["cores", "play.max_lag", "limits.streams", "api.token"]);
        for (pointer, value) in [
            ("/cores", 2.into()),
            ("/play/max_lag", "7s".into()),
            ("/play/send_timeout", "9s".into()),
            ("/limits/streams", 70.into()),
            ("/api/token", "***".into()),
        ] {
            assert_eq!(config.pointer(pointer), Some::<&serde_json::Value>(&value), "{pointer}");
        }
    }

    #[test]
    fn each_key_that_needs_a_restart_is_in_the_json() {
        let first = toml("api.token = 'of-the-start'");
        let newest = toml(
            "cores = 77\npin_cores = true\nlisten.rtmp = ['127.0.0.1:1']\nlisten.http = ['127.0.0.1:3']\n\
             play.max_lag = '77s'\nplay.stream_buffer = '77MiB'\nplay.zero_copy_threshold = '77KiB'\nlimits.streams = 77\n\
             limits.memory_budget = '7GiB'\napi.listen = ['127.0.0.1:2']\napi.token_file = '/x'\nlog.format = 'json'",
        );
        let (config, restart_needed) = in_force(&first, &newest);
        assert_eq!(restart_needed.len(), 13);
        let first = serde_json::to_value(first.without_secrets()).unwrap();
        for key in restart_needed {
            let pointer = format!("/{}", key.replace('.', "/"));
            assert!(config.pointer(&pointer).is_some(), "{key}");
            assert_eq!(config.pointer(&pointer), first.pointer(&pointer), "{key}");
        }
    }

    fn toml(text: &str) -> Config {
        Config::from_toml("fanfare.toml", text).unwrap()
    }
}
