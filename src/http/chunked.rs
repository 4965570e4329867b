//! Chunked transfer coding (RFC 9112 §7.1): it marks the end of the body of an HTTP/1.1 response that has no length. A
//! client cannot distinguish a mere close from a broken connection.

use std::io::Write;

use bytes::Bytes;

use crate::flv::{FlvFormat, Frame, Kinds, WireFormat};

/// Writes frames as FLV tags, each in a chunk of its own, so that every message boundary is a chunk boundary.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkedFormat;

/// The last chunk, without trailers: the body is whole.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl WireFormat for ChunkedFormat {
    fn wire_len(&self, frame: &Frame) -> usize {
        let len = FlvFormat.wire_len(frame);
        digits(len) + CRLF.len() + len + CRLF.len()
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        let len = FlvFormat.wire_len(frame);
        let (mut size, rest) = out.split_at_mut(digits(len) + CRLF.len());
        let written = write!(size, "{len:X}\r\n");
        written.expect("there is room for what its length was asked for");
        let (tag, end) = rest.split_at_mut(len);
        FlvFormat.write(frame, tag);
        end.copy_from_slice(CRLF);
    }

    fn stream_header(&self, kinds: Kinds) -> Option<Bytes> {
        let header = FlvFormat.stream_header(kinds)?;
        Some([format!("{:X}\r\n", header.len()).as_bytes(), &header, CRLF].concat().into())
    }

    fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
        let line = wire.windows(CRLF.len()).position(|two| two == CRLF)?;
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..line]).ok()?, 16).ok()?;
        let rest = &wire[line + CRLF.len()..];
        let (frame, _) = FlvFormat.read(rest.get(..size)?)?;
        let is_whole = rest[size..].starts_with(CRLF);
        is_whole.then_some((frame, line + CRLF.len() + size + CRLF.len()))
    }
}

const CRLF: &[u8] = b"\r\n";

/// Hexadecimal digits of a chunk's size, which is never 0: that would be the last chunk.
fn digits(size: usize) -> usize {
    size.checked_ilog2().unwrap_or(0) as usize / 4 + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flv::FrameKind;

    fn written(format: &dyn WireFormat, payload_len: usize) -> Vec<u8> {
        let frame = Frame { kind: FrameKind::Video, timestamp_ms: 9, payload: vec![7; payload_len].into() };
        let mut out = vec![0xEE; format.wire_len(&frame)];
        format.write(&frame, &mut out);
        out
    }

    /// The data of one chunk that is all of `wire`.
    fn unwrapped(wire: &[u8]) -> &[u8] {
        let at = wire.windows(2).position(|two| two == CRLF).expect("a size");
        let size =
            usize::from_str_radix(std::str::from_utf8(&wire[..at]).unwrap(), 16).expect("in hexadecimal");
        let (data, end) = wire[at + 2..].split_at(size);
        assert_eq!(end, CRLF);
        data
    }

    #[test]
    fn a_tag_is_one_chunk_at_each_length_of_its_size() {
        // With its header and its size a tag has 15 bytes more.
        for (payload_len, size) in [
            (0, "F"),
            (1, "10"),
            (0xFF - 15, "FF"),
            (0x100 - 15, "100"),
            (0xFFF - 15, "FFF"),
            (0x1000 - 15, "1000"),
            (0xF_FFFF - 15, "FFFFF"),
            (0x10_0000 - 15, "100000"),
        ] {
            let wire = written(&ChunkedFormat, payload_len);
            assert!(wire.starts_with(format!("{size}\r\n").as_bytes()), "{payload_len}");
            assert_eq!(unwrapped(&wire), written(&FlvFormat, payload_len));
            let (frame, len) = ChunkedFormat.read(&[&wire[..], b"F\r\nnext"].concat()).expect("it is whole");
            assert_eq!((frame.timestamp_ms, frame.payload.len(), len), (9, payload_len, wire.len()));
            for end in (0..wire.len().min(30)).chain(wire.len().saturating_sub(30)..wire.len()) {
                assert!(ChunkedFormat.read(&wire[..end]).is_none(), "{end} of {} bytes", wire.len());
            }
        }
    }

    #[test]
    fn the_file_header_is_a_chunk_as_well() {
        let kinds = Kinds { audio: true, video: true };
        assert_eq!(ChunkedFormat.stream_header(kinds).unwrap(), "D\r\nFLV\x01\x05\0\0\0\x09\0\0\0\0\r\n");
    }

    proptest! {
        #[test]
        fn any_tag_comes_out_of_its_chunk_as_it_was(payload_len in 0usize..70_000) {
            let wire = written(&ChunkedFormat, payload_len);
            prop_assert_eq!(unwrapped(&wire), written(&FlvFormat, payload_len));
        }
    }
}
