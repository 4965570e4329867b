//! Who is refused: each limit of admission, at the limit and one past it; names that no stream can have.

use std::net::SocketAddr;

use fanfare::{
    config::{Config, Limits},
    endpoint::{ReasonKind, Refusal, report::RelayEvent},
    rtmp::{client::Role, command::Command},
};

use super::{
    bench::{config, ends, events, handshake, has_ended, hears, is_live, raw, say},
    world::{SocketId, World},
};

/// Connects from here.
fn enter(world: &mut World, address: &str) -> SocketId {
    let peer = SocketAddr::new(address.parse().unwrap(), 1);
    let socket = world.connect_from(0, peer);
    world.settle();
    socket
}

/// The same, and shakes hands.
fn enter_and_shake_hands(world: &mut World, address: &str) -> SocketId {
    let socket = enter(world, address);
    if !world.is_closed(socket) {
        say(world, socket, &handshake());
        world.settle();
    }
    socket
}

fn refused(world: &World, refusal: Refusal) -> u64 {
    let refusals = world.shared.admission().refusals();
    refusals.into_iter().find(|it| it.0 == refusal).map_or(0, |it| it.1)
}

fn refused_events(world: &World) -> Vec<(SocketAddr, String)> {
    let refused = events(world).into_iter().filter_map(|event| match event {
        RelayEvent::Refused { peer, limit } => Some((peer, limit)),
        _ => None,
    });
    refused.collect()
}

