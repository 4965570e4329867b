//! Connections over TLS: all that holds for plain ones, how records and the log go together, and peers that break TLS's
//! rules.

use std::{collections::VecDeque, process::Command};

use fanfare::{
    config::Config,
    endpoint::{ReasonKind, Spoken, TransportKind},
    rtmp::{client::Role, command::Command as RtmpCommand},
    stream::Form,
};

use super::{
    bench::{
        config, ends, has_ended, http_player, is_live, key_frame, large_key_frame, pass_talking, report,
        report_now, say, times, trouble,
    },
    tls_peer,
    world::{LISTENER, Peer, PeerTls, SocketId, TRANSPORT_VARIABLE, World},
};

/// Those that count bytes on the wire. Of what is decrypted, memory counts more than it holds: as if each piece of a
/// message kept a buffer for reads. And those of what comes before TLS.
const OF_PLAIN_CONNECTIONS: [&str; 4] = [
    "a_publisher_may_send_its_bit_rate_over_5_s_and_not_a_byte_more",
    "what_piled_up_while_the_core_stood_still_is_no_excess_of_bit_rate",
    "a_core_spares_its_own_largest_while_another_core_has_a_far_larger_one",
    "proxies::",
];

/// Runs all other tests of this binary again, with peers that speak TLS 1.3.
#[test]
fn what_holds_for_plain_connections_holds_over_tls() {
    if std::env::var_os(TRANSPORT_VARIABLE).is_some() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(TRANSPORT_VARIABLE, "1");
    OF_PLAIN_CONNECTIONS.iter().for_each(|name| {
        command.args(["--skip", name]);
    });
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A world whose peers speak TLS.
fn encrypted() -> World {
    let mut world = World::new(Config::default());
    world.transport = TransportKind::Tls;
    world
}

/// A stream with a player that has got its first frame.
fn played() -> (World, Peer, Peer) {
    let mut world = encrypted();
    let mut publisher = world.publisher(0, "a");
    publisher.publish(&key_frame(0));
    world.talk(&mut publisher);
    world.pass_ms(1_000);
    let mut player = world.player(0, "a");
    world.talk(&mut player);
    assert_eq!(times(&player), [0]);
    (world, publisher, player)
}

fn tls_of<T>(world: &World, socket: SocketId, look: impl FnOnce(&mut PeerTls) -> T) -> T {
    world.at(socket, |socket| look(socket.tls.as_mut().expect("it speaks TLS")))
}

/// A peer that sends these bytes as they are to a port for TLS.
fn raw_on_tls_port(world: &mut World, bytes: &[u8]) -> SocketId {
    world.transport = TransportKind::Plain;
    let (socket, peer) = (world.socket(), world.address());
    world.transport = TransportKind::Tls;
    world.cores[0].admit(socket, peer, Spoken::RTMPS, [7; 32]);
    say(world, socket, bytes);
    world.settle();
    socket
}

/// The first bytes of a client of TLS.
fn client_hello(world: &mut World) -> Vec<u8> {
    let socket = world.socket();
    tls_of(world, socket, |tls| {
        tls.encrypt(&mut [].into(), 0, false);
        tls.wire().drain(..).collect()
    })
}

#[test]
fn a_proxy_names_the_client_before_tls() {
    let mut world = encrypted();
    world.shared.set_config(config(|config| {
        config.proxy.listeners = vec![LISTENER];
        config.proxy.trusted = vec!["10.0.0.0/8".parse().unwrap()];
    }));
    let mut publisher = world.client(0, Role::Publish, "a");
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";
    tls_of(&world, publisher.socket, |tls| tls.wire().extend(header));
    world.talk(&mut publisher);
    assert!(is_live(&world, "a"));
    assert_eq!(report(&mut world, 0)[0].peer.to_string(), "192.0.2.7:50000");
}

#[test]
fn both_versions_publish_and_play_wherever_records_are_cut() {
    for is_old in [false, true] {
        for (most, bytes) in [(1, 3_000), (7, 40_000), (1_000, 60_000)] {
            let mut world = encrypted();
            world.is_old_tls = is_old;
            trouble(&mut world).most.set(most);
            let mut publisher = world.publisher(0, "a");
            let mut player = world.player(0, "a");
            for at_ms in [0, 40, 80] {
                publisher.publish(&large_key_frame(at_ms, bytes));
                world.talk(&mut publisher);
                world.pass_ms(40);
                world.talk(&mut player);
            }
            pass_talking(&mut world, &mut player, 1_000);
            assert_eq!(times(&player), [0, 40, 80], "{is_old} {most}");
            assert!(player.frames.iter().all(|frame| frame.payload.len() == bytes));
        }
    }
}

/// The second time on the same connection, the rest of what was cut belongs to the first play.
#[test]
fn what_is_left_of_a_cut_batch_goes_out_before_a_second_play_begins() {
    for kept in [1, 100, 3_000, 20_000] {
        let (mut world, mut publisher, mut player) = played();
        let mut other = world.publisher(0, "b");
        other.publish(&key_frame(7_000));
        world.talk(&mut other);
        world.at(player.socket, |socket| socket.capacity = kept);
        publisher.publish(&large_key_frame(1_000, 100_000));
        world.talk(&mut publisher);
        world.pass_ms(100);
        assert!(world.at(player.socket, |socket| socket.is_send_blocked()));
        let mut play = RtmpCommand::call("play", 9.0, ["b".into()]);
        play.object = fanfare::amf0::Value::Null;
        player.client.send_command(&play);
        world.at(player.socket, |socket| socket.capacity = 256 << 10);
        pass_talking(&mut world, &mut player, 1_000);
        assert!(times(&player).starts_with(&[0, 1_000]), "{:?}", times(&player));
        assert!(times(&player).len() > 2, "{:?}", times(&player));
        assert_eq!(player.frames[1].payload.len(), 100_000);
    }
}

#[test]
fn each_end_is_announced_to_the_peer_after_the_last_message() {
    let (mut world, mut publisher, mut player) = played();
    publisher.publish(&key_frame(1_000));
    world.talk(&mut publisher);
    world.shared.drain();
    world.mailboxes.post(0, fanfare::endpoint::Mail::Drain);
    world.talk(&mut publisher);
    world.talk(&mut player);
    assert!(player.has_ended && times(&player) == [0, 1_000]);
    for peer in [&publisher, &player] {
        assert!(has_ended(&world, peer.socket));
        assert!(tls_of(&world, peer.socket, |tls| tls.relay_has_ended));
    }
}

#[test]
fn a_peer_that_announces_its_end_and_one_that_just_closes_both_end() {
    for is_polite in [true, false] {
        let (mut world, publisher, player) = played();
        for peer in [&player, &publisher] {
            tls_of(&world, peer.socket, |tls| tls.is_polite = is_polite);
            peer.hang_up(&world);
            world.settle();
            assert!(has_ended(&world, peer.socket), "{is_polite}");
        }
        assert!(!is_live(&world, "a"));
        assert_eq!(ends(&mut world, ReasonKind::PeerClosed), 2);
    }
}

/// It takes more than one slice of time.
#[test]
fn what_came_before_the_end_of_a_publisher_is_worked_off_first() {
    let (mut world, mut publisher, mut player) = played();
    let troubled = trouble(&mut world);
    troubled.work_us.set(20);
    for number in 0..200 {
        publisher.publish(&key_frame(1_000 + number));
    }
    publisher.send(&world);
    publisher.hang_up(&world);
    pass_talking(&mut world, &mut player, 1_000);
    assert!(has_ended(&world, publisher.socket) && !is_live(&world, "a"));
    assert_eq!(player.frames.len(), 1 + 200);
}

/// TLS has an end of its own for each direction (RFC 8446 §6.1).
#[test]
fn a_player_over_https_that_says_it_sends_nothing_more_is_still_sent_all() {
    for form in [Form::HttpFlv, Form::HttpFlvChunked] {
        let (mut world, mut publisher, _) = played();
        let socket = http_player(&mut world, "a", form, b"HEAD", b"", None);
        world.pass_ms(100);
        world.at(socket, |socket| socket.peer_finished = true);
        world.pass_ms(100);
        let before = world.at(socket, |socket| socket.read(usize::MAX)).len();
        publisher.publish(&large_key_frame(2_000, 30_000));
        world.talk(&mut publisher);
        world.pass_ms(100);
        let after = world.at(socket, |socket| socket.read(usize::MAX)).len();
        assert!(before > 0 && after > 30_000, "{before} {after}");
        assert!(!world.is_closed(socket));
    }
}

#[test]
fn new_keys_in_the_middle_of_a_stream_cost_no_frame() {
    let (mut world, mut publisher, mut player) = played();
    for at_ms in (1_000..2_000).step_by(100) {
        for peer in [&publisher, &player] {
            tls_of(&world, peer.socket, PeerTls::refresh_keys);
        }
        publisher.publish(&large_key_frame(at_ms, 20_000));
        world.talk(&mut publisher);
        world.pass_ms(100);
        world.talk(&mut player);
    }
    let all: Vec<u32> = [0].into_iter().chain((1_000..2_000).step_by(100)).collect();
    assert_eq!(times(&player), all);
}

/// The encrypted record is out, or it is not: what the hub counts as sent is what the peer can read.
#[test]
fn a_player_whose_record_is_cut_lags_by_all_of_it() {
    let (mut world, mut publisher, player) = played();
    // TLS at the peer keeps what it cannot open: one byte after the other, and no record is ever whole.
    let troubled = trouble(&mut world);
    troubled.most.set(1);
    publisher.publish(&large_key_frame(1_000, 2_000));
    publisher.send(&world);
    while world.at(publisher.socket, |socket| socket.unread_bytes()) > 0 {
        world.round(0);
    }
    for _ in 0..100 {
        world.round(0);
    }
    assert_eq!(world.at(player.socket, |socket| socket.to_peer.len()), 0);
    world.stand_still_ms(1_000);
    world.round(0);
    let report = report_now(&mut world, 0);
    let of_player = report.iter().find(|it| it.role == fanfare::endpoint::report::ConnectionRole::Player);
    let lag_ms = of_player.unwrap().lag_ms;
    assert!(lag_ms.is_some_and(|ms| ms >= 1_000), "{lag_ms:?}");
}

#[test]
fn a_peer_that_speaks_no_tls_is_closed_and_no_other_connection_with_it() {
    let (mut world, mut publisher, mut player) = played();
    let mut hello = client_hello(&mut world);
    let cases: Vec<Vec<u8>> = vec![
        super::bench::handshake(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\0".to_vec(),
        vec![0xFF; 10_000],
        // A record that is too long, one that is empty, an alert, an unknown version.
        [0x16, 3, 1, 0xFF, 0xFF].repeat(1_000),
        [0x16, 3, 1, 0, 0].repeat(1_000),
        [0x15, 3, 1, 0, 2, 2, 40].repeat(1_000),
        [0x16, 9, 9, 0, 1, 1].to_vec(),
        {
            hello[5] = 2;
            hello
        },
    ];
    let count = cases.len() as u64;
    for (number, bytes) in cases.into_iter().enumerate() {
        let socket = raw_on_tls_port(&mut world, &bytes);
        assert!(has_ended(&world, socket), "case {number}");
        publisher.publish(&key_frame(1_000 + number as u32 * 100));
        world.talk(&mut publisher);
        world.pass_ms(100);
        world.talk(&mut player);
    }
    assert_eq!(player.frames.len() as u64, 1 + count);
    world.pass_ms(2_000);
    assert_eq!(ends(&mut world, ReasonKind::Violation), count);
}

#[test]
fn tls_on_a_plain_port_is_a_violation() {
    let mut world = encrypted();
    let hello = client_hello(&mut world);
    world.transport = TransportKind::Plain;
    let socket = world.connect(0);
    say(&world, socket, &hello);
    world.settle();
    assert!(has_ended(&world, socket));
    assert_eq!(ends(&mut world, ReasonKind::Violation), 1);
}

#[test]
fn a_handshake_that_is_not_finished_in_time_ends_wherever_it_stops() {
    let mut world = encrypted();
    let timeout_ms = world.shared.config().limits.handshake_timeout.as_millis() as u64;
    let hello = client_hello(&mut world);
    let sockets: Vec<SocketId> = [0, 1, 4, 5, 6, hello.len() - 1, hello.len()]
        .into_iter()
        .map(|len| raw_on_tls_port(&mut world, &hello[..len]))
        .collect();
    // It shakes hands with TLS, and not with RTMP.
    let silent = world.connect(0);
    world.settle();
    assert!(tls_of(&world, silent, |tls| tls.is_ready()));
    world.pass_ms(timeout_ms - 100);
    assert!(sockets.iter().chain([&silent]).all(|&socket| !has_ended(&world, socket)));
    world.pass_ms(1_200);
    assert!(sockets.iter().chain([&silent]).all(|&socket| world.is_closed(socket)));
    assert_eq!(ends(&mut world, ReasonKind::HandshakeTimeout), 8);
}

#[test]
fn peers_that_go_in_the_handshake_are_forgotten_at_once() {
    let mut world = encrypted();
    let hello = client_hello(&mut world);
    for (number, is_reset) in [(0, true), (0, false), (1, true), (1, false)] {
        let socket = raw_on_tls_port(&mut world, &hello[..hello.len() * number]);
        world.at(socket, |socket| (socket.is_reset, socket.peer_finished) = (is_reset, !is_reset));
        world.pass_ms(1_100);
        assert!(world.is_closed(socket), "{number} {is_reset}");
    }
    assert_eq!(world.shared.admission().connections(), 0);
}

#[test]
fn a_proxy_names_its_client_before_tls_begins() {
    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935\r\n";
    for with_hello in [false, true] {
        let mut world = World::new(config(|config| {
            config.proxy.listeners = vec![LISTENER];
            config.proxy.trusted = vec!["203.0.113.0/24".parse().unwrap()];
        }));
        world.transport = TransportKind::Tls;
        let socket = world.connect_from(0, "203.0.113.5:1".parse().unwrap());
        tls_of(&world, socket, |tls| {
            let mut first: VecDeque<u8> = HEADER.to_vec().into();
            if with_hello {
                tls.encrypt(&mut VecDeque::new(), 0, false);
                first.append(tls.wire());
            }
            *tls.wire() = first;
        });
        let mut peer = Peer::new(socket, Role::Publish, "a", world.now_ms());
        world.talk(&mut peer);
        assert!(peer.has_started, "{with_hello}");
        assert_eq!(report(&mut world, 0)[0].peer, "192.0.2.7:50000".parse().unwrap());
    }
}

/// What waits for its turn is of a connection that has gone, whose place another one has.
#[test]
fn a_handshake_whose_peer_has_gone_is_not_continued_by_the_next_one_in_its_place() {
    let mut world = encrypted();
    let hello = client_hello(&mut world);
    let first = world.connect(0);
    world.complete_all(0);
    assert_eq!(world.cores[0].handshakes_len(), 1);
    world.at(first, |socket| socket.is_reset = true);
    assert!(world.cores[0].work_off_handshake());
    world.settle();
    assert!(world.is_closed(first));
    let second = raw_on_tls_port(&mut world, &hello);
    assert!(!has_ended(&world, second));
    let mut peer = world.client(0, Role::Publish, "a");
    world.talk(&mut peer);
    assert!(peer.has_started);
}

#[test]
fn a_flood_after_the_handshake_ends_that_connection_alone() {
    type Flood = fn(&mut PeerTls);
    let floods: [(&str, Flood); 2] = [
        ("key updates", |tls| {
            for _ in 0..1_000 {
                tls.refresh_keys();
                let mut more = std::mem::take(tls.wire());
                tls.encrypt(&mut [].into(), 0, false);
                more.append(tls.wire());
                *tls.wire() = more;
            }
        }),
        ("what is no record", |tls| tls.wire().extend([0x17, 3, 3, 0, 0].repeat(1_000))),
    ];
    for (what, flood) in floods {
        let (mut world, mut publisher, mut player) = played();
        let attacker = world.player(0, "a");
        tls_of(&world, attacker.socket, flood);
        world.settle();
        assert!(has_ended(&world, attacker.socket), "{what}");
        publisher.publish(&key_frame(1_000));
        world.talk(&mut publisher);
        world.talk(&mut player);
        assert_eq!(times(&player), [0, 1_000]);
        world.pass_ms(2_000);
        assert_eq!(ends(&mut world, ReasonKind::Violation), 1, "{what}");
    }
}

/// Scripts of peers that do nothing wrong at first, and scripts of any bytes, the same ones each time.
#[test]
fn a_peer_that_cuts_changes_and_repeats_records_makes_nothing_fail_badly() {
    let mut random = 1_u64;
    for len in 0..4_000 {
        let script: Vec<u8> = (0..len % 1_000 / 2)
            .map(|_| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 56) as u8
            })
            .collect();
        tls_peer::check_any_bytes(&script);
    }
    tls_peer::seeds(&[3; 48]).iter().for_each(|seed| tls_peer::check_any_bytes(seed));
    // What the fuzzer has found.
    let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/tls")).unwrap();
    let scripts: Vec<Vec<u8>> = corpus.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(scripts.len() >= 50);
    scripts.iter().for_each(|script| tls_peer::check_any_bytes(script));
}
