//! The chunk layer (RTMP 1.0 §5.3): messages cut into chunks, and chunk streams interleaved on one connection.
//!
//! Owns what both directions share: the types of the wire, the bounds and the errors. It opens no message but the
//! two that are about chunks themselves, Set Chunk Size and Abort.

mod assembly;
mod chunk_stream;
mod decoder;
mod encoder;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod header;
#[cfg(test)]
mod round_trip;

pub use decoder::Decoder;
pub use encoder::{Encoder, MediaFormat, OUT_CHUNK_SIZE};

use crate::flv::Payload;

/// One RTMP message, whole.
#[derive(Clone, Debug)]
pub struct Message {
    /// The chunk stream that it came or goes on, 2..=65599.
    pub chunk_stream_id: u32,
    /// Absolute time in milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// What the payload is: 20 a command, 9 video, …
    pub message_type_id: u8,
    /// The stream within the connection that it belongs to; 0 is the connection itself.
    pub message_stream_id: u32,
    /// The body, at most 16 777 215 bytes.
    pub payload: Payload,
}

/// The most payload bytes that a chunk carries: 1..=16 777 215 (§5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// What both directions begin with.
    pub const INITIAL: Self = Self(128);

    /// As a Set Chunk Size message gives it. `None` for 0 and for a set top bit; more than a message can be long
    /// is the same as its longest.
    pub const fn new(raw: u32) -> Option<Self> {
        match raw {
            0 | 0x8000_0000.. => None,
            1..=MAX_MESSAGE_BYTES => Some(Self(raw)),
            _ => Some(Self(MAX_MESSAGE_BYTES)),
        }
    }

    /// Bytes.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Names a chunk stream: 2..=65599 (§5.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkStreamId(u32);

impl ChunkStreamId {
    /// Protocol control messages go here.
    pub const CONTROL: Self = Self(2);

