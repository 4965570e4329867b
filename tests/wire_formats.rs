//! A stream in its other wire formats, from the real log and hub, without a socket: what HTTP players would be sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare::fanout::{Ended, Hub, PlayerKey, Policy};
use fanfare::flv::{FlvFormat, Frame, FrameKind};
use fanfare::http::{ChunkedFormat, websocket::WebSocketFormat};
use fanfare::rtmp::chunk::MediaFormat;
use fanfare::stream::{
    Bounds, ConnectionRef, Form, Item, MemoryKind, Publication, ReadOptions, Reader, Registry, Retention,
    Signal, Start,
};

const NAME: &str = "live/s";
/// How long a form's log is kept after its last reader, and a frame more.
const LINGER_MS: u64 = 10_040;

struct Bench {
    registry: Arc<Registry>,
    hub: Hub,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        let signals: Arc<[Signal]> = Arc::new([Signal::new(|| ())]);
        let retention = Retention { buffer_bytes: 32 << 20, keep_ms: 5_000 };
        let bounds = Bounds { streams: 10, memory_bytes: 1 << 30 };
        let registry = Arc::new(Registry::new(
            signals,
            retention,
            bounds,
            |form| match form {
                Form::Rtmp => Box::new(MediaFormat::default()),
                Form::HttpFlv => Box::new(FlvFormat),
                Form::WebsocketFlv => Box::new(WebSocketFormat),
                Form::HttpFlvChunked => Box::new(ChunkedFormat),
            },
            Box::new(|_, _| ()),
        ));
        let policy = Policy {
            max_lag: Duration::from_secs(5),
            play_wait: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(10),
        };
        Self { hub: Hub::new(0, registry.clone(), policy), registry, now_ms: 1_000 }
    }

    fn publish(&self) -> Publication {
        let id = ConnectionRef { core: 0, key: 0, connection_id: 1 };
        self.registry.publish(NAME, id, self.now_ms).expect("the name is free")
    }

    fn join(&mut self, form: Form, start: Start) -> PlayerKey {
        self.hub.join(7, NAME, form, start, self.now_ms)
    }

    /// A frame comes, 40 ms after the one before.
    fn append(&mut self, publication: &mut Publication, frame: Frame) {
        self.now_ms += 40;
        publication.append_and_notify(frame, self.now_ms);
    }

    /// Owners of players that can begin because time has passed.
    fn woken(&mut self) -> Vec<usize> {
        let mut due = Vec::new();
        self.hub.wake(self.now_ms, &mut due);
        due
    }

    fn ended(&mut self) -> Vec<(usize, Ended)> {
        let mut ended = Vec::new();
        self.hub.expire(self.now_ms, &mut ended);
        ended
    }

    fn drain(&mut self, player: PlayerKey) -> Vec<u8> {
        self.hub.new_data(0, u64::MAX);
        self.hub.due_at_once(usize::MAX, &mut Vec::new());
        self.hub.begin_pass(&mut Vec::new());
        let mut out = Vec::new();
        while let Some(batch) = self.hub.next_batch(player, false, self.now_ms) {
            out.extend_from_slice(batch.bytes());
            self.hub.sent(player, batch.bytes().len(), true);
        }
        out
    }
}

/// Time after a publish's first frame until it is known which kinds of media it has.
const SETTLE_MS: u64 = 1_000;

fn frame(kind: FrameKind, timestamp_ms: u32, head: &[u8], mark: &str) -> Frame {
    Frame { kind, timestamp_ms, payload: Bytes::from([head, mark.as_bytes()].concat()).into() }
}

fn key_frame(timestamp_ms: u32, mark: &str) -> Frame {
    frame(FrameKind::Video, timestamp_ms, b"\x17\x01\0\0\0", mark)
}

fn inter_frame(timestamp_ms: u32, mark: &str) -> Frame {
    frame(FrameKind::Video, timestamp_ms, b"\x27\x01\0\0\0", mark)
}

fn audio(timestamp_ms: u32, mark: &str) -> Frame {
    frame(FrameKind::Audio, timestamp_ms, b"\xAF\x01", mark)
}

fn video_header(mark: &str) -> Frame {
    frame(FrameKind::Video, 0, b"\x17\0\0\0\0", mark)
}

fn audio_header(mark: &str) -> Frame {
    frame(FrameKind::Audio, 0, b"\xAF\0", mark)
}

