//! What the attacks do to a peer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fanfare_load::attack::{self, Done, Kind, Options};
use fanfare_load::sys;
use fanfare_load::target::Target;

mod support;

#[test]
fn peers_of_half_open_connections_are_gone_and_nothing_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    if sys::may_vanish().is_err() {
        // Not as root: then the attack says what it needs instead of closing politely.
        let refused = attack_for(Duration::from_millis(500), Kind::HalfOpen, address).unwrap_err();
        assert!(refused.contains("CAP_NET_ADMIN"), "{refused}");
        return;
    }
    let accepting = thread::spawn(move || {
        let connections = listener.incoming().map_while(Result::ok);
        // The last one is our own.
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
        assert_eq!(read_to_the_end(&mut connection), ErrorKind::WouldBlock, "it was told");
        // It is only by sending that one learns of it.
        connection.write_all(&[3]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while read_to_the_end(&mut connection) == ErrorKind::WouldBlock {
            assert!(Instant::now() < deadline, "somebody is still there");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_relay_ends_those_that_announce_messages_on_too_many_chunk_streams() {
    let done = attack_for(Duration::from_secs(2), Kind::ChunkStreams, support::relay(1).rtmp).unwrap();
    // But for the last ones, which it had no time to end.
    assert!(done.begun > 100 && done.ended + 50 >= done.begun, "{done:?}");
}

#[test]
fn each_kind_of_attack_is_in_the_table() {
    let mut python = Command::new("python3");
    python.args(["-c", "import attack; print(attack.KINDS, attack.HTTP_KINDS)"]);
    let output =
        python.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let in_table = String::from_utf8(output.stdout).unwrap();
    let in_table: Vec<_> = in_table.split_whitespace().collect();
    let all: Vec<_> = Kind::value_variants().iter().filter_map(|kind| kind.to_possible_value()).collect();
    assert_eq!(in_table, all.iter().map(|kind| kind.get_name()).collect::<Vec<_>>());
}

/// Reads all that is there, and gives what ended it; an end of the stream is `UnexpectedEof`.
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
    attack::run(&Options { target, kind, time }, &AtomicBool::new(false))
}
