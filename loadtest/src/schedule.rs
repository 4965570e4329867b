//! When each frame of a synthetic stream is due, and how large it is. Encoder and players compute the same, so a player
//! that got one frame knows what has been sent since.

use std::ops::Range;

use crate::marker::Marker;

/// The parameters of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bits per second, audio included.
    pub bitrate: u64,
    /// Video frames per second.
    pub fps: u32,
    /// Frames from one key frame to the next.
    pub gop: u32,
    /// Whether there is AAC audio: 43 frames per second, 64 kbit/s.
    pub audio: bool,
}

/// A shape, and when the first frame was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Which frames there are.
    pub shape: Shape,
    /// CLOCK_MONOTONIC.
    pub started_ns: u64,
}

/// Audio or video; each kind is numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Kind {
    Audio,
    Video,
}

impl Shape {
    /// # Errors
    /// Parameters that are out of range, as one line.
    pub fn check(&self) -> Result<(), String> {
        let min = u64::from(self.fps) * MIN_VIDEO_BYTES as u64 * 8 + self.audio_bitrate();
        match self {
            Self { fps: 1..=240, gop: 1..=6000, bitrate, .. } if (min..=MAX_BITRATE).contains(bitrate) => {
                Ok(())
            }
            Self { fps: 1..=240, gop: 1..=6000, .. } => {
                Err(format!("the bitrate must be {min} to {MAX_BITRATE} bits per second"))
            }
            _ => Err("fps must be 1 to 240 and a group of pictures 1 to 6000 frames".to_owned()),
        }
    }

    /// Payload bytes of a frame of that kind and number.
    pub fn frame_bytes(&self, kind: Kind, number: u64) -> usize {
        match kind {
            Kind::Audio => AUDIO_FRAME_BYTES,
            Kind::Video if self.is_key_frame(number) => self.key_frame_bytes(),
            Kind::Video => self.inter_frame_bytes(),
        }
    }

    /// Whether the video frame of that number is a key frame.
    pub fn is_key_frame(&self, number: u64) -> bool {
        number.is_multiple_of(u64::from(self.gop))
    }

    /// From one key frame to the next.
    pub fn group_ns(&self) -> u64 {
        u64::from(self.gop) * SECOND_NS / u64::from(self.fps)
    }

    /// The longest time from one frame to the next.
    pub fn interval_ns(&self) -> u64 {
        let video_ns = SECOND_NS / u64::from(self.fps);
        if self.audio { video_ns.min(AUDIO_SAMPLES * SECOND_NS / AUDIO_SAMPLE_RATE) } else { video_ns }
    }

    /// From the first frame to that one.
    pub fn offset_ns(&self, kind: Kind, number: u64) -> u64 {
        match kind {
            Kind::Video => number * SECOND_NS / u64::from(self.fps),
            // A little over 43 frames per second.
            Kind::Audio => number * AUDIO_SAMPLES * SECOND_NS / AUDIO_SAMPLE_RATE,
        }
    }

    fn audio_bitrate(&self) -> u64 {
        if self.audio { AUDIO_BITRATE } else { 0 }
    }

    fn key_frame_bytes(&self) -> usize {
        self.inter_frame_bytes() * KEY_FRAME_FACTOR as usize
    }

    fn inter_frame_bytes(&self) -> usize {
        let video_bytes_per_second = (self.bitrate - self.audio_bitrate()) / 8;
        let parts = u64::from(self.gop) - 1 + KEY_FRAME_FACTOR;
        let bytes = video_bytes_per_second * u64::from(self.gop) / (u64::from(self.fps) * parts);
        (bytes as usize).max(MIN_VIDEO_BYTES)
    }

    /// Payload bytes of a range of frames of one kind.
    fn bytes(&self, kind: Kind, numbers: Range<u64>) -> u64 {
        let count = numbers.end.saturating_sub(numbers.start);
        match kind {
            Kind::Audio => count * AUDIO_FRAME_BYTES as u64,
            Kind::Video => {
                let gop = u64::from(self.gop);
                let key_frames = numbers.end.div_ceil(gop).saturating_sub(numbers.start.div_ceil(gop));
                let more = (self.key_frame_bytes() - self.inter_frame_bytes()) as u64;
                count * self.inter_frame_bytes() as u64 + key_frames * more
            }
        }
    }
}

