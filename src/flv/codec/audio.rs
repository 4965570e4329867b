//! Configurations of audio decoders: AudioSpecificConfig (ISO 14496-3 §1.6.2.1), OpusHead (RFC 7845 §5.1), STREAMINFO
//! (RFC 9639 §8.2); and the header of an MPEG audio frame (ISO 11172-3 §2.4.1.3), for which there is none.

use super::{AudioConfig, bits::Bits};

/// From an AudioSpecificConfig.
pub(super) fn aac(config: &[u8]) -> AudioConfig {
    parse_aac(config).unwrap_or_default()
}

fn parse_aac(config: &[u8]) -> Option<AudioConfig> {
    let mut bits = Bits::new(config);
    let mut object_type = object_type(&mut bits)?;
    let mut rate = sample_rate(&mut bits);
    let configuration = bits.take(4);
    let mut channels = match configuration {
        Some(configuration @ 1..=6) => u8::try_from(configuration).ok(),
        Some(7 | 12 | 14) => Some(8),
        Some(11) => Some(7),
        Some(13) => Some(24),
        _ => None,
    };
    match object_type {
        // SBR and PS: the output has the rate of the extension.
        5 | 29 => rate = sample_rate(&mut bits).or(rate),
        // Decoders of AAC-LC do not read this: the same, after all that they read.
        2 => {
            if let Some((extended, extended_rate)) =
                extension(&mut bits, configuration == Some(0), &mut channels)
            {
                (object_type, rate) = (extended, extended_rate.or(rate));
            }
        }
        _ => {}
    }
    // Parametric stereo is coded as one channel and decoded to two.
    if object_type == 29 {
        channels = Some(2);
    }
    Some(AudioConfig { codec_string: Some(format!("mp4a.40.{object_type}")), sample_rate: rate, channels })
}

/// GASpecificConfig, with the channels where they are listed in it, and the extension after it.
fn extension(bits: &mut Bits<'_>, is_listed: bool, channels: &mut Option<u8>) -> Option<(u32, Option<u32>)> {
    bits.skip(1)?;
    if bits.flag()? {
        bits.skip(14)?;
    }
    bits.skip(1)?;
    if is_listed {
        *channels = Some(listed_channels(bits)?).filter(|&listed| listed > 0);
    }
    if bits.take(11)? != SBR_SYNC || object_type(bits)? != 5 || !bits.flag()? {
        return None;
    }
    let rate = sample_rate(bits);
    let has_ps = bits.take(11) == Some(PS_SYNC) && bits.flag() == Some(true);
    Some((if has_ps { 29 } else { 5 }, rate))
}

/// program_config_element(), to its end.
fn listed_channels(bits: &mut Bits<'_>) -> Option<u8> {
    bits.skip(4 + 2 + 4)?;
    let mut elements = 0;
    for _ in 0..3 {
        elements += bits.take(4)?;
    }
    let lfe = bits.take(2)?;
    let (data, coupling) = (bits.take(3)?, bits.take(4)?);
    for mixdown_bits in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(mixdown_bits)?;
        }
    }
    let mut channels = lfe;
    for _ in 0..elements {
        channels += if bits.flag()? { 2 } else { 1 };
        bits.skip(4)?;
    }
    bits.skip((4 * (lfe + data) + 5 * coupling) as usize)?;
    // A comment, from the next byte on.
    bits.skip(bits.left() % 8)?;
    let comment = bits.take(8)?;
    bits.skip(8 * comment as usize)?;
    u8::try_from(channels).ok()
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => bits.take(6).map(|more| 32 + more),
        object_type => Some(object_type),
    }
}

fn sample_rate(bits: &mut Bits<'_>) -> Option<u32> {
    let rate = match bits.take(4)? {
        15 => bits.take(24),
        index => SAMPLE_RATES.get(index as usize).copied(),
    };
    rate.filter(|&rate| rate > 0)
}

/// From an Opus identification header. It is decoded at 48 kHz, whatever it was coded from (RFC 7845 §4).
pub(super) fn opus(head: &[u8]) -> AudioConfig {
    let channels = head.strip_prefix(b"OpusHead").and_then(|head| head.get(1)).copied();
    let channels = channels.filter(|&channels| channels > 0);
    AudioConfig { codec_string: Some("opus".to_owned()), sample_rate: Some(48_000), channels }
}

/// From STREAMINFO, with what a file has before it or without.
pub(super) fn flac(config: &[u8]) -> AudioConfig {
    let block = config.strip_prefix(b"fLaC").unwrap_or(config);
    let block = match block {
        [0 | 0x80, 0, 0, 34, info @ ..] => info,
        info => info,
    };
    let mut bits = Bits::new(block);
    let sample_rate = bits.skip(80).and_then(|()| bits.take(20)).filter(|&rate| rate > 0);
    let channels = bits.take(3).map(|channels| channels as u8 + 1).filter(|_| sample_rate.is_some());
    AudioConfig { codec_string: Some("flac".to_owned()), sample_rate, channels }
}

/// From the first bytes of an MPEG audio frame.
pub(super) fn mp3(frame: &[u8]) -> AudioConfig {
    let (sample_rate, channels) = parse_mp3(frame).unzip();
    AudioConfig { codec_string: Some("mp3".to_owned()), sample_rate, channels }
}

fn parse_mp3(frame: &[u8]) -> Option<(u32, u8)> {
    let &[0xFF, version, rate, mode, ..] = frame else { return None };
    let rate = *[44_100, 48_000, 32_000].get(usize::from(rate >> 2 & 3))?;
    let divisor = match version >> 3 {
        0b11111 => 1,
        0b11110 => 2,
        0b11100 => 4,
        _no_sync => return None,
    };
    Some((rate / divisor, if mode >> 6 == 3 { 1 } else { 2 }))
}

/// ISO 14496-3, table 1.18.
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// syncExtensionType of SBR, and of parametric stereo after it.
const SBR_SYNC: u32 = 0x2B7;
const PS_SYNC: u32 = 0x548;
