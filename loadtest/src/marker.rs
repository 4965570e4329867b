//! What each synthetic frame carries, so that a player can check whether it is intact, whether one is missing before it,
//! how old it is, and what else has been sent.

use crate::schedule::{Schedule, Shape};

/// Which encoder sent a frame, which one it is, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Number of the stream among those of one publisher process.
    pub stream: u32,
    /// Identifies one connection of an encoder: distinguishes a restarted encoder, which counts from 0 again, from frames
    /// out of order.
    pub source: u32,
    /// Number among the frames of one kind (audio, video), from 0.
    pub sequence: u64,
    /// CLOCK_MONOTONIC.
    pub sent_ns: u64,
    /// When all other frames of this encoder are due.
    pub schedule: Schedule,
    /// The encoder has ended: no frame follows.
    pub is_last: bool,
}

impl Marker {
    /// Size of a marker, in bytes.
    pub const LEN: usize = 49;

    /// Appends the marker, and filler that depends on it, until `out` has `len` bytes (at least as many as it had, and a
    /// marker).
    pub fn write(&self, out: &mut Vec<u8>, len: usize) {
        let len = len.max(out.len() + Self::LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.sent_ns.to_be_bytes());
        out.extend_from_slice(&(len as u32).to_be_bytes());
        let Schedule { shape, started_ns } = self.schedule;
        out.extend_from_slice(&started_ns.to_be_bytes());
        out.extend_from_slice(&(shape.bitrate as u32).to_be_bytes());
        out.extend_from_slice(&(shape.fps as u16).to_be_bytes());
        out.extend_from_slice(&(shape.gop as u16).to_be_bytes());
        out.push((u8::from(shape.audio) * HAS_AUDIO) | (u8::from(self.is_last) * IS_LAST));
        let mut at = self.filler_start();
        while out.len() < len {
            let n = (len - out.len()).min(FILLER.len() - at);
            out.extend_from_slice(&FILLER[at..at + n]);
            at = 0;
        }
    }

    /// Reads the marker at `at` of a frame. `None`: not one of ours, or its length or a byte of it is wrong.
    pub fn read(frame: &[u8], at: usize) -> Option<Self> {
        let mut fields = Fields(frame.get(at..at + Self::LEN)?);
        let magic = fields.take::<4>();
        let stream = u32::from_be_bytes(fields.take());
        let source = u32::from_be_bytes(fields.take());
        let sequence = u64::from_be_bytes(fields.take());
        let sent_ns = u64::from_be_bytes(fields.take());
        let len = u32::from_be_bytes(fields.take()) as usize;
        let started_ns = u64::from_be_bytes(fields.take());
        let bitrate = u32::from_be_bytes(fields.take()).into();
        let fps = u16::from_be_bytes(fields.take()).into();
        let gop = u16::from_be_bytes(fields.take()).into();
        let [flags] = fields.take();
        let shape = Shape { bitrate, fps, gop, audio: flags & HAS_AUDIO != 0 };
        let schedule = Schedule { shape, started_ns };
        let marker = Self { stream, source, sequence, sent_ns, schedule, is_last: flags & IS_LAST != 0 };
        let is_possible = &magic == MAGIC && len == frame.len() && shape.check().is_ok();
        let is_whole = is_possible && marker.is_filler(&frame[at + Self::LEN..]);
        is_whole.then_some(marker)
    }

    fn is_filler(&self, mut bytes: &[u8]) -> bool {
        let mut at = self.filler_start();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FILLER.len() - at));
            if now != &FILLER[at..at + now.len()] {
                return false;
            }
            bytes = later;
            at = 0;
        }
        true
    }

    /// Each frame starts elsewhere, so that no two frames have the same bytes.
    fn filler_start(&self) -> usize {
        let mixed = (self.sequence ^ u64::from(self.stream) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize % FILLER.len()
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (now, later) = self.0.split_first_chunk().expect("the fields add up to Marker::LEN");
        self.0 = later;
        *now
    }
}

const MAGIC: &[u8; 4] = b"fanf";
const HAS_AUDIO: u8 = 1;
const IS_LAST: u8 = 2;

/// Never 0, so that it has no H.264 start code. Its length shares no small factor with frame lengths.
static FILLER: [u8; 65_521] = filler();

const fn filler() -> [u8; 65_521] {
    let mut bytes = [0; 65_521];
    let mut state: u32 = 0x2545_F491;
    let mut i = 0;
    while i < bytes.len() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes[i] = (state % 255) as u8 + 1;
        i += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { bitrate: 400_000_000, fps: 240, gop: 6_000, audio: true };
    const MARKER: Marker = Marker {
        stream: 3,
        source: 9,
        sequence: 1 << 40,
        sent_ns: u64::MAX - 1,
        schedule: Schedule { shape: SHAPE, started_ns: u64::MAX - 7 },
        is_last: true,
    };

    fn frame(len: usize) -> Vec<u8> {
        let mut frame = vec![0xAF, 1];
        MARKER.write(&mut frame, len);
        frame
    }

    #[test]
    fn a_marker_reads_as_it_was_written_in_frames_of_any_length() {
        for len in [0, 51, 52, 1000, 70_000, 200_000] {
            let frame = frame(len);
            assert_eq!(frame.len(), len.max(2 + Marker::LEN));
            assert_eq!(Marker::read(&frame, 2), Some(MARKER));
        }
    }

    #[test]
    fn a_changed_byte_is_detected_wherever_it_is() {
        let whole = frame(90_000);
        for at in [2, 33, 36, 50, 51, 1000, 66_000, 89_999] {
            let mut frame = whole.clone();
            frame[at] ^= 1;
            assert_ne!(Marker::read(&frame, 2), Some(MARKER), "at {at}");
        }
    }

    #[test]
    fn a_missing_or_additional_byte_is_detected() {
        let mut frame = frame(1000);
        assert_eq!(Marker::read(&frame[..999], 2), None);
        frame.push(FILLER[0]);
        assert_eq!(Marker::read(&frame, 2), None);
        assert_eq!(Marker::read(&frame[..20], 2), None);
    }
}