/// What an FLV file holds: its header, if it begins with one, then each tag's time and mark.
fn read_flv(mut file: &[u8]) -> String {
    let mut text = String::new();
    if let Some(rest) = file.strip_prefix(b"FLV\x01") {
        let kinds = ["nothing", "video", "?", "?", "audio", "both"][usize::from(rest[0])];
        assert_eq!(rest[1..9], [0, 0, 0, 9, 0, 0, 0, 0]);
        text += kinds;
        file = &rest[9..];
    }
    while !file.is_empty() {
        let len = u32::from_be_bytes([0, file[1], file[2], file[3]]) as usize;
        let time_ms = u32::from_be_bytes([file[7], file[4], file[5], file[6]]);
        let (tag, rest) = file.split_at(11 + len);
        assert_eq!(rest[..4], (11 + len as u32).to_be_bytes(), "PreviousTagSize");
        let mark: String = tag[11..]
            .iter()
            .filter(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            .map(|&b| b as char)
            .collect();
        text += &format!(" {mark}@{time_ms}");
        file = &rest[4..];
    }
    text.trim_start().to_owned()
}

/// What unmasked binary messages hold, put together.
fn read_websocket(mut wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !wire.is_empty() {
        assert_eq!(wire[0], 0x82, "a whole binary message");
        let (head, len) = match wire[1] {
            126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
            127 => (10, u64::from_be_bytes(wire[2..10].try_into().unwrap()) as usize),
            len => (2, usize::from(len)),
        };
        out.extend_from_slice(&wire[head..head + len]);
        wire = &wire[head + len..];
    }
    out
}

/// What chunks of chunked transfer coding hold, put together.
fn read_chunks(mut wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !wire.is_empty() {
        let line = wire.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..line]).unwrap(), 16).unwrap();
        let (chunk, rest) = wire[line + 2..].split_at(size);
        out.extend_from_slice(chunk);
        wire = rest.strip_prefix(b"\r\n").expect("the end of a chunk");
    }
    out
}

fn with_a_group(bench: &mut Bench) -> Publication {
    let mut publication = bench.publish();
    for frame in
        [video_header("vh"), audio_header("ah"), key_frame(0, "k0"), inter_frame(40, "i1"), audio(50, "a2")]
    {
        bench.append(&mut publication, frame);
    }
    publication
}

#[test]
fn the_first_player_of_a_form_starts_at_the_newest_key_frame_as_fast_as_any() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let flv = bench.join(Form::HttpFlv, Start::KeyFrame);
    let websocket = bench.join(Form::WebsocketFlv, Start::KeyFrame);
    let chunked = bench.join(Form::HttpFlvChunked, Start::KeyFrame);
    assert_eq!(bench.drain(flv), b"", "its log begins with the next frame");
    // Larger than an RTMP chunk, and than a WebSocket's short lengths.
    let large = format!("i3{}", "X".repeat(200_000));
    bench.append(&mut publication, inter_frame(80, &large));
    let wanted = "both vh@0 ah@0 k0@0 i1@40 a2@50 i3@80";
    assert_eq!(read_flv(&bench.drain(flv)), wanted);
    assert_eq!(read_flv(&read_websocket(&bench.drain(websocket))), wanted);
    assert_eq!(read_flv(&read_chunks(&bench.drain(chunked))), wanted);
    let second = bench.join(Form::HttpFlv, Start::KeyFrame);
    assert_eq!(read_flv(&bench.drain(second)), wanted, "and the second needs no frame to come");
    bench.append(&mut publication, key_frame(120, "k4"));
    assert_eq!(read_flv(&bench.drain(flv)), "k4@120");
    let third = bench.join(Form::HttpFlv, Start::KeyFrame);
    assert_eq!(read_flv(&bench.drain(third)), "both vh@0 ah@0 k4@120");
}

#[test]
fn what_was_kept_is_copied_whole_from_several_segments_and_chunks() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    bench.append(&mut publication, video_header("vh"));
    // Times that need the extended timestamp, payloads of several chunks, and more than one segment.
    for i in 0..40u32 {
        let mark = format!("n{i}{}", "X".repeat(70_000));
        let time_ms = 0xFF_FFF0 + i;
        let frame = if i == 0 { key_frame(time_ms, &mark) } else { inter_frame(time_ms, &mark) };
        bench.append(&mut publication, frame);
    }
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, audio(0xFF_FFF0 + 40, "n40"));
    let seen = read_flv(&bench.drain(player));
    let wanted: Vec<String> = (0..=40).map(|i| format!("n{i}@{}", 0xFF_FFF0 + i)).collect();
    assert_eq!(seen, format!("both vh@0 {}", wanted.join(" ")));
}

