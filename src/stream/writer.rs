//! What the publisher's core does with a frame: decides what it is, gives it its time, lays it into the log, moves
//! the point where players join.

#![forbid(unsafe_code)]

use super::{
    chronicle::Chronicle,
    form::Form,
    join::{Join, PointKind},
    log::{LogWriter, Retention},
    memory::Memory,
    preamble::{Headers, METADATA_MS},
    role::{Part, Role},
    segment::{Class, Entry},
    shared::Shared,
    shown::Media,
    still::{MAX_STILL_BYTES, Still},
    timeline::Timeline,
    tracks::{Picture, Place, Tracks},
    wire_log::WireLog,
};
use crate::flv::{Frame, FrameKind, Kinds, WireFormat};

/// While no key frame is held any message is as good to begin with as another. The point moves on this often, so a joiner
/// has a second of audio at once, and starts without waiting.
const SOUND_POINT_MS: u64 = 1_000;
/// A picture stands still where the last one came so long ago: audio waits for none to go out with, and players need not
/// begin as far back to see it.
const PICTURES_GONE_MS: u64 = 10_000;

/// Pictures further apart than this come in no rhythm that could be counted on: 5 a second.
const MAX_GAP_MS: u32 = 200;

/// What has become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Laid {
    /// Players need none of it.
    Nothing,
    /// It is in the log, and players wait for it.
    Due,
    /// It is in the log, and may wait a moment for the picture that it goes with.
    MayWait,
    /// There is no memory for it: the stream ends.
    NoRoom,
}

/// The writing side of one stream. It outlives its publishers within the grace, so that time and headers go on.
pub(super) struct Writer {
    formats: Formats,
    retention: Retention,
    memory: Memory,
    /// By wire form: RTMP's is always there, the others as long as they have readers.
    logs: [Option<WireLog>; Form::COUNT],
    /// By wire form: where its next log goes on.
    sequences: [u64; Form::COUNT],
    timeline: Timeline,
    headers: Headers,
    chronicle: Chronicle,
    /// Video is dropped until its track's first key frame in this publish: it could not be decoded.
    tracks: Tracks,
    /// What has come in this publish.
    media: Media,
    /// Whether it is known what this publish holds.
    is_settled: bool,
    /// What the publish before held, once that was known.
    held_before: Option<Kinds>,
    /// Players have the headers of the publisher before; unchanged ones are not sent again. Until a player can join
    /// this publish: from then on there may be players that have not.
    players_have_headers: bool,
    /// When the point where players join was last moved, or when the publish began.
    moved_ms: Option<u64>,
    /// The pictures since the newest key frame, where the picture stands still: joiners need not begin as far back as
    /// that key frame to see it.
    still: Option<Still>,
    /// When the last picture came.
    picture_ms: u64,
    /// The time of the leading track's last picture, and how much later it was than the one before: none where that says
    /// nothing.
    picture_timestamp_ms: u32,
    picture_gap_ms: Option<u32>,
    has_said_gop_too_large: bool,
}

/// How a stream is laid in each wire form.
pub type Formats = fn(Form) -> Box<dyn WireFormat + Send + Sync>;

impl Writer {
    pub(super) fn new(formats: Formats, retention: Retention, memory: Memory) -> Self {
        let rtmp = WireLog::new(formats(Form::Rtmp).into(), LogWriter::new(retention, memory.clone()), 0);
        let mut logs = [const { None }; Form::COUNT];
        logs[Form::Rtmp.index()] = Some(rtmp);
        let headers = Headers::new(memory.clone());
        Self {
            formats,
            retention,
            memory,
            logs,
            sequences: [0; Form::COUNT],
            timeline: Timeline::default(),
            headers,
            chronicle: Chronicle::default(),
            tracks: Tracks::default(),
            media: Media::default(),
            is_settled: false,
            held_before: None,
            players_have_headers: false,
            moved_ms: None,
            still: None,
            picture_ms: 0,
            picture_timestamp_ms: 0,
            picture_gap_ms: None,
            has_said_gop_too_large: false,
        }
    }

    /// A publisher comes.
    pub(super) fn begin(&mut self, stream: &Shared, now_ms: u64) {
        self.chronicle.begin(stream, now_ms);
        Form::ALL.iter().for_each(|wire| stream.log(*wire).begin_epoch());
    }

