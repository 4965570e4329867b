//! The log bytes that a player is given at a time, held where they are until the kernel has taken them. What the socket
//! takes is a send: it may be a batch, part of one, or a batch that a transport has encoded.

use std::{rc::Rc, sync::Arc};

use bytes::{Buf, Bytes};

use crate::stream::Segment;

/// A segment as one core holds it: the shared count changes once per core, the core's own count once per batch.
pub(super) type Local = Rc<Arc<Segment>>;

/// What the hub gives for one player, ready for the wire. A clone is the same bytes.
#[derive(Clone)]
pub enum Batch {
    /// Bytes of this connection or of this joiner: answers, preambles.
    Own(Bytes),
    /// A stretch of a stream log, shared with all other players.
    Shared(SharedRange),
}

/// Whole messages, or the rest of one, from a segment.
#[derive(Clone)]
pub struct SharedRange {
    segment: Local,
    from: u32,
    to: u32,
}

impl Batch {
    pub(super) fn shared(segment: &Local, from: u32, to: u32) -> Self {
        Batch::Shared(SharedRange { segment: segment.clone(), from, to })
    }

    /// Removes the first `n` bytes, which have been sent.
    pub fn advance(&mut self, n: usize) {
        match self {
            Batch::Own(bytes) => bytes.advance(n),
            Batch::Shared(part) => part.from += n as u32,
        }
    }

    /// The bytes. They stay at the same address for as long as the batch lives, even if it is moved.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Batch::Own(bytes) => bytes,
            Batch::Shared(part) => &part.segment.committed().bytes[part.from as usize..part.to as usize],
        }
    }
}
