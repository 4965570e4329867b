//! The built relay with an operator's web service, which a test plays: what it is asked and notified of, and what
//! becomes of clients when it agrees, refuses, fails or takes its time.

mod asked;
mod failing;

#[path = "../support/mod.rs"]
mod support;
use support::peer;
