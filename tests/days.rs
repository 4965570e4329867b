//! A stream of sixty days, in virtual time: a relay with a publisher and players, no sockets. Over each edge of the
//! timestamps players that were there before and those that come after it see every frame, at its time.

use std::time::Duration;

use fanfare::{
    access::Open,
    config::Config,
    endpoint::Protocol,
    flv::{Frame, FrameKind},
    rtmp::{
        chunk::ChunkSize,
        client::{Client, ClientConfig, Event, Role},
        session::{Answer, Output, Session, SessionConfig},
    },
};

use self::world::{Orderly, Peer, World};

#[path = "support/world.rs"]
mod world;

const DAY_MS: u64 = 86_400_000;
const DAYS: u64 = 60;
/// How long the relay has been up when the publisher comes: its own clock goes over each edge at another time.
const UP_MS: u64 = 3 * DAY_MS + 7;
/// Where times outgrow the 24 bits of a chunk header, the 31 of a signed number, and the 32 that they have.
const EDGES_MS: [u64; 3] = [1 << 24, 1 << 31, 1 << 32];
/// So close to an edge there is a video frame every other second; elsewhere one every other minute.
const NEAR_MS: u64 = 30_000;
const NEAR_STEP_MS: u64 = 2_000;
const FAR_STEP_MS: u64 = 120_000;
/// Audio comes so much later than the video frame before it.
const AUDIO_MS: u64 = 20;

/// A relay of one core, its publisher and its players.
struct Relay {
    world: World,
    publisher: Peer,
    players: Vec<Player>,
    /// The relay's clock when the publisher came.
    up_ms: u64,
    /// Frames so far.
    sent: u64,
}

struct Player {
    peer: Peer,
    joined_at: u64,
    /// The number of the next frame, once one has come, and the time of the one before.
    next: Option<u64>,
    last_ms: u64,
}

impl Relay {
    fn new(up_ms: u64) -> Relay {
        let mut config = Config::default();
        // Each frame goes out on its own.
        config.play.merge_window = Duration::ZERO;
        let mut world = World::with(1, config, Box::new(Open), Box::new(Orderly), up_ms * 1_000);
        let publisher = world.publisher(0, "s");
        Relay { world, publisher, players: Vec::new(), up_ms, sent: 0 }
    }

    fn join(&mut self) {
        let peer = self.world.player(0, "s");
        self.players.push(Player { peer, joined_at: self.sent, next: None, last_ms: 0 });
        self.hear();
    }

    /// The publisher sends a frame at this time since it came.
    fn send(&mut self, kind: FrameKind, codec: &[u8], at_ms: u64) {
        self.go_to(at_ms);
        let payload = [codec, &self.sent.to_be_bytes(), &at_ms.to_be_bytes()].concat();
        self.sent += 1;
        self.publish(&Frame { kind, timestamp_ms: at_ms as u32, payload: payload.into() });
    }

    /// Lets time pass, with all that happens in it; a long time the core misses, for 60 days have too many ticks.
    fn go_to(&mut self, at_ms: u64) {
        let ms = (self.up_ms + at_ms).checked_sub(self.world.now_ms()).expect("time goes on");
        if ms <= NEAR_STEP_MS {
            self.world.pass_ms(ms);
        } else {
            self.world.stand_still_ms(ms);
        }
    }

    fn publish(&mut self, frame: &Frame) {
        self.publisher.publish(frame);
        self.world.talk(&mut self.publisher);
    }

    /// Each player reads what there is for it.
    fn hear(&mut self) {
        for player in &mut self.players {
            self.world.talk(&mut player.peer);
            let socket = player.peer.socket;
            assert!(!player.peer.has_ended && !self.world.is_closed(socket), "no player waits too long");
            player.look();
        }
    }

    /// Each player has seen all that was sent. All but the first one leave.
    fn leave(&mut self) {
        for (i, player) in self.players.iter().enumerate() {
            assert_eq!(player.next, Some(self.sent), "player {i} at {} ms", self.world.now_ms());
        }
        self.players.drain(1..).for_each(|player| player.peer.hang_up(&self.world));
        self.world.settle();
    }

    /// Players, and how often one was moved ahead, as the core reports it.
    fn report(&mut self) -> (u64, u64) {
        self.world.pass_ms(500);
        let report = self.world.shared.reports().remove(0);
        (report.players[Protocol::Rtmp.index()], report.skips)
    }
}

