//! Rights that end, and what a service is told of sessions: in some runs. The others are what they would be without. Each
//! right that ends ends its session, in time and not before; each end of a session is told of once, and nothing else is.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use fanfare::{
    access::{Action, Grant, Notice, NoticeKind, Question, Service, Verdict},
    config::Config,
    endpoint::{Permit, ReasonKind},
};

use super::{
    pipe::NEVER,
    random::Random,
    stage::{SLACK_US, SWEEP_US},
};

/// Runs with rights that end: so many of a hundred, chosen apart from all else of a run.
const RIGHTS_PERCENT: u64 = 25;
const RIGHTS_SALT: u64 = 0x0121_9475;
/// A right ends by a core's clock of whole milliseconds, which it reads before it does its work.
const CLOCK_US: u64 = 20_000;

/// Chooses rights; none in a run where they do not end.
pub struct Grants(Option<Random>);

impl Grants {
    /// Of the run with this seed. `part` is whatever else chooses rights in it.
    pub fn new(seed: u64, part: u64) -> Self {
        let is_with = Random::new(seed ^ RIGHTS_SALT).percent(RIGHTS_PERCENT);
        Self(is_with.then(|| Random::new(seed ^ RIGHTS_SALT.rotate_left(part as u32 + 1))))
    }

    pub fn are_chosen(&self) -> bool {
        self.0.is_some()
    }

    /// How long the next right lasts.
    pub fn lasts_ms(&mut self, action: Action) -> Option<u64> {
        let random = self.0.as_mut()?;
        match action {
            Action::Connect => random.pick(&[None, None, None, None, Some(300), Some(3_000)]),
            _ => random.pick(&[None, None, None, Some(0), Some(700), Some(2_000), Some(5_000)]),
        }
    }

    /// The same verdict, for a time.
    pub fn limit(&mut self, action: Action, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Allow(grant) => Verdict::Allow(Grant { lasts_ms: self.lasts_ms(action), ..grant }),
            verdict => verdict,
        }
    }

    /// Each told hook has an address.
    pub fn configure(&self, config: &mut Config) {
        if self.are_chosen() {
            let hooks = &mut config.hooks;
            for list in
                [&mut hooks.on_unpublish, &mut hooks.on_stop, &mut hooks.on_close, &mut hooks.on_update]
            {
                list.push("http://127.0.0.1/".to_owned());
            }
            hooks.update_interval = std::time::Duration::from_secs(2);
        }
    }
}

/// What the service has been told and nobody has looked at.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Notice>>>);

impl Service for Told {
    fn ask(&self, _question: Question, _answer: Box<dyn FnOnce(Verdict) + Send>) {
        panic!("cores ask through their I/O");
    }

