//! A configuration that is replaced under a running endpoint counts from the next decision on.

use std::time::Duration;

use fanfare::{
    config::{Config, SecondPublisher},
    rtmp::client::Role,
    stream::Start,
};

use super::{
    bench::{
        PING_REQUEST, audio, config, has_ended, inter_frame, is_live, key_frame, large_key_frame, logged,
        occurrences, pass_talking, raw, raw_publisher, say, times, tiny, trouble,
    },
    world::{Peer, SocketId, World},
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn replace(world: &World, change: impl FnOnce(&mut Config)) {
    world.shared.set_config(config(change));
}

/// A connection that waits is ended this long after it began, with another limit in force from half of that on.
fn ends_after(begin: impl FnOnce(&mut World) -> SocketId, ms: u64, change: impl FnOnce(&mut Config)) {
    let mut world = World::new(Config::default());
    let socket = begin(&mut world);
    world.pass_ms(ms / 2);
    replace(&world, change);
    world.pass_ms(ms - ms / 2 - 1);
    assert!(!has_ended(&world, socket));
    world.pass_ms(1);
    assert!(has_ended(&world, socket));
}

#[test]
fn the_timeouts_of_limits_count_for_those_that_wait_already() {
    ends_after(|world| world.connect(0), 2_000, |config| config.limits.handshake_timeout = seconds(2));
    ends_after(|world| world.connect(0), 8_000, |config| config.limits.handshake_timeout = seconds(8));
    ends_after(|world| raw(world, 0, &[]), 4_000, |config| config.limits.request_timeout = seconds(4));
    ends_after(
        |world| raw_publisher(world, "a"),
        6_000,
        |config| {
            config.limits.publisher_timeout = seconds(6);
        },
    );
}

#[test]
fn the_send_timeout_counts_for_a_send_that_is_under_way() {
    let begin = |world: &mut World| {
        let socket = world.player(0, "a").socket;
        world.at(socket, |socket| socket.capacity = 1_000);
        let mut publisher = world.publisher(0, "a");
        publisher.publish(&large_key_frame(0, 10_000));
        world.talk(&mut publisher);
        socket
    };
    ends_after(begin, 4_000, |config| config.play.send_timeout = seconds(4));
}

#[test]
fn wait_for_publisher_counts_for_players_that_wait() {
    ends_after(
        |world| world.player(0, "a").socket,
        4_000,
        |config| {
            config.play.wait_for_publisher = seconds(4);
        },
    );
    ends_after(
        |world| world.player(0, "a").socket,
        40_000,
        |config| {
            config.play.wait_for_publisher = seconds(40);
        },
    );
}

#[test]
fn publisher_grace_counts_for_players_whose_publisher_has_gone() {
    let begin = |world: &mut World| {
        let mut publisher = world.publisher(0, "a");
        publisher.publish(&key_frame(0));
        pass_talking(world, &mut publisher, 1_000);
        let mut player = world.player(0, "a");
        publisher.hang_up(world);
        world.talk(&mut player);
        player.socket
    };
    ends_after(begin, 4_000, |config| config.publish.publisher_grace = seconds(4));
    ends_after(begin, 14_000, |config| config.publish.publisher_grace = seconds(14));
}

#[test]
fn limits_of_admission_count_for_the_next_one_and_end_none() {
    let mut world = World::new(Config::default());
    let inside = [world.connect(0), world.connect(0)];
    replace(&world, |config| config.limits.connections = 1);
    let refused = world.connect(0);
    assert!(world.is_closed(refused) && inside.iter().all(|&socket| !world.is_closed(socket)));
    replace(&world, |config| config.limits.connections = 3);
    let third = world.connect(0);
    assert!(!world.is_closed(third));
}

#[test]
fn the_bounds_of_messages_count_for_the_next_connection() {
    let mut world = World::new(Config::default());
    let before = raw_publisher(&mut world, "before");
    replace(&world, |config| config.limits.video_message = 1_024);
    let mut after = world.publisher(0, "after");
    let large = large_key_frame(0, 2_000);
    let payload = large.payload.to_bytes().to_vec();
    say(&world, before, &super::bench::message(large.kind as u8, 1, payload));
    after.publish(&large);
    world.talk(&mut after);
    assert!(has_ended(&world, after.socket) && !has_ended(&world, before));
    assert_eq!(logged(&world, "before"), 1);
}

#[test]
fn on_second_publisher_counts_for_the_next_one() {
    let mut world = World::new(Config::default());
    let first = raw_publisher(&mut world, "a");
    let ask = |world: &mut World| {
        let mut peer = world.client(0, Role::Publish, "a");
        world.talk(&mut peer);
        peer.has_started
    };
    assert!(!ask(&mut world));
    replace(&world, |config| config.publish.on_second_publisher = SecondPublisher::Takeover);
    assert!(ask(&mut world) && has_ended(&world, first));
    replace(&world, |_| ());
    assert!(!ask(&mut world));
}

#[test]
fn takeover_after_counts_for_a_publisher_that_is_silent_already() {
    let mut world = World::new(Config::default());
    let first = raw_publisher(&mut world, "a");
    world.pass_ms(1_000);
    replace(&world, |config| config.publish.takeover_after = seconds(1));
    let mut second = world.client(0, Role::Publish, "a");
    world.talk(&mut second);
    assert!(second.has_started && has_ended(&world, first));
}

#[test]
fn rates_count_from_the_next_check_on() {
    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    say(&world, socket, &tiny(30_000));
    world.settle();
    replace(&world, |config| config.limits.publisher_kbps = 100);
    world.pass_ms(5_000);
    assert!(has_ended(&world, socket));

    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    replace(&world, |config| config.limits.messages_per_second = 10);
    say(&world, socket, &tiny(100));
    world.settle();
    assert!(has_ended(&world, socket));
}

#[test]
fn the_ping_interval_counts_for_players_that_are_there() {
    let mut world = World::new(Config::default());
    let player = world.player(0, "a");
    world.pass_ms(2_000);
    replace(&world, |config| config.play.ping_interval = seconds(5));
    world.pass_ms(2_999);
    assert_eq!(occurrences(&world, player.socket, &PING_REQUEST), 0);
    world.pass_ms(1);
    assert_eq!(occurrences(&world, player.socket, &PING_REQUEST), 1);
}

/// A live stream with a key frame and a frame after it.
fn live(world: &mut World) -> Peer {
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    publisher.publish(&super::bench::inter_frame(40));
    pass_talking(world, &mut publisher, 1_000);
    publisher
}

#[test]
fn start_counts_for_the_next_player() {
    let mut world = World::new(Config::default());
    let _publisher = live(&mut world);
    let first = world.player(0, "a");
    assert_eq!(times(&first), [0, 40]);
    replace(&world, |config| config.play.start = Start::Live);
    let second = world.player(0, "a");
    assert_eq!(times(&second), [0; 0], "it waits for the next key frame");
}

#[test]
fn the_merge_window_counts_for_the_next_audio() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let mut player = world.player(0, "a");
    let mut is_sent_at_once = |world: &mut World, timestamp_ms| {
        publisher.publish(&inter_frame(timestamp_ms));
        world.talk(&mut publisher);
        world.pass_ms(35);
        publisher.publish(&audio(timestamp_ms + 35));
        world.talk(&mut publisher);
        world.talk(&mut player);
        times(&player).contains(&(timestamp_ms + 35))
    };
    is_sent_at_once(&mut world, 80);
    assert!(!is_sent_at_once(&mut world, 120), "video is expected in 5 ms");
    world.pass_ms(100);
    replace(&world, |config| config.play.merge_window = Duration::ZERO);
    is_sent_at_once(&mut world, 160);
    assert!(is_sent_at_once(&mut world, 200));
}

