//! The server's session and the client connected to each other in virtual time, without sockets, with the bytes cut
//! anywhere.

use bytes::Bytes;
use fanfare::amf0::{self, Value};
use fanfare::flv::{Frame, FrameKind, WireFormat};
use fanfare::rtmp::chunk::{ChunkSize, MediaFormat, OUT_CHUNK_SIZE};
use fanfare::rtmp::client::{Client, ClientConfig, Event, Role, Status};
use fanfare::rtmp::name::StreamName;
use fanfare::rtmp::session::{
    Answer, CloseReason, Output, PlayRequest, PublishRequest, QuestionId, Session, SessionConfig,
};
use proptest::prelude::*;

/// A client and a server, the bytes in both directions between them, and the outputs of both.
struct Pair {
    client: Client,
    server: Session,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    events: Vec<Event>,
    outputs: Vec<Output>,
    /// Whether the server allows `publish` and `play` at once, as it does `connect`.
    allows: bool,
    /// The newest question.
    question: Option<QuestionId>,
    now_ms: u64,
}

impl Pair {
    fn new(config: ClientConfig) -> Self {
        let server = Session::new(&SessionConfig::default(), 0, [1; 32]);
        let client = Client::new(config, 0, [2; 32]);
        Self {
            client,
            server,
            to_server: Vec::new(),
            to_client: Vec::new(),
            events: Vec::new(),
            outputs: Vec::new(),
            allows: true,
            question: None,
            now_ms: 0,
        }
    }

    fn publisher(address: &str) -> Self {
        Self::new(config(Role::Publish, address))
    }

    fn player(address: &str) -> Self {
        Self::new(config(Role::Play, address))
    }

    /// Transfers bytes until both ends are idle, in pieces whose lengths `cut` returns.
    fn run(&mut self, mut cut: impl FnMut() -> usize) {
        loop {
            self.collect();
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return;
            }
            self.now_ms += 1;
            let piece = take(&mut self.to_server, cut());
            if !piece.is_empty() {
                self.server.receive(piece, self.now_ms).unwrap();
            }
            self.collect();
            let piece = take(&mut self.to_client, cut());
            if !piece.is_empty() {
                self.client.receive(piece, self.now_ms).unwrap();
            }
        }
    }

    fn run_whole(&mut self) {
        self.run(|| usize::MAX);
    }

    fn collect(&mut self) {
        while let Some(event) = self.client.poll() {
            match event {
                Event::Send(bytes) => self.to_server.extend_from_slice(&bytes),
                event => self.events.push(event),
            }
        }
        while let Some(output) = self.server.poll().unwrap() {
            match &output {
                Output::Send(bytes) => {
                    self.to_client.extend_from_slice(bytes);
                    continue;
                }
                Output::Connect(request) => {
                    assert!(self.server.answer(request.question, Answer::Allow));
                    continue;
                }
                Output::Publish(PublishRequest { question, .. })
                | Output::Play(PlayRequest { question, .. }) => {
                    self.question = Some(*question);
                    if self.allows {
                        assert!(self.server.answer(*question, Answer::Allow));
                    }
                }
                _ => {}
            }
            self.outputs.push(output);
        }
    }

    /// Answers the newest question.
    fn answer(&mut self, answer: Answer) {
        assert!(self.server.answer(self.question.expect("a question"), answer));
    }

    fn started(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Started))
    }

    fn codes(&self) -> Vec<&str> {
        let codes = self.events.iter().map(|event| match event {
            Event::Status(status) => Some(status.code.as_str()),
            _ => None,
        });
        codes.flatten().collect()
    }

    /// The frames that the server got, as comparable values.
    fn frames_at_server(&self) -> Vec<Plain> {
        let frames = self.outputs.iter().map(|output| match output {
            Output::Frame { frame, .. } => Some(plain(frame)),
            _ => None,
        });
        frames.flatten().collect()
    }

    fn frames_at_client(&self) -> Vec<Plain> {
        let frames = self.events.iter().map(|event| match event {
            Event::Frame(frame) => Some(plain(frame)),
            _ => None,
        });
        frames.flatten().collect()
    }
}

type Plain = (FrameKind, u32, Bytes);

fn plain(frame: &Frame) -> Plain {
    (frame.kind, frame.timestamp_ms, frame.payload.to_bytes())
}

fn take(bytes: &mut Vec<u8>, at_most: usize) -> Bytes {
    let rest = bytes.split_off(at_most.min(bytes.len()));
    std::mem::replace(bytes, rest).into()
}

fn config(role: Role, address: &str) -> ClientConfig {
    ClientConfig { url: address.parse().unwrap(), role, chunk_size: ChunkSize::INITIAL, fmle: true }
}

fn frame(kind: FrameKind, timestamp_ms: u32, payload: impl Into<Bytes>) -> Frame {
    Frame { kind, timestamp_ms, payload: payload.into().into() }
}

