//! Chunk decoding and encoding, beside what the machine can do at best with the same bytes: copy them once, and
//! walk from header to header without keeping anything.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare::flv::{Frame, FrameKind, WireFormat};
use fanfare::rtmp::chunk::{ChunkSize, Decoder, Encoder, Limits, MediaFormat, Message};
use std::hint::black_box;

criterion_group!(benches, decode, encode);
criterion_main!(benches);

/// What an encoder sends in 20 s at 6 Mbit/s: a key frame of 100 kB every 2 s, 60 frames and 47 audio messages a
/// second.
fn messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for i in 0..1200u32 {
        let timestamp_ms = i * 1000 / 60;
        let (video, audio) = (if i % 120 == 0 { 100_000 } else { 9_000 + i * 7919 % 6_000 }, 250 + i % 200);
        messages.push(message(6, 9, timestamp_ms, video));
        if i % 5 != 0 {
            messages.push(message(4, 8, timestamp_ms, audio));
        }
    }
    messages
}

fn message(chunk_stream_id: u32, message_type_id: u8, timestamp_ms: u32, length: u32) -> Message {
    let payload = vec![0x27; length as usize].into();
    Message { chunk_stream_id, timestamp_ms, message_type_id, message_stream_id: 1, payload }
}

fn decode(c: &mut Criterion) {
    let messages = messages();
    for chunk_size in [128, 4096, 60_000] {
        let set_chunk_size = Message { payload: chunk_size_body(chunk_size), ..message(2, 1, 0, 0) };
        let mut opening = Vec::new();
        let mut encoder = Encoder::new();
        encoder.encode(&set_chunk_size, &mut opening);
        encoder.set_chunk_size(ChunkSize::new(chunk_size).expect("valid"));
        let mut wire = Vec::new();
        messages.iter().for_each(|message| encoder.encode(message, &mut wire));
        let (opening, wire) = (Bytes::from(opening), Bytes::from(wire));

        let mut group = c.benchmark_group(format!("decode/chunks of {chunk_size}"));
        group.throughput(Throughput::Bytes(wire.len() as u64));
        for read_len in [4 << 10, 64 << 10] {
            let reads: Vec<Bytes> = wire.chunks(read_len).map(|read| wire.slice_ref(read)).collect();
            group.bench_function(BenchmarkId::new("decoder, reads of", read_len), |b| {
                let mut decoder = Decoder::new(Limits::default());
                decoder.feed(opening.clone());
                b.iter(|| decode_all(&mut decoder, &reads, messages.len()));
            });
        }
        group.bench_function("bare header walk", |b| {
            b.iter(|| walk(black_box(&wire), chunk_size as usize));
        });
        let mut copy = vec![0; 64 << 10];
        group.bench_function("memcpy, 64 KiB at a time", |b| {
            b.iter(|| {
                for read in wire.chunks(copy.len()) {
                    copy[..read.len()].copy_from_slice(black_box(read));
                }
                black_box(&mut copy);
            });
        });
        group.finish();
    }
}

fn chunk_size_body(size: u32) -> fanfare::flv::Payload {
    size.to_be_bytes().to_vec().into()
}

fn decode_all(decoder: &mut Decoder, reads: &[Bytes], expected: usize) {
    let mut count = 0;
    for read in reads {
        decoder.feed(read.clone());
        while let Some(message) = decoder.next().expect("it is valid") {
            black_box(message.payload.len());
            count += 1;
        }
    }
    assert!(count >= expected);
}

/// Reads type-0 and type-3 headers with one-byte chunk stream ids, and nothing else.
fn walk(wire: &[u8], chunk_size: usize) -> usize {
    let (mut at, mut remaining, mut count) = (0, 0, 0);
    while at < wire.len() {
        if wire[at] >> 6 == 0 {
            remaining = u32::from_be_bytes([0, wire[at + 4], wire[at + 5], wire[at + 6]]) as usize;
            at += 12;
            count += 1;
        } else {
            at += 1;
        }
        let piece = remaining.min(chunk_size);
        at += piece;
        remaining -= piece;
    }
    count
}

/// As the stream log does it: from the views that the decoder left to wire bytes for every player.
fn encode(c: &mut Criterion) {
    let messages = messages();
    let format = MediaFormat::default();
    let mut group = c.benchmark_group("encode media");
    for chunk_size in [128, 4096, 60_000] {
        let frames = frames(&messages, chunk_size);
        let wire_len: usize = frames.iter().map(|frame| format.wire_len(frame)).sum();
        let mut out = vec![0; frames.iter().map(|frame| format.wire_len(frame)).max().expect("not empty")];
        group.throughput(Throughput::Bytes(wire_len as u64));
        group.bench_function(BenchmarkId::new("that came in chunks of", chunk_size), |b| {
            b.iter(|| {
                for frame in &frames {
                    let wire_len = format.wire_len(frame);
                    format.write(black_box(frame), &mut out[..wire_len]);
                }
                black_box(&mut out);
            });
        });
    }
    group.finish();
}

fn frames(messages: &[Message], chunk_size: u32) -> Vec<Frame> {
    let mut wire = Vec::new();
    let mut encoder = Encoder::new();
    encoder.encode(&Message { payload: chunk_size_body(chunk_size), ..message(2, 1, 0, 0) }, &mut wire);
    encoder.set_chunk_size(ChunkSize::new(chunk_size).expect("valid"));
    messages.iter().for_each(|message| encoder.encode(message, &mut wire));
    let wire = Bytes::from(wire);
    let mut decoder = Decoder::new(Limits::default());
    let mut frames = Vec::new();
    for read in wire.chunks(64 << 10) {
        decoder.feed(wire.slice_ref(read));
        while let Some(message) = decoder.next().expect("it is valid") {
            let kind = if message.message_type_id == 9 { FrameKind::Video } else { FrameKind::Audio };
            frames.push(Frame { kind, timestamp_ms: message.timestamp_ms, payload: message.payload });
        }
    }
    frames
}
