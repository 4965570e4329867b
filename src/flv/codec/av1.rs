//! AV1: AV1CodecConfigurationRecord (AV1 in ISOBMFF §2.3.3) and the sequence header OBU in it (AV1 §5.5).

use super::{VideoConfig, bits::Bits, parameter_set::frame_rate};

/// What the record says.
pub(super) fn config(record: &[u8]) -> VideoConfig {
    let &[0x81, sequence, flags, _, ref obus @ ..] = record else {
        return VideoConfig::default();
    };
    let (profile, level) = (sequence >> 5, sequence & 0x1F);
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let codec_string = Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"));
    let header = sequence_header(obus).and_then(parse).unwrap_or_default();
    VideoConfig { codec_string, ..header }
}

/// The first sequence header among these OBUs.
fn sequence_header(mut obus: &[u8]) -> Option<&[u8]> {
    loop {
        let (&header, mut rest) = obus.split_first()?;
        if header & HAS_EXTENSION != 0 {
            rest = rest.get(1..)?;
        }
        let (body, next) = match header & HAS_SIZE != 0 {
            true => {
                let (size, rest) = leb128(rest)?;
                rest.split_at_checked(size)?
            }
            false => (rest, &[][..]),
        };
        if header >> 3 & 0x0F == SEQUENCE_HEADER {
            return Some(body);
        }
        obus = next;
    }
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[i + 1..]));
        }
    }
    None
}

/// sequence_header_obu(), up to the size.
fn parse(body: &[u8]) -> Option<VideoConfig> {
    let mut bits = Bits::new(body);
    let mut frame_rate = None;
    bits.skip(3 + 1)?;
    if bits.flag()? {
        // reduced_still_picture_header
        bits.skip(5)?;
    } else {
        let mut delay_bits = None;
        if bits.flag()? {
            frame_rate = timing(&mut bits)?;
            if bits.flag()? {
                delay_bits = Some(bits.take(5)? as usize + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let has_display_delay = bits.flag()?;
        for _ in 0..=bits.take(5)? {
            bits.skip(12)?;
            // Levels from 4.0 on have a tier.
            if bits.take(5)? > 7 {
                bits.skip(1)?;
            }
            if let Some(delay_bits) = delay_bits
                && bits.flag()?
            {
                bits.skip(2 * delay_bits + 1)?;
            }
            if has_display_delay && bits.flag()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.take(4)? as usize + 1, bits.take(4)? as usize + 1);
    let (width, height) = (bits.take(width_bits)? + 1, bits.take(height_bits)? + 1);
    Some(VideoConfig { codec_string: None, width: Some(width), height: Some(height), frame_rate })
}

/// timing_info(): the frame rate, if it does not vary.
fn timing(bits: &mut Bits<'_>) -> Option<Option<f64>> {
    let (units, scale) = (bits.take(32)?, bits.take(32)?);
    if !bits.flag()? {
        return Some(None);
    }
    let ticks = u64::from(bits.exp_golomb()?) + 1;
    Some(frame_rate(scale, u64::from(units).saturating_mul(ticks)))
}

const SEQUENCE_HEADER: u8 = 1;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