fn metadata() -> Frame {
    let values = [Value::from("onMetaData"), Value::ecma_array([("width", 1920.0.into())])];
    frame(FrameKind::Data, 0, amf0::encode_all(&values))
}

/// Metadata, sequence headers, and frames before and after the extended timestamp and the wrap.
fn stream() -> Vec<Frame> {
    let key_frame: Vec<u8> = [0x17, 1, 0, 0, 0].into_iter().chain((0..3000).map(|i| i as u8)).collect();
    vec![
        metadata(),
        frame(FrameKind::Video, 0, &b"\x17\0\0\0\0avcC"[..]),
        frame(FrameKind::Audio, 0, &b"\xaf\0\x12\x10"[..]),
        frame(FrameKind::Video, 0xff_fff0, key_frame.clone()),
        frame(FrameKind::Audio, 0xff_ffff, &b"\xaf\x01audio"[..]),
        frame(FrameKind::Video, 0x100_0010, key_frame),
        frame(FrameKind::Audio, u32::MAX, vec![0xaf; 300]),
        frame(FrameKind::Video, 19, &b"\x27\x01\0\0\0inter"[..]),
    ]
}

fn plains(frames: &[Frame]) -> Vec<Plain> {
    frames.iter().map(plain).collect()
}

fn live_key() -> StreamName {
    StreamName { app: "live".into(), name: "key".into() }
}

/// Publishes this stream with the bytes cut by `cut`, and checks that each frame arrives unchanged.
fn publish_through(cut: impl FnMut() -> usize + Clone) {
    let mut pair = Pair::publisher("rtmp://host/live/key?token=1");
    pair.run(cut.clone());
    assert!(pair.started());
    let stream = stream();
    stream.iter().for_each(|frame| pair.client.send_frame(frame));
    pair.client.stop();
    pair.run(cut);
    let Output::Publish(request) = &pair.outputs[0] else { panic!("no publish") };
    assert_eq!((request.message_stream_id, &request.name), (1, &live_key()));
    assert_eq!(request.query, "token=1");
    assert_eq!(pair.frames_at_server(), plains(&stream));
    assert!(matches!(pair.outputs.last(), Some(Output::Unpublish { message_stream_id: 1 })));
}

/// Plays this stream with the bytes cut by `cut`.
fn play_through(cut: impl FnMut() -> usize + Clone) {
    let mut pair = Pair::player("rtmp://host/live/key?start=live");
    pair.run(cut.clone());
    assert!(pair.started());
    let stream = stream();
    let format = MediaFormat::default();
    for frame in &stream {
        let begin = pair.to_client.len();
        pair.to_client.resize(begin + format.wire_len(frame), 0);
        format.write(frame, &mut pair.to_client[begin..]);
    }
    pair.run(cut.clone());
    pair.server.end_play();
    pair.run(cut);
    let [Output::Play(request)] = &pair.outputs[..] else { panic!("not one play") };
    assert_eq!((request.message_stream_id, &request.name), (1, &live_key()));
    assert_eq!(request.query, "start=live");
    assert_eq!(pair.frames_at_client(), plains(&stream));
    assert_eq!(pair.codes(), ["NetStream.Play.Start", "NetStream.Play.UnpublishNotify"]);
    assert!(matches!(pair.events.last(), Some(Event::Ended)));
}

#[test]
fn a_published_stream_arrives_byte_exact() {
    publish_through(|| usize::MAX);
}

#[test]
fn a_played_stream_arrives_byte_exact() {
    play_through(|| usize::MAX);
}

#[test]
fn the_length_of_the_pieces_changes_nothing() {
    for len in (1..=64).chain([127, 128, 129, 1535, 1536, 1537, 3072, 3073, 3074]) {
        publish_through(|| len);
        play_through(|| len);
    }
}

