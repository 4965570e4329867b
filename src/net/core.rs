//! One core: its connections, its ring, its hub, and the turn in which it does all that is there to do.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{self, PipeReader},
    net::SocketAddr,
    os::fd::AsRawFd,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use slab::Slab;
use tokio_uring::net::TcpStream;

use super::{
    buffers::{ReceiveSlab, Size},
    clock::{Clock, Now},
    common::{Common, Mail},
    connection::Connection,
    dialogue::Dialogue,
    gate::{Door, Refusal},
    growth::Untold,
    handle::Task,
    memlock::patiently,
    memory::Holdings,
    report::CoreReport,
    ring::{Completion, Ring},
    share::SLICE_US,
    shortage::Resting,
};
use crate::{
    fanout::{Hub, Policy, Pump},
    rtmp::session::Session,
    stream::{NameNotice, PublisherId, Signal},
};

/// How often a core looks at what time alone changes.
const TICK: Duration = Duration::from_millis(100);
/// A connection's own deadlines are looked at this often, a share of the connections each tick: their patience is
/// counted in seconds.
const TICKS_A_SWEEP: usize = 10;
/// What a core has counted is laid out this often: twice a second, for those who look once.
const TICKS_A_REPORT: u64 = 5;
/// How long a core does its own work before accepting gets its turn, microseconds. Ends with the round that exceeds it.
const TURN_US: u64 = 4_000;
/// Players that a pass sends to before completions are looked at: some 5 ms of the kernel's work.
const PLAYERS_A_ROUND: usize = 512;
/// How long a core rests where the kernel takes no operation, and after how long of that it gives up, milliseconds.
const REFUSED_REST: Duration = Duration::from_millis(5);
const REFUSED_FOR_MS: u64 = 10_000;
/// The clock is looked at after so many completions: a slice each, they take a quarter of a turn.
const COMPLETIONS_PER_LOOK: usize = 4;
/// A core that stood still for longer says so.
const WORTH_A_LINE_MS: u64 = 1_000;

/// One core. Its methods are called on its own thread alone.
pub(super) struct Core {
    pub(super) number: usize,
    pub(super) common: Arc<Common>,
    pub(super) hub: Hub,
    pub(super) connections: Slab<Connection>,
    /// What time it is: see [`Clock`] for the two of them.
    pub(super) now_ms: u64,
    pub(super) patient_ms: u64,
    clock: Clock,
    pub(super) is_draining: bool,
    pub(super) ring: Ring,
    wake: PipeReader,
    pub(super) buffers: ReceiveSlab,
    pub(super) holdings: Holdings,
    pump: Pump,
    /// Publishers whose cores are to be told of growth that waited for a picture: the soonest first.
    pub(super) untold: BinaryHeap<Reverse<Untold>>,
    /// When the pending alarm goes off, microseconds.
    alarm_us: Option<u64>,
    /// Connections whose player may have something to send.
    due: Vec<usize>,
    sweep_from: usize,
    ticks: u64,
    /// Connections that publish, by key and number; some that have ceased to since the last tick.
    pub(super) publishers: Vec<(usize, u64)>,
    /// What a connection's input may take of a turn before the others get theirs, microseconds.
    pub(super) slice_us: u64,
    /// Connections whose input is not worked off, by key and number: the one that has waited longest first.
    pub(super) backlog: VecDeque<(usize, u64)>,
    /// Since when the kernel has taken no operation, by the patient clock.
    refused_since_ms: Option<u64>,
    /// What the control plane has asked for.
    pub(super) tasks: VecDeque<Task>,
    /// What the kernel was short of memory for.
    pub(super) resting: Vec<Resting>,
    /// What this core has counted since the start.
    pub(super) tally: CoreReport,
}

/// What comes after a turn.
enum Turn {
    /// The ring says when to take the next.
    Over,
    /// The kernel took nothing: the next one is to be taken a little later, whatever completes.
    Refused,
    /// The kernel has taken nothing for too long.
    Failed(io::Error),
    /// Nothing ever: the core has drained.
    Done,
}