#[test]
fn the_stream_header_names_the_kinds_that_have_come_so_far() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    bench.append(&mut publication, video_header("vh"));
    bench.append(&mut publication, key_frame(0, "k0"));
    let early = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(40, "i1"));
    assert_eq!(bench.drain(early), b"", "audio may still come");
    assert!(bench.woken().is_empty());
    bench.now_ms += SETTLE_MS;
    assert_eq!(bench.woken(), [7]);
    assert!(bench.woken().is_empty(), "once");
    assert_eq!(read_flv(&bench.drain(early)), "video vh@0 k0@0 i1@40");
    bench.append(&mut publication, audio_header("ah"));
    assert_eq!(bench.drain(early), b"", "a header is not media");
    let announced = bench.join(Form::HttpFlv, Start::KeyFrame);
    assert_eq!(read_flv(&bench.drain(announced)), "video vh@0 k0@0 i1@40");
    bench.append(&mut publication, audio(60, "a2"));
    assert_eq!(read_flv(&bench.drain(early)), "ah@60 a2@60", "audio that comes late is sent nevertheless");
    let before_a_key_frame = bench.join(Form::HttpFlv, Start::KeyFrame);
    let seen = read_flv(&bench.drain(before_a_key_frame));
    assert_eq!(
        seen, "both vh@0 k0@0 i1@40 ah@60 a2@60",
        "the current kinds, not those when the key frame came"
    );
    bench.append(&mut publication, key_frame(80, "k3"));
    let late = bench.join(Form::HttpFlv, Start::KeyFrame);
    assert_eq!(read_flv(&bench.drain(late)), "both vh@0 ah@0 k3@80");
}

#[test]
fn a_stream_of_audio_alone_begins_within_a_second_and_is_announced_as_such() {
    let mut bench = Bench::new();
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    let mut publication = bench.publish();
    bench.append(&mut publication, audio_header("ah"));
    let began_ms = bench.now_ms;
    let mut seen = String::new();
    for i in 0..100 {
        bench.append(&mut publication, audio(i * 40, "a"));
        seen += &read_flv(&bench.drain(player));
        if !seen.is_empty() {
            break;
        }
    }
    assert!(seen.starts_with("audio ah@"), "{seen}");
    assert!(bench.now_ms - began_ms <= 1_100, "{} ms", bench.now_ms - began_ms);
}

#[test]
fn a_player_that_asks_for_live_waits_for_the_next_key_frame_in_a_log_that_is_made_for_it() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let player = bench.join(Form::HttpFlv, Start::Live);
    bench.append(&mut publication, inter_frame(80, "i3"));
    assert_eq!(bench.drain(player), b"");
    bench.append(&mut publication, key_frame(120, "k4"));
    assert_eq!(read_flv(&bench.drain(player)), "both vh@0 ah@0 k4@120");
}

#[test]
fn a_player_that_asks_for_live_gets_the_first_key_frame_of_an_encoder_that_came_back() {
    for comes_before_it_goes in [true, false] {
        let mut bench = Bench::new();
        let publication = with_a_group(&mut bench);
        bench.join(Form::Rtmp, Start::KeyFrame);
        let early = comes_before_it_goes.then(|| bench.join(Form::HttpFlv, Start::Live));
        drop(publication);
        let mut publication = bench.publish();
        let player = early.unwrap_or_else(|| bench.join(Form::HttpFlv, Start::Live));
        // Unchanged headers are not appended: the new log begins with the key frame.
        bench.append(&mut publication, video_header("vh"));
        bench.append(&mut publication, key_frame(0, "k3"));
        bench.now_ms += SETTLE_MS;
        let got = read_flv(&bench.drain(player));
        assert!(got.contains(" k3@"), "{got}");
    }
}

