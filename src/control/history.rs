//! Rates and the last minutes: made of the reports' counts, looked at once a second. Holds no more than a few numbers a
//! stream and core.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::{
    endpoint::{
        Protocol,
        report::{CoreReport, StreamReport},
    },
    net::Handle,
};

/// Between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Samples that are kept: a quarter of an hour.
const SAMPLES: usize = 900;
/// What a rate is made of, milliseconds: short enough to be now, long enough for a picture in it.
const WINDOW_MS: u64 = 5_000;
/// A count that has not been told anew for this long has stood still, milliseconds.
const STILL_MS: u64 = 2_500;

/// Rates and samples up to now.
#[derive(Default)]
pub(super) struct History {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    cores: HashMap<usize, CoreWindows>,
    streams: HashMap<Arc<str>, StreamWindows>,
    samples: VecDeque<Sample>,
}

/// The relay at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    pub(super) at_ms: u64,
    pub(super) players: u64,
    pub(super) kbps_in: u64,
    pub(super) kbps_out: u64,
    pub(super) busy: f64,
}

/// What a stream or core moved over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) kbps_in: u64,
    pub(super) kbps_out: u64,
    /// Pictures a second; of a stream.
    pub(super) fps: Option<f64>,
    /// Share of the time that was spent in passes; of a core.
    pub(super) busy: f64,
}

/// Who watches a stream, on all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Watched {
    pub(super) players: [u64; Protocol::COUNT],
    pub(super) bytes_out: [u64; Protocol::COUNT],
    pub(super) skips: u64,
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
    pictures: Window,
    bytes_out: Window,
}

/// A count over the last seconds.
#[derive(Default)]
struct Window(VecDeque<(u64, u64)>);

impl Window {
    /// The count was `value` at `at_ms`. One that goes down has begun anew.
    fn note(&mut self, at_ms: u64, value: u64) {
        match self.0.back() {
            Some(&(last_ms, _)) if at_ms <= last_ms => return,
            Some(&(_, last)) if value < last => self.0.clear(),
            _ => {}
        }
        self.0.push_back((at_ms, value));
        // The oldest one is at the window's beginning or before it.
        while self.0.get(1).is_some_and(|&(second_ms, _)| second_ms + WINDOW_MS <= at_ms) {
            self.0.pop_front();
        }
    }

    /// What is told at times of its own, and no more when it stands still.
    fn note_or_still(&mut self, at_ms: u64, value: u64, now_ms: u64) {
        self.note(at_ms, value);
        if at_ms + STILL_MS <= now_ms {
            self.note(now_ms, value);
        }
    }

    /// How many a second; none before there are two counts.
    fn per_second(&self) -> Option<f64> {
        let (&(first_ms, first), &(last_ms, last)) = (self.0.front()?, self.0.back()?);
        (last_ms > first_ms).then(|| (last - first) as f64 * 1_000.0 / (last_ms - first_ms) as f64)
    }

    fn kbps(&self) -> u64 {
        (self.per_second().unwrap_or(0.0) * 8.0 / 1_000.0).round() as u64
    }
}

impl History {
    /// Looks at the relay. To be called once a second.
    pub(super) fn sample(&self, relay: &Handle) {
        let (cores, streams) = (relay.cores(), relay.streams());
        self.note(&cores, &streams, relay.uptime().as_millis() as u64);
    }

    fn note(&self, cores: &[Arc<CoreReport>], streams: &[StreamReport], now_ms: u64) {
        let mut inside = self.inside();
        for core in cores {
            inside.cores.entry(core.core).or_default().note(core);
        }
        let watched = watched(cores);
        let told_ms = cores.iter().map(|core| core.at_ms).max().unwrap_or(now_ms);
        for stream in streams {
            let watched = watched.get(&stream.name).copied().unwrap_or_default();
            let windows = inside.streams.entry(stream.name.clone()).or_default();
            windows.note(stream, watched, told_ms, now_ms);
        }
        inside.streams.retain(|name, _| streams.binary_search_by(|stream| stream.name.cmp(name)).is_ok());
        let rates = inside.all();
        let players = cores.iter().flat_map(|core| core.players).sum();
        if inside.samples.len() == SAMPLES {
            inside.samples.pop_front();
        }
        let Rates { kbps_in, kbps_out, busy, .. } = rates;
        inside.samples.push_back(Sample { at_ms: now_ms, players, kbps_in, kbps_out, busy });
    }

    /// Of a stream.
    pub(super) fn stream(&self, name: &str) -> Rates {
        self.inside().streams.get(name).map(StreamWindows::rates).unwrap_or_default()
    }

    /// Of a core.
    pub(super) fn core(&self, core: usize) -> Rates {
        self.inside().cores.get(&core).map(CoreWindows::rates).unwrap_or_default()
    }

    /// Of all cores; as busy as the busiest of them.
    pub(super) fn all(&self) -> Rates {
        self.inside().all()
    }

