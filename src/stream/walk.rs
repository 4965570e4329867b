//! A walk along a stream log, message by message, on any thread. Holds the segment that it stands in, and as many of
//! the next ones as it is asked to.

#![forbid(unsafe_code)]

use std::{collections::VecDeque, mem::take, sync::Arc};

use super::{
    entry::Entry,
    segment::{Next, Segment},
};

/// A place in a log, between two messages.
pub(super) struct Walk {
    segment: Arc<Segment>,
    /// The next message of the segment, and where it begins.
    entry: usize,
    offset: u32,
    /// The segments after it that are held, oldest first, without a gap.
    ahead: VecDeque<Arc<Segment>>,
}

/// What comes next in a log.
pub(super) enum Step<'a> {
    /// A message: its entry and its bytes.
    Message(Entry, &'a [u8]),
    /// Nothing yet.
    NotYet,
    /// Messages that are not kept any more: the walk has fallen out of the log.
    Gone,
}

impl Walk {
    /// From the message on that begins at `offset` of `segment`.
    pub(super) fn at(segment: Arc<Segment>, offset: u32) -> Self {
        let entry = segment.committed().entries.partition_point(|entry| entry.end <= offset);
        Self { segment, entry, offset, ahead: VecDeque::new() }
    }

    /// Where it stands: segment and offset.
    pub(super) fn position(&self) -> (u64, u32) {
        (self.segment.sequence, self.offset)
    }

    /// The next message, without going past it.
    pub(super) fn peek(&mut self) -> Step<'_> {
        while self.is_at_end() {
            let next = match self.ahead.pop_front() {
                Some(next) => Next::Segment(next),
                None => self.segment.next(),
            };
            match next {
                Next::NotYet => return Step::NotYet,
                // The last messages may have come between the two looks.
                Next::Gone if self.is_at_end() => return Step::Gone,
                Next::Segment(next) if self.is_at_end() => {
                    *self = Self { ahead: take(&mut self.ahead), ..Self::at(next, 0) }
                }
                Next::Segment(next) => self.ahead.push_front(next),
                Next::Gone => {}
            }
        }
        let committed = self.segment.committed();
        let entry = committed.entries[self.entry];
        Step::Message(entry, &committed.bytes[self.offset as usize..entry.end as usize])
    }

    /// Goes past the message that [`Walk::peek`] has shown.
    pub(super) fn advance(&mut self) {
        self.offset = self.segment.committed().entries[self.entry].end;
        self.entry += 1;
    }

    /// Holds the segments after this one, as far as they are there, until those held come to `max_bytes`.
    pub(super) fn hold(&mut self, max_bytes: usize) {
        let mut bytes = self.held_bytes();
        while let Next::Segment(next) = self.ahead.back().unwrap_or(&self.segment).next() {
            bytes += next.capacity();
            if bytes > max_bytes {
                return;
            }
            self.ahead.push_back(next);
        }
    }

    /// Bytes of the segments that are held beside the one in which it stands.
    pub(super) fn held_bytes(&self) -> usize {
        self.ahead.iter().map(|segment| segment.capacity()).sum()
    }

    fn is_at_end(&self) -> bool {
        self.entry == self.segment.committed().entries.len()
    }
}
