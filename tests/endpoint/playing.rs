//! Players: where they begin, what they are sent, whom they wait for, over RTMP and over HTTP.

use fanfare::{
    config::Config,
    endpoint::{Mail, Protocol, ReasonKind, report::RelayEvent},
    flv::FrameKind,
    http::{LAST_CHUNK, websocket},
    rtmp::command::Command,
    stream::Form,
};

use super::{
    bench::{
        audio, ends, events, frame, has_ended, inter_frame, key_frame, pass_talking, raw_publisher, say,
        times, tiny, unread,
    },
    world::{Peer, SocketId, World},
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// A live stream with a key frame and a frame after it.
fn live(world: &mut World) -> Peer {
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    publisher.publish(&inter_frame(40));
    pass_talking(world, &mut publisher, 1_000);
    publisher
}

/// A player of `live/{key}` whose request came over HTTP and was handed over.
fn http_player(world: &mut World, key: &str, form: Form, rest: &[u8]) -> SocketId {
    super::bench::http_player(world, key, form, HEAD, rest, None)
}

const HTTP_FORMS: [Form; 3] = [Form::HttpFlv, Form::HttpFlvChunked, Form::WebsocketFlv];

/// What comes as of now, which is then read.
fn read(world: &World, socket: SocketId) -> Vec<u8> {
    world.at(socket, |socket| socket.to_peer.drain(..).collect())
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_player_begins_at_the_newest_key_frame_and_gets_what_has_come_since() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    publisher.publish(&key_frame(1_000));
    publisher.publish(&inter_frame(1_040));
    world.talk(&mut publisher);
    let mut player = world.player(0, "a");
    assert_eq!(times(&player), [1_000, 1_040]);
    publisher.publish(&inter_frame(1_080));
    world.talk(&mut publisher);
    world.talk(&mut player);
    assert_eq!(times(&player), [1_000, 1_040, 1_080]);
}

#[test]
fn a_player_that_asks_for_live_begins_at_the_next_key_frame() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let mut player = world.player(0, "a?start=live");
    publisher.publish(&inter_frame(1_000));
    publisher.publish(&key_frame(1_040));
    world.talk(&mut publisher);
    world.talk(&mut player);
    assert_eq!(times(&player), [1_040]);
}

#[test]
fn a_player_that_was_there_first_gets_the_stream_from_its_first_frame_on() {
    let mut world = World::new(Config::default());
    let mut player = world.player(0, "a");
    world.pass_ms(20_000);
    let _publisher = live(&mut world);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 40]);
}

#[test]
fn a_second_play_takes_the_place_of_the_first() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let mut other = world.publisher(0, "b");
    let mut player = world.player(0, "a");
    let before = player.frames.len();
    player.client.send_command(&Command::call("play", 6.0, ["b".into()]));
    world.talk(&mut player);
    assert_eq!(player.last_code(), "NetStream.Play.Start");
    publisher.publish(&key_frame(1_000));
    world.talk(&mut publisher);
    other.publish(&key_frame(7_777));
    world.talk(&mut other);
    world.pass_ms(1_000);
    world.talk(&mut player);
    assert_eq!(player.frames.len() - before, 1);
    let played: Vec<_> = events(&world)
        .into_iter()
        .filter_map(|event| match event {
            RelayEvent::Playing { stream, .. } => Some(("began", stream)),
            RelayEvent::PlayEnded { stream, reason, .. } => {
                assert_eq!(reason.kind, ReasonKind::Stopped, "its connection goes on");
                Some(("ended", stream))
            }
            _ => None,
        })
        .collect();
    let played: Vec<_> = played.iter().map(|(what, stream)| (*what, stream.as_str())).collect();
    assert_eq!(played, [("began", "live/a"), ("ended", "live/a"), ("began", "live/b")]);
}

