//! The handshake (RTMP 1.0 §5.2), server and client: three packets in each direction, followed by chunks.
//!
//! ```text
//! client ─ C0 C1 ─► server      C0, S0: the version, one byte       C1, S1: 1536 bytes, mostly random
//! client ◄─ S0 S1 S2 ─ server                                       S2 answers C1, C2 answers S1: an echo,
//! client ─ C2 chunks … ─► server                                    or a signature, see `digest`
//! ```
//!
//! Takes its input in pieces of any length and reports how much of it belongs to the handshake. A waiting connection uses
//! memory for the bytes of its peer, 1537 at most. The peer's last packet is not checked: librtmp and others fill it
//! with zeros.

mod digest;
mod packet;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

pub use self::packet::PACKET_LEN;
use self::packet::Packet;

/// The result of [`Server::receive`] or [`Client::receive`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to the handshake. Once `done`, the bytes after them are the first chunks.
    pub consumed: usize,
    /// Bytes to send now; usually empty.
    pub send: Bytes,
    /// Whether the handshake is complete: the peer has sent all of it, and all of ours has been returned in `send`.
    pub done: bool,
}

/// Why the peer's first bytes are no RTMP handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An HTTP request, or RTMPT, which is RTMP inside HTTP.
    #[error("the peer speaks HTTP, this port speaks RTMP")]
    Http,
    /// The header of the PROXY protocol (HAProxy), version 1 or 2, which a proxy in front must not send.
    #[error(
        "the peer sends a PROXY protocol header (v{0}), which this port does not expect: turn it off in the proxy"
    )]
    Proxy(u8),
    /// A TLS ClientHello.
    #[error("the peer speaks TLS (rtmps), this port speaks plain RTMP")]
    Tls,
    /// Versions 6, 8 and 9: encrypted RTMP.
    #[error("the peer asks for encrypted RTMP (rtmpe, version {0}), which is not supported")]
    Encrypted(u8),
    /// 32 and above are no versions (§5.2.2), so that text protocols differ from RTMP.
    #[error("the peer does not speak RTMP: its first byte is {0:#04x}")]
    NotRtmp(u8),
}

/// The server's end of the handshake.
#[derive(Clone, Debug)]
pub struct Server {
    exchange: Exchange,
    random: [u8; 32],
}

impl Server {
    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        let received = match &self.exchange {
            Exchange::First(received) => received.capacity(),
            Exchange::Second(_) => 0,
        };
        size_of::<Self>() + received
    }

    /// `random` is the seed of the random parts of S1 and S2.
    pub fn new(random: [u8; 32]) -> Self {
        Self { exchange: Exchange::default(), random }
    }

    /// Takes the client's next bytes. Returns S0, S1 and S2 together once C1 is complete. They have a digest if C1 has one,
    /// of the same scheme.
    ///
    /// # Errors
    /// The first bytes are no RTMP handshake.
    pub fn receive(&mut self, input: &[u8]) -> Result<Progress, Error> {
        self.exchange.receive(input, |c1| {
            let mut random = Random::new(&self.random);
            let mut s1 = random.packet();
            let mut s2 = *c1;
            if let Some(found) = digest::find(c1, digest::PLAYER_KEY) {
                s1[VERSION].copy_from_slice(&SERVER_VERSION);
                digest::write_digest(&mut s1, found.scheme, digest::SERVER_KEY);
                s2 = random.packet();
                digest::sign(&mut s2, &found.digest, &digest::server_full_key());
            }
            let mut send = BytesMut::with_capacity(1 + 2 * PACKET_LEN);
            send.put_u8(RTMP_VERSION);
            send.put_slice(&s1);
            send.put_slice(&s2);
            send.freeze()
        })
    }
}

/// The client's end of the handshake, without a digest.
#[derive(Clone, Debug)]
pub struct Client {
    exchange: Exchange,
    random: [u8; 32],
}

impl Client {
    /// `random` is the seed of the random part of C1.
    pub fn new(random: [u8; 32]) -> Self {
        Self { exchange: Exchange::default(), random }
    }

    /// C0 and C1, which are sent first.
    pub fn hello(&self) -> Bytes {
        let mut send = BytesMut::with_capacity(1 + PACKET_LEN);
        send.put_u8(RTMP_VERSION);
        send.put_slice(&Random::new(&self.random).packet());
        send.freeze()
    }

    /// Takes the server's next bytes. Returns C2 once S1 is complete.
    ///
    /// # Errors
    /// The first bytes are no RTMP handshake.
    pub fn receive(&mut self, input: &[u8]) -> Result<Progress, Error> {
        self.exchange.receive(input, |s1| Bytes::copy_from_slice(s1))
    }
}

