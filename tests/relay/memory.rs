//! One address with a thousand connections that make the relay hold what they can: the account of memory tells the
//! truth, the budget holds, and those beside them notice nothing.

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
/// Bytes of a chunk of those who hold unfinished messages.
const CHUNK: usize = 60_000;
/// What the allocator and the buffers of two cores take that no account has.
const SLACK: u64 = 24 * MIB;
/// What may come in while cores look which connections hold most.
const OVERSHOOT: u64 = 32 * MIB;

/// A relay under attack, and those beside.
struct Siege {
    relay: Arc<Relay>,
    bystanders: Bystanders,
    budget: u64,
    before: u64,
    most: Arc<Mutex<Memory>>,
    is_over: Arc<AtomicBool>,
    watch: Option<thread::JoinHandle<()>>,
}

/// The process as the kernel sees it, and as its account has it.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    resident: u64,
    counted: u64,
    /// What of it is answers.
    output: u64,
}

impl Siege {
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
        let (most, is_over) = (Arc::new(Mutex::new(Memory::default())), Arc::new(AtomicBool::new(false)));
        let watch = {
            let (relay, most, is_over) = (relay.clone(), most.clone(), is_over.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let now = memory(&relay);
                    let mut most = most.lock().unwrap();
                    most.resident = most.resident.max(now.resident);
                    most.counted = most.counted.max(now.counted);
                    most.output = most.output.max(now.output);
                    drop(most);
                    thread::sleep(Duration::from_millis(10));
                }
            })
        };
        Self { relay, bystanders, budget: mib * MIB, before, most, is_over, watch: Some(watch) }
    }

    /// Holds account, process and budget against each other, while whatever holds memory is still there.
    fn hold(&mut self, what: &str) {
        self.bystanders.go_on();
        let mut last = 0;
        eventually("all has been read, and the budget holds", SOON, || {
            let counted = memory(&self.relay).counted;
            let is_settled = counted.abs_diff(std::mem::replace(&mut last, counted)) < MIB / 8;
            (is_settled && counted <= self.budget).then_some(())
        });
        let (now, most) = (memory(&self.relay), *self.most.lock().unwrap());
        let grown = now.resident.saturating_sub(self.before);
        assert!(grown <= 2 * now.counted + SLACK, "{what}: grown by {grown}, counted {now:?}");
        let most_grown = most.resident.saturating_sub(self.before);
        assert!(most_grown <= self.budget + SLACK + OVERSHOOT, "{what}: {most_grown} at most");
        // A receive buffer counts as a whole, and the pages of it that were never written to are no memory.
        assert!(now.counted <= 8 * grown + SLACK, "{what}: grown by {grown}, counted {now:?}");
    }

    /// Fails the test unless memory was short, and connections were ended for it.
    fn expect_ended(&self) {
        self.relay.wait_for_log(&["limits.memory_budget reached"]);
        assert!(self.ended() > 0);
    }

    /// Fails the test if a connection was ended for want of memory, or what is counted is more than connections cost.
    fn expect_nobody_ended(&self) {
        assert_eq!(self.ended(), 0);
        let counted = memory(&self.relay).counted;
        assert!(counted < (CONNECTIONS as u64 + 20) * 8_192 + 8 * MIB, "{counted}");
    }

    fn ended(&self) -> u64 {
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

fn memory(relay: &Relay) -> Memory {
    let text = get(relay, "/metrics");
    let of = |kind: &str| {
        let name = format!("fanfare_memory_bytes{{kind=\"{kind}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no account in:\n{text}")).parse::<f64>().unwrap() as u64
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

/// A connection that reads nothing, and whose kernel takes little of what it does not read.
fn deaf(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.into()
}

/// Sends, and does not mind that it has been ended or that nobody reads.
fn say(mut socket: &TcpStream, bytes: &[u8]) {
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

fn hello() -> Vec<u8> {
    [handshake(), connect(), set_chunk_size(CHUNK as u32), command(0, "createStream", vec![])].concat()
}

fn play(name: &str) -> Vec<u8> {
    [hello(), command(1, "play", vec![name.into()])].concat()
}

fn publish(name: &str) -> Vec<u8> {
    [hello(), command(1, "publish", vec![name.into(), "live".into()])].concat()
}

/// The first chunk of a message of a megabyte of video, or so many bytes of it.
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

/// What peers do with it that leave messages unfinished, each of them so many.
fn hold_unfinished(messages: u8, says: impl Fn(usize) -> Vec<u8>) -> Siege {
    let mut siege = Siege::new("");
    let sockets: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(siege.relay.address()).unwrap()).collect();
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        say(socket, &says(number));
    }
    for chunk_stream_id in 10..10 + messages {
        sockets.iter().for_each(|socket| say(socket, &unfinished(chunk_stream_id, CHUNK)));
    }
    siege.hold("unfinished messages");
    siege
}

/// Media of those who do not publish is not kept: memory is not short, and nobody is ended.
#[test]
fn unfinished_messages_of_those_who_do_nothing() {
    let siege = hold_unfinished(4, |_| hello());
    siege.expect_nobody_ended();
    siege.finish();
}

#[test]
fn unfinished_messages_of_players() {
    let siege = hold_unfinished(4, |_| play("a"));
    siege.expect_nobody_ended();
    siege.finish();
}

#[test]
fn unfinished_messages_of_publishers() {
    let siege = hold_unfinished(30, |number| publish(&format!("p{number}")));
    siege.expect_ended();
    siege.finish();
}

#[test]
fn single_bytes_that_keep_receive_buffers() {
    let mut siege = Siege::new("");
    let sockets: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(siege.relay.address()).unwrap()).collect();
    for socket in &sockets {
        socket.set_nodelay(true).unwrap();
        say(socket, &play("a"));
        say(socket, &unfinished(10, 1));
    }
    // Each byte is a read of its own.
    for _ in 0..20 {
        sockets.iter().for_each(|socket| say(socket, &[0x17]));
        thread::sleep(Duration::from_millis(20));
    }
    siege.hold("receive buffers");
    drop(sockets);
    siege.finish();
}

