//! What comes and goes on sockets: operations that are tried again, peers that hang up, sends that come apart.

use fanfare::{
    config::Config,
    endpoint::{IoError, ReasonKind},
    rtmp::{client::Role, command::Command},
    stream::Form,
};

use super::{
    bench::{
        command, connect, ends, handshake, has_ended, hears, inter_frame, is_live, key_frame,
        large_key_frame, logged, pass_talking, raw, raw_publisher, say, times, tiny, trouble, unread,
    },
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

#[test]
fn a_send_that_found_no_memory_goes_with_the_next_tick() {
    let (mut world, mut publisher, mut player) = played();
    let troubled = trouble(&mut world);
    publisher.publish(&key_frame(1_000));
    publisher.send(&world);
    // The first operation is the receive, which brings the frame.
    world.settle();
    assert_eq!(unread_len(&world, &player), key_frame_bytes());
    player.receive(&world);
    publisher.publish(&key_frame(2_000));
    publisher.send(&world);
    world.round(0);
    troubled.next(IoError::Shortage);
    world.settle();
    assert_eq!(unread_len(&world, &player), 0, "the send rests");
    world.pass_ms(99);
    assert_eq!(unread_len(&world, &player), 0);
    world.pass_ms(1);
    player.receive(&world);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000, 2_000]);
}

fn unread_len(world: &World, player: &Peer) -> usize {
    world.at(player.socket, |socket| socket.to_peer.len())
}

/// On the wire, to a player.
fn key_frame_bytes() -> usize {
    12 + key_frame(0).payload.len()
}

#[test]
fn nothing_else_goes_out_before_a_send_that_rests() {
    let (mut world, mut publisher, mut player) = played();
    let troubled = trouble(&mut world);
    publisher.publish(&key_frame(1_000));
    publisher.send(&world);
    world.round(0);
    troubled.next(IoError::Shortage);
    world.settle();
    // An answer is due, and more media.
    player.client.send_command(&Command::call("getStreamLength", 9.0, ["a".into()]));
    player.send(&world);
    publisher.publish(&key_frame(2_000));
    publisher.send(&world);
    world.settle();
    assert_eq!(unread_len(&world, &player), 0);
    world.pass_ms(100);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000, 2_000], "in order, nothing twice");
}

#[test]
fn an_interrupted_send_goes_again_at_once_and_whole() {
    let (mut world, mut publisher, mut player) = played();
    let troubled = trouble(&mut world);
    publisher.publish(&key_frame(1_000));
    publisher.send(&world);
    world.round(0);
    (0..3).for_each(|_| troubled.next(IoError::Interrupted));
    let now_ms = world.now_ms();
    world.talk(&mut player);
    assert_eq!((times(&player).as_slice(), world.now_ms()), ([0, 1_000].as_slice(), now_ms));
    assert!(troubled.troubles.borrow().is_empty());
}

#[test]
fn a_receive_that_found_no_memory_is_tried_with_the_next_tick() {
    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    let troubled = trouble(&mut world);
    troubled.next(IoError::Shortage);
    say(&world, socket, &tiny(1));
    world.settle();
    assert_eq!(logged(&world, "a"), 0);
    world.pass_ms(99);
    assert_eq!(logged(&world, "a"), 0);
    world.pass_ms(1);
    assert_eq!(logged(&world, "a"), 1);
    assert!(!has_ended(&world, socket));
}

#[test]
fn an_interrupted_receive_is_tried_again_at_once() {
    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    let troubled = trouble(&mut world);
    (0..3).for_each(|_| troubled.next(IoError::Interrupted));
    say(&world, socket, &tiny(1));
    world.settle();
    assert_eq!(logged(&world, "a"), 1);
}

#[test]
fn a_connection_that_ends_while_its_send_rests_is_closed_with_the_next_tick_and_sent_nothing() {
    let (mut world, mut publisher, player) = played();
    let troubled = trouble(&mut world);
    publisher.publish(&key_frame(1_000));
    publisher.send(&world);
    world.round(0);
    troubled.next(IoError::Shortage);
    world.settle();
    player.hang_up(&world);
    world.settle();
    assert!(has_ended(&world, player.socket) && !world.is_closed(player.socket), "its send is under way");
    world.pass_ms(99);
    assert!(!world.is_closed(player.socket));
    world.pass_ms(1);
    assert!(world.is_closed(player.socket));
    assert_eq!(unread_len(&world, &player), 0);
}

#[test]
fn a_player_that_leaves_its_stream_while_its_send_rests_gets_that_send_whole() {
    let (mut world, mut publisher, mut player) = played();
    let troubled = trouble(&mut world);
    publisher.publish(&key_frame(1_000));
    publisher.send(&world);
    world.round(0);
    troubled.next(IoError::Shortage);
    world.settle();
    player.client.stop();
    player.send(&world);
    world.settle();
    publisher.publish(&key_frame(2_000));
    world.talk(&mut publisher);
    world.pass_ms(100);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000], "what was under way, and nothing after it");
    assert!(!has_ended(&world, player.socket));
}

