//! FLV as a file has it (FLV 10.1 §E): a header, then tags, each followed by its size.

use bytes::Bytes;

use super::frame::{Frame, FrameKind, Kinds, WireFormat};

/// Writes frames as the tags of an FLV file.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlvFormat;

impl WireFormat for FlvFormat {
    fn wire_len(&self, frame: &Frame) -> usize {
        TAG_HEADER_BYTES + frame.payload.len() + SIZE_BYTES
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        let (header, rest) = out.split_at_mut(TAG_HEADER_BYTES);
        let (payload, size) = rest.split_at_mut(rest.len() - SIZE_BYTES);
        let [top, high, middle, low] = frame.timestamp_ms.to_be_bytes();
        header[0] = frame.kind as u8;
        header[1..4].copy_from_slice(&be24(frame.payload.len()));
        header[4..8].copy_from_slice(&[high, middle, low, top]);
        header[8..].fill(0);
        frame.payload.copy_prefix(payload);
        size.copy_from_slice(&(TAG_HEADER_BYTES as u32 + frame.payload.len() as u32).to_be_bytes());
    }

    fn stream_header(&self, kinds: Kinds) -> Option<Bytes> {
        let flags = u8::from(kinds.audio) << 2 | u8::from(kinds.video);
        Some([b"FLV\x01".as_slice(), &[flags, 0, 0, 0, FILE_HEADER_BYTES], &[0; SIZE_BYTES]].concat().into())
    }

    fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
        let header = TagHeader::parse(wire.first_chunk()?);
        let kind = header.kind?;
        let payload = wire[TAG_HEADER_BYTES..].get(..header.payload_len)?;
        let len = header.tag_len() + SIZE_BYTES;
        let payload = Bytes::copy_from_slice(payload).into();
        (len <= wire.len()).then_some((Frame { kind, timestamp_ms: header.timestamp_ms, payload }, len))
    }
}

/// The header of a tag (FLV 10.1 §E.4.1).
pub(super) struct TagHeader {
    /// None for a kind that is not media, or for an encrypted payload.
    pub kind: Option<FrameKind>,
    pub payload_len: usize,
    pub timestamp_ms: u32,
}

impl TagHeader {
    pub(super) fn parse(header: &[u8; TAG_HEADER_BYTES]) -> Self {
        let &[kind, a, b, c, high, middle, low, top, ..] = header;
        let kinds = [FrameKind::Audio, FrameKind::Video, FrameKind::Data];
        Self {
            kind: kinds.into_iter().find(|&known| known as u8 == kind),
            payload_len: u32::from_be_bytes([0, a, b, c]) as usize,
            timestamp_ms: u32::from_be_bytes([top, high, middle, low]),
        }
    }

    /// Bytes of the header and the payload, which is what PreviousTagSize says.
    pub(super) fn tag_len(&self) -> usize {
        TAG_HEADER_BYTES + self.payload_len
    }
}

/// A payload came in an RTMP message, whose length has 24 bits as well.
fn be24(len: usize) -> [u8; 3] {
    let [top, rest @ ..] = u32::try_from(len).expect("a message has 24 bits for its length").to_be_bytes();
    debug_assert_eq!(top, 0);
    rest
}

/// Bytes of an FLV file before its first tag: the header and a size of 0.
pub const BEFORE_TAGS_BYTES: usize = FILE_HEADER_BYTES as usize + SIZE_BYTES;
pub(super) const FILE_HEADER_BYTES: u8 = 9;
pub(super) const TAG_HEADER_BYTES: usize = 11;
/// PreviousTagSize.
pub(super) const SIZE_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::Run;

    fn written(kind: FrameKind, timestamp_ms: u32, payload: &'static [u8]) -> Vec<u8> {
        let frame = Frame { kind, timestamp_ms, payload: Bytes::from_static(payload).into() };
        let mut out = vec![0xEE; FlvFormat.wire_len(&frame)];
        FlvFormat.write(&frame, &mut out);
        out
    }

    #[test]
    fn a_tag_has_its_kind_its_length_its_time_and_its_size_after_it() {
        assert_eq!(
            written(FrameKind::Video, 0x0102_0304, b"abc"),
            b"\x09\0\0\x03\x02\x03\x04\x01\0\0\0abc\0\0\0\x0E"
        );
        assert_eq!(written(FrameKind::Data, 0, b""), b"\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\x0B");
    }

    #[test]
    fn a_payload_in_pieces_is_written_in_one() {
        let mut frame = Frame { kind: FrameKind::Audio, timestamp_ms: 1, payload: Default::default() };
        frame.payload.push(Run::strided(Bytes::from_static(b"ab.cd.e"), 2, 2, 1));
        let mut out = vec![0; FlvFormat.wire_len(&frame)];
        FlvFormat.write(&frame, &mut out);
        assert_eq!(out, b"\x08\0\0\x05\0\0\x01\0\0\0\0abcde\0\0\0\x10");
    }

    #[test]
    fn a_tag_reads_as_it_was_written_and_a_part_of_one_as_none() {
        for (kind, timestamp_ms) in
            [(FrameKind::Audio, 0), (FrameKind::Video, 0x0102_0304), (FrameKind::Data, u32::MAX)]
        {
            let tag = written(kind, timestamp_ms, b"payload");
            let (frame, len) = FlvFormat.read(&[&tag[..], b"next"].concat()).expect("it is whole");
            assert_eq!((frame.kind, frame.timestamp_ms, len), (kind, timestamp_ms, tag.len()));
            assert_eq!(frame.payload.to_bytes(), "payload");
            for end in 0..tag.len() {
                assert!(FlvFormat.read(&tag[..end]).is_none(), "{end} bytes");
            }
        }
        assert!(FlvFormat.read(&[7; 100]).is_none(), "no kind of media");
    }

    #[test]
    fn the_file_header_says_what_there_is() {
        let stream_header =
            |audio, video| FlvFormat.stream_header(Kinds { audio, video }).expect("a file has one");
        assert_eq!(stream_header(true, true), &b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..]);
        assert_eq!(stream_header(false, true)[4], 1);
        assert_eq!(stream_header(true, false)[4], 4);
    }
}
