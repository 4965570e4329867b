//! Who is let in: connections are counted here, in all and by where they come from, and what is refused is counted
//! too. Looked at when a connection comes, shakes hands or goes; never on the way of a frame.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::origin::Origin;
use crate::config::Limits;

/// A refusal of the same kind is logged no more often than this, milliseconds: a flood must not become one of lines.
const BETWEEN_LINES_MS: u64 = 10_000;
/// An origin is counted as an address, as a network and as a block.
const LEVELS: usize = 3;

/// The door of the process.
pub(super) struct Gate {
    limits: Limits,
    /// What each level may have, from the address to the block.
    levels: [Level; LEVELS],
    inside: Mutex<Inside>,
}

/// Limits of one level, and what is said where they are reached.
struct Level {
    connections: (usize, Refusal),
    handshakes: (usize, Refusal),
}

/// Where a connection has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// A handshake comes first, in which a peer may keep us waiting.
    Rtmp,
    /// No handshake. A flood of those of RTMP does not close this door.
    Http,
}

/// A place inside. Dropping it gives the place back.
pub struct Ticket {
    gate: Arc<Gate>,
    /// Whom it is counted for; none where it comes from one of `limits.exempt`.
    origin: Option<Origin>,
    is_shaking_hands: bool,
}

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Connections in all.
    Connections,
    /// Connections of one address.
    Address,
    /// Connections of one network.
    Network,
    /// Connections of one block.
    Block,
    /// Handshakes under way.
    Handshakes,
    /// Handshakes of one address.
    AddressHandshakes,
    /// Handshakes of one network.
    NetworkHandshakes,
    /// Handshakes of one block.
    BlockHandshakes,
    /// Streams that are published.
    Streams,
    /// Memory of all streams.
    Memory,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::Connections,
        Self::Address,
        Self::Network,
        Self::Block,
        Self::Handshakes,
        Self::AddressHandshakes,
        Self::NetworkHandshakes,
        Self::BlockHandshakes,
        Self::Streams,
        Self::Memory,
    ];
}

#[derive(Default)]
struct Inside {
    connections: usize,
    /// Of peers that are counted, and of those from `limits.exempt`: neither shuts the door for the other.
    handshakes: [usize; 2],
    /// By address, by network and by block.
    levels: [HashMap<IpAddr, Counts>; LEVELS],
    refused: [Refused; REFUSALS],
}

#[derive(Clone, Copy, Default)]
struct Counts {
    connections: usize,
    handshakes: usize,
}

