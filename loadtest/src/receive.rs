//! The baseline of receiving: a server that accepts connections, receives into one buffer, and throws everything away.
//!
//! RTMP clients cannot use it, because it answers nothing: its publishers are blind ([`crate::publish::Options::blind`]).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bare::{ReceiveLoop, Received};
use crate::sys;

/// How to receive.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Address to listen on; port 0 picks a free one.
    pub address: SocketAddr,
    /// Pause after each round through the sockets that have something. Zero: each is read as soon as something comes.
    pub rest: Duration,
    /// How long to receive.
    pub time: Duration,
}

/// Receives until the time is over or `stop` is set. Calls `listening` with the address, and `on_progress` every second with
/// the totals so far.
///
/// # Errors
/// It cannot listen on the address, as one line.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    listening: impl FnOnce(SocketAddr),
    mut on_progress: impl FnMut(Received),
) -> Result<Received, String> {
    sys::raise_file_limit();
    let failed = |error| format!("{}: {error}", options.address);
    let (listener, address) = sys::listen(options.address).map_err(failed)?;
    let mut sockets = ReceiveLoop::new().map_err(failed)?;
    sockets.listen(&listener).map_err(failed)?;
    listening(address);
    let end_ns = sys::now_ns().saturating_add(sys::nanos(options.time));
    let mut report_ns = sys::now_ns() + SECOND_NS;
    loop {
        let now_ns = sys::now_ns();
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            return Ok(sockets.received());
        }
        if now_ns >= report_ns {
            report_ns += SECOND_NS;
            on_progress(sockets.received());
        }
        let timeout = Duration::from_nanos(report_ns.min(end_ns).saturating_sub(now_ns));
        if sockets.round(timeout) {
            while let Some(socket) = sys::accept(&listener) {
                sockets.add(socket).map_err(failed)?;
            }
        }
        if !options.rest.is_zero() {
            std::thread::sleep(options.rest);
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;
