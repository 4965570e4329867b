//! The state of a chunk stream: the fields that its next header inherits (§5.3.1.2), its time, and its unfinished message.

use super::assembly::Assembly;
use super::header::{Continuation, Fields};

/// One chunk stream, with the fields of its last header.
#[derive(Debug)]
pub(super) struct ChunkStream {
    pub id: u32,
    pub timestamp_ms: u32,
    delta_ms: u32,
    /// The last time field, if it was extended.
    extended: Option<u32>,
    pub length: u32,
    pub message_type_id: u8,
    pub message_stream_id: u32,
    /// Whether a message is unfinished.
    pub unfinished: bool,
    /// Payload bytes of it that are missing.
    pub remaining: usize,
    /// Whether the message's payload is dropped on arrival.
    pub is_dropped: bool,
    pub assembly: Assembly,
}

impl ChunkStream {
    /// A new chunk stream: time counts from 0.
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
            remaining: 0,
            is_dropped: false,
            assembly: Assembly::default(),
        }
    }

    /// Drops the payload so far and all further payload of the message, which will be empty.
    pub fn drop_payload(&mut self) {
        self.is_dropped = true;
        self.assembly = Assembly::default();
    }

    /// Begins a message with this header: adds the fields that it inherits, and advances time, modulo 2^32.
    pub fn begin(&mut self, fields: Fields) {
        self.unfinished = true;
        match fields {
            Fields::Type0 { time, length, message_type_id, message_stream_id } => {
                self.timestamp_ms = time.ms;
                self.length = length;
                self.message_type_id = message_type_id;
                self.message_stream_id = message_stream_id;
                // A type 3 header that begins the next message adds this time (§5.3.1.2.4).
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
        self.remaining = self.length as usize;
    }

    /// As [`ChunkStream::begin`], for a message that is complete: `time_ms` is the time field of its header.
    #[inline]
    pub fn note_whole(
        &mut self,
        time_ms: u32,
        timestamp_ms: u32,
        length: u32,
        message_type_id: u8,
        message_stream_id: u32,
    ) {
        (self.delta_ms, self.extended) = (time_ms, None);
        (self.timestamp_ms, self.length) = (timestamp_ms, length);
        (self.message_type_id, self.message_stream_id) = (message_type_id, message_stream_id);
    }

    /// The type 3 header of the message's next chunk.
    pub fn continuation(&self) -> Continuation {
        Continuation::new(self.id, self.extended)
    }

    /// Whether a header in the middle of a message continues it. By §5.3.1.2.4 such a header *should* have type 3, so any
    /// type is possible: SRS accepts types 1 and 2 if the length is the same, FFmpeg also type 0. The time of the message
    /// remains that of its first chunk. A sender aborts a message with Abort: a header of another message (by length,
    /// type, or the message stream and time of a type 0) is an error, because we cannot know which of the two is right.
    pub fn continues_with(&mut self, fields: Fields) -> bool {
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

    /// How many of the bytes `after` a type 3 header repeat the extended timestamp: 4 or 0. FFmpeg repeats it, OBS before
    /// 30 and rtmpdump do not: it is repeated if its value is there. `None` if there are fewer than four bytes and all are
    /// equal. For a peer that omits it this delays a message only if its last one to three bytes equal those of its time,
    /// and only until the next byte arrives.
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
