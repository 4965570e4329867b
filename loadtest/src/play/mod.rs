//! Thousands of players in one thread.
//!
//! Those that are checked are read as soon as the kernel says so. The others are drained on a clock: whoever has
//! something is asked for once a tick, and the kernel throws the bytes away. Nobody waits for them meanwhile, so a
//! server's `send()` wakes no thread for them, as it would not for players elsewhere; and at a tick below the
//! kernel's delayed acknowledgement (40 ms) the server is acknowledged as by a reader that is at it. SO_RCVLOWAT
//! would save no more: it would only hold back acknowledgements until the kernel's timer, on the server's CPU,
//! sends them. Without a clock they are drained as soon as the kernel says so, like the rest: then a server pays for
//! waking this thread, as it does for players on its own machine.

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
use crate::delivery::Books;
use crate::flv_client::FlvClient;
use crate::link::{Link, Over};
use crate::report::{Report, Steady, Times};
use crate::sys::{self, EVENTS, Origin, Poller};
use crate::target::{Protocol, Target};
use crate::usage::Usage;

/// Who plays, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What they play.
    pub target: Target,
    /// How many.
    pub players: usize,
    /// How many streams they are spread over, named as `publish` names them.
    pub streams: usize,
    /// New players a second.
    pub ramp: f64,
    /// Who does what.
    pub shares: Shares,
    /// How those that stall, read slowly, or come and go do it.
    pub habits: Habits,
    /// From the last player's coming to the steady time, in which is measured.
    pub settle: Duration,
    /// The steady time.
    pub time: Duration,
    /// How often players that are not checked are drained. Zero: whenever something has come.
    pub drain_every: Duration,
    /// A frame that is older than this when it comes is late, and a player that gets nothing for so long, although
    /// something was sent to it, has been left waiting.
    pub late_after: Duration,
    /// A server's process, whose CPU time and memory are taken note of.
    pub server_pid: Option<u32>,
}

/// What players do that do not just watch.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// When those that stall cease to read: so long after their first picture.
    pub stall_after: Duration,
    /// After this they read again, all at once. Zero: never.
    pub stall_for: Duration,
    /// What slow ones read, bits per second.
    pub slow_bitrate: u64,
    /// How long those that come and go stay.
    pub churn_stay: Duration,
    /// How long they stay away.
    pub churn_away: Duration,
}

/// How a run goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Seconds since the first player came.
    pub seconds: f64,
    /// Players that have come.
    pub begun: usize,
    /// Players that see a picture.
    pub watching: usize,
    /// 10^6 bytes received in the last second.
    pub mb: f64,
    /// Players that have been left waiting for too long, right now.
    pub waiting: usize,
    /// Latency of the last second.
    pub latency: crate::report::Summary,
    /// Of all players so far.
    pub tally: Tally,
    /// Connections that failed, and players that were sent away.
    pub lost: u64,
    /// Whether all have come and settled.
    pub is_steady: bool,
}

/// Plays until the time is over or `stop` is set. `told` is called each second.
///
/// # Errors
/// It could not begin, as one line. What players meet is in the report.
pub fn run(options: &Options, stop: &AtomicBool, mut told: impl FnMut(&Progress)) -> Result<Report, String> {
    let files = sys::raise_file_limit();
    if options.players as u64 + SPARE_FILES > files {
        return Err(format!("{} players need as many files; {files} are allowed here", options.players));
    }
    let mut crowd = Crowd::new(options).map_err(|error| error.to_string())?;
    while !(crowd.is_over() || stop.load(Ordering::Relaxed)) {
        crowd.begin();
        crowd.take_turns();
        crowd.drain();
        crowd.measure(&mut told);
        crowd.attend_until_next_tick();
    }
    let end_ns = sys::now_ns();
    crowd.measure_steady(end_ns);
    crowd.wait_for_what_is_missing(end_ns);
    Ok(crowd.report(end_ns))
}

/// All players.
struct Crowd<'a> {
    options: &'a Options,
    players: Vec<Player>,
    /// How many have come, from the first on.
    begun: usize,
    /// Players whose role has them act by the clock.
    with_turns: Vec<usize>,
    /// Players that are read at once.
    attentive: Poller,
    /// Players that are drained.
    drained: Poller,
    ready: Vec<usize>,
    ready_to_drain: Vec<usize>,
    scrap: Vec<u8>,
    /// The kernel is told of it, and writes nothing into it.
    drain_scrap: Vec<u8>,
    begun_ns: u64,
    tick_ns: u64,
    tell_ns: u64,
    told_bytes: u64,
    /// When this thread last looked at those that are read at once.
    looked_ns: u64,
    steady: Option<SteadyBegin>,
    resident_before_bytes: u64,
    found: Found,
}

