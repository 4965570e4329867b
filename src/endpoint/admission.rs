//! Which connections are admitted: counts them, in all and by where they come from, and counts what is refused. Consulted
//! when a connection comes, shakes hands or goes; never on the data path of a frame.

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

/// Counts all connections of the process.
#[derive(Default)]
pub struct Admission {
    inside: Mutex<Inside>,
}

/// Limits of one level, and the refusals where they are reached.
struct Level {
    connections: (usize, Refusal),
    handshakes: (usize, Refusal),
}

/// Where a connection has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// A handshake comes first, in which a peer may keep the relay waiting.
    Rtmp,
    /// No handshake. A flood of handshakes over RTMP causes no refusals here.
    Http,
}

/// A place inside. Dropping it gives the place back.
pub struct Ticket {
    id: u64,
    admission: Arc<Admission>,
    /// What it is counted for; none where it comes from one of `limits.exempt`.
    origin: Option<Origin>,
    is_shaking_hands: bool,
}

/// The limit for which a connection was refused.
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
    /// Of peers that are counted, and of those from `limits.exempt`: neither takes the place of the other.
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
    logged_ms: Option<u64>,
}

impl Admission {
    /// A place for connection number `id`, which comes from this address.
    ///
    /// # Errors
    /// What limit it is beyond: of several, the one that concerns the fewest others. It is not counted then.
    pub fn admit(
        self: &Arc<Self>,
        limits: &Limits,
        id: u64,
        address: IpAddr,
        entrance: Entrance,
    ) -> Result<Ticket, Refusal> {
        self.admit_from(limits, id, counted_origin(limits, address), entrance)
    }

    /// A place for connection number `id` that a proxy has made for a client which it has not named yet: until then it
    /// counts against the whole alone, as one from `limits.exempt` does.
    ///
    /// # Errors
    /// As those of [`Admission::admit`].
    pub fn admit_unnamed(
        self: &Arc<Self>,
        limits: &Limits,
        id: u64,
        entrance: Entrance,
    ) -> Result<Ticket, Refusal> {
        self.admit_from(limits, id, None, entrance)
    }

    fn admit_from(
        self: &Arc<Self>,
        limits: &Limits,
        id: u64,
        origin: Option<Origin>,
        entrance: Entrance,
    ) -> Result<Ticket, Refusal> {
        let is_shaking_hands = entrance == Entrance::Rtmp;
        let mut inside = self.inside();
        inside.check_levels(limits, origin, is_shaking_hands)?;
        if inside.connections >= limits.connections {
            return Err(Refusal::Connections);
        }
        inside.check_handshakes(limits, origin, is_shaking_hands)?;
        inside.connections += 1;
        inside.add(origin, is_shaking_hands);
        Ok(Ticket { id, admission: self.clone(), origin, is_shaking_hands })
    }

    /// A connection was refused. Returns how many have been for this limit, if it is time to log it.
    pub(super) fn refused(&self, refusal: Refusal, now_ms: u64) -> Option<u64> {
        let mut inside = self.inside();
        let refused = &mut inside.refused[refusal as usize];
        refused.count += 1;
        let is_time =
            refused.logged_ms.is_none_or(|logged_ms| now_ms.saturating_sub(logged_ms) >= BETWEEN_LINES_MS);
        is_time.then(|| {
            refused.logged_ms = Some(now_ms);
            refused.count
        })
    }

    /// How many are inside.
    pub fn connections(&self) -> usize {
        self.inside().connections
    }

    /// How many were refused, by limit.
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        let inside = self.inside();
        Refusal::ALL.iter().map(|&refusal| (refusal, inside.refused[refusal as usize].count)).collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Counts are whole between any two statements: a panic elsewhere spoils nothing.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Whether there is room at each level.
    fn check_levels(
        &self,
        limits: &Limits,
        origin: Option<Origin>,
        is_shaking_hands: bool,
    ) -> Result<(), Refusal> {
        for ((level, counts), key) in levels(limits).iter().zip(&self.levels).zip(keys(origin)) {
            let counts = counts.get(&key).copied().unwrap_or_default();
            if counts.connections >= level.connections.0 {
                return Err(level.connections.1);
            }
            if is_shaking_hands && counts.handshakes >= level.handshakes.0 {
                return Err(level.handshakes.1);
            }
        }
        Ok(())
    }

