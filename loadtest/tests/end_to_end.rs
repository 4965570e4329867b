//! Encoder, server and players in one process: with the bare loop as the server, and with the relay.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fanfare_load::limit::{self, Sent};
use fanfare_load::play::{self, Habits, Shares};
use fanfare_load::publish::{self, Published};
use fanfare_load::report::Report;
use fanfare_load::source::Shape;
use fanfare_load::target::Target;
use fanfare_rtmp::rtmp::chunk::ChunkSize;

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
    let support::Addresses { rtmp, http } = support::relay(2);
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
    };
    play::run(&options, &AtomicBool::new(false), |_| {}).unwrap()
}

fn with_bare_loop<T>(window_ms: u64, work: impl FnOnce(SocketAddr) -> T) -> T {
    let options = limit::Options {
        address: "127.0.0.1:0".parse().unwrap(),
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
    let target = Target::resolve(&format!("rtmp://{address}/live/load"), false).unwrap();
    let options = publish::Options {
        target: target.clone(),
        streams: 1,
        shape: Shape { bitrate: 1_000_000, fps: 30, gop: 30, audio: true },
        chunk_size: ChunkSize::new(4096).unwrap(),
        time: MAX_TIME,
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let encoder = scope.spawn(|| publish::run(&options, &stop, |_| {}));
        thread::sleep(Duration::from_millis(300));
        let found = work(target);
        stop.store(true, Ordering::Relaxed);
        let published: Published = encoder.join().unwrap().unwrap();
        assert!(published.frames > 100, "{published:?}");
        found
    })
}

/// Longer than any of the tests takes.
const MAX_TIME: Duration = Duration::from_secs(60);
