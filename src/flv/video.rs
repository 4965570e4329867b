//! What the first bytes of a video payload say: VideoTagHeader (FLV 10.1 §E.4.3.1) and ExVideoTagHeader (Enhanced
//! RTMP v2). Reads no codec data.

use super::enhanced::{self, FourCc};
use std::fmt;

pub use super::enhanced::PREFIX;

/// The header of a video payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Key frame or not, as the encoder says it; sequence headers say key frame, too. See [`Header::is_key_frame`].
    pub frame_type: FrameType,
    /// What the payload is.
    pub packet_type: PacketType,
    /// The codec.
    pub codec: VideoCodec,
    /// The first track of a multitrack message; 0 in all others. Each track has a sequence header of its own.
    pub track_id: u8,
    /// Presentation minus decoding time, signed 24 bits; None where codec or packet type has none.
    pub composition_time_ms: Option<i32>,
}

/// VideoFrameType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// 1, and 4 for key frames that a server made.
    Key,
    /// 2, 3 (disposable), and the values without a meaning.
    Inter,
    /// 5: a command about seeking, without coded video.
    Command,
}

/// VideoPacketType, for the legacy header as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// The decoder's configuration.
    SequenceStart,
    /// Coded video; for AVC and HEVC after its composition time.
    CodedFrames,
    /// End of the sequence.
    SequenceEnd,
    /// Coded video whose composition time is 0.
    CodedFramesX,
    /// AMF values about the video, such as `colorInfo` for HDR.
    Metadata,
    /// The decoder's configuration, as an MPEG-2 TS descriptor.
    Mpeg2TsSequenceStart,
    /// A command frame.
    Command,
    /// Nothing: some encoders send empty messages to keep a connection alive.
    Empty,
    /// Reserved, or cut off before it could be known.
    Unknown,
}

/// A video codec as the header names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// VideoCodecId of the legacy header.
    Legacy(u8),
    /// VideoFourCc of the Enhanced header.
    FourCc(FourCc),
    /// None named, or cut off.
    Unknown,
}

impl Header {
    /// Reads a payload's first [`PREFIX`] bytes, or all of them if it is shorter. What it does not know passes as
    /// an inter frame, so that no player starts or resumes there.
    pub fn parse(prefix: &[u8]) -> Self {
        let prefix = &prefix[..prefix.len().min(PREFIX)];
        match prefix.split_first() {
            None => Self { packet_type: PacketType::Empty, ..Self::UNKNOWN },
            Some((first, rest)) if first & EX_HEADER != 0 => Self::enhanced(*first, rest),
            Some((first, rest)) => Self::legacy(*first, rest),
        }
    }

    /// Whether a player may start or resume at this message: coded video that needs none before it. Not a sequence
    /// header.
    pub fn is_key_frame(&self) -> bool {
        self.frame_type == FrameType::Key
            && matches!(self.packet_type, PacketType::CodedFrames | PacketType::CodedFramesX)
    }

    /// Whether this is the decoder's configuration, which joiners need before the first video frame.
    pub fn is_sequence_header(&self) -> bool {
        matches!(self.packet_type, PacketType::SequenceStart | PacketType::Mpeg2TsSequenceStart)
    }

    /// Whether this holds values about the video (`colorInfo`), which joiners need as well.
    pub fn is_metadata(&self) -> bool {
        self.packet_type == PacketType::Metadata
    }

    /// Whether this is coded video, or may be.
    pub fn carries_video(&self) -> bool {
        matches!(self.packet_type, PacketType::CodedFrames | PacketType::CodedFramesX | PacketType::Unknown)
    }

    /// Whether players can use this message, `len` bytes in all. A command frame is about seeking, and mpegts.js
    /// ends at one whose codec it does not know. Of AVC's five bytes of header FFmpeg reads those that are missing from
    /// what comes after.
    pub fn is_for_players(&self, len: usize) -> bool {
        let has_avc_header = matches!(self.codec, VideoCodec::LEGACY_AVC | VideoCodec::LEGACY_HEVC);
        self.packet_type != PacketType::Command && !(has_avc_header && len < AVC_HEADER_BYTES)
    }

