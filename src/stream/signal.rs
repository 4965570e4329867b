//! How a core is notified of new data in streams, and of mail, which is kept elsewhere: one bit each and at most one
//! system call per sleep, however many streams and players.

#![forbid(unsafe_code)]

use super::{
    patience::Patience,
    sync::{AtomicBool, AtomicU64, Ordering},
};

/// Words of 64 bits. With more streams than bits, streams share a bit, and the core looks at each of them.
#[cfg(not(fanfare_loom))]
const WORDS: usize = 16;
#[cfg(fanfare_loom)]
const WORDS: usize = 1;

/// Bits for new data, per core.
pub const SLOTS: usize = WORDS * 64;

/// What one core is notified of, written by all cores.
pub struct Signal {
    new_data: [AtomicU64; WORDS],
    is_awake: AtomicBool,
    pass_us: AtomicU64,
    patience: Patience,
    is_posted: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Signal {
    /// `wake` wakes the core's thread where it sleeps: it is called once per sleep.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            new_data: std::array::from_fn(|_| AtomicU64::new(0)),
            is_awake: AtomicBool::new(true),
            pass_us: AtomicU64::new(0),
            patience: Patience::default(),
            is_posted: AtomicBool::new(false),
            wake: Box::new(wake),
        }
    }

    /// Notifies the core of new data in the stream of `slot`. Call it after the data is visible.
    pub fn notify(&self, slot: usize) {
        let bit = 1 << (slot % 64);
        let word = &self.new_data[slot / 64 % WORDS];
        // For a bit that is still set the core has been woken already.
        if word.fetch_or(bit, Ordering::SeqCst) & bit == 0 {
            self.wake_if_asleep();
        }
    }

    /// Called by the core: how long its last pass over players took, microseconds.
    pub fn set_pass_us(&self, pass_us: u64) {
        self.pass_us.store(pass_us, Ordering::Relaxed);
    }

    /// How long the core's last pass took, microseconds; the next one takes about as long.
    pub fn pass_us(&self) -> u64 {
        self.pass_us.load(Ordering::Relaxed)
    }

    /// The core's patience, with its publishers and its players.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Notifies the core of mail. Call it after the mail is where the core looks for it.
    pub fn post(&self) {
        // For mail that has not been taken the core has been woken already.
        if !self.is_posted.swap(true, Ordering::SeqCst) {
            self.wake_if_asleep();
        }
    }

    /// Called by the core: takes the slots with new data, 64 at a time, as (first slot, bits).
    pub fn take_new_data(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.new_data.iter().enumerate().filter_map(|(i, word)| {
            // A load first: most words are zero, and a swap would take the cache line from the writers.
            if word.load(Ordering::SeqCst) == 0 {
                return None;
            }
            Some((i * 64, word.swap(0, Ordering::SeqCst)))
        })
    }

    /// Called by the core: whether [`Signal::take_new_data`] would yield anything.
    pub fn has_new_data(&self) -> bool {
        self.new_data.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Called by the core: whether mail has come since the last call. Read the mail after this call.
    pub fn take_posted(&self) -> bool {
        // A load first, as in `take_new_data`.
        self.is_posted.load(Ordering::SeqCst) && self.is_posted.swap(false, Ordering::SeqCst)
    }

    /// Called by the core before it sleeps. False where something has come: handle it first.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        // A swap, as in `wake_if_asleep`: of the two, the second sees what the first did before it. So either the core
        // sees what has come, or the thread that notifies sees that the core is asleep.
        self.is_awake.swap(false, Ordering::SeqCst);
        let is_quiet = !self.has_new_data() && !self.is_posted.load(Ordering::SeqCst);
        if !is_quiet {
            self.is_awake.store(true, Ordering::SeqCst);
        }
        is_quiet
    }

    /// Called by the core when it is awake, whatever woke it.
    pub fn awake(&self) {
        self.is_awake.store(true, Ordering::SeqCst);
    }

    fn wake_if_asleep(&self) {
        if !self.is_awake.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn a_sleeping_core_is_woken_once_however_many_streams_have_new_data() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = wakes.clone();
        let signal = Signal::new(move || {
            count.fetch_add(1, Relaxed);
        });
        signal.notify(3);
        assert_eq!(wakes.load(Relaxed), 0, "it is awake");
        assert!(!signal.may_sleep(), "and has something to do");
        assert_eq!(signal.take_new_data().collect::<Vec<_>>(), [(0, 8)]);
        assert!(signal.may_sleep());
        for slot in [3, 70, SLOTS + 3, 70] {
            signal.notify(slot);
        }
        signal.post();
        assert_eq!(wakes.load(Relaxed), 1);
        assert_eq!(signal.take_new_data().collect::<Vec<_>>(), [(0, 8), (64, 64)]);
        assert!(signal.take_posted() && !signal.take_posted());
        assert!(signal.may_sleep());
        (0..3).for_each(|_| signal.post());
        assert_eq!(wakes.load(Relaxed), 2);
    }

    #[test]
    fn a_core_with_mail_does_not_sleep() {
        let signal = Signal::new(|| ());
        signal.post();
        assert!(!signal.may_sleep());
        assert!(signal.take_posted());
        assert!(signal.may_sleep());
    }
}

#[cfg(all(test, fanfare_loom))]
mod model {
    use loom::sync::{
        Arc,
        atomic::{AtomicU64 as LoomU64, Ordering::Relaxed},
    };

    use super::*;

    /// Another thread makes two values visible by relaxed stores and notifies the core after each: the signal alone
    /// must carry them. `take` says whether the core was notified.
    fn assert_no_wake_up_is_lost(notify: fn(&Signal), take: fn(&Signal) -> bool) {
        loom::model(move || {
            let wakes = Arc::new(LoomU64::new(0));
            let head = Arc::new(LoomU64::new(0));
            let count = wakes.clone();
            let signal = Arc::new(Signal::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            }));
            let writer = {
                let (signal, head) = (signal.clone(), head.clone());
                loom::thread::spawn(move || {
                    for value in 1..3 {
                        head.store(value, Relaxed);
                        notify(&signal);
                    }
                })
            };
            let mut seen = 0;
            let mut sleeps = false;
            for _ in 0..2 {
                if take(&signal) {
                    seen = head.load(Relaxed);
                }
                if signal.may_sleep() {
                    sleeps = true;
                    break;
                }
            }
            writer.join().expect("the writer does not panic");
            let woken = wakes.load(Ordering::SeqCst);
            assert!(woken <= 2, "at most one per sleep");
            assert!(!sleeps || seen == 2 || woken > 0, "asleep for good, having seen {seen} of 2");
            if take(&signal) {
                seen = head.load(Relaxed);
            }
            assert_eq!(seen, 2, "the flag and the value arrive together");
        });
    }

    #[test]
    fn loom_no_wake_up_for_new_data_is_lost() {
        assert_no_wake_up_is_lost(|signal| signal.notify(5), |signal| signal.take_new_data().count() > 0);
    }

    #[test]
    fn loom_no_wake_up_for_mail_is_lost() {
        assert_no_wake_up_is_lost(Signal::post, Signal::take_posted);
    }
}
