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
    /// The stream is the peer's: says so. Then [`Session::poll`], which goes on with what it sent meanwhile.
    ///
    /// Without a request there is nothing to accept, and nothing happens.
    pub fn accept_publish(&mut self, message_stream_id: MessageStreamId) {
        if self.streams.grant(message_stream_id) {
            self.link.want_media(true);
            self.link.control(Control::User(UserControl::StreamBegin(message_stream_id)));
            self.status(message_stream_id, "status", "NetStream.Publish.Start", "Publishing.");
        }
    }

    /// The stream is not the peer's, or no longer: says so, and closes unless it publishes another one or plays. `code`
    /// is `NetStream.Publish.BadName` or `.Denied`.
    ///
    /// Without such a stream nothing happens.
    pub fn refuse_publish(&mut self, message_stream_id: MessageStreamId, code: &str, description: &str) {
        if self.streams.end(message_stream_id).is_some() {
            self.link.want_media(self.streams.published_count() > 0);
            self.refuse(message_stream_id, code, description, CloseReason::Refused(code.to_owned()));
        }
    }

    /// Does what a `publish` asks. A second one on the same number takes the place of the first. Its type, `live` or
    /// `record` or nothing, changes nothing.
    pub(super) fn publish(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let id = self.streams.asked_on(on);
        let asked = self.asked_for(command, self.streams.published(id).is_some())?;
        self.unpublish(id);
        match asked {
            Asked::Stop => {}
            Asked::Stream(_) if self.streams.published_count() == MAX_PUBLICATIONS => {
                let code = "NetStream.Publish.Denied";
                let description = format!("A connection may publish {MAX_PUBLICATIONS} streams.");
                self.refuse(id, code, &description, CloseReason::Refused(code.to_owned()));
            }
            Asked::Stream(Address { name, query }) => {
                self.streams.ask(id, name.clone());
                self.outputs.push_back(Output::Publish(PublishRequest {
                    message_stream_id: id,
                    name,
                    query,
                }));
            }
            Asked::Nonsense(error) => {
                let reason = CloseReason::Name(error);
                self.refuse(id, "NetStream.Publish.BadName", &error.to_string(), reason);
            }
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
        let plays_on = (self.playing != Stage::Idle).then_some(self.plays_on);
        match (on, self.streams.published_count(), plays_on) {
            (0, 0, Some(id)) => id,
            (0, 1, None) => self.streams.only().unwrap_or(0),
            (0, 1, Some(id)) if self.streams.only() == Some(id) => id,
            (id, ..) => id,
        }
    }

    /// Ends what is published or played on this number.
    pub(super) fn end_stream(&mut self, id: MessageStreamId) {
        self.unpublish(id);
        if self.plays_on == id {
            self.stop_play();
        }
    }

    fn unpublish(&mut self, id: MessageStreamId) {
        if self.streams.end(id).is_some() {
            self.link.want_media(self.streams.published_count() > 0);
            self.status(id, "status", "NetStream.Unpublish.Success", "Stopped publishing.");
            self.outputs.push_back(Output::Unpublish { message_stream_id: id });
        }
    }

    fn address(&self, key: &str) -> Result<Address, name::Error> {
        let connect = self.connect.as_ref().expect("only connect is heard before connect");
        Address::parse(&connect.app, &connect.tc_url, key)
    }
}