impl Schedule {
    /// When a frame is due, CLOCK_MONOTONIC.
    pub fn due_ns(&self, kind: Kind, number: u64) -> u64 {
        self.started_ns + self.shape.offset_ns(kind, number)
    }

    /// How many frames of a kind were due before `ns`, which is also the number of the first that was not.
    pub fn frames_before(&self, kind: Kind, ns: u64) -> u64 {
        if kind == Kind::Audio && !self.shape.audio {
            return 0;
        }
        let elapsed_ns = ns.saturating_sub(self.started_ns);
        let (frames, per_ns) = match kind {
            Kind::Video => (u64::from(self.shape.fps), SECOND_NS),
            Kind::Audio => (AUDIO_SAMPLE_RATE, AUDIO_SAMPLES * SECOND_NS),
        };
        let guess = (u128::from(elapsed_ns) * u128::from(frames)).div_ceil(u128::from(per_ns)) as u64;
        // Times of frames are rounded down, so the guess may be one too low.
        guess + u64::from(self.shape.offset_ns(kind, guess) < elapsed_ns)
    }

    /// Payload bytes of the frames that were due from one time to another.
    pub fn bytes_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        [Kind::Audio, Kind::Video]
            .map(|kind| {
                let numbers = self.frames_before(kind, from_ns)..self.frames_before(kind, to_ns);
                self.shape.bytes(kind, numbers)
            })
            .iter()
            .sum()
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// Size of a key frame, as a multiple of the other frames'.
pub const KEY_FRAME_FACTOR: u64 = 5;
/// The FLV tag's five bytes, a NAL unit's length and its type.
pub const VIDEO_HEAD_BYTES: usize = 10;
/// Minimum size of a video frame.
pub const MIN_VIDEO_BYTES: usize = VIDEO_HEAD_BYTES + Marker::LEN;

const AUDIO_SAMPLE_RATE: u64 = 44_100;
/// Per frame.
const AUDIO_SAMPLES: u64 = 1024;
const AUDIO_BITRATE: u64 = 64_000;
/// 64 kbit/s at 43 frames per second.
const AUDIO_FRAME_BYTES: usize = 186;
/// Key frames stay below a message's 16 MiB.
const MAX_BITRATE: u64 = 400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [Shape; 3] = [
        Shape { bitrate: 1_000_000, fps: 30, gop: 60, audio: true },
        Shape { bitrate: 600_000, fps: 25, gop: 25, audio: false },
        Shape { bitrate: 3_000_000, fps: 59, gop: 7, audio: true },
    ];

    #[test]
    fn frames_before_a_time_are_those_that_were_due_before_it() {
        for shape in SHAPES {
            let schedule = Schedule { shape, started_ns: 77 };
            for kind in [Kind::Audio, Kind::Video] {
                assert_eq!(schedule.frames_before(kind, 0), 0, "before it began");
                let frames = if kind == Kind::Audio && !shape.audio { 0..0 } else { 0..5_000 };
                for number in frames {
                    let due_ns = schedule.due_ns(kind, number);
                    assert_eq!(schedule.frames_before(kind, due_ns), number);
                    assert_eq!(schedule.frames_before(kind, due_ns + 1), number + 1);
                }
            }
        }
    }

    #[test]
    fn bytes_between_two_times_are_the_sum_of_the_frames_due() {
        for shape in SHAPES {
            let schedule = Schedule { shape, started_ns: 5 };
            let (from_ns, to_ns) = (1_234_567_890, 7_654_321_098);
            let mut bytes = 0;
            for kind in [Kind::Audio, Kind::Video] {
                let is_due = |number: &u64| (from_ns..to_ns).contains(&schedule.due_ns(kind, *number));
                let numbers = (0..1_000).filter(is_due).filter(|_| kind == Kind::Video || shape.audio);
                bytes += numbers.map(|number| shape.frame_bytes(kind, number) as u64).sum::<u64>();
            }
            assert_eq!(schedule.bytes_between(from_ns, to_ns), bytes, "{shape:?}");
        }
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let shape = SHAPES[0];
        assert!(shape.check().is_ok());
        for shape in [
            Shape { fps: 0, ..shape },
            Shape { gop: 0, ..shape },
            Shape { bitrate: 64_000, ..shape },
            Shape { bitrate: u64::MAX, ..shape },
        ] {
            assert!(shape.check().is_err(), "{shape:?}");
        }
    }
}
