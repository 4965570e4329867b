//! What a proxy says first on a connection: whose it is (PROXY protocol, versions 1 and 2). Bytes come in pieces of any
//! size. Whose word is taken is decided elsewhere.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

/// A header that is longer is refused. HAProxy's document demands that 536 bytes are accepted, which is what TCP carries
/// in one piece on any path.
pub const MAX_HEADER_BYTES: usize = 536;
/// Version 1 ends within so many bytes, its line ending included.
const MAX_V1_BYTES: usize = 107;
/// Version 2 begins with these.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2's fixed part: signature, version and command, family and protocol, length of the rest.
const V2_FIXED_BYTES: usize = 16;
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// Collects a header.
#[derive(Debug, Default)]
pub struct HeaderReader {
    /// Never more than [`MAX_HEADER_BYTES`].
    bytes: Vec<u8>,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Where the client comes from; none where the proxy speaks for itself (a health check), or does not know.
    pub client: Option<SocketAddr>,
    /// How many of the bytes that completed it are its own; what follows is the client's.
    pub used: usize,
}

/// Why what came is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Something else came.
    #[error("no PROXY header, which this address expects (proxy.listeners)")]
    Missing,
    /// It does not end.
    #[error("PROXY header longer than {MAX_HEADER_BYTES} bytes, or {MAX_V1_BYTES} in version 1")]
    TooLong,
    /// It begins like one.
    #[error("invalid PROXY header")]
    Invalid,
}

impl HeaderReader {
    /// Takes the next bytes. None while more are needed.
    ///
    /// # Errors
    /// What came is no header, whatever else follows.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderFault> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(MAX_HEADER_BYTES - before)]);
        let Some(len) = header_len(&self.bytes)? else {
            return Ok(None);
        };
        let Some(header) = self.bytes.get(..len) else {
            return Ok(None);
        };
        // It was not complete before these bytes.
        Ok(Some(ProxyHeader { client: client(header)?, used: len - before }))
    }
}

/// How long the header is that begins like this; none as long as that is not known.
fn header_len(bytes: &[u8]) -> Result<Option<usize>, HeaderFault> {
    let begins_with = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, wanted)| byte == wanted);
    if begins_with(V2_SIGNATURE) {
        let Some(fixed) = bytes.first_chunk::<V2_FIXED_BYTES>() else {
            return Ok(None);
        };
        let len = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        return if len <= MAX_HEADER_BYTES { Ok(Some(len)) } else { Err(HeaderFault::TooLong) };
    }
    if !begins_with(V1_SIGNATURE) {
        return Err(HeaderFault::Missing);
    }
    match bytes.iter().take(MAX_V1_BYTES).position(|&byte| byte == b'\n') {
        Some(end) => Ok(Some(end + 1)),
        None if bytes.len() >= MAX_V1_BYTES => Err(HeaderFault::TooLong),
        None => Ok(None),
    }
}

/// The client in a header that is complete.
fn client(header: &[u8]) -> Result<Option<SocketAddr>, HeaderFault> {
    let client: Option<SocketAddr> = if header.starts_with(V2_SIGNATURE) {
        let header = ppp::v2::Header::try_from(header).map_err(|_| HeaderFault::Invalid)?;
        match (header.command, header.protocol, header.addresses) {
            (ppp::v2::Command::Proxy, ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv4(it)) => {
                Some((it.source_address, it.source_port).into())
            }
            (ppp::v2::Command::Proxy, ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv6(it)) => {
                Some((it.source_address, it.source_port).into())
            }
            _ => None,
        }
    } else {
        if !header.ends_with(b"\r\n") {
            return Err(HeaderFault::Invalid);
        }
        let header = ppp::v1::Header::try_from(header).map_err(|_| HeaderFault::Invalid)?;
        match header.addresses {
            ppp::v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
            ppp::v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
            ppp::v1::Addresses::Unknown => None,
        }
    };
    Ok(client.map(|client| SocketAddr::new(client.ip().to_canonical(), client.port())))
}

