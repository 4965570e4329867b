//! The endpoint itself: its parts, the time, connections that come.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use slab::Slab;

use super::{
    admission::{Entrance, Refusal},
    backlog::{Backlog, SLICE_US},
    clock::Now,
    connection::Connection,
    io::Io,
    mail::Mail,
    memory::MemoryAccount,
    notify::NotifyQueue,
    protocol::Protocol,
    proxy_header::HeaderReader,
    report::CoreReport,
    retry::RetryQueue,
    sealed::Pool,
    session::PeerSession,
    shared::Shared,
    transport::{Spoken, Transport, TransportKind},
};
use crate::{
    config::Config,
    fanout::{Hub, Policy, Pump},
    rtmp::session::Session,
    stream::ConnectionRef,
};

/// How often [`Endpoint::tick`] is to be called.
pub const TICK: Duration = Duration::from_millis(100);
/// A connection's own deadlines are checked this often, a share of the connections each tick: they are seconds long.
const TICKS_PER_SWEEP: usize = 10;
/// Connections that are checked in a tick at least.
const MIN_SWEPT: usize = 64;
/// A core's report is published this often: twice a second, for readers that look once.
const TICKS_PER_REPORT: u64 = 5;
/// A core that stood still for longer logs it.
const LOGGED_STANDSTILL_MS: u64 = 1_000;

/// All connections of one core. Its methods are called by one thread.
pub struct Endpoint<I: Io> {
    pub(super) core: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) io: I,
    pub(super) now: Now,
    pub(super) connections: Slab<Connection<I::Socket>>,
    /// Connections that publish, by key and number; some that have ceased to since the last tick.
    pub(super) publishers: Vec<(usize, u64)>,
    pub(super) hub: Hub,
    pub(super) pump: Pump,
    /// Connections whose player may have something to send in the pass that is under way.
    pub(super) due: Vec<usize>,
    /// New frames of which other cores have not been notified.
    pub(super) notices: NotifyQueue,
    /// What the system was short of memory for.
    pub(super) retries: RetryQueue,
    pub(super) backlog: Backlog,
    /// TLS handshakes that wait for their turn: what came, by key and number of the connection.
    pub(super) handshakes: VecDeque<(usize, u64, Bytes)>,
    /// Buffers of what is sent encrypted.
    pub(super) sealed: Pool,
    /// What a connection's input may take of a turn before the others get theirs, microseconds.
    pub(super) slice_us: u64,
    /// Messages that have not been acted on.
    pub(super) mail: VecDeque<Mail<I::Socket>>,
    pub(super) account: MemoryAccount,
    /// What this core has counted since the start.
    pub(super) counts: CoreReport,
    pub(super) swept_to: usize,
    pub(super) ticks: u64,
    pub(super) is_draining: bool,
    /// `play.max_lag` as it was at the start: what the logs keep goes by it.
    pub(super) max_lag: Duration,
}

/// What an [`Io`] has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Calls into the kernel that handed over sends and receives.
    pub submissions: u64,
    /// Completions that came back.
    pub completions: u64,
}

impl<I: Io> Endpoint<I> {
    /// The endpoint of core number `core`, without connections.
    pub fn new(core: usize, shared: Arc<Shared>, io: I) -> Self {
        let config = shared.config().clone();
        let max_lag = config.play.max_lag;
        let policy = policy(&config, max_lag);
        let pump = Pump::new(config.play.latency_budget);
        let now = Now::at(io.now_us());
        shared.signals()[core].patience().set(now.patient_ms);
        Self {
            core,
            hub: Hub::new(core, shared.registry().clone(), policy),
            account: MemoryAccount::new(shared.registry().memory()),
            shared,
            io,
            now,
            connections: Slab::new(),
            publishers: Vec::new(),
            pump,
            due: Vec::new(),
            notices: NotifyQueue::default(),
            retries: RetryQueue::default(),
            backlog: Backlog::default(),
            handshakes: VecDeque::new(),
            sealed: Pool::default(),
            slice_us: SLICE_US,
            mail: VecDeque::new(),
            counts: CoreReport::new(core),
            swept_to: 0,
            ticks: 0,
            is_draining: false,
            max_lag,
        }
    }

    /// Its I/O.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Takes the time from [`Io::now_us`]. To be called before any other input, and again whenever some time has passed.
    /// If the core was stalled, that is no peer's fault: neither of those that were not read, nor of those that were not
    /// sent to.
    pub fn advance(&mut self) {
        let standstill = self.now.advance(self.io.now_us());
        self.shared.signals()[self.core].patience().set(self.now.patient_ms);
        if let Some(lasted_ms) = standstill {
            self.stood_still(lasted_ms);
        }
    }