#[test]
fn answers_that_are_not_read() {
    let mut siege = Siege::new("");
    let sockets: Vec<TcpStream> = (0..CONNECTIONS / 4).map(|_| deaf(siege.relay.address())).collect();
    // The kernel takes 128 KiB of what nobody reads; these are 160.
    let questions = command(0, &"x".repeat(255), vec![]).repeat(100);
    sockets.iter().for_each(|socket| say(socket, &hello()));
    for _ in 0..4 {
        sockets.iter().for_each(|socket| say(socket, &questions));
    }
    siege.hold("answers");
    let output = siege.most.lock().unwrap().output;
    assert!(output > MIB / 4, "{output} bytes of answers were in the account");
    drop(sockets);
    siege.finish();
}

#[test]
fn players_of_every_protocol_that_read_too_slowly_each_in_a_segment_of_its_own() {
    let mut siege = Siege::with_budget(40, "play.send_timeout = '1m'");
    let mut crowd = Crowd::new();
    let source = Source { bytes: 150_000, ..Source::new(7) };
    let player = crowd.play_all(&siege.relay, "live/large", 1);
    let publisher = crowd.publish(&siege.relay, "live/large");
    crowd.begin(publisher, &source, &player);
    let mut sockets = Vec::new();
    for number in 1..CONNECTIONS as u64 {
        // None of them reads, and each is in the middle of a message when its segment goes.
        let address = if number % 3 == 0 { siege.relay.address() } else { siege.relay.http_address() };
        let socket = deaf(address);
        match number % 3 {
            0 => say(&socket, &play("large")),
            1 => say(&socket, b"GET /live/large.flv HTTP/1.0\r\n\r\n"),
            _ => say(&socket, websocket("/live/large.flv").as_bytes()),
        }
        sockets.push(socket);
        crowd.send(publisher, &source.frame(number));
        if number % 10 == 9 {
            crowd.until_seen(&player, number);
        }
        if number % 100 == 99 {
            siege.bystanders.go_on();
        }
    }
    siege.hold("segments of slow players");
    siege.expect_ended();
    source.assert_from_the_start("the player that reads", &crowd[player[0]].seen, 0..CONNECTIONS as u64);
    drop(sockets);
    siege.finish();
}

