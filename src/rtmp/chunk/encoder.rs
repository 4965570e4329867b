//! Cuts messages into chunks. Each message begins with a type-0 header and an absolute time, so that what a peer
//! gets next never depends on what it got before: a player may join at any message.

use super::header::{self, HeaderBytes};
use super::{ChunkSize, ChunkStreamId, MAX_MESSAGE_BYTES, Message};
use crate::flv::{Frame, FrameKind, Payload, WireFormat};

/// The chunk size of all media that we send, announced before the first of it. Most frames are one chunk, as
/// contiguous as they can be; key frames are a few.
pub const OUT_CHUNK_SIZE: ChunkSize = ChunkSize::new(65536).expect("within 1..=16 777 215");

/// The sending direction of one connection, for control messages and commands; a client's media too.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    chunk_size: ChunkSize,
}

impl Encoder {
    /// At the first byte after the handshake, with the initial chunk size of 128.
    pub fn new() -> Self {
        Self {
            chunk_size: ChunkSize::INITIAL,
        }
    }

    /// Holds for what is encoded from now on: after the Set Chunk Size that announces it.
    pub fn set_chunk_size(&mut self, size: ChunkSize) {
        self.chunk_size = size;
    }

    /// Appends the chunks of a message. A chunk stream id outside 2..=65599 and a payload above 16 777 215 bytes
    /// are mistakes of the caller's.
    pub fn encode(&self, message: &Message, out: &mut Vec<u8>) {
        let id = ChunkStreamId::new(message.chunk_stream_id).expect("a chunk stream id is 2..=65599");
        let layout = Layout::new(
            id,
            message.timestamp_ms,
            message.message_type_id,
            message.message_stream_id,
            message.payload.len(),
            self.chunk_size,
        );
        let begin = out.len();
        out.resize(begin + layout.wire_len(), 0);
        layout.write(&message.payload, &mut out[begin..]);
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Lays media frames as every player gets them: one chunk stream id per kind, one message stream id, one chunk
/// size, whoever the player is and whenever it joined.
#[derive(Clone, Copy, Debug)]
pub struct MediaFormat {
    /// The same for all players: [`OUT_CHUNK_SIZE`] but in tests.
    pub chunk_size: ChunkSize,
}

impl MediaFormat {
    fn layout(&self, frame: &Frame) -> Layout {
        let id = match frame.kind {
            FrameKind::Audio => ChunkStreamId(4),
            FrameKind::Data => ChunkStreamId(5),
            FrameKind::Video => ChunkStreamId(6),
        };
        Layout::new(
            id,
            frame.timestamp_ms,
            frame.kind as u8,
            MEDIA_MESSAGE_STREAM_ID,
            frame.payload.len(),
            self.chunk_size,
        )
    }
}

impl Default for MediaFormat {
    fn default() -> Self {
        Self {
            chunk_size: OUT_CHUNK_SIZE,
        }
    }
}

impl WireFormat for MediaFormat {
    fn wire_len(&self, frame: &Frame) -> usize {
        self.layout(frame).wire_len()
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        self.layout(frame).write(&frame.payload, out);
    }
}

/// The headers of a message's chunks and how much payload goes between them.
struct Layout {
    type0: HeaderBytes,
    type3: HeaderBytes,
    payload_len: usize,
    chunk_size: usize,
}

impl Layout {
    fn new(
        id: ChunkStreamId,
        timestamp_ms: u32,
        message_type_id: u8,
        message_stream_id: u32,
        payload_len: usize,
        chunk_size: ChunkSize,
    ) -> Self {
        let length = u32::try_from(payload_len)
            .ok()
            .filter(|&length| length <= MAX_MESSAGE_BYTES);
        let length = length.expect("a payload that we send came as a message, of 16 777 215 bytes at most");
        Self {
            type0: header::type0(id, timestamp_ms, length, message_type_id, message_stream_id),
            type3: header::type3(id, timestamp_ms),
            payload_len,
            chunk_size: chunk_size.get() as usize,
        }
    }

    fn wire_len(&self) -> usize {
        let further_chunks = self.payload_len.saturating_sub(1) / self.chunk_size;
        self.type0.len() + self.payload_len + further_chunks * self.type3.len()
    }

    /// Fills `out`, which is [`Layout::wire_len`] long.
    fn write(&self, payload: &Payload, out: &mut [u8]) {
        let mut out = Out { left: out };
        out.put(&self.type0);
        let mut room = self.chunk_size;
        payload.pieces().for_each(|mut piece| {
            while !piece.is_empty() {
                if room == 0 {
                    out.put(&self.type3);
                    room = self.chunk_size;
                }
                let (now, later) = piece.split_at(piece.len().min(room));
                out.put(now);
                room -= now.len();
                piece = later;
            }
        });
        debug_assert!(out.left.is_empty(), "wire_len is exact");
    }
}

/// What is still to be filled.
struct Out<'a> {
    left: &'a mut [u8],
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (now, later) = std::mem::take(&mut self.left).split_at_mut(bytes.len());
        now.copy_from_slice(bytes);
        self.left = later;
    }
}

/// Ours by choice, the first that createStream gives out; every player's the same.
const MEDIA_MESSAGE_STREAM_ID: u32 = 1;
