//! Which peer may do what: some questions are decided at once, others by a service that answers late, twice, or never.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use fanfare::{
    access::{Access, Action, Decision, Grant, Question, Verdict},
    endpoint::Asked,
};

use super::{random::Random, rights::Grants};

/// What was decided at once, by question.
pub type Decided = Arc<Mutex<Vec<(Question, Verdict)>>>;

pub struct Rules {
    pub asks: bool,
    /// The next seed.
    pub seed: AtomicU64,
    pub decided: Decided,
    /// How long what is allowed lasts.
    pub grants: Mutex<Grants>,
}

impl Access for Rules {
    fn decide(&self, question: &Question) -> Decision {
        let mut grants = self.grants.lock().unwrap();
        let verdict = if self.asks {
            let mut random = Random::new(self.seed.fetch_add(1, Relaxed));
            if random.percent(60) {
                let lasts_ms = grants.lasts_ms(question.action);
                return Decision::Ask(Grant { lasts_ms, ..Grant::default() });
            }
            verdict(&mut random, question.action)
        } else if grants.are_chosen() {
            Verdict::allow()
        } else {
            return Decision::Verdict(Verdict::allow());
        };
        let verdict = grants.limit(question.action, verdict);
        self.decided.lock().unwrap().push((question.clone(), verdict.clone()));
        Decision::Verdict(verdict)
    }
}

pub fn verdict(random: &mut Random, action: Action) -> Verdict {
    match random.below(100) {
        0..8 => Verdict::deny("no, says the rule"),
        8..14 => Verdict::Redirect("rtmp://elsewhere/live/x".to_owned()),
        14..30 if action != Action::Connect => {
            Verdict::allow_as(random.pick(&["live/a", "live/b", "other/c", ""]).to_owned())
        }
        _ => Verdict::allow(),
    }
}

/// Questions that wait for the service.
pub struct Judge {
    pub due: Vec<Answer>,
    grants: Grants,
}

pub struct Answer {
    pub at_us: u64,
    /// When the question came.
    pub asked_us: u64,
    pub asked: Asked,
    pub question: Question,
    pub verdict: Verdict,
    /// An answer to this question has been given before.
    pub is_second: bool,
}

impl Judge {
    pub fn new(grants: Grants) -> Self {
        Self { due: Vec::new(), grants }
    }

    pub fn think(&mut self, random: &mut Random, asked: Asked, question: Question, now_us: u64) {
        if random.percent(10) {
            return;
        }
        let at_us = now_us + random.pick(&[0, 10, 200, 2_000, 9_000, 12_000]) * 1_000;
        let mut answer = |at_us, is_second| {
            let verdict = self.grants.limit(question.action, verdict(random, question.action));
            let question = question.clone();
            self.due.push(Answer { at_us, asked_us: now_us, asked, question, verdict, is_second });
        };
        answer(at_us, false);
        // Two services were asked, or the network has doubled it.
        answer(at_us + 300_000, true);
        answer(at_us + 5_000_000, true);
    }

    pub fn due_us(&self) -> Option<u64> {
        self.due.iter().map(|answer| answer.at_us).min()
    }

    /// The next answer that is due, if one is.
    pub fn answer(&mut self, now_us: u64) -> Option<Answer> {
        let at = self.due.iter().position(|answer| answer.at_us <= now_us)?;
        Some(self.due.remove(at))
    }
}

/// The number that a question has in its address.
pub fn tag(question: &Question, key: &str) -> Option<usize> {
    let mut parameters = question.query.split('&');
    parameters.find_map(|parameter| parameter.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}