#[test]
fn a_player_that_leaves_its_stream_in_the_middle_of_a_message_gets_that_whole_and_then_its_answer() {
    let (mut world, mut publisher, mut player) = played();
    world.at(player.socket, |socket| socket.capacity = 100);
    publisher.publish(&large_key_frame(1_000, 1_000));
    world.talk(&mut publisher);
    player.client.stop();
    player.client.send_command(&Command::call("nonsense", 9.0, []));
    player.send(&world);
    world.settle();
    // The send that is under way comes apart once more.
    for capacity in [300, 10_000] {
        world.at(player.socket, |socket| socket.capacity = capacity);
        world.settle();
    }
    world.talk(&mut player);
    assert_eq!(
        (times(&player).as_slice(), player.last_code()),
        ([0, 1_000].as_slice(), "NetConnection.Call.Failed")
    );
}

#[test]
fn a_broken_send_ends_its_connection_and_no_other() {
    let (mut world, mut publisher, mut player) = played();
    let other = world.player(0, "a");
    world.at(other.socket, |socket| socket.is_reset = true);
    publisher.publish(&key_frame(1_000));
    world.talk(&mut publisher);
    world.talk(&mut player);
    assert!(world.is_closed(other.socket) && times(&player) == [0, 1_000]);
    assert_eq!(ends(&mut world, ReasonKind::PeerClosed), 1);
}

#[test]
fn sends_that_come_apart_at_each_byte_lose_and_repeat_nothing() {
    let (mut world, mut publisher, mut player) = played();
    let troubled = trouble(&mut world);
    for (round, most) in [1, 2, 3, 7, 11, 12, 13].into_iter().enumerate() {
        troubled.most.set(most);
        let sent: Vec<u32> = (1..=5).map(|number| round as u32 * 5_000 + number * 1_000).collect();
        let before = player.frames.len();
        for &ms in &sent {
            publisher.publish(&key_frame(ms));
        }
        world.talk(&mut publisher);
        // An answer goes between two messages.
        player.client.send_command(&Command::call("getStreamLength", 9.0, ["a".into()]));
        world.talk(&mut player);
        assert_eq!(times(&player)[before..], sent, "{most} bytes at a time");
    }
}

#[test]
fn an_answer_goes_after_the_message_that_is_half_sent_and_before_the_next() {
    let (mut world, mut publisher, mut player) = played();
    world.at(player.socket, |socket| socket.capacity = 5);
    for frame in [large_key_frame(1_000, 10_000), inter_frame(1_040)] {
        publisher.publish(&frame);
        world.talk(&mut publisher);
    }
    player.client.send_command(&Command::call("nonsense", 9.0, []));
    player.send(&world);
    world.settle();
    assert!(unread_len(&world, &player) < 10_000, "a message is half sent");
    // The send that is under way comes apart once more: what is next is decided with the answer there.
    for capacity in [5_000, 100_000] {
        world.at(player.socket, |socket| socket.capacity = capacity);
        world.settle();
    }
    let bytes = unread(&world, player.socket);
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
    // The end of the key frame.
    let at = [find(&[7; 1_000]), find(b"NetConnection.Call.Failed"), find(b"inter")];
    assert!(at[0].is_some() && at.is_sorted(), "{at:?}");
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 1_000, 1_040]);
}

#[test]
fn a_peer_that_closes_its_side_is_closed_at_once_whatever_it_does() {
    for role in [None, Some(Role::Publish), Some(Role::Play)] {
        let mut world = World::new(Config::default());
        let socket = match role {
            None => raw(&mut world, 0, &[]),
            Some(Role::Publish) => world.publisher(0, "a").socket,
            Some(Role::Play) => world.player(0, "a").socket,
        };
        world.at(socket, |socket| socket.peer_finished = true);
        world.settle();
        assert!(world.is_closed(socket), "{role:?}");
        assert!(world.shared.registry().is_empty());
        assert_eq!(world.shared.admission().connections(), 0);
        assert_eq!(ends(&mut world, ReasonKind::PeerClosed), 1);
    }
}

