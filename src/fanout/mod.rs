//! The players of one core: the place of each in its stream's log, and what it is sent next. One thread, no sockets, no
//! atomics but the log's.

#![forbid(unsafe_code)]

mod batch;
mod follower;
mod hub;
mod player;
mod pump;

pub use batch::Batch;
pub use hub::{Ended, Hub, PlayerKey, Policy};
pub use pump::Pump;

#[cfg(all(test, not(fanfare_loom)))]
mod tests;
