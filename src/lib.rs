//! fanfare: a live relay for Linux. Encoders publish over RTMP; as many players watch as the machine can carry.
//!
//! The modules in the order of the data: [`net`] receives bytes and passes them to the [`endpoint`] of its core, where
//! [`rtmp`] makes messages and frames of them and [`flv`] reads the frames' headers. [`stream`] keeps the frames in a log
//! that all cores share, [`fanout`] decides what each player of a core is sent next, and [`net`] sends it. The endpoint
//! asks [`access`] who may connect, publish and play. [`control`] is a service beside the cores: the HTTP port, whose
//! players get their media in the formats of [`http`]; [`hooks`] is another one, and asks the operator's web service; [`renewal`] keeps certificates valid. ARCHITECTURE.md follows a frame, a question and a reload.

// `src/amf0.rs`, `src/flv`, `src/http` and `src/rtmp` are compiled as a crate of their own, which others can use without
// io_uring, axum or hyper: `fanfare-rtmp/src` links to them.
pub use fanfare_rtmp::{amf0, flv, http, rtmp};

pub mod access;
pub mod beside;
pub mod capacity;
pub mod certificates;
pub mod config;
pub mod control;
pub mod difference;
pub mod endpoint;
pub mod fanout;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod hooks;
pub mod logging;
pub mod migrate;
pub mod net;
pub mod refusal;
pub mod reload;
pub mod renewal;
pub mod running;
pub mod sign;
pub mod stream;
pub mod system_check;
pub mod systemd;
