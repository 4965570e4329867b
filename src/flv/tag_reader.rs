//! Reads the frames of an FLV file, or of a body that does not end, from whatever pieces it comes in.

#![forbid(unsafe_code)]

use bytes::{Buf, Bytes, BytesMut};

use super::{
    frame::{Frame, Kinds},
    tag::{BEFORE_TAGS_BYTES, FILE_HEADER_BYTES, SIZE_BYTES, TAG_HEADER_BYTES, TagHeader},
};

/// A file that is being read. It holds what it was fed of an unfinished tag: 16 MiB at most.
#[derive(Debug, Default)]
pub struct TagReader {
    input: BytesMut,
    /// Bytes before `input`.
    position: u64,
    /// What the file's header announces, once it has come.
    announced: Option<Kinds>,
    error: Option<TagError>,
}

/// What is wrong with a file, and the position of the header or tag in which it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// It does not begin with the header of FLV version 1.
    #[error("byte 0: no FLV file")]
    Header,
    /// A tag that holds no media, or an encrypted one.
    #[error("byte {0}: an FLV tag of type {1}")]
    Kind(u64, u8),
    /// A PreviousTagSize that is not the size of the tag before it.
    #[error("byte {0}: PreviousTagSize is {1} after a tag of {2} bytes")]
    Size(u64, u32, u32),
}

impl TagReader {
    /// Takes the next bytes of the file; then [`TagReader::next`] until there is nothing.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next frame; none where its tag has not come whole. Its payload is a view of what was fed.
    ///
    /// # Errors
    /// The file is wrong. The error stays.
    #[allow(clippy::should_implement_trait)] // An iterator that gives none is over.
    pub fn next(&mut self) -> Result<Option<Frame>, TagError> {
        let next = self.error.map_or_else(|| self.read(), Err);
        if let Err(error) = next {
            self.error = Some(error);
            self.input = BytesMut::new();
        }
        next
    }

    /// The kinds of media that the file's header announces, once it has come.
    pub fn announced(&self) -> Option<Kinds> {
        self.announced
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.input.len()
    }

    fn read(&mut self) -> Result<Option<Frame>, TagError> {
        if self.announced.is_none() {
            self.announced = read_file_header(&self.input)?;
            if self.announced.is_none() {
                return Ok(None);
            }
            self.advance(BEFORE_TAGS_BYTES);
        }
        let Some(header) = self.input.first_chunk::<TAG_HEADER_BYTES>() else { return Ok(None) };
        let parsed = TagHeader::parse(header);
        let kind = parsed.kind.ok_or(TagError::Kind(self.position, header[0]))?;
        let tag_len = parsed.tag_len();
        let Some(size) = self.input.get(tag_len..).and_then(|rest| rest.first_chunk::<SIZE_BYTES>()) else {
            return Ok(None);
        };
        let size = u32::from_be_bytes(*size);
        if size as usize != tag_len {
            return Err(TagError::Size(self.position, size, tag_len as u32));
        }
        let payload: Bytes = self.input.split_to(tag_len).freeze().split_off(TAG_HEADER_BYTES);
        self.position += tag_len as u64;
        self.advance(SIZE_BYTES);
        Ok(Some(Frame { kind, timestamp_ms: parsed.timestamp_ms, payload: payload.into() }))
    }

    fn advance(&mut self, n: usize) {
        self.input.advance(n);
        self.position += n as u64;
    }
}

/// What the header announces (FLV 10.1 §E.2); none where it has not come whole.
fn read_file_header(bytes: &[u8]) -> Result<Option<Kinds>, TagError> {
    let signature = b"FLV\x01";
    let len = bytes.len().min(signature.len());
    if bytes[..len] != signature[..len] {
        return Err(TagError::Header);
    }
    let Some(&[.., flags, a, b, c, d]) = bytes.first_chunk::<{ FILE_HEADER_BYTES as usize }>() else {
        return Ok(None);
    };
    if u32::from_be_bytes([a, b, c, d]) != u32::from(FILE_HEADER_BYTES) {
        return Err(TagError::Header);
    }
    let Some(size) = bytes[FILE_HEADER_BYTES.into()..].first_chunk::<SIZE_BYTES>() else { return Ok(None) };
    match u32::from_be_bytes(*size) {
        0 => Ok(Some(Kinds { audio: flags & 4 != 0, video: flags & 1 != 0 })),
        _ => Err(TagError::Header),
    }
}

/// What holds for any bytes, for the tests and the fuzz target: `data` after its first byte reads the same in one piece
/// and in pieces of that size, no more is held than an unfinished tag, and the frames read back as they are written.
#[cfg(any(test, fuzzing))]
pub fn read_at_any_cut(data: &[u8]) {
    use super::{FlvFormat, WireFormat};

    let Some((&cut, file)) = data.split_first() else { return };
    let whole = read_all(std::iter::once(file));
    assert_eq!(whole, read_all(file.chunks(usize::from(cut) + 1)));
    assert_eq!(whole, read_all(file.chunks(1)));
    let mut written =
        FlvFormat.stream_header(Kinds { audio: true, video: true }).expect("a file has one").to_vec();
    for (kind, timestamp_ms, payload) in &whole.0 {
        let frame = Frame { kind: *kind, timestamp_ms: *timestamp_ms, payload: payload.clone().into() };
        let begin = written.len();
        written.resize(begin + FlvFormat.wire_len(&frame), 0xEE);
        FlvFormat.write(&frame, &mut written[begin..]);
    }
    assert_eq!(read_all(std::iter::once(&written[..])), (whole.0, None));
}

