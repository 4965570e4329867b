//! Encoded messages decode to themselves, whichever header types a sender chooses, however it interleaves its chunks and
//! wherever the reads end. The generators prefer the limits of the wire's fields.

use super::{ChunkLimits, ChunkSize, Decoder, Encoder, MediaFormat, Message};
use crate::flv::{Frame, FrameKind, Payload, Run, WireFormat};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::HashMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn encoded_messages_decode_to_themselves_at_any_split(
        messages in prop::collection::vec(message(), 1..6),
        chunk_size in chunk_size(),
        reads in prop::collection::vec(1..400usize, 1..8),
    ) {
        let mut wire = set_chunk_size(chunk_size);
        let mut encoder = Encoder::new();
        encoder.set_chunk_size(ChunkSize::new(chunk_size).unwrap());
        messages.iter().for_each(|m| encoder.encode(&m.to_message(), &mut wire));
        prop_assert_eq!(decode(&wire, &reads), messages);
    }

    #[test]
    fn a_sender_s_choice_of_headers_and_interleaving_changes_no_message(
        messages in prop::collection::vec(message(), 1..12),
        chunk_size in chunk_size(),
        choices in prop::collection::vec(any::<u8>(), 1..64),
        repeats_extended in any::<bool>(),
        reads in prop::collection::vec(1..400usize, 1..8),
    ) {
        let mut wire = set_chunk_size(chunk_size);
        let expected = Sender { chunk_size: chunk_size as usize, repeats_extended, choices, ..Sender::default() }
            .send(&messages, &mut wire);
        prop_assert_eq!(decode(&wire, &reads), expected);
    }

    #[test]
    fn media_frames_decode_to_themselves_and_have_exactly_their_wire_length(
        frame_message in message(),
        kind in prop::sample::select(vec![FrameKind::Audio, FrameKind::Video, FrameKind::Data]),
        chunk_size in chunk_size(),
        piece in 1..300usize,
    ) {
        let format = MediaFormat { chunk_size: ChunkSize::new(chunk_size).unwrap() };
        let mut payload = Payload::new();
        for run in frame_message.payload.chunks(piece) {
            payload.push(Run::contiguous(Bytes::copy_from_slice(run)));
        }
        let frame = Frame { kind, timestamp_ms: frame_message.timestamp_ms, payload };
        let mut wire = set_chunk_size(chunk_size);
        let begin = wire.len();
        wire.resize(begin + format.wire_len(&frame), 0);
        format.write(&frame, &mut wire[begin..]);
        // A frame is read back, whatever follows it; a part of a frame is not.
        let written = [&wire[begin..], b"next"].concat();
        let (read, len) = format.read(&written).expect("it is complete");
        prop_assert_eq!((read.kind, read.timestamp_ms, len), (kind, frame.timestamp_ms, written.len() - 4));
        prop_assert_eq!(read.payload.to_bytes(), frame.payload.to_bytes());
        prop_assert!(format.read(&written[..len - 1]).is_none());
        let id = match kind { FrameKind::Audio => 4, FrameKind::Data => 5, FrameKind::Video => 6 };
        let expected = TestMessage { id, kind: kind as u8, message_stream_id: 1, ..frame_message };
        prop_assert_eq!(decode(&wire, &[usize::MAX]), vec![expected]);
    }

    #[test]
    fn any_bytes_decode_the_same_at_any_cut(data in prop::collection::vec(any::<u8>(), 0..600)) {
        super::fuzz::decode_at_any_cut(&data);
    }

    #[test]
    fn fragments_of_chunks_decode_the_same_at_any_cut(
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS.to_vec()), 0..40),
        cuts in any::<[u8; 4]>(),
    ) {
        super::fuzz::decode_at_any_cut(&[&cuts[..], &fragments.concat()].concat());
    }
}

