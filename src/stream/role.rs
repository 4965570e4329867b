//! What a frame is to a relay: a header that joiners need, a place where they can begin, or something in between.
//! Reads the first bytes of the payload and nothing more of it.

#![forbid(unsafe_code)]

use crate::flv::{Frame, FrameKind, audio, data, video};

/// What a frame is to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameRole {
    /// Kept for joiners, the newest of its part.
    Header(Part),
    /// A key frame of this track, or a part of it.
    KeyFrame(u8),
    /// A video frame of this track that needs the ones before it, or a part of it.
    InterFrame(u8),
    /// Audio of this track.
    Audio(u8),
    /// Data without a time: FFmpeg takes it for metadata.
    Note,
    /// Anything else: it can stand anywhere.
    Other,
}

/// Which header it is. In the order in which they are sent to a joiner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `onMetaData`.
    Metadata,
    /// Video sequence header of a track (Enhanced RTMP; 0 where there is one).
    VideoSequence(u8),
    /// Colour and the like of a track (Enhanced RTMP, Metadata).
    VideoMetadata(u8),
    /// Audio sequence header of a track.
    AudioSequence(u8),
    /// Channel layout of a track (Enhanced RTMP, MultichannelConfig).
    AudioChannels(u8),
}

impl FrameRole {
    pub(super) fn of(frame: &Frame) -> Self {
        match frame.kind {
            FrameKind::Data => match data::name_of(&frame.payload) {
                Some((_, data::Name::OnMetaData)) => FrameRole::Header(Part::Metadata),
                Some((_, data::Name::Note)) => FrameRole::Note,
                _ => FrameRole::Other,
            },
            FrameKind::Audio => {
                let mut prefix = [0; audio::PREFIX];
                let n = frame.payload.copy_prefix(&mut prefix);
                let header = audio::Header::parse(&prefix[..n]);
                if header.is_sequence_header() {
                    FrameRole::Header(Part::AudioSequence(header.track_id))
                } else if header.is_multichannel_config() {
                    FrameRole::Header(Part::AudioChannels(header.track_id))
                } else if header.carries_audio() && frame.payload.len() > EMPTY_AAC_BYTES {
                    FrameRole::Audio(header.track_id)
                } else {
                    FrameRole::Other
                }
            }
            FrameKind::Video => {
                let mut prefix = [0; video::PREFIX];
                let n = frame.payload.copy_prefix(&mut prefix);
                let header = video::Header::parse(&prefix[..n]);
                if header.is_sequence_header() {
                    FrameRole::Header(Part::VideoSequence(header.track_id))
                } else if header.is_metadata() {
                    FrameRole::Header(Part::VideoMetadata(header.track_id))
                } else if header.is_key_frame() {
                    FrameRole::KeyFrame(header.track_id)
                } else if header.carries_video() {
                    FrameRole::InterFrame(header.track_id)
                } else {
                    FrameRole::Other
                }
            }
        }
    }
}

impl Part {
    pub(super) fn kind(self) -> FrameKind {
        match self {
            Part::Metadata => FrameKind::Data,
            Part::VideoSequence(_) | Part::VideoMetadata(_) => FrameKind::Video,
            Part::AudioSequence(_) | Part::AudioChannels(_) => FrameKind::Audio,
        }
    }
}

/// An AAC message of its header alone, which some encoders send as a keep-alive.
const EMPTY_AAC_BYTES: usize = 2;

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn role(kind: FrameKind, payload: &'static [u8]) -> FrameRole {
        FrameRole::of(&Frame { kind, timestamp_ms: 0, payload: Bytes::from_static(payload).into() })
    }

    #[test]
    fn headers_key_frames_and_inter_frames_are_recognized() {
        use FrameKind::{Audio, Data, Video};
        let cases: [(FrameKind, &[u8], FrameRole); 20] = [
            (Data, b"\0\0\0\0\0\0\0\0\0\x05\x02\x00\x0AonMetaData\x05", FrameRole::Header(Part::Metadata)),
            (Data, b"\x02\x00\x0AonMetaData\x08\0\0\0\0\0\0\x09", FrameRole::Header(Part::Metadata)),
            (Data, b"\x02\x00\x0AonCuePoint\x03\0\0\x09", FrameRole::Note),
            (Data, b"\x02\x00\x11|RtmpSampleAccess\x01\x01\x01\x01", FrameRole::Note),
            (Data, b"\x02\x00\x0AonTextData", FrameRole::Other),
            (Data, b"\x02", FrameRole::Other),
            (Video, b"\x17\x00\0\0\0avcC", FrameRole::Header(Part::VideoSequence(0))),
            (Video, b"\x17\x01\0\0\0idr", FrameRole::KeyFrame(0)),
            (Video, b"\x27\x01\0\0\0p", FrameRole::InterFrame(0)),
            (Video, b"\x12vp6", FrameRole::KeyFrame(0)),
            (Video, b"", FrameRole::Other),
            (Video, b"\x90hvc1hvcC", FrameRole::Header(Part::VideoSequence(0))),
            (Video, b"\x93hvc1idr", FrameRole::KeyFrame(0)),
            (Video, b"\x94hvc1\x02", FrameRole::Header(Part::VideoMetadata(0))),
            (Audio, b"\xAF\x00asc", FrameRole::Header(Part::AudioSequence(0))),
            (Audio, b"\xAF\x01raw", FrameRole::Audio(0)),
            (Audio, b"\xAF\x01", FrameRole::Other),
            (Audio, b"\x95\x01Opus\x03raw", FrameRole::Audio(3)),
            (Video, b"\x96\x01avc1\x02\0\0\0idr", FrameRole::KeyFrame(2)),
            (Audio, b"\x90OpusOpusHead", FrameRole::Header(Part::AudioSequence(0))),
        ];
        for (kind, payload, expected) in cases {
            assert_eq!(role(kind, payload), expected, "{kind:?} {payload:02x?}");
        }
    }
}
