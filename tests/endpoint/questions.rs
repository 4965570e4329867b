//! Questions that are decided elsewhere: each verdict on each, at once and late; verdicts that come too late.

use std::{collections::HashSet, time::Duration};

use fanfare::{
    access::{Access, Action, Cause, Decision, Denial, Details, Grant, Question, Verdict},
    config::{Config, SecondPublisher},
    endpoint::{
        Asked, DenialLabels, Mail, ReasonKind,
        report::{self, RelayEvent},
    },
    rtmp::{client::Role, command::Command, message::type_id},
};

use super::{
    bench::{
        Rules, command, config, connect, ends, events, handshake, has_ended, hears, is_live, key_frame,
        pass_talking, raw, say, times,
    },
    world::{Orderly, Peer, SocketId, World},
};

/// Decides this about one action, and allows the others.
struct Ruling(Action, Decision);

impl Access for Ruling {
    fn decide(&self, question: &Question) -> Decision {
        match question.action == self.0 {
            true => self.1.clone(),
            false => Decision::Verdict(Verdict::allow()),
        }
    }
}

fn world(access: impl Access + 'static) -> World {
    world_with(access, Config::default())
}

fn world_with(access: impl Access + 'static, config: Config) -> World {
    World::with(1, config, Box::new(access), Box::new(Orderly), 1_000_000)
}

fn asks_about(action: Action) -> World {
    world(Ruling(action, Decision::Ask(Grant::default())))
}

/// The newest question.
fn newest(world: &World) -> (Asked, Question) {
    world.net.borrow().questions.last().cloned().expect("it asks")
}

fn decide(world: &mut World, asked: Asked, verdict: Verdict) {
    world.mailboxes.post(asked.connection.core, Mail::Verdict { asked, verdict });
    world.settle();
}

fn deny(reason: &str) -> Verdict {
    Verdict::deny(reason)
}

const ACTIONS: [Action; 3] = [Action::Connect, Action::Publish, Action::Play];

/// The one whose question is about this, as a client of `live/a`.
fn client(world: &mut World, action: Action) -> Peer {
    let role = if action == Action::Play { Role::Play } else { Role::Publish };
    let mut peer = world.client(0, role, "a");
    world.talk(&mut peer);
    peer
}

/// What the events say that was published or played.
fn begun(world: &World) -> Vec<String> {
    let begun = events(world).into_iter().filter_map(|event| match event {
        RelayEvent::Publishing { stream, .. } | RelayEvent::Playing { stream, .. } => Some(stream),
        _ => None,
    });
    begun.collect()
}

/// Who decides, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    TheRules,
    AtOnce,
    After2Seconds,
}

/// What becomes of a client about whose question this is decided.
fn outcome(action: Action, verdict: &Verdict, when: When) -> (World, Peer) {
    let decision = match when {
        When::TheRules => Decision::Verdict(verdict.clone()),
        When::AtOnce | When::After2Seconds => Decision::Ask(Grant::default()),
    };
    let mut world = world(Ruling(action, decision));
    let mut peer = client(&mut world, action);
    if when != When::TheRules {
        assert!(!peer.has_started && peer.statuses.is_empty(), "{action:?} {verdict:?}");
        if when == When::After2Seconds {
            world.pass_ms(2_000);
            world.talk(&mut peer);
            assert!(!peer.has_started && peer.statuses.is_empty() && !has_ended(&world, peer.socket));
        }
        let (asked, question) = newest(&world);
        assert_eq!(question.action, action);
        decide(&mut world, asked, verdict.clone());
        world.talk(&mut peer);
    }
    (world, peer)
}

fn each_case(check: impl Fn(Action, When)) {
    for action in ACTIONS {
        for when in [When::TheRules, When::AtOnce, When::After2Seconds] {
            check(action, when);
        }
    }
}

#[test]
fn one_that_is_allowed_gets_what_it_asks_for() {
    each_case(|action, when| {
        let (world, peer) = outcome(action, &Verdict::allow(), when);
        assert!(peer.has_started && !has_ended(&world, peer.socket), "{action:?} {when:?}");
        assert_eq!(begun(&world), ["live/a"]);
    });
}

