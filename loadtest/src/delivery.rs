//! Checks what players received against what was sent to them meanwhile: what arrived in time, what arrived late, what
//! never arrived, and how long each player waited for something that had been sent.
//!
//! Each frame carries its encoder's schedule (see [`crate::marker`]), so what a player should have got is known even when
//! nothing arrives any more. A player is owed the frames from the one at which it joined until it leaves: nothing from
//! before it joined, and, if the server disconnects it, everything until the end of the run. Time in which the load
//! generator itself did not run is not counted.

use std::collections::VecDeque;

use serde::Serialize;

use crate::marker::Marker;
use crate::report::{Summary, Times};
use crate::schedule::{Kind, Schedule};

/// Totals of the frames or bytes that players were owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Sent while the player was connected.
    pub owed: u64,
    /// Arrived within the allowed time.
    pub in_time: u64,
    /// Arrived later than that.
    pub late: u64,
    /// Skipped by the server, which continued after them.
    pub left_out: u64,
    /// Had not arrived in the allowed time when the player left.
    pub never: u64,
}

/// The result of a run of players.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Delivery {
    /// Share of what was sent that arrived in time, 0 to 1: the lower one of checked and drained players.
    pub share: f64,
    /// A frame is late if it is older than this when it arrives; milliseconds.
    pub late_after_ms: f64,
    /// Frames of the checked players.
    pub frames: Account,
    /// Payload bytes of the drained players.
    pub bytes: Account,
    /// Age of the frames when checked players got them, over the whole run; milliseconds.
    pub age_ms: Summary,
    /// The longest time per player in which it got nothing although something had been sent to it; milliseconds.
    pub longest_wait_ms: Summary,
    /// Players that waited longer than allowed, or got less than was sent.
    pub stalled_players: u64,
    /// Total time in which the load generator itself did not run, which is not held against the server; milliseconds.
    pub own_standstill_ms: f64,
}

/// What all players of a run have received so far.
#[derive(Debug)]
pub struct Tracker {
    late_after_ns: u64,
    /// When the load generator itself did not run.
    own_pauses: Intervals,
    /// Indexed by stream.
    encoders: Vec<Encoder>,
    frames: Account,
    bytes: Account,
    ages: Times,
    waits: Times,
    stalled_players: u64,
}

/// One connection of a player, from the moment that the server starts to play.
#[derive(Clone, Debug)]
pub struct Watch {
    stream: usize,
    started_ns: u64,
    /// When something last arrived.
    arrived_ns: u64,
    longest_wait_ns: u64,
    /// Source of the newest frame.
    source: Option<u32>,
    schedule: Option<Schedule>,
    /// When the encoder's last frame was due, if that has arrived.
    ended_ns: Option<u64>,
    audio: Numbering,
    video: Numbering,
    account: Account,
    drained: Option<Drained>,
}

/// The numbering of one kind of frame.
#[derive(Clone, Copy, Debug, Default)]
struct Numbering {
    source: Option<u32>,
    /// The next number.
    next: u64,
}

/// Frames of one kind that have not arrived, and since when the player has been waiting for the first of them.
#[derive(Clone, Copy, Debug)]
struct Missing {
    count: u64,
    since_ns: u64,
}

/// A player whose bytes are only counted.
#[derive(Clone, Debug)]
struct Drained {
    /// What is sent from this time on is owed.
    from_ns: u64,
    bytes: u64,
    /// Intervals in which nothing arrived, longer than allowed.
    silences: Vec<(u64, u64)>,
}

impl Tracker {
    /// No player has received anything yet.
    pub fn new(streams: usize, late_after_ns: u64) -> Self {
        Self {
            late_after_ns,
            own_pauses: Intervals::default(),
            encoders: vec![Encoder::default(); streams],
            frames: Account::default(),
            bytes: Account::default(),
            ages: Times::new(),
            waits: Times::new(),
            stalled_players: 0,
        }
    }

