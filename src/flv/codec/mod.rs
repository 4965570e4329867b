//! What sequence headers say of a stream: the codec as RFC 6381 writes it, size and frame rate of the video,
//! rate and channels of the audio. The parsers are our own because a panic in a library would end the process: all of
//! this comes from peers, and whatever is missing, absurd or unknown is none.

mod audio;
mod av1;
mod avc;
mod bits;
mod config;
mod hevc;
mod parameter_set;

pub use config::{AudioConfig, VideoConfig};

use super::{
    audio::{self as audio_header, AudioCodec},
    video::{self as video_header, VideoCodec},
};

/// Reads a video sequence header, the whole message; of several tracks the first one's.
pub fn video(message: &[u8]) -> VideoConfig {
    let Some((codec, record)) = video_header::configuration(message) else {
        return VideoConfig::default();
    };
    match codec {
        VideoCodec::LEGACY_AVC | VideoCodec::AVC => avc::config(record),
        VideoCodec::LEGACY_HEVC | VideoCodec::HEVC => hevc::config(record),
        VideoCodec::AV1 => av1::config(record),
        VideoCodec::VP9 => VideoConfig { codec_string: vp9(record), ..VideoConfig::default() },
        VideoCodec::VP8 => VideoConfig { codec_string: Some("vp8".to_owned()), ..VideoConfig::default() },
        _ => VideoConfig::default(),
    }
}

/// Reads an audio sequence header, the whole message; of several tracks the first one's.
pub fn audio(message: &[u8]) -> AudioConfig {
    let Some((codec, config)) = audio_header::configuration(message) else {
        return AudioConfig::default();
    };
    match codec {
        AudioCodec::LEGACY_AAC | AudioCodec::AAC => audio::aac(config),
        AudioCodec::OPUS => audio::opus(config),
        AudioCodec::FLAC => audio::flac(config),
        _ => AudioConfig::default(),
    }
}

/// What the first bytes of an audio message say, for a codec that needs no sequence header.
pub fn audio_frame(message: &[u8]) -> AudioConfig {
    let Some((&header, frame)) = message.split_first() else {
        return AudioConfig::default();
    };
    let known = |sample_rate, channels| AudioConfig {
        codec_string: None,
        sample_rate: Some(sample_rate),
        channels: Some(channels),
    };
    let rate = [5_512, 11_025, 22_050, 44_100][usize::from(header >> 2 & 3)];
    let channels = (header & 1) + 1;
    match audio_header::Header::parse(message).codec {
        AudioCodec::LEGACY_MP3 => audio::mp3(frame),
        // FLV 10.1 §E.4.2.1: PCM, ADPCM and Nellymoser at the rate of the header, others at their only one.
        AudioCodec::Legacy(0 | 1 | 3 | 6) => known(rate, channels),
        AudioCodec::Legacy(4 | 11) => known(16_000, 1),
        AudioCodec::Legacy(5 | 7 | 8) => known(8_000, 1),
        AudioCodec::MP3 => AudioConfig { codec_string: Some("mp3".to_owned()), ..AudioConfig::default() },
        AudioCodec::OPUS => audio::opus(&[]),
        _ => AudioConfig::default(),
    }
}

/// `vp09.00.10.08`, from a VPCodecConfigurationRecord, with the version and flags of its box or without.
fn vp9(record: &[u8]) -> Option<String> {
    let record = match record {
        [1, 0, 0, 0, record @ ..] if record.len() >= 8 => record,
        record => record,
    };
    match record {
        [profile, level, depth, ..] => Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4)),
        _ => None,
    }
}

/// What is true for any bytes, for the tests and the fuzz target: numbers are in their ranges, and texts are short and
/// of plain characters.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(message: &[u8]) {
    let is_plain = |text: &Option<String>| {
        text.as_ref().is_none_or(|text| {
            text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        })
    };
    let video = video(message);
    let sides = [video.width, video.height];
    assert!(sides.into_iter().flatten().all(|side| (1..=1 << 16).contains(&side)), "{video:?}");
    assert!(
        video.frame_rate.is_none_or(|rate| rate > 0.0 && rate <= parameter_set::MAX_FRAME_RATE),
        "{video:?}"
    );
    assert!(is_plain(&video.codec_string), "{video:?}");
    for audio in [audio(message), audio_frame(message)] {
        assert!(audio.sample_rate.is_none_or(|rate| (1..1 << 24).contains(&rate)), "{audio:?}");
        assert!(audio.channels.is_none_or(|channels| channels > 0), "{audio:?}");
        assert!(is_plain(&audio.codec_string), "{audio:?}");
    }
}

#[cfg(test)]
mod tests;
