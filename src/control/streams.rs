//! A stream in the API: what its publisher sends, from sequence headers and metadata.

use std::net::SocketAddr;

use serde::Serialize;

use super::{
    descriptions::{Description, Metadata},
    history::{Rates, Watched},
};
use crate::{
    endpoint::{ClientName, KnownPublisher, Protocol, report::StreamReport},
    flv::{
        audio,
        codec::{self, AudioConfig, VideoConfig},
        video,
    },
    stream::Facts,
};

/// A stream of the API.
#[derive(Debug, Serialize)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) is_live: bool,
    pub(super) started_at: Option<String>,
    pub(super) duration_ms: Option<u64>,
    pub(super) idle_ms: Option<u64>,
    pub(super) newest_timestamp_ms: Option<u32>,
    pub(super) publisher: Option<Publisher>,
    pub(super) video: Option<Video>,
    pub(super) video_tracks: usize,
    pub(super) audio: Option<Audio>,
    pub(super) audio_tracks: usize,
    pub(super) encoder: Option<String>,
    pub(super) received_kbps: u64,
    pub(super) received_bytes: u64,
    pub(super) received_frames: u64,
    pub(super) players: Players,
    pub(super) sent_kbps: u64,
    pub(super) skips: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Publisher {
    pub(super) id: u64,
    /// Only for clients that may read, as is the client's name.
    pub(super) peer: Option<SocketAddr>,
    pub(super) client: Option<ClientName>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Video {
    codec: String,
    codec_string: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    pub(super) fps: Option<f64>,
    key_frame_interval_ms: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Audio {
    codec: String,
    codec_string: Option<String>,
    sample_rate_hz: Option<u32>,
    channels: Option<u8>,
}

/// Players by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Players {
    rtmp: u64,
    http_flv: u64,
    websocket_flv: u64,
    total: u64,
}

impl Players {
    pub(super) fn of(by_protocol: [u64; Protocol::COUNT]) -> Self {
        let of = |protocol: Protocol| by_protocol[protocol.index()];
        Self {
            rtmp: of(Protocol::Rtmp),
            http_flv: of(Protocol::HttpFlv),
            websocket_flv: of(Protocol::WebsocketFlv),
            total: by_protocol.iter().sum(),
        }
    }
}

impl Stream {
    /// `publisher` is none for clients that may not read; `now_ms` is on the relay's clock, of which `date` gives dates.
    pub(super) fn of(
        report: &StreamReport,
        description: &Description,
        publisher: Option<KnownPublisher>,
        rates: Rates,
        watched: Watched,
        now_ms: u64,
        date: impl FnOnce(u64) -> String,
    ) -> Self {
        let facts = &report.facts;
        let (peer, client) = publisher.map(|it| (it.peer, it.client)).unzip();
        let has_published = report.is_live && facts.frames > 0;
        Self {
            name: report.name.to_string(),
            is_live: report.is_live,
            started_at: has_published.then(|| date(facts.since_ms)),
            duration_ms: has_published.then(|| now_ms.saturating_sub(facts.since_ms)),
            idle_ms: report.silent_ms,
            newest_timestamp_ms: newest_timestamp_ms(report, now_ms),
            publisher: report.publisher.filter(|_| report.is_live).map(|id| Publisher {
                id,
                peer,
                client: client.flatten(),
            }),
            video: video(facts, description, rates.fps),
            video_tracks: facts.video_tracks,
            audio: audio(facts, description),
            audio_tracks: facts.audio_tracks,
            encoder: description.metadata.encoder.clone(),
            received_kbps: rates.received_kbps,
            received_bytes: facts.bytes,
            received_frames: facts.frames,
            players: Players::of(watched.players),
            sent_kbps: rates.sent_kbps,
            skips: report.totals.skips,
        }
    }
}

/// The facts are up to half a second old, and media comes in real time: what has come since they were written is as long as
/// the time from then until the publisher was last heard.
fn newest_timestamp_ms(report: &StreamReport, now_ms: u64) -> Option<u32> {
    let newest = report.facts.newest?;
    let since_ms = now_ms.saturating_sub(newest.at_ms).saturating_sub(report.silent_ms?);
    Some(newest.timestamp_ms.wrapping_add(since_ms as u32))
}

/// Decoders use the sequence headers, so these take precedence over the metadata, which may be from another time or
/// another encoder.
fn video(facts: &Facts, description: &Description, measured_fps: Option<f64>) -> Option<Video> {
    let message = facts.video.as_ref().or(facts.video_header.as_ref())?;
    let VideoConfig { codec_string, width, height, frame_rate } = description.video.clone();
    let Metadata { width: metadata_width, height: metadata_height, frame_rate: metadata_rate, .. } =
        description.metadata;
    // Width and height are from the same source.
    let size = width
        .zip(height)
        .map_or((metadata_width, metadata_height), |(width, height)| (Some(width), Some(height)));
    Some(Video {
        codec: video::Header::parse(message).codec.to_string(),
        codec_string,
        width: size.0,
        height: size.1,
        fps: self::frame_rate([frame_rate, metadata_rate], measured_fps),
        key_frame_interval_ms: facts.key_frame_interval_ms,
    })
}

/// A nominal frame rate is exact if it is right; a measured one is off by a frame or two.
fn frame_rate(nominal: [Option<f64>; 2], measured: Option<f64>) -> Option<f64> {
    let mut nominal = nominal.into_iter().flatten();
    match measured {
        Some(measured) => nominal
            .find(|nominal| (nominal - measured).abs() <= nominal / 10.0)
            .or_else(|| Some((measured * 10.0).round() / 10.0)),
        None => nominal.next(),
    }
}

fn audio(facts: &Facts, description: &Description) -> Option<Audio> {
    let message = facts.audio.as_ref().or(facts.audio_header.as_ref())?;
    let header = &description.audio;
    // A codec without a sequence header has the values in each frame.
    let AudioConfig { codec_string, sample_rate, channels } = codec::audio_frame(message);
    let metadata = &description.metadata;
    Some(Audio {
        codec: audio::Header::parse(message).codec.to_string(),
        codec_string: header.codec_string.clone().or(codec_string),
        sample_rate_hz: header.sample_rate.or(sample_rate).or(metadata.sample_rate),
        channels: header.channels.or(channels).or(metadata.channels),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        amf0::{self, Value},
        stream::MediaTime,
    };

    fn metadata(properties: &[(&str, Value)]) -> Option<Bytes> {
        let mut body = Vec::new();
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        for value in ["onMetaData".into(), Value::EcmaArray(properties)] {
            amf0::encode(&value, &mut body);
        }
        Some(body.into())
    }

    fn facts() -> Facts {
        Facts {
            frames: 1,
            metadata: metadata(&[
                ("width", 1280.0.into()),
                ("height", 720.0.into()),
                ("framerate", 30.0.into()),
                ("encoder", "Lavf59\u{1b}[2J".into()),
            ]),
            video: Some(Bytes::from_static(b"\x27\x01\0\0\0")),
            video_header: Some(Bytes::from_static(b"\x17\0\0\0\0\x01\x64\0\x1f\xff")),
            audio: Some(Bytes::from_static(b"\xaf\x01")),
            audio_header: Some(Bytes::from_static(b"\xaf\0\x12\x10")),
            key_frame_interval_ms: Some(2000),
            ..Facts::default()
        }
    }

    fn of(facts: Facts, fps: Option<f64>) -> Stream {
        let facts = facts.into();
        let report = StreamReport {
            name: "live/a".into(),
            is_live: true,
            publisher: Some(7),
            silent_ms: Some(3),
            facts,
            was_published: true,
            totals: Default::default(),
        };
        let publisher = KnownPublisher { peer: ([192, 0, 2, 1], 5).into(), client: ClientName::of("OBS/30") };
        let description = Description::of(&report.facts);
        let rates = Rates { fps, ..Rates::default() };
        let date = |at_ms| format!("{at_ms} ms");
        Stream::of(&report, &description, Some(publisher), rates, Watched::default(), 60_000, date)
    }

    #[test]
    fn a_stream_of_h264_and_aac_has_all_fields() {
        let json = serde_json::to_value(of(facts(), Some(29.4))).unwrap();
        assert_eq!(
            json["video"],
            serde_json::json!({"codec": "H.264", "codec_string": "avc1.64001F", "width": 1280, "height": 720,
                "fps": 30.0, "key_frame_interval_ms": 2000})
        );
        assert_eq!(
            json["audio"],
            serde_json::json!({"codec": "AAC", "codec_string": "mp4a.40.2", "sample_rate_hz": 44100, "channels": 2})
        );
        assert_eq!(json["encoder"], "Lavf59[2J", "no control characters");
        assert_eq!(
            json["publisher"],
            serde_json::json!({"id": 7, "peer": "192.0.2.1:5", "client": "OBS/30"})
        );
        assert_eq!((&json["duration_ms"], &json["started_at"]), (&60_000.into(), &"0 ms".into()));
    }

    #[test]
    fn the_newest_timestamp_is_as_of_now_and_stands_still_while_the_publisher_is_silent() {
        let newest = |silent_ms, timestamp_ms, at_ms| {
            let newest = Some(MediaTime { timestamp_ms, at_ms });
            let facts = Arc::new(Facts { newest, ..facts() });
            let report = StreamReport {
                name: "live/a".into(),
                is_live: true,
                publisher: Some(7),
                silent_ms,
                facts,
                was_published: true,
                totals: Default::default(),
            };
            newest_timestamp_ms(&report, 60_000)
        };
        assert_eq!(newest(Some(10), 5_000, 59_600), Some(5_390));
        assert_eq!(newest(Some(7_000), 5_000, 52_900), Some(5_100));
        assert_eq!(newest(Some(7_000), 5_000, 53_000), Some(5_000));
        assert_eq!(newest(Some(0), u32::MAX, 59_999), Some(0), "RTMP's timestamps wrap");
        assert_eq!(newest(None, 5_000, 59_600), None, "not live");
    }

    #[test]
    fn a_wrong_nominal_frame_rate_is_ignored() {
        assert_eq!(of(facts(), Some(14.96)).video.unwrap().fps, Some(15.0));
        assert_eq!(of(facts(), None).video.unwrap().fps, Some(30.0));
        assert_eq!(of(Facts { metadata: None, ..facts() }, Some(25.04)).video.unwrap().fps, Some(25.0));
    }

    #[test]
    fn sequence_headers_take_precedence_over_metadata() {
        // 1918 x 1078 at 29.97, and 48 kHz in one channel.
        let record = b"\x01\x64\0\x28\xff\xe1\0\x1a\x67\x64\0\x28\xac\xd9\x40\x78\x02\x27\xa9\xb0\x11\0\0\x03\x03\xe9\0\0\
                       \xea\x60\x0f\x18\x31\x96";
        let with = |metadata| Facts {
            video_header: Some([b"\x17\0\0\0\0", &record[..]].concat().into()),
            audio_header: Some(Bytes::from_static(b"\xaf\0\x11\x88")),
            metadata,
            ..facts()
        };
        let false_audio =
            metadata(&[("width", 1.0.into()), ("audiosamplerate", 8_000.0.into()), ("stereo", true.into())]);
        for metadata in [facts().metadata, false_audio, None] {
            let stream = of(with(metadata), None);
            let (video, audio) = (stream.video.unwrap(), stream.audio.unwrap());
            assert_eq!((video.width, video.height, video.fps), (Some(1918), Some(1078), Some(29.97)));
            assert_eq!((audio.sample_rate_hz, audio.channels), (Some(48_000), Some(1)));
        }
        // The header has the wrong frame rate, and the metadata the right one.
        assert_eq!(
            of(with(metadata(&[("framerate", 15.0.into())])), Some(14.8)).video.unwrap().fps,
            Some(15.0)
        );
        // G.711 has no sequence header; its frames have the values.
        let plain = Facts { audio: Some(Bytes::from_static(b"\x72\xd5")), audio_header: None, ..facts() };
        assert_eq!(of(plain, None).audio.unwrap().sample_rate_hz, Some(8_000));
    }

    #[test]
    fn a_value_that_was_not_sent_is_null() {
        let stream = of(Facts::default(), None);
        assert!(stream.video.is_none() && stream.audio.is_none() && stream.encoder.is_none());
        assert_eq!((stream.duration_ms, stream.started_at), (None, None));
        let odd =
            metadata(&[("width", (-1.0).into()), ("height", f64::NAN.into()), ("framerate", 1e9.into())]);
        let video = of(Facts { metadata: odd, ..facts() }, None).video.unwrap();
        assert_eq!((video.width, video.height, video.fps), (None, None, None));
        let broken = Facts { metadata: Some(Bytes::from_static(b"\x02\0\x0a")), ..facts() };
        assert!(of(broken, None).encoder.is_none());
    }

    #[test]
    fn enhanced_codecs_are_identified_by_four_cc() {
        let video = Bytes::from_static(b"\x90hvc1\x01\x01\x60\0\0\0\xb0\0\0\0\0\0\x5d\xf0");
        let audio = Bytes::from_static(b"\x90OpusOpusHead\x01\x02");
        let stream = of(
            Facts {
                video_header: Some(video),
                video: None,
                audio_header: Some(audio),
                audio: None,
                ..facts()
            },
            None,
        );
        let video = stream.video.unwrap();
        assert_eq!((video.codec.as_str(), video.codec_string.as_deref()), ("HEVC", Some("hvc1.1.6.L93.B0")));
        let audio = stream.audio.unwrap();
        assert_eq!(
            (audio.codec.as_str(), audio.sample_rate_hz, audio.channels),
            ("Opus", Some(48_000), Some(2))
        );
    }
}
