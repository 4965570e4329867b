//! What the control plane asks of a core: reports, ends of connections.

use fanfare::{
    config::Config,
    endpoint::{
        Mail, Protocol, ReasonKind,
        report::{ConnectionReport, ConnectionRole, RelayEvent},
    },
    rtmp::command::Command,
};

use super::{
    bench::{
        Answer, command, ends, events, has_ended, hears, is_live, key_frame, message, pass_talking, raw,
        report, say,
    },
    world::{Peer, SocketId, World},
};

/// A stream with a player, and one that is idle.
fn busy() -> (World, Peer, Peer, SocketId) {
    let mut world = World::new(Config::default());
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    pass_talking(&mut world, &mut publisher, 1_000);
    let player = world.player(0, "a");
    let idle = raw(&mut world, 0, &[]);
    (world, publisher, player, idle)
}

fn of_role(reports: &[ConnectionReport], role: ConnectionRole) -> ConnectionReport {
    reports.iter().find(|report| report.role == role).cloned().expect("there is one")
}

/// Ends it, and returns whether it was there.
fn end(world: &mut World, connection_id: u64, role: ConnectionRole, stream: Option<&str>) -> bool {
    let (answer, reply) = Answer::wanted();
    world.mailboxes.post(0, Mail::End { connection_id, role, stream: stream.map(Into::into), reply });
    world.settle();
    answer.take().expect("it is answered")
}

#[test]
fn a_report_lists_each_connection_with_what_it_does() {
    let (mut world, mut publisher, ..) = busy();
    publisher.publish(&key_frame(1_000));
    pass_talking(&mut world, &mut publisher, 2_000);
    let reports = report(&mut world, 0);
    assert_eq!(reports.len(), 3);
    let stream = Some("live/a".to_owned());
    let of_publisher = of_role(&reports, ConnectionRole::Publisher);
    assert_eq!((&of_publisher.stream, of_publisher.duration_ms), (&stream, 3_000));
    let of_player = of_role(&reports, ConnectionRole::Player);
    assert_eq!((&of_player.stream, of_player.duration_ms, of_player.lag_ms), (&stream, 2_000, Some(0)));
    assert!(of_player.bytes_out > 3_000 && of_player.bytes_in > 3_000, "the handshake alone is more");
    let of_idle = of_role(&reports, ConnectionRole::Idle);
    assert_eq!((&of_idle.stream, of_idle.duration_ms), (&None, 2_000));
    assert!(reports.iter().all(|report| report.protocol == Protocol::Rtmp && report.core == 0));
}

#[test]
fn a_connection_that_publishes_several_streams_is_reported_once_for_each() {
    let mut world = World::new(Config::default());
    let socket = raw(&mut world, 0, &[]);
    for (number, name) in [(1_u32, "a"), (2, "b")] {
        let publish = Command::call("publish", 3.0, [name.into()]);
        let bytes = message(fanfare::rtmp::message::type_id::COMMAND_AMF0, number, publish.to_bytes());
        say(&world, socket, &command(&Command::call("createStream", 2.0, [])));
        say(&world, socket, &bytes);
    }
    world.settle();
    let reports = report(&mut world, 0);
    let mut streams: Vec<_> = reports.iter().filter_map(|report| report.stream.as_deref()).collect();
    streams.sort_unstable();
    assert_eq!(streams, ["live/a", "live/b"]);
    assert_eq!(reports[0].id, reports[1].id);
    // One of them ends, and the other goes on.
    assert!(!end(&mut world, reports[0].id, ConnectionRole::Publisher, Some("live/c")));
    assert!(end(&mut world, reports[0].id, ConnectionRole::Publisher, Some("live/a")));
    assert!(!is_live(&world, "a") && is_live(&world, "b") && !has_ended(&world, socket));
    assert!(end(&mut world, reports[0].id, ConnectionRole::Publisher, Some("live/b")));
    assert!(!is_live(&world, "b") && has_ended(&world, socket));
}

#[test]
fn an_operator_ends_a_publisher_and_its_name_is_free() {
    let (mut world, mut publisher, ..) = busy();
    let id = of_role(&report(&mut world, 0), ConnectionRole::Publisher).id;
    assert!(end(&mut world, id, ConnectionRole::Publisher, None));
    world.talk(&mut publisher);
    assert_eq!(publisher.last_code(), "NetStream.Publish.Denied");
    assert!(has_ended(&world, publisher.socket) && !is_live(&world, "a"));
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::Kicked), 1);
}

