//! Keeps the facts of a stream: counts what its publisher sends, and writes it down now and then for whoever asks.

use bytes::Bytes;

use super::{
    facts::Facts,
    preamble::Preamble,
    registry::Stream,
    role::{Part, Role},
};
use crate::flv::{Frame, FrameKind, Kinds};

/// How often the facts are written down, milliseconds: twice for each look that is a second apart.
const BETWEEN_MS: u64 = 500;
/// What is kept of a message that names its codec: of a multitrack message too.
const PREFIX: usize = 8;

/// Counts of the publish that goes on.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    facts: Facts,
    /// The first bytes of the newest message of each kind, and how many there are.
    video: Option<([u8; PREFIX], usize)>,
    audio: Option<([u8; PREFIX], usize)>,
    key_frame_ms: Option<u32>,
    due_ms: u64,
}

impl Chronicle {
    /// A publisher comes, and has sent nothing.
    pub(super) fn begin(&mut self, stream: &Stream, now_ms: u64) {
        *self = Self::default();
        self.facts = Facts { since_ms: now_ms, now_ms, ..Facts::default() };
        stream.set_facts(self.facts.clone());
    }

    /// Takes note of a frame, with the time that its publisher gave it.
    pub(super) fn saw(&mut self, frame: &Frame, role: Role, now_ms: u64) {
        let facts = &mut self.facts;
        facts.now_ms = now_ms;
        facts.bytes += frame.payload.len() as u64;
        facts.frames += 1;
        match role {
            Role::KeyFrame => {
                facts.pictures += 1;
                facts.key_frames += 1;
                let before_ms = self.key_frame_ms.replace(frame.timestamp_ms);
                let interval_ms = before_ms.map(|before| frame.timestamp_ms.wrapping_sub(before));
                // A clock that was set back says nothing.
                facts.key_frame_interval_ms = interval_ms.filter(|&ms| ms.cast_signed() > 0);
            }
            Role::Picture => facts.pictures += 1,
            Role::Header(_) | Role::Other => {}
        }
        let kept = match frame.kind {
            FrameKind::Video => &mut self.video,
            FrameKind::Audio => &mut self.audio,
            FrameKind::Data => return,
        };
        // An empty message keeps a connection alive, and is no sound.
        if !frame.payload.is_empty() {
            let (prefix, len) = kept.get_or_insert_default();
            *len = frame.payload.copy_prefix(prefix);
        }
    }

    /// Which kinds have come so far.
    pub(super) fn kinds(&self) -> Kinds {
        Kinds { audio: self.audio.is_some(), video: self.video.is_some() }
    }

    /// Writes the facts down, if it is time.
    pub(super) fn write_if_due(&mut self, stream: &Stream, preamble: &Preamble, now_ms: u64) {
        if now_ms >= self.due_ms {
            self.due_ms = now_ms + BETWEEN_MS;
            self.write(stream, preamble);
        }
    }

    /// Writes the facts down.
    pub(super) fn write(&self, stream: &Stream, preamble: &Preamble) {
        let bytes = |kept: &Option<([u8; PREFIX], usize)>| {
            kept.as_ref().map(|(prefix, len)| Bytes::copy_from_slice(&prefix[..*len]))
        };
        stream.set_facts(Facts {
            metadata: preamble.header(Part::Metadata),
            video: bytes(&self.video),
            video_header: preamble.header(Part::VideoSequence(0)),
            audio: bytes(&self.audio),
            audio_header: preamble.header(Part::AudioSequence(0)),
            ..self.facts.clone()
        });
    }
}
