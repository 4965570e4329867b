//! Thousands of players in one thread.
//!
//! Checked players are read as soon as their socket is readable. The others are drained once per tick: the kernel discards
//! what each has received. No thread waits for them in between, so a server's `send()` wakes none, as it would not for
//! players on other machines; and since the tick is shorter than the kernel's delayed acknowledgement (40 ms), the server
//! gets acknowledgements as from a reader that is always ready. SO_RCVLOWAT would save nothing: it would only delay
//! acknowledgements until the kernel's timer sends them, on the server's CPU. Without a tick (`drain_every` is 0) they are
//! drained as soon as they are readable: then the server pays for waking this thread, as for players on its own machine.

mod player;
mod roles;

pub use roles::{Role, Shares};

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_rtmp::rtmp::chunk::ChunkSize;
use fanfare_rtmp::rtmp::client::{self, ClientConfig};

use self::player::{Outcome, Phase, Player};
use crate::checker::Tally;
use crate::delivery::Tracker;
use crate::flv_client::FlvClient;
use crate::link::{Disconnected, Link};
use crate::report::{Report, Steady, Times};
use crate::sys::{self, EVENTS, Origin, Poller};
use crate::target::{Protocol, Target};
use crate::usage::Usage;

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, and the first stream.
    pub target: Target,
    /// Number of players.
    pub players: usize,
    /// Number of streams that they are spread over, named as `publish` names them.
    pub streams: usize,
    /// New players per second.
    pub ramp: f64,
    /// Share of the players with each role.
    pub shares: Shares,
    /// Parameters of the roles.
    pub habits: Habits,
    /// From the last player's connection to the start of the measurement.
    pub settle: Duration,
    /// Length of the measurement.
    pub time: Duration,
    /// How often players that are not checked are drained. Zero: whenever data arrives.
    pub drain_every: Duration,
    /// A frame that is older than this when it arrives is late, and a player that gets nothing for that long, although
    /// something was sent to it, has stalled.
    pub late_after: Duration,
    /// The server's process, if its CPU time and memory are to be measured.
    pub server_pid: Option<u32>,
    /// Other processes of the load generator, whose CPU time counts as its own.
    pub load_pids: Vec<u32>,
}

/// Parameters of the roles.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// From the first key frame to the stall.
    pub stall_after: Duration,
    /// Length of the stall, after which they read everything at once. Zero: for ever.
    pub stall_for: Duration,
    /// Rate of slow readers, bits per second.
    pub slow_bitrate: u64,
    /// How long reconnecting players stay connected.
    pub churn_stay: Duration,
    /// How long until they reconnect.
    pub churn_away: Duration,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Seconds since the first player connected.
    pub seconds: f64,
    /// Players that have started to connect.
    pub begun: usize,
    /// Players that have got a key frame.
    pub watching: usize,
    /// 10^6 bytes received in the last second.
    pub mb: f64,
    /// Players that have now been waiting longer than allowed.
    pub waiting: usize,
    /// Latency of the last second.
    pub latency: crate::report::Summary,
    /// Counts over all players so far.
    pub tally: Tally,
    /// Connections that failed, and players that were disconnected.
    pub lost: u64,
    /// Whether the measurement has started.
    pub is_steady: bool,
}

/// Plays until the time is over or `stop` is set. Calls `on_progress` every second.
///
/// # Errors
/// The run could not start, as one line. What happens to players is in the report.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Report, String> {
    let files = sys::raise_file_limit();
    if options.players as u64 + SPARE_FILES > files {
        return Err(format!(
            "{} players need as many file descriptors; the limit is {files}",
            options.players
        ));
    }
    let mut crowd = Crowd::new(options).map_err(|error| error.to_string())?;
    while !(crowd.is_over() || stop.load(Ordering::Relaxed)) {
        crowd.connect_due();
        crowd.run_timed_roles();
        crowd.drain();
        crowd.measure(&mut on_progress);
        crowd.read_until_next_tick();
    }
    let end_ns = sys::now_ns();
    crowd.measure_steady(end_ns);
    crowd.wait_for_missing_frames(end_ns);
    Ok(crowd.report(end_ns))
}

/// All players.
struct Crowd<'a> {
    options: &'a Options,
    players: Vec<Player>,
    /// How many have started to connect, in order.
    begun: usize,
    /// Players whose role acts at set times.
    timed: Vec<usize>,
    /// Players that are read as soon as data arrives.
    immediate: Poller,
    /// Players that are drained once per tick.
    drained: Poller,
    ready: Vec<usize>,
    ready_to_drain: Vec<usize>,
    scratch: Vec<u8>,
    /// Passed to the kernel, which writes nothing into it.
    drain_scratch: Vec<u8>,
    begun_ns: u64,
    tick_ns: u64,
    report_ns: u64,
    reported_bytes: u64,
    /// When `immediate` was last polled.
    polled_ns: u64,
    steady: Option<SteadyBegin>,
    resident_before_bytes: u64,
    results: Results,
}