/// What is noted of all players together.
struct Found {
    books: Books,
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
        let has_turns = |number: &usize| {
            matches!(players[*number].role, Role::Stalls | Role::ReadsSlowly | Role::ComesAndGoes)
        };
        Ok(Self {
            options,
            with_turns: (0..players.len()).filter(has_turns).collect(),
            players,
            begun: 0,
            attentive: Poller::new()?,
            drained: Poller::new()?,
            ready: Vec::new(),
            ready_to_drain: Vec::new(),
            scrap: vec![0; 64 << 10],
            drain_scrap: vec![0; 4 << 20],
            begun_ns,
            tick_ns: begun_ns,
            tell_ns: begun_ns + SECOND_NS,
            told_bytes: 0,
            looked_ns: begun_ns,
            steady: None,
            resident_before_bytes: options.server_pid.map_or(0, |pid| Usage::of_tree(pid).resident_bytes),
            found: Found {
                books: Books::new(options.streams, sys::nanos(options.late_after)),
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

    /// Has those come whose time it is.
    fn begin(&mut self) {
        let since_begin = (sys::now_ns() - self.begun_ns) as f64 / 1e9;
        let due = (since_begin * self.options.ramp) as usize + 1;
        let due = due.min(self.begun + MOST_BEGUN_AT_ONCE).min(self.players.len());
        for number in self.begun..due {
            self.come(number);
        }
        self.begun = due;
    }

    fn come(&mut self, number: usize) {
        let target = &self.options.target;
        let config = ClientConfig {
            url: target.stream(number % self.options.streams),
            role: client::Role::Play,
            chunk_size: ChunkSize::INITIAL,
            fmle: false,
        };
        let origin = self.origin(number);
        let link = match target.protocol {
            Protocol::Rtmp => Link::new(config, target.address, origin),
            protocol => {
                let client = FlvClient::new(&config.url, protocol == Protocol::WebsocketFlv);
                Link::over_http(client, target.address, origin)
            }
        };
        let link = link.and_then(|link| {
            self.attentive.add(&link, number)?;
            Ok(link)
        });
        match link {
            Ok(link) => self.players[number].come(link, sys::now_ns()),
            Err(error) => {
                self.players[number].phase = Phase::Gone;
                self.found.failed(&Over::from(error));
            }
        }
    }

    fn origin(&self, number: usize) -> Origin {
        let is_loopback_v4 = matches!(self.options.target.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        // Of loopback addresses one can use as many as one likes: the ports of one, 28,000 of them, would not do for
        // many players, nor for run upon run while the last one's wait for stray packets.
        let block = (std::process::id() % 250) as u8 + 1;
        let source = Ipv4Addr::new(127, 1, block, (number / PLAYERS_PER_SOURCE) as u8 + 1);
        // Slow players are as behind an Ethernet, with a buffer that stays as it is. The segments of loopback, 64 KiB,
        // and the megabytes that the kernel would give as a buffer open the window so rarely that a server takes a
        // player that reads for one that died.
        let is_slow = self.players[number].role == Role::ReadsSlowly;
        Origin {
            source: is_loopback_v4.then_some(source),
            segment_bytes: is_slow.then_some(ETHERNET_SEGMENT_BYTES),
            receive_buffer: is_slow.then_some(SLOW_RECEIVE_BUFFER_BYTES),
        }
    }

    /// Has the players do what their roles say it is time for.
    fn take_turns(&mut self) {
        let now_ns = sys::now_ns();
        for at in 0..self.with_turns.len() {
            let number = self.with_turns[at];
            if self.players[number].turn_ns > now_ns {
                continue;
            }
            if self.players[number].phase == Phase::Away {
                self.come(number);
                continue;
            }
            let player = &mut self.players[number];
            let outcome = player.take_turn(&self.options.habits, now_ns, &mut self.scrap, &mut self.found);
            self.settle(number, outcome);
        }
    }

    /// Empties the sockets of those that are not checked; between them, those that are checked are not kept waiting.
    fn drain(&mut self) {
        for _ in 0..=self.players.len() / EVENTS {
            let mut ready = std::mem::take(&mut self.ready_to_drain);
            self.drained.wait(0, &mut ready);
            for numbers in ready.chunks(DRAINED_BETWEEN_LOOKS) {
                for &number in numbers {
                    let outcome = self.players[number].drain(&mut self.drain_scrap, &mut self.found);
                    self.settle(number, outcome);
                }
                self.attend(0);
            }
            let were_all = ready.len() < EVENTS;
            self.ready_to_drain = ready;
            if were_all {
                break;
            }
        }
    }

    fn attend_until_next_tick(&mut self) {
        let tick_ns = match sys::nanos(self.options.drain_every) {
            0 => TICK_NS,
            tick_ns => tick_ns,
        };
        // A tick that came too late is not made up for.
        self.tick_ns = (self.tick_ns + tick_ns).max(sys::now_ns());
        loop {
            self.attend(self.tick_ns.saturating_sub(sys::now_ns()));
            if sys::now_ns() >= self.tick_ns {
                break;
            }
        }
    }

    /// Reads from those that are read at once.
    fn attend(&mut self, timeout_ns: u64) {
        let mut ready = std::mem::take(&mut self.ready);
        self.attentive.wait(timeout_ns, &mut ready);
        self.note_own_standstill(timeout_ns);
        for &number in &ready {
            let player = &mut self.players[number];
            let outcome = match player.is_drained() {
                true => player.drain(&mut self.drain_scrap, &mut self.found),
                false => player.ready(&self.options.habits, &mut self.scrap, &mut self.found),
            };
            self.settle(number, outcome);
        }
        self.ready = ready;
    }

    /// A thread that was not run, or was busy with something else, cannot say that nothing came meanwhile.
    fn note_own_standstill(&mut self, waited_ns: u64) {
        let now_ns = sys::now_ns();
        let awake_ns = self.looked_ns.saturating_add(waited_ns);
        if now_ns > awake_ns.saturating_add(OWN_STANDSTILL_NS) {
            self.found.books.stood_still(awake_ns, now_ns);
        }
        self.looked_ns = now_ns;
    }

    /// What comes of what a player just did.
    fn settle(&mut self, number: usize, outcome: Result<Outcome, Over>) {
        let player = &mut self.players[number];
        match outcome {
            Ok(Outcome::GoesOn) => {}
            Ok(Outcome::IsToBeDrained) if self.options.drain_every.is_zero() => {}
            Ok(Outcome::IsToBeDrained) => {
                let Some(link) = &player.link else { return };
                let moved = self.attentive.remove(link).and_then(|()| self.drained.add(link, number));
                if let Err(error) = moved {
                    self.found.sent_away(player, &error.into());
                }
            }
            Ok(Outcome::HasLeft) => {
                player.close_account(sys::now_ns(), &mut self.found);
                player.leave(&mut self.found);
                player.phase = Phase::Away;
                player.turn_ns = sys::now_ns() + sys::nanos(self.options.habits.churn_away);
            }
            Err(over) => self.found.sent_away(player, &over),
        }
    }

    /// Tells how it goes, once a second, and begins the steady time when it is time.
    fn measure(&mut self, told: &mut impl FnMut(&Progress)) {
        let now_ns = sys::now_ns();
        let settled_ns = self.ramp_end_ns().saturating_add(sys::nanos(self.options.settle));
        if self.steady.is_none() && self.begun == self.players.len() && now_ns >= settled_ns {
            self.found.report.settling_latency_ms = self.found.latency.summary();
            self.found.latency.clear();
            self.steady = Some(SteadyBegin {
                at_ns: now_ns,
                bytes: self.found.bytes,
                load: Usage::of_self(),
                server: self.options.server_pid.map(Usage::of_tree).unwrap_or_default(),
            });
        }
        if now_ns < self.tell_ns {
            return;
        }
        self.tell_ns += SECOND_NS;
        self.give_up_on_openings(now_ns);
        let mut tally = self.found.report.checked;
        tally += self.found.report.hindered;
        self.players.iter().for_each(|player| tally += player.tally());
        told(&Progress {
            seconds: (now_ns - self.begun_ns) as f64 / 1e9,
            begun: self.begun,
            watching: self.players.iter().filter(|player| player.is_watching()).count(),
            waiting: self.players.iter().filter(|player| player.is_waiting(&self.found, now_ns)).count(),
            mb: (self.found.bytes - self.told_bytes) as f64 / 1e6,
            latency: self.found.latency_of_last_second.summary(),
            tally,
            lost: self.found.report.connect_failures + self.found.report.disconnects,
            is_steady: self.steady.is_some(),
        });
        self.told_bytes = self.found.bytes;
        self.found.latency_of_last_second.clear();
    }

    fn ramp_end_ns(&self) -> u64 {
        self.begun_ns + (self.players.len() as f64 / self.options.ramp * 1e9) as u64
    }

    fn give_up_on_openings(&mut self, now_ns: u64) {
        for player in &mut self.players {
            if player.phase == Phase::Opening && !player.is_started && now_ns >= player.begun_ns + OPENING_NS
            {
                self.found.sent_away(player, &Over("no answer to play".to_owned()));
            }
        }
    }

    fn measure_steady(&mut self, end_ns: u64) {
        self.found.report.bytes = self.found.bytes;
        let Some(steady) = &self.steady else { return };
        let before = self.resident_before_bytes;
        let server = self.options.server_pid.map(|pid| (before, Usage::of_tree(pid).since(steady.server)));
        self.found.report.steady = Steady::new(
            (end_ns - steady.at_ns) as f64 / 1e9,
            self.found.bytes - steady.bytes,
            &self.found.latency,
            Usage::of_self().since(steady.load),
            server,
        );
    }

    /// Nothing comes from a server that stands still, nor from an encoder that does: when it comes, it says when it was
    /// sent.
    fn wait_for_what_is_missing(&mut self, end_ns: u64) {
        let until_ns = end_ns.saturating_add(2 * sys::nanos(self.options.late_after)).min(end_ns + SECOND_NS);
        while sys::now_ns() < until_ns
            && self.players.iter().any(|player| player.lacks_something(end_ns, &self.found))
        {
            self.drain();
            self.attend_until_next_tick();
        }
    }

    fn report(mut self, end_ns: u64) -> Report {
        for player in &mut self.players {
            // Who was sent away is owed all that was sent since.
            player.close_account(end_ns, &mut self.found);
            self.found.report.held += usize::from(player.is_held());
            if player.phase == Phase::Opening && !player.is_started {
                self.found.failed(&Over("no answer to play at the end".to_owned()));
            }
            player.leave(&mut self.found);
        }
        let Found { books, first_key_frame, report, .. } = self.found;
        Report {
            delivery: books.delivery(),
            seconds: (end_ns - self.begun_ns) as f64 / 1e9,
            first_key_frame_ms: first_key_frame.summary(),
            ..report
        }
    }
}

impl Found {
    fn failed(&mut self, over: &Over) {
        self.report.connect_failures += 1;
        self.note(over);
    }

    fn sent_away(&mut self, player: &mut Player, over: &Over) {
        if player.is_started {
            self.report.disconnects += 1;
            self.note(over);
        } else {
            self.failed(over);
        }
        player.leave(self);
    }

    fn note(&mut self, Over(reason): &Over) {
        if self.report.reasons.len() < MOST_REASONS && !self.report.reasons.contains(reason) {
            self.report.reasons.push(reason.clone());
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// How often the clock is looked at where nothing else says so.
const TICK_NS: u64 = 10_000_000;
/// How long a server may take to begin to play.
const OPENING_NS: u64 = 30 * SECOND_NS;
/// A busy thread comes round within this.
const OWN_STANDSTILL_NS: u64 = 50_000_000;
/// Files that are no player's.
const SPARE_FILES: u64 = 16;
/// About a millisecond's work: a ramp is steady, and does not stop those that watch.
const MOST_BEGUN_AT_ONCE: usize = 32;
/// A hundred microseconds' work.
const DRAINED_BETWEEN_LOOKS: usize = 32;
/// Well below the 28,000 ports that Linux gives out.
const PLAYERS_PER_SOURCE: usize = 5_000;
/// Of IPv4 and TCP in 1,500 bytes.
const ETHERNET_SEGMENT_BYTES: u32 = 1460;
/// The kernel takes it twice, for what it needs itself.
const SLOW_RECEIVE_BUFFER_BYTES: usize = 256 << 10;
/// More would say no more.
const MOST_REASONS: usize = 8;