    /// Whether there is room for one more handshake.
    fn check_handshakes(
        &self,
        limits: &Limits,
        origin: Option<Origin>,
        is_shaking_hands: bool,
    ) -> Result<(), Refusal> {
        let handshakes = self.handshakes[usize::from(origin.is_some())];
        if is_shaking_hands && handshakes >= limits.handshakes { Err(Refusal::Handshakes) } else { Ok(()) }
    }

    /// Counts for an origin.
    fn add(&mut self, origin: Option<Origin>, is_shaking_hands: bool) {
        self.handshakes[usize::from(origin.is_some())] += usize::from(is_shaking_hands);
        for (counts, key) in self.levels.iter_mut().zip(keys(origin)) {
            let counts = counts.entry(key).or_default();
            counts.connections += 1;
            counts.handshakes += usize::from(is_shaking_hands);
        }
    }

    /// The handshake of one that counts for this origin is over.
    fn shook_hands(&mut self, origin: Option<Origin>) {
        self.handshakes[usize::from(origin.is_some())] -= 1;
        for (counts, key) in self.levels.iter_mut().zip(keys(origin)) {
            if let Some(counts) = counts.get_mut(&key) {
                counts.handshakes -= 1;
            }
        }
    }

    /// No longer counts for an origin.
    fn remove(&mut self, origin: Option<Origin>, is_shaking_hands: bool) {
        if is_shaking_hands {
            self.shook_hands(origin);
        }
        for (counts, key) in self.levels.iter_mut().zip(keys(origin)) {
            if let Some(of_key) = counts.get_mut(&key) {
                of_key.connections -= 1;
                if of_key.connections == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}

impl Ticket {
    /// The connection's number, unique in the process: what log lines and the API name it by.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Counts from now on for the client at this address, which a proxy has named.
    ///
    /// # Errors
    /// What limit that client is beyond. It counts as before then.
    pub fn name_client(&mut self, limits: &Limits, address: IpAddr) -> Result<(), Refusal> {
        let origin = counted_origin(limits, address);
        let mut inside = self.admission.inside();
        // First, since both may be in the same network.
        inside.remove(self.origin, self.is_shaking_hands);
        let outcome = inside
            .check_levels(limits, origin, self.is_shaking_hands)
            .and_then(|()| inside.check_handshakes(limits, origin, self.is_shaking_hands));
        if outcome.is_ok() {
            self.origin = origin;
        }
        inside.add(self.origin, self.is_shaking_hands);
        outcome
    }

    /// The handshake is over. Once is enough.
    pub(super) fn shook_hands(&mut self) {
        if std::mem::take(&mut self.is_shaking_hands) {
            self.admission.inside().shook_hands(self.origin);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = self.admission.inside();
        inside.connections -= 1;
        inside.remove(self.origin, self.is_shaking_hands);
    }
}

/// What a connection from this address counts for; nothing where it comes from one of `limits.exempt`.
fn counted_origin(limits: &Limits, address: IpAddr) -> Option<Origin> {
    let origin = Origin::of(address);
    let is_exempt = limits.exempt.iter().any(|net| net.contains(&origin.address));
    (!is_exempt).then_some(origin)
}

/// What each level may have, from the address to the block.
fn levels(limits: &Limits) -> [Level; LEVELS] {
    [
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
    ]
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

    /// An admission, and the limits in force.
    struct Bench {
        admission: Arc<Admission>,
        limits: Limits,
    }

    impl std::ops::Deref for Bench {
        type Target = Admission;

        fn deref(&self) -> &Admission {
            &self.admission
        }
    }

    fn bench(change: impl FnOnce(&mut Limits)) -> Bench {
        let mut limits = Limits::default();
        change(&mut limits);
        Bench { admission: Arc::default(), limits }
    }

    fn enter(bench: &Bench, address: &str) -> Result<Ticket, Refusal> {
        bench.admission.admit(&bench.limits, 1, address.parse().expect("an address"), Entrance::Rtmp)
    }

    fn enter_by_http(bench: &Bench, address: &str) -> Result<Ticket, Refusal> {
        bench.admission.admit(&bench.limits, 1, address.parse().expect("an address"), Entrance::Http)
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
            let bench = bench(change);
            let mut inside: Vec<_> =
                (0..3).map(|_| enter(&bench, "192.0.2.1").expect("below the limit")).collect();
            assert_eq!(enter(&bench, "192.0.2.1").err(), Some(refusal));
            inside.pop();
            assert!(enter(&bench, "192.0.2.1").is_ok());
        }
    }

    #[test]
    fn a_limit_that_is_lowered_refuses_the_next_one_and_ends_none() {
        let mut bench = bench(|limits| limits.connections_per_address = 3);
        let _inside = [enter(&bench, "192.0.2.1"), enter(&bench, "192.0.2.1")].map(Result::unwrap);
        bench.limits.connections_per_address = 1;
        assert_eq!(enter(&bench, "192.0.2.1").err(), Some(Refusal::Address));
        assert_eq!(bench.connections(), 2);
    }

    #[test]
    fn neighbours_share_a_network_and_others_are_not_in_it() {
        let bench = bench(|limits| limits.connections_per_network = 1);
        let _v4 = enter(&bench, "192.0.2.1").expect("the first");
        assert_eq!(enter(&bench, "192.0.2.255").err(), Some(Refusal::Network));
        assert!(enter(&bench, "192.0.3.1").is_ok());
        let _v6 = enter(&bench, "2001:db8:0:7f::1").expect("the first");
        assert_eq!(enter(&bench, "2001:db8:0:1::2").err(), Some(Refusal::Network), "the same /56");
        assert!(enter(&bench, "2001:db8:0:100::1").is_ok());
        assert_eq!(enter(&bench, "::ffff:192.0.2.9").err(), Some(Refusal::Network), "IPv4 in IPv6's clothes");
    }

    #[test]
    fn exempt_networks_count_against_the_whole_alone() {
        let bench = bench(|limits| {
            (limits.connections_per_address, limits.handshakes_per_address, limits.connections) = (1, 1, 3);
        });
        let _inside: Vec<_> = (0..3).map(|_| enter(&bench, "127.0.0.1").expect("loopback")).collect();
        assert_eq!(enter(&bench, "127.0.0.1").err(), Some(Refusal::Connections));
    }

    #[test]
    fn a_handshake_that_is_over_makes_room_for_the_next_once() {
        for (change, refusal) in [
            ((|limits| limits.handshakes = 1) as fn(&mut Limits), Refusal::Handshakes),
            (|limits| limits.handshakes_per_address = 1, Refusal::AddressHandshakes),
            (|limits| limits.handshakes_per_network = 1, Refusal::NetworkHandshakes),
            (|limits| limits.handshakes_per_block = 1, Refusal::BlockHandshakes),
        ] {
            let bench = bench(change);
            let mut first = enter(&bench, "192.0.2.1").expect("the first");
            first.shook_hands();
            first.shook_hands();
            let _second = enter(&bench, "192.0.2.1").expect("the first is through");
            assert_eq!(enter(&bench, "192.0.2.1").err(), Some(refusal));
            drop(first);
            assert_eq!(enter(&bench, "192.0.2.1").err(), Some(refusal));
        }
    }

    /// As many handshakes from these addresses as are let in.
    fn flood(bench: &Bench, addresses: impl Iterator<Item = IpAddr>) -> Vec<Ticket> {
        addresses
            .filter_map(|address| bench.admission.admit(&bench.limits, 1, address, Entrance::Rtmp).ok())
            .collect()
    }

    #[test]
    fn no_network_no_host_and_no_owner_of_a_block_keeps_others_out() {
        let others = ["198.51.100.7", "2001:db9::7", "127.0.0.1", "::1"];
        let v6 = |bits: u128| IpAddr::from(((0x2001_0db8_u128 << 96) | bits).to_be_bytes());
        let floods: [(&str, Vec<IpAddr>); 5] = [
            ("an IPv4 /24", (0..100_000_u32).map(|n| [192, 0, 2, n as u8].into()).collect()),
            ("an IPv4 /16", (0..100_000_u32).map(|n| [192, 0, (n >> 8) as u8, n as u8].into()).collect()),
            ("an IPv6 host, its own /64", (0..100_000).map(v6).collect()),
            ("an IPv6 customer, a /56", (0..100_000).map(|n| v6((n & 0xFF) << 64 | n)).collect()),
            ("the owner of an IPv6 /32", (0..100_000).map(|n| v6(n << 72)).collect()),
        ];
        for (from, addresses) in floods {
            let bench = bench(|_| ());
            let _flood = flood(&bench, addresses.into_iter());
            for other in others {
                assert!(enter(&bench, other).is_ok(), "{from} keeps {other} out");
                assert!(enter_by_http(&bench, other).is_ok(), "{from} keeps {other} out over HTTP");
            }
        }
    }

    #[test]
    fn handshakes_are_not_counted_over_http() {
        let bench = bench(|limits| (limits.handshakes, limits.handshakes_per_address) = (2, 1));
        let _flood = flood(&bench, (0..10_u8).map(|n| [192, 0, 2, n].into()));
        assert_eq!(enter(&bench, "198.51.100.7").err(), Some(Refusal::Handshakes), "RTMP is at its limit");
        assert!(enter_by_http(&bench, "198.51.100.7").is_ok());
        let _by_http = enter_by_http(&bench, "192.0.2.1").expect("for RTMP connections, too");
        assert_eq!(bench.inside().handshakes, [0, 2]);
    }

    /// What comes through a proxy on this machine, and what comes by itself.
    #[test]
    fn exempt_networks_and_others_do_not_keep_each_other_out() {
        for (stranger, honest) in [("127.0.0.1", "198.51.100.7"), ("198.51.100.7", "127.0.0.1")] {
            let bench = bench(|limits| limits.handshakes = 2);
            let _strangers = [enter(&bench, stranger), enter(&bench, stranger)];
            assert_eq!(enter(&bench, stranger).err(), Some(Refusal::Handshakes));
            assert!(enter(&bench, honest).is_ok());
        }
    }

    #[test]
    fn a_client_that_a_proxy_names_counts_for_itself_from_then_on() {
        let mut bench = bench(|limits| {
            (limits.connections_per_address, limits.handshakes_per_network, limits.handshakes) = (2, 2, 3);
        });
        let unnamed = |bench: &Bench| {
            bench.admission.admit_unnamed(&bench.limits, 1, Entrance::Rtmp).expect("there is room")
        };
        let named = |bench: &Bench, address: &str| {
            let mut ticket = unnamed(bench);
            let outcome = ticket.name_client(&bench.limits, address.parse().expect("an address"));
            (ticket, outcome)
        };
        let (mut first, outcome) = named(&bench, "192.0.2.1");
        assert_eq!((outcome, bench.inside().handshakes), (Ok(()), [0, 1]));
        let (second, outcome) = named(&bench, "192.0.2.1");
        assert_eq!(outcome, Ok(()));
        let (third, outcome) = named(&bench, "192.0.2.1");
        assert_eq!(outcome, Err(Refusal::Address));
        let handshakes = bench.inside().handshakes;
        assert_eq!((handshakes, bench.connections()), ([1, 2], 3), "it counts as before");
        drop(third);
        assert_eq!(named(&bench, "192.0.2.9").1, Err(Refusal::NetworkHandshakes), "its neighbour");
        first.shook_hands();
        assert_eq!(named(&bench, "192.0.2.9").1, Ok(()));
        assert_eq!(named(&bench, "127.0.0.1").1, Ok(()), "the client may be exempt as well");
        // In the same network as its proxy, which counts for itself.
        bench.limits.connections_per_network = 1;
        bench.limits.exempt.clear();
        let mut neighbour = enter_by_http(&bench, "198.51.100.1").expect("the first there");
        assert_eq!(neighbour.name_client(&bench.limits, [198, 51, 100, 2].into()), Ok(()));
        drop((first, second, neighbour));
        let inside = bench.inside();
        assert_eq!((inside.connections, inside.handshakes), (0, [0, 0]));
        assert!(inside.levels.iter().all(HashMap::is_empty));
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let bench = bench(|_| ());
        let mut through = enter(&bench, "192.0.2.1");
        through.as_mut().expect("there is room").shook_hands();
        drop((
            through,
            enter(&bench, "2001:db8::1"),
            enter(&bench, "127.0.0.1"),
            enter_by_http(&bench, "::1"),
        ));
        let inside = bench.inside();
        assert_eq!((inside.connections, inside.handshakes), (0, [0, 0]));
        assert!(inside.levels.iter().all(HashMap::is_empty));
    }

    #[test]
    fn refusals_are_counted_each_and_said_now_and_then() {
        let bench = bench(|_| ());
        assert_eq!(bench.refused(Refusal::Address, 5), Some(1));
        assert_eq!(bench.refused(Refusal::Address, 6), None);
        assert_eq!(bench.refused(Refusal::Network, 7), Some(1), "another reason is another line");
        assert_eq!(bench.refused(Refusal::Address, 5 + BETWEEN_LINES_MS), Some(3));
    }
}
