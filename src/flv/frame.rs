//! One audio, video or data message and its payload, as views of the receive buffers. Copies nothing.

use super::{run::Run, run_list::RunList};
use bytes::Bytes;

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
    /// Empty only if the payload is. It is not in the list with the others because few messages have any, and room for more
    /// would be moved with each message, a few times.
    first: Run,
    others: RunList,
    len: usize,
}

impl Payload {
    /// An empty payload: legal in RTMP.
    pub fn new() -> Self {
        Self::default()
    }

    /// One run, whose payload has been counted.
    #[inline]
    pub(crate) fn of_run(run: Run, len: usize) -> Self {
        debug_assert!(len > 0 && len == run.payload_len());
        Self { first: run, others: RunList::default(), len }
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
        let len = run.payload_len();
        self.push_counted(run, len);
    }

    /// As [`Payload::push`], if the run's payload has been counted.
    #[inline(always)]
    pub(crate) fn push_counted(&mut self, run: Run, len: usize) {
        debug_assert_eq!(len, run.payload_len());
        if run.is_empty() {
            return;
        }
        self.len += len;
        if self.first.is_empty() {
            self.first = run;
        } else {
            self.others.push(run);
        }
    }

    /// Number of runs.
    pub fn run_count(&self) -> usize {
        if self.is_empty() { 0 } else { 1 + self.others.as_slice().len() }
    }

    /// The runs in order.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(&self.first).filter(|run| !run.is_empty()).chain(self.others.as_slice())
    }

    /// The payload's pieces in order; none of them is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.runs().flat_map(Run::pieces)
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
        if self.others.as_slice().is_empty()
            && let Some(bytes) = self.first.as_one_piece()
        {
            return bytes.clone();
        }
        let mut whole = Vec::with_capacity(self.len);
        self.pieces().for_each(|piece| whole.extend_from_slice(piece));
        whole.into()
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
