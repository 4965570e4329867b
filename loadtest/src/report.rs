//! The result of a run, as text and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::checker::Tally;
use crate::delivery::Delivery;
use crate::usage::Usage;

/// Durations in nanoseconds, with three significant digits, up to an hour.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

/// The result of a run of players.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Players that were to connect.
    pub players: usize,
    /// How many of them are connected at the end, or about to reconnect as configured.
    pub held: usize,
    /// Connections that failed before the server started to play.
    pub connect_failures: u64,
    /// Players that the server disconnected, or whose connection broke.
    pub disconnects: u64,
    /// Players that were notified of the end of the stream.
    pub ended: u64,
    /// Players that got no key frame until they left, or until the end.
    pub without_picture: u64,
    /// Connections on which the server started to play; players that reconnect count again.
    pub connections: u64,
    /// Seconds from the first connection to the end.
    pub seconds: f64,
    /// Bytes received.
    pub bytes: u64,
    /// From connecting to the first key frame, milliseconds.
    pub first_key_frame_ms: Summary,
    /// Players that read everything at once.
    pub checked: Tally,
    /// Players that stall or read slowly: the server may skip frames for them.
    pub hindered: Tally,
    /// What was received of what was sent.
    pub delivery: Delivery,
    /// Latency before the measurement began: a reference if something is done to the server from then on.
    pub settling_latency_ms: Summary,
    /// The measurement: the time after all players had connected and settled.
    pub steady: Steady,
    /// The first reasons why connections ended.
    pub reasons: Vec<String>,
}

/// The measurement: the time after all players had connected and settled.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Steady {
    /// Its length.
    pub seconds: f64,
    /// Bytes received.
    pub bytes: u64,
    /// 10^6 bytes per second.
    pub mb_per_second: f64,
    /// From the send of an encoder to a checked player, milliseconds.
    pub latency_ms: Summary,
    /// CPUs that the load generator used. Near 1, the load generator is the bottleneck.
    pub load_cores: f64,
    /// What the server used, if its process was given.
    pub server: Option<Server>,
}

/// What a server's processes used.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Server {
    /// User and system time.
    pub cpu_seconds: f64,
    /// CPUs used.
    pub cores: f64,
    /// 10^6 bytes delivered per second of CPU time.
    pub mb_per_cpu_second: f64,
    /// Resident memory at the end, 10^6 bytes.
    pub resident_mb: f64,
    /// Resident memory before the first player connected.
    pub resident_before_mb: f64,
}

/// A few points of a distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs)]
pub struct Summary {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Times {
    /// None yet.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, HOUR_NS, 3).expect("the bounds are valid"))
    }

