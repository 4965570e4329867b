//! What ExAudioTagHeader and ExVideoTagHeader have in common (Enhanced RTMP v2, "Enhanced Audio" and "Enhanced
//! Video"): ModEx packets, multitrack, FourCC.

use std::fmt;

/// Bytes at the start of a payload that a header is read from; the rest is not read. The longest header is 18: packet
/// type 1, ModEx with nanoseconds 5, multitrack 1, FourCC 4, track id 1, track size 3, composition time 3. The rest
/// leaves room for a second ModEx.
pub const PREFIX: usize = 24;

/// A codec by its four letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FourCc({self})")
    }
}

/// Walks over the ModEx packets that precede the real packet type. None if that lies after `bytes`.
pub fn skip_mod_ex(mut packet_type: u8, mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    while packet_type == MOD_EX {
        let [short_size, rest @ ..] = bytes else {
            return None;
        };
        let (size, rest) = match (short_size, rest) {
            (255, [high, low, rest @ ..]) => (u16::from_be_bytes([*high, *low]), rest),
            (255, _) => return None,
            (size, rest) => (u16::from(*size), rest),
        };
        let [types, rest @ ..] = rest.get(usize::from(size) + 1..)? else {
            return None;
        };
        packet_type = types & 0x0f;
        bytes = rest;
    }
    Some((packet_type, bytes))
}

/// The first track of a message, which usually is the only one.
pub struct Track<'a> {
    /// The packet type, which all tracks of a message share.
    pub packet_type: u8,
    pub four_cc: FourCc,
    /// 0 where the message does not name one.
    pub id: u8,
    /// As much of its body as there is.
    pub body: &'a [u8],
}

/// Reads what is between the packet type and the body. `multitrack` is the packet type of that name, which
/// audio and video number differently. None if `bytes` end before the body.
pub fn first_track(packet_type: u8, multitrack: u8, bytes: &[u8]) -> Option<Track<'_>> {
    if packet_type != multitrack {
        let (four_cc, body) = bytes.split_first_chunk()?;
        return Some(Track { packet_type, four_cc: FourCc(*four_cc), id: 0, body });
    }
    // The FourCC stands before the tracks if they share it and in each of them if not: here that is the same.
    let (types, rest) = bytes.split_first()?;
    let (four_cc, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first()?;
    let body = match types >> 4 {
        ONE_TRACK => rest,
        _many_tracks => rest.get(TRACK_SIZE_LEN..)?,
    };
    Some(Track { packet_type: types & 0x0f, four_cc: FourCc(*four_cc), id: *id, body })
}

/// AudioPacketType and VideoPacketType.
const MOD_EX: u8 = 7;

/// AvMultitrackType.
const ONE_TRACK: u8 = 0;

/// Bytes of `sizeOfVideoTrack` and `sizeOfAudioTrack`.
const TRACK_SIZE_LEN: usize = 3;
