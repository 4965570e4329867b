//! What the attacks do to a server, and what honest players notice of them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fanfare_load::attack::{self, Done, Kind, Options};
use fanfare_load::play::{self, Habits, Shares};
use fanfare_load::source::Shape;
use fanfare_load::target::Target;
use fanfare_load::{publish, sys};

mod support;

#[test]
fn peers_of_half_open_connections_disappear_without_a_packet() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    if sys::may_vanish().is_err() {
        // Without the capability the attack fails with what it needs, instead of closing normally.
        let refused = attack_for(Duration::from_millis(500), Kind::HalfOpen, address).unwrap_err();
        assert!(refused.contains("CAP_NET_ADMIN"), "{refused}");
        return;
    }
    let accepting = thread::spawn(move || {
        let connections = listener.incoming().map_while(Result::ok);
        // The last one is the test's own.
        connections
            .take_while(|it| !it.peer_addr().unwrap().ip().to_string().ends_with(".2"))
            .collect::<Vec<_>>()
    });
    let done = attack_for(Duration::from_millis(500), Kind::HalfOpen, address).unwrap();
    let last = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    last.bind(&"127.0.0.2:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    last.connect(&address.into()).unwrap();
    let connections = accepting.join().unwrap();
    assert_eq!(connections.len() as u64, done.begun);
    assert!(done.begun > 10, "{done:?}");
    for mut connection in connections {
        connection.set_nonblocking(true).unwrap();
        assert_eq!(read_to_the_end(&mut connection), ErrorKind::WouldBlock, "the server was notified");
        // Only sending reveals it.
        connection.write_all(&[3]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while read_to_the_end(&mut connection) == ErrorKind::WouldBlock {
            assert!(Instant::now() < deadline, "the peer is still there");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_relay_closes_connections_that_announce_messages_on_too_many_chunk_streams() {
    let done = attack_for(Duration::from_secs(2), Kind::ChunkStreams, support::relay(1).rtmp).unwrap();
    // Except for the last ones, which it had no time to close.
    assert!(done.begun > 100 && done.ended + 50 >= done.begun, "{done:?}");
}

/// A short version of what `attack.sh` measures: no honest player loses a frame.
#[test]
fn honest_players_get_each_frame_during_every_attack() {
    let stop = AtomicBool::new(false);
    let noticed = thread::scope(|scope| {
        // Also when an assertion fails.
        let _stop = SetWhenDropped(&stop);
        let mut noticed = Vec::new();
        for kind in IN_SHORT {
            let relay = RelayProcess::start();
            let target = Target::resolve(&format!("rtmp://{}/live/load", relay.rtmp), false).unwrap();
            let encoder = encoder(&target);
            let (until, (publishes, began)) = (&stop, mpsc::channel());
            let encoder =
                scope.spawn(move || publish::run(&encoder, until, |_| publishes.send(()).unwrap_or(())));
            began.recv().unwrap();
            let attack = Options {
                target: target.clone(),
                http: Some(relay.http),
                kind,
                time: Duration::from_secs(2),
            };
            let attacker = scope.spawn(move || attack::run(&attack, until).unwrap());
            let report = play::run(&honest(&target), until, |_| {}).unwrap();
            let done = attacker.join().unwrap();
            assert!(done.begun > 0 && done.bytes > 0, "{kind:?} sent nothing: {done:?}");
            if !report.is_perfect() || encoder.is_finished() {
                noticed.push(format!("{kind:?}: {done:?}\n{report}"));
            }
        }
        noticed
    });
    assert!(noticed.is_empty(), "{}", noticed.join("\n\n"));
}

/// The relay in a process of its own, so that what an attack leaves behind ends with it.
struct RelayProcess {
    process: Child,
    rtmp: SocketAddr,
    http: SocketAddr,
}

impl RelayProcess {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_relay_for_other_tests", "--nocapture"]).env(IS_RELAY, "yes");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let addresses =
            lines.find_map(|line| line.split_once("relay at ").map(|it| it.1.to_owned())).unwrap();
        let mut addresses = addresses.split(' ').map(|address| address.parse().unwrap());
        let mut next = || addresses.next().unwrap();
        Self { rtmp: next(), http: next(), process }
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Started by [`RelayProcess`]; otherwise it tests nothing.
#[test]
fn a_relay_for_other_tests() {
    if std::env::var_os(IS_RELAY).is_some() {
        let support::Addresses { rtmp, http, .. } = support::relay(1);
        let _ = writeln!(std::io::stdout(), "relay at {rtmp} {http}");
        loop {
            thread::park();
        }
    }
}

const IS_RELAY: &str = "FANFARE_TEST_IS_RELAY";

const IN_SHORT: [Kind; 20] = [
    Kind::KeyFrameCopies,
    Kind::Aggregates,
    Kind::AmfReferences,
    Kind::TinyMessages,
    Kind::TinyMessageCrowd,
    Kind::PlayersWithoutVideo,
    Kind::PauseStorms,
    Kind::PublishStorms,
    Kind::PublishesInOneRead,
    Kind::RefusedConnections,
    Kind::NameThieves,
    Kind::EventFloods,
    Kind::LargeMetadata,
    Kind::UnfinishedMessages,
    Kind::PinnedBuffers,
    Kind::UnreadPreambles,
    Kind::LargeHeaders,
    Kind::StillPictures,
    Kind::PausedPlayers,
    Kind::GrowingPublishers,
];

fn encoder(target: &Target) -> publish::Options {
    let shape = Shape { bitrate: 500_000, fps: 30, gop: 30, audio: true };
    publish::Options { time: Duration::from_secs(600), ..publish::Options::new(target.clone(), shape) }
}

fn honest(target: &Target) -> play::Options {
    play::Options {
        target: target.clone(),
        players: 20,
        streams: 1,
        ramp: 1_000.0,
        shares: Shares { checks: 1.0, ..Shares::default() },
        habits: Habits {
            stall_after: Duration::ZERO,
            stall_for: Duration::ZERO,
            slow_bitrate: 0,
            churn_stay: Duration::ZERO,
            churn_away: Duration::ZERO,
        },
        settle: Duration::ZERO,
        time: Duration::from_secs(2),
        drain_every: Duration::from_millis(10),
        // Debug builds on busy machines are slow.
        late_after: Duration::from_secs(1),
        server_pid: None,
        load_pids: Vec::new(),
    }
}

#[test]
fn each_kind_of_attack_is_in_the_table() {
    let mut python = Command::new("python3");
    python.args(["-c", "import attack; print(*attack.KINDS)"]);
    let output =
        python.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let in_table = String::from_utf8(output.stdout).unwrap();
    let in_table: Vec<_> = in_table.split_whitespace().collect();
    let all: Vec<_> = Kind::value_variants().iter().filter_map(|kind| kind.to_possible_value()).collect();
    assert_eq!(in_table, all.iter().map(|kind| kind.get_name()).collect::<Vec<_>>());
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads everything that was received, and returns why it stopped; `UnexpectedEof` for the end of the stream.
fn read_to_the_end(connection: &mut TcpStream) -> ErrorKind {
    loop {
        match connection.read(&mut [0; 4096]) {
            Ok(0) => return ErrorKind::UnexpectedEof,
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
}

fn attack_for(time: Duration, kind: Kind, address: SocketAddr) -> Result<Done, String> {
    let target = Target::resolve(&format!("rtmp://{address}/live/load"), false).unwrap();
    attack::run(&Options { target, http: None, kind, time }, &AtomicBool::new(false))
}
