//! AMF0 values to bytes and back (Action Message Format AMF 0, 2007). Knows nothing of RTMP commands.
//!
//! Memory and time depend on the number of bytes, never on a count in them: see [`MAX_DEPTH`], [`MAX_VALUES`] and
//! [`ErrorKind::TooMuchRepeated`] for the limits.

#![forbid(unsafe_code)]

/// The maximum depth of nested objects and arrays. The deepest real message, `connect` with `videoFourCcInfoMap`, has two.
pub const MAX_DEPTH: usize = 32;

/// The maximum number of values in one message, on all levels. The largest real message is the metadata of a file with a
/// seek index: 2 arrays x 1 key frame every 2 s x 4 h = 14 400. At 72 bytes each that is 1.2 MB.
pub const MAX_VALUES: usize = 16_384;

/// One AMF0 value (§2.1). References are resolved while reading, so a value is always a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// §2.2
    Number(f64),
    /// §2.3; any byte but 0 is true.
    Boolean(bool),
    /// §2.4 and §2.14: one type, written as a Long String when it is longer than 65 535 bytes.
    String(String),
    /// §2.5: anonymous object, with its properties in wire order.
    Object(Vec<(String, Value)>),
    /// §2.7
    Null,
    /// §2.8
    Undefined,
    /// §2.10: "associative array", as in `onMetaData`. Many encoders send a wrong count: it is ignored when read, and right
    /// when written.
    EcmaArray(Vec<(String, Value)>),
    /// §2.12
    StrictArray(Vec<Value>),
    /// §2.13
    Date {
        /// Milliseconds since the Unix epoch, UTC.
        ms: f64,
        /// Minutes from UTC; reserved, 0 by the spec.
        zone_min: i16,
    },
    /// §2.15: a value that its sender could not express.
    Unsupported,
    /// §2.17: an XML document, as text.
    Xml(String),
    /// §2.18
    TypedObject {
        /// Name of the class.
        class: String,
        /// Properties in wire order.
        properties: Vec<(String, Value)>,
    },
}

impl Value {
    /// An anonymous object of these properties.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::Object(properties.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// An ECMA array of these properties.
    pub fn ecma_array<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::EcmaArray(properties.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The properties, if this is an object of either kind or an ECMA array.
    pub fn properties(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) | Self::TypedObject { properties, .. } => {
                Some(properties)
            }
            _ => None,
        }
    }

    /// The property `key`. If there are several, the last one counts, as in ActionScript.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (_, value) = self.properties()?.iter().rfind(|(name, _)| name == key)?;
        Some(value)
    }

    /// The text of a String.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The value of a Number.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The value of a Boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(boolean) = self { Some(*boolean) } else { None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

/// Reads all values of a message body. References count from 0 in each body.
///
/// # Errors
/// As [`Reader`].
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    Reader::new(bytes).collect()
}

/// Why bytes cannot be read as AMF0, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AMF0: {kind} at byte {position} of the message")]
pub struct Error {
    /// Offset from the start of the body: of the marker, or of the incomplete field.
    pub position: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes end inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// A marker that is not in the specification.
    #[error("unknown type marker {0:#04x}")]
    UnknownMarker(u8),
    /// MovieClip (§2.6) and RecordSet (§2.16): reserved, without a defined format.
    #[error("reserved type {0}")]
    Reserved(&'static str),
    /// §3.1: an AMF3 value, which is not supported.
    #[error("an AMF3 value (avmplus-object-marker)")]
    Avmplus,
    /// An Object End in place of a value.
    #[error("an object end outside of an object")]
    StrayObjectEnd,
    /// A reference (§2.9) to an object that is not complete before it.
    #[error("a reference to object {0}, which does not precede it")]
    Reference(u16),
    /// References repeat more bytes than the message has. Without this limit 277 bytes could become 15,000 values, and one
    /// long string in 64 KiB could become 350 MB.
    #[error("references repeat more bytes than the message has")]
    TooMuchRepeated,
    /// Deeper than [`MAX_DEPTH`].
    #[error("more than {MAX_DEPTH} objects inside one another")]
    TooDeep,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooManyValues,
}

/// Reads the values of one message body, one at a time. Ends after an error.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
    /// The position of each object and array, in wire order, as references count them (§2.9). A reference is resolved by
    /// reading its object again, so messages without references cost nothing extra.
    objects: Vec<Referable>,
    values_left: usize,
    repeated_bytes_left: usize,
    /// [`Reader::lenient`].
    is_lenient: bool,
    /// Why an object has no end.
    cut: Option<Error>,
}

