//! What a peer publishes: which stream `publish` asks for, on which number, and how each of several ends by itself.

use super::streams::MAX_PUBLICATIONS;
use super::*;
use crate::rtmp::command::Argument;

/// What the first argument of `publish` or `play` asks for.
pub(super) enum Asked {
    Stream(Address),
    /// `publish(false)` is how ActionScript's NetStream, and Wirecast, stop.
    Stop,
    Nonsense(name::Error),
}

impl Session {
    /// The relay ends the publish on this message stream, or the request for one: notifies the peer, and closes unless
    /// it publishes another stream or plays. `code` is `NetStream.Publish.BadName` or `.Denied`.
    ///
    /// Without such a publish nothing happens.
    pub fn end_publish(&mut self, message_stream_id: MessageStreamId, code: &str, description: &str) {
        let is_about_it = |question: &mut Box<Question>| matches!(question.about, About::Publish { message_stream_id: id, .. } if id == message_stream_id);
        let was_requested = self.question.take_if(is_about_it).is_some();
        if was_requested || self.streams.end(message_stream_id).is_some() {
            self.link.want_media(self.streams.published_count() > 0);
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
        self.link.want_media(true);
        self.link.control(Control::User(UserControl::StreamBegin(id)));
        self.status(id, "NetStream.Publish.Start", "Publishing.");
    }

    /// Does what a `publish` asks. A second one on the same number takes the place of the first. Its type, `live` or
    /// `record` or nothing, changes nothing.
    pub(super) fn publish(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let id = self.streams.asked_on(on);
        let asked = self.asked_for(command, self.streams.is_published(id))?;
        self.unpublish(id);
        match asked {
            Asked::Stop => {}
            Asked::Stream(_) if self.streams.published_count() == MAX_PUBLICATIONS => {
                let description = format!("A connection may publish {MAX_PUBLICATIONS} streams.");
                self.refuse(id, "NetStream.Publish.Denied", &description);
            }
            Asked::Stream(Address { name, query }) => {
                let question = self.ask(About::Publish { message_stream_id: id, name: name.clone() });
                let request = PublishRequest { question, message_stream_id: id, name, query };
                self.outputs.push_back(Output::Publish(request));
            }
            Asked::Nonsense(error) => self.refuse_name(id, "NetStream.Publish.BadName", error),
        }
        Ok(())
    }

    /// What a `publish` or `play` names. Without a key the app alone is the name (OBS users put all of their address
    /// into the server field), but only as long as no key was named on this connection: after that, and on a number
    /// that `is_running`, no key means no stream.
    pub(super) fn asked_for(&mut self, command: &Command, is_running: bool) -> Result<Asked, Error> {
        let key = match command.argument(0) {
            Argument::Text(key) => key,
            Argument::Absent => "",
            Argument::Other(Value::Boolean(false)) => return Ok(Asked::Stop),
            Argument::Other(_) => return Ok(Asked::Nonsense(name::Error::NotText)),
            Argument::Unreadable(error) => {
                return Err(self.link.violation(crate::rtmp::command::Error::Amf0(error)));
            }
        };
        let has_key = !key.split('?').next().unwrap_or_default().is_empty();
        if !has_key && (is_running || self.has_named_a_key) {
            return Ok(Asked::Stop);
        }
        self.has_named_a_key |= has_key;
        Ok(self.address(key).map_or_else(Asked::Nonsense, Asked::Stream))
    }

    /// FCUnpublish ends the stream that it names. Some encoders name none, and mean the only one.
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

    /// deleteStream names a number; the one that it came on, where it names none.
    pub(super) fn delete_stream(&mut self, on: MessageStreamId, command: &Command) {
        let id = match command.argument(0) {
            Argument::Other(Value::Number(id)) => *id as MessageStreamId,
            Argument::Absent => self.in_use(on),
            _ => 0,
        };
        self.end_stream(id);
        self.streams.delete(id);
    }

    /// The number that a command on `on` is about, where it names none: on 0, the only one that is in use, if there is
    /// one; 0 where there is none.
    pub(super) fn in_use(&self, on: MessageStreamId) -> MessageStreamId {
        match (on, self.streams.published_count(), self.plays_on) {
            (0, 0, Some(id)) => id,
            (0, 1, None) => self.streams.only().unwrap_or(0),
            (0, 1, Some(id)) if self.streams.only() == Some(id) => id,
            (id, ..) => id,
        }
    }

    /// Ends what is published or played on this number.
    pub(super) fn end_stream(&mut self, id: MessageStreamId) {
        self.unpublish(id);
        if self.plays_on == Some(id) {
            self.stop_play();
        }
    }

    fn unpublish(&mut self, id: MessageStreamId) {
        if self.streams.end(id).is_some() {
            self.link.want_media(self.streams.published_count() > 0);
            self.status(id, "NetStream.Unpublish.Success", "Stopped publishing.");
            self.outputs.push_back(Output::Unpublish { message_stream_id: id });
        }
    }

    fn address(&self, key: &str) -> Result<Address, name::Error> {
        let connect = self.connect.as_ref().expect("only connect is heard before connect");
        Address::parse(&connect.app, &connect.tc_url, key)
    }
}
