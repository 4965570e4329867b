//! A stream of sixty days, in virtual time: publisher, session, log, hub and players in one thread, no sockets. Over
//! each edge of the timestamps players that were there before and such that come behind it see every frame, at its
//! time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare::{
    fanout::{Hub, PlayerKey, Policy},
    flv::{Frame, FrameKind},
    rtmp::{
        chunk::{ChunkSize, MediaFormat},
        client::{Client, ClientConfig, Event, Role},
        session::{Answer, Output, QuestionId, Session, SessionConfig},
    },
    stream::{Bounds, Publication, PublisherId, Registry, Retention, Signal, Start},
};

const DAY_MS: u64 = 86_400_000;
const DAYS: u64 = 60;
/// How long the relay has been up when the publisher comes: its own clock goes over each edge at another time.
const UP_MS: u64 = 3 * DAY_MS + 7;
/// Where times outgrow the 24 bits of a chunk header, the 31 of a signed number, and the 32 that they have.
const EDGES_MS: [u64; 3] = [1 << 24, 1 << 31, 1 << 32];
/// So close to an edge there is a picture every other second; elsewhere one every other minute.
const NEAR_MS: u64 = 30_000;
const NEAR_STEP_MS: u64 = 2_000;
const FAR_STEP_MS: u64 = 120_000;
/// Sound comes so much later than the picture before it.
const SOUND_MS: u64 = 20;
const NAME: &str = "live/s";

/// One end of a connection, a real client and a real session, without what is between them.
struct Wire {
    client: Client,
    session: Session,
    frames: Vec<Frame>,
}

/// What the session would have its relay do.
enum Asked {
    Publish(QuestionId),
    Play(QuestionId),
    Frame(Frame),
}

impl Wire {
    fn new(role: Role, now_ms: u64) -> Wire {
        let url = "rtmp://host/live/s".parse().unwrap();
        let config = ClientConfig { url, role, chunk_size: ChunkSize::INITIAL, fmle: true };
        Wire {
            client: Client::new(config, now_ms, [2; 32]),
            session: Session::new(&SessionConfig::default(), now_ms, [1; 32]),
            frames: Vec::new(),
        }
    }

    /// Moves bytes both ways until both are silent.
    fn settle(&mut self, now_ms: u64, mut asked: impl FnMut(&mut Session, Asked)) {
        loop {
            let mut is_quiet = true;
            while let Some(event) = self.client.poll() {
                is_quiet = false;
                match event {
                    Event::Send(bytes) => self.session.receive(bytes, now_ms).unwrap(),
                    Event::Frame(frame) => self.frames.push(frame),
                    Event::Started | Event::Status(_) => {}
                    Event::Ended => panic!("the stream goes on"),
                }
            }
            while let Some(output) = self.session.poll().unwrap() {
                is_quiet = false;
                match output {
                    Output::Send(bytes) => self.client.receive(bytes, now_ms).unwrap(),
                    Output::Connect(request) => {
                        self.session.answer(request.question, Answer::Allow);
                    }
                    Output::Publish(request) => asked(&mut self.session, Asked::Publish(request.question)),
                    Output::Play(request) => asked(&mut self.session, Asked::Play(request.question)),
                    Output::Frame { frame, .. } => asked(&mut self.session, Asked::Frame(frame)),
                    other => panic!("{other:?}"),
                }
            }
            if is_quiet {
                return;
            }
        }
    }
}

/// A relay of one core, its publisher and its players.
struct Relay {
    signals: Arc<[Signal]>,
    hub: Hub,
    publisher: Wire,
    publication: Publication,
    players: Vec<Player>,
    /// The relay's clock when the publisher came, and now.
    up_ms: u64,
    now_ms: u64,
    /// Frames so far.
    sent: u64,
}

struct Player {
    key: PlayerKey,
    wire: Wire,
    joined_at: u64,
    /// The number of the next frame, once one has come, and the time of the one before.
    next: Option<u64>,
    last_ms: u64,
}

