//! Connections that a proxy makes for its clients: the header comes before anything else, and limits, rules and reports
//! see the client.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use fanfare::{
    access::{Access, Decision, Question, Verdict},
    config::Config,
    endpoint::{ReasonKind, Refusal},
    rtmp::command::Command,
};

use super::{
    bench::{command, config, connect, ends, handshake, is_live, report, say},
    world::{LISTENER, Orderly, SocketId, World},
};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935\r\n";
const CLIENT: &str = "192.0.2.7:50000";

fn behind(change: impl FnOnce(&mut Config)) -> Config {
    config(|config| {
        config.proxy.listeners = vec![LISTENER];
        config.proxy.trusted = vec!["203.0.113.0/24".parse().unwrap()];
        change(config);
    })
}

/// Connects from here, and says this.
fn enter(world: &mut World, from: &str, bytes: &[u8]) -> SocketId {
    let socket = world.connect_from(0, SocketAddr::new(from.parse().unwrap(), 1));
    world.settle();
    say(world, socket, bytes);
    world.settle();
    socket
}

fn header(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 50000 1935\r\n").into_bytes()
}

fn refused(world: &World, refusal: Refusal) -> u64 {
    world.shared.admission().refusals().into_iter().find(|it| it.0 == refusal).map_or(0, |it| it.1)
}

/// All that a publisher of `live/a` says.
fn publish() -> Vec<u8> {
    let publish = Command::call("publish", 2.0, ["a".into()]);
    [&handshake()[..], &command(&connect()), &command(&publish)].concat()
}

#[test]
fn the_client_is_known_by_its_own_address_wherever_its_bytes_are_cut() {
    let said = [HEADER, &publish()].concat();
    for cut in (0..=HEADER.len() + 2).chain([said.len()]) {
        let mut world = World::new(behind(|_| ()));
        let socket = enter(&mut world, "203.0.113.5", &said[..cut]);
        say(&world, socket, &said[cut..]);
        world.settle();
        assert!(is_live(&world, "a"), "cut at {cut}");
        let [publisher] = &report(&mut world, 0)[..] else { panic!("one connection") };
        assert_eq!(publisher.peer.to_string(), CLIENT);
        assert_eq!(publisher.bytes_in as usize, said.len() - HEADER.len(), "the header is not the client's");
        assert_eq!(world.shared.publisher(publisher.id).unwrap().peer.to_string(), CLIENT);
    }
}

/// Notes who asks.
struct Asked(Arc<Mutex<Vec<SocketAddr>>>);

impl Access for Asked {
    fn decide(&self, question: &Question) -> Decision {
        self.0.lock().unwrap().push(question.peer);
        Decision::Verdict(Verdict::allow())
    }
}

#[test]
fn rules_decide_about_the_client() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut world = World::with(1, behind(|_| ()), Box::new(Asked(asked.clone())), Box::new(Orderly), 0);
    enter(&mut world, "203.0.113.5", &[HEADER, &publish()].concat());
    let client: SocketAddr = CLIENT.parse().unwrap();
    assert_eq!(*asked.lock().unwrap(), [client, client], "to connect, to publish");
}

#[test]
fn limits_count_clients_and_not_their_proxy() {
    let mut world = World::new(behind(|config| {
        config.limits.connections_per_address = 2;
        config.limits.handshakes_per_address = 2;
        config.limits.exempt = vec!["198.51.100.0/24".parse().unwrap()];
    }));
    // Nothing is known of these yet, and they take no place from each other.
    let unnamed: Vec<_> = (0..10).map(|_| enter(&mut world, "203.0.113.5", b"")).collect();
    assert!(unnamed.iter().all(|&socket| !world.is_closed(socket)));
    let named: Vec<_> = (0..2).map(|_| enter(&mut world, "203.0.113.5", &header("192.0.2.7"))).collect();
    assert!(named.iter().all(|&socket| !world.is_closed(socket)), "at the limit");
    let beyond = enter(&mut world, "203.0.113.5", &[&header("192.0.2.7")[..], &publish()].concat());
    assert!(world.is_closed(beyond) && !is_live(&world, "a"));
    assert_eq!((refused(&world, Refusal::Address), ends(&mut world, ReasonKind::Refused)), (1, 1));
    let another = enter(&mut world, "203.0.113.9", &header("192.0.2.8"));
    assert!(!world.is_closed(another), "another client");
    for _ in 0..3 {
        let exempt = enter(&mut world, "203.0.113.5", &header("198.51.100.1"));
        assert!(!world.is_closed(exempt), "it is the client that may be exempt");
    }
    // By the proxy itself: it counts as any other peer then.
    for is_in in [true, true, false] {
        let own = enter(&mut world, "203.0.113.7", b"PROXY UNKNOWN\r\n");
        assert_eq!(!world.is_closed(own), is_in);
    }
    world.at(named[0], |socket| socket.peer_finished = true);
    world.settle();
    let next = enter(&mut world, "203.0.113.5", &header("192.0.2.7"));
    assert!(!world.is_closed(next), "there is room again");
}

