//! Wrong keys, passwords, links and tokens, counted by rule and network: a network that guesses has to wait, and what it
//! shows meanwhile is not looked at. What is shown again is no other guess: an encoder comes back with its old key for ever,
//! and a page shows its link with each stream.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use ipnet::IpNet;
use papaya::HashMap;

use super::networks::contains;

/// Counts wrong guesses.
pub(super) struct Guesses {
    /// How many may come in a minute, from one network at one rule; 0 is no limit.
    per_minute: u64,
    exempt: Vec<IpNet>,
    counted: HashMap<Guesser, Count>,
    seed: RandomState,
    /// Before that nothing is cleaned up again.
    next_cleaning_ms: AtomicU64,
}

/// A network at a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Guesser {
    rule: usize,
    network: IpAddr,
}

#[derive(Default)]
struct Count {
    /// When what has come is forgotten again, milliseconds. One guess is forgotten in a minute's part.
    until_ms: AtomicU64,
    /// Digests of what came last; 0 where nothing did.
    known: [AtomicU64; KNOWN],
    /// How many were put there.
    added: AtomicUsize,
}

impl Count {
    /// Whether this has come before. It is known from then on.
    fn knows(&self, digest: u64) -> bool {
        let is_known = self.known.iter().any(|known| known.load(Ordering::Relaxed) == digest);
        if !is_known {
            let at = self.added.fetch_add(1, Ordering::Relaxed) % KNOWN;
            self.known[at].store(digest, Ordering::Relaxed);
        }
        is_known
    }
}

impl Guesses {
    pub(super) fn new(per_minute: usize, exempt: &[IpNet]) -> Self {
        let per_minute = per_minute as u64;
        let (counted, next_cleaning_ms) = (HashMap::new(), AtomicU64::new(0));
        Self { per_minute, exempt: exempt.to_vec(), counted, seed: RandomState::new(), next_cleaning_ms }
    }

    /// Whether this peer has to wait.
    pub(super) fn are_too_many(&self, rule: usize, peer: IpAddr, now: u64) -> bool {
        let (now_ms, guesser) = (now * 1000, Guesser { rule, network: network_of(peer) });
        self.per_minute > 0
            && self.counted.pin().get(&guesser).is_some_and(|count| {
                let until_ms = count.until_ms.load(Ordering::Relaxed);
                // After the clock was set back, what was counted says nothing.
                (MINUTE_MS..=2 * MINUTE_MS).contains(&until_ms.saturating_sub(now_ms))
            })
    }

    /// One more, which has shown this.
    pub(super) fn add(&self, rule: usize, peer: IpAddr, now: u64, shown: impl Hash) {
        if self.per_minute == 0 || self.exempt.iter().any(|network| contains(network, peer)) {
            return;
        }
        let (now_ms, guesser) = (now * 1000, Guesser { rule, network: network_of(peer) });
        let counted = self.counted.pin();
        if counted.len() >= MAX_GUESSERS && !self.clean(now_ms) && !counted.contains_key(&guesser) {
            return;
        }
        let each_ms = (MINUTE_MS / self.per_minute).max(1);
        let count = counted.get_or_insert_with(guesser, Count::default);
        if count.knows(self.seed.hash_one(shown).max(1)) {
            return;
        }
        let later = |until: u64| Some(until.clamp(now_ms, now_ms + MINUTE_MS) + each_ms);
        let _ = count.until_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Forgets those that have waited long enough, at most every few seconds. False if that brought no room.
    fn clean(&self, now_ms: u64) -> bool {
        let next = self.next_cleaning_ms.load(Ordering::Relaxed);
        let counted = self.counted.pin();
        if now_ms >= next || next > now_ms + CLEANING_MS {
            self.next_cleaning_ms.store(now_ms + CLEANING_MS, Ordering::Relaxed);
            let is_waiting = |count: &Count| {
                (now_ms + 1..=now_ms + 2 * MINUTE_MS).contains(&count.until_ms.load(Ordering::Relaxed))
            };
            counted.retain(|_, count| is_waiting(count));
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
/// Networks that guess at the same time; more are not counted, so that they cannot lock out others. 3 MiB.
const MAX_GUESSERS: usize = 16_384;
/// What a network has shown last: encoders with an old key, viewers with a link to another stream.
const KNOWN: usize = 8;
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
        for number in 0..30 {
            assert!(!guesses.are_too_many(0, peer("203.0.113.7"), NOW));
            guesses.add(0, peer("203.0.113.7"), NOW, number);
            guesses.add(0, peer("198.51.100.1"), NOW, number);
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
        guesses.add(0, peer("203.0.113.7"), NOW + 2, "another");
        assert!(guesses.are_too_many(0, peer("203.0.113.7"), NOW + 2));
        assert!(!guesses.are_too_many(0, peer("203.0.113.7"), NOW + 60));
    }

    #[test]
    fn however_many_come_the_wait_is_no_longer_and_a_clock_set_back_ends_it() {
        let guesses = Guesses::new(60, &[]);
        for number in 0..10_000 {
            guesses.add(0, peer("2001:db8:0:1::1"), NOW, number);
        }
        assert!(guesses.are_too_many(0, peer("2001:db8:0:2::1"), NOW), "the same /56");
        assert!(!guesses.are_too_many(0, peer("2001:db8:0:2::1"), NOW + 2));
        assert!(!guesses.are_too_many(0, peer("2001:db8:0:2::1"), NOW - 3600));
        let none = Guesses::new(0, &[]);
        none.add(0, peer("203.0.113.7"), NOW, 1);
        assert!(!none.are_too_many(0, peer("203.0.113.7"), NOW) && none.counted.pin().is_empty());
    }

    #[test]
    fn what_is_shown_again_is_no_other_guess() {
        let guesses = Guesses::new(30, &[]);
        for second in 0..1_000 {
            guesses.add(0, peer("203.0.113.7"), NOW + second, "an old key");
            assert!(!guesses.are_too_many(0, peer("203.0.113.7"), NOW + second));
        }
        // What differs is one, and the first ones are forgotten at last.
        for number in 0..100 {
            guesses.add(0, peer("203.0.113.7"), NOW, number % 10);
        }
        assert!(guesses.are_too_many(0, peer("203.0.113.7"), NOW));
    }

    #[test]
    fn memory_is_bounded_and_those_that_waited_give_it_back() {
        let guesses = Guesses::new(60, &[]);
        let network = |number: usize| IpAddr::from(Ipv4Addr::from((number as u32 + 1) << 8));
        for number in 0..2 * MAX_GUESSERS {
            guesses.add(0, network(number), NOW, 1);
        }
        assert_eq!(guesses.counted.pin().len(), MAX_GUESSERS);
        for number in 1..=60 {
            guesses.add(0, network(0), NOW, number);
        }
        assert!(guesses.are_too_many(0, network(0), NOW), "those that are known are counted");
        guesses.add(0, network(2 * MAX_GUESSERS), NOW + 10, 1);
        assert_eq!(guesses.counted.pin().len(), 2, "one still waits");
    }
}
