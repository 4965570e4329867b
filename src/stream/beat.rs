//! When the next frame of a kind of media is expected: as long after the last one as that was after the one before.

#![forbid(unsafe_code)]

/// Frames of one kind.
#[derive(Debug, Default)]
pub(super) struct Beat {
    /// When the last one came.
    pub(super) came_ms: u64,
    timestamp_ms: u32,
    /// From the one before it, by their timestamps; none where that is no rate.
    gap_ms: Option<u32>,
}

/// Frames further apart than this have no rate that can be relied on: 5 per second.
const MAX_GAP_MS: u32 = 200;

impl Beat {
    /// A frame with this time has come. Another one of the same time, of a second track for example, changes nothing.
    pub(super) fn saw(&mut self, timestamp_ms: u32, now_ms: u64) {
        self.came_ms = now_ms;
        let gap_ms = timestamp_ms.wrapping_sub(self.timestamp_ms);
        if gap_ms > 0 {
            self.gap_ms = (gap_ms <= MAX_GAP_MS).then_some(gap_ms);
            self.timestamp_ms = timestamp_ms;
        }
    }

    /// In how many milliseconds the next one is expected; 0 where it is late. None where that is not known, or it has
    /// been late for as long as from one frame to the next.
    pub(super) fn next_in_ms(&self, now_ms: u64) -> Option<u64> {
        let gap_ms = u64::from(self.gap_ms?);
        let expected_ms = self.came_ms + gap_ms;
        (now_ms <= expected_ms + gap_ms).then_some(expected_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_frame_is_expected_as_long_after_the_last_as_that_came_after_the_one_before() {
        let mut beat = Beat::default();
        assert_eq!(beat.next_in_ms(0), None);
        beat.saw(1_000_000, 50);
        assert_eq!(beat.next_in_ms(50), None, "one frame is no rate");
        beat.saw(1_000_040, 95);
        let expected = [(95, Some(40)), (134, Some(1)), (135, Some(0)), (175, Some(0)), (176, None)];
        expected.into_iter().for_each(|(now_ms, next)| assert_eq!(beat.next_in_ms(now_ms), next, "{now_ms}"));
        beat.saw(1_000_040, 100);
        assert_eq!(beat.next_in_ms(100), Some(40), "of a second track");
        beat.saw(1_000_241, 1_000);
        assert_eq!(beat.next_in_ms(1_000), None, "a pause");
        beat.saw(1_000_251, 1_010);
        beat.saw(1_000_250, 1_020);
        assert_eq!(beat.next_in_ms(1_020), None, "time goes back");
    }
}