    fn stood_still(&mut self, lasted_ms: u64) {
        self.shared.signals()[self.core].patience().was_stalled(self.now.ms, lasted_ms);
        for &(key, id) in &self.publishers {
            let connection = self.connections.get_mut(key).filter(|connection| connection.id == id);
            for publication in connection.into_iter().flat_map(Connection::publications) {
                publication.was_stalled(lasted_ms);
            }
        }
        if lasted_ms >= LOGGED_STANDSTILL_MS {
            tracing::warn!(core = self.core, lasted_ms, "core stalled: the time counts against no peer");
        }
    }

    /// A connection has been accepted on a listener where this is spoken; RTMP, since requests of HTTP are accepted
    /// elsewhere ([`Mail::Play`]). `random` goes into the handshake. A refused connection is closed.
    pub fn admit(&mut self, socket: I::Socket, peer: SocketAddr, spoken: Spoken, random: [u8; 32]) {
        debug_assert_eq!(spoken.protocol, Protocol::Rtmp);
        self.advance();
        let id = self.shared.next_connection_id();
        let config = self.shared.config();
        let is_behind_proxy = spoken.listener.is_some_and(|it| config.proxy.expects_header(it));
        let admission = &self.shared.admission;
        let admitted = match self.shared.has_room_for_connection(self.now.ms) {
            true if is_behind_proxy && config.proxy.is_trusted(peer.ip()) => {
                admission.admit_unnamed(&config.limits, id, Entrance::Rtmp)
            }
            true => admission.admit(&config.limits, id, peer.ip(), Entrance::Rtmp),
            false => Err(Refusal::Memory),
        };
        drop(config);
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(refusal) => {
                self.shared.refused(refusal, id, peer, self.now.ms);
                return self.io.close(socket);
            }
        };
        let transport = match (spoken.transport, self.shared.tls()) {
            (TransportKind::Plain, _) => Transport::Plain,
            (TransportKind::Tls, Some(configs)) => match Transport::tls(configs.rtmps.clone()) {
                Ok(transport) => transport,
                Err(error) => {
                    tracing::warn!(id, %peer, %error, "connection refused: TLS cannot be used");
                    return self.io.close(socket);
                }
            },
            (TransportKind::Tls, None) => return self.io.close(socket),
        };
        let session = Session::new(&self.shared.session_config(), self.now.ms, random);
        let session = PeerSession::Rtmp(Box::new(session));
        let mut connection = Connection::new(socket, peer, ticket, session, transport, self.now);
        connection.proxy_header = is_behind_proxy.then(HeaderReader::default);
        let key = self.insert(connection);
        tracing::debug!(id, %peer, core = self.core, "connected");
        self.receive(key);
    }

    pub(super) fn insert(&mut self, connection: Connection<I::Socket>) -> usize {
        self.counts.connects += 1;
        let key = self.connections.insert(connection);
        self.account.set_connections(self.connections.len());
        key
    }

    /// The connection of this key, if it is still the same one.
    pub(super) fn find(&self, id: ConnectionRef) -> Option<usize> {
        let connection = self.connections.get(id.key)?;
        (connection.id == id.connection_id).then_some(id.key)
    }

    /// [`TICK`] has passed.
    pub fn tick(&mut self, io: IoCounts) {
        let config = self.shared.config();
        self.hub.set_policy(policy(&config, self.max_lag));
        self.pump.set_latency_budget(config.play.latency_budget);
        drop(config);
        self.expire_players();
        self.ping_publishers();
        self.retry();
        let share = self.connections.capacity().div_ceil(TICKS_PER_SWEEP).max(MIN_SWEPT);
        let end = self.swept_to + share;
        for key in self.swept_to..end.min(self.connections.capacity()) {
            if self.connections.contains(key) {
                self.check_deadlines(key);
                self.reap(key);
            }
        }
        self.swept_to = if end >= self.connections.capacity() { 0 } else { end };
        self.post_memory();
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_PER_REPORT) {
            self.publish_report(io);
        }
    }

    /// When something is due that no input announces, microseconds of [`Io::now_us`]: [`Endpoint::pass`] is to be called
    /// then.
    pub fn due_us(&self) -> Option<u64> {
        self.notices.due_us().into_iter().chain(self.pump.due_us()).min()
    }

    /// Whether a pass over players is under way.
    pub fn is_in_pass(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether the process is about to end: no more connections are to be accepted.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Whether it has drained: it has nothing left to do, ever.
    pub fn has_drained(&self) -> bool {
        self.is_draining && self.connections.is_empty()
    }
}

/// What players are granted now.
fn policy(config: &Config, max_lag: Duration) -> Policy {
    let (play_wait, publisher_grace) = (config.play.wait_for_publisher, config.publish.publisher_grace);
    Policy { max_lag, play_wait, publisher_grace }
}

pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
