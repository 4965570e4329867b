//! A thousand connections from one address that make the relay hold as much memory as they can: the memory accounting
//! is right, the budget is enforced, and other clients are not affected.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use fanfare::{
    amf0::Value,
    rtmp::{
        chunk::{ChunkSize, Encoder, Message},
        command::Command,
        message::type_id,
    },
};
use socket2::{Domain, Socket, Type};

use crate::{
    bystanders::Bystanders,
    crowd::Crowd,
    frames::Source,
    raw::{connect, handshake, message_header, set_chunk_size},
    support::{Relay, SOON, eventually},
};

const MIB: u64 = 1 << 20;
const CONNECTIONS: usize = 1_000;
/// Bytes per chunk of an unfinished message.
const CHUNK: usize = 60_000;
/// Memory of the allocator and of two cores' buffers that is not accounted for.
const SLACK: u64 = 24 * MIB;
/// What may arrive while cores look for the connections that hold most.
const OVERSHOOT: u64 = 32 * MIB;

/// A relay under attack, and other clients of it.
struct Attack {
    relay: Arc<Relay>,
    bystanders: Bystanders,
    budget: u64,
    before: u64,
    max: Arc<Mutex<Memory>>,
    is_over: Arc<AtomicBool>,
    watch: Option<thread::JoinHandle<()>>,
}

/// Memory of the process, as the kernel and as the relay counts it.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    resident: u64,
    counted: u64,
    /// The part of it that is unread responses.
    output: u64,
}

impl Attack {
    fn new(config: &str) -> Self {
        Self::with_budget(64, config)
    }

    fn with_budget(mib: u64, config: &str) -> Self {
        let config = format!(
            "log.level = 'warn'\nlimits.memory_budget = '{mib}MiB'\nlimits.request_timeout = '1m'\n{config}"
        );
        let relay = Arc::new(Relay::start(&config));
        let bystanders = Bystanders::new(&relay);
        let before = relay.resident_bytes();
        let (max, is_over) = (Arc::new(Mutex::new(Memory::default())), Arc::new(AtomicBool::new(false)));
        let watch = {
            let (relay, max, is_over) = (relay.clone(), max.clone(), is_over.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let now = memory(&relay);
                    max.lock().unwrap().raise_to(now);
                    thread::sleep(Duration::from_millis(10));
                }
            })
        };
        Self { relay, bystanders, budget: mib * MIB, before, max, is_over, watch: Some(watch) }
    }

    /// Measures now, in addition to the regular measurements: for what does not last.
    fn sample(&self) {
        let now = memory(&self.relay);
        self.max.lock().unwrap().raise_to(now);
    }

    /// Compares accounting, process and budget, while the connections that hold memory are still open.
    fn check(&mut self, what: &str) {
        self.bystanders.go_on();
        let mut last = 0;
        eventually("all has been read, and the budget is enforced", SOON, || {
            let counted = memory(&self.relay).counted;
            let is_settled = counted.abs_diff(std::mem::replace(&mut last, counted)) < MIB / 8;
            (is_settled && counted <= self.budget).then_some(())
        });
        let (now, max) = (memory(&self.relay), *self.max.lock().unwrap());
        let grown = now.resident.saturating_sub(self.before);
        assert!(grown <= 2 * now.counted + SLACK, "{what}: grown by {grown}, counted {now:?}");
        let max_grown = max.resident.saturating_sub(self.before);
        assert!(max_grown <= self.budget + SLACK + OVERSHOOT, "{what}: grown by up to {max_grown}");
        // A receive buffer is counted as a whole, but its pages that were never written to take no memory.
        assert!(now.counted <= 8 * grown + SLACK, "{what}: grown by {grown}, counted {now:?}");
    }

    /// Fails the test unless the budget was reached and connections were closed because of it.
    fn expect_disconnected(&self) {
        self.relay.wait_for_log(&["limits.memory_budget reached"]);
        assert!(self.disconnected() > 0);
    }

    /// Fails the test if a connection was closed for lack of memory, or if more is counted than connections cost.
    fn expect_none_disconnected(&self) {
        assert_eq!(self.disconnected(), 0);
        let counted = memory(&self.relay).counted;
        assert!(counted < (CONNECTIONS as u64 + 20) * 8_192 + 8 * MIB, "{counted}");
    }

    fn disconnected(&self) -> u64 {
        let summary = get(&self.relay, "/api/v1/summary");
        let (_, body) = summary.split_once("\r\n\r\n").unwrap();
        let summary: serde_json::Value = serde_json::from_str(body).unwrap();
        summary["memory"]["ended_connections"].as_u64().unwrap()
    }

    fn finish(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.watch.take().unwrap().join().unwrap();
        self.bystanders.finish();
    }
}

