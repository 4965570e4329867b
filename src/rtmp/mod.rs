//! RTMP without I/O: bytes and time come in, bytes and events go out. No socket, clock, thread or channel.
pub mod chunk;
pub mod client;
pub mod command;
pub mod handshake;
pub mod message;
pub mod name;
pub mod session;
