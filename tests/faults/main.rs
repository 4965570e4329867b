//! The built relay while the machine fails: networks that go silent, clocks that jump, a process that stands still.
//! These need programs and privileges that `./test --quick` does without.

mod clock;
#[path = "../relay/crowd.rs"]
#[allow(dead_code)]
mod crowd;
#[path = "../relay/frames.rs"]
#[allow(dead_code)]
mod frames;
mod namespaces;
mod network;
mod standstill;

#[path = "../support/mod.rs"]
mod support;
