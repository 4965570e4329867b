//! The server's side of one connection: bytes and time come in, bytes to send, requests and frames go out.
//!
//! ```text
//! handshake ─► Connect(request) ─ answer ─┬─► Publish(request) ─ answer ─► Frame, Frame, … ─► Unpublish ─┐
//!                                         ├─► Play(request) ──── answer ─► Pause, … ────────► StopPlay ──┤
//!                                         └──────────────────────────────────────────────────────────────┘
//! ```
//! `connect`, `publish` and `play` are numbered questions to the caller, of which one is open at a time. The answer may
//! come at once or much later; until then nothing more is read. An answer to a question that is over changes nothing.
//!
//! Each `createStream` is answered with a number of its own, and each number may publish a stream of its own. Media to a
//! player is not the session's business: it comes from the stream log, the same bytes for all players, and goes between
//! what the session sends. So it is always on message stream 1, the first number that any client gets; a client that
//! plays on another one gets its answers there. Those that publish and play on one connection do not look at the number.
//!
//! Nothing is read ahead: [`Session::poll`] reads the next message when all that the one before brought about has been
//! taken.

mod connect;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod holdings;
mod media;
mod play;
mod publish;
mod question;
mod streams;

pub use connect::{CAN_DECODE, CAN_ENCODE, CAN_FORWARD, Connect, Enhanced};
pub use question::{Answer, ConnectRequest, PlayRequest, PublishRequest, QuestionId};
pub use streams::{MAX_CREATED_STREAMS, MAX_PUBLICATIONS, MessageStreamId};

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use self::{
    media::Aggregate,
    publish::Asked,
    question::{About, Question},
    streams::Streams,
};
use super::chunk::{Limits, Message, OUT_CHUNK_SIZE};
use super::command::{Command, information, redirection};
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
    /// The peer asks to connect, once. Until [`Session::answer`] nothing more is read: what it sends is held.
    Connect(Box<ConnectRequest>),
    /// The peer asks to publish: as with `Connect`.
    Publish(PublishRequest),
    /// The peer asks to play: as with `Connect`.
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

impl Output {
    /// The number of the question, if this is one: for [`Session::answer`].
    pub fn question(&self) -> Option<QuestionId> {
        match self {
            Self::Connect(request) => Some(request.question),
            Self::Publish(request) => Some(request.question),
            Self::Play(request) => Some(request.question),
            _ => None,
        }
    }
}

