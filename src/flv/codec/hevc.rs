//! HEVC: HEVCDecoderConfigurationRecord (ISO 14496-15 §8.3.3.1) and the parameter sets in it (H.265 §7.3.2).

use super::{
    VideoConfig,
    bits::{Bits, unescaped},
    parameter_set::{chroma_units, crop, frame_rate, size, skip_to_vui_timing},
};

/// What the record says.
pub(super) fn config(record: &[u8]) -> VideoConfig {
    let set = |kind| nal_unit(record, kind).map(unescaped);
    let sequence = set(SEQUENCE_PARAMETER_SET).and_then(|bytes| sequence(&bytes)).unwrap_or_default();
    let rate = sequence.frame_rate.or_else(|| video(&set(VIDEO_PARAMETER_SET)?));
    VideoConfig { codec_string: codec_string(record), frame_rate: rate, ..sequence }
}

/// `hvc1.1.6.L93.B0` (ISO 14496-15, Annex E.3).
fn codec_string(record: &[u8]) -> Option<String> {
    let record: &[u8; 13] = record.first_chunk()?;
    let &[_, profile, a, b, c, d, constraints @ .., level] = record;
    let constraints: [u8; 6] = constraints;
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([a, b, c, d]).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{level}", profile & 0x1F);
    let count = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    constraints[..count].iter().for_each(|byte| text += &format!(".{byte:X}"));
    Some(text)
}

/// The first NAL unit of a kind in the record's arrays.
fn nal_unit(record: &[u8], kind: u8) -> Option<&[u8]> {
    let (&arrays, mut rest) = record.get(22..)?.split_first()?;
    for _ in 0..arrays {
        let (&[found, high, low], more) = rest.split_first_chunk()?;
        rest = more;
        for _ in 0..u16::from_be_bytes([high, low]) {
            let (len, more) = rest.split_first_chunk()?;
            let (nal_unit, more) = more.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            if found & 0x3F == kind {
                return Some(nal_unit);
            }
            rest = more;
        }
    }
    None
}

/// The bits after a NAL unit's header, if it is of this kind.
fn payload(nal_unit: &[u8], kind: u8) -> Option<Bits<'_>> {
    let (&[first, _], rest) = nal_unit.split_first_chunk()?;
    (first >> 1 & 0x3F == kind).then(|| Bits::new(rest))
}

/// seq_parameter_set_rbsp()
fn sequence(nal_unit: &[u8]) -> Option<VideoConfig> {
    let mut bits = payload(nal_unit, SEQUENCE_PARAMETER_SET)?;
    bits.skip(4)?;
    let max_sub_layer = bits.take(3)?;
    bits.skip(1)?;
    skip_profile_tier_level(&mut bits, max_sub_layer)?;
    bits.exp_golomb()?;
    let chroma_format = bits.exp_golomb()?;
    let has_separate_planes = chroma_format == 3 && bits.flag()?;
    let (width, height) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let crop = if bits.flag()? { crop(&mut bits)? } else { [0; 4] };
    let (unit_x, unit_y) = chroma_units(if has_separate_planes { 0 } else { chroma_format });
    let size = size(width.into(), height.into(), crop, unit_x, unit_y)?;
    let frame_rate = timing(&mut bits, max_sub_layer);
    Some(VideoConfig { codec_string: None, width: Some(size.0), height: Some(size.1), frame_rate })
}

/// The frame rate, from what comes after the size of a sequence parameter set.
fn timing(bits: &mut Bits<'_>, max_sub_layer: u32) -> Option<f64> {
    bits.skip_exp_golombs(2)?;
    // log2_max_pic_order_cnt_lsb_minus4
    let order_bits = bits.exp_golomb().filter(|&bits| bits <= 12)? as usize + 4;
    skip_sub_layer_ordering(bits, max_sub_layer)?;
    bits.skip_exp_golombs(6)?;
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        bits.skip_exp_golombs(2)?;
        bits.skip(1)?;
    }
    skip_short_term_sets(bits)?;
    if bits.flag()? {
        let count = bits.exp_golomb().filter(|&count| count <= 32)? as usize;
        bits.skip(count * (order_bits + 1))?;
    }
    bits.skip(2)?;
    if !bits.flag()? {
        return None;
    }
    skip_to_vui_timing(bits)?;
    bits.skip(3)?;
    // The default display window.
    if bits.flag()? {
        bits.skip_exp_golombs(4)?;
    }
    ticks(bits)
}