#[test]
fn an_operator_ends_a_player_and_no_other() {
    let (mut world, publisher, mut player, idle) = busy();
    let id = of_role(&report(&mut world, 0), ConnectionRole::Player).id;
    assert!(end(&mut world, id, ConnectionRole::Player, None));
    world.talk(&mut player);
    assert!(player.has_ended && has_ended(&world, player.socket));
    assert!(!has_ended(&world, publisher.socket) && !has_ended(&world, idle));
    assert!(!end(&mut world, id, ConnectionRole::Player, None), "it is on its way out");
}

#[test]
fn none_is_ended_whose_role_is_another_or_that_is_gone() {
    let (mut world, _publisher, player, _) = busy();
    let id = of_role(&report(&mut world, 0), ConnectionRole::Player).id;
    assert!(!end(&mut world, id, ConnectionRole::Publisher, None));
    assert!(!end(&mut world, id + 100, ConnectionRole::Player, None));
    assert!(!has_ended(&world, player.socket));
    player.hang_up(&world);
    world.settle();
    assert!(!end(&mut world, id, ConnectionRole::Player, None));
}

#[test]
fn an_end_that_is_no_longer_waited_for_takes_no_effect() {
    let (mut world, _publisher, player, _) = busy();
    let connection_id = of_role(&report(&mut world, 0), ConnectionRole::Player).id;
    let (answer, reply) = Answer::unwanted();
    world.mailboxes.post(0, Mail::End { connection_id, role: ConnectionRole::Player, stream: None, reply });
    world.settle();
    assert!(answer.take().is_none() && !has_ended(&world, player.socket));
    let (answer, reply) = Answer::unwanted();
    world.mailboxes.post(0, Mail::Report(reply));
    world.settle();
    assert!(answer.take().is_none());
}

#[test]
fn a_cores_report_counts_what_there_is_and_what_has_been() {
    let (mut world, mut publisher, player, _) = busy();
    player.hang_up(&world);
    pass_talking(&mut world, &mut publisher, 1_000);
    let _other = world.player(0, "a");
    pass_talking(&mut world, &mut publisher, 1_000);
    let report = world.shared.reports().remove(0);
    assert_eq!((report.connections, report.connects, report.publishers), (3, 4, 1));
    assert_eq!(report.players[Protocol::Rtmp.index()], 1);
    assert_eq!(report.ends[ReasonKind::PeerClosed.index()], 1);
    assert_eq!(report.frames_in, 1);
    let followed: Vec<_> = report.streams.iter().map(|it| (&*it.stream, it.players)).collect();
    assert_eq!(followed, [("live/a", 1)]);
}

#[test]
fn what_happens_to_streams_and_players_is_an_event_each() {
    let (mut world, publisher, player, _) = busy();
    world.pass_ms(500);
    player.hang_up(&world);
    world.settle();
    publisher.hang_up(&world);
    world.settle();
    let all = events(&world);
    let [
        RelayEvent::Publishing { id: first, .. },
        RelayEvent::Playing { id: second, protocol, .. },
        rest @ ..,
    ] = all.as_slice()
    else {
        panic!("{all:?}")
    };
    assert_eq!(*protocol, Protocol::Rtmp);
    let [
        RelayEvent::PlayEnded { id: player, reason, duration_ms: 500, .. },
        RelayEvent::PublishEnded { id: publisher, duration_ms: 1_500, stream, .. },
    ] = rest
    else {
        panic!("{rest:?}")
    };
    assert_eq!((first, second, stream.as_str()), (publisher, player, "live/a"));
    assert_eq!(reason.kind, ReasonKind::PeerClosed);
}

#[test]
fn a_kicked_publisher_hears_it_from_the_operator() {
    let mut world = World::new(Config::default());
    let socket = super::bench::raw_publisher(&mut world, "a");
    let id = report(&mut world, 0)[0].id;
    assert!(end(&mut world, id, ConnectionRole::Publisher, None));
    assert!(hears(&world, socket, "Ended by the operator."));
}
