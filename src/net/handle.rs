//! The relay as the control plane holds it: what to ask of it, and what to hand to it. All of it may be called from any
//! thread; cores are reached by mail, and by the reports that each of them lays out.

use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::{
    sync::{broadcast, oneshot},
    time::timeout_at,
};

use super::{
    common::{Common, Mail},
    gate::Door,
    pulse::{Pulse, Stalled},
    report::{ConnectionReport, CoreReport, Event, Role, StreamReport},
};
pub use super::{
    gate::{Refusal, Ticket},
    similar::LineKind,
};
use crate::{
    config::Config,
    flv::{FrameKind, Kinds, WireFormat},
    http::FlvFormat,
    logging,
    rtmp::chunk::MediaFormat,
    stream::{Form, KeyFrame, Memory, Start, Stream},
};

/// Events that a listener may be behind before it misses some.
const EVENTS: usize = 1024;
/// How long a core may take to answer: far more than a turn, and less than those who ask wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The running relay. A clone is the same one.
#[derive(Clone)]
pub struct Handle {
    common: Arc<Common>,
    addresses: Arc<[SocketAddr]>,
}

/// A player whose request came over HTTP, ready to be sent to.
pub struct HttpPlayer {
    /// Its socket, and where it comes from.
    pub socket: TcpStream,
    /// The peer.
    pub peer: SocketAddr,
    /// Its place among those that are let in.
    pub ticket: Ticket,
    /// `app/name`.
    pub stream: String,
    /// Any but RTMP's.
    pub form: Form,
    /// Where it begins.
    pub start: Start,
    /// What it is sent first: the response's head.
    pub head: Bytes,
    /// What has been read of what it sent behind its request.
    pub rest: Bytes,
}

/// A word to one core that is more than a number.
pub(super) enum Task {
    /// Tell of all connections.
    Report(oneshot::Sender<Vec<ConnectionReport>>),
    /// End this connection if it has this role, and say whether it was here.
    /// Of a publisher of several streams, the one of this name alone.
    End { connection_id: u64, role: Role, stream: Option<Arc<str>>, answer: oneshot::Sender<bool> },
    /// Send to this player from now on.
    Play(Box<HttpPlayer>),
}

/// What the control plane shares with the cores.
pub(super) struct Outside {
    events: broadcast::Sender<Event>,
    reports: Box<[ArcSwap<CoreReport>]>,
    pulses: Box<[Pulse]>,
    /// Where each publisher comes from, by the number of its connection: from its first frame's permission on until it
    /// stops, whoever listens.
    publishers: papaya::HashMap<u64, SocketAddr>,
    tasks: Box<[Mutex<Vec<Task>>]>,
    /// Players that each core has been handed since the start.
    handed: Box<[AtomicU64]>,
    is_draining: AtomicBool,
}

impl Outside {
    pub(super) fn new(cores: usize) -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS),
            reports: (0..cores).map(|core| ArcSwap::from_pointee(CoreReport::new(core))).collect(),
            pulses: (0..cores).map(|_| Pulse::default()).collect(),
            publishers: papaya::HashMap::new(),
            tasks: (0..cores).map(|_| Mutex::default()).collect(),
            handed: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            is_draining: AtomicBool::new(false),
        }
    }

    /// A core lays out its report.
    pub(super) fn lay_out(&self, report: CoreReport) {
        self.pulses[report.core].beat();
        self.reports[report.core].store(Arc::new(report));
    }

    /// A publisher has its name.
    pub(super) fn publishes(&self, connection_id: u64, peer: SocketAddr) {
        self.publishers.pin().insert(connection_id, peer);
    }

    /// It has it no longer.
    pub(super) fn publishes_no_more(&self, connection_id: u64) {
        self.publishers.pin().remove(&connection_id);
    }

    /// The first core that stands still. One that has drained has every right to.
    fn stalled(&self) -> Option<Stalled> {
        let core = self.pulses.iter().position(Pulse::is_stalled)?;
        (!self.is_draining.load(Ordering::Relaxed)).then_some(Stalled { core })
    }

    /// Tells whoever listens. `event` is made only if somebody does.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            // Its error is that the last listener has just gone.
            let _ = self.events.send(event());
        }
    }

    /// A core takes what it was told to do.
    pub(super) fn take_tasks(&self, core: usize) -> Vec<Task> {
        std::mem::take(&mut *self.tasks[core].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The core with the fewest players, of those that are not stalled. Those it was handed after its last report, which is half a second old, count as
    /// well: else all that come meanwhile would go to the same one.
    fn choose(&self) -> usize {
        let load = |core: &usize| {
            let report = self.reports[*core].load();
            let on_their_way = self.handed[*core].load(Ordering::Relaxed).saturating_sub(report.taken_in);
            (self.pulses[*core].is_stalled(), report.players.iter().sum::<u64>() + on_their_way)
        };
        let core = (0..self.reports.len()).min_by_key(load).unwrap_or(0);
        self.handed[core].fetch_add(1, Ordering::Relaxed);
        core
    }

    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.tell(|| Event::Draining);
    }
}

