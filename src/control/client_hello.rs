//! Tells clients apart by the first bytes of TLS: HTTP/2 is offered only to those that are known to repeat a request over
//! HTTP/1.1 where that is required.

/// More than what comes before the first cipher suite, bytes.
pub(super) const FIRST_BYTES: usize = 96;

/// Whether the first cipher suite is one that does not exist (GREASE, RFC 8701), as Chromium's and Apple's browsers send it.
/// No player does. VLC speaks HTTP/2 where it is offered, and fails at a stream.
pub(super) fn has_grease(first: &[u8]) -> bool {
    matches!(first_cipher_suite(first), Some([a, b]) if a == b && a & 0x0f == 0x0a)
}

/// Of a record with a ClientHello (RFC 8446 §4.1.2, §5.1).
fn first_cipher_suite(first: &[u8]) -> Option<[u8; 2]> {
    const HANDSHAKE: u8 = 0x16;
    const CLIENT_HELLO: u8 = 1;
    // Type, version and length of the record; type and length of the message; version and random.
    let (head, rest) = first.split_at_checked(5 + 4 + 2 + 32)?;
    if head[0] != HANDSHAKE || head[5] != CLIENT_HELLO {
        return None;
    }
    let (session_id_len, rest) = rest.split_first()?;
    let suites = rest.get(usize::from(*session_id_len) + 2..)?;
    suites.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(session_id_len: usize, suite: [u8; 2]) -> Vec<u8> {
        let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        hello.extend([7; 32]);
        hello.push(session_id_len as u8);
        hello.extend(vec![9; session_id_len]);
        hello.extend([0, 32]);
        hello.extend(suite);
        hello
    }

    #[test]
    fn a_suite_that_does_not_exist_is_recognized_wherever_it_begins() {
        for len in [0, 32] {
            for suite in [[0x0a, 0x0a], [0x3a, 0x3a], [0xfa, 0xfa]] {
                let hello = hello(len, suite);
                assert!(hello.len() <= FIRST_BYTES && has_grease(&hello));
                assert!((0..hello.len()).all(|cut| !has_grease(&hello[..cut])));
            }
            for suite in [[0x13, 0x01], [0x13, 0x13], [0x0a, 0x1a], [0xc0, 0x2b]] {
                assert!(!has_grease(&hello(len, suite)));
            }
        }
        assert!(!has_grease(b"GET / HTTP/1.1\r\n"));
        assert!(!has_grease(&hello(0xff, [0x0a, 0x0a])[..60]));
    }
}
