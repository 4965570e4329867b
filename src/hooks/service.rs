//! The operator's web service as requests see it: one client, at most so many requests at a time, failures in the log.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    client::{Client, Response},
    counts::Counts,
    hook::{Hook, Subject},
    identity::Identity,
    request::Request,
};
use crate::{
    config::{Config, Hooks},
    net::Handle,
};

/// The web service. Lives on one thread.
pub(super) struct WebService {
    pub relay: Handle,
    pub counts: Arc<Counts>,
    identity: Identity,
    client: RefCell<Option<Rc<Client>>>,
    requests: Gate,
    /// Notifications: they never take the places of all questions.
    notifications: Gate,
    /// What may come in floods, notifications and questions about players: it never takes the places of all publishers.
    floods: Gate,
    failures: Sparse,
    ends: Sparse,
}

/// A place among the requests. Others wait for it.
pub(super) struct Place(#[expect(dead_code, reason = "held")] Vec<OwnedSemaphorePermit>);

impl WebService {
    pub(super) fn new(relay: Handle, counts: Arc<Counts>) -> Self {
        Self {
            relay,
            counts,
            identity: Identity::new(),
            client: RefCell::default(),
            requests: Gate::default(),
            notifications: Gate::default(),
            floods: Gate::default(),
            failures: Sparse::default(),
            ends: Sparse::default(),
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.relay.config()
    }

    /// A place for a question.
    pub(super) async fn place_for_question(&self, hooks: &Hooks, hook: Hook) -> Place {
        let mut places = Vec::new();
        if hook == Hook::Play {
            places.push(self.place_in_floods(hooks).await);
        }
        places.push(self.requests.enter(hooks.max_requests).await);
        Place(places)
    }

    /// A place for a notification.
    pub(super) async fn place_for_notification(&self, hooks: &Hooks) -> Place {
        let place = self.notifications.enter((hooks.max_requests / 2).max(1)).await;
        let in_floods = self.place_in_floods(hooks).await;
        Place(vec![place, in_floods, self.requests.enter(hooks.max_requests).await])
    }

    async fn place_in_floods(&self, hooks: &Hooks) -> OwnedSemaphorePermit {
        self.floods.enter(hooks.max_requests - hooks.max_requests / 4).await
    }

    /// What a request about this contains.
    pub(super) fn request(&self, hooks: &Hooks, subject: &Subject<'_>) -> Request {
        Request::new(hooks, &self.identity, subject)
    }

    /// Milliseconds since the relay started.
    pub(super) fn now_ms(&self) -> u64 {
        self.relay.uptime().as_millis() as u64
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn send(
        &self,
        hooks: &Hooks,
        address: &str,
        request: &Request,
    ) -> Result<Response, String> {
        let secret = hooks.secret.values().first().map(String::as_str);
        self.client(hooks)?.send(address, request, secret).await
    }

    /// The client for this configuration. The first one reads the certificates of the system.
    ///
    /// # Errors
    /// `hooks.ca_file` cannot be used.
    pub(super) fn client(&self, hooks: &Hooks) -> Result<Rc<Client>, String> {
        let mut client = self.client.borrow_mut();
        if let Some(client) = client.as_ref().filter(|client| client.trusts(&hooks.ca_file)) {
            return Ok(client.clone());
        }
        let new = Rc::new(Client::new(&hooks.ca_file)?);
        *client = Some(new.clone());
        Ok(new)
    }

    /// A request failed: logged at most every 10 s.
    pub(super) fn log_failure(&self, hook: Hook, address: &str, error: &str) {
        if let Some(failed) = self.failures.count() {
            // Its query may contain a secret.
            let address = address.split('?').next().unwrap_or_default();
            tracing::warn!(hook = hook.name(), address, error, failed, "hook failed");
        }
    }

    /// The service ended a session: logged at most every 10 s. The connection's own lines come as well.
    pub(super) fn log_end(&self, id: u64, stream: &str) {
        if let Some(ended) = self.ends.count() {
            tracing::info!(id, stream, ended, "session ended by the web service");
        }
    }
}

/// Counts what is logged at most every 10 s.
#[derive(Default)]
struct Sparse(Cell<(u64, Option<Instant>)>);

impl Sparse {
    /// How often it has happened since the last line, if it is time for one.
    fn count(&self) -> Option<u64> {
        let (before, logged) = self.0.get();
        let is_due = logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        self.0.set(if is_due { (0, Some(Instant::now())) } else { (before + 1, logged) });
        is_due.then_some(before + 1)
    }
}

/// Lets so many in at a time, in the order in which they come.
#[derive(Default)]
struct Gate(RefCell<Option<(usize, Arc<Semaphore>)>>);

impl Gate {
    async fn enter(&self, places: usize) -> OwnedSemaphorePermit {
        let semaphore = {
            let mut current = self.0.borrow_mut();
            match &*current {
                // Those that came before a reload finish in their own time.
                Some((size, semaphore)) if *size == places => semaphore.clone(),
                _ => {
                    let semaphore = Arc::new(Semaphore::new(places));
                    *current = Some((places, semaphore.clone()));
                    semaphore
                }
            }
        };
        semaphore.acquire_owned().await.expect("it is never closed")
    }
}

const LOG_INTERVAL: Duration = Duration::from_secs(10);
