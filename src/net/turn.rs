//! One core's loop: takes turns, does all that is due in each of them, and decides when the next one begins. Knows no
//! protocol.

#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    io::{self, PipeReader},
    net::{Shutdown, SocketAddr, TcpStream as StdStream},
    os::fd::AsRawFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_uring::net::TcpStream;

use super::{
    arrivals::Arrivals,
    buffers::ReceiveBuffers,
    memlock::patiently,
    queued::queued_bytes,
    ring::{Completion, Ring, RingSize},
};
use crate::{
    access::Question,
    endpoint::{
        Asked, Direction, Endpoint, Input, Io, IoCounts, IoError, Mail, Mailboxes, SendBuffer, Shared,
        Spoken, TICK,
    },
    stream::Signal,
};

/// How long a core does its own work before accepting gets its turn, microseconds. Ends with the round that exceeds it.
const TURN_US: u64 = 4_000;
/// How long a core rests where the kernel takes no operation, and after how long of that it gives up.
const REFUSED_REST: Duration = Duration::from_millis(5);
const REFUSED_FOR_MS: u64 = 10_000;
/// The time is looked at after so many completions, or reads: at a slice each, they take a quarter of a turn.
const COMPLETIONS_PER_LOOK: usize = 4;
const READS_PER_LOOK: usize = 4;
/// How long sockets are read between two rounds of a pass over players, which last some 5 ms: those who watch come first.
const READS_US: u64 = 1_000;

/// How long TLS handshakes take of a round at most, beyond the one that is begun: a full one costs about as much.
const HANDSHAKES_US: u64 = 250;

/// One core: its endpoint, and the loop around it. Its methods are called on its own thread alone.
pub(super) struct Core {
    number: usize,
    endpoint: Endpoint<Sockets>,
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes<StdStream>>,
    wake: PipeReader,
    /// When the pending alarms go off, microseconds: two at most in the usual course.
    alarms_us: Vec<u64>,
    /// The ring waits until something has come.
    awaits_arrivals: bool,
    /// Since when the kernel has taken no operation, by the core's patient clock: a machine that is short of memory stalls.
    refused_since_ms: Option<u64>,
}

/// The sockets of one core, their ring, what comes on them, and the buffers for that.
pub(super) struct Sockets {
    number: usize,
    ring: Ring,
    arrivals: Arrivals,
    buffers: ReceiveBuffers,
    /// Connections that the kernel has no memory to watch at the moment.
    unwatched: Vec<(usize, io::Error)>,
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes<StdStream>>,
    started: Instant,
}

/// What comes after a turn.
enum Turn {
    /// The ring wakes the core for the next one.
    Over,
    /// The kernel took nothing: the next one is to be taken a little later, whatever completes.
    Refused,
    /// The kernel has taken nothing for too long.
    Failed(io::Error),
    /// Nothing ever: the core has drained.
    Done,
}