impl Handle {
    pub(super) fn new(common: Arc<Common>, addresses: &[SocketAddr]) -> Self {
        Self { common, addresses: addresses.into() }
    }

    /// Where it listens for RTMP.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is in force.
    pub fn config(&self) -> Arc<Config> {
        self.common.config.load_full()
    }

    /// Puts another configuration in force, as a whole. Options that [`Config::needs_restart`] names keep their effect
    /// until the next start.
    pub fn set_config(&self, config: Config) {
        logging::set_filter(&config.log.level);
        self.common.config.store(Arc::new(config));
    }

    /// How long the relay has been running; the clock of all times in its reports.
    pub fn uptime(&self) -> Duration {
        self.common.started.elapsed()
    }

    /// Whether it is about to end, and takes nobody in.
    pub fn is_draining(&self) -> bool {
        self.common.outside.is_draining.load(Ordering::Relaxed)
    }

    /// Each core, as of its last tick of a second.
    pub fn cores(&self) -> Vec<Arc<CoreReport>> {
        self.common.outside.reports.iter().map(ArcSwap::load_full).collect()
    }

    /// Each stream that is published or waited for, by name.
    pub fn streams(&self) -> Vec<StreamReport> {
        let mut streams: Vec<_> =
            self.common.registry.list().iter().map(|stream| StreamReport::of(stream)).collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        streams
    }

    /// One stream, by `app/name`.
    pub fn stream(&self, name: &str) -> Option<StreamReport> {
        self.common.registry.get(name).map(|stream| StreamReport::of(&stream))
    }

    /// Whether a viewer of this stream need not be turned away: it is live, or its encoder has just gone and has
    /// `publisher_grace` to come back. So it is for every viewer, whether others wait already or not.
    pub fn can_be_watched(&self, name: &str) -> bool {
        let is_live = self.common.registry.get(name).is_some_and(|stream| stream.is_live());
        is_live || self.common.vacated.is_known(name, Instant::now())
    }

    /// Sequence headers and the newest key frame, as a whole FLV file; none where the stream has none of it.
    pub fn key_frame(&self, name: &str) -> Option<Vec<u8>> {
        still(&*self.common.registry.get(name)?)
    }

    /// The account of memory that peers make the relay hold.
    pub fn memory(&self) -> &Memory {
        self.common.registry.memory()
    }

    /// Connections now, those of HTTP among them.
    pub fn connection_count(&self) -> usize {
        self.common.gate.connections()
    }

