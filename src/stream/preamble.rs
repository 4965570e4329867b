//! What a joiner needs before its first frame: metadata and sequence headers as they are now.

use bytes::Bytes;

use super::role::Part;
use crate::flv::{Frame, Payload, WireFormat};

/// Headers of one stream: metadata, and two for each of five video and ten audio tracks, rounded up. Real streams have
/// three.
const MOST_HEADERS: usize = 32;
/// A header larger than this is passed on and not kept: real ones are below 1 KiB, metadata with a picture in it below
/// this.
const LARGEST_HEADER: usize = 256 << 10;
/// The time of `onMetaData`, wherever it stands. FFmpeg's FLV reader, which VLC and mpv use, skips metadata at 0; any
/// other makes it a subtitle track, for whose first line VLC waits 10 s.
pub(super) const METADATA_MS: u32 = 0;

/// The newest metadata and sequence headers of a stream, unopened.
#[derive(Debug, Default)]
pub(super) struct Preamble {
    /// By part, as the publisher of now has sent them.
    current: Vec<Header>,
    /// What the publisher before had sent, and players therefore have.
    before: Vec<Header>,
    /// Moves on with every change that players must be told of.
    generation: u32,
}

#[derive(Debug)]
struct Header {
    part: Part,
    payload: Bytes,
}

impl Preamble {
    /// Takes note of metadata or a sequence header. False where players that have watched so far have these bytes
    /// already: a camera that repeats its headers on each key frame changes nothing, nor does an encoder that comes
    /// back as it went.
    pub(super) fn update(&mut self, part: Part, payload: &Payload) -> bool {
        let known = self.current.binary_search_by_key(&part, |header| header.part);
        if known.is_ok_and(|at| equal(&self.current[at].payload, payload)) {
            return false;
        }
        let is_new = !self.before.iter().any(|header| header.part == part && equal(&header.payload, payload));
        if payload.len() <= LARGEST_HEADER {
            // A copy of its own: a view would hold a whole receive buffer for as long as the stream lives.
            let payload = Bytes::copy_from_slice(&payload.to_bytes());
            match known {
                Ok(at) => self.current[at].payload = payload,
                Err(at) if self.current.len() < MOST_HEADERS => {
                    self.current.insert(at, Header { part, payload });
                }
                Err(_) => {}
            }
        }
        // From now on this part is the current one's, whatever there was before.
        self.before.retain(|header| header.part != part);
        if is_new {
            self.generation = self.generation.wrapping_add(1);
        }
        is_new
    }

    /// The publisher went away. The next one may leave out what this one had: a joiner must not be told of sound that
    /// is not there any more.
    pub(super) fn interrupt(&mut self) {
        // A publisher that went before it sent anything leaves players with what they had.
        if !self.current.is_empty() {
            self.before = std::mem::take(&mut self.current);
        }
    }

    /// The header of this part, as the publisher of now has sent it.
    pub(super) fn header(&self, part: Part) -> Option<Bytes> {
        let known = self.current.binary_search_by_key(&part, |header| header.part).ok()?;
        Some(self.current[known].payload.clone())
    }

    /// Moves on with every change.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// The wire bytes that go before a first frame at `timestamp_ms`, behind `opening`.
    pub(super) fn to_wire(&self, format: &dyn WireFormat, opening: &[u8], timestamp_ms: u32) -> Bytes {
        let mut wire = opening.to_vec();
        for header in &self.current {
            let payload = header.payload.clone().into();
            let timestamp_ms = if header.part == Part::Metadata { METADATA_MS } else { timestamp_ms };
            let frame = Frame { kind: header.part.kind(), timestamp_ms, payload };
            let start = wire.len();
            wire.resize(start + format.wire_len(&frame), 0);
            format.write(&frame, &mut wire[start..]);
        }
        wire.into()
    }
}

fn equal(known: &Bytes, payload: &Payload) -> bool {
    let mut rest = &known[..];
    known.len() == payload.len()
        && payload.pieces().all(|piece| {
            let (head, tail) = rest.split_at(piece.len());
            rest = tail;
            head == piece
        })
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;
    use crate::{flv::Run, stream::tests::Plain};

    const VIDEO: Part = Part::VideoSequence(0);
    const AUDIO: Part = Part::AudioSequence(0);

    fn payload(text: &'static str) -> Payload {
        Bytes::from_static(text.as_bytes()).into()
    }

    #[test]
    fn the_same_header_again_is_not_a_change_however_it_was_cut() {
        let mut preamble = Preamble::default();
        assert!(preamble.update(VIDEO, &payload("header")));
        let mut cut = Payload::new();
        cut.push(Run::strided(Bytes::from_static(b"hea.der"), 3, 3, 1));
        assert!(!preamble.update(VIDEO, &cut));
        assert_eq!(preamble.generation(), 1);
        assert!(preamble.update(VIDEO, &payload("Header")));
        assert_eq!(preamble.generation(), 2);
    }

    #[test]
    fn metadata_goes_first_then_video_then_audio_and_each_track_has_its_own() {
        let mut preamble = Preamble::default();
        preamble.update(AUDIO, &payload("A"));
        preamble.update(Part::VideoSequence(1), &payload("w"));
        preamble.update(VIDEO, &payload("V"));
        assert_eq!(preamble.to_wire(&Plain, b"", 0), "VwA");
        preamble.update(Part::Metadata, &payload("M"));
        assert_eq!(preamble.to_wire(&Plain, b"", 0), "MVwA");
    }

    #[test]
    fn what_the_publisher_before_had_is_no_change_but_is_not_told_to_joiners() {
        let mut preamble = Preamble::default();
        preamble.update(VIDEO, &payload("V"));
        preamble.update(AUDIO, &payload("A"));
        preamble.interrupt();
        assert!(!preamble.update(VIDEO, &payload("V")));
        assert_eq!((preamble.generation(), preamble.to_wire(&Plain, b"", 0)), (2, "V".into()));
        preamble.update(VIDEO, &payload("W"));
        assert!(preamble.update(VIDEO, &payload("V")), "a change back is a change");
        preamble.interrupt();
        preamble.interrupt();
        assert!(!preamble.update(VIDEO, &payload("V")), "who sent nothing changed nothing");
    }

    #[test]
    fn headers_are_bounded_in_number_and_size() {
        let mut preamble = Preamble::default();
        for track in 0..=u8::MAX {
            preamble.update(Part::VideoSequence(track), &payload("v"));
        }
        assert_eq!(preamble.to_wire(&Plain, b"", 0).len(), MOST_HEADERS);
        let mut preamble = Preamble::default();
        let at_the_limit = Payload::from(Bytes::from(vec![1; LARGEST_HEADER]));
        assert!(preamble.update(Part::Metadata, &at_the_limit));
        assert_eq!(preamble.to_wire(&Plain, b"", 0).len(), LARGEST_HEADER);
        let one_more = Payload::from(Bytes::from(vec![1; LARGEST_HEADER + 1]));
        assert!(preamble.update(Part::Metadata, &one_more), "it is passed on");
        assert_eq!(preamble.to_wire(&Plain, b"", 0).len(), LARGEST_HEADER, "and not kept");
    }
}
