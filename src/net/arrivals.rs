//! What peers send: which sockets have something to read, and when they are read. In rounds with rests between them, so
//! that small messages pile up and one read takes several; while the core rests, the kernel does not wake it for them.
//! ARCHITECTURE.md has what other ways cost. Knows no protocol.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use bytes::{Bytes, BytesMut};

use super::buffers::ReceiveBuffers;
use crate::endpoint::Input;

/// How often publishers without readers are read, microseconds: seldom for the core, often for every timeout.
const RELAXED_US: u64 = 50_000;
/// How much one of them may bring in that time, bytes: 2.6 Mbit/s. Where one brings more, they are read that much more
/// often, so that no window of TCP fills up.
const MUCH_BYTES: usize = 16 << 10;
/// Where something came within so many microseconds of the last rest, the core is not idle: 4,000 wake-ups a second.
const IDLE_US: u64 = 250;
/// Then it rests for so long after each round, microseconds: one wake-up reads from many sockets.
const REST_US: u64 = 1_000;
/// What is reported of a socket whose end has come, in order or not.
const ENDED: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
/// While media waits to be read, one read in so many is of another socket: of a handshake, or of a player's request.
const READS_PER_NEWCOMER: usize = 8;
/// Sockets that are reported by one call at most; others come with the next one.
const MAX_EVENTS: usize = 512;

/// The sockets of one core. A socket that is closed leaves it by itself.
pub struct Arrivals {
    prompt: Set,
    relaxed: Set,
    /// By descriptor.
    sockets: Vec<Option<Socket>>,
    /// How many of them are relaxed.
    n_relaxed: usize,
    /// What is to be read in this round: media, whose players wait, and newcomers.
    media: VecDeque<RawFd>,
    commands: VecDeque<RawFd>,
    /// How many reads of media have come before others that wait.
    media_reads: usize,
    /// What is to be read in the next round.
    next: Vec<RawFd>,
    /// When this round began, when the next one may begin, and when it takes relaxed sockets in, microseconds.
    begun_us: u64,
    rested_us: u64,
    relaxed_us: u64,
}

