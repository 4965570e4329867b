//! Connections over the loopback interface, the side of them that is not measured, and the clock of the side that is.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::net::{RecvFlags, SendFlags};
use rustix::time::{ClockId, clock_gettime};

use super::estimate::Message;

/// The ends of so many connections.
///
/// # Errors
/// No free ports or descriptors, as one line.
pub fn pairs(count: usize) -> Result<(Vec<OwnedFd>, Vec<OwnedFd>), String> {
    let connect = || -> io::Result<_> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let pair = || {
            let far = TcpStream::connect(address)?;
            let (near, _) = listener.accept()?;
            for end in [&near, &far] {
                end.set_nonblocking(true)?;
                end.set_nodelay(true)?;
            }
            Ok((OwnedFd::from(near), OwnedFd::from(far)))
        };
        (0..count).map(|_| pair()).collect()
    };
    connect().map_err(|error| format!("cannot make {count} connections over loopback: {error}"))
}

/// Has the kernel discard what arrives, every few milliseconds and without waking anyone in between: as players on other
/// machines, which cost a server's CPU no wake-up.
pub fn drain(sockets: &[OwnedFd], over: &AtomicBool) {
    let mut buffer = vec![0; DISCARD_BYTES];
    while !over.load(Ordering::Relaxed) {
        for socket in sockets {
            // The connection ends when both sides are dropped, not before.
            let _ = rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        }
        thread::sleep(DRAIN_INTERVAL);
    }
}

/// Sends the messages of a second, again and again, each when it is due.
pub fn publish(sockets: &[OwnedFd], messages: &[Message], over: &AtomicBool) {
    let bytes = vec![0x55; messages.iter().map(|message| message.bytes).max().unwrap_or(0)];
    let mut second = Instant::now();
    loop {
        for message in messages {
            let due = second + message.offset;
            let now = Instant::now();
            if due > now {
                thread::sleep(due - now);
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
            // A full socket means that the receiving side had no CPU; what it costs is counted by bytes received.
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = rustix::net::send(&sockets[message.publisher], &bytes[..message.bytes], flags);
        }
        second += Duration::from_secs(1);
    }
}

/// The CPU time of this thread, and how long it waited for a CPU.
pub struct Clock {
    cpu_ns: f64,
    waited_ns: f64,
    at: Instant,
}

/// What passed since a clock was started.
pub struct Elapsed {
    /// CPU time of the thread.
    pub cpu_ns: f64,
    waited_ns: f64,
    time: Duration,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self { cpu_ns: cpu_ns(), waited_ns: waited_ns(), at: Instant::now() }
    }

    /// What has passed.
    pub fn stop(self) -> Elapsed {
        Elapsed {
            cpu_ns: cpu_ns() - self.cpu_ns,
            waited_ns: waited_ns() - self.waited_ns,
            time: self.at.elapsed(),
        }
    }
}

impl Elapsed {
    /// Whether the thread waited for its CPU for a notable part of the time: another program used it.
    pub fn is_disturbed(&self) -> bool {
        self.waited_ns > self.time.as_nanos() as f64 * MAX_WAITED_SHARE
    }
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The second field of schedstat, which a kernel may lack; then nothing is known.
fn waited_ns() -> f64 {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0.0)
}

/// Shorter than the kernel's delayed acknowledgement (40 ms), so that the sender gets acknowledgements as from a reader that is
/// always ready.
const DRAIN_INTERVAL: Duration = Duration::from_millis(10);
/// More than arrives between two rounds; nothing is copied into it.
const DISCARD_BYTES: usize = 4 << 20;
const MAX_WAITED_SHARE: f64 = 0.05;
