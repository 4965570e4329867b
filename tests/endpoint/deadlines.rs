//! Deadlines: none a millisecond early, none late, and none that runs while the core stands still.

use std::time::Duration;

use fanfare::{
    access::{Decision, Grant, Verdict},
    config::Config,
    endpoint::ReasonKind,
    rtmp::{client::Role, command::Command, message::type_id},
};

use super::{
    bench::{
        PING_REQUEST, Rules, command, config, connect, ends, handshake, has_ended, hears, is_live, key_frame,
        large_key_frame, message, occurrences, pass_talking, raw, raw_publisher, say, tiny,
    },
    world::{Orderly, SocketId, World},
};

/// A way to wait, and how long the relay waits.
struct Deadline {
    name: &'static str,
    limit_ms: u64,
    reason: ReasonKind,
    /// Makes the connection that is waited for; time begins when it returns.
    begin: fn(&mut World) -> SocketId,
    is_over: fn(&World, SocketId) -> bool,
}

fn is_closed(world: &World, socket: SocketId) -> bool {
    world.is_closed(socket)
}

const DEADLINES: [Deadline; 11] = [
    Deadline {
        name: "limits.handshake_timeout",
        limit_ms: 5_000,
        reason: ReasonKind::HandshakeTimeout,
        begin: |world| world.connect(0),
        is_over: is_closed,
    },
    Deadline {
        name: "limits.request_timeout, after connect",
        limit_ms: 10_000,
        reason: ReasonKind::RequestTimeout,
        begin: |world| {
            let socket = world.connect(0);
            // The time of the handshake is no time of the request.
            say(world, socket, &handshake());
            world.settle();
            say(world, socket, &command(&connect()));
            world.settle();
            socket
        },
        is_over: has_ended,
    },
    Deadline {
        name: "limits.request_timeout, after a publish",
        limit_ms: 10_000,
        reason: ReasonKind::RequestTimeout,
        begin: |world| {
            let mut publisher = world.publisher(0, "a");
            pass_talking(world, &mut publisher, 20_000);
            publisher.client.stop();
            world.talk(&mut publisher);
            publisher.socket
        },
        is_over: has_ended,
    },
    Deadline {
        name: "limits.request_timeout, after a play",
        limit_ms: 10_000,
        reason: ReasonKind::RequestTimeout,
        begin: |world| {
            let mut player = world.player(0, "a");
            pass_talking(world, &mut player, 20_000);
            player.client.stop();
            world.talk(&mut player);
            player.socket
        },
        is_over: has_ended,
    },
    Deadline {
        name: "limits.publisher_timeout",
        limit_ms: 15_000,
        reason: ReasonKind::PublisherTimeout,
        begin: |world| raw_publisher(world, "a"),
        is_over: has_ended,
    },
    Deadline {
        name: "play.send_timeout",
        limit_ms: 10_000,
        reason: ReasonKind::SendTimeout,
        begin: |world| {
            let socket = world.player(0, "a").socket;
            world.at(socket, |socket| socket.capacity = 1_000);
            let mut publisher = world.publisher(0, "a");
            publisher.publish(&large_key_frame(0, 10_000));
            world.talk(&mut publisher);
            assert!(world.at(socket, |socket| socket.is_send_blocked()));
            socket
        },
        is_over: is_closed,
    },
    Deadline {
        name: "play.wait_for_publisher",
        limit_ms: 30_000,
        reason: ReasonKind::StreamNotFound,
        begin: |world| world.player(0, "a").socket,
        is_over: has_ended,
    },
    Deadline {
        name: "publish.publisher_grace",
        limit_ms: 10_000,
        reason: ReasonKind::Unpublished,
        begin: |world| {
            let mut publisher = world.publisher(0, "a");
            publisher.publish(&key_frame(0));
            world.talk(&mut publisher);
            world.pass_ms(2_000);
            let mut player = world.player(0, "a");
            assert_eq!(player.frames.len(), 1);
            publisher.hang_up(world);
            world.talk(&mut player);
            player.socket
        },
        is_over: has_ended,
    },
    Deadline {
        name: "linger",
        limit_ms: 2_000,
        reason: ReasonKind::Refused,
        begin: |world| {
            let mut first = world.publisher(0, "a");
            first.publish(&key_frame(0));
            world.talk(&mut first);
            let mut second = world.client(0, Role::Publish, "a");
            world.talk(&mut second);
            assert!(has_ended(world, second.socket) && !world.is_closed(second.socket));
            second.socket
        },
        is_over: is_closed,
    },
    Deadline {
        name: "flush",
        limit_ms: 10_000,
        reason: ReasonKind::Refused,
        begin: |world| {
            raw_publisher(world, "a");
            let socket = raw(world, 0, &[]);
            world.at(socket, |socket| socket.capacity = 0);
            say(world, socket, &command(&Command::call("publish", 2.0, ["a".into()])));
            world.settle();
            assert!(!has_ended(world, socket));
            socket
        },
        is_over: is_closed,
    },
    Deadline {
        name: "verdict",
        limit_ms: 10_000,
        reason: ReasonKind::Refused,
        begin: |world| {
            let socket = raw(world, 0, &[Command::call("play", 2.0, ["asks".into()])]);
            assert!(!hears(world, socket, "NetStream.Play"));
            socket
        },
        is_over: has_ended,
    },
];

