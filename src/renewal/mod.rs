//! Keeps certificates valid: reads their files again when they change, and asks an authority for new ones in time (ACME).
//! On a thread of its own; connections that begin from then on get the new ones.

#![forbid(unsafe_code)]

mod authority;
mod client;
mod in_force;
mod schedule;
mod watch;

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval},
};

use crate::{
    beside,
    certificates::{Renewals, Sessions},
    net::Handle,
};
use in_force::InForce;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Starts the thread, if the relay encrypts anything.
///
/// # Errors
/// Why it cannot start, as one line.
pub fn start(relay: Handle, sessions: Arc<Sessions>, renewals: Arc<Renewals>) -> Result<(), String> {
    if relay.tls().is_none() {
        return Ok(());
    }
    let cannot = |error| format!("cannot start the thread for certificates: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(cannot)?;
    // Before the thread runs: what changes from now on is noticed.
    let certificates = InForce::new(relay, sessions);
    let run = move || LocalSet::new().block_on(&runtime, serve(certificates, renewals));
    beside::start("certificates", run).map_err(cannot)
}

async fn serve(certificates: InForce, renewals: Arc<Renewals>) {
    let certificates = Rc::new(certificates);
    drop(spawn_local(schedule::keep_valid(certificates.clone(), renewals)));
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        certificates.look();
    }
}
