//! The atomics of the log and the signals: std's, or loom's in a model.

#![forbid(unsafe_code)]

#[cfg(not(fanfare_loom))]
pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(fanfare_loom)]
pub(super) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Always std's: loom has no `Weak`, and nothing rests on a reference count's ordering but freeing the memory.
pub(super) use std::sync::Arc;

/// A value that is set once and read without a lock.
pub(super) struct Once<T> {
    value: std::sync::OnceLock<T>,
    #[cfg(fanfare_loom)]
    is_set: AtomicBool,
}

impl<T> Once<T> {
    pub(super) fn new() -> Self {
        Self {
            value: std::sync::OnceLock::new(),
            #[cfg(fanfare_loom)]
            is_set: AtomicBool::new(false),
        }
    }

    /// Sets it, the first time.
    pub(super) fn set(&self, value: T) {
        let _ = self.value.set(value);
        #[cfg(fanfare_loom)]
        self.is_set.store(true, Ordering::Release);
    }

    /// What was set, seen with all that happened before.
    pub(super) fn get(&self) -> Option<&T> {
        #[cfg(fanfare_loom)]
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        self.value.get()
    }
}
