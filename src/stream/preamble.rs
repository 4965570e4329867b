//! What a joiner needs before its first frame: metadata and sequence headers as they are now.

use bytes::Bytes;

use crate::flv::{Frame, FrameKind, Payload, WireFormat};

/// The newest metadata and sequence headers of a stream, unopened.
#[derive(Debug, Default)]
pub(super) struct Preamble {
    metadata: Option<Bytes>,
    video: Option<Bytes>,
    audio: Option<Bytes>,
    /// Moves on with every change.
    generation: u32,
}

impl Preamble {
    /// Takes note of metadata or a sequence header; false where the same bytes are known already: a camera that
    /// repeats its headers on each key frame changes nothing.
    pub(super) fn update(&mut self, kind: FrameKind, payload: &Payload) -> bool {
        let known = match kind {
            FrameKind::Data => &mut self.metadata,
            FrameKind::Video => &mut self.video,
            FrameKind::Audio => &mut self.audio,
        };
        if known.as_ref().is_some_and(|known| equal(known, payload)) {
            return false;
        }
        // A copy of its own: a view would hold a whole receive buffer for as long as the stream lives.
        *known = Some(Bytes::copy_from_slice(&payload.to_bytes()));
        self.generation = self.generation.wrapping_add(1);
        true
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// The wire bytes that go before a first frame at `timestamp_ms`.
    pub(super) fn to_wire(&self, format: &dyn WireFormat, timestamp_ms: u32) -> Bytes {
        let parts = [
            (FrameKind::Data, &self.metadata),
            (FrameKind::Video, &self.video),
            (FrameKind::Audio, &self.audio),
        ];
        let mut wire = Vec::new();
        for (kind, payload) in parts {
            let Some(payload) = payload.clone() else { continue };
            let frame = Frame { kind, timestamp_ms, payload: payload.into() };
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

    #[test]
    fn the_same_header_again_is_not_a_change_however_it_was_cut() {
        let mut preamble = Preamble::default();
        assert!(preamble.update(FrameKind::Video, &Bytes::from_static(b"header").into()));
        let mut cut = Payload::new();
        cut.push(Run::strided(Bytes::from_static(b"hea.der"), 3, 3, 1));
        assert!(!preamble.update(FrameKind::Video, &cut));
        assert_eq!(preamble.generation(), 1);
        assert!(preamble.update(FrameKind::Video, &Bytes::from_static(b"Header").into()));
        assert_eq!(preamble.generation(), 2);
    }

    #[test]
    fn metadata_goes_first_then_video_then_audio() {
        let mut preamble = Preamble::default();
        preamble.update(FrameKind::Audio, &Bytes::from_static(b"A").into());
        preamble.update(FrameKind::Video, &Bytes::from_static(b"V").into());
        assert_eq!(preamble.to_wire(&Plain, 0), "VA");
        preamble.update(FrameKind::Data, &Bytes::from_static(b"M").into());
        assert_eq!(preamble.to_wire(&Plain, 0), "MVA");
    }
}