    fn legacy(first: u8, rest: &[u8]) -> Self {
        let frame_type = FrameType::from_bits(first >> 4);
        let codec = VideoCodec::Legacy(first & 0x0f);
        let packet_type = match (frame_type, codec, rest) {
            (FrameType::Command, ..) => PacketType::Command,
            (_, VideoCodec::LEGACY_AVC | VideoCodec::LEGACY_HEVC, [0, ..]) => PacketType::SequenceStart,
            (_, VideoCodec::LEGACY_AVC | VideoCodec::LEGACY_HEVC, [1, ..]) => PacketType::CodedFrames,
            (_, VideoCodec::LEGACY_AVC | VideoCodec::LEGACY_HEVC, [2, ..]) => PacketType::SequenceEnd,
            (_, VideoCodec::LEGACY_AVC | VideoCodec::LEGACY_HEVC, _) => PacketType::Unknown,
            _without_packet_type => PacketType::CodedFrames,
        };
        let composition_time_ms = composition_time(packet_type, codec, rest.get(1..).unwrap_or_default());
        Self { frame_type, packet_type, codec, track_id: 0, composition_time_ms }
    }

    fn enhanced(first: u8, rest: &[u8]) -> Self {
        let frame_type = FrameType::from_bits((first & !EX_HEADER) >> 4);
        let unknown = Self { frame_type, ..Self::UNKNOWN };
        let Some((packet_type, rest)) = enhanced::skip_mod_ex(first & 0x0f, rest) else {
            return unknown;
        };
        if frame_type == FrameType::Command && packet_type != METADATA {
            return Self { packet_type: PacketType::Command, ..unknown };
        }
        let Some(track) = enhanced::first_track(packet_type, MULTITRACK, rest) else {
            return unknown;
        };
        let packet_type = PacketType::from_bits(track.packet_type);
        let codec = VideoCodec::FourCc(track.four_cc);
        let composition_time_ms = composition_time(packet_type, codec, track.body);
        Self { frame_type, packet_type, codec, track_id: track.id, composition_time_ms }
    }

    const UNKNOWN: Self = Self {
        frame_type: FrameType::Inter,
        packet_type: PacketType::Unknown,
        codec: VideoCodec::Unknown,
        track_id: 0,
        composition_time_ms: None,
    };
}

/// The codec and the decoder's configuration of a sequence header, the whole message; of several tracks those of the
/// first, with whatever comes after it. None where it is no sequence header.
pub fn configuration(message: &[u8]) -> Option<(VideoCodec, &[u8])> {
    let (&first, rest) = message.split_first()?;
    if first & EX_HEADER == 0 {
        let header = Header::legacy(first, rest);
        // Packet type and composition time.
        return header.is_sequence_header().then_some((header.codec, rest.get(4..)?));
    }
    let (packet_type, rest) = enhanced::skip_mod_ex(first & 0x0f, rest)?;
    let track = enhanced::first_track(packet_type, MULTITRACK, rest)?;
    let is_start = PacketType::from_bits(track.packet_type) == PacketType::SequenceStart;
    is_start.then_some((VideoCodec::FourCc(track.four_cc), track.body))
}

fn composition_time(packet_type: PacketType, codec: VideoCodec, body: &[u8]) -> Option<i32> {
    match (packet_type, body) {
        _ if !codec.reorders() => None,
        (PacketType::CodedFramesX, _) => Some(0),
        // Signed: the sign of the 24 bits is that of the 32.
        (PacketType::CodedFrames, [a, b, c, ..]) => Some(i32::from_be_bytes([*a, *b, *c, 0]) >> 8),
        _ => None,
    }
}

impl FrameType {
    fn from_bits(bits: u8) -> Self {
        match bits {
            1 | 4 => Self::Key,
            5 => Self::Command,
            _ => Self::Inter,
        }
    }
}

