//! Protocol violations and their byte positions, for the server's session and the client.

use super::{aggregate, chunk, command, handshake, message};

/// A protocol violation of the peer. The connection cannot continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {position}: {kind}")]
pub struct Error {
    /// Byte of the connection, counted from the start of the handshake: where the wrong chunk begins, or where the wrong
    /// message ends.
    pub position: u64,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// The kinds of violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// In the handshake.
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    /// In the chunk layer. Its own position counts from the end of the handshake.
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
    /// Another command before `connect`; the start of its name.
    #[error("{0:?} before connect")]
    NotConnected(String),
    /// A second `connect`.
    #[error("a second connect")]
    ConnectedTwice,
    /// More than 8 MiB while a `connect`, `publish` or `play` waits for its answer.
    #[error("{0} bytes before the answer to connect, publish or play")]
    TooMuchPending(usize),
}
