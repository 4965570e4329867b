//! Finding a stream by its name, as for a player that joins, with and without another thread that adds and removes
//! names.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use fanfare::rtmp::chunk::MediaFormat;
use fanfare::stream::{Bounds, ConnectionRef, Form, Registry, Retention, Signal};
use std::hint::black_box;

criterion_group!(benches, lookup);
criterion_main!(benches);

/// Streams that exist all the time.
const STREAMS: usize = 1_000;

fn lookup(c: &mut Criterion) {
    let signals = (0..2).map(|_| Signal::new(|| ())).collect();
    let retention = Retention { buffer_bytes: 1 << 20, keep_ms: 5_000 };
    let bounds = Bounds { streams: usize::MAX, memory_bytes: usize::MAX };
    let registry = Arc::new(Registry::new(
        signals,
        retention,
        bounds,
        |_| Box::new(MediaFormat::default()),
        Box::new(|_, _| ()),
    ));
    let publish = |registry: &Arc<Registry>, name: &str| {
        registry
            .publish(name, ConnectionRef { core: 0, key: 0, connection_id: 1 }, 0)
            .expect("the name is free")
    };
    let names: Vec<String> = (0..STREAMS).map(|i| format!("live/stream-{i}")).collect();
    let _publications: Vec<_> = names.iter().map(|name| publish(&registry, name)).collect();
    let mut group = c.benchmark_group("registry");
    let mut turn = 0;
    let mut follow_and_leave = || {
        turn = (turn + 1) % STREAMS;
        black_box(registry.follow(&names[turn], Form::Rtmp, 1, 0));
    };
    group.bench_function("follow and leave", |b| b.iter(&mut follow_and_leave));

    let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let churn = thread::spawn({
        let (registry, stop, changes) = (registry.clone(), stop.clone(), changes.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                for i in 0..100 {
                    drop(publish(&registry, &format!("live/passing-{i}")));
                    changes.fetch_add(2, Ordering::Relaxed);
                }
            }
        }
    });
    group.bench_function("follow and leave, under churn", |b| b.iter(&mut follow_and_leave));
    stop.store(true, Ordering::Relaxed);
    churn.join().expect("it ends");
    assert!(changes.load(Ordering::Relaxed) > 1_000, "names were added and removed meanwhile");
    group.finish();
}