#[test]
fn a_player_may_stop_and_play_again() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let mut player = world.player(0, "a");
    player.client.send_command(&Command::call("closeStream", 0.0, []));
    world.talk(&mut player);
    pass_talking(&mut world, &mut publisher, 9_000);
    player.client.send_command(&Command::call("play", 6.0, ["a".into()]));
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 40, 0, 40]);
    pass_talking(&mut world, &mut publisher, 20_000);
    assert!(!has_ended(&world, player.socket), "it is idle no longer");
}

#[test]
fn a_connection_may_publish_and_play() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    publisher.client.send_command(&Command::call("play", 6.0, ["a".into()]));
    world.talk(&mut publisher);
    publisher.publish(&inter_frame(1_000));
    world.talk(&mut publisher);
    assert_eq!(times(&publisher), [0, 40, 1_000], "it gets its own stream");
}

#[test]
fn a_player_that_lags_beyond_max_lag_goes_on_at_the_newest_key_frame() {
    for (lag_ms, skips) in [(5_000, 0), (5_100, 1)] {
        let mut world = World::new(Config::default());
        let mut publisher = live(&mut world);
        let mut player = world.player(0, "a");
        world.at(player.socket, |socket| socket.capacity = 0);
        publisher.publish(&key_frame(1_000));
        world.talk(&mut publisher);
        // The next one waits from now on.
        publisher.publish(&key_frame(1_100));
        world.talk(&mut publisher);
        pass_talking(&mut world, &mut publisher, lag_ms - 100);
        publisher.publish(&key_frame(1_000 + lag_ms as u32));
        world.talk(&mut publisher);
        pass_talking(&mut world, &mut publisher, 100);
        world.at(player.socket, |socket| socket.capacity = 100_000);
        world.talk(&mut player);
        let newest = 1_000 + lag_ms as u32;
        let expected =
            if skips == 0 { vec![0, 40, 1_000, 1_100, newest] } else { vec![0, 40, 1_000, newest] };
        assert_eq!(times(&player), expected, "{lag_ms} ms");
        pass_talking(&mut world, &mut publisher, 500);
        assert_eq!(world.shared.reports()[0].skips, skips);
    }
}

#[test]
fn a_player_that_lags_because_the_core_stood_still_is_not_moved_on() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let mut player = world.player(0, "a");
    world.at(player.socket, |socket| socket.capacity = 0);
    for ms in [1_000, 1_100] {
        publisher.publish(&key_frame(ms));
        world.talk(&mut publisher);
    }
    world.stand_still_ms(60_000);
    publisher.publish(&key_frame(1_200));
    world.talk(&mut publisher);
    world.at(player.socket, |socket| socket.capacity = 100_000);
    world.talk(&mut player);
    assert_eq!(times(&player), [0, 40, 1_000, 1_100, 1_200]);
}

#[test]
fn a_player_over_http_gets_the_head_of_its_response_first_and_then_the_stream() {
    for form in HTTP_FORMS {
        let mut world = World::new(Config::default());
        let mut publisher = live(&mut world);
        let player = http_player(&mut world, "a", form, b"");
        assert_eq!(read(&world, player), HEAD, "{form:?}: the log of this form begins with the next frame");
        publisher.publish(&inter_frame(1_000));
        world.talk(&mut publisher);
        let bytes = read(&world, player);
        assert!(contains(&bytes, b"FLV\x01") && contains(&bytes, b"\x17\x01\0\0\0key"), "{form:?}");
        publisher.publish(&inter_frame(1_040));
        world.talk(&mut publisher);
        let bytes = read(&world, player);
        assert!(contains(&bytes, b"inter") && !contains(&bytes, b"key"));
        let second = http_player(&mut world, "a", form, b"");
        let bytes = read(&world, second);
        assert!(bytes.starts_with(HEAD) && contains(&bytes, b"key"));
        let Some(RelayEvent::Playing { protocol, .. }) = events(&world).pop() else { panic!("it plays") };
        assert_eq!(protocol, Protocol::of(form));
    }
}