/// Why the session ends a connection whose peer broke no rule of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The layer above refused; the status code.
    Refused(String),
    /// The layer above sent the peer to another address.
    Redirected,
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
    /// The message stream that it plays on, if it plays.
    plays_on: Option<MessageStreamId>,
    /// What the caller has not answered yet.
    question: Option<Box<Question>>,
    newest_question: QuestionId,
    /// Whether a `publish` or `play` had a key: then the app alone is the name of no stream.
    has_named_a_key: bool,
    closing: bool,
    /// What came before all that came earlier was read, as while a question is open. Copied, so that no receive
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
            plays_on: None,
            question: None,
            newest_question: QuestionId::default(),
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

    /// Answers the question of that number; then [`Session::poll`], which goes on with what came meanwhile. False where
    /// that question is not open (it was answered, its connection is being closed, there never was one): then nothing
    /// happens.
    pub fn answer(&mut self, question: QuestionId, answer: Answer) -> bool {
        if self.closing || self.has_failed {
            return false;
        }
        let Some(open) = self.question.take_if(|open| open.id == question) else { return false };
        match open.about {
            About::Connect(connect) => self.answer_connect(connect, answer),
            About::Publish { message_stream_id, name } => {
                self.answer_publish(message_stream_id, name, answer);
            }
            About::Play { message_stream_id, resets } => self.answer_play(message_stream_id, resets, answer),
        }
        true
    }

    /// What is to be sent by now. Reads nothing of what came: for a connection that is about to be closed.
    pub fn take_out(&mut self) -> Option<Bytes> {
        self.link.take_out()
    }

    /// The relay ends the connection, for a reason that is not one stream's: says so on all of its streams, or as the
    /// answer to its `connect`, if the peer has come far enough to understand it. Reads no more, and lets go of what is
    /// half here. `code` is `NetStream.…` or `NetConnection.…`. False where there is no way to say it.
    pub fn close(&mut self, code: &str, description: &str) -> bool {
        let question = self.question.take();
        let question_on = question.as_ref().and_then(|question| question.message_stream_id());
        if let Some(About::Connect(connect)) = question.map(|question| question.about) {
            self.outputs.clear();
            self.deny_connect(connect, code, description);
            return true;
        }
        let is_connected = self.connect.is_some();
        if is_connected && !self.closing {
            self.outputs.clear();
            let published = self.streams.end_all();
            let mut ids: Vec<_> =
                published.iter().map(|it| it.id).chain(question_on).chain(self.plays_on).collect();
            if ids.is_empty() {
                ids.push(self.streams.asked_on(0));
            }
            ids.dedup();
            ids.into_iter().for_each(|id| self.error(id, information("error", code, description)));
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

    /// Whether a question waits for its answer. A caller that can should stop reading meanwhile.
    pub fn is_holding(&self) -> bool {
        self.question.is_some()
    }

    /// Whether the handshake is over.
    pub fn has_shaken_hands(&self) -> bool {
        self.handshake.is_none()
    }

    /// What the client said of itself, once its `connect` has been answered.
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
            self.has_failed = true;
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
            return self.ask_to_connect(command);
        }
        if self.connect.is_none() {
            return Err(self.link.violation(ErrorKind::NotConnected(word(&command.name))));
        }
        let play_meant = self.play_meant(on);
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
            "pause" | "pauseRaw" => {
                if let (Some(id), Some(is_paused)) = (play_meant, command.flag_or(0, true)) {
                    self.pause(id, is_paused);
                }
            }
            // Live goes on where it is, but librtmp waits for this word, and FFmpeg gives up at an error.
            "seek" => {
                if let Some(id) = play_meant {
                    self.status(id, "NetStream.Seek.Notify", "Live: the position stays.");
                }
            }
            "receiveAudio" => {
                if let (Some(id), Some(wanted)) = (play_meant, command.flag_or(0, true)) {
                    self.receive_kind(id, wanted, Output::ReceiveAudio);
                }
            }
            "receiveVideo" => {
                if let (Some(id), Some(wanted)) = (play_meant, command.flag_or(0, true)) {
                    self.receive_kind(id, wanted, Output::ReceiveVideo);
                }
            }
            // Answers to calls that we never make, and a switch to another bit rate, of which we have one.
            "_result" | "_error" | "onStatus" | "play2" => {}
            unknown => self.fail(transaction_id, &format!("Method not found ({}).", echo(unknown))),
        }
        Ok(())
    }

    /// Opens a question. There is none open, for nothing is read meanwhile.
    fn ask(&mut self, about: About) -> QuestionId {
        // Wraps when the answer that would be mistaken is four billion questions late.
        self.newest_question = QuestionId(self.newest_question.0.wrapping_add(1));
        let id = self.newest_question;
        self.question = Some(Box::new(Question { id, about }));
        id
    }

    /// Says no about a stream that runs no longer.
    fn refuse(&mut self, id: MessageStreamId, code: &str, description: &str) {
        let reason = CloseReason::Refused(code.to_owned());
        self.refuse_with(id, information("error", code, description), reason);
    }

    /// Says no to a name that no stream can have.
    fn refuse_name(&mut self, id: MessageStreamId, code: &str, error: name::Error) {
        self.refuse_with(id, information("error", code, &error.to_string()), CloseReason::Name(error));
    }

    /// Says where a stream is to be published or played instead.
    fn redirect(&mut self, id: MessageStreamId, code: &str, address: &str) {
        self.refuse_with(id, redirection(code, address), CloseReason::Redirected);
    }

    /// OBS hangs where the connection stays open, so it is closed unless something else goes on.
    fn refuse_with(&mut self, id: MessageStreamId, information: Value, reason: CloseReason) {
        if self.closing {
            return;
        }
        self.error(id, information);
        if self.streams.published_count() == 0 && self.plays_on.is_none() {
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

    fn status(&mut self, id: MessageStreamId, code: &str, description: &str) {
        self.link.command(id, &Command::on_status(information("status", code, description)));
    }

    fn error(&mut self, id: MessageStreamId, information: Value) {
        self.link.command(id, &Command::on_status(information));
    }

    /// FMLE's own notices: `onFCPublish` and the like, about the stream that the command names.
    fn notify(&mut self, method: &str, code: &str, command: &Command) {
        let description = echo(command.text(0).unwrap_or_default());
        let mut notice = Command::on_status(information("status", code, &description));
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
            let information = information("error", "NetConnection.Call.Failed", description);
            self.link.command(0, &Command::error(transaction_id, information));
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "refused: {code}"),
            Self::Redirected => f.write_str("redirected"),
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