/// The frame rate, from video_parameter_set_rbsp().
fn video(nal_unit: &[u8]) -> Option<f64> {
    let mut bits = payload(nal_unit, VIDEO_PARAMETER_SET)?;
    bits.skip(12)?;
    let max_sub_layer = bits.take(3)?;
    bits.skip(17)?;
    skip_profile_tier_level(&mut bits, max_sub_layer)?;
    skip_sub_layer_ordering(&mut bits, max_sub_layer)?;
    let max_layer = bits.take(6)? as usize;
    let layer_sets = bits.exp_golomb().filter(|&sets| sets < 1024)? as usize;
    bits.skip(layer_sets * (max_layer + 1))?;
    ticks(&mut bits)
}

/// Timing of pictures, where it is given.
fn ticks(bits: &mut Bits<'_>) -> Option<f64> {
    if !bits.flag()? {
        return None;
    }
    let (units, scale) = (bits.take(32)?, bits.take(32)?);
    frame_rate(scale, units.into())
}

fn skip_profile_tier_level(bits: &mut Bits<'_>, max_sub_layer: u32) -> Option<()> {
    bits.skip(PROFILE_BITS + LEVEL_BITS)?;
    let mut skipped = 0;
    for _ in 0..max_sub_layer {
        skipped += if bits.flag()? { PROFILE_BITS } else { 0 };
        skipped += if bits.flag()? { LEVEL_BITS } else { 0 };
    }
    if max_sub_layer > 0 {
        bits.skip(2 * (8 - max_sub_layer as usize))?;
    }
    bits.skip(skipped)
}

fn skip_sub_layer_ordering(bits: &mut Bits<'_>, max_sub_layer: u32) -> Option<()> {
    let count = if bits.flag()? { max_sub_layer + 1 } else { 1 };
    bits.skip_exp_golombs(3 * count as usize)
}

/// scaling_list_data()
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.flag()? {
                bits.skip_exp_golombs(1)?;
                continue;
            }
            let coefficients = if size == 0 { 16 } else { 64 };
            bits.skip_exp_golombs(coefficients + usize::from(size > 1))?;
        }
    }
    Some(())
}

/// All st_ref_pic_set(): each may be given as its difference to the one before.
fn skip_short_term_sets(bits: &mut Bits<'_>) -> Option<()> {
    let sets = bits.exp_golomb().filter(|&sets| sets <= 64)?;
    let mut pictures = 0;
    for set in 0..sets {
        if set > 0 && bits.flag()? {
            bits.skip(1)?;
            bits.exp_golomb()?;
            let before = pictures;
            pictures = 0;
            for _ in 0..=before {
                let is_used = bits.flag()?;
                if is_used || bits.flag()? {
                    pictures += 1;
                }
            }
        } else {
            let (negative, positive) = (bits.exp_golomb()?, bits.exp_golomb()?);
            pictures = negative.checked_add(positive).filter(|&pictures| pictures <= MAX_PICTURES)?;
            for _ in 0..pictures {
                bits.exp_golomb()?;
                bits.skip(1)?;
            }
        }
        pictures = Some(pictures).filter(|&pictures| pictures <= MAX_PICTURES)?;
    }
    Some(())
}

const VIDEO_PARAMETER_SET: u8 = 32;
const SEQUENCE_PARAMETER_SET: u8 = 33;
/// Profile, tier, compatibility and constraints.
const PROFILE_BITS: usize = 88;
const LEVEL_BITS: usize = 8;
/// Of a reference picture set: a decoder holds 16.
const MAX_PICTURES: u32 = 16;
