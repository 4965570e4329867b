//! Enhanced FLV, by an FFmpeg that writes and reads it: the relay decodes no frame, and still knows where a player can
//! start and which headers it needs there.

use std::path::Path;

use crate::support::newer_ffmpeg::{decoded_video_frames, packets};
use crate::support::{
    Clip, Kind, Packet, Player, Publisher, Recording, Relay, SOON, Tag, assert_gap_free, count, tags,
};

#[test]
fn hevc_passes_byte_for_byte_and_late_players_see_it_from_a_key_frame_on() {
    passes(Clip::HEVC_AAC, *b"\x90hvc1");
}

#[test]
fn av1_and_opus_pass_byte_for_byte_and_late_players_see_them_from_a_key_frame_on() {
    passes(Clip::AV1_OPUS, *b"\x90av01");
}

/// Publishes to two sets of the same players: one waits for the start, one joins in the middle.
fn passes(clip: Clip, sequence_start: [u8; 5]) {
    let relay = Relay::start("publish.publisher_grace = '500ms'");
    let early = PLAYERS.map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, early.len());
    let mut publisher = Publisher::NewerFfmpeg.publish(&relay, &clip.file(), NAME);
    early[0].wait_for_bytes(clip.size() / 2, SOON);
    let late = PLAYERS.map(|player| player.record(&relay, NAME));
    publisher.expect_success(clip.duration() + SOON);

    let published = Published::read(&Publisher::NewerFfmpeg.sent_file(&relay));
    assert_eq!(published.packets.len(), packets(&clip.file()).len(), "FFmpeg has sent all");
    assert!(published.tags[0].payload.starts_with(&sequence_start), "sent {:?}", published.tags[0]);
    for recording in early {
        published.expect_all(recording);
    }
    for recording in late {
        published.expect_from_a_key_frame(recording);
    }
}

/// What was published: as packets, as hashes of the decoded video frames, and as bytes.
struct Published {
    packets: Vec<Packet>,
    decoded: Vec<String>,
    tags: Vec<Tag>,
}

impl Published {
    fn read(file: &Path) -> Published {
        Published { packets: packets(file), decoded: decoded_video_frames(file), tags: tags(file) }
    }

    /// Waits for the player to exit by itself; fails the test unless it got everything.
    fn expect_all(&self, mut recording: Recording) {
        let player = format!("early {:?}", recording.player);
        recording.process.expect_success(SOON);
        let recorded = packets(&recording.file);
        assert_gap_free(&player, &self.packets, &recorded);
        assert_eq!(recorded.len(), self.packets.len(), "{player} misses packets at the start or the end");
        assert!(decoded_video_frames(&recording.file) == self.decoded, "{player} shows other frames");
        if writes_what_it_received(recording.player) {
            let recorded = tags(&recording.file);
            for kind in [Kind::Audio, Kind::Video] {
                assert_same(&player, &of_kind(&recorded, kind), &of_kind(&self.tags, kind));
            }
        }
    }

    /// Waits for the player to exit by itself; fails the test unless it got the headers and then everything from a key
    /// frame on, and can decode all of that.
    fn expect_from_a_key_frame(&self, mut recording: Recording) {
        let player = format!("late {:?}", recording.player);
        recording.process.expect_success(SOON);
        let recorded = packets(&recording.file);
        let received = assert_gap_free(&player, &self.packets, &recorded);
        assert!(received.audio.start > 0 && received.video.start > 0, "{player} was not late");
        let ends = [(received.audio.end, Kind::Audio), (received.video.end, Kind::Video)];
        assert!(
            ends.iter().all(|(end, kind)| *end == count(&self.packets, *kind)),
            "{player} misses the end"
        );
        let first = recorded.iter().find(|packet| packet.kind == Kind::Video);
        assert!(first.is_some_and(|packet| packet.is_key_frame), "{player} started with {first:?}");

        let decoded = decoded_video_frames(&recording.file);
        assert_eq!(decoded.len(), received.video.len(), "{player} can decode each frame");
        assert!(self.decoded.ends_with(&decoded), "{player} shows other frames");

        if writes_what_it_received(recording.player) {
            let recorded = tags(&recording.file);
            for kind in [Kind::Audio, Kind::Video] {
                let (recorded, published) = (of_kind(&recorded, kind), of_kind(&self.tags, kind));
                let headers = published.iter().take_while(|tag| is_header(tag)).count();
                let start = published.len() + headers - recorded.len();
                let expected = [&published[..headers], &published[start..]].concat();
                assert_same(&player, &recorded, &expected);
            }
        }
    }
}

/// What a decoder needs before the first frame: SequenceStart, colours, the channels of Opus. Enhanced FLV has the
/// packet type in the low bits of the first byte, AAC one of its own in the second.
fn is_header(tag: &Tag) -> bool {
    match (tag.kind, &tag.payload[..]) {
        (Kind::Video, [first, ..]) => matches!(first & 0x8f, 0x80 | 0x84),
        (Kind::Audio, [0xaf, second, ..]) => *second == 0,
        (Kind::Audio, [first, ..]) => matches!(first, 0x90 | 0x94),
        (_, []) => false,
    }
}

/// Fails the test at the first tag that differs.
fn assert_same(player: &str, recorded: &[&Tag], expected: &[&Tag]) {
    for (number, pair) in recorded.iter().zip(expected).enumerate() {
        assert_eq!(pair.0, pair.1, "{player}, tag {number}");
    }
    assert_eq!(recorded.len(), expected.len(), "{player} got another number of tags");
}

fn of_kind(tags: &[Tag], kind: Kind) -> Vec<&Tag> {
    tags.iter().filter(|tag| tag.kind == kind).collect()
}

fn writes_what_it_received(player: Player) -> bool {
    player != Player::NewerFfmpeg
}

const NAME: &str = "live/stream";

/// The first one writes at once and thus shows the progress of the stream.
const PLAYERS: [Player; 3] = [Player::Rtmpdump, Player::Rtmp2src, Player::NewerFfmpeg];
