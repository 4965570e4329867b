//! Questions: what waits for which answer. Questions that are the same are asked once at a time, and answers are used
//! again for as long as the operator wants.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    answer::{self, Answer},
    counts::Outcome,
    hook::{Hook, Subject},
    service::WebService,
};
use crate::{
    access::{Action, Grant, Party, Question, Verdict},
    config::{Config, Hooks, OnError},
};

/// What is called with a verdict.
pub(super) type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// Questions that are open, and answers that are used again. Lives on one thread.
pub(super) struct Questions {
    service: Rc<WebService>,
    open: RefCell<HashMap<Key, Vec<Waiter>>>,
    cache: RefCell<Cache>,
}

/// What distinguishes a question from others: a digest, so that a peer's long parameters are not kept.
type Key = [u8; 32];

/// One that waits for the answer, and what the rules grant if it is yes.
struct Waiter {
    granted: Grant,
    reply: Reply,
}

/// What the service said, or what kept it from saying it.
type Decided = Result<Verdict, Failure>;

#[derive(Clone, Debug, PartialEq)]
struct Failure(String);

impl Questions {
    pub(super) fn new(service: Rc<WebService>) -> Self {
        Self { service, open: RefCell::default(), cache: RefCell::default() }
    }

    /// Asks, unless the answer is known or on its way.
    pub(super) fn ask(self: &Rc<Self>, question: Question, asked: Instant, reply: Reply) {
        let waiter = Waiter { granted: question.granted.clone(), reply };
        let config = self.service.config();
        let hook = Hook::asked(question.action).filter(|hook| !hook.addresses(&config.hooks).is_empty());
        let Some(hook) = hook else {
            // It was there when the rules decided.
            return self.reply(waiter, Verdict::undecided("no service decides"));
        };
        // A service keeps account of publishers: it hears of each of them.
        let Some(key) = self.key(&config.hooks, hook, &question) else {
            let questions = self.clone();
            drop(tokio::task::spawn_local(async move {
                let decided = questions.decide(&config.hooks, hook, &question, asked).await;
                questions.answer(&config.hooks, waiter, &decided);
            }));
            return;
        };
        let known = self.cache.borrow_mut().get(&config, &key, Instant::now());
        if let Some(decided) = known {
            self.service.counts.cached.fetch_add(1, Relaxed);
            return self.answer(&config.hooks, waiter, &decided);
        }
        if let Some(waiters) = self.open.borrow_mut().get_mut(&key) {
            self.service.counts.joined.fetch_add(1, Relaxed);
            return waiters.push(waiter);
        }
        self.open.borrow_mut().insert(key, vec![waiter]);
        let questions = self.clone();
        drop(tokio::task::spawn_local(async move {
            let decided = questions.decide(&config.hooks, hook, &question, asked).await;
            questions.cache.borrow_mut().put(&config, key, &decided, Instant::now());
            let waiters = questions.open.borrow_mut().remove(&key).unwrap_or_default();
            waiters.into_iter().for_each(|waiter| questions.answer(&config.hooks, waiter, &decided));
        }));
    }

    /// What the request says, apart from what belongs to this connection alone. With a cache also apart from where the
    /// peer comes from. None where each question is asked.
    fn key(&self, hooks: &Hooks, hook: Hook, question: &Question) -> Option<Key> {
        if question.action == Action::Publish {
            return None;
        }
        let mut alike = Question { connection: 0, ..question.clone() };
        alike.peer.set_port(0);
        if !hooks.cache.is_zero() {
            alike.peer = ([0, 0, 0, 0], 0).into();
            let (client, swf_url) = (String::new(), String::new());
            alike.party = Arc::new(Party { client, swf_url, ..(*question.party).clone() });
        }
        let subject = Subject { hook, question: &alike, notice: None, now_ms: 0 };
        let request = self.service.request(hooks, &subject);
        // Not all dialects say who the peer is, and an answer is never used for another one.
        let who = format!("{:?} {:?} {}", alike.party.user, alike.granted.user, credentials(&alike.party));
        Some(Sha256::new().chain_update(request.text).chain_update([0]).chain_update(who).finalize().into())
    }

