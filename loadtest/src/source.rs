//! A synthetic encoder: when each frame is due, and its bytes. Everything that a relay parses is H.264 and AAC; what only a
//! decoder would parse is filler.

use bytes::Bytes;
use fanfare_rtmp::amf0::{self, Value};
use fanfare_rtmp::flv::{Frame, FrameKind};

use crate::marker::Marker;
pub use crate::schedule::Shape;
use crate::schedule::{Kind, MIN_VIDEO_BYTES, Schedule, VIDEO_HEAD_BYTES};

/// One stream, frame by frame.
#[derive(Clone, Debug)]
pub struct Source {
    schedule: Schedule,
    stream: u32,
    source: u32,
    video_frames: u64,
    audio_frames: u64,
}

impl Source {
    /// A stream that has not started. `source` distinguishes it from other runs of the same stream.
    pub fn new(shape: Shape, stream: u32, source: u32) -> Self {
        let schedule = Schedule { shape, started_ns: 0 };
        Self { schedule, stream, source, video_frames: 0, audio_frames: 0 }
    }

    /// Sets when the first frame is due (CLOCK_MONOTONIC). To be called before the first frame.
    pub fn begin(&mut self, started_ns: u64) {
        self.schedule.started_ns = started_ns;
    }

    /// Metadata and sequence headers: what an encoder sends first.
    pub fn headers(&self) -> Vec<Frame> {
        let Shape { bitrate, fps, audio, .. } = self.schedule.shape;
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

    /// When the next frame is due, CLOCK_MONOTONIC.
    pub fn due_ns(&self) -> u64 {
        let (kind, number) = self.next();
        self.schedule.due_ns(kind, number)
    }

    /// The next frame, sent at `sent_ns` (CLOCK_MONOTONIC).
    pub fn next_frame(&mut self, sent_ns: u64) -> Frame {
        self.frame(sent_ns, false)
    }

    /// The next frame, before it is due: it announces to players that no other follows.
    pub fn last_frame(&mut self, sent_ns: u64) -> Frame {
        self.frame(sent_ns, true)
    }

    fn frame(&mut self, sent_ns: u64, is_last: bool) -> Frame {
        let (kind, sequence) = self.next();
        let Self { schedule, stream, source, .. } = *self;
        let marker = Marker { stream, source, sequence, sent_ns, schedule, is_last };
        let timestamp_ms = (schedule.shape.offset_ns(kind, sequence) / 1_000_000) as u32;
        let len = schedule.shape.frame_bytes(kind, sequence);
        let (kind, payload) = match kind {
            Kind::Audio => {
                self.audio_frames += 1;
                (FrameKind::Audio, frame_bytes(&AAC_FRAME, marker, len))
            }
            Kind::Video => {
                self.video_frames += 1;
                let head = match schedule.shape.is_key_frame(sequence) {
                    true => video_head(KEY_FRAME, NAL_IDR, len),
                    false => video_head(INTER_FRAME, NAL_NON_IDR, len),
                };
                (FrameKind::Video, frame_bytes(&head, marker, len))
            }
        };
        Frame { kind, timestamp_ms, payload }
    }

    /// Kind and number of the next frame.
    fn next(&self) -> (Kind, u64) {
        let Self { schedule, video_frames, audio_frames, .. } = self;
        let audio_ns = schedule.shape.offset_ns(Kind::Audio, *audio_frames);
        if schedule.shape.audio && audio_ns < schedule.shape.offset_ns(Kind::Video, *video_frames) {
            (Kind::Audio, *audio_frames)
        } else {
            (Kind::Video, *video_frames)
        }
    }
}

/// Position of the marker in a frame of that kind; `None` in frames without one.
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

fn frame_bytes(head: &[u8], marker: Marker, len: usize) -> fanfare_rtmp::flv::Payload {
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
    use fanfare_rtmp::flv::{audio, video};

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
    fn the_bitrate_is_the_configured_one() {
        for shape in [SHAPE, Shape { bitrate: 600_000, audio: false, gop: 25, fps: 25 }] {
            let bytes: usize = seconds(shape, 20).iter().map(|frame| frame.payload.len()).sum();
            let share = bytes as f64 * 8.0 / 20.0 / shape.bitrate as f64;
            assert!((0.99..1.01).contains(&share), "{share}");
        }
    }

    #[test]
    fn it_parses_as_h264_and_aac() {
        let frames = seconds(SHAPE, 4);
        let is_key = |frame: &&Frame| video::Header::parse(&prefix(frame)).is_key_frame();
        let video: Vec<_> = frames.iter().filter(|frame| frame.kind == FrameKind::Video).collect();
        assert_eq!((video.len(), video.iter().filter(|frame| is_key(frame)).count()), (120, 2));
        assert!(is_key(&video[0]) && is_key(&video[60]));
        assert_eq!(frames.len() - video.len(), 173, "43 per second of audio");
        assert_eq!(video[0].payload.len(), 5 * video[1].payload.len());

        let headers = Source::new(SHAPE, 0, 0).headers();
        assert!(video::Header::parse(&prefix(&headers[1])).is_sequence_header());
        assert!(audio::Header::parse(&headers[2].payload.to_bytes()).is_sequence_header());
    }

    #[test]
    fn timestamps_never_decrease() {
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
            let Marker { stream, source, sequence, sent_ns, is_last, .. } = marker;
            assert_eq!((stream, source, sequence, sent_ns, is_last), (1, 2, *next, 7, false));
            assert_eq!(marker.schedule.shape, SHAPE);
            *next += 1;
        }
    }
}
