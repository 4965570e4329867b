//! What all cores share, and the control plane with them: the configuration in force, the registry, admission, what
//! each core has counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::{
    admission::{Admission, Entrance, Refusal, Ticket},
    client_name::ClientName,
    denials::{Denials, DeniedPeer},
    handshakes::HandshakeCounts,
    log_limits::{LineKind, LogLimits, Summary},
    memory::Largest,
    pulse::{Pulse, Stalled},
    report::{CoreReport, RelayEvent},
    tls_configs::TlsConfigs,
    vacated::Vacated,
};
use crate::{
    access::{Access, Action, Decision, Denial, Question, Wiring},
    config::{Config, Limits},
    flv::FlvFormat,
    http::{ChunkedFormat, websocket::WebSocketFormat},
    rtmp::{
        chunk::{ChunkLimits, MediaFormat, MessageBytes, OUT_CHUNK_SIZE},
        session::SessionConfig,
    },
    stream::{Bounds, ConnectionRef, Form, NameNotice, Registry, Retention, Signal},
};

/// What all cores share.
pub struct Shared {
    config: ArcSwap<Config>,
    /// The configuration of the start: some of it stays in force until the next one.
    first_config: Config,
    /// Keys whose newest values are not in force.
    restart_needed: ArcSwap<Vec<&'static str>>,
    pub(super) admission: Arc<Admission>,
    access: ArcSwap<Box<dyn Access>>,
    service: Wiring,
    /// Certificates and keys in force.
    tls: ArcSwapOption<TlsConfigs>,
    handshakes: Arc<HandshakeCounts>,
    pub(super) denials: Denials,
    registry: Arc<Registry>,
    signals: Arc<[Signal]>,
    next_id: AtomicU64,
    pub(super) vacated: Vacated,
    pub(super) largest: Largest,
    log_limits: LogLimits,
    events: Box<dyn EventSink>,
    reports: Box<[ArcSwap<CoreReport>]>,
    pulses: Box<[Pulse]>,
    /// Each publisher by the number of its connection, from the time it has its name until it stops.
    publishers: papaya::HashMap<u64, KnownPublisher>,
    /// Players over HTTP that each core has been handed since the start.
    handed: Box<[AtomicU64]>,
    is_draining: AtomicBool,
}

/// Where a publisher comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPublisher {
    /// Its address.
    pub peer: SocketAddr,
    /// Name and version of the client, as it says.
    pub client: Option<ClientName>,
}

/// Where events go.
pub trait EventSink: Send + Sync {
    /// Whether there is a listener: events are made only if so.
    fn is_wanted(&self) -> bool;
    /// Something happened.
    fn send(&self, event: RelayEvent);
}

impl Shared {
    /// Of a relay with as many cores as there are signals. `notify_name` leaves a notice in the mailbox of a
    /// connection's core.
    pub fn new(
        config: Config,
        signals: Arc<[Signal]>,
        access: Box<dyn Access>,
        events: Box<dyn EventSink>,
        notify_name: impl Fn(ConnectionRef, NameNotice) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let retention = Retention {
            buffer_bytes: config.play.stream_buffer,
            keep_ms: u32::try_from(config.play.max_lag.as_millis()).unwrap_or(u32::MAX),
        };
        let registry = Registry::new(
            signals.clone(),
            retention,
            bounds(&config.limits),
            format_of,
            Box::new(notify_name),
        );
        let cores = signals.len();
        Arc::new(Self {
            admission: Arc::default(),
            access: ArcSwap::from_pointee(access),
            service: Wiring::default(),
            tls: ArcSwapOption::empty(),
            handshakes: Arc::default(),
            denials: Denials::default(),
            registry: Arc::new(registry),
            signals,
            next_id: AtomicU64::new(1),
            vacated: Vacated::new(config.limits.streams),
            largest: Largest::new(cores),
            log_limits: LogLimits::default(),
            events,
            reports: (0..cores).map(|core| ArcSwap::from_pointee(CoreReport::new(core))).collect(),
            pulses: (0..cores).map(|_| Pulse::default()).collect(),
            publishers: papaya::HashMap::new(),
            handed: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            is_draining: AtomicBool::new(false),
            restart_needed: ArcSwap::default(),
            first_config: config.clone(),
            config: ArcSwap::from_pointee(config),
        })
    }