#[test]
fn a_player_over_http_begins_once_it_is_known_which_kinds_of_media_there_are_without_another_frame() {
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    let player = http_player(&mut world, "a", Form::HttpFlv, b"");
    publisher.publish(&inter_frame(40));
    world.talk(&mut publisher);
    world.pass_ms(999);
    assert_eq!(read(&world, player), HEAD, "there may be audio as well");
    world.pass_ms(1);
    assert!(contains(&read(&world, player), b"inter"));
}

#[test]
fn a_player_whose_first_key_frame_goes_with_other_headers_begins_with_the_next_and_not_with_audio_before_it()
{
    let header = |mark: &[u8]| frame(FrameKind::Audio, 0, &[b"\xAF\0", mark].concat());
    let sound = |mark: &[u8]| frame(FrameKind::Audio, 40, &[b"\xAF\x01", mark].concat());
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    let player = http_player(&mut world, "a", Form::HttpFlv, b"");
    // All at once, as after a stall of the network.
    for frame in [header(b"A"), key_frame(0), sound(b"old"), header(b"B"), sound(b"early"), key_frame(80)] {
        publisher.publish(&frame);
    }
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    publisher.publish(&sound(b"late"));
    world.talk(&mut publisher);
    world.pass_ms(100);
    let file = read(&world, player);
    assert!(!contains(&file, b"old") && !contains(&file, b"early"), "{file:?}");
    assert!(contains(&file, b"\xAF\0B") && contains(&file, b"key") && contains(&file, b"late"), "{file:?}");
}

#[test]
fn a_player_over_http_whose_stream_is_not_live_gets_its_head_and_waits() {
    for form in HTTP_FORMS {
        let mut world = World::new(Config::default());
        let player = http_player(&mut world, "a", form, b"");
        assert_eq!(read(&world, player), HEAD);
        world.pass_ms(29_999);
        assert!(!has_ended(&world, player));
        world.pass_ms(1);
        let last = read(&world, player);
        match form {
            Form::HttpFlvChunked => assert_eq!(last, LAST_CHUNK),
            Form::WebsocketFlv => assert_eq!(last[..], websocket::close(websocket::CloseCode::Normal)[..]),
            _ => assert_eq!(last, b""),
        }
        assert!(has_ended(&world, player), "{form:?}");
        world.pass_ms(2_000);
        assert_eq!(ends(&mut world, ReasonKind::StreamNotFound), 1);
    }
}

#[test]
fn the_last_chunk_and_the_close_come_after_all_of_the_stream_and_once() {
    for form in HTTP_FORMS {
        let mut world = World::new(Config::default());
        let mut publisher = live(&mut world);
        let player = http_player(&mut world, "a", form, b"");
        publisher.publish(&inter_frame(1_000));
        world.talk(&mut publisher);
        publisher.hang_up(&world);
        world.pass_ms(10_000);
        let bytes = read(&world, player);
        let last: &[u8] = match form {
            Form::HttpFlvChunked => LAST_CHUNK,
            Form::WebsocketFlv => &websocket::close(websocket::CloseCode::GoingAway),
            _ => b"inter",
        };
        let at = bytes.windows(last.len()).rposition(|window| window == last);
        let after = at.map(|at| bytes.len() - at - last.len());
        assert_eq!(
            after,
            Some(if form == Form::HttpFlv { 4 } else { 0 }),
            "{form:?}: a tag ends with its size"
        );
        assert!(has_ended(&world, player));
    }
}

/// A frame of a player's, masked with zeros.
fn masked(op_code: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | op_code, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

const PING: u8 = 9;
const PONG: u8 = 10;
const CLOSE: u8 = 8;

#[test]
fn a_websocket_player_is_answered_its_ping_and_its_close() {
    let mut world = World::new(Config::default());
    let _publisher = live(&mut world);
    let player = http_player(&mut world, "a", Form::WebsocketFlv, b"");
    read(&world, player);
    say(&world, player, &masked(PING, b"hello"));
    world.settle();
    assert_eq!(read(&world, player), b"\x8A\x05hello");
    say(&world, player, &masked(CLOSE, &1000_u16.to_be_bytes()));
    world.settle();
    assert_eq!(read(&world, player), b"\x88\x02\x03\xE8");
    assert!(has_ended(&world, player));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::PeerClosed), 1);
}

