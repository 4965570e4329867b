//! What the first bytes of an audio payload say: AudioTagHeader (FLV 10.1 §E.4.2.1) and ExAudioTagHeader (Enhanced
//! RTMP v2). Reads no codec data.

use super::enhanced::{self, FourCc};
use std::fmt;

pub use super::enhanced::PREFIX;

/// The header of an audio payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub packet_type: PacketType,
    /// The codec.
    pub codec: AudioCodec,
    /// The first track of a multitrack message; 0 in all others. Each track has a sequence header of its own.
    pub track_id: u8,
}

/// AudioPacketType, for the legacy header as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// The decoder's configuration.
    SequenceStart,
    /// Coded audio.
    CodedFrames,
    /// End of the sequence.
    SequenceEnd,
    /// Which channel is which speaker.
    MultichannelConfig,
    /// An empty message: audio pauses here.
    Silence,
    /// Reserved, or cut off before it could be known.
    Unknown,
}

/// An audio codec as the header names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// SoundFormat of the legacy header.
    Legacy(u8),
    /// AudioFourCc of the Enhanced header.
    FourCc(FourCc),
    /// None named, or cut off.
    Unknown,
}

impl Header {
    /// Reads a payload's first [`PREFIX`] bytes, or all of them if it is shorter. What it does not know passes as
    /// audio.
    pub fn parse(prefix: &[u8]) -> Self {
        let prefix = &prefix[..prefix.len().min(PREFIX)];
        match prefix.split_first() {
            None => Self { packet_type: PacketType::Silence, ..Self::UNKNOWN },
            Some((first, rest)) if first >> 4 == EX_HEADER => {
                Self::enhanced(first & 0x0f, rest).unwrap_or(Self::UNKNOWN)
            }
            Some((first, rest)) => Self::legacy(first >> 4, rest),
        }
    }

    /// Whether this is the decoder's configuration, which joiners need before the first audio frame.
    pub fn is_sequence_header(&self) -> bool {
        self.packet_type == PacketType::SequenceStart
    }

    /// Whether this says which channel is which speaker, which joiners need as well.
    pub fn is_multichannel_config(&self) -> bool {
        self.packet_type == PacketType::MultichannelConfig
    }

    /// Whether this is a frame of audio, or may be one.
    pub fn carries_audio(&self) -> bool {
        matches!(self.packet_type, PacketType::CodedFrames | PacketType::Unknown)
    }

    fn legacy(sound_format: u8, rest: &[u8]) -> Self {
        let codec = AudioCodec::Legacy(sound_format);
        let packet_type = match (codec, rest) {
            (AudioCodec::LEGACY_AAC, [0, ..]) => PacketType::SequenceStart,
            (AudioCodec::LEGACY_AAC, [1, ..]) => PacketType::CodedFrames,
            (AudioCodec::LEGACY_AAC, _) => PacketType::Unknown,
            _without_packet_type => PacketType::CodedFrames,
        };
        Self { packet_type, codec, track_id: 0 }
    }

    fn enhanced(packet_type: u8, rest: &[u8]) -> Option<Self> {
        let (packet_type, rest) = enhanced::skip_mod_ex(packet_type, rest)?;
        let track = enhanced::first_track(packet_type, MULTITRACK, rest)?;
        Some(Self {
            packet_type: PacketType::from_bits(track.packet_type),
            codec: AudioCodec::FourCc(track.four_cc),
            track_id: track.id,
        })
    }

    const UNKNOWN: Self = Self { packet_type: PacketType::Unknown, codec: AudioCodec::Unknown, track_id: 0 };
}

/// The codec and the decoder's configuration of a sequence header, the whole message; of several tracks those of the
/// first, with whatever comes after it. None where it is no sequence header.
pub fn configuration(message: &[u8]) -> Option<(AudioCodec, &[u8])> {
    let (&first, rest) = message.split_first()?;
    if first >> 4 != EX_HEADER {
        let header = Header::legacy(first >> 4, rest);
        return header.is_sequence_header().then_some((header.codec, rest.get(1..)?));
    }
    let (packet_type, rest) = enhanced::skip_mod_ex(first & 0x0f, rest)?;
    let track = enhanced::first_track(packet_type, MULTITRACK, rest)?;
    let is_start = PacketType::from_bits(track.packet_type) == PacketType::SequenceStart;
    is_start.then_some((AudioCodec::FourCc(track.four_cc), track.body))
}

impl PacketType {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::SequenceStart,
            1 => Self::CodedFrames,
            2 => Self::SequenceEnd,
            4 => Self::MultichannelConfig,
            _ => Self::Unknown,
        }
    }
}