#[test]
fn a_denial_is_counted_and_an_event_and_closes_the_connection() {
    each_case(|action, when| {
        let (world, peer) = outcome(action, &deny("not today"), when);
        assert!(has_ended(&world, peer.socket), "{action:?} {when:?}");
        assert_eq!(peer.statuses.last().expect("it is told").description, "not today");
        let labels = DenialLabels { action, rule: "hook".into(), cause: Cause::Service };
        assert_eq!(world.shared.denials().counts(), [(labels, 1)]);
        let denied: Vec<_> = events(&world)
            .into_iter()
            .filter_map(|event| match event {
                RelayEvent::Denied { action, name, rule, cause, detail, .. } => {
                    Some((action, name, rule, cause, detail))
                }
                _ => None,
            })
            .collect();
        let name = if action == Action::Connect { "live" } else { "live/a" };
        let expected = (action.name(), name, "hook", "service", "not today");
        let denied: Vec<_> = denied.iter().map(|(a, n, r, c, d)| (*a, &**n, &**r, *c, &**d)).collect();
        assert_eq!(denied, [expected], "{when:?}");
    });
}

#[test]
fn the_steps_of_adobe_s_challenge_are_no_denials() {
    let challenge = Verdict::Deny(Denial {
        reason: "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ".to_owned(),
        cause: Cause::NoCredentials,
        rule: "1".into(),
    });
    let (world, peer) = outcome(Action::Connect, &challenge, When::TheRules);
    assert!(has_ended(&world, peer.socket));
    assert!(peer.statuses.last().expect("it is told").description.contains("authmod=adobe"));
    assert_eq!(world.shared.denials().counts(), []);
    assert!(!events(&world).iter().any(|event| matches!(event, RelayEvent::Denied { .. })));
}

#[test]
fn one_that_is_allowed_under_another_name_gets_it_under_that_name() {
    each_case(|action, when| {
        let (verdict, name) = match action {
            Action::Connect => ("other", "other/a"),
            Action::Publish | Action::Play | Action::Api => ("other/b", "other/b"),
        };
        let (world, peer) = outcome(action, &Verdict::allow_as(verdict.to_owned()), when);
        assert!(peer.has_started, "{action:?} {when:?}");
        assert_eq!(begun(&world), [name]);
        assert!(world.shared.registry().get("live/a").is_none());
        assert!(world.shared.registry().get(name).is_some());
    });
}

#[test]
fn one_that_is_redirected_gets_the_address_and_is_closed() {
    each_case(|action, when| {
        let address = "rtmp://192.0.2.1/live/a";
        let (mut world, peer) = outcome(action, &Verdict::Redirect(address.to_owned()), when);
        let code = match action {
            Action::Connect | Action::Api => "NetConnection.Connect.Rejected",
            Action::Publish => "NetStream.Publish.Denied",
            Action::Play => "NetStream.Play.Failed",
        };
        assert_eq!(peer.last_code(), code, "{when:?}");
        assert!(peer.statuses.last().unwrap().description.contains(address));
        assert!(has_ended(&world, peer.socket) && begun(&world).is_empty());
        world.pass_ms(2_000);
        assert_eq!(ends(&mut world, ReasonKind::Refused), 1);
        assert!(world.shared.registry().is_empty());
    });
}

#[test]
fn one_that_is_denied_gets_the_reason_and_is_closed() {
    each_case(|action, when| {
        let (mut world, peer) = outcome(action, &deny("not on Thursdays"), when);
        let code = match action {
            Action::Connect | Action::Api => "NetConnection.Connect.Rejected",
            Action::Publish => "NetStream.Publish.Denied",
            Action::Play => "NetStream.Play.Failed",
        };
        assert_eq!(peer.last_code(), code, "{when:?}");
        assert!(peer.statuses.last().unwrap().description.contains("not on Thursdays"));
        assert!(has_ended(&world, peer.socket) && begun(&world).is_empty());
        world.pass_ms(2_000);
        assert_eq!(ends(&mut world, ReasonKind::Refused), 1);
        assert!(world.shared.registry().is_empty());
    });
}

