//! A name and its publishers: a second one, a takeover, one that comes back, and none.

use std::time::{Duration, Instant};

use fanfare::rtmp::message::type_id;

use crate::crowd::{Crowd, Id};
use crate::frames::{Seen, Source, Tracks};
use crate::support::{Relay, SOON};

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on_unharmed() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 3);
    let first = crowd.publish(&relay, "live/a");
    crowd.begin(first, &source, &players);
    for number in 1..20 {
        crowd.send(first, &source.frame(number));
        let second = crowd.request_publish(&relay, "live/a", 4096);
        crowd.until("the second publisher is refused", |crowd| crowd[second].is_closed);
        assert!(crowd[second].got_status("NetStream.Publish.BadName"), "{:?}", crowd[second].statuses);
        assert!(!crowd[second].has_started);
    }
    crowd.send_frames(first, &source, 20..80);
    crowd.until_seen(&players, 79);
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..80);
    }
}

#[test]
fn a_publisher_that_is_silent_gives_way_to_a_second_one() {
    let relay = Relay::start("publish.takeover_after = '500ms'");
    let mut crowd = Crowd::new();
    let (one, two) = (Source::small(1), Source::small(2));
    let players = crowd.play_all(&relay, "live/a", 3);
    let first = crowd.publish(&relay, "live/a");
    crowd.begin(first, &one, &players);
    crowd[first].is_mute = true;
    let mut attempts = 0;
    let mut second = crowd.request_publish(&relay, "live/a", 4096);
    crowd.until("a second publisher is accepted or refused", |crowd| {
        crowd[second].has_started || crowd[second].is_closed
    });
    while !crowd[second].has_started {
        attempts += 1;
        second = crowd.request_publish(&relay, "live/a", 4096);
        crowd
            .until("it is accepted or refused", |crowd| crowd[second].has_started || crowd[second].is_closed);
        assert!(attempts < 5000, "the silent publisher keeps its name");
    }
    assert!(attempts > 0, "a publisher was taken over before takeover_after");
    crowd.until("the first publisher is disconnected", |crowd| crowd[first].is_closed);
    assert_goes_on(&mut crowd, &players, &one, 1, second, &two);
}

/// As one that shares a desktop on which nothing moves.
#[test]
fn a_quiet_encoder_that_answers_pings_keeps_its_connection_and_its_name() {
    let relay = Relay::start("publish.takeover_after = '1s'\nlimits.publisher_timeout = '2s'");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 3);
    let quiet = crowd.publish(&relay, "live/a");
    crowd.begin(quiet, &source, &players);
    for _ in 0..60 {
        crowd.serve_for(Duration::from_millis(100));
        let second = crowd.request_publish(&relay, "live/a", 4096);
        crowd.until("the second publisher is refused", |crowd| crowd[second].is_closed);
        assert!(!crowd[second].has_started, "the quiet encoder lost its name");
        assert!(!crowd[quiet].is_closed, "the quiet encoder was disconnected");
    }
    crowd.send_frames(quiet, &source, 1..60);
    crowd.until_seen(&players, 59);
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..60);
    }
}

#[test]
fn an_encoder_is_pinged_at_each_interval_even_while_it_sends() {
    let relay = Relay::start("play.ping_interval = '1s'");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let publisher = crowd.request_publish(&relay, "live/a", 4096);
    crowd.tap(publisher);
    crowd.until("it publishes", |crowd| crowd[publisher].has_started);
    let pings = |crowd: &Crowd| {
        crowd[publisher]
            .received(type_id::USER_CONTROL)
            .iter()
            .filter(|body| body.starts_with(&[0, 6]))
            .count()
    };
    let deadline = Instant::now() + SOON;
    for number in 0.. {
        crowd.send(publisher, &source.frame(number));
        crowd.serve_for(Duration::from_millis(20));
        if pings(&crowd) >= 3 {
            break;
        }
        assert!(Instant::now() < deadline, "{} pings", pings(&crowd));
    }
}

#[test]
fn a_second_publisher_takes_over_if_the_configuration_says_so() {
    let relay = Relay::start("publish.on_second_publisher = 'takeover'");
    let mut crowd = Crowd::new();
    let (one, two) = (Source::small(1), Source::small(2));
    let players = crowd.play_all(&relay, "live/a", 3);
    let first = crowd.publish(&relay, "live/a");
    crowd.begin(first, &one, &players);
    crowd.send_frames(first, &one, 1..30);
    crowd.until_seen(&players, 29);
    let second = crowd.publish(&relay, "live/a");
    crowd.until("the first publisher is disconnected", |crowd| crowd[first].is_closed);
    assert_goes_on(&mut crowd, &players, &one, 30, second, &two);
    relay.wait_for_log(&["another publisher took over the name"]);
}

/// The second publisher sends other headers and its frames from 0; players that had the first `sent` frames of the
/// first publisher get both, with continuous timestamps.
fn assert_goes_on(crowd: &mut Crowd, players: &[Id], one: &Source, sent: u64, second: Id, two: &Source) {
    crowd.send_headers(second, two);
    crowd.send_frames(second, two, 0..60);
    crowd.until_seen(players, 59);
    let by_ms = one.time_ms(sent - 1) + RESUME_STEP_MS - two.time_ms(0);
    for &player in players {
        let seen = one.assert_headers("a player", &crowd[player].seen);
        let (before, after) = seen.split_at(sent as usize);
        one.assert_run("frames of the first publisher", before, 0..sent);
        // Sequence headers are the same in both: only metadata has changed.
        assert!(after[0].is(&two.headers()[0]), "{:?}", after[0]);
        two.assert_run_moved("frames of the second publisher", &after[1..], 0..60, by_ms);
    }
}

