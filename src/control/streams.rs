//! A stream as the API tells of it: what its publisher has sent, read from headers and metadata.

use std::net::SocketAddr;

use serde::Serialize;

use super::{
    codec,
    history::{Rates, Watched},
};
use crate::{
    amf0::{self, Value},
    flv::{
        audio::{self, AudioCodec},
        video::{self, VideoCodec},
    },
    net::{Protocol, report::StreamReport},
    stream::Facts,
};

/// A stream of the API.
#[derive(Debug, Serialize)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) is_live: bool,
    pub(super) uptime_ms: Option<u64>,
    pub(super) silent_ms: Option<u64>,
    pub(super) publisher: Option<Publisher>,
    pub(super) video: Option<Video>,
    pub(super) audio: Option<Audio>,
    pub(super) encoder: Option<String>,
    pub(super) kbps: u64,
    pub(super) bytes_in: u64,
    pub(super) frames_in: u64,
    pub(super) players: Players,
    pub(super) kbps_out: u64,
    pub(super) skips: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Publisher {
    pub(super) id: u64,
    /// For those who may read.
    pub(super) address: Option<SocketAddr>,
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
    sample_rate: Option<u32>,
    channels: Option<u8>,
}

/// Players by their protocol.
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
    /// `publisher` is where it comes from, for those who may read; `now_ms` is on the relay's clock.
    pub(super) fn of(
        report: &StreamReport,
        publisher: Option<SocketAddr>,
        rates: Rates,
        watched: Watched,
        now_ms: u64,
    ) -> Self {
        let facts = &report.facts;
        let metadata = Metadata::of(facts);
        let has_published = report.is_live && facts.frames > 0;
        Self {
            name: report.name.to_string(),
            is_live: report.is_live,
            uptime_ms: has_published.then(|| now_ms.saturating_sub(facts.since_ms)),
            silent_ms: report.silent_ms,
            publisher: report
                .publisher
                .filter(|_| report.is_live)
                .map(|id| Publisher { id, address: publisher }),
            video: video(facts, &metadata, rates.fps),
            audio: audio(facts, &metadata),
            encoder: metadata.text("encoder"),
            kbps: rates.kbps_in,
            bytes_in: facts.bytes,
            frames_in: facts.frames,
            players: Players::of(watched.players),
            kbps_out: rates.kbps_out,
            skips: watched.skips,
        }
    }
}

fn video(facts: &Facts, metadata: &Metadata, measured_fps: Option<f64>) -> Option<Video> {
    let message = facts.video.as_ref().or(facts.video_header.as_ref())?;
    let codec = video::Header::parse(message).codec;
    let configuration = facts.video_header.as_deref().and_then(video_configuration);
    let codec_string = configuration.and_then(|configuration| match codec {
        VideoCodec::LEGACY_AVC | VideoCodec::AVC => codec::avc(configuration),
        VideoCodec::LEGACY_HEVC | VideoCodec::HEVC => codec::hevc(configuration),
        VideoCodec::AV1 => codec::av1(configuration),
        _ => None,
    });
    let said = metadata.number("framerate", 1_000.0);
    Some(Video {
        codec: codec.to_string(),
        codec_string,
        width: metadata.number("width", 65_536.0).map(|width| width as u32),
        height: metadata.number("height", 65_536.0).map(|height| height as u32),
        fps: frame_rate(said, measured_fps),
        key_frame_interval_ms: facts.key_frame_interval_ms,
    })
}

/// What the encoder says is exact, if it is true: counting is right to a picture or two.
fn frame_rate(said: Option<f64>, measured: Option<f64>) -> Option<f64> {
    match (said, measured) {
        (Some(said), Some(measured)) if (said - measured).abs() <= said / 10.0 => Some(said),
        (_, Some(measured)) => Some((measured * 10.0).round() / 10.0),
        (said, None) => said,
    }
}

fn audio(facts: &Facts, metadata: &Metadata) -> Option<Audio> {
    let message = facts.audio.as_ref().or(facts.audio_header.as_ref())?;
    let codec = audio::Header::parse(message).codec;
    let configuration = facts.audio_header.as_deref().and_then(audio_configuration);
    let mut audio = Audio {
        codec: codec.to_string(),
        codec_string: None,
        sample_rate: metadata.number("audiosamplerate", 768_000.0).map(|rate| rate as u32),
        channels: metadata.channels(),
    };
    match codec {
        AudioCodec::LEGACY_AAC | AudioCodec::AAC => {
            if let Some(aac) = configuration.and_then(codec::aac) {
                audio.codec_string = Some(aac.codec_string);
                audio.sample_rate = aac.sample_rate.or(audio.sample_rate);
                audio.channels = aac.channels.or(audio.channels);
            }
        }
        AudioCodec::LEGACY_MP3 | AudioCodec::MP3 => audio.codec_string = Some("mp3".to_owned()),
        AudioCodec::OPUS => {
            audio.codec_string = Some("opus".to_owned());
            // It is decoded at this rate, whatever it was coded from (RFC 7845 §4).
            audio.sample_rate = Some(48_000);
            audio.channels = configuration.and_then(codec::opus).or(audio.channels);
        }
        _ => {}
    }
    Some(audio)
}

