//! What the players of a stream have been sent so far, on all cores. Each core adds what is new a few times per second
//! and when its last player leaves, so that no total ever decreases while the stream exists.

#![forbid(unsafe_code)]

use super::{
    form::Form,
    sync::{AtomicU64, Ordering},
};

/// Counts that all cores add to.
#[derive(Default)]
pub(super) struct SharedTotals {
    sent_bytes: [AtomicU64; Form::COUNT],
    skips: AtomicU64,
}

/// What the players of a stream have been sent since the stream began to exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes by the form that the players got: indexed by [`Form::index`].
    pub sent_bytes: [u64; Form::COUNT],
    /// How often a player that lagged was moved to a key frame.
    pub skips: u64,
}

impl SharedTotals {
    pub(super) fn add(&self, form: Form, sent_bytes: u64, skips: u64) {
        self.sent_bytes[form.index()].fetch_add(sent_bytes, Ordering::Relaxed);
        self.skips.fetch_add(skips, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Totals {
        Totals {
            sent_bytes: self.sent_bytes.each_ref().map(|bytes| bytes.load(Ordering::Relaxed)),
            skips: self.skips.load(Ordering::Relaxed),
        }
    }
}