#[derive(Clone, Copy, Debug)]
struct Referable {
    start: usize,
    /// None while it is being read: a reference from inside would be a cycle.
    end: Option<usize>,
}

impl Iterator for Reader<'_> {
    type Item = Result<Value, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if let Some(error) = self.cut {
            self.failed = true;
            return Some(Err(error));
        }
        if self.rest().is_empty() {
            return None;
        }
        let value = self.value(0);
        self.failed = value.is_err();
        Some(value)
    }
}

impl std::iter::FusedIterator for Reader<'_> {}

impl<'a> Reader<'a> {
    /// Reads from the start of a message body.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            failed: false,
            objects: Vec::new(),
            values_left: MAX_VALUES,
            repeated_bytes_left: bytes.len(),
            is_lenient: false,
            cut: None,
        }
    }

    /// As [`Reader::new`], for peers that send wrong AMF. A property whose value cannot be read (AMF3, or an unknown type)
    /// is skipped, and reading continues at what looks like the next property. An object without its end has the
    /// properties that were read; the error follows in place of the next value.
    pub fn lenient(bytes: &'a [u8]) -> Self {
        Self { is_lenient: true, ..Self::new(bytes) }
    }

    /// Bytes read so far: after a value, the position of the next one.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The unread bytes.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let start = self.position;
        let error = |kind| Err(Error { position: start, kind });
        if self.values_left == 0 {
            return error(ErrorKind::TooManyValues);
        }
        self.values_left -= 1;
        Ok(match self.u8()? {
            marker::NUMBER => Value::Number(self.f64()?),
            marker::BOOLEAN => Value::Boolean(self.u8()? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::LONG_STRING => Value::String(self.long_text()?),
            marker::XML_DOCUMENT => Value::Xml(self.long_text()?),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::UNSUPPORTED => Value::Unsupported,
            marker::DATE => Value::Date { ms: self.f64()?, zone_min: i16::from_be_bytes(self.array()?) },
            marker @ (marker::OBJECT | marker::ECMA_ARRAY | marker::STRICT_ARRAY | marker::TYPED_OBJECT) => {
                if depth == MAX_DEPTH {
                    return error(ErrorKind::TooDeep);
                }
                self.object(marker, start, depth + 1)?
            }
            marker::REFERENCE => self.referenced(start, depth)?,
            marker::OBJECT_END => return error(ErrorKind::StrayObjectEnd),
            marker::MOVIE_CLIP => return error(ErrorKind::Reserved("MovieClip")),
            marker::RECORD_SET => return error(ErrorKind::Reserved("RecordSet")),
            marker::AVMPLUS => return error(ErrorKind::Avmplus),
            unknown => return error(ErrorKind::UnknownMarker(unknown)),
        })
    }

    /// Reads an object or array, to which references can point, after its marker at `start`.
    fn object(&mut self, marker: u8, start: usize, depth: usize) -> Result<Value, Error> {
        // Objects begin in wire order: one that begins no later than the last is being read again.
        let first_time = self.objects.last().is_none_or(|last| last.start < start);
        let index = self.objects.len();
        if first_time {
            self.objects.push(Referable { start, end: None });
        }
        let value = match marker {
            marker::OBJECT => Value::Object(self.properties(depth)?),
            marker::TYPED_OBJECT => {
                Value::TypedObject { class: self.short_text()?, properties: self.properties(depth)? }
            }
            marker::ECMA_ARRAY => {
                let _count_hint = self.u32()?;
                Value::EcmaArray(self.properties(depth)?)
            }
            _strict_array => {
                let count = self.u32()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth)?);
                }
                Value::StrictArray(values)
            }
        };
        if first_time {
            self.objects[index].end = Some(self.position);
        }
        Ok(value)
    }

    /// Reads names and values up to the object end, which is an empty name and its marker. An empty name before any other
    /// marker is a property.
    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut properties = Vec::new();
        while !self.rest().starts_with(&OBJECT_END) {
            // An object inside has no end: then this one has none either.
            if self.cut.is_some() {
                return Ok(properties);
            }
            match self.property(depth) {
                Ok(property) => properties.push(property),
                Err(error) if self.is_lenient => {
                    if !self.recover(error)? {
                        return Ok(properties);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.position += OBJECT_END.len();
        Ok(properties)
    }

    fn property(&mut self, depth: usize) -> Result<(String, Value), Error> {
        Ok((self.short_text()?, self.value(depth)?))
    }

    /// Continues after a property that cannot be read. False if no further property is found: then the object ends here.
    fn recover(&mut self, error: Error) -> Result<bool, Error> {
        match error.kind {
            // These limit our work.
            ErrorKind::TooDeep | ErrorKind::TooManyValues | ErrorKind::TooMuchRepeated => return Err(error),
            ErrorKind::Truncated => {}
            ErrorKind::UnknownMarker(_)
            | ErrorKind::Reserved(_)
            | ErrorKind::Avmplus
            | ErrorKind::StrayObjectEnd
            | ErrorKind::Reference(_) => {
                // After the marker: each byte is examined once, however often this happens.
                let from = self.bytes.len().min(error.position + 1);
                let next = (from..self.bytes.len()).find(|&at| may_be_property(&self.bytes[at..]));
                if let Some(next) = next {
                    self.position = next;
                    return Ok(true);
                }
            }
        }
        self.position = self.bytes.len();
        self.cut.get_or_insert(error);
        Ok(false)
    }

    /// Reads the object of the reference at `start` again.
    fn referenced(&mut self, start: usize, depth: usize) -> Result<Value, Error> {
        let error = |kind| Error { position: start, kind };
        let index = u16::from_be_bytes(self.array()?);
        let target = self.objects.get(usize::from(index)).copied();
        let Some(Referable { start: first, end: Some(end) }) = target else {
            return Err(error(ErrorKind::Reference(index)));
        };
        self.repeated_bytes_left = self
            .repeated_bytes_left
            .checked_sub(end - first)
            .ok_or_else(|| error(ErrorKind::TooMuchRepeated))?;
        let after = std::mem::replace(&mut self.position, first);
        let value = self.value(depth)?;
        self.position = after;
        Ok(value)
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let len = u16::from_be_bytes(self.array()?);
        self.text(usize::from(len))
    }

    fn long_text(&mut self) -> Result<String, Error> {
        let len = self.u32()?;
        self.text(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// AMF0 text is UTF-8, but cameras and old encoders send names in their own code page. Text that is not UTF-8 is read as
    /// Latin-1: the connection continues, and different texts stay different.
    fn text(&mut self, len: usize) -> Result<String, Error> {
        let bytes = self.take(len)?;
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().copied().map(char::from).collect(),
        })
    }

    fn u8(&mut self) -> Result<u8, Error> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn f64(&mut self) -> Result<f64, Error> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns N bytes"))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let truncated = Error { position: self.position, kind: ErrorKind::Truncated };
        let bytes = self.rest().get(..n).ok_or(truncated)?;
        self.position += n;
        Ok(bytes)
    }
}

/// Whether bytes look like a property or an object end: a short name of letters, and a known marker.
fn may_be_property(bytes: &[u8]) -> bool {
    let [0, len, rest @ ..] = bytes else { return false };
    let len = usize::from(*len);
    match rest.get(len) {
        Some(&marker::OBJECT_END) => len == 0,
        Some(&marker) => {
            let is_known =
                marker <= marker::TYPED_OBJECT && ![marker::MOVIE_CLIP, marker::RECORD_SET].contains(&marker);
            let is_name = |c: &u8| c.is_ascii_alphanumeric() || b"_-.$".contains(c);
            is_known && (1..=MAX_RECOVERED_NAME_BYTES).contains(&len) && rest[..len].iter().all(is_name)
        }
        None => false,
    }
}

/// The longest property name that real clients send in `connect` is `videoFourCcInfoMap`.
const MAX_RECOVERED_NAME_BYTES: usize = 64;

/// The bytes of these values in sequence: a message body.
pub fn encode_all(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| encode(value, &mut out));
    out
}

