//! Holds what players received against what was sent to them in that time: what came in time, what came late, what never
//! came, and how long each player waited for something that had been sent.
//!
//! Each frame says by which schedule its encoder sends (see [`crate::marker`]), so a player knows what it is owed even
//! when nothing comes any more. It is owed what is sent from the frame at which it joined to the moment at which it
//! leaves: who comes late is owed nothing of what was before, and who is sent away is owed all that follows. What the
//! load itself did to it, by standing still, is nobody's fault.

use std::collections::VecDeque;

use serde::Serialize;

use crate::marker::Marker;
use crate::report::{Summary, Times};
use crate::schedule::{Kind, Schedule};

/// What became of the frames or bytes that players were owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Sent while the player watched.
    pub owed: u64,
    /// Came within the time that is allowed.
    pub in_time: u64,
    /// Came, and later than that.
    pub late: u64,
    /// Left out by the server, which went on behind them.
    pub left_out: u64,
    /// Had not come when the player left, though the time for it was over.
    pub never: u64,
}

/// What a run of players found of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Delivery {
    /// Came in time, of what was sent: 0 to 1, of the checked players or of the drained ones, whichever is less.
    pub share: f64,
    /// What counts as late: older than this when it came, milliseconds.
    pub late_after_ms: f64,
    /// Frames of the players that were checked.
    pub frames: Account,
    /// Payload bytes of the players that were drained.
    pub bytes: Account,
    /// How old frames were when checked players got them, over all of the run; milliseconds.
    pub age_ms: Summary,
    /// Of each player, the longest time that it got nothing although something had been sent to it; milliseconds.
    pub longest_wait_ms: Summary,
    /// Players that were left waiting for longer than is allowed, or got less than was sent.
    pub stalled_players: u64,
    /// How long the load itself did not run, in all; milliseconds. It is not blamed on the server.
    pub own_standstill_ms: f64,
}

/// The books of a run: what all players found so far.
#[derive(Debug)]
pub struct Books {
    late_after_ns: u64,
    /// When the load itself did not run.
    own: Stretches,
    /// By stream.
    encoders: Vec<Encoder>,
    frames: Account,
    bytes: Account,
    ages: Times,
    waits: Times,
    stalled_players: u64,
}

/// One connection of a player: open from the moment that the server plays.
#[derive(Clone, Debug)]
pub struct Watch {
    stream: usize,
    started_ns: u64,
    /// When something came last.
    arrived_ns: u64,
    longest_wait_ns: u64,
    /// Of the newest frame.
    source: Option<u32>,
    schedule: Option<Schedule>,
    /// When the encoder said that it ends.
    over_ns: Option<u64>,
    audio: Line,
    video: Line,
    account: Account,
    drained: Option<Drained>,
}

/// Frames of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    source: Option<u32>,
    /// The number of the next one.
    next: u64,
}

/// Frames of one kind that have not come, and since when the player waits for the first of them.
#[derive(Clone, Copy, Debug)]
struct Missing {
    count: u64,
    since_ns: u64,
}

/// What is known of a player whose bytes are only counted.
#[derive(Clone, Debug)]
struct Drained {
    /// What is sent from then on is owed.
    from_ns: u64,
    bytes: u64,
    /// Times in which nothing came, longer than is allowed.
    silences: Vec<(u64, u64)>,
}

impl Books {
    /// Nothing in them.
    pub fn new(streams: usize, late_after_ns: u64) -> Self {
        Self {
            late_after_ns,
            own: Stretches::default(),
            encoders: vec![Encoder::default(); streams],
            frames: Account::default(),
            bytes: Account::default(),
            ages: Times::new(),
            waits: Times::new(),
            stalled_players: 0,
        }
    }

    /// The load itself did not run from one time to another.
    pub fn stood_still(&mut self, from_ns: u64, to_ns: u64) {
        self.own.add(from_ns, to_ns);
    }