/// A relay that asks whether `live/asks` may be played and allows all else.
fn world() -> World {
    world_with(Config::default())
}

fn world_with(config: Config) -> World {
    let rules = Rules(|question| match question.name.as_str() {
        "live/asks" => Decision::Ask(Grant::default()),
        _ => Decision::Verdict(Verdict::allow()),
    });
    World::with(1, config, Box::new(rules), Box::new(Orderly), 1_000_000)
}

#[test]
fn each_deadline_comes_at_its_limit_and_not_a_millisecond_before() {
    for Deadline { name, limit_ms, reason, begin, is_over } in DEADLINES {
        let mut world = world();
        let socket = begin(&mut world);
        world.pass_ms(limit_ms - 1);
        assert!(!is_over(&world, socket), "{name}: a millisecond early");
        world.pass_ms(1);
        assert!(is_over(&world, socket), "{name}: late");
        world.pass_ms(2_000);
        assert!(world.is_closed(socket), "{name}: after linger");
        assert_eq!(ends(&mut world, reason), 1, "{name}: {reason:?}");
    }
}

#[test]
fn a_standstill_of_the_core_counts_against_no_peer() {
    for Deadline { name, limit_ms, begin, is_over, .. } in DEADLINES {
        let mut world = world();
        let socket = begin(&mut world);
        // Two ticks of a standstill count, however long it lasts.
        world.pass_ms(limit_ms - 300);
        world.stand_still_ms(60_000);
        world.settle();
        assert!(!is_over(&world, socket), "{name}: by the standstill");
        world.pass_ms(99);
        assert!(!is_over(&world, socket), "{name}: a millisecond early");
        world.pass_ms(1);
        assert!(is_over(&world, socket), "{name}: late");
    }
}

#[test]
fn single_bytes_do_not_prolong_a_handshake() {
    let mut world = world();
    let socket = world.connect(0);
    for _ in 0..4 {
        say(&world, socket, &[3]);
        world.pass_ms(1_000);
    }
    world.pass_ms(999);
    assert!(!world.is_closed(socket));
    world.pass_ms(1);
    assert!(world.is_closed(socket));
}

#[test]
fn a_peer_that_commands_without_end_has_its_request_timeout_all_the_same() {
    let mut world = world();
    let socket = raw(&mut world, 0, &[]);
    for number in 0..10 {
        say(&world, socket, &command(&Command::call("createStream", 2.0 + f64::from(number), [])));
        world.pass_ms(999);
        assert!(!has_ended(&world, socket));
        world.pass_ms(1);
    }
    assert!(has_ended(&world, socket) && hears(&world, socket, "NetConnection.Connect.IdleTimeOut"));
}

#[test]
fn a_publisher_that_answers_pings_lives_and_one_that_does_not_is_ended() {
    let mut world = world();
    let mut answers = world.publisher(0, "answers");
    let silent = world.publisher(0, "silent");
    pass_talking(&mut world, &mut answers, 14_900);
    assert!(is_live(&world, "silent"));
    pass_talking(&mut world, &mut answers, 100);
    assert!(!is_live(&world, "silent") && has_ended(&world, silent.socket));
    assert!(hears(&world, silent.socket, "NetStream.Publish.Idle"));
    pass_talking(&mut world, &mut answers, 60_000);
    assert!(is_live(&world, "answers"));
}

#[test]
fn a_quiet_publisher_is_pinged_after_a_third_of_the_shortest_silence_that_counts_against_it() {
    let mut world = world_with(config(|config| config.publish.takeover_after = Duration::from_secs(6)));
    let socket = raw_publisher(&mut world, "a");
    world.pass_ms(1_999);
    assert_eq!(occurrences(&world, socket, &PING_REQUEST), 0);
    world.pass_ms(1);
    assert_eq!(occurrences(&world, socket, &PING_REQUEST), 1);
    world.pass_ms(1_999);
    assert_eq!(occurrences(&world, socket, &PING_REQUEST), 1);
    world.pass_ms(1);
    assert_eq!(occurrences(&world, socket, &PING_REQUEST), 2);
}

#[test]
fn a_publisher_that_sends_all_the_time_is_pinged_at_the_interval() {
    let mut world = world();
    let socket = raw_publisher(&mut world, "a");
    let mut at_ms = Vec::new();
    for ms in (0..=60_000).step_by(100) {
        if at_ms.len() < occurrences(&world, socket, &PING_REQUEST) {
            at_ms.push(ms);
        }
        say(&world, socket, &tiny(1));
        world.pass_ms(100);
    }
    assert_eq!(at_ms, [30_000, 60_000]);
}

