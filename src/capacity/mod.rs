//! How many players and publishers one core of this machine will carry, without a relay and without clients.
//!
//! Measures what the kernel of this machine takes for the relay's work, by the bare loops that the load generator has as its
//! yardsticks, and multiplies by what a relay does per player and per publisher of such a loop ([`estimate`]). Everything is
//! over the loopback interface, so these are not part of it: network cards and their drivers, TLS, the time that other
//! programs use, the bandwidth of the network. A relay on several cores carries about as many times more.

#![forbid(unsafe_code)]

pub mod bare;
pub mod estimate;
mod loopback;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::bare::{ReceiveLoop, SendLoop};
use self::estimate::{Costs, PASS, REST, Stream};
use self::loopback::Clock;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of each stream.
    pub stream: Stream,
    /// How long both measurements take together.
    pub time: Duration,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// Of each stream, bits per second.
    pub bitrate: u64,
    /// Players of one stream that one core carries.
    pub players: u64,
    /// Publishers without players that one core carries.
    pub publishers: u64,
    /// What was measured.
    pub costs: Costs,
    /// Whether the CPUs were also used by other programs, or the measuring side did not keep up.
    pub is_disturbed: bool,
    /// Whether both sides of the connections had to share one CPU.
    pub has_one_cpu: bool,
}

/// Measures for the given time.
///
/// # Errors
/// No sockets, no threads, or nothing could be measured, as one line.
pub fn measure(options: &Options) -> Result<Capacity, String> {
    // Without a higher limit there are fewer connections.
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(DEFAULT_FILES);
    let cpus: Vec<_> = core_affinity::get_core_ids().unwrap_or_default();
    let cpus = [cpus.first().copied(), cpus.get(1).or(cpus.first()).copied()];
    let time = options.time / 2;
    let stream = options.stream;
    let sending = sending(stream, stream.connections(MAX_PLAYERS, MAX_SENT_BITS, files), time, cpus)?;
    let receiving =
        receiving(stream, stream.connections(MAX_PUBLISHERS, MAX_RECEIVED_BITS, files), time, cpus)?;
    let costs = Costs {
        send_ns: sending.cpu_ns / sending.done.max(1.0),
        send_bytes: stream.bytes_in(PASS),
        receive_ns_per_kb: receiving.cpu_ns * 1e3 / receiving.done.max(1.0),
    };
    Ok(Capacity {
        bitrate: stream.bitrate(),
        players: costs.players(stream),
        publishers: costs.publishers(stream),
        costs,
        is_disturbed: sending.is_disturbed || receiving.is_disturbed,
        has_one_cpu: cpus[0] == cpus[1],
    })
}

/// What one of the loops did.
struct Measured {
    /// CPU time of the loop's thread.
    cpu_ns: f64,
    /// Sends, or bytes received.
    done: f64,
    is_disturbed: bool,
}

type Cpus = [Option<core_affinity::CoreId>; 2];

/// The bare send loop: a pass to all players every [`PASS`].
fn sending(stream: Stream, players: usize, time: Duration, cpus: Cpus) -> Result<Measured, String> {
    let (near, far) = loopback::pairs(players)?;
    let over = AtomicBool::new(false);
    let bytes = vec![0x55; stream.bytes_in(PASS)];
    thread::scope(|scope| {
        scope.spawn(|| on(cpus[1], || loopback::drain(&far, &over)));
        let sends = scope.spawn(|| {
            on(cpus[0], || {
                let mut sends = SendLoop::new(near);
                let mut next = Instant::now();
                let mut pass = |sends: &mut SendLoop| {
                    sends.pass(&bytes);
                    // A late pass is not made up for.
                    next = (next + PASS).max(Instant::now());
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                };
                repeat(time / WARM_UP, || pass(&mut sends));
                let (before, clock) = (sends.sent(), Clock::start());
                repeat(time, || pass(&mut sends));
                let (after, elapsed) = (sends.sent(), clock.stop());
                let (done, full) = (after.sends - before.sends, after.full - before.full);
                Measured {
                    cpu_ns: elapsed.cpu_ns,
                    done: done as f64,
                    is_disturbed: elapsed.is_disturbed() || full > done / 100,
                }
            })
        });
        let measured = sends.join().map_err(|_| "the send loop failed".to_owned());
        over.store(true, Ordering::Relaxed);
        measured
    })
}

