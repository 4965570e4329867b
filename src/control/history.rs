//! Rates, and samples of the last minutes: calculated once per second from the counts of the reports. Keeps a few
//! numbers per stream and core.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use super::last_live::LastLive;
use crate::{
    endpoint::{
        Protocol,
        report::{CoreReport, StreamReport},
    },
    net::Handle,
};

/// Between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Samples that are kept: 15 minutes.
const MAX_SAMPLES: usize = 900;
/// The time over which a rate is calculated, milliseconds: short enough to be current, long enough for several frames.
const WINDOW_MS: u64 = 5_000;
/// Over less time than this a frame more or less changes a frame rate by more than a tenth, milliseconds.
const MIN_FPS_MS: u64 = 1_000;
/// A count that has not been reported for this long has not changed, milliseconds.
const UNCHANGED_AFTER_MS: u64 = 2_500;

/// Rates and samples until now.
#[derive(Default)]
pub(super) struct History {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cores: HashMap<usize, CoreWindows>,
    streams: HashMap<Arc<str>, StreamWindows>,
    samples: VecDeque<Sample>,
    last_live: LastLive,
}

/// The relay at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Of the relay.
    pub(super) uptime_ms: u64,
    pub(super) players: u64,
    pub(super) received_kbps: u64,
    pub(super) sent_kbps: u64,
    pub(super) busy_ratio: f64,
}

/// Rates of a stream or core over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) received_kbps: u64,
    pub(super) sent_kbps: u64,
    /// Video frames per second; only for a stream, and none before there are enough of them.
    pub(super) fps: Option<f64>,
    /// Fraction of the time spent in passes; only for a core.
    pub(super) busy_ratio: f64,
}

/// The players of a stream on all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Watched {
    pub(super) players: [u64; Protocol::COUNT],
}

#[derive(Default)]
struct CoreWindows {
    bytes_in: Window,
    bytes_out: Window,
    pass_us: Window,
}

#[derive(Default)]
struct StreamWindows {
    since_ms: u64,
    bytes_in: Window,
    video_frames: Window,
    bytes_out: Window,
}

/// A count over the last seconds.
#[derive(Default)]
struct Window(VecDeque<(u64, u64)>);

impl Window {
    /// Records that the count was `value` at `at_ms`. A count that decreases has restarted.
    fn note(&mut self, at_ms: u64, value: u64) {
        match self.0.back() {
            Some(&(last_ms, _)) if at_ms <= last_ms => return,
            Some(&(_, last)) if value < last => self.0.clear(),
            _ => {}
        }
        self.0.push_back((at_ms, value));
        // The oldest one is at the start of the window or before it.
        while self.0.get(1).is_some_and(|&(second_ms, _)| second_ms + WINDOW_MS <= at_ms) {
            self.0.pop_front();
        }
    }

    /// Records a count that is reported at its own times, and not at all while it does not change.
    fn note_or_unchanged(&mut self, at_ms: u64, value: u64, now_ms: u64) {
        self.note(at_ms, value);
        if at_ms + UNCHANGED_AFTER_MS <= now_ms {
            self.note(now_ms, value);
        }
    }

    /// The rate per second; none before there are two counts.
    fn per_second(&self) -> Option<f64> {
        let (&(first_ms, first), &(last_ms, last)) = (self.0.front()?, self.0.back()?);
        (last_ms > first_ms).then(|| (last - first) as f64 * 1_000.0 / (last_ms - first_ms) as f64)
    }

    /// The time that the rate is about, milliseconds.
    fn span_ms(&self) -> u64 {
        let ends = self.0.front().zip(self.0.back());
        ends.map_or(0, |(&(first_ms, _), &(last_ms, _))| last_ms - first_ms)
    }

    fn kbps(&self) -> u64 {
        (self.per_second().unwrap_or(0.0) * 8.0 / 1_000.0).round() as u64
    }
}

impl History {
    /// Takes a sample. To be called once per second.
    pub(super) fn sample(&self, relay: &Handle) {
        let (cores, streams) = (relay.cores(), relay.streams());
        self.note(&cores, &streams, relay.uptime().as_millis() as u64);
    }

