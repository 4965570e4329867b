//! The bytes that attacks send. What the server sends is not parsed.

use bytes::Bytes;
use fanfare_rtmp::amf0::{self, Value};
use fanfare_rtmp::rtmp::chunk::{Encoder, Message};
use fanfare_rtmp::rtmp::client::Url;
use fanfare_rtmp::rtmp::command::Command;
use fanfare_rtmp::rtmp::message::{Control, type_id};

use crate::tls::{Clients, Trust};

/// What connections to one server send first.
#[derive(Clone, Debug)]
pub struct ConnectionSetup {
    app: String,
    key: String,
}

impl ConnectionSetup {
    /// For the server of `url`, whose stream is the honest one.
    pub fn new(url: &Url) -> Self {
        Self { app: url.app.clone(), key: url.key.clone() }
    }

    /// The handshake and connect.
    pub fn connected(&self) -> Vec<u8> {
        [handshake(), connect(&self.app)].concat()
    }

    /// A player of the honest stream.
    pub fn plays(&self) -> Vec<u8> {
        self.plays_stream(&self.key)
    }

    /// A player of the stream that [`ConnectionSetup::publishes`] with that number.
    pub fn plays_attack(&self, number: u64) -> Vec<u8> {
        self.plays_stream(&attack_key(number))
    }

    /// A publisher of a name of its own.
    pub fn publishes(&self, number: u64) -> Vec<u8> {
        self.publishes_stream(&attack_key(number))
    }

    /// A publisher of the name of the honest stream.
    pub fn publishes_honest(&self) -> Vec<u8> {
        self.publishes_stream(&self.key)
    }

    /// A publisher of that name.
    pub fn publishes_stream(&self, key: &str) -> Vec<u8> {
        [self.connected(), create_stream(), publish(key)].concat()
    }

    /// An HTTP request for the stream that [`ConnectionSetup::publishes`] with that number.
    pub fn requests_stream(&self, number: u64, fields: &str) -> Vec<u8> {
        request(&format!("/{}/{}.flv", self.app, attack_key(number)), fields)
    }

    /// An HTTP request for its still picture.
    pub fn requests_still(&self, number: u64) -> Vec<u8> {
        request(&format!("/api/v1/streams/{}/{}/still.flv", self.app, attack_key(number)), "")
    }

    fn plays_stream(&self, key: &str) -> Vec<u8> {
        [self.connected(), create_stream(), play(key)].concat()
    }
}

fn attack_key(number: u64) -> String {
    format!("attack-{number}")
}

pub fn request(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: ZmFuZmFyZS1sb2FkLTEyMw==\r\n";

/// C0, C1 and C2, plain (RTMP 1.0 §5.2).
pub fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

pub fn connect(app: &str) -> Vec<u8> {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", app.into())]);
    command(0, &connect)
}

pub fn create_stream() -> Vec<u8> {
    command(0, &Command::call("createStream", 2.0, []))
}

pub fn publish(key: &str) -> Vec<u8> {
    command(1, &Command::call("publish", 3.0, [key.into(), "live".into()]))
}

pub fn play(key: &str) -> Vec<u8> {
    command(1, &Command::call("play", 4.0, [key.into()]))
}

/// Metadata, and a sequence header that differs from the one before.
pub fn headers(number: u32) -> Vec<u8> {
    let metadata =
        [Value::from("onMetaData"), Value::EcmaArray(vec![("n".to_owned(), f64::from(number).into())])];
    let video = [&b"\x17\0\0\0\0\x01\x42\xC0\x1F\xFF\xE1\0\x04"[..], &number.to_be_bytes()].concat();
    [message(5, 1, type_id::DATA_AMF0, amf0::encode_all(&metadata)), message(6, 1, type_id::VIDEO, video)]
        .concat()
}

pub fn announced_lengths() -> Vec<u8> {
    (3..64).flat_map(|id| first_of_many_chunks(&[id])).collect()
}

pub fn announced_on_many_chunk_streams() -> Vec<u8> {
    // The form with three bytes: the number less 64, little-endian (RTMP 1.0 §5.3.1.1).
    (0..2_000u16).flat_map(|id| first_of_many_chunks(&[&[1], &id.to_le_bytes()[..]].concat())).collect()
}

/// The first chunk of a message of 16 MB.
pub fn first_of_many_chunks(basic_header: &[u8]) -> Vec<u8> {
    let message_header = [0, 0, 0, 0xFF, 0xFF, 0xFF, type_id::VIDEO, 1, 0, 0, 0];
    [basic_header, &message_header, &[0x17; 128]].concat()
}

pub fn control(control: Control) -> Vec<u8> {
    control_bytes(control.message_type_id(), &control.to_bytes())
}

pub fn control_bytes(message_type_id: u8, body: &[u8]) -> Vec<u8> {
    message(2, 0, message_type_id, body.to_vec())
}

pub fn command(message_stream_id: u32, command: &Command) -> Vec<u8> {
    message(3, message_stream_id, type_id::COMMAND_AMF0, command.to_bytes())
}

/// With a full header, in chunks of 128.
pub fn message(chunk_stream_id: u32, message_stream_id: u32, message_type_id: u8, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = Bytes::from(body).into();
    let message = Message { chunk_stream_id, timestamp_ms: 0, message_type_id, message_stream_id, payload };
    Encoder::new().encode(&message, &mut bytes);
    bytes
}

/// Pseudo-random bytes by `seed` (a linear congruential generator, Knuth's MMIX).
pub fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// The first message of a client of TLS.
pub fn client_hello() -> Vec<u8> {
    let mut hello = Vec::new();
    let clients = Clients::new("localhost", Trust::default()).expect("a name, and no file");
    clients.connect().take_records(&mut hello);
    hello
}

/// A record of TLS with a message of a handshake in it, or what says so (RFC 8446 §5.1).
pub fn tls_record(content: &[u8]) -> Vec<u8> {
    [&[0x16, 3, 3], &(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// Sets the maximum chunk size: from now on each message is one chunk.
pub fn large_chunks() -> Vec<u8> {
    control_bytes(type_id::SET_CHUNK_SIZE, &0xFF_FFFF_u32.to_be_bytes())
}

/// A message in one chunk, with a full header.
pub fn whole(chunk_stream_id: u8, message_type_id: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[chunk_stream_id, 0, 0, 0, a, b, c, message_type_id, 1, 0, 0, 0], body].concat()
}

/// A message in one chunk, `delta_ms` after the last one of its chunk stream (a header of type 1).
pub fn after(chunk_stream_id: u8, delta_ms: u8, message_type_id: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[0x40 | chunk_stream_id, 0, 0, delta_ms, a, b, c, message_type_id], body].concat()
}

/// A sequence header of 256 KiB per track, after [`large_chunks`] (Enhanced RTMP v2: a video message of one track,
/// `hvc1`).
pub fn track_headers(tracks: u8) -> Vec<u8> {
    (0..tracks)
        .flat_map(|track| {
            let head = [0x96, 0x00, b'h', b'v', b'c', b'1', track];
            whole(6, type_id::VIDEO, &[&head[..], &vec![b'h'; (256 << 10) - head.len()]].concat())
        })
        .collect()
}

pub fn pause(pauses: bool) -> Vec<u8> {
    command(1, &Command::call("pause", 0.0, [pauses.into(), 0.0.into()]))
}

pub fn receive_video(receives: bool) -> Vec<u8> {
    command(1, &Command::call("receiveVideo", 0.0, [receives.into()]))
}
