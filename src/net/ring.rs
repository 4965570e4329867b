//! The fan-out ring: one io_uring per core for its sends, timers and wake-ups. Owns every buffer that the kernel may
//! touch until the kernel is done with it.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use tokio::io::{Interest, unix::AsyncFd};

pub use super::memlock::RingSize;
use crate::endpoint::SendBuffer;

/// `IORING_SEND_ZC_REPORT_USAGE`: the notification of a send says whether its bytes were copied after all.
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`, in the result of such a notification.
const WAS_COPIED: u32 = 1 << 31;

/// One core's ring. Every method must be called on the thread that made it.
pub struct Ring {
    ring: IoUring,
    operations: Slab<Operation>,
    /// Operations that found the queue full while the kernel took nothing: they follow it, in order. Bounded by the
    /// operations under way, which are two per connection and a few.
    waiting: VecDeque<squeue::Entry>,
    /// A send of at least this many bytes lends them to the network card.
    zero_copy_threshold: usize,
    tick: Box<types::Timespec>,
    submissions: u64,
    completions: u64,
}

/// What a submission is about, and the memory that it lends to the kernel.
enum Operation {
    Send {
        owner: usize,
        buffer: SendBuffer,
        uncopied: Option<RawFd>,
    },
    /// A send without a copy that has completed: the card may still read these bytes.
    Lent {
        _buffer: SendBuffer,
    },
    HangUp {
        owner: usize,
    },
    Wake {
        _value: Box<u64>,
    },
    Tick,
    Alarm {
        _duration: Box<types::Timespec>,
    },
    Nudge,
    Arrivals,
}

/// What has come to its end. `owner` is what the caller named it by, `result` the bytes that were moved.
#[allow(missing_docs)]
pub enum Completion {
    /// A send: how many bytes the socket took.
    Sent { owner: usize, buffer: SendBuffer, result: io::Result<usize> },
    /// The peer has hung up.
    HungUp { owner: usize },
    /// Another core called.
    Woken,
    /// [`Ring::tick`] has passed.
    Ticked,
    /// [`Ring::alarm`] has passed.
    Alarm,
    /// [`Ring::nudge`].
    Nudged,
    /// [`Ring::await_arrivals`].
    Arrivals,
}

impl Ring {
    /// A ring for the calling thread. Sends of at least `zero_copy_threshold` bytes are not copied, if the kernel can do
    /// without; 0 copies all.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn new(zero_copy_threshold: usize, size: RingSize) -> io::Result<Self> {
        let mut ring = Self::with_room(size.submissions, size.completions)?;
        ring.zero_copy_threshold = if zero_copy_threshold == 0 { usize::MAX } else { zero_copy_threshold };
        Ok(ring)
    }

    fn with_room(submissions: u32, completions: u32) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_clamp();
        // One thread submits, and completions wait until it looks: fewer interrupts of the busy thread. Kernels
        // before 6.0 know one of these or neither.
        let tuned = builder.clone().setup_single_issuer().setup_coop_taskrun().build(submissions);
        let ring = match tuned {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(submissions)?,
            other => other?,
        };
        Ok(Self {
            ring,
            operations: Slab::new(),
            waiting: VecDeque::new(),
            zero_copy_threshold: usize::MAX,
            tick: Box::new(types::Timespec::new()),
            submissions: 0,
            completions: 0,
        })
    }

    /// Sends these bytes. The socket stays open until the completion came.
    pub fn send(&mut self, socket: RawFd, owner: usize, buffer: SendBuffer) {
        let bytes = buffer.bytes();
        // The address stays good while the buffer moves into `operations`: its bytes are on the heap.
        let (address, len) = (bytes.as_ptr(), bytes.len() as u32);
        let uncopied = (bytes.len() >= self.zero_copy_threshold).then_some(socket);
        let entry = if uncopied.is_some() {
            let send = opcode::SendZc::new(types::Fd(socket), address, len).flags(libc::MSG_NOSIGNAL);
            send.zc_flags(REPORT_USAGE).build()
        } else {
            opcode::Send::new(types::Fd(socket), address, len).flags(libc::MSG_NOSIGNAL).build()
        };
        self.push(entry, Operation::Send { owner, buffer, uncopied });
    }

    /// Waits until the peer has hung up.
    pub fn await_hang_up(&mut self, socket: RawFd, owner: usize) {
        let entry = opcode::PollAdd::new(types::Fd(socket), libc::POLLRDHUP as u32).build();
        self.push(entry, Operation::HangUp { owner });
    }

    /// Waits until one of these sockets has something to read: see `net/arrivals.rs`.
    pub fn await_arrivals(&mut self, sockets: RawFd) {
        let entry = opcode::PollAdd::new(types::Fd(sockets), libc::POLLIN as u32).build();
        self.push(entry, Operation::Arrivals);
    }

    /// Waits for a call on this eventfd.
    pub fn wake(&mut self, eventfd: RawFd) {
        let mut value = Box::new(0u64);
        let address = (&raw mut *value).cast::<u8>();
        let entry = opcode::Read::new(types::Fd(eventfd), address, size_of::<u64>() as u32).build();
        self.push(entry, Operation::Wake { _value: value });
    }

    /// Completes after `period`.
    pub fn tick(&mut self, period: Duration) {
        *self.tick = period.into();
        let entry = opcode::Timeout::new(&*self.tick).build();
        self.push(entry, Operation::Tick);
    }

    /// Completes after `duration`.
    pub fn alarm(&mut self, duration: Duration) {
        let duration = Box::new(types::Timespec::from(duration));
        let entry = opcode::Timeout::new(&*duration).build();
        self.push(entry, Operation::Alarm { _duration: duration });
    }

    /// Completes at once. Completions that are left announce themselves no second time: this one does.
    pub fn nudge(&mut self) {
        self.push(opcode::Nop::new().build(), Operation::Nudge);
    }

    /// Notifies the thread's runtime when completions wait. Call it inside that runtime.
    pub fn completions(&self) -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: the ring's descriptor is open for as long as `self`.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }.try_clone_to_owned()?;
        // SAFETY: the duplicate is open, and has no other owner, for as long as the `AsyncFd` has it.
        Ok(unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?)
    }

    /// Hands all that was gathered to the kernel, and takes over completions that found no room.
    ///
    /// # Errors
    /// The kernel did not take all: completions overflow, or memory is short. What is left stays gathered, and has to be
    /// tried again once the caller has looked at the completions, or a little later.
    pub fn submit(&mut self) -> io::Result<()> {
        // Without this call they stay with the kernel, and all later ones behind them: the core would sleep for good.
        let mut is_overflown = self.ring.submission().cq_overflow();
        loop {
            self.fill_queue();
            if !is_overflown && self.ring.submission().is_empty() {
                return Ok(());
            }
            self.hand_over()?;
            is_overflown = false;
        }
    }

    /// One call that hands the queue over.
    fn hand_over(&mut self) -> io::Result<()> {
        self.submissions += 1;
        match self.ring.submit()? {
            0 if !self.ring.submission().is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }

    /// Puts what waits into the queue, as far as there is room.
    fn fill_queue(&mut self) {
        while let Some(entry) = self.waiting.front() {
            // SAFETY: as in `push`: what the entry points to is owned by `operations` until its completion.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Calls that handed something to the kernel, and completions that came back, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.submissions, self.completions)
    }

    /// Lets the kernel bring completions in that it has finished: without a call into it a busy thread sees none.
    pub fn look(&mut self) {
        // What fails here fails again where it is dealt with.
        let _ = self.ring.submit();
    }

    /// How many completions are there now.
    pub fn waiting(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// The next completion that is there.
    pub fn complete(&mut self) -> Option<Completion> {
        loop {
            let entry = self.ring.completion().next()?;
            self.completions += 1;
            if let Some(completion) = self.completion(&entry) {
                return Some(completion);
            }
        }
    }

    /// What an entry is about; none where it concerns this file alone.
    fn completion(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let key = entry.user_data() as usize;
        let operation = if cqueue::more(entry.flags()) {
            let Operation::Send { buffer, .. } = &self.operations[key] else { return None };
            let lent = Operation::Lent { _buffer: buffer.clone() };
            std::mem::replace(&mut self.operations[key], lent)
        } else {
            self.operations.remove(key)
        };
        let result = match entry.result() {
            n @ 0.. => Ok(n as usize),
            errno => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
        };
        Some(match operation {
            Operation::Send { owner, buffer, uncopied } => match (&result, uncopied) {
                (Err(error), Some(socket)) if is_unknown(error) => {
                    self.copy_from_now_on("this kernel or this network has no send without a copy");
                    self.send(socket, owner, buffer);
                    return None;
                }
                _ => Completion::Sent { owner, buffer, result },
            },
            Operation::Lent { .. } => {
                if entry.result() as u32 & WAS_COPIED != 0 {
                    self.copy_from_now_on("the kernel copied a send that was to be without a copy");
                }
                return None;
            }
            Operation::HangUp { owner } => Completion::HungUp { owner },
            Operation::Wake { .. } => Completion::Woken,
            Operation::Tick => Completion::Ticked,
            Operation::Alarm { .. } => Completion::Alarm,
            Operation::Nudge => Completion::Nudged,
            Operation::Arrivals => Completion::Arrivals,
        })
    }

    fn copy_from_now_on(&mut self, why: &str) {
        if std::mem::replace(&mut self.zero_copy_threshold, usize::MAX) != usize::MAX {
            tracing::warn!(why, "zero-copy sends disabled on this core");
        }
    }

    fn push(&mut self, entry: squeue::Entry, operation: Operation) {
        let key = self.operations.insert(operation);
        let entry = entry.user_data(key as u64);
        if self.ring.submission().is_full() {
            // Where the kernel takes nothing the next `submit` says so.
            if self.hand_over().is_ok() {
                self.fill_queue();
            }
        }
        // SAFETY: what the entry points to is owned by `operations` (or `self.tick`) until its completion.
        if !self.waiting.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.waiting.push_back(entry);
        }
    }
}

/// The error of a kernel before 6.2, or of a socket of the wrong kind, for a send without a copy.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// What rings have left to the kernel: reachable, so that a leak checker does not report it.
static LEFT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

impl Drop for Ring {
    /// Closing the ring cancels what is under way, but not at once: what the kernel may still touch is left to it.
    fn drop(&mut self) {
        let tick = std::mem::replace(&mut self.tick, Box::new(types::Timespec::new()));
        let left = Box::into_raw(Box::new((std::mem::take(&mut self.operations), tick)));
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(left.addr());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpListener, TcpStream},
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

    use bytes::Bytes;

    use super::*;
    use crate::fanout::Batch;

    /// The relay's end and the peer's.
    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        (listener.accept().expect("one waits").0, peer)
    }

    /// Waits for the next completion of a send.
    fn sent(ring: &mut Ring) -> (usize, io::Result<usize>) {
        loop {
            ring.submit().expect("the kernel takes it");
            match ring.complete() {
                Some(Completion::Sent { owner, result, .. }) => return (owner, result),
                Some(_) => panic!("nothing else is under way"),
                None => drop(ring.ring.submit_and_wait(1).expect("the ring works")),
            }
        }
    }

    fn own(bytes: &'static [u8]) -> SendBuffer {
        SendBuffer::Plain(Batch::Own(Bytes::from_static(bytes)))
    }

    #[test]
    fn more_sends_than_the_queue_holds_all_go_out() {
        let mut ring = Ring::with_room(4, 8).expect("io_uring is to be had");
        let pairs: Vec<_> = (0..40).map(|_| connected()).collect();
        for (owner, (ours, _)) in pairs.iter().enumerate() {
            ring.send(ours.as_raw_fd(), owner, own(b"frame"));
        }
        let mut owners: Vec<usize> = (0..40).map(|_| sent(&mut ring)).map(|(owner, _)| owner).collect();
        owners.sort_unstable();
        assert_eq!(owners, (0..40).collect::<Vec<_>>());
        for (_, mut peer) in pairs {
            let mut got = [0; 5];
            peer.read_exact(&mut got).expect("it was sent");
            assert_eq!(&got, b"frame");
        }
    }

    #[test]
    fn a_peer_that_reset_its_connection_fails_alone_in_a_batch() {
        let mut ring = Ring::with_room(64, 64).expect("io_uring is to be had");
        let pairs: Vec<_> = (0..20).map(|_| connected()).collect();
        let (ours, mut peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let gone = peers.remove(7);
        socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).expect("it is a socket");
        drop(gone);
        for (owner, ours) in ours.iter().enumerate() {
            ring.send(ours.as_raw_fd(), owner, own(b"frame"));
        }
        for _ in 0..20 {
            let (owner, result) = sent(&mut ring);
            match owner {
                7 => assert_eq!(result.expect_err("it was reset").raw_os_error(), Some(libc::ECONNRESET)),
                _ => assert_eq!(result.expect("it is connected"), 5),
            }
        }
    }

    #[test]
    fn a_kernel_that_copies_what_it_should_not_is_not_asked_again() {
        let mut ring = Ring::new(4, RingSize::LARGEST).expect("io_uring is to be had");
        let (ours, mut peer) = connected();
        ring.send(ours.as_raw_fd(), 1, own(b"key"));
        assert_eq!(sent(&mut ring).1.expect("it is connected"), 3, "below the size");
        assert_eq!(ring.operations.len(), 0, "nothing stays lent");
        ring.send(ours.as_raw_fd(), 1, own(b"frame"));
        assert_eq!(sent(&mut ring).1.expect("it is connected"), 5);
        let mut got = [0; 8];
        peer.read_exact(&mut got).expect("it was sent");
        assert_eq!(&got, b"keyframe");
        // The loopback interface always copies; its notification comes once the peer has read.
        while !ring.operations.is_empty() {
            ring.ring.submit_and_wait(1).expect("the ring works");
            assert!(ring.complete().is_none(), "a notification is for the ring alone");
        }
        assert_eq!(ring.zero_copy_threshold, usize::MAX);
    }

    #[test]
    fn where_there_is_no_send_without_a_copy_the_bytes_go_with_one() {
        let mut ring = Ring::new(1, RingSize::LARGEST).expect("io_uring is to be had");
        let (ours, mut peer) = UnixStream::pair().expect("a pair");
        for owner in 0..3 {
            ring.send(ours.as_raw_fd(), owner, own(b"frame"));
        }
        for _ in 0..3 {
            assert_eq!(sent(&mut ring).1.expect("it is connected"), 5);
        }
        let mut got = [0; 15];
        peer.read_exact(&mut got).expect("it was sent");
        assert_eq!(&got, b"frameframeframe");
        assert_eq!((ring.zero_copy_threshold, ring.operations.len()), (usize::MAX, 0));
    }

    #[test]
    fn more_completions_than_there_is_room_for_all_come_out() {
        let mut ring = Ring::with_room(4, 8).expect("io_uring is to be had");
        let (ours, peer) = connected();
        drop(peer);
        (0..40).for_each(|owner| ring.await_hang_up(ours.as_raw_fd(), owner));
        let mut owners = Vec::new();
        loop {
            let before = owners.len();
            ring.submit().expect("the kernel takes it");
            while let Some(Completion::HungUp { owner }) = ring.complete() {
                owners.push(owner);
            }
            if owners.len() == before {
                break;
            }
        }
        owners.sort_unstable();
        assert_eq!(owners, (0..40).collect::<Vec<_>>());
    }

    /// The endpoint keeps a connection until its wait for the hang-up has completed.
    #[test]
    fn a_wait_for_the_hang_up_completes_at_either_end_of_the_connection_and_not_with_input() {
        type End = fn(&TcpStream, &mut Option<TcpStream>);
        let ends: [(&str, End); 4] = [
            ("the peer closes", |_, peer| *peer = None),
            ("the peer resets", |_, peer| {
                let peer = peer.take().expect("it is there");
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("it is a socket");
            }),
            ("the relay shuts one side", |ours, _| ours.shutdown(Shutdown::Read).expect("it is connected")),
            ("the relay shuts both", |ours, _| ours.shutdown(Shutdown::Both).expect("it is connected")),
        ];
        for (how, end) in ends {
            let mut ring = Ring::with_room(4, 8).expect("io_uring is to be had");
            let (ours, mut peer) = connected();
            ring.await_hang_up(ours.as_raw_fd(), 7);
            peer.write_all(b"frame").expect("it is connected");
            ring.nudge();
            ring.submit().expect("the kernel takes it");
            ring.ring.submit_and_wait(1).expect("the ring works");
            assert!(matches!(ring.complete(), Some(Completion::Nudged)), "{how}");
            assert!(ring.complete().is_none(), "{how}: input is no hang-up");
            let mut peer = Some(peer);
            end(&ours, &mut peer);
            ring.ring.submit_and_wait(1).expect("the ring works");
            assert!(matches!(ring.complete(), Some(Completion::HungUp { owner: 7 })), "{how}");
        }
    }

    #[test]
    fn a_kernel_that_takes_nothing_is_waited_for_and_nothing_is_lost() {
        let mut ring = Ring::with_room(4, 64).expect("io_uring is to be had");
        let pairs: Vec<_> = (0..40).map(|_| connected()).collect();
        let ring_fd = ring.ring.as_raw_fd();
        // SAFETY: both descriptors are open, and the ring's comes back below.
        let kept = unsafe { libc::dup(ring_fd) };
        let null = std::fs::File::open("/dev/null").expect("there is one");
        // SAFETY: as above.
        unsafe { libc::dup2(null.as_raw_fd(), ring_fd) };
        for (owner, (ours, _)) in pairs.iter().enumerate() {
            ring.send(ours.as_raw_fd(), owner, own(b"frame"));
        }
        assert!(ring.submit().is_err());
        assert_eq!((ring.waiting.len(), ring.operations.len()), (40 - 4, 40), "each once");
        // SAFETY: as above.
        unsafe { libc::dup2(kept, ring_fd) };
        let mut owners = Vec::new();
        while owners.len() < 40 {
            ring.submit().expect("the kernel takes it");
            match ring.complete() {
                Some(Completion::Sent { owner, result, .. }) => {
                    assert_eq!(result.expect("it is connected"), 5);
                    owners.push(owner);
                }
                Some(_) => {}
                None => drop(ring.ring.submit_and_wait(1).expect("the ring works")),
            }
        }
        owners.sort_unstable();
        assert_eq!(owners, (0..40).collect::<Vec<_>>());
        assert!(ring.waiting.is_empty());
    }
}
