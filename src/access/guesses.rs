//! Wrong keys, passwords, links and tokens, counted by rule and network: a network that guesses has to wait, and what it
//! shows meanwhile is not looked at.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
};

use ipnet::IpNet;
use papaya::HashMap;

use super::networks::contains;

/// Counts wrong guesses.
pub(super) struct Guesses {
    /// How many may come in a minute, from one network at one rule; 0 is no limit.
    per_minute: u64,
    exempt: Vec<IpNet>,
    /// When what has come is forgotten again, milliseconds. One guess is forgotten in a minute's part.
    until_ms: HashMap<Guesser, AtomicU64>,
    /// Before that nothing is cleaned up again.
    next_cleaning_ms: AtomicU64,
}

/// A network at a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Guesser {
    rule: usize,
    network: IpAddr,
}

impl Guesses {
    pub(super) fn new(per_minute: usize, exempt: &[IpNet]) -> Self {
        let per_minute = per_minute as u64;
        let (until_ms, next_cleaning_ms) = (HashMap::new(), AtomicU64::new(0));
        Self { per_minute, exempt: exempt.to_vec(), until_ms, next_cleaning_ms }
    }

    /// Whether this peer has to wait.
    pub(super) fn are_too_many(&self, rule: usize, peer: IpAddr, now: u64) -> bool {
        let (now_ms, guesser) = (now * 1000, Guesser { rule, network: network_of(peer) });
        self.per_minute > 0
            && self.until_ms.pin().get(&guesser).is_some_and(|until| {
                // After the clock was set back, what was counted says nothing.
                (MINUTE_MS..=2 * MINUTE_MS).contains(&until.load(Ordering::Relaxed).saturating_sub(now_ms))
            })
    }

    /// One more.
    pub(super) fn add(&self, rule: usize, peer: IpAddr, now: u64) {
        if self.per_minute == 0 || self.exempt.iter().any(|network| contains(network, peer)) {
            return;
        }
        let (now_ms, guesser) = (now * 1000, Guesser { rule, network: network_of(peer) });
        let counted = self.until_ms.pin();
        if counted.len() >= MAX_GUESSERS && !self.clean(now_ms) && !counted.contains_key(&guesser) {
            return;
        }
        let each_ms = (MINUTE_MS / self.per_minute).max(1);
        let until = counted.get_or_insert_with(guesser, || AtomicU64::new(now_ms));
        let later = |until: u64| Some(until.clamp(now_ms, now_ms + MINUTE_MS) + each_ms);
        let _ = until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Forgets those that have waited long enough, at most every few seconds. False if that brought no room.
    fn clean(&self, now_ms: u64) -> bool {
        let next = self.next_cleaning_ms.load(Ordering::Relaxed);
        let counted = self.until_ms.pin();
        if now_ms >= next || next > now_ms + CLEANING_MS {
            self.next_cleaning_ms.store(now_ms + CLEANING_MS, Ordering::Relaxed);
            let is_waiting = |until: &AtomicU64| {
                (now_ms + 1..=now_ms + 2 * MINUTE_MS).contains(&until.load(Ordering::Relaxed))
            };
            counted.retain(|_, until| is_waiting(until));
        }
        counted.len() < MAX_GUESSERS
    }
}

/// An IPv4 /24 or an IPv6 /56, as limits count connections.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => (v4 & Ipv4Addr::from(u32::MAX << 8)).into(),
        IpAddr::V6(v6) => (v6 & Ipv6Addr::from(u128::MAX << 72)).into(),
    }
}

const MINUTE_MS: u64 = 60_000;
/// Networks that guess at the same time; more are not counted, so that they cannot lock out others. 1 MiB.
const MAX_GUESSERS: usize = 16_384;
/// A core forgets all of them in a millisecond.
const CLEANING_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_that_guesses_waits_and_others_do_not() {
        let guesses = Guesses::new(30, &["198.51.100.0/24".parse().unwrap()]);
        for _ in 0..30 {
            assert!(!guesses.are_too_many(0, peer("203.0.113.7"), NOW));
            guesses.add(0, peer("203.0.113.7"), NOW);
            guesses.add(0, peer("198.51.100.1"), NOW);
        }
        for (address, is_limited) in [
            ("203.0.113.7", true),
            ("203.0.113.200", true),
            ("::ffff:203.0.113.9", true),
            ("203.0.114.7", false),
            ("198.51.100.1", false),
        ] {
            assert_eq!(guesses.are_too_many(0, peer(address), NOW), is_limited, "{address}");
        }
        assert!(!guesses.are_too_many(1, peer("203.0.113.7"), NOW), "at another rule");
        assert!(guesses.are_too_many(0, peer("203.0.113.7"), NOW));
        assert!(!guesses.are_too_many(0, peer("203.0.113.7"), NOW + 2), "one more every 2 s");
        guesses.add(0, peer("203.0.113.7"), NOW + 2);
        assert!(guesses.are_too_many(0, peer("203.0.113.7"), NOW + 2));
        assert!(!guesses.are_too_many(0, peer("203.0.113.7"), NOW + 60));
    }

    #[test]
    fn however_many_come_the_wait_is_no_longer_and_a_clock_set_back_ends_it() {
        let guesses = Guesses::new(60, &[]);
        for _ in 0..10_000 {
            guesses.add(0, peer("2001:db8:0:1::1"), NOW);
        }
        assert!(guesses.are_too_many(0, peer("2001:db8:0:2::1"), NOW), "the same /56");
        assert!(!guesses.are_too_many(0, peer("2001:db8:0:2::1"), NOW + 2));
        assert!(!guesses.are_too_many(0, peer("2001:db8:0:2::1"), NOW - 3600));
        let none = Guesses::new(0, &[]);
        none.add(0, peer("203.0.113.7"), NOW);
        assert!(!none.are_too_many(0, peer("203.0.113.7"), NOW) && none.until_ms.pin().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_those_that_waited_give_it_back() {
        let guesses = Guesses::new(60, &[]);
        let network = |number: usize| IpAddr::from(Ipv4Addr::from((number as u32 + 1) << 8));
        for number in 0..2 * MAX_GUESSERS {
            guesses.add(0, network(number), NOW);
        }
        assert_eq!(guesses.until_ms.pin().len(), MAX_GUESSERS);
        for _ in 0..60 {
            guesses.add(0, network(0), NOW);
        }
        assert!(guesses.are_too_many(0, network(0), NOW), "those that are known are counted");
        guesses.add(0, network(2 * MAX_GUESSERS), NOW + 10);
        assert_eq!(guesses.until_ms.pin().len(), 2, "one still waits");
    }
}
