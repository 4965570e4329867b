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

/// Always std's: loom has no `Weak`, and nothing but freeing the memory depends on a reference count's ordering.
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

/// A value that is read without a lock and rarely replaced.
pub(super) struct Published<T> {
    #[cfg(not(fanfare_loom))]
    value: arc_swap::ArcSwap<T>,
    #[cfg(fanfare_loom)]
    value: Mutex<Arc<T>>,
}

impl<T: Clone> Published<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            #[cfg(not(fanfare_loom))]
            value: arc_swap::ArcSwap::from_pointee(value),
            #[cfg(fanfare_loom)]
            value: Mutex::new(Arc::new(value)),
        }
    }

    #[cfg(not(fanfare_loom))]
    pub(super) fn load(&self) -> arc_swap::Guard<Arc<T>> {
        self.value.load()
    }

    #[cfg(fanfare_loom)]
    pub(super) fn load(&self) -> Arc<T> {
        self.value.lock().unwrap().clone()
    }

    /// Replaces the value by a changed copy. No change of another thread is lost.
    pub(super) fn update(&self, change: impl Fn(&mut T)) {
        #[cfg(not(fanfare_loom))]
        self.value.rcu(|value| {
            let mut copy = T::clone(value);
            change(&mut copy);
            copy
        });
        #[cfg(fanfare_loom)]
        {
            let mut value = self.value.lock().unwrap();
            let mut copy = T::clone(&value);
            change(&mut copy);
            *value = Arc::new(copy);
        }
    }
}
