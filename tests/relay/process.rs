//! How the relay starts and stops, and the error it reports if it cannot start.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::bystanders::Bystanders;
use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::sandbox::refuse_io_uring;
use crate::support::{FANFARE, Process, Relay, SOON, Signal, as_unprivileged_user, eventually};

#[test]
fn sigterm_notifies_players_and_the_relay_exits_with_0() {
    let mut relay = Relay::start_with("shutdown_timeout = '10s'", 4);
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 50);
    let publisher = crowd.publish(&relay, "live/a");
    let waiting = crowd.play_all(&relay, "live/unpublished", 5);
    crowd.begin(publisher, &source, &players);
    crowd.send_frames(publisher, &source, 1..60);
    crowd.until_seen(&players, 59);

    relay.signal(Signal::TERM);
    crowd.until("all are closed", |crowd| {
        players.iter().chain(&waiting).chain([&publisher]).all(|&id| crowd[id].is_closed)
    });
    for &player in players.iter().chain(&waiting) {
        assert!(crowd[player].got_status("NetStream.Play.UnpublishNotify"), "{:?}", crowd[player].statuses);
        assert!(crowd[player].has_ended, "no StreamEOF");
    }
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..60);
    }
    drop(crowd);
    let since = Instant::now();
    let status = relay.expect_end(SOON);
    assert_eq!(status.code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "it waited although no connection was open");
}

/// A player that reads nothing, with a send to it in flight.
fn stall_a_player(relay: &Relay, crowd: &mut Crowd) -> Id {
    let source = Source::new(1);
    let players = crowd.play_all(relay, "live/a", 1);
    let stalled = crowd.play_with_buffer(relay, "live/a", 16 << 10);
    crowd.until("it plays", |crowd| crowd[stalled].has_started);
    crowd[stalled].may_read = 0;
    let publisher = crowd.publish(relay, "live/a");
    crowd.begin(publisher, &source, &players);
    crowd.send_frames(publisher, &source, 1..200);
    crowd.until_seen(&players, 199);
    stalled
}

#[test]
fn a_stalled_player_delays_the_exit_by_shutdown_timeout_at_most_and_new_connections_are_refused() {
    let mut relay = Relay::start("shutdown_timeout = '1s'");
    let mut crowd = Crowd::new();
    stall_a_player(&relay, &mut crowd);
    let since = Instant::now();
    relay.signal(Signal::TERM);
    relay.wait_for_log(&["stopping: no new connections", "SIGTERM"]);
    eventually("new connections are refused", Duration::from_millis(900), || {
        TcpStream::connect(relay.address()).is_err().then_some(())
    });
    relay.expect_running();
    let status = relay.expect_end(SOON);
    let took = since.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "it took {took:?}");
    relay.wait_for_log(&["stopped: connections still open after shutdown_timeout"]);
}

#[test]
fn a_second_signal_ends_the_relay_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let mut relay = Relay::start("shutdown_timeout = '5m'");
        let mut crowd = Crowd::new();
        stall_a_player(&relay, &mut crowd);
        relay.signal(first);
        relay.wait_for_log(&["stopping: no new connections"]);
        // Within half a second, several stop signals are one.
        thread::sleep(Duration::from_millis(500));
        relay.expect_running();
        relay.signal(second);
        assert_eq!(relay.expect_end(SOON).code(), Some(0));
        relay.wait_for_log(&["stopped immediately: second signal"]);
    }
}

/// A terminal sends it to the whole process group, and the relay's parent process forwards it.
#[test]
fn a_stop_that_arrives_several_times_at_once_is_one_stop() {
    let mut relay = Relay::start("shutdown_timeout = '5m'");
    let mut crowd = Crowd::new();
    stall_a_player(&relay, &mut crowd);
    relay.signal(Signal::INT);
    relay.wait_for_log(&["stopping: no new connections"]);
    for again in [Signal::TERM, Signal::QUIT, Signal::INT] {
        relay.signal(again);
        relay.wait_for_logs(
            1,
            &["signal ignored: stopping already", &format!("{again:?}").replace("Signal::", "SIG")],
            SOON,
        );
    }
    relay.expect_running();
}

