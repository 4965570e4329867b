//! The built relay where the machine around it fails: networks that go silent, clocks that jump. These need more of
//! the machine than `./test --quick` asks for.

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
