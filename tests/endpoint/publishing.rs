//! Publishers: names taken, taken over, given back; several streams on one connection.

use std::time::Duration;

use fanfare::{
    config::{Config, SecondPublisher},
    endpoint::{Mail, ReasonKind, report::RelayEvent},
    flv::{Frame, FrameKind},
    rtmp::{client::Role, command::Command},
};

use super::{
    bench::{
        audio, command, config, ends, events, frame, has_ended, hears, inter_frame, is_live, key_frame,
        logged, message, pass_talking, raw, raw_publisher, say, times,
    },
    world::{Peer, SocketId, World},
};

fn takeover() -> Config {
    config(|config| config.publish.on_second_publisher = SecondPublisher::Takeover)
}

fn cores(count: usize, config: Config) -> World {
    let (access, chance) = (Box::new(fanfare::access::Open), Box::new(super::world::Orderly));
    World::with(count, config, access, chance, 1_000_000)
}

/// A publisher of `live/a` that has asked on this core.
fn asks(world: &mut World, core: usize) -> Peer {
    let mut peer = world.client(core, Role::Publish, "a");
    world.talk(&mut peer);
    peer
}

/// Whose stream `live/a` is, by the events.
fn publishers(world: &World) -> Vec<(&'static str, u16)> {
    let publishers = events(world).into_iter().filter_map(|event| match event {
        RelayEvent::Publishing { peer, .. } => Some(("came", peer.port())),
        RelayEvent::PublishEnded { peer, .. } => Some(("went", peer.port())),
        _ => None,
    });
    publishers.collect()
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
fn a_player_on_another_core_gets_the_same() {
    let mut world = cores(3, Config::default());
    let mut publisher = world.publisher(2, "a");
    let mut players: Vec<_> = (0..3).map(|core| world.player(core, "a")).collect();
    for ms in [0, 1_000, 2_000] {
        publisher.publish(&key_frame(ms));
        world.talk(&mut publisher);
        world.pass_ms(1_000);
    }
    for player in &mut players {
        world.talk(player);
        assert_eq!(times(player), [0, 1_000, 2_000]);
    }
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let mut world = World::new(Config::default());
    let first = world.publisher(0, "a");
    let second = asks(&mut world, 0);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    world.pass_ms(2_999);
    assert!(!has_ended(&world, first.socket) && has_ended(&world, second.socket));
    assert!(is_live(&world, "a"));
}

#[test]
fn a_second_publisher_takes_over_and_the_first_is_notified() {
    for (core, count) in [(0, 1), (1, 2)] {
        let mut world = cores(count, takeover());
        let mut first = world.publisher(0, "a");
        let mut second = world.publisher(core, "a");
        world.talk(&mut first);
        assert_eq!(first.last_code(), "NetStream.Publish.BadName");
        second.publish(&key_frame(0));
        world.talk(&mut second);
        assert_eq!(logged(&world, "a"), 1);
        world.pass_ms(2_000);
        assert!(world.is_closed(first.socket) && !world.is_closed(second.socket));
        assert_eq!(ends(&mut world, ReasonKind::TakenOver), 1);
        assert!(is_live(&world, "a"));
    }
}

#[test]
fn players_go_on_with_the_publisher_that_took_over() {
    let mut world = cores(2, takeover());
    let mut first = world.publisher(0, "a");
    first.publish(&key_frame(0));
    world.talk(&mut first);
    world.pass_ms(1_000);
    let mut player = world.player(1, "a");
    let mut second = world.publisher(1, "a");
    second.publish(&key_frame(40));
    world.talk(&mut second);
    world.pass_ms(1_000);
    world.talk(&mut player);
    assert_eq!(times(&player).len(), 2);
    assert!(!has_ended(&world, player.socket));
}

#[test]
fn a_publisher_that_was_not_heard_for_takeover_after_gives_its_name_and_no_earlier() {
    for (silent_ms, gives) in [(2_999, false), (3_000, true)] {
        let mut world = World::new(Config::default());
        let first = raw_publisher(&mut world, "a");
        world.pass_ms(silent_ms);
        let second = asks(&mut world, 0);
        assert_eq!(second.has_started, gives, "after {silent_ms} ms of silence");
        assert_eq!(has_ended(&world, first), gives);
        assert!(is_live(&world, "a"));
    }
}

#[test]
fn an_answer_to_a_ping_keeps_a_publisher_from_being_silent() {
    let mut world = World::new(Config::default());
    let mut first = world.publisher(0, "a");
    pass_talking(&mut world, &mut first, 20_000);
    let second = asks(&mut world, 0);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    assert!(!has_ended(&world, first.socket));
}

#[test]
fn no_publisher_is_silent_while_its_core_stands_still() {
    let mut world = cores(2, Config::default());
    let first = raw_publisher(&mut world, "a");
    world.stop_core(0);
    world.pass_ms(10_000);
    let second = asks(&mut world, 1);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    world.start_core(0);
    world.pass_ms(2_700);
    assert!(!asks(&mut world, 1).has_started, "2 ticks of the standstill count");
    world.pass_ms(100);
    assert!(asks(&mut world, 1).has_started && has_ended(&world, first));
}

/// The first publisher's core stands still; a second one waits on another for its name.
fn waiting() -> (World, SocketId, Peer) {
    let mut world = cores(2, takeover());
    let first = raw_publisher(&mut world, "a");
    world.stop_core(0);
    let second = asks(&mut world, 1);
    assert!(!second.has_started && second.statuses.is_empty());
    (world, first, second)
}

#[test]
fn a_publisher_that_waits_gets_its_name_up_to_the_limit_of_3_s() {
    let (mut world, first, mut second) = waiting();
    world.pass_ms(2_999);
    assert!(!has_ended(&world, second.socket));
    world.start_core(0);
    world.talk(&mut second);
    assert!(second.has_started && hears(&world, first, "NetStream.Publish.BadName"));
    second.publish(&key_frame(0));
    world.talk(&mut second);
    world.pass_ms(5_000);
    assert_eq!(logged(&world, "a"), 1);
    assert!(!has_ended(&world, second.socket), "it waits no longer");
}

#[test]
fn a_publisher_that_waits_is_refused_after_3_s_and_the_name_goes_to_no_client() {
    let (mut world, first, mut second) = waiting();
    world.pass_ms(3_000);
    world.talk(&mut second);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    assert!(has_ended(&world, second.socket));
    // It was wanted, and so it goes all the same.
    world.start_core(0);
    world.settle();
    assert!(has_ended(&world, first) && !is_live(&world, "a"));
    assert!(asks(&mut world, 1).has_started, "the name is free");
}

#[test]
fn a_publisher_that_hangs_up_while_it_waits_is_noticed_at_once_and_the_name_goes_to_no_client() {
    let (mut world, first, second) = waiting();
    world.pass_ms(1_000);
    second.hang_up(&world);
    world.settle();
    assert!(world.is_closed(second.socket));
    world.start_core(0);
    world.settle();
    assert!(has_ended(&world, first) && !is_live(&world, "a"));
    assert_eq!(publishers(&world).len(), 2, "one came and went");
    assert!(asks(&mut world, 0).has_started, "the name is free");
}

#[test]
fn a_publisher_whose_name_another_one_took_in_the_meantime_is_refused_at_once() {
    let (mut world, first, mut second) = waiting();
    world.stop_core(1);
    world.start_core(0);
    world.settle();
    assert!(has_ended(&world, first) && !is_live(&world, "a"), "the name is free");
    let third = asks(&mut world, 0);
    assert!(third.has_started);
    world.start_core(1);
    world.talk(&mut second);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    assert!(!has_ended(&world, third.socket));
}

#[test]
fn a_third_publisher_displaces_the_one_that_waits() {
    let (mut world, _, mut second) = waiting();
    world.pass_ms(1_000);
    let mut third = asks(&mut world, 1);
    assert!(!third.has_started);
    world.pass_ms(1_500);
    world.start_core(0);
    world.talk(&mut third);
    assert!(third.has_started);
    world.talk(&mut second);
    assert!(!second.has_started);
    world.pass_ms(500);
    world.talk(&mut second);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    assert!(is_live(&world, "a") && !has_ended(&world, third.socket));
}

#[test]
fn a_publisher_that_waits_has_a_name_that_is_free_by_the_limit_though_another_one_was_to_get_it() {
    let (mut world, _, mut second) = waiting();
    let third = asks(&mut world, 1);
    third.hang_up(&world);
    world.settle();
    world.start_core(0);
    world.pass_ms(2_999);
    assert!(!is_live(&world, "a"), "the notice went to the third one");
    world.pass_ms(1);
    world.talk(&mut second);
    assert!(second.has_started && is_live(&world, "a"));
}

#[test]
fn a_publisher_that_reads_nothing_keeps_its_name_from_no_other_one() {
    let mut world = World::new(takeover());
    let first = raw_publisher(&mut world, "a");
    world.at(first, |socket| socket.capacity = 0);
    let second = asks(&mut world, 0);
    assert!(second.has_started && !world.is_closed(first));
    world.pass_ms(10_000);
    assert!(world.is_closed(first));
}

#[test]
fn the_time_that_its_own_core_stands_still_is_not_the_waiting_publishers() {
    let (mut world, _, mut second) = waiting();
    world.pass_ms(2_000);
    world.stand_still_ms(60_000);
    world.settle();
    assert!(!has_ended(&world, second.socket));
    world.start_core(0);
    world.talk(&mut second);
    assert!(second.has_started);
}

#[test]
fn no_name_is_taken_over_while_the_relay_drains() {
    let mut world = cores(2, takeover());
    let first = world.publisher(0, "a");
    world.mailboxes.post(1, Mail::Drain);
    world.settle();
    // It was accepted a moment before.
    let second = asks(&mut world, 1);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    assert!(!has_ended(&world, first.socket));
}

#[test]
fn a_name_is_free_the_moment_its_publisher_ends() {
    let mut world = World::new(Config::default());
    let first = raw_publisher(&mut world, "a");
    world.at(first, |socket| socket.is_reset = true);
    let second = asks(&mut world, 0);
    assert!(second.has_started);
    let ports = publishers(&world);
    assert_eq!(ports.iter().map(|it| it.0).collect::<Vec<_>>(), ["came", "went", "came"]);
}

/// A live stream with a player, whose publisher goes now.
fn abandoned(config: Config) -> (World, Peer) {
    let mut world = World::new(config);
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    let mut player = world.player(0, "a");
    publisher.hang_up(&world);
    world.talk(&mut player);
    assert_eq!(times(&player), [0]);
    (world, player)
}

#[test]
fn a_publisher_that_comes_back_within_the_grace_finds_its_players() {
    let (mut world, mut player) = abandoned(Config::default());
    world.pass_ms(9_999);
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(10_000));
    world.talk(&mut publisher);
    world.pass_ms(2_000);
    world.talk(&mut player);
    assert_eq!(player.frames.len(), 2);
    assert!(!has_ended(&world, player.socket) && !player.has_ended);
}

