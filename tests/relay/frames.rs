//! Frames that carry a number, and checks of what a player received.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use fanfare::amf0::{self, Value};
use fanfare::flv::{Frame, FrameKind};

/// A stream as an encoder would send it: frame `n` is the same whenever it is made.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Carried by every frame, so that a frame of another stream is noticed.
    pub id: u32,
    pub tracks: Tracks,
    /// Numbers from one key frame to the next; even, since every other frame is audio.
    pub key_every: u64,
    /// Payload bytes of a key frame.
    pub key_bytes: usize,
    /// Payload bytes of any other frame, at most.
    pub bytes: usize,
    /// The time of frame 0.
    pub first_ms: u32,
    /// From one frame to the next.
    pub step_ms: u32,
    /// Goes into metadata and sequence headers.
    pub header_version: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracks {
    /// Even numbers are video, odd ones audio.
    Both,
    Audio,
    Video,
}

/// One message that a player received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: FrameKind,
    pub timestamp_ms: u32,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A frame of a source; its bytes were checked.
    Numbered { source: u32, number: u64, is_key: bool },
    /// Metadata, a sequence header, or anything else.
    Other(Bytes),
}

impl Source {
    /// Audio and video, with a key frame of three of the relay's chunks every second.
    pub fn new(id: u32) -> Source {
        Source {
            id,
            tracks: Tracks::Both,
            key_every: 50,
            key_bytes: 140_000,
            bytes: 4000,
            first_ms: 0,
            step_ms: 20,
            header_version: 1,
        }
    }

    /// The same with small frames, for tests with many streams.
    pub fn small(id: u32) -> Source {
        Source { key_bytes: 3000, bytes: 400, ..Source::new(id) }
    }

    pub fn kind(&self, number: u64) -> FrameKind {
        match self.tracks {
            Tracks::Both if number.is_multiple_of(2) => FrameKind::Video,
            Tracks::Video => FrameKind::Video,
            Tracks::Both | Tracks::Audio => FrameKind::Audio,
        }
    }

    pub fn is_key(&self, number: u64) -> bool {
        self.kind(number) == FrameKind::Video && number.is_multiple_of(self.key_every)
    }

    pub fn time_ms(&self, number: u64) -> u32 {
        self.first_ms.wrapping_add((number as u32).wrapping_mul(self.step_ms))
    }

    pub fn frame(&self, number: u64) -> Frame {
        let (kind, is_key) = (self.kind(number), self.is_key(number));
        let codec: &[u8] = match (kind, is_key) {
            (FrameKind::Video, true) => AVC_KEY_FRAME,
            (FrameKind::Video, false) => AVC_INTER_FRAME,
            _ => AAC_FRAME,
        };
        let smallest = codec.len() + TAG_LEN;
        let len =
            if is_key { self.key_bytes } else { mix(self.id, number) as usize % self.bytes }.max(smallest);
        let mut payload = Vec::with_capacity(len);
        payload.extend_from_slice(codec);
        payload.extend_from_slice(MAGIC);
        payload.extend_from_slice(&self.id.to_be_bytes());
        payload.extend_from_slice(&number.to_be_bytes());
        payload.extend_from_slice(&(len as u32).to_be_bytes());
        payload.extend_from_slice(content(self.id, number, len - smallest));
        Frame { kind, timestamp_ms: self.time_ms(number), payload: payload.into() }
    }

    /// Metadata and sequence headers, in the order in which a player must get them.
    pub fn headers(&self) -> Vec<Frame> {
        let version = f64::from(self.header_version);
        let information = Value::EcmaArray(vec![
            ("source".to_owned(), f64::from(self.id).into()),
            ("version".to_owned(), version.into()),
        ]);
        let metadata = amf0::encode_all(&["onMetaData".into(), information]);
        let frame =
            |kind, payload: Vec<u8>| Frame { kind, timestamp_ms: self.first_ms, payload: payload.into() };
        let mut headers = vec![frame(FrameKind::Data, metadata)];
        if self.tracks != Tracks::Audio {
            headers.push(frame(FrameKind::Video, vec![0x17, 0, 0, 0, 0, 1, 0x64, 0, self.header_version]));
        }
        if self.tracks != Tracks::Video {
            headers.push(frame(FrameKind::Audio, vec![0xAF, 0, 0x12, self.header_version]));
        }
        headers
    }

    /// Fails the test unless `seen` is the headers, then these frames, whole, in order, at their times.
    pub fn assert_from_the_start(&self, player: &str, seen: &[Seen], numbers: Range<u64>) {
        let rest = self.assert_headers(player, seen);
        self.assert_run(player, rest, numbers);
    }

