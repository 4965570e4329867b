//! One stretch of a stream log: wire-ready bytes and the index of the messages in them. One writer appends, any thread
//! reads what is committed, without a lock; ARCHITECTURE.md says why that is correct, the loom models check it.

use std::sync::Weak;

use super::{
    cells::Cells,
    memory::{Held, Memory, MemoryKind},
    sync::{Arc, AtomicU32, Once, Ordering},
};

/// Messages a segment can index: 4 s at 60 fps video and 50/s audio, rounded up to a power of two.
pub const INDEX_ENTRIES: usize = 512;

/// One whole message in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it ends, in bytes from the segment's start; it begins where the one before it ends.
    pub end: u32,
    /// Its time in the stream, milliseconds modulo 2^32.
    pub timestamp_ms: u32,
    /// When it was appended to the log, on the relay's clock, milliseconds modulo 2^32.
    pub arrival_ms: u32,
    /// What it is.
    pub class: Class,
    /// Which sequence headers it goes with: a number that changes when one of them is replaced. The low bits of a
    /// count.
    pub configuration: u16,
}

/// What a message is to a player that filters or skips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Script data and sequence headers: sent to every player, whatever it filters.
    #[default]
    Data,
    /// Audio.
    Audio,
    /// Video that is not part of the key frame that players begin with.
    Video,
    /// A video key frame, or its first message: players can begin here.
    KeyFrame,
    /// A further message of the key frame before it.
    KeyFrameRest,
}

impl Entry {
    /// How long ago it was appended to the log, milliseconds; 0 where the reading core's clock is a little behind the
    /// writing core's.
    pub fn age_ms(&self, now_ms: u64) -> u32 {
        age_ms(self.arrival_ms, now_ms as u32)
    }
}

/// In serial arithmetic, which wraps after 49.7 days: correct for ages up to 49 days, and for a clock that is behind by
/// less than an hour.
pub(super) fn age_ms(then_ms: u32, now_ms: u32) -> u32 {
    let age_ms = now_ms.wrapping_sub(then_ms);
    if age_ms > u32::MAX - MAX_BEHIND_MS { 0 } else { age_ms }
}

/// Cores read the clock at different times, milliseconds apart.
const MAX_BEHIND_MS: u32 = 3_600_000;

/// A stretch of the log. Bytes and index entries become visible together, by one release store of `committed`.
pub struct Segment {
    _held: Held,
    /// Position in the log: the first is 0, the next 1, …
    pub sequence: u64,
    bytes: Cells<u8>,
    index: Cells<Entry>,
    /// How many entries readers may read, and thus how many bytes.
    committed: AtomicU32,
    /// The segment after this one. Weak: a stalled reader of this one must not hold the rest of the log.
    next: Once<Weak<Segment>>,
}

/// What a reader may read.
#[derive(Clone, Copy)]
pub struct Committed<'a> {
    /// The messages, in order.
    pub entries: &'a [Entry],
    /// Their wire bytes, without a gap.
    pub bytes: &'a [u8],
}

impl Segment {
    /// An empty segment for at most `capacity` bytes and `entries` messages.
    pub(super) fn new(sequence: u64, capacity: usize, entries: usize, memory: &Memory) -> Self {
        Self {
            _held: memory.hold(MemoryKind::Segments, capacity + entries * size_of::<Entry>()),
            sequence,
            bytes: Cells::new(vec![0; capacity].into_boxed_slice()),
            index: Cells::new(vec![Entry::default(); entries].into_boxed_slice()),
            committed: AtomicU32::new(0),
            next: Once::new(),
        }
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// All that is committed now.
    pub fn committed(&self) -> Committed<'_> {
        let count = self.committed.load(Ordering::Acquire) as usize;
        // SAFETY: the acquire load saw the release store that followed these writes, and `Appender` never writes
        // an entry or a byte below what it committed.
        let entries = unsafe { self.index.filled(0..count) };
        let end = entries.last().map_or(0, |entry| entry.end as usize);
        // SAFETY: as above.
        Committed { entries, bytes: unsafe { self.bytes.filled(0..end) } }
    }

    /// The segment after this one, if it has begun and is still kept. Once there is one, nothing more will be committed
    /// here: read [`Segment::committed`] once more, then go on there.
    pub fn next(&self) -> Next {
        match self.next.get() {
            None => Next::NotYet,
            Some(next) => next.upgrade().map_or(Next::Gone, Next::Segment),
        }
    }
}

/// What comes after a segment.
pub enum Next {
    /// Nothing yet: this is the newest.
    NotYet,
    /// The next one.
    Segment(Arc<Segment>),
    /// It has been retired: this reader has fallen out of the log.
    Gone,
}

/// The right to append to one segment: there is one for each, so there is one writer.
pub(super) struct Appender {
    segment: Arc<Segment>,
    entries: usize,
    end: usize,
}

impl Appender {
    pub(super) fn new(segment: Segment) -> Self {
        Self { segment: Arc::new(segment), entries: 0, end: 0 }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Bytes committed so far.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Whether a message of `len` bytes goes in.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.entries < self.segment.index.len() && len <= self.segment.bytes.len() - self.end
    }

    /// Appends one message of `len` bytes; `fill` writes it. `entry.end` is set here.
    ///
    /// # Panics
    /// Where [`Appender::has_room`] is false.
    pub(super) fn append(&mut self, len: usize, entry: Entry, fill: impl FnOnce(&mut [u8])) {
        let end = self.end + len;
        // SAFETY: this is the segment's one appender, and readers see no byte above `self.end` until the store
        // below.
        fill(unsafe { self.segment.bytes.fill(self.end..end) });
        let end_u32 = u32::try_from(end).expect("a segment is far below 4 GiB");
        // SAFETY: likewise for the entry.
        let cell = unsafe { self.segment.index.fill(self.entries..self.entries + 1) };
        cell[0] = Entry { end: end_u32, ..entry };
        self.end = end;
        self.entries += 1;
        self.segment.committed.store(self.entries as u32, Ordering::Release);
    }

    /// Ends this segment; readers go on in `next`.
    pub(super) fn close(self, next: &Arc<Segment>) {
        self.segment.next.set(Arc::downgrade(next));
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_old_as_it_is_whatever_the_relays_clock_shows() {
        const DAY_MS: u64 = 86_400_000;
        for then_ms in [0, 5, (1 << 31) - 5, 1 << 31, (1 << 32) - 5, 1 << 32, 60 * DAY_MS] {
            let entry = Entry { arrival_ms: then_ms as u32, ..Entry::default() };
            for age_ms in [0, 1, 10, 5_000, DAY_MS, 24 * DAY_MS, 25 * DAY_MS, 49 * DAY_MS] {
                assert_eq!(u64::from(entry.age_ms(then_ms + age_ms)), age_ms, "since {then_ms}");
            }
            let behind_ms = (then_ms + (1 << 32)) - 3;
            assert_eq!(entry.age_ms(behind_ms), 0, "a core whose clock is 3 ms behind");
        }
    }
}