    /// Records that the load generator itself did not run for a while.
    pub fn record_own_pause(&mut self, from_ns: u64, to_ns: u64) {
        self.own_pauses.add(from_ns, to_ns);
    }

    /// Records a frame that a player received. Returns its age, if it was sent after the player started.
    pub fn frame(&mut self, watch: &mut Watch, kind: Kind, marker: &Marker, now_ns: u64) -> Option<u64> {
        if let Some(encoder) = self.encoders.get_mut(watch.stream) {
            encoder.sent(kind, marker);
        }
        let age_ns = watch.frame(kind, marker, now_ns, &self.own_pauses, self.late_after_ns)?;
        self.ages.record(age_ns);
        Some(age_ns)
    }

    /// From now on only the player's bytes are counted. Its newest frame is the key frame at which it joined.
    pub fn drain(&self, watch: &mut Watch, now_ns: u64) {
        let joined_ns = watch.schedule.map(|schedule| schedule.due_ns(Kind::Video, watch.video.next));
        watch.drained = joined_ns.map(|from_ns| Drained { from_ns, bytes: 0, silences: Vec::new() });
        watch.arrived_ns = now_ns;
    }

    /// Records bytes that a player received.
    pub fn drained(&self, watch: &mut Watch, bytes: usize, now_ns: u64) {
        let Some(drained) = watch.drained.as_mut().filter(|_| bytes > 0) else { return };
        drained.bytes += bytes as u64;
        let since_ns = std::mem::replace(&mut watch.arrived_ns, now_ns);
        self.record_silence(drained, since_ns, now_ns);
        let interval_ns = watch.schedule.map_or(0, |schedule| schedule.shape.interval_ns());
        let wait_ns = self.own_pauses.outside(since_ns, now_ns).saturating_sub(interval_ns);
        if wait_ns <= self.late_after_ns {
            watch.longest_wait_ns = watch.longest_wait_ns.max(wait_ns);
        }
    }

    /// Whether this player has now been waiting longer than allowed.
    pub fn is_waiting(&self, watch: &Watch, now_ns: u64) -> bool {
        let Some(schedule) = watch.schedule.filter(|_| watch.ended_ns.is_none()) else { return false };
        self.own_pauses.outside(watch.arrived_ns, now_ns) > self.late_after_ns + schedule.shape.interval_ns()
    }

    /// Adds a player that leaves at `end_ns` to the totals.
    pub fn close(&mut self, watch: Watch, end_ns: u64) {
        let allowed_ns = self.late_after_ns;
        let until_ns = self.owed_until_ns(end_ns);
        let (mut account, mut longest_ns) = (watch.account, watch.longest_wait_ns);
        if let Some(drained) = &watch.drained {
            let (bytes, wait_ns) = self.close_drained(&watch, drained, end_ns, until_ns);
            self.bytes += bytes;
            longest_ns = longest_ns.max(wait_ns);
            let is_short = bytes.in_time < (bytes.owed as f64 * ENOUGH) as u64;
            self.stalled_players += u64::from(is_short || longest_ns > allowed_ns);
            self.waits.record(longest_ns);
            // Frames until its first key frame was seen.
            account.owed = account.in_time + account.late + account.left_out;
            self.frames += account;
            return;
        }
        for Missing { count, since_ns } in self.missing(&watch, until_ns) {
            account.never += count;
            longest_ns = longest_ns.max(self.own_pauses.outside(since_ns, end_ns));
        }
        account.owed = account.in_time + account.late + account.left_out + account.never;
        self.stalled_players += u64::from(account.in_time < account.owed || longest_ns > allowed_ns);
        self.waits.record(longest_ns);
        self.frames += account;
    }

    /// Whether frames that were due early enough have not arrived at a player that is about to leave. The encoder may not
    /// have sent them, which their send time shows once they arrive.
    pub fn is_missing_frames(&self, watch: &Watch, end_ns: u64) -> bool {
        let until_ns = self.owed_until_ns(end_ns);
        match &watch.drained {
            Some(_) => watch.ended_ns.is_none() && watch.arrived_ns < until_ns,
            None => self.missing(watch, until_ns).next().is_some(),
        }
    }