/// The results of all players together.
struct Results {
    tracker: Tracker,
    bytes: u64,
    latency: Times,
    latency_of_last_second: Times,
    first_key_frame: Times,
    report: Report,
}

struct SteadyBegin {
    at_ns: u64,
    bytes: u64,
    load: Usage,
    server: Usage,
}

impl<'a> Crowd<'a> {
    fn new(options: &'a Options) -> std::io::Result<Self> {
        let begun_ns = sys::now_ns();
        let roles = options.shares.roles(options.players);
        let roles = roles.into_iter().enumerate();
        let players: Vec<_> =
            roles.map(|(number, role)| Player::new(role, number % options.streams)).collect();
        let is_timed =
            |number: &usize| matches!(players[*number].role, Role::Stalls | Role::ReadsSlowly | Role::Churns);
        Ok(Self {
            options,
            timed: (0..players.len()).filter(is_timed).collect(),
            players,
            begun: 0,
            immediate: Poller::new()?,
            drained: Poller::new()?,
            ready: Vec::new(),
            ready_to_drain: Vec::new(),
            scratch: vec![0; 64 << 10],
            drain_scratch: vec![0; 4 << 20],
            begun_ns,
            tick_ns: begun_ns,
            report_ns: begun_ns + SECOND_NS,
            reported_bytes: 0,
            polled_ns: begun_ns,
            steady: None,
            resident_before_bytes: options.server_pid.map_or(0, |pid| Usage::of_tree(pid).resident_bytes),
            results: Results {
                tracker: Tracker::new(options.streams, sys::nanos(options.late_after)),
                bytes: 0,
                latency: Times::new(),
                latency_of_last_second: Times::new(),
                first_key_frame: Times::new(),
                report: Report { players: options.players, ..Report::default() },
            },
        })
    }

    fn is_over(&self) -> bool {
        let end_ns = |steady: &SteadyBegin| steady.at_ns.saturating_add(sys::nanos(self.options.time));
        self.steady.as_ref().is_some_and(|steady| sys::now_ns() >= end_ns(steady))
    }

    /// Connects the players that are due.
    fn connect_due(&mut self) {
        let since_begin = (sys::now_ns() - self.begun_ns) as f64 / 1e9;
        let due = (since_begin * self.options.ramp) as usize + 1;
        let due = due.min(self.begun + MAX_JOINS_PER_TICK).min(self.players.len());
        for number in self.begun..due {
            self.connect(number);
        }
        self.begun = due;
    }

    fn connect(&mut self, number: usize) {
        let target = &self.options.target;
        let config = ClientConfig {
            url: target.stream(number % self.options.streams),
            role: client::Role::Play,
            chunk_size: ChunkSize::INITIAL,
            fmle: false,
        };
        let origin = self.origin(number);
        let link = match target.protocol {
            Protocol::Rtmp => Link::new(config, target, origin),
            protocol => {
                let client = FlvClient::new(&config.url, protocol == Protocol::WebsocketFlv);
                Link::over_http(client, target, origin)
            }
        };
        let link = link.and_then(|link| {
            self.immediate.add(&link, number)?;
            Ok(link)
        });
        match link {
            Ok(link) => self.players[number].connect(link, sys::now_ns()),
            Err(error) => {
                self.players[number].phase = Phase::Gone;
                self.results.connect_failed(&Disconnected::from(error));
            }
        }
    }

