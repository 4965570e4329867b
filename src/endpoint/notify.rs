//! When a publisher's core notifies the others of new frames that wait for another one which does not come. A queue of
//! deadlines; knows no connection.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::rtmp::session::MessageStreamId;

/// New frames that wait for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pending {
    /// When they have waited long enough, microseconds.
    pub due_us: u64,
    /// The publisher's connection, by key and number.
    pub key: usize,
    pub connection_id: u64,
    pub message_stream_id: MessageStreamId,
}

/// All of one core, the soonest first.
#[derive(Debug, Default)]
pub(super) struct NotifyQueue(BinaryHeap<Reverse<Pending>>);

impl NotifyQueue {
    pub(super) fn push(&mut self, pending: Pending) {
        self.0.push(Reverse(pending));
    }

    /// When the next one is due, microseconds.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.0.peek().map(|Reverse(pending)| pending.due_us)
    }

    /// The next one that is due.
    pub(super) fn pop_due(&mut self, now_us: u64) -> Option<Pending> {
        self.due_us().filter(|&due_us| due_us <= now_us)?;
        self.0.pop().map(|Reverse(pending)| pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(due_us: u64) -> Pending {
        Pending { due_us, key: 0, connection_id: 1, message_stream_id: 1 }
    }

    #[test]
    fn the_soonest_comes_first_and_none_before_its_time() {
        let mut queue = NotifyQueue::default();
        assert_eq!((queue.due_us(), queue.pop_due(u64::MAX)), (None, None));
        [30, 10, 20].into_iter().for_each(|due_us| queue.push(pending(due_us)));
        assert_eq!(queue.due_us(), Some(10));
        assert_eq!(queue.pop_due(9), None);
        assert_eq!(queue.pop_due(25), Some(pending(10)));
        assert_eq!(queue.pop_due(25), Some(pending(20)));
        assert_eq!(queue.pop_due(25), None);
        assert_eq!(queue.due_us(), Some(30));
    }
}