#[test]
fn a_websocket_player_that_says_nothing_is_pinged_at_the_interval() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let player = http_player(&mut world, "a", Form::WebsocketFlv, b"");
    read(&world, player);
    pass_talking(&mut world, &mut publisher, 29_900);
    assert_eq!(read(&world, player), b"");
    pass_talking(&mut world, &mut publisher, 100);
    assert_eq!(read(&world, player)[..], websocket::ping()[..]);
    pass_talking(&mut world, &mut publisher, 15_000);
    say(&world, player, &masked(PONG, b""));
    pass_talking(&mut world, &mut publisher, 29_900);
    assert_eq!(read(&world, player), b"", "it was heard");
    pass_talking(&mut world, &mut publisher, 100);
    assert_eq!(read(&world, player)[..], websocket::ping()[..]);
}

#[test]
fn a_websocket_player_that_breaks_the_protocol_is_closed_with_a_code() {
    let mut world = World::new(Config::default());
    let _publisher = live(&mut world);
    let player = http_player(&mut world, "a", Form::WebsocketFlv, b"");
    read(&world, player);
    say(&world, player, b"\x89\x00");
    world.settle();
    assert_eq!(read(&world, player)[..], websocket::close(websocket::CloseCode::ProtocolError)[..]);
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::Violation), 1);
}

#[test]
fn what_a_player_sent_right_after_its_request_is_read() {
    let mut world = World::new(Config::default());
    let player = http_player(&mut world, "a", Form::WebsocketFlv, &masked(PING, b"x"));
    assert_eq!(read(&world, player), [HEAD, b"\x8A\x01x"].concat());
}

#[test]
fn an_http_player_may_close_its_sending_side_and_goes_on_until_it_is_gone() {
    for form in [Form::HttpFlv, Form::HttpFlvChunked] {
        let mut world = World::new(Config::default());
        let mut publisher = live(&mut world);
        let player = http_player(&mut world, "a", form, b"");
        world.at(player, |socket| socket.peer_finished = true);
        pass_talking(&mut world, &mut publisher, 60_000);
        read(&world, player);
        publisher.publish(&inter_frame(61_000));
        world.talk(&mut publisher);
        assert!(contains(&read(&world, player), b"inter") && !has_ended(&world, player));
        // A keep-alive probe was answered with a reset: there is nothing to read, and nothing to send.
        world.at(player, |socket| socket.is_reset = true);
        pass_talking(&mut world, &mut publisher, 100);
        assert!(world.is_closed(player));
        assert_eq!(ends(&mut world, ReasonKind::PeerClosed), 1);
    }
}

#[test]
fn an_http_player_that_has_closed_its_sending_side_is_not_lingered_for() {
    let mut world = World::new(Config::default());
    let player = http_player(&mut world, "a", Form::HttpFlvChunked, b"");
    world.at(player, |socket| socket.peer_finished = true);
    world.pass_ms(30_000);
    assert!(read(&world, player).ends_with(LAST_CHUNK));
    assert!(world.is_closed(player));
}

#[test]
fn a_websocket_player_that_closes_its_side_is_closed_at_once() {
    let mut world = World::new(Config::default());
    let _publisher = live(&mut world);
    let player = http_player(&mut world, "a", Form::WebsocketFlv, b"");
    world.at(player, |socket| socket.peer_finished = true);
    world.settle();
    assert!(world.is_closed(player));
}

