//! One stretch of a stream log: wire-ready bytes and the index of the messages in them. One writer appends, any thread
//! reads what is committed, without a lock; ARCHITECTURE.md says why that is correct, the loom models check it.

use std::sync::Weak;

use super::{
    entry::Entry,
    memory::{Held, Memory, MemoryKind},
    pool::Storage,
    sync::{Arc, AtomicU32, Once, Ordering},
};

/// Messages a segment can index: 4 s at 60 fps video and 50/s audio, rounded up to a power of two.
pub const INDEX_ENTRIES: usize = 512;

/// A stretch of the log. Bytes and index entries become visible together, by one release store of `committed`.
pub struct Segment {
    /// Position in the log: the first is 0, the next 1, …
    pub sequence: u64,
    memory: Memory,
    held: Option<Held>,
    /// None only while it is dropped.
    storage: Option<Storage>,
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
        let storage = memory.take_rested(capacity).unwrap_or_else(|| Storage::new(capacity, entries));
        Self {
            sequence,
            memory: memory.clone(),
            held: Some(memory.hold(MemoryKind::Segments, storage.total_bytes())),
            storage: Some(storage),
            committed: AtomicU32::new(0),
            next: Once::new(),
        }
    }

    fn storage(&self) -> &Storage {
        self.storage.as_ref().expect("present until the drop")
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.storage().bytes.len()
    }

    /// All that is committed now.
    pub fn committed(&self) -> Committed<'_> {
        let count = self.committed.load(Ordering::Acquire) as usize;
        // SAFETY: the acquire load saw the release store that followed these writes, and `Appender` never writes
        // an entry or a byte below what it committed.
        let entries = unsafe { self.storage().index.filled(0..count) };
        let end = entries.last().map_or(0, |entry| entry.end as usize);
        // SAFETY: as above.
        Committed { entries, bytes: unsafe { self.storage().bytes.filled(0..end) } }
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

impl Drop for Segment {
    fn drop(&mut self) {
        drop(self.held.take());
        if let Some(storage) = self.storage.take() {
            self.memory.let_rest(storage.renewed());
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
        self.entries < self.segment.storage().index.len()
            && len <= self.segment.storage().bytes.len() - self.end
    }

    /// Appends one message of `len` bytes; `fill` writes it. `entry.end` is set here.
    ///
    /// # Panics
    /// Where [`Appender::has_room`] is false.
    pub(super) fn append(&mut self, len: usize, entry: Entry, fill: impl FnOnce(&mut [u8])) {
        let end = self.end + len;
        // SAFETY: this is the segment's one appender, and readers see no byte above `self.end` until the store
        // below.
        fill(unsafe { self.segment.storage().bytes.fill(self.end..end) });
        let end_u32 = u32::try_from(end).expect("a segment is far below 4 GiB");
        // SAFETY: likewise for the entry.
        let cell = unsafe { self.segment.storage().index.fill(self.entries..self.entries + 1) };
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
