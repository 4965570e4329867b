//! Players that read too slowly, or not at all. Others must not be affected.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::frames::{Seen, Source};
use crate::support::Relay;

#[test]
fn a_player_that_stops_reading_is_disconnected_and_a_hundred_others_lose_nothing() {
    let relay = Relay::start_with("play = { send_timeout = '1s', max_lag = '1m' }", 4);
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let players = crowd.play_all(&relay, "live/a", 100);
    let stalled = crowd.play_with_buffer(&relay, "live/a", 16 << 10);
    crowd.until("the one that will stall plays", |crowd| crowd[stalled].has_started);
    crowd[stalled].may_read = 0;
    let peer = crowd[stalled].peer().to_string();
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    let mut sent = 1;
    // Four seconds of the stream at once; then slowly, until the stalled player is disconnected.
    while sent < 200 || !relay.log().iter().any(|line| line.contains(&peer) && line.contains("closed")) {
        crowd.send_frames(publisher, &source, sent..sent + 10);
        sent += 10;
        crowd.until_seen(&players, sent - 1);
        if sent >= 200 {
            crowd.serve_for(Duration::from_millis(50));
        }
        assert!(sent < 2000, "{peer} is still connected");
    }
    crowd.send_frames(publisher, &source, sent..sent + 50);
    crowd.until_seen(&players, sent + 49);
    for player in players {
        source.assert_from_the_start(&format!("{player:?}"), &crowd[player].seen, 0..sent + 50);
    }
    relay.wait_for_log(&["closed", &peer, "send timeout"]);
    crowd[stalled].may_read = usize::MAX;
    crowd.until("the stalled player reads the end of its connection", |crowd| crowd[stalled].is_closed);
}

#[test]
fn stalled_players_do_not_make_the_process_grow() {
    const MIB: u64 = 1 << 20;
    let relay = Relay::start("play = { stream_buffer = '4MiB', max_lag = '1m' }");
    let mut crowd = Crowd::new();
    let source = Source { bytes: 40_000, ..Source::new(1) };
    let player = crowd.play_all(&relay, "live/a", 1);
    let stalled: Vec<_> = (0..20).map(|_| crowd.play_with_buffer(&relay, "live/a", 16 << 10)).collect();
    crowd.until("all play", |crowd| stalled.iter().all(|&id| crowd[id].has_started));
    stalled.iter().for_each(|&id| crowd[id].may_read = 0);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &player);
    let before = relay.resident_bytes();
    for number in 1..2000 {
        crowd.send(publisher, &source.frame(number));
        if number % 10 == 9 {
            crowd.until_seen(&player, number);
        }
    }
    let grown = relay.resident_bytes().saturating_sub(before);
    // The buffer, and the segments that all stalled sends hold: the first ones.
    assert!(grown < 20 * MIB, "45 MB of stream left {} MiB in use", grown / MIB);
    source.assert_from_the_start("the player that reads", &crowd[player[0]].seen, 0..2000);
}

#[test]
fn a_slow_player_is_moved_ahead_to_key_frames() {
    let relay = Relay::start("play = { max_lag = '300ms', send_timeout = '1m' }");
    let mut crowd = Crowd::new();
    let source = Source { key_every: 10, key_bytes: 60_000, bytes: 40_000, ..Source::new(1) };
    let slow = crowd.play_with_buffer(&relay, "live/a", 32 << 10);
    crowd.until("the slow one plays", |crowd| crowd[slow].has_started);
    crowd[slow].may_read = 0;
    let publisher = crowd.publish(&relay, "live/a");
    crowd.send_headers(publisher, &source);
    // Five megabytes in two seconds, of which it reads a fifth.
    for number in 0..200 {
        crowd.send(publisher, &source.frame(number));
        crowd[slow].may_read += 5000;
        crowd.serve_for(Duration::from_millis(10));
    }
    crowd[slow].may_read = usize::MAX;
    crowd.until_seen(&[slow], 199);

    let mut jumps = 0;
    let mut last = None;
    // Headers are sent before a key frame: the first one, or one to which the player was moved.
    for (index, seen) in crowd[slow].seen.iter().enumerate() {
        let Some(number) = seen.number() else {
            assert!(source.headers().iter().any(|header| seen.is(header)), "an unknown header: {seen:?}");
            let next = crowd[slow].seen[index..].iter().find(|seen| seen.number().is_some()).unwrap();
            assert!(next.is_key(), "headers before {next:?}");
            continue;
        };
        if let Some(last) = last.replace(number)
            && number != last + 1
        {
            jumps += 1;
            assert!(number > last && seen.is_key(), "moved from frame {last} to {seen:?}");
        }
    }
    assert!(jumps > 0, "the player was never moved ahead");
    let seen: Vec<Seen> = crowd[slow].seen.iter().filter(|seen| seen.number().is_some()).cloned().collect();
    assert!(seen.len() < 180, "it saw {} frames of 200", seen.len());
    // Every frame that it received has the bytes and the time of the original.
    source.assert_run("the slow player", &seen, seen.iter().filter_map(Seen::number));
}
