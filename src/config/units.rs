//! Durations such as `"10s"` and sizes such as `"32MiB"`: parsing, display, serde.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

/// For `#[serde(with = …)]` on a `Duration`.
pub struct DurationText;

impl DurationText {
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        from.deserialize_str(Text::new("a duration in quotes, such as \"10s\" or \"150ms\"", parse_duration))
    }

    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show_duration(*value))
    }
}

/// For `#[serde(with = …)]` on a `usize` of bytes.
pub struct SizeText;

impl SizeText {
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
        from.deserialize_str(Text::new("a size in quotes, such as \"32MiB\"", parse_size))
    }

    pub fn serialize<S: Serializer>(value: &usize, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show_size(*value as u64))
    }
}

/// `10s`, `1m 30s`, `0s`: as [`parse_duration`] reads it.
pub fn show_duration(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}

/// In the largest unit that gives a whole number: `32MiB`, `1500B`.
pub fn show_size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|&(_, factor)| bytes >= factor && bytes.is_multiple_of(factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration with a unit, such as 150ms, 10s or 1m 30s"))
}

fn parse_size(text: &str) -> Result<usize, String> {
    let invalid = |_| format!("`{text}` is not a size, such as 32MiB, 512KiB or 1GB");
    let size: ByteSize = text.trim().parse().map_err(invalid)?;
    usize::try_from(size.as_u64()).map_err(|_| format!("`{text}` is more than this machine can address"))
}

/// A string that a function parses.
struct Text<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, String>,
    value: PhantomData<T>,
}

impl<T> Text<T> {
    fn new(expecting: &'static str, parse: fn(&str) -> Result<T, String>) -> Text<T> {
        Text { expecting, parse, value: PhantomData }
    }
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displayed_duration_parses_to_the_same() {
        for ms in [0, 1, 150, 999, 1000, 61_500, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn a_displayed_size_parses_to_the_same() {
        for bytes in [0, 1, 1023, 1024, 1500, 1 << 20, (32 << 20) + 1, 4 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes as usize));
        }
        assert_eq!(show_size(32 << 20), "32MiB");
        assert_eq!(show_size(1500), "1500B");
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_an_example() {
        let error = parse_duration("10").unwrap_err();
        assert!(error.contains("10") && error.contains("unit"), "{error}");
    }

    #[test]
    fn a_size_in_an_unknown_unit_is_refused_and_named() {
        assert!(parse_size("32 MiBytes").unwrap_err().contains("32 MiBytes"));
        assert!(parse_size("").is_err());
        assert!(parse_size("-1MiB").is_err());
    }
}