/// The first piece in each direction ends at each byte in turn.
#[test]
fn any_one_cut_changes_nothing() {
    for first in 1..1600 {
        let mut cuts = [first, first].into_iter();
        publish_through(move || cuts.next().unwrap_or(usize::MAX));
    }
    // After C0 and C1: C2 and connect, in one read or two.
    for second in 1530..1800 {
        let mut cuts = [1537, usize::MAX, second].into_iter();
        publish_through(move || cuts.next().unwrap_or(usize::MAX));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_cuts_change_nothing(lengths in prop::collection::vec(1usize..2000, 1..50)) {
        let mut cycle = lengths.clone().into_iter().cycle();
        publish_through(move || cycle.next().unwrap());
        let mut cycle = lengths.into_iter().cycle();
        play_through(move || cycle.next().unwrap());
    }
}

#[test]
fn an_encoder_may_change_its_chunk_size_at_any_time() {
    for first in [1, 128, 4096, 65536] {
        let chunk_size = ChunkSize::new(first).unwrap();
        let mut pair =
            Pair::new(ClientConfig { chunk_size, ..config(Role::Publish, "rtmp://host/live/key") });
        pair.run_whole();
        let stream = stream();
        for (frame, size) in stream.iter().zip([3, 65536, 128, 1, 60_000, 255].into_iter().cycle()) {
            pair.client.send_frame(frame);
            pair.client.set_chunk_size(ChunkSize::new(size).unwrap());
        }
        pair.run_whole();
        assert_eq!(pair.frames_at_server(), plains(&stream));
    }
}

#[test]
fn a_client_without_fmle_commands_publishes_and_plays_too() {
    for role in [Role::Publish, Role::Play] {
        let mut pair = Pair::new(ClientConfig { fmle: false, ..config(role, "rtmp://host/live/key") });
        pair.run_whole();
        assert!(pair.started());
    }
}

#[test]
fn a_denied_publisher_gets_the_reason_and_is_closed() {
    let mut pair = Pair::publisher("rtmp://host/live/key");
    pair.allows = false;
    pair.run_whole();
    assert!(!pair.started());
    pair.answer(Answer::Deny {
        code: "NetStream.Publish.BadName".into(),
        description: "The name is in use.".into(),
    });
    pair.run_whole();
    let status = Status {
        level: "error".into(),
        code: "NetStream.Publish.BadName".into(),
        description: "The name is in use.".into(),
    };
    assert!(matches!(pair.events.last(), Some(Event::Status(received)) if *received == status));
    let reason = CloseReason::Refused("NetStream.Publish.BadName".into());
    assert!(matches!(pair.outputs.last(), Some(Output::Close(why)) if *why == reason));
}

#[test]
fn an_answer_may_come_a_minute_later() {
    for role in [Role::Publish, Role::Play] {
        let mut pair = Pair::new(config(role, "rtmp://host/live/key"));
        pair.allows = false;
        pair.run_whole();
        assert!(!pair.started() && pair.server.has_open_question());
        pair.now_ms += 60_000;
        pair.server.ping(pair.now_ms);
        pair.run_whole();
        pair.answer(Answer::Allow);
        pair.run_whole();
        assert!(pair.started() && !pair.server.has_open_question());
        assert_eq!(pair.server.round_trip_ms(), Some(2), "the PingResponse was read after the answer");
    }
}

#[test]
fn a_player_of_a_missing_stream_waits_and_gets_the_reason() {
    let mut pair = Pair::player("rtmp://host/live/missing");
    pair.run_whole();
    pair.server.ping(1000);
    pair.run_whole();
    pair.server.fail_play("NetStream.Play.StreamNotFound", "The stream is not published.");
    pair.run_whole();
    assert_eq!(pair.codes(), ["NetStream.Play.Start", "NetStream.Play.StreamNotFound"]);
    assert!(matches!(pair.outputs.last(), Some(Output::Close(_))));
}

#[test]
fn both_sides_acknowledge_by_the_window() {
    let mut pair = Pair::publisher("rtmp://host/live/key");
    pair.run_whole();
    let big = frame(FrameKind::Video, 0, vec![0x27; 1_000_000]);
    for _ in 0..6 {
        pair.client.send_frame(&big);
        pair.run_whole();
    }
    // The window is 2.5 MB: acknowledgements are due after the third and the sixth frame.
    assert_eq!(pair.client.peer_acknowledged_bytes(), pair.server.received_bytes());

    let mut pair = Pair::player("rtmp://host/live/key");
    pair.run_whole();
    let format = MediaFormat { chunk_size: OUT_CHUNK_SIZE };
    let mut wire = vec![0; format.wire_len(&big)];
    format.write(&big, &mut wire);
    for _ in 0..3 {
        pair.to_client.extend_from_slice(&wire);
        pair.run_whole();
    }
    assert_eq!(pair.server.peer_acknowledged_bytes(), pair.client.received_bytes());
}

#[test]
fn a_ping_measures_the_round_trip() {
    let mut pair = Pair::player("rtmp://host/live/key");
    pair.run_whole();
    pair.now_ms = 5000;
    pair.server.ping(5000);
    pair.collect();
    let ping = take(&mut pair.to_client, usize::MAX);
    pair.client.receive(ping, 5020).unwrap();
    pair.collect();
    let pong = take(&mut pair.to_server, usize::MAX);
    pair.server.receive(pong, 5040).unwrap();
    pair.collect();
    assert_eq!(pair.server.round_trip_ms(), Some(40));
}

#[test]
fn wherever_a_client_splits_its_address_it_is_the_same_stream() {
    let ways = [("a/b", "c"), ("a", "b/c"), ("a/b/c", ""), ("a/b/_definst_", "mp4:c"), ("a/b", "c.flv")];
    for (app, key) in ways {
        let mut config = config(Role::Play, "rtmp://host/x/y");
        (config.url.app, config.url.key) = (app.to_owned(), key.to_owned());
        let mut pair = Pair::new(config);
        pair.run_whole();
        let Some(Output::Play(request)) = pair.outputs.first() else { panic!("no play") };
        assert_eq!(request.name.to_string(), "a/b/c");
    }
}
