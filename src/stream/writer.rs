//! What the publisher's core does with a frame: decides what it is, gives it its time, lays it into the log, moves
//! the point where players join.

use super::{
    chronicle::Chronicle,
    join::Join,
    log::{LogWriter, Retention},
    memory::Memory,
    preamble::{METADATA_MS, Preamble},
    registry::Stream,
    role::{Part, Role},
    segment::{Class, Entry},
    timeline::Timeline,
    wire::Wire,
    wire_log::{Begin, WireLog},
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
    /// By wire form: RTMP's is always there, the others as long as somebody wants them.
    logs: [Option<WireLog>; Wire::COUNT],
    /// By wire form: where its next log goes on.
    sequences: [u64; Wire::COUNT],
    timeline: Timeline,
    preamble: Preamble,
    chronicle: Chronicle,
    /// No key frame has come in this publish. Pictures are dropped until one does: they could not be decoded.
    needs_key_frame: bool,
    /// Players have the headers of the publisher before; unchanged ones are not sent again. Until somebody can join
    /// this publish: from then on there may be players who have not.
    players_have_headers: bool,
    /// When the point where players join was last moved, or when the publish began.
    moved_ms: Option<u64>,
    /// When the last picture came.
    picture_ms: u64,
    /// The time of that picture, and how much later it was than the one before: none where that says nothing.
    picture_timestamp_ms: u32,
    picture_gap_ms: Option<u32>,
    has_said_gop_too_large: bool,
}

/// How a stream is laid in each wire form.
pub type Formats = fn(Wire) -> Box<dyn WireFormat + Send>;

impl Writer {
    pub(super) fn new(formats: Formats, retention: Retention, memory: Memory) -> Self {
        let rtmp = WireLog::new(formats(Wire::Rtmp), LogWriter::new(retention, memory.clone()), 0);
        let mut logs = [const { None }; Wire::COUNT];
        logs[Wire::Rtmp.index()] = Some(rtmp);
        Self {
            formats,
            retention,
            memory,
            logs,
            sequences: [0; Wire::COUNT],
            timeline: Timeline::default(),
            preamble: Preamble::default(),
            chronicle: Chronicle::default(),
            needs_key_frame: true,
            players_have_headers: false,
            moved_ms: None,
            picture_ms: 0,
            picture_timestamp_ms: 0,
            picture_gap_ms: None,
            has_said_gop_too_large: false,
        }
    }

    /// A publisher comes.
    pub(super) fn begin(&mut self, stream: &Stream, now_ms: u64) {
        self.chronicle.begin(stream, now_ms);
    }

    /// The publisher went away.
    pub(super) fn interrupt(&mut self, stream: &Stream) {
        self.chronicle.write(stream, &self.preamble);
        self.timeline.interrupt();
        self.preamble.interrupt();
        self.needs_key_frame = true;
        self.players_have_headers = true;
        self.moved_ms = None;
        for (log, wire) in self.logs.iter_mut().zip(Wire::ALL) {
            if let Some(log) = log {
                log.interrupt(stream.log(wire));
            }
        }
    }

