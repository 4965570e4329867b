//! The bytes of one send, held where they are until the kernel has taken them.

use std::{rc::Rc, sync::Arc};

use bytes::{Buf, Bytes};

use crate::stream::Segment;

/// A segment as one core holds it: the shared count moves once a core, the core's own count once a send.
pub(super) type Local = Rc<Arc<Segment>>;

/// What one send takes, ready on the wire. A clone is the same bytes.
#[derive(Clone)]
pub enum Batch {
    /// Bytes of this connection or of this joiner: answers, preambles.
    Own(Bytes),
    /// A stretch of a stream log that everybody shares.
    Shared(Shared),
}

/// Whole messages, or the rest of one, from a segment.
#[derive(Clone)]
pub struct Shared {
    segment: Local,
    from: u32,
    to: u32,
}

impl Batch {
    pub(super) fn shared(segment: &Local, from: u32, to: u32) -> Self {
        Batch::Shared(Shared { segment: segment.clone(), from, to })
    }

    /// Takes off the first `n` bytes, which have been sent.
    pub fn advance(&mut self, n: usize) {
        match self {
            Batch::Own(bytes) => bytes.advance(n),
            Batch::Shared(part) => part.from += n as u32,
        }
    }

    /// The bytes. They stay where they are for as long as the batch lives, wherever it is moved.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Batch::Own(bytes) => bytes,
            Batch::Shared(part) => &part.segment.committed().bytes[part.from as usize..part.to as usize],
        }
    }
}
