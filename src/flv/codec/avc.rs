//! H.264: AVCDecoderConfigurationRecord (ISO 14496-15 §5.3.3.1) and the sequence parameter set in it (H.264
//! §7.3.2.1.1).

use super::{
    VideoConfig,
    bits::{Bits, unescaped},
    parameter_set::{chroma_units, crop, frame_rate, size, skip_to_vui_timing},
};

/// What the record says.
pub(super) fn config(record: &[u8]) -> VideoConfig {
    let &[1, profile, compatibility, level, _, ref rest @ ..] = record else {
        return VideoConfig::default();
    };
    let codec_string = Some(format!("avc1.{profile:02X}{compatibility:02X}{level:02X}"));
    let set = parameter_set(rest).and_then(|nal_unit| parse(&unescaped(nal_unit))).unwrap_or_default();
    VideoConfig { codec_string, ..set }
}

/// The first sequence parameter set.
fn parameter_set(rest: &[u8]) -> Option<&[u8]> {
    let (count, rest) = rest.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    (count & 0x1F > 0).then(|| rest.get(..usize::from(u16::from_be_bytes(*len))))?
}

fn parse(nal_unit: &[u8]) -> Option<VideoConfig> {
    let (&header, rest) = nal_unit.split_first()?;
    if header & 0x1F != SEQUENCE_PARAMETER_SET {
        return None;
    }
    let mut bits = Bits::new(rest);
    let profile = bits.take(8)?;
    bits.skip(16)?;
    bits.exp_golomb()?;
    let (mut chroma_format, mut has_separate_planes) = (1, false);
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = bits.exp_golomb()?;
        if chroma_format == 3 {
            has_separate_planes = bits.flag()?;
        }
        bits.skip_exp_golombs(2)?;
        bits.skip(1)?;
        if bits.flag()? {
            skip_scaling_matrix(&mut bits, chroma_format)?;
        }
    }
    bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => bits.skip_exp_golombs(1)?,
        1 => {
            bits.skip(1)?;
            bits.skip_exp_golombs(2)?;
            let count = bits.exp_golomb()?;
            // num_ref_frames_in_pic_order_cnt_cycle
            if count > 255 {
                return None;
            }
            bits.skip_exp_golombs(count as usize)?;
        }
        _ => {}
    }
    bits.exp_golomb()?;
    bits.skip(1)?;
    let width = 16 * (u64::from(bits.exp_golomb()?) + 1);
    let map_units = u64::from(bits.exp_golomb()?) + 1;
    let is_progressive = bits.flag()?;
    let fields = if is_progressive { 1 } else { 2 };
    if !is_progressive {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let height = 16 * map_units * fields;
    let crop = if bits.flag()? { crop(&mut bits)? } else { [0; 4] };
    let chroma_format = if has_separate_planes { 0 } else { chroma_format };
    let (unit_x, unit_y) = chroma_units(chroma_format);
    let size = size(width, height, crop, unit_x, unit_y * fields)?;
    let rate = if bits.flag()? { timing(&mut bits) } else { None };
    Some(VideoConfig { codec_string: None, width: Some(size.0), height: Some(size.1), frame_rate: rate })
}

/// The frame rate of vui_parameters (Annex E). A frame has two ticks, of fields.
fn timing(bits: &mut Bits<'_>) -> Option<f64> {
    skip_to_vui_timing(bits)?;
    if !bits.flag()? {
        return None;
    }
    let (units, scale) = (bits.take(32)?, bits.take(32)?);
    frame_rate(scale, 2 * u64::from(units))
}

fn skip_scaling_matrix(bits: &mut Bits<'_>, chroma_format: u32) -> Option<()> {
    for list in 0..if chroma_format == 3 { 12 } else { 8 } {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed_exp_golomb()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

const SEQUENCE_PARAMETER_SET: u8 = 7;
/// Those whose sets say their chroma format.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