    fn note(&self, cores: &[Arc<CoreReport>], streams: &[StreamReport], now_ms: u64) {
        let mut state = self.state();
        for core in cores {
            state.cores.entry(core.core).or_default().note(core);
        }
        let reported_ms = cores.iter().map(|core| core.at_ms).max().unwrap_or(now_ms);
        for stream in streams {
            let windows = state.streams.entry(stream.name.clone()).or_default();
            windows.note(stream, reported_ms, now_ms);
        }
        state.streams.retain(|name, _| streams.binary_search_by(|stream| stream.name.cmp(name)).is_ok());
        let live = streams.iter().filter(|stream| stream.is_live).map(|stream| &stream.name);
        state.last_live.note(live, now_ms);
        let rates = state.all();
        let players = cores.iter().flat_map(|core| core.players).sum();
        if state.samples.len() == MAX_SAMPLES {
            state.samples.pop_front();
        }
        let Rates { received_kbps, sent_kbps, busy_ratio, .. } = rates;
        state.samples.push_back(Sample { uptime_ms: now_ms, players, received_kbps, sent_kbps, busy_ratio });
    }

    /// The rates of a stream.
    pub(super) fn stream(&self, name: &str) -> Rates {
        self.state().streams.get(name).map(StreamWindows::rates).unwrap_or_default()
    }

    /// The rates of a core.
    pub(super) fn core(&self, core: usize) -> Rates {
        self.state().cores.get(&core).map(CoreWindows::rates).unwrap_or_default()
    }

    /// The rates of all cores together; `busy` is that of the busiest core.
    pub(super) fn all(&self) -> Rates {
        self.state().all()
    }

    /// The samples, the oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.state().samples.iter().copied().collect()
    }

    /// The streams that were live last, at most so many, with when that was on the relay's clock, milliseconds.
    pub(super) fn last_live(&self, max: usize) -> Vec<(Arc<str>, u64)> {
        self.state().last_live.newest(max)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn all(&self) -> Rates {
        self.cores.values().map(CoreWindows::rates).fold(Rates::default(), |all, core| Rates {
            received_kbps: all.received_kbps + core.received_kbps,
            sent_kbps: all.sent_kbps + core.sent_kbps,
            fps: None,
            busy_ratio: all.busy_ratio.max(core.busy_ratio),
        })
    }
}

impl CoreWindows {
    fn note(&mut self, core: &CoreReport) {
        self.bytes_in.note(core.at_ms, core.bytes_in);
        self.bytes_out.note(core.at_ms, core.bytes_out.iter().sum());
        self.pass_us.note(core.at_ms, core.pass_us.sum());
    }

    fn rates(&self) -> Rates {
        let busy_ratio = self.pass_us.per_second().unwrap_or(0.0) / 1e6;
        Rates {
            received_kbps: self.bytes_in.kbps(),
            sent_kbps: self.bytes_out.kbps(),
            fps: None,
            // More digits mean nothing.
            busy_ratio: (busy_ratio.min(1.0) * 1_000.0).round() / 1_000.0,
        }
    }
}

impl StreamWindows {
    fn note(&mut self, stream: &StreamReport, reported_ms: u64, now_ms: u64) {
        let facts = &stream.facts;
        if self.since_ms != facts.since_ms {
            // Another publisher.
            *self = Self {
                since_ms: facts.since_ms,
                bytes_out: std::mem::take(&mut self.bytes_out),
                ..Self::default()
            };
        }
        // From the first frame on: an encoder may take seconds between its request and that.
        if facts.bytes > 0 {
            self.bytes_in.note_or_unchanged(facts.now_ms, facts.bytes, now_ms);
        }
        if facts.video_frames > 0 {
            self.video_frames.note_or_unchanged(facts.now_ms, facts.video_frames, now_ms);
        }
        self.bytes_out.note(reported_ms, stream.sent_bytes().iter().sum());
    }

    fn rates(&self) -> Rates {
        Rates {
            received_kbps: self.bytes_in.kbps(),
            sent_kbps: self.bytes_out.kbps(),
            fps: self.video_frames.per_second().filter(|_| self.video_frames.span_ms() >= MIN_FPS_MS),
            busy_ratio: 0.0,
        }
    }
}

