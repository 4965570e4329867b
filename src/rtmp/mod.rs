//! RTMP without I/O: bytes and time come in, bytes and events go out. No socket, clock, thread or channel.

#![forbid(unsafe_code)]
pub mod aggregate;
pub mod chunk;
pub mod client;
pub mod command;
pub mod error;
pub mod handshake;
mod link;
pub mod message;
pub mod name;
pub mod session;
