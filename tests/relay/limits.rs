//! Each limit: clients up to it are served; one past it, the new client is refused or the one that exceeds it is
//! disconnected, and no other client is affected. `endpoint::admission` has the tests of counting.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use fanfare::rtmp::message::type_id;
use socket2::{Domain, Socket, Type};

use crate::bystanders::Bystanders;
use crate::crowd::Crowd;
use crate::frames::Source;
use crate::raw::{closing_line, connect, connect_to, handshake, message_header, send_and_wait_for_close};
use crate::support::{Relay, SOON, eventually};

#[test]
fn out_of_descriptors_existing_connections_go_on_and_new_ones_wait_until_some_close() {
    const FILES: usize = 80;
    let mut relay = Relay::start_with_files("", 2, FILES);
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 4);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    relay.wait_for_log(&["WARN", "file limit below limits.connections", "file_limit=80 connections="]);
    // Counted only now: while a relay starts its descriptors vary.
    let own = relay.open_files() - 5;

    // More than fit. The kernel accepts them all; some stay in the backlog.
    let mut others: Vec<TcpStream> = (0..FILES).map(|_| start_handshake(&relay)).collect();
    relay.wait_for_log(&["accept paused"]);
    eventually("no descriptor is left", SOON, || (relay.open_files() >= FILES - 1).then_some(()));
    crowd.send_frames(publisher, &source, 1..50);
    crowd.until_seen(&players, 49);
    relay.expect_running();

    // Those that were accepted get a response, and once they close, so do the rest.
    let accepted = others.iter().filter(|other| is_answered(other)).count();
    assert!(
        (1..FILES - own).contains(&accepted),
        "{accepted} of {FILES} were accepted, with {own} other files"
    );
    crowd.until("each of the others has been accepted", |_| {
        others.retain(|other| !is_answered(other));
        others.is_empty()
    });
    relay.expect_running();
    relay.wait_for_log(&["accept resumed"]);
    eventually("all are closed", SOON, || (relay.open_files() <= own + 5).then_some(()));
    crowd.send_frames(publisher, &source, 50..100);
    crowd.until_seen(&players, 99);
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..100);
    }
}

#[test]
fn one_connection_past_the_limit_is_refused_until_another_one_closes() {
    for (config, limit) in [
        ("limits.connections = 6", "limits.connections "),
        ("limits.exempt = []\nlimits.connections_per_address = 6", "limits.connections_per_address "),
        ("limits.exempt = []\nlimits.connections_per_network = 6", "limits.connections_per_network "),
    ] {
        let relay = Relay::start(config);
        let mut bystanders = Bystanders::new(&relay);
        let mut sixth = start_handshake(&relay);
        sixth.set_nonblocking(false).unwrap();
        sixth.read_exact(&mut [0]).expect("the sixth gets a response");
        expect_refused(&relay);
        let line = relay.wait_for_log(&["refused", limit]);
        assert!(line.contains("refused=1"), "{line}");
        drop(sixth);
        eventually("a connection is accepted again", SOON, || is_accepted(&relay).then_some(()));
        bystanders.go_on();
        bystanders.finish();
    }
}

#[test]
fn unfinished_handshakes_are_bounded_in_number_and_time() {
    let relay = Relay::start("limits.handshakes = 8\nlimits.handshake_timeout = '5s'\nlog.level = 'debug'");
    let mut bystanders = Bystanders::new(&relay);
    let before = relay.open_sockets();
    let silent: Vec<_> = (0..8).map(|_| connect_to(&relay)).collect();
    // Either core may take the ninth before the other has taken the eighth.
    eventually("all eight are accepted", SOON, || (relay.open_sockets() >= before + 8).then_some(()));
    expect_refused(&relay);
    relay.wait_for_log(&["refused", "limits.handshakes"]);
    bystanders.go_on();
    for mut silent in silent {
        let peer = silent.local_addr().unwrap();
        assert_eq!(silent.read(&mut [0]).expect("it is closed in time"), 0);
        let line = closing_line(&relay, peer);
        assert!(line.contains("DEBUG") && line.contains("limits.handshake_timeout"), "{line}");
    }
    assert!(is_accepted(&relay), "there is room again");
    bystanders.finish();
}

