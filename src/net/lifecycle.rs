//! What a core does when a session asks for something: publishing, playing, and how each of them ends.

use std::time::Instant;

use super::{
    connection::{Publishing, Reason, Sending},
    core::{Core, millis},
    gate::Refusal,
    report::Event,
    similar::LineKind,
};
use crate::{
    config,
    fanout::Ended,
    http::paths,
    rtmp::name::Address,
    rtmp::session::{Answer, CloseReason, MessageStreamId, Output, PlayRequest, PublishRequest},
    stream::{NoRoom, Refused, Start},
};

/// How long a publisher that takes a name over waits for the one before it to let go.
const HAND_OVER_MS: u64 = 3_000;

/// Answers that wait for a peer to read the ones before them. A peer that waits for what it asks is far below this;
/// one that asks and never reads must not fill our memory.
const MAX_UNREAD_BYTES: usize = 16 << 10;

impl Core {
    /// Does what the session wants done, for no longer than a slice of time: the rest of what came waits its turn.
    pub(super) fn poll_session(&mut self, key: usize) {
        if self.connections[key].input.is_behind {
            // It is not its turn; what the session has said goes out all the same.
            self.collect_out(key);
            self.flush(key);
            return self.recount(key);
        }
        let end_us = self.clock_us().saturating_add(self.slice_us);
        let violation = loop {
            let output = match self.connections[key].dialogue.poll() {
                Ok(Some(output)) => output,
                Ok(None) => {
                    self.catch_up(key);
                    break None;
                }
                Err(violation) => break Some(violation),
            };
            match output {
                Output::More => {}
                Output::Frame { message_stream_id, frame } => {
                    let now_ms = self.now_ms;
                    let publishing = self.connections[key].publishing_on(message_stream_id);
                    if let Some(Publishing { publication: Some(publication), frames, bytes, .. }) = publishing
                    {
                        *frames += 1;
                        *bytes += frame.payload.len() as u64;
                        self.tally.frames_in += 1;
                        match publication.lay(frame, now_ms) {
                            Ok(false) => {}
                            Ok(true) => self.tell_soon(key, message_stream_id),
                            Err(NoRoom { bytes }) => self.end_without_room(key, message_stream_id, bytes),
                        }
                    }
                }
                Output::Send(bytes) => self.connections[key].outbox.extend_from_slice(&bytes),
                Output::Connect(request) => {
                    self.connections[key].dialogue.answer(request.question, Answer::Allow);
                }
                Output::Publish(request) => self.publish(key, request),
                Output::Play(request) => self.play(key, request),
                Output::Unpublish { message_stream_id } => {
                    self.unpublish(key, message_stream_id, "unpublished");
                }
                Output::StopPlay => self.leave_stream(key),
                Output::Pause(is_paused) => {
                    if let Some(playing) = &self.connections[key].playing {
                        self.hub.pause(playing.key, is_paused);
                    }
                }
                Output::ReceiveAudio(wants) => {
                    if let Some(playing) = &self.connections[key].playing {
                        self.hub.receive_audio(playing.key, wants);
                    }
                }
                Output::ReceiveVideo(wants) => {
                    if let Some(playing) = &self.connections[key].playing {
                        self.hub.receive_video(playing.key, wants);
                    }
                }
                Output::Close(reason) => {
                    let reason = match reason {
                        CloseReason::Refused(code) => Reason::Refused(code),
                        CloseReason::Redirected => Reason::Refused(reason.to_string()),
                        CloseReason::Name(error) => Reason::Refused(error.to_string()),
                    };
                    self.finish(key, reason);
                }
            }
            if self.connections[key].closing.is_some() {
                break None;
            }
            if self.clock_us() >= end_us {
                self.use_up_slice(key);
                // Before the frames of a stream that it may just have begun to play.
                self.collect_out(key);
                break None;
            }
        };
        self.flush(key);
        if let Some(violation) = violation {
            self.expel(key, violation);
        } else if self.connections[key].closing.is_some() {
            // Nothing more is to be said.
        } else if self.connections[key].dialogue.is_over() {
            self.finish(key, Reason::PeerClosed);
        } else if let Some(per_second) = self.excessive_messages(key) {
            let description = format!("{per_second} messages a second are too many for this server.");
            let code = "NetStream.Publish.Denied";
            self.dismiss(key, code, &description, Reason::TooManyMessages { per_second });
        } else if self.connections[key].outbox.len() > MAX_UNREAD_BYTES {
            self.end(key, Reason::UnreadAnswers);
        }
        self.recount(key);
    }

