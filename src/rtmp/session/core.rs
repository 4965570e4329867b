//! The session itself: bytes in, the next message, commands, answers, the end.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    aggregate::Aggregate,
    connect::Connect,
    output::{CloseReason, Output},
    pending_question::{PendingCall, PendingQuestion},
    question::{Answer, QuestionId},
    streams::{MessageStreamId, Streams},
};
use crate::amf0::Value;
use crate::rtmp::chunk::{ChunkLimits, Message};
use crate::rtmp::command::{Command, information, redirection};
use crate::rtmp::error::{Error, ErrorKind};
use crate::rtmp::handshake;
use crate::rtmp::link::{Link, Received};
use crate::rtmp::message::type_id;
use crate::rtmp::name;

/// The options of a session, the same for all.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// Limits on messages, chunk streams and unfinished messages.
    pub limits: ChunkLimits,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct Session {
    /// None once it is done.
    pub(super) handshake: Option<Box<handshake::Server>>,
    pub(super) link: Link,
    pub(super) connect: Option<Box<Connect>>,
    pub(super) streams: Streams,
    /// The message stream that the peer plays on, if it plays.
    pub(super) plays_on: Option<MessageStreamId>,
    /// The open question.
    pub(super) question: Option<Box<PendingQuestion>>,
    pub(super) newest_question: QuestionId,
    /// Whether a `publish` or `play` has had a key: from then on the app alone is not a stream name.
    pub(super) has_named_a_key: bool,
    pub(super) closing: bool,
    /// Bytes that arrived before the ones ahead of them were read, as while a question is open. A copy, so that they
    /// keep no receive buffer.
    pub(super) pending: Vec<u8>,
    /// The unread rest of an aggregate message: its parts are read one at a time.
    pub(super) aggregate: Option<Box<Aggregate>>,
    /// Whether bytes have arrived since the last check for an acknowledgement: at most one is sent per read.
    pub(super) has_received: bool,
    /// Messages read, including those in aggregates.
    pub(super) messages: u64,
    pub(super) outputs: VecDeque<Output>,
    /// A violation, to be reported after the outputs before it. Nothing more is read.
    pub(super) failed: Option<Box<Error>>,
    pub(super) has_failed: bool,
}

