//! Data messages in a form that players accept. FFmpeg, which VLC, mpv and OBS use to read, gives up a whole stream for
//! a data message that it cannot read, or makes a subtitle track of it, for which VLC waits 10 s. Thus a message that
//! it can read passes unchanged, one that it cannot read is rewritten, and one that cannot be rewritten is not sent to
//! players. Below, what FFmpeg does is what its versions 4.4 to 9.0 do.

use super::Payload;
use crate::amf0::{self, Reader, Value, marker};

/// What players get of a data message: nothing, if they could not read it.
pub(super) fn readable(payload: Payload) -> Payload {
    let bytes = payload.to_bytes();
    let Some((name, values)) = split_name(&bytes) else { return Payload::new() };
    let rewritten = match name {
        b"onMetaData" if !is_metadata(values) => Some(metadata(values)),
        b"onTextData" | b"onCaption" if !has_text(values) => match text(values) {
            Some(text) => Some(text),
            None => return Payload::new(),
        },
        b"onCuePoint" | b"|RtmpSampleAccess" if !is_readable(values) => Some(read(values)),
        _ => None,
    };
    let mut message = match rewritten {
        None if bytes.len() >= MIN_BYTES => return payload,
        None => bytes.to_vec(),
        Some(values) => {
            [&bytes[..bytes.len() - values_len(&bytes, name)], &amf0::encode_all(&values)].concat()
        }
    };
    // Latin-1 gets longer as UTF-8, and so does what references repeat: what does not fit in a message is not sent to
    // players.
    if message.len() > MAX_BYTES {
        return Payload::new();
    }
    message.resize(message.len().max(MIN_BYTES), marker::NULL);
    message.into()
}

/// Cuts a message after its name: its first string. FFmpeg's RTMP reader fails where there is none, and where it is
/// longer than its buffer.
fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, values) = string(bytes)?;
    (name.len() <= MAX_NAME_BYTES).then_some((name, values))
}

fn values_len(bytes: &[u8], name: &[u8]) -> usize {
    bytes.len() - 3 - name.len()
}

/// Whether metadata is one ECMA array and nothing else: FFmpeg's RTMP reader fails at anything after it, at a
/// property of which it does not know the size, and at a long name. It does not accept an object as metadata.
fn is_metadata(values: &[u8]) -> bool {
    let Some((&marker::ECMA_ARRAY, rest)) = values.split_first() else { return false };
    let Some(mut rest) = rest.get(4..) else { return false };
    loop {
        rest = match property(rest) {
            Some(Property::End(after)) => return after.is_empty(),
            Some(Property::Value(name, value)) if name.len() <= MAX_PROPERTY_BYTES => {
                let Some(rest) = skip(value, 0) else { return false };
                rest
            }
            _ => return false,
        };
    }
}

/// Metadata as FFmpeg accepts it, with all that can be read of it.
fn metadata(values: &[u8]) -> Vec<Value> {
    let properties = match read(values).into_iter().next() {
        Some(Value::EcmaArray(properties) | Value::Object(properties)) => properties,
        _ => Vec::new(),
    };
    let is_readable = |(name, _): &(String, Value)| !name.is_empty() && name.len() <= MAX_PROPERTY_BYTES;
    vec![Value::EcmaArray(properties.into_iter().filter(is_readable).collect())]
}

/// Whether FFmpeg finds the text of a subtitle: it ends the stream otherwise.
fn has_text(values: &[u8]) -> bool {
    let mut rest = match values.split_first() {
        Some((&marker::OBJECT, rest)) => rest,
        Some((&marker::ECMA_ARRAY, rest)) => rest.get(4..).unwrap_or_default(),
        Some((&marker::STRICT_ARRAY, rest)) => {
            return rest.get(4..).is_some_and(|rest| string(rest).is_some());
        }
        _ => return false,
    };
    while let Some(Property::Value(name, value)) = property(rest) {
        if name == b"text" && string(value).is_some() {
            return true;
        }
        match skip(value, 0) {
            Some(after) if name.len() <= MAX_TEXT_PROPERTY_BYTES && value[0] != marker::DATE => rest = after,
            _ => return false,
        }
    }
    false
}

