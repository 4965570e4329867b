//! Video that stands still: its messages since the key frame, kept apart from the log, which goes on.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::memory::{Held, Memory, MemoryKind};
use crate::flv::Frame;

/// A shared screen, with the changes since: one key frame of 4K and some hundred small frames. Where there is more, the
/// key frame in the log stays the place to begin.
pub(super) const MAX_STILL_BYTES: usize = 1 << 20;

/// The video since a key frame.
pub(super) struct Still {
    messages: Vec<Frame>,
    bytes: usize,
    /// Which sequence headers they go with.
    configuration: u16,
    held: Held,
    /// The same for preambles, until one more comes.
    shared: Option<Arc<[Frame]>>,
}

impl Still {
    pub(super) fn new(messages: Vec<Frame>, configuration: u16, memory: &Memory) -> Self {
        let bytes = messages.iter().map(|message| message.payload.len()).sum();
        let held = memory.hold(MemoryKind::Headers, bytes);
        Self { messages, bytes, configuration, held, shared: None }
    }

    /// Bytes of the messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn configuration(&self) -> u16 {
        self.configuration
    }

    /// One more message. False where there is too much now.
    pub(super) fn push(&mut self, message: &Frame) -> bool {
        self.bytes += message.payload.len();
        if self.bytes > MAX_STILL_BYTES {
            return false;
        }
        self.held.set(self.bytes);
        // A copy: a view would hold a whole receive buffer for as long as the video stands still.
        let payload = message.payload.to_bytes().to_vec().into();
        self.messages.push(Frame { payload, ..message.clone() });
        self.shared = None;
        true
    }

    pub(super) fn messages(&mut self) -> Arc<[Frame]> {
        self.shared.get_or_insert_with(|| self.messages.clone().into()).clone()
    }
}
