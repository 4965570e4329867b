//! Publishing: which stream a `publish` asks for, on which message stream, and how each of several streams ends on its own.

use super::{
    connect::truncated,
    core::Session,
    output::Output,
    pending_question::{PendingCall, PendingQuestion, Requested},
    question::{Answer, PublishRequest},
    streams::{MAX_PUBLICATIONS, MessageStreamId},
};
use crate::amf0::Value;
use crate::rtmp::{
    command::{Argument, Command},
    error::Error,
    message::{Control, UserControl},
    name::{self, Address, StreamName},
};

impl Session {
    /// Ends the publish on this message stream, or the open request for one, with an error to the peer. Closes the
    /// connection unless another stream runs on it or is asked for. `code` is `NetStream.Publish.BadName` or `.Denied`.
    ///
    /// Does nothing if there is no such publish.
    pub fn end_publish(&mut self, message_stream_id: MessageStreamId, code: &str, description: &str) {
        let is_about_it = |question: &mut Box<PendingQuestion>| matches!(question.about, PendingCall::Publish { message_stream_id: id, .. } if id == message_stream_id);
        let was_requested = self.question.take_if(is_about_it).is_some();
        if was_requested || self.streams.end(message_stream_id).is_some() {
            self.link.set_wants_media(self.streams.published_count() > 0);
            self.refuse(message_stream_id, code, description);
        }
    }

    pub(super) fn answer_publish(&mut self, id: MessageStreamId, name: StreamName, answer: Answer) {
        match answer {
            Answer::Allow => self.start_publish(id, name, None),
            Answer::AllowAs(other) => self.start_publish(id, name, Some(other)),
            Answer::Redirect(address) => self.redirect(id, "NetStream.Publish.Denied", &address),
            Answer::Deny { code, description } => self.refuse(id, &code, &description),
        }
    }

    fn start_publish(&mut self, id: MessageStreamId, name: StreamName, other_name: Option<StreamName>) {
        self.streams.publish(id, name, other_name);
        self.link.set_wants_media(true);
        self.link.control(Control::User(UserControl::StreamBegin(id)));
        self.status(id, "NetStream.Publish.Start", "Publishing.");
    }

    /// Executes a `publish`. A second one on the same message stream replaces the first. The type (`live`, `record`,
    /// `append` or none) changes nothing here.
    pub(super) fn publish(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let id = self.streams.meant_by(on);
        let requested = self.requested_stream(command, self.streams.is_published(id))?;
        self.unpublish(id);
        match requested {
            Requested::Stop => {}
            Requested::Stream(_) if self.streams.published_count() == MAX_PUBLICATIONS => {
                let description = format!("A connection may publish {MAX_PUBLICATIONS} streams.");
                self.refuse(id, "NetStream.Publish.Denied", &description);
            }
            Requested::Stream(Address { name, query }) => {
                let question = self.ask(PendingCall::Publish { message_stream_id: id, name: name.clone() });
                let kind = truncated(command.text(1).unwrap_or_default(), MAX_KIND_BYTES);
                let request = PublishRequest { question, message_stream_id: id, name, query, kind };
                self.outputs.push_back(Output::Publish(request));
            }
            Requested::Invalid(error) => self.refuse_name(id, "NetStream.Publish.BadName", error),
        }
        Ok(())
    }

    /// The stream that a `publish` or `play` asks for. Without a key the app alone is the name (some OBS users put the
    /// whole address into the server field), but only if no key has been used on this connection and the message stream
    /// is not running: otherwise an empty key means to stop.
    pub(super) fn requested_stream(
        &mut self,
        command: &Command,
        is_running: bool,
    ) -> Result<Requested, Error> {
        let key = match command.argument(0) {
            Argument::Text(key) => key,
            Argument::Absent => "",
            Argument::Other(Value::Boolean(false)) => return Ok(Requested::Stop),
            Argument::Other(_) => return Ok(Requested::Invalid(name::Error::NotText)),
            Argument::Unreadable(error) => {
                return Err(self.link.violation(crate::rtmp::command::Error::Amf0(error)));
            }
        };
        let has_key = !key.split('?').next().unwrap_or_default().is_empty();
        if !has_key && (is_running || self.has_named_a_key) {
            return Ok(Requested::Stop);
        }
        self.has_named_a_key |= has_key;
        Ok(self.address(key).map_or_else(Requested::Invalid, Requested::Stream))
    }

    /// FCUnpublish ends the stream that it names. Some encoders name none and mean the only one.
    pub(super) fn unpublish_named(&mut self, command: &Command) {
        let id = match command.argument(0) {
            Argument::Text(key) => {
                let named = self.address(key).ok().and_then(|address| self.streams.named(&address.name));
                if key.is_empty() { named.or(self.streams.only()) } else { named }
            }
            Argument::Absent => self.streams.only(),
            Argument::Other(_) | Argument::Unreadable(_) => None,
        };
        if let Some(id) = id {
            self.unpublish(id);
        }
    }

    /// deleteStream names a message stream, or means the one that it came on.
    pub(super) fn delete_stream(&mut self, on: MessageStreamId, command: &Command) {
        let id = match command.argument(0) {
            Argument::Other(Value::Number(id)) => *id as MessageStreamId,
            Argument::Absent => self.in_use(on),
            _ => 0,
        };
        self.end_stream(id);
        self.streams.delete(id);
    }

    /// The message stream that a command on `on` is about if it names none. For 0 that is the only one in use, or 0 if
    /// none or several are.
    pub(super) fn in_use(&self, on: MessageStreamId) -> MessageStreamId {
        match (on, self.streams.published_count(), self.plays_on) {
            (0, 0, Some(id)) => id,
            (0, 1, None) => self.streams.only().unwrap_or(0),
            (0, 1, Some(id)) if self.streams.only() == Some(id) => id,
            (id, ..) => id,
        }
    }

    /// Ends the publish or play on this message stream.
    pub(super) fn end_stream(&mut self, id: MessageStreamId) {
        self.unpublish(id);
        if self.plays_on == Some(id) {
            self.stop_play();
        }
    }

    fn unpublish(&mut self, id: MessageStreamId) {
        if self.streams.end(id).is_some() {
            self.link.set_wants_media(self.streams.published_count() > 0);
            self.status(id, "NetStream.Unpublish.Success", "Stopped publishing.");
            self.outputs.push_back(Output::Unpublish { message_stream_id: id });
        }
    }

    fn address(&self, key: &str) -> Result<Address, name::Error> {
        let connect = self.connect.as_ref().expect("no other command is executed before connect");
        Address::parse(&connect.app, &connect.tc_url, key)
    }
}

/// Of the publishing type, which has at most six.
const MAX_KIND_BYTES: usize = 255;
