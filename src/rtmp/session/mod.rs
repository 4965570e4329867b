//! The server's end of one connection: bytes and time come in; bytes to send, requests and frames go out.
//!
//! ```text
//! handshake ─► Connect(request) ─ answer ─┬─► Publish(request) ─ answer ─► Frame, Frame, … ─► Unpublish ─┐
//!                                         ├─► Play(request) ──── answer ─► Pause, … ────────► StopPlay ──┤
//!                                         └──────────────────────────────────────────────────────────────┘
//! ```
//! `connect`, `publish` and `play` are numbered questions to the caller. One is open at a time: until its answer comes,
//! at once or much later, no further message is read. An answer to a question that is not open changes nothing.
//!
//! Each `createStream` creates a message stream, and each message stream may publish a stream of its own. The session
//! sends no media to players: the caller inserts it between the session's messages, from a log whose bytes are the same
//! for all players. It is therefore always on message stream 1, the first that a client gets; a client that plays on
//! another message stream gets its answers there. Clients that publish and play on one connection ignore the message
//! stream of media.
//!
//! [`Session::poll`] reads the next message once all outputs of the one before have been taken.

mod aggregate;
mod connect;
mod core;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod media;
mod memory;
mod output;
mod pending_question;
mod play;
mod publish;
mod question;
mod streams;
mod welcome;

pub use connect::{CAN_DECODE, CAN_ENCODE, CAN_FORWARD, Connect, Enhanced};
pub use core::{Session, SessionConfig};
pub use output::{CloseReason, Output};
pub use question::{Answer, ConnectRequest, PlayRequest, PublishRequest, QuestionId};
pub use streams::{MAX_CREATED_STREAMS, MAX_PUBLICATIONS, MessageStreamId};

#[cfg(test)]
mod beyond_4_gib;
#[cfg(test)]
mod tests;
