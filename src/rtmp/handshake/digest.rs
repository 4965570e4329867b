//! The handshake with digests, introduced in Flash Player 9: a HMAC-SHA256 inside C1 and S1, and a signature at the end
//! of C2 and S2. No specification of Adobe describes it; FFmpeg, Flash and old encoders send it.
//!
//! The keys are public and prove nothing. But a client that has sent a digest needs one in return: otherwise Flash plays
//! no H.264, and FFmpeg checks it.

use super::packet::{PACKET_LEN, Packet};
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

/// Which half of the packet contains the digest. Implementations disagree which one is scheme 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The first half: FFmpeg, Flash up to 10.
    Zero,
    /// The second half: later Flash, RTMPE.
    One,
}

/// The digest of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub scheme: Scheme,
    pub digest: [u8; DIGEST_LEN],
}

/// Finds the packet's digest with this key, if it has one.
pub fn find(packet: &Packet, key: &[u8]) -> Option<Found> {
    [Scheme::Zero, Scheme::One].into_iter().find_map(|scheme| {
        let at = scheme.position(packet);
        let digest = hmac(key, &[&packet[..at], &packet[at + DIGEST_LEN..]]);
        (packet[at..at + DIGEST_LEN] == digest).then_some(Found { scheme, digest })
    })
}

/// Writes the digest into the packet. It covers all bytes of the packet except its own.
pub fn write_digest(packet: &mut Packet, scheme: Scheme, key: &[u8]) {
    let at = scheme.position(packet);
    let digest = hmac(key, &[&packet[..at], &packet[at + DIGEST_LEN..]]);
    packet[at..at + DIGEST_LEN].copy_from_slice(&digest);
}

/// Writes the signature at the end of S2. Its key is the HMAC of C1's digest with the server's full key.
pub fn sign(packet: &mut Packet, peer_digest: &[u8; DIGEST_LEN], full_key: &[u8]) {
    let key = hmac(full_key, &[peer_digest]);
    let (signed, signature) = packet.split_at_mut(PACKET_LEN - DIGEST_LEN);
    signature.copy_from_slice(&hmac(&key, &[signed]));
}

impl Scheme {
    /// The position of the digest. Each half has 764 bytes: the sum of the first four is the offset of the 32 bytes within
    /// the other 760.
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

/// The bytes after the text in the full keys.
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

#[cfg(test)]
mod tests {
    use super::*;

    // The expected bytes were computed with Python's hmac and hashlib.

    fn counting() -> Packet {
        std::array::from_fn(|i| (i * 7 % 251) as u8)
    }

    fn unhex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn a_digest_is_at_the_position_of_other_implementations() {
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

            let mut with_digest = counting();
            write_digest(&mut with_digest, scheme, PLAYER_KEY);
            assert_eq!(with_digest, packet);
        }
    }

    #[test]
    fn the_signature_is_the_same_as_in_other_implementations() {
        let mut packet = counting();
        sign(&mut packet, &[0x5a; DIGEST_LEN], &server_full_key());
        let signature = unhex("08675f7c4ecb0c3aebb95cd9b31c1a97fa57a20f6f507ebde09ae745e62948c4");
        assert_eq!(packet[PACKET_LEN - DIGEST_LEN..], signature);
        assert_eq!(packet[..PACKET_LEN - DIGEST_LEN], counting()[..PACKET_LEN - DIGEST_LEN]);
    }

    #[test]
    fn a_digest_is_inside_its_half_for_every_sum() {
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
