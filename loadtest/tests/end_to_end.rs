//! Encoder, server and players in one process: with the bare loop as the server, and with the relay.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fanfare_load::bare::Received;
use fanfare_load::limit::{self, Sent};
use fanfare_load::play::{self, Habits, Shares};
use fanfare_load::report::Report;
use fanfare_load::source::Shape;
use fanfare_load::target::Target;
use fanfare_load::tls::{self, Trust};
use fanfare_load::{handshakes, publish, receive};

mod support;

#[test]
fn every_player_of_the_bare_loop_gets_each_frame_in_order() {
    for window_ms in [0, 33] {
        let report = with_bare_loop(window_ms, |address| {
            with_encoder(address, |target| play(&target, 20, 2, Shares { checks: 0.5, ..Shares::default() }))
        });
        assert!(report.is_perfect(), "{report}");
        assert_eq!((report.held, report.connections, report.first_key_frame_ms.count), (20, 20, 20));
        assert!(report.checked.frames > 10 * 100, "{report}");
        assert!(report.steady.latency_ms.count > 500, "{report}");
        let mb_per_second = report.steady.mb_per_second;
        assert!((1.8..3.4).contains(&mb_per_second), "20 players of 1 Mbit/s: {mb_per_second}");
    }
}

#[test]
fn players_over_tls_get_each_frame_in_order_from_the_bare_loop_and_from_the_relay() {
    let encrypted = limit::Encrypted {
        address: "127.0.0.1:0".parse().unwrap(),
        config: tls::server(&support::certificate().certificate, &support::certificate().key).unwrap(),
    };
    let bare = with_bare_loop_on(Some(encrypted), 33, |at| {
        with_encoder(at.rtmp, |_| play_over_tls(&format!("rtmps://{}", at.rtmps.unwrap())))
    });
    let relay = support::relay(2);
    let mut reports = with_encoder_over("rtmps", relay.rtmps, |_| {
        [("rtmps", relay.rtmps), ("https", relay.https), ("wss", relay.https)]
            .map(|(scheme, address)| play_over_tls(&format!("{scheme}://{address}")))
            .to_vec()
    });
    reports.push(bare);
    for report in reports {
        assert!(report.is_perfect(), "{report}");
        assert_eq!(report.held, 20, "{report}");
        assert!(report.connections > 20 && report.checked.frames > 10 * 100, "{report}");
    }
}

fn play_over_tls(server: &str) -> Report {
    let target = Target::resolve(&format!("{server}/live/load"), false).unwrap();
    play(&target, 20, 2, Shares { checks: 0.5, churns: 0.25, ..Shares::default() })
}

#[test]
fn certificates_are_checked_by_an_authority_if_one_is_given_and_sessions_are_resumed_on_request() {
    let relay = support::relay(1);
    let authority = support::certificate().certificate.with_file_name("ca.pem");
    let target = Target::resolve(&format!("rtmps://{}/live/load", relay.rtmps), false).unwrap();
    let shake_hands = |authorities: &Path, resumes| {
        let trust = Trust { authorities: Some(authorities), resumes };
        let options = handshakes::Options {
            target: target.clone().with_trust(trust).unwrap(),
            rate: 50.0,
            at_once: 1,
            time: Duration::from_secs(1),
            server_pid: None,
        };
        handshakes::run(&options, &AtomicBool::new(false)).unwrap()
    };
    let full = shake_hands(&authority, false);
    assert!(full.done > 10 && full.resumed == 0 && full.failed == 0, "{full}");
    let resumed = shake_hands(&authority, true);
    assert!(resumed.done > 10 && resumed.resumed > resumed.done / 2, "{resumed}");
    // It has signed no other certificate, itself included.
    let distrusted = shake_hands(&support::certificate().certificate, false);
    assert!(distrusted.done == 0 && distrusted.failed > 10, "{distrusted}");
}

#[test]
fn players_of_the_relay_may_stall_read_slowly_and_reconnect() {
    let address = support::relay(1).rtmp;
    let report = with_encoder(address, |target| {
        let shares = Shares { checks: 0.25, stalls: 0.1, reads_slowly: 0.1, churns: 0.25 };
        play(&target, 40, 2, shares)
    });
    assert!(report.is_perfect(), "{report}");
    assert_eq!(report.held, 40);
    assert!(report.connections > 40, "{report}");
    assert!(report.hindered.frames > 0, "{report}");
}

#[test]
fn players_over_http_and_websocket_get_each_frame_in_order() {
    let support::Addresses { rtmp, http, .. } = support::relay(2);
    let reports = with_encoder(rtmp, |_| {
        ["http", "ws"].map(|scheme| {
            let target = Target::resolve(&format!("{scheme}://{http}/live/load.flv"), false).unwrap();
            play(&target, 20, 2, Shares { checks: 0.5, churns: 0.25, ..Shares::default() })
        })
    });
    for report in reports {
        assert!(report.is_perfect(), "{report}");
        assert_eq!(report.held, 20, "{report}");
        assert!(report.connections > 20 && report.checked.frames > 10 * 100, "{report}");
    }
}

#[test]
fn players_of_a_missing_stream_or_a_closed_port_are_not_held() {
    let report = with_bare_loop(0, |address| {
        let target = Target::resolve(&format!("rtmp://{address}/live/nothing"), false).unwrap();
        play(&target, 3, 1, Shares { checks: 1.0, ..Shares::default() })
    });
    assert_eq!((report.connect_failures, report.without_picture), (0, 3), "{report}");
    assert!(!report.is_perfect());

    let closed = Target::resolve("rtmp://127.0.0.1:1/live/nothing", false).unwrap();
    let report = play(&closed, 3, 1, Shares::default());
    assert_eq!((report.held, report.connect_failures), (0, 3), "{report}");
    assert!(report.reasons[0].contains("refused"), "{report}");
}