impl Core {
    /// A core for the calling thread.
    ///
    /// # Errors
    /// The kernel refuses io_uring.
    pub(super) fn new(number: usize, common: Arc<Common>, wake: PipeReader) -> io::Result<Self> {
        let config = common.config();
        let policy = Policy {
            max_lag: config.play.max_lag,
            play_wait: config.play.wait_for_publisher,
            publisher_grace: config.publish.publisher_grace,
        };
        let clock = Clock::new(common.started);
        let mut core = Self {
            number,
            hub: Hub::new(number, common.registry.clone(), policy),
            connections: Slab::new(),
            now_ms: clock.now_ms(),
            patient_ms: clock.patient_ms(),
            clock,
            is_draining: false,
            ring: patiently(|| Ring::new(config.play.zero_copy_threshold, common.ring_size))?,
            wake,
            buffers: ReceiveSlab::default(),
            holdings: Holdings::new(common.registry.memory()),
            pump: Pump::new(config.play.latency_budget),
            untold: BinaryHeap::new(),
            alarm_us: None,
            due: Vec::new(),
            sweep_from: 0,
            ticks: 0,
            publishers: Vec::new(),
            slice_us: SLICE_US,
            backlog: VecDeque::new(),
            refused_since_ms: None,
            tasks: VecDeque::new(),
            resting: Vec::new(),
            tally: CoreReport::new(number),
            common,
        };
        core.signal().patience().set(core.patient_ms);
        core.ring.wake(core.wake.as_raw_fd());
        core.ring.tick(TICK);
        Ok(core)
    }

    /// Takes turns until the core has drained.
    pub(super) async fn run(core: Rc<RefCell<Core>>) -> io::Result<()> {
        let completions = core.borrow().ring.completions()?;
        loop {
            let turn = core.borrow_mut().turn();
            match turn {
                Turn::Over => completions.readable().await?.clear_ready(),
                Turn::Refused => tokio::time::sleep(REFUSED_REST).await,
                Turn::Failed(error) => return Err(error),
                Turn::Done => return Ok(()),
            }
        }
    }