/// The part that is the same for both ends: take the peer's version and first packet, answer, take its second packet.
#[derive(Clone, Debug)]
enum Exchange {
    /// The bytes so far of the version and the first packet.
    First(Vec<u8>),
    /// The number of missing bytes of the second packet, which is ignored. 0 when the handshake is complete.
    Second(usize),
}

impl Default for Exchange {
    fn default() -> Self {
        Self::First(Vec::new())
    }
}

impl Exchange {
    fn receive(&mut self, input: &[u8], answer: impl FnOnce(&Packet) -> Bytes) -> Result<Progress, Error> {
        let mut progress = Progress::default();
        if let Self::First(received) = self {
            progress.consumed = input.len().min(1 + PACKET_LEN - received.len());
            received.extend_from_slice(&input[..progress.consumed]);
            let Some((version, packet)) = received.split_first() else {
                return Ok(progress);
            };
            if !check_first_bytes(*version, received)? {
                return Ok(progress);
            }
            let Ok(packet) = packet.try_into() else {
                return Ok(progress);
            };
            progress.send = answer(packet);
            *self = Self::Second(PACKET_LEN);
        }
        if let Self::Second(missing) = self {
            let taken = (input.len() - progress.consumed).min(*missing);
            progress.consumed += taken;
            *missing -= taken;
            progress.done = *missing == 0;
        }
        Ok(progress)
    }
}

/// §5.2.2: a server answers a version that it does not know with 3, and the client continues or closes. Only what cannot
/// continue is an error. The first byte decides, except if a PROXY header may begin there: then as many bytes as that
/// takes, so that the result does not depend on how the input is cut. False if more bytes are needed.
fn check_first_bytes(version: u8, received: &[u8]) -> Result<bool, Error> {
    for (header, proxy_version) in [(PROXY_V1, 1), (PROXY_V2, 2)] {
        if received.starts_with(header) {
            return Err(Error::Proxy(proxy_version));
        }
        if header.starts_with(received) {
            return Ok(false);
        }
    }
    match version {
        6 | 8 | 9 => Err(Error::Encrypted(version)),
        // The content type of a TLS handshake record; a reserved version in RTMP.
        22 => Err(Error::Tls),
        0..=31 => Ok(true),
        // GET, HEAD, POST, PUT, PATCH, PRI, DELETE, OPTIONS, CONNECT, TRACE.
        b'G' | b'H' | b'P' | b'D' | b'O' | b'C' | b'T' => Err(Error::Http),
        _ => Err(Error::NotRtmp(version)),
    }
}

/// Random bytes from a seed: SHA-256 of seed and counter. They need not be secret, only different for each connection.
struct Random<'a> {
    seed: &'a [u8; 32],
    counter: u64,
}

impl<'a> Random<'a> {
    fn new(seed: &'a [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// A packet with time 0, version 0 (§5.2.3) and random bytes.
    fn packet(&mut self) -> Packet {
        let mut packet = [0; PACKET_LEN];
        for block in packet[RANDOM_START..].chunks_mut(32) {
            let hash =
                Sha256::new().chain_update(self.seed).chain_update(self.counter.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
            self.counter += 1;
        }
        packet
    }
}

/// The starts of the PROXY protocol's headers.
const PROXY_V1: &[u8] = b"PROXY ";
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Our answer to every version that can continue.
const RTMP_VERSION: u8 = 3;

/// Four bytes that are zero in RTMP 1.0; peers with a digest put their own version there.
const VERSION: std::ops::Range<usize> = 4..8;

/// The random bytes begin after time and version.
const RANDOM_START: usize = 8;

/// FFmpeg looks for our digest only if the first number is 3 or more. This is Adobe Media Server 5.0.17.
const SERVER_VERSION: [u8; 4] = [5, 0, 17, 0];

/// For the tests below and the fuzz target: checks that how the input is cut changes nothing. The first byte is the length
/// of the pieces.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let Some((piece, input)) = bytes.split_first() else {
        return;
    };
    let whole = Server::new([7; 32]).receive(input);
    let mut server = Server::new([7; 32]);
    let mut in_pieces = Ok(Progress::default());
    for piece in input.chunks(usize::from(*piece).max(1)) {
        let next = server.receive(piece);
        in_pieces = in_pieces.and_then(|so_far| {
            let next = next?;
            assert!(next.consumed == piece.len() || next.done);
            Ok(Progress {
                consumed: so_far.consumed + next.consumed,
                send: if next.send.is_empty() { so_far.send } else { next.send },
                done: next.done,
            })
        });
    }
    assert_eq!(in_pieces, whole);
}

