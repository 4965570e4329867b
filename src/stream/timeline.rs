//! Gives each frame its time in the stream, which goes on when the encoder comes back, and when the encoder's clock
//! jumps, restarts or stops. Knows nothing of bytes.

#![forbid(unsafe_code)]

use smallvec::{SmallVec, smallvec};

use super::facts::MediaTime;
use crate::flv::FrameKind;

/// Time between the last frame before a break and the first one after it: about one frame of video.
const RESUME_STEP_MS: u32 = 40;

/// Audio and video of one moment may come this far apart: FFmpeg's muxer waits 10 s for one before it writes the other.
const REORDER_MS: u32 = 10_000;

/// A clock that gets ahead of the relay's by more than this at once has jumped. Players would wait for such a gap to
/// pass, or drop what comes after it.
const JUMP_MS: u32 = 5_000;

/// Within audio, or within video, time goes back a little where tracks are interleaved, and where an encoder sends
/// presentation times instead of decoding times. Where it goes back further, the clock was set.
const STEP_BACK_MS: u32 = 1_000;

/// A clock has stopped if every frame has the same time for this long. Slices of one picture, and the tracks of one
/// moment, share a time only for an instant.
const STUCK_MS: u64 = 2_000;

/// A kind of frames of which none came for this long, 12 days, begins anew: in serial arithmetic a time 25 days ago
/// looks like one in the future.
const FORGOTTEN_MS: u32 = 1 << 30;

/// Tracks with a clock of their own; further tracks share that of their kind's first. OBS sends up to six of each kind.
const MAX_CLOCKS: usize = 16;

/// Maps the encoder's timestamps to the stream's, in 32-bit serial arithmetic, milliseconds.
///
/// The first encoder's times pass unchanged, as long as they are sane. When it comes back, its times go on after the
/// last time that players saw: it may start at 0 or anywhere. The same goes, within one publish, for a clock that
/// jumps: `JUMP_MS` ahead of the relay's clock or more, or back by more than `STEP_BACK_MS`. Each track has its own
/// offset, so that audio that was sent before the video's clock was set keeps its place; when its clock jumps as well
/// it takes the video's offset, and both are in step as the encoder meant.
#[derive(Debug)]
pub(super) struct Timeline {
    clocks: Clocks,
    /// The newest time returned.
    newest: Option<MediaTime>,
    resuming: Resuming,
}

/// By track: each kind's first is always there.
#[derive(Debug)]
struct Clocks(SmallVec<[(Track, Clock); 2]>);

/// A track of one kind: audio or video, and the id that Enhanced RTMP gives it; 0 where it gives none.
pub(super) type Track = (FrameKind, u8);

/// What is known of the times of one track.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    offset_ms: u32,
    /// The newest time returned for this track, in this publish.
    newest_ms: Option<u32>,
    /// The encoder's last timestamp, and since when it has been that.
    last_ms: u32,
    since_ms: u64,
}

#[derive(Debug, Default)]
enum Resuming {
    #[default]
    No,
    /// Waits for the first media frame, whose time decides the offset.
    AtFirstFrame,
    /// Frames with a time before that of the encoder's first one get this time.
    Since(u32),
}

impl Default for Timeline {
    fn default() -> Self {
        Self { clocks: Clocks::starting_at(0), newest: None, resuming: Resuming::No }
    }
}

impl Timeline {
    /// The publisher has gone: the next frame, from any publisher, goes on from here.
    pub(super) fn interrupt(&mut self) {
        if self.newest.is_some() {
            self.resuming = Resuming::AtFirstFrame;
        }
    }

