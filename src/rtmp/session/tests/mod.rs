//! What the session says and does, word by word: each test sends messages as some client would, and reads the
//! transcript of all that comes of it.

use proptest::prelude::*;

use super::*;
use crate::amf0;
use crate::rtmp::chunk::{ChunkSize, Encoder};

mod control;
mod holdings;
mod media;
mod names;
mod order;
mod streams;
mod violations;

/// A peer that sends what it is told to, and the session's transcript since last read.
struct Peer {
    session: Session,
    encoder: Encoder,
    now_ms: u64,
}

impl Peer {
    /// Behind the handshake.
    fn new() -> Self {
        let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
        let mut hello = vec![0; HANDSHAKE_BYTES];
        hello[0] = 3;
        session.receive(hello.into(), 0).unwrap();
        assert!(matches!(session.poll(), Ok(Some(Output::Send(_)))));
        assert!(session.poll().unwrap().is_none());
        Self { session, encoder: Encoder::new(), now_ms: 0 }
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        let mut connect = Command::call("connect", 1.0, []);
        connect.object = Value::object([("app", "live".into()), ("flashVer", "test".into())]);
        peer.command(&connect);
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
        peer.session.accept_publish(1);
        peer.transcript();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.call("play", 0.0, ["key".into()]), ["Play live/key"]);
        peer.session.accept_play();
        peer.transcript();
        peer
    }

    fn receive(&mut self, bytes: impl Into<Bytes>) -> Result<Vec<String>, Error> {
        self.now_ms += 1;
        self.session.receive(bytes.into(), self.now_ms)?;
        self.try_transcript()
    }

    fn try_message(&mut self, message: &Message) -> Result<Vec<String>, Error> {
        let mut wire = Vec::new();
        self.encoder.encode(message, &mut wire);
        self.receive(wire)
    }

    fn message(&mut self, message_type_id: u8, timestamp_ms: u32, body: &[u8]) -> Vec<String> {
        self.try_message(&message(message_type_id, timestamp_ms, body)).unwrap()
    }

    fn command(&mut self, command: &Command) -> Vec<String> {
        self.message(type_id::COMMAND_AMF0, 0, &command.to_bytes())
    }

    fn call<const N: usize>(&mut self, name: &str, id: f64, arguments: [Value; N]) -> Vec<String> {
        self.command(&Command::call(name, id, arguments))
    }

    /// A call on a message stream other than the first.
    fn call_on<const N: usize>(
        &mut self,
        message_stream_id: MessageStreamId,
        name: &str,
        arguments: [Value; N],
    ) -> Vec<String> {
        let body = Command::call(name, 0.0, arguments).to_bytes();
        let call = Message { message_stream_id, ..message(type_id::COMMAND_AMF0, 0, &body) };
        self.try_message(&call).unwrap()
    }

    fn video_on(&mut self, message_stream_id: MessageStreamId, body: &[u8]) -> Vec<String> {
        let video = Message { message_stream_id, ..message(type_id::VIDEO, 0, body) };
        self.try_message(&video).unwrap()
    }

    fn control(&mut self, control: Control) -> Vec<String> {
        self.message(control.message_type_id(), 0, &control.to_bytes())
    }

    fn transcript(&mut self) -> Vec<String> {
        self.try_transcript().unwrap()
    }

    fn try_transcript(&mut self) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        while let Some(output) = self.session.poll()? {
            match output {
                Output::More => {}
                Output::Send(bytes) => lines.extend(sent(&bytes)),
                Output::Publish(request) => lines.push(publish_line(&request)),
                Output::Play(request) => lines.push(format!("Play {}", request.name)),
                Output::Frame { message_stream_id, frame: Frame { kind, timestamp_ms, payload } } => {
                    let text = String::from_utf8_lossy(&payload.to_bytes()).escape_debug().to_string();
                    let on = on(message_stream_id);
                    lines.push(format!("{kind:?} {timestamp_ms} {text}{on}"));
                }
                Output::Unpublish { message_stream_id } => {
                    lines.push(format!("Unpublish{}", on(message_stream_id)));
                }
                other => lines.push(format!("{other:?}")),
            }
        }
        Ok(lines)
    }
}

fn publish_line(request: &PublishRequest) -> String {
    format!("Publish {}{}", request.name, on(request.message_stream_id))
}

/// Which message stream a line is about: nothing is said about the first.
fn on(id: MessageStreamId) -> String {
    if id == 1 { String::new() } else { format!(" on {id}") }
}

/// What the session sent, a line a message. Takes for granted, as some peers do, that each message is one chunk
/// with a whole header.
fn sent(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let [chunk_stream, _, _, _, l2, l1, l0, message_type_id, id, 0, 0, 0, rest @ ..] = bytes {
        assert!(*chunk_stream < 64, "a header of type 0 with a chunk stream id of one byte");
        let (body, rest) = rest.split_at(u32::from_be_bytes([0, *l2, *l1, *l0]) as usize);
        bytes = rest;
        lines.push(match *message_type_id {
            type_id::SET_CHUNK_SIZE => {
                format!("SetChunkSize {}", u32::from_be_bytes(body.try_into().unwrap()))
            }
            type_id::COMMAND_AMF0 => {
                let command = Command::parse(body).unwrap();
                let code =
                    command.arguments.first().and_then(|info| info.get("code")).and_then(Value::as_str);
                let value = code.map_or_else(|| format!("{:?}", command.arguments), str::to_owned);
                match command.transaction_id {
                    0.0 => format!("{} {value} on {id}", command.name),
                    transaction_id => format!("{} {transaction_id} {value} on {id}", command.name),
                }
            }
            type_id::DATA_AMF0 => format!("data {:?} on {id}", amf0::decode(body).unwrap()),
            other => format!("{:?}", Control::parse(other, body).unwrap().unwrap()),
        });
    }
    assert!(bytes.is_empty());
    lines
}

fn message(message_type_id: u8, timestamp_ms: u32, body: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(body).into();
    Message { chunk_stream_id: 3, timestamp_ms, message_type_id, message_stream_id: 1, payload }
}

const HANDSHAKE_BYTES: usize = 3073;
const NOTHING: [&str; 0] = [];

#[test]
fn a_player_s_session_holds_a_few_hundred_bytes() {
    let peer = Peer::playing();
    let session = &peer.session;
    assert!(session.handshake.is_none());
    assert_eq!((session.outputs.capacity(), session.held.capacity()), (0, 0));
    assert!(size_of::<Session>() <= 512, "{}", size_of::<Session>());
}
