//! One player: what it has received, and what its role does next.

use fanfare_rtmp::rtmp::client::Event;

use super::{Habits, Results, Role};
use crate::checker::{Checker, Seen, Tally};
use crate::delivery::Watch;
use crate::link::{Disconnected, Link};
use crate::sys;

/// The state of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected yet, or about to reconnect.
    Away,
    /// Connecting, until the first key frame.
    Connecting,
    /// Acting by its role.
    Watching,
    /// Not reading at the moment.
    Stalled,
    /// Disconnected for good.
    Gone,
}

/// What has to follow after a player acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Continues,
    /// It got its first key frame, and is drained from now on.
    StartsDraining,
    /// It disconnects.
    Leaves,
}

pub struct Player {
    pub role: Role,
    stream: usize,
    pub phase: Phase,
    pub link: Option<Link>,
    /// When it connected.
    pub begun_ns: u64,
    /// Whether the server has started to play.
    pub is_started: bool,
    /// When its role acts next; `u64::MAX` for never.
    pub next_action_ns: u64,
    has_key_frame: bool,
    has_stalled: bool,
    has_ended: bool,
    checker: Checker,
    /// What it should receive, once the server has started to play.
    watch: Option<Watch>,
}

impl Player {
    /// A player of that stream that has not connected yet.
    pub fn new(role: Role, stream: usize) -> Self {
        Self {
            role,
            stream,
            phase: Phase::Away,
            link: None,
            begun_ns: 0,
            is_started: false,
            next_action_ns: u64::MAX,
            has_key_frame: false,
            has_stalled: false,
            has_ended: false,
            checker: Checker::default(),
            watch: None,
        }
    }

    /// Connects, for the first time or again.
    pub fn connect(&mut self, link: Link, now_ns: u64) {
        let new = Self::new(self.role, self.stream);
        *self = Self { link: Some(link), phase: Phase::Connecting, begun_ns: now_ns, ..new };
    }

    /// Disconnects, and adds its counts to the results.
    pub fn leave(&mut self, results: &mut Results) {
        self.link = None;
        self.phase = Phase::Gone;
        self.next_action_ns = u64::MAX;
        let missed_all = self.is_started && !self.has_key_frame;
        results.report.without_picture += u64::from(missed_all);
        self.is_started = false;
        let tally = std::mem::take(&mut self.checker).tally();
        match self.role {
            Role::Stalls | Role::ReadsSlowly => results.report.hindered += tally,
            _ => results.report.checked += tally,
        }
    }

    /// Ends what it is owed. Players that stall or read slowly are not owed timely delivery.
    pub fn close_account(&mut self, end_ns: u64, results: &mut Results) {
        let is_counted = !self.is_hindered();
        if let Some(watch) = self.watch.take().filter(|_| is_counted) {
            results.tracker.close(watch, end_ns);
        }
    }

    /// Whether frames that may have been sent early enough have not arrived at the end.
    pub fn is_missing_frames(&self, end_ns: u64, results: &Results) -> bool {
        let watch = self.watch.as_ref().filter(|_| self.link.is_some() && !self.is_hindered());
        watch.is_some_and(|watch| results.tracker.is_missing_frames(watch, end_ns))
    }

    fn is_hindered(&self) -> bool {
        matches!(self.role, Role::Stalls | Role::ReadsSlowly)
    }

    /// Whether it has now been waiting longer than allowed.
    pub fn is_waiting(&self, results: &Results, now_ns: u64) -> bool {
        let watch = self.watch.as_ref().filter(|_| !self.is_hindered());
        watch.is_some_and(|watch| results.tracker.is_waiting(watch, now_ns))
    }

    /// The counts of this connection so far.
    pub fn tally(&self) -> Tally {
        self.checker.tally()
    }

