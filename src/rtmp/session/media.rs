//! Audio, video and data messages become frames of the stream that is published on their message stream. Reads no
//! payload further than its header, or the name of a data message.

use super::{aggregate::Aggregate, core::Session, output::Output, streams::MessageStreamId};
use crate::flv::{Frame, FrameKind, Payload, data, video};
use crate::rtmp::{aggregate::Parts, chunk::Message, error::Error, message::type_id};

impl Session {
    /// Audio, video and data become frames. Messages of other types (shared objects and undefined types) are ignored, and
    /// so is media on a message stream that publishes nothing: encoders still send some after FCUnpublish.
    pub(super) fn media(&mut self, message: Message) {
        let Some(id) = self.streams.media_of(message.message_stream_id) else { return };
        let Message { timestamp_ms, message_type_id, payload, .. } = message;
        if message_type_id == type_id::AGGREGATE {
            let parts = Parts::new(timestamp_ms, payload.to_bytes());
            self.aggregate = Some(Box::new(Aggregate { message_stream_id: id, parts }));
        } else {
            self.frame(id, message_type_id, timestamp_ms, payload);
        }
    }

    /// Reads one part of the aggregate, so that never more than one is queued. False if none is left.
    pub(super) fn next_of_aggregate(&mut self) -> Result<bool, Error> {
        let Some(aggregate) = &mut self.aggregate else { return Ok(false) };
        let id = aggregate.message_stream_id;
        // Its stream may have ended meanwhile.
        let part = self.streams.media_of(id).and_then(|_| aggregate.parts.next());
        let Some(part) = part.transpose().map_err(|error| self.link.violation(error))? else {
            self.aggregate = None;
            return Ok(false);
        };
        self.messages += 1;
        self.frame(id, part.message_type_id, part.timestamp_ms, part.body.into());
        Ok(true)
    }

    fn frame(&mut self, id: MessageStreamId, message_type_id: u8, timestamp_ms: u32, payload: Payload) {
        let (kind, payload) = match message_type_id {
            type_id::AUDIO => (FrameKind::Audio, payload),
            type_id::VIDEO => (FrameKind::Video, payload),
            type_id::DATA_AMF0 => (FrameKind::Data, data::for_players(payload)),
            type_id::DATA_AMF3 => (FrameKind::Data, data::for_players(payload.skip(AMF3_FORMAT_BYTES))),
            _ => return,
        };
        // Some encoders send empty messages as keepalives.
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

/// At the start of AMF3 data: 0, for AMF0.
const AMF3_FORMAT_BYTES: usize = 1;