#[test]
fn a_publisher_that_comes_back_after_the_grace_finds_its_players_gone() {
    let (mut world, mut player) = abandoned(Config::default());
    world.pass_ms(10_000);
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(10_000));
    world.talk(&mut publisher);
    world.talk(&mut player);
    assert_eq!(player.last_code(), "NetStream.Play.UnpublishNotify");
    assert!(player.has_ended && has_ended(&world, player.socket));
    assert_eq!(times(&player), [0]);
}

#[test]
fn a_viewer_of_a_name_whose_encoder_has_just_gone_need_not_be_turned_away_during_the_grace() {
    let (mut world, player) = abandoned(Config::default());
    player.hang_up(&world);
    world.pass_ms(9_999);
    let can_be_watched = |world: &World| world.shared.can_be_watched("live/a", world.now_ms());
    assert!(world.shared.registry().is_empty() && can_be_watched(&world));
    world.pass_ms(1);
    assert!(!can_be_watched(&world));
}

#[test]
fn a_publisher_that_sent_nothing_has_shown_no_stream_to_wait_for() {
    let mut world = World::new(Config::default());
    let publisher = world.publisher(0, "a");
    assert!(world.shared.can_be_watched("live/a", world.now_ms()));
    publisher.hang_up(&world);
    world.settle();
    assert!(!world.shared.can_be_watched("live/a", world.now_ms()));
}

