//! What a stream's writer and its readers share: its logs, and what is known of it. Knows nothing of the writer, of the
//! name's publisher, or of the map that the stream is in.

#![forbid(unsafe_code)]

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    facts::Facts,
    form::Form,
    shown::{Media, Shown},
    signal::Signal,
    stream_log::StreamLog,
    totals::SharedTotals,
};

/// A stream as its writer fills it and its readers see it.
pub(super) struct SharedState {
    name: Arc<str>,
    signals: Arc<[Signal]>,
    /// By wire format.
    logs: [StreamLog; Form::COUNT],
    facts: ArcSwap<Facts>,
    shown: Shown,
    totals: SharedTotals,
}

impl SharedState {
    pub(super) fn new(name: Arc<str>, signals: Arc<[Signal]>) -> Self {
        let logs = Form::ALL.map(|_| StreamLog::new(signals.len()));
        let (facts, shown, totals) = (ArcSwap::default(), Shown::default(), SharedTotals::default());
        Self { name, signals, logs, facts, shown, totals }
    }

    /// `app/name`.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// By core.
    pub(super) fn signals(&self) -> &[Signal] {
        &self.signals
    }

    pub(super) fn log(&self, form: Form) -> &StreamLog {
        &self.logs[form.index()]
    }

    pub(super) fn facts(&self) -> Arc<Facts> {
        self.facts.load_full()
    }

    pub(super) fn set_facts(&self, facts: Facts) {
        self.facts.store(Arc::new(facts));
    }

    pub(super) fn totals(&self) -> &SharedTotals {
        &self.totals
    }

    pub(super) fn media(&self) -> Media {
        self.shown.get()
    }

    pub(super) fn set_media(&self, media: Media) {
        self.shown.set(media);
    }

    /// Notifies the cores that follow of new data.
    pub(super) fn notify_followers(&self) {
        self.logs.iter().for_each(|log| log.notify_followers(&self.signals));
    }

    /// The longest that a core that follows takes for a pass, microseconds.
    pub(super) fn pass_us(&self) -> u64 {
        self.logs.iter().map(|log| log.pass_us(&self.signals)).max().unwrap_or(0)
    }

    /// The stream has no user any more: neither logs nor headers are kept.
    pub(super) fn let_go(&self) {
        self.set_facts(Facts::default());
        self.logs.iter().for_each(|log| log.clear(0));
    }
}