#[test]
fn a_body_goes_on_over_an_encoders_restart_with_one_header() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(80, "i3"));
    bench.drain(player);
    drop(publication);
    let mut publication = bench.publish();
    for frame in [video_header("vh"), audio_header("other"), key_frame(0, "k0"), inter_frame(40, "i1")] {
        bench.append(&mut publication, frame);
    }
    let seen = read_flv(&bench.drain(player));
    assert!(seen.ends_with("k0@120 i1@160") && !seen.contains("other"), "audio has not come yet: {seen}");
    bench.append(&mut publication, audio(50, "a2"));
    assert_eq!(read_flv(&bench.drain(player)), "other@170 a2@170");
}

#[test]
fn a_player_that_is_moved_ahead_gets_changed_headers_and_no_second_file_header() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(80, "i3"));
    bench.drain(player);
    bench.append(&mut publication, inter_frame(120, "lost"));
    bench.now_ms += 6_000;
    bench.append(&mut publication, video_header("wh"));
    bench.append(&mut publication, key_frame(6_200, "k5"));
    assert_eq!(read_flv(&bench.drain(player)), "wh@0 ah@0 k5@6200");
    assert_eq!(bench.hub.skips(), 1);
}

#[test]
fn a_log_without_readers_is_ended_and_begins_anew_after_its_end() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let without_bytes = bench.registry.memory().of(MemoryKind::Segments);
    let keeper = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(80, "i3"));
    assert!(bench.registry.memory().of(MemoryKind::Segments) > without_bytes);
    bench.drain(keeper);
    bench.hub.leave(keeper);
    bench.append(&mut publication, inter_frame(120, "i4"));
    assert!(bench.registry.memory().of(MemoryKind::Segments) > without_bytes, "a reader may come back");
    bench.now_ms += LINGER_MS;
    bench.append(&mut publication, inter_frame(160, "i5"));
    assert_eq!(bench.registry.memory().of(MemoryKind::Segments), without_bytes);
    let stream = bench.registry.get(NAME).expect("it is published");
    let oldest = stream.log(Form::HttpFlv).oldest();
    assert_eq!(oldest, 1);
    let back = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(200, "i6"));
    assert_eq!(read_flv(&bench.drain(back)), "both vh@0 ah@0 k0@0 i1@40 a2@50 i3@80 i4@120 i5@160 i6@200");
}

#[test]
fn facts_are_counts_and_headers_of_what_the_publisher_sends() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    bench.now_ms += 500;
    bench.append(&mut publication, key_frame(2_000, "k3"));
    let facts = bench.registry.get(NAME).expect("it is published").facts();
    assert_eq!(
        (facts.frames, facts.video_frames, facts.key_frames, facts.key_frame_interval_ms),
        (6, 3, 2, Some(2_000))
    );
    assert_eq!(facts.video_header.as_deref(), Some(&b"\x17\0\0\0\0vh"[..]));
    assert_eq!(facts.audio.as_deref(), Some(&b"\xAF\x01a2"[..]));
    // A player waits, so it is the same stream.
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    drop(publication);
    let mut publication = bench.publish();
    assert_eq!(publication.stream().facts().frames, 0, "another publish begins at 0");
    bench.append(&mut publication, video_header("vh"));
    bench.append(&mut publication, key_frame(0, "k0"));
    bench.now_ms += SETTLE_MS;
    let seen = read_flv(&bench.drain(player));
    assert!(seen.starts_with("video vh@"), "this one has sent no audio: {seen}");
}

/// No protocol has a notice that a kind of media is missing now, or is new.
#[test]
fn an_encoder_that_comes_back_with_other_kinds_ends_the_players_of_the_one_before() {
    let both = || vec![key_frame(0, "k"), audio(10, "a")];
    let (video, audio_only) = (|| vec![key_frame(0, "k")], || vec![audio(0, "a")]);
    let cases: [(Vec<Frame>, Vec<Frame>, bool); 7] = [
        (both(), both(), false),
        (both(), video(), true),
        (both(), audio_only(), true),
        (video(), both(), true),
        (audio_only(), both(), true),
        (video(), audio_only(), true),
        (video(), video(), false),
    ];
    for (index, (before, after, ends)) in cases.into_iter().enumerate() {
        for form in Form::ALL {
            let mut bench = Bench::new();
            let player = bench.join(form, Start::KeyFrame);
            let mut publication = bench.publish();
            let append = |bench: &mut Bench, publication: &mut Publication, frames: &[Frame]| {
                for frame in [video_header("vh"), audio_header("ah")].iter().chain(frames) {
                    bench.append(publication, frame.clone());
                }
                // Headers and metadata of a kind are not media of it.
                bench.now_ms += SETTLE_MS;
                let again = frames[0].clone();
                bench.append(publication, Frame { timestamp_ms: 1_100, ..again });
            };
            append(&mut bench, &mut publication, &before);
            bench.drain(player);
            assert_eq!(bench.ended(), [], "case {index}, {form:?}");
            drop(publication);
            let waiting = bench.join(form, Start::KeyFrame);
            let mut publication = bench.publish();
            append(&mut bench, &mut publication, &after);
            let expected: &[_] = if ends { &[(7, Ended::OtherMedia)] } else { &[] };
            assert_eq!(bench.ended(), expected, "case {index}, {form:?}");
            assert_eq!(bench.ended(), [], "once");
            assert!(!bench.drain(waiting).is_empty(), "one that waited begins with this publish");
            let newcomer = bench.join(form, Start::KeyFrame);
            bench.drain(newcomer);
            bench.append(&mut publication, Frame { timestamp_ms: 1_140, ..after[0].clone() });
            assert_eq!(bench.ended(), [], "no player that began with this publish");
        }
    }
}