/// Headers and fields: most sequences of them are close to something that decodes.
const FRAGMENTS: [&[u8]; 14] = [
    b"\x06\0\0\x01\0\0\x03\x09\x01\0\0\0",
    b"\x06\xFF\xFF\xFF\0\0\x07\x09\x01\0\0\0\x01\xC6\xC6\x01",
    b"\x04\0\0\x01\0\0\x00\x08\x01\0\0\0",
    b"\x46\xFF\xFF\xFF\0\0\x05\x09\xC6\x01\x02\x03",
    b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x01",
    b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x02",
    b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x06",
    b"\x01\x00\x01\0\0\x01\0\0\x09\x09\x01\0\0\0",
    b"\xC1\x00\x01",
    b"\xC6",
    b"\xC6\x01\xC6\xC6\x01",
    b"\x86\0\0\x01",
    b"\x01\xC6",
    b"\xAA",
];

#[derive(Clone, Debug, PartialEq)]
struct TestMessage {
    id: u32,
    timestamp_ms: u32,
    kind: u8,
    message_stream_id: u32,
    payload: Vec<u8>,
}

impl TestMessage {
    fn to_message(&self) -> Message {
        Message {
            chunk_stream_id: self.id,
            timestamp_ms: self.timestamp_ms,
            message_type_id: self.kind,
            message_stream_id: self.message_stream_id,
            payload: self.payload.clone().into(),
        }
    }
}

fn message() -> impl Strategy<Value = TestMessage> {
    let id = prop::sample::select(vec![2, 3, 6, 63, 64, 319, 320, 65599]);
    let near_edges = prop::sample::select(vec![0, 0xFF_FFFE, 0xFF_FFFF, 0x100_0000, 0x7FFF_FFFF, u32::MAX]);
    let timestamp_ms = prop_oneof![near_edges, 0..100_000u32, any::<u32>()];
    let kind = prop::sample::select(vec![8, 9, 18, 20]);
    let length =
        prop_oneof![prop::sample::select(vec![0, 1, 127, 128, 129, 255, 256, 257, 384, 1000]), 0..600usize];
    // Bytes that can be mistaken for headers and extended timestamps.
    let byte = prop_oneof![Just(0xC6u8), Just(0xC3), Just(0xFF), Just(0), Just(1), any::<u8>()];
    let payload = length.prop_flat_map(move |length| prop::collection::vec(byte.clone(), length));
    (id, timestamp_ms, kind, 0..3u32, payload).prop_map(
        |(id, timestamp_ms, kind, message_stream_id, payload)| TestMessage {
            id,
            timestamp_ms,
            kind,
            message_stream_id,
            payload,
        },
    )
}

fn chunk_size() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1, 2, 3, 127, 128, 129, 256, 4096, 65536, 16_777_215])
}

fn set_chunk_size(size: u32) -> Vec<u8> {
    let mut wire = Vec::new();
    let body = size.to_be_bytes().to_vec();
    let message = TestMessage { id: 2, timestamp_ms: 0, kind: 1, message_stream_id: 0, payload: body };
    Encoder::new().encode(&message.to_message(), &mut wire);
    wire
}

fn decode(wire: &[u8], reads: &[usize]) -> Vec<TestMessage> {
    let mut decoder = Decoder::new(ChunkLimits::default());
    let (mut rest, mut lengths) = (wire, reads.iter().cycle());
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (read, later) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
        decoder.feed(Bytes::copy_from_slice(read));
        rest = later;
        while let Some(message) = decoder.next().unwrap() {
            messages.push(TestMessage {
                id: message.chunk_stream_id,
                timestamp_ms: message.timestamp_ms,
                kind: message.message_type_id,
                message_stream_id: message.message_stream_id,
                payload: message.payload.to_bytes().to_vec(),
            });
        }
    }
    assert_eq!(decoder.position(), wire.len() as u64);
    messages
}

/// Sends messages as a peer may: with headers of any possible type, and chunks of several messages interleaved.
#[derive(Default)]
struct Sender {
    chunk_size: usize,
    repeats_extended: bool,
    choices: Vec<u8>,
    chosen: usize,
    /// By chunk stream: the last message, and the time field that a type 3 stands for.
    last: HashMap<u32, (TestMessage, u32)>,
}

