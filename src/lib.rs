//! fanfare: a live relay for Linux. Encoders publish RTMP, as many players as the machine can carry watch.
//!
//! The modules in the order of the data: [`net`] receives bytes, [`rtmp`] makes messages and frames of them, which
//! [`flv`] tells apart; [`stream`] lays them into a log that all cores share, [`fanout`] decides what each player of
//! a core is sent next, and [`net`] sends it. Beside them [`control`] serves HTTP, whose players get what [`http`] lays.
//! ARCHITECTURE.md tells the whole way.

// `src/amf0.rs`, `src/flv`, `src/http` and `src/rtmp` are compiled as a crate of their own, which others can use without
// io_uring, axum or hyper: `fanfare-rtmp/src` links to them.
pub use fanfare_rtmp::{amf0, flv, http, rtmp};

pub mod access;
pub mod config;
pub mod control;
pub mod endpoint;
pub mod fanout;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod logging;
pub mod net;
pub mod stream;
