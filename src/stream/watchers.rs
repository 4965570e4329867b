//! Readers on threads of their own, beside the cores: each is woken at most once between two looks at the log. A writer
//! without such readers pays for one load.

#![forbid(unsafe_code)]

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, Published, fence};

/// The readers of one log that are no cores.
pub(super) struct Watchers {
    /// How many there are, for a writer that has none.
    count: AtomicUsize,
    all: Published<Vec<Arc<Watcher>>>,
}

/// One reader.
pub(super) struct Watcher {
    /// It was woken since it looked last.
    is_notified: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Watchers {
    pub(super) fn none() -> Self {
        Self { count: AtomicUsize::new(0), all: Published::new(Vec::new()) }
    }

    /// From now on this one is woken. Each frame is seen when it first looks after this call, or it is woken for it:
    /// see [`Watchers::notify`].
    pub(super) fn add(&self, watcher: &Arc<Watcher>) {
        self.all.update(|all| all.push(watcher.clone()));
        self.count.fetch_add(1, Ordering::Release);
        // As in `Followers::add`: either this fence or the writer's is first.
        fence(Ordering::SeqCst);
    }

    pub(super) fn remove(&self, watcher: &Arc<Watcher>) {
        self.all.update(|all| all.retain(|other| !Arc::ptr_eq(other, watcher)));
        self.count.fetch_sub(1, Ordering::Release);
    }

    /// Whether there are none; a writer may see a new one a frame late.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Wakes them. A sequentially consistent fence comes before this call and after what they are to see.
    pub(super) fn notify(&self) {
        if !self.is_empty() {
            self.all.load().iter().for_each(|watcher| watcher.notify());
        }
    }
}

impl Watcher {
    pub(super) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { is_notified: AtomicBool::new(false), wake }
    }

    /// Called by the reader before it looks for the last time and waits. It is woken for all that this look does not
    /// see.
    pub(super) fn expect_notice(&self) {
        // A swap, as in `notify`: of the two, the second sees what the first did before it.
        self.is_notified.swap(false, Ordering::SeqCst);
    }

    fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_reader_is_woken_once_between_two_looks_and_no_more_when_it_has_gone() {
        let watchers = Watchers::none();
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = wakes.clone();
        let wake = Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed));
        let watcher = Arc::new(Watcher::new(wake));
        watchers.add(&watcher);
        (0..3).for_each(|_| watchers.notify());
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        watcher.expect_notice();
        watchers.notify();
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        watcher.expect_notice();
        watchers.remove(&watcher);
        watchers.notify();
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        assert!(watchers.is_empty());
    }
}

#[cfg(all(test, fanfare_loom))]
mod model {
    use loom::thread;

    use super::*;

    /// A reader comes, looks, and waits, while a writer makes two values visible, each with its fence.
    #[test]
    fn loom_a_reader_on_a_thread_of_its_own_sees_all_or_is_woken() {
        loom::model(|| {
            let watchers = Arc::new(Watchers::none());
            let head = Arc::new(AtomicUsize::new(0));
            let is_woken = Arc::new(AtomicBool::new(false));
            let writer = {
                let (watchers, head) = (watchers.clone(), head.clone());
                thread::spawn(move || {
                    for value in 1..3 {
                        head.store(value, Ordering::Release);
                        fence(Ordering::SeqCst);
                        watchers.notify();
                    }
                })
            };
            let wake = is_woken.clone();
            let watcher = Arc::new(Watcher::new(Box::new(move || wake.store(true, Ordering::SeqCst))));
            watchers.add(&watcher);
            // Whatever woke it before this is past.
            is_woken.swap(false, Ordering::SeqCst);
            watcher.expect_notice();
            let seen = head.load(Ordering::Acquire);
            writer.join().expect("the writer does not panic");
            assert!(seen == 2 || is_woken.load(Ordering::SeqCst), "it waits, having seen {seen} of 2");
        });
    }
}