    /// A publisher's message is larger than there is memory for.
    fn end_without_room(&mut self, key: usize, message_stream_id: MessageStreamId, bytes: usize) {
        let description = "This server has no memory left for a message of this size.";
        let reason = Reason::NoRoom { bytes };
        self.end_publication(key, message_stream_id, "NetStream.Publish.Denied", description, reason);
        self.common.registry.memory().note_ended(1, self.now_ms);
    }

    /// Ends one stream that the connection publishes, and says why; with the connection, unless it does something else
    /// as well.
    pub(super) fn end_publication(
        &mut self,
        key: usize,
        message_stream_id: MessageStreamId,
        code: &str,
        description: &str,
        reason: Reason,
    ) {
        let connection = &mut self.connections[key];
        connection.dialogue.refuse_publish(message_stream_id, code, description);
        if connection.publishing.len() > 1 || connection.playing.is_some() {
            self.unpublish(key, message_stream_id, &reason.to_string());
        } else {
            self.finish_after_session(key, reason);
        }
    }

    fn publish(&mut self, key: usize, request: PublishRequest) {
        let id = request.message_stream_id;
        let connection = &mut self.connections[key];
        let name = request.name.to_string();
        if paths::is_reserved(&name) {
            let (number, peer) = (connection.id, connection.peer);
            if self.common.may_log(LineKind::PublishRefused, peer, self.now_ms) {
                tracing::info!(id = number, %peer, stream = name, "publisher refused: the name is a path of the API");
            }
            let description = format!("{name} cannot be watched over HTTP: its path is the API's.");
            return connection.dialogue.refuse_publish(id, "NetStream.Publish.BadName", &description);
        }
        if connection.publishing.is_empty() {
            (connection.rated_ms, connection.rated_bytes) = (self.now_ms, connection.bytes_in);
        }
        connection.publishing.push(Publishing {
            message_stream_id: id,
            question: request.question,
            name: request.name,
            since_ms: self.now_ms,
            frames: 0,
            bytes: 0,
            rated_bytes: 0,
            waiting_since_ms: self.patient_ms,
            publication: None,
            untold_until_us: 0,
        });
        if let Err(refused) = self.try_publish(key, id) {
            let Refused::Busy { silent_ms } = refused else {
                return self.deny_publisher(key, id, refused);
            };
            let config = self.common.config();
            let publish = &config.publish;
            let may_take_over = publish.on_second_publisher == config::SecondPublisher::Takeover
                || silent_ms >= millis(publish.takeover_after);
            if !may_take_over || self.is_draining {
                return self.refuse_publisher(key, id);
            }
            let connection = &mut self.connections[key];
            let (number, peer) = (connection.id, connection.peer);
            let Some(publishing) = connection.publishing_on(id) else { return };
            let name = publishing.name.to_string();
            if self.common.may_log(LineKind::Takeover, peer, self.now_ms) {
                tracing::info!(id = number, %peer, stream = name, silent_ms, "takes over from the publisher before");
            }
            self.common.registry.evict(&name, self.publisher_id(key, number));
        }
    }

    /// Publishes the name that the connection asked for, if it is free.
    fn try_publish(&mut self, key: usize, message_stream_id: MessageStreamId) -> Result<(), Refused> {
        let connection = &mut self.connections[key];
        let (id, peer) = (connection.id, connection.peer);
        let Some(publishing) = connection.publishing_on(message_stream_id) else { return Ok(()) };
        let name = publishing.name.to_string();
        let publication = self.common.registry.publish(&name, self.publisher_id(key, id), self.now_ms)?;
        if self.common.may_log(LineKind::Publishing, peer, self.now_ms) {
            tracing::info!(id, %peer, stream = name, core = self.number, "publishing");
        }
        self.tally.publishers += 1;
        self.common.outside.publishes(id, peer);
        self.common.outside.tell(|| Event::Published { id, peer, stream: name.clone() });
        let connection = &mut self.connections[key];
        if !connection.is_publishing() {
            self.publishers.push((key, id));
        }
        if let Some(publishing) = connection.publishing_on(message_stream_id) {
            publishing.publication = Some(publication);
            publishing.since_ms = self.now_ms;
            let question = publishing.question;
            connection.dialogue.answer(question, Answer::Allow);
        }
        Ok(())
    }

