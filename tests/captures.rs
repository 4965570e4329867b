//! Replays the bytes of real clients (`captures/`) to the server's session, in one read and cut anywhere.

use std::path::Path;

use bytes::Bytes;
use fanfare::flv::FrameKind;
use fanfare::rtmp::session::{Answer, ConnectRequest, Output, QuestionId, Session, SessionConfig};
use proptest::prelude::*;

#[test]
fn each_publisher_is_read_in_one_read() {
    for publisher in &PUBLISHERS {
        publisher.expect(&replay(publisher.file, |bytes| vec![bytes]));
    }
}

#[test]
fn each_player_is_read_in_one_read() {
    for player in &PLAYERS {
        player.expect(&replay(player.file, |bytes| vec![bytes]));
    }
}

#[test]
fn each_publisher_is_read_byte_by_byte() {
    for publisher in &PUBLISHERS {
        publisher.expect(&replay(publisher.file, |bytes| pieces(bytes, &[1])));
    }
}

#[test]
fn each_player_is_read_byte_by_byte() {
    for player in &PLAYERS {
        player.expect(&replay(player.file, |bytes| pieces(bytes, &[1])));
    }
}

#[test]
fn each_client_is_the_same_however_late_its_requests_are_answered() {
    for reads_to_wait in [1, 7, 1_000] {
        for publisher in &PUBLISHERS {
            publisher.expect(&replay_late(publisher.file, |bytes| pieces(bytes, &[500]), reads_to_wait));
        }
        for player in &PLAYERS {
            player.expect(&replay_late(player.file, |bytes| pieces(bytes, &[40]), reads_to_wait));
        }
    }
}

