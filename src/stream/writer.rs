//! What the publisher's core does with a frame: decides what it is, gives it its time, lays it into the log, moves
//! the point where players join.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    log::{LogWriter, Place, Retention},
    preamble::Preamble,
    registry::Stream,
    role::Role,
    segment::{Class, Entry, Segment},
    timeline::Timeline,
};
use crate::flv::{Frame, FrameKind, WireFormat};

/// An encoder whose video has been silent for this long sends none: players need not wait for a key frame to hear it.
const VIDEO_GONE_MS: u64 = 10_000;

/// Where a player begins.
pub enum Join {
    /// Nothing has come since the encoder came (or came back): wait.
    Nothing,
    /// Here, at once: the newest key frame, or the very start of the stream.
    At {
        /// The segment to begin in.
        segment: Arc<Segment>,
        /// Where in it, bytes.
        offset: u32,
        /// Metadata and sequence headers in wire form; empty where the log itself begins with them.
        preamble: Bytes,
        /// Which state of the headers that is.
        generation: u32,
    },
    /// No video, or none any more: at the head, at any message.
    Head {
        /// As above.
        preamble: Bytes,
        /// As above.
        generation: u32,
    },
    /// There is video and no key frame is held: at the next one.
    NextKeyFrame,
}

/// The writing side of one stream. It outlives its publishers within the grace, so that time and headers go on.
pub(super) struct Writer {
    format: Box<dyn WireFormat + Send>,
    log: LogWriter,
    timeline: Timeline,
    preamble: Preamble,
    /// When video last came, on the relay's clock; none where there is none, or none any more.
    video_ms: Option<u64>,
    /// Pictures are dropped until the first key frame of each publish: they could not be decoded.
    needs_key_frame: bool,
    /// This publish follows another one and nobody can have joined it yet: headers that players have already are not
    /// sent again.
    is_resumed: bool,
    join_sequence: u64,
    has_said_gop_too_large: bool,
}

impl Writer {
    pub(super) fn new(format: Box<dyn WireFormat + Send>, retention: Retention) -> Self {
        Self {
            format,
            log: LogWriter::new(retention),
            timeline: Timeline::default(),
            preamble: Preamble::default(),
            video_ms: None,
            needs_key_frame: true,
            is_resumed: false,
            join_sequence: u64::MAX,
            has_said_gop_too_large: false,
        }
    }

    /// The publisher went away.
    pub(super) fn interrupt(&mut self, stream: &Stream) {
        self.timeline.interrupt();
        self.preamble.interrupt();
        self.video_ms = None;
        self.needs_key_frame = true;
        self.is_resumed = self.timeline.newest_ms().is_some();
        self.join_sequence = u64::MAX;
        stream.set_join(Join::Nothing);
    }

    /// Lays a frame into the log. `now_ms` is the relay's clock.
    pub(super) fn append(&mut self, stream: &Stream, mut frame: Frame, now_ms: u64) {
        let role = Role::of(&frame);
        self.note_video(role, frame.kind, now_ms);
        match role {
            Role::Header(part) => {
                let is_new = self.preamble.update(part, &frame.payload);
                if self.is_resumed && !is_new {
                    return;
                }
                frame.timestamp_ms = self.timeline.header(frame.timestamp_ms);
                if stream.joins_at_head() {
                    // Before the header is in the log: whoever joins behind it must have it from the preamble.
                    self.join_at_head(stream, frame.timestamp_ms);
                }
            }
            Role::Picture if self.needs_key_frame => return,
            Role::KeyFrame | Role::Picture => {
                self.needs_key_frame = false;
                frame.timestamp_ms = self.timeline.media(frame.timestamp_ms);
            }
            Role::Other if frame.kind == FrameKind::Data => {
                frame.timestamp_ms = self.timeline.header(frame.timestamp_ms);
            }
            Role::Other => frame.timestamp_ms = self.timeline.media(frame.timestamp_ms),
        }
        let entry = Entry {
            end: 0,
            timestamp_ms: frame.timestamp_ms,
            arrival_ms: now_ms as u32,
            class: match (role, frame.kind) {
                (Role::KeyFrame, _) => Class::KeyFrame,
                (Role::Header(_), _) => Class::Data,
                (_, FrameKind::Video) => Class::Video,
                (_, FrameKind::Audio) => Class::Audio,
                (_, FrameKind::Data) => Class::Data,
            },
        };
        let len = self.format.wire_len(&frame);
        let place = self.log.append(len, entry, |out| self.format.write(&frame, out));
        if place.is_first {
            stream.set_newest(&place.segment);
        }
        self.move_join(stream, role, &frame, &place);
        if place.is_first {
            let oldest = self.log.retire(self.join_sequence, now_ms as u32);
            stream.set_oldest(oldest);
            if self.join_sequence < oldest {
                self.lose_join(stream);
            }
        }
    }

    fn note_video(&mut self, role: Role, kind: FrameKind, now_ms: u64) {
        if kind == FrameKind::Video && role != Role::Other {
            self.video_ms = Some(now_ms);
        }
        self.video_ms.take_if(|then_ms| now_ms.saturating_sub(*then_ms) >= VIDEO_GONE_MS);
    }

    fn move_join(&mut self, stream: &Stream, role: Role, frame: &Frame, place: &Place) {
        let is_very_start = place.segment.sequence == 0 && place.offset == 0;
        if role == Role::KeyFrame || is_very_start {
            let generation = self.preamble.generation();
            let preamble = match is_very_start {
                true => Bytes::new(),
                false => self.preamble.to_wire(&*self.format, frame.timestamp_ms),
            };
            let (segment, offset) = (place.segment.clone(), place.offset);
            self.join_sequence = segment.sequence;
            self.is_resumed = false;
            stream.set_join(Join::At { segment, offset, preamble, generation });
        } else if self.video_ms.is_some() {
            if self.join_sequence == u64::MAX && !stream.waits_for_key_frame() {
                stream.set_join(Join::NextKeyFrame);
            }
        } else if role == Role::Other && frame.kind != FrameKind::Video && !stream.joins_at_head() {
            self.join_at_head(stream, frame.timestamp_ms);
        }
    }

    fn join_at_head(&mut self, stream: &Stream, timestamp_ms: u32) {
        self.join_sequence = u64::MAX;
        self.is_resumed = false;
        let preamble = self.preamble.to_wire(&*self.format, timestamp_ms);
        stream.set_join(Join::Head { preamble, generation: self.preamble.generation() });
    }

    /// The group of pictures has outgrown the buffer: joiners wait for the next key frame.
    fn lose_join(&mut self, stream: &Stream) {
        self.join_sequence = u64::MAX;
        if self.video_ms.is_none() {
            return self.join_at_head(stream, self.timeline.newest_ms().unwrap_or(0));
        }
        stream.set_join(Join::NextKeyFrame);
        if !self.has_said_gop_too_large {
            self.has_said_gop_too_large = true;
            tracing::warn!(
                stream = stream.name(),
                "the newest group of pictures is larger than stream_buffer: players start at the next key frame"
            );
        }
    }
}
