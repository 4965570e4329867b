//! The writer's end of one log: lays frames in one wire form, and moves the point where players join.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    join::{Join, JoinPoint},
    log::{LogWriter, Place},
    preamble::Preamble,
    segment::{Entry, Segment},
    stream_log::StreamLog,
};
use crate::flv::{Frame, Kinds, WireFormat};

/// One wire form of a stream, as its publisher's core writes it.
pub(super) struct WireLog {
    format: Box<dyn WireFormat + Send>,
    log: LogWriter,
    /// The segment of the point where players join; above all others while there is none.
    join_sequence: u64,
    /// The log's first segment, while that is where players join.
    start: Option<Arc<Segment>>,
    /// When it was last seen to have a reader, milliseconds.
    wanted_ms: u64,
}

/// A frame that has been laid.
pub(super) struct Laid {
    place: Place,
    timestamp_ms: u32,
    /// Whether it is the first of all, and a player can begin there without more ado.
    pub is_very_start: bool,
}

/// What the stream knows that a point to join at says.
pub(super) struct Begin<'a> {
    pub preamble: &'a Preamble,
    pub kinds: Kinds,
    pub is_key_frame: bool,
}

impl WireLog {
    pub(super) fn new(format: Box<dyn WireFormat + Send>, log: LogWriter, now_ms: u64) -> Self {
        Self { format, log, join_sequence: NO_JOIN, start: None, wanted_ms: now_ms }
    }

    /// Lays a frame. [`WireLog::retire`] is owed once the point to join at is right.
    pub(super) fn lay(&mut self, shared: &StreamLog, frame: &Frame, entry: Entry) -> Laid {
        let len = self.format.wire_len(frame);
        let place = self.log.append(len, entry, |out| self.format.write(frame, out));
        if place.is_first {
            shared.set_newest(&place.segment);
        }
        // Where a player has to be told something first, it cannot begin with what is the first to come.
        let is_very_start = place.segment.sequence == 0
            && place.offset == 0
            && self.format.opening(Kinds::default()).is_none();
        Laid { place, timestamp_ms: entry.timestamp_ms, is_very_start }
    }

    /// Lets players join at what has been laid. The very start needs no preamble: whoever begins there gets the headers
    /// as they come.
    pub(super) fn join_at(&mut self, shared: &StreamLog, laid: &Laid, begin: &Begin<'_>) {
        let opening = self.format.opening(begin.kinds).unwrap_or_default();
        let preamble = match laid.is_very_start {
            true => Bytes::new(),
            false => begin.preamble.to_wire(&*self.format, &opening, laid.timestamp_ms),
        };
        let point = JoinPoint {
            segment: laid.place.segment.clone(),
            offset: laid.place.offset,
            preamble,
            opening_len: opening.len(),
            generation: begin.preamble.generation(),
            is_key_frame: begin.is_key_frame,
            start: self.start.take(),
        };
        self.start = laid.is_very_start.then(|| laid.place.segment.clone());
        self.set_join(shared, Join::At(point));
    }

    /// Lets go of what is beyond the retention, if a segment has just been opened. False where that took the point to
    /// join at.
    pub(super) fn retire(&mut self, shared: &StreamLog, laid: &Laid, now_ms: u64) -> bool {
        !laid.place.is_first || self.trim(shared, now_ms)
    }

    /// Lets go of what is beyond the retention, or beyond the log's share where memory is short. False where that took
    /// the point to join at.
    pub(super) fn trim(&mut self, shared: &StreamLog, now_ms: u64) -> bool {
        let oldest = self.log.retire(self.join_sequence, now_ms as u32);
        shared.set_oldest(oldest);
        self.join_sequence >= oldest
    }

    pub(super) fn set_join(&mut self, shared: &StreamLog, join: Join) {
        self.join_sequence = match &join {
            Join::At(point) => point.segment.sequence,
            Join::Nothing | Join::NextKeyFrame => NO_JOIN,
        };
        shared.set_join(join);
    }

    /// The publisher went away.
    pub(super) fn interrupt(&mut self, shared: &StreamLog) {
        self.start = None;
        self.set_join(shared, Join::Nothing);
    }

    /// Whether somebody reads it, or did a moment ago.
    pub(super) fn is_wanted(&mut self, shared: &StreamLog, now_ms: u64) -> bool {
        if shared.has_readers() {
            self.wanted_ms = now_ms;
        }
        now_ms.saturating_sub(self.wanted_ms) < LINGER_MS
    }

    /// Bytes of its segments.
    pub(super) fn bytes(&self) -> usize {
        self.log.bytes()
    }

    /// Whether there is memory to lay this frame.
    pub(super) fn has_room_for(&self, frame: &Frame) -> bool {
        self.log.has_room_for(self.format.wire_len(frame))
    }

    /// Whether there is memory for what [`WireLog::copy_to`] copies.
    pub(super) fn has_room_for_copy(&self) -> bool {
        self.log.has_room_for(self.log.bytes())
    }

    /// The sequence that would come next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.log.next_sequence()
    }

    /// Begins another log with what this one has kept since the point to join at: so the first who wants the stream in
    /// another form starts as fast as anybody. `shared` is this one's, `other_shared` the other's.
    pub(super) fn copy_to(
        &self,
        shared: &StreamLog,
        kinds: Kinds,
        other: &mut WireLog,
        other_shared: &StreamLog,
    ) {
        let join = shared.join();
        let Join::At(point) = &**join else { return };
        let mut opening: Vec<u8> = other.format.opening(kinds).unwrap_or_default().into();
        let opening_len = opening.len();
        let mut preamble = point.preamble.get(point.opening_len..).unwrap_or_default();
        while let Some((frame, len)) = self.format.read(preamble) {
            let begin = opening.len();
            opening.resize(begin + other.format.wire_len(&frame), 0);
            other.format.write(&frame, &mut opening[begin..]);
            preamble = &preamble[len..];
        }
        let mut begin = None;
        let mut from = point.offset as usize;
        let mut segment = point.segment.clone();
        loop {
            let committed = segment.committed();
            let first = committed.entries.partition_point(|entry| entry.end as usize <= from);
            for entry in &committed.entries[first..] {
                let Some((frame, _)) = self.format.read(&committed.bytes[from..entry.end as usize]) else {
                    return;
                };
                from = entry.end as usize;
                let laid = other.lay(other_shared, &frame, *entry);
                begin.get_or_insert(laid);
            }
            match segment.next() {
                super::segment::Next::Segment(next) => (segment, from) = (next, 0),
                _none_as_yet => break,
            }
        }
        let Some(Laid { place, .. }) = begin else { return };
        let join = Join::At(JoinPoint {
            segment: place.segment,
            offset: place.offset,
            preamble: opening.into(),
            opening_len,
            generation: point.generation,
            is_key_frame: point.is_key_frame,
            start: None,
        });
        other.set_join(other_shared, join);
    }
}

/// Above every sequence: nothing is kept for joiners.
const NO_JOIN: u64 = u64::MAX;
/// How long a log is kept after its last reader, milliseconds: the page is loaded anew, a player reconnects.
const LINGER_MS: u64 = 10_000;
