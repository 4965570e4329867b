//! What kinds of stream pass: sound alone, picture alone, large frames, names of all shapes.

use crate::support::{Clip, Kind, Player, Publisher, Relay, SOON, assert_gap_free, packets};

#[test]
fn sound_alone_passes_and_starts_at_once() {
    let players = [Player::Rtmpdump, Player::Ffmpeg, Player::Vlc, Player::Mpv, Player::Rtmp2src];
    passes(Clip::AUDIO_ONLY, &players);
}

#[test]
fn picture_alone_passes() {
    let players = [Player::Rtmpdump, Player::Ffmpeg, Player::Vlc, Player::Mpv, Player::Rtmp2src];
    passes(Clip::VIDEO_ONLY, &players);
}

#[test]
fn frames_larger_than_a_chunk_pass_whole() {
    passes(Clip::LARGE, &[Player::Rtmpdump, Player::Ffmpeg, Player::Rtmp2src]);
}

/// Publishes; one set of players waits for the start, the same set joins in the middle. The first player tells
/// how far the stream is: rtmpdump, which writes at once.
fn passes(clip: Clip, players: &[Player]) {
    let relay = Relay::start("publish.publisher_grace = '500ms'");
    let early: Vec<_> = players.iter().map(|player| player.record(&relay, NAME)).collect();
    relay.wait_for_players(NAME, early.len());
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    early[0].wait_for_bytes(clip.size() / 3, SOON);
    let late: Vec<_> = players.iter().map(|player| player.record(&relay, NAME)).collect();

    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    for recording in early {
        let player = format!("{:?}", recording.player);
        let recorded = recording.finish(SOON);
        assert_gap_free(&player, &published, &recorded);
        assert_eq!(recorded.len(), published.len(), "{player} misses packets at an end");
    }
    for recording in late {
        let player = format!("late {:?}", recording.player);
        let recorded = recording.finish(SOON);
        let received = assert_gap_free(&player, &published, &recorded);
        let last = published.iter().filter(|packet| packet.kind == Kind::Video).count();
        assert_eq!(received.video.end, last, "{player} misses the last pictures");
    }
}

#[test]
fn a_name_means_the_same_stream_however_it_is_written() {
    let relay = Relay::start("publish.publisher_grace = '500ms'");
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
