//! Networks that go silent: no FIN, no RST, no packet at all. Clients are in networks of their own, and their cable is
//! pulled.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fanfare::rtmp::client::Role;

use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::namespaces::{Network, PUBLIC, RELAY, in_a_namespace};
use crate::support::peer::Rtmp;
use crate::support::{Relay, SOON, eventually};

/// To an address of its own machine, a client comes from that address.
#[test]
fn without_rules_an_encoder_from_the_internet_is_refused_and_a_private_one_is_not() {
    in_a_namespace(|| {
        let relay = Relay::start_at(PUBLIC, "");
        let (code, description) = Rtmp::refusal(&relay, Role::Publish, "live/a");
        assert_eq!(code, "NetStream.Publish.Denied");
        assert_eq!(description, "publishing is not allowed from this network");
        relay.wait_for_log(&["publisher refused: access denied", "rule=\"default\"", "cause=\"network\""]);
        let open = Relay::start_at(PUBLIC, "access = [{ action = 'publish' }]");
        let _publisher = Rtmp::publishing(&open, "live/a");
        let _player = Rtmp::started(&open, Role::Play, "live/a");
        let near = Relay::start_at(RELAY, "");
        let _publisher = Rtmp::publishing(&near, "live/a");
    });
}

/// An encoder that changes from one network to another while the first one goes silent.
#[test]
fn an_encoder_whose_network_died_takes_its_name_over_from_another_address_and_players_go_on() {
    in_a_namespace(|| {
        let relay = Relay::start_at(RELAY, "publish.takeover_after = '700ms'");
        let (one_network, other_network) = (Network::new(1), Network::new(2));
        let mut crowd = Crowd::new();
        let source = Source::small(1);
        let players = crowd.play_all(&relay, "live/a", 5);
        let sockets = relay.open_sockets();
        let first = one_network.enter(|| crowd.publish(&relay, "live/a"));
        crowd.begin(first, &source, &players);
        crowd.send_frames(first, &source, 1..30);
        crowd.until_seen(&players, 29);
        one_network.cut();
        let silent_since = Instant::now();

        let second = other_network.enter(|| publish_until_accepted(&mut crowd, &relay));
        let silence = silent_since.elapsed();
        assert!(silence >= Duration::from_millis(600), "taken over after {silence:?}");
        assert_ne!(crowd[first].peer().ip(), crowd[second].peer().ip());
        // Its timestamps begin anew, at a key frame.
        crowd.send_headers(second, &source);
        crowd.send_frames(second, &source, 100..160);
        crowd.until_seen(&players, 159);
        assert_goes_on(&crowd, &players, &source, 0..30, 100..160);

        // The first one cannot be notified, but its connection is closed all the same.
        let peer = crowd[first].peer().to_string();
        relay.wait_for_log(&["closed", &peer, "another publisher took over the name"]);
        eventually("its descriptor is closed", SOON, || (relay.open_sockets() <= sockets + 1).then_some(()));
    });
}

#[test]
fn an_encoder_whose_network_died_is_disconnected_after_publisher_timeout_and_its_players_wait_for_it() {
    in_a_namespace(|| {
        let config =
            "limits.publisher_timeout = '2s'\npublish = { takeover_after = '1h', publisher_grace = '1m' }";
        let relay = Relay::start_at(RELAY, config);
        let (one_network, other_network) = (Network::new(1), Network::new(2));
        let mut crowd = Crowd::new();
        let source = Source::small(1);
        let players = crowd.play_all(&relay, "live/a", 5);
        let sockets = relay.open_sockets();
        let first = one_network.enter(|| crowd.publish(&relay, "live/a"));
        let peer = crowd[first].peer().to_string();
        crowd.begin(first, &source, &players);
        crowd.send_frames(first, &source, 1..30);
        crowd.until_seen(&players, 29);
        one_network.cut();
        let silent_since = Instant::now();

        // Until then the name is taken: only the timeout frees it.
        let early = crowd.request_publish(&relay, "live/a", 4096);
        crowd.until("it is refused", |crowd| crowd[early].got_status("NetStream.Publish.BadName"));
        relay.wait_for_log(&["publish ended", &peer, "limits.publisher_timeout"]);
        let silence = silent_since.elapsed();
        let expected = Duration::from_millis(1_900)..Duration::from_secs(10);
        assert!(expected.contains(&silence), "disconnected after {silence:?}");
        eventually("its descriptor is closed", SOON, || (relay.open_sockets() <= sockets).then_some(()));

        let second = other_network.enter(|| crowd.publish(&relay, "live/a"));
        crowd.send_headers(second, &source);
        crowd.send_frames(second, &source, 100..160);
        crowd.until_seen(&players, 159);
        assert_goes_on(&crowd, &players, &source, 0..30, 100..160);
    });
}