    fn origin(&self, number: usize) -> Origin {
        let is_loopback_v4 = matches!(self.options.target.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        // Several loopback addresses: the 28,000 ports of one are not enough for many players, nor for one run after
        // another while the ports of the last are in TIME_WAIT.
        let block = (std::process::id() % 250) as u8 + 1;
        let source = Ipv4Addr::new(127, 1, block, (number / PLAYERS_PER_SOURCE) as u8 + 1);
        // Slow players get the segment size of Ethernet and a fixed receive buffer. With loopback's segments of 64 KiB and
        // the kernel's buffer of megabytes the window would open so rarely that a server takes a slow player for a dead
        // one.
        let is_slow = self.players[number].role == Role::ReadsSlowly;
        Origin {
            source: is_loopback_v4.then_some(source),
            segment_bytes: is_slow.then_some(ETHERNET_SEGMENT_BYTES),
            receive_buffer: is_slow.then_some(SLOW_RECEIVE_BUFFER_BYTES),
        }
    }

    /// Lets the roles that are due act.
    fn run_timed_roles(&mut self) {
        let now_ns = sys::now_ns();
        for at in 0..self.timed.len() {
            let number = self.timed[at];
            if self.players[number].next_action_ns > now_ns {
                continue;
            }
            if self.players[number].phase == Phase::Away {
                self.connect(number);
                continue;
            }
            let player = &mut self.players[number];
            let outcome = player.act(&self.options.habits, now_ns, &mut self.scratch, &mut self.results);
            self.apply(number, outcome);
        }
    }

    /// Empties the sockets of players that are not checked, and reads the others in between.
    fn drain(&mut self) {
        for _ in 0..=self.players.len() / EVENTS {
            let mut ready = std::mem::take(&mut self.ready_to_drain);
            self.drained.wait(0, &mut ready);
            for numbers in ready.chunks(DRAINED_PER_POLL) {
                for &number in numbers {
                    let outcome = self.players[number].drain(&mut self.drain_scratch, &mut self.results);
                    self.apply(number, outcome);
                }
                self.read_immediate(0);
            }
            let were_all = ready.len() < EVENTS;
            self.ready_to_drain = ready;
            if were_all {
                break;
            }
        }
    }

    fn read_until_next_tick(&mut self) {
        let tick_ns = match sys::nanos(self.options.drain_every) {
            0 => TICK_NS,
            tick_ns => tick_ns,
        };
        // A late tick is not made up for.
        self.tick_ns = (self.tick_ns + tick_ns).max(sys::now_ns());
        loop {
            self.read_immediate(self.tick_ns.saturating_sub(sys::now_ns()));
            if sys::now_ns() >= self.tick_ns {
                break;
            }
        }
    }

    /// Reads from the players that are read at once.
    fn read_immediate(&mut self, timeout_ns: u64) {
        let mut ready = std::mem::take(&mut self.ready);
        self.immediate.wait(timeout_ns, &mut ready);
        self.detect_own_pause(timeout_ns);
        for &number in &ready {
            let player = &mut self.players[number];
            let outcome = match player.is_drained() {
                true => player.drain(&mut self.drain_scratch, &mut self.results),
                false => player.on_ready(&self.options.habits, &mut self.scratch, &mut self.results),
            };
            self.apply(number, outcome);
        }
        self.ready = ready;
    }

    /// While this thread was not running, or was busy with something else, data may have arrived unread.
    fn detect_own_pause(&mut self, waited_ns: u64) {
        let now_ns = sys::now_ns();
        let awake_ns = self.polled_ns.saturating_add(waited_ns);
        if now_ns > awake_ns.saturating_add(OWN_PAUSE_NS) {
            self.results.tracker.record_own_pause(awake_ns, now_ns);
        }
        self.polled_ns = now_ns;
    }

    /// Applies the outcome of an action.
    fn apply(&mut self, number: usize, outcome: Result<Outcome, Disconnected>) {
        let player = &mut self.players[number];
        match outcome {
            Ok(Outcome::Continues) => {}
            Ok(Outcome::StartsDraining) if self.options.drain_every.is_zero() => {}
            Ok(Outcome::StartsDraining) => {
                let Some(link) = &player.link else { return };
                let moved = self.immediate.remove(link).and_then(|()| self.drained.add(link, number));
                if let Err(error) = moved {
                    self.results.disconnected(player, &error.into());
                }
            }
            Ok(Outcome::Leaves) => {
                player.close_account(sys::now_ns(), &mut self.results);
                player.leave(&mut self.results);
                player.phase = Phase::Away;
                player.next_action_ns = sys::now_ns() + sys::nanos(self.options.habits.churn_away);
            }
            Err(error) => self.results.disconnected(player, &error),
        }
    }

    /// Reports progress once per second, and starts the measurement when it is due.
    fn measure(&mut self, on_progress: &mut impl FnMut(&Progress)) {
        let now_ns = sys::now_ns();
        let settled_ns = self.ramp_end_ns().saturating_add(sys::nanos(self.options.settle));
        if self.steady.is_none() && self.begun == self.players.len() && now_ns >= settled_ns {
            self.results.report.settling_latency_ms = self.results.latency.summary();
            self.results.latency.clear();
            self.steady = Some(SteadyBegin {
                at_ns: now_ns,
                bytes: self.results.bytes,
                load: self.load_usage(),
                server: self.options.server_pid.map(Usage::of_tree).unwrap_or_default(),
            });
        }
        if now_ns < self.report_ns {
            return;
        }
        self.report_ns += SECOND_NS;
        self.time_out_connections(now_ns);
        let mut tally = self.results.report.checked;
        tally += self.results.report.hindered;
        self.players.iter().for_each(|player| tally += player.tally());
        on_progress(&Progress {
            seconds: (now_ns - self.begun_ns) as f64 / 1e9,
            begun: self.begun,
            watching: self.players.iter().filter(|player| player.is_watching()).count(),
            waiting: self.players.iter().filter(|player| player.is_waiting(&self.results, now_ns)).count(),
            mb: (self.results.bytes - self.reported_bytes) as f64 / 1e6,
            latency: self.results.latency_of_last_second.summary(),
            tally,
            lost: self.results.report.connect_failures + self.results.report.disconnects,
            is_steady: self.steady.is_some(),
        });
        self.reported_bytes = self.results.bytes;
        self.results.latency_of_last_second.clear();
    }

    fn ramp_end_ns(&self) -> u64 {
        self.begun_ns + (self.players.len() as f64 / self.options.ramp * 1e9) as u64
    }

    fn time_out_connections(&mut self, now_ns: u64) {
        for player in &mut self.players {
            if player.phase == Phase::Connecting
                && !player.is_started
                && now_ns >= player.begun_ns + START_TIMEOUT_NS
            {
                self.results.disconnected(player, &Disconnected("timeout: play was not answered".to_owned()));
            }
        }
    }

    /// Of the whole load generator.
    fn load_usage(&self) -> Usage {
        let others = self.options.load_pids.iter().map(|&pid| Usage::of_tree(pid));
        others.fold(Usage::of_self(), Usage::plus)
    }

    fn measure_steady(&mut self, end_ns: u64) {
        self.results.report.bytes = self.results.bytes;
        let Some(steady) = &self.steady else { return };
        let before = self.resident_before_bytes;
        let server = self.options.server_pid.map(|pid| (before, Usage::of_tree(pid).since(steady.server)));
        self.results.report.steady = Steady::new(
            (end_ns - steady.at_ns) as f64 / 1e9,
            self.results.bytes - steady.bytes,
            &self.results.latency,
            self.load_usage().since(steady.load),
            server,
        );
    }

    /// A paused server and a paused encoder look the same until the missing frames arrive, with the time at which they were
    /// sent.
    fn wait_for_missing_frames(&mut self, end_ns: u64) {
        let until_ns = end_ns.saturating_add(2 * sys::nanos(self.options.late_after)).min(end_ns + SECOND_NS);
        while sys::now_ns() < until_ns
            && self.players.iter().any(|player| player.is_missing_frames(end_ns, &self.results))
        {
            self.drain();
            self.read_until_next_tick();
        }
    }

    fn report(mut self, end_ns: u64) -> Report {
        for player in &mut self.players {
            // A player that was disconnected is owed everything that was sent since.
            player.close_account(end_ns, &mut self.results);
            self.results.report.held += usize::from(player.is_held());
            if player.phase == Phase::Connecting && !player.is_started {
                self.results.connect_failed(&Disconnected("play was not answered before the end".to_owned()));
            }
            player.leave(&mut self.results);
        }
        let Results { tracker, first_key_frame, report, .. } = self.results;
        Report {
            delivery: tracker.delivery(),
            seconds: (end_ns - self.begun_ns) as f64 / 1e9,
            first_key_frame_ms: first_key_frame.summary(),
            ..report
        }
    }
}

impl Results {
    fn connect_failed(&mut self, error: &Disconnected) {
        self.report.connect_failures += 1;
        self.record_reason(error);
    }

