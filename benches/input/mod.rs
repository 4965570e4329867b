//! The input of the benchmarks: the messages of an encoder, their wire bytes, and the minimum of work on these:
//! walking from header to header, and copying them once. `peers/` includes this file too.

// Each benchmark compiles this module and uses a part of it.
#![allow(dead_code)]

use bytes::{Bytes, BytesMut};
use fanfare::flv::{Frame, FrameKind};
use fanfare::rtmp::chunk::{ChunkLimits, ChunkSize, Decoder, Encoder, Message};
use std::hint::black_box;

/// Duration of [`messages`].
pub const DURATION_MS: u32 = 20_000;

/// What an encoder sends in 20 s at 6 Mbit/s: a key frame of 100 kB every 2 s, 60 frames and 48 audio messages per
/// second. Messages are not interleaved: two of the peers could not decode that.
pub fn messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for i in 0..1200u32 {
        let timestamp_ms = i * 1000 / 60;
        let (head, video) = if i % 120 == 0 { (0x17, 100_000) } else { (0x27, 9_000 + i * 7919 % 6_000) };
        messages.push(message(6, 9, timestamp_ms, head, video));
        if i % 5 != 0 {
            messages.push(message(4, 8, timestamp_ms, 0xAF, 250 + i % 200));
        }
    }
    messages
}

/// `head` is the first byte of the frame; the others make no difference.
fn message(chunk_stream_id: u32, message_type_id: u8, timestamp_ms: u32, head: u8, length: u32) -> Message {
    let mut payload = vec![0x27; length as usize];
    payload[..2].copy_from_slice(&[head, 1]);
    Message { chunk_stream_id, timestamp_ms, message_type_id, message_stream_id: 1, payload: payload.into() }
}

/// The bytes of messages in chunks of one size.
pub struct Wire {
    /// Number of messages.
    pub messages: usize,
    /// The Set Chunk Size message before them.
    pub opening: Bytes,
    pub bytes: Bytes,
    chunk_size: usize,
}

impl Wire {
    /// All of [`messages`].
    pub fn new(chunk_size: u32) -> Self {
        Self::of(&messages(), chunk_size)
    }

    pub fn of(messages: &[Message], chunk_size: u32) -> Self {
        let mut encoder = Encoder::new();
        let set_chunk_size = Message {
            chunk_stream_id: 2,
            timestamp_ms: 0,
            message_type_id: 1,
            message_stream_id: 0,
            payload: chunk_size.to_be_bytes().to_vec().into(),
        };
        let (mut opening, mut bytes) = (Vec::new(), Vec::new());
        encoder.encode(&set_chunk_size, &mut opening);
        encoder.set_chunk_size(ChunkSize::new(chunk_size).expect("valid"));
        messages.iter().for_each(|message| encoder.encode(message, &mut bytes));
        Self {
            messages: messages.len(),
            opening: opening.into(),
            bytes: bytes.into(),
            chunk_size: chunk_size as usize,
        }
    }

    /// Views of the bytes, as from receives: each is a buffer of its own that is already shared.
    pub fn reads(&self, read_len: usize) -> Vec<Bytes> {
        self.bytes.chunks(read_len).map(|read| BytesMut::from(read).split().freeze()).collect()
    }

    /// A decoder that expects these bytes.
    pub fn decoder(&self) -> Decoder {
        let mut decoder = Decoder::new(ChunkLimits::default());
        decoder.feed(self.opening.clone());
        assert!(decoder.next().expect("it is valid").is_none());
        decoder
    }

    /// The messages as decoded from reads of 64 KiB.
    pub fn frames(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let expected = decode(&mut self.decoder(), &self.reads(64 << 10), |message| {
            let kind = if message.message_type_id == 9 { FrameKind::Video } else { FrameKind::Audio };
            frames.push(Frame { kind, timestamp_ms: message.timestamp_ms, payload: message.payload });
        });
        assert_eq!(frames.len(), expected);
        frames
    }

    /// Reads type-0 and type-3 headers with one-byte chunk stream ids, and nothing else. Counts the messages.
    pub fn walk(&self) -> usize {
        let wire = black_box(&self.bytes[..]);
        let (mut at, mut remaining, mut count) = (0, 0, 0);
        while at < wire.len() {
            if wire[at] >> 6 == 0 {
                remaining = u32::from_be_bytes([0, wire[at + 4], wire[at + 5], wire[at + 6]]) as usize;
                at += 12;
                count += 1;
            } else {
                at += 1;
            }
            let piece = remaining.min(self.chunk_size);
            at += piece;
            remaining -= piece;
        }
        count
    }

    /// The same, and what any decoder does whose messages are views of the reads: a handle on each read is taken and
    /// dropped, and so is a view of each read that a message is in. `reads` are of `read_len` bytes each.
    pub fn walk_with_views(&self, reads: &[Bytes], read_len: usize) -> usize {
        let wire = black_box(&self.bytes[..]);
        let (mut at, mut remaining, mut count) = (0, 0, 0);
        let (mut read, mut reads_end) = (reads[0].clone(), read_len);
        let mut further = reads[1..].iter();
        while at < wire.len() {
            if wire[at] >> 6 == 0 {
                remaining = u32::from_be_bytes([0, wire[at + 4], wire[at + 5], wire[at + 6]]) as usize;
                at += 12;
                count += 1;
            } else {
                at += 1;
            }
            let piece = remaining.min(self.chunk_size);
            at += piece;
            remaining -= piece;
            while at > reads_end {
                drop(black_box(read.slice(1..)));
                read = further.next().expect("the reads have all bytes").clone();
                reads_end += read_len;
            }
            if remaining == 0 {
                drop(black_box(read.slice(1..)));
            }
        }
        count
    }
}

/// Feeds all reads; returns the number of messages.
pub fn decode(decoder: &mut Decoder, reads: &[Bytes], mut take: impl FnMut(Message)) -> usize {
    let mut count = 0;
    for read in reads {
        decoder.feed(read.clone());
        while let Some(message) = decoder.next().expect("it is valid") {
            take(message);
            count += 1;
        }
    }
    count
}

/// Copies the bytes into a buffer, piece by piece.
pub fn copy(bytes: &[u8], buffer: &mut [u8]) {
    for piece in bytes.chunks(buffer.len()) {
        buffer[..piece.len()].copy_from_slice(black_box(piece));
    }
    black_box(buffer);
}
