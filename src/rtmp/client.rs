//! The client's end of one connection: publishes or plays one stream. For tests, load generators, push and pull.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::chunk::{ChunkLimits, ChunkSize, Message};
use super::command::Command;
use super::error::Error;
use super::handshake;
use super::link::Link;
use super::message::{Control, UserControl, type_id};
use crate::amf0::Value;
use crate::flv::{Frame, FrameKind, Payload};

/// The options of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The stream.
    pub url: Url,
    /// Whether to publish or to play it.
    pub role: Role,
    /// The size of its chunks, bytes; announced after `connect`, unless it is the initial 128.
    pub chunk_size: ChunkSize,
    /// Whether to send the commands of Flash Media Live Encoder as well (releaseStream, FCPublish, FCSubscribe), as
    /// FFmpeg and OBS do.
    pub fmle: bool,
}

impl ClientConfig {
    /// Publishes, as FFmpeg does: chunks of 4096 bytes, and FMLE's commands as well.
    pub fn publish(url: Url) -> Self {
        let chunk_size = ChunkSize::new(4096).expect("24 bits");
        Self { url, role: Role::Publish, chunk_size, fmle: true }
    }

    /// Plays, with the initial chunk size and without FMLE's command.
    pub fn play(url: Url) -> Self {
        Self { url, role: Role::Play, chunk_size: ChunkSize::INITIAL, fmle: false }
    }
}

/// The direction of a client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends a stream.
    Publish,
    /// Receives a stream.
    Play,
}

/// An address, `rtmp://host:port/app/key?query`, split at its last slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// 1935 unless given.
    pub port: u16,
    /// The app of `connect`; may contain `/`.
    pub app: String,
    /// The stream name in `publish` or `play`, with its `?query`; may be empty.
    pub key: String,
}

/// The text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address like rtmp://host/app/key")]
pub struct UrlError(String);

/// What a client's caller has to do or to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes for the server: all messages of one call.
    Send(Bytes),
    /// The server has accepted the publish, or begun to play.
    Started,
    /// A frame of the stream that we play.
    Frame(Frame),
    /// An onStatus of the server, or the `_error` of a call.
    Status(Status),
    /// The stream that we play has ended.
    Ended,
}

/// The information object of a server's onStatus or `_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// `NetStream.Publish.Start` and the like.
    pub code: String,
    /// Text for people.
    pub description: String,
}

/// The client's end of one connection.
#[derive(Debug)]
pub struct Client {
    config: Box<ClientConfig>,
    /// None once it is done.
    handshake: Option<Box<handshake::Client>>,
    stage: Stage,
    link: Link,
    message_stream_id: u32,
    events: VecDeque<Event>,
}

/// The answer that the client waits for, if it has not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connect,
    CreateStream,
    Start,
    Started,
}

impl Client {
    /// For a connection that was just opened; the first event is a `Send`. `random` is the seed of the handshake's random
    /// bytes. Times are of any monotonic clock, in milliseconds.
    pub fn new(config: ClientConfig, now_ms: u64, random: [u8; 32]) -> Self {
        let handshake = handshake::Client::new(random);
        let mut link = Link::new(ChunkLimits::default(), now_ms);
        link.note_handshake(0, &handshake.hello());
        Self {
            config: Box::new(config),
            handshake: Some(Box::new(handshake)),
            stage: Stage::Connect,
            link,
            message_stream_id: 0,
            events: VecDeque::new(),
        }
    }

    /// Takes the bytes of one read. Then call [`Client::poll`] until it returns `None`.
    ///
    /// # Errors
    /// The server has violated the protocol.
    pub fn receive(&mut self, mut bytes: Bytes, now_ms: u64) -> Result<(), Error> {
        self.link.note_received(bytes.len(), now_ms);
        if let Some(handshake) = &mut self.handshake {
            let progress = handshake.receive(&bytes).map_err(|error| self.link.violation(error))?;
            self.link.note_handshake(progress.consumed, &progress.send);
            if !progress.done {
                return Ok(());
            }
            self.handshake = None;
            self.link.command(0, &connect(&self.config));
            bytes = bytes.slice(progress.consumed..);
        }
        self.link.feed(bytes);
        while let Some(message) = self.link.next()? {
            self.message(message)?;
        }
        self.link.acknowledge();
        Ok(())
    }

    /// The next event.
    pub fn poll(&mut self) -> Option<Event> {
        let send = self.link.take_unsent().map(Event::Send);
        send.or_else(|| self.events.pop_front())
    }