impl AudioCodec {
    /// MP3
    pub const LEGACY_MP3: Self = Self::Legacy(2);
    /// AAC
    pub const LEGACY_AAC: Self = Self::Legacy(10);
    /// Speex
    pub const LEGACY_SPEEX: Self = Self::Legacy(11);
    /// AAC
    pub const AAC: Self = Self::FourCc(FourCc(*b"mp4a"));
    /// Opus
    pub const OPUS: Self = Self::FourCc(FourCc(*b"Opus"));
    /// FLAC
    pub const FLAC: Self = Self::FourCc(FourCc(*b"fLaC"));
    /// AC-3
    pub const AC3: Self = Self::FourCc(FourCc(*b"ac-3"));
    /// E-AC-3
    pub const EAC3: Self = Self::FourCc(FourCc(*b"ec-3"));
    /// MP3
    pub const MP3: Self = Self::FourCc(FourCc(*b".mp3"));
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Legacy(0 | 3) => "PCM",
            Self::Legacy(1) => "ADPCM",
            Self::LEGACY_MP3 | Self::Legacy(14) | Self::MP3 => "MP3",
            Self::Legacy(4..=6) => "Nellymoser",
            Self::Legacy(7) => "G.711 A-law",
            Self::Legacy(8) => "G.711 mu-law",
            Self::LEGACY_AAC | Self::AAC => "AAC",
            Self::LEGACY_SPEEX => "Speex",
            Self::OPUS => "Opus",
            Self::FLAC => "FLAC",
            Self::AC3 => "AC-3",
            Self::EAC3 => "E-AC-3",
            Self::Unknown => "unknown",
            Self::Legacy(format) => return write!(f, "sound format {format}"),
            Self::FourCc(four_cc) => return write!(f, "{four_cc}"),
        })
    }
}

/// SoundFormat: reserved in the past, now it marks the Enhanced header.
const EX_HEADER: u8 = 9;

/// AudioPacketType
const MULTITRACK: u8 = 5;

/// What is true for any bytes, for the tests below and the fuzz target.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let header = Header::parse(bytes);
    assert_eq!(header, Header::parse(&bytes[..bytes.len().min(PREFIX)]));
    assert!(!header.carries_audio() || !(header.is_sequence_header() || header.is_multichannel_config()));
    assert!(bytes.is_empty() == (header.packet_type == PacketType::Silence));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_aac_sequence_header_is_told_from_sound() {
        let header = Header::parse(b"\xaf\x00\x12\x10");
        assert!(header.is_sequence_header() && !header.carries_audio());
        assert_eq!(header.codec, AudioCodec::LEGACY_AAC);
        let audio = Header::parse(b"\xaf\x01\x21\x10");
        assert!(!audio.is_sequence_header() && audio.carries_audio());
    }

    #[test]
    fn a_codec_without_packet_types_is_always_sound() {
        for sound_format in (0..16).filter(|format| ![9, 10].contains(format)) {
            for second in 0..=255 {
                let header = Header::parse(&[sound_format << 4 | 0x0f, second]);
                assert!(header.carries_audio() && !header.is_sequence_header());
            }
        }
        assert_eq!(Header::parse(b"\x2f\xff\xfb").codec.to_string(), "MP3");
        assert_eq!(Header::parse(b"\xb2\x00").codec.to_string(), "Speex");
        assert_eq!(Header::parse(b"\xc0\x00").codec.to_string(), "sound format 12");
    }

    #[test]
    fn each_enhanced_codec_has_sequence_headers_and_sound() {
        for (four_cc, name) in [
            ("mp4a", "AAC"),
            ("Opus", "Opus"),
            ("fLaC", "FLAC"),
            ("ac-3", "AC-3"),
            ("ec-3", "E-AC-3"),
            (".mp3", "MP3"),
            ("ab\n\u{1}", "ab\\n\\x01"),
        ] {
            let header = |first| Header::parse(&[&[first], four_cc.as_bytes()].concat());
            assert_eq!(header(0x90).codec.to_string(), name);
            assert!(header(0x90).is_sequence_header());
            assert!(header(0x91).carries_audio() && !header(0x91).is_sequence_header());
            assert_eq!(header(0x92).packet_type, PacketType::SequenceEnd);
            assert!(header(0x94).is_multichannel_config());
        }
    }

    #[test]
    fn mod_ex_packets_are_walked_through_and_of_several_tracks_the_first_is_read() {
        for bytes in [
            b"\x95\x00Opus\x05OpusHead".as_slice(),
            b"\x95\x10Opus\x05\x00\x00\x08OpusHead",
            b"\x95\x20Opus\x05\x00\x00\x08OpusHead",
            b"\x97\x02\x00\x00\x01\x05\x10Opus\x05\x00\x00\x08OpusHead",
        ] {
            let header = Header::parse(bytes);
            assert!(header.is_sequence_header(), "{bytes:02x?}");
            assert_eq!((header.codec, header.track_id), (AudioCodec::OPUS, 5));
        }
        assert!(Header::parse(b"\x97\x02\x00\x00\x01\x00Opus").is_sequence_header());
    }

    #[test]
    fn an_empty_message_is_silence() {
        let header = Header::parse(b"");
        assert_eq!(header.packet_type, PacketType::Silence);
        assert!(!header.carries_audio() && !header.is_sequence_header());
    }

    #[test]
    fn what_is_reserved_or_cut_off_passes_as_sound() {
        for bytes in
            [b"\xaf".as_slice(), b"\xaf\x02", b"\x90Opu", b"\x93Opus", b"\x97\x02\x00", b"\x95\x10Opus"]
        {
            let header = Header::parse(bytes);
            assert!(header.carries_audio() && !header.is_sequence_header(), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_header(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            check_any_bytes(&bytes);
        }
    }
}
