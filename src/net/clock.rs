//! A core's two clocks. The relay's tells what time it is: when a frame came, how old it is. The core's own patient one
//! is for silence and deadlines: it goes on by little from one turn to the next, so that a core that stood still, for
//! whatever reason, blames nobody for not having been heard.

use std::time::Instant;

/// How far the patient clock goes on from one turn to the next, at most: two ticks. A core that runs takes a turn each
/// tick.
pub(super) const MAX_STEP_MS: u64 = 200;

/// One moment by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub ms: u64,
    pub patient_ms: u64,
}

/// The clocks of one core, as of its last look at them.
pub(super) struct Clock {
    started: Instant,
    now_ms: u64,
    patient_ms: u64,
}

impl Clock {
    /// A core begins. `started` is when the relay did.
    pub(super) fn new(started: Instant) -> Self {
        let now_ms = started.elapsed().as_millis() as u64;
        Self { started, now_ms, patient_ms: now_ms }
    }

    /// Milliseconds since the relay started.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Milliseconds, of which those do not count in which the core stood still.
    pub(super) fn patient_ms(&self) -> u64 {
        self.patient_ms
    }

    /// Microseconds since the relay started, at this very moment.
    pub(super) fn us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Looks at the time. Returns for how long the core has stood still since the last look, if it has.
    pub(super) fn look(&mut self) -> Option<u64> {
        self.advance(self.started.elapsed().as_millis() as u64)
    }

    fn advance(&mut self, now_ms: u64) -> Option<u64> {
        let passed_ms = now_ms.saturating_sub(self.now_ms);
        let counted_ms = passed_ms.min(MAX_STEP_MS);
        self.now_ms += passed_ms;
        self.patient_ms += counted_ms;
        Some(passed_ms - counted_ms).filter(|&lasted_ms| lasted_ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_takes_two_ticks_of_patience_however_long_it_lasts() {
        let mut clock = Clock { started: Instant::now(), now_ms: 1_000, patient_ms: 1_000 };
        assert_eq!(clock.advance(1_100), None);
        assert_eq!(clock.advance(1_100 + MAX_STEP_MS), None);
        assert_eq!((clock.now_ms(), clock.patient_ms()), (1_300, 1_300));
        assert_eq!(clock.advance(18_300), Some(17_000 - MAX_STEP_MS));
        assert_eq!((clock.now_ms(), clock.patient_ms()), (18_300, 1_500));
        assert_eq!(clock.advance(18_300), None);
        assert_eq!((clock.now_ms(), clock.patient_ms()), (18_300, 1_500));
    }
}
