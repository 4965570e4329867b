//! What becomes of messages that are no commands: audio, video and data of a number that publishes are its frames, one
//! by one. Opens no payload further than the name of a data message.

use super::*;
use crate::flv::{FrameKind, Payload, data, video};
use crate::rtmp::aggregate::Parts;

/// An aggregate message of a stream, as far as it has not been read.
#[derive(Debug)]
pub(super) struct Aggregate {
    message_stream_id: MessageStreamId,
    parts: Parts,
}

impl Aggregate {
    /// What its message holds, bytes.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.parts.held_bytes()
    }
}

impl Session {
    /// Audio, video and data become frames. Other types (shared objects, and what nobody has defined) mean nothing
    /// to us, and media of a number that publishes nothing goes nowhere: encoders send what they still have after
    /// FCUnpublish.
    pub(super) fn media(&mut self, message: Message) {
        let Some(id) = self.streams.media_of(message.message_stream_id) else { return };
        let Message { timestamp_ms, message_type_id, payload, .. } = message;
        if message_type_id == type_id::AGGREGATE {
            let parts = Parts::new(timestamp_ms, payload.to_bytes());
            self.aggregate = Some(Box::new(Aggregate { message_stream_id: id, parts }));
        } else {
            self.medium(id, message_type_id, timestamp_ms, payload);
        }
    }

    /// Takes one message out of the aggregate that is being read: so nothing of it is queued, however many there are.
    /// False where it has none left.
    pub(super) fn next_of_aggregate(&mut self) -> Result<bool, Error> {
        let Some(aggregate) = &mut self.aggregate else { return Ok(false) };
        let id = aggregate.message_stream_id;
        // Its stream may have ended since.
        let part = self.streams.media_of(id).and_then(|_| aggregate.parts.next());
        let Some(part) = part.transpose().map_err(|error| self.link.violation(error))? else {
            self.aggregate = None;
            return Ok(false);
        };
        self.messages += 1;
        self.medium(id, part.message_type_id, part.timestamp_ms, part.body.into());
        Ok(true)
    }

    fn medium(&mut self, id: MessageStreamId, message_type_id: u8, timestamp_ms: u32, payload: Payload) {
        let (kind, payload) = match message_type_id {
            type_id::AUDIO => (FrameKind::Audio, payload),
            type_id::VIDEO => (FrameKind::Video, payload),
            type_id::DATA_AMF0 => (FrameKind::Data, data::for_players(payload)),
            type_id::DATA_AMF3 => (FrameKind::Data, data::for_players(payload.skip(AMF3_FORMAT_BYTES))),
            _ => return,
        };
        // An empty message is some encoders' sign of life and carries nothing.
        if !payload.is_empty() && (kind != FrameKind::Video || is_for_players(&payload)) {
            let frame = Frame { kind, timestamp_ms, payload };
            self.outputs.push_back(Output::Frame { message_stream_id: id, frame });
        }
    }
}

fn is_for_players(payload: &Payload) -> bool {
    let mut prefix = [0; video::PREFIX];
    let len = payload.copy_prefix(&mut prefix);
    video::Header::parse(&prefix[..len]).is_for_players(payload.len())
}

/// In front of AMF3 data: 0, for AMF0.
const AMF3_FORMAT_BYTES: usize = 1;