/// What stands behind the header of a sequence header with one track.
fn video_configuration(message: &[u8]) -> Option<&[u8]> {
    match message {
        // ExVideoTagHeader, SequenceStart: the FourCC, then the configuration.
        [first, _, _, _, _, rest @ ..] if first & 0x80 != 0 => (first & 0x0F == 0).then_some(rest),
        // AVCVIDEOPACKET: packet type and composition time.
        [_, 0, _, _, _, rest @ ..] => Some(rest),
        _ => None,
    }
}

fn audio_configuration(message: &[u8]) -> Option<&[u8]> {
    match message {
        // ExAudioTagHeader, SequenceStart.
        [0x90, _, _, _, _, rest @ ..] => Some(rest),
        // AACAUDIODATA.
        [first, 0, rest @ ..] if first >> 4 == 10 => Some(rest),
        _ => None,
    }
}

/// `onMetaData`. Its values are what an encoder says, so each is held to what it can be.
struct Metadata(Option<Value>);

/// The longest text of metadata that is told of, in characters: names of encoders have a third of it.
const MOST_TEXT: usize = 100;

impl Metadata {
    fn of(facts: &Facts) -> Self {
        let values = facts.metadata.as_ref().map(|body| amf0::Reader::lenient(body).map_while(Result::ok));
        Self(values.and_then(|mut values| values.find(|value| value.properties().is_some())))
    }

    /// A number above 0 and up to `most`.
    fn number(&self, key: &str, most: f64) -> Option<f64> {
        let number = self.0.as_ref()?.get(key)?.as_number()?;
        (number > 0.0 && number <= most).then_some(number)
    }

    fn text(&self, key: &str) -> Option<String> {
        let text = self.0.as_ref()?.get(key)?.as_str()?;
        let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect();
        (!text.is_empty()).then_some(text)
    }

    fn channels(&self) -> Option<u8> {
        let said = self.number("audiochannels", 255.0).map(|channels| channels as u8);
        let stereo = || self.0.as_ref()?.get("stereo")?.as_bool();
        said.or_else(|| stereo().map(|stereo| if stereo { 2 } else { 1 }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

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
        };
        let peer = Some(([192, 0, 2, 1], 5).into());
        Stream::of(&report, peer, Rates { fps, ..Rates::default() }, Watched::default(), 60_000)
    }

    #[test]
    fn a_stream_of_h264_and_aac_is_told_in_full() {
        let json = serde_json::to_value(of(facts(), Some(29.4))).unwrap();
        assert_eq!(
            json["video"],
            serde_json::json!({"codec": "H.264", "codec_string": "avc1.64001F", "width": 1280, "height": 720,
                "fps": 30.0, "key_frame_interval_ms": 2000})
        );
        assert_eq!(
            json["audio"],
            serde_json::json!({"codec": "AAC", "codec_string": "mp4a.40.2", "sample_rate": 44100, "channels": 2})
        );
        assert_eq!(json["encoder"], "Lavf59[2J", "no control characters");
        assert_eq!(json["publisher"], serde_json::json!({"id": 7, "address": "192.0.2.1:5"}));
        assert_eq!(json["uptime_ms"], 60_000);
    }

    #[test]
    fn an_encoder_that_says_a_wrong_frame_rate_is_not_believed() {
        assert_eq!(of(facts(), Some(14.96)).video.unwrap().fps, Some(15.0));
        assert_eq!(of(facts(), None).video.unwrap().fps, Some(30.0));
        assert_eq!(of(Facts { metadata: None, ..facts() }, Some(25.04)).video.unwrap().fps, Some(25.0));
    }

    #[test]
    fn what_was_not_sent_is_null() {
        let stream = of(Facts::default(), None);
        assert!(stream.video.is_none() && stream.audio.is_none() && stream.encoder.is_none());
        assert_eq!(stream.uptime_ms, None);
        let odd =
            metadata(&[("width", (-1.0).into()), ("height", f64::NAN.into()), ("framerate", 1e9.into())]);
        let video = of(Facts { metadata: odd, ..facts() }, None).video.unwrap();
        assert_eq!((video.width, video.height, video.fps), (None, None, None));
        let broken = Facts { metadata: Some(Bytes::from_static(b"\x02\0\x0a")), ..facts() };
        assert!(of(broken, None).encoder.is_none());
    }

    #[test]
    fn enhanced_codecs_are_known_by_their_four_cc() {
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
            (audio.codec.as_str(), audio.sample_rate, audio.channels),
            ("Opus", Some(48_000), Some(2))
        );
    }
}