    /// Sends a frame. Only after [`Event::Started`]. Metadata is sent after `@setDataFrame`.
    pub fn send_frame(&mut self, frame: &Frame) {
        let chunk_stream_id = match frame.kind {
            FrameKind::Audio => 4,
            FrameKind::Data => 5,
            FrameKind::Video => 6,
        };
        self.link.message(&Message {
            chunk_stream_id,
            timestamp_ms: frame.timestamp_ms,
            message_type_id: frame.kind as u8,
            message_stream_id: self.message_stream_id,
            payload: if is_metadata(frame) { set_data_frame(&frame.payload) } else { frame.payload.clone() },
        });
    }

    /// Announces a chunk size and uses it from now on.
    pub fn set_chunk_size(&mut self, size: ChunkSize) {
        self.link.control(Control::SetChunkSize(size));
    }

    /// Sends any command on the client's message stream.
    pub fn send_command(&mut self, command: &Command) {
        self.link.command(self.message_stream_id, command);
    }

    /// Sends any message.
    pub fn send_message(&mut self, message: &Message) {
        self.link.message(message);
    }

    /// Stops publishing or playing, with the commands that FFmpeg sends before it closes the connection.
    pub fn stop(&mut self) {
        if self.stage != Stage::Started {
            return;
        }
        if self.config.role == Role::Publish {
            self.call(0, "FCUnpublish", transaction::FC_UNPUBLISH, [self.key()]);
        }
        self.call(0, "deleteStream", transaction::NONE, [f64::from(self.message_stream_id).into()]);
    }

    /// Bytes received, including the handshake.
    pub fn received_bytes(&self) -> u64 {
        self.link.received_bytes()
    }

    /// Bytes that the server has acknowledged (§5.4.3).
    pub fn peer_acknowledged_bytes(&self) -> u64 {
        self.link.peer_acknowledged_bytes()
    }

    #[cfg(test)]
    pub(in crate::rtmp) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        let Message { timestamp_ms, message_type_id, payload, .. } = message;
        match message_type_id {
            type_id::AUDIO => self.frame(FrameKind::Audio, timestamp_ms, payload),
            type_id::VIDEO => self.frame(FrameKind::Video, timestamp_ms, payload),
            type_id::DATA_AMF0 => self.frame(FrameKind::Data, timestamp_ms, payload),
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                let command = Command::from_message(message_type_id, &payload);
                self.command(&command.map_err(|error| self.link.violation(error))?);
            }
            // The link handles all control messages except StreamEOF.
            type_id::USER_CONTROL => self.events.push_back(Event::Ended),
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, kind: FrameKind, timestamp_ms: u32, payload: Payload) {
        let frame = Frame { kind, timestamp_ms, payload };
        if !begins_with(&frame.payload, SAMPLE_ACCESS) {
            self.events.push_back(Event::Frame(frame));
        }
    }

    fn command(&mut self, command: &Command) {
        match (command.name.as_str(), self.stage) {
            ("_result", Stage::Connect) if command.transaction_id == transaction::CONNECT => {
                self.stage = Stage::CreateStream;
                self.create_stream();
            }
            ("_result", Stage::CreateStream) if command.transaction_id == transaction::CREATE_STREAM => {
                self.stage = Stage::Start;
                let id = command.arguments.first().and_then(Value::as_number).unwrap_or(1.0);
                self.message_stream_id = id as u32;
                self.start();
            }
            ("onStatus" | "_error", _) => {
                let status = Status::parse(command.arguments.first().unwrap_or(&Value::Null));
                let started =
                    matches!(status.code.as_str(), "NetStream.Publish.Start" | "NetStream.Play.Start");
                self.events.push_back(Event::Status(status));
                if started && self.stage == Stage::Start {
                    self.stage = Stage::Started;
                    self.events.push_back(Event::Started);
                }
            }
            _ => {}
        }
    }

    /// In the order of FFmpeg.
    fn create_stream(&mut self) {
        let ClientConfig { chunk_size, fmle, role, .. } = *self.config;
        if chunk_size != ChunkSize::INITIAL {
            self.link.control(Control::SetChunkSize(chunk_size));
        }
        if fmle && role == Role::Publish {
            self.call(0, "releaseStream", transaction::RELEASE_STREAM, [self.key()]);
            self.call(0, "FCPublish", transaction::FC_PUBLISH, [self.key()]);
        }
        self.call(0, "createStream", transaction::CREATE_STREAM, []);
        if fmle && role == Role::Play {
            self.call(0, "FCSubscribe", transaction::FC_SUBSCRIBE, [self.key()]);
        }
    }

    fn start(&mut self) {
        let id = self.message_stream_id;
        match self.config.role {
            Role::Publish => self.call(id, "publish", transaction::START, [self.key(), "live".into()]),
            Role::Play => {
                self.call(id, "play", transaction::START, [self.key(), LIVE_ONLY.into()]);
                self.link.control(Control::User(UserControl::SetBufferLength(id, BUFFER_MS)));
            }
        }
    }

    fn call<const N: usize>(&mut self, message_stream_id: u32, name: &str, id: f64, arguments: [Value; N]) {
        self.link.command(message_stream_id, &Command::call(name, id, arguments));
    }

    fn key(&self) -> Value {
        self.config.url.key.as_str().into()
    }
}

