//! The digest forms of the handshake, as Flash Player 9 brought them: a HMAC-SHA256 hidden in C1 and S1, and a
//! signature at the end of C2 and S2. In no spec of Adobe's; FFmpeg, Flash and old encoders send them.
//!
//! The keys are public and prove nothing. What counts is that a client which sent a digest gets one back: Flash
//! plays no H.264 otherwise, and FFmpeg checks what it gets.

use super::{PACKET_LEN, Packet};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Key of the digest in C1.
pub const PLAYER_KEY: &[u8] = b"Genuine Adobe Flash Player 001";

/// Key of the digest in S1.
pub const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";

/// Key of the signature in S2.
pub fn server_full_key() -> Vec<u8> {
    [SERVER_KEY, &KEY_TAIL].concat()
}

/// Which half of the packet holds the digest. Implementations do not agree which one is called 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The first half: FFmpeg, Flash up to 10.
    Zero,
    /// The second half: later Flash, RTMPE.
    One,
}

/// A digest that a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub scheme: Scheme,
    pub digest: [u8; DIGEST_LEN],
}

/// The digest that a packet carries under this key, if it carries one.
pub fn find(packet: &Packet, key: &[u8]) -> Option<Found> {
    [Scheme::Zero, Scheme::One].into_iter().find_map(|scheme| {
        let at = scheme.position(packet);
        let digest = hmac(key, &[&packet[..at], &packet[at + DIGEST_LEN..]]);
        (packet[at..at + DIGEST_LEN] == digest).then_some(Found { scheme, digest })
    })
}

/// Writes the packet's digest into it: over all of its bytes but the digest's own.
pub fn imprint(packet: &mut Packet, scheme: Scheme, key: &[u8]) {
    let at = scheme.position(packet);
    let digest = hmac(key, &[&packet[..at], &packet[at + DIGEST_LEN..]]);
    packet[at..at + DIGEST_LEN].copy_from_slice(&digest);
}

/// Signs S2 at its end, under a key made of the server's full key and the digest that came in C1.
pub fn sign(packet: &mut Packet, peer_digest: &[u8; DIGEST_LEN], full_key: &[u8]) {
    let key = hmac(full_key, &[peer_digest]);
    let (signed, signature) = packet.split_at_mut(PACKET_LEN - DIGEST_LEN);
    signature.copy_from_slice(&hmac(&key, &[signed]));
}

impl Scheme {
    /// Where the digest is: each half has 764 bytes, of which the first four say, by their sum, where in the other
    /// 760 the 32 bytes lie.
    fn position(self, packet: &Packet) -> usize {
        let half = match self {
            Self::Zero => 8,
            Self::One => 8 + HALF_LEN,
        };
        let sum: usize = packet[half..half + 4].iter().copied().map(usize::from).sum();
        half + 4 + sum % (HALF_LEN - 4 - DIGEST_LEN)
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

const DIGEST_LEN: usize = 32;

/// The packet without its time and version, halved.
const HALF_LEN: usize = (PACKET_LEN - 8) / 2;

/// What follows the text in the full keys.
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

#[cfg(test)]
mod tests {
    use super::*;

    // The expected bytes were computed apart from this code, with Python's hmac and hashlib.

    fn counting() -> Packet {
        std::array::from_fn(|i| (i * 7 % 251) as u8)
    }

    fn unhex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn a_digest_is_found_where_other_implementations_put_it() {
        for (scheme, at, hex) in [
            (Scheme::Zero, 278, "043c48a656b74dfbb0b2f019c99c24655a14f06be57b01fa458f547bfeefc4e0"),
            (Scheme::One, 1350, "a608ce1f0fece42e79eaf2bf474f05edb004fffec4dc30ea48b2b6bdeb9bdae4"),
        ] {
            let mut packet = counting();
            assert_eq!(find(&packet, PLAYER_KEY), None);
            packet[at..at + DIGEST_LEN].copy_from_slice(&unhex(hex));
            let digest = unhex(hex).try_into().unwrap();
            assert_eq!(find(&packet, PLAYER_KEY), Some(Found { scheme, digest }));
            assert_eq!(find(&packet, SERVER_KEY), None);

            let mut imprinted = counting();
            imprint(&mut imprinted, scheme, PLAYER_KEY);
            assert_eq!(imprinted, packet);
        }
    }

    #[test]
    fn the_signature_is_that_of_other_implementations() {
        let mut packet = counting();
        sign(&mut packet, &[0x5a; DIGEST_LEN], &server_full_key());
        let signature = unhex("08675f7c4ecb0c3aebb95cd9b31c1a97fa57a20f6f507ebde09ae745e62948c4");
        assert_eq!(packet[PACKET_LEN - DIGEST_LEN..], signature);
        assert_eq!(packet[..PACKET_LEN - DIGEST_LEN], counting()[..PACKET_LEN - DIGEST_LEN]);
    }

    #[test]
    fn a_digest_lies_inside_its_half_wherever_the_sum_puts_it() {
        for sum in 0..=4 * 255 {
            let mut packet = [0; PACKET_LEN];
            for half in [8, 772] {
                (0..sum).for_each(|n| packet[half + n % 4] += 1);
            }
            let zero = Scheme::Zero.position(&packet);
            let one = Scheme::One.position(&packet);
            assert!(zero >= 12 && zero + DIGEST_LEN <= 772);
            assert!(one >= 776 && one + DIGEST_LEN <= PACKET_LEN);
        }
    }
}