    /// Asks each of the addresses, until one of them refuses or fails.
    async fn decide(&self, hooks: &Hooks, hook: Hook, question: &Question, asked: Instant) -> Decided {
        let Ok(_place) =
            timeout_at(asked + ANSWER_WITHIN - hooks.timeout, self.service.place_for_question(hooks, hook))
                .await
        else {
            let what = "too many requests under way: hooks.max_requests".to_owned();
            self.failed(hook, "", &what);
            return Err(Failure(what));
        };
        let deadline = Instant::now() + hooks.timeout;
        let mut granted = Grant::default();
        for address in hook.addresses(hooks) {
            let started = Instant::now();
            let answer = timeout_at(deadline, self.ask_one(hooks, hook, question, address)).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", hooks.timeout)));
            let outcome = match &answer {
                Ok(Verdict::Allow(_) | Verdict::Redirect(_)) => Outcome::Yes,
                Ok(Verdict::Deny(_)) => Outcome::No,
                Err(_) => Outcome::Failed,
            };
            self.service.counts.count(hook, outcome, started.elapsed());
            match answer {
                Ok(Verdict::Allow(grant)) => granted = granted.and(grant),
                Ok(other) => return Ok(other),
                Err(what) => {
                    self.failed(hook, address, &what);
                    return Err(Failure(what));
                }
            }
        }
        Ok(Verdict::Allow(granted))
    }

    async fn ask_one(
        &self,
        hooks: &Hooks,
        hook: Hook,
        question: &Question,
        address: &str,
    ) -> Result<Verdict, String> {
        let subject = Subject { hook, question, notice: None, now_ms: self.service.now_ms() };
        let request = self.service.request(hooks, &subject);
        let response = self.service.send(hooks, address, &request).await?;
        let mut answer =
            Answer { status: response.status, location: response.location.clone(), body: Vec::new() };
        match answer::needs_body(hooks.dialect, answer.status) {
            true => answer.body = response.body().await?,
            false => response.discard(),
        }
        answer::verdict(hooks.dialect, question, &answer)
    }

    fn failed(&self, hook: Hook, address: &str, what: &str) {
        self.service.log_failure(hook, address, what);
    }

    fn answer(&self, hooks: &Hooks, waiter: Waiter, decided: &Decided) {
        let verdict = match decided {
            Ok(Verdict::Allow(grant)) => Verdict::Allow(waiter.granted.clone().and(grant.clone())),
            Ok(other) => other.clone(),
            Err(Failure(what)) => on_error(hooks, waiter.granted.clone(), what),
        };
        self.reply(waiter, verdict);
    }

    fn reply(&self, waiter: Waiter, verdict: Verdict) {
        self.service.counts.questions.fetch_sub(1, Relaxed);
        (waiter.reply)(verdict);
    }
}

/// What becomes of a question that the service does not answer.
pub(super) fn on_error(hooks: &Hooks, granted: Grant, what: &str) -> Verdict {
    match hooks.on_error {
        OnError::Deny => Verdict::undecided(format!("the web service failed: {what}")),
        OnError::Allow => Verdict::Allow(granted),
    }
}

/// What the peer shows, as a text that differs if it does. Never shown.
fn credentials(party: &Party) -> String {
    use crate::access::Login;
    match &party.login {
        Some(Login::Password { user, password }) => format!("{user:?} {password:?}"),
        Some(Login::Token(token)) => format!("{token:?}"),
        None => String::new(),
    }
}

/// Answers that are used again.
#[derive(Default)]
struct Cache {
    /// Answers of another configuration do not count.
    config: Option<Arc<Config>>,
    answers: HashMap<Key, Cached>,
    /// In the order in which they came.
    order: VecDeque<(Key, Instant)>,
}

struct Cached {
    decided: Decided,
    since: Instant,
    until: Instant,
}

impl Cache {
    fn get(&mut self, config: &Arc<Config>, key: &Key, now: Instant) -> Option<Decided> {
        self.forget(config);
        let cached = self.answers.get(key).filter(|cached| now < cached.until)?;
        let mut decided = cached.decided.clone();
        if let Ok(Verdict::Allow(Grant { lasts_ms: Some(lasts_ms), .. })) = &mut decided {
            // From when the service said so.
            *lasts_ms =
                lasts_ms.checked_sub((now - cached.since).as_millis() as u64).filter(|left| *left > 0)?;
        }
        Some(decided)
    }

    fn put(&mut self, config: &Arc<Config>, key: Key, decided: &Decided, now: Instant) {
        self.forget(config);
        let keep = match decided {
            Ok(Verdict::Allow(_) | Verdict::Redirect(_)) => config.hooks.cache,
            Ok(Verdict::Deny(_)) | Err(_) => config.hooks.cache.min(KEEP_REFUSAL),
        };
        if keep.is_zero() {
            return;
        }
        if self.order.len() >= MAX_CACHED
            && let Some((oldest, since)) = self.order.pop_front()
            && self.answers.get(&oldest).is_some_and(|cached| cached.since == since)
        {
            self.answers.remove(&oldest);
        }
        self.answers.insert(key, Cached { decided: decided.clone(), since: now, until: now + keep });
        self.order.push_back((key, now));
    }