#[test]
fn a_publish_that_sent_no_media_ends_no_player() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(80, "i3"));
    bench.drain(player);
    drop(publication);
    let mut publication = bench.publish();
    bench.append(&mut publication, key_frame(0, "k4"));
    drop(publication);
    let mut publication = bench.publish();
    for frame in [key_frame(0, "k5"), audio(10, "a6")] {
        bench.append(&mut publication, frame);
    }
    assert_eq!(bench.ended(), []);
}

/// Times in FLV are signed: players in browsers stop at 2^31 ms.
#[test]
fn a_file_that_would_begin_late_begins_at_0_and_no_file_reaches_the_end_of_its_times() {
    const EDGE_MS: u32 = 1 << 31;
    let mut bench = Bench::new();
    let rtmp = bench.join(Form::Rtmp, Start::KeyFrame);
    let mut publication = bench.publish();
    for frame in [video_header("vh"), audio_header("ah"), key_frame(EDGE_MS - 400_000, "k0")] {
        bench.append(&mut publication, frame);
    }
    bench.append(&mut publication, audio(EDGE_MS - 400_010, "a1"));
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(EDGE_MS - 399_960, "i2"));
    assert_eq!(read_flv(&bench.drain(player)), "both vh@0 ah@0 k0@0 a1@0 i2@40");
    bench.append(&mut publication, inter_frame(EDGE_MS + 5, "i3"));
    // The stream's time went on as the relay's clock did.
    let seen = read_flv(&bench.drain(player));
    assert!(seen.starts_with("i3@"), "{seen}");
    assert_eq!(bench.ended(), []);
    drop((publication, rtmp));

    // One that began early and goes on for 24 days.
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    let rtmp = bench.join(Form::Rtmp, Start::KeyFrame);
    let mut last = 0;
    let mut time_ms = 0_u32;
    while bench.ended().is_empty() {
        const STEP_MS: u32 = 3_600_000;
        time_ms += STEP_MS;
        bench.now_ms += u64::from(STEP_MS) - 40;
        bench.drain(rtmp);
        bench.append(&mut publication, key_frame(time_ms, "k"));
        let seen = read_flv(&bench.drain(player));
        if let Some(at) = seen.rsplit_once('@') {
            last = at.1.parse::<u32>().expect("a time");
        }
        assert!(last < EDGE_MS && time_ms < EDGE_MS + STEP_MS, "it went on to {last}");
    }
    assert!(last > EDGE_MS - 2 * 3_600_000, "and not before it had to: {last}");
    assert_eq!(bench.ended(), [], "others go on");
    let again = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(time_ms + 40, "i"));
    assert_eq!(read_flv(&bench.drain(again)), "both vh@0 ah@0 k@0 i@40");
}

#[test]
fn a_player_that_waited_begins_with_no_frame_of_an_encoder_whose_headers_are_gone() {
    let mut bench = Bench::new();
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    let mut publication = bench.publish();
    for frame in [video_header("vh"), key_frame(0, "k0")] {
        bench.append(&mut publication, frame);
    }
    assert_eq!(bench.drain(player), b"", "it is not known whether there is audio");
    drop(publication);
    let mut publication = bench.publish();
    bench.append(&mut publication, audio_header("ah"));
    bench.append(&mut publication, audio(0, "a1"));
    bench.now_ms += SETTLE_MS;
    bench.append(&mut publication, audio(SETTLE_MS as u32, "a2"));
    let seen = read_flv(&bench.drain(player));
    assert!(seen.starts_with("audio ah@0 a"), "{seen}");
}

