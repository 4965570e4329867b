//! What each attack sends, and how: a table. The bytes are canned; nothing of what the server says is looked at.

use std::time::Duration;

use bytes::Bytes;
use fanfare::amf0::{self, Value};
use fanfare::rtmp::chunk::{Encoder, Message};
use fanfare::rtmp::client::Url;
use fanfare::rtmp::command::Command;
use fanfare::rtmp::message::{Control, UserControl, type_id};

/// One kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Thousands of handshakes, of each a byte a second
    SlowHandshakes,
    /// The whole opening of a player, one byte at a time
    SingleBytes,
    /// Random bytes instead of a handshake
    RandomBytes,
    /// A good opening, then random bytes
    GarbageBehindAnOpening,
    /// Messages of 16 MB announced on as many chunk streams as there are, of which nothing comes
    AnnouncedLengths,
    /// Messages of 16 MB announced on two thousand chunk streams of each connection
    ChunkStreams,
    /// Set Chunk Size, again and again
    ChunkSizes,
    /// Ping requests, whose answers are not read
    Pings,
    /// Acknowledgements, millions of them
    Acknowledgements,
    /// Publishers of many names that send nothing
    SilentPublishers,
    /// Publishers that send nothing but new headers
    HeadersOnly,
    /// Players that connect and vanish
    VanishingPlayers,
    /// Players that never read
    DeafPlayers,
    /// Players that reset their connection while they are sent to
    Resets,
    /// Connections whose peer is gone without FIN or RST: some had said nothing, some connect, some publish
    HalfOpen,
    /// createStream, again and again
    CreateStreams,
    /// play of another stream, again and again, on the same connection
    Plays,
    /// Over HTTP: thousands of requests, of each a byte a second
    SlowRequests,
    /// Over HTTP: lines that are no request, and heads that do not end
    HttpGarbage,
    /// Over HTTP: whatever the API and the metrics can be asked, as fast as it is answered
    ApiFlood,
    /// Over HTTP: players that connect and vanish
    VanishingHttpPlayers,
    /// Over HTTP: players that never read
    DeafHttpPlayers,
    /// Over WebSocket: players that send random bytes for frames, and pings without end
    WebsocketGarbage,
}

/// How an attack goes about it.
pub struct Plan {
    /// Connections at a time.
    pub connections: usize,
    /// New ones a second, at most.
    pub ramp: f64,
    /// What each sends first; `number` is the connection's.
    pub opening: Box<dyn Fn(u64) -> Vec<u8>>,
    /// What it goes on with, without end.
    pub flood: Vec<u8>,
    /// Bytes of one write.
    pub piece: usize,
    /// From one write of a connection to its next.
    pub pause: Duration,
    /// Whether it reads what comes.
    pub reads: bool,
    /// How long a connection lasts, and how it ends.
    pub end: Option<(Duration, End)>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As sockets are closed.
    Close,
    /// By a reset, at once.
    Reset,
    /// Without a packet, as a machine that loses its power.
    Vanish,
}

