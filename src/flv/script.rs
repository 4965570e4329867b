//! What a relay reads in script data (FLV 10.1 §E.4.4): two properties of `onMetaData`.

use bytes::Bytes;

use super::{FrameKind, Kinds};

/// `onMetaData` whose `hasAudio` and `hasVideo`, where they are there, say which kinds have come. A browser's player
/// waits forever for a kind that is announced and absent. All else stays as it is, byte for byte.
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

/// The same metadata with a property that marks a kind of media as absent, as old encoders do: an object for its codec.
/// None where metadata is large, or not in the form that `flv::readable` leaves it in.
pub fn without_kind(metadata: &Bytes, kind: FrameKind) -> Option<Bytes> {
    let name = match kind {
        FrameKind::Audio => "audiocodecid",
        FrameKind::Video | FrameKind::Data => "videocodecid",
    };
    let is_known = metadata.len() <= MAX_REPEATED_BYTES && metadata.starts_with(ECMA_ARRAY);
    let properties = metadata.strip_suffix(END).filter(|_| is_known)?;
    Some([properties, &[0, name.len() as u8], name.as_bytes(), EMPTY_OBJECT, END].concat().into())
}

/// Larger metadata is not sent twice to a joiner.
const MAX_REPEATED_BYTES: usize = 4 << 10;
/// `onMetaData` and the marker of an ECMA array, which a count follows (AMF0 §2.10).
const ECMA_ARRAY: &[u8] = b"\x02\0\x0aonMetaData\x08";
/// The end of an object or array.
const END: &[u8] = b"\0\0\x09";
const EMPTY_OBJECT: &[u8] = b"\x03\0\0\x09";

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
    fn an_absent_kind_has_an_object_for_its_codec() {
        let read = |bytes: &Bytes| amf0::decode(bytes).expect("it is written whole");
        let other = |properties: [(&str, Value); 1]| {
            Bytes::from(amf0::encode_all(&[Value::from("onMetaData"), Value::ecma_array(properties)]))
        };
        let large = other([("x", "x".repeat(MAX_REPEATED_BYTES).into())]);
        let object =
            Bytes::from(amf0::encode_all(&["onMetaData".into(), Value::object([("x", 1.0.into())])]));
        for metadata in [large, object, Bytes::new()] {
            assert_eq!(without_kind(&metadata, FrameKind::Audio), None);
        }
        let known = other([("width", 640.0.into())]);
        let expected = Value::ecma_array([("width", 640.0.into()), ("videocodecid", Value::Object(vec![]))]);
        assert_eq!(
            read(&without_kind(&known, FrameKind::Video).expect("it is small")),
            ["onMetaData".into(), expected]
        );
    }

    #[test]
    fn metadata_that_names_no_kinds_or_is_cut_short_is_the_same_bytes() {
        for bytes in [&b""[..], b"\x02\x00\x0AonMetaData", HAS_AUDIO, b"\x00\x08hasAudio\x02\x00\x01x"] {
            let bytes = Bytes::from_static(bytes);
            assert_eq!(with_kinds(&bytes, Kinds::default()).as_ptr(), bytes.as_ptr());
        }
    }
}
