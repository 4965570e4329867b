//! The cheapest receiver and the cheapest sender that there can be: loops over sockets that do nothing with what they
//! receive, and send the same bytes to all. Compiled as part of the load generator as well, for its `receive`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, SendFlags};

/// Receives into one buffer from every socket that has something, and throws it away.
pub struct ReceiveLoop {
    epoll: OwnedFd,
    /// By their number in the epoll instance; closed ones are `None`.
    sockets: Vec<Option<OwnedFd>>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    received: Received,
}

/// What a receive loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes received.
    pub bytes: u64,
    /// Receives that returned bytes.
    pub receives: u64,
    /// Sockets that are open.
    pub sockets: usize,
}

impl ReceiveLoop {
    /// Without any socket.
    ///
    /// # Errors
    /// No free file descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: Vec::new(),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES],
            received: Received::default(),
        })
    }

    /// Adds a non-blocking socket.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub fn add(&mut self, socket: OwnedFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.sockets.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.sockets.push(Some(socket));
        self.received.sockets += 1;
        Ok(())
    }

    /// Adds a listening socket. [`ReceiveLoop::round`] returns whether it has connections to accept.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub fn listen(&self, listener: &OwnedFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(LISTENER);
        Ok(epoll::add(&self.epoll, listener, data, epoll::EventFlags::IN)?)
    }

    /// Waits until something has come, at most `timeout`, then receives once from each socket that has something.
    pub fn round(&mut self, timeout: Duration) -> bool {
        let (mut is_connecting, mut timeout) = (false, timeout);
        loop {
            self.events.clear();
            let wait =
                Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
            // It fails only if a signal interrupts it, with nothing ready.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&wait));
            for event in &self.events {
                match event.data.u64() {
                    LISTENER => is_connecting = true,
                    number => {
                        receive(&mut self.sockets[number as usize], &mut self.buffer, &mut self.received)
                    }
                }
            }
            if self.events.len() < EVENTS {
                return is_connecting;
            }
            // The kernel rotates its list, so the next ones are others.
            timeout = Duration::ZERO;
        }
    }

    /// The totals so far.
    pub fn received(&self) -> Received {
        self.received
    }
}

fn receive(slot: &mut Option<OwnedFd>, buffer: &mut [u8], received: &mut Received) {
    let Some(socket) = slot else { return };
    match rustix::net::recv(&*socket, buffer, RecvFlags::DONTWAIT) {
        Ok((_, bytes)) if bytes > 0 => {
            received.bytes += bytes as u64;
            received.receives += 1;
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
        Ok(_) | Err(_) => {
            *slot = None;
            received.sockets -= 1;
        }
    }
}

/// Sends the same bytes to every socket, in one call each.
pub struct SendLoop {
    sockets: Vec<OwnedFd>,
    sent: Sent,
}

/// What a send loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes that the sockets accepted.
    pub bytes: u64,
    /// Calls of `send()`.
    pub sends: u64,
    /// Calls that accepted less than they were given.
    pub full: u64,
}

impl SendLoop {
    /// To these sockets, which do not block.
    pub fn new(sockets: Vec<OwnedFd>) -> Self {
        Self { sockets, sent: Sent::default() }
    }

    /// Sends `bytes` to each socket. What a full socket does not accept is not made up for.
    pub fn pass(&mut self, bytes: &[u8]) {
        for socket in &self.sockets {
            let sent =
                rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).unwrap_or(0);
            self.sent.bytes += sent as u64;
            self.sent.sends += 1;
            self.sent.full += u64::from(sent < bytes.len());
        }
    }

    /// The totals so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }
}

/// Sockets per system call.
const EVENTS: usize = 256;
/// As large as what piles up in a socket within a few milliseconds, and larger than a message.
const BUFFER_BYTES: usize = 64 << 10;
const LISTENER: u64 = u64::MAX;