    /// The stream's time for a frame of audio or video that came at `now_ms` on the relay's clock.
    pub(super) fn media(&mut self, track: Track, timestamp_ms: u32, now_ms: u64) -> u32 {
        if let (Resuming::AtFirstFrame, Some(newest)) = (&self.resuming, self.newest) {
            let start = newest.timestamp_ms.wrapping_add(RESUME_STEP_MS);
            self.clocks = Clocks::starting_at(start.wrapping_sub(timestamp_ms));
            self.resuming = Resuming::Since(start);
        }
        let own = self.clocks.of(track);
        let mut mapped = self.sane(own, timestamp_ms, now_ms);
        if let Resuming::Since(start) = self.resuming {
            if is_before(mapped, start) {
                mapped = start;
            } else if is_before(start.wrapping_add(REORDER_MS), mapped) {
                self.resuming = Resuming::No;
            }
        }
        let clock = &mut self.clocks[own];
        clock.newest_ms = Some(clock.newest_ms.map_or(mapped, |newest| later(newest, mapped)));
        let newest = MediaTime { timestamp_ms: mapped, at_ms: now_ms };
        match self.newest {
            Some(before) if !is_before(before.timestamp_ms, mapped) => {}
            Some(before) => {
                self.newest = Some(newest);
                self.clocks.others(own).for_each(|clock| clock.forget(before.timestamp_ms, mapped));
            }
            None => self.newest = Some(newest),
        }
        mapped
    }

    /// The newest time returned, by this publisher or one before it.
    pub(super) fn newest(&self) -> Option<MediaTime> {
        self.newest
    }

    /// The stream's time for metadata, cue points or a sequence header: encoders often send these with time 0, so they
    /// never decide where the stream goes on.
    pub(super) fn header(&mut self, timestamp_ms: u32) -> u32 {
        let Some(MediaTime { timestamp_ms: newest, .. }) = self.newest else {
            return timestamp_ms;
        };
        let first = self.clocks.of((FrameKind::Video, 0));
        let mapped = nearest(newest, timestamp_ms, self.clocks.offsets(first));
        match self.resuming {
            Resuming::AtFirstFrame => newest,
            _ if distance(mapped, newest) > REORDER_MS => newest,
            Resuming::Since(start) if is_before(mapped, start) => start,
            _ => mapped,
        }
    }

    /// The time by the track's own offset or by another's, whichever is sane; if none is, about one frame after the
    /// newest.
    fn sane(&mut self, own: usize, timestamp_ms: u32, now_ms: u64) -> u32 {
        let newest = self.newest;
        let by_offset = newest
            .map(|newest| nearest(newest.timestamp_ms, timestamp_ms, self.clocks.offsets(own)))
            .unwrap_or_default();
        let clock = &mut self.clocks[own];
        if clock.newest_ms.is_none() || timestamp_ms != clock.last_ms {
            (clock.last_ms, clock.since_ms) = (timestamp_ms, now_ms);
        }
        let own = timestamp_ms.wrapping_add(clock.offset_ms);
        let Some(newest) = newest else {
            return own;
        };
        let stuck_ms = now_ms.saturating_sub(clock.since_ms);
        let wanted = if stuck_ms >= STUCK_MS {
            // As far as the relay's clock has gone, and not earlier than the other tracks.
            later(own.wrapping_add(stuck_ms as u32), newest.timestamp_ms)
        } else {
            by_offset
        };
        let mapped = if clock.may_go_on(wanted, newest, now_ms) {
            wanted
        } else {
            newest.timestamp_ms.wrapping_add(RESUME_STEP_MS)
        };
        if mapped != own {
            clock.offset_ms = mapped.wrapping_sub(timestamp_ms);
            clock.since_ms = now_ms;
        }
        mapped
    }
}

impl Clocks {
    fn starting_at(offset_ms: u32) -> Self {
        let clock = Clock { offset_ms, ..Clock::default() };
        Self(smallvec![((FrameKind::Video, 0), clock), ((FrameKind::Audio, 0), clock)])
    }

    /// The index of this track's clock. A new track begins with its kind's offset.
    fn of(&mut self, track: Track) -> usize {
        if let Some(known) = self.0.iter().position(|(it, _)| *it == track) {
            return known;
        }
        let first = self.0.iter().position(|((kind, _), _)| *kind == track.0).unwrap_or(0);
        if self.0.len() == MAX_CLOCKS {
            return first;
        }
        let clock = Clock { offset_ms: self[first].offset_ms, ..Clock::default() };
        self.0.push((track, clock));
        self.0.len() - 1
    }