#[test]
fn the_bare_receive_loop_gets_every_byte_of_blind_publishers_in_fewer_receives_if_it_rests() {
    let [eager, resting] = [0, 100].map(|rest_ms| {
        let (published, received) = with_receive_loop(Duration::from_millis(rest_ms), |address| {
            let target = Target::resolve(&format!("rtmp://{address}/live/load"), false).unwrap();
            let options = publish::Options {
                streams: 20,
                blind: true,
                settle: Duration::from_secs(1),
                time: Duration::from_secs(3),
                ..publish::Options::new(target, SHAPE)
            };
            publish::run(&options, &AtomicBool::new(false), |_| {}).unwrap()
        });
        assert_eq!((published.held, published.pending_bytes), (20, 0), "{published}");
        assert!((60.0..82.0).contains(&(published.steady.frames_per_second / 20.0)), "{published}");
        assert_eq!(received.bytes, published.bytes);
        received
    });
    assert!(eager.receives > 2 * resting.receives, "{eager:?} {resting:?}");
}

#[test]
fn a_beat_sends_several_messages_in_one_write() {
    let [single, by_beat] = [0, 100].map(|beat_ms| {
        let (published, received) = with_receive_loop(Duration::ZERO, |address| {
            let target = Target::resolve(&format!("rtmp://{address}/live/load"), false).unwrap();
            let options = publish::Options {
                beat: Duration::from_millis(beat_ms),
                blind: true,
                time: Duration::from_secs(2),
                ..publish::Options::new(target, SHAPE)
            };
            publish::run(&options, &AtomicBool::new(false), |_| {}).unwrap()
        });
        (published.frames, received.receives)
    });
    assert!(single.0.abs_diff(by_beat.0) < 20, "the same stream: {single:?} {by_beat:?}");
    assert!(single.1 > 3 * by_beat.1, "{single:?} {by_beat:?}");
}

/// Runs the bare receive loop until `work` has returned and all of its connections have ended.
fn with_receive_loop<T>(rest: Duration, work: impl FnOnce(SocketAddr) -> T) -> (T, Received) {
    let options = receive::Options { address: "127.0.0.1:0".parse().unwrap(), rest, time: MAX_TIME };
    let (listening, address) = mpsc::channel();
    let (progress, progresses) = mpsc::channel();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let on_progress = |received: Received| progress.send(received).unwrap();
            receive::run(&options, &stop, |at| listening.send(at).unwrap(), on_progress)
        });
        let found = work(address.recv().unwrap());
        progresses.iter().find(|received| received.receives > 0 && received.sockets == 0).unwrap();
        stop.store(true, Ordering::Relaxed);
        (found, server.join().unwrap().unwrap())
    })
}

/// Runs `players` for `seconds` after they have connected.
fn play(target: &Target, players: usize, seconds: u64, shares: Shares) -> Report {
    let options = play::Options {
        target: target.clone(),
        players,
        streams: 1,
        ramp: 200.0,
        shares,
        habits: Habits {
            stall_after: Duration::from_millis(200),
            stall_for: Duration::from_millis(500),
            slow_bitrate: 200_000,
            churn_stay: Duration::from_millis(400),
            churn_away: Duration::from_millis(100),
        },
        settle: Duration::from_millis(200),
        time: Duration::from_secs(seconds),
        drain_every: Duration::from_millis(10),
        late_after: Duration::from_millis(500),
        server_pid: None,
        load_pids: Vec::new(),
    };
    play::run(&options, &AtomicBool::new(false), |_| {}).unwrap()
}

fn with_bare_loop<T>(window_ms: u64, work: impl FnOnce(SocketAddr) -> T) -> T {
    with_bare_loop_on(None, window_ms, |at| work(at.rtmp))
}

fn with_bare_loop_on<T>(
    encrypted: Option<limit::Encrypted>,
    window_ms: u64,
    work: impl FnOnce(limit::Listening) -> T,
) -> T {
    let options = limit::Options {
        address: "127.0.0.1:0".parse().unwrap(),
        encrypted,
        window: Duration::from_millis(window_ms),
        time: MAX_TIME,
    };
    let (listening, address) = mpsc::channel();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| limit::run(&options, &stop, |at| listening.send(at).unwrap(), |_| {}));
        let found = work(address.recv().unwrap());
        stop.store(true, Ordering::Relaxed);
        let sent: Sent = server.join().unwrap().unwrap();
        assert_eq!(sent.dropped, 0);
        found
    })
}

/// An encoder of 1 Mbit/s with a key frame every second, which has sent a key frame when `work` starts.
fn with_encoder<T>(address: SocketAddr, work: impl FnOnce(Target) -> T) -> T {
    with_encoder_over("rtmp", address, work)
}

fn with_encoder_over<T>(scheme: &str, address: SocketAddr, work: impl FnOnce(Target) -> T) -> T {
    let target = Target::resolve(&format!("{scheme}://{address}/live/load"), false).unwrap();
    let options = publish::Options { time: MAX_TIME, ..publish::Options::new(target.clone(), SHAPE) };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let encoder = scope.spawn(|| publish::run(&options, &stop, |_| {}));
        thread::sleep(Duration::from_millis(300));
        let found = work(target);
        stop.store(true, Ordering::Relaxed);
        let published: publish::Report = encoder.join().unwrap().unwrap();
        assert!(published.frames > 100, "{published:?}");
        found
    })
}

const SHAPE: Shape = Shape { bitrate: 1_000_000, fps: 30, gop: 30, audio: true };
/// Longer than any of the tests takes.
const MAX_TIME: Duration = Duration::from_secs(60);