    fn refuse_publisher(&mut self, key: usize, message_stream_id: MessageStreamId) {
        let connection = &mut self.connections[key];
        let Some(publishing) = connection.take_publishing(message_stream_id) else {
            return;
        };
        let (id, peer) = (connection.id, connection.peer);
        if self.common.may_log(LineKind::PublishRefused, peer, self.now_ms) {
            tracing::info!(id, %peer, stream = publishing.name.to_string(), "publisher refused: the name is taken");
        }
        let description = format!("{} is being published by another client.", publishing.name);
        connection.dialogue.refuse_publish(message_stream_id, "NetStream.Publish.BadName", &description);
    }

    /// The name is free, and there is no room for another stream.
    fn deny_publisher(&mut self, key: usize, message_stream_id: MessageStreamId, refused: Refused) {
        let (refusal, description) = match refused {
            Refused::Streams => (Refusal::Streams, "This server has as many streams as it may have."),
            _ => (Refusal::Memory, "This server has no memory left for another stream."),
        };
        let connection = &mut self.connections[key];
        connection.take_publishing(message_stream_id);
        connection.dialogue.refuse_publish(message_stream_id, "NetStream.Publish.Denied", description);
        let (id, peer) = (connection.id, connection.peer);
        self.common.refused(refusal, id, peer, self.now_ms);
    }

    /// Other publishers take names over. One that is only closed would come back and take its name over in its turn,
    /// so it is told. What else the connection does goes on.
    pub(super) fn give_way(&mut self, key: usize) {
        let connection = &self.connections[key];
        let is_wanted = |it: &&Publishing| it.publication.as_ref().is_some_and(|it| it.is_wanted());
        // The name that was asked for may be free by now, and what is published here another one.
        let wanted: Vec<_> =
            connection.publishing.iter().filter(is_wanted).map(|it| it.message_stream_id).collect();
        for message_stream_id in wanted {
            let (code, description) = ("NetStream.Publish.BadName", "Another client took the stream over.");
            self.end_publication(key, message_stream_id, code, description, Reason::TakenOver);
        }
        self.poll_session(key);
    }

    /// The publisher that was asked to go has gone.
    pub(super) fn take_freed_name(&mut self, key: usize) {
        if let Some(message_stream_id) = self.waiting_to_publish(key) {
            match self.try_publish(key, message_stream_id) {
                Ok(()) => {}
                Err(Refused::Busy { .. }) => self.refuse_publisher(key, message_stream_id),
                Err(refused) => self.deny_publisher(key, message_stream_id, refused),
            }
            self.poll_session(key);
            self.receive(key);
        }
    }

    /// The publisher that was asked to go has not gone in time.
    pub(super) fn give_up_waiting_to_publish(&mut self, key: usize) {
        let Some(message_stream_id) = self.waiting_to_publish(key) else { return };
        let waiting = self.connections[key].publishing_on(message_stream_id);
        if waiting.is_some_and(|waiting| self.patient_ms - waiting.waiting_since_ms >= HAND_OVER_MS) {
            self.refuse_publisher(key, message_stream_id);
            self.poll_session(key);
            self.receive(key);
        }
    }

    /// The number of the stream that waits for its name: there is one at most, for nothing is read meanwhile.
    fn waiting_to_publish(&self, key: usize) -> Option<MessageStreamId> {
        let connection = &self.connections[key];
        let waiting = connection.publishing.iter().find(|publishing| publishing.publication.is_none())?;
        connection.closing.is_none().then_some(waiting.message_stream_id)
    }

    fn unpublish(&mut self, key: usize, message_stream_id: MessageStreamId, reason: &str) {
        let now_ms = self.now_ms;
        let connection = &mut self.connections[key];
        let Some(mut publishing) = connection.take_publishing(message_stream_id) else {
            return;
        };
        connection.idle_since_ms = self.patient_ms;
        let Some(mut publication) = publishing.publication.take() else {
            return;
        };
        publication.tick(now_ms);
        let (id, peer, frames) = (connection.id, connection.peer, publishing.frames);
        // A publisher that sent nothing has shown no stream to wait for.
        if frames > 0 {
            self.common.vacated.note(&publishing.name.to_string(), Instant::now());
        }
        drop(publication);
        if !connection.is_publishing() {
            self.common.outside.publishes_no_more(id);
        }
        self.tally.publishers -= 1;
        let bytes = publishing.bytes;
        let duration_ms = now_ms - publishing.since_ms;
        if self.common.may_log(LineKind::PublishEnded, peer, now_ms) {
            let stream = publishing.name.to_string();
            tracing::info!(id, %peer, stream, reason, bytes, frames, duration_ms, "publish ended");
        }
        self.common.outside.tell(|| {
            let (stream, reason) = (publishing.name.to_string(), reason.to_owned());
            Event::Unpublished { id, peer, stream, reason, duration_ms }
        });
    }