impl Sender {
    /// Returns the messages in the order of their ends.
    fn send(mut self, messages: &[TestMessage], wire: &mut Vec<u8>) -> Vec<TestMessage> {
        let mut waiting = messages.to_vec();
        let mut begun: Vec<(TestMessage, usize)> = Vec::new();
        let mut ended = Vec::new();
        while !(waiting.is_empty() && begun.is_empty()) {
            let next = waiting.first().map(|m| m.id);
            let may_begin = next.is_some_and(|id| begun.iter().all(|(m, _)| m.id != id));
            let sent;
            let index;
            if begun.is_empty() || (may_begin && self.choose(2) == 0) {
                let message = waiting.remove(0);
                self.begin(&message, wire);
                (index, sent) = (begun.len(), 0);
                begun.push((message, 0));
            } else {
                index = self.choose(begun.len());
                sent = begun[index].1;
                let id = begun[index].0.id;
                let time = self.last[&id].1;
                put_basic(wire, 3, id);
                // Omitted, unless the payload would be mistaken for it.
                let value = time.to_be_bytes();
                if time >= 0xFF_FFFF && (self.repeats_extended || self.looks_like(&begun[index], value)) {
                    wire.extend(value);
                }
            }
            let (message, done) = &mut begun[index];
            let end = message.payload.len().min(sent + self.chunk_size);
            wire.extend_from_slice(&message.payload[sent..end]);
            *done = end;
            if end == message.payload.len() {
                ended.push(begun.remove(index).0);
            }
        }
        ended
    }

    /// Whether the payload after a header begins like `value`, as far as the chunk goes.
    fn looks_like(&self, (message, sent): &(TestMessage, usize), value: [u8; 4]) -> bool {
        let ahead = &message.payload[*sent..message.payload.len().min(sent + self.chunk_size.min(4))];
        ahead == &value[..ahead.len()]
    }

    fn begin(&mut self, message: &TestMessage, wire: &mut Vec<u8>) {
        let choice = self.choose(4);
        let length = &(message.payload.len() as u32).to_be_bytes()[1..];
        let last = self.last.get(&message.id);
        let delta = message.timestamp_ms.wrapping_sub(last.map_or(0, |(m, _)| m.timestamp_ms));
        let same_stream = last.is_some_and(|(m, _)| m.message_stream_id == message.message_stream_id);
        let same_shape = same_stream
            && last.is_some_and(|(m, _)| m.kind == message.kind && m.payload.len() == message.payload.len());
        let same_delta = same_shape && last.is_some_and(|&(_, time)| time == delta);
        let (header_type, time) = match choice {
            3 if same_delta => (3, delta),
            2.. if same_shape => (2, delta),
            1.. if same_stream => (1, delta),
            _ => (0, message.timestamp_ms),
        };
        put_basic(wire, header_type, message.id);
        if header_type < 3 {
            wire.extend(&time.min(0xFF_FFFF).to_be_bytes()[1..]);
        }
        if header_type < 2 {
            wire.extend(length);
            wire.push(message.kind);
        }
        if header_type == 0 {
            wire.extend(message.message_stream_id.to_le_bytes());
        }
        if time >= 0xFF_FFFF {
            wire.extend(time.to_be_bytes());
        }
        self.last.insert(message.id, (message.clone(), time));
    }

    fn choose(&mut self, of: usize) -> usize {
        let choice = self.choices[self.chosen % self.choices.len()];
        self.chosen += 1;
        usize::from(choice) % of
    }
}

fn put_basic(wire: &mut Vec<u8>, header_type: u8, id: u32) {
    let format = header_type << 6;
    match id {
        ..64 => wire.push(format | id as u8),
        64..320 => wire.extend([format, (id - 64) as u8]),
        _ => {
            wire.push(format | 1);
            wire.extend(((id - 64) as u16).to_le_bytes());
        }
    }
}