    /// The configuration in force. It is replaced as a whole: take what you need when you decide, and keep nothing.
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Puts another configuration in force. What [`Config::needs_restart`] names stays as it was at the start.
    pub fn set_config(&self, config: Config) {
        self.restart_needed.store(Arc::new(self.first_config.needs_restart(&config)));
        self.registry.set_bounds(bounds(&config.limits));
        self.vacated.set_max_names(config.limits.streams);
        self.config.store(Arc::new(config.with_fixed_options_of(&self.first_config)));
    }

    /// Keys of options whose newest values take effect only after a restart. The configuration in force has the values
    /// of the start.
    pub fn restart_needed(&self) -> Arc<Vec<&'static str>> {
        self.restart_needed.load_full()
    }

    /// What the rules in force make of this question.
    pub fn decide(&self, question: &Question) -> Decision {
        self.access.load().decide(question)
    }

    /// The rules in force.
    pub fn access(&self) -> Guard<Arc<Box<dyn Access>>> {
        self.access.load()
    }

    /// Puts other rules in force, for all questions from now on.
    pub fn set_access(&self, access: Box<dyn Access>) {
        self.access.store(Arc::new(access));
    }

    /// The service that is asked where the rules leave a question open, and told what has happened.
    pub fn service(&self) -> &Wiring {
        &self.service
    }

    /// How TLS handshakes ended, over RTMPS and HTTPS.
    pub fn handshakes(&self) -> &Arc<HandshakeCounts> {
        &self.handshakes
    }

    /// What access was denied to.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// A peer is denied what it wants to do: counted, and unless it is one of a flood, logged and reported as an event.
    pub fn denied(&self, denied: DeniedPeer<'_>, denial: &Denial, now_ms: u64) {
        let may_log = |kind| self.may_log(kind, denied.peer, now_ms);
        if let Some(event) = self.denials.note(denied, denial, may_log) {
            self.notify(|| event);
        }
    }

    /// Whether the service is told of sessions that do this: only then do they keep the question that let them in. A
    /// session that began before a change of the configuration keeps what it was to keep then.
    pub fn tells_of(&self, action: Action) -> bool {
        let config = self.config();
        let hooks = &config.hooks;
        match action {
            Action::Connect => !hooks.on_close.is_empty(),
            Action::Publish => !hooks.on_unpublish.is_empty() || !hooks.on_update.is_empty(),
            Action::Play => !hooks.on_stop.is_empty() || !hooks.on_update.is_empty(),
            Action::Api => false,
        }
    }

    /// Certificates and keys for connections that begin from now on; none where nothing is encrypted.
    pub fn tls(&self) -> Option<Arc<TlsConfigs>> {
        self.tls.load_full()
    }

    /// Puts other certificates in force.
    pub fn set_tls(&self, configs: TlsConfigs) {
        self.tls.store(Some(Arc::new(configs)));
    }

    /// All streams.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// One for each core.
    pub fn signals(&self) -> &Arc<[Signal]> {
        &self.signals
    }

    /// Counts connections against the limits.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Which log lines are suppressed.
    pub fn log_limits(&self) -> &LogLimits {
        &self.log_limits
    }

    /// What each session is given.
    pub(super) fn session_config(&self) -> SessionConfig {
        session_config(&self.config().limits)
    }

    /// A number that no connection has had.
    pub fn next_connection_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether memory allows for one more connection of an encoder or a player.
    pub(super) fn has_room_for_connection(&self, now_ms: u64) -> bool {
        self.has_room_for_request() && !self.registry.memory().is_hopeless(now_ms)
    }

    /// Whether memory allows for one more connection of a request, which may be the operator's.
    fn has_room_for_request(&self) -> bool {
        self.registry.memory().has_room_for_connection(self.admission.connections())
    }

    /// A place for a connection whose request has come to an HTTP listener. `is_unnamed` is for a proxy that is yet to name
    /// its client.
    ///
    /// # Errors
    /// The limit that is reached; that is counted, and logged at most every 10 s.
    pub fn admit_request(&self, peer: SocketAddr, is_unnamed: bool, now_ms: u64) -> Result<Ticket, Refusal> {
        let id = self.next_connection_id();
        let limits = &self.config().limits;
        let admitted = match self.has_room_for_request() {
            true if is_unnamed => self.admission.admit_unnamed(limits, id, Entrance::Http),
            true => self.admission.admit(limits, id, peer.ip(), Entrance::Http),
            false => Err(Refusal::Memory),
        };
        admitted.inspect_err(|&refusal| self.refused(refusal, id, peer, now_ms))
    }

    /// A proxy has named the client that this connection is to count for.
    ///
    /// # Errors
    /// The limit that this client has reached; that is counted, and logged at most every 10 s.
    pub fn name_client(&self, ticket: &mut Ticket, client: SocketAddr, now_ms: u64) -> Result<(), Refusal> {
        let outcome = ticket.name_client(&self.config().limits, client.ip());
        outcome.inspect_err(|&refusal| self.refused(refusal, ticket.id(), client, now_ms))
    }

    /// Whether a line of this kind about this peer is to be logged: it may be one of a flood.
    pub fn may_log(&self, kind: LineKind, peer: SocketAddr, now_ms: u64) -> bool {
        self.log_limits.may_write(self.config().log.lines_per_network, kind, peer.ip(), now_ms)
    }

    /// Logs how many lines were suppressed because they were similar to others. To be called about once a second.
    /// `is_last` logs all that there is.
    pub fn log_summaries(&self, now_ms: u64, is_last: bool) {
        for Summary { kind, network, suppressed } in self.log_limits.summaries(now_ms, is_last) {
            let (kind, network) = (kind.name(), network.map_or("several".to_owned(), |it| it.to_string()));
            tracing::info!(kind, network, suppressed, "similar lines suppressed");
        }
    }

    /// A connection is refused: counted, and logged at most every 10 s.
    pub(super) fn refused(&self, refusal: Refusal, id: u64, peer: SocketAddr, now_ms: u64) {
        tracing::debug!(id, %peer, limit = %refusal, "refused");
        if let Some(refused) = self.admission.refused(refusal, now_ms) {
            tracing::warn!(id, %peer, limit = %refusal, refused, "refused: limit reached");
            self.notify(|| RelayEvent::Refused { peer, limit: refusal.to_string() });
        }
    }

    /// Whether a viewer of this stream need not be turned away: it is live, or its encoder has just gone and has
    /// `publish.publisher_grace` to come back.
    pub fn can_be_watched(&self, name: &str, now_ms: u64) -> bool {
        let is_live = self.registry.get(name).is_some_and(|stream| stream.is_live());
        let grace_ms = self.config().publish.publisher_grace.as_millis() as u64;
        is_live || self.vacated.is_known(name, grace_ms, now_ms)
    }

    /// Something happened. `event` is made only if there is a listener.
    pub(super) fn notify(&self, event: impl FnOnce() -> RelayEvent) {
        if self.events.is_wanted() {
            self.events.send(event());
        }
    }

    /// A publisher has its name.
    pub(super) fn publisher_came(&self, connection_id: u64, publisher: KnownPublisher) {
        self.publishers.pin().insert(connection_id, publisher);
    }

    /// It publishes nothing any longer.
    pub(super) fn publisher_went(&self, connection_id: u64) {
        self.publishers.pin().remove(&connection_id);
    }

    /// Where the publisher with this connection comes from.
    pub fn publisher(&self, connection_id: u64) -> Option<KnownPublisher> {
        self.publishers.pin().get(&connection_id).cloned()
    }

    /// A core publishes its report.
    pub fn set_report(&self, report: CoreReport) {
        self.pulses[report.core].beat();
        self.reports[report.core].store(Arc::new(report));
    }

    /// Each core's last report.
    pub fn reports(&self) -> Vec<Arc<CoreReport>> {
        self.reports.iter().map(ArcSwap::load_full).collect()
    }

    /// Checks whether each core is alive. To be called once a second.
    pub fn check_pulses(&self) {
        self.pulses.iter().for_each(Pulse::check);
    }

    /// Whether this core has not reported for some seconds.
    pub fn is_stalled(&self, core: usize) -> bool {
        self.pulses[core].is_stalled()
    }

    /// The first core that has not reported for some seconds, if there is one. A core that has drained need not.
    pub fn stalled(&self) -> Option<Stalled> {
        let core = self.pulses.iter().position(Pulse::is_stalled)?;
        (!self.is_draining()).then_some(Stalled { core })
    }

    /// The core for the next player over HTTP: the one with the fewest players, of those that are not stalled. Those that
    /// it was handed after its last report, which is half a second old, count as well; otherwise all that come meanwhile
    /// would go to the same one.
    pub fn choose_core(&self) -> usize {
        let load = |core: &usize| {
            let report = self.reports[*core].load();
            let on_their_way = self.handed[*core].load(Ordering::Relaxed).saturating_sub(report.taken_in);
            (self.is_stalled(*core), report.players.iter().sum::<u64>() + on_their_way)
        };
        let core = (0..self.reports.len()).min_by_key(load).unwrap_or(0);
        self.handed[core].fetch_add(1, Ordering::Relaxed);
        core
    }

    /// The relay is about to end.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.notify(|| RelayEvent::Draining);
    }

    /// Whether it is about to end, and takes no new connections.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

