//! What the parameter sets of H.264 and HEVC have in common: sizes, their cropping, and frame rates.

use super::bits::Bits;

/// What is cut off, in units: left, right, top, bottom. The same in H.264 and HEVC.
pub(super) fn crop(bits: &mut Bits<'_>) -> Option<[u32; 4]> {
    let mut crop = [0; 4];
    for side in &mut crop {
        *side = bits.exp_golomb()?;
    }
    Some(crop)
}

/// Pixels per chroma sample, across and down.
pub(super) fn chroma_units(chroma_format: u32) -> (u64, u64) {
    match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    }
}

/// The size of the visible part; none where nothing is left, or where it is larger than a decoder allows.
pub(super) fn size(width: u64, height: u64, crop: [u32; 4], unit_x: u64, unit_y: u64) -> Option<(u32, u32)> {
    let [left, right, top, bottom] = crop.map(u64::from);
    let width = width.checked_sub(unit_x * (left + right))?;
    let height = height.checked_sub(unit_y * (top + bottom))?;
    let is_sane = |side: &u64| (1..=MAX_SIDE).contains(side);
    let (width, height) = (Some(width).filter(is_sane)?, Some(height).filter(is_sane)?);
    Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

/// Skips what vui_parameters() of H.264 and HEVC both begin with: aspect ratio, overscan, signal type, chroma location.
pub(super) fn skip_to_vui_timing(bits: &mut Bits<'_>) -> Option<()> {
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

/// Ticks per second by ticks per frame, to a thousandth; none where that is no frame rate: encoders of a variable rate
/// give the resolution of their clock.
pub(super) fn frame_rate(time_scale: u32, ticks: u64) -> Option<f64> {
    let rate = f64::from(time_scale) / ticks as f64;
    let rate = (rate * 1_000.0).round() / 1_000.0;
    (rate > 0.0 && rate <= MAX_FRAME_RATE).then_some(rate)
}

/// What the largest level of any of these codecs allows, rounded up.
const MAX_SIDE: u64 = 65_536;
/// Beyond what cameras do; a clock in milliseconds is far beyond it.
pub(super) const MAX_FRAME_RATE: f64 = 300.0;
