//! What the publisher's core does with a frame: decides what it is, gives it its time, lays it into the log, moves
//! the point where players join.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    log::{LogWriter, Place, Retention},
    memory::Memory,
    preamble::Preamble,
    registry::Stream,
    role::Role,
    segment::{Class, Entry, Segment},
    timeline::Timeline,
};
use crate::flv::{Frame, FrameKind, WireFormat};

/// While a stream has no pictures any message is as good to begin with as another. The point moves on this often, so
/// a joiner has a second of sound at once, and starts without waiting.
const SOUND_POINT_MS: u64 = 1_000;
/// An encoder that has sent no picture for this long sends none: nobody need wait for a key frame, or begin as far
/// back as the last one, to hear it.
const PICTURES_GONE_MS: u64 = 10_000;

/// Pictures further apart than this come in no rhythm that could be counted on: 5 a second.
const MOST_GAP_MS: u32 = 200;

/// Where a player begins.
pub enum Join {
    /// Nothing has come since the encoder came (or came back): wait.
    Nothing,
    /// Here, at once.
    At(JoinPoint),
    /// There are pictures and no key frame is held: at the next one.
    NextKeyFrame,
}

/// A place in the log where a player can begin.
pub struct JoinPoint {
    /// The segment to begin in.
    pub segment: Arc<Segment>,
    /// Where in it, bytes.
    pub offset: u32,
    /// Metadata and sequence headers in wire form; empty where the log itself begins with them.
    pub preamble: Bytes,
    /// Which state of the headers that is.
    pub generation: u32,
    /// Whether a key frame is there; else it is any message of a stream that has no pictures so far.
    pub is_key_frame: bool,
    /// The log's first segment, where this is the next point after the very start: who was there before the encoder
    /// begins there, however late its core looks, and so hears the sound ahead of the first picture.
    pub start: Option<Arc<Segment>>,
}

/// What has become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Laid {
    /// Players need none of it.
    Nothing,
    /// It is in the log, and players wait for it.
    Due,
    /// It is in the log, and may wait a moment for the picture that it goes with.
    MayWait,
}

/// The writing side of one stream. It outlives its publishers within the grace, so that time and headers go on.
pub(super) struct Writer {
    format: Box<dyn WireFormat + Send>,
    log: LogWriter,
    timeline: Timeline,
    preamble: Preamble,
    /// No key frame has come in this publish. Pictures are dropped until one does: they could not be decoded.
    needs_key_frame: bool,
    /// Players have the headers of the publisher before; unchanged ones are not sent again. Until somebody can join
    /// this publish: from then on there may be players who have not.
    players_have_headers: bool,
    /// The segment of the point where players join; above all others while there is none.
    join_sequence: u64,
    /// The log's first segment, while that is where players join.
    start: Option<Arc<Segment>>,
    /// When that point was last moved, or when the publish began.
    moved_ms: Option<u64>,
    /// When the last picture came.
    picture_ms: u64,
    /// The time of that picture, and how much later it was than the one before: none where that says nothing.
    picture_timestamp_ms: u32,
    picture_gap_ms: Option<u32>,
    has_said_gop_too_large: bool,
}

impl Writer {
    pub(super) fn new(format: Box<dyn WireFormat + Send>, retention: Retention, memory: Memory) -> Self {
        Self {
            format,
            log: LogWriter::new(retention, memory),
            timeline: Timeline::default(),
            preamble: Preamble::default(),
            needs_key_frame: true,
            players_have_headers: false,
            join_sequence: NO_JOIN,
            start: None,
            moved_ms: None,
            picture_ms: 0,
            picture_timestamp_ms: 0,
            picture_gap_ms: None,
            has_said_gop_too_large: false,
        }
    }

    /// The publisher went away.
    pub(super) fn interrupt(&mut self, stream: &Stream) {
        self.timeline.interrupt();
        self.preamble.interrupt();
        self.needs_key_frame = true;
        self.players_have_headers = true;
        self.start = None;
        self.moved_ms = None;
        self.set_join(stream, Join::Nothing);
    }

