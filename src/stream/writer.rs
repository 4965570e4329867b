//! What the publisher's core does with a frame: decides what it is, gives it its time in the stream, appends it to the
//! logs, moves the point where players join.

#![forbid(unsafe_code)]

use super::{
    beat::Beat,
    entry::{Class, Entry},
    facts_writer::FactsWriter,
    form::Form,
    join::{Join, PointKind},
    log::{LogWriter, Retention},
    memory::Memory,
    preamble::{Headers, METADATA_MS},
    role::{FrameRole, Part},
    shared::SharedState,
    shown::Media,
    still::{MAX_STILL_BYTES, Still},
    timeline::Timeline,
    tracks::{KeyFramePart, Tracks, VideoMessage},
    wire_log::WireLog,
};
use crate::flv::{Frame, FrameKind, Kinds, WireFormat};

/// While no key frame is held, players can begin at any message. The point moves on this often, so that a joiner has a
/// second of audio at once and starts without waiting.
const AUDIO_POINT_MS: u64 = 1_000;
/// Video stands still where the last frame came this long ago: audio does not wait to be sent with video, and players
/// need not begin as far back to see it.
const VIDEO_GONE_MS: u64 = 10_000;

/// What happened to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It was dropped: players do not need it.
    Dropped,
    /// It is in the log, and players are to be notified now.
    Due,
    /// It is in the log, and may wait a moment to be sent with the next frame.
    MayWait { is_video: bool },
    /// There is no memory for it: the stream ends.
    NoRoom,
}

/// The writing side of one stream. It outlives its publisher for the grace, so that time and headers go on.
pub(super) struct Writer {
    formats: Formats,
    retention: Retention,
    memory: Memory,
    /// By form: RTMP's is always there, the others as long as they have readers.
    logs: [Option<WireLog>; Form::COUNT],
    /// By form: the first sequence of its next log.
    sequences: [u64; Form::COUNT],
    timeline: Timeline,
    headers: Headers,
    facts: FactsWriter,
    /// Video of a track is dropped until its first key frame in this publish: it could not be decoded.
    tracks: Tracks,
    /// Which kinds of media have come in this publish.
    media: Media,
    /// Whether it is known which kinds this publish has.
    is_settled: bool,
    /// Which kinds the publish before had, if that was known.
    held_before: Option<Kinds>,
    /// Players have the headers of the publisher before, so unchanged ones are not sent again. True until a player can
    /// join this publish: from then on there may be players that do not have them.
    players_have_headers: bool,
    /// When the point where players join was last moved, or when the publish began.
    moved_ms: Option<u64>,
    /// The video since the newest key frame, where video stands still: joiners need not begin as far back as that key
    /// frame to see it.
    still: Option<Still>,
    /// When the last video frame of any track came.
    video_ms: u64,
    /// Frames of the leading video track, and of audio.
    video_beat: Beat,
    audio_beat: Beat,
    has_warned_of_large_group: bool,
}

