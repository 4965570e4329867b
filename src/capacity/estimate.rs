//! From what the bare loops cost to what a relay carries: the pattern of a stream, the ratios, the arithmetic. No I/O.

use std::time::Duration;

use serde::Serialize;

/// When and where the ratios below were measured. loadtest/README.md says how: by the rows `most-…` of `shapes.sh`.
pub const CALIBRATED: &str = "those of an Intel Xeon with 2 CPUs in November 2026, where the load generator was the limit in three of four";
/// Players that a relay carries per player of the bare send loop, by the bitrate of the stream: at full load it collects data
/// for longer than [`PASS`], and sends by io_uring.
const PLAYERS_OF_BARE: Ratios = [(600_000, 0.71), (2_000_000, 1.13)];
/// Publishers that a relay carries per publisher of the bare receive loop, which does not look at what it receives.
const PUBLISHERS_OF_BARE: Ratios = [(600_000, 0.3), (2_000_000, 0.31)];
/// Time between two passes of the send loop.
pub const PASS: Duration = Duration::from_millis(50);
/// Rest of the receive loop after each round.
pub const REST: Duration = Duration::from_millis(25);

/// A stream of 30 video frames and 43 audio frames per second, as the load generator's: one message each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    bitrate: u64,
}

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// From the beginning of a second.
    pub offset: Duration,
    /// Number of the publisher.
    pub publisher: usize,
    /// Its length.
    pub bytes: usize,
}

/// Ratios to a bare loop at some bitrates, lowest first.
type Ratios = [(u64, f64); 2];

/// What the bare loops cost on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// CPU time of one send.
    pub send_ns: f64,
    /// Its length.
    pub send_bytes: usize,
    /// CPU time per 1,000 bytes received.
    pub receive_ns_per_kb: f64,
}

impl Stream {
    /// A stream of so many bits per second, audio included, if it is from 100 kbit/s to 100 Mbit/s.
    pub fn new(bitrate: u64) -> Option<Self> {
        (100_000..=100_000_000).contains(&bitrate).then_some(Self { bitrate })
    }

    /// `600k`, `2.5M` or `600000`.
    ///
    /// # Errors
    /// What is accepted, as one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, factor) = match text.as_bytes().last() {
            Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
            Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
            _ => (text, 1.0),
        };
        let bitrate = number.parse::<f64>().ok().map(|number| (number * factor).round());
        bitrate
            .filter(|bitrate| bitrate.is_finite() && *bitrate >= 0.0)
            .and_then(|bitrate| Self::new(bitrate as u64))
            .ok_or_else(|| "expected a bitrate from 100k to 100M, such as 600k or 2.5M".to_owned())
    }

    /// Bits per second, audio included.
    pub fn bitrate(self) -> u64 {
        self.bitrate
    }

    /// What is sent to a player in that time.
    pub fn bytes_in(self, time: Duration) -> usize {
        (self.bitrate as f64 / 8.0 * time.as_secs_f64()).round() as usize
    }

    /// How many connections to measure with: at most so many, so many bits per second, and as many files.
    pub fn connections(self, most: usize, bits: u64, files: u64) -> usize {
        let by_rate = usize::try_from(bits / self.bitrate).unwrap_or(most);
        // Both ends are in this process.
        let by_files = usize::try_from(files.saturating_sub(SPARE_FILES) / 2).unwrap_or(most);
        most.min(by_rate).min(by_files).max(1)
    }

    /// The messages of a second of so many publishers, in the order in which they are due: spread evenly.
    pub fn messages(self, publishers: usize) -> Vec<Message> {
        let video_bytes = (self.bitrate / 8) as usize - AUDIO_FRAMES * AUDIO_BYTES;
        let kinds = [(VIDEO_FRAMES, video_bytes / VIDEO_FRAMES), (AUDIO_FRAMES, AUDIO_BYTES)];
        let mut messages = Vec::new();
        for publisher in 0..publishers {
            let phase = Duration::from_secs(1) * publisher as u32 / publishers as u32;
            for (frames, bytes) in kinds {
                messages.extend((0..frames).map(|frame| {
                    let offset = phase + Duration::from_secs(1) * frame as u32 / frames as u32;
                    let offset = Duration::from_nanos(u64::from(offset.subsec_nanos()));
                    Message { offset, publisher, bytes }
                }));
            }
        }
        messages.sort_by_key(|message| message.offset);
        messages
    }
}