#[test]
fn a_player_whose_network_died_is_disconnected_after_send_timeout_and_others_lose_nothing() {
    in_a_namespace(|| {
        let relay = Relay::start_at(RELAY, "play.send_timeout = '2s'");
        let (network, other_network) = (Network::new(1), Network::new(2));
        let mut crowd = Crowd::new();
        let source = Source::new(1);
        let mut players = crowd.play_all(&relay, "live/a", 3);
        players.extend(other_network.enter(|| crowd.play_all(&relay, "live/a", 2)));
        let publisher = crowd.publish(&relay, "live/a");
        let sockets = relay.open_sockets();
        let lost = network.enter(|| crowd.play_all(&relay, "live/a", 1))[0];
        let peer = crowd[lost].peer().to_string();
        players.push(lost);
        crowd.begin(publisher, &source, &players);
        crowd.send_frames(publisher, &source, 1..10);
        crowd.until_seen(&players, 9);
        players.pop();
        network.cut();
        let cut = Instant::now();

        let mut sent = 10;
        while !relay.log().iter().any(|line| line.contains(&peer) && line.contains("closed")) {
            crowd.send_frames(publisher, &source, sent..sent + 10);
            sent += 10;
            crowd.until_seen(&players, sent - 1);
            crowd.serve_for(Duration::from_millis(50));
            assert!(cut.elapsed() < SOON, "{peer} is still connected");
        }
        let took = cut.elapsed();
        assert!(took >= Duration::from_millis(1_900), "disconnected after {took:?}");
        relay.wait_for_log(&["closed", &peer, "send timeout"]);
        eventually("its descriptor is closed", SOON, || (relay.open_sockets() <= sockets).then_some(()));
        crowd.send_frames(publisher, &source, sent..sent + 50);
        crowd.until_seen(&players, sent + 49);
        for player in players {
            source.assert_from_the_start("another player", &crowd[player].seen, 0..sent + 50);
        }
    });
}

#[test]
fn a_player_whose_network_comes_back_in_time_goes_on_where_it_was() {
    in_a_namespace(|| {
        let (source, seen, sent) = play_over_a_break("play = { send_timeout = '1m', max_lag = '1m' }");
        source.assert_from_the_start("the player", &seen, 0..sent);
    });
}

#[test]
fn a_player_whose_network_comes_back_late_goes_on_at_a_key_frame() {
    in_a_namespace(|| {
        let (source, seen, sent) = play_over_a_break("play = { send_timeout = '1m', max_lag = '500ms' }");
        let seen = source.assert_headers("the player", &seen);
        let numbered: Vec<_> = seen.iter().filter(|seen| seen.number().is_some()).cloned().collect();
        let numbers: Vec<u64> = numbered.iter().filter_map(|seen| seen.number()).collect();
        source.assert_run("the player", &numbered, numbers.iter().copied());
        let steps = || numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
        assert_eq!(steps().count(), 1, "it is moved ahead once: {:?}", steps().collect::<Vec<_>>());
        let to = steps().next().unwrap()[1];
        assert!(source.is_key(to), "it goes on at frame {to}");
        assert_eq!(*numbers.last().unwrap(), sent - 1);
    });
}