    /// Fails the test unless `seen` begins with the headers; returns the rest.
    pub fn assert_headers<'a>(&self, player: &str, seen: &'a [Seen]) -> &'a [Seen] {
        let headers = self.headers();
        assert!(seen.len() >= headers.len(), "{player} got {} frames, not even the headers", seen.len());
        let (first, rest) = seen.split_at(headers.len());
        for (seen, header) in first.iter().zip(&headers) {
            assert!(seen.is(header), "{player} got {seen:?} instead of {header:?}");
        }
        rest
    }

    /// Fails the test unless `seen` is these frames and nothing else, whole, in order, at their times.
    pub fn assert_run(&self, player: &str, seen: &[Seen], numbers: impl IntoIterator<Item = u64>) {
        self.assert_run_moved(player, seen, numbers, 0);
    }

    /// The same with all timestamps moved by `by_ms`.
    pub fn assert_run_moved(
        &self,
        player: &str,
        seen: &[Seen],
        numbers: impl IntoIterator<Item = u64>,
        by_ms: u32,
    ) {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        for (&number, seen) in numbers.iter().zip(seen) {
            let expected = What::Numbered { source: self.id, number, is_key: self.is_key(number) };
            assert_eq!(seen.what, expected, "{player}: the wrong frame");
            assert_eq!(seen.kind, self.kind(number), "{player}: frame {number}");
            let time_ms = self.time_ms(number).wrapping_add(by_ms);
            assert_eq!(seen.timestamp_ms, time_ms, "{player}: time of frame {number}");
        }
        assert_eq!(seen.len(), numbers.len(), "{player}: frames received and expected");
    }
}

impl Seen {
    /// Records a frame; fails the test if its bytes do not match its number.
    pub fn new(frame: &Frame) -> Seen {
        let payload = frame.payload.to_bytes();
        let what =
            numbered(frame.kind, &payload).unwrap_or_else(|| What::Other(Bytes::copy_from_slice(&payload)));
        Seen { kind: frame.kind, timestamp_ms: frame.timestamp_ms, what }
    }

    /// Whether it is this header.
    pub fn is(&self, header: &Frame) -> bool {
        self.kind == header.kind && self.what == What::Other(header.payload.to_bytes())
    }

    /// Its number, if it has one.
    pub fn number(&self) -> Option<u64> {
        match self.what {
            What::Numbered { number, .. } => Some(number),
            What::Other(_) => None,
        }
    }

    /// Whether it is a key frame of a source.
    pub fn is_key(&self) -> bool {
        matches!(self.what, What::Numbered { is_key: true, .. })
    }
}

fn numbered(kind: FrameKind, payload: &[u8]) -> Option<What> {
    let codec_len = match kind {
        FrameKind::Video => AVC_KEY_FRAME.len(),
        FrameKind::Audio => AAC_FRAME.len(),
        FrameKind::Data => return None,
    };
    let (codec, rest) = payload.split_at_checked(codec_len)?;
    let (tag, rest) = rest.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
    let source = u32::from_be_bytes(tag[..4].try_into().unwrap());
    let number = u64::from_be_bytes(tag[4..12].try_into().unwrap());
    let len = u32::from_be_bytes(tag[12..].try_into().unwrap());
    assert_eq!(payload.len(), len as usize, "length of frame {number} of source {source}");
    assert!(rest == content(source, number, rest.len()), "frame {number} of source {source} has wrong bytes");
    let is_key = match kind {
        FrameKind::Video => codec == AVC_KEY_FRAME,
        _ => false,
    };
    assert!(
        is_key || codec == AVC_INTER_FRAME || codec == AAC_FRAME,
        "frame {number}: codec bytes {codec:?}"
    );
    Some(What::Numbered { source, number, is_key })
}

/// What a frame is filled with: random bytes, a different range per frame.
fn content(source: u32, number: u64, len: usize) -> &'static [u8] {
    static RANDOM: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..1 << 18).flat_map(|n| mix(7, n).to_le_bytes()).collect());
    let start = mix(source, number) as usize % (RANDOM.len() - len);
    &RANDOM[start..start + len]
}

/// A number that looks random (SplitMix64).
fn mix(source: u32, number: u64) -> u64 {
    let mut z =
        number.wrapping_add(u64::from(source) << 32).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) >> 1
}

/// With a composition time of -1 ms, so that code that takes it for unsigned fails.
const AVC_KEY_FRAME: &[u8] = &[0x17, 1, 0xFF, 0xFF, 0xFF];
const AVC_INTER_FRAME: &[u8] = &[0x27, 1, 0, 0, 40];
const AAC_FRAME: &[u8] = &[0xAF, 1];
const MAGIC: &[u8] = b"FANF";
/// Magic, source, number, length.
const TAG_LEN: usize = 20;
