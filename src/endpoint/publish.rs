//! What a core does for publishers: names taken, taken over and given back, frames appended to the log.

use super::{
    admission::Refusal,
    connection::{Connection, OpenQuestion, PublishState, Publishing},
    core::{Endpoint, millis},
    io::Io,
    log_limits::LineKind,
    notify::Pending,
    reason::{Reason, ReasonKind},
    report::RelayEvent,
    shared::KnownPublisher,
    told::Progress,
};
use crate::{
    access::NoticeKind,
    config,
    flv::Frame,
    http::paths,
    rtmp::{
        name::StreamName,
        session::{Answer, MessageStreamId},
    },
    stream::{ConnectionRef, NoRoom, PublishError, Waiting},
};

/// How long a publisher that takes a name over waits for the one before it to let go.
const HAND_OVER_MS: u64 = 3_000;

/// A core looks this often, microseconds, for frames that have waited long enough.
const NOTIFY_EVERY_US: u64 = 1_000;

impl<I: Io> Endpoint<I> {
    /// A frame of a stream that the connection publishes goes into the stream's log.
    pub(super) fn append(&mut self, key: usize, message_stream_id: MessageStreamId, frame: Frame) {
        let now_ms = self.now.ms;
        let Some(publishing) = self.connections[key].publishing_on(message_stream_id) else { return };
        let Publishing { state: PublishState::Live(publication), frames, timestamp_ms, bytes, .. } =
            publishing
        else {
            return;
        };
        *frames += 1;
        *timestamp_ms = frame.timestamp_ms;
        *bytes += frame.payload.len() as u64;
        self.counts.frames_in += 1;
        match publication.append(frame, now_ms) {
            Ok(Waiting::No) => {}
            Ok(waiting) => self.notify_soon(key, message_stream_id, waiting),
            Err(NoRoom { bytes }) => self.end_without_room(key, message_stream_id, bytes),
        }
    }

    /// New frames of this stream may wait for another one to go out with, if that is expected soon.
    fn notify_soon(&mut self, key: usize, message_stream_id: MessageStreamId, waiting: Waiting) {
        let config = self.shared.config();
        let [window_us, budget_us] =
            [config.play.merge_window, config.play.latency_budget].map(|it| it.as_micros() as u64);
        let connection = &mut self.connections[key];
        let connection_id = connection.id;
        let Some(publishing) = connection.publishing_on(message_stream_id) else { return };
        let now_us = self.io.now_us();
        let since_us = if waiting == Waiting::First { now_us } else { publishing.waiting_since_us };
        let Some(publication) = publishing.publication_mut() else { return };
        match publication.wait_us(window_us, budget_us, now_us - since_us, self.now.ms) {
            None => publication.notify(),
            Some(wait_us) => {
                publishing.waiting_since_us = since_us;
                // Those of many streams are notified at the same time.
                let due_us = (since_us + wait_us).next_multiple_of(NOTIFY_EVERY_US);
                if waiting == Waiting::First || publishing.notify_at_us != due_us {
                    publishing.notify_at_us = due_us;
                    self.notices.push(Pending { due_us, key, connection_id, message_stream_id });
                }
            }
        }
    }

    /// Notifies the cores of frames that have waited long enough.
    pub(super) fn notify_due(&mut self, now_us: u64) {
        while let Some(pending) = self.notices.pop_due(now_us) {
            let Pending { due_us, key, connection_id, message_stream_id } = pending;
            let connection = self.connections.get_mut(key).filter(|it| it.id == connection_id);
            let Some(publishing) = connection.and_then(|it| it.publishing_on(message_stream_id)) else {
                continue;
            };
            // Otherwise they went with another frame, and others wait now: their time comes.
            if publishing.notify_at_us == due_us
                && let Some(publication) = publishing.publication_mut()
            {
                publication.notify();
            }
        }
    }

