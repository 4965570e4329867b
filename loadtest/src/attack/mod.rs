//! Peers that mean harm: connections that send what no client would, by a plan, for as long as they are told.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare::net::Protocol;

pub use plans::{End, Kind, Plan};

use crate::sys::{self, Origin, Received};
use crate::target::Target;

mod plans;

/// What to do to whom.
pub struct Options {
    /// The server, and a stream that it has.
    pub target: Target,
    /// Which attack.
    pub kind: Kind,
    /// How long.
    pub time: Duration,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Connections that were begun.
    pub begun: u64,
    /// Those that the server ended, or refused.
    pub ended: u64,
    /// Bytes sent.
    pub bytes: u64,
}

/// Attacks until the time is over or `stop` is set, then leaves as impolitely as the plan says.
///
/// # Errors
/// No socket can be had, or one may not vanish, as one line.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Done, String> {
    let wants_http = Plan::is_over_http(options.kind);
    if wants_http != (options.target.protocol != Protocol::Rtmp) {
        let wanted = if wants_http { "http" } else { "rtmp" };
        return Err(format!("this attack is on an address that begins with {wanted}"));
    }
    sys::raise_file_limit();
    let plan = Plan::new(options.kind, &options.target.url);
    if plan.ends_with(End::Vanish) {
        sys::may_vanish()
            .map_err(|error| format!("only CAP_NET_ADMIN may set TCP_REPAIR, to vanish: {error}"))?;
    }
    let mut attack =
        Attack { target: options.target.address, plan, peers: Vec::new(), done: Done::default() };
    let begun_ns = sys::now_ns();
    let end_ns = begun_ns.saturating_add(sys::nanos(options.time));
    loop {
        let now_ns = sys::now_ns();
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            attack.peers.drain(..).for_each(|peer| peer.leave(&attack.plan));
            return Ok(attack.done);
        }
        attack.connect(now_ns, now_ns - begun_ns)?;
        attack.step(now_ns);
        std::thread::sleep(STEP);
    }
}

struct Attack {
    target: SocketAddr,
    plan: Plan,
    peers: Vec<Peer>,
    done: Done,
}

struct Peer {
    socket: OwnedFd,
    opening: Vec<u8>,
    /// Of the opening, and then of the flood.
    sent: usize,
    next_ns: u64,
    end_ns: u64,
}

impl Attack {
    /// Begins those that are missing, as fast as the plan allows.
    fn connect(&mut self, now_ns: u64, elapsed_ns: u64) -> Result<(), String> {
        let allowed = (elapsed_ns as f64 / 1e9 * self.plan.ramp) as u64 + 1;
        while self.peers.len() < self.plan.connections && self.done.begun < allowed {
            let receive_buffer = (!self.plan.reads).then_some(DEAF_BUFFER_BYTES);
            let origin = Origin { receive_buffer, ..Origin::default() };
            let socket = sys::connect(self.target, origin).map_err(|error| error.to_string())?;
            let end_ns = self.plan.end.map_or(u64::MAX, |(after, _)| now_ns + sys::nanos(after));
            let opening = (self.plan.opening)(self.done.begun);
            self.peers.push(Peer { socket, opening, sent: 0, next_ns: now_ns, end_ns });
            self.done.begun += 1;
        }
        Ok(())
    }

    fn step(&mut self, now_ns: u64) {
        let Self { plan, peers, done, .. } = self;
        let mut scrap = [0; 4096];
        for leaving in peers.extract_if(.., |peer| now_ns >= peer.end_ns) {
            leaving.leave(plan);
        }
        peers.retain_mut(|peer| {
            if plan.reads && !peer.drain(&mut scrap) {
                done.ended += 1;
                return false;
            }
            if now_ns < peer.next_ns {
                return true;
            }
            peer.next_ns = now_ns + sys::nanos(plan.pause);
            match peer.send(plan) {
                Ok(n) => done.bytes += n as u64,
                Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
                Err(_) => {
                    done.ended += 1;
                    return false;
                }
            }
            true
        });
    }
}

impl Peer {
    /// Ends the connection as the plan says.
    fn leave(self, plan: &Plan) {
        // Where either fails it is closed politely, which is no less a surprise.
        if plan.ends_with(End::Reset) {
            let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
        if plan.ends_with(End::Vanish) {
            let _ = sys::vanish(self.socket);
        }
    }

    /// Reads what is there and forgets it. False once the server has closed.
    fn drain(&self, scrap: &mut [u8]) -> bool {
        loop {
            match sys::discard(&self.socket, scrap) {
                Received::Bytes(_) => {}
                Received::Nothing => return true,
                Received::Closed => return false,
            }
        }
    }

    /// The next piece.
    fn send(&mut self, plan: &Plan) -> std::io::Result<usize> {
        let in_flood = self.sent.checked_sub(self.opening.len());
        let rest = match in_flood {
            None => &self.opening[self.sent..],
            Some(_) if plan.flood.is_empty() => return Ok(0),
            Some(sent) => &plan.flood[sent % plan.flood.len()..],
        };
        let n = sys::send(&self.socket, &rest[..rest.len().min(plan.piece)])?;
        self.sent += n;
        Ok(n)
    }
}

/// Between two looks at all peers.
const STEP: Duration = Duration::from_millis(2);
/// What the kernel takes for a peer that does not read.
const DEAF_BUFFER_BYTES: usize = 4096;
