//! What is true for any bytes that a player sends on a WebSocket: the body of the fuzz target.

use super::websocket::{ControlFrame, Error, Reader};

/// Reads `data` after its first bytes, once in one read and once cut as they say, and panics when the two differ or a
/// bound is broken.
pub fn read_at_any_cut(data: &[u8]) {
    let Some((&cut, wire)) = data.split_first() else { return };
    let whole = read(std::iter::once(wire));
    assert_eq!(whole, read(wire.chunks(usize::from(cut) + 1)));
    assert_eq!(whole, read(wire.chunks(1)));
}

fn read<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Vec<ControlFrame>, Option<Error>) {
    let mut reader = Reader::default();
    let mut frames = Vec::new();
    for read in reads {
        reader.feed(read);
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(reader.held() <= MAX_HELD_BYTES, "{} bytes are held", reader.held());
    }
    (frames, None)
}

/// The head of a frame, and the payload of a control frame.
const MAX_HELD_BYTES: usize = 14 + 125;
