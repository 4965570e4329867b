//! Where players of a log begin, as its writer says it and its readers take it.

use std::sync::Arc;

use bytes::Bytes;

use super::segment::Segment;

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
#[derive(Clone)]
pub struct JoinPoint {
    /// The segment to begin in.
    pub segment: Arc<Segment>,
    /// Where in it, bytes.
    pub offset: u32,
    /// Metadata and sequence headers in wire form, behind the opening; empty where the log itself begins with them.
    pub preamble: Bytes,
    /// How much of the preamble is the opening: for whoever begins here, not for whoever goes on here.
    pub opening_len: usize,
    /// Which state of the headers that is.
    pub generation: u32,
    /// Whether a key frame is there; else it is any message of a stream that has no pictures so far.
    pub is_key_frame: bool,
    /// The log's first segment, where this is the next point after the very start: who was there before the encoder
    /// begins there, however late its core looks, and so hears the sound ahead of the first picture.
    pub start: Option<Arc<Segment>>,
}