/// The players of each stream, added up over all cores.
pub(super) fn watched(cores: &[Arc<CoreReport>]) -> HashMap<Arc<str>, Watched> {
    let mut all: HashMap<Arc<str>, Watched> = HashMap::new();
    for followed in cores.iter().flat_map(|core| &core.streams) {
        let watched = all.entry(followed.stream.clone()).or_default();
        watched.players[followed.protocol.index()] += followed.players;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Facts, Totals};

    fn window(points: &[(u64, u64)]) -> Window {
        let mut window = Window::default();
        points.iter().for_each(|&(at_ms, value)| window.note(at_ms, value));
        window
    }

    #[test]
    fn a_rate_covers_the_last_seconds_by_the_times_of_the_counts() {
        assert_eq!(window(&[(0, 0)]).per_second(), None);
        assert_eq!(window(&[(0, 0), (1_100, 110)]).per_second(), Some(100.0));
        // The burst at the start is before the window.
        let points = [(0, 0), (1_000, 1_000_000), (3_000, 1_000_000), (6_500, 1_000_000), (8_000, 1_000_000)];
        assert_eq!(window(&points).per_second(), Some(0.0));
        // Reported twice for the same time: the first one counts.
        assert_eq!(window(&[(0, 0), (1_000, 50), (1_000, 60)]).per_second(), Some(50.0));
    }

    #[test]
    fn a_count_that_restarts_gives_no_negative_rate() {
        assert_eq!(window(&[(0, 500), (1_000, 10)]).per_second(), None);
        assert_eq!(window(&[(0, 500), (1_000, 10), (2_000, 20)]).per_second(), Some(10.0));
    }

    #[test]
    fn a_count_that_is_no_longer_reported_has_the_rate_0() {
        let mut window = window(&[(0, 0), (1_000, 1_000)]);
        window.note_or_unchanged(1_000, 1_000, 2_000);
        assert_eq!(window.per_second(), Some(1_000.0));
        for now_ms in (4_000..10_000).step_by(1_000) {
            window.note_or_unchanged(1_000, 1_000, now_ms);
        }
        assert_eq!(window.per_second(), Some(0.0));
    }

    fn core(at_ms: u64, bytes_in: u64, busy_us: u64) -> Arc<CoreReport> {
        let mut core = CoreReport::new(0);
        (core.at_ms, core.bytes_in, core.bytes_out) = (at_ms, bytes_in, [bytes_in, 0, bytes_in]);
        core.players = [1, 2, 3];
        core.pass_us.observe(busy_us);
        core.into()
    }

    fn stream(since_ms: u64, now_ms: u64, bytes: u64) -> StreamReport {
        let facts =
            Facts { since_ms, now_ms, bytes, video_frames: bytes / 1_000, frames: 1, ..Facts::default() };
        let facts = facts.into();
        StreamReport {
            name: "live/a".into(),
            is_live: true,
            publisher: None,
            silent_ms: None,
            facts,
            was_published: true,
            totals: Totals::default(),
        }
    }

    #[test]
    fn a_sample_adds_up_the_cores_and_has_the_highest_busy() {
        let history = History::default();
        let mut quiet = CoreReport::new(1);
        history.note(&[core(0, 0, 0)], &[], 10);
        quiet.at_ms = 1_000;
        history.note(&[core(1_000, 125_000, 250_000), quiet.into()], &[], 1_010);
        let sample = *history.samples().last().unwrap();
        let expected =
            Sample { uptime_ms: 1_010, players: 6, received_kbps: 1_000, sent_kbps: 2_000, busy_ratio: 0.25 };
        assert_eq!(sample, expected);
        assert_eq!(history.core(0).received_kbps, 1_000);
        assert_eq!(history.core(1), Rates::default());
    }

    #[test]
    fn samples_are_bounded_and_the_oldest_is_dropped_first() {
        let history = History::default();
        (0..MAX_SAMPLES as u64 + 5).for_each(|second| history.note(&[], &[], second * 1_000));
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].uptime_ms), (MAX_SAMPLES, 5_000));
    }

    #[test]
    fn a_frame_rate_counts_from_the_first_frame_and_is_not_known_before_a_second_of_them() {
        let history = History::default();
        let fps = |now_ms, facts_ms, frames: u64| {
            history.note(&[], &[stream(500, facts_ms, frames * 1_000)], now_ms);
            history.stream("live/a").fps
        };
        // It asks to publish, and sends its first frame three seconds later.
        assert_eq!([fps(1_000, 500, 0), fps(2_000, 500, 0), fps(3_000, 500, 0)], [None; 3]);
        assert_eq!([fps(4_000, 3_600, 1), fps(4_500, 4_100, 16)], [None; 2]);
        assert_eq!([fps(5_000, 4_600, 31), fps(6_000, 5_600, 61), fps(9_000, 8_600, 151)], [Some(30.0); 3]);
    }

    #[test]
    fn a_new_publisher_has_its_own_rates_and_a_stream_that_has_ended_has_none() {
        let history = History::default();
        history.note(&[], &[stream(5, 1_000, 1_000)], 1_000);
        history.note(&[], &[stream(5, 2_000, 31_000)], 2_000);
        assert_eq!(
            history.stream("live/a"),
            Rates { received_kbps: 240, fps: Some(30.0), ..Rates::default() }
        );
        // The encoder has reconnected: counts from before are not part of its rates.
        history.note(&[], &[stream(2_500, 3_000, 60_000)], 3_000);
        assert_eq!(history.stream("live/a").received_kbps, 0);
        history.note(&[], &[], 4_000);
        assert!(history.state().streams.is_empty());
    }
}