impl Core {
    /// A core for the calling thread. `started` is when the relay did.
    ///
    /// # Errors
    /// The kernel refuses io_uring.
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        mailboxes: Arc<Mailboxes<StdStream>>,
        wake: PipeReader,
        ring_size: RingSize,
        started: Instant,
    ) -> io::Result<Self> {
        let zero_copy_threshold = shared.config().play.zero_copy_threshold;
        let mut ring = patiently(|| Ring::new(zero_copy_threshold, ring_size))?;
        ring.wake(wake.as_raw_fd());
        ring.tick(TICK);
        let sockets = Sockets {
            number,
            ring,
            arrivals: patiently(Arrivals::new)?,
            buffers: ReceiveBuffers::default(),
            unwatched: Vec::new(),
            shared: shared.clone(),
            mailboxes: mailboxes.clone(),
            started,
        };
        let endpoint = Endpoint::new(number, shared.clone(), sockets);
        Ok(Self {
            number,
            endpoint,
            shared,
            mailboxes,
            wake,
            alarms_us: Vec::new(),
            awaits_arrivals: false,
            refused_since_ms: None,
        })
    }

    /// Takes turns until the core has drained.
    pub(super) async fn run(core: Rc<RefCell<Core>>) -> io::Result<()> {
        let completions = core.borrow_mut().ring().completions()?;
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
    pub(super) fn admit(&mut self, socket: TcpStream, peer: SocketAddr, spoken: Spoken) {
        let mut random = [0; 32];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::warn!(%peer, %error, "connection refused: no random bytes for the handshake");
            return;
        }
        self.endpoint.admit(socket, peer, spoken, random);
        // Where it is not taken now, the next turn tries again.
        let _ = self.ring().submit();
    }

    /// Whether no more connections are to be accepted.
    pub(super) fn is_draining(&self) -> bool {
        self.endpoint.is_draining()
    }

    /// Does what is there to do, for as long as a turn may take.
    fn turn(&mut self) -> Turn {
        self.signal().awake();
        let end_us = self.now_us() + TURN_US;
        loop {
            self.endpoint.advance();
            let mut was_busy = self.read_mail();
            was_busy |= self.endpoint.work_off_mail();
            let submitted = self.ring().submit();
            // No more than are there now: each may start a send that completes at once, and the other tasks would not
            // get their turn while players catch up.
            for number in 1..=self.ring().waiting() {
                let Some(completion) = self.ring().complete() else { break };
                was_busy = true;
                self.completed(completion);
                self.keep_within_memory();
                if number.is_multiple_of(COMPLETIONS_PER_LOOK) && self.now_us() >= end_us {
                    break;
                }
            }
            let reads_end_us = if self.endpoint.is_in_pass() { self.now_us() + READS_US } else { end_us };
            was_busy |= self.read_arrivals(reads_end_us.min(end_us));
            was_busy |= self.endpoint.pass();
            was_busy |= self.work_off_backlog(end_us);
            was_busy |= self.work_off_handshakes(end_us);
            self.keep_within_memory();
            let is_over = self.now_us() >= end_us;
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
                self.ring().nudge();
                return self.over();
            }
        }
    }

    /// The turn is over, and what was gathered goes to the kernel: nothing else would wake the core.
    fn over(&mut self) -> Turn {
        match self.ring().submit() {
            Ok(()) => Turn::Over,
            Err(error) => self.rest_from_refusal(error),
        }
    }

    /// The kernel takes no operation. It may do so again in a moment; a core that can neither send nor receive for long
    /// is of no use, and fails rather than spins.
    fn rest_from_refusal(&mut self, error: io::Error) -> Turn {
        let patient_ms = self.signal().patience().patient_ms();
        let since_ms = *self.refused_since_ms.get_or_insert(patient_ms);
        if patient_ms - since_ms < REFUSED_FOR_MS {
            tracing::debug!(core = self.number, %error, "io_uring took nothing");
            return Turn::Refused;
        }
        Turn::Failed(io::Error::new(error.kind(), format!("io_uring has taken nothing for 10 s: {error}")))
    }

    /// Nothing is left to do now.
    fn rest(&mut self) -> Turn {
        if self.endpoint.has_drained() {
            return Turn::Done;
        }
        let now_us = self.now_us();
        let arrivals = &self.endpoint.io().arrivals;
        let (due_us, rested_us, fd) = (arrivals.due_us(), arrivals.rested_us(), arrivals.as_raw_fd());
        if rested_us <= now_us && !std::mem::replace(&mut self.awaits_arrivals, true) {
            self.ring().await_arrivals(fd);
        }
        let rested_us = (rested_us > now_us).then_some(rested_us);
        if let Some(due_us) = self.endpoint.due_us().into_iter().chain(due_us).chain(rested_us).min() {
            self.set_alarm(due_us);
        }
        if !self.signal().may_sleep() {
            self.ring().nudge();
        }
        self.over()
    }

    fn completed(&mut self, completion: Completion) {
        match completion {
            Completion::Sent { owner, buffer, result } => {
                self.endpoint.sent(owner, buffer, result.map_err(classify));
            }
            Completion::HungUp { owner } => self.endpoint.hung_up(owner),
            Completion::Woken => {
                let wake = self.wake.as_raw_fd();
                self.ring().wake(wake);
            }
            Completion::Alarm => self.alarm_has_gone_off(),
            Completion::Nudged => {}
            Completion::Arrivals => self.awaits_arrivals = false,
            Completion::Ticked => {
                self.ring().tick(TICK);
                let (submissions, completions) = self.ring().counts();
                self.endpoint.tick(IoCounts { submissions, completions });
            }
        }
    }

    /// Reads what peers have sent, until the round or the turn is over. False where there was nothing.
    fn read_arrivals(&mut self, end_us: u64) -> bool {
        for (key, error) in std::mem::take(&mut self.endpoint.io().unwatched) {
            self.endpoint.received(key, Err(classify(error)));
        }
        let now_us = self.now_us();
        if !self.endpoint.io().arrivals.begin(now_us) {
            return false;
        }
        for number in 1.. {
            let Sockets { arrivals, buffers, .. } = self.endpoint.io();
            let Some((key, result)) = arrivals.read(buffers) else { break };
            self.endpoint.received(key, result.map_err(classify));
            self.keep_within_memory();
            if number % READS_PER_LOOK == 0 && self.now_us() >= end_us {
                return true;
            }
        }
        let now_us = self.now_us();
        self.endpoint.io().arrivals.end(now_us);
        true
    }

    fn read_mail(&mut self) -> bool {
        if !self.signal().take_posted() {
            return false;
        }
        for mail in self.mailboxes.take(self.number) {
            self.endpoint.deliver(mail.map_socket(blocking));
        }
        true
    }

    /// Gives connections of the backlog a slice each, at least one, and others until the turn is over or something else is
    /// to be done. False where there was none.
    fn work_off_backlog(&mut self, end_us: u64) -> bool {
        let mut was_busy = false;
        for _ in 0..self.endpoint.backlog_len() {
            if !self.endpoint.work_off_backlog() {
                break;
            }
            was_busy = true;
            self.ring().look();
            if self.ring().waiting() > 0 || self.signal().has_new_data() || self.now_us() >= end_us {
                break;
            }
        }
        was_busy
    }

    /// Goes on with TLS handshakes, at least one, and others for a share of the turn, until something else is to be done.
    /// False where there was none.
    fn work_off_handshakes(&mut self, end_us: u64) -> bool {
        let end_us = end_us.min(self.now_us() + HANDSHAKES_US);
        let mut was_busy = false;
        while self.endpoint.work_off_handshake() {
            was_busy = true;
            self.ring().look();
            if self.ring().waiting() > 0 || self.signal().has_new_data() || self.now_us() >= end_us {
                break;
            }
        }
        was_busy
    }

    fn keep_within_memory(&mut self) {
        let buffer_bytes = self.endpoint.io().buffers.bytes();
        self.endpoint.keep_within_memory(buffer_bytes);
    }

    /// Wakes the core at `due_us` at the latest.
    fn set_alarm(&mut self, due_us: u64) {
        if self.alarms_us.iter().all(|&alarm_us| due_us < alarm_us) {
            self.alarms_us.push(due_us);
            let wait_us = due_us.saturating_sub(self.now_us()).max(1);
            self.ring().alarm(Duration::from_micros(wait_us));
        }
    }

    /// The earliest one.
    fn alarm_has_gone_off(&mut self) {
        let earliest = self.alarms_us.iter().enumerate().min_by_key(|(_, alarm_us)| **alarm_us);
        if let Some((at, _)) = earliest {
            self.alarms_us.swap_remove(at);
        }
    }

    fn signal(&self) -> &Signal {
        &self.shared.signals()[self.number]
    }

    fn ring(&mut self) -> &mut Ring {
        &mut self.endpoint.io().ring
    }

    fn now_us(&mut self) -> u64 {
        self.endpoint.io().now_us()
    }
}