#[test]
fn an_http_player_that_goes_on_sending_is_ended() {
    let mut world = World::new(Config::default());
    let player = http_player(&mut world, "a", Form::HttpFlv, b"");
    say(&world, player, &vec![b'x'; 64 << 10]);
    world.settle();
    assert!(!has_ended(&world, player));
    say(&world, player, b"x");
    world.settle();
    assert!(world.is_closed(player));
    assert_eq!(ends(&mut world, ReasonKind::Violation), 1);
}

#[test]
fn a_player_that_is_handed_over_while_the_relay_drains_is_closed() {
    let mut world = World::new(Config::default());
    world.mailboxes.post(0, Mail::Drain);
    world.settle();
    let player = http_player(&mut world, "a", Form::HttpFlv, b"");
    assert!(world.is_closed(player) && unread(&world, player).is_empty());
    assert_eq!(world.shared.admission().connections(), 0);
    assert!(world.cores[0].has_drained());
}

#[test]
fn a_websocket_player_gets_its_close_when_the_relay_drains() {
    for form in HTTP_FORMS {
        let mut world = World::new(Config::default());
        let _publisher = live(&mut world);
        let player = http_player(&mut world, "a", form, b"");
        read(&world, player);
        world.mailboxes.post(0, Mail::Drain);
        world.settle();
        let last = read(&world, player);
        match form {
            Form::HttpFlvChunked => assert_eq!(last, LAST_CHUNK),
            Form::WebsocketFlv => assert_eq!(last[..], websocket::close(websocket::CloseCode::GoingAway)[..]),
            _ => assert_eq!(last, b""),
        }
        assert!(has_ended(&world, player));
    }
}

#[test]
fn a_player_whose_publisher_comes_back_with_other_media_is_ended() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    // A publish has shown what it holds with the first frame a second after it began.
    publisher.publish(&inter_frame(1_000));
    world.talk(&mut publisher);
    let mut player = world.player(0, "a");
    publisher.hang_up(&world);
    world.settle();
    let mut publisher = world.publisher(0, "a");
    for ms in [0, 1_000] {
        publisher.publish(&audio(ms));
        pass_talking(&mut world, &mut publisher, 1_000);
    }
    world.talk(&mut player);
    assert!(player.has_ended && has_ended(&world, player.socket));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::OtherMedia), 1);
}

#[test]
fn players_that_leave_in_the_middle_of_a_pass_are_no_trouble() {
    let mut world = World::new(Config::default());
    let socket = raw_publisher(&mut world, "a");
    // More than a round of a pass sends to.
    let players: Vec<Peer> = (0..600).map(|_| world.player(0, "a")).collect();
    say(&world, socket, &tiny(1));
    world.round(0);
    for player in players.iter().step_by(2) {
        world.at(player.socket, |socket| socket.is_reset = true);
    }
    world.settle();
    world.pass_ms(1_000);
    for (number, mut player) in players.into_iter().enumerate() {
        assert_eq!(world.is_closed(player.socket), number % 2 == 0);
        if number % 2 == 1 {
            world.talk(&mut player);
            assert_eq!(player.frames.len(), 1);
        }
    }
}

#[test]
fn a_player_that_closes_its_sending_side_while_the_last_is_sent_gets_all_of_it() {
    let mut world = World::new(Config::default());
    let mut publisher = live(&mut world);
    let socket = http_player(&mut world, "a", Form::HttpFlvChunked, b"");
    pass_talking(&mut world, &mut publisher, 1_000);
    read(&world, socket);
    world.at(socket, |socket| socket.capacity = 1);
    publisher.publish(&key_frame(2_000));
    world.talk(&mut publisher);
    world.mailboxes.post(0, Mail::Drain);
    world.settle();
    world.at(socket, |socket| socket.peer_finished = true);
    world.settle();
    let mut rest = Vec::new();
    while !world.is_closed(socket) {
        let bytes = read(&world, socket);
        assert!(!bytes.is_empty(), "there is more: {rest:?}");
        rest.extend(bytes);
        world.settle();
    }
    rest.extend(read(&world, socket));
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{rest:?}");
}
