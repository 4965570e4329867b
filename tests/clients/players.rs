//! Each player gets every byte of every frame from where it starts, and ends when the stream does.

use crate::support::{
    Clip, Kind, Player, Publisher, Recording, Relay, SOON, assert_gap_free, count, packets,
    play_without_output,
};

#[test]
fn every_player_that_waits_gets_the_whole_stream_and_then_ends() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO;
    let players = Player::ALL.map(|player| player.record(&relay, NAME));
    relay.wait_for_players(NAME, players.len());

    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    publisher.expect_success(clip.duration() + SOON);

    let published = packets(&clip.file());
    for recording in players {
        let player = recording.player;
        let recorded = recording.finish(SOON);
        let received = assert_gap_free(&format!("{player:?}"), &published, &recorded);
        assert_eq!(
            received.video.len(),
            count(&published, Kind::Video),
            "{player:?} misses video at the start or the end"
        );
        assert_eq!(
            received.audio.len(),
            count(&published, Kind::Audio),
            "{player:?} misses audio at the start or the end"
        );
    }
}

#[test]
fn every_late_player_starts_at_a_key_frame_and_loses_nothing_after_it() {
    expect_late_players_to_lose_nothing(&Player::ALL, Player::record);
}

/// Starts these players with `record` in the middle of a stream.
pub fn expect_late_players_to_lose_nothing(
    players: &[Player],
    record: fn(Player, &Relay, &str) -> Recording,
) {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(8);
    // The first player shows the progress of the stream.
    let first = Player::Rtmpdump.record(&relay, NAME);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    first.wait_for_bytes(clip.size() / 4, SOON);
    let late: Vec<_> = players.iter().map(|&player| record(player, &relay, NAME)).collect();

    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    for recording in late {
        let player = recording.player;
        let recorded = recording.finish(SOON);
        let received = assert_gap_free(&format!("{player:?}"), &published, &recorded);
        let video: Vec<_> = recorded.iter().filter(|packet| packet.kind == Kind::Video).collect();
        assert!(received.video.start > 0, "{player:?} was not late");
        assert!(video[0].is_key_frame, "{player:?} started with {:?}", video[0]);
        assert_eq!(
            received.video.end,
            count(&published, Kind::Video),
            "{player:?} misses the last video frames"
        );
    }
}

#[test]
fn ffplay_and_vlc_show_the_stream_and_exit_when_it_ends() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let players = ["ffplay", "vlc"].map(|program| play_without_output(program, &relay, NAME));
    relay.wait_for_players(NAME, players.len());
    Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME).expect_success(clip.duration() + SOON);
    for mut player in players {
        player.expect_success(SOON);
    }
}

const NAME: &str = "live/stream";

/// Players are notified soon after the publisher has gone.
const SHORT_GRACE: &str = "publish.publisher_grace = '500ms'";
