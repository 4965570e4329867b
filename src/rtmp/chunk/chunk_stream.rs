//! What a chunk stream keeps from one header to the next (§5.3.1.2), its time, and its unfinished message.

use super::assembly::Assembly;
use super::header::{Continuation, Fields};

/// One chunk stream, by what its last header said.
#[derive(Debug)]
pub(super) struct ChunkStream {
    pub id: u32,
    pub timestamp_ms: u32,
    delta_ms: u32,
    /// The last extended time field, unless the last time field was not extended.
    extended: Option<u32>,
    pub length: u32,
    pub message_type_id: u8,
    pub message_stream_id: u32,
    /// Whether a message has begun and not ended.
    pub unfinished: bool,
    /// Whether the message's payload is dropped as it comes.
    pub is_passed_over: bool,
    /// Payload bytes that were dropped.
    pub passed_over: usize,
    pub assembly: Assembly,
}

impl ChunkStream {
    /// Nothing to inherit yet; time counts from 0.
    pub fn new(id: u32) -> Self {
        Self {
            id,
            timestamp_ms: 0,
            delta_ms: 0,
            extended: None,
            length: 0,
            message_type_id: 0,
            message_stream_id: 0,
            unfinished: false,
            is_passed_over: false,
            passed_over: 0,
            assembly: Assembly::default(),
        }
    }

    /// Payload bytes that the message still lacks.
    pub fn remaining(&self) -> usize {
        self.length as usize - self.assembly.len() - self.passed_over
    }

    /// Drops what has come of the message, and what will. What is left of it comes out empty.
    pub fn pass_over(&mut self) {
        self.is_passed_over = true;
        self.passed_over += self.assembly.len();
        self.assembly = Assembly::default();
    }

    /// Reads a header as the first of a message: fills in what it inherits, and moves time on, modulo 2^32.
    pub fn begin(&mut self, fields: Fields) {
        self.unfinished = true;
        match fields {
            Fields::Type0 { time, length, message_type_id, message_stream_id } => {
                self.timestamp_ms = time.ms;
                self.length = length;
                self.message_type_id = message_type_id;
                self.message_stream_id = message_stream_id;
                // A type 3 that opens the next message adds this very time (§5.3.1.2.4).
                self.delta_ms = time.ms;
                self.extended = time.extended.then_some(time.ms);
            }
            Fields::Type1 { delta, length, message_type_id } => {
                self.length = length;
                self.message_type_id = message_type_id;
                self.delta_ms = delta.ms;
                self.extended = delta.extended.then_some(delta.ms);
                self.timestamp_ms = self.timestamp_ms.wrapping_add(delta.ms);
            }
            Fields::Type2 { delta } => {
                self.delta_ms = delta.ms;
                self.extended = delta.extended.then_some(delta.ms);
                self.timestamp_ms = self.timestamp_ms.wrapping_add(delta.ms);
            }
            Fields::Type3 => self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta_ms),
        }
    }

    /// The header of its message's next chunk, as a type 3.
    pub fn continuation(&self) -> Continuation {
        Continuation::new(self.id, self.extended)
    }

    /// Whether a header in the middle of a message is part of it. §5.3.1.2.4 has it that such a header *should* be
    /// a type 3, so any may be: SRS takes types 1 and 2 when the length is the same, FFmpeg type 0 too. The time of
    /// the message stays as its first chunk gave it. A sender that gives up a message has Abort to say so: a header
    /// that announces another one (length, type, or the message stream and time of a type 0) is an error, because
    /// we can't tell which of the two is true.
    pub fn goes_on_with(&mut self, fields: Fields) -> bool {
        let (time, same) = match fields {
            Fields::Type0 { time, length, message_type_id, message_stream_id } => (
                time,
                (length, message_type_id, message_stream_id, time.ms)
                    == (self.length, self.message_type_id, self.message_stream_id, self.timestamp_ms),
            ),
            Fields::Type1 { delta, length, message_type_id } => {
                (delta, (length, message_type_id) == (self.length, self.message_type_id))
            }
            Fields::Type2 { delta } => (delta, true),
            Fields::Type3 => return true,
        };
        self.extended = time.extended.then_some(time.ms);
        same
    }

    /// How many of the bytes `after` a type-3 header repeat the extended timestamp: 4 or 0. FFmpeg repeats it, OBS
    /// before 30 and rtmpdump don't: it is there when its value is. `None` while the bytes are equal as far as they
    /// go. A peer that leaves it out is held up by that only when the last one to three bytes of a message happen
    /// to be those of its time, and only until it sends another byte.
    pub fn repeated_time_len(&self, after: &[u8]) -> Option<usize> {
        let Some(value) = self.extended.map(u32::to_be_bytes) else {
            return Some(0);
        };
        let seen = after.len().min(value.len());
        match (after[..seen] == value[..seen], seen == value.len()) {
            (false, _) => Some(0),
            (true, true) => Some(4),
            (true, false) => None,
        }
    }
}