/// Appends the bytes of a value. A property or class name longer than 65 535 bytes, which AMF0 cannot express, is truncated
/// at a character.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(marker::NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(&[marker::BOOLEAN, u8::from(*boolean)]),
        Value::String(text) if text.len() > usize::from(u16::MAX) => {
            out.push(marker::LONG_STRING);
            encode_long_text(text, out);
        }
        Value::String(text) => {
            out.push(marker::STRING);
            encode_short_text(text, out);
        }
        Value::Object(properties) => {
            out.push(marker::OBJECT);
            encode_properties(properties, out);
        }
        Value::Null => out.push(marker::NULL),
        Value::Undefined => out.push(marker::UNDEFINED),
        Value::EcmaArray(properties) => {
            out.push(marker::ECMA_ARRAY);
            encode_u32(properties.len(), out);
            encode_properties(properties, out);
        }
        Value::StrictArray(values) => {
            out.push(marker::STRICT_ARRAY);
            encode_u32(values.len(), out);
            values.iter().for_each(|value| encode(value, out));
        }
        Value::Date { ms, zone_min } => {
            out.push(marker::DATE);
            out.extend_from_slice(&ms.to_be_bytes());
            out.extend_from_slice(&zone_min.to_be_bytes());
        }
        Value::Unsupported => out.push(marker::UNSUPPORTED),
        Value::Xml(text) => {
            out.push(marker::XML_DOCUMENT);
            encode_long_text(text, out);
        }
        Value::TypedObject { class, properties } => {
            out.push(marker::TYPED_OBJECT);
            encode_short_text(class, out);
            encode_properties(properties, out);
        }
    }
}

