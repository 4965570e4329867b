//! The service that is asked where the rules leave a question open, and told what has happened. It runs on threads of
//! its own.

use std::sync::{Arc, OnceLock};

use super::{Question, Verdict};

/// Decides questions and takes notices. Called on a core's thread: each call returns in no time.
pub trait Service: Send + Sync {
    /// Asks. `answer` is called once, from any thread, late, or never where the service ends.
    fn ask(&self, question: Question, answer: Box<dyn FnOnce(Verdict) + Send>);

    /// Something has happened, in this order for each connection.
    fn tell(&self, notice: Notice);

    /// What it has counted since the start.
    fn report(&self) -> ServiceReport {
        ServiceReport::default()
    }
}

/// What a service has counted since the start, and what waits for it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReport {
    /// Requests, by hook.
    pub hooks: Vec<HookReport>,
    /// Questions that waited for the answer to another one that was the same.
    pub joined: u64,
    /// Questions that were answered by an earlier answer.
    pub cached: u64,
    /// Questions that have no answer yet.
    pub questions: u64,
    /// Notices that wait.
    pub notices: u64,
    /// Notices that were dropped.
    pub dropped: u64,
}

/// Requests of one hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookReport {
    /// As the configuration calls it.
    pub hook: &'static str,
    /// Requests that the service agreed to, or took.
    pub yes: u64,
    /// Requests that it refused.
    pub no: u64,
    /// Requests without an answer in its terms.
    pub failed: u64,
    /// How long all of them took, microseconds.
    pub time_us: u64,
}

/// Something that has happened to a session that had been allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What.
    pub kind: NoticeKind,
    /// The question that let it in. Its `action` is what has ended or goes on.
    pub question: Arc<Question>,
    /// `app/name`, as it was in the end; the application of a connection.
    pub name: String,
    /// Bytes that were sent to the peer, of this stream or by the connection.
    pub sent_bytes: u64,
    /// Bytes that came from the peer.
    pub received_bytes: u64,
    /// How long it has lasted, milliseconds.
    pub duration_ms: u64,
    /// Time of the newest frame, milliseconds, as the publisher counts it; 0 before one came.
    pub timestamp_ms: u32,
    /// Why it ended, as a label of the metrics; empty where it goes on.
    pub reason: &'static str,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A publisher has ended: its name is free.
    Unpublished,
    /// A player has ended.
    Stopped,
    /// A connection is closed.
    Closed,
    /// A publisher or a player goes on: sent every `hooks.update_interval`.
    Update,
}

/// Holds the service, from the time it has started.
#[derive(Default)]
pub struct Wiring(OnceLock<Box<dyn Service>>);

impl Wiring {
    /// The service has started. Only the first one counts.
    pub fn connect(&self, service: Box<dyn Service>) {
        _ = self.0.set(service);
    }

    /// Asks it. Without one, the answer is that nobody decides.
    pub fn ask(&self, question: Question, answer: Box<dyn FnOnce(Verdict) + Send>) {
        match self.0.get() {
            Some(service) => service.ask(question, answer),
            None => answer(Verdict::undecided("no service decides")),
        }
    }

    /// What it has counted.
    pub fn report(&self) -> ServiceReport {
        self.0.get().map(|service| service.report()).unwrap_or_default()
    }

    /// Tells it.
    pub fn tell(&self, notice: Notice) {
        if let Some(service) = self.0.get() {
            service.tell(notice);
        }
    }
}
