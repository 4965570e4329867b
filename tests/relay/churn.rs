//! Many clients that connect and disconnect: a day of leaks in seconds.

use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::{Relay, SOON, Signal, eventually};

#[test]
fn hundreds_of_streams_and_players_come_and_go_and_leak_nothing() {
    const ROUNDS: usize = 30;
    const NAMES: usize = 20;
    const MIB: u64 = 1 << 20;
    let mut relay = Relay::start("publish.publisher_grace = '0s'");
    let sockets = relay.open_sockets();
    let mut memory = 0;
    for round in 0..ROUNDS {
        come_and_go(&relay, round, NAMES);
        // The first rounds fill what is kept for the next ones.
        if round == 5 {
            memory = relay.resident_bytes();
        }
    }
    relay.wait_for_logs(ROUNDS * NAMES, &["publish ended"], SOON);
    relay.wait_for_logs(ROUNDS * NAMES * 3, &["play ended"], SOON);
    eventually("all descriptors are closed", SOON, || (relay.open_sockets() <= sockets).then_some(()));
    let grown = relay.resident_bytes().saturating_sub(memory);
    assert!(grown < 16 * MIB, "{ROUNDS} rounds left {} KiB in use", grown >> 10);

    relay.signal(Signal::TERM);
    let line = relay.wait_for_log(&["stopping: no new connections"]);
    assert!(line.contains("streams=0 log_bytes=0"), "{line}");
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}

#[test]
fn what_the_relay_still_holds_at_shutdown_is_logged() {
    let mut relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let players = crowd.play_all(&relay, "live/a", 1);
    crowd.play_all(&relay, "live/unpublished", 1);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    relay.signal(Signal::TERM);
    let line = relay.wait_for_log(&["stopping: no new connections"]);
    assert!(line.contains("streams=2 ") && !line.contains("log_bytes=0"), "{line}");
    drop(crowd);
    let line = relay.wait_for_log(&["stopped"]);
    assert!(line.contains("streams=0 log_bytes=0"), "{line}");
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}

/// One publisher per name, with players that wait for it and players that join later. Every other round the connections
/// are reset; in the others they are closed.
fn come_and_go(relay: &Relay, round: usize, names: usize) {
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let mut all = Vec::new();
    for name in (0..names).map(|name| format!("live/{round}-{name}")) {
        let mut players = crowd.play_all(relay, &name, 2);
        let publisher = crowd.publish(relay, &name);
        crowd.begin(publisher, &source, &players);
        players.push(crowd.play(relay, &name));
        crowd.send_frames(publisher, &source, 1..10);
        crowd.until_seen(&players, 9);
        all.push(publisher);
        all.extend(players);
    }
    if round.is_multiple_of(2) {
        all.into_iter().for_each(|id| crowd.reset(id));
    }
}
