//! Checks what one player receives, frame by frame: whether each is intact and the next one in order.

use fanfare_rtmp::flv::{Frame, FrameKind, audio, video};
use serde::Serialize;

use crate::marker::Marker;
use crate::schedule::Kind;
use crate::source::marker_position;

/// What one player has received so far.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    video: Order,
    audio: Order,
    /// The video jumped to a key frame, and no audio has arrived since: audio may jump as well.
    audio_may_jump: bool,
    tally: Tally,
}

/// Counts over all checked frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Audio and video frames that carry a marker.
    pub frames: u64,
    /// Times that frames were missing and the next one was not a key frame: decoding breaks.
    pub gaps: u64,
    /// Times that frames were missing and the next one was a key frame, as when a server skips for a slow player.
    pub skips: u64,
    /// Frames missing in gaps and skips.
    pub missing: u64,
    /// Frames whose number was not higher than the one before.
    pub out_of_order: u64,
    /// Frames without a marker, or with other bytes than were sent.
    pub corrupt: u64,
    /// Times that the encoder restarted.
    pub restarts: u64,
}

/// What kind of frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Metadata, a sequence header, or something corrupt.
    Other,
    /// A frame of one of our encoders.
    Frame {
        /// Audio or video.
        kind: Kind,
        /// Whether a player can start here.
        is_key_frame: bool,
        /// The marker that it carries.
        marker: Marker,
    },
}

impl Checker {
    /// Checks the next frame.
    pub fn frame(&mut self, frame: &Frame) -> Seen {
        let bytes = frame.payload.to_bytes();
        if is_header(frame.kind, &bytes) {
            return Seen::Other;
        }
        let position = marker_position(frame.kind, &bytes);
        let Some(marker) = position.and_then(|at| Marker::read(&bytes, at)) else {
            self.tally.corrupt += 1;
            return Seen::Other;
        };
        self.tally.frames += 1;
        let is_key_frame = frame.kind == FrameKind::Video && video::Header::parse(&bytes).is_key_frame();
        let kind = match frame.kind {
            FrameKind::Video => Kind::Video,
            _ => Kind::Audio,
        };
        match kind {
            Kind::Video => self.video(&marker, is_key_frame),
            Kind::Audio => self.audio(&marker),
        }
        Seen::Frame { kind, is_key_frame, marker }
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn video(&mut self, marker: &Marker, is_key_frame: bool) {
        match self.video.next(marker) {
            Step::Next => {}
            Step::Restart => self.tally.restarts += 1,
            Step::Back => self.tally.out_of_order += 1,
            Step::Jump(missing) => {
                self.tally.missing += missing;
                self.audio_may_jump = is_key_frame;
                self.count_jump(is_key_frame);
            }
        }
    }

    fn audio(&mut self, marker: &Marker) {
        let may_jump = std::mem::take(&mut self.audio_may_jump);
        match self.audio.next(marker) {
            // A restart is counted by the video, if there is any.
            Step::Restart => self.tally.restarts += u64::from(self.video.last.is_none()),
            Step::Next => {}
            Step::Back => self.tally.out_of_order += 1,
            Step::Jump(missing) => {
                self.tally.missing += missing;
                // A jump of both is one skip, which the video has counted.
                if !may_jump {
                    self.count_jump(false);
                }
            }
        }
    }

    fn count_jump(&mut self, to_key_frame: bool) {
        if to_key_frame {
            self.tally.skips += 1;
        } else {
            self.tally.gaps += 1;
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.gaps += other.gaps;
        self.skips += other.skips;
        self.missing += other.missing;
        self.out_of_order += other.out_of_order;
        self.corrupt += other.corrupt;
        self.restarts += other.restarts;
    }
}

impl Tally {
    /// Whether every frame arrived, intact and in order.
    pub fn is_perfect(&self) -> bool {
        self.gaps + self.skips + self.out_of_order + self.corrupt == 0
    }
}

/// The numbers of one kind of frame.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    /// Source and sequence number.
    last: Option<(u32, u64)>,
}

enum Step {
    Next,
    Back,
    /// This many are missing.
    Jump(u64),
    Restart,
}

impl Order {
    fn next(&mut self, marker: &Marker) -> Step {
        let Marker { source, sequence, .. } = *marker;
        match self.last.replace((source, sequence)) {
            None => Step::Next,
            Some((before, _)) if before != source => Step::Restart,
            Some((_, last)) if sequence <= last => {
                // A late frame counts once, not again for each frame after it.
                self.last = Some((source, last));
                Step::Back
            }
            Some((_, last)) if sequence > last + 1 => Step::Jump(sequence - last - 1),
            Some(_) => Step::Next,
        }
    }
}

fn is_header(kind: FrameKind, bytes: &[u8]) -> bool {
    match kind {
        FrameKind::Data => true,
        FrameKind::Video => video::Header::parse(bytes).is_sequence_header(),
        FrameKind::Audio => audio::Header::parse(bytes).is_sequence_header(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Shape, Source};

    const SHAPE: Shape = Shape { bitrate: 500_000, fps: 30, gop: 30, audio: true };

    /// Three seconds, with a key frame at the start of each.
    fn frames() -> Vec<Frame> {
        let mut source = Source::new(SHAPE, 0, 1);
        (0..219).map(|_| source.next_frame(5)).collect()
    }

    fn check<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Tally {
        let mut checker = Checker::default();
        frames.into_iter().for_each(|frame| {
            checker.frame(frame);
        });
        checker.tally()
    }

    fn videos(frames: &[Frame]) -> Vec<usize> {
        (0..frames.len()).filter(|&at| frames[at].kind == FrameKind::Video).collect()
    }

    #[test]
    fn all_frames_in_order_are_perfect() {
        let tally = check(&[Source::new(SHAPE, 0, 1).headers(), frames()].concat());
        assert!(tally.is_perfect());
        assert_eq!(tally, Tally { frames: 219, ..Tally::default() });
    }

    #[test]
    fn a_player_may_start_at_any_frame() {
        assert_eq!(check(&frames()[50..]), Tally { frames: 169, ..Tally::default() });
    }

    #[test]
    fn a_missing_frame_is_a_gap() {
        let frames = frames();
        for left_out in
            [videos(&frames)[7], (0..219).find(|at| frames[*at].kind == FrameKind::Audio).unwrap() + 1]
        {
            let tally =
                check(frames.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, frame)| frame));
            assert_eq!(tally, Tally { frames: 218, gaps: 1, missing: 1, ..Tally::default() });
        }
    }

