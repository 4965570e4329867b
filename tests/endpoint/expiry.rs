//! Rights that end: the peer is told, and its session ends within a second of its time and not before.

use bytes::Bytes;
use fanfare::{
    access::{Action, Decision, Grant, Question, Verdict},
    config::Config,
    endpoint::{Mail, Permit, ReasonKind, report::RelayEvent},
    http::websocket::{self, CloseCode},
    rtmp::{client::Role, command::Command, message::type_id},
    stream::{Form, MemoryKind},
};

use super::{
    bench::{
        self, Rules, command, connect, events, handshake, has_ended, hears, http_player, is_live, key_frame,
        pass_talking, raw, raw_publisher, say, times,
    },
    world::{Orderly, Peer, World},
};

/// What a question whose parameters are `lasts=…` is granted: so many milliseconds.
fn lasting(question: &Question) -> Grant {
    let lasts = question.query.split('&').find_map(|it| it.strip_prefix("lasts="));
    Grant { lasts_ms: lasts.map(|it| it.parse().expect("a number")), ..Grant::default() }
}

fn world() -> World {
    world_of(Rules(|question| Decision::Verdict(Verdict::Allow(lasting(question)))))
}

fn world_of(rules: Rules) -> World {
    World::with(1, Config::default(), Box::new(rules), Box::new(Orderly), 1_000_000)
}

/// Lets so much time pass, in which the publisher sends a key frame every second.
fn pass_publishing(world: &mut World, publisher: &mut Peer, ms: u64) {
    for _ in 0..ms / 100 {
        if world.now_ms().is_multiple_of(1_000) {
            publisher.publish(&key_frame(world.now_ms() as u32));
        }
        pass_talking(world, publisher, 100);
    }
}

