//! Bits of a decoder's configuration, most significant first. All of it comes from peers: whatever is missing or absurd
//! is none, and no read goes beyond the bytes.

/// Reads bits from the front.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bits as a number; none where there are fewer. `count` is up to 32.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        debug_assert!(count <= 32);
        if self.left() < count {
            return None;
        }
        let value = (self.at..self.at + count).fold(0, |value, at| {
            let bit = self.bytes[at / 8] >> (7 - at % 8) & 1;
            value << 1 | u32::from(bit)
        });
        self.at += count;
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        (self.left() >= count).then(|| self.at += count)
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// ue(v) of H.264 and HEVC, uvlc() of AV1: up to 2^32 - 2.
    pub(super) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return None;
            }
        }
        Some(((1 << zeros) - 1) + self.take(zeros)?)
    }

    /// se(v).
    pub(super) fn signed_exp_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.exp_golomb()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) })
    }

    /// Skips this many ue(v).
    pub(super) fn skip_exp_golombs(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.exp_golomb().map(drop))
    }
}

/// The bytes of a NAL unit without those that keep a start code from appearing in it (emulation_prevention_three_byte).
/// A parameter set is some hundred bytes: what is beyond [`MAX_PARAMETER_SET`] is not read.
pub(super) fn unescaped(nal_unit: &[u8]) -> Vec<u8> {
    let nal_unit = &nal_unit[..nal_unit.len().min(MAX_PARAMETER_SET)];
    let mut bytes = Vec::with_capacity(nal_unit.len());
    let mut zeros = 0;
    for &byte in nal_unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

/// One with all its lists is below 4 KiB.
const MAX_PARAMETER_SET: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_front_and_not_beyond_the_end() {
        let mut bits = Bits::new(&[0b1010_0000, 0xFF]);
        assert_eq!(
            (bits.flag(), bits.take(3), bits.take(12), bits.left()),
            (Some(true), Some(2), Some(0xFF), 0)
        );
        assert_eq!((bits.take(1), bits.flag(), bits.exp_golomb(), bits.take(0)), (None, None, None, Some(0)));
        assert_eq!(Bits::new(&[0xFF; 4]).take(32), Some(u32::MAX));
    }

    #[test]
    fn exp_golomb_codes_are_those_of_the_specs() {
        // 1, 010, 011, 00100
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| bits.exp_golomb()), [Some(0), Some(1), Some(2), Some(3)]);
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| bits.signed_exp_golomb()), [Some(0), Some(1), Some(-1), Some(2)]);
        // The largest, and one more zero.
        assert_eq!(Bits::new(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE]).exp_golomb(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0; 20]).exp_golomb(), None);
    }

    #[test]
    fn what_keeps_start_codes_away_is_taken_out() {
        assert_eq!(unescaped(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [1, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescaped(&[0, 3, 0, 0, 0, 3, 3]), [0, 3, 0, 0, 0, 3]);
        assert_eq!(unescaped(&[7; 100_000]).len(), MAX_PARAMETER_SET);
    }
}