#[test]
fn each_player_that_comes_before_a_stream_can_be_joined_gets_a_file_with_its_header() {
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    let metadata = frame(FrameKind::Data, 0, b"\x02\0\x0AonMetaData\x08\0\0\0\0\0\0\x09", "m");
    bench.append(&mut publication, metadata);
    bench.append(&mut publication, audio_header("ah"));
    let first = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, audio(0, "a0"));
    let second = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.now_ms += SETTLE_MS;
    bench.append(&mut publication, audio(SETTLE_MS as u32, "a1"));
    for player in [first, second] {
        let seen = read_flv(&bench.drain(player));
        assert!(seen.starts_with("audio "), "{seen}");
    }
}

#[test]
fn new_metadata_does_not_end_a_file_that_began_late() {
    const LATE_MS: u32 = (1 << 30) + 100_000;
    let metadata = |mark: &str| frame(FrameKind::Data, 0, b"\x02\0\x0AonMetaData\x08\0\0\0\0\0\0\x09", mark);
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    for frame in [metadata("m"), video_header("vh"), key_frame(LATE_MS, "k0"), audio(LATE_MS, "a1")] {
        bench.append(&mut publication, frame);
    }
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(LATE_MS + 40, "i2"));
    bench.drain(player);
    bench.append(&mut publication, metadata("n"));
    bench.append(&mut publication, inter_frame(LATE_MS + 80, "i3"));
    assert!(read_flv(&bench.drain(player)).ends_with(" i3@80"));
    assert_eq!(bench.ended(), []);
}

#[test]
fn headers_at_time_0_do_not_decide_where_a_file_begins() {
    const LATE_MS: u32 = (1 << 31) - 70_000;
    let mut bench = Bench::new();
    let mut publication = bench.publish();
    bench.append(&mut publication, audio_header("ah"));
    bench.append(&mut publication, audio(LATE_MS, "a0"));
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.now_ms += SETTLE_MS;
    bench.append(&mut publication, audio(LATE_MS + 40, "a1"));
    assert_eq!(read_flv(&bench.drain(player)), "audio ah@0 a0@0 a1@40");
    bench.now_ms += 20_000;
    bench.append(&mut publication, audio(LATE_MS + 20_000, "a2"));
    assert_eq!(read_flv(&bench.drain(player)), "a2@20000");
    assert_eq!(bench.ended(), []);
}

#[test]
fn a_file_s_metadata_names_no_kind_that_has_not_come() {
    let metadata = |audio: u8, version: u8| {
        let mark = [b"\x03\0\x08hasAudio\x01", &[audio, 0, 1, b'v', 1, version, 0, 0, 9][..]].concat();
        let payload = [b"\x02\0\x0AonMetaData", &mark[..]].concat();
        Frame { kind: FrameKind::Data, timestamp_ms: 0, payload: Bytes::from(payload).into() }
    };
    for has_audio in [false, true] {
        let mut bench = Bench::new();
        let mut publication = bench.publish();
        for frame in [metadata(1, 0), audio_header("ah"), key_frame(0, "k0")] {
            bench.append(&mut publication, frame);
        }
        if has_audio {
            bench.append(&mut publication, audio(10, "a1"));
        }
        bench.now_ms += SETTLE_MS;
        let player = bench.join(Form::HttpFlv, Start::KeyFrame);
        bench.append(&mut publication, inter_frame(40, "i1"));
        bench.append(&mut publication, metadata(1, 1));
        let file = bench.drain(player);
        let flags: Vec<u8> = file
            .windows(12)
            .filter(|bytes| bytes.starts_with(b"\0\x08hasAudio\x01"))
            .map(|bytes| bytes[11])
            .collect();
        assert_eq!(flags, [u8::from(has_audio); 2], "in the preamble, and when it changes");
        assert_eq!(read_flv(&file).contains("ah@"), has_audio);
    }
}