    #[test]
    fn a_jump_of_video_and_audio_to_a_key_frame_is_one_skip() {
        let frames = frames();
        let key_frame = videos(&frames)[30];
        let tally = check(frames[..10].iter().chain(&frames[key_frame..]));
        assert_eq!((tally.skips, tally.gaps, tally.missing), (1, 0, key_frame as u64 - 10));
    }

    #[test]
    fn a_jump_to_a_frame_that_is_no_key_frame_is_a_gap() {
        let frames = frames();
        let after_key_frame = videos(&frames)[31];
        let tally = check(frames[..10].iter().chain(&frames[after_key_frame..]));
        assert_eq!((tally.skips, tally.gaps), (0, 2), "of video and of audio");
    }

    #[test]
    fn two_swapped_frames_are_detected() {
        let mut frames = frames();
        let videos = videos(&frames);
        frames.swap(videos[7], videos[8]);
        let tally = check(&frames);
        assert_eq!((tally.out_of_order, tally.gaps, tally.missing), (1, 1, 1));
    }

    #[test]
    fn a_repeated_frame_is_out_of_order() {
        let frames = frames();
        let tally = check(frames[..10].iter().chain(&frames[9..]));
        assert_eq!(tally, Tally { frames: 220, out_of_order: 1, ..Tally::default() });
    }

    #[test]
    fn a_changed_or_cut_frame_is_corrupt() {
        for spoil in [|bytes: &mut Vec<u8>| bytes[100] ^= 4, |bytes: &mut Vec<u8>| bytes.truncate(100)] {
            let mut frames = frames();
            let mut bytes = frames[20].payload.to_bytes().to_vec();
            spoil(&mut bytes);
            frames[20].payload = bytes.into();
            let tally = check(&frames);
            assert_eq!((tally.corrupt, tally.frames, tally.missing), (1, 218, 1));
        }
    }

    #[test]
    fn a_restarted_encoder_is_not_out_of_order() {
        let mut again = Source::new(SHAPE, 0, 2);
        let again: Vec<_> = (0..50).map(|_| again.next_frame(6)).collect();
        let tally = check(frames().iter().chain(&again));
        assert_eq!(tally, Tally { frames: 269, restarts: 1, ..Tally::default() });
    }
}
