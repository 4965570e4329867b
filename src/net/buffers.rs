//! The buffers that one core receives into: one of a size is enough for all its sockets, since what comes is used at
//! once. Frames that are half here are views of it, and then another one takes its place until they are whole: in the
//! steady state nothing is allocated. What connections that do not publish send is short, and what they leave unread
//! pins little.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::endpoint::Input;

/// Room for media: what one read brings at most.
pub const MEDIA_BYTES: usize = 64 << 10;
/// Room for a handshake, or a few commands. What is more comes with the next read.
pub const COMMAND_BYTES: usize = 4 << 10;
/// Buffers of a size that rest here; more are left to those who view them.
const AT_REST: usize = 64;
/// How many resting buffers are tried before a new one is made: the others may still be viewed.
const TRIES: usize = 4;

/// Receive buffers that no receive reads into at the moment.
pub struct ReceiveBuffers {
    media: OfSize,
    commands: OfSize,
}

/// Buffers of one size.
struct OfSize {
    bytes: usize,
    at_hand: Option<BytesMut>,
    /// Still viewed when they were full.
    resting: VecDeque<BytesMut>,
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self { media: OfSize::new(MEDIA_BYTES), commands: OfSize::new(COMMAND_BYTES) }
    }
}

impl ReceiveBuffers {
    /// An empty buffer with room for what is expected. To be given back with [`ReceiveBuffers::give_back`].
    pub fn take(&mut self, expected: Input) -> BytesMut {
        self.of(expected).take()
    }

    /// Takes back a buffer whose content has been split off.
    pub fn give_back(&mut self, expected: Input, buffer: BytesMut) {
        let at_hand = &mut self.of(expected).at_hand;
        debug_assert!(buffer.is_empty() && at_hand.is_none());
        *at_hand = Some(buffer);
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        [&self.media, &self.commands].into_iter().map(|it| (it.resting.len() + 1) * it.bytes).sum()
    }

    fn of(&mut self, expected: Input) -> &mut OfSize {
        match expected {
            Input::Commands => &mut self.commands,
            Input::Media | Input::UnreadMedia => &mut self.media,
        }
    }
}

impl OfSize {
    fn new(bytes: usize) -> Self {
        Self { bytes, at_hand: None, resting: VecDeque::new() }
    }

    fn take(&mut self) -> BytesMut {
        if let Some(mut buffer) = self.at_hand.take() {
            // With no view left it begins anew: its first bytes are still in the processor's cache. One that is still
            // viewed is read into while a quarter of it is left.
            if buffer.try_reclaim(self.bytes) || buffer.capacity() >= self.bytes / 4 {
                return buffer;
            }
            if self.resting.len() < AT_REST {
                self.resting.push_back(buffer);
            }
        }
        for _ in 0..TRIES {
            let Some(mut buffer) = self.resting.pop_front() else { break };
            // Succeeds only when no view is left, and then without an allocation.
            if buffer.try_reclaim(self.bytes) {
                return buffer;
            }
            self.resting.push_back(buffer);
        }
        BytesMut::with_capacity(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Reads so many bytes, and returns where they are.
    fn read(buffers: &mut ReceiveBuffers, bytes: usize) -> Bytes {
        let mut buffer = buffers.take(Input::Media);
        buffer.resize(bytes, 1);
        let view = buffer.split().freeze();
        buffers.give_back(Input::Media, buffer);
        view
    }

    #[test]
    fn every_read_uses_the_same_memory_if_nothing_is_left_of_the_one_before() {
        let mut buffers = ReceiveBuffers::default();
        let address = read(&mut buffers, MEDIA_BYTES).as_ptr();
        for bytes in [1, 1_000, MEDIA_BYTES, 1_000] {
            assert_eq!(read(&mut buffers, bytes).as_ptr(), address);
        }
        assert_eq!(
            (buffers.take(Input::Media).capacity(), buffers.bytes() - COMMAND_BYTES),
            (MEDIA_BYTES, MEDIA_BYTES)
        );
    }

    #[test]
    fn a_viewed_buffer_is_read_into_while_there_is_room_and_comes_round_again_when_its_last_view_is_gone() {
        let mut buffers = ReceiveBuffers::default();
        let first = read(&mut buffers, 1_000);
        let second = read(&mut buffers, MEDIA_BYTES - 1_000 - MEDIA_BYTES / 4);
        assert_eq!(second.as_ptr(), first[1_000 - 1..].as_ptr().wrapping_add(1));
        let third = read(&mut buffers, 1);
        assert_eq!(third.as_ptr(), second.as_ptr().wrapping_add(second.len()));
        let elsewhere = read(&mut buffers, MEDIA_BYTES);
        assert_eq!(buffers.bytes() - COMMAND_BYTES, 2 * MEDIA_BYTES);
        let address = first.as_ptr();
        drop((first, second, third));
        assert_eq!(read(&mut buffers, 1).as_ptr(), address, "the other one is still viewed");
        drop(elsewhere);
    }

    #[test]
    fn no_more_buffers_rest_than_the_bound() {
        let mut buffers = ReceiveBuffers::default();
        let views: Vec<Bytes> = (0..AT_REST + 10).map(|_| read(&mut buffers, MEDIA_BYTES)).collect();
        assert_eq!(buffers.media.resting.len(), AT_REST);
        drop(views);
    }

    #[test]
    fn commands_get_little_room_and_pin_little() {
        let mut buffers = ReceiveBuffers::default();
        let mut buffer = buffers.take(Input::Commands);
        assert_eq!(buffer.capacity(), COMMAND_BYTES);
        buffer.resize(COMMAND_BYTES, 1);
        let view = buffer.split();
        buffers.give_back(Input::Commands, buffer);
        assert_eq!(buffers.take(Input::Commands).capacity(), COMMAND_BYTES);
        assert_eq!(buffers.bytes(), MEDIA_BYTES + 2 * COMMAND_BYTES);
        drop(view);
    }
}
