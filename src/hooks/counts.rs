//! What is counted: read by the metrics on other threads.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::hook::Hook;
use crate::access::{HookReport, ServiceReport};

/// Counted since the start.
#[derive(Default)]
pub(super) struct Counts {
    hooks: [OfHook; Hook::ALL.len()],
    pub joined: AtomicU64,
    pub cached: AtomicU64,
    /// Questions that have no answer yet.
    pub questions: AtomicUsize,
    /// Notices that have not been taken or dropped.
    pub notices: AtomicUsize,
    dropped: AtomicU64,
    /// Notices that were dropped when that was last logged, and when that was, milliseconds since the relay started.
    logged: Mutex<Option<(u64, u64)>>,
}

#[derive(Default)]
struct OfHook {
    results: [AtomicU64; 3],
    time_us: AtomicU64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Yes,
    No,
    Failed,
}

impl Counts {
    pub(super) fn count(&self, hook: Hook, outcome: Outcome, time: Duration) {
        let counts = &self.hooks[hook as usize];
        counts.results[outcome as usize].fetch_add(1, Relaxed);
        counts.time_us.fetch_add(time.as_micros() as u64, Relaxed);
    }

    /// A notice is dropped: logged at most every 10 s.
    pub(super) fn drop_notice(&self, reason: &str, now_ms: u64) {
        let dropped = self.dropped.fetch_add(1, Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, at_ms) = logged.unwrap_or_default();
        if logged.is_none() || now_ms >= at_ms + LOG_INTERVAL_MS {
            tracing::warn!(reason, dropped = dropped - before, "notices to the web service dropped");
            *logged = Some((dropped, now_ms));
        }
    }

    pub(super) fn report(&self) -> ServiceReport {
        let of_hook = |hook: Hook| {
            let counts = &self.hooks[hook as usize];
            let [yes, no, failed] = [Outcome::Yes, Outcome::No, Outcome::Failed]
                .map(|outcome| counts.results[outcome as usize].load(Relaxed));
            HookReport { hook: hook.name(), yes, no, failed, time_us: counts.time_us.load(Relaxed) }
        };
        ServiceReport {
            hooks: Hook::ALL.map(of_hook).into(),
            joined: self.joined.load(Relaxed),
            cached: self.cached.load(Relaxed),
            questions: self.questions.load(Relaxed) as u64,
            notices: self.notices.load(Relaxed) as u64,
            dropped: self.dropped.load(Relaxed),
        }
    }
}

const LOG_INTERVAL_MS: u64 = 10_000;