#[test]
fn another_name_that_is_none_denies() {
    for action in ACTIONS {
        let (world, peer) = outcome(action, &Verdict::allow_as("..".to_owned()), When::AtOnce);
        assert!(!peer.has_started && has_ended(&world, peer.socket), "{action:?}");
        assert!(begun(&world).is_empty());
    }
}

#[test]
fn a_question_says_who_asks_for_what() {
    let mut world = asks_about(Action::Publish);
    let peer = ([192, 0, 2, 1], 7).into();
    let socket = world.connect_from(0, peer);
    say(&world, socket, &handshake());
    for it in [connect(), Command::call("publish", 2.0, ["a?key=secret".into()])] {
        say(&world, socket, &command(&it));
    }
    world.settle();
    let asked = newest(&world).1;
    assert!(asked.connection > 0 && asked.party.app == "live");
    let expected = Question {
        query: "key=secret".to_owned(),
        connection: asked.connection,
        party: asked.party.clone(),
        details: Details::Publish { kind: String::new() },
        ..Question::new(Action::Publish, "live/a", peer, "rtmp")
    };
    assert_eq!(asked, expected);
}

#[test]
fn a_name_that_is_asked_about_is_still_free() {
    let mut world = world(Rules(|question| match question.query.as_str() {
        "slow" => Decision::Ask(Grant::default()),
        _ => Decision::Verdict(Verdict::allow()),
    }));
    let slow = raw(&mut world, 0, &[Command::call("publish", 2.0, ["a?slow".into()])]);
    assert!(!is_live(&world, "a"));
    let other = world.publisher(0, "a");
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    assert!(hears(&world, slow, "NetStream.Publish.BadName") && has_ended(&world, slow));
    assert!(!has_ended(&world, other.socket));
}

#[test]
fn what_a_peer_sends_while_it_asks_is_read_after_the_answer() {
    let mut world = asks_about(Action::Publish);
    let mut publisher = client(&mut world, Action::Publish);
    publisher.publish(&key_frame(0));
    publisher.send(&world);
    world.pass_ms(2_000);
    let waiting = world.at(publisher.socket, |socket| socket.to_relay.len());
    assert!(waiting > 0, "it is not read");
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    world.talk(&mut publisher);
    let mut player = world.player(0, "a");
    world.pass_ms(1_000);
    world.talk(&mut player);
    assert_eq!(times(&player), [0]);
}

#[test]
fn no_decision_in_time_denies() {
    for action in ACTIONS {
        let mut world = asks_about(action);
        let mut peer = client(&mut world, action);
        world.pass_ms(9_999);
        world.talk(&mut peer);
        assert!(peer.statuses.is_empty() && !has_ended(&world, peer.socket), "{action:?}");
        world.pass_ms(1);
        world.talk(&mut peer);
        assert!(peer.statuses.last().unwrap().description.contains("no decision in time"), "{action:?}");
        assert!(has_ended(&world, peer.socket));
        // It comes all the same, too late.
        let asked = newest(&world).0;
        decide(&mut world, asked, Verdict::allow());
        world.talk(&mut peer);
        assert!(!peer.has_started && begun(&world).is_empty());
    }
}

#[test]
fn the_time_of_a_question_is_none_of_the_request() {
    let access = Ruling(Action::Connect, Decision::Ask(Grant::default()));
    let mut world =
        world_with(access, config(|config| config.limits.request_timeout = Duration::from_secs(1)));
    let socket = raw(&mut world, 0, &[]);
    world.pass_ms(9_000);
    assert!(!has_ended(&world, socket));
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    world.pass_ms(999);
    assert!(!has_ended(&world, socket));
    world.pass_ms(1);
    assert!(has_ended(&world, socket));
}