/// The frames, by kind, time and payload, and the error at their end.
#[cfg(any(test, fuzzing))]
type Read = (Vec<(super::FrameKind, u32, Bytes)>, Option<TagError>);

#[cfg(any(test, fuzzing))]
fn read_all<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut reader = TagReader::default();
    let mut frames = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push((frame.kind, frame.timestamp_ms, frame.payload.to_bytes())),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!((reader.next().err(), reader.held()), (Some(error), 0), "it stays");
                    return (frames, Some(error));
                }
            }
        }
        let unfinished = reader
            .input
            .first_chunk()
            .map_or(TAG_HEADER_BYTES, |header| TagHeader::parse(header).tag_len() + SIZE_BYTES);
        assert!(reader.announced().is_none() || reader.held() < unfinished, "a tag that is whole is read");
    }
    (frames, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flv::{FlvFormat, FrameKind, WireFormat};

    fn file(frames: &[Frame]) -> Vec<u8> {
        let mut file =
            FlvFormat.stream_header(Kinds { audio: false, video: true }).expect("a file has one").to_vec();
        for frame in frames {
            let begin = file.len();
            file.resize(begin + FlvFormat.wire_len(frame), 0xEE);
            FlvFormat.write(frame, &mut file[begin..]);
        }
        file
    }

    fn frame(kind: FrameKind, timestamp_ms: u32, payload: &'static [u8]) -> Frame {
        Frame { kind, timestamp_ms, payload: Bytes::from_static(payload).into() }
    }

    fn read(file: &[u8]) -> Read {
        read_all(std::iter::once(file))
    }

    #[test]
    fn a_file_reads_the_same_wherever_it_is_cut() {
        let frames = [
            frame(FrameKind::Data, 0, b"metadata"),
            frame(FrameKind::Video, u32::MAX, b""),
            frame(FrameKind::Audio, 0x0102_0304, b"audio"),
        ];
        let file = file(&frames);
        let expected = frames.map(|frame| (frame.kind, frame.timestamp_ms, frame.payload.to_bytes()));
        for at in 0..=file.len() {
            let pieces = [&file[..at], &file[at..]];
            assert_eq!(read_all(pieces.into_iter()), (expected.to_vec(), None), "cut at {at}");
        }
        let mut reader = TagReader::default();
        reader.feed(&file[..BEFORE_TAGS_BYTES]);
        assert!(matches!(reader.next(), Ok(None)));
        assert_eq!((reader.announced(), reader.held()), (Some(Kinds { audio: false, video: true }), 0));
    }

    #[test]
    fn what_is_wrong_is_an_error_that_names_the_position() {
        let good = file(&[frame(FrameKind::Video, 0, b"1234")]);
        let error = |bytes: &[u8]| read(bytes).1;
        assert_eq!(error(&good), None);
        for wrong in
            [&b"FLW"[..], b"FLV\x02", b"FLV\x01\x05\0\0\0\x0A", b"FLV\x01\x05\0\0\0\x09\0\0\0\x01", b"<html>"]
        {
            assert_eq!(error(wrong), Some(TagError::Header), "{wrong:02x?}");
        }
        let at = BEFORE_TAGS_BYTES as u64;
        // Encrypted, and a kind that there is not.
        for kind in [0x29, 10] {
            let mut wrong = good.clone();
            wrong[BEFORE_TAGS_BYTES] = kind;
            assert_eq!(error(&wrong), Some(TagError::Kind(at, kind)));
            assert_eq!(
                error(&[&good, &wrong[BEFORE_TAGS_BYTES..]].concat()),
                Some(TagError::Kind(at + 19, kind))
            );
        }
        let mut wrong = good.clone();
        *wrong.last_mut().expect("a size") = 14;
        assert_eq!(error(&wrong), Some(TagError::Size(at, 14, 15)));
    }

    #[test]
    fn a_length_costs_nothing_before_its_bytes_come() {
        let mut reader = TagReader::default();
        reader.feed(&file(&[]));
        reader.feed(b"\x09\xFF\xFF\xFF\0\0\0\0\0\0\0");
        assert!(matches!(reader.next(), Ok(None)));
        assert!(reader.input.capacity() < 4096);
    }

    proptest! {
        #[test]
        fn any_bytes_read_the_same_however_they_are_cut(
            cut in any::<u8>(),
            payloads in prop::collection::vec((0..3usize, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
            rest in prop::collection::vec(any::<u8>(), 0..40),
            flip in prop::option::of((any::<prop::sample::Index>(), 1..=255u8)),
        ) {
            let frames: Vec<_> = payloads.into_iter().map(|(kind, timestamp_ms, payload)| {
                let kind = [FrameKind::Audio, FrameKind::Video, FrameKind::Data][kind];
                Frame { kind, timestamp_ms, payload: payload.into() }
            }).collect();
            let whole = file(&frames);
            prop_assert_eq!(read(&whole).0.len(), frames.len());
            let mut input = [&[cut], &whole[..], &rest].concat();
            if let Some((at, bits)) = flip {
                let at = at.index(input.len());
                input[at] ^= bits;
            }
            read_at_any_cut(&input);
        }
    }
}
