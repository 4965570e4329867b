//! How much memory the segments of all streams hold together, those included that only a stalled player still holds.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The count that all streams share. A clone is the same count.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<AtomicUsize>);

/// So many bytes, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    /// Bytes that are held now.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn hold(&self, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held { memory: self.clone(), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