#[test]
fn where_a_publisher_comes_from_is_known_until_it_publishes_nothing_any_longer() {
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    let Some(RelayEvent::Publishing { id, peer, .. }) = events(&world).into_iter().next() else {
        panic!("it publishes")
    };
    assert_eq!(world.shared.publisher(id).map(|it| it.peer), Some(peer));
    publisher.client.stop();
    world.talk(&mut publisher);
    assert_eq!(world.shared.publisher(id), None);
}

/// A connection that publishes `live/a` and `live/b`, on message streams 1 and 2.
fn publisher_of_two(world: &mut World) -> SocketId {
    let socket = raw(world, 0, &[]);
    for (number, name) in [(1_u32, "a"), (2, "b")] {
        let transaction = f64::from(number) * 2.0;
        say(world, socket, &command(&Command::call("createStream", transaction, [])));
        let publish = Command::call("publish", transaction + 1.0, [name.into()]);
        let bytes = message(fanfare::rtmp::message::type_id::COMMAND_AMF0, number, publish.to_bytes());
        say(world, socket, &bytes);
    }
    world.settle();
    assert!(is_live(world, "a") && is_live(world, "b"));
    socket
}

fn video_on(message_stream_id: u32) -> bytes::Bytes {
    let frame = frame(FrameKind::Video, 0, b"\x17\x01\0\0\0key");
    message(frame.kind as u8, message_stream_id, frame.payload.to_bytes().to_vec())
}