#[test]
fn what_is_no_header_or_comes_from_elsewhere_ends_the_connection() {
    for (from, bytes) in [
        ("203.0.113.5", &publish()[..]),
        ("203.0.113.5", b"GET / HTTP/1.1\r\n\r\n"),
        ("203.0.113.5", b"PROXY TCP4 192.0.2.7\r\n"),
        ("192.0.2.66", HEADER),
        ("192.0.2.66", b"P"),
        ("127.0.0.1", &publish()),
    ] {
        let mut world = World::new(behind(|_| ()));
        let socket = enter(&mut world, from, b"");
        assert!(!world.is_closed(socket), "it has said nothing");
        say(&world, socket, bytes);
        world.settle();
        assert!(world.is_closed(socket) && !is_live(&world, "a"), "{from} {bytes:?}");
        assert_eq!(ends(&mut world, ReasonKind::Violation), 1, "{from} {bytes:?}");
        assert_eq!(world.shared.admission().connections(), 0);
    }
    // A peer that may not name clients is counted for itself.
    let mut world = World::new(behind(|config| config.limits.connections_per_address = 1));
    enter(&mut world, "192.0.2.66", b"");
    enter(&mut world, "192.0.2.66", b"");
    assert_eq!(refused(&world, Refusal::Address), 1);
}

#[test]
fn a_proxy_that_checks_health_speaks_for_itself() {
    let mut world = World::new(behind(|_| ()));
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    enter(&mut world, "203.0.113.5", local);
    let [check] = &report(&mut world, 0)[..] else { panic!("one connection") };
    assert_eq!((check.peer.to_string().as_str(), check.bytes_in), ("203.0.113.5:1", 0));
    // It may go on like a client.
    enter(&mut world, "203.0.113.5", &[local, &publish()[..]].concat());
    assert!(is_live(&world, "a"));
}

#[test]
fn a_proxy_that_says_nothing_or_half_a_header_is_not_waited_for_longer_than_for_a_handshake() {
    let mut world = World::new(behind(|_| ()));
    let sockets = [b"", &HEADER[..20]].map(|bytes| enter(&mut world, "203.0.113.5", bytes));
    world.pass_ms(4_900);
    assert!(sockets.iter().all(|&socket| !world.is_closed(socket)));
    world.pass_ms(1_100);
    assert!(sockets.iter().all(|&socket| world.is_closed(socket)));
    assert_eq!(ends(&mut world, ReasonKind::HandshakeTimeout), 2);
}

#[test]
fn where_no_header_is_expected_none_is_understood() {
    let mut world = World::new(behind(|config| config.proxy.listeners.clear()));
    enter(&mut world, "203.0.113.5", &[HEADER, &publish()].concat());
    assert!(!is_live(&world, "a"));
    assert_eq!(ends(&mut world, ReasonKind::Violation), 1);
    // From the next connection on.
    let before = enter(&mut world, "203.0.113.6", b"");
    world.shared.set_config(behind(|_| ()));
    say(&world, before, &publish());
    world.settle();
    assert!(is_live(&world, "a"), "it has come before");
    let [publisher] = &report(&mut world, 0)[..] else { panic!("one connection") };
    assert_eq!(publisher.peer.to_string(), "203.0.113.6:1");
    enter(&mut world, "203.0.113.5", HEADER);
    assert!(report(&mut world, 0).iter().any(|it| it.peer.to_string() == CLIENT));
}