#[test]
fn sigquit_and_sigpwr_notify_players_and_the_relay_exits_with_0() {
    for signal in [Signal::QUIT, Signal::POWER] {
        let mut relay = Relay::start("shutdown_timeout = '10s'");
        let mut crowd = Crowd::new();
        let source = Source::small(1);
        let players = crowd.play_all(&relay, "live/a", 5);
        let publisher = crowd.publish(&relay, "live/a");
        crowd.begin(publisher, &source, &players);
        relay.signal(signal);
        crowd.until("all are closed", |crowd| players.iter().all(|&id| crowd[id].is_closed));
        assert!(players.iter().all(|&id| crowd[id].got_status("NetStream.Play.UnpublishNotify")));
        drop(crowd);
        assert_eq!(relay.expect_end(SOON).code(), Some(0));
    }
}

/// All signals except those that stop the relay, that no process can handle, that suspend a shell's job, that a fault
/// in the program raises, and two that the C library reserves.
#[test]
fn no_other_signal_ends_the_relay_or_costs_a_player_a_frame() {
    let stops = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::POWER];
    let beyond = [Signal::KILL, Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU];
    let faults =
        [Signal::ILL, Signal::TRAP, Signal::ABORT, Signal::BUS, Signal::FPE, Signal::SEGV, Signal::SYS];
    let left_out: Vec<i32> = stops.iter().chain(&beyond).chain(&faults).map(|it| it.as_raw()).collect();
    let mut relay = Relay::start("");
    let mut bystanders = Bystanders::new(&relay);
    for number in (1..=64).filter(|number| !left_out.contains(number) && ![32, 33].contains(number)) {
        let kill = format!("kill -{number} {}", relay.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
        bystanders.go_on();
    }
    relay.wait_for_log(&["configuration reloaded", "SIGHUP"]);
    for name in ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXFSZ", "SIGRTMIN+3"] {
        relay.wait_for_log(&["signal ignored", name]);
    }
    relay.expect_running();
    bystanders.finish();
}

#[test]
fn a_relay_that_is_killed_can_be_started_again_at_once() {
    for _ in 0..3 {
        let relay = Relay::start("");
        let mut crowd = Crowd::new();
        stall_a_player(&relay, &mut crowd);
        crowd.play_all(&relay, "live/a", 20);
        let address = relay.address();
        relay.signal(Signal::KILL);
        // At once, without waiting for the killed process to be reaped.
        let mut command = fanfare(&address.to_string());
        command.stdout(Stdio::piped());
        let mut again = Process::start(command);
        let mut line = String::new();
        BufReader::new(again.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&format!("rtmp://{address}")), "{line}");
        TcpStream::connect(address).unwrap();
        again.expect_running();
    }
}

#[test]
fn a_relay_that_waits_for_its_port_gets_it_or_stops_at_a_signal() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let process = Process::start_logged(fanfare(&address), &dir.path().join(name));
        eventually("it waits", SOON, || process.output().contains("waiting for it").then_some(()));
        process
    };
    let mut stopped = start("stopped");
    stopped.signal(Signal::TERM);
    assert_eq!(stopped.expect_end(Duration::from_secs(3)).code(), Some(0));
    let patient = start("patient");
    drop(other);
    eventually("it listens", SOON, || patient.output().contains(" listens on ").then_some(()));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1_whatever_program_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::start("");
    // The second one is a relay, which shares its port only among its own threads.
    for address in [other.local_addr().unwrap(), relay.address()] {
        let line = error_line_of_failed_start(fanfare(&address.to_string()));
        assert!(line.contains(&address.to_string()) && line.contains("in use"), "{line}");
    }
    // One port in use of several is enough. The supervisor should retry: the port may be free by then.
    let mut command = fanfare("127.0.0.1:0");
    command.args(["--rtmp", &relay.address().to_string()]);
    error_line_of_failed_start(command);
}

