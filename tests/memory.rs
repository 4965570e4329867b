//! The memory budget while streams fill their logs: real logs and hubs in every wire format, without a socket.

use std::{sync::Arc, time::Duration};

use fanfare::{
    fanout::{Hub, PlayerKey, Policy},
    flv::{FlvFormat, Frame, FrameKind},
    http::websocket::WebSocketFormat,
    rtmp::chunk::MediaFormat,
    stream::{
        Bounds, ConnectionRef, Form, MemoryKind, NoRoom, Publication, PublishError, Registry, Retention,
        Signal, Start,
    },
};

const BUDGET: usize = 32 << 20;
/// How far logs may exceed the budget for a moment: by the segment that each of them has just opened, with its index.
const PER_LOG: usize = 136 << 10;

struct Bench {
    registry: Arc<Registry>,
    hub: Hub,
    now_ms: u64,
    most_bytes: usize,
}

impl Bench {
    fn new(budget: usize) -> Self {
        let signals: Arc<[Signal]> = Arc::new([Signal::new(|| ())]);
        let retention = Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 };
        let bounds = Bounds { streams: 1_000, memory_bytes: budget };
        let registry = Arc::new(Registry::new(
            signals,
            retention,
            bounds,
            |wire| match wire {
                Form::Rtmp => Box::new(MediaFormat::default()),
                Form::HttpFlv | Form::HttpFlvChunked => Box::new(FlvFormat),
                Form::WebsocketFlv => Box::new(WebSocketFormat),
            },
            Box::new(|_, _| ()),
        ));
        let policy = Policy {
            max_lag: Duration::from_secs(5),
            play_wait: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(10),
        };
        Self { hub: Hub::new(0, registry.clone(), policy), registry, now_ms: 1_000, most_bytes: 0 }
    }

    fn publish(&self, number: usize) -> Result<Publication, PublishError> {
        let id = ConnectionRef { core: 0, key: 0, connection_id: 1 + number as u64 };
        self.registry.publish(&name(number), id, self.now_ms)
    }

    fn append(&mut self, publication: &mut Publication, head: u8, bytes: usize) -> Result<(), NoRoom> {
        let mut payload = vec![0x55; bytes];
        payload[..2].copy_from_slice(&[head, 1]);
        let frame =
            Frame { kind: FrameKind::Video, timestamp_ms: self.now_ms as u32, payload: payload.into() };
        let appended = publication.append(frame, self.now_ms).map(|_| ());
        self.most_bytes = self.most_bytes.max(self.registry.memory().bytes());
        appended
    }

    /// Sends a player all that there is for it. Returns how many bytes that is.
    fn drain(&mut self, player: PlayerKey) -> usize {
        let mut bytes = 0;
        while let Some(batch) = self.hub.next_batch(player, false, self.now_ms) {
            bytes += batch.bytes().len();
            self.hub.sent(player, batch.bytes().len(), true);
        }
        bytes
    }

    fn segments(&self) -> usize {
        self.registry.memory().of(MemoryKind::Segments)
    }
}

fn name(number: usize) -> String {
    format!("live/{number}")
}

const KEY: u8 = 0x17;
const INTER: u8 = 0x27;

#[test]
fn ten_streams_keep_within_the_budget_in_every_wire_format_and_one_more_is_let_in() {
    let mut bench = Bench::new(BUDGET);
    let mut publications: Vec<_> =
        (0..10).map(|number| bench.publish(number).expect("there is room")).collect();
    let players: Vec<_> = (0..10)
        .flat_map(|number| Form::ALL.map(|wire| (number, wire)))
        .map(|(number, wire)| bench.hub.join(0, &name(number), wire, Start::KeyFrame, 1_000))
        .collect();
    let mut came = vec![0; players.len()];
    // FLV's stream header names the kinds, and both have come.
    for publication in &mut publications {
        bench.append(publication, KEY, 100).expect("there is room");
        let frame =
            Frame { kind: FrameKind::Audio, timestamp_ms: 0, payload: b"\xAF\x01aac".to_vec().into() };
        publication.append_and_notify(frame, bench.now_ms);
    }
    // 40 s of 30 Mbit/s each, a key frame every 4 s: a group of pictures is 15 MB, ten of them in four formats 600 MB.
    for number in 0..1_000 {
        bench.now_ms += 40;
        let head = if number % 100 == 0 { KEY } else { INTER };
        for publication in &mut publications {
            bench.append(publication, head, 150_000).expect("it is within its share");
        }
        take_in(&mut bench.hub);
        for (player, came) in players.iter().zip(&mut came) {
            *came += bench.drain(*player);
        }
    }
    let most_bytes = bench.most_bytes;
    assert!(most_bytes <= BUDGET + 40 * (PER_LOG + 150_000), "{most_bytes} bytes");
    assert!(bench.segments() > BUDGET / 2, "{} bytes: what there is, is used", bench.segments());
    for came in came {
        assert!(came > 150_000_000, "{came}: players that keep up lose nothing");
    }
    assert_eq!(bench.hub.skips(), 0);
    // A new stream gets its share, and the others make room for it.
    let mut newcomer = bench.publish(10).expect("others hold more than their shares");
    bench.most_bytes = 0;
    for number in 0..200 {
        bench.now_ms += 40;
        let head = if number % 100 == 0 { KEY } else { INTER };
        for publication in publications.iter_mut().chain([&mut newcomer]) {
            bench.append(publication, head, 150_000).expect("it is within its share");
        }
        take_in(&mut bench.hub);
        players.iter().for_each(|player| _ = bench.drain(*player));
    }
    let most_bytes = bench.most_bytes;
    assert!(most_bytes <= BUDGET + 44 * (PER_LOG + 150_000), "{most_bytes} bytes");
    drop((publications, newcomer));
    players.into_iter().for_each(|player| bench.hub.leave(player));
    assert_eq!(bench.registry.memory().bytes(), 0, "all is given back");
}