    /// The publisher went away.
    pub(super) fn interrupt(&mut self, stream: &Shared) {
        self.chronicle.write(stream, &self.headers);
        self.timeline.interrupt();
        self.headers.interrupt();
        self.tracks = Tracks::default();
        if self.is_settled {
            self.held_before = Some(self.media.kinds());
        }
        (self.media, self.is_settled) = (Media::default(), false);
        stream.set_media(self.media);
        self.players_have_headers = true;
        self.moved_ms = None;
        self.still = None;
        for (log, wire) in self.logs.iter_mut().zip(Form::ALL) {
            if let Some(log) = log {
                log.interrupt(stream.log(wire));
            }
        }
    }

    /// The core stood still for so long, until now.
    pub(super) fn stood_still(&mut self, lasted_ms: u64) {
        self.logs.iter_mut().flatten().for_each(|log| log.stood_still(lasted_ms));
    }

    /// Lays a frame into the logs. `now_ms` is the relay's clock.
    pub(super) fn append(&mut self, stream: &Shared, mut frame: Frame, now_ms: u64) -> Laid {
        if self.logs.iter().flatten().any(|log| !log.has_room_for(&frame)) {
            return Laid::NoRoom;
        }
        let role = Role::of(&frame);
        self.chronicle.saw(&frame, now_ms);
        match role {
            // FFmpeg makes a new decoder for an old header, and Matroska a new track.
            Role::Header(part) if self.headers.has(part, &frame.payload) => return Laid::Nothing,
            Role::Header(part) => {
                let is_new = self.headers.update(part, &frame.payload);
                if self.players_have_headers && !is_new {
                    return Laid::Nothing;
                }
            }
            Role::Picture(track) if !self.tracks.can_decode(track, false) => return Laid::Nothing,
            _ => {}
        }
        let (timestamp_ms, picture) = self.note(&frame, role, now_ms);
        frame.timestamp_ms = timestamp_ms;
        if picture.is_some_and(|picture| picture.is_lead && picture.is_first) {
            self.note_rhythm(timestamp_ms);
        }
        self.open_and_close(stream, timestamp_ms, now_ms);
        let has_shown_kind = self.show(stream, role, frame.kind, now_ms);
        let entry = Entry {
            end: 0,
            timestamp_ms,
            arrival_ms: now_ms as u32,
            class: class(role, frame.kind, picture),
            configuration: self.headers.configuration() as u16,
        };
        let holds = self.media.at(now_ms);
        let begins = picture.is_some_and(|picture| picture.place == Place::Begins);
        let is_sound_point = self.is_sound_point(role, now_ms);
        self.note_still(stream, &frame, begins, is_sound_point, now_ms);
        let mut has_lost_join = [false; Form::COUNT];
        for (log, wire) in self.logs.iter_mut().zip(Form::ALL) {
            let (Some(log), shared) = (log, stream.log(wire)) else { continue };
            if log.holds_back(role, holds) {
                continue;
            }
            if has_shown_kind && log.has_held_back() {
                let header = Entry { class: Class::Data, ..entry };
                for frame in self.headers.of_kind(frame.kind, timestamp_ms) {
                    let laid = log.lay(shared, &frame, Role::Other, header, holds);
                    log.retire(shared, &laid, now_ms);
                }
            }
            let laid = log.lay(shared, &frame, role, entry, holds);
            let point = match is_sound_point {
                _ if begins => Some(PointKind::KeyFrame),
                true if self.still.is_some() => Some(PointKind::Still),
                true if !log.holds_key_frame() => Some(PointKind::Sound),
                _ => laid.is_very_start.then_some(PointKind::Start),
            };
            if let Some(kind) = point {
                log.join_at(shared, &laid, kind, &mut self.headers, self.still.as_mut());
                self.moved_ms = Some(now_ms);
                self.players_have_headers = false;
            }
            has_lost_join[wire.index()] = !log.retire(shared, &laid, now_ms);
        }
        self.wait_for_key_frame(stream, has_lost_join);
        self.chronicle.write_if_due(stream, &self.headers, now_ms);
        match role {
            Role::KeyFrame(_) | Role::Picture(_) => Laid::Due,
            _ if self.has_pictures(now_ms) => Laid::MayWait,
            Role::Header(_) | Role::Sound(_) | Role::Note | Role::Other => Laid::Due,
        }
    }

