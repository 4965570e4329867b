//! The server's side of one connection: bytes and time come in, bytes to send, requests and frames go out.
//!
//! ```text
//! handshake ─► connect ─► publish ─► Publish(request) ─ accept_publish ─► Frame, Frame, … ─► Unpublish ─┐
//!                 ▲  └──► play ────► Play(request) ──── accept_play ────► Pause, … ────────► StopPlay ──┤
//!                 └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Media to a player is not the session's business: it comes from the stream log, the same bytes for everybody,
//! and goes between what the session sends. To make that possible each `createStream` is answered with message
//! stream 1, by design; publishers are heard on whatever message stream they use.

mod aggregate;
mod connect;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod holdings;
mod link;

pub use aggregate::Error as AggregateError;
pub use connect::{CAN_DECODE, CAN_ENCODE, CAN_FORWARD, Connect, Enhanced};
pub use error::{Error, ErrorKind};
pub(in crate::rtmp) use link::{Link, WINDOW_BYTES};

use link::Taken;
use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::chunk::{Limits, Message, OUT_CHUNK_SIZE};
use super::command::Command;
use super::handshake;
use super::message::{Control, LimitType, UserControl, type_id};
use super::name::{self, Address, StreamName};
use crate::amf0::Value;
use crate::flv::{Frame, FrameKind, Payload};

/// What a session needs to know from the start; the same for all.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// What a peer may leave unfinished.
    pub limits: Limits,
}

/// What a session wants done. Bytes to send come before all else, the rest is in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Bytes for the peer: whole messages, but for the handshake. All that one call had to say is one `Send`.
    Send(Bytes),
    /// The peer would publish. Until [`Session::accept_publish`] or [`Session::refuse_publish`] nothing more is
    /// read: what it sends is held.
    Publish(PublishRequest),
    /// The peer would play; to be answered by [`Session::accept_play`] or [`Session::refuse_play`].
    Play(PlayRequest),
    /// A frame of the stream that the peer publishes; never an empty one.
    Frame(Frame),
    /// The peer publishes no longer; it may publish again.
    Unpublish,
    /// The peer plays no longer; it may play again.
    StopPlay,
    /// The playing peer would have no media for now (true), or have it again.
    Pause(bool),
    /// The playing peer would have audio (true), or not.
    ReceiveAudio(bool),
    /// The playing peer would have video (true), or not.
    ReceiveVideo(bool),
    /// The connection is to be closed once all before it is sent. The last output.
    Close(CloseReason),
    /// Nothing to do, but more has come than one call reads: call again, now or later.
    More,
}

/// What a peer would publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`; may hold secrets.
    pub query: String,
}