    /// The totals.
    pub fn delivery(&self) -> Delivery {
        let shares = [self.frames, self.bytes].into_iter().filter(|account| account.owed > 0);
        let share = shares.map(|account| account.in_time as f64 / account.owed as f64).reduce(f64::min);
        Delivery {
            share: share.unwrap_or(0.0),
            late_after_ms: self.late_after_ns as f64 / 1e6,
            frames: self.frames,
            bytes: self.bytes,
            age_ms: self.ages.summary(),
            longest_wait_ms: self.waits.summary(),
            stalled_players: self.stalled_players,
            own_standstill_ms: self.own_pauses.total_ns as f64 / 1e6,
        }
    }

    /// A player that leaves is owed what was sent before this time: later frames may still be under way, and what arrived
    /// while the load generator did not run has not been read.
    fn owed_until_ns(&self, end_ns: u64) -> u64 {
        let allowed_ns = self.late_after_ns;
        end_ns.saturating_sub(
            allowed_ns + self.own_pauses.overlap(end_ns.saturating_sub(2 * allowed_ns), end_ns),
        )
    }

    /// What was due before `until_ns` and has not arrived at a player that is not drained.
    fn missing(&self, watch: &Watch, until_ns: u64) -> impl Iterator<Item = Missing> {
        let Watch { started_ns, arrived_ns, source, ended_ns, audio, video, .. } = *watch;
        // As seen by other players: this one may have got nothing at all, or nothing of the newest encoder.
        let known = self.encoders.get(watch.stream).and_then(Encoder::newest);
        known.into_iter().flat_map(move |(newest, schedule)| {
            let ended_ns = ended_ns.filter(|_| source == Some(newest));
            let until_ns = until_ns.min(ended_ns.unwrap_or(u64::MAX));
            let of_kind = move |(kind, numbering): (Kind, Numbering)| {
                let first = match numbering.source == Some(newest) {
                    true => numbering.next,
                    // The player may have to wait for a key frame.
                    false => {
                        let from_ns = started_ns.max(schedule.started_ns);
                        schedule.frames_before(kind, from_ns + schedule.shape.group_ns())
                    }
                };
                let count = schedule.frames_before(kind, until_ns).saturating_sub(first);
                let since_ns = arrived_ns.max(schedule.due_ns(kind, first));
                (count > 0).then_some(Missing { count, since_ns })
            };
            [(Kind::Audio, audio), (Kind::Video, video)].into_iter().filter_map(of_kind)
        })
    }

    fn record_silence(&self, drained: &mut Drained, since_ns: u64, now_ns: u64) {
        let is_long = now_ns.saturating_sub(since_ns) > self.late_after_ns;
        if is_long && drained.silences.len() < MAX_SILENCES {
            drained.silences.push((since_ns, now_ns));
        }
    }

    /// The totals of a drained player, and its longest wait.
    fn close_drained(&self, watch: &Watch, drained: &Drained, end_ns: u64, until_ns: u64) -> (Account, u64) {
        let mut drained = drained.clone();
        self.record_silence(&mut drained, watch.arrived_ns, end_ns);
        let Some(encoder) = self.encoders.get(watch.stream) else { return (Account::default(), 0) };
        let owed = encoder.bytes_between(drained.from_ns, until_ns);
        let (mut late, mut longest_ns) = (0, 0);
        for &(since_ns, to_ns) in &drained.silences {
            // While the encoder was paused there was nothing to wait for.
            let paused_ns = encoder.paused_ns(since_ns, to_ns);
            let wait_ns = self.own_pauses.outside(since_ns, to_ns).saturating_sub(paused_ns);
            longest_ns = longest_ns.max(wait_ns);
            if wait_ns > self.late_after_ns && to_ns < end_ns {
                late += encoder.bytes_between(since_ns, to_ns - self.late_after_ns);
            }
        }
        // What was received beyond that is chunk headers and the like.
        let received = drained.bytes.min(owed);
        let late = late.min(received);
        let account = Account { owed, in_time: received - late, late, left_out: 0, never: owed - received };
        (account, longest_ns)
    }
}