    fn others(&mut self, own: usize) -> impl Iterator<Item = &mut Clock> {
        self.0.iter_mut().enumerate().filter(move |(at, _)| *at != own).map(|(_, (_, clock))| clock)
    }

    /// This one's first, then those of the others.
    fn offsets(&self, own: usize) -> impl Iterator<Item = u32> {
        let others = self.0.iter().enumerate().filter(move |(at, _)| *at != own);
        std::iter::once(self[own].offset_ms).chain(others.map(|(_, (_, clock))| clock.offset_ms))
    }
}

impl std::ops::Index<usize> for Clocks {
    type Output = Clock;

    fn index(&self, at: usize) -> &Clock {
        &self.0[at].1
    }
}

impl std::ops::IndexMut<usize> for Clocks {
    fn index_mut(&mut self, at: usize) -> &mut Clock {
        &mut self.0[at].1
    }
}

impl Clock {
    /// Whether a frame of this track may have this time: not far before those before it, and not further ahead of the
    /// newest than the time that has passed since that came.
    fn may_go_on(&self, mapped: u32, newest: MediaTime, now_ms: u64) -> bool {
        let (oldest, max_ahead_ms) = match self.newest_ms {
            Some(own) => (own.wrapping_sub(STEP_BACK_MS), JUMP_MS),
            None => (newest.timestamp_ms.wrapping_sub(REORDER_MS), REORDER_MS),
        };
        let ahead_ms = mapped.wrapping_sub(newest.timestamp_ms) as i32;
        let gone_ms = now_ms.saturating_sub(newest.at_ms);
        !is_before(mapped, oldest) && i64::from(ahead_ms) <= gone_ms as i64 + i64::from(max_ahead_ms)
    }

    /// Another track has moved the newest time from `newest` to `moved_to`.
    fn forget(&mut self, newest: u32, moved_to: u32) {
        let moved_ms = u64::from(moved_to.wrapping_sub(newest));
        self.newest_ms
            .take_if(|own| u64::from(newest.wrapping_sub(*own)) + moved_ms > u64::from(FORGOTTEN_MS));
    }
}

/// The time by the offset that brings it nearest to the newest; by the first of several that do.
fn nearest(newest: u32, timestamp_ms: u32, offsets: impl Iterator<Item = u32>) -> u32 {
    let times = offsets.map(|offset_ms| timestamp_ms.wrapping_add(offset_ms));
    times.min_by_key(|&mapped| distance(mapped, newest)).unwrap_or(timestamp_ms)
}

/// Serial arithmetic (RTMP 1.0 §5.3.1: times wrap after 49.7 days).
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn later(a: u32, b: u32) -> u32 {
    if is_before(a, b) { b } else { a }
}

