//! Enhanced FLV, by an FFmpeg that writes and reads it: the relay opens no picture and no sound, and still knows where
//! a player can begin and what it needs there.

use std::path::Path;

use crate::support::newer_ffmpeg::{decoded_pictures, packets};
use crate::support::{
    Clip, Kind, Packet, Player, Publisher, Recording, Relay, SOON, Tag, assert_gap_free, count, tags,
};

#[test]
fn hevc_passes_byte_for_byte_and_who_comes_late_sees_it_from_a_key_frame_on() {
    passes(Clip::HEVC_AAC, *b"\x90hvc1");
}

#[test]
fn av1_and_opus_pass_byte_for_byte_and_who_comes_late_sees_them_from_a_key_frame_on() {
    passes(Clip::AV1_OPUS, *b"\x90av01");
}

/// Publishes; one set of players waits for the start, the same set joins in the middle.
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

/// What was published: as packets, as hashes of the decoded pictures, and as bytes.
struct Published {
    packets: Vec<Packet>,
    pictures: Vec<String>,
    tags: Vec<Tag>,
}

impl Published {
    fn read(file: &Path) -> Published {
        Published { packets: packets(file), pictures: decoded_pictures(file), tags: tags(file) }
    }

    /// Waits for the player to end by itself, and fails the test unless it got everything.
    fn expect_all(&self, mut recording: Recording) {
        let player = format!("early {:?}", recording.player);
        recording.process.expect_success(SOON);
        let recorded = packets(&recording.file);
        assert_gap_free(&player, &self.packets, &recorded);
        assert_eq!(recorded.len(), self.packets.len(), "{player} misses packets at an end");
        assert!(decoded_pictures(&recording.file) == self.pictures, "{player} sees something else");
        if writes_what_it_was_sent(recording.player) {
            let recorded = tags(&recording.file);
            for kind in [Kind::Audio, Kind::Video] {
                assert_same(&player, &of_kind(&recorded, kind), &of_kind(&self.tags, kind));
            }
        }
    }

    /// Waits for the player to end by itself, and fails the test unless it got the headers and then, from a key frame
    /// on, the rest, and can decode all of that.
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
        assert!(first.is_some_and(|packet| packet.is_key_frame), "{player} began with {first:?}");

        let pictures = decoded_pictures(&recording.file);
        assert_eq!(pictures.len(), received.video.len(), "{player} can decode each picture");
        assert!(self.pictures.ends_with(&pictures), "{player} sees something else");

        if writes_what_it_was_sent(recording.player) {
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

/// Fails the test at the first tag that is another one.
fn assert_same(player: &str, recorded: &[&Tag], expected: &[&Tag]) {
    for (number, pair) in recorded.iter().zip(expected).enumerate() {
        assert_eq!(pair.0, pair.1, "{player}, tag {number}");
    }
    assert_eq!(recorded.len(), expected.len(), "{player} got another number of tags");
}

fn of_kind(tags: &[Tag], kind: Kind) -> Vec<&Tag> {
    tags.iter().filter(|tag| tag.kind == kind).collect()
}

fn writes_what_it_was_sent(player: Player) -> bool {
    player != Player::NewerFfmpeg
}

const NAME: &str = "live/stream";

/// The first one writes at once and so tells how far the stream is.
const PLAYERS: [Player; 3] = [Player::Rtmpdump, Player::Rtmp2src, Player::NewerFfmpeg];
