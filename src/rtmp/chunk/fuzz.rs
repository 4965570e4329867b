//! What has to hold for any bytes: the body of the fuzz target, driven by proptest here.

use super::{Decoder, Error, Limits};
use bytes::Bytes;

/// Decodes `data` after its first bytes, once in one read and once cut as they say, and panics when the two differ
/// or a bound is broken; as a publisher's and as those of a connection that publishes nothing.
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

/// The bytes in pieces of one more than these lengths, in turn, again and again.
pub(in crate::rtmp) fn pieces(mut wire: &[u8], cuts: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let mut lengths = cuts.into_iter().map(|cut| usize::from(cut) + 1).cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = wire.split_at(lengths.next()?.min(wire.len()));
        wire = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Twice what may be unfinished, for a buffer grows by doubling, and what is kept of chunk streams.
const MAX_HELD_WITHOUT_MEDIA: usize = 40 << 10;

type Decoded = (Vec<(u32, u32, u8, u32, Bytes)>, Option<Error>);

fn decode<'a>(reads: impl Iterator<Item = &'a [u8]>, wants_media: bool) -> Decoded {
    let mut decoder = Decoder::new(Limits::default());
    decoder.want_media(wants_media);
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
                    assert!(wants_media || decoder.held_bytes() < MAX_HELD_WITHOUT_MEDIA);
                    break;
                }
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}
