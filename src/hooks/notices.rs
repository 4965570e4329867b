//! Notifications: those of a connection one after the other, sent again until the service has taken them.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque, hash_map::Entry},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    task::spawn_local,
    time::{Instant, sleep, timeout},
};

use super::{
    answer::{self, Answer},
    counts::Outcome,
    hook::{Hook, Subject},
    service::WebService,
};
use crate::{
    access::{Action, Notice, NoticeKind},
    config::{Dialect, Hooks},
    endpoint::report::ConnectionRole,
};

/// Notices that wait. Lives on one thread.
pub(super) struct Notices {
    service: Rc<WebService>,
    /// Of each connection, in order. The first one is under way.
    lanes: RefCell<HashMap<u64, VecDeque<Rc<Notice>>>>,
}

/// What became of an attempt.
enum Attempt {
    Taken,
    /// Taken, and the service wants the session to end.
    Ends,
    Failed(String),
}

impl Notices {
    pub(super) fn new(service: Rc<WebService>) -> Self {
        Self { service, lanes: RefCell::default() }
    }

    /// Queues a notice.
    pub(super) fn notify(self: &Rc<Self>, notice: Notice) {
        let connection = notice.question.connection;
        let notice = Rc::new(notice);
        match self.lanes.borrow_mut().entry(connection) {
            Entry::Occupied(mut lane) => {
                let waiting = lane.get_mut();
                let is_replaced = |last: &Rc<Notice>| {
                    last.kind == NoticeKind::Update
                        && notice.kind == NoticeKind::Update
                        && last.name == notice.name
                };
                // The newest state is enough. The first one is under way.
                if waiting.len() > 1 && waiting.back().is_some_and(is_replaced) {
                    waiting.pop_back();
                    self.service.counts.notices.fetch_sub(1, Relaxed);
                }
                waiting.push_back(notice);
            }
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::from([notice]));
                let notices = self.clone();
                drop(spawn_local(async move { notices.run(connection).await }));
            }
        }
    }

    /// Delivers what waits for a connection, until nothing does.
    async fn run(self: Rc<Self>, connection: u64) {
        loop {
            let next = self.lanes.borrow().get(&connection).and_then(|lane| lane.front().cloned());
            let Some(notice) = next else { break };
            self.deliver(notice).await;
            self.service.counts.notices.fetch_sub(1, Relaxed);
            if let Some(lane) = self.lanes.borrow_mut().get_mut(&connection) {
                lane.pop_front();
            }
        }
        self.lanes.borrow_mut().remove(&connection);
    }

    /// To each address on its own, so that one that is down does not delay the others.
    async fn deliver(self: &Rc<Self>, notice: Rc<Notice>) {
        let hook = Hook::notified(notice.kind);
        let config = self.service.config();
        let deliveries: Vec<_> = (hook.addresses(&config.hooks).iter().cloned())
            .map(|address| {
                let (notices, notice) = (self.clone(), notice.clone());
                spawn_local(async move { notices.deliver_to(hook, &address, &notice).await })
            })
            .collect();
        for delivery in deliveries {
            // Its error would be a panic, which ends the process.
            let _ = delivery.await;
        }
    }

    async fn deliver_to(&self, hook: Hook, address: &str, notice: &Notice) {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            // A reload may have changed all of it.
            let config = self.service.config();
            let started = Instant::now();
            let attempt = self.attempt(&config.hooks, hook, address, notice).await;
            let outcome = match &attempt {
                Attempt::Taken => Outcome::Yes,
                Attempt::Ends => Outcome::No,
                Attempt::Failed(_) => Outcome::Failed,
            };
            self.service.counts.count(hook, outcome, started.elapsed());
            match attempt {
                Attempt::Taken => return,
                Attempt::Ends => return self.end(notice).await,
                Attempt::Failed(error) => self.service.log_failure(hook, address, &error),
            }
            // There will be another update.
            if hook == Hook::Update {
                return;
            }
            if tries >= config.hooks.retries || !hook.addresses(&config.hooks).iter().any(|it| it == address)
            {
                return self
                    .service
                    .counts
                    .drop_notice("the service did not take them", self.service.now_ms());
            }
            tries += 1;
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn attempt(&self, hooks: &Hooks, hook: Hook, address: &str, notice: &Notice) -> Attempt {
        let _place = self.service.place_for_notification(hooks).await;
        let sent = timeout(hooks.timeout, self.send(hooks, hook, address, notice)).await;
        match sent.unwrap_or_else(|_| Err(format!("no answer within {:?}", hooks.timeout))) {
            Ok(attempt) => attempt,
            Err(error) => Attempt::Failed(error),
        }
    }

    async fn send(
        &self,
        hooks: &Hooks,
        hook: Hook,
        address: &str,
        notice: &Notice,
    ) -> Result<Attempt, String> {
        let question = &notice.question;
        let subject = Subject { hook, question, notice: Some(notice), now_ms: self.service.now_ms() };
        let request = self.service.request(hooks, &subject);
        let response = self.service.send(hooks, address, &request).await?;
        let mut answer =
            Answer { status: response.status, location: response.location.clone(), body: Vec::new() };
        let is_update = hook == Hook::Update;
        let is_answer = is_update && hooks.dialect == Dialect::NginxRtmp;
        if !is_answer && !answer::is_taken(hooks.dialect, answer.status) {
            let status = answer.status;
            response.discard();
            return Err(format!("status {status}"));
        }
        match is_update && answer::needs_body(hooks.dialect, answer.status) {
            true => answer.body = response.body().await?,
            false => response.discard(),
        }
        let is_over = is_update && !answer::goes_on(hooks.dialect, &answer);
        Ok(if is_over { Attempt::Ends } else { Attempt::Taken })
    }

    /// The service wants a session to end.
    async fn end(&self, notice: &Notice) {
        let role = match notice.question.action {
            Action::Publish => ConnectionRole::Publisher,
            _ => ConnectionRole::Player,
        };
        let (id, stream) = (notice.question.connection, notice.name.as_str());
        self.service.log_end(id, stream);
        if self.service.relay.end(id, role, Some(Arc::from(stream))).await.is_err() {
            tracing::warn!(id, stream, "session not ended: its core does not answer");
        }
    }
}

/// Before the first retry.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Before each later one at most.
const MAX_PAUSE: Duration = Duration::from_secs(60);