impl Watch {
    /// A player of that stream, from the moment that the server starts to play.
    pub fn new(stream: usize, now_ns: u64) -> Self {
        Self {
            stream,
            started_ns: now_ns,
            arrived_ns: now_ns,
            longest_wait_ns: 0,
            source: None,
            schedule: None,
            ended_ns: None,
            audio: Numbering::default(),
            video: Numbering::default(),
            account: Account::default(),
            drained: None,
        }
    }

    fn frame(
        &mut self,
        kind: Kind,
        marker: &Marker,
        now_ns: u64,
        own_pauses: &Intervals,
        late_after_ns: u64,
    ) -> Option<u64> {
        let numbering = match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        };
        if numbering.source != Some(marker.source) {
            *numbering = Numbering { source: Some(marker.source), next: marker.sequence };
        }
        let left_out = marker.sequence.checked_sub(numbering.next)?;
        numbering.next = marker.sequence + 1;
        self.source = Some(marker.source);
        self.schedule = Some(marker.schedule);
        self.ended_ns = marker.is_last.then(|| marker.schedule.due_ns(kind, marker.sequence));
        let before_ns = std::mem::replace(&mut self.arrived_ns, now_ns);
        // The age of frames that were sent before the player joined means nothing.
        if marker.sent_ns < self.started_ns {
            return None;
        }
        self.account.left_out += left_out;
        let age_ns = own_pauses.outside(marker.sent_ns, now_ns);
        match age_ns > late_after_ns {
            true => self.account.late += 1,
            false => self.account.in_time += 1,
        }
        let wait_ns = own_pauses.outside(before_ns.max(marker.sent_ns), now_ns);
        self.longest_wait_ns = self.longest_wait_ns.max(wait_ns);
        Some(age_ns)
    }
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.owed += other.owed;
        self.in_time += other.in_time;
        self.late += other.late;
        self.left_out += other.left_out;
        self.never += other.never;
    }
}

impl Delivery {
    /// Whether everything that was sent arrived in time, at every player.
    pub fn is_perfect(&self) -> bool {
        self.stalled_players == 0
            && self.frames.in_time == self.frames.owed
            && self.bytes.in_time as f64 >= self.bytes.owed as f64 * ENOUGH
    }
}

/// What is known about the encoders of one stream from their frames.
#[derive(Clone, Debug, Default)]
struct Encoder {
    /// The runs in order.
    runs: Vec<Run>,
    /// When the encoder itself did not send.
    pauses: Intervals,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    source: u32,
    schedule: Schedule,
    /// Number and send time of the newest video frame.
    newest: Option<(u64, u64)>,
    /// When the newest frame was due.
    due_ns: u64,
    is_over: bool,
}

impl Encoder {
    fn sent(&mut self, kind: Kind, marker: &Marker) {
        let Marker { source, schedule, sequence, sent_ns, .. } = *marker;
        if !self.runs.iter().any(|run| run.source == source) {
            if self.runs.len() == MAX_RUNS {
                self.runs.remove(0);
            }
            self.runs.push(Run { source, schedule, newest: None, due_ns: 0, is_over: false });
        }
        let Some(run) = self.runs.iter_mut().find(|run| run.source == source) else { return };
        run.due_ns = run.due_ns.max(schedule.due_ns(kind, sequence));
        run.is_over |= marker.is_last;
        if kind == Kind::Audio || run.newest.is_some_and(|(newest, _)| sequence <= newest) {
            return;
        }
        if let Some((newest, before_ns)) = run.newest.replace((sequence, sent_ns)) {
            let regular_ns = before_ns + schedule.shape.offset_ns(Kind::Video, 1);
            if sequence == newest + 1 && sent_ns > regular_ns + MIN_PAUSE_NS {
                self.pauses.add(regular_ns, sent_ns);
            }
        }
    }