#[test]
fn video_that_stands_still_is_sent_to_joiners_and_goes_on_for_them() {
    let mut bench = Bench::new();
    let keeper = bench.join(Form::HttpFlv, Start::KeyFrame);
    let mut publication = bench.publish();
    for frame in [video_header("vh"), audio_header("ah"), key_frame(0, "k0"), inter_frame(40, "i0")] {
        bench.append(&mut publication, frame);
    }
    let mut time_ms = 80;
    let audio_until = |bench: &mut Bench, publication: &mut Publication, time_ms: &mut u32, until_ms: u32| {
        while *time_ms < until_ms {
            bench.append(publication, audio(*time_ms, "s"));
            bench.drain(keeper);
            *time_ms += 40;
        }
    };
    audio_until(&mut bench, &mut publication, &mut time_ms, 9_000);
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    let seen = read_flv(&bench.drain(player));
    assert!(
        seen.starts_with("both vh@0 ah@0 k0@0 i0@40 ah@80 s@80 s@120 "),
        "for this long the key frame is near: {seen:.100}"
    );
    audio_until(&mut bench, &mut publication, &mut time_ms, 60_000);
    // What a player gets that comes now: the video a millisecond apart, right before a second of audio.
    let joins = |bench: &mut Bench, form: Form, start: Start, expected: &[&str]| {
        let player = bench.join(form, start);
        let bytes = bench.drain(player);
        let file = if form == Form::WebsocketFlv { read_websocket(&bytes) } else { bytes };
        let seen = read_flv(&file);
        let rest = seen.strip_prefix("both vh@0 ah@0 ").unwrap_or_else(|| panic!("{form:?}: {seen:.200}"));
        let tags: Vec<(&str, u32)> = rest
            .split(' ')
            .map(|tag| tag.split_once('@').expect("a mark and a time"))
            .map(|(mark, at)| (mark, at.parse().expect("a time")))
            .collect();
        let (shown, audio_part) = tags.split_at(expected.len());
        assert_eq!(shown.iter().map(|(mark, _)| *mark).collect::<Vec<_>>(), expected);
        assert!(shown.windows(2).all(|two| two[1].1 == two[0].1 + 1), "{shown:?}");
        assert_eq!((audio_part[0].0, audio_part[0].1), ("s", shown[shown.len() - 1].1));
        assert!(audio_part.len() <= 27, "no further back than a second: {} messages", audio_part.len());
        player
    };
    for start in [Start::KeyFrame, Start::Live] {
        let player = joins(&mut bench, Form::HttpFlv, start, &["k0", "i0"]);
        let next = format!("s@{time_ms}");
        let until_ms = time_ms + 1;
        audio_until(&mut bench, &mut publication, &mut time_ms, until_ms);
        assert_eq!(read_flv(&bench.drain(player)), next);
        bench.hub.leave(player);
    }
    // The first player of another form, whose log is made now.
    let websocket = bench.join(Form::WebsocketFlv, Start::KeyFrame);
    let until_ms = time_ms + 1;
    audio_until(&mut bench, &mut publication, &mut time_ms, until_ms);
    let seen = read_flv(&read_websocket(&bench.drain(websocket)));
    assert!(seen.starts_with("both vh@0 ah@0 k0@") && seen.contains(" i0@"), "{seen:.100}");
    // The screen changes: without a key frame.
    let early = joins(&mut bench, Form::HttpFlv, Start::KeyFrame, &["k0", "i0"]);
    bench.append(&mut publication, inter_frame(time_ms, "i1"));
    assert_eq!(read_flv(&bench.drain(early)), format!("i1@{time_ms}"));
    let until_ms = time_ms + 2_000;
    audio_until(&mut bench, &mut publication, &mut time_ms, until_ms);
    joins(&mut bench, Form::HttpFlv, Start::KeyFrame, &["k0", "i0", "i1"]);
    joins(&mut bench, Form::WebsocketFlv, Start::KeyFrame, &["k0", "i0", "i1"]);
    bench.append(&mut publication, key_frame(time_ms, "k2"));
    let later = bench.join(Form::HttpFlv, Start::KeyFrame);
    assert_eq!(read_flv(&bench.drain(later)), format!("both vh@0 ah@0 k2@{time_ms}"));
}

