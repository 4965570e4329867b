//! A client that the relay disconnects is sent the reason, if its protocol can carry one. Reasons that have tests of
//! their own are not here: refused publishers and players, takeovers, limits, ended streams, an operator's request.

use std::io::{Read, Write};

use fanfare::rtmp::message::type_id;

use crate::crowd::{Crowd, Id};
use crate::raw::{closing_line, connect, connect_to, handshake, message_header};
use crate::support::{Relay, SOON, Signal};

fn until_notified(crowd: &mut Crowd, id: Id, code: &str) {
    crowd.until("it is disconnected", |crowd| crowd[id].is_closed);
    assert!(crowd[id].got_status(code), "{:?}", crowd[id].statuses);
}

#[test]
fn a_client_that_requests_nothing_in_time_is_notified() {
    let relay = Relay::start("limits.request_timeout = '1s'");
    let mut idle = connect_to(&relay);
    idle.write_all(&[handshake(), connect()].concat()).unwrap();
    let mut received = Vec::new();
    idle.read_to_end(&mut received).expect("it is closed in time");
    assert!(String::from_utf8_lossy(&received).contains("NetConnection.Connect.IdleTimeOut"));
}

#[test]
fn an_encoder_that_violates_the_protocol_is_notified() {
    let relay = Relay::start("limits.audio_message = '3KiB'");
    let mut crowd = Crowd::new();
    let publisher = crowd.publish(&relay, "live/a");
    let peer = crowd[publisher].peer();
    crowd.send_bytes(publisher, &message_header(6, 3073, type_id::AUDIO));
    until_notified(&mut crowd, publisher, "NetConnection.Connect.Closed");
    let line = closing_line(&relay, peer);
    assert!(line.contains("protocol violation") && line.contains("3073"), "{line}");
    crowd.publish(&relay, "live/a");
}

#[test]
fn a_relay_that_stops_notifies_encoders_and_players() {
    let mut relay = Relay::start("");
    let mut crowd = Crowd::new();
    let publisher = crowd.publish(&relay, "live/a");
    let player = crowd.play_all(&relay, "live/a", 1)[0];
    relay.signal(Signal::TERM);
    until_notified(&mut crowd, publisher, "NetConnection.Connect.AppShutdown");
    until_notified(&mut crowd, player, "NetStream.Play.UnpublishNotify");
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}