    /// A publisher's message is larger than there is memory for.
    fn end_without_room(&mut self, key: usize, message_stream_id: MessageStreamId, bytes: usize) {
        let description = "This server has no memory left for a message of this size.";
        let reason = Reason::with(
            ReasonKind::MemoryBudget,
            format!("limits.memory_budget leaves no room for a message of {bytes} bytes"),
        );
        self.end_publication(key, message_stream_id, "NetStream.Publish.Denied", description, reason);
        self.shared.registry().memory().note_ended(1, self.now.ms);
    }

    /// Ends one stream that the connection publishes, and sends why; with the connection, unless it does something else
    /// as well, or asks to.
    pub(super) fn end_publication(
        &mut self,
        key: usize,
        message_stream_id: MessageStreamId,
        code: &str,
        description: &str,
        reason: Reason,
    ) {
        let connection = &mut self.connections[key];
        connection.session.end_publish(message_stream_id, code, description);
        let asks = connection.asked.as_ref().is_some_and(|asked| !asked.publishes_on(message_stream_id));
        if asks || connection.publishing.len() > 1 || connection.playing.is_some() {
            self.unpublish(key, message_stream_id, reason);
        } else {
            self.finish_after_session(key, reason);
        }
    }

    /// A session asks to publish: whether it may is being decided from now on.
    pub(super) fn begin_publish(&mut self, key: usize, message_stream_id: MessageStreamId, name: StreamName) {
        let connection = &mut self.connections[key];
        if connection.publishing.is_empty() {
            (connection.rated_ms, connection.rated_bytes) = (self.now.ms, connection.bytes_in);
        }
        connection.publishing.push(Publishing {
            message_stream_id,
            name,
            permit: None,
            since_ms: self.now.ms,
            frames: 0,
            timestamp_ms: 0,
            bytes: 0,
            rated_bytes: 0,
            state: PublishState::Asking,
            notify_at_us: 0,
            waiting_since_us: 0,
        });
    }

    /// The connection may publish: under this name, if that is to be had.
    pub(super) fn allow_publish(&mut self, key: usize, message_stream_id: MessageStreamId) {
        let connection = &mut self.connections[key];
        let (id, peer) = (connection.id, connection.peer);
        let Some(publishing) = connection.publishing_on(message_stream_id) else { return };
        let name = publishing.name.to_string();
        if paths::is_reserved(&name) {
            if self.shared.may_log(LineKind::PublishRefused, peer, self.now.ms) {
                let client = self.connections[key].client.as_deref();
                tracing::info!(id, %peer, stream = name, client, "publisher refused: name reserved for the API");
            }
            let description = format!("{name} cannot be watched over HTTP: its path is the API's.");
            return self.refuse_publish(key, message_stream_id, "NetStream.Publish.BadName", description);
        }
        publishing.state = PublishState::WaitingForName { since_ms: self.now.patient_ms };
        if let Err(refused) = self.try_publish(key, message_stream_id) {
            let PublishError::Busy { silent_ms } = refused else {
                return self.deny_publisher(key, message_stream_id, refused);
            };
            let config = self.shared.config();
            let publish = &config.publish;
            let may_take_over = publish.on_second_publisher == config::SecondPublisher::Takeover
                || silent_ms >= millis(publish.takeover_after);
            if !may_take_over || self.is_draining {
                return self.refuse_taken_name(key, message_stream_id);
            }
            if self.shared.may_log(LineKind::Takeover, peer, self.now.ms) {
                tracing::info!(id, %peer, stream = name, idle_ms = silent_ms, "publisher takes over the name");
            }
            self.shared.registry().evict(&name, self.connection_id(key));
        }
    }

