//! Buffers that hold what has been encrypted until the socket has taken it. They are used again, by size: filling one
//! costs no more than the encryption.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// Sizes of buffers, bytes: an audio frame, a video frame, a record of the largest size.
const SIZES: [usize; 3] = [1 << 10, 5 << 10, (16 << 10) + 512];
/// Buffers of each size that are kept while nobody uses them.
const KEPT: [usize; 3] = [256, 64, 32];

/// The buffers of one core. A clone is the same pool.
#[derive(Clone)]
pub struct Pool(Arc<[ArrayQueue<Vec<u8>>; SIZES.len()]>);

/// A buffer to be filled.
pub(super) struct Space {
    bytes: Vec<u8>,
    pool: Pool,
}

/// Gives its buffer back when the last view of it goes.
struct Owner {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Default for Pool {
    fn default() -> Self {
        Self(Arc::new(KEPT.map(ArrayQueue::new)))
    }
}

impl Pool {
    /// A buffer of at least so many bytes.
    pub(super) fn take(&self, len: usize) -> Space {
        let bytes = match SIZES.iter().position(|&size| size >= len) {
            Some(class) => self.0[class].pop().unwrap_or_else(|| vec![0; SIZES[class]]),
            None => vec![0; len],
        };
        Space { bytes, pool: self.clone() }
    }

    /// Bytes of buffers that nobody uses.
    pub fn kept_bytes(&self) -> usize {
        self.0.iter().zip(SIZES).map(|(kept, size)| kept.len() * size).sum()
    }

    fn give_back(&self, bytes: Vec<u8>) {
        if let Some(class) = SIZES.iter().position(|&size| size == bytes.len()) {
            // Its error is that enough are kept.
            _ = self.0[class].push(bytes);
        }
    }
}

impl Space {
    /// All of it.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `len` bytes, which have been filled.
    pub(super) fn filled(self, len: usize) -> Bytes {
        let Self { bytes, pool } = self;
        Bytes::from_owner(Owner { bytes, pool }).slice(..len)
    }
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_its_last_view_is_gone_and_only_so_many_are_kept() {
        let pool = Pool::default();
        for len in [1, 1 << 10, 3_000, 16 << 10] {
            let mut space = pool.take(len);
            space.space()[0] = 7;
            let address = space.space().as_ptr();
            let view = space.filled(len);
            let other = view.clone();
            drop(view);
            assert_eq!((other.len(), other[0]), (len, 7));
            assert_eq!(pool.kept_bytes(), 0);
            drop(other);
            assert_eq!(pool.take(len).space().as_ptr(), address);
            while pool.0.iter().any(|kept| kept.pop().is_some()) {}
        }
        let many: Vec<_> = (0..1_000).map(|_| pool.take(100).filled(100)).collect();
        drop(many);
        assert_eq!(pool.kept_bytes(), KEPT[0] * SIZES[0]);
        drop(pool.take(1 << 20).filled(1));
        assert_eq!(pool.kept_bytes(), KEPT[0] * SIZES[0], "one that is too large is not kept");
    }
}
