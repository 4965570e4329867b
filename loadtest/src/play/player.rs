//! One player: what it has seen, and what its role has it do next.

use fanfare_rtmp::rtmp::client::Event;

use super::{Found, Habits, Role};
use crate::checker::{Checker, Seen, Tally};
use crate::delivery::Watch;
use crate::link::{Link, Over};
use crate::sys;

/// How far a player is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Has not come yet, or will come back.
    Away,
    /// Until it sees a picture.
    Opening,
    /// Does what its role says.
    Watching,
    /// Reads nothing for now.
    Stalled,
    /// Will not come back.
    Gone,
}

/// What comes of what a player did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more.
    GoesOn,
    /// It sees a picture, and needs not be read at once any longer.
    IsToBeDrained,
    /// It closes its connection.
    HasLeft,
}

pub struct Player {
    pub role: Role,
    stream: usize,
    pub phase: Phase,
    pub link: Option<Link>,
    /// When it came.
    pub begun_ns: u64,
    /// Whether the server plays.
    pub is_started: bool,
    /// When its role next has it do something; unless there is nothing until it sees a picture.
    pub turn_ns: u64,
    has_picture: bool,
    has_stalled: bool,
    is_over: bool,
    checker: Checker,
    /// What it is owed, from the moment that the server plays.
    watch: Option<Watch>,
}

impl Player {
    /// One that has not come, of the stream of that number.
    pub fn new(role: Role, stream: usize) -> Self {
        Self {
            role,
            stream,
            phase: Phase::Away,
            link: None,
            begun_ns: 0,
            is_started: false,
            turn_ns: u64::MAX,
            has_picture: false,
            has_stalled: false,
            is_over: false,
            checker: Checker::default(),
            watch: None,
        }
    }

    /// Comes, for the first time or again.
    pub fn come(&mut self, link: Link, now_ns: u64) {
        let new = Self::new(self.role, self.stream);
        *self = Self { link: Some(link), phase: Phase::Opening, begun_ns: now_ns, ..new };
    }

    /// Closes the connection, and hands over what it found.
    pub fn leave(&mut self, found: &mut Found) {
        self.link = None;
        self.phase = Phase::Gone;
        self.turn_ns = u64::MAX;
        let missed_all = self.is_started && !self.has_picture;
        found.report.without_picture += u64::from(missed_all);
        self.is_started = false;
        let tally = std::mem::take(&mut self.checker).tally();
        match self.role {
            Role::Stalls | Role::ReadsSlowly => found.report.hindered += tally,
            _ => found.report.checked += tally,
        }
    }

    /// Has it owed nothing more. Those that stall or read slowly are owed nothing in time.
    pub fn close_account(&mut self, end_ns: u64, found: &mut Found) {
        let is_judged = !self.is_hindered();
        if let Some(watch) = self.watch.take().filter(|_| is_judged) {
            found.books.close(watch, end_ns);
        }
    }

    /// Whether something that may have been sent to it in time has not come at the end.
    pub fn lacks_something(&self, end_ns: u64, found: &Found) -> bool {
        let watch = self.watch.as_ref().filter(|_| self.link.is_some() && !self.is_hindered());
        watch.is_some_and(|watch| found.books.lacks_something(watch, end_ns))
    }

    fn is_hindered(&self) -> bool {
        matches!(self.role, Role::Stalls | Role::ReadsSlowly)
    }

    /// Whether it has been waiting for too long, right now.
    pub fn is_waiting(&self, found: &Found, now_ns: u64) -> bool {
        let watch = self.watch.as_ref().filter(|_| !self.is_hindered());
        watch.is_some_and(|watch| found.books.is_waiting(watch, now_ns))
    }

    /// Of this connection so far.
    pub fn tally(&self) -> Tally {
        self.checker.tally()
    }

