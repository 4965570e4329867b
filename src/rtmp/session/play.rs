//! Playing: one stream at a time, and what a player may request while it plays. The caller sends the media.

use super::{
    core::Session,
    output::Output,
    pending_question::{PendingCall, PendingQuestion, Requested},
    question::{Answer, PlayRequest},
    streams::MessageStreamId,
};
use crate::amf0::Value;
use crate::rtmp::{
    command::Command,
    error::Error,
    message::{Control, UserControl},
    name::Address,
};

impl Session {
    /// Ends the play, or the open request for one, with an error to the peer: for example when no stream has appeared in
    /// time. Closes the connection unless it publishes. `code` is `NetStream.Play.StreamNotFound` or `.Failed`.
    ///
    /// Does nothing if the peer does not play.
    pub fn fail_play(&mut self, code: &str, description: &str) {
        let is_about_play =
            |question: &mut Box<PendingQuestion>| matches!(question.about, PendingCall::Play { .. });
        let requested = self.question.take_if(is_about_play);
        let requested_on = requested.and_then(|question| question.message_stream_id());
        if let Some(id) = self.plays_on.take().or(requested_on) {
            self.refuse(id, code, description);
        }
    }

    /// Notifies the player that its stream has ended; FFmpeg and librtmp stop here. To be sent after the last media. The
    /// connection stays open.
    ///
    /// Does nothing if no play has been allowed.
    pub fn end_play(&mut self) {
        if let Some(id) = self.plays_on.take() {
            self.status(id, "NetStream.Play.UnpublishNotify", "The stream has ended.");
            self.link.control(Control::User(UserControl::StreamEof(id)));
        }
    }

    pub(super) fn answer_play(&mut self, id: MessageStreamId, resets: bool, answer: Answer) {
        match answer {
            // The caller sends the media of whichever stream it is.
            Answer::Allow | Answer::AllowAs(_) => self.start_play(id, resets),
            Answer::Redirect(address) => self.redirect(id, "NetStream.Play.Failed", &address),
            Answer::Deny { code, description } => self.refuse(id, &code, &description),
        }
    }

    fn start_play(&mut self, id: MessageStreamId, resets: bool) {
        self.plays_on = Some(id);
        self.link.control(Control::User(UserControl::StreamBegin(id)));
        if resets {
            self.status(id, "NetStream.Play.Reset", "Playing and resetting.");
        }
        self.status(id, "NetStream.Play.Start", "Started playing.");
        let access = [Value::from("|RtmpSampleAccess"), false.into(), false.into()];
        self.link.data(id, &access);
    }

    /// Executes a `play` (§7.2.2.1). A second one replaces the first. Arguments: name, start, duration, reset.
    pub(super) fn play(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let id = self.streams.meant_by(on);
        let is_running = self.plays_on == Some(id);
        match self.requested_stream(command, is_running)? {
            Requested::Stop if is_running => self.stop_play(),
            Requested::Stop => {}
            Requested::Stream(Address { name, query }) => {
                self.stop_play();
                let resets = command.flag_or(3, false).unwrap_or(false);
                let question = self.ask(PendingCall::Play { message_stream_id: id, resets });
                let number =
                    |index, absent| command.arguments.get(index).and_then(Value::as_number).unwrap_or(absent);
                let (start, duration) = (number(1, -2.0), number(2, -1.0));
                let reset = command.flag_or(3, true).unwrap_or(true);
                let request =
                    PlayRequest { question, message_stream_id: id, name, query, start, duration, reset };
                self.outputs.push_back(Output::Play(request));
            }
            Requested::Invalid(error) => {
                self.stop_play();
                self.refuse_name(id, "NetStream.Play.StreamNotFound", error);
            }
        }
        Ok(())
    }

    pub(super) fn stop_play(&mut self) {
        if self.plays_on.take().is_some() {
            self.outputs.push_back(Output::StopPlay);
        }
    }

    /// The message stream that the peer plays on, if a command on `on` is about it. Some clients send all commands on 0.
    pub(super) fn play_meant(&self, on: MessageStreamId) -> Option<MessageStreamId> {
        self.plays_on.filter(|&id| on == 0 || on == id)
    }

    pub(super) fn pause(&mut self, id: MessageStreamId, is_paused: bool) {
        let code = if is_paused { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
        self.status(id, code, "");
        self.outputs.push_back(Output::Pause(is_paused));
    }

    /// §7.2.2.4 and §7.2.2.5: the player is notified if a kind of media continues, not if it stops.
    pub(super) fn receive_kind(&mut self, id: MessageStreamId, wanted: bool, output: fn(bool) -> Output) {
        if wanted {
            self.status(id, "NetStream.Seek.Notify", "");
            self.status(id, "NetStream.Play.Start", "");
        }
        self.outputs.push_back(output(wanted));
    }
}
