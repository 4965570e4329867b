//! The stream log: appending the frames of an encoder, compared with a memcpy of the same size, and following it to its
//! head as a core does.

mod input;

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare::flv::{Frame, WireFormat};
use fanfare::rtmp::chunk::MediaFormat;
use fanfare::stream::{Bounds, ConnectionRef, Next, Publication, Registry, Retention, Signal};
use input::Wire;
use std::hint::black_box;

criterion_group!(benches, append, follow);
criterion_main!(benches);

/// With a follower on one core, as for every stream with a player.
fn registry() -> Arc<Registry> {
    let retention = Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 };
    let bounds = Bounds { streams: usize::MAX, memory_bytes: usize::MAX };
    let signals = [Signal::new(|| ())].into_iter().collect();
    Arc::new(Registry::new(
        signals,
        retention,
        bounds,
        |_| Box::new(MediaFormat::default()),
        Box::new(|_, _| ()),
    ))
}

fn publish(registry: &Arc<Registry>) -> Publication {
    let id = ConnectionRef { core: 0, key: 0, connection_id: 1 };
    registry.publish("live/bench", id, 0).expect("the name is free")
}

fn append(c: &mut Criterion) {
    let format = MediaFormat::default();
    let mut group = c.benchmark_group("log");
    for chunk_size in [128, 4096, 60_000] {
        let frames = Wire::new(chunk_size).frames();
        let bytes: usize = frames.iter().map(|frame| format.wire_len(frame)).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        let registry = registry();
        let _follow = registry.follow("live/bench", fanfare::stream::Form::Rtmp, 0, 0);
        let mut publication = publish(&registry);
        let mut began_ms = 0;
        group.bench_function(format!("append, frames in chunks of {chunk_size}"), |b| {
            b.iter(|| {
                append_all(&mut publication, &frames, began_ms);
                began_ms += u64::from(input::DURATION_MS);
            });
        });
    }
    let bytes = Bytes::from(vec![0x27; 15 << 20]);
    let mut copy = vec![0; 64 << 10];
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("memcpy, 64 KiB at a time", |b| b.iter(|| input::copy(&bytes, &mut copy)));
    group.finish();
}

/// Appends each frame at its own time, as live.
fn append_all(publication: &mut Publication, frames: &[Frame], began_ms: u64) {
    for frame in frames {
        let now_ms = began_ms + u64::from(frame.timestamp_ms);
        let frame = Frame { timestamp_ms: now_ms as u32, ..frame.clone() };
        publication.append_and_notify(frame, now_ms);
    }
}

fn follow(c: &mut Criterion) {
    let registry = registry();
    let mut publication = publish(&registry);
    let frames = Wire::new(4096).frames();
    // The start of the log, before its first segment is retired.
    append_all(&mut publication, &frames[..1], 0);
    let first =
        publication.stream().log(fanfare::stream::Form::Rtmp).newest().expect("one frame is appended");
    append_all(&mut publication, &frames[1..200], 0);
    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(200));
    group.bench_function("follow, one message", |b| {
        b.iter(|| {
            let mut segment = first.clone();
            let mut bytes = 0;
            loop {
                // One check per message, as if each arrived alone.
                for message in 0.. {
                    let committed = segment.committed();
                    let Some(entry) = committed.entries.get(message) else { break };
                    bytes = black_box(&committed.bytes[..entry.end as usize]).len();
                }
                match segment.next() {
                    Next::Segment(next) => segment = next,
                    Next::NotYet | Next::Gone => break black_box(bytes),
                }
            }
        });
    });
    group.finish();
}