    /// `None` outside 2..=65599.
    pub const fn new(raw: u32) -> Option<Self> {
        match raw {
            2..=65599 => Some(Self(raw)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// How much a peer may leave unfinished at one time. What it announces costs nothing, only what it sends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message, by its kind.
    pub message_bytes: MessageBytes,
    /// Messages begun and not ended. Real peers interleave two or three (audio and commands within a video frame).
    /// Each holds on to 32 receive buffers at most, so this is also what bounds the memory of buffers that are
    /// otherwise done with.
    pub partial_messages: usize,
    /// Payload bytes of messages begun and not ended, together: one message of the largest size and as much again
    /// for what is interleaved with it.
    pub partial_bytes: usize,
    /// Chunk streams with a header to inherit from. Real peers use under ten.
    pub chunk_streams: usize,
}

impl Limits {
    /// For a connection that publishes nothing: `connect` is 2 KiB, a play name with its token 4 KiB, and none of its media
    /// is kept.
    fn without_media(self) -> Self {
        let MessageBytes { command, .. } = self.message_bytes;
        Self {
            message_bytes: MessageBytes {
                command: command.min(MAX_COMMAND_WITHOUT_MEDIA),
                ..self.message_bytes
            },
            partial_messages: self.partial_messages.min(MAX_STREAMS_WITHOUT_MEDIA),
            partial_bytes: self.partial_bytes.min(MAX_PARTIAL_BYTES_WITHOUT_MEDIA),
            chunk_streams: self.chunk_streams.min(MAX_STREAMS_WITHOUT_MEDIA),
        }
    }
}

/// How large one message may be, bytes. The wire has 24 bits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageBytes {
    /// Video, and Aggregate, which holds some.
    pub video: u32,
    /// Audio.
    pub audio: u32,
    /// Data and shared objects, in AMF0 or AMF3.
    pub data: u32,
    /// Commands, control messages, and what the spec does not know.
    pub command: u32,
}

impl MessageBytes {
    /// For a message of this type.
    pub fn of(&self, message_type_id: u8) -> u32 {
        match message_type_id {
            9 | 22 => self.video,
            8 => self.audio,
            15 | 16 | 18 | 19 => self.data,
            _ => self.command,
        }
    }
}

impl Default for MessageBytes {
    fn default() -> Self {
        Self { video: MAX_MESSAGE_BYTES, audio: 1 << 20, data: 256 << 10, command: 64 << 10 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MessageBytes::default(),
            partial_messages: 32,
            partial_bytes: 32 << 20,
            chunk_streams: 64,
        }
    }
}

/// What a peer got wrong, and at which byte of all that it sent. The connection can't go on after it: chunk
/// boundaries are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A type 2 or 3 chunk on a chunk stream that had no header yet.
    #[error("chunk stream {chunk_stream_id} begins with a header of type {header_type}")]
    NothingToInherit {
        /// Where the header begins.
        position: u64,
        /// The chunk stream.
        chunk_stream_id: u32,
        /// 2 or 3.
        header_type: u8,
    },
    /// A header in the middle of a message announces another one: the message was given up without Abort.
    #[error("a header on chunk stream {chunk_stream_id} contradicts the message it is part of")]
    Contradiction {
        /// Where the header begins.
        position: u64,
        /// The chunk stream.
        chunk_stream_id: u32,
    },
    /// [`Limits::message_bytes`].
    #[error("a message of {length} bytes is announced, {limit} are allowed")]
    MessageBytes {
        /// Where the header begins.
        position: u64,
        /// As announced.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// [`Limits::chunk_streams`].
    #[error("more than {limit} chunk streams")]
    ChunkStreams {
        /// Where the header begins.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// [`Limits::partial_messages`].
    #[error("more than {limit} unfinished messages")]
    PartialMessages {
        /// Where the header begins.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// [`Limits::partial_bytes`].
    #[error("unfinished messages of more than {limit} bytes together")]
    PartialBytes {
        /// How far the bytes were read.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// Set Chunk Size to 0, or with the top bit set.
    #[error("a chunk size of {raw}")]
    ChunkSize {
        /// Where the message ends.
        position: u64,
        /// As sent.
        raw: u32,
    },
    /// Set Chunk Size or Abort with fewer than four bytes.
    #[error("a control message of type {message_type_id} with {length} bytes")]
    ControlLength {
        /// Where the message ends.
        position: u64,
        /// 1 or 2.
        message_type_id: u8,
        /// Bytes it has.
        length: usize,
    },
}

impl Error {
    /// At which byte of those that the decoder was fed, counted from 0.
    pub fn position(&self) -> u64 {
        match *self {
            Error::NothingToInherit { position, .. }
            | Error::Contradiction { position, .. }
            | Error::MessageBytes { position, .. }
            | Error::ChunkStreams { position, .. }
            | Error::PartialMessages { position, .. }
            | Error::PartialBytes { position, .. }
            | Error::ChunkSize { position, .. }
            | Error::ControlLength { position, .. } => position,
        }
    }
}

/// Bytes of one command of a connection that publishes nothing.
pub const MAX_COMMAND_WITHOUT_MEDIA: u32 = 16 << 10;
/// Bytes of its unfinished messages together: one command of that size, and control messages.
pub const MAX_PARTIAL_BYTES_WITHOUT_MEDIA: usize = (16 << 10) + 256;
/// Its chunk streams, and its unfinished messages. Players use three, encoders before they publish as well.
pub const MAX_STREAMS_WITHOUT_MEDIA: usize = 16;

/// A message's length has 24 bits.
const MAX_MESSAGE_BYTES: u32 = 0xFF_FFFF;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_size_is_one_to_a_message_s_longest() {
        assert_eq!(ChunkSize::new(0), None);
        assert_eq!(ChunkSize::new(0x8000_0080), None);
        assert_eq!(ChunkSize::new(1).map(ChunkSize::get), Some(1));
        assert_eq!(ChunkSize::new(16_777_215).map(ChunkSize::get), Some(16_777_215));
        assert_eq!(ChunkSize::new(16_777_216).map(ChunkSize::get), Some(16_777_215));
        assert_eq!(ChunkSize::new(0x7FFF_FFFF).map(ChunkSize::get), Some(16_777_215));
    }

    #[test]
    fn chunk_stream_ids_are_2_to_65599() {
        assert_eq!([1, 65_600].map(ChunkStreamId::new), [None, None]);
        assert_eq!([2, 65_599].map(|id| ChunkStreamId::new(id).unwrap().get()), [2, 65_599]);
    }
}
