//! Puts the configuration in force that is in the file by now, at a signal or a request. How it is read is decided
//! elsewhere.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{sync::Notify, task::spawn_blocking};

use super::handle::Handle;
use crate::{access::Access, config::Config};

/// Reads configuration and rules as at the start. The error is one line, with its place in the file.
pub type Load = dyn Fn() -> Result<(Config, Box<dyn Access>), String> + Send + Sync;

/// What a reload has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Keys whose new values are in force.
    pub changed: Vec<String>,
    /// Keys whose newest values take effect only after a restart.
    pub restart_needed: Vec<&'static str>,
}

/// One reload at a time.
pub(super) struct Loader(Mutex<Box<Load>>);

impl Loader {
    pub(super) fn new(load: Box<Load>) -> Self {
        Self(Mutex::new(load))
    }

    pub(super) fn reload(&self, relay: &Handle, by: &str) -> Result<Reload, String> {
        // Nothing is left half done by a panic: what is put in force comes after all that can fail.
        let load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, access) = load().inspect_err(|reason| {
            tracing::warn!(by, reason, "reload failed: nothing has changed");
        })?;
        let before = relay.config();
        relay.set_access(access);
        relay.set_config(config);
        let changed = before.changes(&relay.config()).into_iter().map(|change| change.key).collect();
        let reload = Reload { changed, restart_needed: relay.restart_needed().to_vec() };
        let (changed, restart_needed) = (reload.changed.join(" "), reload.restart_needed.join(" "));
        tracing::info!(by, changed, restart_needed, "configuration reloaded");
        Ok(reload)
    }
}

/// Reloads whenever it is requested. Requests that come meanwhile are one.
pub(super) async fn on_request(relay: Handle, requested: Arc<Notify>) {
    loop {
        requested.notified().await;
        let relay = relay.clone();
        // Its outcome is in the log.
        let _ = spawn_blocking(move || relay.reload("SIGHUP")).await;
    }
}
