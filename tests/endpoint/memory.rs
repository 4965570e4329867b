//! Memory: what connections make a core hold is counted and given back, and where it is short those that hold most go.

use fanfare::{
    config::Config,
    endpoint::ReasonKind,
    rtmp::{client::Role, command::Command, message::type_id},
    stream::MemoryKind,
};

use super::{
    bench::{
        command, config, ends, has_ended, hears, is_live, key_frame, large_key_frame, raw, raw_publisher, say,
    },
    world::{Peer, SocketId, World},
};

const MIB: usize = 1 << 20;

fn world(budget: usize) -> World {
    World::new(config(|config| config.limits.memory_budget = budget))
}

fn held(world: &World, kind: MemoryKind) -> usize {
    world.shared.registry().memory().of(kind)
}

/// The beginning of a video message of so many bytes, in chunks that are as long: `sent` of them.
fn begin_message(world: &World, socket: SocketId, bytes: usize, sent: usize) {
    let length = (bytes as u32).to_be_bytes();
    // Chunks of 16 MiB.
    say(world, socket, &[2, 0, 0, 0, 0, 0, 4, type_id::SET_CHUNK_SIZE, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF]);
    say(world, socket, &[6, 0, 0, 0, length[1], length[2], length[3], type_id::VIDEO, 1, 0, 0, 0]);
    say(world, socket, &vec![0x17; sent]);
}

#[test]
fn what_a_connection_holds_is_counted_and_forgotten_with_it() {
    let mut world = world(64 * MIB);
    let socket = raw_publisher(&mut world, "a");
    let before = held(&world, MemoryKind::Input);
    begin_message(&world, socket, 4 * MIB, 2 * MIB);
    world.pass_ms(200);
    assert!(held(&world, MemoryKind::Input) >= before + 2 * MIB);
    world.at(socket, |socket| socket.is_reset = true);
    world.pass_ms(200);
    for kind in MemoryKind::ALL {
        assert_eq!(held(&world, kind), 0, "{kind:?}");
    }
}

#[test]
fn answers_are_counted_until_they_are_sent() {
    let mut world = world(64 * MIB);
    let socket = raw(&mut world, 0, &[]);
    world.at(socket, |socket| socket.capacity = 0);
    for _ in 0..40 {
        say(&world, socket, &command(&Command::call("nonsense", 2.0, [])));
        world.settle();
    }
    world.pass_ms(200);
    assert!(held(&world, MemoryKind::Output) > 4_000);
    world.at(socket, |socket| socket.capacity = 1 << 20);
    world.pass_ms(200);
    assert_eq!(held(&world, MemoryKind::Output), 0);
}

#[test]
fn where_memory_is_short_the_connection_that_holds_most_goes_and_no_other() {
    let mut world = world(8 * MIB);
    let honest = raw_publisher(&mut world, "honest");
    let hoarder = raw_publisher(&mut world, "hoarder");
    let second = raw_publisher(&mut world, "second");
    begin_message(&world, honest, MIB, 100 << 10);
    begin_message(&world, second, 4 * MIB, 2 * MIB);
    begin_message(&world, hoarder, 16 * MIB - 1, 10 * MIB);
    world.pass_ms(1_000);
    assert!(hears(&world, hoarder, "NetStream.Publish.Denied") && has_ended(&world, hoarder));
    assert!(!has_ended(&world, honest) && is_live(&world, "honest"));
    assert!(!has_ended(&world, second), "it is beyond its share, and need not go");
    world.pass_ms(3_000);
    assert_eq!(ends(&mut world, ReasonKind::MemoryBudget), 1);
    assert!(held(&world, MemoryKind::Input) < 5 * MIB, "what grows doubles");
}

