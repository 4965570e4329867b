//! Load for RTMP relays. [`publish`] is a synthetic encoder, [`play`] holds thousands of players in one thread,
//! [`attack`] sends what no client would, and [`limit`] is the yardstick: a server that does nothing but `send()`.
//!
//! ```text
//! source ─ frames that carry number and time ─► publish ─► a server ─► play ─► checker, report
//! ```
//! [`schedule`], [`source`], [`marker`], [`checker`] and [`delivery`] do no I/O. [`sys`] is where system calls are made.

pub mod attack;
pub mod checker;
pub mod delivery;
pub mod flv_client;
pub mod limit;
pub mod link;
pub mod marker;
pub mod play;
pub mod publish;
pub mod report;
pub mod schedule;
pub mod source;
pub mod sys;
pub mod target;
pub mod usage;