    /// How many were turned away, by limit.
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.common.gate.refusals()
    }

    /// How many log lines were not written since the start because they were similar to others, by kind.
    pub fn suppressed_lines(&self) -> Vec<(LineKind, u64)> {
        self.common.similar.suppressed()
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.common.outside.events.subscribe()
    }

    /// Looks whether each core is alive. To be called once a second.
    pub fn look_at_cores(&self) {
        self.common.outside.pulses.iter().for_each(Pulse::look);
    }

    /// A core that has stood still for some seconds, if there is one.
    pub fn stalled(&self) -> Option<Stalled> {
        self.common.outside.stalled()
    }

    /// Where the publisher with this connection comes from.
    pub fn publisher_address(&self, connection_id: u64) -> Option<SocketAddr> {
        self.common.outside.publishers.pin().get(&connection_id).copied()
    }

    /// All connections, as their cores see them; those of HTTP that play nothing are not among them.
    ///
    /// # Errors
    /// A core does not answer in time.
    pub async fn connections(&self) -> Result<Vec<ConnectionReport>, Stalled> {
        match self.ask(Task::Report).await {
            (answers, None) => Ok(answers.concat()),
            (_, Some(stalled)) => Err(stalled),
        }
    }

    /// Ends a connection that publishes or plays, by its number. False where there is none of that role.
    ///
    /// # Errors
    /// None of the others has it, and a core does not answer in time: the connection may be there. It is not ended
    /// later.
    pub async fn end(
        &self,
        connection_id: u64,
        role: Role,
        stream: Option<Arc<str>>,
    ) -> Result<bool, Stalled> {
        match self.ask(|answer| Task::End { connection_id, role, stream: stream.clone(), answer }).await {
            (answers, Some(stalled)) if !answers.contains(&true) => Err(stalled),
            (answers, _) => Ok(answers.contains(&true)),
        }
    }

    /// What each core answers, and the first one that does not. One that has drained answers nothing, and one that is
    /// known to stand still is not asked: what it is asked would wait for it.
    async fn ask<T>(&self, task: impl Fn(oneshot::Sender<T>) -> Task) -> (Vec<T>, Option<Stalled>) {
        let mut stalled = self.stalled();
        let mut questions = Vec::new();
        for core in 0..self.common.signals.len() {
            if self.common.outside.pulses[core].is_stalled() {
                continue;
            }
            let (answer, answered) = oneshot::channel();
            self.give(core, task(answer));
            questions.push((core, answered));
        }
        let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
        let mut answers = Vec::new();
        for (core, answered) in questions {
            match timeout_at(deadline, answered).await {
                Ok(answer) => answers.extend(answer),
                Err(_elapsed) => _ = stalled.get_or_insert(Stalled { core }),
            }
        }
        (answers, stalled)
    }

    /// A place for a connection that another listener has accepted.
    ///
    /// # Errors
    /// What limit it is beyond; that is counted, and said now and then.
    pub fn admit(&self, peer: SocketAddr) -> Result<Ticket, Refusal> {
        let now_ms = self.uptime().as_millis() as u64;
        let admitted = match self.common.has_room_for_request() {
            true => self.common.gate.admit(peer.ip(), Door::Http),
            false => Err(Refusal::Memory),
        };
        admitted.inspect_err(|&refusal| self.common.refused(refusal, 0, peer, now_ms))
    }

    /// Hands a player to the core that has the fewest.
    pub fn play(&self, player: HttpPlayer) {
        let core = self.common.outside.choose();
        self.give(core, Task::Play(Box::new(player)));
    }

    /// As a core that is alive does twice a second.
    #[cfg(test)]
    pub(crate) fn lay_out_report(&self, core: usize) {
        self.common.outside.lay_out(CoreReport::new(core));
    }

    /// What waits for this core to be done.
    #[cfg(test)]
    pub(crate) fn waiting_tasks(&self, core: usize) -> usize {
        self.common.outside.tasks[core].lock().map_or(0, |tasks| tasks.len())
    }

    fn give(&self, core: usize, task: Task) {
        let tasks = &self.common.outside.tasks[core];
        tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        self.common.mailboxes.post(core, Mail::Tasks);
    }
}

/// The headers and the newest key frame of a stream as an FLV file that ends.
fn still(stream: &Stream) -> Option<Vec<u8>> {
    let KeyFrame { headers, messages } = stream.log(Form::Rtmp).key_frame()?;
    let rtmp = MediaFormat::default();
    let mut file = FlvFormat.opening(Kinds { audio: false, video: true })?.to_vec();
    for mut rest in std::iter::once(&headers).chain(&messages).map(|wire| &wire[..]) {
        while let Some((frame, len)) = rtmp.read(rest) {
            if frame.kind == FrameKind::Video {
                let begin = file.len();
                file.resize(begin + FlvFormat.wire_len(&frame), 0);
                FlvFormat.write(&frame, &mut file[begin..]);
            }
            rest = &rest[len..];
        }
    }
    file.shrink_to_fit();
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::net::Protocol;

    /// As a core with so many players lays it out, having taken in so many that it was handed.
    fn report(core: usize, players: u64, taken_in: u64) -> CoreReport {
        let mut report = CoreReport::new(core);
        report.players[Protocol::HttpFlv.index()] = players;
        report.taken_in = taken_in;
        report
    }

    #[test]
    fn players_that_come_between_two_reports_are_spread_over_the_cores() {
        let outside = Outside::new(4);
        let mut counts = [0; 4];
        (0..1_000).for_each(|_| counts[outside.choose()] += 1);
        assert_eq!(counts, [250; 4]);
        // All are in by now, and some have left one of them.
        [250, 250, 240, 250].iter().enumerate().for_each(|(core, &players)| {
            outside.lay_out(report(core, players, 250));
        });
        (0..10).for_each(|_| assert_eq!(outside.choose(), 2));
        assert_ne!(outside.choose(), 2);
    }
}
