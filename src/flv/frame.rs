//! One audio, video or data message and its payload, as views of the receive buffers. Copies nothing.

use bytes::Bytes;
use smallvec::SmallVec;

/// What a frame carries: RTMP message types 8, 9 and 18, FLV tag types of the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Audio (8).
    Audio = 8,
    /// Video (9).
    Video = 9,
    /// Script data in AMF0, without `@setDataFrame` (18).
    Data = 18,
}

/// One audio, video or data message of a stream.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// Absolute time in milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// The body of the FLV tag: codec header and data, not parsed.
    pub payload: Payload,
}

/// How frames are written to a stream log, and what a player is sent first: RTMP chunks, FLV tags, …
pub trait WireFormat {
    /// Bytes that [`WireFormat::write`] will fill for this frame.
    fn wire_len(&self, frame: &Frame) -> usize;
    /// Writes the frame to `out`, which is exactly [`WireFormat::wire_len`] bytes long.
    fn write(&self, frame: &Frame, out: &mut [u8]);
    /// What a player is sent once, before its first header or frame; none where the format has no such header.
    fn stream_header(&self, kinds: Kinds) -> Option<Bytes> {
        let _ = kinds;
        None
    }
    /// The frame that `wire` begins with, as [`WireFormat::write`] has written it, and its length there; none where it
    /// is not whole, or where this format is not read back.
    fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
        let _ = wire;
        None
    }
}

/// Which kinds of media a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Audio.
    pub audio: bool,
    /// Video.
    pub video: bool,
}

/// The bytes of one message, in order, as runs over receive buffers.
///
/// Most messages are one run; a message that spans several reads has one run per read.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// Four inline would save an allocation for messages that span three or four reads, but the decoder would be a
    /// quarter slower for all others: messages are moved a few times.
    runs: SmallVec<[Run; 2]>,
    len: usize,
}

/// A contiguous stretch of a receive buffer that holds payload pieces at a fixed stride: the chunks of one
/// message, with the type-3 chunk headers still between them. Thus a message in sixty 128-byte chunks is
/// one handle, not sixty, and none of its bytes is moved.
#[derive(Clone, Debug)]
pub struct Run {
    bytes: Bytes,
    first: u32,
    piece: u32,
    gap: u32,
}

impl Payload {
    /// An empty payload: legal in RTMP.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of payload bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a run, if it is not empty.
    pub fn push(&mut self, run: Run) {
        if !run.bytes.is_empty() {
            self.len += run.payload_len();
            self.runs.push(run);
        }
    }

    /// Number of runs.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// The runs in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The payload's pieces in order; none of them is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.runs.iter().flat_map(Run::pieces)
    }

    /// Copies the first bytes into `out` and returns how many there were: `min(len, out.len())`.
    pub fn copy_prefix(&self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for piece in self.pieces() {
            let n = piece.len().min(out.len() - filled);
            out[filled..filled + n].copy_from_slice(&piece[..n]);
            filled += n;
            if filled == out.len() {
                break;
            }
        }
        filled
    }

    /// The payload in one piece: a view where it already is one, a copy where it is not.
    pub fn to_bytes(&self) -> Bytes {
        match self.runs.as_slice() {
            [] => Bytes::new(),
            [run] if run.bytes.len() <= run.first as usize => run.bytes.clone(),
            _ => {
                let mut whole = Vec::with_capacity(self.len);
                self.pieces().for_each(|piece| whole.extend_from_slice(piece));
                whole.into()
            }
        }
    }

    /// The payload without its first `n` bytes (all of them at most), for `@setDataFrame`. Copies nothing
    /// where the payload is one piece.
    pub fn skip(&self, n: usize) -> Self {
        let bytes = self.to_bytes();
        bytes.slice(n.min(bytes.len())..).into()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let mut payload = Self::new();
        payload.push(Run::contiguous(bytes));
        payload
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Run {
    /// Payload only.
    pub fn contiguous(bytes: Bytes) -> Self {
        let first = u32::try_from(bytes.len()).expect("a receive buffer is far below 4 GiB");
        Self { bytes, first, piece: 1, gap: 0 }
    }

    /// `first` payload bytes, then `gap` header bytes before every further `piece` payload bytes; the last piece
    /// may be shorter. `bytes` begins and ends with payload.
    pub fn strided(bytes: Bytes, first: u32, piece: u32, gap: u32) -> Self {
        debug_assert!(piece > 0);
        Self { bytes, first, piece, gap }
    }

    /// Bytes of the receive buffer that it is a view of, headers between pieces included.
    pub fn wire_len(&self) -> usize {
        self.bytes.len()
    }

    fn payload_len(&self) -> usize {
        let rest = self.bytes.len().saturating_sub(self.first as usize);
        let stride = (self.piece + self.gap) as usize;
        self.bytes.len() - rest.div_ceil(stride) * self.gap as usize
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (first, rest) = self.bytes.split_at(self.bytes.len().min(self.first as usize));
        let stride = (self.piece + self.gap) as usize;
        let further = rest.chunks(stride).map(|chunk| &chunk[self.gap as usize..]);
        std::iter::once(first).chain(further).filter(|piece| !piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strided_run_yields_its_payload_without_the_headers_between() {
        let mut payload = Payload::new();
        payload.push(Run::strided(Bytes::from_static(b"ab.cde.fgh.i"), 2, 3, 1));
        payload.push(Run::strided(Bytes::from_static(b"jk"), 2, 3, 1));
        assert_eq!(payload.len(), 11);
        assert_eq!(payload.to_bytes(), "abcdefghijk");
        assert_eq!(payload.skip(4).to_bytes(), "efghijk");
        let mut prefix = [0; 4];
        assert_eq!(payload.copy_prefix(&mut prefix), 4);
        assert_eq!(&prefix, b"abcd");
    }

    #[test]
    fn a_payload_in_one_piece_is_not_copied() {
        let bytes = Bytes::from_static(b"whole");
        assert_eq!(Payload::from(bytes.clone()).to_bytes().as_ptr(), bytes.as_ptr());
        assert!(Payload::from(Bytes::new()).to_bytes().is_empty());
    }
}
