//! Players over HTTP get what players over RTMP get: every byte of every frame from where they start.

use std::process::Command;

use crate::lifecycle::expect_to_stay_over_a_change_of_publisher;
use crate::players::expect_late_players_to_lose_nothing;
use crate::support::{
    Clip, Kind, Player, Process, Publisher, Relay, SOON, assert_gap_free, count, newer_ffmpeg::NEWER_FFMPEG,
    packets,
};

#[test]
fn every_late_player_over_http_starts_at_a_key_frame_and_loses_nothing_after_it() {
    expect_late_players_to_lose_nothing(&Player::OVER_HTTP, Player::record_over_http);
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
    expect_to_stay_over_a_change_of_publisher(&relay, players.into(), first, &one, &two);
}

#[test]
fn audio_only_and_video_only_streams_are_played_over_http_as_they_are() {
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
        // It joins a moment late, at a point where it can start.
        assert!(of_kind > published / 2, "{of_kind} of {published}");
        assert_eq!(of_kind, recorded.len(), "no packets of the other kind");
    }
}

#[test]
fn ffmpeg_ends_without_an_error_when_the_stream_does() {
    // Newer versions report an error after the last chunk of a body, from any server, unless an option keeps the
    // connection.
    for (program, options) in [("ffmpeg", &[][..]), (NEWER_FFMPEG, &["-multiple_requests", "1"])] {
        let relay = Relay::start(SHORT_GRACE);
        let clip = Clip::AUDIO_VIDEO.seconds(3);
        let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
        relay.wait_for_publisher(NAME);
        let file = relay.dir().join("http.flv");
        let mut command = Command::new(program);
        // At this level it prints only errors.
        command.args(["-nostdin", "-v", "error"]).args(options).arg("-i");
        command.arg(relay.http_url(&format!("/{NAME}.flv"))).args(["-c", "copy"]).arg(&file);
        let mut player = Process::start_logged(command, &relay.dir().join("player.log"));
        publisher.expect_success(clip.duration() + SOON);
        player.expect_success(SOON);
        assert_eq!(player.output(), "", "{program}");
        assert!(count(&packets(&file), Kind::Video) > 0, "{program}");
    }
}

const NAME: &str = "live/stream";

/// Players are notified soon after the publisher has gone.
const SHORT_GRACE: &str = "publish.publisher_grace = '500ms'";
