//! What is known of a stream from what its publisher has sent: counts, and the headers, not parsed. Written twice a
//! second by the publisher's core, read by the control plane.

#![forbid(unsafe_code)]

use bytes::Bytes;

/// A stream, as its current publisher has sent it so far.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When this publish began, milliseconds on the relay's clock.
    pub since_ms: u64,
    /// When these were written, milliseconds on the relay's clock.
    pub now_ms: u64,
    /// The newest time of audio or video. None before a frame has come.
    pub newest: Option<MediaTime>,
    /// Payload bytes of all frames.
    pub bytes: u64,
    /// The same of earlier publishers, since the stream began to exist.
    pub earlier_bytes: u64,
    /// All frames.
    pub frames: u64,
    /// The same of earlier publishers.
    pub earlier_frames: u64,
    /// Video frames: of the first video track, and each once, however many messages it is sent in.
    pub video_frames: u64,
    /// Key frames among these.
    pub key_frames: u64,
    /// Video tracks that have had a key frame.
    pub video_tracks: usize,
    /// Audio tracks that have had a frame.
    pub audio_tracks: usize,
    /// Between the last two key frames, milliseconds of the stream.
    pub key_frame_interval_ms: Option<u32>,
    /// `onMetaData`, the body of the message in AMF0, with the name before it.
    pub metadata: Option<Bytes>,
    /// The first bytes of the first video track's newest frame, which name its codec. None before a frame has come,
    /// whatever was announced.
    pub video: Option<Bytes>,
    /// That track's sequence header, the whole message.
    pub video_header: Option<Bytes>,
    /// The first bytes of the first audio track's newest frame; none before one has come.
    pub audio: Option<Bytes>,
    /// That track's sequence header, the whole message.
    pub audio_header: Option<Bytes>,
}

/// A time of the stream, and when a frame with this time came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaTime {
    /// As players get it over RTMP, milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// On the relay's clock, milliseconds.
    pub at_ms: u64,
}