    /// Publishes the name that the connection asked for, if it is free.
    fn try_publish(&mut self, key: usize, message_stream_id: MessageStreamId) -> Result<(), PublishError> {
        let connection_id = self.connection_id(key);
        let connection = &mut self.connections[key];
        let (id, peer) = (connection.id, connection.peer);
        let was_publishing = connection.is_publishing();
        let Some(publishing) = connection.publishing_on(message_stream_id) else { return Ok(()) };
        let name = publishing.name.to_string();
        let publication = self.shared.registry().publish(&name, connection_id, self.now.ms)?;
        publishing.state = PublishState::Live(publication);
        publishing.since_ms = self.now.ms;
        connection.has_published = true;
        // It was not read before this answer: its silence begins now.
        connection.heard_ms = self.now.patient_ms;
        if self.shared.may_log(LineKind::Publishing, peer, self.now.ms) {
            let client = connection.client.as_deref();
            tracing::info!(id, %peer, stream = name, core = self.core, client, "publishing");
        }
        self.counts.publishers += 1;
        let publisher = KnownPublisher { peer, client: connection.client.clone() };
        self.shared.publisher_came(id, publisher);
        if !was_publishing {
            self.publishers.push((key, id));
        }
        self.answer_publish(key, message_stream_id, Answer::Allow);
        self.shared.notify(|| {
            let client = self.connections[key].client.clone();
            RelayEvent::Publishing { id, peer, client, stream: name }
        });
        Ok(())
    }

    /// The name has another publisher.
    fn refuse_taken_name(&mut self, key: usize, message_stream_id: MessageStreamId) {
        let connection = &mut self.connections[key];
        let (id, peer) = (connection.id, connection.peer);
        let Some(publishing) = connection.publishing_on(message_stream_id) else { return };
        let name = publishing.name.to_string();
        if self.shared.may_log(LineKind::PublishRefused, peer, self.now.ms) {
            let client = connection.client.as_deref();
            tracing::info!(id, %peer, stream = name, client, "publisher refused: name in use");
        }
        let description = format!("{name} is being published by another client.");
        self.refuse_publish(key, message_stream_id, "NetStream.Publish.BadName", description);
    }

    /// The name is free, and there is no room for another stream.
    fn deny_publisher(&mut self, key: usize, message_stream_id: MessageStreamId, refused: PublishError) {
        let (refusal, description) = match refused {
            PublishError::Streams => (Refusal::Streams, "This server has as many streams as it may have."),
            _ => (Refusal::Memory, "This server has no memory left for another stream."),
        };
        let Connection { id, peer, .. } = self.connections[key];
        self.refuse_publish(key, message_stream_id, "NetStream.Publish.Denied", description.to_owned());
        self.shared.refused(refusal, id, peer, self.now.ms);
    }

    /// What the connection asked to publish it does not get to.
    pub(super) fn refuse_publish(
        &mut self,
        key: usize,
        message_stream_id: MessageStreamId,
        code: &str,
        description: String,
    ) {
        self.answer_publish(key, message_stream_id, Answer::Deny { code: code.to_owned(), description });
        self.connections[key].take_publishing(message_stream_id);
    }

    fn answer_publish(&mut self, key: usize, message_stream_id: MessageStreamId, answer: Answer) {
        let connection = &mut self.connections[key];
        let asked = connection.asked.take_if(|asked| asked.publishes_on(message_stream_id));
        if let Some(OpenQuestion { question, renamed, .. }) = asked.map(|asked| *asked) {
            let answer = match (answer, renamed) {
                (Answer::Allow, Some(name)) => Answer::AllowAs(name),
                (answer, _) => answer,
            };
            connection.session.answer(question, answer);
        }
    }

    /// Other publishers take names over. One that is only closed would come back and take its name over in its turn,
    /// so it is notified. What else the connection does goes on.
    pub(super) fn give_way(&mut self, key: usize) {
        let connection = &self.connections[key];
        let is_wanted = |it: &&Publishing| it.publication().is_some_and(|it| it.is_wanted());
        // The name that was asked for may be free by now, and what is published here another one.
        let wanted: Vec<_> =
            connection.publishing.iter().filter(is_wanted).map(|it| it.message_stream_id).collect();
        for message_stream_id in wanted {
            let (code, description) = ("NetStream.Publish.BadName", "Another client took the stream over.");
            self.end_publication(key, message_stream_id, code, description, ReasonKind::TakenOver.into());
        }
        self.poll_session(key);
    }