    /// Records a duration; more than an hour counts as an hour.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The percentiles that are reported.
    pub fn summary(&self) -> Summary {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        Summary {
            count: self.0.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1e6,
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

impl Steady {
    /// Computes the rates. `server` is its memory before the first player, and its usage during the measurement.
    pub fn new(seconds: f64, bytes: u64, latency: &Times, load: Usage, server: Option<(u64, Usage)>) -> Self {
        let mb = bytes as f64 / 1e6;
        let server = server.map(|(before_bytes, usage)| Server::new(seconds, bytes, before_bytes, usage));
        Self {
            seconds,
            bytes,
            mb_per_second: mb / seconds,
            latency_ms: latency.summary(),
            load_cores: load.cpu_seconds / seconds,
            server,
        }
    }
}

impl Server {
    /// Computes the rates: `bytes` in `seconds`. `before_bytes` is the memory before the load.
    pub fn new(seconds: f64, bytes: u64, before_bytes: u64, usage: Usage) -> Self {
        Self {
            cpu_seconds: usage.cpu_seconds,
            cores: usage.cpu_seconds / seconds,
            mb_per_cpu_second: bytes as f64 / 1e6 / usage.cpu_seconds.max(MIN_CPU_SECONDS),
            resident_mb: usage.resident_bytes as f64 / 1e6,
            resident_before_mb: before_bytes as f64 / 1e6,
        }
    }
}

/// Whether a load generator that used so many CPUs was itself the bottleneck: it runs in one thread.
pub fn is_bottleneck(load_cores: f64) -> bool {
    load_cores > MAX_LOAD_CORES
}

impl Report {
    /// Whether all players connected, stayed, and got everything in time.
    pub fn is_perfect(&self) -> bool {
        self.held == self.players
            && self.connect_failures + self.disconnects + self.without_picture == 0
            && self.checked.is_perfect()
            && self.delivery.is_perfect()
            && self.hindered.gaps + self.hindered.out_of_order + self.hindered.corrupt == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checked, hindered, delivery, steady, .. } = self;
        writeln!(
            f,
            "players      {} of {} held; {} could not connect, {} were disconnected, {} got no key frame",
            self.held, self.players, self.connect_failures, self.disconnects, self.without_picture
        )?;
        writeln!(f, "first key    {}", self.first_key_frame_ms)?;
        writeln!(f, "checked      {checked}")?;
        if hindered.frames > 0 {
            writeln!(f, "hindered     {hindered}")?;
        }
        write!(f, "{delivery}")?;
        writeln!(f, "latency      {}", steady.latency_ms)?;
        writeln!(
            f,
            "throughput   {:.1} MB/s for {:.1} s; the load generator used {:.2} cores",
            steady.mb_per_second, steady.seconds, steady.load_cores
        )?;
        if let Some(server) = steady.server {
            writeln!(
                f,
                "server       {:.0} MB per CPU-second, {:.2} cores, {:.1} MB resident ({:.1} before)",
                server.mb_per_cpu_second, server.cores, server.resident_mb, server.resident_before_mb
            )?;
        }
        if is_bottleneck(steady.load_cores) {
            writeln!(f, "BOTTLENECK   the load generator: these are not the server's figures")?;
        }
        self.reasons.iter().try_for_each(|reason| writeln!(f, "reason       {reason}"))?;
        write!(f, "verdict      {}", if self.is_perfect() { "perfect" } else { "NOT perfect" })
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, bytes, .. } = self;
        writeln!(
            f,
            "delivered    {:.4} of what was sent: of {} frames {} arrived in time, {} later than {:.0} ms; {} were \
skipped, {} never arrived",
            self.share,
            frames.owed,
            frames.in_time,
            frames.late,
            self.late_after_ms,
            frames.left_out,
            frames.never
        )?;
        if bytes.owed > 0 {
            let mb = |bytes| bytes as f64 / 1e6;
            writeln!(
                f,
                "drained      of {:.1} MB {:.1} arrived in time, {:.1} late; {:.1} never arrived",
                mb(bytes.owed),
                mb(bytes.in_time),
                mb(bytes.late),
                mb(bytes.never)
            )?;
        }
        writeln!(f, "frame age    {}", self.age_ms)?;
        writeln!(
            f,
            "longest wait {} players; {} of them stalled",
            self.longest_wait_ms, self.stalled_players
        )?;
        if self.own_standstill_ms > 0.0 {
            writeln!(
                f,
                "own pauses   the load generator did not run for {:.0} ms, which is not counted",
                self.own_standstill_ms
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, gaps, skips, missing, out_of_order, corrupt, restarts } = self;
        write!(
            f,
            "{frames} frames: {gaps} gaps, {skips} skips ({missing} missing), {out_of_order} out of order, \
             {corrupt} corrupt, {restarts} encoder restarts"
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50, p99, p999, max } = self;
        write!(f, "p50 {p50:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.1} ms  ({count})")
    }
}

const HOUR_NS: u64 = 3_600_000_000_000;
/// Above this share of a core the load generator delays what it sends and what it receives.
const MAX_LOAD_CORES: f64 = 0.9;
/// The kernel's clock tick.
const MIN_CPU_SECONDS: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut times = Times::new();
        (1..=1000).for_each(|ms| times.record(ms * 1_000_000));
        let Summary { count, p50, p99, p999, max } = times.summary();
        assert_eq!(count, 1000);
        for (value, expected) in [(p50, 500.0), (p99, 990.0), (p999, 999.0), (max, 1000.0)] {
            assert!((value / expected - 1.0_f64).abs() < 0.002, "{value} for {expected}");
        }
        times.record(u64::MAX);
        assert!(times.summary().max > 3_500_000.0, "longer than an hour is an hour");
        times.clear();
        assert_eq!(times.summary(), Summary::default());
    }

    #[test]
    fn a_run_is_perfect_only_if_all_players_connected_stayed_and_got_each_frame() {
        let perfect = Report { players: 2, held: 2, ..Report::default() };
        assert!(perfect.is_perfect());
        let spoilt: [fn(&mut Report); 5] = [
            |it| it.held = 1,
            |it| it.connect_failures = 1,
            |it| it.checked.gaps = 1,
            |it| it.checked.skips = 1,
            |it| it.hindered.out_of_order = 1,
        ];
        for spoil in spoilt {
            let mut report = perfect.clone();
            spoil(&mut report);
            assert!(!report.is_perfect(), "{report}");
        }
        let skipped = Tally { skips: 1, missing: 9, ..Tally::default() };
        assert!(
            Report { hindered: skipped, ..perfect }.is_perfect(),
            "frames may be skipped for a slow player"
        );
    }

    #[test]
    fn the_json_has_the_keys_that_scripts_read() {
        let mut times = Times::new();
        times.record(2_000_000);
        let usage = Usage { cpu_seconds: 2.0, resident_bytes: 3_000_000 };
        let steady = Steady::new(10.0, 500_000_000, &times, usage, Some((1_000_000, usage)));
        let report = Report { players: 5, steady, ..Report::default() };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["players"], 5);
        assert_eq!(json["steady"]["server"]["mb_per_cpu_second"], 250.0);
        assert_eq!(json["steady"]["server"]["cores"], 0.2);
        assert_eq!(json["steady"]["latency_ms"]["count"], 1);
        assert_eq!(json["checked"]["gaps"], 0);
    }
}