    /// Whether what arrives is discarded.
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Watching && matches!(self.role, Role::Drains | Role::Churns)
    }

    /// Whether it has got a key frame on this connection.
    pub fn is_watching(&self) -> bool {
        matches!(self.phase, Phase::Watching | Phase::Stalled)
    }

    /// Whether it is connected, or disconnected because of its role.
    pub fn is_held(&self) -> bool {
        match self.phase {
            Phase::Connecting | Phase::Watching | Phase::Stalled => self.is_started,
            Phase::Away => self.role == Role::Churns,
            Phase::Gone => false,
        }
    }

    /// Reads what arrived, if it reads at once.
    pub fn on_ready(
        &mut self,
        habits: &Habits,
        scratch: &mut [u8],
        results: &mut Results,
    ) -> Result<Outcome, Disconnected> {
        let reads = match self.phase {
            Phase::Connecting => true,
            Phase::Watching => matches!(self.role, Role::Checks | Role::Stalls),
            Phase::Away | Phase::Stalled | Phase::Gone => false,
        };
        let Some(link) = self.link.as_mut().filter(|_| reads) else {
            return Ok(Outcome::Continues);
        };
        link.on_ready()?;
        while self.read(scratch, usize::MAX, results)? == scratch.len() {}
        if self.phase == Phase::Connecting && self.has_key_frame {
            return Ok(self.start_role(habits, results));
        }
        Ok(Outcome::Continues)
    }

    /// Discards what arrived.
    pub fn drain(&mut self, scratch: &mut [u8], results: &mut Results) -> Result<Outcome, Disconnected> {
        if let Some(link) = &mut self.link {
            let n = link.discard(scratch)?;
            results.bytes += n as u64;
            if let Some(watch) = &mut self.watch {
                results.tracker.drained(watch, n, sys::now_ns());
            }
        }
        Ok(Outcome::Continues)
    }

    /// Does what its role does at [`Player::next_action_ns`].
    pub fn act(
        &mut self,
        habits: &Habits,
        now_ns: u64,
        scratch: &mut [u8],
        results: &mut Results,
    ) -> Result<Outcome, Disconnected> {
        match (self.role, self.phase) {
            (Role::Churns, Phase::Watching) => return Ok(Outcome::Leaves),
            (Role::Stalls, Phase::Watching) if !self.has_stalled => {
                self.has_stalled = true;
                self.phase = Phase::Stalled;
                self.next_action_ns = match sys::nanos(habits.stall_for) {
                    0 => u64::MAX,
                    stall_ns => now_ns + stall_ns,
                };
            }
            (Role::Stalls, Phase::Stalled) => {
                self.phase = Phase::Watching;
                self.next_action_ns = u64::MAX;
                return self.on_ready(habits, scratch, results);
            }
            (Role::ReadsSlowly, Phase::Watching) => {
                self.next_action_ns = now_ns + SLOW_READ_INTERVAL_NS;
                let bytes = habits.slow_bitrate / 8 * SLOW_READ_INTERVAL_NS / 1_000_000_000;
                self.read(scratch, bytes as usize, results)?;
            }
            _ => self.next_action_ns = u64::MAX,
        }
        Ok(Outcome::Continues)
    }

    fn start_role(&mut self, habits: &Habits, results: &Results) -> Outcome {
        self.phase = Phase::Watching;
        let now_ns = sys::now_ns();
        self.next_action_ns = match self.role {
            Role::Stalls => now_ns + sys::nanos(habits.stall_after),
            Role::ReadsSlowly => now_ns,
            Role::Churns => now_ns + sys::nanos(habits.churn_stay),
            Role::Checks | Role::Drains => u64::MAX,
        };
        if self.is_drained() {
            if let Some(link) = &mut self.link {
                link.forget_protocol();
            }
            if let Some(watch) = &mut self.watch {
                results.tracker.drain(watch, now_ns);
            }
            return Outcome::StartsDraining;
        }
        Outcome::Continues
    }

    /// One read of at most `limit` bytes. Returns how many bytes it was.
    fn read(
        &mut self,
        scratch: &mut [u8],
        limit: usize,
        results: &mut Results,
    ) -> Result<usize, Disconnected> {
        let Some(link) = &mut self.link else { return Ok(0) };
        let mut error = None;
        let n = link.receive(scratch, limit, |event| match event {
            Event::Started => {
                self.is_started = true;
                self.watch = Some(Watch::new(self.stream, sys::now_ns()));
                results.report.connections += 1;
            }
            Event::Frame(frame) => {
                let Seen::Frame { kind, is_key_frame, marker } = self.checker.frame(&frame) else { return };
                let Some(watch) = &mut self.watch else { return };
                let now_ns = sys::now_ns();
                if is_key_frame && !self.has_key_frame {
                    self.has_key_frame = true;
                    results.first_key_frame.record(now_ns - self.begun_ns);
                }
                if matches!(self.role, Role::Stalls | Role::ReadsSlowly) {
                    return;
                }
                let age_ns = results.tracker.frame(watch, kind, &marker, now_ns);
                if let Some(age_ns) = age_ns.filter(|_| self.role == Role::Checks) {
                    results.latency.record(age_ns);
                    results.latency_of_last_second.record(age_ns);
                }
            }
            Event::Ended => {
                results.report.ended += u64::from(!std::mem::replace(&mut self.has_ended, true));
            }
            Event::Status(status) if status.level == "error" => {
                error = Some(Disconnected(format!("{} {}", status.code, status.description)));
            }
            Event::Status(_) | Event::Send(_) => {}
        })?;
        results.bytes += n as u64;
        error.map_or(Ok(n), Err)
    }
}

/// Slow players read ten times a second.
const SLOW_READ_INTERVAL_NS: u64 = 100_000_000;