/// Why each publish and play has ended.
fn ends(world: &World) -> Vec<ReasonKind> {
    let ended = events(world).into_iter().filter_map(|event| match event {
        RelayEvent::PublishEnded { reason, .. } | RelayEvent::PlayEnded { reason, .. } => Some(reason.kind),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_player_is_told_that_its_session_has_expired_within_a_second_and_not_before() {
    let mut world = world();
    let mut publisher = world.publisher(0, "a");
    let mut player = world.player(0, "a?lasts=5000");
    let mut other = world.player(0, "a");
    pass_publishing(&mut world, &mut publisher, 4_900);
    world.talk(&mut player);
    assert_eq!(player.last_code(), "NetStream.Play.Start");
    assert!(!has_ended(&world, player.socket));
    assert!(times(&player).len() >= 4);
    pass_publishing(&mut world, &mut publisher, 1_100);
    world.talk(&mut player);
    let last = player.statuses.last().expect("it is told");
    assert_eq!((&*last.code, &*last.description), ("NetStream.Play.Failed", "session expired"));
    assert!(has_ended(&world, player.socket));
    assert_eq!(ends(&world), [ReasonKind::Expired]);
    assert_eq!(bench::ends(&mut world, ReasonKind::Expired), 0, "it has not closed its side");
    player.hang_up(&world);
    assert_eq!(bench::ends(&mut world, ReasonKind::Expired), 1);
    pass_publishing(&mut world, &mut publisher, 2_000);
    world.talk(&mut other);
    assert!(!has_ended(&world, other.socket) && other.frames.len() >= 7);
}

#[test]
fn a_player_over_http_ends_as_its_protocol_can_say_it() {
    let close = websocket::close_for(CloseCode::Unauthorized, "session expired");
    for (form, last) in [
        (Form::HttpFlv, Bytes::new()),
        (Form::HttpFlvChunked, Bytes::from_static(b"0\r\n\r\n")),
        (Form::WebsocketFlv, close),
    ] {
        let mut world = world();
        let mut publisher = world.publisher(0, "a");
        let granted = Grant { lasts_ms: Some(3_000), ..Grant::default() };
        let permit = Permit::of(&granted, None, world.now_ms());
        let player = http_player(&mut world, "a", form, b"", b"", permit);
        pass_publishing(&mut world, &mut publisher, 2_900);
        assert!(!has_ended(&world, player), "{form:?}");
        assert!(!bench::unread(&world, player).is_empty());
        pass_publishing(&mut world, &mut publisher, 1_100);
        assert!(has_ended(&world, player), "{form:?}");
        assert!(bench::unread(&world, player).ends_with(&last), "{form:?}");
        assert_eq!(ends(&world), [ReasonKind::Expired]);
    }
}

#[test]
fn a_publisher_is_told_and_its_name_is_free() {
    let mut world = world();
    let socket = raw(&mut world, 0, &[Command::call("publish", 2.0, ["a?lasts=2000".into()])]);
    world.pass_ms(1_900);
    assert!(is_live(&world, "a"));
    world.pass_ms(1_100);
    assert!(!is_live(&world, "a") && has_ended(&world, socket));
    assert!(hears(&world, socket, "NetStream.Publish.Denied") && hears(&world, socket, "session expired"));
    assert_eq!(ends(&world), [ReasonKind::Expired]);
    let _another = world.publisher(0, "a");
}

#[test]
fn one_of_two_streams_of_a_connection_ends_alone() {
    let mut world = world();
    let socket = raw_publisher(&mut world, "a");
    let publish = Command::call("publish", 4.0, ["b?lasts=2000".into()]);
    say(&world, socket, &bench::message(type_id::COMMAND_AMF0, 2, publish.to_bytes()));
    world.pass_ms(1_000);
    assert!(is_live(&world, "a") && is_live(&world, "b"));
    world.pass_ms(2_000);
    assert!(is_live(&world, "a") && !is_live(&world, "b") && !has_ended(&world, socket));
}

#[test]
fn a_connection_that_publishes_goes_on_when_its_right_to_play_has_ended() {
    let mut world = world();
    let socket = raw_publisher(&mut world, "a");
    let play = Command::call("play", 4.0, ["b?lasts=2000".into()]);
    say(&world, socket, &bench::message(type_id::COMMAND_AMF0, 2, play.to_bytes()));
    world.pass_ms(3_000);
    assert!(hears(&world, socket, "session expired"));
    assert!(is_live(&world, "a") && !has_ended(&world, socket));
    assert_eq!(ends(&world), [ReasonKind::Expired]);
}

#[test]
fn a_right_to_connect_that_ends_ends_all_that_the_connection_does() {
    let mut world = world();
    let socket = world.connect(0);
    let mut connect = connect();
    connect.object = fanfare::amf0::Value::object([("app", "live?lasts=2000".into())]);
    say(&world, socket, &handshake());
    for it in [connect, Command::call("publish", 2.0, ["a".into()])] {
        say(&world, socket, &command(&it));
    }
    world.pass_ms(1_900);
    assert!(is_live(&world, "a"));
    world.pass_ms(1_100);
    assert!(!is_live(&world, "a") && has_ended(&world, socket));
    assert!(hears(&world, socket, "session expired"));
}

#[test]
fn a_right_that_ended_while_the_core_stood_still_has_ended() {
    let mut world = world();
    let _publisher = world.publisher(0, "a");
    let player = world.player(0, "a?lasts=60000");
    world.stand_still_ms(60_000);
    world.pass_ms(1_000);
    assert!(has_ended(&world, player.socket), "it is no deadline of the core's patience");
}

#[test]
fn a_publisher_that_waits_for_its_name_when_its_right_ends_does_not_get_it() {
    let mut config = Config::default();
    config.publish.on_second_publisher = fanfare::config::SecondPublisher::Takeover;
    let rules = Rules(|question| Decision::Verdict(Verdict::Allow(lasting(question))));
    let mut world = World::with(2, config, Box::new(rules), Box::new(Orderly), 1_000_000);
    let _first = world.publisher(0, "a");
    world.stop_core(0);
    let second = raw(&mut world, 1, &[Command::call("publish", 2.0, ["a?lasts=500".into()])]);
    world.pass_ms(1_600);
    assert!(hears(&world, second, "session expired") && has_ended(&world, second));
    world.start_core(0);
    world.pass_ms(1_000);
    assert!(!is_live(&world, "a"));
    assert_eq!(ends(&world), [ReasonKind::TakenOver]);
}

#[test]
fn the_shorter_of_what_rules_and_service_grant_counts_and_the_rules_count_from_the_question_on() {
    for (lasts_ms, by_service, after_answer) in
        [(5_000, None, 3_000), (5_000, Some(5_000), 3_000), (5_000, Some(1_000), 1_000)]
    {
        let mut world = world_of(Rules(|question| match question.action {
            Action::Play => Decision::Ask(lasting(question)),
            _ => Decision::Verdict(Verdict::allow()),
        }));
        let _publisher = world.publisher(0, "a");
        let mut player = world.client(0, Role::Play, &format!("a?lasts={lasts_ms}"));
        world.talk(&mut player);
        world.pass_ms(2_000);
        let (asked, question) = world.net.borrow().questions.last().cloned().expect("it asks");
        assert_eq!(question.granted.lasts_ms, Some(lasts_ms));
        let verdict = Verdict::Allow(Grant { lasts_ms: by_service, ..Grant::default() });
        world.mailboxes.post(0, Mail::Verdict { asked, verdict });
        world.talk(&mut player);
        assert!(player.has_started);
        world.pass_ms(after_answer - 100);
        assert!(!has_ended(&world, player.socket), "{lasts_ms} {by_service:?}");
        world.pass_ms(1_100);
        assert!(has_ended(&world, player.socket), "{lasts_ms} {by_service:?}");
    }
}

#[test]
fn the_user_that_connect_has_proved_is_in_the_later_questions_of_the_connection() {
    let mut world = world_of(Rules(|question| match question.action {
        Action::Connect => {
            let user = Some("ann".into()).filter(|_| question.party.client.is_empty());
            Decision::Verdict(Verdict::Allow(Grant { user, ..Grant::default() }))
        }
        _ => Decision::Ask(Grant::default()),
    }));
    raw(&mut world, 0, &[Command::call("publish", 2.0, ["a".into()])]);
    let mut other = world.client(0, Role::Play, "a");
    world.talk(&mut other);
    let questions = world.net.borrow().questions.clone();
    let users: Vec<_> = questions.iter().map(|(_, question)| question.party.user.as_deref()).collect();
    assert_eq!(users, [Some("ann"), None]);
}

#[test]
fn what_a_peer_said_of_itself_counts_as_memory_until_it_is_gone() {
    let mut world = world();
    let input = |world: &mut World| {
        world.pass_ms(100);
        world.shared.registry().memory().of(MemoryKind::Input)
    };
    let before = input(&mut world);
    let socket = world.connect(0);
    let mut connect = connect();
    let page_url = "x".repeat(2_000);
    connect.object = fanfare::amf0::Value::object([("app", "live".into()), ("pageUrl", page_url.into())]);
    say(&world, socket, &handshake());
    say(&world, socket, &command(&connect));
    let with_it = input(&mut world);
    assert!(with_it - before >= 2_000, "{before} {with_it}");
    world.at(socket, |socket| socket.is_reset = true);
    assert_eq!(input(&mut world), before);
}