#[cfg(test)]
mod tests {
    use super::digest::{Found, Scheme};
    use super::*;
    use proptest::prelude::*;

    const SERVER_RANDOM: [u8; 32] = [7; 32];

    /// C0 C1 of a plain client, C2 of zeros as librtmp sends it, and the first bytes of a chunk.
    fn plain_input() -> Vec<u8> {
        let mut input = Client::new([9; 32]).hello().to_vec();
        input.resize(1 + 2 * PACKET_LEN, 0);
        input.extend_from_slice(b"\x03\x00\x00\x00");
        input
    }

    fn digest_input(scheme: Scheme) -> Vec<u8> {
        let mut c1 = Random::new(&[9; 32]).packet();
        c1[VERSION].copy_from_slice(&[9, 0, 124, 2]);
        digest::write_digest(&mut c1, scheme, digest::PLAYER_KEY);
        [&[3], c1.as_slice(), &[0; PACKET_LEN]].concat()
    }

    fn packet(bytes: &[u8]) -> &Packet {
        bytes.try_into().unwrap()
    }

    #[test]
    fn a_plain_client_gets_s0_s1_and_its_own_packet_in_one_buffer() {
        let input = plain_input();
        let c1 = &input[1..=PACKET_LEN];
        let progress = Server::new(SERVER_RANDOM).receive(&input[..=PACKET_LEN]).unwrap();
        assert!(!progress.done);
        let [s0, s1, s2] = parts(&progress.send);
        assert_eq!(s0, [3]);
        assert_eq!(s1[..8], [0; 8]);
        assert_eq!(s2, c1);
        assert_ne!(s1[8..], c1[8..]);
        assert_eq!(digest::find(packet(s1), digest::SERVER_KEY), None);
    }

    #[test]
    fn a_client_with_a_digest_gets_one_of_the_same_scheme_and_a_signature() {
        for scheme in [Scheme::Zero, Scheme::One] {
            let input = digest_input(scheme);
            let Found { digest: client_digest, .. } =
                digest::find(packet(&input[1..=PACKET_LEN]), digest::PLAYER_KEY).unwrap();

            let progress = Server::new(SERVER_RANDOM).receive(&input).unwrap();
            assert!(progress.done);
            let [_, s1, s2] = parts(&progress.send);
            let found = digest::find(packet(s1), digest::SERVER_KEY).expect("S1 carries a digest");
            assert_eq!(found.scheme, scheme);
            assert!(s1[4] >= 3, "FFmpeg looks for the digest only then");
            let mut signed: Packet = *packet(s2);
            digest::sign(&mut signed, &client_digest, &digest::server_full_key());
            assert_eq!(signed, s2);
        }
    }

    #[test]
    fn the_answer_is_the_same_at_any_cut_and_the_first_chunk_is_left() {
        for input in [plain_input(), digest_input(Scheme::Zero), digest_input(Scheme::One)] {
            let whole = Server::new(SERVER_RANDOM).receive(&input).unwrap();
            assert!(whole.done);
            assert_eq!(whole.consumed, 1 + 2 * PACKET_LEN);
            for cut in 0..=input.len() {
                let mut server = Server::new(SERVER_RANDOM);
                let first = server.receive(&input[..cut]).unwrap();
                assert_eq!(first.consumed, cut.min(1 + 2 * PACKET_LEN));
                assert_eq!(first.done, cut > 2 * PACKET_LEN);
                assert_eq!(
                    first.send.is_empty(),
                    cut <= PACKET_LEN,
                    "the answer is sent when C1 is complete"
                );
                let second = server.receive(&input[cut..]).unwrap();
                assert!(second.done);
                assert_eq!([first.send, second.send].concat(), whole.send);
                assert_eq!(first.consumed + second.consumed, whole.consumed);
            }
        }
    }

    #[test]
    fn byte_by_byte_the_input_is_taken_until_the_handshake_is_complete() {
        let input = plain_input();
        let mut server = Server::new(SERVER_RANDOM);
        let taken = input.iter().map(|byte| server.receive(&[*byte]).unwrap());
        let consumed: usize = taken.map(|progress| progress.consumed).sum();
        assert_eq!(input[consumed..], *b"\x03\x00\x00\x00");
        assert_eq!(server.receive(b"").unwrap(), Progress { done: true, ..Progress::default() });
    }

