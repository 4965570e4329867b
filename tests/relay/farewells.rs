//! Whoever the relay ends is told why, where its protocol has a way to say it. Ends that have a test of their own are
//! not here: refused publishers and players, takeovers, limits, streams that are over, what operators end.

use std::io::{Read, Write};

use fanfare::rtmp::message::type_id;

use crate::crowd::{Crowd, Id};
use crate::raw::{connect, connect_to, handshake, message_header, the_closing_line};
use crate::support::{Relay, SOON, Signal};

fn until_told(crowd: &mut Crowd, id: Id, code: &str) {
    crowd.until("it is told why, and closed", |crowd| crowd[id].is_closed);
    assert!(crowd[id].was_told(code), "{:?}", crowd[id].statuses);
}

#[test]
fn who_asks_for_nothing_in_time_is_told() {
    let relay = Relay::start("limits.request_timeout = '1s'");
    let mut idle = connect_to(&relay);
    idle.write_all(&[handshake(), connect()].concat()).unwrap();
    let mut said = Vec::new();
    idle.read_to_end(&mut said).expect("it is closed in time");
    assert!(String::from_utf8_lossy(&said).contains("NetConnection.Connect.IdleTimeOut"));
}

#[test]
fn an_encoder_that_breaks_a_rule_is_told_which() {
    let relay = Relay::start("limits.audio_message = '3KiB'");
    let mut crowd = Crowd::new();
    let publisher = crowd.publish(&relay, "live/a");
    let peer = crowd[publisher].peer();
    crowd.send_bytes(publisher, &message_header(6, 3073, type_id::AUDIO));
    until_told(&mut crowd, publisher, "NetConnection.Connect.Closed");
    let line = the_closing_line(&relay, peer);
    assert!(line.contains("protocol violation") && line.contains("3073"), "{line}");
    crowd.publish(&relay, "live/a");
}

#[test]
fn a_relay_that_stops_tells_encoders_and_players() {
    let mut relay = Relay::start("");
    let mut crowd = Crowd::new();
    let publisher = crowd.publish(&relay, "live/a");
    let player = crowd.play_all(&relay, "live/a", 1)[0];
    relay.signal(Signal::TERM);
    until_told(&mut crowd, publisher, "NetConnection.Connect.AppShutdown");
    until_told(&mut crowd, player, "NetStream.Play.UnpublishNotify");
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}
