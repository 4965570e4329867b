//! What the index of a segment knows of one message. Plain values.

#![forbid(unsafe_code)]

/// One whole message in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it ends, in bytes from the segment's start; it begins where the one before it ends.
    pub end: u32,
    /// Its time in the stream, milliseconds modulo 2^32.
    pub timestamp_ms: u32,
    /// When it was appended to the log, on the relay's clock, milliseconds modulo 2^32.
    pub arrival_ms: u32,
    /// What it is.
    pub class: Class,
    /// Which sequence headers it goes with: a number that changes when one of them is replaced. The low bits of a
    /// count.
    pub configuration: u16,
}

/// What a message is to a player that filters or skips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Script data and sequence headers: sent to every player, whatever it filters.
    #[default]
    Data,
    /// Audio.
    Audio,
    /// Video that is not part of the key frame that players begin with.
    Video,
    /// A video key frame, or its first message: players can begin here.
    KeyFrame,
    /// A further message of the key frame before it.
    KeyFrameRest,
}

impl Entry {
    /// How long ago it was appended to the log, milliseconds; 0 where the reading core's clock is a little behind the
    /// writing core's.
    pub fn age_ms(&self, now_ms: u64) -> u32 {
        age_ms(self.arrival_ms, now_ms as u32)
    }
}

/// In serial arithmetic, which wraps after 49.7 days: correct for ages up to 49 days, and for a clock that is behind by
/// less than an hour.
pub(super) fn age_ms(then_ms: u32, now_ms: u32) -> u32 {
    let age_ms = now_ms.wrapping_sub(then_ms);
    if age_ms > u32::MAX - MAX_BEHIND_MS { 0 } else { age_ms }
}

/// Cores read the clock at different times, milliseconds apart.
const MAX_BEHIND_MS: u32 = 3_600_000;

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_old_as_it_is_whatever_the_relays_clock_shows() {
        const DAY_MS: u64 = 86_400_000;
        for then_ms in [0, 5, (1 << 31) - 5, 1 << 31, (1 << 32) - 5, 1 << 32, 60 * DAY_MS] {
            let entry = Entry { arrival_ms: then_ms as u32, ..Entry::default() };
            for age_ms in [0, 1, 10, 5_000, DAY_MS, 24 * DAY_MS, 25 * DAY_MS, 49 * DAY_MS] {
                assert_eq!(u64::from(entry.age_ms(then_ms + age_ms)), age_ms, "since {then_ms}");
            }
            let behind_ms = (then_ms + (1 << 32)) - 3;
            assert_eq!(entry.age_ms(behind_ms), 0, "a core whose clock is 3 ms behind");
        }
    }
}