    /// What this stream holds beside logs that keep to their shares, or would if they gave up all that they can; bytes.
    /// Headers, and a picture that stands still, count once more for each wire format, whose preamble may have been made.
    pub(super) fn own_bytes(&self) -> usize {
        let share = self.memory.log_share();
        let logs = self.logs.iter().flatten();
        let beyond: usize = logs.clone().map(|log| log.newest_bytes().saturating_sub(share)).sum();
        let kept = self.headers.kept_bytes() + self.still.as_ref().map_or(0, Still::bytes);
        beyond + kept * (1 + logs.count())
    }

    fn log_bytes(&self) -> usize {
        self.logs.iter().flatten().map(WireLog::bytes).sum()
    }

    /// Gives up what is beyond the logs' shares, where memory is short. True if something went.
    pub(super) fn relieve(&mut self, stream: &Shared, now_ms: u64) -> bool {
        let before_bytes = self.log_bytes();
        let mut has_lost_join = [false; Form::COUNT];
        for (log, wire) in self.logs.iter_mut().zip(Form::ALL) {
            let Some(log) = log else { continue };
            has_lost_join[wire.index()] = !log.trim(stream.log(wire), now_ms);
        }
        self.wait_for_key_frame(stream, has_lost_join);
        self.log_bytes() < before_bytes
    }

    /// Logs whose point to join at has gone: with pictures that is because their group has outgrown the buffer, or its
    /// share of the memory.
    fn wait_for_key_frame(&mut self, stream: &Shared, has_lost_join: [bool; Form::COUNT]) {
        let has_pictures = !self.tracks.is_empty();
        for (log, wire) in self.logs.iter_mut().zip(Form::ALL).filter(|(_, wire)| has_lost_join[wire.index()])
        {
            let Some(log) = log else { continue };
            log.set_join(stream.log(wire), if has_pictures { Join::NextKeyFrame } else { Join::Nothing });
        }
        let is_to_say = has_pictures && has_lost_join.contains(&true);
        if is_to_say && !std::mem::replace(&mut self.has_said_gop_too_large, true) {
            tracing::warn!(
                stream = &**stream.name(),
                "the newest group of pictures is larger than stream_buffer, or than the stream's share of \
                 limits.memory_budget: players have no video before the next key frame"
            );
        }
    }

    /// When the next picture is expected, by the relay's clock.
    pub(super) fn next_picture_ms(&self) -> Option<u64> {
        Some(self.picture_ms + u64::from(self.picture_gap_ms?))
    }

    /// Gives a frame its time in the stream, and says what it is among the pictures. Takes note of it with the time that
    /// its publisher gave it.
    fn note(&mut self, frame: &Frame, role: Role, now_ms: u64) -> (u32, Option<Picture>) {
        match role {
            Role::Header(Part::Metadata) | Role::Note => (METADATA_MS, None),
            Role::KeyFrame(track) | Role::Picture(track) => {
                self.picture_ms = now_ms;
                let is_key_frame = matches!(role, Role::KeyFrame(_));
                let timestamp_ms = self.timeline.media((frame.kind, track), frame.timestamp_ms, now_ms);
                let picture = self.tracks.saw(track, is_key_frame, timestamp_ms);
                self.chronicle.saw_picture(frame, track, picture, self.tracks.len());
                (timestamp_ms, Some(picture))
            }
            Role::Sound(track) => {
                self.chronicle.saw_sound(frame, track);
                (self.timeline.media((frame.kind, track), frame.timestamp_ms, now_ms), None)
            }
            Role::Other if frame.kind != FrameKind::Data => {
                (self.timeline.media((frame.kind, 0), frame.timestamp_ms, now_ms), None)
            }
            Role::Header(_) | Role::Other => (self.timeline.header(frame.timestamp_ms), None),
        }
    }

    fn note_rhythm(&mut self, timestamp_ms: u32) {
        let gap_ms = timestamp_ms.wrapping_sub(self.picture_timestamp_ms);
        self.picture_gap_ms = (1..=MAX_GAP_MS).contains(&gap_ms).then_some(gap_ms);
        self.picture_timestamp_ms = timestamp_ms;
    }

    /// Takes note of what the publish holds. True where this is the first frame of its kind.
    fn show(&mut self, stream: &Shared, role: Role, kind: FrameKind, now_ms: u64) -> bool {
        let is_media = matches!(role, Role::KeyFrame(_) | Role::Picture(_) | Role::Sound(_));
        let is_first = is_media && self.media.saw(kind, now_ms);
        if is_first {
            stream.set_media(self.media);
        }
        if !self.is_settled && self.media.is_settled(now_ms) {
            self.is_settled = true;
            // Players of the publish before cannot be told that a kind has gone, or that one has come.
            if self.held_before.is_some_and(|before| before != self.media.kinds()) {
                Form::ALL.iter().for_each(|wire| stream.log(*wire).end_earlier_epochs());
            }
        }
        self.headers.set_absent(self.media.at(now_ms).absent());
        is_first
    }