    /// The oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.inside().samples.iter().copied().collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Counts are whole between any two statements.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn all(&self) -> Rates {
        self.cores.values().map(CoreWindows::rates).fold(Rates::default(), |all, core| Rates {
            kbps_in: all.kbps_in + core.kbps_in,
            kbps_out: all.kbps_out + core.kbps_out,
            fps: None,
            busy: all.busy.max(core.busy),
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
        let busy = self.pass_us.per_second().unwrap_or(0.0) / 1e6;
        Rates {
            kbps_in: self.bytes_in.kbps(),
            kbps_out: self.bytes_out.kbps(),
            fps: None,
            // Three digits are more than it is worth.
            busy: (busy.min(1.0) * 1_000.0).round() / 1_000.0,
        }
    }
}

impl StreamWindows {
    fn note(&mut self, stream: &StreamReport, watched: Watched, told_ms: u64, now_ms: u64) {
        let facts = &stream.facts;
        if self.since_ms != facts.since_ms {
            // Another publish.
            *self = Self {
                since_ms: facts.since_ms,
                bytes_out: std::mem::take(&mut self.bytes_out),
                ..Self::default()
            };
        }
        self.bytes_in.note_or_still(facts.now_ms, facts.bytes, now_ms);
        self.pictures.note_or_still(facts.now_ms, facts.pictures, now_ms);
        self.bytes_out.note(told_ms, watched.bytes_out.iter().sum());
    }

    fn rates(&self) -> Rates {
        Rates {
            kbps_in: self.bytes_in.kbps(),
            kbps_out: self.bytes_out.kbps(),
            fps: self.pictures.per_second(),
            busy: 0.0,
        }
    }
}

/// Who watches what, all cores together.
pub(super) fn watched(cores: &[Arc<CoreReport>]) -> HashMap<Arc<str>, Watched> {
    let mut all: HashMap<Arc<str>, Watched> = HashMap::new();
    for followed in cores.iter().flat_map(|core| &core.streams) {
        let watched = all.entry(followed.stream.clone()).or_default();
        watched.players[followed.protocol.index()] += followed.players;
        watched.bytes_out[followed.protocol.index()] += followed.bytes_out;
        watched.skips += followed.skips;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Facts;

    fn window(points: &[(u64, u64)]) -> Window {
        let mut window = Window::default();
        points.iter().for_each(|&(at_ms, value)| window.note(at_ms, value));
        window
    }

    #[test]
    fn a_rate_is_of_the_last_seconds_and_by_the_times_of_the_counts() {
        assert_eq!(window(&[(0, 0)]).per_second(), None);
        assert_eq!(window(&[(0, 0), (1_100, 110)]).per_second(), Some(100.0));
        // The burst at the beginning is long over.
        let points = [(0, 0), (1_000, 1_000_000), (3_000, 1_000_000), (6_500, 1_000_000), (8_000, 1_000_000)];
        assert_eq!(window(&points).per_second(), Some(0.0));
        // Told twice at one time: once is enough.
        assert_eq!(window(&[(0, 0), (1_000, 50), (1_000, 60)]).per_second(), Some(50.0));
    }

    #[test]
    fn a_count_that_begins_anew_is_no_negative_rate() {
        assert_eq!(window(&[(0, 500), (1_000, 10)]).per_second(), None);
        assert_eq!(window(&[(0, 500), (1_000, 10), (2_000, 20)]).per_second(), Some(10.0));
    }

    #[test]
    fn a_count_that_nobody_tells_any_more_stands_still() {
        let mut window = window(&[(0, 0), (1_000, 1_000)]);
        window.note_or_still(1_000, 1_000, 2_000);
        assert_eq!(window.per_second(), Some(1_000.0));
        for now_ms in (4_000..10_000).step_by(1_000) {
            window.note_or_still(1_000, 1_000, now_ms);
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
        let facts = Facts { since_ms, now_ms, bytes, pictures: bytes / 1_000, frames: 1, ..Facts::default() };
        let facts = facts.into();
        StreamReport { name: "live/a".into(), is_live: true, publisher: None, silent_ms: None, facts }
    }

    #[test]
    fn a_sample_adds_the_cores_and_is_as_busy_as_the_busiest() {
        let history = History::default();
        let mut quiet = CoreReport::new(1);
        history.note(&[core(0, 0, 0)], &[], 10);
        quiet.at_ms = 1_000;
        history.note(&[core(1_000, 125_000, 250_000), quiet.into()], &[], 1_010);
        let sample = *history.samples().last().unwrap();
        let expected = Sample { at_ms: 1_010, players: 6, kbps_in: 1_000, kbps_out: 2_000, busy: 0.25 };
        assert_eq!(sample, expected);
        assert_eq!(history.core(0).kbps_in, 1_000);
        assert_eq!(history.core(1), Rates::default());
    }

    #[test]
    fn samples_are_bounded_and_the_oldest_goes_first() {
        let history = History::default();
        (0..SAMPLES as u64 + 5).for_each(|second| history.note(&[], &[], second * 1_000));
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].at_ms), (SAMPLES, 5_000));
    }

    #[test]
    fn a_publish_has_rates_of_its_own_and_a_stream_that_is_gone_has_none() {
        let history = History::default();
        history.note(&[], &[stream(5, 1_000, 0)], 1_000);
        history.note(&[], &[stream(5, 2_000, 30_000)], 2_000);
        assert_eq!(history.stream("live/a"), Rates { kbps_in: 240, fps: Some(30.0), ..Rates::default() });
        // The encoder came back: the counts of the one before are no part of its rates.
        history.note(&[], &[stream(2_500, 3_000, 60_000)], 3_000);
        assert_eq!(history.stream("live/a").kbps_in, 0);
        history.note(&[], &[], 4_000);
        assert!(history.inside().streams.is_empty());
    }
}
