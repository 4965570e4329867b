//! Peers that mean harm: connections that send what no client would, by a plan, for as long as they are told.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

pub use plans::{End, Kind, Plan, Port, Troop};

use crate::sys::{self, Origin, Received};
use crate::target::{Protocol, Target};

mod pin;
mod plans;
mod starve;
mod wire;

/// What to do to whom.
pub struct Options {
    /// The server, and a stream that it has.
    pub target: Target,
    /// The server's HTTP port, where an attack goes to both.
    pub http: Option<SocketAddr>,
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
    sys::raise_file_limit();
    let Options { target, http, kind, time } = options;
    let (rtmp, http) = match target.protocol {
        Protocol::Rtmp => (Some(target.address), *http),
        _ => (None, Some(target.address)),
    };
    let plan = Plan::new(*kind, &target.url);
    if plan.troops.iter().any(|troop| troop.ends_with(End::Vanish)) {
        sys::may_vanish()
            .map_err(|error| format!("only CAP_NET_ADMIN may set TCP_REPAIR, to vanish: {error}"))?;
    }
    let begun_ns = sys::now_ns();
    let mut attacks = Vec::new();
    for troop in plan.troops {
        let target = match troop.port {
            Port::Rtmp => rtmp.ok_or("this attack is on an address that begins with rtmp")?,
            Port::Http => {
                http.ok_or("this attack is on an address that begins with http, or needs --http")?
            }
        };
        let begins_ns = begun_ns + sys::nanos(troop.after);
        attacks.push(Attack { target, troop, begins_ns, peers: Vec::new(), done: Done::default() });
    }
    let end_ns = begun_ns.saturating_add(sys::nanos(*time));
    loop {
        let now_ns = sys::now_ns();
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            return Ok(attacks.into_iter().map(Attack::leave).fold(Done::default(), Done::and));
        }
        for attack in attacks.iter_mut().filter(|attack| now_ns >= attack.begins_ns) {
            attack.connect(now_ns)?;
            attack.step(now_ns);
        }
        std::thread::sleep(STEP);
    }
}

impl Done {
    fn and(self, other: Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            ended: self.ended + other.ended,
            bytes: self.bytes + other.bytes,
        }
    }
}

struct Attack {
    target: SocketAddr,
    troop: Troop,
    begins_ns: u64,
    peers: Vec<Peer>,
    done: Done,
}

struct Peer {
    socket: OwnedFd,
    opening: Bytes,
    /// Of the opening, and then of the flood.
    sent: usize,
    next_ns: u64,
    end_ns: u64,
}

impl Attack {
    /// Begins those that are missing, as fast as the plan allows.
    fn connect(&mut self, now_ns: u64) -> Result<(), String> {
        let allowed = ((now_ns - self.begins_ns) as f64 / 1e9 * self.troop.ramp) as u64 + 1;
        while self.peers.len() < self.troop.connections && self.done.begun < allowed {
            let receive_buffer = (!self.troop.reads).then_some(DEAF_BUFFER_BYTES);
            let source = self.troop.source.map(|source| source(self.done.begun));
            let origin = Origin { source, receive_buffer, ..Origin::default() };
            let socket = sys::connect(self.target, origin).map_err(|error| error.to_string())?;
            let end_ns = self.troop.end.map_or(u64::MAX, |(after, _)| now_ns + sys::nanos(after));
            let opening = (self.troop.opening)(self.done.begun);
            self.peers.push(Peer { socket, opening, sent: 0, next_ns: now_ns, end_ns });
            self.done.begun += 1;
        }
        Ok(())
    }

    fn leave(self) -> Done {
        self.peers.into_iter().for_each(|peer| peer.leave(&self.troop));
        self.done
    }

    fn step(&mut self, now_ns: u64) {
        let Self { troop, peers, done, .. } = self;
        let mut scrap = [0; 4096];
        for leaving in peers.extract_if(.., |peer| now_ns >= peer.end_ns) {
            leaving.leave(troop);
        }
        peers.retain_mut(|peer| {
            if troop.reads && !peer.drain(&mut scrap) {
                done.ended += 1;
                return false;
            }
            if now_ns < peer.next_ns {
                return true;
            }
            peer.next_ns = now_ns + sys::nanos(troop.pause);
            match peer.send(troop) {
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
    fn leave(self, troop: &Troop) {
        // Where either fails it is closed politely, which is no less a surprise.
        if troop.ends_with(End::Reset) {
            let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
        if troop.ends_with(End::Vanish) {
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
    fn send(&mut self, troop: &Troop) -> std::io::Result<usize> {
        let in_flood = self.sent.checked_sub(self.opening.len());
        let (rest, piece) = match in_flood {
            None if troop.opening_piece > 0 => (&self.opening[self.sent..], troop.opening_piece),
            None => (&self.opening[self.sent..], troop.piece),
            Some(_) if troop.flood.is_empty() => return Ok(0),
            Some(sent) => (&troop.flood[sent % troop.flood.len()..], troop.piece),
        };
        let n = sys::send(&self.socket, &rest[..rest.len().min(piece)])?;
        self.sent += n;
        Ok(n)
    }
}

/// Between two looks at all peers.
const STEP: Duration = Duration::from_millis(2);
/// What the kernel takes for a peer that does not read.
const DEAF_BUFFER_BYTES: usize = 4096;