#[test]
fn a_peer_that_hangs_up_while_it_asks_is_noticed_at_once() {
    for action in ACTIONS {
        for is_reset in [false, true] {
            let mut world = asks_about(action);
            let peer = client(&mut world, action);
            // What it has sent besides is not read, and its end is seen all the same.
            say(&world, peer.socket, &[0; 1_000]);
            world.pass_ms(1_000);
            assert!(!world.is_closed(peer.socket));
            let now_ms = world.now_ms();
            world.at(peer.socket, |socket| {
                (socket.peer_finished, socket.is_reset) = (true, is_reset);
            });
            world.settle();
            assert!(world.is_closed(peer.socket), "{action:?}");
            assert_eq!(world.now_ms(), now_ms);
            assert_eq!(world.shared.admission().connections(), 0);
            let asked = newest(&world).0;
            decide(&mut world, asked, Verdict::allow());
            assert!(world.shared.registry().is_empty() && begun(&world).is_empty());
        }
    }
}

#[test]
fn an_answer_to_a_connection_that_is_gone_changes_nothing_for_the_next_one_in_its_place() {
    for action in ACTIONS {
        let mut world = asks_about(action);
        let first = client(&mut world, action);
        let of_the_first = newest(&world).0;
        first.hang_up(&world);
        world.settle();
        let mut second = client(&mut world, action);
        let of_the_second = newest(&world).0;
        assert_eq!(of_the_first.connection.key, of_the_second.connection.key, "the same place");
        assert_eq!(of_the_first.question, of_the_second.question, "the same number");
        for verdict in [Verdict::allow(), deny("too late")] {
            decide(&mut world, of_the_first, verdict);
            world.talk(&mut second);
            assert!(second.statuses.is_empty() && !second.has_started, "{action:?}");
        }
        decide(&mut world, of_the_second, Verdict::allow());
        world.talk(&mut second);
        assert!(second.has_started);
    }
}

#[test]
fn a_second_answer_to_a_question_changes_nothing() {
    for action in ACTIONS {
        let mut world = asks_about(action);
        let mut peer = client(&mut world, action);
        let asked = newest(&world).0;
        decide(&mut world, asked, Verdict::allow());
        decide(&mut world, asked, deny("on second thoughts"));
        decide(&mut world, asked, Verdict::allow_as("other/b".to_owned()));
        world.talk(&mut peer);
        assert!(peer.has_started && !has_ended(&world, peer.socket), "{action:?}");
        assert_eq!(begun(&world), ["live/a"]);
    }
}

#[test]
fn an_answer_to_another_question_of_the_connection_changes_nothing() {
    let mut world = world(Rules(|question| match question.action {
        Action::Connect | Action::Publish => Decision::Ask(Grant::default()),
        Action::Play | Action::Api => Decision::Verdict(Verdict::allow()),
    }));
    let mut peer = client(&mut world, Action::Publish);
    let first = newest(&world).0;
    decide(&mut world, first, Verdict::allow());
    world.talk(&mut peer);
    let second = newest(&world).0;
    assert_ne!(first.question, second.question);
    for verdict in [Verdict::allow(), deny("late")] {
        decide(&mut world, first, verdict);
        world.talk(&mut peer);
        assert!(!peer.has_started && peer.statuses.is_empty());
    }
    decide(&mut world, second, Verdict::allow());
    world.talk(&mut peer);
    assert!(peer.has_started);
}

#[test]
fn an_answer_about_a_stream_that_has_been_deleted_changes_nothing() {
    let mut world = asks_about(Action::Publish);
    let mut peer = client(&mut world, Action::Publish);
    let asked = newest(&world).0;
    peer.client.send_command(&Command::call("deleteStream", 0.0, [1.0.into()]));
    peer.send(&world);
    decide(&mut world, asked, Verdict::allow());
    assert!(!is_live(&world, "a"), "it was allowed, and is deleted at once");
    decide(&mut world, asked, Verdict::allow());
    decide(&mut world, asked, deny("late"));
    world.talk(&mut peer);
    assert!(!is_live(&world, "a") && !has_ended(&world, peer.socket));
}