impl Player {
    /// Fails the test unless what came goes on where it was, at its own time.
    fn look(&mut self) {
        for frame in std::mem::take(&mut self.peer.frames) {
            let payload = frame.payload.to_bytes();
            let Some((number, at_ms)) = numbered(&payload) else {
                assert!(HEADERS.contains(&(frame.kind, &payload)), "{frame:?}");
                continue;
            };
            // One that joins begins at the newest video frame, which may have its audio after it already.
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
const AUDIO: &[u8] = b"\xAF\x01";

#[test]
fn sixty_days_go_by_and_no_player_misses_a_frame_or_sees_time_go_back() {
    // Those of the encoder's clock, and those of the relay's, which says how old a message is.
    let mut edges: Vec<u64> = EDGES_MS.into_iter().chain([(1 << 31) - UP_MS, (1 << 32) - UP_MS]).collect();
    edges.sort_unstable();
    let mut edges = edges.into_iter().peekable();
    let mut relay = Relay::new(UP_MS);
    relay.join();
    for (kind, header) in HEADERS {
        relay.publish(&Frame { kind, timestamp_ms: 0, payload: header.to_vec().into() });
    }
    let mut at_ms = 0;
    let mut is_before = true;
    while at_ms < DAYS * DAY_MS {
        relay.send(FrameKind::Video, KEY_FRAME, at_ms);
        relay.hear();
        relay.send(FrameKind::Audio, AUDIO, at_ms + AUDIO_MS);
        relay.hear();
        let edge_ms = edges.peek().copied().unwrap_or(u64::MAX);
        if is_before && at_ms + NEAR_MS >= edge_ms {
            relay.leave();
            relay.join();
            is_before = false;
        }
        if at_ms >= edge_ms {
            relay.join();
            edges.next();
            is_before = true;
        }
        let is_near = at_ms + NEAR_MS >= edge_ms;
        at_ms = if is_near { at_ms + NEAR_STEP_MS } else { (at_ms + FAR_STEP_MS).min(edge_ms - NEAR_MS) };
    }
    assert!(edges.next().is_none(), "all of them are past");
    relay.leave();
    assert_eq!(relay.report(), (1, 0), "and none lagged");
}

#[test]
fn a_player_that_lags_is_moved_on_at_the_edges_of_the_relays_clock_as_at_any_time() {
    for edge_ms in [100_000, 1 << 31, 1 << 32, 3 << 31] {
        for before_ms in [1_000, 3_000, 8_000, 12_000] {
            let mut relay = Relay::new(edge_ms - before_ms);
            relay.join();
            // The player reads nothing of these, the first of which is under way to it, and then all.
            let send = |relay: &mut Relay, seconds: std::ops::RangeInclusive<u64>| {
                let socket = relay.players[0].peer.socket;
                relay.world.at(socket, |socket| socket.capacity = 0);
                seconds.for_each(|second| relay.send(FrameKind::Video, KEY_FRAME, second * 1_000));
                relay.world.at(socket, |socket| socket.capacity = 1 << 20);
                relay.world.settle();
                relay.world.talk(&mut relay.players[0].peer);
            };
            // The oldest that waits is 4 s old when the player reads on, of 5 that it may be.
            send(&mut relay, 0..=5);
            relay.players[0].look();
            assert_eq!((relay.report().1, relay.players[0].next), (0, Some(6)));
            // 6 s are too many: it goes on at the newest key frame.
            send(&mut relay, 6..=13);
            let first = relay.players[0].peer.frames.remove(0);
            assert_eq!(numbered(&first.payload.to_bytes()), Some((6, 6_000)));
            relay.players[0].next = Some(13);
            relay.players[0].look();
            assert_eq!((relay.report().1, relay.players[0].next), (1, Some(14)));
        }
    }
}

/// What a session and its client say until both are silent, each at its own time.
fn talk(session: &mut Session, session_ms: u64, client: &mut Client, client_ms: u64) {
    loop {
        let mut is_quiet = true;
        while let Some(event) = client.poll() {
            is_quiet = false;
            match event {
                Event::Send(bytes) => session.receive(bytes, client_ms).unwrap(),
                Event::Started | Event::Status(_) => {}
                Event::Frame(_) | Event::Ended => panic!("{event:?}"),
            }
        }
        while let Some(output) = session.poll().unwrap() {
            is_quiet = false;
            match output {
                Output::Send(bytes) => client.receive(bytes, session_ms).unwrap(),
                Output::Connect(request) => assert!(session.answer(request.question, Answer::Allow)),
                Output::Play(request) => assert!(session.answer(request.question, Answer::Allow)),
                Output::More => {}
                other => panic!("{other:?}"),
            }
        }
        if is_quiet {
            return;
        }
    }
}

#[test]
fn a_ping_that_takes_15_ms_takes_15_ms_over_each_edge_too() {
    let edges = EDGES_MS.into_iter().chain([3 << 31, DAYS * DAY_MS]);
    for edge_ms in edges.flat_map(|edge_ms| [edge_ms, edge_ms + UP_MS]) {
        for sent_ms in [edge_ms - 16, edge_ms - 15, edge_ms - 1, edge_ms] {
            let url = "rtmp://host/live/s".parse().unwrap();
            let config = ClientConfig { url, role: Role::Play, chunk_size: ChunkSize::INITIAL, fmle: true };
            let began_ms = UP_MS.min(sent_ms / 2);
            let mut client = Client::new(config, began_ms, [2; 32]);
            let mut session = Session::new(&SessionConfig::default(), began_ms, [1; 32]);
            talk(&mut session, began_ms, &mut client, began_ms);
            session.ping(sent_ms);
            talk(&mut session, sent_ms, &mut client, sent_ms + 15);
            assert_eq!(session.round_trip_ms(), Some(15), "at {sent_ms} ms");
        }
    }
}
