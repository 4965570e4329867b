//! How bytes reach a peer's socket. A *batch* is what a player is owed in bytes of its log; a *send buffer* is what the
//! socket takes. The two advance apart: [`SendProgress`] has both numbers.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Buf, Bytes};
use rustls::ServerConfig;

use super::{
    handshakes::HandshakeResult,
    protocol::Protocol,
    sealed::Pool,
    tls::{Opened, Tls, TlsError},
};
use crate::fanout::Batch;

/// How bytes reach the sockets of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// As they are.
    Plain,
    /// Encrypted.
    Tls,
}

/// What is spoken on a listener, and how its bytes reach their sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// What is spoken.
    pub protocol: Protocol,
    /// How.
    pub transport: TransportKind,
    /// The address of the listener: whether a PROXY header comes first depends on it. If none, none does.
    pub listener: Option<SocketAddr>,
}

/// How the bytes of one connection reach its socket, and what comes from it.
#[derive(Debug)]
pub enum Transport {
    /// As they are.
    Plain,
    /// Encrypted.
    Tls(Box<Tls>),
}

/// What one send hands to the socket. A clone is the same bytes.
#[derive(Clone)]
pub enum SendBuffer {
    /// A batch as it is.
    Plain(Batch),
    /// The beginning of a batch, encrypted.
    Sealed(Sealed),
}

/// The beginning of a batch, encrypted.
#[derive(Clone)]
pub struct Sealed {
    bytes: Bytes,
    /// Bytes of the batch that are in it.
    log_bytes: usize,
    /// What follows in the batch.
    rest: Batch,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendProgress {
    /// Bytes of the batch that the peer need not be sent again.
    pub log_bytes: usize,
    /// Whether that is the whole batch.
    pub is_whole: bool,
    /// The rest of the buffer must be sent, whatever the peer is sent after it: a record cannot be cut.
    pub is_cut: bool,
}

impl Spoken {
    /// RTMP without encryption.
    pub const RTMP: Self = Self { protocol: Protocol::Rtmp, transport: TransportKind::Plain, listener: None };
    /// RTMPS: RTMP over TLS.
    pub const RTMPS: Self = Self { protocol: Protocol::Rtmp, transport: TransportKind::Tls, listener: None };

    /// The same on a listener at this address.
    #[must_use]
    pub const fn at(self, listener: SocketAddr) -> Self {
        Self { listener: Some(listener), ..self }
    }
}

impl Transport {
    /// For a connection that begins; with the certificates in force where it is encrypted.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn tls(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self::Tls(Box::new(Tls::new(config)?)))
    }

    /// Prepares a batch for the socket.
    ///
    /// # Errors
    /// It cannot be encrypted.
    pub(super) fn seal(&mut self, batch: Batch, pool: &Pool) -> Result<SendBuffer, TlsError> {
        let Self::Tls(tls) = self else { return Ok(SendBuffer::Plain(batch)) };
        let mut rest = batch;
        let log_bytes = tls.record_bytes(rest.bytes().len());
        let bytes = tls.seal(&rest.bytes()[..log_bytes], pool)?;
        rest.advance(log_bytes);
        Ok(SendBuffer::Sealed(Sealed { bytes, log_bytes, rest }))
    }

    /// What the peer's bytes mean to its session.
    ///
    /// # Errors
    /// They are no bytes of TLS.
    pub(super) fn open(&mut self, bytes: Bytes) -> Result<Opened, TlsError> {
        match self {
            Self::Plain => Ok(Opened { plain: bytes, has_ended: false }),
            Self::Tls(tls) => tls.open(&bytes),
        }
    }

    /// Whether what comes is a handshake, which costs much.
    pub(super) fn is_shaking_hands(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_shaking_hands())
    }

    /// How the handshake ended, once.
    pub(super) fn take_handshake(&mut self) -> Option<HandshakeResult> {
        match self {
            Self::Plain => None,
            Self::Tls(tls) => tls.take_handshake(),
        }
    }

    /// Whether a batch can be sent by now.
    pub(super) fn may_seal(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(tls) => tls.may_seal(),
        }
    }

    /// The transport's own bytes, to be sent as they are, before anything else.
    pub(super) fn take_replies(&mut self) -> Option<SendBuffer> {
        match self {
            Self::Tls(tls) if tls.has_replies() => Some(SendBuffer::Plain(Batch::Own(tls.take_replies()))),
            Self::Plain | Self::Tls(_) => None,
        }
    }

    /// Nothing more will be sealed. True if the peer is to be told so, by [`Transport::take_replies`].
    pub(super) fn close(&mut self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls(tls) => {
                tls.close();
                tls.has_replies()
            }
        }
    }

    /// Memory, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Tls(tls) => tls.memory_bytes(),
        }
    }
}

impl SendBuffer {
    /// The bytes. They stay where they are for as long as the buffer lives, wherever it is moved.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(batch) => batch.bytes(),
            Self::Sealed(sealed) => &sealed.bytes,
        }
    }

    /// The socket has taken the first `socket_bytes` of it: what that means for the batch.
    pub(super) fn progress(&self, socket_bytes: usize) -> SendProgress {
        let is_all = socket_bytes == self.bytes().len();
        match self {
            Self::Plain(_) => SendProgress { log_bytes: socket_bytes, is_whole: is_all, is_cut: false },
            Self::Sealed(Sealed { log_bytes, rest, .. }) => SendProgress {
                log_bytes: *log_bytes,
                is_whole: is_all && rest.bytes().is_empty(),
                is_cut: !is_all,
            },
        }
    }

    /// Takes off the first `n` bytes, which have been sent.
    pub(super) fn advance(&mut self, n: usize) {
        match self {
            Self::Plain(batch) => batch.advance(n),
            Self::Sealed(sealed) => sealed.bytes.advance(n),
        }
    }

    /// Bytes that are to be sent, and those that follow in the batch.
    pub(super) fn left_bytes(&self) -> usize {
        match self {
            Self::Plain(batch) => batch.bytes().len(),
            Self::Sealed(sealed) => sealed.bytes.len() + sealed.rest.bytes().len(),
        }
    }

    /// What follows in the batch, where the beginning has been sent.
    pub(super) fn into_rest(self) -> Option<Batch> {
        match self {
            Self::Plain(_) => None,
            Self::Sealed(sealed) => Some(sealed.rest).filter(|rest| !rest.bytes().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_transport_changes_no_byte_and_counts_both_alike() {
        let (mut transport, pool) = (Transport::Plain, Pool::default());
        let mut buffer = transport.seal(Batch::Own(Bytes::from_static(b"frame")), &pool).unwrap();
        assert_eq!(buffer.bytes(), b"frame");
        let part = SendProgress { log_bytes: 2, is_whole: false, is_cut: false };
        assert_eq!(buffer.progress(2), part);
        buffer.advance(2);
        assert_eq!(buffer.bytes(), b"ame");
        assert!(buffer.progress(3).is_whole);
        assert_eq!(&transport.open(Bytes::from_static(b"command")).unwrap().plain[..], b"command");
    }
}
