//! An aggregate message that is being read.

use super::streams::MessageStreamId;
use crate::rtmp::aggregate::Parts;

/// The unread parts of an aggregate message.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub message_stream_id: MessageStreamId,
    pub parts: Parts,
}

impl Aggregate {
    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.parts.memory_bytes()
    }
}