    /// Takes a frame that came to a player. Returns how old it was, if it was sent after the player's start.
    pub fn frame(&mut self, watch: &mut Watch, kind: Kind, marker: &Marker, now_ns: u64) -> Option<u64> {
        if let Some(encoder) = self.encoders.get_mut(watch.stream) {
            encoder.sent(kind, marker);
        }
        let age_ns = watch.frame(kind, marker, now_ns, &self.own, self.late_after_ns)?;
        self.ages.record(age_ns);
        Some(age_ns)
    }

    /// From now on only the player's bytes are counted; its newest frame is the key frame at which it joined.
    pub fn drain(&self, watch: &mut Watch, now_ns: u64) {
        let joined_ns = watch.schedule.map(|schedule| schedule.due_ns(Kind::Video, watch.video.next));
        watch.drained = joined_ns.map(|from_ns| Drained { from_ns, bytes: 0, silences: Vec::new() });
        watch.arrived_ns = now_ns;
    }

    /// Takes note of bytes that came to a player.
    pub fn drained(&self, watch: &mut Watch, bytes: usize, now_ns: u64) {
        let Some(drained) = watch.drained.as_mut().filter(|_| bytes > 0) else { return };
        drained.bytes += bytes as u64;
        let since_ns = std::mem::replace(&mut watch.arrived_ns, now_ns);
        self.silent(drained, since_ns, now_ns);
        let interval_ns = watch.schedule.map_or(0, |schedule| schedule.shape.interval_ns());
        let wait_ns = self.own.outside(since_ns, now_ns).saturating_sub(interval_ns);
        if wait_ns <= self.late_after_ns {
            watch.longest_wait_ns = watch.longest_wait_ns.max(wait_ns);
        }
    }

    /// Whether this player waits for something right now, for longer than is allowed.
    pub fn is_waiting(&self, watch: &Watch, now_ns: u64) -> bool {
        let Some(schedule) = watch.schedule.filter(|_| watch.over_ns.is_none()) else { return false };
        self.own.outside(watch.arrived_ns, now_ns) > self.late_after_ns + schedule.shape.interval_ns()
    }