impl Plan {
    /// The plan of this kind, against the stream of `url`.
    pub fn new(kind: Kind, url: &Url) -> Self {
        let Url { app, key, .. } = url.clone();
        let connected = {
            let app = app.clone();
            move || [handshake(), connect(&app)].concat()
        };
        let plays = {
            let (connected, key) = (connected.clone(), key.clone());
            move || [connected(), create_stream(), play(&key)].concat()
        };
        let publishes = {
            let connected = connected.clone();
            move |number: u64| [connected(), create_stream(), publish(&format!("attack-{number}"))].concat()
        };
        let live = format!("/{app}/{key}.flv");
        let still = Self {
            connections: 100,
            ramp: 1_000.0,
            opening: Box::new(|_| Vec::new()),
            flood: Vec::new(),
            piece: 64 << 10,
            pause: Duration::from_millis(10),
            reads: true,
            end: None,
        };
        match kind {
            Kind::SlowHandshakes => Self {
                connections: 3_000,
                opening: Box::new(|_| handshake()),
                piece: 1,
                pause: Duration::from_secs(1),
                ..still
            },
            Kind::SingleBytes => Self {
                connections: 50,
                opening: Box::new(move |_| plays()),
                piece: 1,
                pause: Duration::from_millis(2),
                end: Some((Duration::from_secs(8), End::Close)),
                ..still
            },
            Kind::RandomBytes => Self {
                ramp: 500.0,
                opening: Box::new(|number| random(number, 4_000)),
                end: Some((Duration::from_millis(200), End::Close)),
                ..still
            },
            Kind::GarbageBehindAnOpening => Self {
                ramp: 500.0,
                opening: Box::new(move |number| [connected(), random(number, 20_000)].concat()),
                end: Some((Duration::from_millis(200), End::Close)),
                ..still
            },
            Kind::AnnouncedLengths => Self {
                ramp: 500.0,
                opening: Box::new(move |_| [connected(), announced_lengths()].concat()),
                end: Some((Duration::from_secs(2), End::Close)),
                ..still
            },
            Kind::ChunkStreams => {
                let opening = [connected(), announced_on_many_chunk_streams()].concat();
                Self {
                    // Slower than the others: most of what it says comes when it has been sent away, and keeps the
                    // kernel busy for nothing.
                    ramp: 100.0,
                    opening: Box::new(move |_| opening.clone()),
                    end: Some((Duration::from_secs(2), End::Close)),
                    ..still
                }
            }
            Kind::ChunkSizes => Self {
                connections: 10,
                opening: Box::new(move |_| connected()),
                flood: (0..400u32)
                    .flat_map(|i| {
                        control_bytes(type_id::SET_CHUNK_SIZE, &(4 + i * 7919 % 65_532).to_be_bytes())
                    })
                    .collect(),
                piece: 8 << 10,
                ..still
            },
            Kind::Pings => Self {
                connections: 10,
                opening: Box::new(move |_| connected()),
                flood: (0..400).flat_map(|i| control(Control::User(UserControl::PingRequest(i)))).collect(),
                piece: 8 << 10,
                reads: false,
                ..still
            },
            Kind::Acknowledgements => Self {
                connections: 10,
                opening: Box::new(move |_| plays()),
                flood: (0..400).flat_map(|i| control(Control::Acknowledgement(i * 0x0101_0101))).collect(),
                piece: 8 << 10,
                ..still
            },
            Kind::SilentPublishers => Self {
                connections: 1_000,
                opening: Box::new(publishes),
                pause: Duration::from_secs(1),
                ..still
            },
            Kind::HeadersOnly => Self {
                connections: 50,
                opening: Box::new(publishes),
                flood: (0..40).flat_map(headers).collect(),
                piece: 4 << 10,
                pause: Duration::from_millis(20),
                ..still
            },
            Kind::VanishingPlayers => Self {
                connections: 400,
                ramp: 2_000.0,
                opening: Box::new(move |_| plays()),
                end: Some((Duration::from_millis(50), End::Close)),
                ..still
            },
            Kind::DeafPlayers => {
                Self { connections: 500, opening: Box::new(move |_| plays()), reads: false, ..still }
            }
            Kind::Resets => Self {
                connections: 400,
                opening: Box::new(move |_| plays()),
                reads: false,
                end: Some((Duration::from_millis(300), End::Reset)),
                ..still
            },
            Kind::HalfOpen => Self {
                ramp: 300.0,
                opening: Box::new(move |number| match number % 3 {
                    0 => Vec::new(),
                    1 => connected(),
                    _ => publishes(number),
                }),
                end: Some((Duration::from_millis(200), End::Vanish)),
                ..still
            },
            Kind::CreateStreams => Self {
                connections: 10,
                opening: Box::new(move |_| connected()),
                flood: create_stream().repeat(100),
                piece: 4 << 10,
                ..still
            },
            Kind::Plays => Self {
                connections: 10,
                opening: Box::new(move |_| [connected(), create_stream()].concat()),
                flood: (0..50).flat_map(|i| play(&format!("{key}-{i}"))).chain(play(&key)).collect(),
                piece: 4 << 10,
                ..still
            },
            Kind::SlowRequests => Self {
                connections: 3_000,
                opening: Box::new(|_| request("/", "X-Slow: slow\r\n")),
                piece: 1,
                pause: Duration::from_secs(1),
                ..still
            },
            Kind::HttpGarbage => Self {
                ramp: 500.0,
                opening: Box::new(|number| match number % 3 {
                    0 => random(number, 4_000),
                    1 => [request("/", "").strip_suffix(b"\r\n").unwrap_or_default(), &[b'x'; 1 << 20]]
                        .concat(),
                    _ => b"GET /../../%00%ff.flv HTTP/1.1\r\nHost:\r\nContent-Length: 99999999\r\n\r\n"
                        .to_vec(),
                }),
                end: Some((Duration::from_millis(200), End::Close)),
                ..still
            },
            Kind::ApiFlood => Self {
                connections: 10,
                // With the token that attack.py gives the relay: what an operator's tools ask for costs the most.
                flood: [
                    "/api/v1/players?limit=1000&token=attack-token",
                    "/api/v1/streams",
                    "/metrics?token=attack-token",
                    "/api/v1/history",
                    "/",
                ]
                .iter()
                .flat_map(|path| request(path, ""))
                .collect(),
                piece: 400,
                ..still
            },
            Kind::VanishingHttpPlayers => Self {
                ramp: 2_000.0,
                opening: Box::new(move |_| request(&live, "")),
                end: Some((Duration::from_millis(50), End::Close)),
                ..still
            },
            Kind::DeafHttpPlayers => Self {
                connections: 500,
                opening: Box::new(move |_| request(&live, "")),
                reads: false,
                ..still
            },
            Kind::WebsocketGarbage => Self {
                ramp: 500.0,
                opening: Box::new(move |number| {
                    let ping = b"\x89\x80\0\0\0\0".repeat(if number % 2 == 0 { 2_000 } else { 1 });
                    [request(&live, UPGRADE), ping, random(number, 4_000)].concat()
                }),
                end: Some((Duration::from_millis(300), End::Close)),
                ..still
            },
        }
    }

