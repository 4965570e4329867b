//! Tells clients apart by the first bytes of TLS: HTTP/2 is offered only to those that are known to repeat a request over
//! HTTP/1.1 where that is required.

/// More than what comes before the first cipher suite, bytes.
pub(super) const FIRST_BYTES: usize = 96;

/// Whether the client is one that goes on without HTTP/2 where that is required: a browser, which begins with a cipher suite
/// that does not exist (GREASE, RFC 8701), as Chromium's and Apple's do, or a program with OpenSSL, such as curl. Those with
/// GnuTLS are none of them: VLC speaks HTTP/2 where it is offered, and fails at a stream.
pub(super) fn may_take_http2(first: &[u8]) -> bool {
    match cipher_suites(first) {
        Some([a, b, ..]) if a == b && a & 0x0f == 0x0a => true,
        Some([0x13, 0x02, 0x13, 0x03, 0x13, 0x01, next @ ..]) => next.starts_with(&[0xc0]),
        _ => false,
    }
}

/// The first ones of a record with a ClientHello (RFC 8446 §4.1.2, §5.1), as far as they have come.
fn cipher_suites(first: &[u8]) -> Option<&[u8]> {
    const HANDSHAKE: u8 = 0x16;
    const CLIENT_HELLO: u8 = 1;
    // Type, version and length of the record; type and length of the message; version and random.
    let (head, rest) = first.split_at_checked(5 + 4 + 2 + 32)?;
    if head[0] != HANDSHAKE || head[5] != CLIENT_HELLO {
        return None;
    }
    let (session_id_len, rest) = rest.split_first()?;
    rest.get(usize::from(*session_id_len) + 2..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(session_id_len: usize, suites: &[u8]) -> Vec<u8> {
        let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        hello.extend([7; 32]);
        hello.push(session_id_len as u8);
        hello.extend(vec![9; session_id_len]);
        hello.extend([0, 32]);
        hello.extend(suites);
        hello
    }

    /// OpenSSL 3.
    const OPENSSL: [u8; 8] = [0x13, 0x02, 0x13, 0x03, 0x13, 0x01, 0xc0, 0x2c];

    #[test]
    fn clients_are_recognized_wherever_their_first_cipher_suites_begin() {
        for len in [0, 32] {
            for suites in [&[0x0a, 0x0a][..], &[0x3a, 0x3a], &[0xfa, 0xfa], &OPENSSL] {
                let hello = hello(len, suites);
                assert!(hello.len() <= FIRST_BYTES && may_take_http2(&hello));
                assert!((0..hello.len() - 1).all(|cut| !may_take_http2(&hello[..cut])));
            }
            let gnutls = [0x13, 0x02, 0x13, 0x03, 0x13, 0x01, 0x13, 0x04];
            for suites in
                [&[0x13, 0x01][..], &[0x13, 0x13], &[0x0a, 0x1a], &[0xc0, 0x2b], &gnutls, &OPENSSL[..6]]
            {
                assert!(!may_take_http2(&hello(len, suites)));
            }
        }
        assert!(!may_take_http2(b"GET / HTTP/1.1\r\n"));
        assert!(!may_take_http2(&hello(0xff, &[0x0a, 0x0a])[..60]));
    }
}