#[derive(Clone, Copy, Default)]
struct Refused {
    count: u64,
    said_ms: Option<u64>,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let levels = [
            Level {
                connections: (limits.connections_per_address, Refusal::Address),
                handshakes: (limits.handshakes_per_address, Refusal::AddressHandshakes),
            },
            Level {
                connections: (limits.connections_per_network, Refusal::Network),
                handshakes: (limits.handshakes_per_network, Refusal::NetworkHandshakes),
            },
            Level {
                connections: (limits.connections_per_block, Refusal::Block),
                handshakes: (limits.handshakes_per_block, Refusal::BlockHandshakes),
            },
        ];
        Arc::new(Self { limits, levels, inside: Mutex::default() })
    }

    /// A place for a connection from this address.
    ///
    /// # Errors
    /// What limit it is beyond: of several, the one that concerns the fewest others. It is not counted then.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, door: Door) -> Result<Ticket, Refusal> {
        let limits = &self.limits;
        let origin = Origin::of(address);
        let is_counted = !limits.exempt.iter().any(|net| net.contains(&origin.address));
        let origin = is_counted.then_some(origin);
        let is_shaking_hands = door == Door::Rtmp;
        let mut inside = self.inside();
        for ((level, counts), key) in self.levels.iter().zip(&inside.levels).zip(keys(origin)) {
            let counts = counts.get(&key).copied().unwrap_or_default();
            if counts.connections >= level.connections.0 {
                return Err(level.connections.1);
            }
            if is_shaking_hands && counts.handshakes >= level.handshakes.0 {
                return Err(level.handshakes.1);
            }
        }
        if inside.connections >= limits.connections {
            return Err(Refusal::Connections);
        }
        if is_shaking_hands && inside.handshakes[usize::from(is_counted)] >= limits.handshakes {
            return Err(Refusal::Handshakes);
        }
        inside.connections += 1;
        inside.handshakes[usize::from(is_counted)] += usize::from(is_shaking_hands);
        for (counts, key) in inside.levels.iter_mut().zip(keys(origin)) {
            let counts = counts.entry(key).or_default();
            counts.connections += 1;
            counts.handshakes += usize::from(is_shaking_hands);
        }
        Ok(Ticket { gate: self.clone(), origin, is_shaking_hands })
    }

    /// Somebody was turned away. Returns how many have been for this reason, if it is time to say so.
    pub(super) fn refused(&self, refusal: Refusal, now_ms: u64) -> Option<u64> {
        let mut inside = self.inside();
        let refused = &mut inside.refused[refusal as usize];
        refused.count += 1;
        let is_time =
            refused.said_ms.is_none_or(|said_ms| now_ms.saturating_sub(said_ms) >= BETWEEN_LINES_MS);
        is_time.then(|| {
            refused.said_ms = Some(now_ms);
            refused.count
        })
    }

    /// How many are inside.
    pub(super) fn connections(&self) -> usize {
        self.inside().connections
    }

    /// How many were turned away, by reason.
    pub(super) fn refusals(&self) -> Vec<(Refusal, u64)> {
        let inside = self.inside();
        Refusal::ALL.iter().map(|&refusal| (refusal, inside.refused[refusal as usize].count)).collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Counts are whole between any two statements: a panic elsewhere spoils nothing.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The handshake is over. Once is enough.
    pub(super) fn shook_hands(&mut self) {
        if std::mem::take(&mut self.is_shaking_hands) {
            let mut inside = self.gate.inside();
            inside.handshakes[usize::from(self.origin.is_some())] -= 1;
            for (counts, key) in inside.levels.iter_mut().zip(keys(self.origin)) {
                if let Some(counts) = counts.get_mut(&key) {
                    counts.handshakes -= 1;
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shook_hands();
        let mut inside = self.gate.inside();
        inside.connections -= 1;
        for (counts, key) in inside.levels.iter_mut().zip(keys(self.origin)) {
            if let Some(of_key) = counts.get_mut(&key) {
                of_key.connections -= 1;
                if of_key.connections == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}

/// Under what it is counted, from the address to the block; nothing where it is not.
fn keys(origin: Option<Origin>) -> impl Iterator<Item = IpAddr> {
    origin.into_iter().flat_map(|Origin { address, network, block }| [address, network, block])
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Connections => "limits.connections",
            Refusal::Address => "limits.connections_per_address",
            Refusal::Network => "limits.connections_per_network",
            Refusal::Block => "limits.connections_per_block",
            Refusal::Handshakes => "limits.handshakes",
            Refusal::AddressHandshakes => "limits.handshakes_per_address",
            Refusal::NetworkHandshakes => "limits.handshakes_per_network",
            Refusal::BlockHandshakes => "limits.handshakes_per_block",
            Refusal::Streams => "limits.streams",
            Refusal::Memory => "limits.memory_budget",
        })
    }
}

const REFUSALS: usize = Refusal::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(change: impl FnOnce(&mut Limits)) -> Arc<Gate> {
        let mut limits = Limits::default();
        change(&mut limits);
        Gate::new(limits)
    }

    fn enter(gate: &Arc<Gate>, address: &str) -> Result<Ticket, Refusal> {
        gate.admit(address.parse().expect("an address"), Door::Rtmp)
    }

    fn enter_by_http(gate: &Arc<Gate>, address: &str) -> Result<Ticket, Refusal> {
        gate.admit(address.parse().expect("an address"), Door::Http)
    }

    #[test]
    fn at_a_limit_all_are_in_and_one_past_it_is_refused_until_one_leaves() {
        for (change, refusal) in [
            ((|limits| limits.connections = 3) as fn(&mut Limits), Refusal::Connections),
            (|limits| limits.connections_per_address = 3, Refusal::Address),
            (|limits| limits.connections_per_network = 3, Refusal::Network),
            (|limits| limits.connections_per_block = 3, Refusal::Block),
            (|limits| limits.handshakes = 3, Refusal::Handshakes),
            (|limits| limits.handshakes_per_address = 3, Refusal::AddressHandshakes),
            (|limits| limits.handshakes_per_network = 3, Refusal::NetworkHandshakes),
            (|limits| limits.handshakes_per_block = 3, Refusal::BlockHandshakes),
        ] {
            let gate = gate(change);
            let mut inside: Vec<_> =
                (0..3).map(|_| enter(&gate, "192.0.2.1").expect("below the limit")).collect();
            assert_eq!(enter(&gate, "192.0.2.1").err(), Some(refusal));
            inside.pop();
            assert!(enter(&gate, "192.0.2.1").is_ok());
        }
    }

    #[test]
    fn neighbours_share_a_network_and_others_are_not_in_it() {
        let gate = gate(|limits| limits.connections_per_network = 1);
        let _v4 = enter(&gate, "192.0.2.1").expect("the first");
        assert_eq!(enter(&gate, "192.0.2.255").err(), Some(Refusal::Network));
        assert!(enter(&gate, "192.0.3.1").is_ok());
        let _v6 = enter(&gate, "2001:db8:0:7f::1").expect("the first");
        assert_eq!(enter(&gate, "2001:db8:0:1::2").err(), Some(Refusal::Network), "the same /56");
        assert!(enter(&gate, "2001:db8:0:100::1").is_ok());
        assert_eq!(enter(&gate, "::ffff:192.0.2.9").err(), Some(Refusal::Network), "IPv4 in IPv6's clothes");
    }

    #[test]
    fn uncounted_networks_count_against_the_whole_alone() {
        let gate = gate(|limits| {
            (limits.connections_per_address, limits.handshakes_per_address, limits.connections) = (1, 1, 3);
        });
        let _inside: Vec<_> = (0..3).map(|_| enter(&gate, "127.0.0.1").expect("loopback")).collect();
        assert_eq!(enter(&gate, "127.0.0.1").err(), Some(Refusal::Connections));
    }

    #[test]
    fn a_handshake_that_is_over_makes_room_for_the_next_once() {
        for (change, refusal) in [
            ((|limits| limits.handshakes = 1) as fn(&mut Limits), Refusal::Handshakes),
            (|limits| limits.handshakes_per_address = 1, Refusal::AddressHandshakes),
            (|limits| limits.handshakes_per_network = 1, Refusal::NetworkHandshakes),
            (|limits| limits.handshakes_per_block = 1, Refusal::BlockHandshakes),
        ] {
            let gate = gate(change);
            let mut first = enter(&gate, "192.0.2.1").expect("the first");
            first.shook_hands();
            first.shook_hands();
            let _second = enter(&gate, "192.0.2.1").expect("the first is through");
            assert_eq!(enter(&gate, "192.0.2.1").err(), Some(refusal));
            drop(first);
            assert_eq!(enter(&gate, "192.0.2.1").err(), Some(refusal));
        }
    }

    /// As many handshakes from these addresses as are let in.
    fn flood(gate: &Arc<Gate>, addresses: impl Iterator<Item = IpAddr>) -> Vec<Ticket> {
        addresses.filter_map(|address| gate.admit(address, Door::Rtmp).ok()).collect()
    }

    #[test]
    fn no_network_no_host_and_no_owner_of_a_block_shuts_the_door_for_others() {
        let everybody_else = ["198.51.100.7", "2001:db9::7", "127.0.0.1", "::1"];
        let v6 = |bits: u128| IpAddr::from(((0x2001_0db8_u128 << 96) | bits).to_be_bytes());
        let floods: [(&str, Vec<IpAddr>); 5] = [
            ("an IPv4 /24", (0..100_000_u32).map(|n| [192, 0, 2, n as u8].into()).collect()),
            ("an IPv4 /16", (0..100_000_u32).map(|n| [192, 0, (n >> 8) as u8, n as u8].into()).collect()),
            ("an IPv6 host, its own /64", (0..100_000).map(v6).collect()),
            ("an IPv6 customer, a /56", (0..100_000).map(|n| v6((n & 0xFF) << 64 | n)).collect()),
            ("the owner of an IPv6 /32", (0..100_000).map(|n| v6(n << 72)).collect()),
        ];
        for (who, addresses) in floods {
            let gate = gate(|_| ());
            let _flood = flood(&gate, addresses.into_iter());
            for other in everybody_else {
                assert!(enter(&gate, other).is_ok(), "{who} shuts the door for {other}");
                assert!(enter_by_http(&gate, other).is_ok(), "{who} shuts HTTP's door for {other}");
            }
        }
    }

    #[test]
    fn handshakes_close_no_door_of_http() {
        let gate = gate(|limits| (limits.handshakes, limits.handshakes_per_address) = (2, 1));
        let _flood = flood(&gate, (0..10_u8).map(|n| [192, 0, 2, n].into()));
        assert_eq!(enter(&gate, "198.51.100.7").err(), Some(Refusal::Handshakes), "RTMP's door is shut");
        assert!(enter_by_http(&gate, "198.51.100.7").is_ok());
        let _by_http = enter_by_http(&gate, "192.0.2.1").expect("for whoever shakes hands, too");
        assert_eq!(gate.inside().handshakes, [0, 2]);
    }

    /// What comes through a proxy on this machine, and what comes by itself.
    #[test]
    fn uncounted_networks_and_others_do_not_shut_the_door_for_each_other() {
        for (stranger, honest) in [("127.0.0.1", "198.51.100.7"), ("198.51.100.7", "127.0.0.1")] {
            let gate = gate(|limits| limits.handshakes = 2);
            let _strangers = [enter(&gate, stranger), enter(&gate, stranger)];
            assert_eq!(enter(&gate, stranger).err(), Some(Refusal::Handshakes));
            assert!(enter(&gate, honest).is_ok());
        }
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let gate = gate(|_| ());
        let mut through = enter(&gate, "192.0.2.1");
        through.as_mut().expect("there is room").shook_hands();
        drop((through, enter(&gate, "2001:db8::1"), enter(&gate, "127.0.0.1"), enter_by_http(&gate, "::1")));
        let inside = gate.inside();
        assert_eq!((inside.connections, inside.handshakes), (0, [0, 0]));
        assert!(inside.levels.iter().all(HashMap::is_empty));
    }

    #[test]
    fn refusals_are_counted_each_and_said_now_and_then() {
        let gate = gate(|_| ());
        assert_eq!(gate.refused(Refusal::Address, 5), Some(1));
        assert_eq!(gate.refused(Refusal::Address, 6), None);
        assert_eq!(gate.refused(Refusal::Network, 7), Some(1), "another reason is another line");
        assert_eq!(gate.refused(Refusal::Address, 5 + BETWEEN_LINES_MS), Some(3));
    }
}
