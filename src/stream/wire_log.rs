//! The writer's end of one log: appends frames in one wire format, and moves the point where players join.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{
    entry::{Class, Entry},
    join::{Join, JoinPoint, PointKind},
    log::{LogWriter, MessagePlace},
    preamble::{Format, Headers, METADATA_MS, Preamble, has},
    role::{FrameRole, Part},
    shown::Holds,
    still::Still,
    stream_log::StreamLog,
    walk::{Step, Walk},
};
use crate::flv::{Frame, FrameKind, Kinds, script};

/// Greater than every sequence: nothing is kept for joiners.
const NO_JOIN: u64 = u64::MAX;
/// How long a log is kept after its last reader, milliseconds: a page is reloaded, a player reconnects.
const LINGER_MS: u64 = 10_000;
/// Times in a file are signed, and players in browsers stop at 2^31 ms. The log ends a minute before.
const MAX_FILE_MS: u32 = (1 << 31) - 60_000;
/// A file that would begin with a time beyond this, 12 days, begins at 0 instead, and can be read for 24 days.
const MAX_FIRST_FILE_MS: u32 = 1 << 30;
/// Audio and video of one moment may be this far before the time at which a file begins.
const MAX_BEFORE_FILE_MS: u32 = 60_000;

/// A stream in one wire format, as its publisher's core writes it.
pub(super) struct WireLog {
    format: Arc<Format>,
    /// It is a file: its header names the kinds of media in it, and its times are signed.
    is_file: bool,
    /// What is subtracted from the stream's times: 0 but for a file that begins late.
    base_ms: Option<u32>,
    log: LogWriter,
    /// The segment of the point where players join; above all others while there is none.
    join_sequence: u64,
    holds_key_frame: bool,
    /// The newest point's.
    preamble: Option<Preamble>,
    /// When it last had a reader, milliseconds.
    wanted_ms: u64,
}

/// A frame that has been appended.
pub(super) struct Written {
    place: MessagePlace,
    /// As this format has it.
    timestamp_ms: u32,
    /// Whether it is the first of all, and a player can begin there without a preamble.
    pub is_very_start: bool,
}

impl WireLog {
    pub(super) fn new(format: Arc<Format>, log: LogWriter, now_ms: u64) -> Self {
        let is_file = format.stream_header(Kinds::default()).is_some();
        let (base_ms, join_sequence, wanted_ms) = (None, NO_JOIN, now_ms);
        Self {
            format,
            is_file,
            base_ms,
            log,
            join_sequence,
            holds_key_frame: false,
            preamble: None,
            wanted_ms,
        }
    }

    /// Whether a frame is to be appended later: a file has no header of a kind that has not come.
    pub(super) fn holds_back(&self, role: FrameRole, holds: Holds) -> bool {
        matches!(role, FrameRole::Header(part) if self.is_file && !has(holds.kinds, part.kind()))
    }

    /// Whether it has held back headers of a kind until the first frame of that kind.
    pub(super) fn has_held_back(&self) -> bool {
        self.is_file
    }

    /// Appends a frame. Then the caller moves the join point, if need be, and calls [`WireLog::retire`].
    pub(super) fn append(
        &mut self,
        shared: &StreamLog,
        frame: &Frame,
        role: FrameRole,
        entry: Entry,
        holds: Holds,
    ) -> Written {
        let of_file = self.is_file.then(|| self.in_file(frame, role, holds));
        let frame = of_file.as_ref().unwrap_or(frame);
        let len = self.format.wire_len(frame);
        let place = self.log.append(len, entry, |out| self.format.write(frame, out));
        if place.is_first {
            shared.set_newest(&place.segment);
            shared.set_oldest_segment(self.log.oldest_segment());
        }
        // A player of a file needs the stream header first.
        let is_very_start = place.segment.sequence == 0 && place.offset == 0 && !self.is_file;
        Written { place, timestamp_ms: frame.timestamp_ms, is_very_start }
    }