/// For any bytes: the outcome does not depend on how they are cut, no more is kept than the longest header, and a header
/// claims no byte that did not come.
///
/// # Panics
/// If a rule is broken.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let whole = HeaderReader::default().receive(bytes);
    if let Ok(Some(header)) = whole {
        assert!((1..=bytes.len().min(MAX_HEADER_BYTES)).contains(&header.used));
    }
    for size in [1, 2, 7, 100] {
        let mut reader = HeaderReader::default();
        let mut taken = 0;
        let mut outcome = Ok(None);
        for piece in bytes.chunks(size) {
            outcome = reader.receive(piece);
            assert!(reader.bytes.len() <= MAX_HEADER_BYTES);
            match outcome {
                Ok(Some(header)) => {
                    assert!((1..=piece.len()).contains(&header.used));
                    outcome = Ok(Some(ProxyHeader { used: taken + header.used, ..header }));
                    break;
                }
                Ok(None) => taken += piece.len(),
                Err(_) => break,
            }
        }
        assert_eq!(outcome, whole, "in pieces of {size}");
    }
}

/// Inputs to begin with: a client's first bytes after each kind of header.
#[cfg(any(test, fuzzing))]
pub fn seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let first = &capture[..capture.len().min(16)];
    let headers: [&[u8]; 6] = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935\r\n",
        b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1935\r\n",
        b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x07\xC6\x33\x64\x01\xC3\x50\x07\x8F",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    headers.map(|header| [header, first].concat()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Version 2 with this command, family and protocol, and these addresses and extensions.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[0x20 | command, family], &len, rest].concat()
    }

    fn v4() -> Vec<u8> {
        [&[192, 0, 2, 7, 198, 51, 100, 1][..], &[0xC3, 0x50, 0x07, 0x8F]].concat()
    }

    /// The outcome, with a client's bytes after the header.
    fn read(header: &[u8]) -> Result<Option<SocketAddr>, HeaderFault> {
        let with_more = [header, b"\x03the client's"].concat();
        let outcome = HeaderReader::default().receive(&with_more)?.expect("it is complete");
        assert_eq!(outcome.used, header.len());
        check_any_bytes(&with_more);
        Ok(outcome.client)
    }

    #[test]
    fn the_client_s_address_comes_from_either_version() {
        let at = |text: &str| Ok(Some(text.parse().unwrap()));
        assert_eq!(read(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935\r\n"), at("192.0.2.7:50000"));
        assert_eq!(read(b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1935\r\n"), at("[2001:db8::7]:50000"));
        assert_eq!(read(&v2(1, 0x11, &v4())), at("192.0.2.7:50000"));
        let extension = [4, 0, 3, 0, 0, 0];
        assert_eq!(read(&v2(1, 0x11, &[&v4()[..], &extension].concat())), at("192.0.2.7:50000"));
        let mut v6 = vec![0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&50_000_u16.to_be_bytes());
        assert_eq!(read(&v2(1, 0x21, &v6)), at("[2001:db8::7]:50000"));
        v6[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert_eq!(read(&v2(1, 0x21, &v6)), at("192.0.2.7:50000"), "IPv4 in IPv6's clothes");
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_or_does_not_know_names_no_client() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(read(b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n"), Ok(None));
        assert_eq!(read(&v2(0, 0, &[])), Ok(None), "LOCAL, as HAProxy checks a server's health");
        assert_eq!(read(&v2(0, 0x11, &v4())), Ok(None));
        assert_eq!(read(&v2(1, 0, &[])), Ok(None));
        assert_eq!(read(&v2(1, 0x31, &[b'/'; 216])), Ok(None), "a UNIX socket");
        assert_eq!(read(&v2(1, 0x12, &v4())), Ok(None), "a datagram");
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        let refused = |bytes: &[u8]| {
            check_any_bytes(bytes);
            HeaderReader::default().receive(bytes).unwrap_err()
        };
        for other in [&b"\x03"[..], b"GET / HTTP/1.1\r\n", b"PROXy ", b"\r\n\r\n\0\r\nQUIX", b"\0", b"P\r\n"]
        {
            assert_eq!(refused(other), HeaderFault::Missing, "{other:?}");
        }
        for invalid in [
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935 7\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 50000 1935\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 1935\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 050000 1935\r\n",
            b"PROXY TCP4 192.0.2.07 198.51.100.1 50000 1935\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 50000 1935\r\n",
            b"PROXY \xff\r\n",
            b"PROXY UNKNOWN\n",
            b"PROXY  \r\n",
            &v2(2, 0x11, &v4()),
            &v2(1, 0x41, &v4()),
            &v2(1, 0x13, &v4()),
            &v2(1, 0x11, &v4()[1..]),
            &v2(1, 0x21, &v4()),
        ] {
            assert_eq!(refused(invalid), HeaderFault::Invalid, "{invalid:?}");
        }
        let mut version_3 = v2(1, 0x11, &v4());
        version_3[12] = 0x31;
        assert_eq!(refused(&version_3), HeaderFault::Invalid);
        assert_eq!(refused(&[V1_SIGNATURE, &[b'x'; 101]].concat()), HeaderFault::TooLong);
        let longest = [&v4()[..], &[4, 1, 249], &[0; 505]].concat();
        assert_eq!(v2(1, 0x11, &longest).len(), MAX_HEADER_BYTES);
        assert!(read(&v2(1, 0x11, &longest)).is_ok());
        assert_eq!(refused(&v2(1, 0x11, &[0; 521])[..16]), HeaderFault::TooLong, "before it has come");
    }

    #[test]
    fn what_the_fuzzer_begins_with_and_has_found_keeps_the_rules() {
        seeds(b"\x03the client's").iter().for_each(|seed| check_any_bytes(seed));
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/proxy_header"));
        let inputs: Vec<_> =
            corpus.unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        assert!(inputs.len() > 10, "{} inputs are kept", inputs.len());
        inputs.iter().for_each(|input| check_any_bytes(input));
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_have_one_outcome(
            start in prop_oneof![
                Just(Vec::new()),
                Just(V1_SIGNATURE.to_vec()),
                Just(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935\r\n".to_vec()),
                Just([V2_SIGNATURE, &[0x21, 0x11, 0, 12]].concat()),
                Just([V2_SIGNATURE, &[0x21, 0x11, 1]].concat()),
            ],
            keep in 0_usize..60,
            rest in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            check_any_bytes(&[&start[..keep.min(start.len())], &rest].concat());
        }

        #[test]
        fn a_header_that_is_cut_in_two_names_the_same_client(
            ip in any::<std::net::IpAddr>(), port: u16, cut in 0_usize..110, is_v1: bool,
        ) {
            let text = format!("PROXY TCP{} {ip} {ip} {port} 1935\r\n", if ip.is_ipv4() { 4 } else { 6 });
            let octets = match ip {
                std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
                std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let ports = [port.to_be_bytes(), 1935_u16.to_be_bytes()].concat();
            let family = if ip.is_ipv4() { 0x11 } else { 0x21 };
            let bytes = match is_v1 {
                true => text.into_bytes(),
                false => v2(1, family, &[&octets[..], &octets, &ports].concat()),
            };
            let (first, second) = bytes.split_at(cut.min(bytes.len() - 1));
            let mut reader = HeaderReader::default();
            prop_assert_eq!(reader.receive(first), Ok(None));
            let client = Some(SocketAddr::new(ip.to_canonical(), port));
            prop_assert_eq!(reader.receive(second), Ok(Some(ProxyHeader { client, used: second.len() })));
        }
    }
}