struct Case {
    limit: fn(&mut Limits) -> &mut usize,
    refusal: Refusal,
    /// These two count alike, and the last one does not.
    addresses: [&'static str; 3],
    /// The limit is of handshakes that are under way.
    of_handshakes: bool,
}

const CASES: [Case; 8] = [
    Case {
        limit: |limits| &mut limits.connections,
        refusal: Refusal::Connections,
        addresses: ["192.0.2.1", "198.51.100.1", ""],
        of_handshakes: false,
    },
    Case {
        limit: |limits| &mut limits.connections_per_address,
        refusal: Refusal::Address,
        addresses: ["192.0.2.1", "192.0.2.1", "192.0.2.2"],
        of_handshakes: false,
    },
    Case {
        limit: |limits| &mut limits.connections_per_network,
        refusal: Refusal::Network,
        addresses: ["192.0.2.1", "192.0.2.2", "192.0.3.1"],
        of_handshakes: false,
    },
    Case {
        limit: |limits| &mut limits.connections_per_block,
        refusal: Refusal::Block,
        addresses: ["192.0.2.1", "192.0.3.1", "192.1.2.1"],
        of_handshakes: false,
    },
    Case {
        limit: |limits| &mut limits.handshakes,
        refusal: Refusal::Handshakes,
        addresses: ["192.0.2.1", "198.51.100.1", ""],
        of_handshakes: true,
    },
    Case {
        limit: |limits| &mut limits.handshakes_per_address,
        refusal: Refusal::AddressHandshakes,
        addresses: ["192.0.2.1", "192.0.2.1", "192.0.2.2"],
        of_handshakes: true,
    },
    Case {
        limit: |limits| &mut limits.handshakes_per_network,
        refusal: Refusal::NetworkHandshakes,
        addresses: ["192.0.2.1", "192.0.2.2", "192.0.3.1"],
        of_handshakes: true,
    },
    Case {
        limit: |limits| &mut limits.handshakes_per_block,
        refusal: Refusal::BlockHandshakes,
        addresses: ["192.0.2.1", "192.0.3.1", "192.1.2.1"],
        of_handshakes: true,
    },
];

#[test]
fn at_each_limit_of_admission_all_are_in_and_one_past_it_is_closed_and_counted() {
    for Case { limit, refusal, addresses: [first, second, other], of_handshakes } in CASES {
        let mut world = World::new(config(|config| *limit(&mut config.limits) = 2));
        let inside = [first, second].map(|address| enter(&mut world, address));
        assert!(inside.iter().all(|&socket| !world.is_closed(socket)), "{refusal}: at the limit");
        let beyond = enter(&mut world, second);
        assert!(world.is_closed(beyond), "{refusal}: one past it");
        assert!(!world.at(beyond, |socket| socket.is_in_use()));
        assert_eq!(refused(&world, refusal), 1, "{refusal}");
        let others: u64 = Refusal::ALL.iter().map(|&it| refused(&world, it)).sum();
        assert_eq!(others, 1, "{refusal} alone");
        assert_eq!(
            refused_events(&world).iter().map(|it| it.1.clone()).collect::<Vec<_>>(),
            [refusal.to_string()]
        );
        if !other.is_empty() {
            let other = enter(&mut world, other);
            assert!(!world.is_closed(other), "{refusal}: it is no limit for others");
        }
        // One makes room: by its end, or by that of its handshake.
        if of_handshakes {
            say(&world, inside[1], &handshake());
        } else {
            world.at(inside[1], |socket| socket.peer_finished = true);
        }
        world.settle();
        let next = enter(&mut world, second);
        assert!(!world.is_closed(next), "{refusal}: there is room again");
    }
}

#[test]
fn handshakes_that_are_over_count_as_connections_alone() {
    let mut world = World::new(config(|config| config.limits.handshakes_per_address = 1));
    for _ in 0..10 {
        let socket = enter_and_shake_hands(&mut world, "192.0.2.1");
        assert!(!world.is_closed(socket));
    }
    assert_eq!(world.shared.admission().connections(), 10);
}

#[test]
fn a_flood_of_refusals_is_counted_whole_and_notified_every_10_s() {
    let mut world = World::new(config(|config| config.limits.connections = 1));
    enter_and_shake_hands(&mut world, "192.0.2.1");
    for _ in 0..100 {
        enter(&mut world, "192.0.2.2");
    }
    assert_eq!((refused(&world, Refusal::Connections), refused_events(&world).len()), (100, 1));
    world.pass_ms(9_999);
    enter(&mut world, "192.0.2.2");
    assert_eq!(refused_events(&world).len(), 1);
    world.pass_ms(1);
    // The first one's request timeout makes room, and it lingers as yet.
    enter(&mut world, "192.0.2.2");
    assert_eq!((refused(&world, Refusal::Connections), refused_events(&world).len()), (102, 2));
}

#[test]
fn the_place_of_a_connection_is_given_back_when_it_is_closed() {
    let mut world = World::new(config(|config| config.limits.connections = 1));
    let socket = enter(&mut world, "192.0.2.1");
    world.pass_ms(4_999);
    let beyond = enter(&mut world, "192.0.2.2");
    assert!(world.is_closed(beyond));
    world.pass_ms(1);
    assert!(world.is_closed(socket), "its handshake took too long");
    assert_eq!(world.shared.admission().connections(), 0);
    let next = enter(&mut world, "192.0.2.2");
    assert!(!world.is_closed(next));
}

#[test]
fn at_the_limit_of_streams_all_are_live_and_one_past_it_is_denied() {
    let mut world = World::new(config(|config| config.limits.streams = 2));
    let first = world.publisher(0, "a");
    let _second = world.publisher(0, "b");
    let mut third = world.client(0, Role::Publish, "c");
    world.talk(&mut third);
    assert_eq!(third.last_code(), "NetStream.Publish.Denied");
    assert_eq!(refused(&world, Refusal::Streams), 1);
    assert_eq!(refused_events(&world).len(), 1);
    assert!(has_ended(&world, third.socket) && !is_live(&world, "c"));
    first.hang_up(&world);
    world.settle();
    world.publisher(0, "d");
}

#[test]
fn a_connection_for_which_there_is_no_memory_is_closed_at_once() {
    // At 8 KiB each they all have to fit into a quarter of the budget.
    let mut world = World::new(config(|config| config.limits.memory_budget = 1 << 20));
    let mut inside = 0;
    while refused(&world, Refusal::Memory) == 0 {
        let socket = world.connect(0);
        world.settle();
        inside += usize::from(!world.is_closed(socket));
        assert!(inside <= 32);
    }
    assert_eq!(inside, 32);
    assert_eq!(
        refused_events(&world).iter().map(|it| it.1.as_str()).collect::<Vec<_>>(),
        ["limits.memory_budget"]
    );
}

#[test]
fn a_name_that_is_a_path_of_the_api_is_refused_to_publishers() {
    let mut world = World::new(Config::default());
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = fanfare::amf0::Value::object([("app", "api/v1".into())]);
    let socket = world.connect(0);
    say(&world, socket, &handshake());
    let publish = Command::call("publish", 2.0, ["a".into()]);
    for it in [connect, publish] {
        say(&world, socket, &super::bench::command(&it));
    }
    world.settle();
    assert!(hears(&world, socket, "NetStream.Publish.BadName") && has_ended(&world, socket));
    assert!(world.shared.registry().is_empty());
}

#[test]
fn a_name_that_no_stream_can_have_is_refused_and_the_connection_is_closed() {
    for (method, code) in
        [("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.StreamNotFound")]
    {
        for name in ["..", "a\nb", "a%0Ab"] {
            let mut world = World::new(Config::default());
            let socket = raw(&mut world, 0, &[Command::call(method, 2.0, [name.into()])]);
            assert!(hears(&world, socket, code) && has_ended(&world, socket), "{method} {name}");
            world.pass_ms(2_000);
            assert_eq!(ends(&mut world, ReasonKind::Refused), 1);
        }
    }
}

#[test]
fn a_start_that_is_none_is_refused_to_players() {
    let mut world = World::new(Config::default());
    let socket = raw(&mut world, 0, &[Command::call("play", 2.0, ["a?start=nonsense".into()])]);
    assert!(hears(&world, socket, "NetStream.Play.Failed") && has_ended(&world, socket));
    assert!(!events(&world).iter().any(|event| matches!(event, RelayEvent::Playing { .. })));
}

#[test]
fn a_peer_that_breaks_the_protocol_is_sent_how_and_ended() {
    let mut world = World::new(Config::default());
    let socket = raw(&mut world, 0, &[]);
    // A message of more than a command may be.
    say(&world, socket, &[3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 20, 0, 0, 0, 0]);
    world.settle();
    assert!(hears(&world, socket, "NetConnection.Connect.Closed") && has_ended(&world, socket));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::Violation), 1);
}

#[test]
fn a_peer_that_speaks_no_rtmp_is_closed_and_sent_nothing() {
    let mut world = World::new(Config::default());
    let socket = world.connect(0);
    say(&world, socket, b"GET / HTTP/1.1\r\n\r\n");
    world.settle();
    assert!(world.is_closed(socket));
    assert_eq!(world.at(socket, |socket| socket.to_peer.len()), 0);
}
