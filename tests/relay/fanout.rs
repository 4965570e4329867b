//! One stream for many players, many streams with a few players each: no player misses a byte or gets another stream's.

use std::collections::BTreeMap;

use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::{Relay, SOON};

#[test]
fn two_hundred_players_over_four_cores_get_every_byte_of_every_frame() {
    let relay = Relay::start_with("play.max_lag = '1m'", 4);
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let players = crowd.play_all(&relay, "live/a", 200);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    // In bursts, so that sends merge.
    for second in 0..5 {
        crowd.send_frames(publisher, &source, second * 50 + 1..second * 50 + 51);
        crowd.until_seen(&players, second * 50 + 50);
    }
    for (index, &player) in players.iter().enumerate() {
        source.assert_from_the_start(&format!("player {index}"), &crowd[player].seen, 0..251);
    }

    let mut players_by_core = BTreeMap::<String, usize>::new();
    for line in relay.wait_for_logs(200, &["playing", "live/a"], SOON) {
        let core =
            line.split_whitespace().find(|word| word.starts_with("core=")).expect("the line names the core");
        *players_by_core.entry(core.to_owned()).or_default() += 1;
    }
    assert_eq!(players_by_core.len(), 4, "{players_by_core:?}");
    assert!(players_by_core.values().all(|&count| count >= 20), "{players_by_core:?}");
}

#[test]
fn fifty_publishers_reach_their_own_four_players_and_no_others() {
    let relay = Relay::start_with("play.max_lag = '1m'", 4);
    let mut crowd = Crowd::new();
    let streams: Vec<_> = (0..50)
        .map(|id| {
            let name = format!("live/{id}");
            let players: Vec<_> = (0..4).map(|_| crowd.play(&relay, &name)).collect();
            let publisher = crowd.request_publish(&relay, &name, 4096);
            (Source::small(id), publisher, players)
        })
        .collect();
    crowd.until("all publish and play", |crowd| {
        let has_started = |&id| crowd[id].has_started;
        streams
            .iter()
            .all(|(_, publisher, players)| has_started(publisher) && players.iter().all(has_started))
    });
    for (source, publisher, players) in &streams {
        crowd.begin(*publisher, source, players);
    }
    // One frame of each in turn, so that all streams are live at once.
    for number in 1..150 {
        for (source, publisher, _) in &streams {
            crowd.send(*publisher, &source.frame(number));
        }
    }
    for (source, _, players) in &streams {
        crowd.until_seen(players, 149);
        for player in players {
            source.assert_from_the_start(&format!("{player:?}"), &crowd[*player].seen, 0..150);
        }
    }
}

#[test]
fn zero_copy_sends_the_same_bytes_and_is_turned_off_if_the_kernel_copies_anyway() {
    let relay = Relay::start("play.zero_copy_threshold = '1KiB'");
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let players = crowd.play_all(&relay, "live/a", 20);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    crowd.send_frames(publisher, &source, 1..101);
    crowd.until_seen(&players, 100);
    for (index, &player) in players.iter().enumerate() {
        source.assert_from_the_start(&format!("player {index}"), &crowd[player].seen, 0..101);
    }
    relay.wait_for_log(&["zero-copy sends disabled on this core"]);
}
