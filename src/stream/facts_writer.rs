//! Counts what a stream's publisher sends, and writes the facts twice a second for the control plane.

#![forbid(unsafe_code)]

use bytes::Bytes;

use super::{
    facts::{Facts, MediaTime},
    preamble::Headers,
    role::Part,
    shared::SharedState,
    tracks::{KeyFramePart, VideoMessage},
};
use crate::flv::Frame;

/// How often the facts are written, milliseconds: twice for each read of the control plane, which is once a second.
const BETWEEN_MS: u64 = 500;
/// Bytes that are kept of a message: as far as it names its codec, even if it is a multitrack message.
const PREFIX: usize = 8;

/// Counts of the current publish.
#[derive(Debug, Default)]
pub(super) struct FactsWriter {
    facts: Facts,
    /// The first bytes of the newest message of the first track of each kind.
    video: Option<Prefix>,
    audio: Option<Prefix>,
    audio_tracks: TrackIds,
    key_frame_ms: Option<u32>,
    due_ms: u64,
}

/// Track ids, a bit each.
#[derive(Debug, Default)]
struct TrackIds([u64; 4]);

impl TrackIds {
    fn insert(&mut self, id: u8) {
        self.0[usize::from(id / 64)] |= 1 << (id % 64);
    }

    fn first(&self) -> Option<u8> {
        let (word, bits) = self.0.iter().enumerate().find(|(_, bits)| **bits != 0)?;
        Some(word as u8 * 64 + bits.trailing_zeros() as u8)
    }

    fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }
}

#[derive(Clone, Copy, Debug)]
struct Prefix {
    track: u8,
    bytes: [u8; PREFIX],
    len: usize,
}

impl FactsWriter {
    /// A publisher has come, and has sent nothing.
    pub(super) fn begin(&mut self, stream: &SharedState, now_ms: u64) {
        let Facts { bytes, earlier_bytes, frames, earlier_frames, .. } = self.facts;
        *self = Self::default();
        self.facts = Facts {
            since_ms: now_ms,
            now_ms,
            earlier_bytes: earlier_bytes + bytes,
            earlier_frames: earlier_frames + frames,
            ..Facts::default()
        };
        stream.set_facts(self.facts.clone());
    }

    /// A frame of any kind has come.
    pub(super) fn saw(&mut self, frame: &Frame, now_ms: u64) {
        let facts = &mut self.facts;
        facts.now_ms = now_ms;
        facts.bytes += frame.payload.len() as u64;
        facts.frames += 1;
    }

    /// The stream goes as far as this time.
    pub(super) fn saw_time(&mut self, newest: Option<MediaTime>) {
        self.facts.newest = newest;
    }

    /// It is a video frame of this track, or a part of one, with the time that its publisher gave it. `tracks` is the
    /// number of video tracks.
    pub(super) fn saw_video(&mut self, frame: &Frame, track: u8, video: VideoMessage, tracks: usize) {
        let facts = &mut self.facts;
        facts.video_tracks = tracks;
        if !video.is_lead {
            return;
        }
        self.video = Some(Prefix::of(frame, track));
        facts.video_frames += u64::from(video.is_first);
        if video.part == KeyFramePart::Begins {
            facts.key_frames += 1;
            let before_ms = self.key_frame_ms.replace(frame.timestamp_ms);
            let interval_ms = before_ms.map(|before| frame.timestamp_ms.wrapping_sub(before));
            // If the clock was set back there is no interval.
            facts.key_frame_interval_ms = interval_ms.filter(|&ms| ms.cast_signed() > 0);
        }
    }

    /// It is audio of this track.
    pub(super) fn saw_audio(&mut self, frame: &Frame, track: u8) {
        self.audio_tracks.insert(track);
        if self.audio_tracks.first() == Some(track) {
            self.audio = Some(Prefix::of(frame, track));
        }
    }

    /// Writes the facts, if it is time.
    pub(super) fn write_if_due(&mut self, stream: &SharedState, headers: &Headers, now_ms: u64) {
        if now_ms >= self.due_ms {
            self.due_ms = now_ms + BETWEEN_MS;
            self.write(stream, headers);
        }
    }

    /// Writes the facts.
    pub(super) fn write(&self, stream: &SharedState, headers: &Headers) {
        let bytes = |kept: Option<Prefix>| kept.map(|kept| Bytes::copy_from_slice(&kept.bytes[..kept.len]));
        let header = |kept: Option<Prefix>, part: fn(u8) -> Part| headers.header(part(kept?.track));
        stream.set_facts(Facts {
            metadata: headers.header(Part::Metadata),
            video: bytes(self.video),
            video_header: header(self.video, Part::VideoSequence),
            audio: bytes(self.audio),
            audio_header: header(self.audio, Part::AudioSequence),
            audio_tracks: self.audio_tracks.len(),
            ..self.facts.clone()
        });
    }
}

impl Prefix {
    fn of(frame: &Frame, track: u8) -> Self {
        let mut bytes = [0; PREFIX];
        let len = frame.payload.copy_prefix(&mut bytes);
        Self { track, bytes, len }
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_track_id_counts_once_and_the_lowest_is_the_first() {
        let mut ids = TrackIds::default();
        assert_eq!((ids.first(), ids.len()), (None, 0));
        for (count, id) in (0..=u8::MAX).rev().enumerate() {
            ids.insert(id);
            ids.insert(id);
            assert_eq!((ids.first(), ids.len()), (Some(id), count + 1));
        }
    }
}
