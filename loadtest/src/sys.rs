//! System calls: non-blocking TCP sockets, readiness, time, limits.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, sockopt,
};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds, the same for all processes on a machine.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A duration in nanoseconds; `u64::MAX` if it is longer than that.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Pins this thread to one CPU.
///
/// # Errors
/// There is no such CPU, or this process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the file descriptor limit to the hard limit, and returns it.
pub fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// The outcome of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// The peer has closed the connection, or it broke.
    Closed,
}

/// A listening socket; port 0 picks a free one.
///
/// # Errors
/// The port is in use, or the address is not of this machine.
pub fn listen(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = tcp_socket(&address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let bound = rustix::net::getsockname(&socket)?;
    Ok((socket, bound.try_into()?))
}

/// Accepts the next connection of a listening socket, if one is waiting.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok()?;
    sockopt::set_tcp_nodelay(&socket, true).ok()?;
    Some(socket)
}

/// Socket options of a new connection; by default the kernel's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// The local address.
    pub source: Option<Ipv4Addr>,
    /// The maximum segment size, in bytes.
    pub segment_bytes: Option<u32>,
    /// A fixed receive buffer, in bytes.
    pub receive_buffer: Option<usize>,
}

/// Starts to connect. The socket becomes writable once it is connected.
///
/// # Errors
/// No free port or file descriptor.
pub fn connect(target: SocketAddr, origin: Origin) -> io::Result<OwnedFd> {
    let socket = tcp_socket(&target)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(bytes) = origin.segment_bytes {
        socket2::SockRef::from(&socket).set_tcp_mss(bytes)?;
    }
    if let Some(bytes) = origin.receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    if let Some(source) = origin.source {
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connection attempt succeeded, once the socket is writable.
///
/// # Errors
/// Why it failed.
pub fn connected(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::socket_error(socket)??)
}

/// Sends as much as the socket accepts now; 0 when it is full.
///
/// # Errors
/// The connection is broken.
pub fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(sent) => Ok(sent),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A socket that does not block, as what records of TLS are written to: all of them in one system call.
pub struct SocketWriter<'a>(pub &'a OwnedFd);

impl io::Write for SocketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(rustix::net::sendmsg(self.0, slices, &mut SendAncillaryBuffer::default(), flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives into `into`.
pub fn receive(socket: &OwnedFd, into: &mut [u8]) -> Received {
    received(rustix::net::recv(socket, into, RecvFlags::DONTWAIT).map(|(_, n)| n))
}

/// Has the kernel discard received bytes, at most `scratch.len()`: nothing is copied, and `scratch` is not written to.
pub fn discard(socket: &OwnedFd, scratch: &mut [u8]) -> Received {
    received(rustix::net::recv(socket, scratch, RecvFlags::DONTWAIT | RecvFlags::TRUNC).map(|(_, n)| n))
}

/// Ends a connection without sending a packet, like a machine that loses power: the peer does not notice until it sends
/// something itself.
///
/// # Errors
/// As [`may_vanish`]; the socket was then closed as usual.
pub fn vanish(socket: OwnedFd) -> io::Result<()> {
    // In repair mode a closed socket is only forgotten, because it is meant to continue on another machine (tcp(7), CRIU).
    set_repair(&socket)
}

/// Whether [`vanish`] is allowed.
///
/// # Errors
/// It needs CAP_NET_ADMIN in the network namespace of the socket.
pub fn may_vanish() -> io::Result<()> {
    set_repair(&tcp_socket(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into())?)
}

// rustix and socket2 do not have this option.
#[allow(unsafe_code)]
fn set_repair(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes at `on`, which lives until the call returns.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR, (&raw const on).cast(), len)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn received(outcome: rustix::io::Result<usize>) -> Received {
    match outcome {
        Ok(0) => Received::Closed,
        Ok(n) => Received::Bytes(n),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Received::Nothing,
        Err(_) => Received::Closed,
    }
}

fn tcp_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// An edge-triggered epoll instance of sockets, each identified by a number.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// Without any socket.
    ///
    /// # Errors
    /// No free file descriptor.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Adds a socket, which becomes ready when it is readable, writable again, or closed. Closing the socket removes it.
    ///
    /// # Errors
    /// The kernel has no memory, or the socket was added before.
    pub fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, data, flags)?)
    }

    /// Removes a socket.
    ///
    /// # Errors
    /// It was not added.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Waits up to `timeout_ns` and fills `ready` with the numbers of the sockets that became ready, at most [`EVENTS`].
    pub fn wait(&mut self, timeout_ns: u64, ready: &mut Vec<usize>) {
        ready.clear();
        self.events.clear();
        let timeout = Timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as i64,
            tv_nsec: (timeout_ns % 1_000_000_000) as i64,
        };
        // It fails only if a signal interrupts it, with nothing ready.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout));
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
    }
}

/// Maximum of ready sockets per [`Poller::wait`].
pub const EVENTS: usize = 256;
/// The kernel limits it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
