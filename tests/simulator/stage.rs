//! What all parts of a run share: the world, its choices, what encoders have sent, how long the relay may take.

use std::{fmt::Write, net::SocketAddr};

use fanfare::{config::Config, flv::Frame};

use super::{
    ledger::{Ledger, Read},
    random::Random,
    rights::Rights,
    setup::Setup,
    sockets::Sockets,
    world::World,
};

/// Connections are checked once a second, and a tick later.
pub const SWEEP_US: u64 = 1_100_000;
/// What else may come between: ticks, retries, slices.
pub const SLACK_US: u64 = 1_500_000;

pub struct Stage {
    pub world: World,
    pub random: Random,
    pub ledger: Ledger,
    pub setup: Setup,
    pub sockets: Sockets,
    pub rights: Rights,
    /// The longest and the shortest of what any configuration of the run allows.
    pub longest: Times,
    pub shortest: Times,
    /// How long all cores have stood still, microseconds.
    still_us: u64,
    /// How long each one has stood still alone, and which one does so now, since when.
    still_alone_us: Vec<u64>,
    stopped: Option<(usize, u64)>,
    pub is_draining: bool,
    tags: usize,
    trace: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub send_timeout_us: u64,
    pub handshake_us: u64,
    pub request_us: u64,
    pub publisher_us: u64,
}

impl Times {
    pub fn of(config: &Config) -> Self {
        Self {
            send_timeout_us: config.play.send_timeout.as_micros() as u64,
            handshake_us: config.limits.handshake_timeout.as_micros() as u64,
            request_us: config.limits.request_timeout.as_micros() as u64,
            publisher_us: config.limits.publisher_timeout.as_micros() as u64,
        }
    }

    fn with(self, other: Self, choose: fn(u64, u64) -> u64) -> Self {
        Self {
            send_timeout_us: choose(self.send_timeout_us, other.send_timeout_us),
            handshake_us: choose(self.handshake_us, other.handshake_us),
            request_us: choose(self.request_us, other.request_us),
            publisher_us: choose(self.publisher_us, other.publisher_us),
        }
    }
}

impl Stage {
    pub fn new(
        world: World,
        random: Random,
        setup: Setup,
        rights: Rights,
        sockets: Sockets,
        is_traced: bool,
    ) -> Self {
        let times = Times::of(&setup.config);
        let still_alone_us = vec![0; setup.cores];
        Self {
            world,
            random,
            ledger: Ledger::default(),
            setup,
            rights,
            sockets,
            longest: times,
            shortest: times,
            still_us: 0,
            still_alone_us,
            stopped: None,
            is_draining: false,
            tags: 0,
            trace: is_traced.then(String::new),
        }
    }

    pub fn now_us(&self) -> u64 {
        self.world.net.borrow().now_us
    }

    /// The time without that in which cores stood still: what the relay is measured by.
    pub fn fair_us(&self) -> u64 {
        let now_us = self.now_us();
        let stopped_us = self.stopped.map_or(0, |(_, since_us)| now_us - since_us);
        now_us - self.still_us - self.still_alone_us.iter().sum::<u64>() - stopped_us
    }

    /// The time without that in which this core stood still.
    pub fn fair_us_of(&self, core: usize) -> u64 {
        let now_us = self.now_us();
        let stopped = self.stopped.filter(|(stopped, _)| *stopped == core);
        let stopped_us = stopped.map_or(0, |(_, since_us)| now_us - since_us);
        now_us - self.still_us - self.still_alone_us[core] - stopped_us
    }

    /// Whether a core has stood still.
    pub fn has_stood_still(&self) -> bool {
        self.now_us() > self.fair_us()
    }

    /// All cores stand still for so long.
    pub fn stand_still_ms(&mut self, ms: u64) {
        self.note(|| format!("all stands still for {ms} ms"));
        self.world.stand_still_ms(ms);
        self.still_us += ms * 1_000;
        // It does not count twice.
        self.stopped = self.stopped.map(|(core, since_us)| (core, since_us + ms * 1_000));
    }

    /// This core stands still from now on, and the others go on; none if there is one already.
    pub fn stop_core(&mut self, core: usize) {
        if self.stopped.is_none() {
            self.note(|| format!("core {core} stands still"));
            self.stopped = Some((core, self.now_us()));
            self.world.stop_core(core);
        }
    }

    /// The core that stands still goes on.
    pub fn start_core(&mut self) {
        if let Some((core, since_us)) = self.stopped.take() {
            self.note(|| format!("core {core} goes on"));
            self.still_alone_us[core] += self.now_us() - since_us;
            self.world.start_core(core);
        }
    }

    pub fn is_stopped(&self, core: usize) -> bool {
        self.stopped.is_some_and(|(stopped, _)| stopped == core)
    }

    /// A core for a connection that comes: one that stands still accepts none.
    pub fn any_core(&mut self) -> usize {
        let cores = self.setup.cores;
        let core = self.random.below(cores as u64) as usize;
        if self.is_stopped(core) { (core + 1) % cores } else { core }
    }

    pub fn configure(&mut self, config: Config) {
        self.longest = self.longest.with(Times::of(&config), u64::max);
        self.shortest = self.shortest.with(Times::of(&config), u64::min);
        self.world.shared.set_config(config);
    }

    /// Something has happened: for the trace.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let now_us = self.now_us();
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{:10.3} {}", now_us as f64 / 1e6, what());
        }
    }

    /// A player has got a frame.
    pub fn note_frame(&mut self, peer: SocketAddr, frame: &Frame) {
        if self.trace.is_some() {
            let what = match self.ledger.read(frame) {
                Ok(Read::Media { attempt, number }) => format!("{attempt}/{number}"),
                Ok(_) => "a header".to_owned(),
                Err(error) => error,
            };
            self.note(|| format!("{peer} gets {what}, {:?} at {} ms", frame.kind, frame.timestamp_ms));
        }
    }

    /// All that has happened, if that is kept.
    pub fn take_trace(&mut self) -> Option<String> {
        self.trace.take()
    }

    /// A number that nothing else has.
    pub fn tag(&mut self) -> usize {
        self.tags += 1;
        self.tags
    }

    /// Whether players may begin anywhere: memory is short, or cores stand still, or a group of pictures is more than is
    /// kept.
    pub fn is_rough(&self) -> bool {
        let Setup { is_tight, stands_still, stops_cores, has_large_frames, ref config, .. } = self.setup;
        is_tight || stands_still || stops_cores || has_large_frames && config.play.stream_buffer < 8 << 20
    }

    /// Fails where this is an error.
    pub fn insist(&mut self, what: Result<(), String>) {
        if let Err(what) = what {
            self.fail(&what);
        }
    }

    /// The relay has done wrong.
    pub fn fail(&mut self, what: &str) -> ! {
        let at = self.now_us() as f64 / 1e6;
        if let Some(trace) = self.take_trace() {
            super::say(&trace);
        }
        panic!("at {at:.3} s: {what}");
    }
}
