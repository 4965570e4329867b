//! The check of the fuzz target, which the property tests use as well.

use super::{ChunkLimits, Decoder, Error};
use bytes::Bytes;

/// Decodes `data` in one read, in pieces and byte by byte, and panics if the results differ or a limit is exceeded; for a
/// publisher and for a connection that publishes nothing. The first four bytes are the lengths of the pieces.
pub fn decode_at_any_cut(data: &[u8]) {
    let Some((cuts, wire)) = data.split_first_chunk::<4>() else {
        return;
    };
    for wants_media in [true, false] {
        let whole = decode(std::iter::once(wire), wants_media);
        assert_eq!(whole, decode(pieces(wire, *cuts), wants_media));
        assert_eq!(whole, decode(wire.chunks(1), wants_media));
    }
}

/// Splits the bytes into pieces of these lengths plus one, repeatedly.
pub(in crate::rtmp) fn pieces(mut wire: &[u8], cuts: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let mut lengths = cuts.into_iter().map(|cut| usize::from(cut) + 1).cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = wire.split_at(lengths.next()?.min(wire.len()));
        wire = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Twice the limit of unfinished bytes, since a buffer grows by doubling, and the state of chunk streams.
const MAX_MEMORY_WITHOUT_MEDIA: usize = 40 << 10;

type Decoded = (Vec<(u32, u32, u8, u32, Bytes)>, Option<Error>);

fn decode<'a>(reads: impl Iterator<Item = &'a [u8]>, wants_media: bool) -> Decoded {
    let mut decoder = Decoder::new(ChunkLimits::default());
    decoder.set_wants_media(wants_media);
    let mut messages = Vec::new();
    for read in reads {
        decoder.feed(Bytes::copy_from_slice(read));
        loop {
            match decoder.next() {
                Ok(Some(m)) => {
                    let payload = m.payload.to_bytes();
                    assert_eq!(payload.len(), m.payload.len());
                    messages.push((
                        m.chunk_stream_id,
                        m.timestamp_ms,
                        m.message_type_id,
                        m.message_stream_id,
                        payload,
                    ));
                }
                Ok(None) => {
                    assert!(wants_media || decoder.memory_bytes() < MAX_MEMORY_WITHOUT_MEDIA);
                    break;
                }
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}
