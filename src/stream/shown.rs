//! Which kinds of media the current publisher has sent, for all cores. Headers and metadata do not count: an encoder
//! may announce audio and never send any.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::flv::{FrameKind, Kinds};

/// It is known which kinds a publish has once both have come, or this long after its first frame, milliseconds: FFmpeg
/// and OBS send the second kind within some tens of milliseconds.
const SETTLE_MS: u64 = 1_000;

/// What cores read: one atomic, written by the publisher's core when it changes.
#[derive(Debug, Default)]
pub(super) struct Shown(AtomicU64);

/// What has come in a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media {
    kinds: Kinds,
    first_ms: Option<u64>,
}

/// What the stream is taken to hold at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holds {
    pub kinds: Kinds,
    /// A kind that is not among these is not expected to come.
    pub is_settled: bool,
}

const AUDIO: u64 = 1;
const VIDEO: u64 = 2;
/// When the first frame came, milliseconds on the relay's clock, above these bits.
const KIND_BITS: u32 = 2;

impl Shown {
    pub(super) fn get(&self) -> Media {
        let packed = self.0.load(Ordering::Acquire);
        let kinds = Kinds { audio: packed & AUDIO != 0, video: packed & VIDEO != 0 };
        Media { kinds, first_ms: (packed != 0).then_some(packed >> KIND_BITS) }
    }

    pub(super) fn set(&self, media: Media) {
        let Media { kinds, first_ms } = media;
        let bits = u64::from(kinds.audio) * AUDIO + u64::from(kinds.video) * VIDEO;
        let packed = first_ms.map_or(0, |ms| ms << KIND_BITS | bits);
        self.0.store(packed, Ordering::Release);
    }
}

impl Holds {
    /// The one kind that is not expected.
    pub(super) fn absent(&self) -> Option<FrameKind> {
        match self.kinds {
            Kinds { audio: false, video: true } if self.is_settled => Some(FrameKind::Audio),
            Kinds { audio: true, video: false } if self.is_settled => Some(FrameKind::Video),
            _ => None,
        }
    }
}

impl Media {
    /// A frame of this kind came. True where it is the first.
    pub(super) fn saw(&mut self, kind: FrameKind, now_ms: u64) -> bool {
        let has_come = match kind {
            FrameKind::Audio => &mut self.kinds.audio,
            FrameKind::Video => &mut self.kinds.video,
            FrameKind::Data => return false,
        };
        self.first_ms.get_or_insert(now_ms);
        !std::mem::replace(has_come, true)
    }

    pub(super) fn at(&self, now_ms: u64) -> Holds {
        Holds { kinds: self.kinds, is_settled: self.is_settled(now_ms) }
    }

    /// The kinds that have come.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether what has not come by now is taken to be absent.
    pub fn is_settled(&self, now_ms: u64) -> bool {
        let Some(first_ms) = self.first_ms else { return false };
        let Kinds { audio, video } = self.kinds;
        (audio && video) || now_ms.saturating_sub(first_ms) >= SETTLE_MS
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_settled_with_both_kinds_or_a_second_after_the_first() {
        let mut media = Media::default();
        assert!(!media.is_settled(1 << 40));
        assert!(media.saw(FrameKind::Video, 5_000) && !media.saw(FrameKind::Video, 5_040));
        assert!(!media.is_settled(5_999) && media.is_settled(6_000));
        assert_eq!((media.at(5_999).absent(), media.at(6_000).absent()), (None, Some(FrameKind::Audio)));
        assert!(media.saw(FrameKind::Audio, 5_050));
        assert!(media.is_settled(5_050) && media.at(9_000).absent().is_none());
    }

    #[test]
    fn data_is_no_kind_of_media() {
        let mut media = Media::default();
        assert!(!media.saw(FrameKind::Data, 0));
        assert_eq!(media, Media::default());
    }

    #[test]
    fn other_cores_read_what_was_written() {
        let shown = Shown::default();
        assert_eq!(shown.get(), Media::default());
        let mut media = Media::default();
        for (kind, now_ms) in [(FrameKind::Audio, 0), (FrameKind::Video, 7)] {
            media.saw(kind, now_ms);
            shown.set(media);
            assert_eq!(shown.get(), media);
        }
        shown.set(Media::default());
        assert_eq!(shown.get(), Media::default());
    }
}