/// A connection from this address on which nothing is sent.
fn connect_from(ip: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.into()
}

#[test]
fn a_network_at_its_limit_of_handshakes_blocks_neither_http_nor_other_networks() {
    let config = "exempt = []\nhandshakes = 9\nhandshakes_per_network = 8\nhandshake_timeout = '1m'";
    let relay = Relay::start(&format!("[limits]\n{config}"));
    let before = relay.open_sockets();
    let flooding = Ipv4Addr::new(127, 0, 0, 9);
    let _silent: Vec<_> = (0..8).map(|_| connect_from(flooding, relay.address())).collect();
    eventually("all eight are accepted", SOON, || (relay.open_sockets() >= before + 8).then_some(()));
    let mut ninth = connect_from(flooding, relay.address());
    assert!(matches!(ninth.read(&mut [0]), Ok(0) | Err(_)), "it is refused");
    relay.wait_for_log(&["refused", "limits.handshakes_per_network"]);

    let mut other = connect_from(Ipv4Addr::new(127, 0, 1, 9), relay.address());
    other.write_all(&handshake()[..1537]).unwrap();
    other.read_exact(&mut [0]).expect("another network is accepted");
    for ip in [flooding, Ipv4Addr::new(127, 0, 2, 9)] {
        let mut http = connect_from(ip, relay.http_address());
        http.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        http.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.0 200"), "{response}");
    }
}

#[test]
fn a_client_that_neither_publishes_nor_plays_is_disconnected_in_time() {
    let relay = Relay::start("limits.request_timeout = '1s'");
    let mut bystanders = Bystanders::new(&relay);
    let mut idle = connect_to(&relay);
    let peer = idle.local_addr().unwrap();
    idle.write_all(&[handshake(), connect()].concat()).unwrap();
    idle.read_to_end(&mut Vec::new()).expect("it is closed in time");
    let line = closing_line(&relay, peer);
    assert!(line.contains("limits.request_timeout"), "{line}");
    bystanders.go_on();
    bystanders.finish();
}

#[test]
fn a_publisher_that_answers_no_ping_is_disconnected_and_its_players_wait_for_the_next() {
    let relay = Relay::start("limits.publisher_timeout = '1s'\npublish.publisher_grace = '1m'");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    let peer = crowd[publisher].peer();
    crowd[publisher].is_mute = true;
    crowd.until("it is disconnected", |crowd| crowd[publisher].is_closed);
    assert!(crowd[publisher].got_status("NetStream.Publish.Idle"), "{:?}", crowd[publisher].statuses);
    let line = closing_line(&relay, peer);
    assert!(line.contains("limits.publisher_timeout"), "{line}");
    let second = crowd.publish(&relay, "live/a");
    crowd.send_frames(second, &source, 50..60);
    crowd.until_seen(&players, 59);
}

#[test]
fn one_stream_past_the_limit_is_denied_and_the_others_go_on() {
    let relay = Relay::start("limits.streams = 2");
    let mut bystanders = Bystanders::new(&relay);
    let mut crowd = Crowd::new();
    let second = crowd.publish(&relay, "live/b");
    let third = crowd.request_publish(&relay, "live/c", 4096);
    crowd.until("it is denied", |crowd| crowd[third].got_status("NetStream.Publish.Denied"));
    crowd.until("and closed", |crowd| crowd[third].is_closed);
    relay.wait_for_log(&["refused", "limits.streams"]);
    bystanders.go_on();
    crowd.reset(second);
    relay.wait_for_publisher_gone("live/b");
    crowd.publish(&relay, "live/c");
    bystanders.finish();
}

