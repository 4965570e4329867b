//! One core's business in virtual time: who connects, publishes, plays, waits, is refused and ends, and when. No socket,
//! no thread, no sleep.

#[path = "../support/world.rs"]
mod world;

use fanfare::endpoint::{Pool, Tls};
use rustls::crypto::aws_lc_rs as cryptography;

mod backlog;
mod bench;
mod configuration;
mod control;
mod deadlines;
mod draining;
mod expiry;
mod memory;
mod notices;
mod pausing;
mod playing;
mod proxies;
mod publishing;
mod questions;
mod refusals;
mod review;
mod tls;
mod tls_peer;
mod transfer;
