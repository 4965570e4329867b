//! Replays what real clients said (`captures/`) to the server session, whole and cut anywhere.

use std::path::Path;

use bytes::Bytes;
use fanfare::flv::FrameKind;
use fanfare::rtmp::session::{Output, Session, SessionConfig};
use proptest::prelude::*;

#[test]
fn each_publisher_is_understood_whole() {
    for publisher in &PUBLISHERS {
        publisher.expect(&replay(publisher.file, |bytes| vec![bytes]));
    }
}

#[test]
fn each_player_is_understood_whole() {
    for player in &PLAYERS {
        player.expect(&replay(player.file, |bytes| vec![bytes]));
    }
}

#[test]
fn each_publisher_is_understood_a_byte_at_a_time() {
    for publisher in &PUBLISHERS {
        publisher.expect(&replay(publisher.file, |bytes| pieces(bytes, &[1])));
    }
}

#[test]
fn each_player_is_understood_a_byte_at_a_time() {
    for player in &PLAYERS {
        player.expect(&replay(player.file, |bytes| pieces(bytes, &[1])));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_client_is_understood_however_the_reads_are_cut(sizes in prop::collection::vec(1_usize..3000, 1..40)) {
        for publisher in &PUBLISHERS {
            publisher.expect(&replay(publisher.file, |bytes| pieces(bytes, &sizes)));
        }
        for player in &PLAYERS {
            player.expect(&replay(player.file, |bytes| pieces(bytes, &sizes)));
        }
    }
}

/// What a publisher's capture holds, counted by another reader of the same bytes.
struct Publisher {
    file: &'static str,
    name: &'static str,
    audio: usize,
    video: usize,
    data: usize,
    /// Of the last sound and the last picture, in milliseconds.
    last_ms: [u32; 2],
    /// Whether it takes its leave: a capture may end earlier.
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

/// What a player's capture asks for.
struct Player {
    file: &'static str,
    query: &'static str,
    /// Whether it takes its leave; most were killed or simply go.
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

/// What the session made of a capture.
#[derive(Default)]
struct Seen {
    /// App and name.
    published: Vec<(String, String)>,
    /// App, name and query.
    played: Vec<(String, String, String)>,
    /// Kind and time of each frame.
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

/// Plays the capture to a session that accepts everything.
fn replay(file: &str, cut: impl Fn(Bytes) -> Vec<Bytes>) -> Seen {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captures/{file}.bin"));
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    let mut session = Session::new(&SessionConfig::default(), 0, [7; 32]);
    let mut seen = Seen::default();
    for piece in cut(bytes) {
        session.receive(piece, 0).unwrap_or_else(|error| panic!("{file}: {error}"));
        while let Some(output) = session.poll().unwrap_or_else(|error| panic!("{file}: {error}")) {
            match output {
                Output::Publish(request) => {
                    seen.published.push((request.name.app, request.name.name));
                    session.accept_publish(request.message_stream_id);
                }
                Output::Play(request) => {
                    seen.played.push((request.name.app, request.name.name, request.query));
                    session.accept_play();
                }
                Output::Frame { frame, .. } => seen.frames.push((frame.kind, frame.timestamp_ms)),
                Output::Unpublish { .. } => seen.unpublished += 1,
                Output::StopPlay => seen.stopped += 1,
                Output::Close(reason) => panic!("{file}: closed: {reason:?}"),
                Output::Send(_)
                | Output::Pause(_)
                | Output::ReceiveAudio(_)
                | Output::ReceiveVideo(_)
                | Output::More => {}
            }
        }
    }
    seen
}

/// Cuts the bytes into pieces of these sizes, in turn, again and again.
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