#[test]
fn requests_over_http_that_do_not_end() {
    let mut siege = Siege::new("http.header_timeout = '1m'");
    let address = siege.relay.http_address();
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: relay\r\nCookie: {}", "x".repeat(15 << 10));
    sockets.iter().for_each(|socket| say(socket, head.as_bytes()));
    siege.hold("heads of requests");
    drop(sockets);
    siege.finish();
}

#[test]
fn answers_over_http_that_are_not_read() {
    let mut siege = Siege::new("play.send_timeout = '1m'");
    // So that a list of them is long.
    let players: Vec<TcpStream> =
        (0..CONNECTIONS / 2).map(|_| TcpStream::connect(siege.relay.address()).unwrap()).collect();
    players.iter().for_each(|socket| say(socket, &play(&"n".repeat(200))));
    eventually("all play", SOON, || {
        let list = get(&siege.relay, "/api/v1/players?limit=1");
        list.contains(&format!("\"total\":{}", players.len() + 4)).then_some(())
    });
    let address = siege.relay.http_address();
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| deaf(address)).collect();
    let token = siege.relay.token();
    let request = format!(
        "GET /api/v1/players?limit=1000 HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    sockets.iter().for_each(|socket| say(socket, request.as_bytes()));
    for (number, mut socket) in sockets.iter().enumerate() {
        if number % 100 == 0 {
            siege.bystanders.go_on();
        }
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.read_exact(&mut [0; 12]).expect("each is answered, with what it asked for or with 503");
    }
    siege.hold("answers over HTTP");
    drop((sockets, players));
    siege.finish();
}

#[test]
fn pings_over_websocket_whose_answers_are_not_read() {
    let mut siege = Siege::new("play.send_timeout = '1m'");
    let address = siege.relay.http_address();
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| deaf(address)).collect();
    sockets.iter().for_each(|socket| say(socket, websocket("/live/a.flv").as_bytes()));
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[0; 125]].concat().repeat(200);
    for _ in 0..4 {
        sockets.iter().for_each(|socket| say(socket, &ping));
    }
    siege.hold("pings");
    let output = siege.most.lock().unwrap().output;
    assert!(output > MIB / 4, "{output} bytes of answers were in the account");
    drop(sockets);
    siege.finish();
}

#[test]
fn ten_publishers_that_grow_with_players_of_every_protocol() {
    let mut siege = Siege::with_budget(32, "");
    let mut crowd = Crowd::new();
    let streams: Vec<_> = (0..10)
        .map(|number| {
            let name = format!("live/s{number}");
            let player = crowd.play(&siege.relay, &name);
            let publisher = crowd.publish(&siege.relay, &name);
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
    let address = siege.relay.http_address();
    let readers: Vec<_> = requests
        .map(|request| {
            let mut socket = TcpStream::connect(address).unwrap();
            say(&socket, request.as_bytes());
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
    siege.hold("ten publishers");
    let newcomer = crowd.publish(&siege.relay, "live/newcomer");
    assert!(crowd[newcomer].has_started);
    for (_, player, source) in &streams {
        source.assert_from_the_start("a player that keeps up", &crowd[*player].seen, 0..300);
    }
    for (socket, reader) in readers {
        let _ = socket.shutdown(std::net::Shutdown::Both);
        assert!(reader.join().unwrap() > 1_000_000, "a reader got next to nothing");
    }
    siege.finish();
}