impl Relay {
    fn new(up_ms: u64) -> Relay {
        let now_ms = up_ms;
        let signals: Arc<[Signal]> = [Signal::new(|| ())].into();
        let retention = Retention { buffer_bytes: 8 << 20, keep_ms: 5_000 };
        let bounds = Bounds { streams: 10, memory_bytes: 64 << 20 };
        let registry = Registry::new(
            signals.clone(),
            retention,
            bounds,
            |_| Box::new(MediaFormat::default()),
            Box::new(|_, _| ()),
        );
        let registry = Arc::new(registry);
        let policy = Policy {
            max_lag: Duration::from_secs(5),
            play_wait: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(10),
        };
        let id = PublisherId { core: 0, key: 0, connection_id: 1 };
        let publication = registry.publish(NAME, id, now_ms).expect("the name is free");
        let mut publisher = Wire::new(Role::Publish, now_ms);
        publisher.settle(now_ms, |session, asked| {
            let Asked::Publish(question) = asked else { panic!("no publish") };
            session.answer(question, Answer::Allow);
        });
        let hub = Hub::new(0, registry, policy);
        Relay { signals, hub, publisher, publication, players: Vec::new(), up_ms, now_ms, sent: 0 }
    }

    fn join(&mut self) {
        let (hub, now_ms) = (&mut self.hub, self.now_ms);
        let mut wire = Wire::new(Role::Play, now_ms);
        let mut key = None;
        wire.settle(now_ms, |session, asked| {
            let Asked::Play(question) = asked else { panic!("no play") };
            key = Some(hub.join(0, NAME, fanfare::stream::Form::Rtmp, Start::KeyFrame, now_ms));
            session.answer(question, Answer::Allow);
        });
        let key = key.expect("it asks to play");
        self.players.push(Player { key, wire, joined_at: self.sent, next: None, last_ms: 0 });
        self.pass();
    }

    fn send(&mut self, kind: FrameKind, codec: &[u8], at_ms: u64) {
        self.now_ms = self.up_ms + at_ms;
        let payload = [codec, &self.sent.to_be_bytes(), &at_ms.to_be_bytes()].concat();
        self.sent += 1;
        self.lay(&Frame { kind, timestamp_ms: at_ms as u32, payload: payload.into() });
    }

    /// From the publisher to the log.
    fn lay(&mut self, frame: &Frame) {
        let (publication, now_ms) = (&mut self.publication, self.now_ms);
        self.publisher.client.send_frame(frame);
        self.publisher.settle(now_ms, |_, asked| match asked {
            Asked::Frame(frame) => publication.append(frame, now_ms),
            Asked::Publish(_) | Asked::Play(_) => panic!("it publishes already"),
        });
    }

    /// Gives each player all that there is for it, and looks at what it got.
    fn pass(&mut self) {
        for (first, bits) in self.signals[0].take_grown() {
            self.hub.grown(first, bits, &mut Vec::new());
        }
        let mut ended = Vec::new();
        self.hub.expire(self.now_ms, &mut ended);
        assert_eq!(ended, [], "nobody's patience is at its end");
        for player in &mut self.players {
            while let Some(batch) = self.hub.next_batch(player.key, false, self.now_ms) {
                let bytes = Bytes::copy_from_slice(batch.bytes());
                self.hub.sent(player.key, bytes.len(), true);
                player.wire.client.receive(bytes, self.now_ms).unwrap();
            }
            player.wire.settle(self.now_ms, |_, _| panic!("it plays already"));
            player.look();
        }
    }

    /// Everybody is asked for a sign of life, and takes 15 ms for it.
    fn ping(&mut self) {
        for player in &mut self.players {
            player.wire.session.ping(self.now_ms);
            player.wire.settle(self.now_ms + 15, |_, _| panic!("it plays already"));
            assert_eq!(player.wire.session.round_trip_ms(), Some(15), "at {} ms", self.now_ms);
        }
    }

    /// Everybody has seen all that was sent. All but the first player leave.
    fn leave(&mut self) {
        for (i, player) in self.players.iter().enumerate() {
            assert_eq!(player.next, Some(self.sent), "player {i} at {} ms", self.now_ms);
        }
        self.players.drain(1..).for_each(|player| self.hub.leave(player.key));
    }
}