impl PacketType {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::SequenceStart,
            1 => Self::CodedFrames,
            2 => Self::SequenceEnd,
            3 => Self::CodedFramesX,
            METADATA => Self::Metadata,
            5 => Self::Mpeg2TsSequenceStart,
            _ => Self::Unknown,
        }
    }
}

impl VideoCodec {
    /// H.264. Old builds of OBS send HEVC under this id; its header is the same.
    pub const LEGACY_AVC: Self = Self::Legacy(7);
    /// HEVC as encoders and CDNs in China send it, which no spec defines; the header is that of AVC.
    pub const LEGACY_HEVC: Self = Self::Legacy(12);
    /// H.264
    pub const AVC: Self = Self::FourCc(FourCc(*b"avc1"));
    /// H.265
    pub const HEVC: Self = Self::FourCc(FourCc(*b"hvc1"));
    /// H.266
    pub const VVC: Self = Self::FourCc(FourCc(*b"vvc1"));
    /// AV1
    pub const AV1: Self = Self::FourCc(FourCc(*b"av01"));
    /// VP8
    pub const VP8: Self = Self::FourCc(FourCc(*b"vp08"));
    /// VP9
    pub const VP9: Self = Self::FourCc(FourCc(*b"vp09"));

    /// Whether its coded frames begin with a composition time.
    fn reorders(self) -> bool {
        matches!(self, Self::LEGACY_AVC | Self::LEGACY_HEVC | Self::AVC | Self::HEVC | Self::VVC)
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Legacy(2) => "Sorenson H.263",
            Self::Legacy(3) => "Screen Video",
            Self::Legacy(4 | 5) => "VP6",
            Self::Legacy(6) => "Screen Video 2",
            Self::LEGACY_AVC | Self::AVC => "H.264",
            Self::LEGACY_HEVC | Self::HEVC => "HEVC",
            Self::VVC => "VVC",
            Self::AV1 => "AV1",
            Self::VP8 => "VP8",
            Self::VP9 => "VP9",
            Self::Unknown => "unknown",
            Self::Legacy(id) => return write!(f, "codec id {id}"),
            Self::FourCc(four_cc) => return write!(f, "{four_cc}"),
        })
    }
}

/// Frame type and codec, AVCPacketType, CompositionTime (FLV 10.1 §E.4.3.1).
const AVC_HEADER_BYTES: usize = 5;

/// isExVideoHeader, in the first byte.
const EX_HEADER: u8 = 0x80;

/// VideoPacketType
const METADATA: u8 = 4;

/// VideoPacketType
const MULTITRACK: u8 = 6;