    /// Lays a frame into the logs. `now_ms` is the relay's clock.
    pub(super) fn append(&mut self, stream: &Stream, mut frame: Frame, now_ms: u64) -> Laid {
        if self.logs.iter().flatten().any(|log| !log.has_room_for(&frame)) {
            return Laid::NoRoom;
        }
        let role = Role::of(&frame);
        self.chronicle.saw(&frame, role, now_ms);
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
        frame.timestamp_ms = match role {
            Role::Header(Part::Metadata) => METADATA_MS,
            _ if is_timed => self.timeline.media(frame.kind, frame.timestamp_ms, now_ms),
            _ => self.timeline.header(frame.timestamp_ms),
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
        self.open_and_close(stream, now_ms);
        let is_point = self.is_point(role, now_ms);
        let begin = Begin {
            preamble: &self.preamble,
            kinds: self.chronicle.kinds(),
            is_key_frame: role == Role::KeyFrame,
        };
        let mut has_lost_join = [false; Wire::COUNT];
        for (log, wire) in self.logs.iter_mut().zip(Wire::ALL) {
            let (Some(log), shared) = (log, stream.log(wire)) else { continue };
            let laid = log.lay(shared, &frame, entry);
            if is_point || laid.is_very_start {
                log.join_at(shared, &laid, &begin);
                self.moved_ms = Some(now_ms);
                self.players_have_headers = false;
            }
            has_lost_join[wire.index()] = !log.retire(shared, &laid, now_ms);
        }
        self.wait_for_key_frame(stream, has_lost_join);
        self.chronicle.write_if_due(stream, &self.preamble, now_ms);
        match role {
            Role::KeyFrame | Role::Picture => Laid::Due,
            Role::Header(_) | Role::Other if self.has_pictures(now_ms) => Laid::MayWait,
            Role::Header(_) | Role::Other => Laid::Due,
        }
    }

    /// How far its logs are beyond their shares, bytes.
    pub(super) fn bytes_beyond_its_share(&self) -> usize {
        let shares = self.logs.iter().flatten().count() * self.memory.log_share();
        self.log_bytes().saturating_sub(shares)
    }

    fn log_bytes(&self) -> usize {
        self.logs.iter().flatten().map(WireLog::bytes).sum()
    }

    /// Gives up what is beyond the logs' shares, where memory is short. True if something went.
    pub(super) fn relieve(&mut self, stream: &Stream, now_ms: u64) -> bool {
        let before_bytes = self.log_bytes();
        let mut has_lost_join = [false; Wire::COUNT];
        for (log, wire) in self.logs.iter_mut().zip(Wire::ALL) {
            let Some(log) = log else { continue };
            has_lost_join[wire.index()] = !log.trim(stream.log(wire), now_ms);
        }
        self.wait_for_key_frame(stream, has_lost_join);
        self.log_bytes() < before_bytes
    }

    /// Logs whose point to join at has gone: with pictures that is because their group has outgrown the buffer, or its
    /// share of the memory.
    fn wait_for_key_frame(&mut self, stream: &Stream, has_lost_join: [bool; Wire::COUNT]) {
        let has_pictures = !self.needs_key_frame;
        for (log, wire) in self.logs.iter_mut().zip(Wire::ALL).filter(|(_, wire)| has_lost_join[wire.index()])
        {
            let Some(log) = log else { continue };
            log.set_join(stream.log(wire), if has_pictures { Join::NextKeyFrame } else { Join::Nothing });
        }
        let is_to_say = has_pictures && has_lost_join.contains(&true);
        if is_to_say && !std::mem::replace(&mut self.has_said_gop_too_large, true) {
            tracing::warn!(
                stream = stream.name(),
                "the newest group of pictures is larger than stream_buffer, or than the stream's share of \
                 limits.memory_budget: players start at the next key frame"
            );
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

    /// Whether this frame is one that players can begin with.
    fn is_point(&mut self, role: Role, now_ms: u64) -> bool {
        let moved_ms = *self.moved_ms.get_or_insert(now_ms);
        let is_sound_point = role == Role::Other
            && !self.has_pictures(now_ms)
            && now_ms.saturating_sub(moved_ms) >= SOUND_POINT_MS;
        role == Role::KeyFrame || is_sound_point
    }

    /// Begins the logs that somebody has come to want, and lets go of those that nobody wants any more.
    fn open_and_close(&mut self, stream: &Stream, now_ms: u64) {
        let (rtmp, others) = self.logs.split_at_mut(1);
        let Some(rtmp) = &rtmp[0] else { return };
        for (log, wire) in others.iter_mut().zip(&Wire::ALL[1..]) {
            let shared = stream.log(*wire);
            let sequence = &mut self.sequences[wire.index()];
            if let Some(open) = log {
                if !open.is_wanted(shared, now_ms) {
                    *sequence = open.next_sequence();
                    *log = None;
                    shared.clear(*sequence);
                }
            } else if shared.has_readers() {
                // Players that came before this and want the next key frame take what begins segment `sequence` to
                // be past. What is kept is; where nothing is, the log begins in the segment behind it.
                let is_kept =
                    matches!(**stream.log(Wire::Rtmp).join(), Join::At(_)) && rtmp.has_room_for_copy();
                let first = *sequence + u64::from(!is_kept);
                let writer = LogWriter::starting_at(first, self.retention, self.memory.clone());
                let mut opened = WireLog::new((self.formats)(*wire), writer, now_ms);
                if is_kept {
                    rtmp.copy_to(stream.log(Wire::Rtmp), self.chronicle.kinds(), &mut opened, shared);
                }
                *log = Some(opened);
            }
        }
    }
}

fn class(role: Role, kind: FrameKind) -> Class {
    match (role, kind) {
        (Role::KeyFrame, _) => Class::KeyFrame,
        (Role::Header(_), _) | (_, FrameKind::Data) => Class::Data,
        (_, FrameKind::Video) => Class::Video,
        (_, FrameKind::Audio) => Class::Audio,
    }
}
