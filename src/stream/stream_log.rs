//! One log of a stream as its readers share it: where players begin, which segments there are, which cores follow.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{
    join::{Join, JoinPoint},
    segment::Segment,
    signal::Signal,
    usage::Followers,
};

/// A stream in one wire form, for all cores. Empty while nobody wants it in that form.
pub struct StreamLog {
    join: ArcSwap<Join>,
    newest: ArcSwapOption<Segment>,
    /// Segments below this sequence are retired: cores let go of theirs.
    oldest: AtomicU64,
    followers: Followers,
}

impl StreamLog {
    pub(super) fn new(cores: usize) -> Self {
        Self {
            join: ArcSwap::from_pointee(Join::Nothing),
            newest: ArcSwapOption::empty(),
            oldest: AtomicU64::new(0),
            followers: Followers::none(cores),
        }
    }

    /// Where a player begins now.
    pub fn join(&self) -> arc_swap::Guard<Arc<Join>> {
        self.join.load()
    }

    /// The segment that grows.
    pub fn newest(&self) -> Option<Arc<Segment>> {
        self.newest.load_full()
    }

    /// The oldest sequence that is kept.
    pub fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// The key frame that players begin with, as it is laid here, behind its headers; none where there is none.
    pub fn key_frame(&self) -> Option<(JoinPoint, usize)> {
        let join = self.join.load();
        let Join::At(point) = &**join else { return None };
        let entries = point.segment.committed().entries;
        let entry = entries.get(entries.partition_point(|entry| entry.end <= point.offset))?;
        point.is_key_frame.then(|| (point.clone(), entry.end as usize))
    }

    /// A core follows it: its signal says `slot` from now on.
    pub(super) fn follow(&self, core: usize, slot: usize) {
        self.followers.add(core, slot);
    }

    pub(super) fn leave(&self, core: usize) {
        self.followers.remove(core);
    }

    /// Whether a core follows it; a writer may hear of it a frame late.
    pub(super) fn has_readers(&self) -> bool {
        self.followers.iter().next().is_some()
    }

    pub(super) fn tell_followers(&self, signals: &[Signal]) {
        self.followers.to_tell().for_each(|(core, slot)| signals[core].grown(slot));
    }

    /// The longest that a core which follows takes for a pass, microseconds.
    pub(super) fn pass_us(&self, signals: &[Signal]) -> u64 {
        self.followers.iter().map(|(core, _)| signals[core].pass_us()).max().unwrap_or(0)
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

    /// Nothing is in it any more. What comes, if anything does, is at `sequence` and beyond.
    pub(super) fn clear(&self, sequence: u64) {
        self.set_join(Join::Nothing);
        self.newest.store(None);
        self.set_oldest(sequence);
    }
}
