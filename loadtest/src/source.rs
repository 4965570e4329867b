//! A synthetic encoder: which frame is due when, and its bytes. H.264 and AAC in all that a relay looks at; what a
//! decoder would look at is filler.

use bytes::Bytes;
use fanfare::amf0::{self, Value};
use fanfare::flv::{Frame, FrameKind};

use crate::marker::Marker;

/// What a stream is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bits per second, audio included.
    pub bitrate: u64,
    /// Video frames per second.
    pub fps: u32,
    /// Frames from one key frame to the next.
    pub gop: u32,
    /// Whether there is AAC, 43 frames a second of 64 kbit/s.
    pub audio: bool,
}

impl Shape {
    /// # Errors
    /// What cannot be made, as one line.
    pub fn check(&self) -> Result<(), String> {
        let least = u64::from(self.fps) * MIN_VIDEO_BYTES as u64 * 8 + self.audio_bitrate();
        match self {
            Self { fps: 1..=240, gop: 1..=6000, bitrate, .. } if (least..=MAX_BITRATE).contains(bitrate) => {
                Ok(())
            }
            Self { fps: 1..=240, gop: 1..=6000, .. } => {
                Err(format!("the bitrate must be {least} to {MAX_BITRATE} bits per second"))
            }
            _ => Err("fps must be 1 to 240 and a group of pictures 1 to 6000 frames".to_owned()),
        }
    }

    fn audio_bitrate(&self) -> u64 {
        if self.audio { AUDIO_BITRATE } else { 0 }
    }

    /// Payload bytes of an inter frame; a key frame is [`KEY_FRAME_FACTOR`] times as large.
    fn inter_frame_bytes(&self) -> usize {
        let video_bytes_per_second = (self.bitrate - self.audio_bitrate()) / 8;
        let parts = u64::from(self.gop) - 1 + KEY_FRAME_FACTOR;
        (video_bytes_per_second * u64::from(self.gop) / (u64::from(self.fps) * parts)) as usize
    }
}

/// One stream, frame by frame. Times are nanoseconds since its start.
#[derive(Clone, Debug)]
pub struct Source {
    shape: Shape,
    stream: u32,
    source: u32,
    video_frames: u64,
    audio_frames: u64,
}

impl Source {
    /// A stream that has not begun. `source` tells it from other runs of the same stream.
    pub fn new(shape: Shape, stream: u32, source: u32) -> Self {
        Self { shape, stream, source, video_frames: 0, audio_frames: 0 }
    }

    /// Metadata and sequence headers: what an encoder sends first.
    pub fn opening(&self) -> Vec<Frame> {
        let Shape { bitrate, fps, audio, .. } = self.shape;
        let metadata = [
            Value::from("onMetaData"),
            Value::EcmaArray(vec![
                ("width".to_owned(), 1280.0.into()),
                ("height".to_owned(), 720.0.into()),
                ("framerate".to_owned(), f64::from(fps).into()),
                ("videocodecid".to_owned(), 7.0.into()),
                ("videodatarate".to_owned(), (bitrate as f64 / 1000.0).into()),
                ("encoder".to_owned(), "fanfare-load".into()),
            ]),
        ];
        let mut frames = vec![
            at_0(FrameKind::Data, &amf0::encode_all(&metadata)),
            at_0(FrameKind::Video, AVC_SEQUENCE_HEADER),
        ];
        if audio {
            frames.push(at_0(FrameKind::Audio, AAC_SEQUENCE_HEADER));
        }
        frames
    }

    /// When the next frame is due.
    pub fn due_ns(&self) -> u64 {
        if self.is_audio_next() { self.audio_due_ns() } else { self.video_due_ns() }
    }

