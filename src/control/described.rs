//! What sequence headers and metadata say of each stream, read once for as long as they are the same: a list of streams
//! costs no more than what has changed.

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

/// Headers that change faster than this are not read each time.
const BETWEEN: Duration = Duration::from_secs(1);
/// `onMetaData` beyond this is not read: real ones are below 1 KiB, those with an index of key frames some 10.
const MAX_METADATA_BYTES: usize = 64 << 10;
/// The longest text of metadata that is shown, in characters: names of encoders have a third of it.
const MAX_TEXT: usize = 100;

/// All that has been read.
#[derive(Default)]
pub(super) struct Descriptions {
    by_name: Mutex<HashMap<Arc<str>, Known>>,
}

struct Known {
    read: Instant,
    since_ms: u64,
    headers: Headers,
    description: Arc<Description>,
}

/// Metadata and sequence headers, told apart by where they are in memory: as long as these are held, nothing else is
/// there.
#[derive(Clone)]
struct Headers([Option<Bytes>; 3]);

/// What headers say of a stream.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) video: VideoConfig,
    pub(super) audio: AudioConfig,
    pub(super) metadata: Metadata,
}

/// What of `onMetaData` is told. Its values are what an encoder says, so each is held to what it can be.
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
    /// Of this stream, as its headers are now; or as they were within the last second.
    pub(super) fn of(&self, report: &StreamReport, now: Instant) -> Arc<Description> {
        let facts = &*report.facts;
        let headers = Headers::of(facts);
        let mut by_name = self.by_name();
        if let Some(known) = by_name.get(&report.name) {
            let is_fresh = now.saturating_duration_since(known.read) < BETWEEN;
            if known.since_ms == facts.since_ms && (is_fresh || known.headers.are(&headers)) {
                return known.description.clone();
            }
        }
        let description = Arc::new(Description::of(facts));
        let known = Known { read: now, since_ms: facts.since_ms, headers, description: description.clone() };
        by_name.insert(report.name.clone(), known);
        description
    }

    /// Forgets the streams that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.by_name().retain(|name, _| is_there(name));
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        // What is in it is whole between any two statements.
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
            plain.take(MAX_TEXT).collect::<String>()
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
        StreamReport { name: "live/a".into(), is_live: true, publisher: None, silent_ms: None, facts }
    }

    #[test]
    fn headers_are_read_once_as_long_as_they_are_the_same() {
        let (descriptions, start) = (Descriptions::default(), Instant::now());
        let bytes = metadata(640.0);
        // The facts are written anew, and hold the same bytes.
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
    fn a_change_is_read_within_a_second_and_no_sooner_than_that_again() {
        let (descriptions, start) = (Descriptions::default(), Instant::now());
        let width = |since_ms, width, at_ms| {
            let at = start + Duration::from_millis(at_ms);
            descriptions.of(&report(since_ms, metadata(width)), at).metadata.width
        };
        assert_eq!(width(1, 640.0, 0), Some(640));
        assert_eq!(
            width(1, 1280.0, 999),
            Some(640),
            "headers that change all the time are read once a second"
        );
        assert_eq!(width(1, 1280.0, 1_000), Some(1280));
        assert_eq!(width(2, 1920.0, 1_001), Some(1920), "another publish is another stream");
    }

    #[test]
    fn metadata_is_read_up_to_its_bound() {
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