impl Io for Sockets {
    type Socket = TcpStream;

    fn send(&mut self, socket: &TcpStream, key: usize, buffer: SendBuffer) {
        self.ring.send(socket.as_raw_fd(), key, buffer);
    }

    fn receive(&mut self, socket: &TcpStream, key: usize, expected: Input) {
        if let Err(error) = self.arrivals.want(socket.as_raw_fd(), key, expected) {
            self.unwatched.push((key, error));
        }
    }

    fn await_hang_up(&mut self, socket: &TcpStream, key: usize) {
        self.ring.await_hang_up(socket.as_raw_fd(), key);
    }

    fn shut(&mut self, socket: &TcpStream, direction: Direction) -> bool {
        let how = match direction {
            Direction::Receive => Shutdown::Read,
            Direction::Send => Shutdown::Write,
            Direction::Both => Shutdown::Both,
        };
        socket.shutdown(how).is_ok()
    }

    fn unacknowledged_bytes(&self, socket: &TcpStream) -> Option<u32> {
        queued_bytes(socket.as_raw_fd())
    }

    fn close(&mut self, socket: TcpStream) {
        self.arrivals.forget(socket.as_raw_fd());
        drop(socket);
    }

    fn ask(&mut self, asked: Asked, question: Question) {
        let (mailboxes, core) = (self.mailboxes.clone(), self.number);
        let answer = move |verdict| mailboxes.post(core, Mail::Verdict { asked, verdict });
        self.shared.service().ask(question, Box::new(answer));
    }

    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

/// What an error of a send or a receive means.
fn classify(error: io::Error) -> IoError {
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EAGAIN) => IoError::Interrupted,
        Some(libc::ENOBUFS | libc::ENOMEM) => IoError::Shortage,
        _ => IoError::Broken(error),
    }
}

