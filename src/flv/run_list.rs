//! The runs of a payload after its first. Emptied lists are kept for the next payload of the thread: in the steady state a
//! message that spans many reads allocates nothing.

use super::run::Run;
use std::cell::RefCell;

/// A list that is returned to its thread when it is dropped.
#[derive(Debug, Default)]
pub(super) struct RunList(Vec<Run>);

thread_local! {
    static KEPT: RefCell<Vec<Vec<Run>>> = const { RefCell::new(Vec::new()) };
}

impl RunList {
    /// Appends a run.
    #[inline(always)]
    pub fn push(&mut self, run: Run) {
        if self.0.capacity() == 0 {
            self.0 = kept();
        }
        self.0.push(run);
    }

    pub fn as_slice(&self) -> &[Run] {
        &self.0
    }
}

impl Clone for RunList {
    fn clone(&self) -> Self {
        let mut list = Self::default();
        self.0.iter().for_each(|run| list.push(run.clone()));
        list
    }
}

impl Drop for RunList {
    #[inline]
    fn drop(&mut self) {
        if self.0.capacity() > 0 {
            keep(std::mem::take(&mut self.0));
        }
    }
}

/// A list that has been kept, if there is one. None are while a thread ends.
#[inline(never)]
fn kept() -> Vec<Run> {
    KEPT.try_with(|kept| kept.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Drops the runs and keeps the list, if there is room for it.
#[inline(never)]
fn keep(mut list: Vec<Run>) {
    list.clear();
    if list.capacity() <= MAX_KEPT_RUNS {
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MAX_KEPT {
                kept.push(list);
            }
        });
    }
}

/// Lists per thread: of frames that are on their way at the same time. All together have less than 100 KiB.
const MAX_KEPT: usize = 64;
/// The decoder's maximum per message.
const MAX_KEPT_RUNS: usize = 32;
