//! Who is let in: connections are counted here, in all and by where they come from, and what is refused is counted
//! too. Looked at when a connection comes, shakes hands or goes; never on the way of a frame.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::config::Limits;

/// A refusal of the same kind is logged no more often than this, milliseconds: a flood must not become one of lines.
const BETWEEN_LINES_MS: u64 = 10_000;
/// What an IPv4 host's neighbours share, and what an IPv6 customer usually gets.
const IPV4_NETWORK_BITS: u32 = 24;
const IPV6_NETWORK_BITS: u32 = 56;

/// The door of the process.
pub(super) struct Gate {
    limits: Limits,
    inside: Mutex<Inside>,
}

/// A place inside. Dropping it gives the place back.
pub struct Ticket {
    gate: Arc<Gate>,
    /// Whom it is counted for, if anybody.
    address: Option<IpAddr>,
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
    /// Handshakes under way.
    Handshakes,
    /// Streams that are published.
    Streams,
    /// Memory of all streams.
    Memory,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::Connections, Self::Address, Self::Network, Self::Handshakes, Self::Streams, Self::Memory];
}

#[derive(Default)]
struct Inside {
    connections: usize,
    handshakes: usize,
    /// By address, and by network as its first address.
    addresses: HashMap<IpAddr, usize>,
    networks: HashMap<IpAddr, usize>,
    refused: [Refused; REFUSALS],
}

#[derive(Clone, Copy, Default)]
struct Refused {
    count: u64,
    said_ms: Option<u64>,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default() })
    }

    /// A place for a connection from this address.
    ///
    /// # Errors
    /// What limit it is beyond. It is not counted then.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Ticket, Refusal> {
        let limits = &self.limits;
        let address = address.to_canonical();
        let counted = (!limits.uncounted.iter().any(|net| net.contains(&address))).then_some(address);
        let mut inside = self.inside();
        if inside.connections >= limits.connections {
            return Err(Refusal::Connections);
        }
        if inside.handshakes >= limits.handshakes {
            return Err(Refusal::Handshakes);
        }
        if let Some(address) = counted {
            let of = |counts: &HashMap<IpAddr, usize>, key| counts.get(&key).copied().unwrap_or(0);
            if of(&inside.addresses, address) >= limits.connections_per_address {
                return Err(Refusal::Address);
            }
            if of(&inside.networks, network(address)) >= limits.connections_per_network {
                return Err(Refusal::Network);
            }
            *inside.addresses.entry(address).or_default() += 1;
            *inside.networks.entry(network(address)).or_default() += 1;
        }
        inside.connections += 1;
        inside.handshakes += 1;
        Ok(Ticket { gate: self.clone(), address: counted, is_shaking_hands: true })
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
            self.gate.inside().handshakes -= 1;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shook_hands();
        let mut inside = self.gate.inside();
        inside.connections -= 1;
        if let Some(address) = self.address {
            leave(&mut inside.addresses, address);
            leave(&mut inside.networks, network(address));
        }
    }
}

fn leave(counts: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => (v4 & Ipv4Addr::from(u32::MAX << (32 - IPV4_NETWORK_BITS))).into(),
        IpAddr::V6(v6) => (v6 & Ipv6Addr::from(u128::MAX << (128 - IPV6_NETWORK_BITS))).into(),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Connections => "limits.connections",
            Refusal::Address => "limits.connections_per_address",
            Refusal::Network => "limits.connections_per_network",
            Refusal::Handshakes => "limits.handshakes",
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
        gate.admit(address.parse().expect("an address"))
    }

    #[test]
    fn at_a_limit_all_are_in_and_one_past_it_is_refused_until_one_leaves() {
        for (change, refusal) in [
            ((|limits| limits.connections = 3) as fn(&mut Limits), Refusal::Connections),
            (|limits| limits.connections_per_address = 3, Refusal::Address),
            (|limits| limits.connections_per_network = 3, Refusal::Network),
            (|limits| limits.handshakes = 3, Refusal::Handshakes),
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
        let gate = gate(|limits| (limits.connections_per_address, limits.connections) = (1, 3));
        let _inside: Vec<_> = (0..3).map(|_| enter(&gate, "127.0.0.1").expect("loopback")).collect();
        assert_eq!(enter(&gate, "127.0.0.1").err(), Some(Refusal::Connections));
    }

    #[test]
    fn a_handshake_that_is_over_makes_room_for_the_next_once() {
        let gate = gate(|limits| limits.handshakes = 1);
        let mut first = enter(&gate, "192.0.2.1").expect("the first");
        first.shook_hands();
        first.shook_hands();
        let _second = enter(&gate, "192.0.2.1").expect("the first is through");
        assert_eq!(enter(&gate, "192.0.2.1").err(), Some(Refusal::Handshakes));
        drop(first);
        assert_eq!(enter(&gate, "192.0.2.1").err(), Some(Refusal::Handshakes));
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let gate = gate(|_| ());
        drop((enter(&gate, "192.0.2.1"), enter(&gate, "2001:db8::1")));
        let inside = gate.inside();
        assert_eq!((inside.connections, inside.handshakes), (0, 0));
        assert!(inside.addresses.is_empty() && inside.networks.is_empty());
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
