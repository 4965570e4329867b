//! How bytes reach a peer's socket. A *batch* is what a player is owed in bytes of its log; a *send buffer* is what the
//! socket takes. The two advance apart: [`SendProgress`] has both numbers.

use bytes::Bytes;

use super::protocol::Protocol;
use crate::fanout::Batch;

/// How bytes reach the sockets of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// As they are.
    Plain,
}

/// What is spoken on a listener, and how its bytes reach their sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// What is spoken.
    pub protocol: Protocol,
    /// How.
    pub transport: TransportKind,
}

/// How the bytes of one connection reach its socket, and what comes from it.
#[derive(Debug)]
pub(super) enum Transport {
    /// As they are.
    Plain,
}

/// What one send hands to the socket. A clone is the same bytes.
#[derive(Clone)]
pub enum SendBuffer {
    /// A batch as it is.
    Plain(Batch),
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendProgress {
    /// Bytes that the socket took.
    pub socket_bytes: usize,
    /// Bytes of the batch that the peer need not be sent again.
    pub log_bytes: usize,
    /// Whether that is the whole batch.
    pub is_whole: bool,
}

impl Spoken {
    /// RTMP without encryption.
    pub const RTMP: Self = Self { protocol: Protocol::Rtmp, transport: TransportKind::Plain };
}

impl Transport {
    pub(super) fn new(kind: TransportKind) -> Self {
        match kind {
            TransportKind::Plain => Self::Plain,
        }
    }

    /// Prepares a batch for the socket.
    pub(super) fn seal(&mut self, batch: Batch) -> SendBuffer {
        match self {
            Self::Plain => SendBuffer::Plain(batch),
        }
    }

    /// The socket has taken the first `socket_bytes` of this buffer.
    pub(super) fn sent(&mut self, buffer: &SendBuffer, socket_bytes: usize) -> SendProgress {
        match self {
            Self::Plain => SendProgress {
                socket_bytes,
                log_bytes: socket_bytes,
                is_whole: socket_bytes == buffer.bytes().len(),
            },
        }
    }

    /// What the peer's bytes mean to its session.
    pub(super) fn open(&mut self, bytes: Bytes) -> Bytes {
        match self {
            Self::Plain => bytes,
        }
    }
}

impl SendBuffer {
    /// The bytes. They stay where they are for as long as the buffer lives, wherever it is moved.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(batch) => batch.bytes(),
        }
    }

    /// Takes off the first `n` bytes, which have been sent.
    pub(super) fn advance(&mut self, n: usize) {
        match self {
            Self::Plain(batch) => batch.advance(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_transport_changes_no_byte_and_counts_both_alike() {
        let mut transport = Transport::new(TransportKind::Plain);
        let mut buffer = transport.seal(Batch::Own(Bytes::from_static(b"frame")));
        assert_eq!(buffer.bytes(), b"frame");
        let part = SendProgress { socket_bytes: 2, log_bytes: 2, is_whole: false };
        assert_eq!(transport.sent(&buffer, 2), part);
        buffer.advance(2);
        assert_eq!(buffer.bytes(), b"ame");
        assert!(transport.sent(&buffer, 3).is_whole);
        assert_eq!(&transport.open(Bytes::from_static(b"command"))[..], b"command");
    }
}