    fn play(&mut self, key: usize, request: PlayRequest) {
        self.leave_stream(key);
        let address = Address { name: request.name, query: request.query };
        let start = match Start::requested(address.parameter("start")) {
            Ok(requested) => requested.unwrap_or(self.common.config().play.start),
            Err(invalid) => {
                let description = invalid.to_string();
                return self.connections[key].dialogue.refuse_play("NetStream.Play.Failed", &description);
            }
        };
        self.begin_to_play(key, address.name.to_string().into_boxed_str(), start);
        self.connections[key].dialogue.answer(request.question, Answer::Allow);
    }

    /// The player stops, for whatever reason. What is being sent to it goes out whole.
    pub(super) fn leave_stream(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Some(playing) = connection.playing.take() else {
            return;
        };
        connection.idle_since_ms = self.patient_ms;
        if connection.sending == Sending::Media {
            connection.sending = Sending::Own;
        }
        self.hub.leave(playing.key);
        let (id, peer) = (connection.id, connection.peer);
        let bytes = connection.bytes_out - playing.bytes_out_before;
        let duration_ms = self.now_ms - playing.since_ms;
        if self.common.may_log(LineKind::PlayEnded, peer, self.now_ms) {
            tracing::info!(id, %peer, stream = &*playing.name, bytes, duration_ms, "play ended");
        }
        let protocol = connection.dialogue.protocol();
        self.common.outside.tell(|| {
            let reason = connection.closing.as_ref().map(|closing| closing.reason.to_string());
            let stream = playing.name.into_string();
            Event::PlayEnded { id, peer, stream, protocol, reason, duration_ms }
        });
    }

    /// A connection that is to be closed gives its names back at once, whatever it still has to say.
    pub(super) fn release(&mut self, key: usize) {
        let connection = &self.connections[key];
        let reason =
            connection.closing.as_ref().map(|closing| closing.reason.to_string()).unwrap_or_default();
        let all: Vec<_> = connection.publishing.iter().map(|it| it.message_stream_id).collect();
        for message_stream_id in all {
            self.unpublish(key, message_stream_id, &reason);
        }
        self.connections[key].dialogue.let_go_of_input();
        self.recount(key);
    }

    /// Ends the players whose time is up, and begins with those whose stream has shown what it holds.
    pub(super) fn expire_players(&mut self) {
        let mut due = Vec::new();
        self.hub.wake(self.now_ms, &mut due);
        due.into_iter().for_each(|key| self.flush(key));
        let mut ended = Vec::new();
        self.hub.expire(self.now_ms, &mut ended);
        for (key, why) in ended {
            let connection = &mut self.connections[key];
            if connection.closing.is_some() {
                continue;
            }
            match why {
                Ended::NotFound => {
                    let name = connection.playing.as_ref().map_or("", |playing| &playing.name);
                    let description = format!("{name} is not being published.");
                    connection.dialogue.refuse_play("NetStream.Play.StreamNotFound", &description);
                    self.finish_after_session(key, Reason::StreamNotFound);
                }
                Ended::Unpublished => {
                    connection.dialogue.end_play();
                    self.finish_after_session(key, Reason::Unpublished);
                }
                // It comes back, and is given the right headers.
                Ended::OtherMedia => {
                    connection.dialogue.end_play();
                    self.finish_after_session(key, Reason::OtherMedia);
                }
            }
        }
    }

    /// The process is about to end.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            let connection = &mut self.connections[key];
            if connection.closing.is_some() {
                continue;
            }
            if connection.playing.is_some() {
                connection.dialogue.end_play();
                self.finish_after_session(key, Reason::ShuttingDown);
            } else {
                let code = "NetConnection.Connect.AppShutdown";
                self.dismiss(key, code, "The server is shutting down.", Reason::ShuttingDown);
            }
        }
    }
}