impl Costs {
    /// Players of one stream that a relay carries on one core.
    pub fn players(&self, stream: Stream) -> u64 {
        let ns_per_second = self.send_ns / PASS.as_secs_f64();
        (SECOND_NS / ns_per_second * ratio(&PLAYERS_OF_BARE, stream)) as u64
    }

    /// Publishers without players that a relay carries on one core.
    pub fn publishers(&self, stream: Stream) -> u64 {
        let ns_per_second = self.receive_ns_per_kb * stream.bitrate as f64 / 8e3;
        (SECOND_NS / ns_per_second * ratio(&PUBLISHERS_OF_BARE, stream)) as u64
    }
}

/// Between two bitrates the ratio changes with the logarithm of the bitrate; beyond them it is that of the nearest.
fn ratio([low, high]: &Ratios, stream: Stream) -> f64 {
    let [at, from, to] = [stream.bitrate, low.0, high.0].map(|bitrate| (bitrate as f64).ln());
    let share = ((at - from) / (to - from)).clamp(0.0, 1.0);
    low.1 + (high.1 - low.1) * share
}

const SECOND_NS: f64 = 1e9;
const VIDEO_FRAMES: usize = 30;
const AUDIO_FRAMES: usize = 43;
/// 64 kbit/s, with a chunk header.
const AUDIO_BYTES: usize = 198;
/// Files for other things than connections.
const SPARE_FILES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str) -> Stream {
        Stream::parse(text).unwrap()
    }

    #[test]
    fn bitrates_may_have_a_unit_and_have_bounds() {
        assert_eq!(
            ["600k", "2.5M", "100000"].map(|text| stream(text).bitrate),
            [600_000, 2_500_000, 100_000]
        );
        for text in ["", "k", "99k", "101M", "-1", "NaN", "inf", "1e30M"] {
            assert!(Stream::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_messages_of_a_second_have_the_bitrate_and_are_spread_over_it() {
        for publishers in [1, 60, 800] {
            let messages = stream("600k").messages(publishers);
            assert_eq!(messages.len(), 73 * publishers);
            let bits = messages.iter().map(|message| message.bytes * 8).sum::<usize>() / publishers;
            assert!((598_000..=600_000).contains(&bits), "{bits}");
            assert!(messages.is_sorted_by_key(|message| message.offset));
            assert!(messages.iter().all(|message| message.offset < Duration::from_secs(1)));
        }
        let messages = stream("600k").messages(800);
        let tenth = messages.iter().filter(|message| message.offset < Duration::from_millis(100)).count();
        assert!((messages.len() / 11..messages.len() / 9).contains(&tenth), "{tenth} of {}", messages.len());
    }

    #[test]
    fn connections_are_bounded_by_their_number_the_rate_and_the_files() {
        assert_eq!(stream("600k").connections(2_000, 1_600_000_000, 1 << 20), 2_000);
        assert_eq!(stream("8M").connections(2_000, 1_600_000_000, 1 << 20), 200);
        assert_eq!(stream("600k").connections(2_000, 1_600_000_000, 1_064), 500);
        assert_eq!(stream("100M").connections(800, 1, 0), 1);
    }

    /// By hand: 5 µs per send and 20 sends per second are 100 µs per player and second; 2 µs per 1,000 bytes and 75,000 bytes
    /// are 150 µs per publisher and second.
    #[test]
    fn a_core_carries_what_fits_into_a_second() {
        let costs = Costs { send_ns: 5_000.0, send_bytes: 3_750, receive_ns_per_kb: 2_000.0 };
        assert_eq!(costs.players(stream("600k")), (10_000.0 * PLAYERS_OF_BARE[0].1) as u64);
        assert_eq!(costs.publishers(stream("600k")), (1e9 / 150_000.0 * PUBLISHERS_OF_BARE[0].1) as u64);
        let twice = Costs { send_ns: 10_000.0, receive_ns_per_kb: 4_000.0, ..costs };
        assert_eq!(twice.players(stream("2M")), costs.players(stream("2M")) / 2);
        assert_eq!(twice.publishers(stream("2M")), costs.publishers(stream("2M")) / 2);
    }

    #[test]
    fn the_ratio_is_interpolated_between_the_bitrates_at_which_it_was_measured() {
        let ratios = [(500_000, 0.2), (2_000_000, 0.4)];
        let found = ["100k", "500k", "1M", "2M", "8M"].map(|bitrate| ratio(&ratios, stream(bitrate)));
        for (found, expected) in found.into_iter().zip([0.2, 0.2, 0.3, 0.4, 0.4]) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
    }
}