#[test]
fn each_client_s_connect_has_an_address_and_a_version() {
    for file in PUBLISHERS.iter().map(|it| it.file).chain(PLAYERS.iter().map(|it| it.file)) {
        let seen = replay(file, |bytes| vec![bytes]);
        let [connect] = &seen.connected[..] else { panic!("{file}: not one connect") };
        assert_eq!((connect.app.as_str(), connect.query.as_str()), ("live", ""), "{file}");
        assert!(connect.tc_url.starts_with("rtmp://"), "{file}: {}", connect.tc_url);
        // GStreamer's elements on librtmp omit it.
        let has_version = !file.starts_with("gstreamer-1.22-rtmps");
        assert_eq!(!connect.flash_ver.is_empty(), has_version, "{file}: {}", connect.flash_ver);
        let is_obs = file.starts_with("obs");
        let swf_url = if is_obs { connect.tc_url.as_str() } else { "" };
        assert_eq!(connect.swf_url, swf_url, "{file}");
        assert_eq!(connect.page_url, "", "{file}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_client_is_the_same_however_the_reads_are_cut(sizes in prop::collection::vec(1_usize..3000, 1..40)) {
        for publisher in &PUBLISHERS {
            publisher.expect(&replay(publisher.file, |bytes| pieces(bytes, &sizes)));
        }
        for player in &PLAYERS {
            player.expect(&replay(player.file, |bytes| pieces(bytes, &sizes)));
        }
    }
}

/// The contents of a publisher's capture, counted by another reader of the same bytes.
struct Publisher {
    file: &'static str,
    name: &'static str,
    audio: usize,
    video: usize,
    data: usize,
    /// The timestamps of the last audio and video frame, in milliseconds.
    last_ms: [u32; 2],
    /// Whether it unpublishes: a capture may end earlier.
    ends: bool,
}

#[rustfmt::skip]
const PUBLISHERS: [Publisher; 6] = [
    Publisher { file: "ffmpeg-5.1-publish", name: "stream", audio: 89, video: 32, data: 1, last_ms: [2130, 1933], ends: true },
    Publisher { file: "ffmpeg-9.0-publish-av1", name: "stream-av1", audio: 78, video: 26, data: 1, last_ms: [1501, 1474], ends: true },
    Publisher { file: "ffmpeg-9.0-publish-hevc", name: "stream-hevc", audio: 67, video: 25, data: 1, last_ms: [1619, 1466], ends: true },
    Publisher { file: "gstreamer-1.22-rtmp2sink", name: "stream", audio: 89, video: 32, data: 11, last_ms: [1997, 1997], ends: true },
    Publisher { file: "gstreamer-1.22-rtmpsink", name: "stream", audio: 89, video: 32, data: 11, last_ms: [1997, 1997], ends: true },
    Publisher { file: "obs-29.0-publish", name: "stream-obs", audio: 118, video: 28, data: 1, last_ms: [2693, 2600], ends: false },
];

impl Publisher {
    fn expect(&self, seen: &Seen) {
        let file = self.file;
        assert_eq!(seen.published, [("live".to_owned(), self.name.to_owned())], "{file}");
        assert!(seen.played.is_empty(), "{file}");
        assert_eq!(seen.unpublished, usize::from(self.ends), "{file}");
        for (kind, count) in
            [(FrameKind::Audio, self.audio), (FrameKind::Video, self.video), (FrameKind::Data, self.data)]
        {
            assert_eq!(seen.times_ms(kind).len(), count, "{file}: {kind:?}");
        }
        let last = [FrameKind::Audio, FrameKind::Video].map(|kind| *seen.times_ms(kind).last().unwrap());
        assert_eq!(last, self.last_ms, "{file}");
    }
}

/// The request in a player's capture.
struct Player {
    file: &'static str,
    query: &'static str,
    /// Whether it stops; most were killed or only close the connection.
    ends: bool,
}

#[rustfmt::skip]
const PLAYERS: [Player; 9] = [
    Player { file: "ffmpeg-5.1-play", query: "", ends: true },
    Player { file: "ffmpeg-5.1-play-query", query: "start=live&token=a%20b", ends: true },
    Player { file: "ffmpeg-9.0-play", query: "", ends: true },
    Player { file: "ffplay-5.1", query: "", ends: false },
    Player { file: "gstreamer-1.22-rtmp2src", query: "", ends: false },
    Player { file: "gstreamer-1.22-rtmpsrc", query: "", ends: true },
    Player { file: "mpv-0.35", query: "", ends: false },
    Player { file: "rtmpdump-2.4", query: "", ends: false },
    Player { file: "vlc-3.0.24", query: "", ends: false },
];

impl Player {
    fn expect(&self, seen: &Seen) {
        let file = self.file;
        let asked = ("live".to_owned(), "stream".to_owned(), self.query.to_owned());
        assert_eq!(seen.played, [asked], "{file}");
        assert!(seen.published.is_empty() && seen.frames.is_empty(), "{file}");
        assert_eq!(seen.stopped, usize::from(self.ends), "{file}");
    }
}

/// The outputs of the session for a capture.
#[derive(Default)]
struct Seen {
    connected: Vec<ConnectRequest>,
    /// App and name.
    published: Vec<(String, String)>,
    /// App, name and query.
    played: Vec<(String, String, String)>,
    /// Kind and timestamp of each frame.
    frames: Vec<(FrameKind, u32)>,
    unpublished: usize,
    stopped: usize,
}

impl Seen {
    fn times_ms(&self, kind: FrameKind) -> Vec<u32> {
        let frames = self.frames.iter().filter(|(other, _)| *other == kind);
        frames.map(|(_, timestamp_ms)| *timestamp_ms).collect()
    }
}

/// Replays the capture to a session, and allows every request at once.
fn replay(file: &str, cut: impl Fn(Bytes) -> Vec<Bytes>) -> Seen {
    replay_late(file, cut, 0)
}

/// Replays the capture to a session, and allows every request this many reads later, or at the end.
fn replay_late(file: &str, cut: impl Fn(Bytes) -> Vec<Bytes>, reads_to_wait: usize) -> Seen {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captures/{file}.bin"));
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    let mut session = Session::new(&SessionConfig::default(), 0, [7; 32]);
    let mut seen = Seen::default();
    // The open question, and the read after which it is answered.
    let mut question = None;
    let reads = cut(bytes);
    for number in 0..=reads.len() {
        if let Some(read) = reads.get(number) {
            session.receive(read.clone(), 0).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        loop {
            while let Some(output) = session.poll().unwrap_or_else(|error| panic!("{file}: {error}")) {
                question = question.or(output.question().map(|id| (id, number + reads_to_wait)));
                seen.note(output);
            }
            let is_due = |(_, due): &mut (QuestionId, usize)| *due <= number || number >= reads.len();
            let Some((id, _)) = question.take_if(is_due) else { break };
            assert!(session.answer(id, Answer::Allow));
        }
    }
    seen
}

impl Seen {
    fn note(&mut self, output: Output) {
        match output {
            Output::Connect(request) => self.connected.push(*request),
            Output::Publish(request) => self.published.push((request.name.app, request.name.name)),
            Output::Play(request) => {
                self.played.push((request.name.app, request.name.name, request.query));
            }
            Output::Frame { frame, .. } => self.frames.push((frame.kind, frame.timestamp_ms)),
            Output::Unpublish { .. } => self.unpublished += 1,
            Output::StopPlay => self.stopped += 1,
            Output::Close(reason) => panic!("closed: {reason:?}"),
            Output::Send(_)
            | Output::Pause(_)
            | Output::ReceiveAudio(_)
            | Output::ReceiveVideo(_)
            | Output::More => {}
        }
    }
}

/// Cuts the bytes into pieces of these sizes, used in turn and repeatedly.
fn pieces(mut bytes: Bytes, sizes: &[usize]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for &size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        pieces.push(bytes.split_to(size.min(bytes.len())));
    }
    pieces
}
