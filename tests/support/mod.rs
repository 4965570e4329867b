//! What the tests with real clients share: the relay as a process, the clients, generated media, and packet lists
//! to compare. No test sleeps to let something happen: it waits for what it needs, with a deadline.

// Each test binary compiles this module and uses a part of it.
#![allow(dead_code, unused_imports)]

mod clients;
mod media;
pub mod newer_ffmpeg;
mod packets;
mod process;
mod relay;
mod tags;

pub use clients::{Player, Publisher, Recording, play_to_nowhere, vlc};
pub use media::Clip;
pub use packets::{Kind, Packet, assert_gap_free, assert_time_goes_on, count, packets, runs};
pub use process::{Process, Signal, eventually, is_installed, missing};
pub use relay::{FANFARE, Relay, as_nobody};
pub use tags::{Tag, tags};

use std::time::Duration;

/// How long anything that should happen at once may take on a busy machine, before the test fails.
pub const SOON: Duration = Duration::from_secs(20);