#[test]
fn players_of_a_stream_that_goes_on_keep_the_log_of_its_start() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let mut player = world.player(0, "a");
    world.at(player.socket, |socket| socket.capacity = 0);
    // What logs keep and how far a player may lag go together, and both stay as they were at the start.
    replace(&world, |config| config.play.max_lag = seconds(600));
    for second in 1..=7 {
        publisher.publish(&key_frame(second * 1_000));
        pass_talking(&mut world, &mut publisher, 1_000);
    }
    world.at(player.socket, |socket| socket.capacity = 100_000);
    world.talk(&mut player);
    assert!(is_live(&world, "a") && !player.has_ended);
    assert_eq!(times(&player)[2..].first(), Some(&1_000), "the one that was under way");
    assert_eq!(times(&player)[3..], [7_000], "and the newest");
}

#[test]
fn the_latency_budget_counts_for_the_next_frame_of_a_busy_core() {
    for budget_ms in [150, 0] {
        let mut world = World::new(Config::default());
        let mut publisher = live(&mut world);
        let mut player = world.player(0, "a");
        // Few players do not wait for a pass.
        let _many: Vec<Peer> = (0..32).map(|_| world.player(0, "a")).collect();
        let troubled = trouble(&mut world);
        replace(&world, |config| config.play.latency_budget = Duration::from_millis(budget_ms));
        pass_talking(&mut world, &mut publisher, 100);
        // A pass that takes long, after which the core would rest.
        publisher.publish(&key_frame(1_000));
        publisher.send(&world);
        world.round(0);
        troubled.work_us.set(500_000);
        world.round(0);
        troubled.work_us.set(0);
        world.talk(&mut player);
        assert_eq!(times(&player)[2..], [1_000]);
        publisher.publish(&key_frame(1_500));
        world.talk(&mut publisher);
        world.talk(&mut player);
        assert_eq!(times(&player).len(), if budget_ms == 0 { 4 } else { 3 });
        world.pass_ms(budget_ms);
        world.talk(&mut player);
        assert_eq!(times(&player)[2..], [1_000, 1_500]);
    }
}

#[test]
fn limits_of_streams_and_memory_count_for_the_next_publisher_and_end_none() {
    let mut world = World::new(config(|config| config.limits.streams = 1));
    let _first = world.publisher(0, "a");
    let refused = |world: &mut World, key: &str| {
        let mut client = world.client(0, Role::Publish, key);
        world.talk(&mut client);
        client.last_code() == "NetStream.Publish.Denied"
    };
    assert!(refused(&mut world, "b"));
    replace(&world, |config| config.limits.streams = 2);
    assert!(!refused(&mut world, "b"));
    replace(&world, |config| config.limits.streams = 1);
    assert!(refused(&mut world, "c") && is_live(&world, "a") && is_live(&world, "b"));
    replace(&world, |config| config.limits.memory_budget = 2 << 20);
    assert_eq!(world.shared.registry().memory().budget(), 2 << 20);
    assert!(refused(&mut world, "c"), "512 KiB of half of it for each of two");
    assert!(is_live(&world, "a") && is_live(&world, "b"));
    replace(&world, |_| ());
    assert!(!refused(&mut world, "c"));
}

#[test]
fn what_needs_a_restart_stays_as_it_was() {
    let mut world = World::new(config(|config| config.play.max_lag = seconds(7)));
    replace(&world, |config| config.play.max_lag = seconds(9));
    assert_eq!(world.shared.config().play.max_lag, seconds(7));
    assert_eq!(*world.shared.restart_needed(), ["play.max_lag"]);
    world.settle();
}
