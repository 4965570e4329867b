//! Names whose encoder went away a moment ago and may come back: during the grace a new viewer of such a name is not
//! turned away, whether others wait with it or not. Kept beside the streams, because a stream without users is gone at
//! once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The names, the latest to be given up last. Times are milliseconds of the relay's clock.
pub(super) struct Vacated {
    inner: Mutex<Inner>,
    /// As many as can be published at a time: so all of them may lose their encoders at once.
    max_names: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    since_ms: HashMap<Box<str>, u64>,
    /// A name that was given up several times is in it as often.
    order: VecDeque<(u64, Box<str>)>,
}

impl Vacated {
    pub(super) fn new(max_names: usize) -> Self {
        Self { inner: Mutex::default(), max_names: AtomicUsize::new(max_names) }
    }

    /// So many names can be published at a time from now on.
    pub(super) fn set_max_names(&self, max_names: usize) {
        self.max_names.store(max_names, Ordering::Relaxed);
    }

    /// The publisher of this name goes. Forgets names whose grace is over.
    pub(super) fn note(&self, name: &str, grace_ms: u64, now_ms: u64) {
        let mut inner = self.inner();
        let is_over = |since_ms: u64| now_ms.saturating_sub(since_ms) >= grace_ms;
        let max_names = self.max_names.load(Ordering::Relaxed).max(1);
        while inner.order.len() >= max_names
            || inner.order.front().is_some_and(|(since_ms, _)| is_over(*since_ms))
        {
            let Some((since_ms, name)) = inner.order.pop_front() else { break };
            if inner.since_ms.get(&name) == Some(&since_ms) {
                inner.since_ms.remove(&name);
            }
        }
        inner.since_ms.insert(name.into(), now_ms);
        inner.order.push_back((now_ms, name.into()));
    }

    /// Whether its publisher may still come back.
    pub(super) fn is_known(&self, name: &str, grace_ms: u64, now_ms: u64) -> bool {
        let since_ms = self.inner().since_ms.get(name).copied();
        since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) < grace_ms)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panic elsewhere left half done is a name more or less.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE_MS: u64 = 10_000;

    #[test]
    fn a_name_is_known_for_the_grace_and_no_longer() {
        let vacated = Vacated::new(9);
        assert!(!vacated.is_known("live/a", GRACE_MS, 0));
        vacated.note("live/a", GRACE_MS, 0);
        assert!(vacated.is_known("live/a", GRACE_MS, GRACE_MS - 1));
        assert!(!vacated.is_known("live/a", GRACE_MS, GRACE_MS));
        assert!(!vacated.is_known("live/b", GRACE_MS, 0));
    }

    #[test]
    fn each_time_that_an_encoder_goes_the_grace_begins_anew() {
        let vacated = Vacated::new(9);
        vacated.note("live/a", GRACE_MS, 0);
        vacated.note("live/a", GRACE_MS, GRACE_MS / 2);
        // The first time is over, and is forgotten.
        vacated.note("live/b", GRACE_MS, GRACE_MS);
        assert!(vacated.is_known("live/a", GRACE_MS, GRACE_MS));
        vacated.note("live/b", GRACE_MS, GRACE_MS * 2);
        assert_eq!(vacated.inner().since_ms.len(), 1, "nothing is left over");
        assert_eq!(vacated.inner().order.len(), 1);
    }

    #[test]
    fn names_are_bounded_and_the_oldest_goes_first() {
        let vacated = Vacated::new(100);
        for i in 0..=100 {
            vacated.note(&format!("live/{i}"), GRACE_MS, 0);
        }
        assert!(!vacated.is_known("live/0", GRACE_MS, 0) && vacated.is_known("live/1", GRACE_MS, 0));
        assert_eq!(vacated.inner().order.len(), 100);
    }
}
