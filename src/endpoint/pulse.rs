//! Whether each core is alive: a core that stands still publishes no report. Checked once a second by the
//! process's main thread, and counted in checks, not in time: when the whole machine stood still no core is to blame.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Checks in a row without a report after which a core counts as stalled: each is a second after the one before, and a
/// core publishes two reports in that time.
const MISSED_CHECKS: u32 = 5;

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
    /// How many there were at the last check.
    seen: AtomicU64,
    missed: AtomicU32,
}

impl Pulse {
    /// The core has published a report.
    pub(super) fn beat(&self) {
        self.reports.fetch_add(1, Relaxed);
        self.missed.store(0, Relaxed);
    }

    /// To be called once a second, by one thread.
    pub(super) fn check(&self) {
        let reports = self.reports.load(Relaxed);
        if self.seen.swap(reports, Relaxed) != reports {
            self.missed.store(0, Relaxed);
        } else if self.missed.load(Relaxed) < MISSED_CHECKS {
            self.missed.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.missed.load(Relaxed) >= MISSED_CHECKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_stalled_after_so_many_checks_without_a_report_and_no_longer_with_the_next() {
        let pulse = Pulse::default();
        for _ in 0..100 {
            pulse.beat();
            pulse.check();
        }
        for check in 1..=MISSED_CHECKS {
            pulse.check();
            assert_eq!(pulse.is_stalled(), check == MISSED_CHECKS, "check {check}");
        }
        pulse.check();
        pulse.beat();
        assert!(!pulse.is_stalled());
        pulse.check();
        assert!(!pulse.is_stalled());
    }
}
