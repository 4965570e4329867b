//! One log of a stream as its readers share it: where players begin, which segments there are, which cores follow.

#![forbid(unsafe_code)]

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;

use super::{
    join::{Join, PointKind},
    segment::{Class, Next, Segment},
    signal::Signal,
    usage::Followers,
};
use crate::flv::Kinds;

/// A stream in one wire form, for all cores. Empty while nobody wants it in that form.
pub struct StreamLog {
    join: ArcSwap<Join>,
    newest: ArcSwapOption<Segment>,
    /// Segments below this sequence are retired: cores let go of theirs.
    oldest: AtomicU64,
    /// That one. Weak: it is the writer that keeps segments.
    oldest_segment: ArcSwap<Weak<Segment>>,
    /// Moves on with each publish, and where the log begins anew.
    epoch: AtomicU32,
    kept_from: AtomicU32,
    followers: Followers,
}

/// The key frame that players begin with.
pub struct KeyFrame {
    /// Metadata and sequence headers in the log's form, without an opening; of a picture that stands still, its messages
    /// as well.
    pub headers: Bytes,
    /// Its messages, each in the log's form.
    pub messages: Vec<Bytes>,
}

impl StreamLog {
    pub(super) fn new(cores: usize) -> Self {
        Self {
            join: ArcSwap::from_pointee(Join::Nothing),
            newest: ArcSwapOption::empty(),
            oldest: AtomicU64::new(0),
            oldest_segment: ArcSwap::from_pointee(Weak::new()),
            epoch: AtomicU32::new(0),
            kept_from: AtomicU32::new(0),
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

    /// The oldest segment that is kept; none while there is none.
    pub fn oldest_segment(&self) -> Option<Arc<Segment>> {
        self.oldest_segment.load().upgrade()
    }

    /// Which epoch of the log this is: a player is of the one in which it began.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Players of an earlier epoch are to be ended: what comes now is not what they were given headers for.
    pub fn kept_from(&self) -> u32 {
        self.kept_from.load(Ordering::Acquire)
    }

    /// The key frame that players begin with, all its messages that have come; none where there is none.
    pub fn key_frame(&self) -> Option<KeyFrame> {
        let join = self.join.load();
        let Join::At(point) = &**join else { return None };
        if !matches!(point.kind, PointKind::KeyFrame | PointKind::Still) {
            return None;
        }
        let headers = point.preamble.as_ref().map(|preamble| {
            let opened = preamble.wire(Kinds { audio: true, video: true });
            opened.bytes.slice(opened.opening_len..)
        });
        let mut messages = Vec::new();
        if point.kind == PointKind::Still {
            // Its preamble has the pictures.
            return Some(KeyFrame { headers: headers?, messages });
        }
        let mut segment = point.segment.clone();
        let mut from = point.offset as usize;
        let mut time = None;
        loop {
            let committed = segment.committed();
            let first = committed.entries.partition_point(|entry| entry.end as usize <= from);
            for entry in &committed.entries[first..] {
                let is_of_it = entry.class == Class::KeyFrameRest || time.is_none();
                let is_past_it = matches!(entry.class, Class::KeyFrame | Class::KeyFrameRest | Class::Video)
                    && *time.get_or_insert(entry.timestamp_ms) != entry.timestamp_ms;
                if is_past_it {
                    return Some(KeyFrame { headers: headers.unwrap_or_default(), messages });
                }
                if is_of_it {
                    messages.push(Bytes::copy_from_slice(&committed.bytes[from..entry.end as usize]));
                }
                from = entry.end as usize;
            }
            match segment.next() {
                Next::Segment(next) => (segment, from) = (next, 0),
                Next::NotYet | Next::Gone => break,
            }
        }
        Some(KeyFrame { headers: headers.unwrap_or_default(), messages })
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

    pub(super) fn notify_followers(&self, signals: &[Signal]) {
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

    pub(super) fn set_oldest_segment(&self, segment: Option<&Arc<Segment>>) {
        let segment = segment.map(Arc::downgrade).unwrap_or_default();
        self.oldest_segment.store(Arc::new(segment));
    }

    /// What is laid from now on is of the next epoch.
    pub(super) fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Has all players ended that began in an earlier epoch.
    pub(super) fn end_earlier_epochs(&self) {
        self.kept_from.store(self.epoch(), Ordering::Release);
    }

    /// Nothing is in it any more. What comes, if anything does, is at `sequence` and beyond.
    pub(super) fn clear(&self, sequence: u64) {
        self.set_join(Join::Nothing);
        self.newest.store(None);
        self.set_oldest_segment(None);
        self.set_oldest(sequence);
    }
}
