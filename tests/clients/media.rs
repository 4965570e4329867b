//! The kinds of stream that pass: audio-only, video-only, large frames, names in all spellings.

use crate::support::{
    Clip, Kind, Player, Publisher, Recording, Relay, SOON, assert_gap_free, count, packets,
};

#[test]
fn an_audio_only_stream_passes_and_starts_at_once() {
    passes(Clip::AUDIO_ONLY, &[Player::Rtmpdump, Player::Ffmpeg, Player::Vlc, Player::Rtmp2src]);
}

/// mpv looks for video for 5 s, and 0.40 drops what it has read until then. The rest is complete.
#[test]
fn mpv_plays_an_audio_only_stream() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_ONLY.seconds(9);
    let player = Player::Mpv.record(&relay, NAME);
    relay.wait_for_players(NAME, 1);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    let received = assert_gap_free("mpv", &published, &player.finish(SOON));
    assert_eq!(received.audio.end, published.len(), "mpv misses the end");
}

#[test]
fn players_that_wait_get_an_audio_only_stream_from_its_first_frame_on() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_ONLY.seconds(2);
    let player = Player::Rtmpdump.record(&relay, NAME);
    relay.wait_for_players(NAME, 1);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    let received = assert_gap_free("rtmpdump", &published, &player.finish(SOON));
    assert_eq!(received.audio, 0..published.len());
}

#[test]
fn a_video_only_stream_passes() {
    let players = [Player::Rtmpdump, Player::Ffmpeg, Player::Vlc, Player::Mpv, Player::Rtmp2src];
    passes(Clip::VIDEO_ONLY, &players);
}

#[test]
fn frames_larger_than_a_chunk_pass_whole() {
    passes(Clip::LARGE, &[Player::Rtmpdump, Player::Ffmpeg, Player::Rtmp2src]);
}

/// Publishes to two sets of the same players: one waits for the start, one joins in the middle. The first player is
/// rtmpdump, which writes at once and thus shows the progress of the stream.
fn passes(clip: Clip, players: &[Player]) {
    let relay = Relay::start(SHORT_GRACE);
    let early: Vec<_> = players.iter().map(|player| player.record(&relay, NAME)).collect();
    relay.wait_for_players(NAME, early.len());
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    early[0].wait_for_bytes(clip.size() / 2, SOON);
    let late: Vec<_> = players.iter().map(|player| player.record(&relay, NAME)).collect();
    late[0].wait_for_bytes(1, SOON);
    publisher.expect_running();

    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    for (when, recording) in in_turn("early", early).chain(in_turn("late", late)) {
        let player = format!("{when} {:?}", recording.player);
        let received = assert_gap_free(&player, &published, &recording.finish(SOON));
        let ends = [received.audio.end, received.video.end];
        let all = [Kind::Audio, Kind::Video].map(|kind| count(&published, kind));
        assert_eq!(ends, all, "{player} misses the end");
        assert_eq!(when == "late", received.audio.start + received.video.start > 3, "{player} was {when}");
    }
}

fn in_turn(
    when: &'static str,
    recordings: Vec<Recording>,
) -> impl Iterator<Item = (&'static str, Recording)> {
    recordings.into_iter().map(move |recording| (when, recording))
}

#[test]
fn a_name_means_the_same_stream_however_it_is_written() {
    let relay = Relay::start(SHORT_GRACE);
    let clip = Clip::AUDIO_VIDEO.seconds(3);
    let players = ["live/cam", "live/cam?token=a%20b&start=live", "live/cam.flv", "live/mp4:cam"]
        .map(|name| Player::Rtmpdump.record(&relay, name));
    let deep = Player::Ffmpeg.record(&relay, "site/floor/cam");
    relay.wait_for_players("live/cam", players.len());
    relay.wait_for_players("site/floor/cam", 1);
    let mut publishers = ["live/cam?key=1", "site/floor/cam"]
        .map(|name| Publisher::Ffmpeg.publish(&relay, &clip.file(), name));
    let published = packets(&clip.file());
    for publisher in &mut publishers {
        publisher.expect_success(clip.duration() + SOON);
    }
    for recording in players.into_iter().chain([deep]) {
        assert_eq!(recording.finish(SOON).len(), published.len());
    }
}

const NAME: &str = "live/stream";

/// Players are notified soon after the publisher has gone.
const SHORT_GRACE: &str = "publish.publisher_grace = '500ms'";
