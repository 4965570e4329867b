//! The slab of receive buffers of one core. A buffer is handed out as views of it fill up with frames, and comes
//! round again when the last view is gone: in the steady state nothing is allocated. Connections that do not publish get
//! small ones: they send little, and thousands of them may send it at once.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::endpoint::Room;

/// Room of one buffer: a publisher at 20 Mb/s fills it 40 times a second.
pub const BUFFER_BYTES: usize = 64 << 10;
/// Room of a small one: a handshake, or a few commands. What is more comes with the next read.
pub const SMALL_BUFFER_BYTES: usize = 4 << 10;
/// A publisher goes on with the rest of its buffer while this much is left: reads stay large.
const MIN_REST: usize = 16 << 10;
/// Buffers that rest here; more are given back to the allocator.
const AT_REST: usize = 64;
/// How many resting buffers are tried before a new one is made: the others may still be viewed by frames that are
/// half here.
const TRIES: usize = 4;

/// Receive buffers that no receive reads into at the moment.
#[derive(Default)]
pub struct ReceiveSlab {
    large: Resting,
    small: Resting,
    /// The rest of the buffer of the receive that has just completed.
    at_hand: Option<(Room, BytesMut)>,
}

/// Buffers of one size.
#[derive(Default)]
struct Resting {
    resting: VecDeque<BytesMut>,
    /// Buffers that are read into.
    lent: usize,
}

impl ReceiveSlab {
    /// An empty buffer with room of this size: of a large one, what is at hand while enough of it is left.
    pub fn take(&mut self, size: Room) -> BytesMut {
        if size == Room::Large
            && let Some((_, buffer)) = self.at_hand.take_if(|(_, buffer)| buffer.capacity() >= MIN_REST)
        {
            return buffer;
        }
        let of_size = self.of(size);
        of_size.lent += 1;
        for _ in 0..TRIES {
            let Some(mut buffer) = of_size.resting.pop_front() else { break };
            // Succeeds only when no view is left, and then without an allocation.
            if buffer.try_reclaim(bytes_of(size)) {
                return buffer;
            }
            of_size.resting.push_back(buffer);
        }
        BytesMut::with_capacity(bytes_of(size))
    }

    /// Takes a buffer back, with views of it still about or not.
    pub fn give_back(&mut self, size: Room, mut buffer: BytesMut) {
        let of_size = self.of(size);
        buffer.clear();
        of_size.lent = of_size.lent.saturating_sub(1);
        if of_size.resting.len() < AT_REST {
            of_size.resting.push_back(buffer);
        }
    }

    /// Bytes of all buffers, whether they rest or not.
    pub fn bytes(&self) -> usize {
        let bytes = |of_size: &Resting, size: Room| (of_size.resting.len() + of_size.lent) * bytes_of(size);
        bytes(&self.large, Room::Large) + bytes(&self.small, Room::Small)
    }

    /// What is left of a buffer whose content has been split off is at hand for the next large receive.
    pub fn offer(&mut self, size: Room, buffer: BytesMut) {
        debug_assert!(buffer.is_empty() && self.at_hand.is_none());
        self.at_hand = Some((size, buffer));
    }

    /// What is at hand is not wanted: it goes back.
    pub fn withdraw(&mut self) {
        if let Some((size, buffer)) = self.at_hand.take() {
            self.give_back(size, buffer);
        }
    }

    fn of(&mut self, size: Room) -> &mut Resting {
        match size {
            Room::Large => &mut self.large,
            Room::Small => &mut self.small,
        }
    }
}

fn bytes_of(room: Room) -> usize {
    match room {
        Room::Large => BUFFER_BYTES,
        Room::Small => SMALL_BUFFER_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_round_again_when_its_last_view_is_gone() {
        let mut slab = ReceiveSlab::default();
        let mut buffer = slab.take(Room::Large);
        let address = buffer.as_ptr();
        buffer.resize(BUFFER_BYTES, 1);
        let view = buffer.split().freeze();
        slab.offer(Room::Large, buffer);
        let other = slab.take(Room::Large);
        slab.withdraw();
        assert_ne!(other.as_ptr(), address, "the first is still viewed");
        drop(view);
        let again = slab.take(Room::Large);
        assert_eq!((again.as_ptr(), again.capacity()), (address, BUFFER_BYTES));
    }

    #[test]
    fn the_rest_of_a_buffer_is_used_while_it_is_worth_it() {
        let mut slab = ReceiveSlab::default();
        let mut buffer = slab.take(Room::Large);
        buffer.resize(1000, 1);
        drop(buffer.split());
        let address = buffer.as_ptr();
        slab.offer(Room::Large, buffer);
        let mut buffer = slab.take(Room::Large);
        assert_eq!(buffer.as_ptr(), address);
        buffer.resize(buffer.capacity() - MIN_REST + 1, 1);
        drop(buffer.split());
        slab.offer(Room::Large, buffer);
        assert_eq!(slab.take(Room::Large).capacity(), BUFFER_BYTES);
        slab.withdraw();
    }

    #[test]
    fn no_more_buffers_rest_than_the_bound() {
        let mut slab = ReceiveSlab::default();
        (0..AT_REST + 10).for_each(|_| slab.give_back(Room::Large, BytesMut::with_capacity(BUFFER_BYTES)));
        assert_eq!(slab.large.resting.len(), AT_REST);
    }

    #[test]
    fn those_who_say_little_get_little_and_a_publisher_goes_on_in_a_large_one() {
        let mut slab = ReceiveSlab::default();
        let small = slab.take(Room::Small);
        assert_eq!((small.capacity(), slab.bytes()), (SMALL_BUFFER_BYTES, SMALL_BUFFER_BYTES));
        slab.offer(Room::Small, small);
        let large = slab.take(Room::Large);
        slab.withdraw();
        assert_eq!((large.capacity(), slab.bytes()), (BUFFER_BYTES, SMALL_BUFFER_BYTES + BUFFER_BYTES));
        assert_eq!(slab.take(Room::Small).capacity(), SMALL_BUFFER_BYTES);
        slab.give_back(Room::Large, large);
        assert_eq!(slab.bytes(), SMALL_BUFFER_BYTES + BUFFER_BYTES);
    }
}