impl Status {
    fn parse(information: &Value) -> Self {
        let text = |key| information.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { level: text("level"), code: text("code"), description: text("description") }
    }
}

impl std::str::FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text).ok_or_else(|| UrlError(text.to_owned()))
    }
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("rtmp://")?;
        let (authority, path_and_query) = rest.split_once('/')?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']')?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok()?,
            None if port.is_empty() => DEFAULT_PORT,
            None => return None,
        };
        let path_len = path_and_query.find('?').unwrap_or(path_and_query.len());
        let (app, key) = match path_and_query[..path_len].rfind('/') {
            Some(slash) => (&path_and_query[..slash], &path_and_query[slash + 1..]),
            None => (path_and_query, ""),
        };
        (!host.is_empty() && !app.is_empty()).then(|| Self {
            host: host.to_owned(),
            port,
            app: app.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The `tcUrl` of `connect`: the address without the key.
    pub fn tc_url(&self) -> String {
        let Self { host, port, app, .. } = self;
        if host.contains(':') {
            format!("rtmp://[{host}]:{port}/{app}")
        } else {
            format!("rtmp://{host}:{port}/{app}")
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.tc_url()),
            key => write!(f, "{}/{key}", self.tc_url()),
        }
    }
}

fn connect(config: &ClientConfig) -> Command {
    let mut connect = Command::call("connect", transaction::CONNECT, []);
    let kind = match config.role {
        Role::Publish => ("type", "nonprivate".into()),
        Role::Play => ("fpad", false.into()),
    };
    connect.object = Value::object([
        ("app", config.url.app.as_str().into()),
        kind,
        ("flashVer", concat!("fanfare/", env!("CARGO_PKG_VERSION")).into()),
        ("tcUrl", config.url.tc_url().into()),
    ]);
    connect
}

fn is_metadata(frame: &Frame) -> bool {
    frame.kind == FrameKind::Data && begins_with(&frame.payload, ON_METADATA)
}

fn set_data_frame(payload: &Payload) -> Payload {
    let mut wrapped = SET_DATA_FRAME.to_vec();
    payload.pieces().for_each(|piece| wrapped.extend_from_slice(piece));
    Bytes::from(wrapped).into()
}

fn begins_with(payload: &Payload, text: &[u8]) -> bool {
    let mut prefix = [0; 32];
    let len = payload.copy_prefix(&mut prefix);
    prefix[..len].starts_with(text)
}

/// Transaction ids: they match answers with calls, and are the same on every connection.
mod transaction {
    pub const NONE: f64 = 0.0;
    pub const CONNECT: f64 = 1.0;
    pub const RELEASE_STREAM: f64 = 2.0;
    pub const FC_PUBLISH: f64 = 3.0;
    pub const FC_SUBSCRIBE: f64 = 3.0;
    pub const CREATE_STREAM: f64 = 4.0;
    pub const START: f64 = 5.0;
    pub const FC_UNPUBLISH: f64 = 6.0;
}

/// AMF0 strings.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
const ON_METADATA: &[u8] = b"\x02\x00\x0aonMetaData";
const SAMPLE_ACCESS: &[u8] = b"\x02\x00\x11|RtmpSampleAccess";
/// The start argument of `play`: live only. The default, -2, lets a server fall back to a recording.
const LIVE_ONLY: f64 = -1000.0;
/// The value of FFmpeg.
const BUFFER_MS: u32 = 3000;
const DEFAULT_PORT: u16 = 1935;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_at_its_last_slash() {
        let table = [
            ("rtmp://host/live/key", ("host", 1935, "live", "key")),
            ("rtmp://host:1936/a/b/key?t=1/2", ("host", 1936, "a/b", "key?t=1/2")),
            ("rtmp://[::1]/live/key", ("::1", 1935, "live", "key")),
            ("rtmp://[::1]:80/live/", ("::1", 80, "live", "")),
            ("rtmp://host/live", ("host", 1935, "live", "")),
            ("rtmp://host/live?t=1", ("host", 1935, "live?t=1", "")),
        ];
        for (text, (host, port, app, key)) in table {
            let url: Url = text.parse().unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.app.as_str(), url.key.as_str()),
                (host, port, app, key)
            );
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn a_text_that_is_no_address_is_refused() {
        let texts = ["", "host", "http://host/live/key", "rtmp://host", "rtmp://host/", "rtmp:///live/key"];
        for text in
            texts.into_iter().chain(["rtmp://host:x/live", "rtmp://host:99999/live", "rtmp://[::1]x/live"])
        {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is not an address like rtmp://host/app/key"));
        }
    }
}