    /// Lets players join at this frame. The very start needs no preamble: a player that begins there gets the headers
    /// as they come. Where video stands still the preamble has `still`.
    pub(super) fn join_at(
        &mut self,
        shared: &StreamLog,
        appended: &Written,
        kind: PointKind,
        headers: &mut Headers,
        still: Option<&mut Still>,
    ) {
        let preamble = match still {
            Some(still) if kind == PointKind::Still => {
                Some(headers.preamble_with(&self.format, still.messages(), appended.timestamp_ms))
            }
            _ => (!appended.is_very_start).then(|| self.preamble(headers)),
        };
        self.join_with(shared, appended, kind, preamble);
    }

    fn join_with(
        &mut self,
        shared: &StreamLog,
        appended: &Written,
        kind: PointKind,
        preamble: Option<Preamble>,
    ) {
        let (segment, offset) = (appended.place.segment.clone(), appended.place.offset);
        self.set_join(shared, Join::At(JoinPoint { segment, offset, preamble, kind, epoch: shared.epoch() }));
    }

    /// Gives up what is beyond the retention, if a segment has just been opened. False where the join point was in
    /// that.
    pub(super) fn retire(&mut self, shared: &StreamLog, appended: &Written, now_ms: u64) -> bool {
        !appended.place.is_first || self.trim(shared, now_ms)
    }

    /// Gives up what is beyond the retention, or beyond the log's share where memory is short. False where the join
    /// point was in that.
    pub(super) fn trim(&mut self, shared: &StreamLog, now_ms: u64) -> bool {
        let oldest = self.log.retire(self.join_sequence, now_ms as u32);
        shared.set_oldest(oldest);
        shared.set_oldest_segment(self.log.oldest_segment());
        self.join_sequence >= oldest
    }

    pub(super) fn set_join(&mut self, shared: &StreamLog, join: Join) {
        (self.join_sequence, self.holds_key_frame) = match &join {
            Join::At(point) => (point.segment.sequence, point.kind == PointKind::KeyFrame),
            Join::Nothing | Join::NextKeyFrame => (NO_JOIN, false),
        };
        shared.set_join(join);
    }

    /// Whether players begin with a key frame now.
    pub(super) fn holds_key_frame(&self) -> bool {
        self.holds_key_frame
    }

    /// The publisher has gone.
    pub(super) fn interrupt(&mut self, shared: &StreamLog) {
        self.set_join(shared, Join::Nothing);
    }

    /// The core was stalled for `lasted_ms`, until now.
    pub(super) fn was_stalled(&mut self, lasted_ms: u64) {
        self.log.was_stalled(lasted_ms);
    }

    /// Whether it has a reader, or had one a moment ago.
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

    /// Bytes of its newest segment, which always stays.
    pub(super) fn newest_bytes(&self) -> usize {
        self.log.newest_bytes()
    }

    /// Whether there is memory for this frame.
    pub(super) fn has_room_for(&self, frame: &Frame) -> bool {
        self.log.has_room_for(self.format.wire_len(frame))
    }

    /// Whether there is memory for what [`WireLog::copy_to`] copies.
    pub(super) fn has_room_for_copy(&self) -> bool {
        self.log.has_room_for(self.log.bytes())
    }

    /// Whether a frame of this time is later than its readers can count.
    pub(super) fn is_full(&self, timestamp_ms: u32) -> bool {
        let file_ms = timestamp_ms.wrapping_sub(self.base_ms.unwrap_or(timestamp_ms));
        self.is_file && (MAX_FILE_MS..=u32::MAX - MAX_BEFORE_FILE_MS).contains(&file_ms)
    }

    /// The sequence of the next segment.
    pub(super) fn next_sequence(&self) -> u64 {
        self.log.next_sequence()
    }