#[test]
fn peers_whose_network_dies_before_they_publish_or_play_are_disconnected_in_time() {
    in_a_namespace(|| {
        let config = "limits = { handshake_timeout = '1s', request_timeout = '1s' }\nplay.wait_for_publisher = '1s'\nlog.level = 'debug'";
        let relay = Relay::start_at(RELAY, config);
        let network = Network::new(1);
        let mut crowd = Crowd::new();
        let sockets = relay.open_sockets();
        // C0, C1 and C2, plain.
        let handshake = [&[3][..], &[0; 2 * 1536]].concat();
        let _silent = network.enter(|| TcpStream::connect(relay.address()).unwrap());
        let mut shook_hands = network.enter(|| TcpStream::connect(relay.address()).unwrap());
        shook_hands.write_all(&handshake).unwrap();
        shook_hands.read_exact(&mut vec![0; handshake.len()]).unwrap();
        network.enter(|| crowd.play_all(&relay, "live/unpublished", 1));
        eventually("all are accepted", SOON, || (relay.open_sockets() == sockets + 3).then_some(()));
        network.cut();

        // None of the relay's packets reaches them.
        eventually("their descriptors are closed", SOON, || (relay.open_sockets() <= sockets).then_some(()));
        relay.wait_for_log(&["closed", "limits.handshake_timeout"]);
        relay.wait_for_log(&["closed", "limits.request_timeout"]);
        relay.wait_for_log(&["closed", "wait_for_publisher"]);
    });
}

/// A player's cable is pulled for two seconds, in which 300 frames are published. Returns the frames that it received,
/// and how many were sent.
fn play_over_a_break(config: &str) -> (Source, Vec<crate::frames::Seen>, u64) {
    let mut relay = Relay::start_at(RELAY, config);
    let network = Network::new(1);
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let others = crowd.play_all(&relay, "live/a", 2);
    let player = network.enter(|| crowd.play_all(&relay, "live/a", 1))[0];
    let all = [&others[..], &[player]].concat();
    let publisher = crowd.publish(&relay, "live/a");
    crowd.begin(publisher, &source, &all);
    crowd.send_frames(publisher, &source, 1..10);
    crowd.until_seen(&all, 9);

    network.cut();
    for sent in (10..310).step_by(10) {
        crowd.send_frames(publisher, &source, sent..sent + 10);
        crowd.until_seen(&others, sent + 9);
        crowd.serve_for(Duration::from_millis(66));
    }
    assert_eq!(crowd[player].last(), Some(9), "frames over a cable that was pulled");
    network.plug_in_again();
    crowd.until_seen(&[player], 309);
    crowd.send_frames(publisher, &source, 310..400);
    crowd.until_seen(&all, 399);
    for other in others {
        source.assert_from_the_start("another player", &crowd[other].seen, 0..400);
    }
    assert!(!crowd[player].is_closed);
    relay.expect_running();
    (source, crowd[player].seen.clone(), 400)
}

/// Publishes again and again until it is accepted, as encoders do.
fn publish_until_accepted(crowd: &mut Crowd, relay: &Relay) -> Id {
    let deadline = Instant::now() + SOON;
    loop {
        let publisher = crowd.request_publish(relay, "live/a", 4096);
        crowd.until("it is accepted or refused", |crowd| {
            crowd[publisher].has_started || crowd[publisher].is_closed
        });
        if crowd[publisher].has_started {
            return publisher;
        }
        assert!(crowd[publisher].got_status("NetStream.Publish.BadName"), "{:?}", crowd[publisher].statuses);
        assert!(Instant::now() < deadline, "the name of a dead encoder is not freed");
        crowd.serve_for(Duration::from_millis(20));
    }
}

/// Players got all of `before` and all of `after`, with the duration of one frame between them.
fn assert_goes_on(
    crowd: &Crowd,
    players: &[Id],
    source: &Source,
    before: std::ops::Range<u64>,
    after: std::ops::Range<u64>,
) {
    // What the relay takes for the duration of a video frame.
    const STEP_MS: u32 = 40;
    let by_ms = (source.time_ms(before.end - 1) + STEP_MS).wrapping_sub(source.time_ms(after.start));
    for &player in players {
        assert!(!crowd[player].is_closed && !crowd[player].has_ended);
        let seen = source.assert_headers("a player", &crowd[player].seen);
        let (of_first, of_second) = seen.split_at((before.end - before.start) as usize);
        source.assert_run("frames of the first encoder", of_first, before.clone());
        source.assert_run_moved("frames of the second encoder", of_second, after.clone(), by_ms);
    }
}
