//! A log that clients flood, and one whose reader stalls: players lose no frame, and the operator no important line.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::bystanders::Bystanders;
use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::{FANFARE, Process, Relay, SOON, Signal, eventually};

/// A protocol violation on the RTMP port, a player on the HTTP port.
const TWENTY_FIVE_BYTES: &[u8] = b"GET /a/b.flv HTTP/1.0\r\n\r\n";

/// Opens `count` connections, one after the other; each sends its bytes and closes.
fn flood(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(TWENTY_FIVE_BYTES).unwrap();
        // The RTMP port closes, which is a reset if it has unread bytes; the HTTP port responds.
        if let Err(error) = socket.read(&mut [0; 64]) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "neither a response nor a close");
        }
    }
}

fn metric(relay: &Relay, name: &str) -> u64 {
    let mut socket = TcpStream::connect(relay.http_address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().unwrap()).sum::<f64>() as u64
}

#[test]
fn a_stalled_reader_of_the_log_costs_log_lines_and_no_player_loses_a_frame() {
    // Every line is written, so that pipe and queue are soon full.
    let mut relay = Relay::start("log = { level = 'trace', lines_per_network = 0 }");
    let mut bystanders = Bystanders::new(&relay);
    relay.read_log(false);
    let address = relay.address();
    let since = Instant::now();
    while metric(&relay, "fanfare_log_lines_lost_total") < 100 {
        flood(address, 200);
        bystanders.go_on();
        assert!(since.elapsed() < 10 * SOON, "the queue never fills");
    }
    // Lost lines are counted and reported once the reader resumes.
    bystanders.finish();
    relay.read_log(true);
    let line = relay.wait_for_log(&["log lines lost", "lost="]);
    let lost: u64 = line.rsplit_once("lost=").unwrap().1.parse().unwrap();
    assert!(lost >= 100, "{line}");
    relay.expect_running();
}

#[test]
fn a_stalled_reader_of_the_log_does_not_prevent_a_shutdown() {
    let mut relay = Relay::start("log = { level = 'trace', lines_per_network = 0 }");
    relay.read_log(false);
    // More than the pipe and the test's reader buffer.
    flood(relay.address(), 1_000);
    relay.signal(Signal::TERM);
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
    relay.read_log(true);
}

#[test]
fn a_stalled_reader_of_the_log_does_not_prevent_a_failed_start_from_ending() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_reader, mut full) = std::io::pipe().unwrap();
    full.write_all(&[b'x'; 64 << 10]).unwrap();
    let mut command = Command::new(FANFARE);
    command.args(["--rtmp", &taken.local_addr().unwrap().to_string(), "--http", "127.0.0.1:0"]);
    command.env_remove("FANFARE_LOG").stderr(full);
    let mut process = Process::start(command);
    assert_ne!(process.expect_end(SOON).code(), Some(0));
}

#[test]
fn an_orderly_shutdown_loses_no_line() {
    let mut relay = Relay::start("log = { level = 'debug', lines_per_network = 0 }");
    flood(relay.address(), 500);
    relay.signal(Signal::TERM);
    relay.expect_end(SOON);
    // The reader of the pipe may lag.
    relay.wait_for_logs(500, &["closed: protocol violation"], SOON);
    relay.wait_for_log(&[" stopped"]);
}

#[test]
fn a_flood_of_short_connections_writes_few_lines_and_all_others_are_counted() {
    const COUNT: usize = 1_000;
    const LINES: usize = 20;
    let mut relay = Relay::start(&format!("log.lines_per_network = {LINES}"));
    let mut bystanders = Bystanders::new(&relay);
    let mut crowd = Crowd::new();
    let source = Source::small(2);
    let publisher = crowd.publish(&relay, "a/b");
    crowd.begin(publisher, &source, &[]);
    let floods =
        [relay.address(), relay.http_address()].map(|address| thread::spawn(move || flood(address, COUNT)));
    let since = Instant::now();
    while floods.iter().any(|flood| !flood.is_finished()) {
        bystanders.go_on();
    }
    let windows = 1 + since.elapsed().as_secs() as usize / 10;
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    // The flood suppresses no lines about publishers.
    crowd.reset(publisher);
    relay.wait_for_publisher_gone("a/b");
    crowd.publish(&relay, "live/honest");
    relay.wait_for_publisher("live/honest");
    bystanders.finish();
    eventually("all HTTP players are gone", SOON, || (metric(&relay, "fanfare_players{") == 0).then_some(()));
    relay.signal(Signal::TERM);
    relay.expect_end(SOON);

    let log = relay.log();
    for (kind, text) in
        [("violation", "closed: protocol violation"), ("playing", " playing "), ("closed", " closed ")]
    {
        let written = log.iter().filter(|line| line.contains(text)).count();
        assert!((1..=LINES * windows).contains(&written), "{written} lines of `{text}`");
        let summaries = log.iter().filter(|line| {
            line.contains("similar lines suppressed") && line.contains(&format!("kind=\"{kind}\""))
        });
        let suppressed: usize =
            summaries.map(|line| line.rsplit_once("suppressed=").unwrap().1.parse::<usize>().unwrap()).sum();
        let min = if kind == "violation" { COUNT } else { COUNT / 2 };
        assert!(written + suppressed >= min, "{written} lines of `{text}` and {suppressed} suppressed");
        assert!(kind != "violation" || written + suppressed == COUNT, "{written} and {suppressed}");
    }
    assert!(log.len() < 20 * LINES * windows, "{} lines", log.len());
}
