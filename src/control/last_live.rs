//! When each stream was last live, for alerts: outlives the streams, for a day and up to a number of names.

use std::{collections::HashMap, sync::Arc, time::Duration};

/// An alert about a stream that has ended is of no use any more.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Names that are kept. Publishers can invent any number; those that were live last stay.
const MAX_NAMES: usize = 1_000;

/// Times of the relay's clock, milliseconds, by stream.
#[derive(Default)]
pub(super) struct LastLive(HashMap<Arc<str>, u64>);

impl LastLive {
    /// These streams are live.
    pub(super) fn note<'a>(&mut self, live: impl Iterator<Item = &'a Arc<str>>, now_ms: u64) {
        self.0.extend(live.map(|name| (name.clone(), now_ms)));
        self.0.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < KEPT.as_millis() as u64);
        if self.0.len() > MAX_NAMES {
            let newest = self.newest(MAX_NAMES);
            self.0 = newest.into_iter().collect();
        }
    }

    /// The streams that were live last, at most so many.
    pub(super) fn newest(&self, max: usize) -> Vec<(Arc<str>, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, at_ms)| (name.clone(), *at_ms)).collect();
        all.sort_unstable_by(|(a, a_ms), (b, b_ms)| b_ms.cmp(a_ms).then_with(|| a.cmp(b)));
        all.truncate(max);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|number| format!("live/{number:05}").into()).collect()
    }

    #[test]
    fn a_stream_that_has_ended_is_kept_for_a_day() {
        let mut last_live = LastLive::default();
        let names = names(2);
        last_live.note(names.iter(), 5);
        last_live.note(names[1..].iter(), 1_000);
        assert_eq!(last_live.newest(9), [(names[1].clone(), 1_000), (names[0].clone(), 5)]);
        last_live.note([].iter(), 24 * 60 * 60 * 1_000 + 5);
        assert_eq!(last_live.newest(9), [(names[1].clone(), 1_000)]);
    }

    #[test]
    fn the_streams_that_were_live_first_make_room() {
        let mut last_live = LastLive::default();
        let names = names(MAX_NAMES + 2);
        names.iter().enumerate().for_each(|(at_ms, name)| last_live.note([name].into_iter(), at_ms as u64));
        let kept = last_live.newest(usize::MAX);
        assert_eq!((kept.len(), &kept.last().unwrap().0), (MAX_NAMES, &names[2]));
        assert_eq!(last_live.newest(1)[0].0, names[MAX_NAMES + 1]);
    }
}
