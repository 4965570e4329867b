//! Chunk decoding and encoding, compared with the minimum of work on the same bytes: copying them once; walking from
//! header to header without keeping anything; and the same walk with views of the reads, which are what the messages are
//! made of. `peers/` compares other decoders.

mod input;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare::flv::WireFormat;
use fanfare::rtmp::chunk::MediaFormat;
use input::Wire;
use std::hint::black_box;

criterion_group!(benches, decode, encode);
criterion_main!(benches);

const CHUNK_SIZES: [u32; 3] = [128, 4096, 60_000];

fn decode(c: &mut Criterion) {
    for chunk_size in CHUNK_SIZES {
        let wire = Wire::new(chunk_size);
        let mut group = c.benchmark_group(format!("decode/chunks of {chunk_size}"));
        group.throughput(Throughput::Bytes(wire.bytes.len() as u64));
        for read_len in [4 << 10, 64 << 10] {
            let reads = wire.reads(read_len);
            let mut decoder = wire.decoder();
            group.bench_function(BenchmarkId::new("header walk with views, reads of", read_len), |b| {
                b.iter(|| assert_eq!(wire.walk_with_views(&reads, read_len), wire.messages));
            });
            group.bench_function(BenchmarkId::new("decoder, reads of", read_len), |b| {
                b.iter(|| {
                    let count = input::decode(&mut decoder, &reads, |message| drop(black_box(message)));
                    assert_eq!(count, wire.messages);
                });
            });
        }
        group.bench_function("bare header walk", |b| b.iter(|| assert_eq!(wire.walk(), wire.messages)));
        let mut buffer = vec![0; 64 << 10];
        group.bench_function("memcpy, 64 KiB at a time", |b| {
            b.iter(|| input::copy(&wire.bytes, &mut buffer));
        });
        group.finish();
    }
}

/// As in the stream log: from the decoder's views to the wire bytes of every player.
fn encode(c: &mut Criterion) {
    let format = MediaFormat::default();
    let mut group = c.benchmark_group("encode media");
    for chunk_size in CHUNK_SIZES {
        let frames = Wire::new(chunk_size).frames();
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