    fn tell(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

/// Checks that rights end, and what is told.
pub struct Rights {
    pub is_on: bool,
    /// For players over HTTP.
    grants: Grants,
    pub told: Told,
    /// Rights whose sessions have not begun.
    given: Vec<Right>,
    sessions: Vec<Session>,
    /// What is to be told next, in order.
    ends: Vec<(NoticeKind, SocketAddr, String, ReasonKind)>,
    /// Peers that were let connect, and how long they may stay.
    connected: HashMap<SocketAddr, Right>,
    closed: HashSet<u64>,
    /// Connections over RTMP of whose sessions it was told.
    with_sessions: HashSet<u64>,
}

#[derive(Clone)]
struct Right {
    peer: SocketAddr,
    action: Action,
    stream: String,
    /// What the rules granted ends then.
    rules_us: u64,
    /// What a service granted ends so long after the answer has been received.
    answered_us: u64,
    lasts_us: u64,
}

struct Session {
    peer: SocketAddr,
    action: Action,
    stream: String,
    /// It ends then at the earliest, and is due to.
    earliest_us: u64,
    latest_us: u64,
    /// Since this fair time.
    overdue_us: Option<u64>,
}

impl Right {
    fn earliest_us(&self) -> u64 {
        self.rules_us.min(self.answered_us.saturating_add(self.lasts_us))
    }

    /// Where the answer was received at this time at the latest.
    fn latest_us(&self, received_us: u64) -> u64 {
        self.rules_us.min(received_us.saturating_add(self.lasts_us))
    }
}

fn micros(lasts_ms: Option<u64>) -> u64 {
    lasts_ms.map_or(NEVER, |ms| ms * 1_000)
}

impl Rights {
    pub fn new(seed: u64) -> Self {
        let grants = Grants::new(seed, 3);
        Self {
            is_on: grants.are_chosen(),
            grants,
            told: Told::default(),
            given: Vec::new(),
            sessions: Vec::new(),
            ends: Vec::new(),
            connected: HashMap::new(),
            closed: HashSet::new(),
            with_sessions: HashSet::new(),
        }
    }

    /// A question that was asked at `asked_us` has been allowed.
    pub fn allowed(&mut self, question: &Question, grant: &Grant, asked_us: u64, now_us: u64) {
        if !self.is_on {
            return;
        }
        let name = grant.name.as_ref().filter(|name| !name.is_empty()).unwrap_or(&question.name);
        let right = Right {
            peer: question.peer,
            action: question.action,
            stream: name.clone(),
            rules_us: asked_us.saturating_add(micros(question.granted.lasts_ms)),
            answered_us: now_us,
            lasts_us: micros(grant.lasts_ms),
        };
        match question.action {
            Action::Connect => _ = self.connected.insert(question.peer, right),
            _ => self.given.push(right),
        }
    }

    /// The permit of a player over HTTP, which comes now.
    pub fn permit(
        &mut self,
        connection: u64,
        peer: SocketAddr,
        stream: &str,
        now_us: u64,
    ) -> Option<Box<Permit>> {
        if !self.is_on {
            return None;
        }
        let question = Question { connection, ..Question::new(Action::Play, stream, peer, "http_flv") };
        let grant = Grant { lasts_ms: self.grants.lasts_ms(Action::Play), ..Grant::default() };
        // The times of a permit are the core's, whenever it takes it.
        let rules = Question { granted: grant.clone(), ..question.clone() };
        self.allowed(&rules, &Grant::default(), now_us, now_us);
        Permit::of(&grant, Some(question), now_us / 1_000)
    }

    /// A session has begun.
    pub fn begun(
        &mut self,
        action: Action,
        peer: SocketAddr,
        stream: &str,
        now_us: u64,
    ) -> Result<(), String> {
        if !self.is_on {
            return Ok(());
        }
        let is_it = |it: &Right| it.peer == peer && it.action == action && it.stream == stream;
        let Some(at) = self.given.iter().rposition(is_it) else {
            return Err(format!("{peer} begins to {} {stream}, and has no right to", action.name()));
        };
        let right = self.given.remove(at);
        let connection = self.connected.get(&peer);
        let earliest_us = right.earliest_us().min(connection.map_or(NEVER, Right::earliest_us));
        // When the answer about the connection was received is not known any more: at the latest now.
        let latest_us = right.latest_us(now_us).min(connection.map_or(NEVER, |it| it.latest_us(now_us)));
        let stream = stream.to_owned();
        self.sessions.push(Session { peer, action, stream, earliest_us, latest_us, overdue_us: None });
        Ok(())
    }

    /// A session has ended.
    pub fn ended(
        &mut self,
        action: Action,
        peer: SocketAddr,
        stream: &str,
        reason: ReasonKind,
        now_us: u64,
    ) -> Result<(), String> {
        if !self.is_on {
            return Ok(());
        }
        let is_it = |it: &Session| it.peer == peer && it.action == action && it.stream == stream;
        let Some(at) = self.sessions.iter().position(is_it) else {
            return Err(format!("{peer} ends to {} {stream}, and did not", action.name()));
        };
        let session = self.sessions.swap_remove(at);
        if reason == ReasonKind::Expired && now_us + CLOCK_US < session.earliest_us {
            let early_ms = (session.earliest_us - now_us) / 1_000;
            return Err(format!(
                "{peer} is ended {early_ms} ms before its right to {} {stream}",
                action.name()
            ));
        }
        let kind = if action == Action::Publish { NoticeKind::Unpublished } else { NoticeKind::Stopped };
        self.ends.push((kind, peer, stream.to_owned(), reason));
        Ok(())
    }

    /// What the service has been told fits the ends that there were.
    pub fn check_told(&mut self) -> Result<(), String> {
        for notice in std::mem::take(&mut *self.told.0.lock().unwrap()) {
            let (peer, connection) = (notice.question.peer, notice.question.connection);
            if self.closed.contains(&connection) {
                return Err(format!("{peer} is closed, and {:?} is told of it", notice.kind));
            }
            if notice.question.protocol == "rtmp" {
                self.with_sessions.insert(connection);
            }
            match notice.kind {
                NoticeKind::Unpublished | NoticeKind::Stopped => {
                    if self.ends.is_empty() {
                        return Err(format!("{peer}: {:?} {} is told, unasked", notice.kind, notice.name));
                    }
                    let (kind, of, stream, reason) = self.ends.remove(0);
                    if (kind, of, &stream, reason.label()) != (notice.kind, peer, &notice.name, notice.reason)
                    {
                        return Err(format!(
                            "{of}: {kind:?} {stream} ({reason:?}) has happened, and {notice:?} is told"
                        ));
                    }
                }
                NoticeKind::Closed => {
                    if !self.connected.contains_key(&peer) {
                        return Err(format!("{peer} was not let connect, and its end is told"));
                    }
                    if self.sessions.iter().any(|it| it.peer == peer) {
                        return Err(format!("{peer} is told to be closed before its sessions end"));
                    }
                    self.closed.insert(connection);
                }
                NoticeKind::Update => {
                    let action = notice.question.action;
                    let is_it =
                        |it: &Session| it.peer == peer && it.action == action && it.stream == notice.name;
                    let goes_on = self.sessions.iter().any(is_it);
                    // Its end is reported, and is told after this.
                    let ends =
                        self.ends.iter().any(|(_, of, stream, _)| (of, stream) == (&peer, &notice.name));
                    if !goes_on && !ends {
                        return Err(format!(
                            "{peer}: an update on {}, which it does not {}",
                            notice.name,
                            action.name()
                        ));
                    }
                }
            }
        }
        match self.ends.first() {
            Some((kind, peer, stream, _)) => Err(format!("{peer}: {kind:?} {stream} is not told")),
            None => Ok(()),
        }
    }

    /// No session goes on for long after its right has ended. `more_us` says how much longer this may take for a peer that
    /// is on its way out for another reason, and reads slowly.
    pub fn watch(
        &mut self,
        now_us: u64,
        fair_us: u64,
        mut more_us: impl FnMut(SocketAddr) -> u64,
    ) -> Result<(), String> {
        for it in self.sessions.iter_mut().filter(|it| now_us >= it.latest_us) {
            let since_us = *it.overdue_us.get_or_insert(fair_us);
            if fair_us > since_us + SWEEP_US + SLACK_US + more_us(it.peer) {
                let (peer, late_ms) = (it.peer, (fair_us - since_us) / 1_000);
                return Err(format!(
                    "{peer} goes on to {} {} {late_ms} ms after its right",
                    it.action.name(),
                    it.stream
                ));
            }
        }
        Ok(())
    }

    /// All is over. Of each connection of which something was told, the end was.
    pub fn finish(&self) -> Result<(), String> {
        match (self.sessions.len(), self.with_sessions.difference(&self.closed).count()) {
            (0, 0) => Ok(()),
            (0, open) => Err(format!("{open} connections have closed, and are not told to have")),
            (sessions, _) => Err(format!("{sessions} sessions have not ended")),
        }
    }
}
