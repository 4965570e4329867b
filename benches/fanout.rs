//! One pass over the players of a stream, by the hub and the ring, compared with a loop that only calls `send()` with the
//! same bytes on the same sockets.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare::endpoint::SendBuffer;
use fanfare::fanout::{Hub, PlayerKey, Policy};
use fanfare::flv::{Frame, FrameKind};
use fanfare::net::ring::{Completion, Ring, RingSize};
use fanfare::rtmp::chunk::MediaFormat;
use fanfare::stream::{Bounds, ConnectionRef, Form, Publication, Registry, Retention, Signal, Start};

criterion_group!(benches, pass);
criterion_main!(benches);

/// A video frame of a stream of 600 kbit/s.
const FRAME_BYTES: usize = 2_500;
/// Maximum of socket pairs, as a process may have 20,000 file descriptors. More players share sockets.
const PAIRS: usize = 1_000;
/// As in the relay.
const PLAYERS_PER_ROUND: usize = 512;

fn pass(c: &mut Criterion) {
    for players in [1, 100, 10_000] {
        let mut bench = Bench::new(players);
        let mut group = c.benchmark_group(format!("pass over {players}"));
        group.throughput(Throughput::Elements(players as u64)).sample_size(10);
        group.bench_function("hub and ring", |b| {
            b.iter_custom(|passes| (0..passes).map(|_| bench.pass()).sum());
        });
        group.bench_function("bare send loop", |b| {
            b.iter_custom(|passes| (0..passes).map(|_| bench.bare_pass()).sum());
        });
        group.finish();
    }
}

struct Bench {
    publication: Publication,
    hub: Hub,
    ring: Ring,
    players: Vec<PlayerKey>,
    sockets: Vec<(UnixStream, UnixStream)>,
    now_ms: u64,
    drained: Vec<u8>,
}

impl Bench {
    fn new(players: usize) -> Self {
        let signals = [Signal::new(|| ())].into_iter().collect();
        let retention = Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 };
        let bounds = Bounds { streams: usize::MAX, memory_bytes: usize::MAX };
        let registry = Arc::new(Registry::new(
            signals,
            retention,
            bounds,
            |_| Box::new(MediaFormat::default()),
            Box::new(|_, _| ()),
        ));
        let policy = Policy {
            max_lag: Duration::from_secs(5),
            play_wait: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(10),
        };
        let mut hub = Hub::new(0, registry.clone(), policy);
        let players =
            (0..players).map(|owner| hub.join(owner, "live/bench", Form::Rtmp, Start::KeyFrame, 0)).collect();
        let id = ConnectionRef { core: 0, key: 0, connection_id: 1 };
        let mut bench = Self {
            publication: registry.publish("live/bench", id, 0).expect("the name is free"),
            hub,
            ring: Ring::new(0, RingSize::LARGEST).expect("io_uring is available"),
            players,
            sockets: Vec::new(),
            now_ms: 0,
            drained: vec![0; 1 << 20],
        };
        for _ in 0..bench.players.len().min(PAIRS) {
            let (ours, peer) = UnixStream::pair().expect("there are free file descriptors");
            peer.set_nonblocking(true).expect("it is a socket");
            bench.sockets.push((ours, peer));
        }
        bench.append(0x17);
        bench.send_all();
        bench.drain();
        bench
    }

    fn append(&mut self, head: u8) {
        let mut payload = vec![0; FRAME_BYTES];
        payload[..2].copy_from_slice(&[head, 1]);
        self.now_ms += 33;
        let (timestamp_ms, payload) = (self.now_ms as u32, Bytes::from(payload).into());
        self.publication
            .append_and_notify(Frame { kind: FrameKind::Video, timestamp_ms, payload }, self.now_ms);
    }

    /// Appends a frame and sends it to every player. Returns how long the pass took.
    fn pass(&mut self) -> Duration {
        // With a key frame every so often, so that the group of pictures stays within the buffer.
        self.append(if self.now_ms.is_multiple_of(60 * 33) { 0x17 } else { 0x27 });
        let begun = Instant::now();
        self.send_all();
        let took = begun.elapsed();
        self.drain();
        took
    }

    fn send_all(&mut self) {
        let mut due = Vec::new();
        self.hub.new_data(0, 1);
        self.hub.due_at_once(usize::MAX, &mut due);
        self.hub.begin_pass(&mut due);
        assert_eq!(due.len(), self.players.len());
        for round in due.chunks(PLAYERS_PER_ROUND) {
            let mut under_way = 0;
            for &owner in round {
                let socket = self.sockets[owner % self.sockets.len()].0.as_raw_fd();
                let batch = self.hub.next_batch(self.players[owner], false, self.now_ms);
                self.ring.send(socket, owner, SendBuffer::Plain(batch.expect("a frame is due")));
                under_way += 1;
            }
            self.ring.submit().expect("the kernel accepts it");
            while under_way > 0 {
                let Some(Completion::Sent { owner, buffer, result }) = self.ring.complete() else {
                    panic!("a send to a socket with room completes at once");
                };
                let n = result.expect("it is connected");
                assert_eq!(n, buffer.bytes().len());
                self.hub.sent(self.players[owner], n, true);
                under_way -= 1;
            }
        }
    }

    fn bare_pass(&mut self) -> Duration {
        // As long as a frame in its chunk.
        let bytes = vec![0x27; FRAME_BYTES + 12];
        let begun = Instant::now();
        for owner in 0..self.players.len() {
            let socket = &mut self.sockets[owner % PAIRS.min(self.players.len())].0;
            socket.write_all(&bytes).expect("it has room");
        }
        let took = begun.elapsed();
        self.drain();
        took
    }

    fn drain(&mut self) {
        for (_, peer) in &mut self.sockets {
            while peer.read(&mut self.drained).is_ok_and(|n| n > 0) {}
        }
    }
}