/// A socket as the ring wants it: it waits for sockets by itself, and only for those that block.
fn blocking(socket: StdStream) -> TcpStream {
    if socket.set_nonblocking(false).is_err() {
        // Its connection ends with the first send, and the log says so.
        let _ = socket.shutdown(Shutdown::Both);
    }
    TcpStream::from_std(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Open, config::Config, net::handle::EventSender};

    /// A core of a relay that has just started.
    fn core() -> Core {
        let signals: Arc<[Signal]> = [Signal::new(|| ())].into();
        let mailboxes = Arc::new(Mailboxes::new(signals.clone()));
        let shared =
            Shared::new(Config::default(), signals, Box::new(Open), Box::new(EventSender::new()), |_, _| ());
        let (wake, _) = io::pipe().unwrap();
        Core::new(0, shared, mailboxes, wake, RingSize::LARGEST, Instant::now()).unwrap()
    }

    #[test]
    fn a_core_gives_up_after_10_s_without_io_uring_in_which_it_ran_however_long_it_stalled() {
        let mut core = core();
        let mut turn_after = |ms| {
            core.endpoint.io().started -= Duration::from_millis(ms);
            core.endpoint.advance();
            core.rest_from_refusal(io::ErrorKind::WouldBlock.into())
        };
        for ms in [0, 60_000] {
            assert!(matches!(turn_after(ms), Turn::Refused));
        }
        // Each step of the clock takes some microseconds more.
        assert!((0..90).all(|_| matches!(turn_after(100), Turn::Refused)));
        assert!((0..20).any(|_| matches!(turn_after(100), Turn::Failed(_))));
    }

    #[test]
    fn only_the_peer_s_own_trouble_ends_its_connection() {
        let classify = |errno| super::classify(io::Error::from_raw_os_error(errno));
        assert!(matches!(classify(libc::EINTR), IoError::Interrupted));
        assert!(matches!(classify(libc::ENOBUFS), IoError::Shortage));
        assert!(matches!(classify(libc::ENOMEM), IoError::Shortage));
        assert!(matches!(classify(libc::ECONNRESET), IoError::Broken(_)));
        assert!(matches!(classify(libc::EPIPE), IoError::Broken(_)));
    }
}
