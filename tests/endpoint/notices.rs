//! What a service is told: each end of a session that had begun, once, in order, and updates.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare::{
    access::{Action, Decision, Grant, Notice, NoticeKind, Question, Service, Verdict},
    amf0::Value,
    config::Config,
    endpoint::{Mail, Permit, ReasonKind},
    rtmp::{client::Role, command::Command, message::type_id},
    stream::Form,
};

use super::{
    bench::{
        self, Rules, command, config, connect, handshake, http_player, is_live, key_frame, pass_talking, raw,
        raw_publisher, say,
    },
    world::{Orderly, World},
};

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Notice>>>);

impl Service for Told {
    fn ask(&self, question: Question, _answer: Box<dyn FnOnce(Verdict) + Send>) {
        panic!("a core asks through its I/O: {question:?}");
    }

    fn tell(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

impl Told {
    /// What it was told since the last call: what, of whom, why.
    fn take(&self) -> Vec<(NoticeKind, String, &'static str)> {
        self.notices().into_iter().map(|it| (it.kind, it.name, it.reason)).collect()
    }

    fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Each told hook has an address.
fn all_hooks(config: &mut Config) {
    let hooks = &mut config.hooks;
    for list in [&mut hooks.on_unpublish, &mut hooks.on_stop, &mut hooks.on_close] {
        list.push("http://127.0.0.1/".to_owned());
    }
}

fn world_with(config: Config, rules: Rules) -> (World, Told) {
    let world = World::with(1, config, Box::new(rules), Box::new(Orderly), 1_000_000);
    let told = Told::default();
    world.shared.service().connect(Box::new(told.clone()));
    (world, told)
}

fn allow(_question: &Question) -> Decision {
    Decision::Verdict(Verdict::allow())
}

fn world() -> (World, Told) {
    world_with(config(all_hooks), Rules(allow))
}

const PEER_CLOSED: &str = "closed_by_peer";

#[test]
fn the_end_of_a_publisher_is_told_once_and_before_its_connection_s() {
    let (mut world, told) = world();
    let mut publisher = world.publisher(0, "a?key=k");
    for ms in [0, 40, 80] {
        publisher.publish(&key_frame(ms));
        pass_talking(&mut world, &mut publisher, 1_000);
    }
    assert_eq!(told.take(), []);
    publisher.hang_up(&world);
    world.pass_ms(5_000);
    let notices = told.notices();
    let [unpublished, closed] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((unpublished.kind, closed.kind), (NoticeKind::Unpublished, NoticeKind::Closed));
    assert_eq!((&*unpublished.name, &*closed.name), ("live/a", "live"));
    assert_eq!((unpublished.reason, closed.reason), (PEER_CLOSED, PEER_CLOSED));
    assert_eq!((unpublished.timestamp_ms, unpublished.duration_ms), (80, 3_000));
    assert_eq!(unpublished.received_bytes, 3 * key_frame(0).payload.len() as u64);
    assert!(closed.received_bytes > 3_000 && closed.sent_bytes > 3_000, "with both handshakes: {closed:?}");
    let question = &unpublished.question;
    assert_eq!((question.action, &*question.name, &*question.query), (Action::Publish, "live/a", "key=k"));
    assert_eq!(question.connection, closed.question.connection);
    assert!(!question.party.tc_url.is_empty());
}

/// A rule for connecting is not asked about an application that the client was sent to.
#[test]
fn a_connection_that_was_let_in_under_another_application_has_that_one_from_then_on() {
    let decide = |question: &Question| match question.action {
        Action::Connect => Decision::Verdict(Verdict::allow_as("other")),
        _ => {
            assert_eq!((&*question.name, &*question.party.app), ("other/a", "other"));
            Decision::Verdict(Verdict::allow())
        }
    };
    let (mut world, told) = world_with(config(all_hooks), Rules(decide));
    let publisher = world.publisher(0, "a");
    publisher.hang_up(&world);
    world.settle();
    let names: Vec<_> = told.notices().into_iter().map(|it| (it.kind, it.name)).collect();
    assert_eq!(names.last(), Some(&(NoticeKind::Closed, "other".to_owned())));
}

#[test]
fn the_end_of_a_player_is_told_whatever_it_speaks() {
    let (mut world, told) = world();
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(1_234));
    pass_talking(&mut world, &mut publisher, 1_000);
    let player = world.player(0, "a");
    player.hang_up(&world);
    world.settle();
    let notices = told.notices();
    let kinds: Vec<_> = notices.iter().map(|it| (it.kind, &*it.name)).collect();
    assert_eq!(kinds, [(NoticeKind::Stopped, "live/a"), (NoticeKind::Closed, "live")]);
    assert!(notices[0].sent_bytes > 0 && notices[0].sent_bytes < notices[1].sent_bytes, "{notices:?}");
    assert_eq!(notices[0].timestamp_ms, 1_234);
    for form in [Form::HttpFlv, Form::HttpFlvChunked, Form::WebsocketFlv] {
        let peer = ([192, 0, 2, 1], 9).into();
        let question =
            Question { query: "key=k".to_owned(), ..Question::new(Action::Play, "live/a", peer, "http") };
        let permit = Permit::of(&Grant::default(), Some(question), world.now_ms());
        let player = http_player(&mut world, "a", form, b"", b"", permit);
        world.pass_ms(1_000);
        world.at(player, |socket| socket.is_reset = true);
        publisher.publish(&key_frame(2_000));
        pass_talking(&mut world, &mut publisher, 1_000);
        let notices = told.notices();
        let [stopped] = &notices[..] else { panic!("{form:?} {notices:?}") };
        assert_eq!((stopped.kind, &*stopped.question.query), (NoticeKind::Stopped, "key=k"), "{form:?}");
    }
}

#[test]
fn each_stream_that_is_stopped_and_begun_again_is_told_of_and_the_connection_once() {
    let (mut world, told) = world();
    let socket = raw_publisher(&mut world, "a");
    let publish = Command::call("publish", 4.0, ["b".into()]);
    say(&world, socket, &bench::message(type_id::COMMAND_AMF0, 2, publish.to_bytes()));
    say(&world, socket, &command(&Command::call("publish", 5.0, ["c".into()])));
    world.settle();
    assert!(is_live(&world, "b") && is_live(&world, "c"));
    assert_eq!(told.take(), [(NoticeKind::Unpublished, "live/a".to_owned(), "stopped_by_peer")]);
    world.at(socket, |socket| socket.is_reset = true);
    world.settle();
    let mut names: Vec<_> = told.take().into_iter().map(|(kind, name, _)| (kind as u8, name)).collect();
    let closed = (NoticeKind::Closed as u8, "live".to_owned());
    assert_eq!(names.pop(), Some(closed), "it comes last");
    names.sort();
    let unpublished = |name: &str| (NoticeKind::Unpublished as u8, name.to_owned());
    assert_eq!(names, [unpublished("live/b"), unpublished("live/c")]);
}

#[test]
fn what_has_not_begun_is_not_told_to_have_ended() {
    let (mut world, told) = world_with(
        config(all_hooks),
        Rules(|question| match question.query.as_str() {
            "no" => Decision::Verdict(Verdict::deny("no")),
            "ask" => Decision::Ask(Grant::default()),
            _ => Decision::Verdict(Verdict::allow()),
        }),
    );
    let _publisher = world.publisher(0, "a");
    // A connection that was denied, one that has not asked, and one that goes away while it is asked about.
    let socket = world.connect(0);
    let mut denied = connect();
    denied.object = Value::object([("app", "live?no".into())]);
    say(&world, socket, &handshake());
    say(&world, socket, &command(&denied));
    world.pass_ms(2_500);
    let silent = world.connect(0);
    say(&world, silent, &handshake());
    world.settle();
    world.at(silent, |socket| socket.is_reset = true);
    world.settle();
    assert_eq!(told.take(), []);
    // A yes to a name that another one has is no beginning either.
    for (role, key) in
        [(Role::Publish, "b?no"), (Role::Play, "b?no"), (Role::Publish, "a"), (Role::Play, "b?ask")]
    {
        let mut client = world.client(0, role, key);
        world.talk(&mut client);
        world.at(client.socket, |socket| socket.is_reset = true);
        world.settle();
        assert!(!client.has_started, "{key}");
        let told = told.take();
        assert_eq!(told.iter().map(|it| it.0).collect::<Vec<_>>(), [NoticeKind::Closed], "{role:?} {key}");
    }
}

#[test]
fn the_reason_is_that_of_the_end_and_the_name_that_of_the_stream() {
    let (mut world, told) = world_with(
        config(all_hooks),
        Rules(|question| {
            let name = Some("other/name".to_owned()).filter(|_| question.action == Action::Publish);
            let lasts_ms = Some(2_000).filter(|_| question.query == "short");
            Decision::Verdict(Verdict::Allow(Grant { name, user: Some("ann".into()), lasts_ms }))
        }),
    );
    let publisher = raw(&mut world, 0, &[Command::call("publish", 2.0, ["a?short".into()])]);
    world.pass_ms(3_500);
    world.at(publisher, |socket| socket.is_reset = true);
    world.settle();
    let notices = told.notices();
    let ended: Vec<_> = notices.iter().map(|it| (it.kind, &*it.name, it.reason)).collect();
    let expired = ReasonKind::Expired.label();
    assert_eq!(
        ended,
        [(NoticeKind::Unpublished, "other/name", expired), (NoticeKind::Closed, "live", expired)]
    );
    for notice in notices {
        assert_eq!(notice.question.granted.user.as_deref(), Some("ann"));
    }
}

#[test]
fn a_shutdown_tells_of_all_ends() {
    let (mut world, told) = world();
    let publisher = world.publisher(0, "a");
    let player = world.player(0, "a");
    world.mailboxes.post(0, Mail::Drain);
    world.settle();
    for peer in [&publisher, &player] {
        peer.hang_up(&world);
    }
    world.pass_ms(3_000);
    let mut kinds: Vec<_> = told.take().into_iter().map(|it| (it.0 as u8, it.2)).collect();
    kinds.sort_unstable();
    let all = [NoticeKind::Unpublished, NoticeKind::Stopped, NoticeKind::Closed, NoticeKind::Closed];
    assert_eq!(kinds, all.map(|kind| (kind as u8, ReasonKind::ShuttingDown.label())));
}

#[test]
fn updates_tell_of_publishers_and_players_as_long_as_they_go_on() {
    let on_update = |config: &mut Config| {
        config.hooks.on_update.push("http://127.0.0.1/".to_owned());
        config.hooks.update_interval = Duration::from_secs(10);
    };
    let (mut world, told) = world_with(config(on_update), Rules(allow));
    let mut publisher = world.publisher(0, "a");
    let player = world.player(0, "a");
    for second in 1..=41 {
        publisher.publish(&key_frame(second * 1_000));
        pass_talking(&mut world, &mut publisher, 1_000);
    }
    let notices = told.notices();
    assert!(
        notices.iter().all(|it| it.kind == NoticeKind::Update && it.name == "live/a" && it.reason.is_empty())
    );
    for action in [Action::Publish, Action::Play] {
        let mine: Vec<_> = notices.iter().filter(|it| it.question.action == action).collect();
        assert!((3..=4).contains(&mine.len()), "{action:?} {}", mine.len());
        let between = mine.windows(2).map(|pair| pair[1].duration_ms - pair[0].duration_ms);
        assert!(
            between.clone().all(|ms| (9_000..=11_000).contains(&ms)),
            "{:?}",
            between.collect::<Vec<_>>()
        );
        let moves = |of: fn(&Notice) -> u64| mine.windows(2).all(|pair| of(pair[1]) > of(pair[0]));
        assert!(moves(|it| it.timestamp_ms.into()), "{action:?}");
        assert!(moves(|it| it.sent_bytes + it.received_bytes) || action == Action::Play, "{mine:?}");
    }
    player.hang_up(&world);
    publisher.hang_up(&world);
    world.pass_ms(60_000);
    assert_eq!(told.take(), [], "neither goes on, and ends are not told of");
}

#[test]
fn without_told_hooks_nothing_is_told_or_kept() {
    let (mut world, told) = world_with(Config::default(), Rules(allow));
    let publisher = world.publisher(0, "a");
    let player = world.player(0, "a");
    // Those who come before a hook is configured are not told of.
    world.shared.set_config(config(all_hooks));
    for peer in [&player, &publisher] {
        peer.hang_up(&world);
    }
    world.pass_ms(5_000);
    assert_eq!(told.take(), []);
}
