//! The session message by message: each test sends messages as a client does, and compares the transcript of all outputs.

use proptest::prelude::*;

use bytes::Bytes;

use super::{core::*, question::*, *};
use crate::amf0::{self, Value};
use crate::flv::Frame;
use crate::rtmp::chunk::{ChunkSize, Encoder};
use crate::rtmp::{
    chunk::Message,
    command::Command,
    error::{Error, ErrorKind},
    message::{Control, LimitType, UserControl, type_id},
    name::StreamName,
};

mod control;
mod media;
mod memory;
mod names;
mod order;
mod questions;
mod streams;
mod violations;

/// A client and the session that it talks to.
struct Peer {
    session: Session,
    encoder: Encoder,
    /// The size of the session's chunks, bytes.
    chunk_size: usize,
    /// The newest question; 0 before the first.
    question: QuestionId,
    /// Whether `connect` is allowed at once. Then the transcript does not have the question.
    allows_connect: bool,
    now_ms: u64,
}

impl Peer {
    /// After the handshake.
    fn new() -> Self {
        let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
        let mut hello = vec![0; HANDSHAKE_BYTES];
        hello[0] = 3;
        session.receive(hello.into(), 0).unwrap();
        assert!(matches!(session.poll(), Ok(Some(Output::Send(_)))));
        assert!(session.poll().unwrap().is_none());
        Self {
            session,
            encoder: Encoder::new(),
            chunk_size: 128,
            question: QuestionId::default(),
            allows_connect: true,
            now_ms: 0,
        }
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        peer.command(&connect());
        peer
    }

    /// Allows the newest question.
    fn allow(&mut self) {
        assert!(self.session.answer(self.question, Answer::Allow));
    }

    /// Denies the newest question.
    fn deny(&mut self, code: &str, description: &str) {
        assert!(self.session.answer(self.question, denial(code, description)));
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
        peer.allow();
        peer.transcript();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.call("play", 0.0, ["key".into()]), ["Play live/key"]);
        peer.allow();
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
            self.note(output, &mut lines);
        }
        Ok(lines)
    }

    fn note(&mut self, output: Output, lines: &mut Vec<String>) {
        match output {
            Output::More => {}
            Output::Send(bytes) => lines.extend(sent(&bytes, &mut self.chunk_size)),
            Output::Connect(request) => {
                self.question = request.question;
                if self.allows_connect {
                    self.allow();
                } else {
                    lines.push(format!("Connect {}", request.app));
                }
            }
            Output::Publish(request) => {
                self.question = request.question;
                lines.push(publish_line(&request));
            }
            Output::Play(request) => {
                self.question = request.question;
                lines.push(format!("Play {}", request.name));
            }
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
}

fn publish_line(request: &PublishRequest) -> String {
    format!("Publish {}{}", request.name, on(request.message_stream_id))
}

/// The message stream of a line; empty for the first.
fn on(id: MessageStreamId) -> String {
    if id == 1 { String::new() } else { format!(" on {id}") }
}

/// The messages that the session sent, one line each.
fn sent(bytes: &[u8], chunk_size: &mut usize) -> Vec<String> {
    let line = |(message_type_id, id, body): (u8, u8, Vec<u8>)| match message_type_id {
        type_id::SET_CHUNK_SIZE => {
            format!("SetChunkSize {}", u32::from_be_bytes(body.try_into().unwrap()))
        }
        type_id::COMMAND_AMF0 => {
            let command = Command::parse(&body).unwrap();
            let code = command.arguments.first().and_then(|info| info.get("code")).and_then(Value::as_str);
            let value = code.map_or_else(|| format!("{:?}", command.arguments), str::to_owned);
            match command.transaction_id {
                0.0 => format!("{} {value} on {id}", command.name),
                transaction_id => format!("{} {transaction_id} {value} on {id}", command.name),
            }
        }
        type_id::DATA_AMF0 => format!("data {:?} on {id}", amf0::decode(&body).unwrap()),
        other => format!("{:?}", Control::parse(other, &body).unwrap().unwrap()),
    };
    messages(bytes, chunk_size).into_iter().map(line).collect()
}

/// Type, message stream and body of each message that the session sent. Assumes, as some peers do, that each message begins
/// with a type 0 header and, once a chunk size has been announced, is one chunk.
fn messages(mut bytes: &[u8], chunk_size: &mut usize) -> Vec<(u8, u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [chunk_stream, _, _, _, l2, l1, l0, message_type_id, id, 0, 0, 0, rest @ ..] = bytes {
        assert!(*chunk_stream < 64, "a header of type 0 with a chunk stream id of one byte");
        let mut missing = u32::from_be_bytes([0, *l2, *l1, *l0]) as usize;
        assert!(missing <= *chunk_size || *chunk_size == 128);
        let (mut body, mut rest) = (Vec::new(), rest);
        while missing > *chunk_size {
            body.extend_from_slice(&rest[..*chunk_size]);
            missing -= *chunk_size;
            assert_eq!(rest[*chunk_size], 0xC0 | chunk_stream, "a header of type 3");
            rest = &rest[*chunk_size + 1..];
        }
        body.extend_from_slice(&rest[..missing]);
        bytes = &rest[missing..];
        if *message_type_id == type_id::SET_CHUNK_SIZE {
            *chunk_size = u32::from_be_bytes(body[..].try_into().unwrap()) as usize;
        }
        messages.push((*message_type_id, *id, body));
    }
    assert!(bytes.is_empty());
    messages
}

/// A client's `connect` to the app `live`.
fn connect() -> Command {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into()), ("flashVer", "test".into())]);
    connect
}

fn denial(code: &str, description: &str) -> Answer {
    Answer::Deny { code: code.to_owned(), description: description.to_owned() }
}

fn message(message_type_id: u8, timestamp_ms: u32, body: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(body).into();
    Message { chunk_stream_id: 3, timestamp_ms, message_type_id, message_stream_id: 1, payload }
}

const HANDSHAKE_BYTES: usize = 3073;
const NOTHING: [&str; 0] = [];

#[test]
fn a_player_s_session_uses_a_few_hundred_bytes() {
    let peer = Peer::playing();
    let session = &peer.session;
    assert!(session.handshake.is_none());
    assert_eq!((session.outputs.capacity(), session.pending.capacity()), (0, 0));
    assert!(size_of::<Session>() <= 512, "{}", size_of::<Session>());
}