#[test]
fn video_goes_with_its_headers_in_a_log_that_is_made_after_those_were_replaced() {
    let mut bench = Bench::new();
    let mut publication = with_a_group(&mut bench);
    bench.append(&mut publication, video_header("wh"));
    bench.append(&mut publication, inter_frame(120, "i3"));
    let player = bench.join(Form::HttpFlv, Start::KeyFrame);
    bench.append(&mut publication, inter_frame(160, "i4"));
    let seen = read_flv(&bench.drain(player));
    assert!(seen.starts_with("both vh@0 ah@0 k0@0 i1@40 a2@50 wh@"), "{seen}");
    // Video that stands still and needs other headers than the current ones is not sent with those.
    for i in 0..400_u32 {
        bench.append(&mut publication, audio(200 + i * 40, "s"));
    }
    let late = bench.join(Form::HttpFlv, Start::KeyFrame);
    let seen = read_flv(&bench.drain(late));
    assert!(seen.starts_with("both vh@0 ah@0 k0@0 i1@40 a2@50 wh@"), "{seen:.100}");
}

#[test]
fn video_that_stands_still_keeps_neither_the_audio_since_nor_more_than_its_bound() {
    const MAX_STILL_BYTES: usize = 1 << 20;
    for (beyond, is_kept) in [(0, true), (1, false)] {
        let mut bench = Bench::new();
        let mut publication = bench.publish();
        bench.append(&mut publication, video_header("vh"));
        let len = MAX_STILL_BYTES / 8 - 5;
        bench.append(&mut publication, key_frame(0, &"X".repeat(len + beyond)));
        for i in 1..8 {
            bench.append(&mut publication, inter_frame(i * 40, &"X".repeat(len)));
        }
        let audio_part = "Y".repeat(1_000);
        for i in 1..=3_000_u32 {
            bench.append(&mut publication, audio(i * 40, &audio_part));
        }
        let memory = bench.registry.memory().clone();
        let log_bytes = memory.of(MemoryKind::Segments);
        assert_eq!(log_bytes < 1 << 20, is_kept, "where it is too large the log keeps it: {log_bytes} bytes");
        let player = bench.join(Form::Rtmp, Start::KeyFrame);
        let got = bench.drain(player);
        let count = |letter: u8| got.iter().filter(|&&byte| byte == letter).count();
        assert!(count(b'X') >= 8 * len, "it gets the video");
        assert_eq!(count(b'Y') < 30_000, is_kept);
        drop(got);
        bench.hub.leave(player);
        assert!(memory.of(MemoryKind::Headers) < 3 << 20, "{}", memory.of(MemoryKind::Headers));
    }
}

/// What a reader of frames gets, each with its mark and its time; headers in brackets.
fn read_frames(reader: &mut Reader) -> String {
    let mark = |frame: &Frame| {
        let payload = frame.payload.to_bytes();
        let mark: String = payload
            .iter()
            .map(|&b| b as char)
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            .collect();
        format!("{mark}@{}", frame.timestamp_ms)
    };
    let mut frames = Vec::new();
    while let Some(item) = reader.next().expect("it is not late") {
        frames.push(match item {
            Item::Header(frame) => format!("[{}]", mark(&frame)),
            Item::Frame(read) => mark(&read.frame),
            Item::Unpublished => "unpublished".to_owned(),
        });
    }
    frames.join(" ")
}

#[test]
fn a_reader_of_frames_gets_the_same_from_each_form_and_keeps_its_log_alive() {
    for form in Form::ALL {
        let mut bench = Bench::new();
        let mut publication = with_a_group(&mut bench);
        let options = ReadOptions { form, start: Start::KeyFrame, retention_bytes: 0 };
        let mut reader = bench.registry.read(NAME, options, || ());
        bench.append(&mut publication, inter_frame(80, "i3"));
        assert_eq!(read_frames(&mut reader), "[vh@0] [ah@0] k0@0 i1@40 a2@50 i3@80", "{form:?}");
        // Longer than a log without readers is kept.
        bench.now_ms += 60_000;
        bench.append(&mut publication, video_header("vh2"));
        bench.append(&mut publication, key_frame(120, "k4"));
        assert_eq!(read_frames(&mut reader), "[vh2@0] k4@120", "{form:?}");
        drop(publication);
        assert_eq!(read_frames(&mut reader), "unpublished", "{form:?}");
        let mut publication = bench.publish();
        bench.append(&mut publication, audio_header("other"));
        bench.append(&mut publication, audio(0, "a0"));
        bench.now_ms += SETTLE_MS;
        bench.append(&mut publication, audio(1_000, "a1"));
        assert!(read_frames(&mut reader).starts_with("[other@"), "{form:?}");
    }
}