fn distance(a: u32, b: u32) -> u32 {
    (a.wrapping_sub(b) as i32).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Audio, Video};

    /// A timeline, and a relay's clock that goes on 20 ms per frame unless it is set.
    #[derive(Default)]
    struct Bench {
        time: Timeline,
        now_ms: u64,
    }

    impl Bench {
        fn at(&mut self, kind: FrameKind, timestamp_ms: u32) -> u32 {
            self.now_ms += 20;
            self.time.media((kind, 0), timestamp_ms, self.now_ms)
        }

        fn video(&mut self, timestamp_ms: u32) -> u32 {
            self.at(Video, timestamp_ms)
        }

        fn audio(&mut self, timestamp_ms: u32) -> u32 {
            self.at(Audio, timestamp_ms)
        }

        /// A second of both kinds from this time on, audio 15 ms after video; returns the times less the encoder's.
        fn second(&mut self, from_ms: u32) -> Vec<u32> {
            let mut offsets = Vec::new();
            for t in (from_ms..from_ms + 1_000).step_by(40) {
                offsets.push(self.video(t).wrapping_sub(t));
                offsets.push(self.audio(t + 15).wrapping_sub(t + 15));
            }
            offsets.dedup();
            offsets
        }
    }

    #[test]
    fn the_first_encoders_times_pass_unchanged() {
        let mut bench = Bench::default();
        for t in [0, 23, 40, 30, 0xFFFF_FFFF, 5] {
            assert_eq!(bench.video(t), t);
        }
        assert_eq!(bench.time.header(7), 7);
    }

    #[test]
    fn an_encoder_that_restarts_at_zero_goes_on_where_it_stopped() {
        let mut bench = Bench::default();
        bench.video(3_600_000);
        bench.time.interrupt();
        assert_eq!(bench.time.header(0), 3_600_000);
        assert_eq!(bench.video(0), 3_600_040);
        assert_eq!(bench.video(33), 3_600_073);
        assert_eq!(bench.audio(33), 3_600_073);
        assert_eq!(bench.time.header(33), 3_600_073);
    }

    #[test]
    fn an_encoder_that_comes_back_hours_ahead_makes_no_jump() {
        let mut bench = Bench::default();
        bench.video(1000);
        bench.time.interrupt();
        assert_eq!(bench.time.header(0), 1000);
        assert_eq!(bench.video(90_000_000), 1040);
        assert_eq!(bench.audio(89_999_990), 1040, "before its own first frame: never backwards");
        assert_eq!(bench.time.header(0), 1040, "headers keep their 0, players must not see it");
    }

    #[test]
    fn time_goes_on_over_the_32_bit_edge() {
        let mut bench = Bench::default();
        assert_eq!(bench.video(u32::MAX - 10), u32::MAX - 10);
        assert_eq!(bench.video(20), 20);
        bench.time.interrupt();
        assert_eq!(bench.video(0), 60);
    }

    #[test]
    fn a_resumed_stream_runs_for_months() {
        let mut time = Timeline::default();
        time.media((Video, 0), 1000, 0);
        time.interrupt();
        let mut expected = 1040u32;
        for t in (0..90 * 86_400_000u64).step_by(5_000) {
            assert_eq!(time.media((Video, 0), t as u32, t), expected);
            expected = expected.wrapping_add(5_000);
        }
    }

    #[test]
    fn an_interruption_before_any_frame_changes_nothing() {
        let mut bench = Bench::default();
        bench.time.interrupt();
        assert_eq!(bench.video(500), 500);
    }

    #[test]
    fn a_clock_that_jumps_either_way_goes_on_a_frame_later_and_keeps_audio_and_video_in_step() {
        for to_ms in [0, 50_000, 57_000, 67_000, 4 * 3_600_000, 1 << 31, u32::MAX - 500_000] {
            let mut bench = Bench::default();
            assert_eq!(bench.second(60_000), [0], "before the jump");
            let newest_ms = 60_975;
            let expected = (newest_ms + RESUME_STEP_MS).wrapping_sub(to_ms);
            assert_eq!(bench.second(to_ms), [expected], "to {to_ms}");
            assert_eq!(bench.time.header(to_ms + 1_000), to_ms.wrapping_add(expected) + 1_000);
        }
    }

    #[test]
    fn audio_that_was_sent_before_the_clock_was_set_keeps_its_place() {
        let mut bench = Bench::default();
        bench.second(60_000);
        assert_eq!(bench.video(0), 61_015);
        assert_eq!([60_998, 61_021].map(|t| bench.audio(t)), [60_998, 61_021]);
        assert_eq!(bench.video(40), 61_055);
        assert_eq!(
            bench.audio(40),
            61_055,
            "the same moment of the encoder's clock is the same of the stream's"
        );
        assert_eq!((bench.video(80), bench.audio(80)), (61_095, 61_095));
    }

    #[test]
    fn a_file_that_is_played_in_a_loop_goes_on_each_time() {
        let mut bench = Bench::default();
        let mut last_ms = 0;
        for round in 0..50 {
            for t in (0..2_000).step_by(40) {
                let mapped = bench.video(t);
                assert!((0..=80).contains(&(i64::from(mapped) - last_ms)), "round {round}: {t} is {mapped}");
                last_ms = i64::from(mapped);
                let audio = bench.audio(t);
                assert!((0..=80).contains(&(i64::from(audio) - last_ms)), "round {round}: {t} is {audio}");
            }
        }
    }

    #[test]
    fn hours_without_frames_are_no_jump() {
        let mut bench = Bench::default();
        bench.second(0);
        bench.now_ms += 3 * 3_600_000;
        assert_eq!(bench.second(3 * 3_600_000), [0]);
    }

    #[test]
    fn audio_far_behind_video_and_video_in_decoding_order_pass_unchanged() {
        let mut bench = Bench::default();
        for t in (3_000..60_000).step_by(120) {
            for video in [t + 120, t + 40, t + 80] {
                assert_eq!(bench.video(video), video);
            }
            assert_eq!(bench.audio(t - 3_000), t - 3_000);
        }
    }

    #[test]
    fn a_clock_that_drifts_passes_unchanged() {
        // A tenth too fast, and a tenth too slow, for an hour.
        for pace in [22, 18] {
            let mut bench = Bench::default();
            for frame in 0..180_000 {
                assert_eq!(bench.video(frame * pace), frame * pace);
            }
        }
    }

    #[test]
    fn one_frame_with_an_absurd_time_has_no_lasting_effect() {
        let mut bench = Bench::default();
        bench.second(0);
        assert_eq!(bench.video(9_000_000), 1_015);
        assert_eq!(bench.second(1_000), [0]);
    }

    #[test]
    fn a_clock_that_has_stopped_goes_on_with_the_relays() {
        let mut bench = Bench::default();
        let mut newest_ms = 0;
        for _ in 0..3_000 {
            for kind in [Video, Audio] {
                let mapped = bench.at(kind, 77);
                assert!(mapped >= newest_ms && mapped - newest_ms <= 2_100, "from {newest_ms} to {mapped}");
                newest_ms = mapped;
            }
        }
        let gone_ms = bench.now_ms as u32;
        assert!(newest_ms > gone_ms - 3_000 && newest_ms < gone_ms + 3_000, "{newest_ms} after {gone_ms}");
    }

    #[test]
    fn audio_without_times_is_kept_in_step_with_video() {
        let mut bench = Bench::default();
        for t in (0..600_000).step_by(40) {
            assert_eq!(bench.video(t), t);
            let audio = bench.audio(0);
            assert!((t.saturating_sub(2_100)..=t).contains(&audio), "{audio} beside {t}");
        }
    }

    #[test]
    fn video_that_comes_back_after_a_month_of_audio_has_its_own_times() {
        let mut bench = Bench::default();
        bench.video(0);
        for t in (30_000..30 * 86_400_000_u64).step_by(30_000) {
            bench.now_ms = t;
            assert_eq!(bench.audio(t as u32), t as u32);
        }
        bench.now_ms += 30_000;
        assert_eq!(bench.second((30 * 86_400_000_u64) as u32), [0]);
    }

    #[test]
    fn a_clock_that_had_stopped_for_an_hour_makes_no_jump_beside_a_slow_one() {
        let mut bench = Bench::default();
        bench.video(0);
        for t in 0..1_800 {
            bench.now_ms += 2_000;
            bench.audio(t);
        }
        let mapped = bench.video(0);
        assert!(mapped <= 1_800 + RESUME_STEP_MS, "{mapped}");
    }

    /// What an encoder may do next.
    #[derive(Clone, Debug)]
    enum Step {
        Media {
            is_audio: bool,
            timestamp: Timestamp,
            gone_ms: u64,
        },
        Header {
            timestamp_ms: u32,
        },
        /// It goes, and an encoder comes.
        Interrupt,
    }

    #[derive(Clone, Debug)]
    enum Timestamp {
        /// The last one of its kind and this much more.
        After(i32),
        /// As far on as the relay's clock.
        InTime,
        Wild(u32),
    }

    fn step() -> impl proptest::strategy::Strategy<Value = Step> {
        use proptest::prelude::*;
        let timestamp = prop_oneof![
            4 => (0..100_i32).prop_map(Timestamp::After),
            3 => Just(Timestamp::InTime),
            2 => (-1_500..8_000_i32).prop_map(Timestamp::After),
            1 => Just(Timestamp::After(0)),
            1 => any::<u32>().prop_map(Timestamp::Wild),
        ];
        let gone_ms = prop_oneof![8 => 0..100_u64, 4 => 0..12_000_u64, 1 => 0..60 * 86_400_000_u64];
        prop_oneof![
            40 => (any::<bool>(), timestamp, gone_ms)
                .prop_map(|(is_audio, timestamp, gone_ms)| Step::Media { is_audio, timestamp, gone_ms }),
            4 => prop_oneof![Just(0), any::<u32>()].prop_map(|timestamp_ms| Step::Header { timestamp_ms }),
            1 => Just(Step::Interrupt),
        ]
    }

    /// What ARCHITECTURE.md promises players, checked against a model: within audio, and within video, time goes back
    /// by a second at most, across publishers; it gets ahead of the newest by no more than the time that has passed and
    /// the allowance; audio and video begin near each other.
    #[test]
    fn whatever_an_encoder_sends_time_goes_neither_far_back_nor_far_ahead() {
        use proptest::prelude::*;
        let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(steps in prop::collection::vec(step(), 1..200))| {
            let mut time = Timeline::default();
            let mut now_ms = 0_u64;
            // Times that players got, unwrapped, and when that was.
            let mut newest: Option<(i64, u64)> = None;
            let mut newest_of = [None::<i64>; 2];
            let mut is_first_of = [true; 2];
            let mut last_ms = [0_u32; 2];
            for step in steps {
                let unwrap = |mapped: u32| newest.map_or(i64::from(mapped), |(newest_ms, _)| {
                    newest_ms + i64::from(mapped.wrapping_sub(newest_ms as u32).cast_signed())
                });
                let (kind, timestamp, gone_ms) = match step {
                    Step::Interrupt => {
                        time.interrupt();
                        is_first_of = [true; 2];
                        continue;
                    }
                    Step::Header { timestamp_ms } => {
                        let mapped_ms = unwrap(time.header(timestamp_ms));
                        prop_assert!(newest.is_none_or(|(newest_ms, _)| (mapped_ms - newest_ms).abs() <= 10_000));
                        continue;
                    }
                    Step::Media { is_audio, timestamp, gone_ms } => (usize::from(is_audio), timestamp, gone_ms),
                };
                now_ms += gone_ms;
                last_ms[kind] = match timestamp {
                    Timestamp::After(step_ms) => last_ms[kind].wrapping_add_signed(step_ms),
                    Timestamp::InTime => now_ms as u32,
                    Timestamp::Wild(timestamp_ms) => timestamp_ms,
                };
                let mapped_ms = unwrap(time.media(([Video, Audio][kind], 0), last_ms[kind], now_ms));
                let own_ms = newest_of[kind].replace(newest_of[kind].map_or(mapped_ms, |own| own.max(mapped_ms)));
                prop_assert!(own_ms.is_none_or(|own_ms| mapped_ms >= own_ms - 1_000), "back");
                let is_first = std::mem::take(&mut is_first_of[kind]);
                let Some((newest_ms, at_ms)) = newest.replace(newest.map_or((mapped_ms, now_ms), |newest| {
                    if mapped_ms > newest.0 { (mapped_ms, now_ms) } else { newest }
                })) else { continue };
                let is_first = is_first || own_ms.is_none_or(|own_ms| newest_ms - own_ms > 1 << 30);
                let most_ms = if is_first { 10_000 } else { 5_000 };
                prop_assert!(mapped_ms - newest_ms <= (now_ms - at_ms) as i64 + most_ms, "ahead");
                prop_assert!(!is_first || mapped_ms >= newest_ms - 10_000, "apart");
            }
        });
    }
}
