//! Memory of segments that have no readers any more, kept for the next ones: fresh pages cost a stream more than its
//! frames do. What is not needed again within seconds goes back to the system.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use super::{cells::Cells, entry::Entry};

/// Bytes of the smallest and the largest segments that are kept: see `log`. Between them there are powers of two.
const MIN_BYTES: usize = 64 << 10;
const MAX_BYTES: usize = 1 << 20;
const CLASSES: usize = (MAX_BYTES / MIN_BYTES).ilog2() as usize + 1;
/// Bytes of one size that are kept at most. A log lets go of a segment when it begins the next one, so few suffice.
const MAX_CLASS_BYTES: usize = 16 << 20;
/// How often what was not needed is freed, milliseconds.
const TRIM_EVERY_MS: u64 = 2_000;

/// Where a segment's bytes and index entries are.
pub(super) struct Storage {
    pub bytes: Cells<u8>,
    pub index: Cells<Entry>,
}

impl Storage {
    /// Memory for so many bytes and index entries, as the system has it.
    pub(super) fn new(bytes: usize, entries: usize) -> Self {
        Self {
            bytes: Cells::new(vec![0; bytes].into_boxed_slice()),
            index: Cells::new(vec![Entry::default(); entries].into_boxed_slice()),
        }
    }

    /// How much it is.
    pub(super) fn total_bytes(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<Entry>()
    }

    /// The same memory, to be filled from the front again: it has no readers any more.
    pub(super) fn renewed(self) -> Self {
        Self { bytes: self.bytes.renewed(), index: self.index.renewed() }
    }
}

/// Memory of segments, by size. Lock-free: the last reader of a segment may be on any thread.
pub(super) struct Pool {
    classes: [Class; CLASSES],
    trim_ms: AtomicU64,
}

struct Class {
    resting: ArrayQueue<Storage>,
    /// The least that rested since the last trim: so many were not needed.
    least: AtomicUsize,
}

impl Default for Pool {
    fn default() -> Self {
        let class = |class| Class {
            resting: ArrayQueue::new(MAX_CLASS_BYTES / (MIN_BYTES << class)),
            least: AtomicUsize::new(0),
        };
        Self { classes: std::array::from_fn(class), trim_ms: AtomicU64::new(0) }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.classes.iter().map(|class| class.resting.len())).finish()
    }
}

impl Pool {
    /// Memory for a segment of this many bytes, if some rests. What it contains is of no meaning.
    pub(super) fn take(&self, bytes: usize) -> Option<Storage> {
        let class = &self.classes[class_of(bytes)?];
        let storage = class.resting.pop();
        class.least.fetch_min(class.resting.len(), Relaxed);
        storage
    }

    /// Keeps memory for later. False where it is of a size that does not come again, or enough of that is there.
    pub(super) fn give(&self, storage: Storage) -> bool {
        class_of(storage.bytes.len()).is_some_and(|class| self.classes[class].resting.push(storage).is_ok())
    }

    /// Frees what was not needed for some seconds, and returns how many bytes that was. To be called often, by any
    /// thread.
    pub(super) fn trim(&self, now_ms: u64) -> usize {
        let due_ms = self.trim_ms.load(Relaxed);
        let next_ms = now_ms + TRIM_EVERY_MS;
        if now_ms < due_ms || self.trim_ms.compare_exchange(due_ms, next_ms, Relaxed, Relaxed).is_err() {
            return 0;
        }
        let trim = |class: &Class| {
            let bytes = class.let_go(class.least.load(Relaxed));
            class.least.store(class.resting.len(), Relaxed);
            bytes
        };
        self.classes.iter().map(trim).sum()
    }

    /// Frees all, and returns how many bytes that was: memory is short.
    pub(super) fn clear(&self) -> usize {
        self.classes.iter().map(|class| class.let_go(usize::MAX)).sum()
    }
}

impl Class {
    fn let_go(&self, count: usize) -> usize {
        (0..count).map_while(|_| self.resting.pop()).map(|storage| storage.total_bytes()).sum()
    }
}

/// The class of segments of exactly this many bytes.
fn class_of(bytes: usize) -> Option<usize> {
    let is_of_class = bytes.is_power_of_two() && (MIN_BYTES..=MAX_BYTES).contains(&bytes);
    is_of_class.then(|| (bytes / MIN_BYTES).ilog2() as usize)
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_round_again_for_a_segment_of_the_same_size() {
        let pool = Pool::default();
        assert!(pool.take(MIN_BYTES).is_none());
        assert!(pool.give(Storage::new(MIN_BYTES, 4)) && pool.give(Storage::new(MAX_BYTES, 4)));
        assert!(pool.take(2 * MIN_BYTES).is_none());
        for bytes in [MIN_BYTES, MAX_BYTES] {
            assert_eq!(pool.take(bytes).map(|storage| storage.bytes.len()), Some(bytes));
            assert!(pool.take(bytes).is_none());
        }
    }

    #[test]
    fn sizes_of_a_single_message_do_not_come_again() {
        let pool = Pool::default();
        for bytes in [MIN_BYTES / 2, MIN_BYTES + 1, 2 * MAX_BYTES] {
            assert!(!pool.give(Storage::new(bytes, 4)), "{bytes}");
            assert!(pool.take(bytes).is_none());
        }
    }

    #[test]
    fn no_more_rests_of_one_size_than_the_bound() {
        let pool = Pool::default();
        let given = (0..20).filter(|_| pool.give(Storage::new(MAX_BYTES, 4))).count();
        assert_eq!(given, MAX_CLASS_BYTES / MAX_BYTES);
        assert_eq!(pool.clear(), given * Storage::new(MAX_BYTES, 4).total_bytes());
        assert!(pool.take(MAX_BYTES).is_none());
    }

    #[test]
    fn what_was_not_needed_between_two_trims_goes_back_to_the_system() {
        let pool = Pool::default();
        let one = Storage::new(MIN_BYTES, 4).total_bytes();
        pool.trim(0);
        (0..10).for_each(|_| assert!(pool.give(Storage::new(MIN_BYTES, 4))));
        assert_eq!(pool.trim(TRIM_EVERY_MS - 1), 0, "not yet");
        assert_eq!(pool.trim(TRIM_EVERY_MS), 0, "they came since");
        // Three are needed at a time.
        for _ in 0..5 {
            let needed: Vec<_> = (0..3).map_while(|_| pool.take(MIN_BYTES)).collect();
            needed.into_iter().for_each(|storage| assert!(pool.give(storage)));
        }
        assert_eq!(pool.trim(2 * TRIM_EVERY_MS), 7 * one);
        assert_eq!(pool.trim(3 * TRIM_EVERY_MS), 3 * one);
    }
}
