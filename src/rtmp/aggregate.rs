//! Splits an aggregate message (RTMP 1.0 §7.1.6): a sequence of FLV tags, each followed by its length.

use bytes::{Buf, Bytes};

use super::message::type_id;

/// One message of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubMessage {
    /// The type id; never an aggregate.
    pub message_type_id: u8,
    /// Absolute, in milliseconds modulo 2^32: the aggregate's timestamp for the first message; the others keep their
    /// distance from it.
    pub timestamp_ms: u32,
    /// A view of the aggregate.
    pub body: Bytes,
}

/// Why an aggregate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A header, a body or a back pointer is cut short.
    #[error("aggregate is cut short in the message at its byte {0}")]
    Truncated(usize),
    /// An aggregate inside the aggregate.
    #[error("aggregate inside an aggregate at its byte {0}")]
    Nested(usize),
    /// More than `MAX_PARTS`.
    #[error("aggregate of more than {MAX_PARTS} messages at its byte {0}")]
    TooMany(usize),
}

/// The messages of an aggregate, in order. Ends after an error. An iterator, since 16 MiB may contain a million empty
/// messages.
#[derive(Debug)]
pub struct Parts {
    timestamp_ms: u32,
    /// The first message's own timestamp.
    first_ms: Option<u32>,
    count: usize,
    whole_bytes: usize,
    rest: Bytes,
}

impl Parts {
    /// For an aggregate with this timestamp in milliseconds and this body.
    pub fn new(timestamp_ms: u32, body: Bytes) -> Self {
        Self { timestamp_ms, first_ms: None, count: 0, whole_bytes: body.len(), rest: body }
    }

    /// Memory, bytes: the whole aggregate, until its last message has been taken.
    pub fn memory_bytes(&self) -> usize {
        self.whole_bytes
    }
}

impl Iterator for Parts {
    type Item = Result<SubMessage, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let position = self.whole_bytes - self.rest.len();
        let part = match take_tag(&mut self.rest) {
            None => Err(Error::Truncated(position)),
            Some(tag) if tag.message_type_id == type_id::AGGREGATE => Err(Error::Nested(position)),
            Some(_) if self.count == MAX_PARTS => Err(Error::TooMany(position)),
            Some(mut tag) => {
                self.count += 1;
                let first_ms = *self.first_ms.get_or_insert(tag.timestamp_ms);
                tag.timestamp_ms = self.timestamp_ms.wrapping_add(tag.timestamp_ms.wrapping_sub(first_ms));
                Ok(tag)
            }
        };
        if part.is_err() {
            self.rest.clear();
        }
        Some(part)
    }
}

/// Takes an FLV tag (FLV 10.1 §E.4.1), with the tag's own timestamp, and the back pointer after it.
fn take_tag(rest: &mut Bytes) -> Option<SubMessage> {
    let [message_type_id, l2, l1, l0, t2, t1, t0, t3, _, _, _] = *rest.first_chunk::<TAG_HEADER_BYTES>()?;
    let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
    if rest.len() < TAG_HEADER_BYTES + len + BACK_POINTER_BYTES {
        return None;
    }
    rest.advance(TAG_HEADER_BYTES);
    let body = rest.split_to(len);
    rest.advance(BACK_POINTER_BYTES);
    Some(SubMessage { message_type_id, timestamp_ms: u32::from_be_bytes([t3, t2, t1, t0]), body })
}

/// Messages of one aggregate. Flash Media Server collects about one second, some hundred messages. This many cost 1 to
/// 2 ms of CPU time.
pub const MAX_PARTS: usize = 4096;
const TAG_HEADER_BYTES: usize = 11;
/// The value is ignored: encoders disagree whether it includes the header.
const BACK_POINTER_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(message_type_id: u8, timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
        let [t3, t2, t1, t0] = timestamp_ms.to_be_bytes();
        let mut tag = vec![message_type_id, 0, 0, body.len() as u8, t2, t1, t0, t3, 0, 0, 0];
        tag.extend_from_slice(body);
        tag.extend_from_slice(&[0, 0, 0, 11 + body.len() as u8]);
        tag
    }

    #[test]
    fn timestamps_are_relative_to_the_first_message() {
        let body =
            [tag(9, 5000, b"v0"), tag(8, 5010, b"a"), tag(18, 4990, b""), tag(9, 5040, b"v1")].concat();
        let messages: Vec<_> = Parts::new(u32::MAX - 20, body.into()).map(|m| m.unwrap()).collect();
        let times: Vec<_> = messages.iter().map(|m| (m.message_type_id, m.timestamp_ms)).collect();
        assert_eq!(times, [(9, u32::MAX - 20), (8, u32::MAX - 10), (18, u32::MAX - 30), (9, 19)]);
        assert_eq!(messages[3].body, "v1");
    }

    #[test]
    fn an_aggregate_cut_inside_a_message_is_an_error() {
        let first = tag(9, 1 << 24, b"video");
        let body = Bytes::from([first.clone(), tag(8, 7, b"audio")].concat());
        for cut in 1..body.len() {
            let messages: Vec<_> = Parts::new(0, body.slice(..cut)).collect();
            let error = match cut.cmp(&first.len()) {
                std::cmp::Ordering::Less => Some(Error::Truncated(0)),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(Error::Truncated(first.len())),
            };
            assert_eq!(messages.last().unwrap().clone().err(), error, "cut at {cut}");
        }
    }

    #[test]
    fn an_aggregate_inside_an_aggregate_is_an_error() {
        let body = [tag(8, 0, b"a"), tag(22, 0, &tag(8, 0, b"b"))].concat();
        let messages: Vec<_> = Parts::new(0, body.into()).collect();
        assert_eq!(messages[1], Err(Error::Nested(16)));
        assert_eq!(messages.len(), 2);
    }

    #[test]
    fn the_number_of_messages_is_bounded() {
        let aggregate = |count: usize| Parts::new(0, tag(8, 0, b"a").repeat(count).into());
        assert!(aggregate(MAX_PARTS).all(|message| message.is_ok()));
        assert_eq!(aggregate(MAX_PARTS).count(), MAX_PARTS);
        assert_eq!(aggregate(MAX_PARTS + 1).last(), Some(Err(Error::TooMany(16 * MAX_PARTS))));
    }

    #[test]
    fn an_empty_aggregate_has_no_messages() {
        assert_eq!(Parts::new(0, Bytes::new()).count(), 0);
    }
}
