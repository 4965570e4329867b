//! One log of a stream as its readers share it: where players begin, which segments there are, which cores follow.

#![forbid(unsafe_code)]

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{
    join::Join,
    segment::Segment,
    signal::Signal,
    sync::Published,
    usage::Followers,
    watchers::{Watcher, Watchers},
};

/// A stream in one form, for all cores. Empty while there is no reader of that form.
pub struct StreamLog {
    join: ArcSwap<Join>,
    newest: ArcSwapOption<Segment>,
    /// Segments below this sequence are retired: cores drop theirs.
    oldest: AtomicU64,
    /// That one. Weak: it is the writer that keeps segments.
    oldest_segment: ArcSwap<Weak<Segment>>,
    /// Moves on with each publish, and where the log begins anew.
    epoch: AtomicU32,
    /// The newest epochs, oldest first.
    epoch_starts: Published<Vec<EpochStart>>,
    kept_from: AtomicU32,
    followers: Followers,
    /// The cores where its players wait for the pass, because they are many.
    crowds: Box<[AtomicBool]>,
    watchers: Watchers,
}

/// Where the messages of an epoch begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EpochStart {
    pub epoch: u32,
    /// Segment and offset.
    pub position: (u64, u32),
}

/// Epochs whose starts are known. A reader that is further behind sees them as one.
const MAX_EPOCH_STARTS: usize = 16;

impl StreamLog {
    pub(super) fn new(cores: usize) -> Self {
        Self {
            join: ArcSwap::from_pointee(Join::Nothing),
            newest: ArcSwapOption::empty(),
            oldest: AtomicU64::new(0),
            oldest_segment: ArcSwap::from_pointee(Weak::new()),
            epoch: AtomicU32::new(0),
            epoch_starts: Published::new(Vec::new()),
            kept_from: AtomicU32::new(0),
            followers: Followers::none(cores),
            crowds: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            watchers: Watchers::none(),
        }
    }

    /// Where a player begins now.
    pub fn join(&self) -> arc_swap::Guard<Arc<Join>> {
        self.join.load()
    }

    /// The segment that is being written.
    pub fn newest(&self) -> Option<Arc<Segment>> {
        self.newest.load_full()
    }

    /// The oldest sequence that is kept.
    pub fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// The oldest segment that is kept; none while there is none.
    pub fn oldest_segment(&self) -> Option<Arc<Segment>> {
        self.oldest_segment.load().upgrade()
    }

    /// The current epoch of the log. A player belongs to the epoch in which it began.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Players of an earlier epoch are to be ended: the headers that they were sent do not go with what comes now.
    pub fn kept_from(&self) -> u32 {
        self.kept_from.load(Ordering::Acquire)
    }

    /// The log's end, as segment and offset: what comes from now on comes at it or after it.
    pub fn end(&self) -> (u64, u32) {
        match self.newest() {
            Some(segment) => (segment.sequence, segment.committed().bytes.len() as u32),
            None => (self.oldest(), 0),
        }
    }

    /// The epoch of the message at this position.
    pub(super) fn epoch_at(&self, position: (u64, u32)) -> u32 {
        let starts = self.epoch_starts.load();
        starts.iter().rev().find(|start| start.position <= position).map_or(0, |start| start.epoch)
    }

    /// Where the messages of this epoch begin, or of the oldest one after it that is known.
    pub fn start_of(&self, epoch: u32) -> (u64, u32) {
        let starts = self.epoch_starts.load();
        starts.iter().find(|start| start.epoch >= epoch).map_or((0, 0), |start| start.position)
    }

    /// The start of the epoch after this one, where that is not after `position`.
    pub(super) fn next_epoch(&self, epoch: u32, position: (u64, u32)) -> Option<EpochStart> {
        if self.epoch() == epoch {
            return None;
        }
        let starts = self.epoch_starts.load();
        starts.iter().find(|start| start.epoch > epoch && start.position <= position).copied()
    }

    /// A core follows it: its signal is notified for `slot` from now on.
    pub(super) fn follow(&self, core: usize, slot: usize) {
        self.followers.add(core, slot);
    }

    pub(super) fn leave(&self, core: usize) {
        self.set_crowd(core, false);
        self.followers.remove(core);
    }

    /// A reader on a thread of its own follows it.
    pub(super) fn add_watcher(&self, watcher: &Arc<Watcher>) {
        self.watchers.add(watcher);
    }

    pub(super) fn remove_watcher(&self, watcher: &Arc<Watcher>) {
        self.watchers.remove(watcher);
    }

    /// Whether a core or another reader follows it; a writer may see a new one a frame late.
    pub(super) fn has_readers(&self) -> bool {
        self.followers.iter().next().is_some() || !self.watchers.is_empty()
    }

    pub(super) fn notify_followers(&self, signals: &[Signal]) {
        self.followers.to_notify().for_each(|(core, slot)| signals[core].notify(slot));
        // After the fence of `to_notify`.
        self.watchers.notify();
    }

    /// Whether its players on this core wait for the pass from now on. Those of a stream with few are sent to at once.
    pub fn set_crowd(&self, core: usize, is_crowd: bool) {
        // A guess of how long frames may wait: nothing depends on its order.
        self.crowds[core].store(is_crowd, Ordering::Relaxed);
    }

    /// The longest that a core takes for a pass that its players wait for, microseconds.
    pub(super) fn pass_us(&self, signals: &[Signal]) -> u64 {
        let crowds = self.crowds.iter().zip(signals).filter(|(crowd, _)| crowd.load(Ordering::Relaxed));
        crowds.map(|(_, signal)| signal.pass_us()).max().unwrap_or(0)
    }

    pub(super) fn set_join(&self, join: Join) {
        self.join.store(Arc::new(join));
    }

    pub(super) fn set_newest(&self, segment: &Arc<Segment>) {
        self.newest.store(Some(segment.clone()));
    }

    pub(super) fn set_oldest(&self, sequence: u64) {
        self.oldest.store(sequence, Ordering::Release);
    }

    pub(super) fn set_oldest_segment(&self, segment: Option<&Arc<Segment>>) {
        let segment = segment.map(Arc::downgrade).unwrap_or_default();
        self.oldest_segment.store(Arc::new(segment));
    }

    /// What is appended from now on is of the next epoch.
    pub(super) fn begin_epoch(&self) {
        let start = EpochStart { epoch: self.epoch() + 1, position: self.end() };
        self.epoch_starts.update(|starts| {
            // Nothing came in the epoch before.
            starts.pop_if(|last| last.position == start.position);
            if starts.len() == MAX_EPOCH_STARTS {
                starts.remove(0);
            }
            starts.push(start);
        });
        self.epoch.store(start.epoch, Ordering::Release);
    }

    /// All players that began in an earlier epoch are to be ended.
    pub(super) fn end_earlier_epochs(&self) {
        self.kept_from.store(self.epoch(), Ordering::Release);
    }

    /// Empties it. The next segment, if there is one, has this sequence or a higher one.
    pub(super) fn clear(&self, sequence: u64) {
        self.set_join(Join::Nothing);
        self.newest.store(None);
        self.set_oldest_segment(None);
        self.set_oldest(sequence);
    }
}
