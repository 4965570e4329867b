//! The payload of one unfinished message: views of receive buffers while they are few or large, otherwise a copy.

use crate::flv::{Payload, Run};
use bytes::Bytes;

/// Views of receive buffers while there are few; its own bytes from then on.
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

    /// Memory, bytes. Each view counts as a whole receive buffer, since it may be the only one.
    pub fn memory_bytes(&self) -> usize {
        let views = self.views.runs().map(|run| run.wire_len().max(RECEIVE_BUFFER_BYTES));
        self.gathered.capacity() + views.sum::<usize>()
    }

    /// The number of views that keep a buffer many times their size.
    pub fn small_views(&self) -> usize {
        self.views.runs().filter(|run| run.wire_len() < LARGE_VIEW_BYTES).count()
    }

    /// Whether there are views.
    pub fn has_views(&self) -> bool {
        self.views.run_count() > 0
    }

    /// Appends a run with `len` bytes of payload.
    #[inline(always)]
    pub fn push(&mut self, run: Run, len: usize) {
        if self.views.run_count() == MAX_VIEWS {
            self.gather();
        }
        self.views.push_counted(run, len);
    }

    /// Returns the complete payload and starts a new one.
    #[inline]
    pub fn take(&mut self) -> Payload {
        if !self.gathered.is_empty() {
            self.gather();
            return Bytes::from(std::mem::take(&mut self.gathered)).into();
        }
        std::mem::take(&mut self.views)
    }

    /// Copies the views and frees their buffers. Each byte is copied once, plus the cost of doubling the copy's buffer: no
    /// memory is reserved for the announced length.
    pub fn gather(&mut self) {
        let Self { views, gathered } = self;
        views.pieces().for_each(|piece| gathered.extend_from_slice(piece));
        *views = Payload::new();
    }
}

/// The memory that a view is assumed to keep: a whole receive buffer of the caller.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
/// A quarter of a receive buffer: such a view keeps at most four times its own size.
const LARGE_VIEW_BYTES: usize = RECEIVE_BUFFER_BYTES / 4;

/// A message of 1 MB in reads of 32 KiB remains views. In many small reads it is copied instead, since each view keeps its
/// whole receive buffer.
const MAX_VIEWS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_many_small_reads_keeps_few_buffers() {
        let mut assembly = Assembly::default();
        let mut expected = Vec::new();
        for i in 0..1000 {
            let read = Bytes::from(vec![i as u8; 3]);
            expected.extend_from_slice(&read);
            let len = read.len();
            assembly.push(Run::contiguous(read), len);
            assert!(assembly.views.run_count() <= MAX_VIEWS);
            assert_eq!(assembly.len(), expected.len());
        }
        assert_eq!(assembly.take().to_bytes(), expected);
        assert_eq!(assembly.len(), 0);
    }
}
