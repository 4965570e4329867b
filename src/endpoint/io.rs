//! What an endpoint asks of the world: a few operations on a socket, answers from elsewhere, the time. What completes
//! comes back as calls of [`Endpoint`](super::Endpoint).

use std::io;

use super::transport::SendBuffer;
use crate::access::Question;
use crate::rtmp::session::QuestionId;
use crate::stream::ConnectionRef;

/// The sockets of one core. An implementation must call back once for each operation, in any order, whatever happened to
/// the socket meanwhile.
pub trait Io {
    /// An open socket of a peer.
    type Socket;

    /// Sends these bytes: [`Endpoint::sent`](super::Endpoint::sent), which may have taken a part of them. At most one is
    /// under way per socket.
    fn send(&mut self, socket: &Self::Socket, key: usize, buffer: SendBuffer);

    /// Receives what has come, or will: [`Endpoint::received`](super::Endpoint::received). At most one is under way per
    /// socket. No memory is lent meanwhile.
    fn receive(&mut self, socket: &Self::Socket, key: usize, expected: Input);

    /// Waits until the peer has hung up, whatever it sent before: [`Endpoint::hung_up`](super::Endpoint::hung_up). At most
    /// one is under way per socket.
    fn await_hang_up(&mut self, socket: &Self::Socket, key: usize);

    /// Shuts one direction or both. False where the peer has reset the connection.
    fn shut(&mut self, socket: &Self::Socket, direction: Direction) -> bool;

    /// Bytes that the socket took and the peer has not acknowledged; none where that is not known.
    fn unacknowledged_bytes(&self, socket: &Self::Socket) -> Option<u32>;

    /// The connection is over, and nothing of it is under way.
    fn close(&mut self, socket: Self::Socket);

    /// Asks a service: [`Endpoint::deliver`](super::Endpoint::deliver) brings the verdict, late or never.
    fn ask(&mut self, asked: Asked, question: Question);

    /// The time at this very moment, microseconds since the relay started, monotonic: how long work has taken.
    fn now_us(&self) -> u64;
}

/// Names a question that waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The connection that asks.
    pub connection: ConnectionRef,
    /// The question.
    pub question: QuestionId,
}

/// What a peer is expected to send: says how much room it needs, and how soon it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A handshake, or a few commands.
    Commands,
    /// Frames of a stream that has readers.
    Media,
    /// Frames of a stream without readers: may be received some hundredths of a second later.
    UnreadMedia,
}

/// A direction of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the peer sends.
    Receive,
    /// What the peer is sent.
    Send,
    /// Both.
    Both,
}

/// Why a send or a receive failed.
#[derive(Debug)]
pub enum IoError {
    /// Nothing is wrong: try again.
    Interrupted,
    /// The system has no memory for it at the moment.
    Shortage,
    /// The connection is over.
    Broken(io::Error),
}
