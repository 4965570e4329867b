//! How a core's time is shared: what takes more than a slice of it waits its turn, and no other connection waits.

use std::time::Duration;

use fanfare::{
    access::Verdict,
    config::Config,
    endpoint::{Asked, Mail, ReasonKind},
    rtmp::{command::Command, message::type_id, session::QuestionId},
    stream::ConnectionRef,
};

use super::{
    bench::{
        Answer, PING_REQUEST, Troubled, command, config, ends, has_ended, hears, logged, message,
        occurrences, raw, raw_publisher, say, tiny, trouble, unread,
    },
    world::{SocketId, World},
};

const MANY: usize = 1_000;
/// A slice is over after each message.
const SLOW_US: u64 = 250;

/// So many publishers, of `live/0` and so on, and how fast the core works.
fn publishers(count: usize, config: Config) -> (World, Vec<SocketId>, Troubled) {
    let mut world = World::new(config);
    let sockets = (0..count).map(|number| raw_publisher(&mut world, &number.to_string())).collect();
    let troubled = trouble(&mut world);
    (world, sockets, troubled)
}

fn frames(world: &World, number: usize) -> usize {
    logged(world, &number.to_string())
}

/// Bytes that the relay has not received.
fn unreceived(world: &World, socket: SocketId) -> usize {
    world.at(socket, |socket| socket.to_relay.len())
}

#[test]
fn a_connection_that_sends_more_than_a_slice_of_work_waits_and_is_read_no_further_and_the_next_does_not_wait_for_it()
 {
    let (mut world, sockets, troubled) = publishers(3, Config::default());
    let [first, second, honest] = [0, 1, 2];
    troubled.work_us.set(SLOW_US);
    for heavy in [first, second] {
        say(&world, sockets[heavy], &tiny(MANY));
    }
    world.round(0);
    assert!(frames(&world, first) + frames(&world, second) <= 3, "a slice each, and one of a turn");
    assert_eq!(world.cores[0].backlog_len(), 2);
    // What comes next is not received.
    for heavy in [first, second] {
        say(&world, sockets[heavy], &[0; 10]);
    }
    world.round(0);
    assert_eq!((unreceived(&world, sockets[first]), unreceived(&world, sockets[second])), (10, 10));
    // The next one does not wait.
    troubled.work_us.set(0);
    say(&world, sockets[honest], &tiny(3));
    world.cores[0].advance();
    troubled.work_us.set(SLOW_US);
    let before = [first, second].map(|heavy| frames(&world, heavy));
    world.round(0);
    assert!(frames(&world, honest) >= 1);
    assert!(
        [first, second].map(|heavy| frames(&world, heavy)).iter().sum::<usize>()
            <= before.iter().sum::<usize>() + 1
    );
    // In turns, a slice each.
    let before = [first, second].map(|heavy| frames(&world, heavy));
    while world.cores[0].backlog_len() == 3 {
        world.cores[0].work_off_backlog();
    }
    for slices in 1..10 {
        assert!(world.cores[0].work_off_backlog() && world.cores[0].work_off_backlog());
        let now = [first, second].map(|heavy| frames(&world, heavy));
        let gained = [now[0] - before[0], now[1] - before[1]];
        assert!(gained[0].abs_diff(gained[1]) <= 1, "{slices} slices each: {gained:?}");
    }
    for heavy in [first, second] {
        world.at(sockets[heavy], |socket| socket.to_relay.clear());
    }
    while world.cores[0].work_off_backlog() {}
    assert_eq!([first, second].map(|heavy| frames(&world, heavy)), [MANY, MANY]);
    assert_eq!((frames(&world, honest), world.cores[0].backlog_len()), (3, 0));
    // They are read again.
    troubled.work_us.set(0);
    for heavy in [first, second] {
        say(&world, sockets[heavy], &tiny(1));
    }
    world.settle();
    assert_eq!([first, second].map(|heavy| frames(&world, heavy)), [MANY + 1, MANY + 1]);
}

