//! The payload of one unfinished message, as it comes in: views of receive buffers while they are few, or large.

use crate::flv::{Payload, Run};
use bytes::Bytes;

/// Views of receive buffers while they are few; bytes of its own from then on.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    views: Payload,
    gathered: Vec<u8>,
}

impl Assembly {
    /// Payload bytes so far.
    pub fn len(&self) -> usize {
        self.gathered.len() + self.views.len()
    }

    /// Memory that it holds, bytes: each view may be the only one of its receive buffer.
    pub fn held_bytes(&self) -> usize {
        let views = self.views.runs().iter().map(|run| run.wire_len().max(RECEIVE_BUFFER_BYTES));
        self.gathered.capacity() + views.sum::<usize>()
    }

    /// Views that hold a buffer many times their size.
    pub fn small_views(&self) -> usize {
        self.views.runs().iter().filter(|run| run.wire_len() < LARGE_VIEW_BYTES).count()
    }

    /// Whether there are views.
    pub fn has_views(&self) -> bool {
        self.views.run_count() > 0
    }

    /// Adds what comes next.
    pub fn push(&mut self, run: Run) {
        if self.views.run_count() == MAX_VIEWS {
            self.gather();
        }
        self.views.push(run);
    }

    /// The whole payload; what follows is another message.
    pub fn take(&mut self) -> Payload {
        if !self.gathered.is_empty() {
            self.gather();
            return Bytes::from(std::mem::take(&mut self.gathered)).into();
        }
        std::mem::take(&mut self.views)
    }

    /// Copies what views there are, and lets go of the buffers. Each byte is copied here once, plus what the buffer's
    /// doubling costs; the length that the peer announced reserves nothing.
    pub fn gather(&mut self) {
        let Self { views, gathered } = self;
        views.pieces().for_each(|piece| gathered.extend_from_slice(piece));
        *views = Payload::new();
    }
}

/// What a view of a read is taken to hold: a whole receive buffer of its caller.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
/// A quarter of a receive buffer: such a view holds four times as much as it shows, at most.
const LARGE_VIEW_BYTES: usize = RECEIVE_BUFFER_BYTES / 4;

/// A message of 1 MB in reads of 32 KiB stays views. In many small reads it is gathered instead: a view holds on
/// to its whole receive buffer, however few bytes it is of.
const MAX_VIEWS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_many_small_reads_lets_go_of_their_buffers() {
        let mut assembly = Assembly::default();
        let mut expected = Vec::new();
        for i in 0..1000 {
            let read = Bytes::from(vec![i as u8; 3]);
            expected.extend_from_slice(&read);
            assembly.push(Run::contiguous(read));
            assert!(assembly.views.run_count() <= MAX_VIEWS);
            assert_eq!(assembly.len(), expected.len());
        }
        assert_eq!(assembly.take().to_bytes(), expected);
        assert_eq!(assembly.len(), 0);
    }
}
