//! A server that is paused, and a network that delays or drops: the report shows what players did not get.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fanfare_load::play::{self, Habits, Shares};
use fanfare_load::report::Report;
use fanfare_load::source::Shape;
use fanfare_load::target::Target;
use fanfare_load::{limit, publish};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_server_that_is_paused_for_two_seconds_does_not_deliver_in_time() {
    let found = with_processes("-n 20 --parse 0.5 --seconds 5", |server, _| {
        signal(server, Signal::STOP);
        // The length of the pause is what the report has to show.
        thread::sleep(Duration::from_secs(2));
        signal(server, Signal::CONT);
    });
    assert_eq!(found.code, Some(1), "{}", found.json);
    let delivery = &found.json["delivery"];
    assert_eq!((&delivery["stalled_players"], &found.json["held"]), (&20.into(), &20.into()), "{delivery}");
    let share = delivery["share"].as_f64().unwrap();
    assert!((0.3..0.95).contains(&share), "{delivery}");
    for point in ["p50", "max"] {
        let wait_ms = delivery["longest_wait_ms"][point].as_f64().unwrap();
        assert!((1_700.0..3_000.0).contains(&wait_ms), "{delivery}");
    }
    assert!(delivery["frames"]["late"].as_u64().unwrap() > 10 * 80, "{delivery}");
    assert!(delivery["bytes"]["late"].as_u64().unwrap() > 0, "{delivery}");
}

#[test]
fn a_server_that_never_resumes_is_detected_at_the_end() {
    let found = with_processes("-n 20 --parse 0.5 --seconds 5", |server, _| signal(server, Signal::STOP));
    assert_eq!(found.code, Some(1), "{}", found.json);
    let delivery = &found.json["delivery"];
    assert_eq!(delivery["stalled_players"], 20, "{delivery}");
    assert!(delivery["share"].as_f64().unwrap() < 0.6, "{delivery}");
    assert!(delivery["frames"]["never"].as_u64().unwrap() > 10 * 100, "{delivery}");
    assert!(delivery["bytes"]["never"].as_u64().unwrap() > 0, "{delivery}");
}

#[test]
fn a_paused_or_ended_encoder_is_not_held_against_the_server() {
    for last in [Signal::CONT, Signal::TERM] {
        let found = with_processes("-n 20 --parse 0.5 --seconds 4", |_, encoder| {
            signal(encoder, Signal::STOP);
            thread::sleep(Duration::from_secs(2));
            signal(encoder, Signal::CONT);
            signal(encoder, last);
        });
        assert_eq!(found.code, Some(0), "{last:?}: {}", found.json);
        assert!(found.json["delivery"]["share"].as_f64().unwrap() >= 0.98, "{}", found.json);
    }
}

#[test]
fn players_behind_a_good_network_are_perfect_however_late_they_join() {
    // Eight players, one every 200 ms.
    let report = through_a_network(8, 5.0, 1.0, |_, _| Fate::Pass);
    assert!(report.is_perfect() && report.delivery.share == 1.0, "{report}");
    assert!(report.delivery.frames.owed > 8 * 150, "{report}");
}

#[test]
fn a_network_that_delays_everything_for_a_second_and_a_half_is_detected() {
    let report =
        through_a_network(
            8,
            100.0,
            0.5,
            |_, ms| if (1_000..2_500).contains(&ms) { Fate::Delay } else { Fate::Pass },
        );
    assert!(!report.is_perfect() && report.delivery.stalled_players == 8, "{report}");
    assert_eq!(
        (report.delivery.frames.never, report.checked.gaps + report.checked.skips),
        (0, 0),
        "{report}"
    );
    assert!(report.delivery.frames.late > 4 * 40 && report.delivery.share < 0.9, "{report}");
}

#[test]
fn a_network_that_drops_the_end_is_detected_by_checked_and_by_drained_players() {
    for checks in [0.25, 1.0] {
        let report =
            through_a_network(4, 100.0, checks, |_, ms| if ms < 1_500 { Fate::Pass } else { Fate::Drop });
        assert!(!report.is_perfect() && report.delivery.stalled_players == 4, "{report}");
        assert!(report.delivery.share < 0.75 && report.held == 4, "{report}");
        assert_eq!((report.disconnects, report.checked.gaps + report.checked.skips), (0, 0), "{report}");
    }
}

#[test]
fn a_second_that_is_dropped_for_one_drained_player_of_eight_is_detected() {
    let report = through_a_network(8, 100.0, 0.01, |player, ms| match (player, ms) {
        (7, 1_000..2_000) => Fate::Drop,
        _ => Fate::Pass,
    });
    assert_eq!((report.delivery.stalled_players, report.is_perfect()), (1, false), "{report}");
    assert!(report.delivery.share < 0.97 && report.delivery.frames.never == 0, "{report}");
}

