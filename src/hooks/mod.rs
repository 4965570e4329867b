//! Hooks: the operator's web service, asked whether a client may connect, publish or play, and notified of what has
//! ended. One HTTP client on a thread of its own; no core ever waits for it.

#![forbid(unsafe_code)]

mod answer;
mod client;
mod counts;
mod hook;
mod identity;
mod json;
mod key_sets;
mod mediamtx;
mod nginx;
mod notices;
mod questions;
mod request;
mod service;
mod srs;
#[cfg(test)]
mod tests;

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{LocalSet, spawn_local},
};

use counts::Counts;
use notices::Notices;
use questions::{Questions, Reply, on_error};
use service::WebService;

use crate::{
    access::{KeyRing, Notice, NoticeKind, Question, Service, ServiceReport},
    beside,
    net::Handle,
};

/// The hooks after their start.
pub struct Started {
    relay: Handle,
    counts: Arc<Counts>,
}

/// What cores hand over.
enum Job {
    Ask(Box<Question>, tokio::time::Instant, Reply),
    Notify(Box<Notice>),
}

/// Takes what cores hand over, and returns at once.
struct Inbox {
    relay: Handle,
    jobs: UnboundedSender<Job>,
    counts: Arc<Counts>,
}

/// Starts the thread, which asks and notifies as the configuration in force says, and fetches keys of tokens.
///
/// # Errors
/// Why it cannot start, as one line.
pub fn start(relay: Handle, key_ring: KeyRing) -> Result<Started, String> {
    let cannot = |error| format!("cannot start the thread for hooks: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_RESOLVERS)
        .build()
        .map_err(cannot)?;
    let counts = Arc::new(Counts::default());
    let (jobs, inbox) = unbounded_channel();
    let run = {
        let (relay, counts) = (relay.clone(), counts.clone());
        move || LocalSet::new().block_on(&runtime, serve(relay, key_ring, counts, inbox))
    };
    beside::start("hooks", run).map_err(cannot)?;
    let (inbox_relay, inbox_counts) = (relay.clone(), counts.clone());
    relay.set_service(Box::new(Inbox { relay: inbox_relay, jobs, counts: inbox_counts }));
    Ok(Started { relay, counts })
}

async fn serve(relay: Handle, key_ring: KeyRing, counts: Arc<Counts>, mut jobs: UnboundedReceiver<Job>) {
    let service = Rc::new(WebService::new(relay, counts));
    let questions = Rc::new(Questions::new(service.clone()));
    let notices = Rc::new(Notices::new(service.clone()));
    drop(spawn_local(key_sets::keep_fresh(service, key_ring)));
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Ask(question, asked, reply) => questions.ask(*question, asked, reply),
            Job::Notify(notice) => notices.notify(*notice),
        }
    }
}

impl Started {
    /// Waits until the service has taken what waits for it, for as long as one answer may take. To be called when
    /// nothing can happen any more, right before the end of the process.
    pub fn finish(self) {
        let deadline = Instant::now() + self.relay.config().hooks.timeout;
        loop {
            let waiting = self.counts.notices.load(Relaxed);
            if waiting == 0 {
                return;
            }
            if Instant::now() >= deadline {
                return tracing::warn!(waiting, "notices to the web service lost at the end");
            }
            thread::sleep(FINISH_POLL);
        }
    }
}

impl Service for Inbox {
    fn ask(&self, question: Question, answer: Reply) {
        let waiting = self.counts.questions.fetch_add(1, Relaxed);
        let job = Job::Ask(Box::new(question), tokio::time::Instant::now(), answer);
        let job = match waiting < MAX_QUESTIONS {
            true => match self.jobs.send(job) {
                Ok(()) => return,
                Err(error) => error.0,
            },
            false => job,
        };
        self.counts.questions.fetch_sub(1, Relaxed);
        if let Job::Ask(question, _, answer) = job {
            answer(on_error(&self.relay.config().hooks, question.granted, "too many questions wait"));
        }
    }

    fn tell(&self, notice: Notice) {
        let waiting = self.counts.notices.fetch_add(1, Relaxed);
        let queue = self.relay.config().hooks.queue;
        // The end of a session is told once, an update will come again.
        let places = if notice.kind == NoticeKind::Update { queue.div_ceil(2) } else { queue };
        let is_sent = waiting < places && self.jobs.send(Job::Notify(Box::new(notice))).is_ok();
        if !is_sent {
            self.counts.notices.fetch_sub(1, Relaxed);
            self.counts.drop_notice("hooks.queue is full", self.relay.uptime().as_millis() as u64);
        }
    }

    fn report(&self) -> ServiceReport {
        self.counts.report()
    }
}

/// Threads that look up names, which wait for a name server that does not answer.
const MAX_RESOLVERS: usize = 4;
/// Questions without an answer: 9,000 players that join at once, and some. Each has a few KiB at most: 160 MB.
const MAX_QUESTIONS: usize = 16_384;
/// Short beside the time for an answer.
const FINISH_POLL: Duration = Duration::from_millis(5);