#[test]
fn a_verdict_on_a_publisher_that_waits_for_its_name_already_changes_nothing() {
    let (rules, config) = (
        Rules(|question| match question.query.as_str() {
            "asks" => Decision::Ask(Grant::default()),
            _ => Decision::Verdict(Verdict::allow()),
        }),
        config(|config| config.publish.on_second_publisher = SecondPublisher::Takeover),
    );
    let mut world = World::with(2, config, Box::new(rules), Box::new(Orderly), 1_000_000);
    let _first = world.publisher(0, "a");
    world.stop_core(0);
    let second = raw(&mut world, 1, &[Command::call("publish", 2.0, ["a?asks".into()])]);
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    assert!(!hears(&world, second, "NetStream.Publish"), "it waits for the name");
    decide(&mut world, asked, deny("late"));
    world.start_core(0);
    world.settle();
    assert!(hears(&world, second, "NetStream.Publish.Start") && is_live(&world, "a"));
}

#[test]
fn an_answer_that_takes_2_seconds_keeps_none_of_a_thousand_others_waiting() {
    // All are asked about, and this one alone is not decided at once.
    let mut world = world(Rules(|_| Decision::Ask(Grant::default())));
    let mut answered = HashSet::new();
    let mut slow = world.client(0, Role::Play, "slow");
    talk_deciding(&mut world, &mut slow, &mut answered);
    let began_ms = world.now_ms();
    let mut publisher: Option<Peer> = None;
    for number in 0..1_000_u32 {
        let now_ms = world.now_ms();
        let name = format!("{}", number / 10);
        let role = if number % 10 == 0 { Role::Publish } else { Role::Play };
        let mut peer = world.client(0, role, &name);
        talk_deciding(&mut world, &mut peer, &mut answered);
        assert!(peer.has_started, "{role:?} of {name}: {:?}", peer.statuses);
        match (role, &mut publisher) {
            (Role::Publish, _) => {
                peer.publish(&key_frame(0));
                peer.publish(&super::bench::audio(0));
                world.talk(&mut peer);
                publisher = Some(peer);
            }
            (Role::Play, _) => assert_eq!(peer.frames.len(), 2, "{name} plays"),
        }
        assert_eq!(world.now_ms(), now_ms, "within the same millisecond");
        assert!(!slow.has_started && slow.statuses.is_empty());
        world.pass_ms(2);
    }
    assert_eq!(world.now_ms() - began_ms, 2_000);
    assert_eq!(begun(&world).len(), 1_000);
    let asked = world.net.borrow().questions.iter().find(|it| is_slow(&it.1)).expect("it asks").0;
    decide(&mut world, asked, Verdict::allow());
    world.talk(&mut slow);
    assert!(slow.has_started);
}

fn is_slow(question: &Question) -> bool {
    question.name == "live/slow"
}

/// As [`World::talk`], with all questions but the slow one allowed at once.
fn talk_deciding(world: &mut World, peer: &mut Peer, answered: &mut HashSet<usize>) {
    loop {
        world.talk(peer);
        let questions: Vec<_> = world.net.borrow().questions.iter().cloned().enumerate().collect();
        let open = questions
            .into_iter()
            .filter(|(number, (_, question))| !is_slow(question) && answered.insert(*number));
        let open: Vec<_> = open.collect();
        if open.is_empty() {
            return;
        }
        open.into_iter().for_each(|(_, (asked, _))| decide(world, asked, Verdict::allow()));
    }
}

#[test]
fn a_player_whose_play_is_being_decided_no_longer_plays_the_stream_before() {
    let mut world = world(Rules(|question| match question.name.as_str() {
        "live/b" => Decision::Ask(Grant::default()),
        _ => Decision::Verdict(Verdict::allow()),
    }));
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    pass_talking(&mut world, &mut publisher, 1_000);
    let mut player = world.player(0, "a");
    assert_eq!(times(&player), [0]);
    player.client.send_command(&Command::call("play", 6.0, ["b".into()]));
    world.talk(&mut player);
    publisher.publish(&key_frame(1_000));
    world.talk(&mut publisher);
    world.talk(&mut player);
    assert_eq!(times(&player), [0], "it has left the one, and does not play the other");
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    world.talk(&mut player);
    assert_eq!(begun(&world), ["live/a", "live/a", "live/b"]);
}

