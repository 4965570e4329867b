//! Load for RTMP relays. [`publish`] is a synthetic encoder, [`play`] runs thousands of players in one thread,
//! [`attack`] sends what no real client sends, and [`limit`] is the baseline: a server that only calls `send()`.
//!
//! ```text
//! source ─ frames with their number and send time ─► publish ─► a server ─► play ─► checker, report
//! ```
//! [`schedule`], [`source`], [`marker`], [`checker`] and [`delivery`] do no I/O. All system calls are in [`sys`].

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
