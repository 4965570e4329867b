//! The video tracks of a publish: which one leads, and where its key frames begin. A key frame may be several messages:
//! one per slice or NAL unit, one per track.

#![forbid(unsafe_code)]

use smallvec::SmallVec;

/// Tracks that are distinguished; OBS sends up to six. Frames of further tracks pass as if they could be decoded, and
/// none of them leads.
const MAX_TRACKS: usize = 16;
/// A track whose newest frame is this far behind another's, milliseconds, leads no longer: players would have nowhere
/// to begin.
const GONE_MS: u32 = 10_000;

/// The video tracks that have had a key frame in this publish.
#[derive(Debug, Default)]
pub(super) struct Tracks(SmallVec<[TrackState; 1]>);

#[derive(Debug)]
struct TrackState {
    id: u8,
    /// Time of its newest message, milliseconds in the stream.
    newest_ms: u32,
    /// Time of its newest key frame.
    key_ms: u32,
}

/// What a video message is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VideoMessage {
    /// It belongs to the track that players begin with.
    pub is_lead: bool,
    /// It is the first message of its track at its time.
    pub is_first: bool,
    /// Where it stands in a key frame.
    pub part: KeyFramePart,
}

/// Where a message stands in a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFramePart {
    /// The first message of the leading track's key frame: players can begin here.
    Begins,
    /// A further message of that key frame.
    Continues,
    /// Any other message, the key frames of other tracks among them.
    Elsewhere,
}

impl Tracks {
    /// Whether a player that has all of the stream could decode this message.
    pub(super) fn can_decode(&self, track: u8, is_key_frame: bool) -> bool {
        is_key_frame || self.0.len() == MAX_TRACKS || self.0.iter().any(|known| known.id == track)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key frame has come.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The track that players begin with: the first that is still there.
    pub(super) fn lead(&self) -> Option<u8> {
        // In serial arithmetic, as times wrap.
        let behind_ms = |track: &TrackState, other: &TrackState| {
            other.newest_ms.wrapping_sub(track.newest_ms).cast_signed()
        };
        let is_gone =
            |track: &TrackState| self.0.iter().any(|other| behind_ms(track, other) >= GONE_MS as i32);
        self.0.iter().filter(|track| !is_gone(track)).map(|track| track.id).min()
    }

    /// Takes note of a message that can be decoded; `timestamp_ms` is its time in the stream.
    pub(super) fn saw(&mut self, track: u8, is_key_frame: bool, timestamp_ms: u32) -> VideoMessage {
        let known = self.0.iter().position(|known| known.id == track);
        let (is_first, is_new_key_frame) = match known {
            Some(at) => {
                let known = &mut self.0[at];
                let is_first = known.newest_ms != timestamp_ms;
                let is_new_key_frame = is_key_frame && known.key_ms != timestamp_ms;
                known.newest_ms = timestamp_ms;
                if is_key_frame {
                    known.key_ms = timestamp_ms;
                }
                (is_first, is_new_key_frame)
            }
            None if is_key_frame && self.0.len() < MAX_TRACKS => {
                self.0.push(TrackState { id: track, newest_ms: timestamp_ms, key_ms: timestamp_ms });
                (true, true)
            }
            None => return VideoMessage { is_lead: false, is_first: true, part: KeyFramePart::Elsewhere },
        };
        let is_lead = self.lead() == Some(track);
        let key_ms = self.0.iter().find(|known| known.id == track).map(|known| known.key_ms);
        let part = match is_lead {
            true if is_new_key_frame => KeyFramePart::Begins,
            true if key_ms == Some(timestamp_ms) => KeyFramePart::Continues,
            _ => KeyFramePart::Elsewhere,
        };
        VideoMessage { is_lead, is_first, part }
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;
    use KeyFramePart::{Begins, Continues, Elsewhere};

    /// The parts of key frames that messages are, given as (track, key frame, time).
    fn parts(messages: &[(u8, bool, u32)]) -> Vec<KeyFramePart> {
        let mut tracks = Tracks::default();
        messages.iter().map(|&(track, is_key_frame, ms)| tracks.saw(track, is_key_frame, ms).part).collect()
    }

    #[test]
    fn a_key_frame_in_several_messages_begins_with_the_first() {
        let slices =
            [(0, true, 0), (0, true, 0), (0, false, 0), (0, false, 40), (0, false, 40), (0, true, 80)];
        assert_eq!(parts(&slices), [Begins, Continues, Continues, Elsewhere, Elsewhere, Begins]);
    }

    #[test]
    fn players_begin_with_the_first_tracks_key_frame_and_with_no_other() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut messages = Vec::new();
            for ms in [0, 1_000, 2_000] {
                messages.extend(order.map(|track| (track, true, ms)));
                messages.extend(order.map(|track| (track, false, ms + 500)));
            }
            let found = parts(&messages);
            for (&(track, is_key_frame, ms), part) in messages.iter().zip(found) {
                // Until the first track's key frame has come, another leads.
                if ms > 0 {
                    assert_eq!(
                        part == Begins,
                        track == 0 && is_key_frame,
                        "{order:?}, track {track} at {ms}"
                    );
                }
            }
        }
    }

    #[test]
    fn tracks_with_key_frames_at_different_times_do_not_alternate() {
        let messages = [(0, true, 0), (1, true, 200), (0, false, 400), (1, true, 600), (1, true, 1_000)];
        assert_eq!(parts(&messages), [Begins, Elsewhere, Elsewhere, Elsewhere, Elsewhere]);
    }

    #[test]
    fn a_track_that_has_gone_leads_no_longer_and_leads_again_when_it_comes_back() {
        for edge_ms in [0, u32::MAX - 5_000] {
            let at = |ms: u32| edge_ms.wrapping_add(ms);
            let mut messages = vec![(0, true, at(0)), (1, true, at(0))];
            messages.extend([5_000, 9_960, 10_000, 12_000].map(|ms| (1, true, at(ms))));
            messages.extend([(0, true, at(12_000)), (1, true, at(13_000))]);
            let expected = [Begins, Elsewhere, Elsewhere, Elsewhere, Begins, Begins, Begins, Elsewhere];
            assert_eq!(parts(&messages), expected);
        }
    }

    #[test]
    fn whether_a_message_can_be_decoded_depends_on_its_track() {
        let mut tracks = Tracks::default();
        assert!(!tracks.can_decode(0, false) && tracks.can_decode(0, true));
        tracks.saw(0, true, 0);
        assert!(tracks.can_decode(0, false) && !tracks.can_decode(1, false));
    }

    #[test]
    fn tracks_beyond_the_bound_pass_and_do_not_lead() {
        let mut tracks = Tracks::default();
        for track in 1..=MAX_TRACKS as u8 {
            tracks.saw(track, true, 0);
        }
        assert!(tracks.can_decode(200, false));
        let beyond = VideoMessage { is_lead: false, is_first: true, part: Elsewhere };
        assert_eq!(tracks.saw(0, true, 40), beyond);
        assert_eq!((tracks.len(), tracks.lead()), (MAX_TRACKS, Some(1)));
    }
}
