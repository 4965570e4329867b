//! One connection as its core holds it: the socket, what is spoken on it, what it does, and what waits to be sent.

use bytes::Bytes;
use std::{io::ErrorKind, net::SocketAddr, sync::Arc};

use super::{
    admission::Ticket,
    backlog::Input,
    client_name::ClientName,
    clock::Now,
    io::{Direction, Io},
    memory::CountedBytes,
    permit::{Permit, party_bytes},
    proxy_header::HeaderReader,
    reason::Reason,
    report::ConnectionRole,
    session::PeerSession,
    transport::Transport,
};
use crate::{
    access::{Grant, Party, Question},
    fanout::PlayerKey,
    rtmp::{
        name::StreamName,
        session::{MessageStreamId, PlayRequest, QuestionId},
    },
    stream::Publication,
};

pub(super) struct Connection<S> {
    /// Unique in the process; what log lines name it by.
    pub id: u64,
    pub peer: SocketAddr,
    /// As the peer says.
    pub client: Option<ClientName>,
    /// What it said of itself when it connected; none before, and none over HTTP.
    pub party: Option<Arc<Party>>,
    /// What it keeps of the decision that let it connect.
    pub permit: Option<Box<Permit>>,
    /// Its place among those that were admitted.
    pub ticket: Ticket,
    pub socket: S,
    /// What a proxy says first; none where nothing is expected, or once it has come.
    pub proxy_header: Option<HeaderReader>,
    pub transport: Transport,
    pub session: PeerSession,
    pub input: Input,
    /// What it publishes, or asks to: at most as many streams as a session allows, each on a message stream of its own.
    pub publishing: Vec<Publishing>,
    pub playing: Option<Playing>,
    /// What its session has asked and was not answered: one at most, for nothing is read meanwhile.
    pub asked: Option<Box<OpenQuestion>>,
    /// The session's bytes that wait for a message boundary.
    pub outbox: Vec<u8>,
    /// Bytes of its own send that is under way.
    pub own_bytes: usize,
    /// What of it is in the memory account.
    pub counted: CountedBytes,
    pub sending: Sending,
    pub is_receiving: bool,
    /// Its hang-up is waited for: completes once, at its end at the latest.
    pub is_watched: bool,
    /// It plays, or has played.
    pub has_played: bool,
    /// It publishes, or has published.
    pub has_published: bool,
    /// The peer has closed its sending side, and is owed the rest all the same: nothing more is received.
    pub has_finished: bool,
    /// The peer has announced its end over TLS: the connection ends once all that came before has been worked off.
    pub has_said_end: bool,
    pub phase: Phase,
    /// When a closing phase began, by the core's patient clock.
    pub phase_since_ms: u64,
    /// Why it ends; none before it does.
    pub reason: Option<Reason>,
    pub opened_ms: u64,
    // These four are by the core's patient clock.
    /// Since when it has neither published nor played, if it does neither.
    pub idle_since_ms: u64,
    /// When the peer was last heard.
    pub heard_ms: u64,
    /// When the peer was last pinged.
    pub pinged_ms: u64,
    /// When the peer's socket last took something, or was last given something while idle.
    pub progress_ms: u64,
    /// What the socket held unacknowledged when it was last asked, bytes.
    pub unacknowledged_bytes: Option<u32>,
    /// Where the window began in which a publisher's rate is measured, and what had come by then.
    pub rated_ms: u64,
    pub rated_bytes: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// How far a connection has come. What it does while it is open is in `publishing` and `playing`: it may do both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The handshake is not over.
    Handshake,
    /// It may ask, publish and play.
    Open,
    /// What the session still has to send is being sent.
    Flushing,
    /// The relay has sent its last; the peer may still be sending. Closing now would reset the connection, and the peer
    /// could lose what was sent.
    Lingering,
    /// Both directions are shut: what is under way comes back, then the socket is closed.
    Shut,
}