#[test]
fn what_comes_next_of_a_heavy_one_waits_after_all_others_until_it_is_little() {
    let (mut world, sockets, troubled) = publishers(1, Config::default());
    troubled.work_us.set(SLOW_US);
    say(&world, sockets[0], &tiny(MANY));
    world.settle();
    assert_eq!(frames(&world, 0), MANY);
    troubled.work_us.set(0);
    for (more, waits) in [(3, true), (6, false)] {
        say(&world, sockets[0], &tiny(3));
        complete_receives(&mut world);
        assert_eq!(world.cores[0].backlog_len(), usize::from(waits));
        assert_eq!(frames(&world, 0), MANY + more - if waits { 3 } else { 0 });
        while world.cores[0].work_off_backlog() {}
        assert_eq!(frames(&world, 0), MANY + more);
    }
}

/// A round without its turn of the backlog: the core has other things to do.
fn complete_receives(world: &mut World) {
    world.complete_all(0);
}

#[test]
fn a_player_whose_slice_is_over_is_sent_that_it_plays_before_it_gets_a_frame() {
    let (mut world, sockets, troubled) = publishers(1, Config::default());
    say(&world, sockets[0], &message(type_id::VIDEO, 1, b"\x17\x01\0\0\0key frame".to_vec()));
    world.settle();
    world.pass_ms(1_000);
    let player = raw(&mut world, 0, &[Command::call("createStream", 2.0, [])]);
    world.at(player, |socket| socket.to_peer.clear());
    troubled.work_us.set(SLOW_US);
    // What comes after it keeps it in the backlog.
    say(&world, player, &command(&Command::call("play", 3.0, ["0".into()])));
    (0..20).for_each(|_| say(&world, player, &command(&Command::call("nonsense", 4.0, []))));
    world.settle();
    let bytes = unread(&world, player);
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
    let (start, media) = (find(b"NetStream.Play.Start"), find(b"\x17\x01\0\0\0key frame"));
    assert!(start.is_some() && start < media, "{start:?} {media:?}");
}

#[test]
fn a_connection_that_ends_in_the_backlog_is_let_go_of() {
    let (mut world, sockets, troubled) = publishers(2, Config::default());
    troubled.work_us.set(SLOW_US);
    for &socket in &sockets {
        say(&world, socket, &tiny(MANY));
    }
    world.round(0);
    assert_eq!(world.cores[0].backlog_len(), 2);
    // One that is kicked is flushed, and its end is seen though it waits in the backlog.
    for (number, report) in super::bench::report_now(&mut world, 0).into_iter().enumerate() {
        let (answer, reply) = Answer::wanted();
        let (connection_id, role) = (report.id, report.role);
        world.cores[0].deliver(Mail::End { connection_id, role, stream: None, reply });
        while world.cores[0].work_off_mail() {}
        assert_eq!(answer.take(), Some(true), "{number}");
    }
    // The place of one is taken by another.
    world.at(sockets[0], |socket| socket.is_reset = true);
    world.complete_all(0);
    assert!(world.is_closed(sockets[0]));
    let next = world.connect(0);
    while world.cores[0].work_off_backlog() {}
    world.at(sockets[1], |socket| socket.peer_finished = true);
    troubled.work_us.set(0);
    world.settle();
    assert!(world.is_closed(sockets[1]) && !has_ended(&world, next));
    assert_eq!(world.cores[0].backlog_len(), 0);
}

#[test]
fn a_connection_in_the_backlog_was_heard_and_is_not_silent() {
    let (mut world, sockets, troubled) = publishers(1, Config::default());
    // 100 ms per message: 20 s for all of them, in which nothing is received.
    troubled.work_us.set(20_000);
    say(&world, sockets[0], &tiny(200));
    world.settle();
    assert!(world.now_ms() > 16_000);
    assert_eq!(frames(&world, 0), 200);
    assert!(!has_ended(&world, sockets[0]));
}

#[test]
fn a_silent_publisher_whose_pings_take_more_than_a_slice_each_is_not_heard() {
    let (mut world, sockets, troubled) =
        publishers(1, config(|config| config.limits.publisher_timeout = Duration::from_secs(10)));
    let silent_ms = |world: &World| world.shared.registry().get("live/0").unwrap().silent_ms();
    troubled.work_us.set(SLOW_US);
    world.pass_ms(8_000);
    assert!(occurrences(&world, sockets[0], &PING_REQUEST) > 1);
    assert!(silent_ms(&world) >= 8_000 && !has_ended(&world, sockets[0]), "{}", silent_ms(&world));
    world.pass_ms(4_000);
    assert!(has_ended(&world, sockets[0]));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::PublisherTimeout), 1);
}

