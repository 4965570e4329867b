//! Where a player starts: at the newest key frame, at the next one, or at once if there is no video.

use std::time::Duration;

use fanfare::flv::FrameKind;

use crate::crowd::Crowd;
use crate::frames::{Source, Tracks};
use crate::support::{Relay, SOON};

#[test]
fn a_late_player_starts_at_the_newest_key_frame_after_metadata_and_sequence_headers() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let early = crowd.play_all(&relay, "live/a", 1);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &early);
    crowd.send_frames(publisher, &source, 1..130);
    crowd.until_seen(&early, 129);
    let late = crowd.play_all(&relay, "live/a", 10);
    crowd.until_seen(&late, 129);
    crowd.send_frames(publisher, &source, 130..180);
    crowd.until_seen(&late, 179);
    for player in late {
        source.assert_from_the_start("a late player", &crowd[player].seen, 100..180);
    }
}

/// Joins in the middle of a group of pictures; returns the frame at which the player started.
fn first_frame_of_player(config: &str, name: &str, is_at_once: bool) -> u64 {
    let relay = Relay::start(config);
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let witness = crowd.play_all(&relay, "live/a", 1);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &witness);
    crowd.send_frames(publisher, &source, 1..75);
    crowd.until_seen(&witness, 74);
    let player = crowd.play_all(&relay, name, 1);
    if is_at_once {
        crowd.until_seen(&player, 74);
    }
    crowd.send_frames(publisher, &source, 75..125);
    crowd.until_seen(&player, 124);
    let seen = &crowd[player[0]].seen;
    let first = seen.iter().find_map(|seen| seen.number()).unwrap();
    source.assert_from_the_start(name, seen, first..125);
    first
}

#[test]
fn a_player_that_asks_for_live_starts_at_the_next_key_frame() {
    assert_eq!(first_frame_of_player("", "live/a", true), 50);
    assert_eq!(first_frame_of_player("", "live/a?start=live", false), 100);
}

#[test]
fn players_start_where_the_configuration_says_unless_their_url_says_otherwise() {
    assert_eq!(first_frame_of_player("play.start = 'live'", "live/a", false), 100);
    assert_eq!(first_frame_of_player("play.start = 'live'", "live/a?start=keyframe", true), 50);
}

#[test]
fn a_player_of_an_audio_only_stream_starts_at_once() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source { tracks: Tracks::Audio, ..Source::small(1) };
    let early = crowd.play_all(&relay, "live/a", 1);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &early);
    crowd.send_frames(publisher, &source, 1..40);
    crowd.until_seen(&early, 39);
    let late = crowd.play_all(&relay, "live/a", 1);
    // Without waiting for another frame: it starts with the audio of the last second, here all of it.
    crowd.until_seen(&late, 39);
    crowd.send_frames(publisher, &source, 40..80);
    crowd.until_seen(&early, 79);
    crowd.until_seen(&late, 79);
    source.assert_from_the_start("the early player", &crowd[early[0]].seen, 0..80);
    source.assert_from_the_start("the late player", &crowd[late[0]].seen, 0..80);
}

#[test]
fn a_player_of_a_video_only_stream_starts_at_the_key_frame() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source { tracks: Tracks::Video, ..Source::small(1) };
    let early = crowd.play_all(&relay, "live/a", 1);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &early);
    crowd.send_frames(publisher, &source, 1..60);
    crowd.until_seen(&early, 59);
    let late = crowd.play_all(&relay, "live/a", 1);
    crowd.until_seen(&late, 59);
    source.assert_from_the_start("the early player", &crowd[early[0]].seen, 0..60);
    source.assert_from_the_start("the late player", &crowd[late[0]].seen, 50..60);
}

#[test]
fn if_a_group_of_pictures_outgrows_the_buffer_players_start_with_audio_and_one_line_says_so() {
    let relay = Relay::start("play = { stream_buffer = '1MiB', max_lag = '200ms' }");
    let mut crowd = Crowd::new();
    let source = Source { key_every: 400, bytes: 20_000, ..Source::new(1) };
    let early = crowd.play_all(&relay, "live/a", 1);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &early);
    let mut late = Vec::new();
    // About 2 MB from one key frame to the next, of which a player that keeps up misses nothing.
    for number in 1..1150 {
        crowd.send(publisher, &source.frame(number));
        if number % 10 == 9 {
            crowd.until_seen(&early, number);
        }
        if number % 400 == 349 {
            late.extend(crowd.play_all(&relay, "live/a", 1));
        }
    }
    // A second later the third one can join the audio, and waits for a key frame that never comes.
    crowd.serve_for(Duration::from_millis(1_100));
    crowd.send_frames(publisher, &source, 1150..1190);
    crowd.until_seen(&early, 1189);
    crowd.until_seen(&late[..2], 1189);
    crowd.until("the third one gets audio", |crowd| crowd[late[2]].seen.len() > 3);
    source.assert_from_the_start("the early player", &crowd[early[0]].seen, 0..1190);
    for (player, key) in late[..2].iter().copied().zip([400, 800]) {
        let rest = source.assert_headers("a late player", &crowd[player].seen);
        let first = rest[0].number().expect("a frame");
        let audio = (first..key).filter(|&number| source.kind(number) == FrameKind::Audio);
        source.assert_run("a late player", rest, audio.chain(key..1190));
    }
    let rest = source.assert_headers("the third late player", &crowd[late[2]].seen);
    assert!(rest.iter().all(|seen| seen.kind == FrameKind::Audio), "its video cannot be decoded");
    let lines = relay.wait_for_logs(1, &["larger than stream_buffer", "live/a"], SOON);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn half_a_minute_between_key_frames_takes_no_more_memory_than_the_buffer() {
    const MIB: u64 = 1 << 20;
    let relay = Relay::start("play = { stream_buffer = '4MiB', max_lag = '200ms' }");
    let mut crowd = Crowd::new();
    let source = Source { key_every: 1500, bytes: 80_000, ..Source::new(1) };
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    let before = relay.resident_bytes();
    for number in 1..1500 {
        crowd.send(publisher, &source.frame(number));
        if number % 10 == 9 {
            crowd.until_seen(&players, number);
        }
    }
    let grown = relay.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "60 MB of stream left {} MiB in use", grown / MIB);
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..1500);
    }
}