/// One stream that the connection publishes, or asks to.
pub(super) struct Publishing {
    /// The message stream that it is published on.
    pub message_stream_id: MessageStreamId,
    pub name: StreamName,
    pub permit: Option<Box<Permit>>,
    pub since_ms: u64,
    pub frames: u64,
    /// Of the newest frame, as the publisher counts.
    pub timestamp_ms: u32,
    /// Bytes of its frames' payloads, and what of them had come when the connection's rate was last measured.
    pub bytes: u64,
    pub rated_bytes: u64,
    pub state: PublishState,
    /// When frames that wait for another one have waited long enough, and since when the first one waits, microseconds;
    /// of no meaning once they have gone with one.
    pub notify_at_us: u64,
    pub waiting_since_us: u64,
}

/// How far a publish has come.
pub(super) enum PublishState {
    /// Whether it may is being decided.
    Asking,
    /// It may, and waits for the publisher before it to let go of the name.
    WaitingForName {
        /// By the core's patient clock.
        since_ms: u64,
    },
    /// The name is its own.
    Live(Publication),
}

/// What the connection plays.
pub(super) struct Playing {
    pub key: PlayerKey,
    pub name: Box<str>,
    pub permit: Option<Box<Permit>>,
    pub since_ms: u64,
    pub bytes_out_before: u64,
}

/// A question of the connection's session.
pub(super) struct OpenQuestion {
    pub question: QuestionId,
    pub about: About,
    /// Since when a service has been asked, by the core's patient clock; none once it is decided.
    pub asked_since_ms: Option<u64>,
    /// The stream's name is another one than the peer asked for.
    pub renamed: Option<StreamName>,
    /// When it was asked, by the relay's clock, and what the rules granted then, in case a service agrees.
    pub asked_ms: u64,
    pub granted: Grant,
    /// The question, if a service is told of the session that it begins.
    pub told: Option<Question>,
}

/// What a question is about.
pub(super) enum About {
    Connect,
    Publish(MessageStreamId),
    Play(PlayRequest),
}

/// The one send that may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    No,
    /// Bytes of the session, or of a stream that the connection no longer plays: whole messages either way, and sent
    /// to their end.
    Own,
    /// Bytes of the player's stream.
    Media,
}