    /// Whether pictures come: audio goes out with them.
    fn has_pictures(&self, now_ms: u64) -> bool {
        !self.tracks.is_empty() && now_ms.saturating_sub(self.picture_ms) < PICTURES_GONE_MS
    }

    /// Keeps the pictures of a stream whose picture stands still while its audio goes on.
    fn note_still(
        &mut self,
        stream: &Shared,
        frame: &Frame,
        begins: bool,
        is_sound_point: bool,
        now_ms: u64,
    ) {
        let configuration = self.headers.configuration() as u16;
        let is_still = !self.tracks.is_empty() && !self.has_pictures(now_ms);
        match &mut self.still {
            Some(still) if begins || still.configuration() != configuration => self.still = None,
            // It changes now and then without a key frame.
            Some(still) if frame.kind == FrameKind::Video => {
                if !still.push(frame) {
                    self.still = None;
                }
            }
            None if is_sound_point && is_still => {
                let rtmp = self.logs[Form::Rtmp.index()].as_ref();
                // Beside the log, and once more in the preamble of each wire format.
                let max_bytes = MAX_STILL_BYTES.min(self.memory.log_share() / 8);
                let pictures =
                    rtmp.and_then(|log| log.pictures(stream.log(Form::Rtmp), max_bytes, configuration));
                self.still = pictures.map(|pictures| Still::new(pictures, configuration, &self.memory));
            }
            Some(_) | None => {}
        }
    }

    /// Whether players can begin with this frame where no key frame is held.
    fn is_sound_point(&mut self, role: Role, now_ms: u64) -> bool {
        let moved_ms = *self.moved_ms.get_or_insert(now_ms);
        matches!(role, Role::Sound(_) | Role::Other) && now_ms.saturating_sub(moved_ms) >= SOUND_POINT_MS
    }

    /// Begins the logs that readers have come for, and lets go of those that have none any more, or can count no
    /// further.
    fn open_and_close(&mut self, stream: &Shared, timestamp_ms: u32, now_ms: u64) {
        let (rtmp, others) = self.logs.split_at_mut(1);
        let Some(rtmp) = &rtmp[0] else { return };
        for (log, wire) in others.iter_mut().zip(&Form::ALL[1..]) {
            let shared = stream.log(*wire);
            let sequence = &mut self.sequences[wire.index()];
            if let Some(open) = log {
                let is_full = open.is_full(timestamp_ms);
                if is_full || !open.is_wanted(shared, now_ms) {
                    *sequence = open.next_sequence();
                    *log = None;
                    shared.clear(*sequence);
                }
                if is_full {
                    shared.begin_epoch();
                    shared.end_earlier_epochs();
                }
            } else if shared.has_readers() {
                // Players that came before this and want the next key frame take what begins segment `sequence` to
                // be past. What is kept is; where nothing is, the log begins in the segment after it.
                let is_kept =
                    matches!(**stream.log(Form::Rtmp).join(), Join::At(_)) && rtmp.has_room_for_copy();
                let first = *sequence + u64::from(!is_kept);
                let writer = LogWriter::starting_at(first, self.retention, self.memory.clone());
                let mut opened = WireLog::new((self.formats)(*wire).into(), writer, now_ms);
                let holds = self.media.at(now_ms);
                if is_kept {
                    let (headers, still) = (&mut self.headers, self.still.as_mut());
                    rtmp.copy_to(stream.log(Form::Rtmp), &mut opened, shared, headers, still, holds);
                }
                *log = Some(opened);
            }
        }
    }
}

fn class(role: Role, kind: FrameKind, picture: Option<Picture>) -> Class {
    match (picture.map(|picture| picture.place), role, kind) {
        (Some(Place::Begins), ..) => Class::KeyFrame,
        (Some(Place::Continues), ..) => Class::KeyFrameRest,
        (_, Role::Header(_), _) | (_, _, FrameKind::Data) => Class::Data,
        (_, _, FrameKind::Video) => Class::Video,
        (_, _, FrameKind::Audio) => Class::Audio,
    }
}
