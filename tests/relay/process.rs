//! How the relay starts, how it is told to stop, and what it says when it cannot start.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::sandbox::refuse_io_uring;
use crate::support::{FANFARE, Process, Relay, SOON, Signal, eventually};

#[test]
fn sigterm_ends_players_politely_and_the_relay_with_0() {
    let mut relay = Relay::start_with("drain = '10s'", 4);
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let players = crowd.play_all(&relay, "live/a", 50);
    let publisher = crowd.publish(&relay, "live/a");
    let waiting = crowd.play_all(&relay, "live/nobody", 5);
    crowd.begin(publisher, &source, &players);
    crowd.send_frames(publisher, &source, 1..60);
    crowd.until_seen(&players, 59);

    relay.signal(Signal::TERM);
    crowd.until("all are closed", |crowd| {
        players.iter().chain(&waiting).chain([&publisher]).all(|&id| crowd[id].is_closed)
    });
    for &player in players.iter().chain(&waiting) {
        assert!(crowd[player].was_told("NetStream.Play.UnpublishNotify"), "{:?}", crowd[player].statuses);
        assert!(crowd[player].has_ended, "no StreamEOF");
    }
    for player in players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..60);
    }
    drop(crowd);
    let since = Instant::now();
    let status = relay.expect_end(SOON);
    assert_eq!(status.code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "it waited although all had gone");
}

/// A player that takes nothing, with a send to it under way.
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
fn a_stalled_player_holds_the_relay_no_longer_than_drain_and_nobody_comes_in_meanwhile() {
    let mut relay = Relay::start("drain = '1s'");
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
    relay.wait_for_log(&["stopped with connections still open after drain"]);
}

#[test]
fn a_second_signal_ends_the_relay_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let mut relay = Relay::start("drain = '5m'");
        let mut crowd = Crowd::new();
        stall_a_player(&relay, &mut crowd);
        relay.signal(first);
        relay.wait_for_log(&["stopping: no new connections"]);
        relay.expect_running();
        relay.signal(second);
        assert_eq!(relay.expect_end(SOON).code(), Some(0));
        relay.wait_for_log(&["stopped at once"]);
    }
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_2_whoever_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::start("");
    // The second one, a fanfare, lets others share its port, if they are its own threads.
    for address in [other.local_addr().unwrap(), relay.address()] {
        let line = one_line_of_a_start_that_fails(fanfare(&address.to_string()));
        assert!(line.contains(&address.to_string()) && line.contains("in use"), "{line}");
    }
    // One address of several is enough.
    let mut command = fanfare("127.0.0.1:0");
    command.args(["--rtmp", &relay.address().to_string()]);
    one_line_of_a_start_that_fails(command);
}

#[test]
fn where_io_uring_is_refused_one_line_says_what_to_do() {
    for (errno, advice) in [(libc::EPERM, "seccomp"), (libc::ENOSYS, "5.19")] {
        // The filter holds for the thread that sets it, and for what it starts.
        let start = thread::spawn(move || {
            refuse_io_uring(errno);
            let mut command = fanfare("127.0.0.1:0");
            command.args(["--cores", "4"]);
            one_line_of_a_start_that_fails(command)
        });
        let line = start.join().unwrap();
        assert!(line.contains("io_uring is refused") && line.contains(advice), "{line}");
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
        // Refused, with a line that nobody gets to read.
        let mut rest = Vec::new();
        let ended = peer.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.unwrap_err().kind() == ErrorKind::ConnectionReset);
    }
    relay.expect_running();
    relay.signal(Signal::TERM);
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}

#[test]
fn log_lines_that_no_terminal_shows_have_no_colours() {
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

/// Fails the test unless this is a start that fails as it should; gives what it says.
fn one_line_of_a_start_that_fails(command: Command) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start_logged(command, &dir.path().join("log"));
    let status = process.expect_end(SOON);
    let text = process.output();
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.starts_with("fanfare: ") && text.lines().count() == 1, "{text}");
    text
}
