//! What holds for any frames at any times, for the tests and the fuzz target: the log is whole messages that a
//! follower reads in order, within its buffer, and players begin where a message does.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{
    Bounds, Class, Entry, Form, Join, Next, PointKind, PublisherId, Registry, Retention, Segment, Signal,
    Stream, segment::INDEX_ENTRIES,
};
use crate::flv::{Frame, FrameKind, WireFormat};

/// Before the payload of each frame: what it is and how often the payload comes, its timestamp, how long after the
/// one before it comes, the payload's length.
const HEAD_BYTES: usize = 8;
/// In the first byte: the kind of frame, or that the publisher goes and comes back.
const KINDS: u8 = 0b11;
/// The others, as a number: so many times 512 bytes of nothing behind the payload.
const PADDING: usize = 512;
/// Small, so that it is outgrown.
const BUFFER_BYTES: usize = 1 << 20;
/// With that buffer a segment is 64 KiB to an eighth of it.
const SEGMENT_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=BUFFER_BYTES / 8;
/// A log within its buffer and the first segment, which a join point may hold a little longer; each with its index.
const MOST_HELD: usize = BUFFER_BYTES
    + *SEGMENT_BYTES.end()
    + (BUFFER_BYTES / *SEGMENT_BYTES.start() + 1) * INDEX_ENTRIES * size_of::<Entry>();
/// Milliseconds.
const KEEP_MS: u32 = 2_000;
const NAME: &str = "live/s";

/// One frame of an input: 10 ms after the one before it, without padding.
pub fn input(kind: FrameKind, timestamp_ms: u32, payload: &[u8]) -> Vec<u8> {
    let kind = match kind {
        FrameKind::Audio => 0,
        FrameKind::Video => 1,
        FrameKind::Data => 2,
    };
    let [a, b, c, d] = timestamp_ms.to_le_bytes();
    [&[kind, a, b, c, d, 10, 0, payload.len() as u8], payload].concat()
}

/// Publishes the frames that the bytes describe, and follows them.
pub fn check_any_bytes(mut bytes: &[u8]) {
    let signals: Arc<[Signal]> = [Signal::new(|| ())].into();
    let retention = Retention { buffer_bytes: BUFFER_BYTES, keep_ms: KEEP_MS };
    let bounds = Bounds { streams: 1, memory_bytes: usize::MAX };
    let registry =
        Arc::new(Registry::new(signals, retention, bounds, |_| Box::new(Numbered), Box::new(|_, _| ())));
    let id = PublisherId { core: 0, key: 0, connection_id: 1 };
    let follow = registry.follow(NAME, Form::Rtmp, 0, 0);
    let mut publication = Some(registry.publish(NAME, id, 0).expect("nobody else is here"));
    let mut reader = Reader::default();
    let mut now_ms = 0;
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let [what, a, b, c, d, gone, gone_high, len] = *head;
        now_ms += u64::from(u16::from_le_bytes([gone, gone_high]));
        let kind = match what & KINDS {
            0 => FrameKind::Audio,
            1 => FrameKind::Video,
            2 => FrameKind::Data,
            _ => {
                drop(publication.take());
                assert!(matches!(**follow.log().join(), Join::Nothing));
                publication = Some(registry.publish(NAME, id, now_ms).expect("the name is free again"));
                bytes = rest;
                continue;
            }
        };
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(len)));
        bytes = rest;
        let mut payload = payload.to_vec();
        payload.resize(payload.len() + usize::from(what >> 2) * PADDING, 0);
        if payload.is_empty() {
            continue;
        }
        let frame = Frame { kind, timestamp_ms: u32::from_le_bytes([a, b, c, d]), payload: payload.into() };
        publication.as_mut().expect("present between two frames").append(frame, now_ms);
        reader.follow(follow.stream(), now_ms as u32);
        check_join(follow.stream());
        let held = registry.memory().of(super::MemoryKind::Segments);
        assert!(held <= MOST_HELD, "{held} bytes");
    }
    drop(publication);
    drop(reader);
    drop(follow);
    assert_eq!((registry.len(), registry.memory().bytes()), (0, 0));
}

/// A player's begin is a message's.
fn check_join(stream: &Stream) {
    let Join::At(point) = &**stream.log(Form::Rtmp).join() else {
        return;
    };
    assert!(point.segment.sequence >= stream.log(Form::Rtmp).oldest(), "it is still kept");
    let entries = point.segment.committed().entries;
    let at = match point.offset {
        0 => 0,
        offset => 1 + entries.iter().position(|entry| entry.end == offset).expect("where a message begins"),
    };
    assert!(at < entries.len(), "there is something at the join");
    assert_eq!(point.kind == PointKind::KeyFrame, entries[at].class == Class::KeyFrame);
}

/// Reads all that is laid, without ever being late.
#[derive(Default)]
struct Reader {
    segment: Option<Arc<Segment>>,
    entries: usize,
}

impl Reader {
    fn follow(&mut self, stream: &Stream, now_ms: u32) {
        if self.segment.is_none() {
            self.segment = stream.log(Form::Rtmp).newest();
        }
        while let Some(segment) = &self.segment {
            let next = segment.next();
            let committed = segment.committed();
            assert_eq!(committed.entries.last().map_or(0, |entry| entry.end as usize), committed.bytes.len());
            for at in self.entries..committed.entries.len() {
                let begin = at.checked_sub(1).map_or(0, |before| committed.entries[before].end as usize);
                let end = committed.entries[at].end as usize;
                let message = &committed.bytes[begin..end];
                assert_eq!(Numbered::len(message), message.len(), "a message is whole");
                assert_eq!(committed.entries[at].arrival_ms, now_ms);
            }
            self.entries = committed.entries.len();
            match next {
                Next::NotYet => return,
                Next::Gone => panic!("a reader that is never late falls out of the log"),
                Next::Segment(next) => (self.segment, self.entries) = (Some(next), 0),
            }
        }
    }
}

/// A frame's length, and the frame.
struct Numbered;

impl Numbered {
    fn len(message: &[u8]) -> usize {
        let (len, _) = message.split_first_chunk().expect("a length");
        u32::from_le_bytes(*len) as usize
    }
}

impl WireFormat for Numbered {
    fn wire_len(&self, frame: &Frame) -> usize {
        4 + frame.payload.len()
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        let len = out.len() as u32;
        out[..4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(frame.payload.copy_prefix(&mut out[4..]), out.len() - 4);
    }
}
