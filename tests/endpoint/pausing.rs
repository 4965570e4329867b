//! Pausing, and going on at what is newest by then; kinds of media that a player does not want.

use fanfare::{config::Config, rtmp::command::Command};

use super::{
    bench::{audio, inter_frame, key_frame, large_key_frame, pass_talking, times},
    world::{Peer, World},
};

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

fn pause(world: &mut World, player: &mut Peer, is_paused: bool) {
    player.client.send_command(&Command::call("pause", 0.0, [is_paused.into(), 0.0.into()]));
    player.send(world);
    world.settle();
}

fn publish(world: &mut World, publisher: &mut Peer, frame: fanfare::flv::Frame) {
    publisher.publish(&frame);
    world.talk(publisher);
}

#[test]
fn a_paused_player_gets_nothing_and_goes_on_at_the_newest_key_frame() {
    let (mut world, mut publisher, mut player) = played();
    pause(&mut world, &mut player, true);
    world.talk(&mut player);
    assert_eq!(player.last_code(), "NetStream.Pause.Notify");
    for ms in [1_000, 2_000] {
        publish(&mut world, &mut publisher, key_frame(ms));
        publish(&mut world, &mut publisher, inter_frame(ms + 40));
    }
    world.talk(&mut player);
    assert_eq!(times(&player), [0]);
    pause(&mut world, &mut player, false);
    world.talk(&mut player);
    assert_eq!(player.last_code(), "NetStream.Unpause.Notify");
    assert_eq!(times(&player), [0, 2_000, 2_040], "what it missed is past");
    publish(&mut world, &mut publisher, inter_frame(2_080));
    world.talk(&mut player);
    assert_eq!(times(&player)[3..], [2_080]);
}

#[test]
fn a_pause_while_a_send_is_under_way_takes_effect_after_its_message() {
    let (mut world, mut publisher, mut player) = played();
    world.at(player.socket, |socket| socket.capacity = 100);
    publish(&mut world, &mut publisher, large_key_frame(1_000, 10_000));
    publish(&mut world, &mut publisher, inter_frame(1_040));
    pause(&mut world, &mut player, true);
    world.at(player.socket, |socket| socket.capacity = 100_000);
    world.talk(&mut player);
    // The send holds what there was when it began.
    assert_eq!(times(&player), [0, 1_000]);
    publish(&mut world, &mut publisher, inter_frame(1_080));
    world.pass_ms(2_000);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000]);
    publish(&mut world, &mut publisher, key_frame(3_000));
    pause(&mut world, &mut player, false);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000, 3_000]);
}

#[test]
fn pauses_and_ends_of_pauses_while_a_send_is_under_way_leave_the_stream_whole() {
    for ends_paused in [false, true] {
        let (mut world, mut publisher, mut player) = played();
        world.at(player.socket, |socket| socket.capacity = 100);
        publish(&mut world, &mut publisher, large_key_frame(1_000, 1_000));
        for is_paused in [true, false, true, false, ends_paused] {
            pause(&mut world, &mut player, is_paused);
        }
        publish(&mut world, &mut publisher, key_frame(2_000));
        publish(&mut world, &mut publisher, inter_frame(2_040));
        world.at(player.socket, |socket| socket.capacity = 100_000);
        world.talk(&mut player);
        let expected: &[u32] = if ends_paused { &[0, 1_000] } else { &[0, 1_000, 2_000, 2_040] };
        assert_eq!(times(&player), expected);
    }
}

#[test]
fn a_player_that_pauses_for_long_holds_no_memory_of_its_stream_and_goes_on() {
    let (mut world, mut publisher, mut player) = played();
    pause(&mut world, &mut player, true);
    world.talk(&mut player);
    let stream = world.shared.registry().get("live/a").expect("it is live");
    let first = std::sync::Arc::downgrade(&stream.log(fanfare::stream::Form::Rtmp).newest().unwrap());
    // The log keeps 5 s, and segments change at key frames.
    for second in 1..=30 {
        publish(&mut world, &mut publisher, large_key_frame(second * 1_000, 400_000));
        pass_talking(&mut world, &mut publisher, 1_000);
    }
    assert_eq!(first.strong_count(), 0, "nothing holds what it was sent first");
    pause(&mut world, &mut player, false);
    while world.at(player.socket, |socket| !socket.to_peer.is_empty()) {
        world.talk(&mut player);
    }
    assert_eq!(times(&player), [0, 30_000]);
    assert!(!player.has_ended);
}

#[test]
fn a_paused_player_is_not_ended_for_it_while_its_stream_lives_and_is_after_the_grace() {
    let (mut world, mut publisher, mut player) = played();
    pause(&mut world, &mut player, true);
    for second in 1..=120 {
        publish(&mut world, &mut publisher, key_frame(second * 1_000));
        pass_talking(&mut world, &mut publisher, 1_000);
    }
    assert!(!super::bench::has_ended(&world, player.socket));
    publisher.hang_up(&world);
    world.pass_ms(9_999);
    assert!(!super::bench::has_ended(&world, player.socket));
    world.pass_ms(1);
    world.talk(&mut player);
    assert!(player.has_ended && super::bench::has_ended(&world, player.socket));
}

#[test]
fn a_player_may_go_without_audio_or_video_and_gets_video_again_from_a_key_frame_on() {
    let (mut world, mut publisher, mut player) = played();
    let wants = |world: &mut World, player: &mut Peer, method: &str, wants: bool| {
        player.client.send_command(&Command::call(method, 0.0, [wants.into()]));
        player.send(world);
        world.settle();
    };
    let send = |world: &mut World, publisher: &mut Peer, ms| {
        publish(world, publisher, audio(ms));
        publish(world, publisher, inter_frame(ms));
    };
    wants(&mut world, &mut player, "receiveAudio", false);
    send(&mut world, &mut publisher, 1_000);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000]);
    wants(&mut world, &mut player, "receiveAudio", true);
    wants(&mut world, &mut player, "receiveVideo", false);
    send(&mut world, &mut publisher, 2_000);
    world.pass_ms(100);
    world.talk(&mut player);
    assert_eq!(
        player.frames.last().map(|it| (it.kind, it.timestamp_ms)),
        Some((fanfare::flv::FrameKind::Audio, 2_000))
    );
    wants(&mut world, &mut player, "receiveVideo", true);
    send(&mut world, &mut publisher, 3_000);
    publish(&mut world, &mut publisher, key_frame(4_000));
    send(&mut world, &mut publisher, 4_040);
    world.pass_ms(100);
    world.talk(&mut player);
    let videos = player.frames.iter().filter(|it| it.kind == fanfare::flv::FrameKind::Video);
    let times: Vec<u32> = videos.map(|it| it.timestamp_ms).collect();
    assert_eq!(times, [0, 1_000, 4_000, 4_040]);
}
