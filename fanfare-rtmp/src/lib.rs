#![doc = include_str!("../README.md")]
//!
//! # Modules
//! - [`rtmp::session`] is the server's end of a connection, [`rtmp::client`] the client's.
//! - [`rtmp::chunk`], [`rtmp::handshake`], [`rtmp::message`], [`rtmp::command`] are the layers below them.
//! - [`flv`] has [`flv::Frame`], the audio, video or data message that everything else takes and gives, and reads the headers
//!   of its payload. [`flv::WireFormat`] is a way to write frames: [`rtmp::chunk::MediaFormat`], [`flv::FlvFormat`] and others.
//! - [`amf0`] are the values in commands and metadata.
//! - [`http`] frames FLV for HTTP and WebSocket players.
//!
//! `amf0`, `flv`, `http` and `rtmp` in `src/` are links to the relay's `src/`, where the files are edited.

#![forbid(unsafe_code)]

pub mod amf0;
pub mod flv;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod http;
pub mod rtmp;
