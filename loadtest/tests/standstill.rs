//! A server that stands still, and a network that swallows: players see what they did not get, and say so.

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
use fanfare_rtmp::rtmp::chunk::ChunkSize;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_server_that_is_stopped_for_two_seconds_did_not_deliver_all_in_time() {
    let found = with_processes("-n 20 --parse 0.5 --seconds 5", |server, _| {
        signal(server, Signal::STOP);
        // It is how long it stands still that is seen.
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
fn a_server_that_does_not_go_on_is_seen_at_the_end() {
    let found = with_processes("-n 20 --parse 0.5 --seconds 5", |server, _| signal(server, Signal::STOP));
    assert_eq!(found.code, Some(1), "{}", found.json);
    let delivery = &found.json["delivery"];
    assert_eq!(delivery["stalled_players"], 20, "{delivery}");
    assert!(delivery["share"].as_f64().unwrap() < 0.6, "{delivery}");
    assert!(delivery["frames"]["never"].as_u64().unwrap() > 10 * 100, "{delivery}");
    assert!(delivery["bytes"]["never"].as_u64().unwrap() > 0, "{delivery}");
}

#[test]
fn an_encoder_that_is_stopped_or_ends_is_not_blamed_on_the_server() {
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
fn players_of_a_network_that_passes_all_on_are_perfect_however_late_they_come() {
    // Eight of them, one each 200 ms.
    let report = through_a_network(8, 5.0, 1.0, |_, _| Fate::Pass);
    assert!(report.is_perfect() && report.delivery.share == 1.0, "{report}");
    assert!(report.delivery.frames.owed > 8 * 150, "{report}");
}

#[test]
fn a_network_that_holds_everything_for_a_second_and_a_half_is_seen() {
    let report =
        through_a_network(
            8,
            100.0,
            0.5,
            |_, ms| if (1_000..2_500).contains(&ms) { Fate::Hold } else { Fate::Pass },
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
fn a_network_that_swallows_the_end_is_seen_by_who_checks_and_by_who_counts() {
    for checks in [0.25, 1.0] {
        let report =
            through_a_network(4, 100.0, checks, |_, ms| if ms < 1_500 { Fate::Pass } else { Fate::Swallow });
        assert!(!report.is_perfect() && report.delivery.stalled_players == 4, "{report}");
        assert!(report.delivery.share < 0.75 && report.held == 4, "{report}");
        assert_eq!((report.disconnects, report.checked.gaps + report.checked.skips), (0, 0), "{report}");
    }
}

#[test]
fn one_player_of_eight_from_which_a_second_is_swallowed_is_seen_though_it_only_counts_bytes() {
    let report = through_a_network(8, 100.0, 0.01, |player, ms| match (player, ms) {
        (7, 1_000..2_000) => Fate::Swallow,
        _ => Fate::Pass,
    });
    assert_eq!((report.delivery.stalled_players, report.is_perfect()), (1, false), "{report}");
    assert!(report.delivery.share < 0.97 && report.delivery.frames.never == 0, "{report}");
}

/// What a run of processes left.
struct Left {
    code: Option<i32>,
    json: serde_json::Value,
}

/// The bare loop, an encoder and players, each in a process of its own; `trouble` is called once all players watch, with
/// the server's and the encoder's process.
fn with_processes(players: &str, trouble: impl FnOnce(&Child, &Child)) -> Left {
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
    trouble(&server.0, &encoder.0);
    let code = players.0.wait().unwrap().code();
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    Left { code, json: serde_json::from_str(&json).unwrap() }
}

/// A process of the load generator, and what it says; killed when it is dropped.
struct Load(Child, BufReader<std::process::ChildStderr>);

impl Load {
    fn start(arguments: &str) -> Load {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare-load"));
        command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Load(child, said)
    }

    /// Waits until it says something with this in it.
    fn line_with(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "it ended before it said {text:?}");
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

/// What a network does with what a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    /// Nothing moves; it comes later.
    Hold,
    /// It is gone.
    Swallow,
}

/// Players for three seconds behind a network that decides by the number of a player and the milliseconds since they
/// began to come; the encoder is beside the server.
fn through_a_network(players: usize, ramp: f64, checks: f64, fate: fn(usize, u64) -> Fate) -> Report {
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (listening, server) = mpsc::channel();
    thread::scope(|scope| {
        let any = "127.0.0.1:0".parse().unwrap();
        let options = limit::Options { address: any, window: Duration::ZERO, time: MAX_TIME };
        let until = &stop;
        scope.spawn(move || limit::run(&options, until, |at| listening.send(at).unwrap(), |_| {}).unwrap());
        let server: SocketAddr = server.recv().unwrap();
        let options = publish::Options {
            target: target(server),
            streams: 1,
            shape: Shape { bitrate: 1_000_000, fps: 30, gop: 15, audio: true },
            chunk_size: ChunkSize::new(4096).unwrap(),
            time: MAX_TIME,
        };
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

/// Passes on both ways, but for what `fate` says of what comes from the server.
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
                pass_on(server, player, || fate(number, begun.elapsed().as_millis() as u64), &stop)
            });
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, fate: impl Fn() -> Fate, stop: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if fate() == Fate::Hold {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) if fate() == Fate::Swallow => {}
            Ok(n) if to.write_all(&bytes[..n]).is_ok() => {}
            Ok(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Nothing here takes longer.
const MAX_TIME: Duration = Duration::from_secs(60);