impl Memory {
    /// Keeps the larger one of each.
    fn raise_to(&mut self, now: Self) {
        self.resident = self.resident.max(now.resident);
        self.counted = self.counted.max(now.counted);
        self.output = self.output.max(now.output);
    }
}

fn memory(relay: &Relay) -> Memory {
    let text = get(relay, "/metrics");
    let of = |kind: &str| {
        let name = format!("fanfare_memory_bytes{{kind=\"{kind}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {kind} memory in:\n{text}")).parse::<f64>().unwrap() as u64
    };
    Memory { resident: relay.resident_bytes(), counted: of("counted"), output: of("output") }
}

fn get(relay: &Relay, path: &str) -> String {
    let mut socket = TcpStream::connect(relay.http_address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let token = relay.token();
    let headers = format!("Host: relay\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    write!(socket, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

/// A connection that reads nothing, and whose kernel buffers little of what it does not read.
fn connect_without_reading(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.into()
}

/// Sends; it does not matter whether the connection has been closed or whether the relay reads.
fn send(mut socket: &TcpStream, bytes: &[u8]) {
    let _ = socket.write_all(bytes);
}

fn command(message_stream_id: u32, name: &str, arguments: Vec<Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new();
    encoder.set_chunk_size(ChunkSize::new(CHUNK as u32).unwrap());
    let message = Message {
        chunk_stream_id: 3,
        timestamp_ms: 0,
        message_type_id: type_id::COMMAND_AMF0,
        message_stream_id,
        payload: Bytes::from(Command::call(name, 2.0, arguments).to_bytes()).into(),
    };
    encoder.encode(&message, &mut bytes);
    bytes
}

fn connect_and_create_stream() -> Vec<u8> {
    [handshake(), connect(), set_chunk_size(CHUNK as u32), command(0, "createStream", vec![])].concat()
}

fn play(name: &str) -> Vec<u8> {
    [connect_and_create_stream(), command(1, "play", vec![name.into()])].concat()
}

fn publish(name: &str) -> Vec<u8> {
    [connect_and_create_stream(), command(1, "publish", vec![name.into(), "live".into()])].concat()
}

/// The first `bytes` of a video message of a megabyte.
fn unfinished(chunk_stream_id: u8, bytes: usize) -> Vec<u8> {
    let mut chunk = message_header(chunk_stream_id, 1 << 20, type_id::VIDEO);
    chunk.extend_from_slice(&vec![0x17; bytes]);
    chunk
}

fn websocket(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// Sends on each connection what `first` returns, then this many unfinished messages.
fn send_unfinished(messages: u8, first: impl Fn(usize) -> Vec<u8>) -> Attack {
    let mut attack = Attack::new("");
    let sockets: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(attack.relay.address()).unwrap()).collect();
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        send(socket, &first(number));
    }
    for chunk_stream_id in 10..10 + messages {
        sockets.iter().for_each(|socket| send(socket, &unfinished(chunk_stream_id, CHUNK)));
    }
    attack.check("unfinished messages");
    attack
}

/// Media of clients that do not publish is not kept: the budget is not reached, and no connection is closed.
#[test]
fn unfinished_messages_of_idle_connections_take_little_memory() {
    let attack = send_unfinished(4, |_| connect_and_create_stream());
    attack.expect_none_disconnected();
    attack.finish();
}

#[test]
fn unfinished_messages_of_players_take_little_memory() {
    let attack = send_unfinished(4, |_| play("a"));
    attack.expect_none_disconnected();
    attack.finish();
}

#[test]
fn unfinished_messages_of_publishers_stay_within_the_budget() {
    let attack = send_unfinished(30, |number| publish(&format!("p{number}")));
    attack.expect_disconnected();
    attack.finish();
}

#[test]
fn single_bytes_that_pin_receive_buffers_stay_within_the_budget() {
    let mut attack = Attack::new("");
    let sockets: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(attack.relay.address()).unwrap()).collect();
    for socket in &sockets {
        socket.set_nodelay(true).unwrap();
        send(socket, &play("a"));
        send(socket, &unfinished(10, 1));
    }
    // Each byte is received by a read of its own.
    for _ in 0..20 {
        sockets.iter().for_each(|socket| send(socket, &[0x17]));
        thread::sleep(Duration::from_millis(20));
    }
    attack.check("receive buffers");
    drop(sockets);
    attack.finish();
}

#[test]
fn responses_that_are_not_read_stay_within_the_budget() {
    let mut attack = Attack::new("");
    let sockets: Vec<TcpStream> =
        (0..CONNECTIONS / 4).map(|_| connect_without_reading(attack.relay.address())).collect();
    // The kernel buffers 128 KiB of unread responses; these are 160. In steps of 4 KiB, so that one sample sees many
    // connections that hold responses before the first of them exceeds its limit of 16 KiB.
    let requests = command(0, &"x".repeat(255), vec![]).repeat(10);
    sockets.iter().for_each(|socket| send(socket, &connect_and_create_stream()));
    for _ in 0..40 {
        sockets.iter().for_each(|socket| send(socket, &requests));
        attack.sample();
    }
    eventually("unread responses are counted", SOON, || {
        (attack.max.lock().unwrap().output > MIB / 4).then_some(())
    });
    attack.check("unread responses");
    drop(sockets);
    attack.finish();
}

#[test]
fn slow_players_of_every_protocol_each_in_a_segment_of_its_own_stay_within_the_budget() {
    let mut attack = Attack::with_budget(40, "play.send_timeout = '1m'");
    let mut crowd = Crowd::new();
    let source = Source { bytes: 150_000, ..Source::new(7) };
    let player = crowd.play_all(&attack.relay, "live/large", 1);
    let publisher = crowd.publish(&attack.relay, "live/large");
    crowd.begin(publisher, &source, &player);
    let mut sockets = Vec::new();
    for number in 1..CONNECTIONS as u64 {
        // None of them reads, and each is in the middle of a message when its segment leaves the log.
        let address = if number % 3 == 0 { attack.relay.address() } else { attack.relay.http_address() };
        let socket = connect_without_reading(address);
        match number % 3 {
            0 => send(&socket, &play("large")),
            1 => send(&socket, b"GET /live/large.flv HTTP/1.0\r\n\r\n"),
            _ => send(&socket, websocket("/live/large.flv").as_bytes()),
        }
        sockets.push(socket);
        crowd.send(publisher, &source.frame(number));
        if number % 10 == 9 {
            crowd.until_seen(&player, number);
        }
        if number % 100 == 99 {
            attack.bystanders.go_on();
        }
    }
    attack.check("segments of slow players");
    attack.expect_disconnected();
    source.assert_from_the_start("the player that reads", &crowd[player[0]].seen, 0..CONNECTIONS as u64);
    drop(sockets);
    attack.finish();
}

#[test]
fn http_requests_that_do_not_end_stay_within_the_budget() {
    let mut attack = Attack::new("http.header_timeout = '1m'");
    let address = attack.relay.http_address();
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: relay\r\nCookie: {}", "x".repeat(15 << 10));
    sockets.iter().for_each(|socket| send(socket, head.as_bytes()));
    attack.check("request headers");
    drop(sockets);
    attack.finish();
}

#[test]
fn http_responses_that_are_not_read_stay_within_the_budget() {
    let mut attack = Attack::new("play.send_timeout = '1m'");
    // So that the list of players is long.
    let players: Vec<TcpStream> =
        (0..CONNECTIONS / 2).map(|_| TcpStream::connect(attack.relay.address()).unwrap()).collect();
    players.iter().for_each(|socket| send(socket, &play(&"n".repeat(200))));
    eventually("all play", SOON, || {
        let list = get(&attack.relay, "/api/v1/players?limit=1");
        list.contains(&format!("\"total\":{}", players.len() + 4)).then_some(())
    });
    let address = attack.relay.http_address();
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect_without_reading(address)).collect();
    let token = attack.relay.token();
    let request = format!(
        "GET /api/v1/players?limit=1000 HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    sockets.iter().for_each(|socket| send(socket, request.as_bytes()));
    for (number, mut socket) in sockets.iter().enumerate() {
        if number % 100 == 0 {
            attack.bystanders.go_on();
        }
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.read_exact(&mut [0; 12]).expect("each gets a response: the list, or 503");
    }
    attack.check("unread HTTP responses");
    drop((sockets, players));
    attack.finish();
}

#[test]
fn websocket_pings_whose_pongs_are_not_read_stay_within_the_budget() {
    let mut attack = Attack::new("play.send_timeout = '1m'");
    let address = attack.relay.http_address();
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect_without_reading(address)).collect();
    sockets.iter().for_each(|socket| send(socket, websocket("/live/a.flv").as_bytes()));
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[0; 125]].concat().repeat(20);
    for _ in 0..40 {
        sockets.iter().for_each(|socket| send(socket, &ping));
        attack.sample();
    }
    attack.check("pings");
    let output = attack.max.lock().unwrap().output;
    assert!(output > MIB / 4, "only {output} bytes of unread responses were counted");
    drop(sockets);
    attack.finish();
}