    fn disconnected(&mut self, player: &mut Player, error: &Disconnected) {
        if player.is_started {
            self.report.disconnects += 1;
            self.record_reason(error);
        } else {
            self.connect_failed(error);
        }
        player.leave(self);
    }

    fn record_reason(&mut self, Disconnected(reason): &Disconnected) {
        if self.report.reasons.len() < MAX_REASONS && !self.report.reasons.contains(reason) {
            self.report.reasons.push(reason.clone());
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// The tick where `drain_every` is 0.
const TICK_NS: u64 = 10_000_000;
/// How long a server may take until it starts to play.
const START_TIMEOUT_NS: u64 = 30 * SECOND_NS;
/// A longer time between two polls counts as a pause of the load generator.
const OWN_PAUSE_NS: u64 = 50_000_000;
/// File descriptors for other things than players.
const SPARE_FILES: u64 = 16;
/// About a millisecond of work, so that connecting players does not delay the others.
const MAX_JOINS_PER_TICK: usize = 32;
/// About 100 µs of work.
const DRAINED_PER_POLL: usize = 32;
/// Well below the 28,000 ephemeral ports of Linux.
const PLAYERS_PER_SOURCE: usize = 5_000;
/// The payload of TCP over IPv4 in 1,500 bytes.
const ETHERNET_SEGMENT_BYTES: u32 = 1460;
/// The kernel doubles it for its own bookkeeping.
const SLOW_RECEIVE_BUFFER_BYTES: usize = 256 << 10;
/// The first few reasons are enough.
const MAX_REASONS: usize = 8;
