//! Makes the time of a stream go on when its encoder comes back. Knows nothing of bytes.

/// Time between the last frame of one publish and the first of the next: about one frame of video.
const RESUME_STEP_MS: u32 = 40;

/// Frames of one moment may come this far out of order (audio ahead of video, headers behind).
const REORDER_MS: u32 = 10_000;

/// Maps the encoder's timestamps to the stream's, in 32-bit serial arithmetic, milliseconds.
///
/// The first encoder's times pass as they are. One that comes back is put behind the last time that players saw:
/// it may start at 0 or anywhere.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    offset_ms: u32,
    /// The newest time given out.
    newest_ms: Option<u32>,
    resuming: Resuming,
}

#[derive(Debug, Default)]
enum Resuming {
    #[default]
    No,
    /// Waits for the first media frame, whose time decides the offset.
    AtFirstFrame,
    /// Frames that the encoder put before its first one are raised to this.
    Since(u32),
}

impl Timeline {
    /// The publisher went away: the next frame, whoever sends it, goes on from here.
    pub(super) fn interrupt(&mut self) {
        if self.newest_ms.is_some() {
            self.resuming = Resuming::AtFirstFrame;
        }
    }

    /// The stream's time for a media frame.
    pub(super) fn media(&mut self, timestamp_ms: u32) -> u32 {
        if let (Resuming::AtFirstFrame, Some(newest)) = (&self.resuming, self.newest_ms) {
            let start = newest.wrapping_add(RESUME_STEP_MS);
            self.offset_ms = start.wrapping_sub(timestamp_ms);
            self.resuming = Resuming::Since(start);
        }
        let mut mapped = timestamp_ms.wrapping_add(self.offset_ms);
        if let Resuming::Since(start) = self.resuming {
            if is_before(mapped, start) {
                mapped = start;
            } else if is_before(start.wrapping_add(REORDER_MS), mapped) {
                self.resuming = Resuming::No;
            }
        }
        if self.newest_ms.is_none_or(|newest| is_before(newest, mapped)) {
            self.newest_ms = Some(mapped);
        }
        mapped
    }

    /// The stream's time for metadata or a sequence header: encoders often send these with time 0, so they never
    /// decide where the stream goes on.
    pub(super) fn header(&self, timestamp_ms: u32) -> u32 {
        let mapped = timestamp_ms.wrapping_add(self.offset_ms);
        match (&self.resuming, self.newest_ms) {
            (Resuming::AtFirstFrame, Some(newest)) => newest,
            (_, Some(newest)) if self.offset_ms != 0 && distance(mapped, newest) > REORDER_MS => newest,
            (Resuming::Since(start), _) if is_before(mapped, *start) => *start,
            _ => mapped,
        }
    }
}

/// Serial arithmetic (RTMP 1.0 §5.3.1: times wrap after 49.7 days).
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn distance(a: u32, b: u32) -> u32 {
    (a.wrapping_sub(b) as i32).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_encoders_times_pass_unchanged() {
        let mut time = Timeline::default();
        for t in [0, 23, 40, 30, 0xFFFF_FFFF, 5] {
            assert_eq!(time.media(t), t);
        }
        assert_eq!(time.header(7), 7);
    }

    #[test]
    fn an_encoder_that_starts_again_at_zero_goes_on_where_it_stopped() {
        let mut time = Timeline::default();
        time.media(3_600_000);
        time.interrupt();
        assert_eq!(time.header(0), 3_600_000);
        assert_eq!(time.media(0), 3_600_040);
        assert_eq!(time.media(33), 3_600_073);
        assert_eq!(time.header(33), 3_600_073);
    }

    #[test]
    fn an_encoder_that_comes_back_hours_ahead_makes_no_jump() {
        let mut time = Timeline::default();
        time.media(1000);
        time.interrupt();
        assert_eq!(time.header(0), 1000);
        assert_eq!(time.media(90_000_000), 1040);
        assert_eq!(time.media(89_999_990), 1040, "before its own first frame: never backwards");
        assert_eq!(time.header(0), 1040, "headers keep their 0, players must not see it");
    }

    #[test]
    fn time_goes_on_over_the_32_bit_edge() {
        let mut time = Timeline::default();
        assert_eq!(time.media(u32::MAX - 10), u32::MAX - 10);
        assert_eq!(time.media(20), 20);
        time.interrupt();
        assert_eq!(time.media(0), 60);
    }

    #[test]
    fn a_resumed_stream_runs_for_months() {
        let mut time = Timeline::default();
        time.media(1000);
        time.interrupt();
        let mut expected = 1040u32;
        for t in (0..90 * 86_400_000u64).step_by(5_000) {
            assert_eq!(time.media(t as u32), expected);
            expected = expected.wrapping_add(5_000);
        }
    }

    #[test]
    fn an_interruption_before_any_frame_changes_nothing() {
        let mut time = Timeline::default();
        time.interrupt();
        assert_eq!(time.media(500), 500);
    }
}