    /// Whether what comes is thrown away.
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Watching && matches!(self.role, Role::Drains | Role::ComesAndGoes)
    }

    /// Whether it sees a picture, or could if it read.
    pub fn is_watching(&self) -> bool {
        matches!(self.phase, Phase::Watching | Phase::Stalled)
    }

    /// Whether it is where it should be.
    pub fn is_held(&self) -> bool {
        match self.phase {
            Phase::Opening | Phase::Watching | Phase::Stalled => self.is_started,
            Phase::Away => self.role == Role::ComesAndGoes,
            Phase::Gone => false,
        }
    }

    /// Reads, unless it is not its time to.
    pub fn ready(&mut self, habits: &Habits, scrap: &mut [u8], found: &mut Found) -> Result<Outcome, Over> {
        let reads = match self.phase {
            Phase::Opening => true,
            Phase::Watching => matches!(self.role, Role::Checks | Role::Stalls),
            Phase::Away | Phase::Stalled | Phase::Gone => false,
        };
        let Some(link) = self.link.as_mut().filter(|_| reads) else {
            return Ok(Outcome::GoesOn);
        };
        link.ready()?;
        while self.read(scrap, usize::MAX, found)? == scrap.len() {}
        if self.phase == Phase::Opening && self.has_picture {
            return Ok(self.begin_role(habits, found));
        }
        Ok(Outcome::GoesOn)
    }

    /// Throws away what has come.
    pub fn drain(&mut self, scrap: &mut [u8], found: &mut Found) -> Result<Outcome, Over> {
        if let Some(link) = &mut self.link {
            let n = link.discard(scrap)?;
            found.bytes += n as u64;
            if let Some(watch) = &mut self.watch {
                found.books.drained(watch, n, sys::now_ns());
            }
        }
        Ok(Outcome::GoesOn)
    }

    /// Does what its role says at [`Player::turn_ns`].
    pub fn take_turn(
        &mut self,
        habits: &Habits,
        now_ns: u64,
        scrap: &mut [u8],
        found: &mut Found,
    ) -> Result<Outcome, Over> {
        match (self.role, self.phase) {
            (Role::ComesAndGoes, Phase::Watching) => return Ok(Outcome::HasLeft),
            (Role::Stalls, Phase::Watching) if !self.has_stalled => {
                self.has_stalled = true;
                self.phase = Phase::Stalled;
                self.turn_ns = match sys::nanos(habits.stall_for) {
                    0 => u64::MAX,
                    stall_ns => now_ns + stall_ns,
                };
            }
            (Role::Stalls, Phase::Stalled) => {
                self.phase = Phase::Watching;
                self.turn_ns = u64::MAX;
                return self.ready(habits, scrap, found);
            }
            (Role::ReadsSlowly, Phase::Watching) => {
                self.turn_ns = now_ns + SLOW_TURN_NS;
                let bytes = habits.slow_bitrate / 8 * SLOW_TURN_NS / 1_000_000_000;
                self.read(scrap, bytes as usize, found)?;
            }
            _ => self.turn_ns = u64::MAX,
        }
        Ok(Outcome::GoesOn)
    }

    fn begin_role(&mut self, habits: &Habits, found: &Found) -> Outcome {
        self.phase = Phase::Watching;
        let now_ns = sys::now_ns();
        self.turn_ns = match self.role {
            Role::Stalls => now_ns + sys::nanos(habits.stall_after),
            Role::ReadsSlowly => now_ns,
            Role::ComesAndGoes => now_ns + sys::nanos(habits.churn_stay),
            Role::Checks | Role::Drains => u64::MAX,
        };
        if self.is_drained() {
            if let Some(link) = &mut self.link {
                link.forget_protocol();
            }
            if let Some(watch) = &mut self.watch {
                found.books.drain(watch, now_ns);
            }
            return Outcome::IsToBeDrained;
        }
        Outcome::GoesOn
    }

    /// One read of `limit` bytes at most. Returns how many it was.
    fn read(&mut self, scrap: &mut [u8], limit: usize, found: &mut Found) -> Result<usize, Over> {
        let Some(link) = &mut self.link else { return Ok(0) };
        let mut error = None;
        let n = link.receive(scrap, limit, |event| match event {
            Event::Started => {
                self.is_started = true;
                self.watch = Some(Watch::new(self.stream, sys::now_ns()));
                found.report.connections += 1;
            }
            Event::Frame(frame) => {
                let Seen::Frame { kind, is_key_frame, marker } = self.checker.frame(&frame) else { return };
                let Some(watch) = &mut self.watch else { return };
                let now_ns = sys::now_ns();
                if is_key_frame && !self.has_picture {
                    self.has_picture = true;
                    found.first_key_frame.record(now_ns - self.begun_ns);
                }
                if matches!(self.role, Role::Stalls | Role::ReadsSlowly) {
                    return;
                }
                let age_ns = found.books.frame(watch, kind, &marker, now_ns);
                if let Some(age_ns) = age_ns.filter(|_| self.role == Role::Checks) {
                    found.latency.record(age_ns);
                    found.latency_of_last_second.record(age_ns);
                }
            }
            Event::Ended => {
                found.report.ended += u64::from(!std::mem::replace(&mut self.is_over, true));
            }
            Event::Status(status) if status.level == "error" => {
                error = Some(Over(format!("{} {}", status.code, status.description)));
            }
            Event::Status(_) | Event::Send(_) => {}
        })?;
        found.bytes += n as u64;
        error.map_or(Ok(n), Err)
    }
}

/// Slow players read ten times a second.
const SLOW_TURN_NS: u64 = 100_000_000;
