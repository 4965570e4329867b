//! What is asked of the kernel: sockets that never block, readiness, time, limits. IPv4 and TCP alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds: the same for all processes of a machine.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds of a duration; `u64::MAX` for centuries.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Keeps this thread on one CPU.
///
/// # Errors
/// There is no such CPU, or it is not ours.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the number of files to the hard limit, and returns it.
pub fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// What a peer gave, or that it gives no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// None at present.
    Nothing,
    /// The peer has closed the connection, or it broke.
    Closed,
}

/// A listening socket; `port` 0 picks one.
///
/// # Errors
/// The port is in use, or the address not ours.
pub fn listen(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = tcp_socket(&address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let bound = rustix::net::getsockname(&socket)?;
    Ok((socket, bound.try_into()?))
}

/// The next connection that waits at a listening socket.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok()?;
    sockopt::set_tcp_nodelay(&socket, true).ok()?;
    Some(socket)
}

/// How a connection is made; by default as the kernel would have it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// Our own address.
    pub source: Option<Ipv4Addr>,
    /// The most payload bytes of a segment.
    pub segment_bytes: Option<u32>,
    /// A fixed receive buffer, in bytes.
    pub receive_buffer: Option<usize>,
}

/// Begins to connect; writable once it is done.
///
/// # Errors
/// No port or file is left.
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

/// How a connection that was begun and then became writable turned out.
///
/// # Errors
/// What the network said.
pub fn connected(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::socket_error(socket)??)
}

/// Sends what the socket takes at present; 0 when it is full.
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

/// Receives into `into`.
pub fn receive(socket: &OwnedFd, into: &mut [u8]) -> Received {
    received(rustix::net::recv(socket, into, RecvFlags::DONTWAIT).map(|(_, n)| n))
}

/// Takes what is there, `scrap.len()` bytes at most, and lets the kernel throw it away: nothing is copied, and
/// `scrap` is never touched.
pub fn discard(socket: &OwnedFd, scrap: &mut [u8]) -> Received {
    received(rustix::net::recv(socket, scrap, RecvFlags::DONTWAIT | RecvFlags::TRUNC).map(|(_, n)| n))
}

/// Ends a connection without a packet, as a machine does that loses its power: the peer hears nothing until it sends
/// something itself.
///
/// # Errors
/// As [`may_vanish`]; then it was closed as ever.
pub fn vanish(socket: OwnedFd) -> io::Result<()> {
    // In repair a closed socket is only forgotten: it is meant to go on on another machine (tcp(7), CRIU).
    set_repair(&socket)
}

/// Whether [`vanish`] is allowed.
///
/// # Errors
/// It needs CAP_NET_ADMIN where the socket was made.
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

/// Sockets, each known by a number, and which of them are ready: each is told once for each time it becomes so.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// Nothing in it.
    ///
    /// # Errors
    /// No file is left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Tells when the socket can be read, has room again after it had none, or is closed. Closing the socket takes
    /// it out.
    ///
    /// # Errors
    /// The kernel has no memory, or the socket is there already.
    pub fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, data, flags)?)
    }

    /// Takes a socket out.
    ///
    /// # Errors
    /// It was not in.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Fills `ready` with the numbers of those that became ready, [`EVENTS`] at most, after `timeout_ns` at the
    /// latest.
    pub fn wait(&mut self, timeout_ns: u64, ready: &mut Vec<usize>) {
        ready.clear();
        self.events.clear();
        let timeout = Timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as i64,
            tv_nsec: (timeout_ns % 1_000_000_000) as i64,
        };
        // Only a signal can fail it, and then there is nothing.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout));
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
    }
}

/// How many ready sockets one [`Poller::wait`] tells of.
pub const EVENTS: usize = 256;
/// The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
