//! What the tests with real clients share: the relay as a process, the clients, generated media, and packet lists
//! to compare. No test sleeps for a fixed time: it waits for what it needs, with a deadline.

// Each test binary compiles this module and uses a part of it.
#![allow(dead_code, unused_imports)]

mod clients;
mod media;
pub mod newer_ffmpeg;
mod packets;
pub mod peer;
mod process;
mod relay;
mod tags;
pub mod web_service;

pub use clients::{Player, Publisher, Recording, play_without_output, vlc};
pub use media::Clip;
pub use packets::{Kind, Packet, assert_gap_free, assert_time_moves_forward, count, packets, runs};
pub use process::{Process, Signal, eventually, is_installed, missing};
pub use relay::{FANFARE, Relay, as_unprivileged_user};
pub use tags::{Tag, tags};

use std::time::Duration;

/// How long something that should happen at once may take on a busy machine before the test fails.
pub const SOON: Duration = Duration::from_secs(20);
