//! The slab of receive buffers of one core. A buffer is handed out as views of it fill up with frames, and comes
//! round again when the last view is gone: in the steady state nothing is allocated.

use bytes::BytesMut;

/// Room of one buffer: a publisher at 20 Mb/s fills it 40 times a second.
pub const BUFFER_BYTES: usize = 64 << 10;
/// A publisher goes on with the rest of its buffer while this much is left: reads stay large.
const WORTH_KEEPING: usize = 16 << 10;
/// Buffers that rest here; more are given back to the allocator.
const AT_REST: usize = 64;
/// How many resting buffers are tried before a new one is made: the others may still be viewed by frames that are
/// half here.
const TRIES: usize = 4;

/// Receive buffers that nobody reads into at the moment.
#[derive(Default)]
pub struct ReceiveSlab {
    resting: std::collections::VecDeque<BytesMut>,
    /// Buffers that are read into.
    lent: usize,
}

impl ReceiveSlab {
    /// An empty buffer with [`BUFFER_BYTES`] of room.
    pub fn take(&mut self) -> BytesMut {
        self.lent += 1;
        for _ in 0..TRIES.min(self.resting.len()) {
            let mut buffer = self.resting.pop_front().expect("as many as were counted");
            // Succeeds only when no view is left, and then without an allocation.
            if buffer.try_reclaim(BUFFER_BYTES) {
                return buffer;
            }
            self.resting.push_back(buffer);
        }
        BytesMut::with_capacity(BUFFER_BYTES)
    }

    /// Takes a buffer back, with views of it still about or not.
    pub fn give_back(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        self.lent = self.lent.saturating_sub(1);
        if self.resting.len() < AT_REST {
            self.resting.push_back(buffer);
        }
    }

    /// Bytes of all buffers, whether they rest or not.
    pub fn bytes(&self) -> usize {
        (self.resting.len() + self.lent) * BUFFER_BYTES
    }

    /// The buffer to read into after `buffer`, whose content has been split off: the same one while enough of it is
    /// left.
    pub fn renew(&mut self, buffer: BytesMut) -> BytesMut {
        debug_assert!(buffer.is_empty());
        if buffer.capacity() >= WORTH_KEEPING {
            return buffer;
        }
        self.give_back(buffer);
        self.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_round_again_when_its_last_view_is_gone() {
        let mut slab = ReceiveSlab::default();
        let mut buffer = slab.take();
        let address = buffer.as_ptr();
        buffer.resize(BUFFER_BYTES, 1);
        let view = buffer.split().freeze();
        let other = slab.renew(buffer);
        assert_ne!(other.as_ptr(), address, "the first is still viewed");
        drop(view);
        let again = slab.take();
        assert_eq!((again.as_ptr(), again.capacity()), (address, BUFFER_BYTES));
    }

    #[test]
    fn the_rest_of_a_buffer_is_used_while_it_is_worth_it() {
        let mut slab = ReceiveSlab::default();
        let mut buffer = slab.take();
        buffer.resize(1000, 1);
        drop(buffer.split());
        let address = buffer.as_ptr();
        let mut buffer = slab.renew(buffer);
        assert_eq!(buffer.as_ptr(), address);
        buffer.resize(buffer.capacity() - WORTH_KEEPING + 1, 1);
        drop(buffer.split());
        assert_eq!(slab.renew(buffer).capacity(), BUFFER_BYTES);
    }

    #[test]
    fn no_more_buffers_rest_than_the_bound() {
        let mut slab = ReceiveSlab::default();
        (0..AT_REST + 10).for_each(|_| slab.give_back(BytesMut::with_capacity(BUFFER_BYTES)));
        assert_eq!(slab.resting.len(), AT_REST);
    }
}
