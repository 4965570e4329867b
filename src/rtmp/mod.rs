//! RTMP without I/O.
pub mod chunk;