/// What a peer would play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayRequest {
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`; may hold secrets.
    pub query: String,
    /// Where to begin, if the address says so by `?start=`.
    pub start: Option<Start>,
}

/// Where in a live stream a player begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest key frame, with all since.
    KeyFrame,
    /// At the next key frame.
    Live,
}

/// Why the session ends a connection whose peer broke no rule of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The layer above refused; the status code it gave.
    Refused(String),
    /// The peer asked for a name that no stream can have.
    Name(name::Error),
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Session {
    /// Gone when it is done.
    handshake: Option<Box<handshake::Server>>,
    link: Link,
    connect: Option<Box<Connect>>,
    publishing: Stage,
    playing: Stage,
    /// Whether the last `play` asked for a NetStream.Play.Reset.
    reset: bool,
    closing: bool,
    /// What came before all that came earlier was read, as while `publish` is unanswered. Copied, so that no receive
    /// buffer waits with it.
    held: Vec<u8>,
    /// The rest of an aggregate message: its parts are read one at a time.
    aggregate: Option<Box<aggregate::Parts>>,
    /// Bytes have come since the last acknowledgement was considered: one read is acknowledged at most once.
    has_received: bool,
    /// Messages read, those in aggregates among them.
    messages: u64,
    outputs: VecDeque<Output>,
    /// A violation, to be reported after what came before it: nothing more is read.
    failed: Option<Box<Error>>,
    has_failed: bool,
}

/// How far a publish or play has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Asked,
    Granted,
}

impl Session {
    /// A connection that was just accepted. `random` goes into the handshake. Times are of any clock that never
    /// goes back.
    pub fn new(config: &SessionConfig, now_ms: u64, random: [u8; 32]) -> Self {
        Self {
            handshake: Some(Box::new(handshake::Server::new(random))),
            link: Link::new(config.limits, now_ms),
            connect: None,
            publishing: Stage::Idle,
            playing: Stage::Idle,
            reset: false,
            closing: false,
            held: Vec::new(),
            aggregate: None,
            has_received: false,
            messages: 0,
            outputs: VecDeque::new(),
            failed: None,
            has_failed: false,
        }
    }

    /// Takes the bytes of one read; they are read by [`Session::poll`]. Best called when that had nothing more to give:
    /// what it has not read yet is bounded, and what comes meanwhile is copied. After an error the session has
    /// nothing more to say.
    pub fn receive(&mut self, mut bytes: Bytes, now_ms: u64) -> Result<(), Error> {
        self.link.count(bytes.len(), now_ms);
        if self.closing || self.has_failed {
            return Ok(());
        }
        if let Some(handshake) = &mut self.handshake {
            let progress = handshake.receive(&bytes).map_err(|error| self.link.violation(error))?;
            self.link.shook_hands(progress.consumed, &progress.send);
            if !progress.done {
                return Ok(());
            }
            self.handshake = None;
            bytes = bytes.slice(progress.consumed..);
        }
        self.has_received = true;
        if self.is_holding() || !self.held.is_empty() || !self.link.is_drained() {
            return self.hold(&bytes);
        }
        self.link.feed(bytes);
        Ok(())
    }

    /// The next thing to do; none where that takes more bytes, or an answer. Reads a few messages at the most, so a
    /// caller may stop between any two calls and go on later.
    ///
    /// # Errors
    /// A violation; all that came before it has been given out.
    pub fn poll(&mut self) -> Result<Option<Output>, Error> {
        let mut has_more = true;
        for _ in 0..MESSAGES_PER_POLL {
            if !self.outputs.is_empty() {
                break;
            }
            has_more = self.step().unwrap_or_else(|error| {
                self.has_failed = true;
                self.failed = Some(Box::new(error));
                false
            });
            if !has_more {
                break;
            }
        }
        if !has_more && !self.closing && !self.has_failed && std::mem::take(&mut self.has_received) {
            self.link.acknowledge();
        }
        if let Some(bytes) = self.link.take_out() {
            return Ok(Some(Output::Send(bytes)));
        }
        match (self.outputs.pop_front(), self.failed.take()) {
            (Some(output), failed) => {
                self.failed = failed;
                Ok(Some(output))
            }
            (None, Some(error)) => Err(*error),
            (None, None) => {
                if self.publishing == Stage::Idle {
                    self.outputs = VecDeque::new();
                }
                Ok(has_more.then_some(Output::More))
            }
        }
    }

    /// What is to be sent by now. Reads nothing of what came: for a connection that is about to be closed.
    pub fn take_out(&mut self) -> Option<Bytes> {
        self.link.take_out()
    }

    /// The stream is the peer's: says so, and goes on with what it sent meanwhile. Then [`Session::poll`].
    ///
    /// Without a request there is nothing to accept, and nothing happens.
    pub fn accept_publish(&mut self) {
        if self.publishing != Stage::Asked {
            return;
        }
        self.publishing = Stage::Granted;
        self.link.control(Control::User(UserControl::StreamBegin(MESSAGE_STREAM_ID)));
        self.status("status", "NetStream.Publish.Start", "Publishing.");
    }

    /// The stream is not the peer's, or no longer: says so, and closes, since OBS hangs otherwise. `code` is
    /// `NetStream.Publish.BadName` or `.Denied`.
    pub fn refuse_publish(&mut self, code: &str, description: &str) {
        self.forget_the_rest();
        self.refuse(code, description, CloseReason::Refused(code.to_owned()));
    }

    /// The peer plays from now on: media may follow what this makes the session send.
    ///
    /// Without a request there is nothing to accept, and nothing happens.
    pub fn accept_play(&mut self) {
        if self.playing != Stage::Asked {
            return;
        }
        self.playing = Stage::Granted;
        self.link.control(Control::User(UserControl::StreamBegin(MESSAGE_STREAM_ID)));
        if self.reset {
            self.status("status", "NetStream.Play.Reset", "Playing and resetting.");
        }
        self.status("status", "NetStream.Play.Start", "Started playing.");
        let access = [Value::from("|RtmpSampleAccess"), false.into(), false.into()];
        self.link.data(MESSAGE_STREAM_ID, &access);
    }

    /// The peer does not get to play, or waited in vain after it was accepted: says so, and closes. `code` is
    /// `NetStream.Play.StreamNotFound` or `.Failed`.
    pub fn refuse_play(&mut self, code: &str, description: &str) {
        self.forget_the_rest();
        self.refuse(code, description, CloseReason::Refused(code.to_owned()));
    }

    /// The stream that the peer plays has ended for good: FFmpeg and librtmp stop here. To be sent behind the last
    /// media; what becomes of the connection is the caller's to decide.
    pub fn end_play(&mut self) {
        if self.playing == Stage::Idle {
            return;
        }
        self.playing = Stage::Idle;
        self.status("status", "NetStream.Play.UnpublishNotify", "The stream has ended.");
        self.link.control(Control::User(UserControl::StreamEof(MESSAGE_STREAM_ID)));
    }

    /// The relay ends the connection, for a reason that is not the stream's: says so, if the peer has come far enough to
    /// understand it. Reads no more, and lets go of what is half here. `code` is `NetStream.…` or `NetConnection.…`. False where there is no way to say it.
    pub fn close(&mut self, code: &str, description: &str) -> bool {
        self.forget_the_rest();
        let is_connected = self.connect.is_some();
        if is_connected {
            self.refuse(code, description, CloseReason::Refused(code.to_owned()));
        }
        self.closing = true;
        self.let_go_of_input();
        is_connected
    }

    /// Asks the peer for a sign of life, once it has connected.
    pub fn ping(&mut self, now_ms: u64) {
        if self.connect.is_some() {
            self.link.ping(now_ms);
        }
    }

    /// Whether `publish` waits for its answer. A caller that can should stop reading meanwhile.
    pub fn is_holding(&self) -> bool {
        self.publishing == Stage::Asked
    }

    /// Whether the handshake is over.
    pub fn has_shaken_hands(&self) -> bool {
        self.handshake.is_none()
    }

    /// What the client said of itself, once it has connected.
    pub fn connect(&self) -> Option<&Connect> {
        self.connect.as_deref()
    }

    /// How long the last answered ping took, in milliseconds.
    pub fn round_trip_ms(&self) -> Option<u32> {
        self.link.round_trip_ms()
    }

    /// Bytes received, handshake and all.
    pub fn received_bytes(&self) -> u64 {
        self.link.received_bytes()
    }

    /// Messages read, those in aggregates among them.
    pub fn received_messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of ours that the peer says it has; it may say nothing, or lie.
    pub fn peer_acknowledged_bytes(&self) -> u64 {
        self.link.peer_acknowledged_bytes()
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let held = self.held.len() + bytes.len();
        if held > MAX_HELD_BYTES {
            return Err(self.link.violation(ErrorKind::TooMuchHeld(held)));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads one message, or one part of an aggregate. False where there is none to read now.
    fn step(&mut self) -> Result<bool, Error> {
        if self.closing || self.has_failed || self.is_holding() {
            return Ok(false);
        }
        if let Some(part) = self.aggregate.as_mut().and_then(Iterator::next) {
            let part = part.map_err(|error| self.link.violation(error))?;
            self.messages += 1;
            self.media(part.message_type_id, part.timestamp_ms, part.body.into());
            return Ok(true);
        }
        self.aggregate = None;
        match self.link.take()? {
            Some(taken) => {
                self.messages += 1;
                if let Taken::Message(message) = taken {
                    self.message(message)?;
                }
            }
            None if self.held.is_empty() => return Ok(false),
            None => self.link.feed(std::mem::take(&mut self.held).into()),
        }
        Ok(true)
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        let Message { timestamp_ms, message_type_id, payload, .. } = message;
        match message_type_id {
            type_id::AGGREGATE => {
                self.aggregate = Some(Box::new(aggregate::Parts::new(timestamp_ms, payload.to_bytes())))
            }
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                let command = Command::from_message(message_type_id, &payload);
                self.command(command.map_err(|error| self.link.violation(error))?)?;
            }
            _ => self.media(message_type_id, timestamp_ms, payload),
        }
        Ok(())
    }

    /// Audio, video and data become frames. Other types (shared objects, and what nobody has defined) mean nothing
    /// to us.
    fn media(&mut self, message_type_id: u8, timestamp_ms: u32, payload: Payload) {
        match message_type_id {
            type_id::AUDIO => self.frame(FrameKind::Audio, timestamp_ms, payload),
            type_id::VIDEO => self.frame(FrameKind::Video, timestamp_ms, payload),
            type_id::DATA_AMF0 => self.data(timestamp_ms, payload),
            type_id::DATA_AMF3 => self.data(timestamp_ms, payload.skip(AMF3_FORMAT_BYTES)),
            _ => {}
        }
    }

    /// `@setDataFrame` is for servers: players get what it wraps. `@clearDataFrame` has nothing for them.
    fn data(&mut self, timestamp_ms: u32, payload: Payload) {
        let mut prefix = [0; CLEAR_DATA_FRAME.len()];
        let len = payload.copy_prefix(&mut prefix);
        let prefix = &prefix[..len];
        if prefix.starts_with(SET_DATA_FRAME) {
            self.frame(FrameKind::Data, timestamp_ms, payload.skip(SET_DATA_FRAME.len()));
        } else if !prefix.starts_with(CLEAR_DATA_FRAME) {
            self.frame(FrameKind::Data, timestamp_ms, payload);
        }
    }

    /// Media without a publish goes nowhere: encoders send what they still have after FCUnpublish. An empty message
    /// is some encoders' sign of life and carries nothing.
    fn frame(&mut self, kind: FrameKind, timestamp_ms: u32, payload: Payload) {
        if self.publishing == Stage::Granted && !payload.is_empty() {
            self.outputs.push_back(Output::Frame(Frame { kind, timestamp_ms, payload }));
        }
    }

    /// Does what a command asks, or answers as Flash Media Server does.
    fn command(&mut self, command: Command) -> Result<(), Error> {
        let transaction_id = command.transaction_id;
        if command.name == "connect" {
            return self.welcome(&command);
        }
        if self.connect.is_none() {
            return Err(self.link.violation(ErrorKind::NotConnected(word(&command.name))));
        }
        match command.name.as_str() {
            "createStream" => self.result(transaction_id, f64::from(MESSAGE_STREAM_ID).into()),
            "publish" => self.publish(&command),
            "play" => self.play(&command),
            "deleteStream" | "closeStream" => {
                self.unpublish();
                self.stop_play();
            }
            "FCUnpublish" => {
                self.unpublish();
                self.notify("onFCUnpublish", "NetStream.Unpublish.Success", &command);
                self.result(transaction_id, Value::Undefined);
            }
            "FCPublish" => {
                self.notify("onFCPublish", "NetStream.Publish.Start", &command);
                self.result(transaction_id, Value::Undefined);
            }
            "FCSubscribe" => {
                self.notify("onFCSubscribe", "NetStream.Play.Start", &command);
                self.result(transaction_id, Value::Undefined);
            }
            "FCUnsubscribe" | "releaseStream" | "_checkbw" | "checkBandwidth" => {
                self.result(transaction_id, Value::Undefined);
            }
            // Live has no length.
            "getStreamLength" => self.result(transaction_id, 0.0.into()),
            "pause" | "pauseRaw" => self.pause(command.flag(0).unwrap_or(true)),
            // Live goes on where it is, but librtmp waits for this word, and FFmpeg gives up at an error.
            "seek" if self.playing == Stage::Granted => {
                self.status("status", "NetStream.Seek.Notify", "Live: the position stays.");
            }
            "receiveAudio" => self.receive_kind(&command, Output::ReceiveAudio),
            "receiveVideo" => self.receive_kind(&command, Output::ReceiveVideo),
            // Answers to calls that we never make, a seek before play, and a switch to another bit rate, of which
            // we have one.
            "_result" | "_error" | "onStatus" | "seek" | "play2" => {}
            unknown => {
                if transaction_id != 0.0 {
                    let description = format!("Method not found ({}).", echo(unknown));
                    let answer = Command::error(transaction_id, "NetConnection.Call.Failed", &description);
                    self.link.command(0, &answer);
                }
            }
        }
        Ok(())
    }

    /// The order of Flash Media Server.
    fn welcome(&mut self, command: &Command) -> Result<(), Error> {
        if self.connect.is_some() {
            return Err(self.link.violation(ErrorKind::ConnectedTwice));
        }
        let connect = Connect::parse(&command.object);
        self.link.control(Control::WindowAcknowledgementSize(WINDOW_BYTES));
        self.link.control(Control::SetPeerBandwidth(WINDOW_BYTES, LimitType::Dynamic));
        self.link.control(Control::User(UserControl::StreamBegin(0)));
        self.link.control(Control::SetChunkSize(OUT_CHUNK_SIZE));
        self.link.command(0, &connect.answer(command.transaction_id));
        self.connect = Some(Box::new(connect));
        Ok(())
    }

    /// A second publish takes the place of the first. Its type, `live` or `record` or nothing, changes nothing.
    fn publish(&mut self, command: &Command) {
        self.unpublish();
        match self.address(command) {
            Ok(Address { name, query }) => {
                self.publishing = Stage::Asked;
                self.outputs.push_back(Output::Publish(PublishRequest { name, query }));
            }
            Err(error) => {
                self.refuse("NetStream.Publish.BadName", &error.to_string(), CloseReason::Name(error));
            }
        }
    }

    /// A second play takes the place of the first. Arguments: name, start, duration, reset.
    fn play(&mut self, command: &Command) {
        self.stop_play();
        match self.address(command) {
            Ok(address) => {
                let start = address.parameter("start").and_then(Start::parse);
                let Address { name, query } = address;
                self.playing = Stage::Asked;
                self.reset = command.flag(3).unwrap_or(false);
                self.outputs.push_back(Output::Play(PlayRequest { name, query, start }));
            }
            Err(error) => {
                self.refuse("NetStream.Play.StreamNotFound", &error.to_string(), CloseReason::Name(error));
            }
        }
    }

    fn address(&self, command: &Command) -> Result<Address, name::Error> {
        let connect = self.connect.as_ref().expect("publish and play come after connect");
        Address::parse(&connect.app, &connect.tc_url, command.text(0).unwrap_or_default())
    }

    fn unpublish(&mut self) {
        if std::mem::take(&mut self.publishing) == Stage::Granted {
            self.status("status", "NetStream.Unpublish.Success", "Stopped publishing.");
            self.outputs.push_back(Output::Unpublish);
        }
    }

    fn stop_play(&mut self) {
        if std::mem::take(&mut self.playing) != Stage::Idle {
            self.outputs.push_back(Output::StopPlay);
        }
    }

    fn pause(&mut self, paused: bool) {
        if self.playing == Stage::Granted {
            let code = if paused { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
            self.status("status", code, "");
            self.outputs.push_back(Output::Pause(paused));
        }
    }

    /// §7.2.2.4: going on is told, leaving off is not.
    fn receive_kind(&mut self, command: &Command, output: fn(bool) -> Output) {
        if self.playing == Stage::Granted {
            let wanted = command.flag(0).unwrap_or(true);
            if wanted {
                self.status("status", "NetStream.Seek.Notify", "");
                self.status("status", "NetStream.Play.Start", "");
            }
            self.outputs.push_back(output(wanted));
        }
    }

    /// Nothing comes of what was asked behind a request that is refused, in the same read. What the session itself
    /// refuses is the last that it has read, and what came before it counts.
    fn forget_the_rest(&mut self) {
        if !self.closing {
            self.outputs.clear();
        }
    }

    fn refuse(&mut self, code: &str, description: &str, reason: CloseReason) {
        if !self.closing {
            self.closing = true;
            // Nothing is held any more: what the peer still sends has to be read, and its end to be seen.
            self.publishing = Stage::Idle;
            self.held = Vec::new();
            self.aggregate = None;
            self.status("error", code, description);
            self.outputs.push_back(Output::Close(reason));
        }
    }

    fn status(&mut self, level: &str, code: &str, description: &str) {
        self.link.command(MESSAGE_STREAM_ID, &Command::on_status(level, code, description));
    }

    /// FMLE's own notices: `onFCPublish` and the like, about the stream that the command names.
    fn notify(&mut self, method: &str, code: &str, command: &Command) {
        let mut notice = Command::on_status("status", code, &echo(command.text(0).unwrap_or_default()));
        notice.name = method.to_owned();
        self.link.command(0, &notice);
    }

    fn result(&mut self, transaction_id: f64, value: Value) {
        if transaction_id != 0.0 {
            self.link.command(0, &Command::result(transaction_id, value));
        }
    }
}

impl Start {
    /// `keyframe` or `live`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "keyframe" => Some(Self::KeyFrame),
            "live" => Some(Self::Live),
            _ => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "refused: {code}"),
            Self::Name(error) => write!(f, "refused: {error}"),
        }
    }
}

/// What a peer said, as far as it is worth repeating: our commands stay within one chunk, and our log in its lines.
fn echo(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(255).collect()
}

/// What the name of a command begins with, as far as it looks like one: what else it holds may be an address with its
/// secret.
fn word(text: &str) -> String {
    text.chars().take_while(|&c| c.is_ascii_alphanumeric() || c == '_').take(32).collect()
}

/// The one message stream that `createStream` gives out, as the media of [`super::chunk::MediaFormat`] has it.
const MESSAGE_STREAM_ID: u32 = 1;
/// 3 s of a 20 Mbit/s stream: what an encoder that does not wait for its answer sends while a hook decides.
const MAX_HELD_BYTES: usize = 8 << 20;
/// Messages that one [`Session::poll`] reads where they ask for nothing: some microseconds.
const MESSAGES_PER_POLL: usize = 16;
/// In front of AMF3 data: 0, for AMF0.
const AMF3_FORMAT_BYTES: usize = 1;
/// As AMF0 strings.
const SET_DATA_FRAME: &[u8; 16] = b"\x02\x00\x0d@setDataFrame";
const CLEAR_DATA_FRAME: &[u8; 18] = b"\x02\x00\x0f@clearDataFrame";

#[cfg(test)]
mod beyond_4_gib;
#[cfg(test)]
mod tests;
