//! Why a connection, a publish or a play ended: one list. Its labels are the `reason` of metrics, events and log lines;
//! the text, which may contain more, is their `detail`.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::session::Violation;

/// Why a connection, or what it did, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What metrics count it as.
    pub kind: ReasonKind,
    text: Cow<'static, str>,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $kind:ident = $label:literal, $text:literal;)*) => {
        /// The kinds of reasons.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ReasonKind { $($(#[$doc])* $kind,)* }

        impl ReasonKind {
            /// Each of them, in the order of [`ReasonKind::index`].
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$kind),*];

            /// Its label in metrics, in the API and in the log.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$kind => $label,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$kind => $text,)* }
            }
        }
    };
}

reasons! {
    /// The peer closed the connection.
    PeerClosed = "closed_by_peer", "closed by peer";
    /// The socket failed.
    Socket = "socket_error", "socket error";
    /// The peer stopped to publish or to play; its connection goes on.
    Stopped = "stopped_by_peer", "stopped by peer";
    /// The peer broke its protocol.
    Violation = "protocol_violation", "protocol violation";
    /// What the peer asked for was refused.
    Refused = "refused", "refused";
    /// The peer's socket took nothing for `play.send_timeout`.
    SendTimeout = "send_timeout", "send timeout (play.send_timeout)";
    /// The handshake took too long.
    HandshakeTimeout = "handshake_timeout", "handshake timeout (limits.handshake_timeout)";
    /// The peer neither published nor played in time.
    RequestTimeout = "request_timeout", "neither published nor played within limits.request_timeout";
    /// The publisher sent nothing, and answered no ping.
    PublisherTimeout = "publisher_timeout", "publisher timeout: no data and no answer to pings (limits.publisher_timeout)";
    /// The publisher sent more than it may.
    PublisherRate = "publisher_rate", "bit rate above limits.publisher_kbps";
    /// The peer sent more messages than it may.
    MessageRate = "message_rate", "message rate above limits.messages_per_second";
    /// The peer asks for answers and does not read them.
    UnreadAnswers = "unread_answers", "answers not read";
    /// No publisher came in time.
    StreamNotFound = "stream_not_found", "stream not published within play.wait_for_publisher";
    /// The publisher did not come back in time.
    Unpublished = "unpublished", "publisher did not come back within publish.publisher_grace";
    /// The stream's media changed.
    OtherMedia = "other_media", "publisher came back with other media, or its timestamps started over";
    /// Another publisher has the name.
    TakenOver = "taken_over", "another publisher took over the name";
    /// The relay ends.
    ShuttingDown = "shutting_down", "the relay is shutting down";
    /// The operator ended it.
    Kicked = "kicked", "ended by the operator";
    /// The right to do it has ended: that of a link, a token, a rule or the service.
    Expired = "expired", "session expired";
    /// Memory was short.
    MemoryBudget = "memory_budget", "limits.memory_budget exceeded";
}

impl ReasonKind {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// A place in tables by kind.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Reason {
    pub(super) fn with(kind: ReasonKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(super) fn peer_closed() -> Self {
        ReasonKind::PeerClosed.into()
    }

    pub(super) fn socket(error: &std::io::Error) -> Self {
        Self::with(ReasonKind::Socket, error.to_string())
    }

    pub(super) fn violation(violation: &Violation) -> Self {
        Self::with(ReasonKind::Violation, violation.to_string())
    }

    pub(super) fn refused(why: &str) -> Self {
        Self::with(ReasonKind::Refused, format!("refused: {why}"))
    }
}

impl Reason {
    /// The text, if it contains more than the label.
    pub(super) fn detail(&self) -> Option<&str> {
        let is_label = |text: &str| {
            text.bytes().map(|byte| if byte == b' ' { b'_' } else { byte }).eq(self.kind.label().bytes())
        };
        Some(&*self.text).filter(|text| !is_label(text))
    }
}

/// As fields of an event.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Reason", 2)?;
        fields.serialize_field("reason", self.kind.label())?;
        fields.serialize_field("detail", &self.text)?;
        fields.end()
    }
}

impl From<ReasonKind> for Reason {
    fn from(kind: ReasonKind) -> Self {
        Self::with(kind, kind.text())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_text_is_a_detail_if_it_contains_more_than_the_label() {
        assert_eq!(Reason::peer_closed().detail(), None);
        assert_eq!(Reason::from(ReasonKind::Kicked).detail(), Some("ended by the operator"));
        assert_eq!(Reason::refused("no such app").detail(), Some("refused: no such app"));
    }

    #[test]
    fn each_reason_has_a_label_of_its_own_at_its_index() {
        let labels: HashSet<_> = ReasonKind::ALL.iter().map(|kind| kind.label()).collect();
        assert_eq!(labels.len(), ReasonKind::COUNT);
        for (index, kind) in ReasonKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert_eq!(Reason::from(kind).to_string(), kind.text());
        }
    }
}