    fn newest(&self) -> Option<(u32, Schedule)> {
        self.runs.last().map(|run| (run.source, run.schedule))
    }

    /// Payload bytes that were sent. A run ends with its last frame, or with the last one seen before the next run.
    fn bytes_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let last = self.runs.len().saturating_sub(1);
        let runs = self.runs.iter().enumerate();
        let bytes = runs.map(|(at, run)| {
            let end_ns = if run.is_over || at < last { run.due_ns } else { u64::MAX };
            run.schedule.bytes_between(from_ns, to_ns.min(end_ns).max(from_ns))
        });
        bytes.sum()
    }

    /// Time within that interval without an encoder: pauses, between two runs, and after the end of the last one.
    fn paused_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        let between = self.runs.windows(2).map(|runs| (runs[0].due_ns, runs[1].schedule.started_ns));
        let after = self.runs.last().filter(|run| run.is_over).map(|run| (run.due_ns, u64::MAX));
        let between: u64 =
            between.chain(after).map(|(begin_ns, end_ns)| common_ns(begin_ns, end_ns, from_ns, to_ns)).sum();
        self.pauses.overlap(from_ns, to_ns) + between
    }
}

/// Intervals of time that do not overlap; only the newest [`MAX_INTERVALS`] are kept.
#[derive(Clone, Debug, Default)]
struct Intervals {
    newest: VecDeque<(u64, u64)>,
    total_ns: u64,
}

impl Intervals {
    fn add(&mut self, from_ns: u64, to_ns: u64) {
        if self.newest.len() == MAX_INTERVALS {
            self.newest.pop_front();
        }
        self.newest.push_back((from_ns, to_ns));
        self.total_ns += to_ns.saturating_sub(from_ns);
    }

    /// How much of them is within that interval.
    fn overlap(&self, from_ns: u64, to_ns: u64) -> u64 {
        let newest_first = self.newest.iter().rev().take_while(|(_, end_ns)| *end_ns > from_ns);
        newest_first.map(|&(begin_ns, end_ns)| common_ns(begin_ns, end_ns, from_ns, to_ns)).sum()
    }

    /// How much of that interval is outside of them.
    fn outside(&self, from_ns: u64, to_ns: u64) -> u64 {
        to_ns.saturating_sub(from_ns).saturating_sub(self.overlap(from_ns, to_ns))
    }
}

fn common_ns(begin_ns: u64, end_ns: u64, from_ns: u64, to_ns: u64) -> u64 {
    end_ns.min(to_ns).saturating_sub(begin_ns.max(from_ns))
}