/// Sockets that the kernel reports once each time they become readable.
struct Set {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

#[derive(Clone, Copy)]
struct Socket {
    key: usize,
    expected: Input,
    /// It is to be read.
    is_wanted: bool,
    /// It may have something to read.
    is_ready: bool,
    /// Its end has come, after what is still to be read.
    has_ended: bool,
}

impl Arrivals {
    /// Without sockets.
    ///
    /// # Errors
    /// The kernel has no room for an epoll.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            prompt: Set::new()?,
            relaxed: Set::new()?,
            sockets: Vec::new(),
            n_relaxed: 0,
            media: VecDeque::new(),
            commands: VecDeque::new(),
            media_reads: 0,
            next: Vec::new(),
            begun_us: 0,
            rested_us: 0,
            relaxed_us: 0,
        })
    }

    /// The socket of connection `key` is to be read when it has something.
    ///
    /// # Errors
    /// The kernel has no memory to watch it.
    pub fn want(&mut self, fd: RawFd, key: usize, expected: Input) -> io::Result<()> {
        let at = fd as usize;
        if self.sockets.len() <= at {
            self.sockets.resize(at + 1, None);
        }
        match &mut self.sockets[at] {
            Some(socket) if is_relaxed(socket.expected) == is_relaxed(expected) => {
                (socket.key, socket.expected, socket.is_wanted) = (key, expected, true);
                if socket.is_ready {
                    self.next.push(fd);
                }
                return Ok(());
            }
            Some(_) => {
                self.set_of(fd).control(libc::EPOLL_CTL_DEL, fd)?;
                self.forget(fd);
            }
            None => {}
        }
        // What it has by now is noted at once.
        self.sockets[at] = Some(Socket { key, expected, is_wanted: true, is_ready: false, has_ended: false });
        self.n_relaxed += usize::from(is_relaxed(expected));
        self.set_of(fd).control(libc::EPOLL_CTL_ADD, fd).inspect_err(|_| self.forget(fd))
    }

    /// The socket is about to be closed.
    pub fn forget(&mut self, fd: RawFd) {
        let socket = self.sockets.get_mut(fd as usize).and_then(Option::take);
        self.n_relaxed -= usize::from(socket.is_some_and(|socket| is_relaxed(socket.expected)));
    }

    /// Whether there is something to read now. Begins a round if it is time for one; what has come since joins a round
    /// that goes on.
    pub fn begin(&mut self, now_us: u64) -> bool {
        if !self.is_under_way() {
            if now_us < self.rested_us {
                return false;
            }
            self.begun_us = now_us;
        }
        for fd in std::mem::take(&mut self.next) {
            self.join_round(fd);
        }
        self.look(false);
        if self.n_relaxed > 0 && now_us >= self.relaxed_us {
            self.relaxed_us = now_us + RELAXED_US;
            while self.look(true) == MAX_EVENTS {}
        }
        self.is_under_way()
    }

    fn is_under_way(&self) -> bool {
        !self.media.is_empty() || !self.commands.is_empty()
    }

    fn join_round(&mut self, fd: RawFd) {
        match self.sockets[fd as usize] {
            Some(Socket { expected: Input::Commands, .. }) => self.commands.push_back(fd),
            Some(_) => self.media.push_back(fd),
            None => {}
        }
    }

    /// The next socket of the round: media first, but newcomers have their share.
    fn pop(&mut self) -> Option<RawFd> {
        self.media_reads += 1;
        if self.media_reads.is_multiple_of(READS_PER_NEWCOMER) {
            return self.commands.pop_front().or_else(|| self.media.pop_front());
        }
        self.media.pop_front().or_else(|| self.commands.pop_front())
    }

    /// Reads the next socket of the round. Returns the connection's key, and what came: nothing is the peer's end. None
    /// where the round is over.
    pub fn read(&mut self, buffers: &mut ReceiveBuffers) -> Option<(usize, io::Result<Bytes>)> {
        while let Some(fd) = self.pop() {
            let Some(socket) = &mut self.sockets[fd as usize] else { continue };
            if !socket.is_wanted || !socket.is_ready {
                continue;
            }
            let mut buffer = buffers.take(socket.expected);
            let (room, result) = (buffer.capacity(), receive(fd, &mut buffer));
            let bytes = buffer.split().freeze();
            buffers.give_back(socket.expected, buffer);
            if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                socket.is_ready = false;
                continue;
            }
            socket.is_wanted = false;
            // A read that leaves room has emptied the socket, but for its end.
            socket.is_ready = bytes.len() == room || socket.has_ended;
            if bytes.len() > MUCH_BYTES && is_relaxed(socket.expected) {
                let wait_us = RELAXED_US * MUCH_BYTES as u64 / bytes.len() as u64;
                self.relaxed_us = self.relaxed_us.min(self.begun_us + wait_us);
            }
            return Some((socket.key, result.map(|()| bytes)));
        }
        None
    }

    /// The round is over.
    pub fn end(&mut self, now_us: u64) {
        let was_idle = self.begun_us - self.rested_us >= IDLE_US;
        self.rested_us = if was_idle { now_us } else { now_us + REST_US };
    }

    /// When the next round is due, as far as that is known, microseconds.
    pub fn due_us(&self) -> Option<u64> {
        let goes_on = self.is_under_way() || !self.next.is_empty();
        let relaxed_us = (self.n_relaxed > 0).then_some(self.relaxed_us.max(self.rested_us));
        goes_on.then_some(self.rested_us).into_iter().chain(relaxed_us).min()
    }

    /// When the core has rested from the last round, microseconds.
    pub fn rested_us(&self) -> u64 {
        self.rested_us
    }

    /// Readable while a socket has something, except publishers without readers.
    pub fn as_raw_fd(&self) -> RawFd {
        self.prompt.epoll.as_raw_fd()
    }

    /// Asks which sockets have become readable. Returns how many are reported.
    fn look(&mut self, is_relaxed: bool) -> usize {
        let set = if is_relaxed { &mut self.relaxed } else { &mut self.prompt };
        set.ask();
        let events = std::mem::take(&mut set.events);
        for event in &events {
            let fd = event.u64 as RawFd;
            let Some(socket) = &mut self.sockets[fd as usize] else { continue };
            socket.has_ended |= event.events & ENDED as u32 != 0;
            if !std::mem::replace(&mut socket.is_ready, true) && socket.is_wanted {
                self.join_round(fd);
            }
        }
        let n = events.len();
        let set = if is_relaxed { &mut self.relaxed } else { &mut self.prompt };
        set.events = events;
        n
    }

    fn set_of(&self, fd: RawFd) -> &Set {
        match self.sockets[fd as usize] {
            Some(Socket { expected, .. }) if is_relaxed(expected) => &self.relaxed,
            _ => &self.prompt,
        }
    }
}

