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
    fanout::{Ended, Start},
    http::paths,
    rtmp::session::{CloseReason, Output, PlayRequest, PublishRequest, Start as AskedStart},
    stream::{NoRoom, Refused},
};

/// How long a publisher that takes a name over waits for the one before it to let go.
const HAND_OVER_MS: u64 = 3_000;

/// Answers that wait for a peer to read the ones before them. A peer that waits for what it asks is far below this;
/// one that asks and never reads must not fill our memory.
const MAX_UNREAD_BYTES: usize = 64 << 10;

impl Core {
    /// Does what the session wants done.
    pub(super) fn poll_session(&mut self, key: usize) {
        let violation = loop {
            let output = match self.connections[key].dialogue.poll() {
                Ok(Some(output)) => output,
                Ok(None) => break None,
                Err(violation) => break Some(violation),
            };
            match output {
                Output::More => {}
                Output::Frame(frame) => {
                    let now_ms = self.now_ms;
                    let connection = &mut self.connections[key];
                    if let Some(Publishing { publication: Some(publication), frames, .. }) =
                        connection.publishing.as_deref_mut()
                    {
                        *frames += 1;
                        self.tally.frames_in += 1;
                        match publication.lay(frame, now_ms) {
                            Ok(false) => {}
                            Ok(true) => {
                                let id = connection.id;
                                self.tell_soon(key, id);
                            }
                            Err(NoRoom { bytes }) => self.end_without_room(key, bytes),
                        }
                    }
                }
                Output::Send(bytes) => self.connections[key].outbox.extend_from_slice(&bytes),
                Output::Publish(request) => self.publish(key, request),
                Output::Play(request) => self.play(key, request),
                Output::Unpublish => self.unpublish(key, "unpublished"),
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
                        CloseReason::Name(error) => Reason::Refused(error.to_string()),
                    };
                    self.finish(key, reason);
                }
            }
        };
        self.flush(key);
        if let Some(violation) = violation {
            self.expel(key, violation);
        } else if self.connections[key].outbox.len() > MAX_UNREAD_BYTES {
            self.end(key, Reason::UnreadAnswers);
        }
        self.recount(key);
    }

    /// A publisher's message is larger than there is memory for.
    fn end_without_room(&mut self, key: usize, bytes: usize) {
        let description = "This server has no memory left for a message of this size.";
        self.connections[key].dialogue.refuse_publish("NetStream.Publish.Denied", description);
        self.finish_after_session(key, Reason::NoRoom { bytes });
        self.common.registry.memory().note_ended(1, self.now_ms);
    }

    fn publish(&mut self, key: usize, request: PublishRequest) {
        let connection = &mut self.connections[key];
        let name = request.name.to_string();
        if paths::is_reserved(&name) {
            let (id, peer) = (connection.id, connection.peer);
            if self.common.may_log(LineKind::PublishRefused, peer, self.now_ms) {
                tracing::info!(id, %peer, stream = name, "publisher refused: the name is a path of the API");
            }
            let description = format!("{name} cannot be watched over HTTP: its path is the API's.");
            return connection.dialogue.refuse_publish("NetStream.Publish.BadName", &description);
        }
        connection.publishing = Some(Box::new(Publishing {
            name: request.name,
            since_ms: self.now_ms,
            bytes_in_before: connection.bytes_in,
            frames: 0,
            rated_ms: self.now_ms,
            rated_bytes: connection.bytes_in,
            waiting_since_ms: self.patient_ms,
            publication: None,
            untold_until_us: 0,
        }));
        if let Err(refused) = self.try_publish(key) {
            let Refused::Busy { silent_ms } = refused else {
                return self.deny_publisher(key, refused);
            };
            let publish = &self.common.config.publish;
            let may_take_over = publish.on_second_publisher == config::SecondPublisher::Takeover
                || silent_ms >= millis(publish.stale_publisher);
            if !may_take_over || self.is_draining {
                return self.refuse_publisher(key);
            }
            let connection = &self.connections[key];
            let Some(publishing) = &connection.publishing else {
                return;
            };
            let name = publishing.name.to_string();
            let (id, peer) = (connection.id, connection.peer);
            if self.common.may_log(LineKind::Takeover, peer, self.now_ms) {
                tracing::info!(id, %peer, stream = name, silent_ms, "takes over from the publisher before");
            }
            self.common.registry.evict(&name, self.publisher_id(id));
        }
    }

    /// Publishes the name that the connection asked for, if it is free.
    fn try_publish(&mut self, key: usize) -> Result<(), Refused> {
        let connection = &self.connections[key];
        let Some(name) = connection.publishing.as_ref().map(|publishing| publishing.name.to_string()) else {
            return Ok(());
        };
        let (id, peer) = (connection.id, connection.peer);
        let publication = self.common.registry.publish(&name, self.publisher_id(id), self.now_ms)?;
        if self.common.may_log(LineKind::Publishing, peer, self.now_ms) {
            tracing::info!(id, %peer, stream = name, core = self.number, "publishing");
        }
        self.tally.publishers += 1;
        self.common.outside.publishes(id, peer);
        self.common.outside.tell(|| Event::Published { id, peer, stream: name.clone() });
        let connection = &mut self.connections[key];
        if let Some(publishing) = &mut connection.publishing {
            publishing.publication = Some(publication);
            self.publishers.push((key, id));
            publishing.since_ms = self.now_ms;
        }
        connection.dialogue.accept_publish();
        Ok(())
    }

    fn refuse_publisher(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Some(publishing) = connection.publishing.take() else {
            return;
        };
        let (id, peer) = (connection.id, connection.peer);
        if self.common.may_log(LineKind::PublishRefused, peer, self.now_ms) {
            tracing::info!(id, %peer, stream = publishing.name.to_string(), "publisher refused: the name is taken");
        }
        let description = format!("{} is being published by another client.", publishing.name);
        connection.dialogue.refuse_publish("NetStream.Publish.BadName", &description);
    }

    /// The name is free, and there is no room for another stream.
    fn deny_publisher(&mut self, key: usize, refused: Refused) {
        let (refusal, description) = match refused {
            Refused::Streams => (Refusal::Streams, "This server has as many streams as it may have."),
            _ => (Refusal::Memory, "This server has no memory left for another stream."),
        };
        let connection = &mut self.connections[key];
        connection.publishing = None;
        connection.dialogue.refuse_publish("NetStream.Publish.Denied", description);
        let (id, peer) = (connection.id, connection.peer);
        self.common.refused(refusal, id, peer, self.now_ms);
    }

    /// Another publisher takes the name over. One that is only closed would come back and take it over in its turn,
    /// so it is told.
    pub(super) fn give_way(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        // The name that was asked for may be free by now, and what is published here another one.
        if connection.publication().is_some_and(|publication| publication.is_wanted()) {
            let description = "Another client took the stream over.";
            connection.dialogue.refuse_publish("NetStream.Publish.BadName", description);
            self.finish_after_session(key, Reason::TakenOver);
        }
    }

    /// The publisher that was asked to go has gone.
    pub(super) fn take_freed_name(&mut self, key: usize) {
        if self.is_waiting_to_publish(key) {
            match self.try_publish(key) {
                Ok(()) => {}
                Err(Refused::Busy { .. }) => self.refuse_publisher(key),
                Err(refused) => self.deny_publisher(key, refused),
            }
            self.poll_session(key);
            self.receive(key);
        }
    }

    /// The publisher that was asked to go has not gone in time.
    pub(super) fn give_up_waiting_to_publish(&mut self, key: usize) {
        let publishing = self.connections[key].publishing.as_ref();
        let since_ms = publishing.map(|publishing| publishing.waiting_since_ms);
        if self.is_waiting_to_publish(key)
            && since_ms.is_some_and(|since_ms| self.patient_ms - since_ms >= HAND_OVER_MS)
        {
            self.refuse_publisher(key);
            self.poll_session(key);
            self.receive(key);
        }
    }

    fn is_waiting_to_publish(&self, key: usize) -> bool {
        let connection = &self.connections[key];
        let is_waiting =
            connection.publishing.as_ref().is_some_and(|publishing| publishing.publication.is_none());
        is_waiting && connection.closing.is_none()
    }

    fn unpublish(&mut self, key: usize, reason: &str) {
        let now_ms = self.now_ms;
        let connection = &mut self.connections[key];
        let Some(mut publishing) = connection.publishing.take() else {
            return;
        };
        connection.idle_since_ms = self.patient_ms;
        let Some(mut publication) = publishing.publication.take() else {
            return;
        };
        publication.tick(now_ms);
        let (id, peer, frames) = (connection.id, connection.peer, publishing.frames);
        // Whoever announced itself and sent nothing has shown no stream to wait for.
        if frames > 0 {
            self.common.vacated.note(&publishing.name.to_string(), Instant::now());
        }
        drop(publication);
        self.common.outside.publishes_no_more(id);
        self.tally.publishers -= 1;
        let bytes = connection.bytes_in - publishing.bytes_in_before;
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
        let start = match request.start {
            Some(AskedStart::KeyFrame) => Start::KeyFrame,
            Some(AskedStart::Live) => Start::Live,
            None => match self.common.config.play.start {
                config::Start::Keyframe => Start::KeyFrame,
                config::Start::Live => Start::Live,
            },
        };
        self.begin_to_play(key, request.name.to_string().into_boxed_str(), start);
        self.connections[key].dialogue.accept_play();
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

    /// A connection that is to be closed gives its name back at once, whatever it still has to say.
    pub(super) fn release(&mut self, key: usize) {
        let reason = self.connections[key].closing.as_ref().map(|closing| closing.reason.to_string());
        self.unpublish(key, &reason.unwrap_or_default());
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