    #[test]
    fn our_client_and_our_server_complete_the_handshake() {
        let (mut client, mut server) = (Client::new([1; 32]), Server::new([2; 32]));
        let to_client = server.receive(&client.hello()).unwrap().send;
        let mut from_server = to_client.to_vec();
        from_server.extend_from_slice(b"chunks");
        let at_client = client.receive(&from_server).unwrap();
        assert!(at_client.done);
        assert_eq!(from_server[at_client.consumed..], *b"chunks");
        assert_eq!(at_client.send, to_client[1..=PACKET_LEN], "C2 echoes S1");
        let at_server = server.receive(&at_client.send).unwrap();
        assert!(at_server.done);
        assert_eq!(at_server.consumed, PACKET_LEN);
    }

    #[test]
    fn the_client_accepts_the_server_s_answer_at_any_cut() {
        let hello = Client::new([1; 32]).hello();
        let answer = Server::new([2; 32]).receive(&hello).unwrap().send;
        for cut in 0..=answer.len() {
            let mut client = Client::new([1; 32]);
            let first = client.receive(&answer[..cut]).unwrap();
            let second = client.receive(&answer[cut..]).unwrap();
            assert!(second.done);
            assert_eq!([first.send, second.send].concat(), answer[1..=PACKET_LEN]);
            assert_eq!(first.consumed + second.consumed, answer.len());
        }
    }

    #[test]
    fn an_unknown_version_is_answered_with_3() {
        for version in [0, 1, 2, 3, 4, 31] {
            let mut input = plain_input();
            input[0] = version;
            assert_eq!(Server::new(SERVER_RANDOM).receive(&input).unwrap().send[0], 3);
        }
    }

    #[test]
    fn another_protocol_on_this_port_is_recognized_at_its_first_byte() {
        for (input, error) in [
            (b"GET / HTTP/1.1\r\n".as_slice(), Error::Http),
            (b"POST /open/1 HTTP/1.1\r\n", Error::Http),
            (b"\x16\x03\x01\x02\x00", Error::Tls),
            (b"\x06\x00\x00\x00\x00", Error::Encrypted(6)),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Error::NotRtmp(b'S')),
            (b"\xff", Error::NotRtmp(0xff)),
        ] {
            assert_eq!(Server::new(SERVER_RANDOM).receive(input), Err(error));
            // `PO` is not the beginning of `PROXY`.
            let enough = if input[0] == b'P' { 2 } else { 1 };
            assert_eq!(Server::new(SERVER_RANDOM).receive(&input[..enough]), Err(error));
        }
        assert_eq!(Error::Http.to_string(), "the peer speaks HTTP, this port speaks RTMP");
    }

    #[test]
    fn a_proxy_protocol_header_is_an_error_that_names_it() {
        let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 1935\r\n\x03".as_slice();
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice();
        for (input, version, needed) in [(v1, 1, 6), (v2, 2, 12)] {
            assert_eq!(Server::new(SERVER_RANDOM).receive(input), Err(Error::Proxy(version)));
            let mut server = Server::new(SERVER_RANDOM);
            for (at, byte) in input[..needed].iter().enumerate() {
                let last = at + 1 == needed;
                assert_eq!(server.receive(&[*byte]).is_err(), last, "byte {at}");
            }
        }
        assert_eq!(Server::new(SERVER_RANDOM).receive(b"PRI * HTTP/2.0\r\n"), Err(Error::Http));
        // This version byte is that of a PROXY header, and what follows is not: it is answered.
        let mut input = plain_input();
        input[0] = b'\r';
        assert!(Server::new(SERVER_RANDOM).receive(&input).unwrap().done);
        input[1..12].copy_from_slice(&PROXY_V2[1..]);
        assert_eq!(Server::new(SERVER_RANDOM).receive(&input), Err(Error::Proxy(2)));
    }

    #[test]
    fn two_connections_get_different_random_bytes() {
        let hello = |seed| Client::new([seed; 32]).hello();
        assert_ne!(hello(1), hello(2));
        assert_eq!(hello(1), hello(1));
    }

    fn parts(send: &[u8]) -> [&[u8]; 3] {
        assert_eq!(send.len(), 1 + 2 * PACKET_LEN);
        [&send[..1], &send[1..=PACKET_LEN], &send[1 + PACKET_LEN..]]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_at_any_cut_have_one_answer(
            piece: u8,
            version in prop_oneof![Just(3), any::<u8>()],
            rest in prop::collection::vec(any::<u8>(), 0..4000),
        ) {
            check_any_bytes(&[&[piece, version], rest.as_slice()].concat());
        }
    }
}
