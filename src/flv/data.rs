//! Data messages (script data): the name of one, and what players get of it. Reads no more of it.

use super::{Payload, readable::readable};

/// Where the name of a data message begins, and the name: its first string. Some encoders (Uniview) put stray values
/// before it. None where anything but a simple value comes before the first string.
pub fn name_of(payload: &Payload) -> Option<(usize, Name)> {
    name_from(payload, 0)
}

/// The names that a relay needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `onMetaData`
    OnMetaData,
    /// `@setDataFrame`: for servers. What follows is the message for players.
    SetDataFrame,
    /// `@clearDataFrame`: for servers.
    ClearDataFrame,
    /// `onCuePoint` and `|RtmpSampleAccess`: at any time but 0 FFmpeg takes them for a subtitle, as it does metadata.
    Note,
    /// Any other one.
    Other,
}

/// What players get of a data message: without what an encoder puts before its name, without `@setDataFrame`, and in a
/// form that they can read. An empty payload where there is nothing for them.
pub fn for_players(payload: Payload) -> Payload {
    readable(match name_of(&payload) {
        Some((_, Name::ClearDataFrame)) => return Payload::new(),
        Some((at, Name::SetDataFrame)) => {
            let wrapped = at + SET_DATA_FRAME.len();
            payload.skip(name_from(&payload, wrapped).map_or(wrapped, |(at, _)| at))
        }
        None | Some((0, _)) => payload,
        Some((at, _)) => payload.skip(at),
    })
}

fn name_from(payload: &Payload, from: usize) -> Option<(usize, Name)> {
    let mut prefix = [0; PREFIX];
    let len = payload.copy_prefix(&mut prefix);
    let prefix = &prefix[..len];
    let mut at = from;
    loop {
        let rest = prefix.get(at..)?;
        at += match *rest.first()? {
            // Number, Boolean, Null, Undefined, Date, Unsupported (AMF0 §2.2 and on): with their markers.
            0x00 => 9,
            0x01 => 2,
            0x05 | 0x06 | 0x0d => 1,
            0x0b => 11,
            0x02 if rest.starts_with(ON_META_DATA) => return Some((at, Name::OnMetaData)),
            0x02 if rest.starts_with(SET_DATA_FRAME) => return Some((at, Name::SetDataFrame)),
            0x02 if rest.starts_with(CLEAR_DATA_FRAME) => return Some((at, Name::ClearDataFrame)),
            0x02 if rest.starts_with(ON_CUE_POINT) => return Some((at, Name::Note)),
            0x02 if rest.starts_with(SAMPLE_ACCESS) => return Some((at, Name::Note)),
            0x02 => return Some((at, Name::Other)),
            _ => return None,
        };
    }
}

/// What is true for any bytes, for the fuzz target.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    super::readable::check_any_bytes(bytes);
    let message = for_players(bytes.to_vec().into());
    assert!(message.is_empty() || name_of(&message).is_some_and(|(at, _)| at == 0));
}

/// `@setDataFrame`, a name, and ten times the two Numbers that encoders are known to put before them.
const PREFIX: usize = 256;
/// As AMF0 strings.
const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";
const ON_CUE_POINT: &[u8] = b"\x02\x00\x0aonCuePoint";
const SAMPLE_ACCESS: &[u8] = b"\x02\x00\x11|RtmpSampleAccess";
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
const CLEAR_DATA_FRAME: &[u8] = b"\x02\x00\x0f@clearDataFrame";

#[cfg(test)]
mod tests {
    use super::*;

    fn players_get(message: &[u8]) -> Vec<u8> {
        for_players(message.to_vec().into()).to_bytes().to_vec()
    }

    const NUMBER: &[u8] = b"\x00\x40\x00\0\0\0\0\0\0";
    const REST: &[u8] = b"\x08\0\0\0\0\0\0\x09";

    #[test]
    fn the_first_string_is_the_name_whatever_simple_values_stand_before_it() {
        let metadata = [ON_META_DATA, REST].concat();
        let strays: [&[u8]; 7] = [
            b"",
            NUMBER,
            b"\x05",
            b"\x06\x0d",
            b"\x01\x01",
            b"\x0b\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0\0",
        ];
        for first in strays {
            for second in strays {
                let bare = [first, second, &metadata].concat();
                let at = first.len() + second.len();
                assert_eq!(name_of(&bare.clone().into()), Some((at, Name::OnMetaData)));
                assert_eq!(players_get(&bare), metadata);
                let wrapped = [first, SET_DATA_FRAME, second, &metadata].concat();
                assert_eq!(players_get(&wrapped), metadata);
            }
        }
    }

    #[test]
    fn a_message_without_a_name_is_not_for_players() {
        let objects_first = [b"\x03\0\0\x09", ON_META_DATA].concat();
        let long = [NUMBER.repeat(30), ON_META_DATA.to_vec()].concat();
        let objects_after = [SET_DATA_FRAME, b"\x03\0\0\x09"].concat();
        let cleared = [CLEAR_DATA_FRAME, ON_META_DATA].concat();
        for message in [
            &b""[..],
            b"\x00\x01",
            b"\x02",
            NUMBER,
            &objects_first,
            &long,
            SET_DATA_FRAME,
            &objects_after,
            &cleared,
        ] {
            assert_eq!(players_get(message), b"");
        }
    }
}
