//! Sends and receives that found the system short of memory. Trying at once again would only keep it busy: they wait for
//! the next tick. Their connections stay as long, since the send or receive counts as under way. A queue; knows no
//! connection.

use super::transport::SendBuffer;

/// What is tried again with the next tick.
pub(super) enum Retry {
    Send { key: usize, buffer: SendBuffer },
    Receive { key: usize },
}

/// All of one core, in order. Bounded by the operations under way: two per connection.
#[derive(Default)]
pub(super) struct RetryQueue(Vec<Retry>);

impl RetryQueue {
    pub(super) fn push(&mut self, retry: Retry) {
        self.0.push(retry);
    }

    /// All that waits: the next tick has come.
    pub(super) fn take(&mut self) -> Vec<Retry> {
        std::mem::take(&mut self.0)
    }
}
