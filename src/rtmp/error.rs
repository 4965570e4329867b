//! How a peer broke the protocol, and at which of its bytes: what a session and a client alike report.

use super::{aggregate, chunk, command, handshake, message};

/// A violation; the connection cannot go on. Whoever logs it knows the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {position}: {kind}")]
pub struct Error {
    /// Byte of the connection, handshake and all: where the wrong chunk is, or where the wrong message ends.
    pub position: u64,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What a peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// In the handshake.
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    /// In the chunk layer; its own position counts from the end of the handshake.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// In a control message.
    #[error(transparent)]
    Control(#[from] message::Truncated),
    /// In a command message.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// In an aggregate message.
    #[error(transparent)]
    Aggregate(#[from] aggregate::Error),
    /// A command that needs a connection, before `connect`.
    #[error("{0:?} before connect")]
    NotConnected(String),
    /// A second `connect`.
    #[error("a second connect")]
    ConnectedTwice,
    /// A client sends much without waiting for the answer to `connect`, `publish` or `play`.
    #[error("{0} bytes before its request was answered")]
    TooMuchHeld(usize),
}
