//! Chunk headers in wire format (§5.3.1), without the fields that they inherit from the chunk before.

use super::ChunkStreamId;
use smallvec::SmallVec;

/// Basic header 3, message header 11, extended timestamp 4.
pub(super) const MAX_HEADER_BYTES: usize = 18;

/// The value of the 24-bit time field if the time is in the four bytes after the header.
pub(super) const EXTENDED: u32 = 0xFF_FFFF;

/// The bytes of a header that has been read.
pub(super) type HeaderBytes = SmallVec<[u8; MAX_HEADER_BYTES]>;

/// A header that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub chunk_stream_id: u32,
    pub fields: Fields,
    /// Bytes on the wire, without the extended timestamp of a type 3: whether there is one depends on the headers before.
    pub wire_len: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fields {
    /// Has all fields; the time is absolute.
    Type0 { time: Time, length: u32, message_type_id: u8, message_stream_id: u32 },
    /// Inherits the message stream; the time is a delta, as in type 2.
    Type1 { delta: Time, length: u32, message_type_id: u8 },
    /// Inherits the length and type of the message as well.
    Type2 { delta: Time },
    /// Inherits everything.
    Type3,
}

/// A time in milliseconds, and whether it was in the extended timestamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub ms: u32,
    pub extended: bool,
}

impl Header {
    /// The header at the start of `bytes`, or `None` if it is incomplete.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &first = bytes.first()?;
        let (chunk_stream_id, basic_len) = match first & 0x3F {
            0 => (64 + u32::from(*bytes.get(1)?), 2),
            1 => (64 + u32::from(u16::from_le_bytes([*bytes.get(1)?, *bytes.get(2)?])), 3),
            id => (u32::from(id), 1),
        };
        let rest = &bytes[basic_len..];
        let (fields, fields_len) = match first >> 6 {
            0 => {
                let h = rest.first_chunk::<11>()?;
                let (time, time_len) = Time::parse(h, &rest[11..])?;
                let message_stream_id = u32::from_le_bytes([h[7], h[8], h[9], h[10]]);
                (
                    Fields::Type0 { time, length: be24(h, 3), message_type_id: h[6], message_stream_id },
                    11 + time_len,
                )
            }
            1 => {
                let h = rest.first_chunk::<7>()?;
                let (delta, time_len) = Time::parse(h, &rest[7..])?;
                (Fields::Type1 { delta, length: be24(h, 3), message_type_id: h[6] }, 7 + time_len)
            }
            2 => {
                let h = rest.first_chunk::<3>()?;
                let (delta, time_len) = Time::parse(h, &rest[3..])?;
                (Fields::Type2 { delta }, 3 + time_len)
            }
            _ => (Fields::Type3, 0),
        };
        Some(Self { chunk_stream_id, fields, wire_len: basic_len + fields_len })
    }
}

impl Time {
    /// The time in the first three bytes of `header` or the first four of `after`, and how many bytes of `after` it takes.
    fn parse(header: &[u8], after: &[u8]) -> Option<(Self, usize)> {
        match be24(header, 0) {
            EXTENDED => {
                let ms = u32::from_be_bytes(*after.first_chunk()?);
                Some((Self { ms, extended: true }, 4))
            }
            ms => Some((Self { ms, extended: false }, 0)),
        }
    }
}

impl Fields {
    /// The type on the wire, 0..=3.
    pub fn header_type(&self) -> u8 {
        match self {
            Self::Type0 { .. } => 0,
            Self::Type1 { .. } => 1,
            Self::Type2 { .. } => 2,
            Self::Type3 => 3,
        }
    }
}

/// The type 3 header that continues a message, for a comparison with eight bytes at once. All its forms fit.
#[derive(Clone, Copy)]
pub(super) struct Continuation {
    basic: u64,
    mask: u64,
    basic_len: usize,
    extended: Option<u32>,
}

impl Continuation {
    /// For a chunk stream whose last time field was this extended timestamp, or not extended.
    pub fn new(chunk_stream_id: u32, extended: Option<u32>) -> Self {
        let (basic, basic_len) = basic_header(3, chunk_stream_id);
        Self {
            basic: u64::from(basic),
            mask: (1 << (8 * basic_len)) - 1,
            basic_len,
            extended: extended.map(u32::swap_bytes),
        }
    }

    /// The length of this header at the start of `word`, which is read little-endian; 0 if another header is there. Some
    /// peers repeat the extended timestamp in it: it is repeated if its value is there.
    #[inline]
    pub fn len_in(&self, word: u64) -> usize {
        if word & self.mask != self.basic {
            return 0;
        }
        match self.extended {
            Some(value) if (word >> (8 * self.basic_len)) as u32 == value => self.basic_len + 4,
            _ => self.basic_len,
        }
    }
}

/// A header to be written.
#[derive(Clone, Copy)]
pub(super) struct Written {
    bytes: [u8; MAX_HEADER_BYTES],
    len: usize,
}

impl Written {
    /// The type 0 header of a message.
    pub fn type0(
        id: ChunkStreamId,
        timestamp_ms: u32,
        length: u32,
        message_type_id: u8,
        message_stream_id: u32,
    ) -> Self {
        let mut header = Self::basic(0, id);
        let [_, time @ ..] = timestamp_ms.min(EXTENDED).to_be_bytes();
        let [_, length @ ..] = length.to_be_bytes();
        header.put(time);
        header.put(length);
        header.put([message_type_id]);
        header.put(message_stream_id.to_le_bytes());
        header.put_extended(timestamp_ms);
        header
    }

    /// The type 3 header of the further chunks of a message that began with [`Written::type0`].
    pub fn type3(id: ChunkStreamId, timestamp_ms: u32) -> Self {
        let mut header = Self::basic(3, id);
        header.put_extended(timestamp_ms);
        header
    }

    /// The header.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn basic(header_type: u8, id: ChunkStreamId) -> Self {
        let (basic, len) = basic_header(header_type, id.get());
        let mut bytes = [0; MAX_HEADER_BYTES];
        bytes[..4].copy_from_slice(&basic.to_le_bytes());
        Self { bytes, len }
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }

    fn put_extended(&mut self, timestamp_ms: u32) {
        if timestamp_ms >= EXTENDED {
            self.put(timestamp_ms.to_be_bytes());
        }
    }
}

/// Bytes of the headers of type 0 and of type 3.
pub(super) fn lens(id: ChunkStreamId, timestamp_ms: u32) -> (usize, usize) {
    let extended_len = if timestamp_ms >= EXTENDED { 4 } else { 0 };
    let type3_len = basic_header(3, id.get()).1 + extended_len;
    (type3_len + TYPE0_BYTES, type3_len)
}

/// The message header of type 0: time, length, type, message stream.
const TYPE0_BYTES: usize = 11;

/// The shortest basic header, as a little-endian number, and its length.
fn basic_header(header_type: u8, chunk_stream_id: u32) -> (u32, usize) {
    let format = u32::from(header_type) << 6;
    match chunk_stream_id {
        ..64 => (format | chunk_stream_id, 1),
        64..320 => (format | (chunk_stream_id - 64) << 8, 2),
        _ => (format | 1 | (chunk_stream_id - 64) << 8, 3),
    }
}

/// Three bytes from `at` on, as a number.
pub(super) fn be24(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]])
}
