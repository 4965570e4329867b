//! A core's two clocks, moved by its caller. The relay's is the time: when a frame came, how old it is. The
//! core's own patient one is for silence and deadlines: it goes on by little from one turn to the next, so that no peer
//! is blamed for not having been heard while the core stood still.

/// How far the patient clock goes on from one turn to the next, at most: two ticks. A core that runs takes a turn each
/// tick.
const MAX_STEP_MS: u64 = 200;

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Milliseconds since the relay started.
    pub ms: u64,
    /// Milliseconds, without the time in which the core stood still.
    pub patient_ms: u64,
}

impl Now {
    /// A core begins at this time of the relay's.
    pub(super) fn at(now_us: u64) -> Self {
        let ms = now_us / 1_000;
        Self { ms, patient_ms: ms }
    }

    /// It is this time. Returns for how long the core has stood still since the last call, if it has.
    pub(super) fn advance(&mut self, now_us: u64) -> Option<u64> {
        let passed_ms = (now_us / 1_000).saturating_sub(self.ms);
        let counted_ms = passed_ms.min(MAX_STEP_MS);
        self.ms += passed_ms;
        self.patient_ms += counted_ms;
        Some(passed_ms - counted_ms).filter(|&lasted_ms| lasted_ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_takes_two_ticks_of_patience_however_long_it_lasts() {
        let mut now = Now::at(1_000_999);
        assert_eq!(now.advance(1_100_000), None);
        assert_eq!(now.advance((1_100 + MAX_STEP_MS) * 1_000), None);
        assert_eq!(now, Now { ms: 1_300, patient_ms: 1_300 });
        assert_eq!(now.advance(18_300_000), Some(17_000 - MAX_STEP_MS));
        assert_eq!(now, Now { ms: 18_300, patient_ms: 1_500 });
        assert_eq!(now.advance(18_300_000), None);
        assert_eq!(now.advance(18_000_000), None, "a time that goes back changes nothing");
        assert_eq!(now, Now { ms: 18_300, patient_ms: 1_500 });
    }
}