#[test]
fn at_the_limit_of_messages_all_pass_and_one_past_it_ends_the_connection_with_a_reason() {
    let (mut world, sockets, _) = publishers(1, config(|config| config.limits.messages_per_second = 100));
    // Two messages have come: connect and publish.
    say(&world, sockets[0], &tiny(498));
    world.settle();
    assert!(!has_ended(&world, sockets[0]));
    say(&world, sockets[0], &tiny(1));
    world.settle();
    assert!(has_ended(&world, sockets[0]) && hears(&world, sockets[0], "NetStream.Publish.Denied"));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::MessageRate), 1);
}

#[test]
fn each_window_of_5_s_has_its_own_messages() {
    let (mut world, sockets, _) = publishers(1, config(|config| config.limits.messages_per_second = 100));
    world.pass_ms(5_000);
    for _ in 0..5 {
        say(&world, sockets[0], &tiny(500));
        world.settle();
        assert!(!has_ended(&world, sockets[0]));
        world.pass_ms(5_000);
    }
}

#[test]
fn a_peer_that_sends_more_than_encoders_do_and_that_the_relay_cannot_keep_up_with_is_ended_before_the_limit()
{
    // 25 messages are a slice, and 200 in 100 ms the most that encoders send.
    for (per_read, work_us, is_ended) in [(201, 10, true), (201, 0, false), (200, 10, false)] {
        let (mut world, sockets, troubled) = publishers(1, Config::default());
        for read in 1..200 {
            troubled.work_us.set(work_us);
            say(&world, sockets[0], &tiny(per_read));
            world.settle();
            troubled.work_us.set(0);
            world.pass_ms((1_000 + read * 100_u64).saturating_sub(world.now_ms()));
        }
        assert_eq!(has_ended(&world, sockets[0]), is_ended, "{per_read} per read, {work_us} us each");
    }
}

#[test]
fn messages_that_piled_up_in_a_standstill_of_the_core_are_no_excess() {
    let (mut world, sockets, _) = publishers(1, config(|config| config.limits.messages_per_second = 100));
    // It is pinged now, and a window begins.
    world.pass_ms(4_000);
    world.stand_still_ms(4_000 + 200);
    // 5 s of the window, and those that the standstill lasted.
    say(&world, sockets[0], &tiny(900));
    world.settle();
    assert!(!has_ended(&world, sockets[0]));
    say(&world, sockets[0], &tiny(1));
    world.settle();
    assert!(has_ended(&world, sockets[0]));
}

#[test]
fn what_the_control_plane_asks_for_is_done_a_slice_at_a_time() {
    let (mut world, _, troubled) = publishers(1, Config::default());
    troubled.work_us.set(SLOW_US);
    let answers: Vec<_> = (0..3)
        .map(|_| {
            let (answer, reply) = Answer::wanted();
            world.cores[0].deliver(Mail::Report(reply));
            answer
        })
        .collect();
    for _ in 0..3 {
        assert!(world.cores[0].work_off_mail());
        assert_eq!(answers.iter().filter_map(Answer::take).count(), 1);
    }
    assert!(!world.cores[0].work_off_mail());
}

#[test]
fn verdicts_that_come_at_once_hold_a_core_for_no_longer_than_a_slice() {
    let (mut world, _, troubled) = publishers(1, Config::default());
    troubled.work_us.set(SLOW_US);
    let gone = ConnectionRef { core: 0, key: 77, connection_id: 77 };
    let asked = Asked { connection: gone, question: QuestionId::default() };
    (0..3).for_each(|_| world.cores[0].deliver(Mail::Verdict { asked, verdict: Verdict::allow() }));
    let (answer, reply) = Answer::wanted();
    world.cores[0].deliver(Mail::Report(reply));
    for _ in 0..3 {
        assert!(world.cores[0].work_off_mail());
        assert!(answer.take().is_none(), "a slice is over after each verdict");
    }
    assert!(world.cores[0].work_off_mail() && answer.take().is_some());
}