    /// Closes a player's account at `end_ns`.
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
            // What it was owed until its join point was seen.
            account.owed = account.in_time + account.late + account.left_out;
            self.frames += account;
            return;
        }
        for Missing { count, since_ns } in self.missing(&watch, until_ns) {
            account.never += count;
            longest_ns = longest_ns.max(self.own.outside(since_ns, end_ns));
        }
        account.owed = account.in_time + account.late + account.left_out + account.never;
        self.stalled_players += u64::from(account.in_time < account.owed || longest_ns > allowed_ns);
        self.waits.record(longest_ns);
        self.frames += account;
    }

    /// Whether something that was due in time has not come to a player that is about to leave. It may be that the encoder
    /// has not sent it: that is known once it comes.
    pub fn lacks_something(&self, watch: &Watch, end_ns: u64) -> bool {
        let until_ns = self.owed_until_ns(end_ns);
        match &watch.drained {
            Some(_) => watch.over_ns.is_none() && watch.arrived_ns < until_ns,
            None => self.missing(watch, until_ns).next().is_some(),
        }
    }

    /// Sums up.
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
            own_standstill_ms: self.own.total_ns as f64 / 1e6,
        }
    }

    /// Until when what was sent must have come to a player that leaves: the last of it may still be under way, and what
    /// came while the load did not run has not been read.
    fn owed_until_ns(&self, end_ns: u64) -> u64 {
        let allowed_ns = self.late_after_ns;
        end_ns.saturating_sub(allowed_ns + self.own.overlap(end_ns.saturating_sub(2 * allowed_ns), end_ns))
    }

    /// What a player that is not drained lacks of what was due before `until_ns`.
    fn missing(&self, watch: &Watch, until_ns: u64) -> impl Iterator<Item = Missing> {
        let Watch { started_ns, arrived_ns, source, over_ns, audio, video, .. } = *watch;
        // By what other players saw: this one may have got nothing at all, or nothing of the newest encoder.
        let known = self.encoders.get(watch.stream).and_then(Encoder::newest);
        known.into_iter().flat_map(move |(newest, schedule)| {
            let over_ns = over_ns.filter(|_| source == Some(newest));
            let until_ns = until_ns.min(over_ns.unwrap_or(u64::MAX));
            let of_kind = move |(kind, line): (Kind, Line)| {
                let first = match line.source == Some(newest) {
                    true => line.next,
                    // It may have to wait for a key frame.
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

    fn silent(&self, drained: &mut Drained, since_ns: u64, now_ns: u64) {
        let is_long = now_ns.saturating_sub(since_ns) > self.late_after_ns;
        if is_long && drained.silences.len() < MAX_SILENCES {
            drained.silences.push((since_ns, now_ns));
        }
    }

    /// What a drained player was owed and got, and its longest wait.
    fn close_drained(&self, watch: &Watch, drained: &Drained, end_ns: u64, until_ns: u64) -> (Account, u64) {
        let mut drained = drained.clone();
        self.silent(&mut drained, watch.arrived_ns, end_ns);
        let Some(encoder) = self.encoders.get(watch.stream) else { return (Account::default(), 0) };
        let owed = encoder.bytes_between(drained.from_ns, until_ns);
        let (mut late, mut longest_ns) = (0, 0);
        for &(since_ns, to_ns) in &drained.silences {
            // An encoder that stood still itself had nothing to be waited for.
            let paused_ns = encoder.paused_ns(since_ns, to_ns);
            let wait_ns = self.own.outside(since_ns, to_ns).saturating_sub(paused_ns);
            longest_ns = longest_ns.max(wait_ns);
            if wait_ns > self.late_after_ns && to_ns < end_ns {
                late += encoder.bytes_between(since_ns, to_ns - self.late_after_ns);
            }
        }
        // The rest of what was received is the wire's.
        let received = drained.bytes.min(owed);
        let late = late.min(received);
        let account = Account { owed, in_time: received - late, late, left_out: 0, never: owed - received };
        (account, longest_ns)
    }
}

impl Watch {
    /// Of a player of that stream, to which the server plays from now on.
    pub fn new(stream: usize, now_ns: u64) -> Self {
        Self {
            stream,
            started_ns: now_ns,
            arrived_ns: now_ns,
            longest_wait_ns: 0,
            source: None,
            schedule: None,
            over_ns: None,
            audio: Line::default(),
            video: Line::default(),
            account: Account::default(),
            drained: None,
        }
    }

    fn frame(
        &mut self,
        kind: Kind,
        marker: &Marker,
        now_ns: u64,
        own: &Stretches,
        late_after_ns: u64,
    ) -> Option<u64> {
        let line = match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        };
        if line.source != Some(marker.source) {
            *line = Line { source: Some(marker.source), next: marker.sequence };
        }
        let left_out = marker.sequence.checked_sub(line.next)?;
        line.next = marker.sequence + 1;
        self.source = Some(marker.source);
        self.schedule = Some(marker.schedule);
        self.over_ns = marker.is_last.then(|| marker.schedule.due_ns(kind, marker.sequence));
        let before_ns = std::mem::replace(&mut self.arrived_ns, now_ns);
        // What was sent before the player came is as old as it should be.
        if marker.sent_ns < self.started_ns {
            return None;
        }
        self.account.left_out += left_out;
        let age_ns = own.outside(marker.sent_ns, now_ns);
        match age_ns > late_after_ns {
            true => self.account.late += 1,
            false => self.account.in_time += 1,
        }
        let wait_ns = own.outside(before_ns.max(marker.sent_ns), now_ns);
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
    /// Whether all that was sent came in time, to everybody.
    pub fn is_perfect(&self) -> bool {
        self.stalled_players == 0
            && self.frames.in_time == self.frames.owed
            && self.bytes.in_time as f64 >= self.bytes.owed as f64 * ENOUGH
    }
}

/// What the frames say of the encoders of one stream.
#[derive(Clone, Debug, Default)]
struct Encoder {
    /// One after the other: of each its source, its schedule, its newest video frame, and whether it ended itself.
    runs: Vec<Run>,
    /// When it did not run itself.
    pauses: Stretches,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    source: u32,
    schedule: Schedule,
    /// Number and time of the newest video frame.
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

    /// Payload bytes that were sent. A run ends with its last frame, or with the last one that came before another run.
    fn bytes_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let last = self.runs.len().saturating_sub(1);
        let runs = self.runs.iter().enumerate();
        let bytes = runs.map(|(at, run)| {
            let end_ns = if run.is_over || at < last { run.due_ns } else { u64::MAX };
            run.schedule.bytes_between(from_ns, to_ns.min(end_ns).max(from_ns))
        });
        bytes.sum()
    }

    /// Within that time: pauses, the time from one run to the next, and that after the last one's end.
    fn paused_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        let between = self.runs.windows(2).map(|runs| (runs[0].due_ns, runs[1].schedule.started_ns));
        let after = self.runs.last().filter(|run| run.is_over).map(|run| (run.due_ns, u64::MAX));
        let between: u64 =
            between.chain(after).map(|(begin_ns, end_ns)| common_ns(begin_ns, end_ns, from_ns, to_ns)).sum();
        self.pauses.overlap(from_ns, to_ns) + between
    }
}

/// Stretches of time that do not overlap; the newest ones, at most [`MAX_STRETCHES`].
#[derive(Clone, Debug, Default)]
struct Stretches {
    newest: VecDeque<(u64, u64)>,
    total_ns: u64,
}

impl Stretches {
    fn add(&mut self, from_ns: u64, to_ns: u64) {
        if self.newest.len() == MAX_STRETCHES {
            self.newest.pop_front();
        }
        self.newest.push_back((from_ns, to_ns));
        self.total_ns += to_ns.saturating_sub(from_ns);
    }

    /// How much of them is within that time.
    fn overlap(&self, from_ns: u64, to_ns: u64) -> u64 {
        let newest_first = self.newest.iter().rev().take_while(|(_, end_ns)| *end_ns > from_ns);
        newest_first.map(|&(begin_ns, end_ns)| common_ns(begin_ns, end_ns, from_ns, to_ns)).sum()
    }

    /// How much of that time is outside of them.
    fn outside(&self, from_ns: u64, to_ns: u64) -> u64 {
        to_ns.saturating_sub(from_ns).saturating_sub(self.overlap(from_ns, to_ns))
    }
}

fn common_ns(begin_ns: u64, end_ns: u64, from_ns: u64, to_ns: u64) -> u64 {
    end_ns.min(to_ns).saturating_sub(begin_ns.max(from_ns))
}

/// Of the bytes of a drained player: where it joined within a frame is not known, nor what the wire adds.
const ENOUGH: f64 = 0.98;
/// A silence is longer than [`Books::late_after_ns`]; more than this many are a stall of minutes, and well seen.
const MAX_SILENCES: usize = 64;
/// The last minutes of a load that stands still all the time.
const MAX_STRETCHES: usize = 1_024;
/// Encoders of one stream in one run of players.
const MAX_RUNS: usize = 64;
/// An encoder that is later than this stood still; below it is a busy machine.
const MIN_PAUSE_NS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Shape;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;
    const SHAPE: Shape = Shape { bitrate: 1_000_000, fps: 30, gop: 30, audio: true };
    /// The encoder's first frame; a player comes a second later.
    const BEGIN: u64 = 100 * SECOND;
    const COMES: u64 = BEGIN + SECOND;

    /// A frame of an encoder that began at `started_ns`.
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

    /// What a player makes of frames that come when `arrives` says; it leaves at `end_ns`.
    fn watched(frames: &[Sent], end_ns: u64, arrives: impl Fn(&Marker) -> Option<u64>) -> Delivery {
        let mut books = Books::new(1, 500 * MS);
        watch(&mut books, frames, end_ns, arrives);
        books.delivery()
    }

    fn watch(books: &mut Books, frames: &[Sent], end_ns: u64, arrives: impl Fn(&Marker) -> Option<u64>) {
        let mut watch = Watch::new(0, COMES);
        for (kind, marker) in frames {
            if let Some(at_ns) = arrives(marker).filter(|at_ns| *at_ns < end_ns) {
                books.frame(&mut watch, *kind, marker, at_ns);
            }
        }
        books.close(watch, end_ns);
    }

    /// As a relay should: from the key frame of the player's coming on, each frame 5 ms after it was sent.
    fn soon(marker: &Marker) -> Option<u64> {
        (marker.sent_ns >= BEGIN + SECOND).then(|| marker.sent_ns.max(COMES) + 5 * MS)
    }

    #[test]
    fn all_that_was_sent_in_time_is_perfect_and_a_late_joiner_is_owed_nothing_of_before() {
        let end_ns = BEGIN + 10 * SECOND;
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, soon);
        assert!(found.is_perfect(), "{found}");
        assert_eq!((found.share, found.frames.never), (1.0, 0));
        assert!(found.longest_wait_ms.max < 6.0 && found.frames.owed > 9 * 70, "{found}");
    }

    #[test]
    fn frames_that_come_late_are_seen_and_so_is_the_wait_for_them() {
        let end_ns = BEGIN + 10 * SECOND;
        let (stops_ns, goes_on_ns) = (BEGIN + 4 * SECOND, BEGIN + 6 * SECOND);
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, |marker| {
            let at_ns = soon(marker)?;
            Some(if (stops_ns..goes_on_ns).contains(&at_ns) { goes_on_ns } else { at_ns })
        });
        // Of two seconds the first one and a half: 73 frames a second.
        assert!((100..=115).contains(&found.frames.late), "{found}");
        assert_eq!((found.frames.never, found.stalled_players), (0, 1));
        assert!((1_950.0..=2_001.0).contains(&found.longest_wait_ms.max), "{found}");
        assert!(found.share < 0.9 && !found.is_perfect(), "{found}");
    }

    #[test]
    fn frames_that_never_come_are_owed_all_the_same() {
        let end_ns = BEGIN + 11 * SECOND;
        let stops_ns = BEGIN + 5 * SECOND;
        let found = watched(&frames(1, BEGIN, end_ns), end_ns, |marker| {
            soon(marker).filter(|at_ns| *at_ns < stops_ns)
        });
        assert!((0.4..0.45).contains(&found.share), "4 of 9.5 seconds: {found}");
        assert!(found.frames.never > 380 && found.longest_wait_ms.max > 5_900.0, "{found}");
    }

    #[test]
    fn a_player_that_gets_nothing_or_no_audio_is_owed_what_others_got() {
        let end_ns = BEGIN + 10 * SECOND;
        let frames = frames(1, BEGIN, end_ns);
        let mut books = Books::new(1, 500 * MS);
        watch(&mut books, &frames, end_ns, soon);
        watch(&mut books, &frames, end_ns, |_| None);
        assert_eq!(books.stalled_players, 1);
        let never = books.frames.never;
        // From the next key frame that it could have had.
        assert!((530..=560).contains(&never), "{never} of 7.5 seconds");
        let video = |marker: &Marker| {
            soon(marker).filter(|_| marker.sent_ns == marker.schedule.due_ns(Kind::Video, marker.sequence))
        };
        watch(&mut books, &frames, end_ns, video);
        assert!((310..=330).contains(&(books.frames.never - never)), "audio of 7.5 seconds");
    }

    #[test]
    fn frames_that_are_left_out_are_counted() {
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
    fn what_an_encoder_did_not_send_is_owed_by_nobody() {
        let end_ns = BEGIN + 10 * SECOND;
        // It stands still for two seconds, and makes up for them.
        let mut paused = frames(1, BEGIN, end_ns);
        for (_, marker) in &mut paused {
            if (BEGIN + 4 * SECOND..BEGIN + 6 * SECOND).contains(&marker.sent_ns) {
                marker.sent_ns = BEGIN + 6 * SECOND;
            }
        }
        // It ends after five seconds, and says so.
        let mut ended = frames(1, BEGIN, BEGIN + 5 * SECOND);
        ended.last_mut().unwrap().1.is_last = true;
        // Another one begins three seconds later.
        let restarted = [ended.clone(), frames(2, BEGIN + 8 * SECOND, end_ns)].concat();
        // It is killed, and another one begins.
        let killed = [frames(1, BEGIN, BEGIN + 5 * SECOND), frames(2, BEGIN + 8 * SECOND, end_ns)].concat();
        for frames in [paused, ended, restarted, killed] {
            let found = watched(&frames, end_ns, soon);
            assert!(found.is_perfect(), "{found}");
        }
    }

    #[test]
    fn who_lacks_something_at_the_end_waits_a_little_to_see_when_it_was_sent() {
        let end_ns = BEGIN + 10 * SECOND;
        let frames = frames(1, BEGIN, end_ns);
        let (before, after): (Vec<Sent>, Vec<Sent>) =
            frames.iter().partition(|(_, marker)| marker.sent_ns < BEGIN + 9 * SECOND);
        for (sent_ns, is_perfect) in [(end_ns + SECOND / 10, true), (BEGIN + 9 * SECOND, false)] {
            let mut books = Books::new(1, 500 * MS);
            let mut watch = Watch::new(0, COMES);
            for (kind, marker) in &before {
                books.frame(&mut watch, *kind, marker, soon(marker).unwrap_or(COMES));
            }
            assert!(books.lacks_something(&watch, end_ns));
            for (kind, marker) in &after {
                let marker = Marker { sent_ns, ..*marker };
                books.frame(&mut watch, *kind, &marker, end_ns + SECOND / 5);
            }
            assert!(!books.lacks_something(&watch, end_ns));
            books.close(watch, end_ns);
            let found = books.delivery();
            assert_eq!(found.is_perfect(), is_perfect, "{found}");
        }
    }

    #[test]
    fn what_the_load_itself_did_not_read_in_time_is_nobodys_fault() {
        let end_ns = BEGIN + 10 * SECOND;
        let (stops_ns, goes_on_ns) = (BEGIN + 4 * SECOND, BEGIN + 6 * SECOND);
        let mut books = Books::new(1, 500 * MS);
        books.stood_still(stops_ns, goes_on_ns);
        watch(&mut books, &frames(1, BEGIN, end_ns), end_ns, |marker| {
            let at_ns = soon(marker)?;
            Some(if (stops_ns..goes_on_ns).contains(&at_ns) { goes_on_ns + 20 * MS } else { at_ns })
        });
        let found = books.delivery();
        assert!(found.is_perfect(), "{found}");
        assert_eq!(found.own_standstill_ms, 2_000.0);
    }

    /// A drained player beside a checked one: its bytes come every 10 ms, as `arrives` says.
    fn drained(frames: &[Sent], end_ns: u64, arrives: impl Fn(&Marker) -> Option<u64>) -> Delivery {
        let mut books = Books::new(1, 500 * MS);
        watch(&mut books, frames, end_ns, soon);
        books.waits.clear();
        let mut watch = Watch::new(0, COMES);
        let is_first = |(kind, marker): &&Sent| *kind == Kind::Video && marker.sent_ns >= BEGIN + SECOND;
        let first = frames.iter().find(is_first).unwrap();
        books.frame(&mut watch, Kind::Video, &first.1, COMES + 5 * MS);
        books.drain(&mut watch, COMES + 5 * MS);
        let mut arrivals: Vec<_> = frames
            .iter()
            .filter(|(_, marker)| marker.sent_ns > first.1.sent_ns)
            .filter_map(|(kind, marker)| Some((arrives(marker)?, *kind, marker.sequence)))
            .collect();
        arrivals.sort_by_key(|(at_ns, ..)| *at_ns);
        for (at_ns, kind, sequence) in arrivals {
            let on_the_wire = SHAPE.frame_bytes(kind, sequence) + 12;
            books.drained(&mut watch, on_the_wire, at_ns.next_multiple_of(10 * MS));
        }
        books.close(watch, end_ns);
        books.delivery()
    }

    #[test]
    fn a_drained_player_that_is_left_waiting_or_gets_too_little_is_seen() {
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
    fn a_drained_player_of_an_encoder_that_stood_still_or_ended_is_not_left_waiting() {
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
