//! Puts the configuration in force that is in the file by now, at a signal or a request. How it is read is decided by
//! the command line.

#![forbid(unsafe_code)]

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use crate::{access::Access, beside, config::Config, endpoint::TlsConfigs, net::Handle};

/// What is read at the start, and again at each reload.
pub struct Loaded {
    /// Every option.
    pub config: Config,
    /// The rules.
    pub access: Box<dyn Access>,
    /// Certificates and keys; none where nothing is encrypted.
    pub tls: Option<TlsConfigs>,
}

/// Reads all of it as at the start. The error is one line, with its place in the file.
pub type Load = dyn Fn() -> Result<Loaded, String> + Send + Sync;

/// Reads the configuration again and puts it in force, one reload at a time.
pub struct Reloader {
    load: Mutex<Box<Load>>,
    /// Has room for one request: those that come before it is looked at are the same one.
    request: SyncSender<()>,
    requests: Mutex<Option<Receiver<()>>>,
}

/// What a reload has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Keys whose new values are in force.
    pub changed: Vec<String>,
    /// Keys whose newest values take effect only after a restart.
    pub restart_needed: Vec<&'static str>,
}

impl Reloader {
    /// Reads with this.
    pub fn new(load: Box<Load>) -> Arc<Self> {
        let (request, requests) = sync_channel(1);
        Arc::new(Self { load: Mutex::new(load), request, requests: Mutex::new(Some(requests)) })
    }

    /// Requests a reload, and waits for nothing: the outcome is in the log.
    pub fn request(&self) {
        // Its error is that one is requested already.
        let _ = self.request.try_send(());
    }

    /// Starts a thread that does what is requested, those before its start included. Once is enough.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(self: Arc<Self>, relay: Handle) -> io::Result<()> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let run = move || {
            for () in requests.into_iter().flatten() {
                // Its outcome is in the log.
                let _ = self.reload(&relay, "SIGHUP");
            }
        };
        beside::start("reload", run)
    }

    /// Reads configuration, rules and certificates, and puts them in force. `by` is for the log. It reads files, and waits for another
    /// reload that is under way.
    ///
    /// # Errors
    /// What is wrong, as one line with its place in the file. Nothing has changed then.
    pub fn reload(&self, relay: &Handle, by: &str) -> Result<Reload, String> {
        // Nothing is left half done by a panic: what is put in force comes after all that can fail.
        let load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let Loaded { config, access, tls } =
            load().inspect_err(|reason| tracing::warn!(by, reason, "reload failed: nothing has changed"))?;
        let before = relay.config();
        relay.set_access(access);
        if let Some(tls) = tls {
            relay.set_tls(tls);
        }
        relay.set_config(config);
        let changed = before.changes(&relay.config()).into_iter().map(|change| change.key).collect();
        let reload = Reload { changed, restart_needed: relay.restart_needed().to_vec() };
        let (changed, restart_needed) = (reload.changed.join(" "), reload.restart_needed.join(" "));
        tracing::info!(by, changed, restart_needed, "configuration reloaded");
        Ok(reload)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;
    use crate::{access::Open, net};

    #[test]
    fn one_reload_runs_at_a_time_and_requests_that_wait_are_one() {
        let (entered, has_entered) = sync_channel(0);
        let (leave, may_leave) = sync_channel::<()>(0);
        let may_leave = Mutex::new(may_leave);
        let inside = AtomicUsize::new(0);
        let reloader = Reloader::new(Box::new(move || {
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "another one is under way");
            entered.send(()).unwrap();
            let _ = may_leave.lock().unwrap().recv();
            inside.fetch_sub(1, Ordering::Relaxed);
            Err("nothing to read".to_owned())
        }));
        let relay = net::without_cores(Config::default(), Box::new(Open));
        reloader.request();
        reloader.clone().start(relay.clone()).unwrap();
        has_entered.recv().unwrap();
        // While the first one is under way.
        (0..100).for_each(|_| reloader.request());
        let by_the_api = thread::spawn({
            let reloader = reloader.clone();
            move || reloader.reload(&relay, "API")
        });
        for _ in 0..2 {
            leave.send(()).unwrap();
            has_entered.recv().unwrap();
        }
        leave.send(()).unwrap();
        assert_eq!(by_the_api.join().unwrap(), Err("nothing to read".to_owned()));
        assert!(has_entered.try_recv().is_err(), "of a hundred requests one was left");
    }
}