    /// Lays a frame into the log. `now_ms` is the relay's clock.
    pub(super) fn append(&mut self, stream: &Stream, mut frame: Frame, now_ms: u64) -> Laid {
        let role = Role::of(&frame);
        let is_timed = match role {
            Role::Header(part) => {
                let is_new = self.preamble.update(part, &frame.payload);
                if self.players_have_headers && !is_new {
                    return Laid::Nothing;
                }
                false
            }
            Role::Picture if self.needs_key_frame => return Laid::Nothing,
            Role::Picture | Role::KeyFrame => {
                self.picture_ms = now_ms;
                true
            }
            Role::Other => frame.kind != FrameKind::Data,
        };
        frame.timestamp_ms = match is_timed {
            true => self.timeline.media(frame.kind, frame.timestamp_ms, now_ms),
            false => self.timeline.header(frame.timestamp_ms),
        };
        self.needs_key_frame &= role != Role::KeyFrame;
        if matches!(role, Role::KeyFrame | Role::Picture) {
            let gap_ms = frame.timestamp_ms.wrapping_sub(self.picture_timestamp_ms);
            self.picture_gap_ms = (1..=MOST_GAP_MS).contains(&gap_ms).then_some(gap_ms);
            self.picture_timestamp_ms = frame.timestamp_ms;
        }

        let entry = Entry {
            end: 0,
            timestamp_ms: frame.timestamp_ms,
            arrival_ms: now_ms as u32,
            class: class(role, frame.kind),
        };
        let len = self.format.wire_len(&frame);
        let place = self.log.append(len, entry, |out| self.format.write(&frame, out));
        if place.is_first {
            stream.set_newest(&place.segment);
        }
        self.move_join(stream, role, &place, frame.timestamp_ms, now_ms);
        if place.is_first {
            let oldest = self.log.retire(self.join_sequence, now_ms as u32);
            stream.set_oldest(oldest);
            if self.join_sequence < oldest {
                self.lose_join(stream);
            }
        }
        match role {
            Role::KeyFrame | Role::Picture => Laid::Due,
            Role::Header(_) | Role::Other if self.has_pictures(now_ms) => Laid::MayWait,
            Role::Header(_) | Role::Other => Laid::Due,
        }
    }

    /// When the next picture is expected, by the relay's clock.
    pub(super) fn next_picture_ms(&self) -> Option<u64> {
        Some(self.picture_ms + u64::from(self.picture_gap_ms?))
    }

    /// Whether pictures come: it is one of them that a player begins with.
    fn has_pictures(&self, now_ms: u64) -> bool {
        !self.needs_key_frame && now_ms.saturating_sub(self.picture_ms) < PICTURES_GONE_MS
    }

    fn move_join(&mut self, stream: &Stream, role: Role, place: &Place, timestamp_ms: u32, now_ms: u64) {
        let is_key_frame = role == Role::KeyFrame;
        let is_very_start = place.segment.sequence == 0 && place.offset == 0;
        let moved_ms = *self.moved_ms.get_or_insert(now_ms);
        let is_sound_point = role == Role::Other
            && !self.has_pictures(now_ms)
            && now_ms.saturating_sub(moved_ms) >= SOUND_POINT_MS;
        if !(is_key_frame || is_very_start || is_sound_point) {
            return;
        }
        // The very start needs no preamble: whoever begins there gets the headers as they come.
        let preamble = match is_very_start {
            true => Bytes::new(),
            false => self.preamble.to_wire(&*self.format, timestamp_ms),
        };
        self.moved_ms = Some(now_ms);
        self.players_have_headers = false;
        let point = JoinPoint {
            segment: place.segment.clone(),
            offset: place.offset,
            preamble,
            generation: self.preamble.generation(),
            is_key_frame,
            start: self.start.take(),
        };
        self.start = is_very_start.then(|| place.segment.clone());
        self.set_join(stream, Join::At(point));
    }

    /// The point to join at has been retired. With pictures that is because their group has outgrown the buffer.
    fn lose_join(&mut self, stream: &Stream) {
        if self.needs_key_frame {
            return self.set_join(stream, Join::Nothing);
        }
        self.set_join(stream, Join::NextKeyFrame);
        if !std::mem::replace(&mut self.has_said_gop_too_large, true) {
            tracing::warn!(
                stream = stream.name(),
                "the newest group of pictures is larger than stream_buffer: players start at the next key frame"
            );
        }
    }

    fn set_join(&mut self, stream: &Stream, join: Join) {
        self.join_sequence = match &join {
            Join::At(point) => point.segment.sequence,
            Join::Nothing | Join::NextKeyFrame => NO_JOIN,
        };
        stream.set_join(join);
    }
}

/// Above every sequence: nothing is kept for joiners.
const NO_JOIN: u64 = u64::MAX;

fn class(role: Role, kind: FrameKind) -> Class {
    match (role, kind) {
        (Role::KeyFrame, _) => Class::KeyFrame,
        (Role::Header(_), _) | (_, FrameKind::Data) => Class::Data,
        (_, FrameKind::Video) => Class::Video,
        (_, FrameKind::Audio) => Class::Audio,
    }
}
