//! Splits messages into chunks. Each message begins with a type 0 header and an absolute time, and therefore does not
//! depend on any message before it: a player may join at any message.

use super::header::{self, Fields, Header, Written};
use super::{ChunkSize, ChunkStreamId, MAX_MESSAGE_BYTES, Message};
use crate::flv::{Frame, FrameKind, Payload, Run, WireFormat};
use bytes::Bytes;

/// The chunk size of all media that we send, announced before the first. Most frames are one contiguous chunk; key frames
/// are a few.
pub const OUT_CHUNK_SIZE: ChunkSize = ChunkSize::new(65536).expect("within 1..=16 777 215");

/// The sending direction of one connection, for control messages and commands, and for the media of a client.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    chunk_size: ChunkSize,
}

impl Encoder {
    /// For the start of a connection, with the initial chunk size of 128.
    pub fn new() -> Self {
        Self { chunk_size: ChunkSize::INITIAL }
    }

    /// Sets the size of all further chunks. To be called after the Set Chunk Size message that announces it.
    pub fn set_chunk_size(&mut self, size: ChunkSize) {
        self.chunk_size = size;
    }

    /// Appends the chunks of a message.
    ///
    /// # Panics
    /// The chunk stream id is outside 2..=65599, or the payload has more than 16 777 215 bytes.
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

/// Writes media frames in the same form for every player: one chunk stream id per kind, one message stream id, one chunk
/// size.
#[derive(Clone, Copy, Debug)]
pub struct MediaFormat {
    /// The same for all players: [`OUT_CHUNK_SIZE`], except in tests.
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
        Self { chunk_size: OUT_CHUNK_SIZE }
    }
}

impl WireFormat for MediaFormat {
    fn wire_len(&self, frame: &Frame) -> usize {
        self.layout(frame).wire_len()
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        self.layout(frame).write(&frame.payload, out);
    }

    fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
        let header = Header::parse(wire)?;
        let Fields::Type0 { time, length, message_type_id, .. } = header.fields else { return None };
        let kind = [FrameKind::Audio, FrameKind::Video, FrameKind::Data]
            .into_iter()
            .find(|&kind| kind as u8 == message_type_id)?;
        let (length, chunk_size) = (length as usize, self.chunk_size.get() as usize);
        let (_, type3_len) = header::lens(ChunkStreamId(header.chunk_stream_id), time.ms);
        let end = header.wire_len + length + length.saturating_sub(1) / chunk_size * type3_len;
        let body = Bytes::copy_from_slice(wire.get(header.wire_len..end)?);
        let mut payload = Payload::new();
        let [first, piece] = [length.min(chunk_size), chunk_size].map(|bytes| bytes as u32);
        payload.push(Run::strided(body, first, piece, type3_len as u32));
        Some((Frame { kind, timestamp_ms: time.ms, payload }, end))
    }
}

/// What the chunks of a message are made of, apart from its payload.
struct Layout {
    id: ChunkStreamId,
    timestamp_ms: u32,
    message_type_id: u8,
    message_stream_id: u32,
    payload_len: u32,
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
        let length = u32::try_from(payload_len).ok().filter(|&length| length <= MAX_MESSAGE_BYTES);
        let payload_len = length.expect("a message has at most 16 777 215 bytes");
        let chunk_size = chunk_size.get() as usize;
        Self { id, timestamp_ms, message_type_id, message_stream_id, payload_len, chunk_size }
    }

    fn wire_len(&self) -> usize {
        let payload_len = self.payload_len as usize;
        let (type0_len, type3_len) = header::lens(self.id, self.timestamp_ms);
        type0_len + payload_len + payload_len.saturating_sub(1) / self.chunk_size * type3_len
    }

    /// Fills `out`, which has [`Layout::wire_len`] bytes.
    fn write(&self, payload: &Payload, out: &mut [u8]) {
        let mut out = Out { left: out };
        let Self { id, timestamp_ms, message_type_id, message_stream_id, payload_len, .. } = *self;
        let type0 = Written::type0(id, timestamp_ms, payload_len, message_type_id, message_stream_id);
        out.put(type0.bytes());
        let mut room = self.chunk_size;
        payload.pieces().for_each(|mut piece| {
            while !piece.is_empty() {
                if room == 0 {
                    out.put(Written::type3(id, timestamp_ms).bytes());
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

/// The part of the output that has not been written.
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

/// The same for every player: the first that createStream gives out.
const MEDIA_MESSAGE_STREAM_ID: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(kind: FrameKind, timestamp_ms: u32, payload: &[u8], chunk_size: u32) -> Vec<u8> {
        let format = MediaFormat { chunk_size: ChunkSize::new(chunk_size).unwrap() };
        let frame = Frame { kind, timestamp_ms, payload: payload.to_vec().into() };
        let mut out = vec![0; format.wire_len(&frame)];
        format.write(&frame, &mut out);
        out
    }

    #[test]
    fn every_frame_begins_with_a_type_0_header_on_the_chunk_stream_of_its_kind() {
        let audio = write(FrameKind::Audio, 0x010203, b"a", 128);
        assert_eq!(audio, b"\x04\x01\x02\x03\0\0\x01\x08\x01\0\0\0a");
        let data = write(FrameKind::Data, 1, b"", 128);
        assert_eq!(data, b"\x05\0\0\x01\0\0\0\x12\x01\0\0\0");
        let video = write(FrameKind::Video, 1, b"12345", 2);
        assert_eq!(video, b"\x06\0\0\x01\0\0\x05\x09\x01\0\0\0\x31\x32\xC6\x33\x34\xC6\x35");
    }

    #[test]
    fn the_extended_timestamp_is_repeated_on_every_chunk() {
        let frame = write(FrameKind::Video, 0xFF_FFFF, b"12345", 2);
        assert_eq!(
            frame,
            b"\x06\xFF\xFF\xFF\0\0\x05\x09\x01\0\0\0\0\xFF\xFF\xFF12\xC6\0\xFF\xFF\xFF34\xC6\0\xFF\xFF\xFF5"
        );
        let before = write(FrameKind::Video, 0xFF_FFFE, b"123", 2);
        assert_eq!(before, b"\x06\xFF\xFF\xFE\0\0\x03\x09\x01\0\0\0\x31\x32\xC6\x33");
    }

    #[test]
    fn a_payload_that_fills_its_chunks_is_followed_by_no_empty_chunk() {
        assert_eq!(write(FrameKind::Video, 0, b"1234", 2).len(), 12 + 4 + 1);
        assert_eq!(write(FrameKind::Video, 0, &[1; 65536], OUT_CHUNK_SIZE.get()).len(), 12 + 65536);
        assert_eq!(write(FrameKind::Video, 0, &[1; 65537], OUT_CHUNK_SIZE.get()).len(), 12 + 65537 + 1);
    }

    #[test]
    fn an_encoder_begins_with_chunks_of_128_bytes_until_it_gets_another_size() {
        let message = Message {
            chunk_stream_id: 3,
            timestamp_ms: 0,
            message_type_id: 20,
            message_stream_id: 0,
            payload: vec![7; 129].into(),
        };
        let mut encoder = Encoder::new();
        let mut out = Vec::new();
        encoder.encode(&message, &mut out);
        assert_eq!((out.len(), out[12 + 128]), (12 + 129 + 1, 0xC3));
        encoder.set_chunk_size(OUT_CHUNK_SIZE);
        encoder.encode(&message, &mut out);
        assert_eq!(out.len(), 142 + 12 + 129, "appended, in one chunk");
    }
}
