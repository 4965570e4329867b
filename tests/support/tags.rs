//! The tags of an FLV file (FLV 10.1 §E.4.1), not parsed further: what a player received, byte for byte.

use std::fmt;
use std::path::Path;

use super::packets::Kind;

/// An audio or video tag, headers included.
#[derive(PartialEq, Eq)]
pub struct Tag {
    /// Audio or video.
    pub kind: Kind,
    /// Everything after the tag header.
    pub payload: Vec<u8>,
}

/// The audio and video tags of an FLV file, in file order. A file that ends within a tag fails the test.
pub fn tags(file: &Path) -> Vec<Tag> {
    let bytes = std::fs::read(file).unwrap();
    assert!(bytes.starts_with(b"FLV"), "{} is not FLV", file.display());
    let mut rest = &bytes[FILE_HEADER..];
    let mut tags = Vec::new();
    while let Some((&[tag_type, a, b, c, ..], body)) = rest.split_first_chunk::<TAG_HEADER>() {
        let (payload, next) = body.split_at(u32::from_be_bytes([0, a, b, c]) as usize);
        let kind = match tag_type {
            8 => Some(Kind::Audio),
            9 => Some(Kind::Video),
            _ => None,
        };
        tags.extend(kind.map(|kind| Tag { kind, payload: payload.to_vec() }));
        rest = &next[PREVIOUS_TAG_SIZE..];
    }
    assert!(rest.is_empty(), "{} ends within a tag", file.display());
    tags
}

/// The first bytes identify the tag; all of them would fill the screen when a test fails.
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.payload[..self.payload.len().min(16)];
        write!(f, "{:?} of {} bytes, {first:02x?}", self.kind, self.payload.len())
    }
}

/// Bytes before the first tag: the file's header, and PreviousTagSize0.
const FILE_HEADER: usize = 9 + PREVIOUS_TAG_SIZE;
const TAG_HEADER: usize = 11;
const PREVIOUS_TAG_SIZE: usize = 4;
