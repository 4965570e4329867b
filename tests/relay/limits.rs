//! The relay out of file descriptors.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::{Relay, SOON, eventually};

#[test]
fn out_of_descriptors_those_inside_go_on_and_others_come_in_when_some_leave() {
    const FILES: usize = 80;
    let mut relay = Relay::start_with_files("", 2, FILES);
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 4);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    // Counted only now: while a relay starts its descriptors vary.
    let own = relay.open_files() - 5;

    // More than fit. The kernel takes them all; some the relay never sees.
    let mut others: Vec<TcpStream> = (0..FILES).map(|_| say_hello(&relay)).collect();
    relay.wait_for_log(&["accepting pauses"]);
    eventually("no descriptor is left", SOON, || (relay.open_files() >= FILES - 1).then_some(()));
    crowd.send_frames(publisher, &source, 1..50);
    crowd.until_seen(&players, 49);
    relay.expect_running();

    // Those that got in are answered, and when they leave, the rest is.
    let inside = others.iter().filter(|other| is_answered(other)).count();
    assert!((1..FILES - own).contains(&inside), "{inside} of {FILES} are inside, next to {own} files");
    crowd.until("each of the others has had its turn", |_| {
        others.retain(|other| !is_answered(other));
        others.is_empty()
    });
    relay.expect_running();
    relay.wait_for_log(&["accepting goes on"]);
    eventually("all are gone", SOON, || (relay.open_files() <= own + 5).then_some(()));
    crowd.send_frames(publisher, &source, 50..100);
    crowd.until_seen(&players, 99);
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..100);
    }
}

/// A connection that has said C0 and C1, accepted or not.
fn say_hello(relay: &Relay) -> TcpStream {
    let mut socket = TcpStream::connect(relay.address()).unwrap();
    let mut hello = [0; 1537];
    hello[0] = 3;
    socket.write_all(&hello).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Whether the relay's S0 is there.
fn is_answered(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(1) => true,
        Ok(_) => panic!("the relay closed a connection instead of leaving it to wait"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}
