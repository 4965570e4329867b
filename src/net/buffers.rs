//! The slab of receive buffers of one core. A buffer is handed out as views of it fill up with frames, and comes
//! round again when the last view is gone: in the steady state nothing is allocated. Connections that do not publish get
//! small ones: they say little, and thousands of them may say it at once.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Room of one buffer: a publisher at 20 Mb/s fills it 40 times a second.
pub const BUFFER_BYTES: usize = 64 << 10;
/// Room of a small one: a handshake, or a few commands. What is more comes with the next read.
pub const SMALL_BUFFER_BYTES: usize = 4 << 10;
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
    large: Resting,
    small: Resting,
}

/// Buffers of one size.
#[derive(Default)]
struct Resting {
    resting: VecDeque<BytesMut>,
    /// Buffers that are read into.
    lent: usize,
}

/// Of which size a buffer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// [`BUFFER_BYTES`]
    Large,
    /// [`SMALL_BUFFER_BYTES`]
    #[default]
    Small,
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Self::Large => BUFFER_BYTES,
            Self::Small => SMALL_BUFFER_BYTES,
        }
    }
}

impl ReceiveSlab {
    /// An empty buffer with room of this size.
    pub fn take(&mut self, size: Size) -> BytesMut {
        let of_size = self.of(size);
        of_size.lent += 1;
        for _ in 0..TRIES {
            let Some(mut buffer) = of_size.resting.pop_front() else { break };
            // Succeeds only when no view is left, and then without an allocation.
            if buffer.try_reclaim(size.bytes()) {
                return buffer;
            }
            of_size.resting.push_back(buffer);
        }
        BytesMut::with_capacity(size.bytes())
    }

    /// Takes a buffer back, with views of it still about or not.
    pub fn give_back(&mut self, size: Size, mut buffer: BytesMut) {
        let of_size = self.of(size);
        buffer.clear();
        of_size.lent = of_size.lent.saturating_sub(1);
        if of_size.resting.len() < AT_REST {
            of_size.resting.push_back(buffer);
        }
    }

    /// Bytes of all buffers, whether they rest or not.
    pub fn bytes(&self) -> usize {
        let bytes = |of_size: &Resting, size: Size| (of_size.resting.len() + of_size.lent) * size.bytes();
        bytes(&self.large, Size::Large) + bytes(&self.small, Size::Small)
    }

    /// The large buffer to read into after `buffer`, whose content has been split off: the same one while enough of it
    /// is left.
    pub fn renew(&mut self, size: Size, buffer: BytesMut) -> BytesMut {
        debug_assert!(buffer.is_empty());
        if buffer.capacity() >= WORTH_KEEPING {
            return buffer;
        }
        self.give_back(size, buffer);
        self.take(Size::Large)
    }

    fn of(&mut self, size: Size) -> &mut Resting {
        match size {
            Size::Large => &mut self.large,
            Size::Small => &mut self.small,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_round_again_when_its_last_view_is_gone() {
        let mut slab = ReceiveSlab::default();
        let mut buffer = slab.take(Size::Large);
        let address = buffer.as_ptr();
        buffer.resize(BUFFER_BYTES, 1);
        let view = buffer.split().freeze();
        let other = slab.renew(Size::Large, buffer);
        assert_ne!(other.as_ptr(), address, "the first is still viewed");
        drop(view);
        let again = slab.take(Size::Large);
        assert_eq!((again.as_ptr(), again.capacity()), (address, BUFFER_BYTES));
    }

    #[test]
    fn the_rest_of_a_buffer_is_used_while_it_is_worth_it() {
        let mut slab = ReceiveSlab::default();
        let mut buffer = slab.take(Size::Large);
        buffer.resize(1000, 1);
        drop(buffer.split());
        let address = buffer.as_ptr();
        let mut buffer = slab.renew(Size::Large, buffer);
        assert_eq!(buffer.as_ptr(), address);
        buffer.resize(buffer.capacity() - WORTH_KEEPING + 1, 1);
        drop(buffer.split());
        assert_eq!(slab.renew(Size::Large, buffer).capacity(), BUFFER_BYTES);
    }

    #[test]
    fn no_more_buffers_rest_than_the_bound() {
        let mut slab = ReceiveSlab::default();
        (0..AT_REST + 10).for_each(|_| slab.give_back(Size::Large, BytesMut::with_capacity(BUFFER_BYTES)));
        assert_eq!(slab.large.resting.len(), AT_REST);
    }

    #[test]
    fn those_who_say_little_get_little_and_a_publisher_goes_on_in_a_large_one() {
        let mut slab = ReceiveSlab::default();
        let small = slab.take(Size::Small);
        assert_eq!((small.capacity(), slab.bytes()), (SMALL_BUFFER_BYTES, SMALL_BUFFER_BYTES));
        let large = slab.renew(Size::Small, small);
        assert_eq!((large.capacity(), slab.bytes()), (BUFFER_BYTES, SMALL_BUFFER_BYTES + BUFFER_BYTES));
        assert_eq!(slab.take(Size::Small).capacity(), SMALL_BUFFER_BYTES);
        slab.give_back(Size::Large, large);
        assert_eq!(slab.bytes(), SMALL_BUFFER_BYTES + BUFFER_BYTES);
    }
}