impl Set {
    fn new() -> io::Result<Self> {
        // SAFETY: it takes no memory.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and has no other owner.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(epoll) }, events: Vec::with_capacity(MAX_EVENTS) })
    }

    fn control(&self, operation: i32, fd: RawFd) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: fd as u64 };
        // SAFETY: the event outlives the call.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn ask(&mut self) {
        let (epoll, room) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        // SAFETY: there is room for so many events.
        let n = unsafe { libc::epoll_wait(epoll, room, MAX_EVENTS as i32, 0) };
        // SAFETY: the kernel has written `n` events; on an error none.
        unsafe { self.events.set_len(n.max(0) as usize) };
    }
}

fn is_relaxed(expected: Input) -> bool {
    expected == Input::UnreadMedia
}

/// Receives what is there into the buffer's spare room.
fn receive(fd: RawFd, buffer: &mut BytesMut) -> io::Result<()> {
    let spare = buffer.spare_capacity_mut();
    debug_assert!(!spare.is_empty(), "a receive into no room looks like the peer's end");
    // SAFETY: the kernel writes no more than there is room for.
    let n = unsafe { libc::recv(fd, spare.as_mut_ptr().cast(), spare.len(), libc::MSG_DONTWAIT) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: it has written `n` bytes from the start of that room.
    unsafe { buffer.set_len(buffer.len() + n) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Shutdown, TcpListener, TcpStream},
    };

    use super::{super::buffers::MEDIA_BYTES, *};

    /// The relay's end and the peer's.
    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        (listener.accept().expect("one waits").0, peer)
    }

    /// All reads of a round that begins now: whose they are, and how much came.
    fn round(arrivals: &mut Arrivals, now_us: u64) -> Vec<(usize, usize)> {
        let mut reads = Vec::new();
        if arrivals.begin(now_us) {
            let mut buffers = ReceiveBuffers::default();
            while let Some((key, result)) = arrivals.read(&mut buffers) {
                reads.push((key, result.expect("it is connected").len()));
            }
            arrivals.end(now_us);
        }
        reads
    }

    /// Of one socket with the key 7.
    fn arrivals(socket: &TcpStream, expected: Input) -> Arrivals {
        let mut arrivals = Arrivals::new().expect("epoll is to be had");
        arrivals.want(socket.as_raw_fd(), 7, expected).expect("it is watched");
        arrivals
    }

    #[test]
    fn a_socket_is_read_once_each_time_it_is_wanted_and_what_came_before_or_in_between_is_not_lost() {
        for expected in [Input::Media, Input::UnreadMedia] {
            let (ours, mut peer) = connected();
            peer.write_all(&[1; 100]).expect("it is connected");
            let mut arrivals = arrivals(&ours, expected);
            let mut now_us = 0;
            let mut round = |arrivals: &mut Arrivals| {
                now_us += RELAXED_US;
                round(arrivals, now_us)
            };
            assert_eq!(round(&mut arrivals), [(7, 100)], "it was there before");
            peer.write_all(&vec![1; MEDIA_BYTES + 500]).expect("it is connected");
            assert_eq!(round(&mut arrivals), [], "not wanted");
            arrivals.want(ours.as_raw_fd(), 8, expected).expect("it is watched");
            assert_eq!(round(&mut arrivals), [(8, MEDIA_BYTES)], "as much as there is room for");
            arrivals.want(ours.as_raw_fd(), 8, expected).expect("it is watched");
            assert_eq!(round(&mut arrivals), [(8, 500)], "the rest, which is no news");
            arrivals.want(ours.as_raw_fd(), 8, expected).expect("it is watched");
            assert_eq!(round(&mut arrivals), [], "nothing is there");
            peer.write_all(&[1; 10]).expect("it is connected");
            drop(peer);
            for bytes in [10, 0, 0] {
                assert_eq!(round(&mut arrivals), [(8, bytes)], "its end comes after what was sent before");
                arrivals.want(ours.as_raw_fd(), 8, expected).expect("it is watched");
            }
        }
    }

    #[test]
    fn a_socket_that_the_relay_shuts_comes_to_its_end() {
        let (ours, _peer) = connected();
        let mut arrivals = arrivals(&ours, Input::Media);
        assert_eq!(round(&mut arrivals, 0), []);
        ours.shutdown(Shutdown::Both).expect("it is connected");
        assert_eq!(round(&mut arrivals, 1), [(7, 0)]);
    }

    #[test]
    fn relaxed_sockets_are_read_every_50_ms_and_more_often_where_they_bring_much() {
        let (ours, mut peer) = connected();
        let mut arrivals = arrivals(&ours, Input::UnreadMedia);
        assert_eq!(round(&mut arrivals, 1_000), []);
        peer.write_all(&[1; 100]).expect("it is connected");
        assert_eq!(arrivals.due_us(), Some(1_000 + RELAXED_US));
        assert_eq!(round(&mut arrivals, RELAXED_US), []);
        assert_eq!(round(&mut arrivals, 1_000 + RELAXED_US), [(7, 100)]);
        for (bytes, wait_us) in [(MUCH_BYTES, RELAXED_US), (3 * MUCH_BYTES, RELAXED_US / 3)] {
            let now_us = arrivals.due_us().expect("there is one");
            peer.write_all(&vec![1; bytes]).expect("it is connected");
            arrivals.want(ours.as_raw_fd(), 7, Input::UnreadMedia).expect("it is watched");
            assert!(arrivals.begin(now_us));
            let (_, read) = arrivals.read(&mut ReceiveBuffers::default()).expect("something came");
            assert_eq!(read.expect("it is connected").len(), bytes);
            arrivals.end(now_us);
            assert_eq!(arrivals.due_us(), Some(now_us + wait_us), "{bytes}");
        }
    }

    #[test]
    fn a_socket_may_become_prompt_and_relaxed_again() {
        let (ours, mut peer) = connected();
        let mut arrivals = arrivals(&ours, Input::UnreadMedia);
        let mut now_us = 0;
        let mut next_round = |arrivals: &mut Arrivals| {
            now_us += 2 * REST_US;
            round(arrivals, now_us)
        };
        assert_eq!(next_round(&mut arrivals), []);
        for expected in [Input::Media, Input::UnreadMedia, Input::Media] {
            peer.write_all(&[1; 10]).expect("it is connected");
            arrivals.want(ours.as_raw_fd(), 7, expected).expect("it is watched");
            if expected == Input::UnreadMedia {
                assert_eq!(next_round(&mut arrivals), []);
                arrivals.want(ours.as_raw_fd(), 7, Input::Commands).expect("it is watched");
            }
            assert_eq!(next_round(&mut arrivals), [(7, 10)], "{expected:?}");
        }
        assert_eq!(arrivals.n_relaxed, 0);
    }

    #[test]
    fn a_core_to_which_something_comes_all_the_time_rests_between_rounds_and_an_idle_one_does_not() {
        let (ours, mut peer) = connected();
        let mut arrivals = arrivals(&ours, Input::Media);
        let mut begin_at = |arrivals: &mut Arrivals, now_us| {
            peer.write_all(&[1]).expect("it is connected");
            arrivals.want(ours.as_raw_fd(), 7, Input::Media).expect("it is watched");
            arrivals.begin(now_us)
        };
        for (idle_us, rest_us) in [(IDLE_US, 0), (IDLE_US - 1, REST_US), (0, REST_US), (IDLE_US, 0)] {
            let begun_us = arrivals.rested_us() + idle_us;
            assert!(begin_at(&mut arrivals, begun_us));
            assert!(arrivals.read(&mut ReceiveBuffers::default()).is_some());
            arrivals.end(begun_us + 10);
            assert_eq!(arrivals.rested_us(), begun_us + 10 + rest_us);
            assert!(!begin_at(&mut arrivals, begun_us + 9 + rest_us), "{idle_us}");
        }
    }

    #[test]
    fn media_is_read_before_the_commands_of_newcomers_which_have_their_share() {
        let mut arrivals = Arrivals::new().expect("epoll is to be had");
        let pairs: Vec<_> = (0..40).map(|_| connected()).collect();
        for (key, (ours, mut peer)) in pairs.iter().map(|(ours, peer)| (ours, peer)).enumerate() {
            peer.write_all(&[1]).expect("it is connected");
            let expected = if key < 20 { Input::Commands } else { Input::Media };
            arrivals.want(ours.as_raw_fd(), key, expected).expect("it is watched");
        }
        let reads: Vec<usize> = round(&mut arrivals, 0).into_iter().map(|(key, _)| key).collect();
        assert_eq!(reads.len(), 40);
        let first_commands = reads[..22].iter().filter(|&&key| key < 20).count();
        assert_eq!(first_commands, 2, "{reads:?}");
        let commands: Vec<usize> = reads.into_iter().filter(|&key| key < 20).collect();
        assert_eq!(commands, (0..20).collect::<Vec<_>>(), "in their order");
    }

    #[test]
    fn what_comes_while_a_round_goes_on_joins_it() {
        let mut arrivals = Arrivals::new().expect("epoll is to be had");
        let pairs: Vec<_> = (0..3).map(|_| connected()).collect();
        let come = |arrivals: &mut Arrivals, key: usize, expected| {
            let (ours, peer) = &pairs[key];
            { peer }.write_all(&[1]).expect("it is connected");
            arrivals.want(ours.as_raw_fd(), key, expected).expect("it is watched");
        };
        come(&mut arrivals, 0, Input::Commands);
        come(&mut arrivals, 1, Input::Commands);
        assert!(arrivals.begin(0));
        let mut buffers = ReceiveBuffers::default();
        assert_eq!(arrivals.read(&mut buffers).map(|(key, _)| key), Some(0));
        come(&mut arrivals, 2, Input::Media);
        assert!(arrivals.begin(1));
        let rest = [arrivals.read(&mut buffers), arrivals.read(&mut buffers)];
        assert_eq!(rest.map(|read| read.map(|(key, _)| key)), [Some(2), Some(1)]);
    }

    #[test]
    fn a_socket_that_is_forgotten_is_not_read_and_its_number_may_be_another_one_s() {
        let (ours, mut peer) = connected();
        let mut arrivals = arrivals(&ours, Input::UnreadMedia);
        let fd = ours.as_raw_fd();
        peer.write_all(&[1]).expect("it is connected");
        assert!(arrivals.begin(RELAXED_US));
        arrivals.forget(fd);
        drop(ours);
        assert!(arrivals.read(&mut ReceiveBuffers::default()).is_none());
        arrivals.end(RELAXED_US);
        assert_eq!((arrivals.due_us(), arrivals.n_relaxed), (None, 0));
        let (other, mut peer) = connected();
        peer.write_all(&[1; 5]).expect("it is connected");
        arrivals.want(other.as_raw_fd(), 9, Input::Media).expect("it is watched");
        assert_eq!(round(&mut arrivals, 2 * RELAXED_US), [(9, 5)]);
    }
}