    /// A connection has been accepted.
    pub(super) fn admit(&mut self, socket: TcpStream, peer: SocketAddr) {
        self.look_at_clock();
        let id = self.common.next_connection_id();
        if !self.common.has_room_for_connection(self.now_ms) {
            return self.common.refused(Refusal::Memory, id, peer, self.now_ms);
        }
        let ticket = match self.common.gate.admit(peer.ip(), Door::Rtmp) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.common.refused(refusal, id, peer, self.now_ms),
        };
        let mut random = [0; 32];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::warn!(id, %peer, %error, "no random bytes for the handshake: connection refused");
            return;
        }
        let session = Session::new(&self.common.session, self.now_ms, random);
        let dialogue = Dialogue::Rtmp(Box::new(session));
        let key = self.connections.insert(Connection::new(id, socket, peer, ticket, dialogue, self.now()));
        self.tally.connects += 1;
        self.count_connections();
        tracing::debug!(id, %peer, core = self.number, "connected");
        self.receive(key);
        // Where it is not taken now, the next turn tries again.
        let _ = self.ring.submit();
    }

    /// Does what is there to do, for as long as a turn may take.
    fn turn(&mut self) -> Turn {
        self.signal().awake();
        let end_us = self.clock_us() + TURN_US;
        loop {
            self.look_at_clock();
            let mut was_busy = self.read_mail();
            was_busy |= self.work_off_tasks();
            let submitted = self.ring.submit();
            // No more than are there now: each may start a send that completes at once, and the other tasks would not
            // get their turn while players catch up.
            for number in 1..=self.ring.waiting() {
                let Some(completion) = self.ring.complete() else { break };
                was_busy = true;
                self.completed(completion);
                self.keep_within_memory();
                if number.is_multiple_of(COMPLETIONS_PER_LOOK) && self.clock_us() >= end_us {
                    break;
                }
            }
            was_busy |= self.pump();
            was_busy |= self.work_off_backlog(end_us);
            self.keep_within_memory();
            let is_over = self.clock_us() >= end_us;
            match submitted {
                Ok(()) => self.refused_since_ms = None,
                Err(error) if is_over || !was_busy => return self.rest_from_refusal(error),
                Err(_) => {}
            }
            if !was_busy {
                return self.rest();
            }
            if is_over {
                // The runtime looks at accepts only when its thread waits. It does not wait long.
                self.ring.nudge();
                return self.over();
            }
        }
    }

    /// The turn is over, and what was gathered goes to the kernel: nothing else would wake the core.
    fn over(&mut self) -> Turn {
        match self.ring.submit() {
            Ok(()) => Turn::Over,
            Err(error) => self.rest_from_refusal(error),
        }
    }

    /// The kernel takes no operation. It may do so again in a moment; a core that can neither send nor receive for long
    /// is of no use, and says so rather than spin.
    fn rest_from_refusal(&mut self, error: io::Error) -> Turn {
        let since_ms = *self.refused_since_ms.get_or_insert(self.patient_ms);
        if self.patient_ms - since_ms < REFUSED_FOR_MS {
            tracing::debug!(core = self.number, %error, "io_uring took nothing");
            return Turn::Refused;
        }
        Turn::Failed(io::Error::new(error.kind(), format!("io_uring has taken nothing for 10 s: {error}")))
    }

    /// Nothing is left to do now.
    fn rest(&mut self) -> Turn {
        if self.is_draining && self.connections.is_empty() {
            return Turn::Done;
        }
        if let Some(Reverse(untold)) = self.untold.peek() {
            self.set_alarm(untold.due_us);
        }
        if let Some(due_us) = self.pump.due_us() {
            // Growth is known, so nobody needs to call: the core counts as awake until the alarm.
            self.set_alarm(due_us);
        } else if !self.signal().may_sleep() {
            self.ring.nudge();
        }
        self.over()
    }

    /// Gives players of streams that have grown what they lack: goes on with the pass that is under way, or begins one
    /// if it is time. True if there was something to send.
    fn pump(&mut self) -> bool {
        let now_us = self.clock_us();
        self.tell_of_growth(now_us);
        if self.signal().has_grown() {
            self.pump.grew(now_us);
        }
        if self.due.is_empty() {
            // The last sends of a pass have been submitted since, and what they came to has been looked at.
            if let Some(pass_us) = self.pump.end(now_us) {
                self.signal().set_pass_us(pass_us);
                self.tally.passes += 1;
                self.tally.pass_us.observe(pass_us);
            }
        }
        if self.pump.due_us().is_some_and(|due_us| due_us <= now_us) {
            for (first, bits) in self.common.signals[self.number].take_grown() {
                self.hub.grown(first, bits, &mut self.due);
            }
            self.pump.begin(self.due.len(), now_us);
        }
        let rest = self.due.len().saturating_sub(PLAYERS_A_ROUND);
        let mut due = self.due.split_off(rest);
        let was_busy = !due.is_empty();
        for key in due.drain(..) {
            // A pass lasts several rounds, in which connections end.
            if self.connections.contains(key) {
                self.flush(key);
            }
        }
        was_busy
    }

    pub(super) fn completed(&mut self, completion: Completion) {
        match completion {
            Completion::Sent { owner, batch, result } => self.sent(owner, batch, result),
            Completion::Received { owner, buffer, result } => self.received(owner, buffer, result),
            Completion::Readable { owner } => {
                self.connections[owner].buffer_size = Size::Small;
                let buffer = self.buffers.take(Size::Small);
                self.ring.receive(self.connections[owner].fd(), owner, buffer);
            }
            Completion::Woken => self.ring.wake(self.wake.as_raw_fd()),
            Completion::Alarm => self.alarm_us = None,
            Completion::Nudged => {}
            Completion::Ticked => {
                self.ring.tick(TICK);
                self.tick();
            }
        }
    }

    fn tick(&mut self) {
        self.expire_players();
        self.ask_quiet_publishers();
        self.try_again();
        let share = self.connections.capacity().div_ceil(TICKS_A_SWEEP).max(64);
        let end = self.sweep_from + share;
        for key in self.sweep_from..end.min(self.connections.capacity()) {
            if self.connections.contains(key) {
                self.look_at(key);
                self.reap(key);
            }
        }
        self.sweep_from = if end >= self.connections.capacity() { 0 } else { end };
        self.post_memory();
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_A_REPORT) {
            self.lay_out_report();
        }
    }

    fn read_mail(&mut self) -> bool {
        let mail = self.common.mailboxes.take(self.number);
        let was_busy = !mail.is_empty();
        for mail in mail {
            match mail {
                Mail::Name { id: PublisherId { key, connection_id, .. }, notice } => {
                    if self.connections.get(key).is_some_and(|it| it.id == connection_id) {
                        match notice {
                            NameNotice::Wanted => self.give_way(key),
                            NameNotice::Free => self.take_freed_name(key),
                        }
                    }
                }
                Mail::Drain => self.drain(),
                Mail::Tasks => self.take_tasks(),
            }
        }
        was_busy
    }

    pub(super) fn find(&self, connection_id: u64) -> Option<usize> {
        self.connections.iter().find(|(_, connection)| connection.id == connection_id).map(|(key, _)| key)
    }

    pub(super) fn signal(&self) -> &Signal {
        &self.common.signals[self.number]
    }

    /// Looks at the time. If the core has stood still, that is no peer's fault: not of those that were not heard, and not
    /// of those who were not sent to.
    fn look_at_clock(&mut self) {
        let standstill = self.clock.look();
        (self.now_ms, self.patient_ms) = (self.clock.now_ms(), self.clock.patient_ms());
        self.signal().patience().set(self.patient_ms);
        if let Some(lasted_ms) = standstill {
            self.stood_still(lasted_ms);
        }
    }

    fn stood_still(&mut self, lasted_ms: u64) {
        self.signal().patience().stood_still(self.now_ms, lasted_ms);
        for &(key, id) in &self.publishers {
            let connection = self.connections.get_mut(key).filter(|connection| connection.id == id);
            for publication in connection.into_iter().flat_map(Connection::publications) {
                publication.stood_still(lasted_ms);
            }
        }
        if lasted_ms >= WORTH_A_LINE_MS {
            tracing::warn!(core = self.number, lasted_ms, "core stalled: the time counts against no peer");
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { ms: self.now_ms, patient_ms: self.patient_ms }
    }

    pub(super) fn clock_us(&self) -> u64 {
        self.clock.us()
    }

    /// Calls that handed something to the kernel, and completions that came back.
    pub(super) fn ring_counts(&self) -> (u64, u64) {
        self.ring.counts()
    }

    /// Bytes of receive buffers.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffers.bytes()
    }

    /// Hands to the kernel what has been gathered.
    #[cfg(test)]
    pub(super) fn submit(&mut self) {
        self.ring.submit().expect("the kernel takes it");
    }

    fn set_alarm(&mut self, due_us: u64) {
        if self.alarm_us.is_none_or(|alarm_us| due_us < alarm_us) {
            self.alarm_us = Some(due_us);
            let wait_us = due_us.saturating_sub(self.clock_us()).max(1);
            self.ring.alarm(Duration::from_micros(wait_us));
        }
    }

    pub(super) fn publisher_id(&self, key: usize, connection_id: u64) -> PublisherId {
        PublisherId { core: self.number, key, connection_id }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