fn encode_properties(properties: &[(String, Value)], out: &mut Vec<u8>) {
    for (name, value) in properties {
        encode_short_text(name, out);
        encode(value, out);
    }
    out.extend_from_slice(&OBJECT_END);
}

fn encode_short_text(text: &str, out: &mut Vec<u8>) {
    let max = text.len().min(usize::from(u16::MAX));
    let end = (0..=max).rfind(|&end| text.is_char_boundary(end)).expect("0 is a boundary");
    let len = u16::try_from(end).expect("at most u16::MAX");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn encode_long_text(text: &str, out: &mut Vec<u8>) {
    encode_u32(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn encode_u32(n: usize, out: &mut Vec<u8>) {
    let n = u32::try_from(n).expect("a message is far smaller than 4 GiB");
    out.extend_from_slice(&n.to_be_bytes());
}

/// The end of an object (§2.11): an empty name and the marker.
const OBJECT_END: [u8; 3] = [0, 0, marker::OBJECT_END];

/// Type markers (§2.1, §3.1).
pub(crate) mod marker {
    pub const NUMBER: u8 = 0x00;
    pub const BOOLEAN: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const OBJECT: u8 = 0x03;
    pub const MOVIE_CLIP: u8 = 0x04;
    pub const NULL: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const REFERENCE: u8 = 0x07;
    pub const ECMA_ARRAY: u8 = 0x08;
    pub const OBJECT_END: u8 = 0x09;
    pub const STRICT_ARRAY: u8 = 0x0a;
    pub const DATE: u8 = 0x0b;
    pub const LONG_STRING: u8 = 0x0c;
    pub const UNSUPPORTED: u8 = 0x0d;
    pub const RECORD_SET: u8 = 0x0e;
    pub const XML_DOCUMENT: u8 = 0x0f;
    pub const TYPED_OBJECT: u8 = 0x10;
    pub const AVMPLUS: u8 = 0x11;
}

/// For the tests below and the fuzz target: checks that reading any bytes ends, and that the values are the same after they
/// have been written and read again.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let lenient: Vec<Value> = Reader::lenient(bytes).map_while(Result::ok).collect();
    let Ok(values) = decode(bytes) else { return };
    // Valid bytes are read the same by both readers.
    assert_eq!(encode_all(&lenient), encode_all(&values));
    let written = encode_all(&values);
    let again = decode(&written).expect("our own bytes can be read");
    // By bytes: a NaN is not equal to itself.
    assert_eq!(encode_all(&again), written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_type_has_the_bytes_of_the_spec() {
        for (value, bytes) in one_of_each() {
            assert_eq!(encode_all(std::slice::from_ref(&value)), bytes, "{value:?}");
            assert_eq!(decode(&bytes), Ok(vec![value]));
        }
    }

    #[test]
    fn a_message_is_a_sequence_of_values() {
        let message =
            b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x03app\x02\x00\x04live\x00\x00\x09\x05";
        let app = Value::object([("app", "live".into())]);
        let values = [Value::from("connect"), Value::from(1.0), app, Value::Null];
        assert_eq!(decode(message).as_deref(), Ok(values.as_slice()));
        assert_eq!(encode_all(&values), message);

        let mut reader = Reader::new(message);
        assert_eq!(reader.next(), Some(Ok("connect".into())));
        assert_eq!(reader.position(), 10);
        assert_eq!(reader.rest()[0], marker::NUMBER);
    }

    #[test]
    fn a_value_cut_at_any_byte_is_an_error_and_ends_reading() {
        for (_, bytes) in one_of_each() {
            for cut in 1..bytes.len() {
                let mut reader = Reader::new(&bytes[..cut]);
                let error = reader.next().unwrap().unwrap_err();
                assert_eq!(error.kind, ErrorKind::Truncated, "{cut} of {bytes:02x?}");
                assert!(error.position <= cut);
                assert_eq!(reader.next(), None);
            }
        }
    }

    #[test]
    fn the_count_of_an_ecma_array_is_ignored() {
        for count in [0, 1, 7, u32::MAX] {
            let mut bytes = vec![marker::ECMA_ARRAY];
            bytes.extend_from_slice(&count.to_be_bytes());
            bytes.extend_from_slice(b"\x00\x05width\x05\x00\x06height\x06\x00\x00\x09");
            let expected = Value::ecma_array([("width", Value::Null), ("height", Value::Undefined)]);
            assert_eq!(decode(&bytes), Ok(vec![expected]));
        }
    }

    #[test]
    fn a_strict_array_uses_memory_for_its_bytes_not_for_its_count() {
        let error = decode(b"\x0a\xff\xff\xff\xff\x05\x05\x05\x05\x05").unwrap_err();
        assert_eq!(error, Error { position: 10, kind: ErrorKind::Truncated });
        let error = decode(b"\x0c\xff\xff\xff\xffabcde").unwrap_err();
        assert_eq!(error, Error { position: 5, kind: ErrorKind::Truncated });
    }

    #[test]
    fn text_that_is_not_utf8_is_read_as_latin_1() {
        assert_eq!(decode(b"\x02\x00\x04K\xf6ln"), Ok(vec!["Köln".into()]));
        assert_eq!(decode(b"\x02\x00\x05K\xc3\xb6ln"), Ok(vec!["Köln".into()]));
    }

    #[test]
    fn a_name_too_long_for_amf0_is_truncated_at_a_character() {
        let mut bytes = vec![marker::OBJECT, 0xff, 0xff];
        bytes.resize(3 + 0xffff, 0xf6);
        bytes.extend_from_slice(b"\x05\x00\x00\x09");
        let values = decode(&bytes).unwrap();
        let again = decode(&encode_all(&values)).unwrap();
        assert_eq!(again[0].properties().unwrap()[0].0, "ö".repeat(0xffff / 2));
    }

    #[test]
    fn a_long_text_is_written_as_a_long_string() {
        for (len, first) in [(0xffff, marker::STRING), (0x1_0000, marker::LONG_STRING)] {
            let value = Value::String("x".repeat(len));
            let bytes = encode_all(std::slice::from_ref(&value));
            assert_eq!(bytes[0], first);
            assert_eq!(decode(&bytes), Ok(vec![value]));
        }
    }

    #[test]
    fn the_last_of_several_properties_with_one_name_counts() {
        let value = Value::object([("a", 1.0.into()), ("b", true.into()), ("a", "x".into())]);
        assert_eq!(value.get("a").and_then(Value::as_str), Some("x"));
        assert_eq!(value.get("b").and_then(Value::as_bool), Some(true));
        assert_eq!(value.get("c"), None);
        assert_eq!(Value::Null.get("a"), None);
    }

    #[test]
    fn an_empty_name_is_a_property_like_any_other() {
        let expected = Value::object([("", Value::Null), ("a", Value::Null)]);
        assert_eq!(decode(b"\x03\x00\x00\x05\x00\x01a\x05\x00\x00\x09"), Ok(vec![expected]));
    }

    #[test]
    fn a_reference_is_the_object_with_its_number() {
        // Object 0 contains array 1; after it a reference to the array, and one to the object.
        let both = b"\x03\x00\x01a\x0a\x00\x00\x00\x01\x05\x00\x00\x09\x07\x00\x01\x07\x00\x00";
        let array = Value::StrictArray(vec![Value::Null]);
        let object = Value::object([("a", array.clone())]);
        assert_eq!(decode(both), Ok(vec![object.clone(), array.clone(), object]));
        // Array 0; array 1, which contains a reference to it; a reference to array 1, which is read with its reference.
        let nested = b"\x0a\x00\x00\x00\x01\x05\x0a\x00\x00\x00\x01\x07\x00\x00\x07\x00\x01\x05\x05\x05";
        let outer = Value::StrictArray(vec![array.clone()]);
        let nulls = [Value::Null, Value::Null, Value::Null];
        assert_eq!(decode(nested), Ok([vec![array, outer.clone(), outer], nulls.into()].concat()));
    }

    #[test]
    fn a_reference_to_a_later_or_to_its_own_object_is_an_error() {
        let error = decode(b"\x07\x00\x00").unwrap_err();
        assert_eq!(error, Error { position: 0, kind: ErrorKind::Reference(0) });
        let error = decode(b"\x0a\x00\x00\x00\x01\x07\x00\x00").unwrap_err();
        assert_eq!(error, Error { position: 5, kind: ErrorKind::Reference(0) });
    }

    #[test]
    fn references_cannot_multiply_a_message() {
        // Each array contains the one before it twice: 2^n values from 11n bytes.
        let mut doubling = b"\x0a\x00\x00\x00\x01\x05".to_vec();
        for index in 0..30u8 {
            doubling.extend_from_slice(&[marker::STRICT_ARRAY, 0, 0, 0, 2, 7, 0, index, 7, 0, index]);
        }
        assert_eq!(decode(&doubling).unwrap_err().kind, ErrorKind::TooMuchRepeated);

        let mut long = b"\x03\x00\x01a\x0c\x00\x00\x80\x00".to_vec();
        long.resize(9 + 0x8000, b'x');
        long.extend_from_slice(b"\x00\x00\x09\x07\x00\x00");
        assert_eq!(decode(&long).map(|values| values.len()), Ok(2), "as many bytes as it has");
        long.extend_from_slice(b"\x07\x00\x00");
        assert_eq!(decode(&long).unwrap_err().kind, ErrorKind::TooMuchRepeated);
    }

    #[test]
    fn no_message_becomes_more_values_than_twice_its_bytes() {
        // An array of 100 nulls, and references to it.
        let mut flat = [b"\x0a\x00\x00\x00\x64".as_slice(), &[marker::NULL; 100]].concat();
        flat.extend_from_slice(&b"\x07\x00\x00".repeat(57));
        assert_eq!(flat.len(), 276);
        for references in 0..57 {
            let bytes = &flat[..105 + 3 * references];
            let count = decode(bytes).map(|values| values.iter().map(count_of).sum::<usize>());
            assert!(count.is_err() || count.is_ok_and(|count| count <= 2 * bytes.len()));
        }
        assert_eq!(decode(&flat).unwrap_err().kind, ErrorKind::TooMuchRepeated);
    }

    fn count_of(value: &Value) -> usize {
        match value {
            Value::StrictArray(values) => 1 + values.iter().map(count_of).sum::<usize>(),
            _ => {
                1 + value.properties().into_iter().flatten().map(|(_, value)| count_of(value)).sum::<usize>()
            }
        }
    }

    /// The properties that a lenient reader finds in an object of these bytes, and the error after them.
    fn found(properties: &[u8]) -> (Vec<String>, Option<ErrorKind>) {
        let bytes = [&[marker::OBJECT], properties].concat();
        let mut reader = Reader::lenient(&bytes);
        let object = reader.next().unwrap().unwrap();
        let names = object.properties().unwrap().iter().map(|(name, _)| name.clone()).collect();
        let after = reader.next();
        assert_eq!(reader.next(), None);
        (names, after.map(|error| error.unwrap_err().kind))
    }

    #[test]
    fn one_property_that_cannot_be_read_does_not_lose_the_others() {
        let unreadable: [&[u8]; 8] = [
            b"\x11\x06\x09live",
            b"\x11\x0a\x0b\x01\x07app\x06\x09live\x01",
            b"\x11\x09\x03\x01\x06\x09hvc1",
            b"\x04",
            b"\x12\xff\x00\x00\x20",
            b"\xff",
            b"\x07\x00\x63",
            // An array whose second value cannot be read.
            b"\x0a\x00\x00\x00\x02\x05\x11\x04\x01",
        ];
        for value in unreadable {
            for end in [&b"\x00\x00\x09"[..], b"\x00\x00", b"\x00", b""] {
                let wire =
                    [b"\x00\x03app\x02\x00\x04live\x00\x01x", value, b"\x00\x05tcUrl\x02\x00\x01u", end]
                        .concat();
                let (names, after) = found(&wire);
                assert_eq!(names, ["app", "tcUrl"], "{value:02x?}");
                assert_eq!(after, (end.len() < 3).then_some(ErrorKind::Truncated));
            }
        }
    }

    #[test]
    fn an_object_cut_at_any_byte_keeps_the_properties_before() {
        let wire = b"\x00\x03app\x02\x00\x04live\x00\x01o\x03\x00\x01i\x05\x00\x00\x09\x00\x01z\x01\x01";
        for cut in 0..wire.len() {
            let (names, after) = found(&wire[..cut]);
            let whole = [12, 23, 28].into_iter().filter(|&end| cut >= end).count();
            // The object inside is incomplete, and so is the one around it.
            let inside = usize::from((16..23).contains(&cut));
            assert_eq!(names, ["app", "o", "z"][..whole + inside], "cut at {cut}");
            assert_eq!(after, Some(ErrorKind::Truncated));
        }
    }

    #[test]
    fn limits_apply_to_a_lenient_reader_as_well() {
        for bomb in [b"\x03\x00\x01x".repeat(MAX_DEPTH + 1), b"\x0a\x00\x00\xff\xff".repeat(40)] {
            let error = Reader::lenient(&bomb).next().unwrap().unwrap_err();
            assert_eq!(error.kind, ErrorKind::TooDeep);
        }
        let mut wide = vec![marker::OBJECT];
        wide.extend_from_slice(&b"\x00\x01x\x05".repeat(MAX_VALUES));
        assert_eq!(Reader::lenient(&wide).next().unwrap().unwrap_err().kind, ErrorKind::TooManyValues);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let mut bytes = b"\x0a\x00\x00\x00\x01".repeat(depth);
            bytes.push(marker::NULL);
            bytes
        };
        assert!(decode(&nested(MAX_DEPTH)).is_ok());
        let error = decode(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(error, Error { position: 5 * MAX_DEPTH, kind: ErrorKind::TooDeep });
        assert_eq!(decode(&nested(1_000_000)).unwrap_err().kind, ErrorKind::TooDeep);
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        assert_eq!(decode(&[marker::NULL; MAX_VALUES]).map(|values| values.len()), Ok(MAX_VALUES));
        let error = decode(&[marker::NULL; MAX_VALUES + 1]).unwrap_err();
        assert_eq!(error, Error { position: MAX_VALUES, kind: ErrorKind::TooManyValues });
    }

    #[test]
    fn an_unsupported_type_is_an_error_that_names_it() {
        for (marker, text) in [
            (0x04, "AMF0: reserved type MovieClip at byte 1 of the message"),
            (0x09, "AMF0: an object end outside of an object at byte 1 of the message"),
            (0x0e, "AMF0: reserved type RecordSet at byte 1 of the message"),
            (0x11, "AMF0: an AMF3 value (avmplus-object-marker) at byte 1 of the message"),
            (0x12, "AMF0: unknown type marker 0x12 at byte 1 of the message"),
        ] {
            assert_eq!(decode(&[0x05, marker, 0, 0]).unwrap_err().to_string(), text);
        }
    }

    fn one_of_each() -> Vec<(Value, Vec<u8>)> {
        let typed = Value::TypedObject { class: "C".into(), properties: vec![("a".into(), Value::Null)] };
        let date = Value::Date { ms: 1.0, zone_min: -60 };
        let array = Value::StrictArray(vec![Value::Null, true.into()]);
        [
            (Value::Number(-2.5), b"\x00\xc0\x04\0\0\0\0\0\0".as_slice()),
            (true.into(), b"\x01\x01"),
            (false.into(), b"\x01\x00"),
            ("".into(), b"\x02\x00\x00"),
            ("live".into(), b"\x02\x00\x04live"),
            (Value::object([]), b"\x03\x00\x00\x09"),
            (Value::object([("a", 0.0.into())]), b"\x03\x00\x01a\x00\0\0\0\0\0\0\0\0\x00\x00\x09"),
            (Value::Null, b"\x05"),
            (Value::Undefined, b"\x06"),
            (Value::ecma_array([("a", Value::Null)]), b"\x08\x00\x00\x00\x01\x00\x01a\x05\x00\x00\x09"),
            (array, b"\x0a\x00\x00\x00\x02\x05\x01\x01"),
            (date, b"\x0b\x3f\xf0\0\0\0\0\0\0\xff\xc4"),
            (Value::Unsupported, b"\x0d"),
            (Value::Xml("<a/>".into()), b"\x0f\x00\x00\x00\x04<a/>"),
            (typed, b"\x10\x00\x01C\x00\x01a\x05\x00\x00\x09"),
        ]
        .map(|(value, bytes)| (value, bytes.to_vec()))
        .into()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>().prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            any::<String>().prop_map(Value::String),
            any::<String>().prop_map(Value::Xml),
            (any::<f64>(), any::<i16>()).prop_map(|(ms, zone_min)| Value::Date { ms, zone_min }),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let properties = prop::collection::vec((any::<String>(), inner.clone()), 0..8);
            prop_oneof![
                properties.clone().prop_map(Value::Object),
                properties.clone().prop_map(Value::EcmaArray),
                (any::<String>(), properties)
                    .prop_map(|(class, properties)| Value::TypedObject { class, properties }),
                prop::collection::vec(inner, 0..8).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_values_are_the_same_after_a_round_trip(values in prop::collection::vec(any_value(), 0..4)) {
            let bytes = encode_all(&values);
            let read = decode(&bytes).unwrap();
            prop_assert_eq!(encode_all(&read), bytes);
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            check_any_bytes(&bytes);
        }

        #[test]
        fn any_bytes_near_values_are_values_or_an_error(
            values in prop::collection::vec(any_value(), 1..4),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = encode_all(&values);
            for (index, byte) in changes {
                *index.get_mut(&mut bytes) = byte;
            }
            check_any_bytes(&bytes);
        }
    }
}