#[test]
fn each_of_several_streams_of_a_connection_goes_into_its_own_log() {
    let mut world = World::new(Config::default());
    let socket = publisher_of_two(&mut world);
    for message_stream_id in [1, 2, 2, 3] {
        say(&world, socket, &video_on(message_stream_id));
    }
    world.settle();
    assert_eq!((logged(&world, "a"), logged(&world, "b")), (1, 2));
}

#[test]
fn one_of_several_streams_that_is_taken_over_leaves_the_other_alone() {
    let mut world = World::new(takeover());
    let socket = publisher_of_two(&mut world);
    let second = asks(&mut world, 0);
    assert!(second.has_started && hears(&world, socket, "NetStream.Publish.BadName"));
    say(&world, socket, &video_on(2));
    world.settle();
    assert!(!has_ended(&world, socket) && is_live(&world, "b"));
    assert_eq!(logged(&world, "b"), 1);
}

#[test]
fn a_connection_that_ends_gives_all_its_names_back() {
    let mut world = World::new(Config::default());
    let socket = publisher_of_two(&mut world);
    world.at(socket, |socket| socket.peer_finished = true);
    world.settle();
    assert!(!is_live(&world, "a") && !is_live(&world, "b"));
    assert_eq!(publishers(&world).iter().filter(|it| it.0 == "went").count(), 2);
}