#[test]
fn what_a_peer_sent_before_it_closed_its_side_counts() {
    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    let mut player = world.player(0, "a");
    say(&world, socket, &tiny(1));
    world.pass_ms(1_000);
    world.talk(&mut player);
    say(&world, socket, &tiny(5));
    world.at(socket, |socket| socket.peer_finished = true);
    world.talk(&mut player);
    assert!(world.is_closed(socket) && !is_live(&world, "a"));
    world.pass_ms(1_000);
    world.talk(&mut player);
    assert_eq!(player.frames.len(), 1 + 5);
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_ended_beyond_16_kib_of_answers() {
    let mut world = World::new(Config::default());
    let socket = raw(&mut world, 0, &[]);
    world.at(socket, |socket| socket.capacity = 0);
    // The first answers are in the send that is under way; those that wait are counted.
    let ask = command(&Command::call("nonsense", 2.0, []));
    say(&world, socket, &ask);
    world.settle();
    let per_answer = answer_bytes();
    for _ in 0..(16 << 10) / per_answer {
        say(&world, socket, &ask);
        world.settle();
        assert!(!world.is_closed(socket));
    }
    say(&world, socket, &ask);
    world.settle();
    assert!(world.is_closed(socket));
    assert_eq!(ends(&mut world, ReasonKind::UnreadAnswers), 1);
}

/// Bytes of the answer to an unknown command.
fn answer_bytes() -> usize {
    let mut world = World::new(Config::default());
    let socket = raw(&mut world, 0, &[]);
    let before = world.at(socket, |socket| socket.to_peer.len());
    say(&world, socket, &command(&Command::call("nonsense", 2.0, [])));
    world.settle();
    assert!(hears(&world, socket, "NetConnection.Call.Failed"));
    world.at(socket, |socket| socket.to_peer.len()) - before
}

#[test]
fn a_peer_that_reads_may_ask_as_much_as_it_likes() {
    let mut world = World::new(Config::default());
    let socket = raw(&mut world, 0, &[]);
    for _ in 0..1_000 {
        say(&world, socket, &command(&Command::call("nonsense", 2.0, [])));
        world.settle();
        world.at(socket, |socket| socket.to_peer.clear());
    }
    assert!(!world.is_closed(socket));
}

#[test]
fn a_handshake_and_its_requests_may_come_a_byte_at_a_time() {
    let mut world = World::new(Config::default());
    let socket = world.connect(0);
    let publish = Command::call("publish", 2.0, ["a".into()]);
    let bytes = [handshake(), command(&connect()).to_vec(), command(&publish).to_vec(), tiny(3)].concat();
    for byte in bytes {
        say(&world, socket, &[byte]);
        world.settle();
    }
    assert!(is_live(&world, "a"));
    assert_eq!(logged(&world, "a"), 3);
}

#[test]
fn a_player_whose_socket_is_full_keeps_none_of_the_others_waiting() {
    let (mut world, mut publisher, mut player) = played();
    let full = world.player(0, "a");
    world.at(full.socket, |socket| socket.capacity = 0);
    for number in 1..=50 {
        publisher.publish(&large_key_frame(number * 100, 10_000));
        world.talk(&mut publisher);
        world.talk(&mut player);
        assert_eq!(times(&player).last(), Some(&(number * 100)));
        pass_talking(&mut world, &mut publisher, 100);
    }
    assert!(!world.is_closed(full.socket));
}

#[test]
fn a_player_that_resets_its_connection_has_closed_it_and_for_a_publisher_that_is_an_error() {
    let (mut world, publisher, player) = played();
    world.at(player.socket, |socket| socket.is_reset = true);
    world.settle();
    assert!(world.is_closed(player.socket));
    assert_eq!((ends(&mut world, ReasonKind::PeerClosed), ends(&mut world, ReasonKind::Socket)), (1, 0));
    world.at(publisher.socket, |socket| socket.is_reset = true);
    world.settle();
    assert_eq!((ends(&mut world, ReasonKind::PeerClosed), ends(&mut world, ReasonKind::Socket)), (1, 1));
}

#[test]
fn a_player_that_has_stopped_and_then_resets_its_connection_has_closed_it() {
    let (mut world, _publisher, mut player) = played();
    player.client.stop();
    world.talk(&mut player);
    world.at(player.socket, |socket| socket.is_reset = true);
    world.settle();
    assert_eq!((ends(&mut world, ReasonKind::PeerClosed), ends(&mut world, ReasonKind::Socket)), (1, 0));
}

#[test]
fn a_publisher_that_has_stopped_and_then_resets_its_connection_has_closed_it() {
    let (mut world, mut publisher, _player) = played();
    publisher.client.stop();
    world.talk(&mut publisher);
    world.at(publisher.socket, |socket| socket.is_reset = true);
    world.settle();
    assert_eq!((ends(&mut world, ReasonKind::PeerClosed), ends(&mut world, ReasonKind::Socket)), (1, 0));
}

#[test]
fn what_a_player_was_sent_counts_for_its_stream_after_it_has_left_and_counts_once() {
    let (mut world, mut publisher, mut player) = played();
    let sent = |world: &World| {
        let stream = world.shared.registry().get("live/a").unwrap();
        stream.totals().sent_bytes[Form::Rtmp.index()] as usize
    };
    world.pass_ms(1_000);
    let before = sent(&world);
    assert!(before >= key_frame_bytes());
    publisher.publish(&key_frame(1_000));
    world.talk(&mut publisher);
    world.talk(&mut player);
    player.hang_up(&world);
    world.settle();
    assert_eq!(sent(&world) - before, key_frame_bytes());
    world.pass_ms(1_000);
    assert_eq!(sent(&world) - before, key_frame_bytes());
}