#[test]
fn a_player_that_says_nothing_is_pinged_at_the_interval() {
    let mut world = world();
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    let player = world.player(0, "a");
    pass_talking(&mut world, &mut publisher, 29_900);
    assert_eq!(occurrences(&world, player.socket, &PING_REQUEST), 0);
    pass_talking(&mut world, &mut publisher, 100);
    assert_eq!(occurrences(&world, player.socket, &PING_REQUEST), 1);
    pass_talking(&mut world, &mut publisher, 30_000);
    assert_eq!(occurrences(&world, player.socket, &PING_REQUEST), 2);
    assert!(!has_ended(&world, player.socket), "a player need not answer");
}

#[test]
fn a_player_that_acknowledges_a_little_is_not_dropped_though_its_socket_takes_nothing() {
    let mut world = world();
    let socket = world.player(0, "a").socket;
    let mut publisher = world.publisher(0, "a");
    world.at(socket, |socket| socket.capacity = 1_000);
    publisher.publish(&large_key_frame(0, 10_000));
    world.talk(&mut publisher);
    world.at(socket, |socket| socket.capacity = 0);
    for _ in 0..6 {
        pass_talking(&mut world, &mut publisher, 9_000);
        assert!(!world.is_closed(socket));
        world.at(socket, |socket| socket.to_peer.pop_front());
    }
    // The last byte is acknowledged by the next check.
    pass_talking(&mut world, &mut publisher, 10_000);
    assert!(!world.is_closed(socket));
    pass_talking(&mut world, &mut publisher, 100);
    assert!(world.is_closed(socket));
    assert_eq!(ends(&mut world, ReasonKind::SendTimeout), 1);
}

#[test]
fn a_peer_that_takes_single_bytes_is_not_flushed_for_longer() {
    let mut world = world();
    raw_publisher(&mut world, "a");
    let socket = raw(&mut world, 0, &[]);
    world.at(socket, |socket| socket.capacity = socket.to_peer.len());
    say(&world, socket, &command(&Command::call("publish", 2.0, ["a".into()])));
    world.settle();
    for _ in 0..9 {
        world.at(socket, |socket| socket.capacity += 1);
        world.pass_ms(1_000);
    }
    world.at(socket, |socket| socket.capacity += 1);
    world.pass_ms(999);
    assert!(!world.is_closed(socket));
    world.pass_ms(1);
    assert!(world.is_closed(socket), "play.send_timeout after its end began");
}

#[test]
fn a_peer_that_closes_its_side_at_once_is_not_lingered_for() {
    let mut world = world();
    raw_publisher(&mut world, "a");
    let mut second = world.client(0, Role::Publish, "a");
    world.talk(&mut second);
    assert!(has_ended(&world, second.socket) && !world.is_closed(second.socket));
    second.hang_up(&world);
    world.settle();
    assert!(world.is_closed(second.socket));
}

/// Sends so many bytes of audio in one read, after what a publisher has sent so far.
fn send_bytes(world: &mut World, socket: SocketId, bytes: usize) {
    // Messages of 100 bytes: the header written out and 88 of payload.
    let whole = message(type_id::AUDIO, 1, [&b"\x2F"[..], &[0; 87]].concat());
    assert_eq!(whole.len(), 100);
    (0..bytes / 100).for_each(|_| say(world, socket, &whole));
    // The rest is the beginning of another one.
    say(world, socket, &whole[..bytes % 100]);
    world.settle();
}

#[test]
fn a_publisher_may_send_its_bit_rate_over_5_s_and_not_a_byte_more() {
    for (bytes, may) in [(63_124, true), (63_125, false)] {
        let mut world = world_with(config(|config| config.limits.publisher_kbps = 100));
        let socket = raw_publisher(&mut world, "a");
        send_bytes(&mut world, socket, bytes);
        world.pass_ms(4_999);
        assert!(!has_ended(&world, socket), "the window is not over");
        world.pass_ms(1);
        assert_eq!(has_ended(&world, socket), !may, "{bytes} bytes are {} kbit/s", bytes * 8 / 5_000);
        assert_eq!(hears(&world, socket, "NetStream.Publish.Denied"), !may);
        assert_eq!(ends(&mut world, ReasonKind::PublisherRate), 0, "it lingers");
        world.pass_ms(2_000);
        assert_eq!(ends(&mut world, ReasonKind::PublisherRate), u64::from(!may));
    }
}

#[test]
fn what_piled_up_while_the_core_stood_still_is_no_excess_of_bit_rate() {
    for (bytes, may) in [(58_124, true), (58_125, false)] {
        let mut world = world_with(config(|config| config.limits.publisher_kbps = 30));
        let socket = raw_publisher(&mut world, "a");
        // One read brings all that was sent meanwhile: 10 s, and as much as may be sent in a window.
        world.stand_still_ms(10_000 + 200);
        send_bytes(&mut world, socket, bytes);
        assert_eq!(has_ended(&world, socket), !may, "{bytes} bytes are {} kbit/s", bytes * 8 / 15_000);
    }
}
