//! The place where players of a log begin, set by its writer and used by its readers.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{preamble::Preamble, segment::Segment};

/// Where a player begins.
pub enum Join {
    /// No frame has come since the publisher came or came back: wait.
    Nothing,
    /// Here, at once.
    At(JoinPoint),
    /// At the next key frame: there is video, no key frame is held, and no audio comes.
    NextKeyFrame,
}

/// A place in the log where a player can begin.
#[derive(Clone)]
pub struct JoinPoint {
    /// The segment to begin in.
    pub segment: Arc<Segment>,
    /// Where in it, bytes.
    pub offset: u32,
    /// What is sent before it; none where the log itself begins with its headers.
    pub preamble: Option<Preamble>,
    /// What is there.
    pub kind: PointKind,
    /// The log's epoch: see [`StreamLog::kept_from`](super::StreamLog::kept_from).
    pub epoch: u32,
}

impl JoinPoint {
    /// Segment and offset.
    pub fn position(&self) -> (u64, u32) {
        (self.segment.sequence, self.offset)
    }
}

/// What a player begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// The log's first message, whatever it is: headers come as they were sent.
    Start,
    /// The first message of a key frame.
    KeyFrame,
    /// Any message, where no key frame is held. Video, if there is any, begins with the next key frame.
    Audio,
    /// Audio of a stream whose video stands still: the preamble has the key frame and what came after it.
    Still,
}