#[test]
fn a_publish_that_is_being_decided_makes_no_publisher() {
    let mut world = asks_about(Action::Publish);
    client(&mut world, Action::Publish);
    let now = &super::bench::report(&mut world, 0)[0];
    assert_eq!((now.role, &now.stream), (report::ConnectionRole::Idle, &None));
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    let now = &super::bench::report(&mut world, 0)[0];
    assert_eq!((now.role, now.stream.as_deref()), (report::ConnectionRole::Publisher, Some("live/a")));
}

#[test]
fn an_operator_may_end_one_that_asks() {
    let mut world = asks_about(Action::Publish);
    let socket: SocketId = client(&mut world, Action::Publish).socket;
    let id = super::bench::report(&mut world, 0)[0].id;
    let role = super::bench::report(&mut world, 0)[0].role;
    let (answer, reply) = super::bench::Answer::wanted();
    world.mailboxes.post(0, Mail::End { connection_id: id, role, stream: None, reply });
    world.settle();
    assert_eq!(answer.take(), Some(true));
    assert!(has_ended(&world, socket));
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    assert!(begun(&world).is_empty());
}

/// A publisher of `live/a` that asks to publish `live/asks` as well, and reads nothing.
fn publisher_that_asks(config: Config) -> (World, SocketId) {
    let rules = Rules(|question| match question.name.as_str() {
        "live/asks" => Decision::Ask(Grant::default()),
        _ => Decision::Verdict(Verdict::allow()),
    });
    let mut world = world_with(rules, config);
    let socket = super::bench::raw_publisher(&mut world, "a");
    let publish = Command::call("publish", 4.0, ["asks".into()]);
    say(&world, socket, &super::bench::message(type_id::COMMAND_AMF0, 2, publish.to_bytes()));
    world.settle();
    assert_eq!(newest(&world).1.name, "live/asks");
    (world, socket)
}

#[test]
fn the_time_of_a_question_is_no_silence_of_a_publisher_which_is_not_read_meanwhile() {
    let (mut world, socket) =
        publisher_that_asks(config(|config| config.limits.publisher_timeout = Duration::from_secs(5)));
    world.pass_ms(9_000);
    assert!(is_live(&world, "a") && !has_ended(&world, socket));
    let mut second = world.client(0, Role::Publish, "a");
    world.talk(&mut second);
    assert_eq!(second.last_code(), "NetStream.Publish.BadName");
    let asked = newest(&world).0;
    decide(&mut world, asked, Verdict::allow());
    world.pass_ms(4_900);
    assert!(is_live(&world, "a") && is_live(&world, "asks"));
    world.pass_ms(100);
    assert!(!is_live(&world, "a") && has_ended(&world, socket), "it is silent since it is read again");
}

#[test]
fn the_time_of_a_publisher_s_first_question_is_no_silence_either() {
    let config = config(|config| config.limits.publisher_timeout = Duration::from_secs(5));
    let mut world = world_with(Ruling(Action::Publish, Decision::Ask(Grant::default())), config);
    let mut publisher = client(&mut world, Action::Publish);
    world.pass_ms(9_000);
    let (asked, _) = newest(&world);
    decide(&mut world, asked, Verdict::allow());
    world.talk(&mut publisher);
    assert!(publisher.has_started);
    // Its time counts from the answer.
    world.pass_ms(4_000);
    assert!(!has_ended(&world, publisher.socket) && is_live(&world, "a"));
    world.pass_ms(2_000);
    assert!(has_ended(&world, publisher.socket) && !is_live(&world, "a"));
}

#[test]
fn a_stream_of_a_connection_that_is_denied_leaves_the_other_alone() {
    let (mut world, socket) = publisher_that_asks(Config::default());
    let asked = newest(&world).0;
    decide(&mut world, asked, deny("one is enough"));
    assert!(hears(&world, socket, "one is enough"));
    assert!(is_live(&world, "a") && !is_live(&world, "asks") && !has_ended(&world, socket));
}

#[test]
fn another_name_that_is_a_path_of_the_api_is_refused() {
    let (world, peer) =
        outcome(Action::Publish, &Verdict::allow_as("api/v1/streams".to_owned()), When::After2Seconds);
    assert_eq!(peer.last_code(), "NetStream.Publish.BadName");
    assert!(has_ended(&world, peer.socket) && begun(&world).is_empty());
}
