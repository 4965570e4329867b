//! Where a player or another reader begins that has come to a stream. What it was promised when it came is looked up in
//! the log when it can begin, for join points come and go meanwhile.

#![forbid(unsafe_code)]

use super::{
    entry::Class,
    form::Form,
    join::{Join, JoinPoint, PointKind},
    segment::Segment,
    start::Start,
    stream_log::StreamLog,
};

/// What a player that waits begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The log's first message: the player was there before that.
    Start,
    /// The first audio or key frame: nothing could be joined when the player came.
    First,
    /// The first key frame.
    KeyFrame,
    /// The newest point to join at.
    Newest,
}

/// A place in a log: segment and offset.
pub type Position = (u64, u32);

impl Wants {
    /// What a player that comes now waits for, and the position that it must not begin before.
    pub fn on_arrival(start: Start, form: Form, log: &StreamLog) -> (Self, Position) {
        let is_empty = log.newest().is_none();
        let wants = match start {
            _ if form == Form::Rtmp && is_empty => Self::Start,
            Start::Live => Self::KeyFrame,
            Start::KeyFrame => match &**log.join() {
                // No media has come yet. A file does not begin with its first message, but with a stream header.
                Join::At(point) if point.kind == PointKind::Start && form == Form::Rtmp => Self::Start,
                Join::At(_) => Self::Newest,
                Join::Nothing | Join::NextKeyFrame => Self::First,
            },
        };
        let after = match start {
            Start::KeyFrame if wants == Self::Newest => (0, 0),
            // Of a log that begins for this player all is to come.
            Start::KeyFrame if is_empty => (0, 0),
            // Another form's log begins in this segment with what RTMP's has kept, and that first message has come
            // already; if nothing is kept, it begins in the next one.
            Start::KeyFrame | Start::Live if is_empty => (log.oldest(), u32::from(form != Form::Rtmp)),
            Start::KeyFrame | Start::Live => log.end(),
        };
        (wants, after)
    }

    /// Whether it may begin with audio before `point`; none where it does not begin before it.
    pub fn accepts_audio_before(self, point: &JoinPoint) -> Option<bool> {
        match self {
            // Nothing is nearer, and what is before it does not go with its preamble.
            _ if point.kind == PointKind::Still => None,
            Self::Start | Self::First => Some(true),
            Self::KeyFrame => Some(false),
            Self::Newest => None,
        }
    }

    /// Whether it may begin at `point`, where there is no place before it.
    pub fn accepts(self, after: Position, point: &JoinPoint) -> bool {
        // A player that asked for the next key frame asked for no wait where there are none.
        let is_early = point.position() < after || self == Self::KeyFrame;
        !is_early || point.kind != PointKind::KeyFrame
    }
}

/// The first key frame, or audio where that will do, from `after` to `point` that can be decoded with the headers of
/// `point`, in these segments, oldest first: what the caller calls the segment, where in it, and what is there. Audio
/// will not do after a key frame that goes with other headers: the beginning is lost, and video is what is missed.
pub fn first_since<'a, T>(
    segments: impl Iterator<Item = (T, &'a Segment)>,
    after: Position,
    point: &JoinPoint,
    mut accepts_audio: bool,
) -> Option<(T, u32, PointKind)> {
    let configuration = point.preamble.as_ref()?.configuration();
    let since = segments.filter(|(_, segment)| segment.sequence >= after.0);
    for (found, segment) in since.take_while(|(_, segment)| segment.sequence <= point.segment.sequence) {
        let mut begin = 0;
        for entry in segment.committed().entries {
            let at = (segment.sequence, std::mem::replace(&mut begin, entry.end));
            if at > point.position() {
                return None;
            }
            let kind = match entry.class {
                Class::KeyFrame => PointKind::KeyFrame,
                Class::Audio if accepts_audio => PointKind::Audio,
                _ => continue,
            };
            if at < after {
                continue;
            }
            if entry.configuration == configuration {
                return Some((found, at.1, kind));
            }
            accepts_audio &= kind != PointKind::KeyFrame;
        }
    }
    None
}
