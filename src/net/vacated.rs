//! Names whose encoder went away a moment ago and may come back: during the grace a viewer that comes is no stranger,
//! whether others wait with it or not. Kept beside the streams, because a stream without users is gone at once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The names, the latest to be given up last.
pub(super) struct Vacated {
    inside: Mutex<Inside>,
    grace: Duration,
    /// As many as can be published at a time: so all of them may lose their encoders at once.
    max_names: usize,
}

#[derive(Default)]
struct Inside {
    since: HashMap<Box<str>, Instant>,
    /// A name that was given up several times is in it as often.
    order: VecDeque<(Instant, Box<str>)>,
}

impl Vacated {
    pub(super) fn new(grace: Duration, max_names: usize) -> Self {
        Self { inside: Mutex::default(), grace, max_names }
    }

    /// The publisher of this name goes.
    pub(super) fn note(&self, name: &str, now: Instant) {
        let mut inside = self.inside();
        let is_over = |since: Instant| now.saturating_duration_since(since) >= self.grace;
        while inside.order.len() >= self.max_names.max(1)
            || inside.order.front().is_some_and(|(since, _)| is_over(*since))
        {
            let Some((since, name)) = inside.order.pop_front() else { break };
            if inside.since.get(&name) == Some(&since) {
                inside.since.remove(&name);
            }
        }
        inside.since.insert(name.into(), now);
        inside.order.push_back((now, name.into()));
    }

    /// Whether its publisher may still come back.
    pub(super) fn is_known(&self, name: &str, now: Instant) -> bool {
        let since = self.inside().since.get(name).copied();
        since.is_some_and(|since| now.saturating_duration_since(since) < self.grace)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // What a panic elsewhere left half done is a name more or less.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[test]
    fn a_name_is_known_for_the_grace_and_no_longer() {
        let (vacated, start) = (Vacated::new(GRACE, 9), Instant::now());
        assert!(!vacated.is_known("live/a", start));
        vacated.note("live/a", start);
        assert!(vacated.is_known("live/a", start + GRACE - Duration::from_millis(1)));
        assert!(!vacated.is_known("live/a", start + GRACE));
        assert!(!vacated.is_known("live/b", start));
    }

    #[test]
    fn each_time_that_an_encoder_goes_the_grace_begins_anew() {
        let (vacated, start) = (Vacated::new(GRACE, 9), Instant::now());
        vacated.note("live/a", start);
        vacated.note("live/a", start + GRACE / 2);
        // The first time is over, and is thrown away.
        vacated.note("live/b", start + GRACE);
        assert!(vacated.is_known("live/a", start + GRACE));
        vacated.note("live/b", start + GRACE * 2);
        assert_eq!(vacated.inside().since.len(), 1, "nothing is left behind");
        assert_eq!(vacated.inside().order.len(), 1);
    }

    #[test]
    fn names_are_bounded_and_the_oldest_goes_first() {
        let (vacated, start) = (Vacated::new(GRACE, 100), Instant::now());
        for i in 0..=100 {
            vacated.note(&format!("live/{i}"), start);
        }
        assert!(!vacated.is_known("live/0", start) && vacated.is_known("live/1", start));
        assert_eq!(vacated.inside().order.len(), 100);
    }
}
