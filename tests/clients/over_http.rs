//! Players over HTTP get what players over RTMP get: every byte of every frame, from wherever they begin.

use crate::support::{Clip, Kind, Player, Publisher, Relay, SOON, Signal, assert_gap_free, count, packets};

#[test]
fn every_player_over_http_that_comes_late_starts_at_a_key_frame_and_loses_nothing_after_it() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(8);
    let first = Player::Rtmpdump.record(&relay, NAME);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    first.wait_for_bytes(clip.size() / 4, SOON);
    let late = Player::OVER_HTTP.map(|player| player.record_over_http(&relay, NAME));

    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    for recording in late {
        let player = recording.player;
        let recorded = recording.finish(SOON);
        let received = assert_gap_free(&format!("{player:?}"), &published, &recorded);
        let pictures: Vec<_> = recorded.iter().filter(|packet| packet.kind == Kind::Video).collect();
        assert!(received.video.start > 0, "{player:?} was not late");
        assert!(pictures[0].is_key_frame, "{player:?} began with {:?}", pictures[0]);
        assert_eq!(received.video.end, count(&published, Kind::Video), "{player:?} misses the last pictures");
    }
}

#[test]
fn players_over_http_stay_while_their_encoder_comes_back() {
    let relay = Relay::start("publish.publisher_grace = '5s'");
    let (one, two) = (Clip::AUDIO_VIDEO.seconds(20), Clip::OTHER.seconds(3));
    let first = Publisher::Ffmpeg.publish(&relay, &one.file(), NAME);
    relay.wait_for_publisher(NAME);
    // mpv's recorder ends a file whose codecs change.
    let players = [Player::Ffmpeg, Player::Vlc].map(|player| player.record_over_http(&relay, NAME));
    relay.wait_for_players(NAME, players.len());
    for player in &players {
        player.wait_for_bytes(one.size() / 10, SOON);
    }

    first.signal(Signal::KILL);
    relay.wait_for_publisher_gone(NAME);
    let mut second = Publisher::Ffmpeg.publish(&relay, &two.file(), NAME);
    second.expect_success(two.duration() + SOON);

    for player in players {
        player.expect_change_of_publisher(&one, &two);
    }
}

#[test]
fn sound_alone_and_pictures_alone_are_played_over_http_as_they_are() {
    for (clip, kind) in [(Clip::AUDIO_ONLY, Kind::Audio), (Clip::VIDEO_ONLY, Kind::Video)] {
        let relay = Relay::start(SHORT_GRACE);
        let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
        relay.wait_for_publisher(NAME);
        let recording = Player::Ffmpeg.record_over_http(&relay, NAME);
        publisher.expect_success(clip.duration() + SOON);
        let recorded = recording.finish(SOON);
        assert_gap_free("FFmpeg", &packets(&clip.file()), &recorded);
        let of_kind = count(&recorded, kind);
        let published = count(&packets(&clip.file()), kind);
        // It comes a moment late, and begins where it can.
        assert!(of_kind > published / 2, "{of_kind} of {published}");
        assert_eq!(of_kind, recorded.len(), "and nothing else");
    }
}

const NAME: &str = "live/stream";

/// Players are told soon after the publisher has gone.
const SHORT_GRACE: &str = "publish.publisher_grace = '500ms'";
