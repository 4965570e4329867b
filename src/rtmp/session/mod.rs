//! The server's side of one connection: bytes and time come in, bytes to send, requests and frames go out.
//!
//! ```text
//! handshake ─► connect ─► publish ─► Publish(request) ─ accept_publish ─► Frame, Frame, … ─► Unpublish ─┐
//!                 ▲  └──► play ────► Play(request) ──── accept_play ────► Pause, … ────────► StopPlay ──┤
//!                 └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Each `createStream` is answered with a number of its own, and each number may publish a stream of its own. Media to a
//! player is not the session's business: it comes from the stream log, the same bytes for all players, and goes between
//! what the session sends. So it is always on message stream 1, the first number that any client gets; a client that
//! plays on another one gets its answers there. Those that publish and play on one connection do not look at the number.
//!
//! Nothing is read ahead: [`Session::poll`] reads the next message when all that the one before brought about has been
//! taken. So a request can be answered before what came after it in the same read is looked at.

mod connect;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod holdings;
mod media;
mod play;
mod publish;
mod streams;

pub use connect::{CAN_DECODE, CAN_ENCODE, CAN_FORWARD, Connect, Enhanced};
pub use play::Start;
pub use streams::{MAX_CREATED_STREAMS, MAX_PUBLICATIONS, MessageStreamId};

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use self::{
    media::Aggregate,
    play::{Stage, Wishes},
    publish::Asked,
    streams::Streams,
};
use super::chunk::{Limits, Message, OUT_CHUNK_SIZE};
use super::command::Command;
use super::error::{Error, ErrorKind};
use super::handshake;
use super::link::{Link, Taken, WINDOW_BYTES};
use super::message::{Control, LimitType, UserControl, type_id};
use super::name::{self, Address, StreamName};
use crate::amf0::Value;
use crate::flv::Frame;

/// What a session needs to know from the start; the same for all.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// What a peer may leave unfinished.
    pub limits: Limits,
}

/// What a session wants done. Bytes to send come before all else, the rest is in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Bytes for the peer: whole messages, but for the handshake. All that was said up to the next other output is one
    /// `Send`.
    Send(Bytes),
    /// The peer asks to publish. Until [`Session::accept_publish`] or [`Session::refuse_publish`] nothing more is
    /// read: what it sends is held.
    Publish(PublishRequest),
    /// The peer asks to play; to be answered by [`Session::accept_play`] or [`Session::refuse_play`].
    Play(PlayRequest),
    /// A frame of a stream that the peer publishes; never an empty one.
    Frame {
        /// The number that the stream is published on.
        message_stream_id: MessageStreamId,
        /// The frame.
        frame: Frame,
    },
    /// The peer publishes this stream no longer; it may publish again.
    Unpublish {
        /// The number that the stream was published on.
        message_stream_id: MessageStreamId,
    },
    /// The peer plays no longer; it may play again.
    StopPlay,
    /// The playing peer asks for no media for now (true), or for media again.
    Pause(bool),
    /// The playing peer asks for audio (true), or for none.
    ReceiveAudio(bool),
    /// The playing peer asks for video (true), or for none.
    ReceiveVideo(bool),
    /// The connection is to be closed once all before it is sent. The last output.
    Close(CloseReason),
    /// Nothing to do, but more has come than one call reads: call again, now or later.
    More,
}

