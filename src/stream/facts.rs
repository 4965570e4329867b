//! What is known of a stream from what its publisher has sent: counts, and the headers unopened. Written now and then
//! by the publisher's core, read by whoever wants to tell of the stream.

#![forbid(unsafe_code)]

use bytes::Bytes;

/// A stream, as its publisher of now has sent it so far.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When this publish began, milliseconds on the relay's clock.
    pub since_ms: u64,
    /// When these were written, milliseconds on the relay's clock.
    pub now_ms: u64,
    /// Payload bytes of all frames.
    pub bytes: u64,
    /// All frames.
    pub frames: u64,
    /// Pictures among them: of the first video track, and each once, in however many messages it comes.
    pub pictures: u64,
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
    /// The first bytes of the first video track's newest picture: its codec is named there. None before a picture has
    /// come, whatever was announced.
    pub video: Option<Bytes>,
    /// That track's sequence header, the whole message.
    pub video_header: Option<Bytes>,
    /// The first bytes of the first audio track's newest frame; none before one has come.
    pub audio: Option<Bytes>,
    /// That track's sequence header, the whole message.
    pub audio_header: Option<Bytes>,
}