/// The bare receive loop: a round through all publishers, then a rest of [`REST`].
fn receiving(stream: Stream, publishers: usize, time: Duration, cpus: Cpus) -> Result<Measured, String> {
    let (near, far) = loopback::pairs(publishers)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| on(cpus[1], || loopback::publish(&far, &stream.messages(publishers), &over)));
        let receives = scope.spawn(|| {
            on(cpus[0], || {
                let mut receives = ReceiveLoop::new().map_err(|error| error.to_string())?;
                near.into_iter()
                    .try_for_each(|socket| receives.add(socket))
                    .map_err(|error| error.to_string())?;
                let round = |receives: &mut ReceiveLoop| {
                    receives.round(REST);
                    thread::sleep(REST);
                };
                repeat(time / WARM_UP, || round(&mut receives));
                let (before, clock) = (receives.received(), Clock::start());
                repeat(time, || round(&mut receives));
                let elapsed = clock.stop();
                let done = (receives.received().bytes - before.bytes) as f64;
                Ok(Measured { cpu_ns: elapsed.cpu_ns, done, is_disturbed: elapsed.is_disturbed() })
            })
        });
        let measured = receives.join().map_err(|_| "the receive loop failed".to_owned());
        over.store(true, Ordering::Relaxed);
        measured?
    })
}

fn on<T>(cpu: Option<core_affinity::CoreId>, work: impl FnOnce() -> T) -> T {
    if let Some(cpu) = cpu {
        // Elsewhere the figures are the same, as long as no other program runs.
        core_affinity::set_for_current(cpu);
    }
    work()
}

fn repeat(time: Duration, mut work: impl FnMut()) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        work();
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bitrate, players, publishers, costs, is_disturbed, has_one_cpu } = self;
        writeln!(
            f,
            "One core of this machine will carry, at {:.1} Mbit/s per stream, about",
            *bitrate as f64 / 1e6
        )?;
        writeln!(f, "  {players} players of one stream, or")?;
        writeln!(f, "  {publishers} publishers without players;")?;
        writeln!(
            f,
            "  both together, as long as players / {players} + publishers / {publishers} is at most 1."
        )?;
        writeln!(
            f,
            "Measured: {:.1} µs per send of {} bytes, {:.2} µs per 1,000 bytes received, with these ratios to a relay: {}.",
            costs.send_ns / 1e3,
            costs.send_bytes,
            costs.receive_ns_per_kb / 1e3,
            estimate::CALIBRATED,
        )?;
        if *has_one_cpu {
            writeln!(f, "Only one CPU may be used: both sides of the connections were on it.")?;
        }
        if *is_disturbed {
            writeln!(f, "Disturbed: other programs used these CPUs. Repeat it while they are idle.")?;
        }
        write!(f, "Not included: the network card and its bandwidth, TLS, HTTP requests, other programs.")
    }
}

/// What a process may have open unless its limit is raised.
const DEFAULT_FILES: u64 = 1024;
/// Enough that their sockets do not fit into the CPU's caches, as those of a full core do not.
const MAX_PLAYERS: usize = 2_000;
const MAX_PUBLISHERS: usize = 800;
/// What another core takes from the send loop, and gives to the receive loop, with ease: bits per second.
const MAX_SENT_BITS: u64 = 1_600_000_000;
const MAX_RECEIVED_BITS: u64 = 480_000_000;
/// A part of the time, before it, that is not measured.
const WARM_UP: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_measurement_gives_an_answer() {
        let stream = Stream::new(1_000_000).unwrap();
        let capacity = measure(&Options { stream, time: Duration::from_secs(1) }).unwrap();
        let Costs { send_ns, send_bytes, receive_ns_per_kb } = capacity.costs;
        assert_eq!(send_bytes, 6_250);
        // From 100 ns to a millisecond: this may be a debug build on a busy machine.
        assert!((100.0..1e6).contains(&send_ns), "{capacity:?}");
        assert!((10.0..1e6).contains(&receive_ns_per_kb), "{capacity:?}");
        assert!(capacity.players > 10 && capacity.publishers > 10, "{capacity:?}");
        let text = capacity.to_string();
        assert!(text.contains(&format!("{} players of one stream", capacity.players)), "{text}");
        assert!(text.contains("Not included: the network card"), "{text}");
    }
}