/// What a peer asks to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The number that it is published on: what names it in the answer, and in all that comes of it.
    pub message_stream_id: MessageStreamId,
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`; may hold secrets.
    pub query: String,
}

/// What a peer asks to play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayRequest {
    /// The stream.
    pub name: StreamName,
    /// Parameters of the address, without `?`; may hold secrets.
    pub query: String,
    /// Where to begin, if the address says so by `?start=`.
    pub start: Option<Start>,
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
    streams: Streams,
    playing: Stage,
    /// The number that it plays on, if it plays.
    plays_on: MessageStreamId,
    /// Whether the last `play` asked for a NetStream.Play.Reset.
    reset: bool,
    /// What a player has asked for before its `play` was answered.
    wishes: Wishes,
    /// Whether a `publish` or `play` had a key: then the app alone is the name of no stream.
    has_named_a_key: bool,
    closing: bool,
    /// What came before all that came earlier was read, as while `publish` is unanswered. Copied, so that no receive
    /// buffer waits with it.
    held: Vec<u8>,
    /// The rest of an aggregate message: its parts are read one at a time.
    aggregate: Option<Box<Aggregate>>,
    /// Bytes have come since the last acknowledgement was considered: one read is acknowledged at most once.
    has_received: bool,
    /// Messages read, those in aggregates among them.
    messages: u64,
    outputs: VecDeque<Output>,
    /// A violation, to be reported after what came before it: nothing more is read.
    failed: Option<Box<Error>>,
    has_failed: bool,
}

impl Session {
    /// A connection that was just accepted. `random` goes into the handshake. Times are of any clock that never
    /// goes back.
    pub fn new(config: &SessionConfig, now_ms: u64, random: [u8; 32]) -> Self {
        let mut link = Link::new(config.limits, now_ms);
        link.want_media(false);
        Self {
            handshake: Some(Box::new(handshake::Server::new(random))),
            link,
            connect: None,
            streams: Streams::default(),
            playing: Stage::Idle,
            plays_on: 0,
            reset: false,
            wishes: Wishes::default(),
            has_named_a_key: false,
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
                if self.streams.published_count() == 0 {
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

    /// The relay ends the connection, for a reason that is not one stream's: says so on all of its streams, if the peer
    /// has come far enough to understand it. Reads no more, and lets go of what is half here. `code` is `NetStream.…`
    /// or `NetConnection.…`. False where there is no way to say it.
    pub fn close(&mut self, code: &str, description: &str) -> bool {
        let is_connected = self.connect.is_some();
        if is_connected && !self.closing {
            self.outputs.clear();
            let plays_on = (self.playing != Stage::Idle).then_some(self.plays_on);
            let mut ids: Vec<_> = self.streams.end_all().iter().map(|it| it.id).chain(plays_on).collect();
            if ids.is_empty() {
                ids.push(self.streams.asked_on(0));
            }
            ids.dedup();
            ids.into_iter().for_each(|id| self.status(id, "error", code, description));
            self.outputs.push_back(Output::Close(CloseReason::Refused(code.to_owned())));
        }
        self.shut();
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
        self.streams.is_asking()
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
        if self.aggregate.is_some() && self.next_of_aggregate()? {
            return Ok(true);
        }
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
        match message.message_type_id {
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                let command = Command::from_message(message.message_type_id, &message.payload);
                let command = command.map_err(|error| self.link.violation(error))?;
                self.command(message.message_stream_id, &command)
            }
            _ => {
                self.media(message);
                Ok(())
            }
        }
    }

    /// Does what a command on message stream `on` asks, or answers as Flash Media Server does.
    fn command(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let transaction_id = command.transaction_id;
        if command.name == "connect" {
            return self.welcome(command);
        }
        if self.connect.is_none() {
            return Err(self.link.violation(ErrorKind::NotConnected(word(&command.name))));
        }
        match command.name.as_str() {
            "createStream" => match self.streams.create() {
                Some(id) => self.result(transaction_id, f64::from(id).into()),
                None => self.fail(transaction_id, "There are as many streams as a connection may have."),
            },
            "publish" => self.publish(on, command)?,
            "play" => self.play(on, command)?,
            "deleteStream" => self.delete_stream(on, command),
            "closeStream" => self.end_stream(self.in_use(on)),
            "FCUnpublish" => {
                self.unpublish_named(command);
                self.notify("onFCUnpublish", "NetStream.Unpublish.Success", command);
                self.acknowledge(transaction_id);
            }
            "FCPublish" => {
                self.notify("onFCPublish", "NetStream.Publish.Start", command);
                self.acknowledge(transaction_id);
            }
            "FCSubscribe" => {
                self.notify("onFCSubscribe", "NetStream.Play.Start", command);
                self.acknowledge(transaction_id);
            }
            "FCUnsubscribe" | "releaseStream" | "_checkbw" | "checkBandwidth" => {
                self.acknowledge(transaction_id);
            }
            // Live has no length.
            "getStreamLength" => self.result(transaction_id, 0.0.into()),
            "pause" | "pauseRaw" if self.is_about_play(on) => {
                if let Some(is_paused) = command.flag_or(0, true) {
                    self.pause(is_paused);
                }
            }
            // Live goes on where it is, but librtmp waits for this word, and FFmpeg gives up at an error.
            "seek" if self.is_about_play(on) && self.playing == Stage::Granted => {
                self.status(self.plays_on, "status", "NetStream.Seek.Notify", "Live: the position stays.");
            }
            "receiveAudio" if self.is_about_play(on) => {
                if let Some(wanted) = command.flag_or(0, true) {
                    self.receive_kind(wanted, Output::ReceiveAudio);
                }
            }
            "receiveVideo" if self.is_about_play(on) => {
                if let Some(wanted) = command.flag_or(0, true) {
                    self.receive_kind(wanted, Output::ReceiveVideo);
                }
            }
            // Answers to calls that we never make, what is asked of a stream that does not play, and a switch to
            // another bit rate, of which we have one.
            "_result" | "_error" | "onStatus" | "pause" | "pauseRaw" | "seek" | "receiveAudio"
            | "receiveVideo" | "play2" => {}
            unknown => self.fail(transaction_id, &format!("Method not found ({}).", echo(unknown))),
        }
        Ok(())
    }

    /// The order of Flash Media Server.
    fn welcome(&mut self, command: &Command) -> Result<(), Error> {
        if self.connect.is_some() {
            return Err(self.link.violation(ErrorKind::ConnectedTwice));
        }
        let connect = Connect::parse(command).map_err(|error| self.link.violation(error))?;
        self.link.control(Control::WindowAcknowledgementSize(WINDOW_BYTES));
        self.link.control(Control::SetPeerBandwidth(WINDOW_BYTES, LimitType::Dynamic));
        self.link.control(Control::User(UserControl::StreamBegin(0)));
        self.link.control(Control::SetChunkSize(OUT_CHUNK_SIZE));
        self.link.command(0, &connect.answer(command.transaction_id));
        self.connect = Some(Box::new(connect));
        Ok(())
    }

    /// Says no about a stream that runs no longer. OBS hangs where the connection stays open, so it is closed unless
    /// something else goes on.
    fn refuse(&mut self, id: MessageStreamId, code: &str, description: &str, reason: CloseReason) {
        if self.closing {
            return;
        }
        self.status(id, "error", code, description);
        if self.streams.published_count() == 0 && self.playing == Stage::Idle {
            self.shut();
            self.outputs.push_back(Output::Close(reason));
        }
    }

    /// What the peer still sends has to be read, and its end to be seen: but nobody looks at it.
    fn shut(&mut self) {
        self.closing = true;
        self.streams.end_all();
        self.let_go_of_input();
    }

    fn status(&mut self, id: MessageStreamId, level: &str, code: &str, description: &str) {
        self.link.command(id, &Command::on_status(level, code, description));
    }

    /// FMLE's own notices: `onFCPublish` and the like, about the stream that the command names.
    fn notify(&mut self, method: &str, code: &str, command: &Command) {
        let mut notice = Command::on_status("status", code, &echo(command.text(0).unwrap_or_default()));
        notice.name = method.to_owned();
        self.link.command(0, &notice);
    }

    /// The answer to a call that means nothing here. Some clients (xiu) call with the transaction id of `connect`, and
    /// would take it for a second answer to that.
    fn acknowledge(&mut self, transaction_id: f64) {
        let connect = self.connect.as_ref().map(|connect| connect.transaction_id);
        if connect != Some(transaction_id) {
            self.result(transaction_id, Value::Undefined);
        }
    }

    fn result(&mut self, transaction_id: f64, value: Value) {
        if transaction_id != 0.0 {
            self.link.command(0, &Command::result(transaction_id, value));
        }
    }

    fn fail(&mut self, transaction_id: f64, description: &str) {
        if transaction_id != 0.0 {
            let answer = Command::error(transaction_id, "NetConnection.Call.Failed", description);
            self.link.command(0, &answer);
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

/// 3 s of a 20 Mbit/s stream: what an encoder that does not wait for its answer sends while a hook decides.
const MAX_HELD_BYTES: usize = 8 << 20;
/// Messages that one [`Session::poll`] reads where they ask for nothing: some microseconds.
const MESSAGES_PER_POLL: usize = 16;

#[cfg(test)]
mod beyond_4_gib;
#[cfg(test)]
mod tests;