/// Makes the wire format of each form.
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
            facts: FactsWriter::default(),
            tracks: Tracks::default(),
            media: Media::default(),
            is_settled: false,
            held_before: None,
            players_have_headers: false,
            moved_ms: None,
            still: None,
            video_ms: 0,
            video_beat: Beat::default(),
            audio_beat: Beat::default(),
            has_warned_of_large_group: false,
        }
    }

    /// A publisher has come.
    pub(super) fn begin(&mut self, stream: &SharedState, now_ms: u64) {
        self.facts.begin(stream, now_ms);
        Form::ALL.iter().for_each(|form| stream.log(*form).begin_epoch());
    }

    /// The publisher has gone.
    pub(super) fn interrupt(&mut self, stream: &SharedState) {
        self.facts.write(stream, &self.headers);
        self.timeline.interrupt();
        self.headers.interrupt(!self.players_have_headers);
        self.tracks = Tracks::default();
        if self.is_settled {
            self.held_before = Some(self.media.kinds());
        }
        (self.media, self.is_settled) = (Media::default(), false);
        stream.set_media(self.media);
        self.players_have_headers = true;
        self.moved_ms = None;
        self.still = None;
        for (log, form) in self.logs.iter_mut().zip(Form::ALL) {
            if let Some(log) = log {
                log.interrupt(stream.log(form));
            }
        }
    }

    /// The core was stalled for `lasted_ms`, until now.
    pub(super) fn was_stalled(&mut self, lasted_ms: u64) {
        self.logs.iter_mut().flatten().for_each(|log| log.was_stalled(lasted_ms));
    }

    /// Appends a frame to the logs. `has_readers` says whether the stream may have readers. `now_ms` is the relay's clock.
    pub(super) fn append(
        &mut self,
        stream: &SharedState,
        mut frame: Frame,
        has_readers: bool,
        now_ms: u64,
    ) -> Appended {
        if self.logs.iter().flatten().any(|log| !log.has_room_for(&frame)) {
            return Appended::NoRoom;
        }
        let role = FrameRole::of(&frame);
        self.facts.saw(&frame, now_ms);
        match role {
            // For a repeated header FFmpeg makes a new decoder, and Matroska a new track.
            FrameRole::Header(part) if self.headers.has(part, &frame.payload) => return Appended::Dropped,
            FrameRole::Header(part) => {
                let is_new = self.headers.update(part, &frame.payload);
                if self.players_have_headers && !is_new {
                    return Appended::Dropped;
                }
            }
            FrameRole::InterFrame(track) if !self.tracks.can_decode(track, false) => {
                return Appended::Dropped;
            }
            _ => {}
        }
        let (timestamp_ms, video) = self.note(&frame, role, now_ms);
        frame.timestamp_ms = timestamp_ms;
        if let FrameRole::KeyFrame(_) | FrameRole::InterFrame(_) | FrameRole::Audio(_) = role {
            self.facts.saw_time(self.timeline.newest());
        }
        if video.is_some_and(|video| video.is_lead && video.is_first) {
            self.video_beat.saw(timestamp_ms, now_ms);
        } else if matches!(role, FrameRole::Audio(_)) {
            self.audio_beat.saw(timestamp_ms, now_ms);
        }
        // Metadata has no time of its own.
        let is_timed = !matches!(role, FrameRole::Header(Part::Metadata) | FrameRole::Note);
        if has_readers || self.logs[1..].iter().any(Option::is_some) {
            self.open_and_close(stream, is_timed.then_some(timestamp_ms), now_ms);
        }
        if matches!(role, FrameRole::KeyFrame(_) | FrameRole::InterFrame(_) | FrameRole::Audio(_)) {
            self.headers.media_came();
        }
        let is_first_of_kind = self.note_kind(stream, role, frame.kind, now_ms);
        let entry = Entry {
            end: 0,
            timestamp_ms,
            arrival_ms: now_ms as u32,
            class: class(role, frame.kind, video),
            configuration: self.headers.configuration() as u16,
        };
        let holds = self.media.at(now_ms);
        let begins = video.is_some_and(|video| video.part == KeyFramePart::Begins);
        let is_audio_point = self.is_audio_point(role, now_ms);
        self.note_still(stream, &frame, begins, is_audio_point, now_ms);
        let mut has_lost_join = [false; Form::COUNT];
        for (log, form) in self.logs.iter_mut().zip(Form::ALL) {
            let (Some(log), shared) = (log, stream.log(form)) else { continue };
            if log.holds_back(role, holds) {
                continue;
            }
            if is_first_of_kind && log.has_held_back() {
                let header = Entry { class: Class::Data, ..entry };
                for frame in self.headers.of_kind(frame.kind, timestamp_ms) {
                    let appended = log.append(shared, &frame, FrameRole::Other, header, holds);
                    log.retire(shared, &appended, now_ms);
                }
            }
            let appended = log.append(shared, &frame, role, entry, holds);
            let point = match is_audio_point {
                _ if begins => Some(PointKind::KeyFrame),
                true if self.still.is_some() => Some(PointKind::Still),
                true if !log.holds_key_frame() => Some(PointKind::Audio),
                _ => appended.is_very_start.then_some(PointKind::Start),
            };
            if let Some(kind) = point {
                log.join_at(shared, &appended, kind, &mut self.headers, self.still.as_mut());
                self.moved_ms = Some(now_ms);
                self.players_have_headers = false;
            }
            has_lost_join[form.index()] = !log.retire(shared, &appended, now_ms);
        }
        self.wait_for_key_frame(stream, has_lost_join);
        self.facts.write_if_due(stream, &self.headers, now_ms);
        match role {
            FrameRole::KeyFrame(_) | FrameRole::InterFrame(_) => Appended::MayWait { is_video: true },
            _ if self.has_video(now_ms) => Appended::MayWait { is_video: false },
            FrameRole::Header(_) | FrameRole::Audio(_) | FrameRole::Note | FrameRole::Other => Appended::Due,
        }
    }

    /// Bytes that this stream holds beside logs that keep to their shares, or would if they gave up all that they can.
    /// Headers, and video that stands still, count once more for each form, whose preamble may have been made.
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

    /// Gives up what is beyond the logs' shares, where memory is short. True if something was given up.
    pub(super) fn relieve(&mut self, stream: &SharedState, now_ms: u64) -> bool {
        let before_bytes = self.log_bytes();
        let mut has_lost_join = [false; Form::COUNT];
        for (log, form) in self.logs.iter_mut().zip(Form::ALL) {
            let Some(log) = log else { continue };
            has_lost_join[form.index()] = !log.trim(stream.log(form), now_ms);
        }
        self.wait_for_key_frame(stream, has_lost_join);
        self.log_bytes() < before_bytes
    }

    /// Logs whose join point is no longer kept: with video that is because its group of pictures has outgrown the
    /// buffer, or its share of the memory.
    fn wait_for_key_frame(&mut self, stream: &SharedState, has_lost_join: [bool; Form::COUNT]) {
        let has_video = !self.tracks.is_empty();
        for (log, form) in self.logs.iter_mut().zip(Form::ALL).filter(|(_, form)| has_lost_join[form.index()])
        {
            let Some(log) = log else { continue };
            log.set_join(stream.log(form), if has_video { Join::NextKeyFrame } else { Join::Nothing });
        }
        let is_to_warn = has_video && has_lost_join.contains(&true);
        if is_to_warn && !std::mem::replace(&mut self.has_warned_of_large_group, true) {
            tracing::warn!(
                stream = &**stream.name(),
                "the newest group of pictures is larger than stream_buffer, or than the stream's share of \
                 limits.memory_budget: players have no video before the next key frame"
            );
        }
    }

    /// In how many milliseconds the next video frame is expected, as [`Beat::next_in_ms`] has it.
    pub(super) fn next_video_in_ms(&self, now_ms: u64) -> Option<u64> {
        self.video_beat.next_in_ms(now_ms)
    }

    /// The same for audio.
    pub(super) fn next_audio_in_ms(&self, now_ms: u64) -> Option<u64> {
        self.audio_beat.next_in_ms(now_ms)
    }

    /// Takes note of a frame, with the time that its publisher gave it. Returns its time in the stream, and what it is
    /// among the video messages.
    fn note(&mut self, frame: &Frame, role: FrameRole, now_ms: u64) -> (u32, Option<VideoMessage>) {
        match role {
            FrameRole::Header(Part::Metadata) | FrameRole::Note => (METADATA_MS, None),
            FrameRole::KeyFrame(track) | FrameRole::InterFrame(track) => {
                self.video_ms = now_ms;
                let is_key_frame = matches!(role, FrameRole::KeyFrame(_));
                let timestamp_ms = self.timeline.media((frame.kind, track), frame.timestamp_ms, now_ms);
                let video = self.tracks.saw(track, is_key_frame, timestamp_ms);
                self.facts.saw_video(frame, track, video, self.tracks.len());
                (timestamp_ms, Some(video))
            }
            FrameRole::Audio(track) => {
                self.facts.saw_audio(frame, track);
                (self.timeline.media((frame.kind, track), frame.timestamp_ms, now_ms), None)
            }
            FrameRole::Other if frame.kind != FrameKind::Data => {
                (self.timeline.media((frame.kind, 0), frame.timestamp_ms, now_ms), None)
            }
            FrameRole::Header(_) | FrameRole::Other => (self.timeline.header(frame.timestamp_ms), None),
        }
    }

    /// Takes note of the kinds of media. True where this is the first frame of its kind.
    fn note_kind(&mut self, stream: &SharedState, role: FrameRole, kind: FrameKind, now_ms: u64) -> bool {
        let is_media =
            matches!(role, FrameRole::KeyFrame(_) | FrameRole::InterFrame(_) | FrameRole::Audio(_));
        let is_first = is_media && self.media.saw(kind, now_ms);
        if is_first {
            stream.set_media(self.media);
        }
        if !self.is_settled && self.media.is_settled(now_ms) {
            self.is_settled = true;
            // Players of the publish before cannot be notified that a kind is missing now, or is new.
            if self.held_before.is_some_and(|before| before != self.media.kinds()) {
                Form::ALL.iter().for_each(|form| stream.log(*form).end_earlier_epochs());
            }
        }
        self.headers.set_absent(self.media.at(now_ms).absent());
        is_first
    }

    /// Whether video comes: audio is sent with it.
    fn has_video(&self, now_ms: u64) -> bool {
        !self.tracks.is_empty() && now_ms.saturating_sub(self.video_ms) < VIDEO_GONE_MS
    }

    /// Keeps the video since the key frame of a stream whose video stands still while its audio goes on.
    fn note_still(
        &mut self,
        stream: &SharedState,
        frame: &Frame,
        begins: bool,
        is_audio_point: bool,
        now_ms: u64,
    ) {
        let configuration = self.headers.configuration() as u16;
        let is_still = !self.tracks.is_empty() && !self.has_video(now_ms);
        match &mut self.still {
            Some(still) if begins || still.configuration() != configuration => self.still = None,
            // It changes sometimes without a key frame.
            Some(still) if frame.kind == FrameKind::Video => {
                if !still.push(frame) {
                    self.still = None;
                }
            }
            None if is_audio_point && is_still => {
                let rtmp = self.logs[Form::Rtmp.index()].as_ref();
                // Beside the log, and once more in the preamble of each form.
                let max_bytes = MAX_STILL_BYTES.min(self.memory.log_share() / 8);
                let messages =
                    rtmp.and_then(|log| log.video_messages(stream.log(Form::Rtmp), max_bytes, configuration));
                self.still = messages.map(|messages| Still::new(messages, configuration, &self.memory));
            }
            Some(_) | None => {}
        }
    }

    /// Whether players can begin with this frame where no key frame is held.
    fn is_audio_point(&mut self, role: FrameRole, now_ms: u64) -> bool {
        let moved_ms = *self.moved_ms.get_or_insert(now_ms);
        matches!(role, FrameRole::Audio(_) | FrameRole::Other)
            && now_ms.saturating_sub(moved_ms) >= AUDIO_POINT_MS
    }

    /// Begins the logs that readers have come for, and ends those that have no reader any more, or whose times cannot
    /// count further.
    fn open_and_close(&mut self, stream: &SharedState, timestamp_ms: Option<u32>, now_ms: u64) {
        let (rtmp, others) = self.logs.split_at_mut(1);
        let Some(rtmp) = &rtmp[0] else { return };
        for (log, form) in others.iter_mut().zip(&Form::ALL[1..]) {
            let shared = stream.log(*form);
            let sequence = &mut self.sequences[form.index()];
            if let Some(open) = log {
                let is_full = timestamp_ms.is_some_and(|timestamp_ms| open.is_full(timestamp_ms));
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
                // For players that came before this and want the next key frame, the beginning of segment `sequence` is
                // in the past. What is kept is in the past; where nothing is kept, the log begins in the segment after
                // it.
                let is_kept =
                    matches!(**stream.log(Form::Rtmp).join(), Join::At(_)) && rtmp.has_room_for_copy();
                let first = *sequence + u64::from(!is_kept);
                let writer = LogWriter::starting_at(first, self.retention, self.memory.clone());
                let mut opened = WireLog::new((self.formats)(*form).into(), writer, now_ms);
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

fn class(role: FrameRole, kind: FrameKind, video: Option<VideoMessage>) -> Class {
    match (video.map(|video| video.part), role, kind) {
        (Some(KeyFramePart::Begins), ..) => Class::KeyFrame,
        (Some(KeyFramePart::Continues), ..) => Class::KeyFrameRest,
        (_, FrameRole::Header(_), _) | (_, _, FrameKind::Data) => Class::Data,
        (_, _, FrameKind::Video) => Class::Video,
        (_, _, FrameKind::Audio) => Class::Audio,
    }
}