/// The outcome of a run of processes.
struct Outcome {
    code: Option<i32>,
    json: serde_json::Value,
}

/// The bare loop, an encoder and players, each in a process of its own. `disturb` is called once all players watch, with
/// the processes of the server and the encoder.
fn with_processes(players: &str, disturb: impl FnOnce(&Child, &Child)) -> Outcome {
    let mut server = Load::start("limit --listen 127.0.0.1:0");
    let address = server.line_with("listening on ");
    let url = format!("{}/live/load", address.split("listening on ").nth(1).unwrap());
    let mut encoder = Load::start(&format!("publish {url} --bitrate 1M --gop 15"));
    encoder.line_with("frames so far");
    let file = std::env::temp_dir().join(format!(
        "fanfare-load-{}-{:?}.json",
        std::process::id(),
        thread::current().id()
    ));
    let arguments = format!("play {url} {players} --ramp 1000 --settle 0 --json {}", file.display());
    let mut players = Load::start(&arguments);
    players.line_with("20/20 watch");
    disturb(&server.0, &encoder.0);
    let code = players.0.wait().unwrap().code();
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    Outcome { code, json: serde_json::from_str(&json).unwrap() }
}

/// A process of the load generator, and its log; killed when it is dropped.
struct Load(Child, BufReader<std::process::ChildStderr>);

impl Load {
    fn start(arguments: &str) -> Load {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare-load"));
        command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Load(child, log)
    }

    /// Waits for a log line that contains `text`.
    fn line_with(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "it ended before it logged {text:?}");
        }
        line.trim_end().to_owned()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

/// What the network does with what the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    /// Delivers it later.
    Delay,
    /// Drops it.
    Drop,
}

/// Runs players for three seconds behind a network that decides by the number of a player and the milliseconds since the
/// first one connected; the encoder's connection does not pass through it.
fn through_a_network(players: usize, ramp: f64, checks: f64, fate: fn(usize, u64) -> Fate) -> Report {
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (listening, server) = mpsc::channel();
    thread::scope(|scope| {
        let any = "127.0.0.1:0".parse().unwrap();
        let options =
            limit::Options { address: any, encrypted: None, window: Duration::ZERO, time: MAX_TIME };
        let until = &stop;
        scope.spawn(move || {
            limit::run(&options, until, |at| listening.send(at.rtmp).unwrap(), |_| {}).unwrap()
        });
        let server: SocketAddr = server.recv().unwrap();
        let shape = Shape { bitrate: 1_000_000, fps: 30, gop: 15, audio: true };
        let options = publish::Options { time: MAX_TIME, ..publish::Options::new(target(server), shape) };
        let (published, publishes) = mpsc::channel();
        let ends = &ended;
        let encoder = scope.spawn(move || publish::run(&options, ends, |_| published.send(()).unwrap_or(())));
        publishes.recv().unwrap();
        let network = network(server, fate, stop.clone());
        let options = play::Options {
            target: target(network),
            players,
            streams: 1,
            ramp,
            shares: Shares { checks, ..Shares::default() },
            habits: Habits {
                stall_after: Duration::ZERO,
                stall_for: Duration::ZERO,
                slow_bitrate: 0,
                churn_stay: Duration::ZERO,
                churn_away: Duration::ZERO,
            },
            settle: Duration::from_millis(200),
            time: Duration::from_secs(3),
            drain_every: Duration::from_millis(10),
            late_after: Duration::from_millis(500),
            server_pid: None,
            load_pids: Vec::new(),
        };
        let report = play::run(&options, &AtomicBool::new(false), |_| {}).unwrap();
        ended.store(true, Ordering::Relaxed);
        encoder.join().unwrap().unwrap();
        stop.store(true, Ordering::Relaxed);
        report
    })
}

fn target(address: SocketAddr) -> Target {
    Target::resolve(&format!("rtmp://{address}/live/load"), false).unwrap()
}

/// Forwards both directions; `fate` decides about what the server sends.
fn network(server: SocketAddr, fate: fn(usize, u64) -> Fate, stop: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut begun = None;
        for (number, player) in listener.incoming().map_while(Result::ok).enumerate() {
            let begun = *begun.get_or_insert_with(std::time::Instant::now);
            let server = TcpStream::connect(server).unwrap();
            let (mut from_player, mut to_server) = (player.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_player, &mut to_server));
            let stop = stop.clone();
            thread::spawn(move || {
                forward(server, player, || fate(number, begun.elapsed().as_millis() as u64), &stop)
            });
        }
    });
    address
}

fn forward(mut from: TcpStream, mut to: TcpStream, fate: impl Fn() -> Fate, stop: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if fate() == Fate::Delay {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) if fate() == Fate::Drop => {}
            Ok(n) if to.write_all(&bytes[..n]).is_ok() => {}
            Ok(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Longer than any of the tests takes.
const MAX_TIME: Duration = Duration::from_secs(60);