#[test]
fn without_memory_for_another_stream_a_new_publisher_is_denied_and_running_streams_lose_nothing() {
    let relay = Relay::start("limits.memory_budget = '1MiB'");
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let players = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &players);
    // At a pace that players can follow: there is no memory for frames that wait for them.
    for first in (1..400).step_by(20) {
        let last = (first + 20).min(400);
        crowd.send_frames(publisher, &source, first..last);
        crowd.until_seen(&players, last - 1);
    }
    let new = crowd.request_publish(&relay, "live/b", 4096);
    crowd.until("it is denied", |crowd| crowd[new].got_status("NetStream.Publish.Denied"));
    relay.wait_for_log(&["refused", "limits.memory_budget"]);
    for first in (400..500).step_by(20) {
        crowd.send_frames(publisher, &source, first..first + 20);
        crowd.until_seen(&players, first + 19);
    }
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..500);
    }
}

#[test]
fn a_publisher_above_its_bitrate_limit_is_disconnected() {
    // 200 kB in five seconds are 320 kbit/s; the bystanders' frames are far less.
    let relay = Relay::start("limits.publisher_kbps = 300\nlimits.publisher_timeout = '1m'");
    let bystanders = Bystanders::new(&relay);
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let publisher = crowd.publish(&relay, "live/b");
    let peer = crowd[publisher].peer();
    crowd.send_headers(publisher, &source);
    let bytes = |number| source.frame(number).payload.len();
    let enough = (0..)
        .scan(0, |sum, number| {
            *sum += bytes(number);
            Some(*sum)
        })
        .position(|sum| sum > 400_000);
    crowd.send_frames(publisher, &source, 0..enough.unwrap() as u64);
    crowd.until("it is sent the reason", |crowd| crowd[publisher].got_status("NetStream.Publish.Denied"));
    crowd.until("and disconnected", |crowd| crowd[publisher].is_closed);
    let line = closing_line(&relay, peer);
    assert!(line.contains("limits.publisher_kbps"), "{line}");
    bystanders.finish();
}

#[test]
fn a_message_above_the_limit_of_its_kind_is_refused_at_its_header() {
    let relay = Relay::start("limits.data_message = '2KiB'\nlimits.audio_message = '3KiB'");
    let bystanders = Bystanders::new(&relay);
    for (message_type_id, limit) in [(type_id::DATA_AMF0, 2048), (type_id::AUDIO, 3072)] {
        let at_limit = [handshake(), connect(), message_header(6, limit, message_type_id)].concat();
        let peer = send_and_wait_for_close(&relay, &at_limit);
        let line = closing_line(&relay, peer);
        assert!(!line.contains("violation"), "{line}");
        let past_limit = [handshake(), connect(), message_header(6, limit + 1, message_type_id)].concat();
        let peer = send_and_wait_for_close(&relay, &past_limit);
        let line = closing_line(&relay, peer);
        let what = format!("a message of {} bytes is announced, {limit} are allowed", limit + 1);
        assert!(line.contains(&what) && line.contains("byte "), "{line}");
    }
    bystanders.finish();
}

/// Fails the test unless a new connection is closed without a response.
fn expect_refused(relay: &Relay) {
    assert!(!is_accepted(relay), "it was accepted");
}

/// Whether a new connection's handshake gets a response; waits until it does or is closed.
fn is_accepted(relay: &Relay) -> bool {
    let mut socket = start_handshake(relay);
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    match socket.read(&mut [0]) {
        Ok(n) => n == 1,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) => panic!("neither a response nor a close: {error}"),
    }
}

/// A connection that has sent C0 and C1, accepted or not.
fn start_handshake(relay: &Relay) -> TcpStream {
    let mut socket = TcpStream::connect(relay.address()).unwrap();
    let mut c0_c1 = [0; 1537];
    c0_c1[0] = 3;
    socket.write_all(&c0_c1).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Whether the relay's S0 has been received.
fn is_answered(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(1) => true,
        Ok(_) => panic!("the relay closed a connection that should wait"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}