/// A subtitle with its text in front, if it has one.
fn text(values: &[u8]) -> Option<Vec<Value>> {
    let (Value::EcmaArray(mut properties) | Value::Object(mut properties)) =
        read(values).into_iter().next()?
    else {
        return None;
    };
    let at = properties.iter().position(|(name, value)| name == "text" && is_short_string(value))?;
    properties.swap(0, at);
    Some(vec![Value::Object(properties)])
}

fn is_short_string(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() <= usize::from(u16::MAX))
}

/// Whether the values are whole. FFmpeg follows a length that points beyond the message.
fn is_readable(values: &[u8]) -> bool {
    let mut rest = values;
    while !rest.is_empty() {
        let Some(after) = skip(rest, 0) else { return false };
        rest = after;
    }
    !values.is_empty()
}

/// All that can be read, in types that FFmpeg knows; at least one value.
fn read(values: &[u8]) -> Vec<Value> {
    let mut values: Vec<Value> = Reader::lenient(values).map_while(Result::ok).map(known).collect();
    if values.is_empty() {
        values.push(Value::Null);
    }
    values
}

/// The same in a type that FFmpeg knows the size of.
fn known(value: Value) -> Value {
    let all = |properties: Vec<(String, Value)>| {
        properties.into_iter().map(|(name, value)| (name, known(value))).collect()
    };
    match value {
        Value::Undefined | Value::Unsupported => Value::Null,
        Value::Xml(text) => Value::String(text),
        Value::Object(properties) | Value::TypedObject { properties, .. } => Value::Object(all(properties)),
        Value::EcmaArray(properties) => Value::EcmaArray(all(properties)),
        Value::StrictArray(values) => Value::StrictArray(values.into_iter().map(known).collect()),
        other => other,
    }
}

/// A string at the front, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&marker::STRING, rest) = bytes.split_first()? else { return None };
    short_text(rest)
}

fn short_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(len).into())
}

/// What is at some place in an object.
enum Property<'a> {
    /// A name, and what follows it: the value first.
    Value(&'a [u8], &'a [u8]),
    /// The object's end, and what follows it.
    End(&'a [u8]),
}

fn property(bytes: &[u8]) -> Option<Property<'_>> {
    let (name, rest) = short_text(bytes)?;
    match (name, rest.split_first()?) {
        (b"", (&marker::OBJECT_END, after)) => Some(Property::End(after)),
        (b"", _) => None,
        (name, _) => Some(Property::Value(name, rest)),
    }
}

/// What follows the value at the front, if FFmpeg knows the size of all that is in it.
fn skip(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        marker::NUMBER => rest.get(8..),
        marker::BOOLEAN => rest.get(1..),
        marker::STRING => short_text(rest).map(|(_, rest)| rest),
        marker::LONG_STRING => {
            let (&len, rest) = rest.split_first_chunk()?;
            rest.get(usize::try_from(u32::from_be_bytes(len)).ok()?..)
        }
        marker::NULL => Some(rest),
        marker::DATE => rest.get(10..),
        _ if depth == amf0::MAX_DEPTH => None,
        marker::OBJECT => skip_properties(rest, depth + 1),
        marker::ECMA_ARRAY => skip_properties(rest.get(4..)?, depth + 1),
        marker::STRICT_ARRAY => {
            let (&count, mut rest) = rest.split_first_chunk()?;
            for _ in 0..u32::from_be_bytes(count) {
                rest = skip(rest, depth + 1)?;
            }
            Some(rest)
        }
        _ => None,
    }
}

fn skip_properties(mut bytes: &[u8], depth: usize) -> Option<&[u8]> {
    loop {
        match property(bytes)? {
            Property::End(after) => return Some(after),
            Property::Value(_, value) => bytes = skip(value, depth)?,
        }
    }
}

/// FFmpeg's FLV reader takes a shorter data tag for a subtitle, whatever is in it. Null values after a message mean
/// nothing; after metadata there are none, since with its array it is as long as this.
const MIN_BYTES: usize = 19;
/// A message's length has 24 bits, in RTMP as in FLV.
const MAX_BYTES: usize = 0xFF_FFFF;
/// The buffer of FFmpeg's RTMP reader, without the byte that ends a string.
const MAX_NAME_BYTES: usize = 63;
/// The same of a property of metadata.
const MAX_PROPERTY_BYTES: usize = 127;
/// The same of a property of a subtitle.
const MAX_TEXT_PROPERTY_BYTES: usize = 19;