#[test]
fn there_are_as_many_publishers_as_have_the_least_memory_and_an_encoder_that_comes_back_is_one_of_them() {
    let mut bench = Bench::new(8 << 20);
    let _players: Vec<_> = (0..8)
        .map(|number| bench.hub.join(0, &name(number), Form::Rtmp, Start::KeyFrame, bench.now_ms))
        .collect();
    let mut publications: Vec<_> =
        (0..8).map(|number| bench.publish(number).expect("at the limit")).collect();
    assert_eq!(bench.publish(8).err(), Some(PublishError::Memory), "one past it");
    for publication in &mut publications {
        bench.append(publication, KEY, 1_000).expect("there is room");
    }
    publications.pop();
    publications.push(bench.publish(7).expect("it has gone, and comes back"));
    assert_eq!(bench.publish(8).err(), Some(PublishError::Memory));
    publications.pop();
    assert!(bench.publish(8).is_ok(), "one has gone");
}

#[test]
fn a_message_fits_while_there_is_room_or_while_it_is_within_its_logs_share() {
    let mut bench = Bench::new(8 << 20);
    let mut large = bench.publish(0).expect("there is room");
    bench.append(&mut large, KEY, 6 << 20).expect("no other stream needs the memory");
    let mut other = bench.publish(1).expect("there is room");
    let room = bench.registry.memory().room();
    assert!(room < 3 << 20);
    assert!(
        bench.append(&mut other, KEY, 3 << 20).is_ok(),
        "beyond the room, within half of the budget's half and more"
    );
    let error = bench.append(&mut other, KEY, 7 << 20).expect_err("more than its share");
    assert_eq!(error.bytes, 7 << 20);
}

#[test]
fn a_stream_whose_encoder_has_gone_gives_memory_back_too() {
    let mut bench = Bench::new(8 << 20);
    let player = bench.hub.join(0, &name(0), Form::Rtmp, Start::KeyFrame, bench.now_ms);
    let mut gone = bench.publish(0).expect("there is room");
    for _ in 0..70 {
        bench.append(&mut gone, KEY, 100_000).expect("there is room");
    }
    take_in(&mut bench.hub);
    bench.drain(player);
    drop(gone);
    let mut other = bench.publish(1).expect("there is room");
    for _ in 0..30 {
        bench.append(&mut other, KEY, 100_000).expect("there is room");
    }
    assert!(bench.registry.memory().excess() > 0, "the first one has not been relieved yet");
    bench.registry.relieve(bench.now_ms);
    take_in(&mut bench.hub);
    assert_eq!(bench.registry.memory().excess(), 0);
    assert!(bench.registry.memory().relief().given_up_bytes > 0);
}

#[test]
fn headers_count_until_each_player_has_read_them_and_each_version_counts_separately() {
    const HEADER: usize = 60_000;
    let mut bench = Bench::new(BUDGET);
    let mut publication = bench.publish(0).expect("there is room");
    let mut held = Vec::new();
    for version in 0..50u8 {
        bench.now_ms += 40;
        let payload = [&[0x17, 0, 0, 0, 0][..], &[version; HEADER]].concat().into();
        publication
            .append_and_notify(Frame { kind: FrameKind::Video, timestamp_ms: 0, payload }, bench.now_ms);
        bench.append(&mut publication, KEY, 100).expect("there is room");
        let player = bench.hub.join(0, &name(0), Form::Rtmp, Start::KeyFrame, bench.now_ms);
        let preamble = bench.hub.next_batch(player, false, bench.now_ms).expect("it is due");
        assert!(preamble.bytes().len() > HEADER && bench.hub.pinned_bytes(player) > HEADER);
        held.push((player, preamble));
    }
    let headers = bench.registry.memory().of(MemoryKind::Headers);
    assert!((50 * HEADER..55 * HEADER).contains(&headers), "{headers} bytes");
    held.drain(..).for_each(|(player, _)| bench.hub.leave(player));
    let headers = bench.registry.memory().of(MemoryKind::Headers);
    assert!(headers < 4 * HEADER, "{headers} bytes");
    drop(publication);
    assert_eq!(bench.registry.memory().bytes(), 0);
}

/// Takes in new data of all streams.
fn take_in(hub: &mut Hub) {
    hub.new_data(0, u64::MAX);
    hub.due_at_once(usize::MAX, &mut Vec::new());
    hub.begin_pass(&mut Vec::new());
}
