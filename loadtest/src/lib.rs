//! Load for RTMP relays. [`publish`] is a synthetic encoder, [`play`] runs thousands of players in one thread,
//! [`attack`] sends what no real client sends. The baselines are [`limit`], a server that only calls `send()`, and
//! [`receive`], one that only calls `recv()`.
//!
//! ```text
//! source ─ frames with their number and send time ─► publish ─► a server ─► play ─► checker, report
//! ```
//! [`schedule`], [`source`], [`marker`], [`checker`], [`delivery`] and [`tls`] do no I/O. All system calls are in [`sys`] and [`bare`].

pub mod attack;
pub mod bare;
pub mod checker;
pub mod delivery;
pub mod flv_client;
pub mod handshakes;
pub mod limit;
pub mod link;
pub mod marker;
pub mod play;
pub mod publish;
pub mod receive;
pub mod report;
pub mod schedule;
pub mod source;
pub mod sys;
pub mod target;
pub mod tls;
pub mod usage;
