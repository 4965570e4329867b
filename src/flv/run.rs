//! A view of a receive buffer with the payload of a message's chunks, and the headers between them.

use bytes::Bytes;

/// A contiguous stretch of a receive buffer that holds payload pieces at a fixed stride: the chunks of one
/// message, with the type-3 chunk headers still between them. Thus a message in sixty 128-byte chunks is
/// one handle, not sixty, and none of its bytes is moved.
#[derive(Clone, Debug, Default)]
pub struct Run {
    bytes: Bytes,
    first: u32,
    spacing: Spacing,
}

/// The length of the pieces after the first, 24 bits, and of the headers before them.
#[derive(Clone, Copy, Debug, Default)]
struct Spacing(u32);

impl Run {
    /// Payload only.
    pub fn contiguous(bytes: Bytes) -> Self {
        let first = u32::try_from(bytes.len()).expect("a receive buffer is far below 4 GiB");
        Self { bytes, first, spacing: Spacing::new(1, 0) }
    }

    /// `first` payload bytes, then `gap` header bytes before every further `piece` payload bytes; the last piece
    /// may be shorter. `bytes` begins and ends with payload. A piece has 16 777 215 bytes at most, as a chunk has, and a
    /// header 255.
    #[inline]
    pub fn strided(bytes: Bytes, first: u32, piece: u32, gap: u32) -> Self {
        Self { bytes, first, spacing: Spacing::new(piece, gap) }
    }

    /// Bytes of the receive buffer that it is a view of, headers between pieces included.
    pub fn wire_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The payload, if no headers are in between.
    pub(super) fn as_one_piece(&self) -> Option<&Bytes> {
        (self.bytes.len() <= self.first as usize).then_some(&self.bytes)
    }

    /// Payload bytes.
    pub(super) fn payload_len(&self) -> usize {
        let rest = self.bytes.len().saturating_sub(self.first as usize);
        self.bytes.len() - rest.div_ceil(self.spacing.stride()) * self.spacing.gap()
    }

    /// The pieces in order; none of them is empty.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (first, rest) = self.bytes.split_at(self.bytes.len().min(self.first as usize));
        let further = rest.chunks(self.spacing.stride()).map(|chunk| &chunk[self.spacing.gap()..]);
        std::iter::once(first).chain(further).filter(|piece| !piece.is_empty())
    }
}

impl Spacing {
    #[inline]
    fn new(piece: u32, gap: u32) -> Self {
        debug_assert!(0 < piece && piece < 1 << 24 && gap < 1 << 8);
        Self(gap << 24 | piece)
    }

    fn gap(self) -> usize {
        (self.0 >> 24) as usize
    }

    /// At least 1: a run of none, by default, has no pieces.
    fn stride(self) -> usize {
        ((self.0 & 0xFF_FFFF) as usize + self.gap()).max(1)
    }
}