    /// Begins another log with what this one has kept since the join point, so that the first player that wants the
    /// stream in another form starts as fast as any. `shared` is this one's, `other_shared` the other's.
    pub(super) fn copy_to(
        &self,
        shared: &StreamLog,
        other: &mut WireLog,
        other_shared: &StreamLog,
        headers: &mut Headers,
        still: Option<&mut Still>,
        holds: Holds,
    ) {
        let join = shared.join();
        let Join::At(point) = &**join else { return };
        let mut begin = None;
        self.read_from(point, |frame, entry| {
            let role = FrameRole::of(&frame);
            if !other.holds_back(role, holds) {
                let appended = other.append(other_shared, &frame, role, entry, holds);
                begin.get_or_insert(appended);
            }
            true
        });
        if let Some(appended) = begin {
            match &point.preamble {
                // Its headers may have been replaced since.
                Some(preamble) if point.kind != PointKind::Still => {
                    let preamble = preamble.in_format(&other.format);
                    other.join_with(other_shared, &appended, point.kind, Some(preamble));
                }
                _ => other.join_at(other_shared, &appended, point.kind, headers, still),
            }
        }
    }

    /// The video since the key frame that players begin with; none where there is no key frame, where it is more than
    /// `max_bytes`, or where it goes with other headers than these.
    pub(super) fn video_messages(
        &self,
        shared: &StreamLog,
        max_bytes: usize,
        configuration: u16,
    ) -> Option<Vec<Frame>> {
        let join = shared.join();
        let Join::At(point @ JoinPoint { kind: PointKind::KeyFrame, .. }) = &**join else { return None };
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let is_whole = self.read_from(point, |frame, entry| {
            if matches!(entry.class, Class::KeyFrame | Class::KeyFrameRest | Class::Video) {
                bytes += frame.payload.len();
                messages.push(frame);
            }
            bytes <= max_bytes && entry.configuration == configuration
        });
        is_whole.then_some(messages)
    }

    /// Reads back what has been appended from a point on, for as long as `take` wants more. True where that was all.
    fn read_from(&self, point: &JoinPoint, mut take: impl FnMut(Frame, Entry) -> bool) -> bool {
        let mut walk = Walk::at(point.segment.clone(), point.offset);
        while let Step::Message(entry, bytes) = walk.peek() {
            if !self.format.read(bytes).is_some_and(|(frame, _)| take(frame, entry)) {
                return false;
            }
            walk.advance();
        }
        true
    }

    fn preamble(&mut self, headers: &mut Headers) -> Preamble {
        let preamble = headers.preamble(&self.format, self.preamble.as_ref());
        self.preamble = Some(preamble.clone());
        preamble
    }

    /// The frame as a file has it: with the time in the file, and with metadata that names the kinds that have come.
    fn in_file(&mut self, frame: &Frame, role: FrameRole, holds: Holds) -> Frame {
        let mut frame = frame.clone();
        if role == FrameRole::Header(Part::Metadata) {
            debug_assert_eq!(frame.timestamp_ms, METADATA_MS);
            if holds.is_settled {
                frame.payload = script::with_kinds(&frame.payload.to_bytes(), holds.kinds).into();
            }
            return frame;
        }
        if role == FrameRole::Note {
            return frame;
        }
        // Encoders send headers and data with time 0: media decides where the file begins.
        let is_media = !matches!(role, FrameRole::Header(_)) && frame.kind != FrameKind::Data;
        if self.base_ms.is_none() && !is_media {
            frame.timestamp_ms = 0;
            return frame;
        }
        let begins_late = frame.timestamp_ms > MAX_FIRST_FILE_MS;
        let base_ms = *self.base_ms.get_or_insert(if begins_late { frame.timestamp_ms } else { 0 });
        let file_ms = frame.timestamp_ms.wrapping_sub(base_ms);
        // A frame of a time before the file.
        frame.timestamp_ms = if file_ms > u32::MAX - MAX_BEFORE_FILE_MS { 0 } else { file_ms };
        frame
    }
}