/// The wire format of a log.
fn format_of(form: Form) -> Box<dyn crate::flv::WireFormat + Send + Sync> {
    match form {
        Form::Rtmp => Box::new(MediaFormat { chunk_size: OUT_CHUNK_SIZE }),
        Form::HttpFlv => Box::new(FlvFormat),
        Form::WebsocketFlv => Box::new(WebSocketFormat),
        Form::HttpFlvChunked => Box::new(ChunkedFormat),
    }
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds { streams: limits.streams, memory_bytes: limits.memory_budget }
}

fn session_config(limits: &Limits) -> SessionConfig {
    // The configuration is in range: 24 bits.
    let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let message_bytes = MessageBytes {
        video: bytes(limits.video_message),
        audio: bytes(limits.audio_message),
        data: bytes(limits.data_message),
        command: bytes(limits.command_message),
    };
    let (partial_messages, partial_bytes) = (limits.partial_messages, limits.partial_bytes);
    let limits = ChunkLimits { message_bytes, partial_messages, partial_bytes, ..Default::default() };
    SessionConfig { limits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{protocol::Protocol, tests::shared};

    /// As a core with so many players publishes it, having taken in so many that it was handed.
    fn report(core: usize, players: u64, taken_in: u64) -> CoreReport {
        let mut report = CoreReport::new(core);
        report.players[Protocol::HttpFlv.index()] = players;
        report.taken_in = taken_in;
        report
    }

    #[test]
    fn players_that_come_between_two_reports_are_spread_over_the_cores() {
        let shared = shared(4, Config::default());
        let mut counts = [0; 4];
        (0..1_000).for_each(|_| counts[shared.choose_core()] += 1);
        assert_eq!(counts, [250; 4]);
        // All are in by now, and some have left one of them.
        [250, 250, 240, 250].iter().enumerate().for_each(|(core, &players)| {
            shared.set_report(report(core, players, 250));
        });
        (0..10).for_each(|_| assert_eq!(shared.choose_core(), 2));
        assert_ne!(shared.choose_core(), 2);
    }
}
