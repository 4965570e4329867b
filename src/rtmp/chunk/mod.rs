//! The chunk layer (RTMP 1.0 §5.3): messages are split into chunks, and chunk streams are interleaved on one connection.
//!
//! This file has the types, limits and errors of both directions. The layer reads no message except the two about chunks
//! themselves, Set Chunk Size and Abort.

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

/// A complete RTMP message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The chunk stream that it is received or sent on, 2..=65599.
    pub chunk_stream_id: u32,
    /// Absolute time in milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// The type of the payload: 20 is a command, 9 is video, …
    pub message_type_id: u8,
    /// The message stream that it belongs to; 0 is the connection itself.
    pub message_stream_id: u32,
    /// The body, 16 777 215 bytes at most.
    pub payload: Payload,
}

/// The maximum payload of a chunk, bytes: 1..=16 777 215 (§5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// The initial size in both directions.
    pub const INITIAL: Self = Self(128);

    /// From the value of a Set Chunk Size message. `None` for 0 and if the top bit is set. Sizes above the maximum length of
    /// a message become that length.
    pub const fn new(raw: u32) -> Option<Self> {
        match raw {
            0 | 0x8000_0000.. => None,
            1..=MAX_MESSAGE_BYTES => Some(Self(raw)),
            _ => Some(Self(MAX_MESSAGE_BYTES)),
        }
    }

    /// The size, bytes.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Identifies a chunk stream: 2..=65599 (§5.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkStreamId(u32);

impl ChunkStreamId {
    /// The chunk stream of protocol control messages.
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

/// Limits on what a peer may send. Announced lengths use no memory, only received bytes do.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimits {
    /// The maximum length of one message, by its kind.
    pub message_bytes: MessageBytes,
    /// Unfinished messages. Real peers interleave two or three (audio and commands within a video frame). Each keeps up to
    /// 32 receive buffers, so this also bounds the memory of buffers that are otherwise unused.
    pub partial_messages: usize,
    /// Payload bytes of all unfinished messages together: one message of the maximum size, and as much again for messages
    /// that are interleaved with it.
    pub partial_bytes: usize,
    /// Chunk streams. Real peers use fewer than ten.
    pub chunk_streams: usize,
}

impl ChunkLimits {
    /// For a connection that publishes nothing: a `connect` has 2 KiB, a `play` with a token 4 KiB, and its media is dropped.
    fn without_media(self) -> Self {
        let MessageBytes { command, .. } = self.message_bytes;
        Self {
            message_bytes: MessageBytes {
                command: command.min(MAX_COMMAND_BYTES_WITHOUT_MEDIA),
                ..self.message_bytes
            },
            partial_messages: self.partial_messages.min(MAX_STREAMS_WITHOUT_MEDIA),
            partial_bytes: self.partial_bytes.min(MAX_PARTIAL_BYTES_WITHOUT_MEDIA),
            chunk_streams: self.chunk_streams.min(MAX_STREAMS_WITHOUT_MEDIA),
        }
    }
}

/// The maximum length of one message, bytes; 24 bits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageBytes {
    /// Video, and aggregates, which contain it.
    pub video: u32,
    /// Audio.
    pub audio: u32,
    /// Data and shared objects, in AMF0 or AMF3.
    pub data: u32,
    /// Commands, control messages, and types that are not in the specification.
    pub command: u32,
}

impl MessageBytes {
    /// The limit for a message of this type.
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

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            message_bytes: MessageBytes::default(),
            partial_messages: 32,
            partial_bytes: 32 << 20,
            chunk_streams: 64,
        }
    }
}

/// A violation of the chunk format, with the position among the bytes after the handshake. The connection cannot continue:
/// the chunk boundaries are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A header of type 2 or 3 on a new chunk stream.
    #[error("chunk stream {chunk_stream_id} begins with a header of type {header_type}")]
    NothingToInherit {
        /// The start of the header.
        position: u64,
        /// The chunk stream.
        chunk_stream_id: u32,
        /// 2 or 3.
        header_type: u8,
    },
    /// A header in the middle of a message begins another one without an Abort.
    #[error("a header on chunk stream {chunk_stream_id} contradicts the message it is part of")]
    Contradiction {
        /// The start of the header.
        position: u64,
        /// The chunk stream.
        chunk_stream_id: u32,
    },
    /// [`ChunkLimits::message_bytes`].
    #[error("a message of {length} bytes is announced, {limit} are allowed")]
    MessageBytes {
        /// The start of the header.
        position: u64,
        /// The announced length, bytes.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// [`ChunkLimits::chunk_streams`].
    #[error("more than {limit} chunk streams")]
    ChunkStreams {
        /// The start of the header.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// [`ChunkLimits::partial_messages`].
    #[error("more than {limit} unfinished messages")]
    PartialMessages {
        /// The start of the header.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// [`ChunkLimits::partial_bytes`].
    #[error("unfinished messages of more than {limit} bytes together")]
    PartialBytes {
        /// The end of the bytes that were read.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// Set Chunk Size to 0, or with the top bit set.
    #[error("a chunk size of {raw}")]
    ChunkSize {
        /// The end of the message.
        position: u64,
        /// The value in the message.
        raw: u32,
    },
    /// Set Chunk Size or Abort with fewer than four bytes.
    #[error("a control message of type {message_type_id} with {length} bytes")]
    ControlLength {
        /// The end of the message.
        position: u64,
        /// 1 or 2.
        message_type_id: u8,
        /// Its length, bytes.
        length: usize,
    },
}

impl Error {
    /// The position in all bytes that the decoder was fed, from 0.
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

/// The maximum length of a command on a connection that publishes nothing, bytes.
pub const MAX_COMMAND_BYTES_WITHOUT_MEDIA: u32 = 16 << 10;
/// The maximum of its unfinished messages together, bytes: one command of that length, and control messages.
pub const MAX_PARTIAL_BYTES_WITHOUT_MEDIA: usize = (16 << 10) + 256;
/// The maximum number of its chunk streams, and of its unfinished messages. Players use three, and so do encoders before
/// they publish.
pub const MAX_STREAMS_WITHOUT_MEDIA: usize = 16;

/// The length of a message has 24 bits.
const MAX_MESSAGE_BYTES: u32 = 0xFF_FFFF;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_size_is_1_to_the_maximum_length_of_a_message() {
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
