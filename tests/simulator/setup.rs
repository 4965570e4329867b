//! What a run is like: its configuration, its network, who takes part. All of it from the seed.

use std::time::Duration;

use fanfare::{
    config::{Config, SecondPublisher},
    endpoint::IoError,
    stream::Start,
};

use super::{random::Random, world::Chance};

pub struct Setup {
    pub config: Config,
    pub cores: usize,
    pub length_us: u64,
    pub cameras: u64,
    pub players: u64,
    pub strangers: u64,
    /// Names that they use.
    pub names: &'static [&'static str],
    /// A service decides which peer may do what.
    pub asks: bool,
    /// Memory is short.
    pub is_tight: bool,
    /// Cores stand still now and then.
    pub stands_still: bool,
    /// One core stands still now and then, while the others go on.
    pub stops_cores: bool,
    /// Encoders' clocks are set.
    pub has_jumps: bool,
    /// The configuration is replaced.
    pub reconfigures: bool,
    /// Peers read slowly, or not at all for a while.
    pub has_slow_peers: bool,
    /// Chooses when players pause while a send to them waits; none where they do not for that.
    pub pauses: Option<Random>,
    pub kicks: bool,
    /// Sends and receives fail now and then.
    pub has_trouble: bool,
    /// Pictures are large now and then.
    pub has_large_frames: bool,
    pub ends_by_drain: bool,
    pub weather: Weather,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Setup {
    pub fn new(random: &mut Random) -> Self {
        let is_tight = random.percent(12);
        let config = config(random, is_tight);
        let has_trouble = random.percent(30);
        Self {
            config,
            cores: random.within(1..=3) as usize,
            length_us: random.within(4..=16) * 1_000_000,
            cameras: random.within(1..=3),
            players: random.within(1..=7),
            strangers: if random.percent(30) { random.within(1..=4) } else { 0 },
            names: &["a", "b", "c"][..random.within(1..=3) as usize],
            asks: random.percent(30),
            is_tight,
            stands_still: random.percent(20),
            stops_cores: false,
            has_jumps: random.percent(25),
            reconfigures: random.percent(20),
            has_slow_peers: random.percent(50),
            pauses: None,
            kicks: random.percent(25),
            has_trouble,
            has_large_frames: random.percent(20),
            ends_by_drain: random.percent(50),
            weather: Weather {
                random: random.fork(),
                in_order: random.pick(&[0, 50, 100]),
                whole: random.pick(&[40, 80, 100]),
                tiny: random.pick(&[0, 2, 20]),
                trouble_per_mille: if has_trouble { random.pick(&[2, 20]) } else { 0 },
                work: random.pick(&[0, 0, 20]),
            },
        }
    }

    /// Players read slowly, and pause and resume just then.
    pub fn pause_often(&mut self, random: Random) {
        (self.has_slow_peers, self.pauses) = (true, Some(random));
    }

    /// Cores stand still alone, for so long that a publisher gives up that waits for a name there.
    pub fn stop_cores(&mut self) {
        (self.stops_cores, self.stands_still) = (true, false);
        self.length_us = self.length_us.max(14_000_000);
        self.cameras = self.cameras.max(2);
        self.config.publish.on_second_publisher = SecondPublisher::Takeover;
    }
}

fn config(random: &mut Random, is_tight: bool) -> Config {
    let mut config = Config::default();
    let publish = &mut config.publish;
    publish.on_second_publisher = random.pick(&[SecondPublisher::Reject, SecondPublisher::Takeover]);
    publish.takeover_after = MS(random.pick(&[100, 1_000, 3_000]));
    publish.publisher_grace = MS(random.pick(&[0, 500, 2_000, 6_000]));
    let play = &mut config.play;
    play.start = random.pick(&[Start::KeyFrame, Start::KeyFrame, Start::Live]);
    play.wait_for_publisher = MS(random.pick(&[0, 1_000, 3_000, 20_000]));
    play.max_lag = MS(random.pick(&[200, 1_000, 5_000]));
    play.merge_window = MS(random.pick(&[0, 5, 20]));
    play.latency_budget = MS(random.pick(&[0, 50, 150]));
    play.stream_buffer = random.pick(&[1 << 20, 32 << 20]);
    vary(random, &mut config);
    let limits = &mut config.limits;
    if is_tight {
        limits.memory_budget = random.pick(&[1 << 20, 2 << 20, 6 << 20]);
    }
    if random.percent(10) {
        limits.connections = random.within(3..=8) as usize;
    }
    if random.percent(10) {
        limits.streams = 1;
    }
    config
}

/// Chooses anew what may change under a running relay.
pub fn vary(random: &mut Random, config: &mut Config) {
    config.play.send_timeout = MS(random.pick(&[1_000, 2_000, 4_000]));
    config.play.ping_interval = MS(random.pick(&[1_000, 3_000, 30_000]));
    config.limits.handshake_timeout = MS(random.pick(&[1_000, 3_000]));
    config.limits.request_timeout = MS(random.pick(&[1_000, 4_000]));
    config.limits.publisher_timeout = MS(random.pick(&[1_500, 4_000]));
    config.limits.connections = if random.percent(8) { 6 } else { 100_000 };
}

/// The order of things on the network, and the kernel's troubles.
pub struct Weather {
    random: Random,
    /// Percent of completions that come in the order in which they were started.
    in_order: u64,
    /// Percent of sends and receives that move all that they can, and percent of those that move a few bytes.
    whole: u64,
    tiny: u64,
    trouble_per_mille: u64,
    /// Microseconds that a piece of work takes at most.
    work: u64,
}

impl Weather {
    pub fn take(&mut self) -> Self {
        Self { random: self.random.fork(), ..*self }
    }
}

impl Chance for Weather {
    fn pick(&mut self, among: usize) -> usize {
        if among == 1 || self.random.percent(self.in_order) {
            0
        } else {
            self.random.below(among as u64) as usize
        }
    }

    fn amount(&mut self, most: usize) -> usize {
        let roll = self.random.below(100);
        if roll < self.whole {
            most
        } else if roll < self.whole + self.tiny {
            self.random.within(1..=most.min(8) as u64) as usize
        } else {
            self.random.within(1..=most as u64) as usize
        }
    }

    fn trouble(&mut self) -> Option<IoError> {
        (self.random.below(1_000) < self.trouble_per_mille)
            .then(|| if self.random.percent(50) { IoError::Shortage } else { IoError::Interrupted })
    }

    fn work_us(&mut self) -> u64 {
        match self.work {
            0 => 0,
            // A page fault, an interrupt.
            _ if self.random.below(500) == 0 => self.random.below(400),
            work => self.random.below(work),
        }
    }
}
