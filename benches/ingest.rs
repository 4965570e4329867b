//! What a core does for each message of many publishers that no player watches, without the kernel: session, decoder,
//! stream log, statistics. Compared with copying the same bytes once.

use std::{cell::Cell, collections::VecDeque, hint::black_box, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare::{
    access::{Open, Question},
    amf0::Value,
    config::Config,
    endpoint::{
        Asked, Direction, Endpoint, EventSink, Input, Io, IoCounts, Mail, Mailboxes, SendBuffer, Shared,
        Spoken, report::RelayEvent,
    },
    rtmp::{
        chunk::{ChunkSize, Encoder, Message},
        command::Command,
        message::type_id,
    },
    stream::Signal,
};

criterion_group!(benches, ingest);
criterion_main!(benches);

const PUBLISHERS: usize = 800;
/// 600 kbit/s: 30 frames of video and 43 of audio at 64 kbit/s a second.
const VIDEO_BYTES: usize = 2_233;
const AUDIO_BYTES: usize = 186;
/// Frames from one key frame to the next.
const GROUP: u32 = 60;

fn ingest(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{PUBLISHERS} publishers of 600 kbit/s"));
    group.sample_size(20);
    for reads_per_second in [73, 40] {
        let mut bench = Bench::new();
        let messages = bench.second(reads_per_second);
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(format!("a second in {reads_per_second} reads each"), |b| {
            b.iter(|| bench.second(reads_per_second));
        });
    }
    let mut bench = Bench::new();
    let messages = bench.second(73);
    let mut copy = vec![0; 64 << 10];
    group.throughput(Throughput::Elements(messages as u64));
    group.bench_function("memcpy", |b| {
        b.iter(|| {
            for number in 0..73 * PUBLISHERS {
                let bytes = &bench.wire[number / PUBLISHERS % bench.wire.len()];
                copy[..bytes.len()].copy_from_slice(bytes);
                black_box(&mut copy);
            }
        });
    });
    group.finish();
}

/// A core with publishers, whose peers have sent what it wants to receive.
struct Bench {
    endpoint: Endpoint<Sockets>,
    mailboxes: Arc<Mailboxes<usize>>,
    keys: Vec<usize>,
    buffer: BytesMut,
    /// The messages of two seconds on the wire, in their order.
    wire: Vec<Bytes>,
    /// The next message.
    next: usize,
}

/// Sockets that take all at once.
struct Sockets {
    sent: VecDeque<(usize, SendBuffer)>,
    received: VecDeque<usize>,
    now_us: Cell<u64>,
}

impl Bench {
    fn new() -> Self {
        let signals: Arc<[Signal]> = [Signal::new(|| ())].into();
        let mailboxes = Arc::new(Mailboxes::new(signals.clone()));
        let shared = Shared::new(Config::default(), signals, Box::new(Open), Box::new(NoEvents), |_, _| ());
        let sockets =
            Sockets { sent: VecDeque::new(), received: VecDeque::new(), now_us: Cell::new(1_000_000) };
        let mut endpoint = Endpoint::new(0, shared, sockets);
        let peer: SocketAddr = "127.0.0.1:1935".parse().expect("an address");
        for number in 0..PUBLISHERS {
            endpoint.admit(number, peer, Spoken::RTMP, [7; 32]);
        }
        let mut bench = Self {
            endpoint,
            mailboxes,
            keys: Vec::new(),
            buffer: BytesMut::with_capacity(64 << 10),
            wire: wire(),
            next: 0,
        };
        let admitted = std::mem::take(&mut bench.endpoint.io().received);
        for key in admitted {
            let publish = Command::call("publish", 2.0, [format!("stream-{key}").as_str().into()]);
            let mut opening = vec![0; 1 + 2 * 1536];
            opening[0] = 3;
            let encoder = Encoder::new();
            encoder.encode(&message(3, type_id::COMMAND_AMF0, 0, connect().to_bytes()), &mut opening);
            encoder.encode(&message(3, type_id::COMMAND_AMF0, 0, publish.to_bytes()), &mut opening);
            let set_chunk_size = CHUNK_SIZE.to_be_bytes().to_vec();
            encoder.encode(&message(2, type_id::SET_CHUNK_SIZE, 0, set_chunk_size), &mut opening);
            bench.endpoint.received(key, Ok(opening.into()));
            bench.work_off();
            bench.keys.push(key);
        }
        assert_eq!(bench.endpoint.io().received.len(), PUBLISHERS, "each waits for media");
        bench
    }

    /// A second of all publishers, each read so often. Returns how many messages that was.
    fn second(&mut self, reads: usize) -> usize {
        const MESSAGES: usize = 73;
        let mut messages = 0;
        for read in 0..reads {
            let (from, to) = (read * MESSAGES / reads, (read + 1) * MESSAGES / reads);
            let now_us = &self.endpoint.io().now_us;
            now_us.set(now_us.get() + 1_000_000 / reads as u64);
            self.endpoint.advance();
            if read % (reads / 10) == 0 {
                self.endpoint.tick(IoCounts::default());
            }
            self.endpoint.io().received.clear();
            for at in 0..self.keys.len() {
                let key = self.keys[at];
                assert!(self.buffer.try_reclaim(64 << 10), "nothing views it");
                for number in from..to {
                    let bytes = &self.wire[(self.next + number) % self.wire.len()];
                    self.buffer.extend_from_slice(bytes);
                    messages += 1;
                }
                let bytes = self.buffer.split().freeze();
                self.endpoint.received(key, Ok(bytes));
            }
            self.work_off();
        }
        self.next = (self.next + MESSAGES) % self.wire.len();
        messages
    }

    fn work_off(&mut self) {
        loop {
            self.mailboxes.take(0).into_iter().for_each(|mail: Mail<usize>| self.endpoint.deliver(mail));
            let mut was_busy = self.endpoint.work_off_mail();
            while let Some((key, buffer)) = self.endpoint.io().sent.pop_front() {
                let len = buffer.bytes().len();
                self.endpoint.sent(key, buffer, Ok(len));
                was_busy = true;
            }
            was_busy |= self.endpoint.pass();
            was_busy |= self.endpoint.work_off_backlog();
            if !was_busy {
                return;
            }
        }
    }
}

impl Io for Sockets {
    type Socket = usize;

    fn send(&mut self, _socket: &usize, key: usize, buffer: SendBuffer) {
        self.sent.push_back((key, buffer));
    }

    fn receive(&mut self, _socket: &usize, key: usize, _expected: Input) {
        self.received.push_back(key);
    }

    fn await_hang_up(&mut self, _socket: &usize, _key: usize) {}

    fn shut(&mut self, _socket: &usize, _direction: Direction) -> bool {
        true
    }

    fn unacknowledged_bytes(&self, _socket: &usize) -> Option<u32> {
        None
    }

    fn close(&mut self, _socket: usize) {}

    fn ask(&mut self, _asked: Asked, _question: Question) {}

    fn now_us(&self) -> u64 {
        self.now_us.get()
    }
}

struct NoEvents;

impl EventSink for NoEvents {
    fn is_wanted(&self) -> bool {
        false
    }

    fn send(&self, _event: RelayEvent) {}
}

const CHUNK_SIZE: u32 = 4096;

fn connect() -> Command {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    connect
}

/// Two seconds of an encoder, in messages.
fn wire() -> Vec<Bytes> {
    let mut encoder = Encoder::new();
    encoder.set_chunk_size(ChunkSize::new(CHUNK_SIZE).expect("valid"));
    let mut times: Vec<(u32, bool)> = (0..60).map(|i| (i * 1000 / 30, true)).collect();
    times.extend((0..86).map(|i| (i * 1000 / 43, false)));
    times.sort_unstable();
    let mut frames = 0;
    let messages = times.into_iter().map(|(timestamp_ms, is_video)| {
        let (chunk_stream_id, message_type_id, head, len) = match is_video {
            true if frames % GROUP == 0 => (6, type_id::VIDEO, 0x17, VIDEO_BYTES),
            true => (6, type_id::VIDEO, 0x27, VIDEO_BYTES),
            false => (4, type_id::AUDIO, 0xAF, AUDIO_BYTES),
        };
        frames += u32::from(is_video);
        let mut payload = vec![0x27; len];
        payload[..2].copy_from_slice(&[head, 1]);
        let mut bytes = Vec::new();
        encoder.encode(&message(chunk_stream_id, message_type_id, timestamp_ms, payload), &mut bytes);
        bytes.into()
    });
    messages.collect()
}

fn message(chunk_stream_id: u32, message_type_id: u8, timestamp_ms: u32, payload: Vec<u8>) -> Message {
    let message_stream_id = u32::from(chunk_stream_id != 2);
    Message {
        chunk_stream_id,
        timestamp_ms,
        message_type_id,
        message_stream_id,
        payload: Bytes::from(payload).into(),
    }
}