/// Share of a drained player's bytes that counts as complete: where in a frame it joined and the size of chunk headers
/// are not known.
const ENOUGH: f64 = 0.98;
/// Each is longer than [`Tracker::late_after_ns`]: more of them are a stall of minutes, which is detected anyway.
const MAX_SILENCES: usize = 64;
/// Some minutes of a load generator that pauses all the time.
const MAX_INTERVALS: usize = 1_024;
/// Encoder runs of one stream that are remembered.
const MAX_RUNS: usize = 64;
/// An encoder whose frame is later than this has paused; anything less is a busy machine.
const MIN_PAUSE_NS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Shape;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;
    const SHAPE: Shape = Shape { bitrate: 1_000_000, fps: 30, gop: 30, audio: true };
    /// The time of the encoder's first frame; players join a second later.
    const BEGIN: u64 = 100 * SECOND;
    const COMES: u64 = BEGIN + SECOND;

    /// A frame as it was sent.
    type Sent = (Kind, Marker);

    /// All frames of an encoder that sends each when it is due, until `end_ns`.
    fn frames(source: u32, started_ns: u64, end_ns: u64) -> Vec<Sent> {
        let schedule = Schedule { shape: SHAPE, started_ns };
        let of_kind = |kind| {
            (0..schedule.frames_before(kind, end_ns)).map(move |sequence| {
                let sent_ns = schedule.due_ns(kind, sequence);
                (kind, Marker { stream: 0, source, sequence, sent_ns, schedule, is_last: false })
            })
        };
        let mut frames: Vec<_> = of_kind(Kind::Audio).chain(of_kind(Kind::Video)).collect();
        frames.sort_by_key(|(_, marker)| marker.sent_ns);
        frames
    }

    /// The result for a player that gets frames at the times that `arrives` returns, and leaves at `end_ns`.
    fn watched(frames: &[Sent], end_ns: u64, arrives: impl Fn(&Marker) -> Option<u64>) -> Delivery {
        let mut tracker = Tracker::new(1, 500 * MS);
        watch(&mut tracker, frames, end_ns, arrives);
        tracker.delivery()
    }

    fn watch(tracker: &mut Tracker, frames: &[Sent], end_ns: u64, arrives: impl Fn(&Marker) -> Option<u64>) {
        let mut watch = Watch::new(0, COMES);
        for (kind, marker) in frames {
            if let Some(at_ns) = arrives(marker).filter(|at_ns| *at_ns < end_ns) {
                tracker.frame(&mut watch, *kind, marker, at_ns);
            }
        }
        tracker.close(watch, end_ns);
    }

    /// As a relay should deliver: from the key frame at which the player joins, each frame 5 ms after it was sent.
    fn soon(marker: &Marker) -> Option<u64> {
        (marker.sent_ns >= BEGIN + SECOND).then(|| marker.sent_ns.max(COMES) + 5 * MS)
    }

    #[test]
    fn timely_delivery_is_perfect_and_a_player_is_owed_nothing_from_before_it_joined() {
        let end_ns = BEGIN + 10 * SECOND;
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, soon);
        assert!(found.is_perfect(), "{found}");
        assert_eq!((found.share, found.frames.never), (1.0, 0));
        assert!(found.longest_wait_ms.max < 6.0 && found.frames.owed > 9 * 70, "{found}");
    }

    #[test]
    fn late_frames_and_the_wait_for_them_are_detected() {
        let end_ns = BEGIN + 10 * SECOND;
        let (stops_ns, goes_on_ns) = (BEGIN + 4 * SECOND, BEGIN + 6 * SECOND);
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, |marker| {
            let at_ns = soon(marker)?;
            Some(if (stops_ns..goes_on_ns).contains(&at_ns) { goes_on_ns } else { at_ns })
        });
        // The frames of the first 1.5 of the 2 seconds, at 73 per second.
        assert!((100..=115).contains(&found.frames.late), "{found}");
        assert_eq!((found.frames.never, found.stalled_players), (0, 1));
        assert!((1_950.0..=2_001.0).contains(&found.longest_wait_ms.max), "{found}");
        assert!(found.share < 0.9 && !found.is_perfect(), "{found}");
    }

    #[test]
    fn frames_that_never_arrive_are_still_owed() {
        let end_ns = BEGIN + 11 * SECOND;
        let stops_ns = BEGIN + 5 * SECOND;
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, |marker| {
            soon(marker).filter(|at_ns| *at_ns < stops_ns)
        });
        assert!((0.4..0.45).contains(&found.share), "4 of 9.5 seconds: {found}");
        assert!(found.frames.never > 380 && found.longest_wait_ms.max > 5_900.0, "{found}");
    }

    #[test]
    fn a_player_that_gets_nothing_or_no_audio_is_owed_what_other_players_got() {
        let end_ns = BEGIN + 10 * SECOND;
        let frames = frames(1, BEGIN, end_ns);
        let mut tracker = Tracker::new(1, 500 * MS);
        watch(&mut tracker, &frames, end_ns, soon);
        watch(&mut tracker, &frames, end_ns, |_| None);
        assert_eq!(tracker.stalled_players, 1);
        let never = tracker.frames.never;
        // From the next key frame at which it could have started.
        assert!((530..=560).contains(&never), "{never} of 7.5 seconds");
        let video = |marker: &Marker| {
            soon(marker).filter(|_| marker.sent_ns == marker.schedule.due_ns(Kind::Video, marker.sequence))
        };
        watch(&mut tracker, &frames, end_ns, video);
        assert!((310..=330).contains(&(tracker.frames.never - never)), "audio of 7.5 seconds");
    }

    #[test]
    fn skipped_frames_are_counted() {
        let end_ns = BEGIN + 10 * SECOND;
        let skipped = BEGIN + 4 * SECOND..BEGIN + 5 * SECOND;
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, |marker| {
            soon(marker).filter(|_| !skipped.contains(&marker.sent_ns))
        });
        assert!((73..=74).contains(&found.frames.left_out), "{found}");
        assert_eq!(found.frames.owed - found.frames.in_time, found.frames.left_out);
        assert!(!found.is_perfect());
    }

    #[test]
    fn frames_that_an_encoder_did_not_send_are_not_owed() {
        let end_ns = BEGIN + 10 * SECOND;
        // It pauses for two seconds, and then catches up.
        let mut paused = frames(1, BEGIN, end_ns);
        for (_, marker) in &mut paused {
            if (BEGIN + 4 * SECOND..BEGIN + 6 * SECOND).contains(&marker.sent_ns) {
                marker.sent_ns = BEGIN + 6 * SECOND;
            }
        }
        // It ends after five seconds with a last frame.
        let mut ended = frames(1, BEGIN, BEGIN + 5 * SECOND);
        ended.last_mut().unwrap().1.is_last = true;
        // Another one starts three seconds later.
        let restarted = [ended.clone(), frames(2, BEGIN + 8 * SECOND, end_ns)].concat();
        // It is killed, and another one starts.
        let killed = [frames(1, BEGIN, BEGIN + 5 * SECOND), frames(2, BEGIN + 8 * SECOND, end_ns)].concat();
        for frames in [paused, ended, restarted, killed] {
            let found = watched(&frames, end_ns, soon);
            assert!(found.is_perfect(), "{found}");
        }
    }

    #[test]
    fn a_frame_that_arrives_after_the_end_counts_by_its_send_time() {
        let end_ns = BEGIN + 10 * SECOND;
        let frames = frames(1, BEGIN, end_ns);
        let (before, after): (Vec<Sent>, Vec<Sent>) =
            frames.iter().partition(|(_, marker)| marker.sent_ns < BEGIN + 9 * SECOND);
        for (sent_ns, is_perfect) in [(end_ns + SECOND / 10, true), (BEGIN + 9 * SECOND, false)] {
            let mut tracker = Tracker::new(1, 500 * MS);
            let mut watch = Watch::new(0, COMES);
            for (kind, marker) in &before {
                tracker.frame(&mut watch, *kind, marker, soon(marker).unwrap_or(COMES));
            }
            assert!(tracker.is_missing_frames(&watch, end_ns));
            for (kind, marker) in &after {
                let marker = Marker { sent_ns, ..*marker };
                tracker.frame(&mut watch, *kind, &marker, end_ns + SECOND / 5);
            }
            assert!(!tracker.is_missing_frames(&watch, end_ns));
            tracker.close(watch, end_ns);
            let found = tracker.delivery();
            assert_eq!(found.is_perfect(), is_perfect, "{found}");
        }
    }

    #[test]
    fn time_in_which_the_load_generator_did_not_run_is_not_counted() {
        let end_ns = BEGIN + 10 * SECOND;
        let (stops_ns, goes_on_ns) = (BEGIN + 4 * SECOND, BEGIN + 6 * SECOND);
        let mut tracker = Tracker::new(1, 500 * MS);
        tracker.record_own_pause(stops_ns, goes_on_ns);
        watch(&mut tracker, &frames(1, BEGIN, end_ns), end_ns, |marker| {
            let at_ns = soon(marker)?;
            Some(if (stops_ns..goes_on_ns).contains(&at_ns) { goes_on_ns + 20 * MS } else { at_ns })
        });
        let found = tracker.delivery();
        assert!(found.is_perfect(), "{found}");
        assert_eq!(found.own_standstill_ms, 2_000.0);
    }

    /// The result for a drained player beside a checked one: its bytes arrive every 10 ms, as `arrives` returns.
    fn drained(frames: &[Sent], end_ns: u64, arrives: impl Fn(&Marker) -> Option<u64>) -> Delivery {
        let mut tracker = Tracker::new(1, 500 * MS);
        watch(&mut tracker, frames, end_ns, soon);
        tracker.waits.clear();
        let mut watch = Watch::new(0, COMES);
        let is_first = |(kind, marker): &&Sent| *kind == Kind::Video && marker.sent_ns >= BEGIN + SECOND;
        let first = frames.iter().find(is_first).unwrap();
        tracker.frame(&mut watch, Kind::Video, &first.1, COMES + 5 * MS);
        tracker.drain(&mut watch, COMES + 5 * MS);
        let mut arrivals: Vec<_> = frames
            .iter()
            .filter(|(_, marker)| marker.sent_ns > first.1.sent_ns)
            .filter_map(|(kind, marker)| Some((arrives(marker)?, *kind, marker.sequence)))
            .collect();
        arrivals.sort_by_key(|(at_ns, ..)| *at_ns);
        for (at_ns, kind, sequence) in arrivals {
            let on_the_wire = SHAPE.frame_bytes(kind, sequence) + 12;
            tracker.drained(&mut watch, on_the_wire, at_ns.next_multiple_of(10 * MS));
        }
        tracker.close(watch, end_ns);
        tracker.delivery()
    }

    #[test]
    fn a_drained_player_that_waits_or_gets_too_little_is_detected() {
        let end_ns = BEGIN + 10 * SECOND;
        let frames = frames(1, BEGIN, end_ns);
        let found = drained(&frames, end_ns, soon);
        assert!(found.is_perfect() && found.longest_wait_ms.max < 20.0, "{found}");

        let (stops_ns, goes_on_ns) = (BEGIN + 4 * SECOND, BEGIN + 6 * SECOND);
        let stop = |marker: &Marker| {
            let at_ns = soon(marker)?;
            Some(if (stops_ns..goes_on_ns).contains(&at_ns) { goes_on_ns } else { at_ns })
        };
        let found = drained(&frames, end_ns, stop);
        assert!((1_900.0..2_001.0).contains(&found.longest_wait_ms.max), "{found}");
        assert!(found.bytes.late > 150_000 && found.bytes.never == 0 && found.share < 0.9, "{found}");

        let swallow = |marker: &Marker| soon(marker).filter(|_| !marker.sequence.is_multiple_of(10));
        let found = drained(&frames, end_ns, swallow);
        assert!(found.bytes.never > 0 && found.stalled_players == 1 && !found.is_perfect(), "{found}");

        let tail = |marker: &Marker| soon(marker).filter(|at_ns| *at_ns < BEGIN + 8 * SECOND);
        let found = drained(&frames, end_ns, tail);
        assert!((1_950.0..2_001.0).contains(&found.longest_wait_ms.max), "{found}");
        assert!((0.7..0.9).contains(&found.share), "{found}");
    }

    #[test]
    fn a_drained_player_does_not_count_as_waiting_while_the_encoder_is_paused_or_gone() {
        let end_ns = BEGIN + 10 * SECOND;
        let mut paused = frames(1, BEGIN, end_ns);
        for (_, marker) in &mut paused {
            if (BEGIN + 4 * SECOND..BEGIN + 6 * SECOND).contains(&marker.sent_ns) {
                marker.sent_ns = BEGIN + 6 * SECOND;
            }
        }
        let mut ended = frames(1, BEGIN, BEGIN + 5 * SECOND);
        ended.last_mut().unwrap().1.is_last = true;
        let restarted = [ended.clone(), frames(2, BEGIN + 8 * SECOND, end_ns)].concat();
        for frames in [paused, ended, restarted] {
            let found = drained(&frames, end_ns, soon);
            assert!(found.is_perfect(), "{found}");
        }
    }
}
