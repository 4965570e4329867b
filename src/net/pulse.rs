//! Whether each core is alive: a core that stands still lays out no report. Looked at once a second by the control
//! plane, and counted in looks, not in time: when the whole machine stood still no core is to blame.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Looks in a row without a report after which a core counts as stalled: each is a second after the one before, and a
/// core lays out two reports in that time.
const MISSED_LOOKS: u32 = 5;

/// A core that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("core {core} does not answer")]
pub struct Stalled {
    /// Its number.
    pub core: usize,
}

/// One core's pulse.
#[derive(Default)]
pub(super) struct Pulse {
    reports: AtomicU64,
    /// How many there were at the last look.
    seen: AtomicU64,
    missed: AtomicU32,
}

impl Pulse {
    /// The core has laid out a report.
    pub(super) fn beat(&self) {
        self.reports.fetch_add(1, Relaxed);
        self.missed.store(0, Relaxed);
    }

    /// To be called once a second, by one thread.
    pub(super) fn look(&self) {
        let reports = self.reports.load(Relaxed);
        if self.seen.swap(reports, Relaxed) != reports {
            self.missed.store(0, Relaxed);
        } else if self.missed.load(Relaxed) < MISSED_LOOKS {
            self.missed.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.missed.load(Relaxed) >= MISSED_LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_stalled_after_so_many_looks_without_a_report_and_no_longer_with_the_next() {
        let pulse = Pulse::default();
        for _ in 0..100 {
            pulse.beat();
            pulse.look();
        }
        for look in 1..=MISSED_LOOKS {
            pulse.look();
            assert_eq!(pulse.is_stalled(), look == MISSED_LOOKS, "look {look}");
        }
        pulse.look();
        pulse.beat();
        assert!(!pulse.is_stalled());
        pulse.look();
        assert!(!pulse.is_stalled());
    }
}
