//! What sequence headers say that a browser or a person wants to know: the codec as RFC 6381 writes it, size and frame
//! rate of the video, rate and channels of the audio. Our own parsers, because a panic of a library's would end the
//! process: all of this comes from peers, and whatever is missing, absurd or unknown is none.

mod audio;
mod av1;
mod avc;
mod bits;
mod hevc;

use bits::Bits;

use super::{
    audio::{self as audio_header, AudioCodec},
    video::{self as video_header, VideoCodec},
};

/// What a video sequence header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoConfig {
    /// `avc1.64001F`
    pub codec_string: Option<String>,
    /// Of what is to be shown, pixels.
    pub width: Option<u32>,
    /// Of what is to be shown, pixels.
    pub height: Option<u32>,
    /// Frames a second, where they are said to come evenly.
    pub frame_rate: Option<f64>,
}

/// What an audio sequence header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioConfig {
    /// `mp4a.40.2`
    pub codec_string: Option<String>,
    /// Of what is heard, hertz.
    pub sample_rate: Option<u32>,
    /// Of what is heard.
    pub channels: Option<u8>,
}

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

/// What an audio message says by itself, of a codec that needs no sequence header: from its first bytes.
pub fn audio_frame(message: &[u8]) -> AudioConfig {
    let Some((&header, frame)) = message.split_first() else {
        return AudioConfig::default();
    };
    let said = |sample_rate, channels| AudioConfig {
        codec_string: None,
        sample_rate: Some(sample_rate),
        channels: Some(channels),
    };
    let rate = [5_512, 11_025, 22_050, 44_100][usize::from(header >> 2 & 3)];
    let channels = (header & 1) + 1;
    match audio_header::Header::parse(message).codec {
        AudioCodec::LEGACY_MP3 => audio::mp3(frame),
        // FLV 10.1 §E.4.2.1: PCM, ADPCM and Nellymoser at the rate of the header, others at their only one.
        AudioCodec::Legacy(0 | 1 | 3 | 6) => said(rate, channels),
        AudioCodec::Legacy(4 | 11) => said(16_000, 1),
        AudioCodec::Legacy(5 | 7 | 8) => said(8_000, 1),
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

/// What is cut off, in units: left, right, top, bottom. The same in H.264 and HEVC.
fn crop(bits: &mut Bits<'_>) -> Option<[u32; 4]> {
    let mut crop = [0; 4];
    for side in &mut crop {
        *side = bits.exp_golomb()?;
    }
    Some(crop)
}

/// Pixels that one of the chroma has, across and down.
fn chroma_units(chroma_format: u32) -> (u64, u64) {
    match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    }
}

/// The size that is shown; none where there is nothing left, or more than a decoder can have.
fn size(width: u64, height: u64, crop: [u32; 4], unit_x: u64, unit_y: u64) -> Option<(u32, u32)> {
    let [left, right, top, bottom] = crop.map(u64::from);
    let width = width.checked_sub(unit_x * (left + right))?;
    let height = height.checked_sub(unit_y * (top + bottom))?;
    let is_sane = |side: &u64| (1..=MAX_SIDE).contains(side);
    let (width, height) = (Some(width).filter(is_sane)?, Some(height).filter(is_sane)?);
    Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

/// Passes over what vui_parameters() of H.264 and HEVC begin with alike: aspect ratio, overscan, signal type, place of
/// the chroma.
fn skip_to_vui_timing(bits: &mut Bits<'_>) -> Option<()> {
    const EXTENDED_SAR: u32 = 255;
    if bits.flag()? && bits.take(8)? == EXTENDED_SAR {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(4)?;
        if bits.flag()? {
            bits.skip(24)?;
        }
    }
    if bits.flag()? {
        bits.skip_exp_golombs(2)?;
    }
    Some(())
}

/// Ticks a second by ticks a frame, to a thousandth; none where that is no rate of frames: encoders of a variable rate
/// say how fine their clock is.
fn frame_rate(time_scale: u32, ticks: u64) -> Option<f64> {
    let rate = f64::from(time_scale) / ticks as f64;
    let rate = (rate * 1_000.0).round() / 1_000.0;
    (rate > 0.0 && rate <= MAX_FRAME_RATE).then_some(rate)
}

/// What the largest level of any of these codecs allows, rounded up.
const MAX_SIDE: u64 = 65_536;
/// Beyond what cameras do; a clock in milliseconds is far beyond it.
const MAX_FRAME_RATE: f64 = 300.0;

/// What holds for any bytes, for the tests and the fuzz target: numbers are in their ranges, and texts are short and of
/// plain characters.
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
    assert!(video.frame_rate.is_none_or(|rate| rate > 0.0 && rate <= MAX_FRAME_RATE), "{video:?}");
    assert!(is_plain(&video.codec_string), "{video:?}");
    for audio in [audio(message), audio_frame(message)] {
        assert!(audio.sample_rate.is_none_or(|rate| (1..1 << 24).contains(&rate)), "{audio:?}");
        assert!(audio.channels.is_none_or(|channels| channels > 0), "{audio:?}");
        assert!(is_plain(&audio.codec_string), "{audio:?}");
    }
}

#[cfg(test)]
mod tests;
