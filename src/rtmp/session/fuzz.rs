//! What holds for any bytes, for the tests and the fuzz target: they are taken without harm, and how they are cut
//! changes nothing but what is acknowledged when.

use bytes::Bytes;

use super::{Output, Session, SessionConfig};

/// The first byte says how the others, which follow a handshake, are cut.
pub fn check_any_bytes(bytes: &[u8]) {
    let Some((piece, input)) = bytes.split_first() else {
        return;
    };
    let whole = outcome(input, usize::MAX);
    let in_pieces = outcome(input, usize::from(*piece).max(1));
    assert_eq!(whole, in_pieces);
}

/// All that the session wants done but `Send`, and whether it found a violation.
fn outcome(input: &[u8], piece: usize) -> (Vec<String>, bool) {
    let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
    let mut told = Vec::new();
    let mut hello = vec![0; HANDSHAKE_BYTES];
    hello[0] = 3;
    let pieces = std::iter::once(&hello[..]).chain(input.chunks(piece));
    for piece in pieces {
        let mut result = session.receive(Bytes::copy_from_slice(piece), 0);
        while let Some(output) = session.poll() {
            match &output {
                Output::Send(_) => continue,
                Output::Frame(frame) => {
                    told.push(format!(
                        "{:?} {} {:?}",
                        frame.kind,
                        frame.timestamp_ms,
                        frame.payload.to_bytes()
                    ));
                    continue;
                }
                Output::Publish(_) => result = result.and(session.accept_publish()),
                Output::Play(_) => session.accept_play(),
                _ => {}
            }
            told.push(format!("{output:?}"));
        }
        if result.is_err() {
            return (told, true);
        }
    }
    (told, false)
}

const HANDSHAKE_BYTES: usize = 3073;
