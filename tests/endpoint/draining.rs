//! Draining: each connection is sent that the relay ends, and ends.

use fanfare::{
    access::{Access, Decision, Grant, Question},
    config::Config,
    endpoint::{Mail, ReasonKind},
    rtmp::client::Role,
};

use super::{
    bench::{Rules, ends, has_ended, hears, is_live, key_frame, large_key_frame, raw, times},
    world::{Orderly, Peer, SocketId, World},
};

fn drain(world: &mut World) {
    world.shared.drain();
    (0..world.cores.len()).for_each(|core| world.mailboxes.post(core, Mail::Drain));
    world.settle();
    assert!(world.cores.iter().all(|core| core.is_draining()));
}

fn has_drained(world: &World) -> bool {
    world.cores.iter().all(|core| core.has_drained())
}

/// A stream with a player that has got its first frame.
fn played() -> (World, Peer, Peer) {
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    let mut player = world.player(0, "a");
    world.talk(&mut player);
    assert_eq!(times(&player), [0]);
    (world, publisher, player)
}

#[test]
fn a_player_is_sent_that_the_stream_ends_and_a_publisher_that_the_server_goes() {
    let (mut world, mut publisher, mut player) = played();
    drain(&mut world);
    for peer in [&mut publisher, &mut player] {
        world.talk(peer);
        assert!(has_ended(&world, peer.socket));
    }
    assert_eq!(publisher.last_code(), "NetConnection.Connect.AppShutdown");
    assert_eq!(player.last_code(), "NetStream.Play.UnpublishNotify");
    assert!(player.has_ended && !is_live(&world, "a"));
    assert!(!has_drained(&world), "they linger");
    publisher.hang_up(&world);
    player.hang_up(&world);
    world.settle();
    assert!(has_drained(&world));
    assert_eq!(ends(&mut world, ReasonKind::ShuttingDown), 2);
}

#[test]
fn peers_that_close_nothing_keep_a_core_for_2_s() {
    let (mut world, ..) = played();
    drain(&mut world);
    world.pass_ms(1_999);
    assert!(!has_drained(&world));
    world.pass_ms(1);
    assert!(has_drained(&world));
}

#[test]
fn one_that_is_idle_is_sent_that_the_server_goes_and_one_that_shakes_hands_is_closed() {
    let mut world = World::new(Config::default());
    let idle = raw(&mut world, 0, &[]);
    let shakes_hands = world.connect(0);
    drain(&mut world);
    assert!(hears(&world, idle, "NetConnection.Connect.AppShutdown") && has_ended(&world, idle));
    assert!(has_ended(&world, shakes_hands));
    assert_eq!(world.at(shakes_hands, |socket| socket.to_peer.len()), 0);
    world.pass_ms(2_000);
    assert!(has_drained(&world));
}

#[test]
fn one_that_asks_is_answered_no_and_what_is_decided_later_changes_nothing() {
    for role in [Role::Publish, Role::Play] {
        let ask = Rules(|question: &Question| match question.name.as_str() {
            "live/a" => Decision::Ask(Grant::default()),
            _ => fanfare::access::Open.decide(question),
        });
        let mut world = World::with(1, Config::default(), Box::new(ask), Box::new(Orderly), 1_000_000);
        let mut peer = world.client(0, role, "a");
        world.talk(&mut peer);
        let asked = world.net.borrow().questions[0].0;
        drain(&mut world);
        world.talk(&mut peer);
        assert_eq!(peer.last_code(), "NetConnection.Connect.AppShutdown", "{role:?}");
        assert!(has_ended(&world, peer.socket));
        world.mailboxes.post(0, Mail::Verdict { asked, verdict: fanfare::access::Verdict::allow() });
        world.talk(&mut peer);
        assert!(!peer.has_started && world.shared.registry().is_empty());
        peer.hang_up(&world);
        world.settle();
        assert!(has_drained(&world));
    }
}

#[test]
fn a_message_that_is_half_sent_goes_out_whole_before_the_end() {
    let (mut world, mut publisher, mut player) = played();
    world.at(player.socket, |socket| socket.capacity = 100);
    for frame in [large_key_frame(1_000, 10_000), key_frame(2_000)] {
        publisher.publish(&frame);
        world.talk(&mut publisher);
    }
    drain(&mut world);
    world.talk(&mut player);
    assert!(player.has_ended);
    assert_eq!(times(&player), [0, 1_000], "and nothing after it");
    assert!(has_ended(&world, player.socket));
}

#[test]
fn a_player_that_reads_nothing_keeps_a_core_for_the_send_timeout_and_no_longer() {
    let (mut world, mut publisher, player) = played();
    world.at(player.socket, |socket| socket.capacity = 100);
    publisher.publish(&large_key_frame(1_000, 1_000));
    world.talk(&mut publisher);
    drain(&mut world);
    world.pass_ms(9_999);
    assert!(!has_drained(&world) && !has_ended(&world, player.socket));
    world.pass_ms(1);
    assert!(has_drained(&world));
}

#[test]
fn all_cores_drain() {
    let (access, chance) = (Box::new(fanfare::access::Open), Box::new(Orderly));
    let mut world = World::with(3, Config::default(), access, chance, 1_000_000);
    let _publisher = world.publisher(0, "a");
    let players: Vec<SocketId> = (0..3).map(|core| world.player(core, "a").socket).collect();
    drain(&mut world);
    world.pass_ms(2_000);
    assert!(has_drained(&world) && players.iter().all(|&player| world.is_closed(player)));
    assert!(world.shared.registry().is_empty());
    assert_eq!(world.shared.admission().connections(), 0);
}

#[test]
fn a_core_without_connections_has_drained_at_once() {
    let mut world = World::new(Config::default());
    assert!(!has_drained(&world));
    drain(&mut world);
    assert!(has_drained(&world));
}

#[test]
fn the_end_is_an_event() {
    let mut world = World::new(Config::default());
    drain(&mut world);
    let events = super::bench::events(&world);
    assert!(matches!(events.as_slice(), [fanfare::endpoint::report::RelayEvent::Draining]));
}