    /// The publisher that was asked to go has gone, or it is time to give up.
    pub(super) fn take_freed_name(&mut self, key: usize) {
        if let Some((message_stream_id, _)) = self.waiting_for_name(key) {
            match self.try_publish(key, message_stream_id) {
                Ok(()) => {}
                Err(PublishError::Busy { .. }) => self.refuse_taken_name(key, message_stream_id),
                Err(refused) => self.deny_publisher(key, message_stream_id, refused),
            }
            self.poll_session(key);
            self.receive(key);
        }
    }

    /// Gives up where the publisher that was asked to go has not gone in time. If it has, and the notice went to another
    /// one that waited and is gone, the name is free.
    pub(super) fn check_hand_over(&mut self, key: usize) {
        let Some((_, since_ms)) = self.waiting_for_name(key) else { return };
        if self.now.patient_ms - since_ms >= HAND_OVER_MS {
            self.take_freed_name(key);
        }
    }

    /// The stream that waits for its name, and since when, by the core's patient clock. There is at most one, for nothing
    /// is read meanwhile.
    fn waiting_for_name(&self, key: usize) -> Option<(MessageStreamId, u64)> {
        let connection = &self.connections[key];
        connection.publishing.iter().filter(|_| !connection.is_closing()).find_map(|it| match it.state {
            PublishState::WaitingForName { since_ms } => Some((it.message_stream_id, since_ms)),
            PublishState::Asking | PublishState::Live(_) => None,
        })
    }

    /// The connection publishes this stream no longer, or asks for it no longer.
    pub(super) fn unpublish(&mut self, key: usize, message_stream_id: MessageStreamId, reason: Reason) {
        let now_ms = self.now.ms;
        let connection = &mut self.connections[key];
        connection.asked.take_if(|asked| asked.publishes_on(message_stream_id));
        let Some(publishing) = connection.take_publishing(message_stream_id) else { return };
        connection.idle_since_ms = self.now.patient_ms;
        let Publishing { name, permit, since_ms, frames, timestamp_ms, bytes, state, .. } = publishing;
        // One that never began is not told to have ended, whatever the service has said: one that goes by names would
        // take the publisher that has the name for gone.
        let PublishState::Live(mut publication) = state else { return };
        publication.tick(now_ms);
        let (id, peer, stream) = (connection.id, connection.peer, name.to_string());
        // A publisher that sent nothing has shown no stream to wait for.
        if frames > 0 {
            let grace_ms = millis(self.shared.config().publish.publisher_grace);
            self.shared.vacated.note(&stream, grace_ms, now_ms);
        }
        drop(publication);
        if !connection.is_publishing() {
            self.shared.publisher_went(id);
        }
        self.counts.publishers -= 1;
        let duration_ms = now_ms - since_ms;
        if self.shared.may_log(LineKind::PublishEnded, peer, now_ms) {
            let (label, detail) = (reason.kind.label(), reason.detail());
            tracing::info!(id, %peer, stream, reason = label, detail, received_bytes = bytes, received_frames = frames, duration_ms, "publish ended");
        }
        self.tell(NoticeKind::Unpublished, &permit, || Progress {
            name: stream.clone(),
            sent_bytes: 0,
            received_bytes: bytes,
            duration_ms,
            timestamp_ms,
            reason: reason.kind.label(),
        });
        self.shared.notify(|| {
            let client = self.connections[key].client.clone();
            RelayEvent::PublishEnded { id, peer, client, stream, reason, duration_ms }
        });
    }

    /// How other cores name this connection.
    pub(super) fn connection_id(&self, key: usize) -> ConnectionRef {
        ConnectionRef { core: self.core, key, connection_id: self.connections[key].id }
    }
}
