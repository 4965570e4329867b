//! RTMP without I/O.
pub mod chunk;
pub mod handshake;