    /// The next frame, sent at `sent_ns` of CLOCK_MONOTONIC.
    pub fn next_frame(&mut self, sent_ns: u64) -> Frame {
        let timestamp_ms = (self.due_ns() / 1_000_000) as u32;
        let Self { shape, stream, source, .. } = *self;
        if self.is_audio_next() {
            let marker = Marker { stream, source, sequence: self.audio_frames, sent_ns };
            self.audio_frames += 1;
            let payload = frame_bytes(&AAC_FRAME, marker, AUDIO_FRAME_BYTES);
            return Frame { kind: FrameKind::Audio, timestamp_ms, payload };
        }
        let marker = Marker { stream, source, sequence: self.video_frames, sent_ns };
        let is_key_frame = self.video_frames.is_multiple_of(u64::from(shape.gop));
        self.video_frames += 1;
        let payload = if is_key_frame {
            let len = shape.inter_frame_bytes() * KEY_FRAME_FACTOR as usize;
            frame_bytes(&video_head(KEY_FRAME, NAL_IDR, len), marker, len)
        } else {
            let len = shape.inter_frame_bytes();
            frame_bytes(&video_head(INTER_FRAME, NAL_NON_IDR, len), marker, len)
        };
        Frame { kind: FrameKind::Video, timestamp_ms, payload }
    }

    fn is_audio_next(&self) -> bool {
        self.shape.audio && self.audio_due_ns() < self.video_due_ns()
    }

    fn video_due_ns(&self) -> u64 {
        self.video_frames * 1_000_000_000 / u64::from(self.shape.fps)
    }

    fn audio_due_ns(&self) -> u64 {
        // 43 frames a second and a bit: 1024 samples each.
        self.audio_frames * 1024 * 1_000_000_000 / AUDIO_SAMPLE_RATE
    }
}

/// Where the marker stands in a frame of that kind; `None` in frames that carry none.
pub fn marker_position(kind: FrameKind, payload: &[u8]) -> Option<usize> {
    match (kind, payload) {
        (FrameKind::Audio, [0xAF, 1, ..]) => Some(AAC_FRAME.len()),
        (FrameKind::Video, [KEY_FRAME | INTER_FRAME, 1, ..]) => Some(VIDEO_HEAD_BYTES),
        _ => None,
    }
}

fn at_0(kind: FrameKind, payload: &[u8]) -> Frame {
    Frame { kind, timestamp_ms: 0, payload: Bytes::copy_from_slice(payload).into() }
}

fn frame_bytes(head: &[u8], marker: Marker, len: usize) -> fanfare::flv::Payload {
    let mut payload = Vec::with_capacity(len.max(MIN_VIDEO_BYTES));
    payload.extend_from_slice(head);
    marker.write(&mut payload, len);
    payload.into()
}

/// The FLV tag's five bytes, and one NAL unit that fills the rest.
fn video_head(first: u8, nal_type: u8, len: usize) -> [u8; VIDEO_HEAD_BYTES] {
    let nal_bytes = len.max(MIN_VIDEO_BYTES) - VIDEO_HEAD_BYTES + 1;
    let [a, b, c, d] = (nal_bytes as u32).to_be_bytes();
    [first, 1, 0, 0, 0, a, b, c, d, nal_type]
}

/// How much larger a key frame is than the others.
pub const KEY_FRAME_FACTOR: u64 = 5;

const AUDIO_SAMPLE_RATE: u64 = 44_100;
const AUDIO_BITRATE: u64 = 64_000;
/// 64 kbit/s at 43 frames a second.
const AUDIO_FRAME_BYTES: usize = 186;

const VIDEO_HEAD_BYTES: usize = 10;
const MIN_VIDEO_BYTES: usize = VIDEO_HEAD_BYTES + Marker::LEN;
/// Key frames stay below a message's 16 MiB.
const MAX_BITRATE: u64 = 400_000_000;

/// Frame type and codec id, AVC.
const KEY_FRAME: u8 = 0x17;
const INTER_FRAME: u8 = 0x27;
const NAL_IDR: u8 = 0x65;
const NAL_NON_IDR: u8 = 0x41;