impl Session {
    /// For a connection that was just accepted. `random` is the seed of the handshake's random bytes. Times are of any
    /// monotonic clock, in milliseconds.
    pub fn new(config: &SessionConfig, now_ms: u64, random: [u8; 32]) -> Self {
        let mut link = Link::new(config.limits, now_ms);
        link.set_wants_media(false);
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
            pending: Vec::new(),
            aggregate: None,
            has_received: false,
            messages: 0,
            outputs: VecDeque::new(),
            failed: None,
            has_failed: false,
        }
    }

    /// Takes the bytes of one read, for [`Session::poll`]. Call it when `poll` returns `None`: otherwise the bytes are
    /// copied, and limited to 8 MiB.
    ///
    /// # Errors
    /// A violation in the handshake, or too many bytes before a request was answered. The session reads nothing more.
    pub fn receive(&mut self, mut bytes: Bytes, now_ms: u64) -> Result<(), Error> {
        self.link.note_received(bytes.len(), now_ms);
        if self.closing || self.has_failed {
            return Ok(());
        }
        if let Some(handshake) = &mut self.handshake {
            let progress = handshake.receive(&bytes).map_err(|error| self.link.violation(error))?;
            self.link.note_handshake(progress.consumed, &progress.send);
            if !progress.done {
                return Ok(());
            }
            self.handshake = None;
            bytes = bytes.slice(progress.consumed..);
        }
        self.has_received = true;
        if self.has_open_question() || !self.pending.is_empty() || !self.link.is_drained() {
            return self.keep_pending(&bytes);
        }
        self.link.feed(bytes);
        Ok(())
    }

    /// The next thing to do; `None` until more bytes or an answer arrive. Reads 16 messages at most, so a caller can limit
    /// how long one connection runs: it may stop between any two calls and continue later.
    ///
    /// # Errors
    /// A violation, after all outputs before it. The session reads nothing more.
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
        if let Some(bytes) = self.link.take_unsent() {
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

    /// Answers an open question; then call [`Session::poll`], which continues with what has arrived meanwhile. Returns
    /// false and does nothing if that question is not open: it was answered, the connection is being closed, or there
    /// never was one.
    pub fn answer(&mut self, question: QuestionId, answer: Answer) -> bool {
        if self.closing || self.has_failed {
            return false;
        }
        let Some(open) = self.question.take_if(|open| open.id == question) else { return false };
        match open.about {
            PendingCall::Connect(connect) => self.answer_connect(connect, answer),
            PendingCall::Publish { message_stream_id, name } => {
                self.answer_publish(message_stream_id, name, answer);
            }
            PendingCall::Play { message_stream_id, resets } => {
                self.answer_play(message_stream_id, resets, answer)
            }
        }
        true
    }

    /// The bytes to send so far, without reading any further message: for a connection that is about to be closed.
    pub fn take_unsent(&mut self) -> Option<Bytes> {
        self.link.take_unsent()
    }

    /// Closes the connection for a reason that concerns no single stream: sends an error on each of its streams, or as the
    /// answer to its `connect`. Reads no further message and frees unfinished ones. `code` is `NetStream.…` or
    /// `NetConnection.…`. False if the peer has not sent `connect` yet: then there is no way to report an error.
    pub fn close(&mut self, code: &str, description: &str) -> bool {
        let question = self.question.take();
        let question_on = question.as_ref().and_then(|question| question.message_stream_id());
        if let Some(PendingCall::Connect(connect)) = question.map(|question| question.about) {
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
                ids.push(self.streams.meant_by(0));
            }
            ids.dedup();
            ids.into_iter().for_each(|id| self.error(id, information("error", code, description)));
            self.outputs.push_back(Output::Close(CloseReason::Refused(code.to_owned())));
        }
        self.stop_reading();
        is_connected
    }

    /// Sends a PingRequest (§7.1.7), if the peer is connected. Its answer updates [`Session::round_trip_ms`].
    pub fn ping(&mut self, now_ms: u64) {
        if self.connect.is_some() {
            self.link.ping(now_ms);
        }
    }

    /// Whether a question is open. The caller should stop reading from the socket meanwhile.
    pub fn has_open_question(&self) -> bool {
        self.question.is_some()
    }

    /// Whether something that the peer has sent is not worked off: [`Session::poll`] has not come to its end since.
    pub fn has_unread_input(&self) -> bool {
        self.has_received || !self.pending.is_empty() || self.aggregate.is_some() || !self.link.is_drained()
    }

    /// Whether the handshake is over.
    pub fn is_handshake_done(&self) -> bool {
        self.handshake.is_none()
    }

    /// The client's `connect`, once it has been answered.
    pub fn connect(&self) -> Option<&Connect> {
        self.connect.as_deref()
    }

    /// The round-trip time of the last answered ping, in milliseconds.
    pub fn round_trip_ms(&self) -> Option<u32> {
        self.link.round_trip_ms()
    }

    /// Bytes received, including the handshake.
    pub fn received_bytes(&self) -> u64 {
        self.link.received_bytes()
    }

    /// Messages read, including those in aggregates.
    pub fn received_messages(&self) -> u64 {
        self.messages
    }

    /// Bytes that the peer has acknowledged (§5.4.3). It may acknowledge none, or more than it got.
    pub fn peer_acknowledged_bytes(&self) -> u64 {
        self.link.peer_acknowledged_bytes()
    }

    pub(super) fn keep_pending(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let pending = self.pending.len() + bytes.len();
        if pending > MAX_PENDING_BYTES {
            self.has_failed = true;
            return Err(self.link.violation(ErrorKind::TooMuchPending(pending)));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads one message, or one part of an aggregate. False if there is none to read now.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        if self.closing || self.has_failed || self.has_open_question() {
            return Ok(false);
        }
        if self.aggregate.is_some() && self.next_of_aggregate()? {
            return Ok(true);
        }
        match self.link.take()? {
            Some(received) => {
                self.messages += 1;
                if let Received::Message(message) = received {
                    self.message(message)?;
                }
            }
            None if self.pending.is_empty() => return Ok(false),
            None => self.link.feed(std::mem::take(&mut self.pending).into()),
        }
        Ok(true)
    }

    pub(super) fn message(&mut self, message: Message) -> Result<(), Error> {
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

    /// Executes a command that came on message stream `on`, and answers as Flash Media Server does.
    pub(super) fn command(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let transaction_id = command.transaction_id;
        if command.name == "connect" {
            return self.ask_to_connect(command);
        }
        if self.connect.is_none() {
            return Err(self.link.violation(ErrorKind::NotConnected(identifier_prefix(&command.name))));
        }
        let play_meant = self.play_meant(on);
        match command.name.as_str() {
            "createStream" => match self.streams.create() {
                Some(id) => self.answer_result(transaction_id, f64::from(id).into()),
                None => self.answer_error(transaction_id, "Too many message streams on this connection."),
            },
            "publish" => self.publish(on, command)?,
            "play" => self.play(on, command)?,
            "deleteStream" => self.delete_stream(on, command),
            "closeStream" => self.end_stream(self.in_use(on)),
            "FCUnpublish" => {
                self.unpublish_named(command);
                self.notify("onFCUnpublish", "NetStream.Unpublish.Success", command);
                self.answer_call(transaction_id);
            }
            "FCPublish" => {
                self.notify("onFCPublish", "NetStream.Publish.Start", command);
                self.answer_call(transaction_id);
            }
            "FCSubscribe" => {
                self.notify("onFCSubscribe", "NetStream.Play.Start", command);
                self.answer_call(transaction_id);
            }
            "FCUnsubscribe" | "releaseStream" | "_checkbw" | "checkBandwidth" => {
                self.answer_call(transaction_id);
            }
            // A live stream has no length.
            "getStreamLength" => self.answer_result(transaction_id, 0.0.into()),
            "pause" | "pauseRaw" => {
                if let (Some(id), Some(is_paused)) = (play_meant, command.flag_or(0, true)) {
                    self.pause(id, is_paused);
                }
            }
            // A live stream continues where it is, but librtmp waits for this answer, and FFmpeg stops at an error.
            "seek" => {
                if let Some(id) = play_meant {
                    self.status(id, "NetStream.Seek.Notify", "Live streams have no other position.");
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
            // Answers to calls that we never make, and a switch to another bit rate, of which there is only one.
            "_result" | "_error" | "onStatus" | "play2" => {}
            unknown => self
                .answer_error(transaction_id, &format!("Method not found ({}).", printable_prefix(unknown))),
        }
        Ok(())
    }

    /// Opens a question. None is open, since no message is read while one is.
    pub(super) fn ask(&mut self, about: PendingCall) -> QuestionId {
        // After 2^32 questions an id is used again; the answer to the first of them is not that late.
        self.newest_question = QuestionId(self.newest_question.0.wrapping_add(1));
        let id = self.newest_question;
        self.question = Some(Box::new(PendingQuestion { id, about }));
        id
    }

    /// Sends an error about a stream that does not run, or no longer.
    pub(super) fn refuse(&mut self, id: MessageStreamId, code: &str, description: &str) {
        let reason = CloseReason::Refused(code.to_owned());
        self.refuse_with(id, information("error", code, description), reason);
    }

    /// As [`Session::refuse`], about a stream name that is not valid.
    pub(super) fn refuse_name(&mut self, id: MessageStreamId, code: &str, error: name::Error) {
        self.refuse_with(id, information("error", code, &error.to_string()), CloseReason::InvalidName(error));
    }

    /// As [`Session::refuse`], with the address to go to instead.
    pub(super) fn redirect(&mut self, id: MessageStreamId, code: &str, address: &str) {
        self.refuse_with(id, redirection(code, address), CloseReason::Redirected);
    }

    /// Closes the connection unless another stream runs on it or is asked for: OBS waits forever on one that stays open.
    pub(super) fn refuse_with(&mut self, id: MessageStreamId, information: Value, reason: CloseReason) {
        if self.closing {
            return;
        }
        self.error(id, information);
        let is_in_use =
            self.streams.published_count() > 0 || self.plays_on.is_some() || self.question.is_some();
        if !is_in_use {
            self.stop_reading();
            self.outputs.push_back(Output::Close(reason));
        }
    }

    /// The connection is closing: what the peer still sends is received, so that its end is noticed, and ignored.
    pub(super) fn stop_reading(&mut self) {
        self.closing = true;
        self.streams.end_all();
        self.discard_input();
    }

    pub(super) fn status(&mut self, id: MessageStreamId, code: &str, description: &str) {
        self.link.command(id, &Command::on_status(information("status", code, description)));
    }

    pub(super) fn error(&mut self, id: MessageStreamId, information: Value) {
        self.link.command(id, &Command::on_status(information));
    }

    /// `onFCPublish` and the like, which Flash Media Live Encoder expects, about the stream that the command names.
    pub(super) fn notify(&mut self, method: &str, code: &str, command: &Command) {
        let description = printable_prefix(command.text(0).unwrap_or_default());
        let mut notice = Command::on_status(information("status", code, &description));
        notice.name = method.to_owned();
        self.link.command(0, &notice);
    }

    /// Answers a call that has no effect here. Some clients (xiu) reuse the transaction id of `connect`, and would take
    /// the answer for a second one to `connect`.
    pub(super) fn answer_call(&mut self, transaction_id: f64) {
        let connect = self.connect.as_ref().map(|connect| connect.transaction_id);
        if connect != Some(transaction_id) {
            self.answer_result(transaction_id, Value::Undefined);
        }
    }

    pub(super) fn answer_result(&mut self, transaction_id: f64, value: Value) {
        if transaction_id != 0.0 {
            self.link.command(0, &Command::result(transaction_id, value));
        }
    }

    pub(super) fn answer_error(&mut self, transaction_id: f64, description: &str) {
        if transaction_id != 0.0 {
            let information = information("error", "NetConnection.Call.Failed", description);
            self.link.command(0, &Command::error(transaction_id, information));
        }
    }
}

/// The first 255 characters without control characters: for text of the peer in our commands, which have to fit one chunk.
fn printable_prefix(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(255).collect()
}

/// The start of a command name, as far as it looks like one, for the log: the rest may be an address with a secret.
fn identifier_prefix(text: &str) -> String {
    text.chars().take_while(|&c| c.is_ascii_alphanumeric() || c == '_').take(32).collect()
}

/// 3 s of a 20 Mbit/s stream: what an encoder that does not wait for the answer sends while a hook decides.
pub(super) const MAX_PENDING_BYTES: usize = 8 << 20;
/// Messages that one [`Session::poll`] reads if they cause no output: some microseconds.
pub(super) const MESSAGES_PER_POLL: usize = 16;