impl<S> Connection<S> {
    pub(super) fn new(
        socket: S,
        peer: SocketAddr,
        ticket: Ticket,
        session: PeerSession,
        transport: Transport,
        now: Now,
    ) -> Self {
        let phase = if session.is_handshake_done() { Phase::Open } else { Phase::Handshake };
        Self {
            id: ticket.id(),
            peer,
            client: None,
            party: None,
            permit: None,
            ticket,
            socket,
            proxy_header: None,
            transport,
            session,
            input: Input::default(),
            publishing: Vec::new(),
            playing: None,
            asked: None,
            outbox: Vec::new(),
            own_bytes: 0,
            counted: CountedBytes::default(),
            sending: Sending::No,
            is_receiving: false,
            is_watched: false,
            has_played: false,
            has_published: false,
            has_finished: false,
            has_said_end: false,
            phase,
            phase_since_ms: now.patient_ms,
            reason: None,
            opened_ms: now.ms,
            idle_since_ms: now.patient_ms,
            heard_ms: now.patient_ms,
            pinged_ms: now.patient_ms,
            progress_ms: now.patient_ms,
            unacknowledged_bytes: None,
            rated_ms: now.ms,
            rated_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Whether it is on its way out.
    pub(super) fn is_closing(&self) -> bool {
        self.phase >= Phase::Flushing
    }

    /// Why it ends where its socket fails. The end of a peer that had closed its sending side was not of that side alone.
    /// A peer that closes while data is in its socket resets the connection: mpv, ffplay and VLC leave like this, and
    /// encoders once they have stopped to publish.
    pub(super) fn broken_by(&self, error: &std::io::Error) -> Reason {
        let is_reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        let is_done = self.has_played || self.has_published && self.publishing.is_empty();
        if self.has_finished || is_done && is_reset { Reason::peer_closed() } else { Reason::socket(error) }
    }

    /// Whether a peer that has closed its sending side has gone altogether: it answered what it was sent, or a
    /// keep-alive probe, with a reset. There is nothing to read any more, so shutting the reading side only asks.
    pub(super) fn is_gone<I: Io<Socket = S>>(&self, io: &mut I) -> bool {
        self.has_finished && !io.shut(&self.socket, Direction::Receive)
    }

    /// Whether it publishes, and so deserves a receive buffer of its own.
    pub(super) fn is_publishing(&self) -> bool {
        self.publishing.iter().any(|publishing| publishing.publication().is_some())
    }

    /// The streams that are its own by now.
    pub(super) fn publications(&mut self) -> impl Iterator<Item = &mut Publication> {
        self.publishing.iter_mut().filter_map(Publishing::publication_mut)
    }

    /// What it publishes, or asks to, on this message stream.
    pub(super) fn publishing_on(&mut self, message_stream_id: MessageStreamId) -> Option<&mut Publishing> {
        self.publishing.iter_mut().find(|it| it.message_stream_id == message_stream_id)
    }

    /// Takes from its streams the one on this message stream.
    pub(super) fn take_publishing(&mut self, message_stream_id: MessageStreamId) -> Option<Publishing> {
        let at = self.publishing.iter().position(|it| it.message_stream_id == message_stream_id)?;
        Some(self.publishing.remove(at))
    }

    /// Notifies the peer that none of its streams is its own any longer, or will be.
    pub(super) fn refuse_all(&mut self, code: &str, description: &str) {
        for publishing in &self.publishing {
            self.session.end_publish(publishing.message_stream_id, code, description);
        }
    }

    /// What it does. A publish that is still being decided makes no publisher.
    pub(super) fn role(&self) -> ConnectionRole {
        match (self.publishing.iter().any(Publishing::is_allowed), &self.playing) {
            (true, _) => ConnectionRole::Publisher,
            (false, Some(_)) => ConnectionRole::Player,
            (false, None) => ConnectionRole::Idle,
        }
    }

    /// A send has been under way since the last check: takes note of progress that its end does not show yet. A peer
    /// that reads slowly acknowledges a little all the time, while the socket has room again only rarely.
    pub(super) fn note_acknowledged<I: Io<Socket = S>>(&mut self, io: &I, patient_ms: u64) {
        let unacknowledged_bytes = io.unacknowledged_bytes(&self.socket);
        if unacknowledged_bytes < self.unacknowledged_bytes {
            self.progress_ms = patient_ms;
        }
        self.unacknowledged_bytes = unacknowledged_bytes;
    }

    /// Whether nothing of it is under way any more.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Shut && self.sending == Sending::No && !self.is_receiving && !self.is_watched
    }

    /// Takes what waits in the outbox, to be sent.
    pub(super) fn take_outbox(&mut self) -> Bytes {
        std::mem::take(&mut self.outbox).into()
    }

    /// Takes over what the session has to send.
    pub(super) fn collect_out(&mut self) {
        while let Some(bytes) = self.session.take_unsent() {
            self.outbox.extend_from_slice(&bytes);
        }
    }

    /// Memory of what the peer has sent and of what was decided on it, bytes.
    pub(super) fn input_bytes(&self) -> usize {
        let permits = [&self.permit, self.playing.as_ref().map_or(&None, |it| &it.permit)];
        let permits = permits.into_iter().chain(self.publishing.iter().map(|it| &it.permit)).flatten();
        self.session.memory_bytes()
            + self.transport.memory_bytes()
            + self.party.as_ref().map_or(0, |party| party_bytes(party))
            + permits.map(|permit| permit.memory_bytes()).sum::<usize>()
    }

    /// Bytes that wait for this peer alone to read them.
    pub(super) fn output_bytes(&self) -> usize {
        self.outbox.capacity() + self.own_bytes
    }
}

impl Publishing {
    /// Whether it may: it has its name, or waits for it.
    pub(super) fn is_allowed(&self) -> bool {
        !matches!(self.state, PublishState::Asking)
    }

    pub(super) fn publication(&self) -> Option<&Publication> {
        match &self.state {
            PublishState::Live(publication) => Some(publication),
            PublishState::Asking | PublishState::WaitingForName { .. } => None,
        }
    }

    pub(super) fn publication_mut(&mut self) -> Option<&mut Publication> {
        match &mut self.state {
            PublishState::Live(publication) => Some(publication),
            PublishState::Asking | PublishState::WaitingForName { .. } => None,
        }
    }
}

impl OpenQuestion {
    /// Whether it asks to publish on this message stream.
    pub(super) fn publishes_on(&self, message_stream_id: MessageStreamId) -> bool {
        matches!(self.about, About::Publish(id) if id == message_stream_id)
    }
}