    /// After a reload that changed the hooks.
    fn forget(&mut self, config: &Arc<Config>) {
        let current = self.config.get_or_insert_with(|| config.clone());
        if !Arc::ptr_eq(current, config) {
            if current.hooks != config.hooks {
                self.answers.clear();
                self.order.clear();
            }
            self.config = Some(config.clone());
        }
    }
}

/// Less than the endpoint waits for a verdict, 10 s.
const ANSWER_WITHIN: Duration = Duration::from_millis(9_500);
/// A client may come back with the right key, and a service may be up again.
const KEEP_REFUSAL: Duration = Duration::from_secs(1);
/// 4,096 streams' answers, at a few hundred bytes each: a MiB or two.
const MAX_CACHED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cache_s: u64) -> Arc<Config> {
        let hooks = Hooks { cache: Duration::from_secs(cache_s), ..Hooks::default() };
        Arc::new(Config { hooks, ..Config::default() })
    }

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn after_ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn an_answer_is_used_again_for_as_long_as_configured_and_a_refusal_for_a_second() {
        let (start, config) = (Instant::now(), config(10));
        for (decided, ms) in [
            (Ok(Verdict::allow()), 10_000),
            (Ok(Verdict::Redirect("rtmp://a/b".to_owned())), 10_000),
            (Ok(Verdict::deny("no")), 1_000),
            (Err(Failure("status 500".to_owned())), 1_000),
        ] {
            let mut cache = Cache::default();
            cache.put(&config, key(1), &decided, start);
            assert_eq!(cache.get(&config, &key(1), after_ms(start, ms - 1)), Some(decided));
            assert_eq!(cache.get(&config, &key(1), after_ms(start, ms)), None);
            assert_eq!(cache.get(&config, &key(2), start), None);
        }
        let mut cache = Cache::default();
        cache.put(&self::config(0), key(1), &Ok(Verdict::allow()), start);
        assert!(cache.answers.is_empty(), "nothing is used again");
    }

    #[test]
    fn what_an_answer_grants_runs_from_when_it_came() {
        let (start, config) = (Instant::now(), config(10));
        let lasting = |lasts_ms| Ok(Verdict::Allow(Grant { lasts_ms: Some(lasts_ms), ..Grant::default() }));
        let mut cache = Cache::default();
        cache.put(&config, key(1), &lasting(2_000), start);
        assert_eq!(cache.get(&config, &key(1), after_ms(start, 500)), Some(lasting(1_500)));
        assert_eq!(cache.get(&config, &key(1), after_ms(start, 2_000)), None, "nothing is left of it");
    }

    #[test]
    fn other_hooks_have_other_answers_and_another_option_changes_nothing() {
        let (start, before) = (Instant::now(), config(10));
        let other_option = Arc::new(Config { cores: 3, ..(*before).clone() });
        let mut cache = Cache::default();
        cache.put(&before, key(1), &Ok(Verdict::allow()), start);
        assert!(cache.get(&other_option, &key(1), start).is_some());
        assert!(cache.get(&config(20), &key(1), start).is_none());
        assert!(cache.get(&before, &key(1), start).is_none(), "they are gone");
    }

    #[test]
    fn the_cache_is_bounded_and_loses_the_oldest_answer_first() {
        let (start, config) = (Instant::now(), config(10));
        let mut cache = Cache::default();
        for number in 0..MAX_CACHED + 10 {
            // One answer comes again and again.
            cache.put(&config, key(0), &Ok(Verdict::allow()), after_ms(start, number as u64));
            cache.put(&config, key(number), &Ok(Verdict::allow()), after_ms(start, number as u64));
        }
        assert!(cache.answers.len() <= MAX_CACHED && cache.order.len() <= MAX_CACHED);
        let is_known = |number, cache: &mut Cache| cache.get(&config, &key(number), start).is_some();
        assert!(is_known(0, &mut cache) && is_known(MAX_CACHED + 9, &mut cache) && !is_known(1, &mut cache));
    }

    #[test]
    fn a_failure_refuses_or_lets_in_with_what_the_rules_grant() {
        let granted = Grant { user: Some("ann".into()), ..Grant::default() };
        let hooks = |on_error| Hooks { on_error, ..Hooks::default() };
        let denied = on_error(&hooks(OnError::Deny), granted.clone(), "status 500");
        assert_eq!(denied, Verdict::undecided("the web service failed: status 500"));
        assert_eq!(on_error(&hooks(OnError::Allow), granted.clone(), "status 500"), Verdict::Allow(granted));
    }
}
