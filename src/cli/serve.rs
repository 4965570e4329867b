//! Runs the relay, reads its configuration again on request, and tells its supervisor how it goes.

#![forbid(unsafe_code)]

use std::{
    cell::OnceCell,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare::{
    access::{Access, KeyRing, Rules},
    certificates::{self, Renewals, Sessions},
    config::{Config, Ignored, LogFormat},
    control::Started,
    logging,
    net::{self, Handle, Observer},
    reload::{Loaded, Reloader},
    system_check,
    systemd::Supervisor,
};

use super::{Failure, banner::announce, ignored_variables, options::Options, unix_seconds};

/// The rules of this configuration. The error is one line.
pub fn rules(config: &Config, key_ring: &KeyRing) -> Result<Box<dyn Access>, String> {
    Ok(Box::new(Rules::new(config, key_ring.clone(), unix_seconds)?))
}

/// Runs until a signal stops it, and reads these options again whenever that is requested. The error is one line.
pub fn serve(config: Config, options: Options) -> Result<(), Failure> {
    let (key_ring, sessions) = (KeyRing::new(), Arc::new(Sessions::default()));
    let access = rules(&config, &key_ring).map_err(Failure::Configuration)?;
    let tls = certificates::load(&config, &sessions).map_err(Failure::Configuration)?;
    logging::start(&config.log).map_err(Failure::Configuration)?;
    for Ignored { variable, similar } in ignored_variables() {
        tracing::warn!(variable, similar, "environment variable ignored: no such option");
    }
    if let Some(file_limit) = system_check::too_few_files(&config) {
        let connections = config.limits.connections;
        tracing::warn!(
            file_limit,
            connections,
            "file limit below limits.connections: raise it (LimitNOFILE=, ulimit -Hn), or lower limits.connections"
        );
    }
    let (format, is_for_networks_nearby) = (config.log.format, config.has_default_publishers());
    let (keys, tickets) = (key_ring.clone(), sessions.clone());
    let load = move || {
        let config = options.clone().config()?;
        let tls = certificates::load(&config, &sessions)?;
        // The last step, for it drops the keys that another issuer of tokens has published.
        let access = rules(&config, &key_ring)?;
        Ok(Loaded { config, access, tls })
    };
    let supervisor = Supervisor::of_environment();
    let status = Arc::new(Mutex::new(Status::default()));
    let reloader = Reloader::new(Box::new({
        let status = status.clone();
        move || {
            supervisor.reloading();
            let loaded = load();
            let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
            status.fault = loaded.as_ref().err().cloned();
            supervisor.ready(&status.to_string());
            loaded
        }
    }));
    let hooks = OnceCell::new();
    let service = Service {
        supervisor,
        reloader: reloader.clone(),
        http: OnceCell::new(),
        format,
        is_for_networks_nearby,
        status,
    };
    let beside = async |relay: Handle| {
        if let Some(tls) = tls {
            relay.set_tls(tls);
        }
        let reload = reloader.clone().start(relay.clone());
        reload.map_err(|error| format!("cannot start a thread: {error}"))?;
        // Both are set only here, and once.
        let _ = hooks.set(fanfare::hooks::start(relay.clone(), keys)?);
        let renewals = Arc::new(Renewals::default());
        if let Some(started) =
            fanfare::control::start(relay.clone(), reloader.clone(), renewals.clone()).await?
        {
            let _ = service.http.set(started);
        }
        // Once an authority can ask over HTTP.
        fanfare::renewal::start(relay, tickets, renewals)?;
        Ok(())
    };
    let outcome = net::run(config, access, beside, &service);
    if let Some(started) = service.http.into_inner() {
        started.end_events();
    }
    if let Some(started) = hooks.into_inner() {
        started.finish();
    }
    outcome.map_err(Failure::Other)
}

/// What is told to people and to the supervisor while the relay runs.
struct Service {
    supervisor: Supervisor,
    reloader: Arc<Reloader>,
    /// Once it has started.
    http: OnceCell<Started>,
    format: LogFormat,
    is_for_networks_nearby: bool,
    status: Arc<Mutex<Status>>,
}

/// What the supervisor shows of it.
#[derive(Default, Clone, PartialEq, Eq)]
struct Status {
    publishers: u64,
    players: u64,
    /// Why the last reload has failed.
    fault: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} publishers, {} players", self.publishers, self.players)?;
        self.fault.iter().try_for_each(|fault| write!(f, "; reload failed: {fault}"))
    }
}

impl Observer for Service {
    fn started(&self, relay: &Handle) {
        announce(relay.addresses(), self.http.get(), self.format, self.is_for_networks_nearby);
        self.supervisor.ready(&Status::default().to_string());
    }

    fn reload(&self) {
        self.reloader.request();
    }

    fn second(&self, relay: &Handle) {
        // Without it the supervisor ends the process: a core that stands still does not come back by itself.
        if relay.stalled().is_none() {
            self.supervisor.alive();
        }
        if relay.is_draining() {
            return;
        }
        let (mut publishers, mut players) = (0, 0);
        for core in relay.cores() {
            publishers += core.publishers;
            players += core.players.iter().sum::<u64>();
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if (status.publishers, status.players) != (publishers, players) {
            (status.publishers, status.players) = (publishers, players);
            self.supervisor.status(&status.to_string());
        }
    }

    fn stopping(&self) {
        self.supervisor.stopping("stopping: players are notified");
    }
}