/// What is true for any bytes, for the tests below and the fuzz target.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let header = Header::parse(bytes);
    assert_eq!(header, Header::parse(&bytes[..bytes.len().min(PREFIX)]));
    assert!(!header.is_key_frame() || header.carries_video());
    assert!(!header.carries_video() || !(header.is_sequence_header() || header.is_metadata()));
    assert!(header.composition_time_ms.is_none_or(|ms| (-0x80_0000..0x80_0000).contains(&ms)));
    assert!(bytes.is_empty() == (header.packet_type == PacketType::Empty));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_frame_is_told_from_an_inter_frame_and_from_a_sequence_header() {
        for (bytes, key, sequence_header) in [
            (b"\x17\x00\x00\x00\x00\x01\x64".as_slice(), false, true),
            (b"\x17\x01\x00\x00\x00\x00\x00", true, false),
            (b"\x27\x01\x00\x00\x00\x00\x00", false, false),
            (b"\x47\x01\x00\x00\x00\x00\x00", true, false),
            (b"\x17\x02\x00\x00\x00", false, false),
            (b"\x90hvc1\x01", false, true),
            (b"\x91hvc1\x00\x00\x00", true, false),
            (b"\xa1hvc1\x00\x00\x00", false, false),
            (b"\x93hvc1\x00", true, false),
            (b"\xa3hvc1\x00", false, false),
            (b"\x92hvc1", false, false),
            (b"\x95av01", false, true),
        ] {
            let header = Header::parse(bytes);
            assert_eq!(header.is_key_frame(), key, "{bytes:02x?}");
            assert_eq!(header.is_sequence_header(), sequence_header, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_codec_without_packet_types_has_key_frames_and_no_sequence_header() {
        // Sorenson H.263, Screen Video, VP6, VP6 with alpha, Screen Video 2, and an undefined id.
        for codec in [2, 3, 4, 5, 6, 9] {
            for second in 0..=255 {
                let key = Header::parse(&[0x10 | codec, second, 0, 0]);
                assert!(key.is_key_frame() && !key.is_sequence_header());
                let inter = Header::parse(&[0x20 | codec, second, 0, 0]);
                assert!(!inter.is_key_frame() && inter.carries_video());
                assert_eq!(inter.composition_time_ms, None);
            }
        }
    }

    #[test]
    fn composition_time_is_signed_24_bits() {
        for (bytes, expected) in [
            (b"\x27\x01\x00\x00\x50".as_slice(), Some(80)),
            (b"\x27\x01\xff\xff\xd8", Some(-40)),
            (b"\x27\x01\x7f\xff\xff", Some(0x7f_ffff)),
            (b"\x27\x01\x80\x00\x00", Some(-0x80_0000)),
            (b"\x2c\x01\xff\xff\xff", Some(-1)),
            (b"\xa1avc1\xff\xff\xd8", Some(-40)),
            (b"\xa1hvc1\x00\x00\x21", Some(33)),
            (b"\xa3hvc1\x12\x34\x56", Some(0)),
            (b"\xa1av01\x00\x00\x21", None),
            (b"\xa3av01\x00\x00\x21", None),
            (b"\x17\x00\x00\x00\x50", None),
            (b"\x27\x01\x00\x00", None),
        ] {
            assert_eq!(Header::parse(bytes).composition_time_ms, expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn hevc_is_recognised_in_its_two_forms_and_passes_under_codec_id_7() {
        for bytes in [b"\x1c\x00\x00\x00\x00\x01".as_slice(), b"\x90hvc1\x01"] {
            let header = Header::parse(bytes);
            assert_eq!(header.codec.to_string(), "HEVC");
            assert!(header.is_sequence_header());
        }
        assert!(Header::parse(b"\x1c\x01\x00\x00\x00\x00").is_key_frame());
        // Old OBS: AVC's header before HEVC video.
        assert!(Header::parse(b"\x17\x01\x00\x00\x00\x00\x00\x00\x02\x40\x01").is_key_frame());
    }

    #[test]
    fn each_enhanced_codec_has_sequence_headers_and_key_frames() {
        for (four_cc, name) in [
            ("avc1", "H.264"),
            ("hvc1", "HEVC"),
            ("av01", "AV1"),
            ("vp08", "VP8"),
            ("vp09", "VP9"),
            ("abcd", "abcd"),
        ] {
            let header = |first| Header::parse(&[&[first], four_cc.as_bytes(), &[0; 8]].concat());
            assert_eq!(header(0x90).codec.to_string(), name);
            assert!(header(0x90).is_sequence_header());
            assert!(header(0x91).is_key_frame());
            assert!(!header(0xa1).is_key_frame());
        }
    }

    #[test]
    fn commands_metadata_and_the_end_of_a_sequence_carry_no_picture() {
        for (bytes, packet_type) in [
            (b"\x57\x00".as_slice(), PacketType::Command),
            (b"\x52\x01", PacketType::Command),
            (b"\xd1\x00", PacketType::Command),
            (b"\x94hvc1\x02", PacketType::Metadata),
            (b"\xd4hvc1\x02", PacketType::Metadata),
            (b"\x92hvc1", PacketType::SequenceEnd),
            (b"\x17\x02\x00\x00\x00", PacketType::SequenceEnd),
            (b"", PacketType::Empty),
        ] {
            let header = Header::parse(bytes);
            assert_eq!(header.packet_type, packet_type, "{bytes:02x?}");
            assert!(!header.carries_video() && !header.is_key_frame() && !header.is_sequence_header());
        }
    }

    #[test]
    fn commands_and_cut_headers_of_avc_are_not_for_players() {
        let is_for_players = |bytes: &[u8]| Header::parse(bytes).is_for_players(bytes.len());
        for bytes in
            [b"\x57\x00".as_slice(), b"\x52\x00", b"\xd1hvc1", b"\x17", b"\x27\x01\0\0", b"\x1c\x01\0\0"]
        {
            assert!(!is_for_players(bytes), "{bytes:02x?}");
        }
        for bytes in [b"\x17\x02\0\0\0".as_slice(), b"\x27\x01\0\0\0", b"\x12", b"\x92hvc1", b"\xd4hvc1\x02"]
        {
            assert!(is_for_players(bytes), "{bytes:02x?}");
        }
    }

    #[test]
    fn mod_ex_packets_are_walked_through() {
        let nano = b"\x02\x00\x03\xe8";
        let one = [b"\x97".as_slice(), nano, b"\x01hvc1\xff\xff\xd8"].concat();
        let two = [b"\x97".as_slice(), nano, b"\x07", nano, b"\x01hvc1\xff\xff\xd8"].concat();
        // 255 says that the size is in the next two bytes.
        let long_form = b"\x97\xff\x00\x02\x00\x03\xe8\x01hvc1\xff\xff\xd8".to_vec();
        for bytes in [one, two, long_form] {
            let header = Header::parse(&bytes);
            assert!(header.is_key_frame(), "{bytes:02x?}");
            assert_eq!((header.codec, header.composition_time_ms), (VideoCodec::HEVC, Some(-40)));
        }
        let beyond_the_prefix = [b"\x97\x30".as_slice(), &[0; 0x31], b"\x01hvc1\0\0\0"].concat();
        assert_eq!(Header::parse(&beyond_the_prefix).packet_type, PacketType::Unknown);
    }

    #[test]
    fn of_several_tracks_the_first_is_read() {
        for bytes in [
            b"\x96\x01hvc1\x05\x00\x00\x28\x00".as_slice(),
            b"\x96\x11hvc1\x05\x00\x00\x04\x00\x00\x28\x00",
            b"\x96\x21hvc1\x05\x00\x00\x04\x00\x00\x28\x00",
            b"\x97\x02\x00\x00\x01\x06\x11hvc1\x05\x00\x00\x04\x00\x00\x28\x00",
        ] {
            let header = Header::parse(bytes);
            assert!(header.is_key_frame(), "{bytes:02x?}");
            assert_eq!(header.codec, VideoCodec::HEVC);
            assert_eq!((header.track_id, header.composition_time_ms), (5, Some(40)));
        }
        assert!(Header::parse(b"\x96\x00av01\x01\x81").is_sequence_header());
    }

    #[test]
    fn a_header_cut_at_any_byte_is_never_a_key_frame_too_many() {
        let whole = b"\x97\x02\x00\x00\x01\x06\x10hvc1\x05\x00\x00\x04\x01\x64\x00\x00";
        for cut in 1..12 {
            let header = Header::parse(&whole[..cut]);
            assert!(!header.is_key_frame() && header.carries_video());
        }
        assert!(!Header::parse(b"\x17").is_key_frame());
    }

    #[test]
    fn what_is_reserved_passes_as_an_inter_frame() {
        for bytes in [b"\x98hvc1\x00".as_slice(), b"\x9fhvc1\x00", b"\x17\x03\x00\x00\x00", b"\x17\xff"] {
            let header = Header::parse(bytes);
            assert!(header.carries_video() && !header.is_key_frame() && !header.is_sequence_header());
        }
        assert_eq!(Header::parse(b"\x07\x01\x00\x00\x00").frame_type, FrameType::Inter);
        assert_eq!(Header::parse(b"\x19\x01").codec.to_string(), "codec id 9");
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_header(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            check_any_bytes(&bytes);
        }
    }
}