#[test]
fn a_publisher_may_stop_and_publish_again_on_the_same_connection() {
    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    say(&world, socket, &command(&Command::call("FCUnpublish", 3.0, ["a".into()])));
    world.settle();
    assert!(!is_live(&world, "a"));
    world.pass_ms(9_000);
    say(&world, socket, &command(&Command::call("publish", 4.0, ["b".into()])));
    world.settle();
    assert!(is_live(&world, "b"));
    world.pass_ms(14_999);
    assert!(!has_ended(&world, socket), "it is idle no longer");
}

#[test]
fn audio_waits_for_a_video_frame_that_is_expected_and_no_longer_than_the_merge_window() {
    let mut world = World::new(config(|config| config.play.merge_window = Duration::from_millis(10)));
    let mut publisher = world.publisher(0, "a");
    let mut player = world.player(0, "a");
    let mut send = |world: &mut World, frames: &[Frame]| {
        frames.iter().for_each(|frame| publisher.publish(frame));
        world.talk(&mut publisher);
    };
    let mut count = |world: &mut World| {
        world.talk(&mut player);
        player.frames.len()
    };
    send(&mut world, &[key_frame(0), audio(0)]);
    world.pass_ms(40);
    send(&mut world, &[inter_frame(40)]);
    let before = count(&mut world);
    // The next video frame is expected in 20 ms, then in 10, then in 9.
    for (ms, sent) in [(20, 1), (10, 2), (1, 2)] {
        world.pass_ms(ms);
        send(&mut world, &[audio(41)]);
        assert_eq!(count(&mut world), before + sent, "after {ms} ms");
    }
    world.pass_ms(9);
    assert_eq!(count(&mut world), before + 2);
    // It does not come.
    world.pass_ms(1);
    assert_eq!(count(&mut world), before + 3);
    // With a video frame it goes at once.
    send(&mut world, &[audio(80), inter_frame(80)]);
    assert_eq!(count(&mut world), before + 5);
}

#[test]
fn video_waits_for_an_audio_frame_that_is_expected_and_all_that_wait_go_when_the_first_has_waited_long_enough()
 {
    let mut world = World::new(config(|config| config.play.merge_window = Duration::from_millis(14)));
    let mut publisher = world.publisher(0, "a");
    let mut player = world.player(0, "a");
    let mut send = |world: &mut World, frames: &[Frame]| {
        frames.iter().for_each(|frame| publisher.publish(frame));
        world.talk(&mut publisher);
    };
    let mut count = |world: &mut World| {
        world.talk(&mut player);
        player.frames.len()
    };
    // Video every 40 ms, audio every 20, which comes 5 ms later.
    send(&mut world, &[key_frame(0)]);
    for audio_ms in [5, 25] {
        world.pass_ms(if audio_ms == 5 { 5 } else { 20 });
        send(&mut world, &[audio(audio_ms)]);
    }
    world.pass_ms(15);
    let before = count(&mut world);
    send(&mut world, &[inter_frame(40)]);
    assert_eq!(count(&mut world), before, "audio is expected in 5 ms");
    world.pass_ms(5);
    send(&mut world, &[audio(45)]);
    assert_eq!(count(&mut world), before + 2, "the next frame is expected in 20 ms");
    // Audio, video 10 ms later, and audio in 10 ms more: too long after the first.
    world.pass_ms(25);
    send(&mut world, &[audio(65)]);
    world.pass_ms(10);
    assert_eq!(count(&mut world), before + 2, "video is expected in 10 ms");
    send(&mut world, &[inter_frame(80)]);
    assert_eq!(count(&mut world), before + 4);
    // Audio that is expected does not come.
    world.pass_ms(10);
    send(&mut world, &[audio(85)]);
    world.pass_ms(30);
    let before = count(&mut world);
    send(&mut world, &[inter_frame(120)]);
    world.pass_ms(13);
    assert_eq!(count(&mut world), before);
    world.pass_ms(1);
    assert_eq!(count(&mut world), before + 1);
}
