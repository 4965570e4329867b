//! The built relay with an operator's web service, which a test plays: what it is asked and notified of, and what
//! becomes of clients when it agrees, refuses, fails or takes its time.

mod asked;
#[path = "../relay/crowd.rs"]
#[allow(dead_code)]
mod crowd;
mod crowds;
mod encrypted;
mod failing;
#[path = "../relay/frames.rs"]
#[allow(dead_code)]
mod frames;
mod keys;
mod notified;

#[path = "../support/mod.rs"]
mod support;
use support::peer;
