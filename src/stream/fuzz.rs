//! What is true for any frames at any times, for the tests and the fuzz target: the log is whole messages that a reader
//! gets in order, it stays within its buffer, and players begin where a message does.

#![forbid(unsafe_code)]

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    Bounds, Class, ConnectionRef, Entry, Form, Item, Join, PointKind, ReadFrame, ReadOptions, Reader,
    Registry, Retention, Signal, Start, Stream, segment::INDEX_ENTRIES,
};
use crate::flv::{Frame, FrameKind, WireFormat};

/// Before the payload of each frame: what it is and how often the payload comes, its timestamp, how long after the
/// one before it comes, the payload's length.
const HEAD_BYTES: usize = 8;
/// Bits of the first byte: the kind of frame, or that the publisher goes and comes back.
const KINDS: u8 = 0b11;
/// The other bits are a number of these: bytes of zeroes after the payload.
const PADDING: usize = 512;
/// Small, so that it is outgrown.
const BUFFER_BYTES: usize = 1 << 20;
/// With that buffer a segment is 64 KiB to an eighth of it.
const SEGMENT_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=BUFFER_BYTES / 8;
/// A log within its buffer and the first segment, which a join point may hold a little longer; each with its index.
const MAX_HELD_BYTES: usize = BUFFER_BYTES
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
    let id = ConnectionRef { core: 0, key: 0, connection_id: 1 };
    let follow = registry.follow(NAME, Form::Rtmp, 0, 0);
    let mut publication = Some(registry.publish(NAME, id, 0).expect("there is no other publisher"));
    let mut follower = Follower::new(&registry);
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
                follower.follow(now_ms as u32);
                assert!(!follower.is_within, "it sees the publish end");
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
        follower.appended.push_back(frame.payload.to_bytes());
        publication.as_mut().expect("present between two frames").append_and_notify(frame, now_ms);
        follower.follow(now_ms as u32);
        check_join(follow.stream());
        let held = registry.memory().of(super::MemoryKind::Segments);
        assert!(held <= MAX_HELD_BYTES, "{held} bytes");
    }
    drop(publication);
    drop(follower);
    drop(follow);
    assert_eq!((registry.len(), registry.memory().bytes()), (0, 0));
}

/// Players begin where a message does.
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

/// Reads what is appended, without ever being late.
struct Follower {
    reader: Reader,
    /// Payloads that it has not passed by.
    appended: VecDeque<Bytes>,
    /// Whether it has read something of a publish and has not seen it end.
    is_within: bool,
}

impl Follower {
    fn new(registry: &Arc<Registry>) -> Self {
        let options = ReadOptions { form: Form::Rtmp, start: Start::KeyFrame, retention_bytes: 0 };
        let reader = registry.read(NAME, options, || ());
        Self { reader, appended: VecDeque::new(), is_within: false }
    }

    /// What it reads are the frames that were appended, in their order: some are not for players.
    fn follow(&mut self, now_ms: u32) {
        while let Some(item) = self.reader.next().expect("a reader that is never late falls out of no log") {
            self.is_within = !matches!(item, Item::Unpublished);
            match item {
                Item::Frame(ReadFrame { frame, arrival_ms, .. }) => {
                    assert!(now_ms.wrapping_sub(arrival_ms).cast_signed() >= 0, "it has come");
                    let payload = frame.payload.to_bytes();
                    while self.appended.pop_front().expect("it was appended, once and in this place")
                        != payload
                    {}
                }
                Item::Header(frame) => assert!(!frame.payload.is_empty()),
                Item::Unpublished => {}
            }
        }
    }
}

/// A frame's length, its kind, and the frame.
struct Numbered;

/// Of the length and the kind.
const NUMBERED_HEAD: usize = 5;

impl WireFormat for Numbered {
    fn wire_len(&self, frame: &Frame) -> usize {
        NUMBERED_HEAD + frame.payload.len()
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        let len = out.len() as u32;
        out[..4].copy_from_slice(&len.to_le_bytes());
        out[4] = frame.kind as u8;
        assert_eq!(frame.payload.copy_prefix(&mut out[NUMBERED_HEAD..]), out.len() - NUMBERED_HEAD);
    }

    fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
        let len = u32::from_le_bytes(*wire.first_chunk()?) as usize;
        let message = wire.get(..len)?;
        let kind = match message[4] {
            8 => FrameKind::Audio,
            9 => FrameKind::Video,
            _ => FrameKind::Data,
        };
        Some((Frame { kind, timestamp_ms: 0, payload: message[NUMBERED_HEAD..].to_vec().into() }, len))
    }
}
