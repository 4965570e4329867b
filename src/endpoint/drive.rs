//! Drives the session of a connection: does what it wants done, for no longer than a slice of time.

use super::{
    core::Endpoint,
    io::Io,
    reason::{Reason, ReasonKind},
};
use crate::rtmp::session::{CloseReason, Output};

/// Answers that wait for a peer to read the ones before them. A peer that waits for what it asks is far below this;
/// one that asks and never reads must not fill the relay's memory.
const MAX_UNREAD_BYTES: usize = 16 << 10;

impl<I: Io> Endpoint<I> {
    /// Does what the session wants done, for no longer than a slice of time: the rest of what came waits its turn.
    pub(super) fn poll_session(&mut self, key: usize) {
        if self.connections[key].input.is_behind {
            // It is not its turn; what the session has to send goes out all the same.
            self.connections[key].collect_out();
            self.flush(key);
            return self.recount(key);
        }
        let end_us = self.io.now_us().saturating_add(self.slice_us);
        let violation = loop {
            let output = match self.connections[key].session.poll() {
                Ok(Some(output)) => output,
                Ok(None) => {
                    self.connections[key].input.caught_up();
                    break None;
                }
                Err(violation) => break Some(violation),
            };
            self.perform(key, output);
            if self.connections[key].is_closing() {
                break None;
            }
            if self.io.now_us() >= end_us {
                self.use_up_slice(key);
                // Before the frames of a stream that it may just have begun to play.
                self.connections[key].collect_out();
                break None;
            }
        };
        self.flush(key);
        if let Some(violation) = violation {
            self.expel(key, &violation);
        } else {
            self.check_excess(key);
        }
        self.recount(key);
    }

    fn perform(&mut self, key: usize, output: Output) {
        let connection = &mut self.connections[key];
        let player = connection.playing.as_ref().map(|playing| playing.key);
        match output {
            Output::More => {}
            Output::Frame { message_stream_id, frame } => self.append(key, message_stream_id, frame),
            Output::Send(bytes) => connection.outbox.extend_from_slice(&bytes),
            Output::Connect(request) => self.asks_to_connect(key, *request),
            Output::Publish(request) => self.asks_to_publish(key, request),
            Output::Play(request) => self.asks_to_play(key, request),
            Output::Unpublish { message_stream_id } => {
                self.unpublish(key, message_stream_id, ReasonKind::Stopped.into());
            }
            Output::StopPlay => self.leave_stream(key),
            Output::Pause(is_paused) => player.into_iter().for_each(|it| self.hub.pause(it, is_paused)),
            Output::ReceiveAudio(wants) => {
                player.into_iter().for_each(|it| self.hub.receive_audio(it, wants))
            }
            Output::ReceiveVideo(wants) => {
                player.into_iter().for_each(|it| self.hub.receive_video(it, wants))
            }
            Output::Close(CloseReason::Refused(code)) => self.finish(key, Reason::refused(&code)),
            Output::Close(CloseReason::InvalidName(error)) => {
                self.finish(key, Reason::refused(&error.to_string()))
            }
            Output::Close(CloseReason::Redirected) => self.finish(key, Reason::refused("redirected")),
        }
    }

    /// Ends a connection that has nothing more to send, sends too much, or reads too little.
    fn check_excess(&mut self, key: usize) {
        let connection = &self.connections[key];
        if connection.is_closing() {
            return;
        }
        if connection.session.is_over() {
            self.finish(key, Reason::peer_closed());
        } else if let Some(per_second) = self.excessive_messages(key) {
            let description = format!("{per_second} messages per second are too many for this server.");
            let text =
                format!("sent {per_second} messages per second, more than limits.messages_per_second allows");
            let reason = Reason::with(ReasonKind::MessageRate, text);
            self.dismiss(key, "NetStream.Publish.Denied", &description, reason);
        } else if self.connections[key].outbox.len() > MAX_UNREAD_BYTES {
            self.end(key, ReasonKind::UnreadAnswers.into());
        }
    }
}