#[test]
fn if_io_uring_is_refused_one_line_says_what_to_do() {
    // Which line allows it depends on where this test runs.
    for errno in [libc::EPERM, libc::ENOSYS] {
        // The filter applies to the thread that sets it and to the processes that it starts.
        let start = thread::spawn(move || {
            refuse_io_uring(errno);
            let mut command = fanfare("127.0.0.1:0");
            command.args(["--cores", "4"]);
            error_line_of_failed_start(command)
        });
        let line = start.join().unwrap();
        assert!(line.contains("io_uring is refused: ") && line.contains("forbids it: "), "{line}");
    }
}

#[test]
fn a_relay_whose_log_cannot_be_written_goes_on() {
    let mut command = fanfare("127.0.0.1:0");
    let full = File::options().write(true).open("/dev/full").unwrap();
    command.args(["--log-level", "debug"]).stdout(Stdio::piped()).stderr(full);
    let mut relay = Process::start(command);
    let mut line = String::new();
    BufReader::new(relay.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("rtmp://")).unwrap();
    for _ in 0..20 {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // Refused, with a log line that cannot be written.
        let mut rest = Vec::new();
        let ended = peer.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.unwrap_err().kind() == ErrorKind::ConnectionReset);
    }
    relay.expect_running();
    relay.signal(Signal::TERM);
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}

#[test]
fn log_lines_outside_a_terminal_have_no_colours() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    crowd.play_all(&relay, "live/a", 1);
    let line = relay.wait_for_log(&["playing"]);
    assert!(!line.contains('\x1b') && line.contains(" stream=\"live/a\" "), "{line:?}");
}

fn fanfare(address: &str) -> Command {
    let mut command = Command::new(FANFARE);
    command.args(["--rtmp", address, "--http", "127.0.0.1:0"]).env_remove("FANFARE_LOG");
    command.env("STATE_DIRECTORY", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Fails the test unless the start fails with one line; returns that line.
fn error_line_of_failed_start(command: Command) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start_logged(command, &dir.path().join("log"));
    let status = process.expect_end(SOON);
    let text = process.output();
    assert_eq!(status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" WARN ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("fanfare: "), "{text}");
    lines[0].to_owned()
}

/// The usual limit is 8 MiB for all processes of a user, and rings count towards it.
#[test]
fn an_ordinary_user_with_little_locked_memory_can_run_any_number_of_cores() {
    for (cores, kib) in [(24, 8192), (64, 8192), (2, 64)] {
        let relay = Relay::start_with_locked_memory("", cores, kib << 10);
        let mut crowd = Crowd::new();
        let source = Source::small(1);
        let players = crowd.play_all(&relay, "live/a", 100);
        let publisher = crowd.publish(&relay, "live/a");
        crowd.begin(publisher, &source, &players);
        crowd.send_frames(publisher, &source, 1..200);
        crowd.until_seen(&players, 199);
        for &player in &players {
            source.assert_from_the_start("a player", &crowd[player].seen, 0..200);
        }
    }
}

#[test]
fn without_locked_memory_for_the_smallest_rings_one_line_says_how_much_they_need() {
    let dir = tempfile::Builder::new().tempdir().unwrap();
    let mut command = as_unprivileged_user();
    command.args(["prlimit", "--memlock=65536:65536", FANFARE, "--cores", "64"]);
    command.args(["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"]).env_remove("FANFARE_LOG");
    let mut process = Process::start_logged(command, &dir.path().join("log"));
    let status = process.expect_end(SOON);
    let text = process.output();
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(status.code(), Some(1), "{text}");
    for part in ["fanfare: ", "64 cores", " 1280 KiB ", " 64 KiB", "LimitMEMLOCK", "--cores"] {
        assert!(last.contains(part), "no `{part}` in {text}");
    }
}