#[test]
fn ten_growing_publishers_with_players_of_every_protocol_stay_within_the_budget() {
    let mut attack = Attack::with_budget(32, "");
    let mut crowd = Crowd::new();
    let streams: Vec<_> = (0..10)
        .map(|number| {
            let name = format!("live/s{number}");
            let player = crowd.play(&attack.relay, &name);
            let publisher = crowd.publish(&attack.relay, &name);
            let source = Source { bytes: 60_000, ..Source::new(number) };
            crowd.begin(publisher, &source, &[player]);
            (publisher, player, source)
        })
        .collect();
    let requests = (0..10).flat_map(|number| {
        let path = format!("/live/s{number}.flv");
        let head = "Host: relay\r\nUser-Agent: Mozilla/5.0\r\n";
        let http = ["1.0", "1.1"].map(|version| format!("GET {path} HTTP/{version}\r\n{head}\r\n"));
        http.into_iter().chain([websocket(&path)]).collect::<Vec<_>>()
    });
    let address = attack.relay.http_address();
    let readers: Vec<_> = requests
        .map(|request| {
            let mut socket = TcpStream::connect(address).unwrap();
            send(&socket, request.as_bytes());
            let ours = socket.try_clone().unwrap();
            (ours, thread::spawn(move || std::io::copy(&mut socket, &mut std::io::sink()).unwrap_or(0)))
        })
        .collect();
    for number in 1..300 {
        for (publisher, _, source) in &streams {
            crowd.send(*publisher, &source.frame(number));
        }
        if number % 5 == 4 {
            streams.iter().for_each(|(_, player, _)| crowd.until_seen(&[*player], number));
        }
    }
    attack.check("ten publishers");
    let new = crowd.publish(&attack.relay, "live/new");
    assert!(crowd[new].has_started);
    for (_, player, source) in &streams {
        source.assert_from_the_start("a player that keeps up", &crowd[*player].seen, 0..300);
    }
    for (socket, reader) in readers {
        let _ = socket.shutdown(std::net::Shutdown::Both);
        assert!(reader.join().unwrap() > 1_000_000, "an HTTP player received less than 1 MB");
    }
    attack.finish();
}
