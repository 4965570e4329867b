//! One of several things that a connection does ends: the others go on, those that it only asks for among them.

use fanfare::{
    access::{Action, Decision, Grant, Question, Verdict},
    config::{Config, SecondPublisher},
    endpoint::Mail,
    rtmp::{client::Role, command::Command, message::type_id},
};

use super::{
    bench::{Rules, config, has_ended, hears, is_live, message, raw_publisher, say},
    world::{Orderly, SocketId, World},
};

fn takeover() -> Config {
    config(|config| config.publish.on_second_publisher = SecondPublisher::Takeover)
}

/// With two cores, where playing is asked about.
fn world() -> World {
    let rules = Rules(|question: &Question| match question.action {
        Action::Play => Decision::Ask(Grant::default()),
        _ => Decision::Verdict(Verdict::allow()),
    });
    World::with(2, takeover(), Box::new(rules), Box::new(Orderly), 1_000_000)
}

/// A command on message stream 2.
fn say_on_2(world: &mut World, socket: SocketId, name: &str, key: &str) {
    let command = Command::call(name, 3.0, [key.into()]);
    say(world, socket, &message(type_id::COMMAND_AMF0, 2, command.to_bytes()));
    world.settle();
}

/// `live/a` is taken over from this publisher.
fn take_over(world: &mut World, publisher: SocketId) {
    let mut next = world.client(0, Role::Publish, "a");
    world.talk(&mut next);
    assert!(next.has_started && hears(world, publisher, "Another client took the stream over."));
}

#[test]
fn a_connection_that_publishes_its_stream_again_on_another_message_stream_keeps_it() {
    let mut world = World::new(takeover());
    let publisher = raw_publisher(&mut world, "a");
    say_on_2(&mut world, publisher, "publish", "a");
    assert!(is_live(&world, "a") && !has_ended(&world, publisher));
}

#[test]
fn a_publisher_that_waits_for_a_second_name_goes_on_waiting_when_its_first_is_taken_over() {
    let mut world = world();
    let before = world.publisher(1, "b");
    let publisher = raw_publisher(&mut world, "a");
    world.stop_core(1);
    say_on_2(&mut world, publisher, "publish", "b");
    take_over(&mut world, publisher);
    assert!(!has_ended(&world, publisher));
    world.start_core(1);
    world.settle();
    assert!(has_ended(&world, before.socket) && !has_ended(&world, publisher));
    assert!(is_live(&world, "b"));
}

#[test]
fn a_publisher_whose_play_is_being_decided_may_play_when_its_stream_is_taken_over() {
    let mut world = world();
    let publisher = raw_publisher(&mut world, "a");
    say_on_2(&mut world, publisher, "play", "b");
    take_over(&mut world, publisher);
    assert!(!has_ended(&world, publisher));
    let (asked, _) = world.net.borrow_mut().questions.remove(0);
    world.mailboxes.post(0, Mail::Verdict { asked, verdict: Verdict::allow() });
    world.settle();
    assert!(hears(&world, publisher, "NetStream.Play.Start") && !has_ended(&world, publisher));
}
