//! What sequence headers and metadata say about each stream. They are parsed once for as long as they do not change, so
//! a list of streams costs only the parsing of what changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    amf0::{self, Value},
    endpoint::report::StreamReport,
    flv::codec::{self, AudioConfig, VideoConfig},
    stream::Facts,
};

/// Headers that change more often than this are not parsed each time.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Larger `onMetaData` is not parsed: usually it is below 1 KiB, with an index of key frames about 10 KiB.
const MAX_METADATA_BYTES: usize = 64 << 10;
/// The longest text of metadata that is shown, in characters: three times a typical encoder's name.
const MAX_TEXT_CHARS: usize = 100;

/// The newest description of each stream.
#[derive(Default)]
pub(super) struct Descriptions {
    by_name: Mutex<HashMap<Arc<str>, Parsed>>,
}

struct Parsed {
    at: Instant,
    since_ms: u64,
    headers: Headers,
    description: Arc<Description>,
}

/// Metadata and sequence headers, compared by their addresses in memory: while these are held, nothing else has the
/// same address.
#[derive(Clone)]
struct Headers([Option<Bytes>; 3]);

/// What the headers say about a stream.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) video: VideoConfig,
    pub(super) audio: AudioConfig,
    pub(super) metadata: Metadata,
}

/// The parts of `onMetaData` that the API shows. An encoder may send anything, so implausible values are dropped.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metadata {
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) frame_rate: Option<f64>,
    pub(super) sample_rate: Option<u32>,
    pub(super) channels: Option<u8>,
    pub(super) encoder: Option<String>,
}

impl Descriptions {
    /// The description of this stream from its current headers, or from those of up to a second ago.
    pub(super) fn of(&self, report: &StreamReport, now: Instant) -> Arc<Description> {
        let facts = &*report.facts;
        let headers = Headers::of(facts);
        let mut by_name = self.by_name();
        if let Some(parsed) = by_name.get(&report.name) {
            let is_fresh = now.saturating_duration_since(parsed.at) < MAX_AGE;
            if parsed.since_ms == facts.since_ms && (is_fresh || parsed.headers.are(&headers)) {
                return parsed.description.clone();
            }
        }
        let description = Arc::new(Description::of(facts));
        let parsed = Parsed { at: now, since_ms: facts.since_ms, headers, description: description.clone() };
        by_name.insert(report.name.clone(), parsed);
        description
    }

    /// Drops streams that no longer exist.
    pub(super) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.by_name().retain(|name, _| exists(name));
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Arc<str>, Parsed>> {
        // The map is consistent between any two statements.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Headers {
    fn of(facts: &Facts) -> Self {
        Self([facts.metadata.clone(), facts.video_header.clone(), facts.audio_header.clone()])
    }

    fn are(&self, others: &Self) -> bool {
        let place = |header: &Option<Bytes>| header.as_ref().map(|bytes| (bytes.as_ptr(), bytes.len()));
        self.0.iter().map(place).eq(others.0.iter().map(place))
    }
}

impl Description {
    pub(super) fn of(facts: &Facts) -> Self {
        Self {
            video: facts.video_header.as_deref().map(codec::video).unwrap_or_default(),
            audio: facts.audio_header.as_deref().map(codec::audio).unwrap_or_default(),
            metadata: facts.metadata.as_deref().map(Metadata::of).unwrap_or_default(),
        }
    }
}

impl Metadata {
    fn of(body: &[u8]) -> Self {
        if body.len() > MAX_METADATA_BYTES {
            return Self::default();
        }
        let mut values = amf0::Reader::lenient(body).map_while(Result::ok);
        let Some(values) = values.find(|value| value.properties().is_some()) else {
            return Self::default();
        };
        let number = |key: &str, max: f64| {
            let number = values.get(key).and_then(Value::as_number);
            number.filter(|number| *number > 0.0 && *number <= max)
        };
        let whole = |key, max| number(key, max).map(|number| number as u32).filter(|&number| number > 0);
        let stereo = || values.get("stereo").and_then(Value::as_bool);
        let encoder = values.get("encoder").and_then(Value::as_str).map(|text| {
            let plain = text.chars().filter(|c| !c.is_control());
            plain.take(MAX_TEXT_CHARS).collect::<String>()
        });
        Self {
            width: whole("width", 65_536.0),
            height: whole("height", 65_536.0),
            frame_rate: number("framerate", 1_000.0),
            sample_rate: whole("audiosamplerate", 768_000.0),
            channels: whole("audiochannels", 255.0)
                .map(|channels| channels as u8)
                .or_else(|| stereo().map(|stereo| if stereo { 2 } else { 1 })),
            encoder: encoder.filter(|text| !text.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(width: f64) -> Option<Bytes> {
        let values = Value::EcmaArray(vec![("width".to_owned(), width.into())]);
        Some(amf0::encode_all(&["onMetaData".into(), values]).into())
    }

    fn report(since_ms: u64, metadata: Option<Bytes>) -> StreamReport {
        let facts = Facts { since_ms, metadata, frames: 1, ..Facts::default() }.into();
        StreamReport {
            name: "live/a".into(),
            is_live: true,
            publisher: None,
            silent_ms: None,
            facts,
            was_published: true,
            totals: Default::default(),
        }
    }

    #[test]
    fn headers_are_parsed_once_while_they_do_not_change() {
        let (descriptions, start) = (Descriptions::default(), Instant::now());
        let bytes = metadata(640.0);
        // New facts with the same bytes.
        let first = descriptions.of(&report(1, bytes.clone()), start);
        for seconds in 0..100 {
            let again = descriptions.of(&report(1, bytes.clone()), start + Duration::from_secs(seconds));
            assert!(Arc::ptr_eq(&first, &again));
        }
        assert_eq!(first.metadata.width, Some(640));
        descriptions.retain(|name| name == "live/a");
        assert_eq!(descriptions.by_name().len(), 1);
        descriptions.retain(|_| false);
        assert!(descriptions.by_name().is_empty());
    }

    #[test]
    fn a_change_is_parsed_after_a_second_at_the_latest_and_at_most_once_per_second() {
        let (descriptions, start) = (Descriptions::default(), Instant::now());
        let width = |since_ms, width, at_ms| {
            let at = start + Duration::from_millis(at_ms);
            descriptions.of(&report(since_ms, metadata(width)), at).metadata.width
        };
        assert_eq!(width(1, 640.0, 0), Some(640));
        assert_eq!(width(1, 1280.0, 999), Some(640), "headers that keep changing are parsed once per second");
        assert_eq!(width(1, 1280.0, 1_000), Some(1280));
        assert_eq!(width(2, 1920.0, 1_001), Some(1920), "another publisher is another stream");
    }

    #[test]
    fn metadata_is_parsed_up_to_its_limit() {
        let of = |padding: usize| {
            let values = Value::EcmaArray(vec![
                ("width".to_owned(), 640.0.into()),
                ("padding".to_owned(), "x".repeat(padding).as_str().into()),
            ]);
            let body = amf0::encode_all(&["onMetaData".into(), values]);
            (body.len(), Metadata::of(&body).width)
        };
        let (beside, _) = of(60_000);
        let fitting = MAX_METADATA_BYTES - (beside - 60_000);
        assert_eq!(of(fitting), (MAX_METADATA_BYTES, Some(640)));
        assert_eq!(of(fitting + 1), (MAX_METADATA_BYTES + 1, None));
    }
}