/// Publishes frames 0 to 84, resets the connection, and publishes `back` from frame 25, in the middle of a group of
/// pictures. Checks what players got of the first publisher; returns what one of them got of the second, and the offset
/// of its timestamps.
fn reset_publisher_and_publish_again(back: &Source) -> (Vec<Seen>, u32) {
    let relay = Relay::start("publish.publisher_grace = '1m'");
    let mut crowd = Crowd::new();
    let first = Source { first_ms: 3_600_000, ..Source::small(1) };
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &first, &players);
    crowd.send_frames(publisher, &first, 1..85);
    crowd.until_seen(&players, 84);
    crowd.reset(publisher);
    relay.wait_for_publisher_gone("live/a");

    let publisher = crowd.publish(&relay, "live/a");
    crowd.send_headers(publisher, back);
    crowd.send_frames(publisher, back, 25..120);
    crowd.until_seen(&players, 119);
    for &player in &players {
        assert!(!crowd[player].has_ended && !crowd[player].is_closed);
        assert_eq!(crowd[player].statuses, ["NetStream.Play.Start"], "players were sent a status");
    }
    let seen = first.assert_headers("a player", &crowd[players[1]].seen);
    let (before, after) = seen.split_at(85);
    first.assert_run("a player", before, 0..85);
    // Its timestamps begin anywhere; for players they continue after the last one.
    let by_ms = (first.time_ms(84) + RESUME_STEP_MS).wrapping_sub(back.time_ms(25));
    (after.to_vec(), by_ms)
}

#[test]
fn a_publisher_that_comes_back_goes_on_at_a_key_frame_without_a_jump_in_time() {
    let back = Source::small(1);
    let (seen, by_ms) = reset_publisher_and_publish_again(&back);
    let until_key_frame = (25..50).filter(|number| number % 2 == 1);
    back.assert_run_moved(
        "headers did not change; audio first",
        &seen,
        until_key_frame.chain(50..120),
        by_ms,
    );
}

#[test]
fn a_publisher_that_comes_back_with_other_headers_has_them_sent_to_its_players() {
    let back = Source { header_version: 2, first_ms: 90_000_000, ..Source::small(1) };
    let (seen, by_ms) = reset_publisher_and_publish_again(&back);
    let rest = back.assert_headers("new headers first", &seen);
    let until_key_frame = (25..50).filter(|number| number % 2 == 1);
    back.assert_run_moved("audio, then the rest", rest, until_key_frame.chain(50..120), by_ms);
    let last = Source::small(1).time_ms(84) + 3_600_000;
    assert_eq!(seen[0].timestamp_ms, 0, "FFmpeg takes metadata at any other time for subtitles");
    for header in &seen[1..3] {
        assert!(header.timestamp_ms.wrapping_sub(last) <= RESUME_STEP_MS, "{header:?} after {last}");
    }
}

#[test]
fn players_of_a_publisher_that_does_not_come_back_are_notified_and_closed() {
    let relay = Relay::start("publish.publisher_grace = '300ms'");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 20);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    crowd.send_frames(publisher, &source, 1..85);
    crowd.until_seen(&players, 84);
    crowd.reset(publisher);
    crowd.until("all are closed", |crowd| players.iter().all(|&id| crowd[id].is_closed));
    for player in players {
        assert!(crowd[player].has_ended, "no StreamEOF");
        assert!(crowd[player].got_status("NetStream.Play.UnpublishNotify"));
        source.assert_from_the_start("a player", &crowd[player].seen, 0..85);
    }
}

#[test]
fn the_name_is_free_after_the_grace_and_a_new_publisher_begins_a_new_stream() {
    let relay = Relay::start("publish.publisher_grace = '0s'");
    let mut crowd = Crowd::new();
    let source = Source { tracks: Tracks::Video, ..Source::small(1) };
    for _ in 0..3 {
        let players = crowd.play_all(&relay, "live/a", 1);
        let publisher = crowd.publish(&relay, "live/a");
        crowd.begin(publisher, &source, &players);
        crowd.send_frames(publisher, &source, 1..10);
        crowd.until_seen(&players, 9);
        crowd.reset(publisher);
        crowd.until("the player is closed", |crowd| crowd[players[0]].is_closed);
        source.assert_from_the_start("the player", &crowd[players[0]].seen, 0..10);
    }
}

#[test]
fn players_of_an_unpublished_name_are_notified_after_wait_for_publisher_and_closed() {
    let relay = Relay::start("play.wait_for_publisher = '300ms'");
    let mut crowd = Crowd::new();
    let players = crowd.play_all(&relay, "live/unpublished", 20);
    // Meanwhile a stream with a publisher is not affected.
    let publisher = crowd.publish(&relay, "live/published");
    let other = crowd.play_all(&relay, "live/published", 1);
    crowd.until("all are closed", |crowd| players.iter().all(|&id| crowd[id].is_closed));
    for player in players {
        assert!(crowd[player].got_status("NetStream.Play.StreamNotFound"));
        assert!(crowd[player].seen.is_empty());
    }
    crowd.serve_for(Duration::from_millis(500));
    assert!(!crowd[other[0]].is_closed && !crowd[publisher].is_closed);
}

/// What the relay puts between the last frame of one publisher and the first of the next: the duration of a video
/// frame.
const RESUME_STEP_MS: u32 = 40;