    /// Whether it goes to the HTTP port.
    pub fn is_over_http(kind: Kind) -> bool {
        matches!(
            kind,
            Kind::SlowRequests
                | Kind::HttpGarbage
                | Kind::ApiFlood
                | Kind::VanishingHttpPlayers
                | Kind::DeafHttpPlayers
                | Kind::WebsocketGarbage
        )
    }

    /// Whether its connections end so.
    pub fn ends_with(&self, end: End) -> bool {
        self.end.is_some_and(|(_, with)| with == end)
    }
}

fn request(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: ZmFuZmFyZS1sb2FkLTEyMw==\r\n";

/// C0, C1 and C2, plain (RTMP 1.0 §5.2).
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

fn connect(app: &str) -> Vec<u8> {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", app.into())]);
    command(0, &connect)
}

fn create_stream() -> Vec<u8> {
    command(0, &Command::call("createStream", 2.0, []))
}

fn publish(key: &str) -> Vec<u8> {
    command(1, &Command::call("publish", 3.0, [key.into(), "live".into()]))
}

fn play(key: &str) -> Vec<u8> {
    command(1, &Command::call("play", 4.0, [key.into()]))
}

/// Metadata, and a sequence header that differs from the one before.
fn headers(number: u32) -> Vec<u8> {
    let metadata =
        [Value::from("onMetaData"), Value::EcmaArray(vec![("n".to_owned(), f64::from(number).into())])];
    let video = [&b"\x17\0\0\0\0\x01\x42\xC0\x1F\xFF\xE1\0\x04"[..], &number.to_be_bytes()].concat();
    [message(5, 1, type_id::DATA_AMF0, amf0::encode_all(&metadata)), message(6, 1, type_id::VIDEO, video)]
        .concat()
}

fn announced_lengths() -> Vec<u8> {
    (3..64).flat_map(|id| first_of_many_chunks(&[id])).collect()
}

fn announced_on_many_chunk_streams() -> Vec<u8> {
    // The form with three bytes: the number less 64, little-endian (RTMP 1.0 §5.3.1.1).
    (0..2_000u16).flat_map(|id| first_of_many_chunks(&[&[1], &id.to_le_bytes()[..]].concat())).collect()
}

/// Of a message of 16 MB.
fn first_of_many_chunks(basic_header: &[u8]) -> Vec<u8> {
    let message_header = [0, 0, 0, 0xFF, 0xFF, 0xFF, type_id::VIDEO, 1, 0, 0, 0];
    [basic_header, &message_header, &[0x17; 128]].concat()
}

fn control(control: Control) -> Vec<u8> {
    control_bytes(control.message_type_id(), &control.to_bytes())
}

fn control_bytes(message_type_id: u8, body: &[u8]) -> Vec<u8> {
    message(2, 0, message_type_id, body.to_vec())
}

fn command(message_stream_id: u32, command: &Command) -> Vec<u8> {
    message(3, message_stream_id, type_id::COMMAND_AMF0, command.to_bytes())
}

/// With a full header, in chunks of 128.
fn message(chunk_stream_id: u32, message_stream_id: u32, message_type_id: u8, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = Bytes::from(body).into();
    let message = Message { chunk_stream_id, timestamp_ms: 0, message_type_id, message_stream_id, payload };
    Encoder::new().encode(&message, &mut bytes);
    bytes
}

/// The same for the same seed (a linear congruential generator, Knuth's MMIX).
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}
