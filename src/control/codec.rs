//! What decoders' configurations say that a browser or a person wants to know: the codec as RFC 6381 writes it, the
//! rate and the channels of sound. Reads bytes that peers have sent: all of it may be missing.

/// `avc1.64001F`, from an AVCDecoderConfigurationRecord (ISO 14496-15 §5.3.3.1).
pub(super) fn avc(record: &[u8]) -> Option<String> {
    match record {
        [1, profile, compatibility, level, ..] => {
            Some(format!("avc1.{profile:02X}{compatibility:02X}{level:02X}"))
        }
        _ => None,
    }
}

/// `hvc1.1.6.L93.B0`, from an HEVCDecoderConfigurationRecord (ISO 14496-15 §8.3.3.1, Annex E.3).
pub(super) fn hevc(record: &[u8]) -> Option<String> {
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

/// `av01.0.04M.08`, from an AV1CodecConfigurationRecord (AV1 in ISOBMFF §2.3.3, §5).
pub(super) fn av1(record: &[u8]) -> Option<String> {
    let &[0x81, sequence, flags, ..] = record else {
        return None;
    };
    let (profile, level) = (sequence >> 5, sequence & 0x1F);
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"))
}

/// What an AudioSpecificConfig (ISO 14496-3 §1.6.2.1) says.
#[derive(Debug, PartialEq)]
pub(super) struct Aac {
    /// `mp4a.40.2`
    pub(super) codec_string: String,
    pub(super) sample_rate: Option<u32>,
    pub(super) channels: Option<u8>,
}

pub(super) fn aac(config: &[u8]) -> Option<Aac> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object_type = bits.object_type()?;
    let mut sample_rate = bits.sample_rate();
    let channels = bits.take(4).and_then(|configuration| match configuration {
        1..=6 => u8::try_from(configuration).ok(),
        7 => Some(8),
        _ => None,
    });
    // SBR and PS: what is heard is at the rate of the extension.
    if matches!(object_type, 5 | 29) {
        sample_rate = bits.sample_rate().or(sample_rate);
    }
    // Parametric stereo is coded as one channel and heard as two.
    let channels = if object_type == 29 { Some(2) } else { channels };
    Some(Aac { codec_string: format!("mp4a.40.{object_type}"), sample_rate, channels })
}

/// Channels, from an Opus identification header (RFC 7845 §5.1).
pub(super) fn opus(head: &[u8]) -> Option<u8> {
    head.strip_prefix(b"OpusHead")?.get(1).copied()
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => self.take(6).map(|more| 32 + more),
            object_type => Some(object_type),
        }
    }

    fn sample_rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => SAMPLE_RATES.get(index as usize).copied(),
        }
    }
}

/// ISO 14496-3, table 1.18.
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codec_strings_are_those_of_rfc_6381() {
        assert_eq!(avc(b"\x01\x64\x00\x1f\xff").as_deref(), Some("avc1.64001F"));
        assert_eq!(avc(b"\x01\x64\x00"), None);
        let main = b"\x01\x01\x60\0\0\0\xb0\0\0\0\0\0\x5d\xf0";
        assert_eq!(hevc(main).as_deref(), Some("hvc1.1.6.L93.B0"));
        let main10 = b"\x01\x22\x20\0\0\0\x90\0\0\0\0\0\x99\xf0";
        assert_eq!(hevc(main10).as_deref(), Some("hvc1.2.4.H153.90"));
        assert_eq!(av1(b"\x81\x04\x0c\0").as_deref(), Some("av01.0.04M.08"));
        assert_eq!(av1(b"\x81\x0d\x4c\0").as_deref(), Some("av01.0.13M.10"));
    }

    #[test]
    fn an_audio_configuration_names_rate_and_channels() {
        let of = |config: &[u8]| aac(config).map(|aac| (aac.codec_string, aac.sample_rate, aac.channels));
        assert_eq!(of(b"\x12\x10"), Some(("mp4a.40.2".to_owned(), Some(44_100), Some(2))));
        assert_eq!(of(b"\x11\x88"), Some(("mp4a.40.2".to_owned(), Some(48_000), Some(1))));
        // HE-AAC: 24 kHz in the core, 48 kHz to the ear.
        assert_eq!(of(b"\x2b\x11\x88\0"), Some(("mp4a.40.5".to_owned(), Some(48_000), Some(2))));
        assert_eq!(of(b"\x12"), Some(("mp4a.40.2".to_owned(), None, None)));
        assert_eq!(of(b""), None);
        assert_eq!(opus(b"OpusHead\x01\x06\x38\x01"), Some(6));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end_at_most(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (avc(&bytes), hevc(&bytes), av1(&bytes), aac(&bytes), opus(&bytes));
        }
    }
}