impl Player {
    /// Fails the test unless what came goes on where it was, at its own time.
    fn look(&mut self) {
        for frame in std::mem::take(&mut self.wire.frames) {
            let payload = frame.payload.to_bytes();
            let Some((number, at_ms)) = numbered(&payload) else {
                assert!(HEADERS.contains(&(frame.kind, &payload)), "{frame:?}");
                continue;
            };
            // One that joins begins at the newest picture, which may have its sound behind it already.
            let is_next = match self.next {
                Some(next) => number == next,
                None => number + 2 >= self.joined_at && frame.kind == FrameKind::Video,
            };
            assert!(is_next, "frame {number} for {:?} of one that joined at {}", self.next, self.joined_at);
            assert_eq!(frame.timestamp_ms, at_ms as u32, "the time of frame {number}");
            assert!(self.next.is_none() || at_ms > self.last_ms);
            self.next = Some(number + 1);
            self.last_ms = at_ms;
        }
    }
}

/// The number of a frame, and its time in milliseconds since the encoder began.
fn numbered(payload: &[u8]) -> Option<(u64, u64)> {
    let (number, at_ms) = payload.split_last_chunk::<16>()?.1.split_at(8);
    Some((u64::from_be_bytes(number.try_into().unwrap()), u64::from_be_bytes(at_ms.try_into().unwrap())))
}

const HEADERS: [(FrameKind, &[u8]); 2] =
    [(FrameKind::Video, b"\x17\0\0\0\0avcC"), (FrameKind::Audio, b"\xAF\0\x12\x10")];
const KEY_FRAME: &[u8] = b"\x17\x01\0\0\0";
const SOUND: &[u8] = b"\xAF\x01";

#[test]
fn sixty_days_go_by_and_nobody_misses_a_frame_or_sees_time_go_back() {
    // Those of the encoder's clock, and those of the relay's, which says how old a message is.
    let mut edges: Vec<u64> = EDGES_MS.into_iter().chain([(1 << 31) - UP_MS, (1 << 32) - UP_MS]).collect();
    edges.sort_unstable();
    let mut edges = edges.into_iter().peekable();
    let mut relay = Relay::new(UP_MS);
    relay.join();
    for (kind, header) in HEADERS {
        relay.lay(&Frame { kind, timestamp_ms: 0, payload: header.to_vec().into() });
    }
    let mut at_ms = 0;
    let mut is_before = true;
    while at_ms < DAYS * DAY_MS {
        relay.send(FrameKind::Video, KEY_FRAME, at_ms);
        relay.pass();
        relay.send(FrameKind::Audio, SOUND, at_ms + SOUND_MS);
        relay.pass();
        let edge_ms = edges.peek().copied().unwrap_or(u64::MAX);
        if is_before && at_ms + NEAR_MS >= edge_ms {
            relay.leave();
            relay.join();
            is_before = false;
        }
        if at_ms >= edge_ms {
            relay.join();
            relay.ping();
            edges.next();
            is_before = true;
        }
        let is_near = at_ms + NEAR_MS >= edge_ms;
        at_ms = if is_near { at_ms + NEAR_STEP_MS } else { (at_ms + FAR_STEP_MS).min(edge_ms - NEAR_MS) };
    }
    assert!(edges.next().is_none(), "all of them are behind");
    relay.ping();
    relay.leave();
    assert_eq!((relay.hub.len(), relay.hub.skips()), (1, 0), "and nobody lagged");
}

#[test]
fn a_player_that_lags_is_moved_on_at_the_edges_of_the_relays_clock_as_at_any_time() {
    for edge_ms in [100_000, 1 << 31, 1 << 32, 3 << 31] {
        for before_ms in [1_000, 3_000, 8_000] {
            let mut relay = Relay::new(edge_ms - before_ms);
            relay.join();
            let send = |relay: &mut Relay, seconds: std::ops::RangeInclusive<u64>| {
                seconds.for_each(|second| relay.send(FrameKind::Video, KEY_FRAME, second * 1_000));
                relay.pass();
            };
            send(&mut relay, 0..=0);
            // The oldest of these is 4 s old when the player reads on, of 5 that it may be.
            send(&mut relay, 1..=5);
            assert_eq!((relay.hub.skips(), relay.players[0].next), (0, Some(6)));
            // 6 s are too many: it goes on at the newest key frame.
            relay.players[0].next = Some(12);
            send(&mut relay, 6..=12);
            assert_eq!((relay.hub.skips(), relay.players[0].next), (1, Some(13)));
        }
    }
}