/// AVCDecoderConfigurationRecord: baseline 3.1, 1280×720, an SPS and a PPS.
const AVC_SEQUENCE_HEADER: &[u8] = &[
    0x17, 0x00, 0x00, 0x00, 0x00, 0x01, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0x00, 0x17, 0x67, 0x42, 0xC0, 0x1F,
    0xDA, 0x01, 0x40, 0x16, 0xEC, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0F, 0x03, 0xC6,
    0x0C, 0xA8, 0x01, 0x00, 0x05, 0x68, 0xCE, 0x0F, 0x2C, 0x80,
];
/// AudioSpecificConfig: AAC-LC, 44.1 kHz, stereo.
const AAC_SEQUENCE_HEADER: &[u8] = b"\xAF\0\x12\x10";
const AAC_FRAME: [u8; 2] = [0xAF, 1];

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare::flv::{audio, video};

    const SHAPE: Shape = Shape { bitrate: 1_000_000, fps: 30, gop: 60, audio: true };

    fn seconds(shape: Shape, seconds: u64) -> Vec<Frame> {
        let mut source = Source::new(shape, 1, 2);
        std::iter::from_fn(|| (source.due_ns() < seconds * 1_000_000_000).then(|| source.next_frame(7)))
            .collect()
    }

    fn prefix(frame: &Frame) -> Vec<u8> {
        frame.payload.to_bytes()[..16].to_vec()
    }

    #[test]
    fn the_bitrate_is_what_was_asked_for() {
        for shape in [SHAPE, Shape { bitrate: 600_000, audio: false, gop: 25, fps: 25 }] {
            let bytes: usize = seconds(shape, 20).iter().map(|frame| frame.payload.len()).sum();
            let share = bytes as f64 * 8.0 / 20.0 / shape.bitrate as f64;
            assert!((0.99..1.01).contains(&share), "{share}");
        }
    }

    #[test]
    fn a_relay_takes_it_for_h264_and_aac() {
        let frames = seconds(SHAPE, 4);
        let is_key = |frame: &&Frame| video::Header::parse(&prefix(frame)).is_key_frame();
        let video: Vec<_> = frames.iter().filter(|frame| frame.kind == FrameKind::Video).collect();
        assert_eq!((video.len(), video.iter().filter(|frame| is_key(frame)).count()), (120, 2));
        assert!(is_key(&video[0]) && is_key(&video[60]));
        assert_eq!(frames.len() - video.len(), 173, "43 a second of audio");
        assert_eq!(video[0].payload.len(), 5 * video[1].payload.len());

        let opening = Source::new(SHAPE, 0, 0).opening();
        assert!(video::Header::parse(&prefix(&opening[1])).is_sequence_header());
        assert!(audio::Header::parse(&opening[2].payload.to_bytes()).is_sequence_header());
    }

    #[test]
    fn frames_come_in_the_order_of_their_times() {
        let times: Vec<_> = seconds(SHAPE, 4).iter().map(|frame| frame.timestamp_ms).collect();
        assert!(times.is_sorted());
        assert_eq!((times[0], times[times.len() - 1] / 100), (0, 39));
    }

    #[test]
    fn each_frame_carries_its_number_among_its_kind() {
        let mut next = [0, 0];
        for frame in seconds(SHAPE, 2) {
            let bytes = frame.payload.to_bytes();
            let marker = Marker::read(&bytes, marker_position(frame.kind, &bytes).unwrap()).unwrap();
            let next = &mut next[usize::from(frame.kind == FrameKind::Audio)];
            assert_eq!(marker, Marker { stream: 1, source: 2, sequence: *next, sent_ns: 7 });
            *next += 1;
        }
    }

    #[test]
    fn shapes_that_cannot_be_made_are_refused() {
        assert!(SHAPE.check().is_ok());
        for shape in [
            Shape { fps: 0, ..SHAPE },
            Shape { gop: 0, ..SHAPE },
            Shape { bitrate: 64_000, ..SHAPE },
            Shape { bitrate: u64::MAX, ..SHAPE },
        ] {
            assert!(shape.check().is_err(), "{shape:?}");
        }
    }
}
