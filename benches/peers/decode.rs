//! Compares chunk decoders in bytes per second, with a memcpy of the same bytes and a bare walk over their headers as
//! references. Only figures of the same run are comparable.

#[path = "../input/mod.rs"]
mod input;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_peers::{Copies, Peer, Rml, Scuffle, Views, Xiu};
use input::Wire;

criterion_group!(benches, decode);
criterion_main!(benches);

fn decode(c: &mut Criterion) {
    for chunk_size in [128, 4096, 60_000] {
        let wire = Wire::new(chunk_size);
        let mut group = c.benchmark_group(format!("chunks of {chunk_size}"));
        group.throughput(Throughput::Bytes(wire.bytes.len() as u64)).sample_size(20);
        for read_len in [4 << 10, 64 << 10] {
            let reads = wire.reads(read_len);
            let peers: [(&str, Box<dyn Peer>); 5] = [
                ("fanfare", Box::new(Views(wire.decoder()))),
                ("fanfare with a copy in and out", Box::new(Copies::new(wire.decoder()))),
                ("rml_rtmp", Box::new(Rml::new(chunk_size))),
                ("scuffle-rtmp", Box::new(Scuffle::new(chunk_size))),
                ("xiu rtmp", Box::new(Xiu::new(chunk_size))),
            ];
            for (name, mut peer) in peers {
                group.bench_function(BenchmarkId::new(name, format!("reads of {read_len}")), |b| {
                    b.iter(|| assert_eq!(read_all(&mut *peer, &reads), wire.messages));
                });
            }
        }
        group.bench_function("bare header walk", |b| b.iter(|| assert_eq!(wire.walk(), wire.messages)));
        let mut buffer = vec![0; 64 << 10];
        group.bench_function("memcpy, 64 KiB at a time", |b| {
            b.iter(|| input::copy(&wire.bytes, &mut buffer));
        });
        group.finish();
    }
}

/// Returns the number of messages, so that a decoder that loses one is not measured.
fn read_all(peer: &mut dyn Peer, reads: &[Bytes]) -> usize {
    reads.iter().map(|read| peer.read(black_box(read))).sum()
}
