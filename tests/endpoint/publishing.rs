//! Publishers: names taken, taken over, given back.

use fanfare::{
    config::{Config, SecondPublisher},
    flv::{Frame, FrameKind},
    rtmp::client::Role,
};

use super::world::World;

fn key_frame(timestamp_ms: u32) -> Frame {
    Frame { kind: FrameKind::Video, timestamp_ms, payload: b"\x17\x01\0\0\0key".to_vec().into() }
}

#[test]
fn a_player_gets_what_is_published() {
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    let mut player = world.player(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    world.talk(&mut player);
    assert_eq!(player.frames.len(), 1);
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let mut world = World::new(Config::default());
    let first = world.publisher(0, "a");
    let mut second = world.client(0, Role::Publish, "a");
    world.talk(&mut second);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    world.pass_ms(3_000);
    assert!(!world.is_closed(first.socket));
}

#[test]
fn a_second_publisher_takes_over_and_the_first_is_notified() {
    let mut config = Config::default();
    config.publish.on_second_publisher = SecondPublisher::Takeover;
    let mut world = World::new(config);
    let mut first = world.publisher(0, "a");
    let mut second = world.publisher(0, "a");
    world.talk(&mut first);
    assert_eq!(first.last_code(), "NetStream.Publish.BadName");
    second.publish(&key_frame(0));
    world.talk(&mut second);
    assert_eq!(world.shared.registry().get("live/a").map(|it| it.is_live()), Some(true));
    world.pass_ms(5_000);
    assert!(world.is_closed(first.socket) && !world.is_closed(second.socket));
}
