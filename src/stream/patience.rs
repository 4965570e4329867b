//! A core's patience: the clock by which it counts silence, and the times at which the core itself was stalled: the
//! process was stopped, the machine swapped, other programs took the CPU. During a stall nothing was read, so a peer's
//! silence does not count. Written by one core, read by all; reads no clock itself.

#![forbid(unsafe_code)]

use std::{collections::VecDeque, sync::Arc};

use arc_swap::ArcSwap;

use super::sync::{AtomicU64, Ordering};

/// Stalls that are remembered: five minutes of a core that gets no more than one turn in 200 ms. Older ones are beyond
/// most limits.
const MAX_STALLS: usize = 1024;

/// One core's patience. Times are milliseconds: `patient_ms` of the core's patient clock, all others of the relay's.
pub struct Patience {
    patient_ms: AtomicU64,
    /// Oldest first. Replaced at each stall, which is rare.
    stalls: ArcSwap<VecDeque<Stall>>,
}

#[derive(Clone, Copy)]
struct Stall {
    ended_ms: u64,
    lasted_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { patient_ms: AtomicU64::new(0), stalls: ArcSwap::default() }
    }
}

impl Patience {
    /// Called by the core: its patient clock has this time now.
    pub fn set(&self, patient_ms: u64) {
        self.patient_ms.store(patient_ms, Ordering::Release);
    }

    /// The core's patient clock, as of its last turn. It does not go on while the core is stalled.
    pub fn patient_ms(&self) -> u64 {
        self.patient_ms.load(Ordering::Acquire)
    }

    /// Called by the core: it was stalled for `lasted_ms`, until now.
    pub fn was_stalled(&self, ended_ms: u64, lasted_ms: u64) {
        let mut stalls = VecDeque::clone(&self.stalls.load());
        if stalls.len() == MAX_STALLS {
            stalls.pop_front();
        }
        stalls.push_back(Stall { ended_ms, lasted_ms });
        self.stalls.store(Arc::new(stalls));
    }

    /// For how much of the time since `then_ms` the core was stalled, milliseconds.
    pub fn stalled_ms_since(&self, then_ms: u64) -> u64 {
        let stalls = self.stalls.load();
        let since = stalls.iter().rev().take_while(|stall| stall.ended_ms > then_ms);
        since.map(|stall| stall.lasted_ms.min(stall.ended_ms - then_ms)).sum()
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_the_part_after_a_moment() {
        let patience = Patience::default();
        assert_eq!(patience.stalled_ms_since(0), 0);
        patience.was_stalled(10_000, 4_000);
        patience.was_stalled(30_000, 17_000);
        for (then_ms, expected) in
            [(0, 21_000), (6_000, 21_000), (8_000, 19_000), (10_000, 17_000), (20_000, 10_000), (30_000, 0)]
        {
            assert_eq!(patience.stalled_ms_since(then_ms), expected, "since {then_ms}");
        }
    }

    #[test]
    fn no_more_stalls_are_remembered_than_the_bound() {
        let patience = Patience::default();
        (1..=MAX_STALLS as u64 + 5).for_each(|i| patience.was_stalled(i * 1_000, 10));
        assert_eq!(patience.stalled_ms_since(0), MAX_STALLS as u64 * 10);
    }
}