#[test]
fn a_core_spares_its_own_largest_while_another_core_has_a_far_larger_one() {
    let (access, chance) = (Box::new(fanfare::access::Open), Box::new(super::world::Orderly));
    let config = config(|config| config.limits.memory_budget = 10 * MIB);
    let mut world = World::with(2, config, access, chance, 1_000_000);
    let small = raw_publisher(&mut world, "small");
    let publish = Command::call("publish", 2.0, ["a".into()]);
    let hoarder = raw(&mut world, 1, &[publish]);
    begin_message(&world, hoarder, 16 * MIB - 1, 6 * MIB);
    world.pass_ms(1_000);
    assert!(!has_ended(&world, hoarder), "there is room");
    // A share is a little more than 1 MiB. This one is the largest of its core, which is the first to see that memory is
    // short.
    begin_message(&world, small, 4 * MIB, 19 * MIB / 10);
    world.pass_ms(1_000);
    assert!(has_ended(&world, hoarder) && !has_ended(&world, small));
}

#[test]
fn within_the_budget_no_connection_goes_whatever_it_holds() {
    let mut world = world(64 * MIB);
    let socket = raw_publisher(&mut world, "a");
    begin_message(&world, socket, 16 * MIB - 1, 10 * MIB);
    world.pass_ms(5_000);
    assert!(!has_ended(&world, socket));
}

#[test]
fn a_player_that_holds_memory_of_a_stream_goes_when_it_is_short() {
    let mut world = world(8 * MIB);
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    let mut good = world.player(0, "a");
    let mut slow: Vec<Peer> = (0..12).map(|_| world.player(0, "a")).collect();
    // One after the other reads no further, in another segment each.
    for number in 0..12 {
        world.at(slow[number].socket, |socket| socket.capacity = 1_000);
        publisher.publish(&large_key_frame(500 * (number as u32 + 1), MIB));
        world.talk(&mut publisher);
        world.pass_ms(500);
        for player in slow[number + 1..].iter_mut().chain([&mut good]) {
            world.talk(player);
        }
    }
    assert!(ends(&mut world, ReasonKind::MemoryBudget) >= 4, "12 MiB are more than the budget");
    let memory = world.shared.registry().memory();
    assert!(memory.bytes() <= memory.budget(), "{} of {}", memory.bytes(), memory.budget());
    assert!(is_live(&world, "a") && !has_ended(&world, good.socket) && !good.has_ended);
    assert_eq!(good.frames.last().map(|frame| frame.timestamp_ms), Some(6_000));
}

#[test]
fn a_message_for_which_there_is_no_room_ends_its_publisher_with_the_reason() {
    let mut world = world(4 * MIB);
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    publisher.publish(&large_key_frame(40, 6 * MIB));
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    world.talk(&mut publisher);
    assert_eq!(publisher.last_code(), "NetStream.Publish.Denied");
    assert!(has_ended(&world, publisher.socket) && !is_live(&world, "a"));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::MemoryBudget), 1);
    // There is room for others again.
    world.publisher(0, "b");
}

#[test]
fn no_more_streams_are_published_than_half_of_the_budget_has_room_for() {
    // Half a mebibyte each.
    let mut world = world(4 * MIB);
    let _publishers: Vec<_> = (0..4).map(|number| world.publisher(0, &number.to_string())).collect();
    let mut beyond = world.client(0, Role::Publish, "beyond");
    world.talk(&mut beyond);
    assert_eq!(beyond.last_code(), "NetStream.Publish.Denied");
}

#[test]
fn all_is_given_back_when_all_have_gone() {
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    let players: Vec<Peer> = (0..20).map(|_| world.player(0, "a")).collect();
    for number in 0..10 {
        publisher.publish(&large_key_frame(number * 1_000, 100_000));
        super::bench::pass_talking(&mut world, &mut publisher, 1_000);
    }
    assert!(world.shared.registry().memory().bytes() > 500_000);
    for player in &players {
        player.hang_up(&world);
    }
    publisher.hang_up(&world);
    world.pass_ms(20_000);
    assert!(world.shared.registry().is_empty());
    assert_eq!(world.shared.admission().connections(), 0);
    assert_eq!(world.shared.registry().memory().bytes(), 0);
}
