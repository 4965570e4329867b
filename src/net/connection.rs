//! One connection as its core holds it: the socket, the session, what it does, and what waits to be sent.

use std::{
    fmt,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, RawFd},
};

use bytes::Bytes;
use tokio_uring::net::TcpStream;

use super::{
    buffers::Size,
    clock::Now,
    dialogue::{Dialogue, Violation},
    gate::Ticket,
    memory::Counted,
    queued::queued_bytes,
    report::{CoreReport, Role},
    share::Input,
};
use crate::{
    fanout::PlayerKey,
    rtmp::{
        name::StreamName,
        session::{MessageStreamId, QuestionId},
    },
    stream::Publication,
};

pub(super) struct Connection {
    /// Unique in the process; what log lines call it.
    pub id: u64,
    pub peer: SocketAddr,
    /// Its place among those that are let in.
    pub ticket: Ticket,
    socket: TcpStream,
    pub dialogue: Dialogue,
    pub input: Input,
    /// What it publishes, or asks to: several streams at most as a session allows, each on a number of its own.
    pub publishing: Vec<Publishing>,
    pub playing: Option<Playing>,
    /// The session's bytes that wait for a message boundary.
    pub outbox: Vec<u8>,
    /// Bytes of its own send that is under way.
    pub own_bytes: usize,
    /// What of it is in the account of memory.
    pub counted: Counted,
    pub sending: Sending,
    pub is_receiving: bool,
    /// Of which size the buffer is that it receives into.
    pub buffer_size: Size,
    /// The peer has closed its sending side, and is owed the rest all the same: nothing more is received.
    pub has_finished: bool,
    pub closing: Option<Closing>,
    pub opened_ms: u64,
    // These four are by the core's patient clock.
    /// Since when it has neither published nor played, if it does neither.
    pub idle_since_ms: u64,
    /// When the peer was last heard.
    pub heard_ms: u64,
    /// When the peer was last asked for a sign of life.
    pub pinged_ms: u64,
    /// When the peer's socket last took something, or was last given something while idle.
    pub progress_ms: u64,
    /// What the socket held unacknowledged when it was last asked, bytes.
    pub queued_bytes: Option<u32>,
    /// Where the window began in which a publisher's rate is measured, and what had come by then.
    pub rated_ms: u64,
    pub rated_bytes: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// One stream that the connection publishes, or waits to publish.
pub(super) struct Publishing {
    /// The number that it is published on.
    pub message_stream_id: MessageStreamId,
    pub question: QuestionId,
    pub name: StreamName,
    pub since_ms: u64,
    pub frames: u64,
    /// Bytes of its frames' payloads, and what of them had come when the connection's rate was last measured.
    pub bytes: u64,
    pub rated_bytes: u64,
    /// Since when it has waited for its name, by the core's patient clock.
    pub waiting_since_ms: u64,
    /// None while it waits for the name to be freed by a publisher that was asked to go.
    pub publication: Option<Publication>,
    /// When frames that wait for a picture have waited long enough, microseconds; what it says is of no use once they
    /// have gone with one.
    pub untold_until_us: u64,
}

/// What the connection plays.
pub(super) struct Playing {
    pub key: PlayerKey,
    pub name: Box<str>,
    pub since_ms: u64,
    pub bytes_out_before: u64,
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

/// A connection on its way out.
pub(super) struct Closing {
    pub reason: Reason,
    /// When this step began, by the core's patient clock.
    pub since_ms: u64,
    pub step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// What the session still has to say is being sent.
    Flushing,
    /// We have said our last; the peer may still be talking. Closing now would reset the connection, and the peer
    /// could lose what we said.
    Lingering,
    /// Both directions are shut: what is under way in the ring comes back, then the socket is closed.
    Shut,
}

/// Why a connection ended, as log lines say it.
#[derive(Debug)]
pub(super) enum Reason {
    PeerClosed,
    Socket(std::io::Error),
    Violation(Violation),
    Refused(String),
    SendTimeout,
    HandshakeTimeout,
    RequestTimeout,
    PublisherSilent,
    TooFast {
        sent_kbps: u64,
    },
    TooManyMessages {
        per_second: u64,
    },
    UnreadAnswers,
    StreamNotFound,
    Unpublished,
    OtherMedia,
    TakenOver,
    ShuttingDown,
    Kicked,
    /// Memory was short, and it held so much.
    OutOfMemory {
        bytes: usize,
    },
    /// Memory was short, and its message was so large.
    NoRoom {
        bytes: usize,
    },
}

impl Connection {
    pub(super) fn new(
        id: u64,
        socket: TcpStream,
        peer: SocketAddr,
        ticket: Ticket,
        dialogue: Dialogue,
        now: Now,
    ) -> Self {
        Self {
            id,
            peer,
            ticket,
            socket,
            dialogue,
            input: Input::default(),
            publishing: Vec::new(),
            playing: None,
            outbox: Vec::new(),
            own_bytes: 0,
            counted: Counted::default(),
            sending: Sending::No,
            is_receiving: false,
            buffer_size: Size::Small,
            has_finished: false,
            closing: None,
            opened_ms: now.ms,
            idle_since_ms: now.patient_ms,
            heard_ms: now.patient_ms,
            pinged_ms: now.patient_ms,
            progress_ms: now.patient_ms,
            queued_bytes: None,
            rated_ms: now.ms,
            rated_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(super) fn shut(&self, how: Shutdown) {
        // It fails only where the peer has already done it.
        let _ = self.socket.shutdown(how);
    }

    /// Why it ends where a send fails: the end of a peer that had closed its sending side was not of that side alone.
    pub(super) fn broken_by(&self, error: std::io::Error) -> Reason {
        if self.has_finished { Reason::PeerClosed } else { Reason::Socket(error) }
    }

    /// Whether a peer that has closed its sending side has gone altogether: it answered what it was sent, or a
    /// keep-alive probe, with a reset. There is nothing to read any more, so shutting the reading side only asks.
    pub(super) fn is_gone(&self) -> bool {
        self.has_finished && self.socket.shutdown(Shutdown::Read).is_err()
    }

    /// Whether it publishes, and so deserves a receive buffer of its own.
    pub(super) fn is_publishing(&self) -> bool {
        self.publishing.iter().any(|publishing| publishing.publication.is_some())
    }

    /// The streams that are its own by now.
    pub(super) fn publications(&mut self) -> impl Iterator<Item = &mut Publication> {
        self.publishing.iter_mut().filter_map(|publishing| publishing.publication.as_mut())
    }

    /// What it publishes, or asks to, on this number.
    pub(super) fn publishing_on(&mut self, message_stream_id: MessageStreamId) -> Option<&mut Publishing> {
        self.publishing.iter_mut().find(|it| it.message_stream_id == message_stream_id)
    }

    /// Takes from its streams the one on this number.
    pub(super) fn take_publishing(&mut self, message_stream_id: MessageStreamId) -> Option<Publishing> {
        let at = self.publishing.iter().position(|it| it.message_stream_id == message_stream_id)?;
        Some(self.publishing.remove(at))
    }

    /// Tells the peer that none of its streams is its own, or will be.
    pub(super) fn refuse_all(&mut self, code: &str, description: &str) {
        for publishing in &self.publishing {
            self.dialogue.refuse_publish(publishing.message_stream_id, code, description);
        }
    }

    pub(super) fn role(&self) -> Role {
        match (self.publishing.is_empty(), &self.playing) {
            (false, _) => Role::Publisher,
            (true, Some(_)) => Role::Player,
            (true, None) => Role::Idle,
        }
    }

    pub(super) fn step(&self) -> Option<Step> {
        self.closing.as_ref().map(|closing| closing.step)
    }

    /// A send has been under way since the last look: takes note of progress that its end does not show yet. A peer
    /// that reads slowly acknowledges a little all the time, while the socket has room again only now and then.
    pub(super) fn note_acknowledged(&mut self, patient_ms: u64) {
        let queued_bytes = queued_bytes(self.fd());
        if queued_bytes < self.queued_bytes {
            self.progress_ms = patient_ms;
        }
        self.queued_bytes = queued_bytes;
    }

    /// Whether the kernel holds nothing of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.step() == Some(Step::Shut) && self.sending == Sending::No && !self.is_receiving
    }

    /// Takes what waits in the outbox, to be sent.
    pub(super) fn take_outbox(&mut self) -> Bytes {
        std::mem::take(&mut self.outbox).into()
    }
}

impl Reason {
    /// Which count of [`CoreReport::ends`] it belongs to.
    pub(super) fn end_index(&self) -> usize {
        let label = match self {
            Reason::PeerClosed => "closed_by_peer",
            Reason::Socket(_) => "socket_error",
            Reason::Violation(_) => "protocol_violation",
            Reason::Refused(_) => "refused",
            Reason::SendTimeout => "send_timeout",
            Reason::HandshakeTimeout => "handshake_timeout",
            Reason::RequestTimeout => "request_timeout",
            Reason::PublisherSilent => "publisher_silence",
            Reason::TooFast { .. } => "publisher_rate",
            Reason::TooManyMessages { .. } => "message_rate",
            Reason::UnreadAnswers => "unread_answers",
            Reason::StreamNotFound => "stream_not_found",
            Reason::Unpublished => "unpublished",
            Reason::OtherMedia => "other_media",
            Reason::TakenOver => "taken_over",
            Reason::ShuttingDown => "shutting_down",
            Reason::Kicked => "kicked",
            Reason::OutOfMemory { .. } | Reason::NoRoom { .. } => "memory_budget",
        };
        CoreReport::ENDS.iter().position(|&it| it == label).expect("each reason is among the labels")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::PeerClosed => write!(f, "closed by peer"),
            Reason::Socket(error) => write!(f, "{error}"),
            Reason::Violation(error) => write!(f, "{error}"),
            Reason::Refused(code) => write!(f, "refused: {code}"),
            Reason::SendTimeout => write!(f, "its socket took nothing for send_timeout"),
            Reason::HandshakeTimeout => write!(f, "no handshake within limits.handshake_timeout"),
            Reason::RequestTimeout => {
                write!(f, "it neither published nor played within limits.request_timeout")
            }
            Reason::PublisherSilent => {
                write!(f, "it sent nothing for limits.publisher_timeout, not even an answer to a ping")
            }
            Reason::TooFast { sent_kbps } => {
                write!(f, "it published {sent_kbps} kbit/s, more than limits.publisher_kbps")
            }
            Reason::TooManyMessages { per_second } => {
                write!(
                    f,
                    "it sent {per_second} messages a second, more than it may (limits.messages_per_second)"
                )
            }
            Reason::UnreadAnswers => write!(f, "it asks for answers and does not read them"),
            Reason::StreamNotFound => write!(f, "nobody published the stream within play.wait_for_publisher"),
            Reason::Unpublished => write!(f, "the publisher did not come back within publisher_grace"),
            Reason::OtherMedia => {
                write!(f, "the publisher came back with other kinds of media, or time begins anew")
            }
            Reason::TakenOver => write!(f, "another publisher took the stream over"),
            Reason::ShuttingDown => write!(f, "the relay is shutting down"),
            Reason::Kicked => write!(f, "ended by the operator"),
            Reason::OutOfMemory { bytes } => {
                write!(f, "limits.memory_budget was exceeded, and it held {bytes} bytes beyond its share")
            }
            Reason::NoRoom { bytes } => {
                write!(f, "limits.memory_budget leaves its stream no room for a message of {bytes} bytes")
            }
        }
    }
}
