//! What a relay looks at in script data (FLV 10.1 §E.4.4): two properties of `onMetaData`.

use bytes::Bytes;

use super::Kinds;

/// `onMetaData` whose `hasAudio` and `hasVideo`, where they are there, say which kinds have come. A browser's player
/// waits for ever for a kind that is announced and absent. All else stays as it is, byte for byte.
pub fn with_kinds(metadata: &Bytes, kinds: Kinds) -> Bytes {
    let mut patched = None;
    for (property, has_come) in [(HAS_AUDIO, kinds.audio), (HAS_VIDEO, kinds.video)] {
        let Some(found) = metadata.windows(property.len()).position(|bytes| bytes == property) else {
            continue;
        };
        let at = found + property.len();
        if metadata.get(at).is_some_and(|&says| (says != 0) != has_come) {
            patched.get_or_insert_with(|| metadata.to_vec())[at] = u8::from(has_come);
        }
    }
    patched.map_or_else(|| metadata.clone(), Bytes::from)
}

/// The property's name and the marker of an AMF0 boolean, which one byte follows (AMF0 §2.3, §2.5).
const HAS_AUDIO: &[u8] = b"\x00\x08hasAudio\x01";
const HAS_VIDEO: &[u8] = b"\x00\x08hasVideo\x01";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf0::{self, Value};

    fn metadata(audio: bool, video: bool) -> Bytes {
        let properties = [("width", 640.0.into()), ("hasAudio", audio.into()), ("hasVideo", video.into())];
        amf0::encode_all(&[Value::from("onMetaData"), Value::ecma_array(properties)]).into()
    }

    #[test]
    fn the_kinds_are_those_that_have_come_and_all_else_stays() {
        for (audio, video) in [(false, false), (false, true), (true, false), (true, true)] {
            for said in [metadata(true, true), metadata(false, false), metadata(audio, video)] {
                assert_eq!(with_kinds(&said, Kinds { audio, video }), metadata(audio, video));
            }
        }
    }

    #[test]
    fn metadata_that_says_nothing_of_kinds_or_is_cut_short_is_the_same_bytes() {
        for bytes in [&b""[..], b"\x02\x00\x0AonMetaData", HAS_AUDIO, b"\x00\x08hasAudio\x02\x00\x01x"] {
            let bytes = Bytes::from_static(bytes);
            assert_eq!(with_kinds(&bytes, Kinds::default()).as_ptr(), bytes.as_ptr());
        }
    }
}