/// What is true for any bytes, for the tests below and the fuzz target.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let message = readable(bytes.to_vec().into());
    assert!(message.is_empty() || message.len() >= MIN_BYTES);
    assert_eq!(readable(message.clone()).to_bytes(), message.to_bytes(), "what is written can be read");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(name: &str, rest: &[u8]) -> Vec<u8> {
        [&amf0::encode_all(&[name.into()]), rest].concat()
    }

    fn players_get(message: &[u8]) -> Vec<u8> {
        readable(message.to_vec().into()).to_bytes().to_vec()
    }

    fn metadata_of(properties: &[u8], end: &[u8]) -> Vec<u8> {
        message("onMetaData", &[b"\x08\0\0\0\0", WIDTH, properties, end].concat())
    }

    const WIDTH: &[u8] = b"\0\x05width\0\x40\x74\0\0\0\0\0\0";
    const END: &[u8] = b"\0\0\x09";

    #[test]
    fn metadata_that_ffmpeg_reads_passes_as_it_is() {
        let strict_array = b"\0\x01a\x0a\0\0\0\x02\x05\x01\x01";
        let date = [b"\0\x01d\x0b".as_slice(), &[0; 10]].concat();
        let nested = b"\0\x01o\x03\0\x01s\x02\0\x01x\0\0\x09";
        for properties in [b"".as_slice(), strict_array, &date, nested, b"\0\x01l\x0c\0\0\0\x01x"] {
            let metadata = metadata_of(properties, END);
            assert_eq!(players_get(&metadata), metadata);
        }
    }

    #[test]
    fn metadata_at_which_ffmpeg_ends_a_stream_is_written_anew_with_what_can_be_read() {
        let width = [("width".to_owned(), Value::Number(320.0))];
        let long_name = [b"\0\x80".as_slice(), &[b'n'; 128], b"\x05"].concat();
        let faults: [(&[u8], &[u8], Option<Value>); 11] = [
            (b"\0\x01x\x06", END, Some(Value::Null)),
            (b"\0\x01x\x0d", END, Some(Value::Null)),
            (b"\0\x01x\x0f\0\0\0\x04<a/>", END, Some("<a/>".into())),
            (b"\0\x01x\x10\0\x01t\0\0\x09", END, Some(Value::Object(vec![]))),
            (b"\0\x01x\x11\x06\x03a", END, None),
            (b"\0\x01x\x02\xff\xffabc", END, None),
            (&long_name, END, None),
            (b"", b"", None),
            (b"", b"\0\0\x09\0\0\0\0", None),
            (b"", b"\0\0\x09\x05", None),
            (b"", b"\0\0\x09\x03\0\0\x09", None),
        ];
        for (properties, end, kept) in faults {
            let expected: Vec<_> =
                width.iter().cloned().chain(kept.map(|value| ("x".to_owned(), value))).collect();
            let expected = message("onMetaData", &amf0::encode_all(&[Value::EcmaArray(expected)]));
            assert_eq!(players_get(&metadata_of(properties, end)), expected, "{properties:02x?} {end:02x?}");
        }
        let object = message("onMetaData", &[b"\x03", WIDTH, END].concat());
        let expected = message("onMetaData", &amf0::encode_all(&[Value::EcmaArray(width.to_vec())]));
        assert_eq!(players_get(&object), expected);
    }

    #[test]
    fn metadata_without_an_array_is_an_empty_one() {
        let empty = message("onMetaData", b"\x08\0\0\0\0\0\0\x09");
        for rest in [b"".as_slice(), b"\x05", b"\x06", b"\x03\0\0\x09", b"\x08", b"\x02\0\x01x", b"\x11\x0a"]
        {
            assert_eq!(players_get(&message("onMetaData", rest)), empty, "{rest:02x?}");
        }
    }

    #[test]
    fn a_property_name_of_metadata_may_be_as_long_as_ffmpeg_has_room_for() {
        let name = "n".repeat(MAX_PROPERTY_BYTES);
        let properties = [b"\0\x7f".as_slice(), name.as_bytes(), b"\x05"].concat();
        let metadata = metadata_of(&properties, END);
        assert_eq!(players_get(&metadata), metadata);
    }

    #[test]
    fn a_subtitle_passes_if_ffmpeg_finds_its_text() {
        for name in ["onTextData", "onCaption"] {
            for rest in [
                b"\x03\0\x04text\x02\0\x02hi\0\0\x09".as_slice(),
                b"\x08\0\0\0\x02\0\x01x\x01\x01\0\x04text\x02\0\x02hi\0\0\x09",
                b"\x0a\0\0\0\x01\x02\0\x02hi",
            ] {
                let subtitle = message(name, rest);
                assert_eq!(players_get(&subtitle), subtitle);
            }
        }
    }

    #[test]
    fn a_subtitle_whose_text_ffmpeg_does_not_reach_begins_with_it() {
        let text = ("text".to_owned(), Value::from("hi"));
        let date = Value::Date { ms: 0.0, zone_min: 0 };
        for (name, value) in [("when", date), ("a_name_of_twenty_byt", Value::Null), ("x", Value::Undefined)]
        {
            let first = (name.to_owned(), known(value.clone()));
            let sent = Value::Object(vec![(name.to_owned(), value), text.clone()]);
            let expected = Value::Object(vec![text.clone(), first]);
            let sent = message("onTextData", &amf0::encode_all(&[sent]));
            assert_eq!(players_get(&sent), message("onTextData", &amf0::encode_all(&[expected])));
        }
    }

    #[test]
    fn a_subtitle_without_a_text_goes_to_nobody() {
        for rest in [b"".as_slice(), b"\x05", b"\x03\0\x01x\x02\0\x02hi\0\0\x09", b"\x0a\0\0\0\x01\x05"] {
            assert_eq!(players_get(&message("onTextData", rest)), b"", "{rest:02x?}");
        }
    }

    #[test]
    fn a_length_that_points_beyond_a_cue_point_is_put_right() {
        let cue = message("onCuePoint", b"\x03\0\x01a\x05\0\x04name\x02\xff\xffad");
        let expected = message("onCuePoint", b"\x03\0\x01a\x05\0\0\x09");
        assert_eq!(players_get(&cue), expected);
        let access = message("|RtmpSampleAccess", b"\x01\x01\x01\x01");
        assert_eq!(players_get(&access), access);
    }

    #[test]
    fn a_message_that_begins_with_no_name_that_ffmpeg_has_room_for_goes_to_nobody() {
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        for message in [b"\x05", &b"\x03\0\0\x09"[..], b"\x02", b"\x02\0\x09short", &message(&long, b"\x05")]
        {
            assert_eq!(players_get(message), b"", "{message:02x?}");
        }
        let longest = message(&long[1..], b"\x05");
        assert_eq!(players_get(&longest), longest);
    }

    /// `limits.data_message` may be as large as a message can be, and what is rewritten is twice that.
    #[test]
    fn what_grows_beyond_any_message_goes_to_nobody() {
        let metadata = |bytes: usize| {
            let text = [b"\0\x01x\x06\0\x01y\x0c".as_slice(), &(bytes as u32).to_be_bytes()].concat();
            metadata_of(&[text, vec![0xF6; bytes]].concat(), END)
        };
        // The name, the array with `width` and `x`, `y` and its length: 49 bytes beside the text.
        let fits = (MAX_BYTES - 49) / 2;
        assert_eq!(players_get(&metadata(fits)).len(), MAX_BYTES);
        assert_eq!(players_get(&metadata(fits + 1)), b"");
    }

    #[test]
    fn a_short_message_is_filled_up_with_null() {
        assert_eq!(
            players_get(&message("ping", b"\0\0\0\0\0\0\0\0\0")),
            message("ping", b"\0\0\0\0\0\0\0\0\0\x05\x05\x05")
        );
        let long_enough = message("a_name_of_16_byt", b"");
        assert_eq!(long_enough.len(), MIN_BYTES);
        assert_eq!(players_get(&long_enough), long_enough);
    }

    proptest! {
        #[test]
        fn any_message_is_readable_or_gone(
            name in prop::sample::select(vec!["onMetaData", "onTextData", "onCaption", "onCuePoint", "x"]),
            rest in prop::collection::vec(prop_oneof![0u8..0x12, any::<u8>()], 0..64),
        ) {
            check_any_bytes(&message(name, &rest));
            check_any_bytes(&rest);
        }
    }
}
