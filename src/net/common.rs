//! What all cores share, and the control plane with them. Holds it; what it is for is elsewhere.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};

use super::{
    gate::{Gate, Refusal},
    handle::Outside,
    memory::Largest,
    report::Event,
    ring::RingSize,
    similar::{LineKind, Similar},
    vacated::Vacated,
};
use crate::{
    config::Config,
    rtmp::session::SessionConfig,
    stream::{NameNotice, PublisherId, Registry, Signal},
};

/// What all cores share.
pub(super) struct Common {
    /// What is in force. It is replaced as a whole: take what you need when you decide, and keep nothing.
    pub config: ArcSwap<Config>,
    /// What each core's rings are made with.
    pub ring_size: RingSize,
    pub gate: Arc<Gate>,
    /// What each session is given.
    pub session: SessionConfig,
    pub registry: Arc<Registry>,
    pub signals: Arc<[Signal]>,
    pub mailboxes: Arc<Mailboxes>,
    pub started: Instant,
    /// The next connection's number.
    pub next_id: AtomicU64,
    /// Names whose encoder may come back.
    pub vacated: Vacated,
    /// What the control plane shares with the cores.
    pub outside: Outside,
    /// What the connection that holds most holds.
    pub largest: Largest,
    /// Keeps peers from flooding the log.
    pub similar: Similar,
}

/// A rare message from one core, or from the process, to another core. Never on the data path.
pub(super) enum Mail {
    /// A publisher's name is wanted, or free.
    Name { id: PublisherId, notice: NameNotice },
    /// The process is about to end: accept no more, end players cleanly.
    Drain,
    /// Tasks wait for the core.
    Tasks,
}

/// Each core's mail.
pub(super) struct Mailboxes {
    signals: Arc<[Signal]>,
    mail: Box<[Mutex<Vec<Mail>>]>,
}

impl Mailboxes {
    pub(super) fn new(signals: Arc<[Signal]>) -> Self {
        let mail = signals.iter().map(|_| Mutex::default()).collect();
        Self { signals, mail }
    }

    pub(super) fn post(&self, core: usize, mail: Mail) {
        self.mail[core].lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        self.signals[core].post();
    }

    pub(super) fn post_to_all(&self, mail: impl Fn() -> Mail) {
        (0..self.mail.len()).for_each(|core| self.post(core, mail()));
    }

    /// A core takes its mail.
    pub(super) fn take(&self, core: usize) -> Vec<Mail> {
        if !self.signals[core].take_posted() {
            return Vec::new();
        }
        std::mem::take(&mut self.mail[core].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Common {
    /// The configuration in force, as of now.
    pub(super) fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// A number that no connection has had.
    pub(super) fn next_connection_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether memory allows for one more connection: an encoder's or a player's.
    pub(super) fn has_room_for_connection(&self, now_ms: u64) -> bool {
        self.has_room_for_request() && !self.registry.memory().is_hopeless(now_ms)
    }

    /// Whether memory allows for one more connection: a request's, which may be the operator's who looks what is wrong.
    pub(super) fn has_room_for_request(&self) -> bool {
        self.registry.memory().has_room_for_connection(self.gate.connections())
    }

    /// Whether a line of this kind about this peer is to be logged: it may be one of a flood.
    pub(super) fn may_log(&self, kind: LineKind, peer: SocketAddr, now_ms: u64) -> bool {
        self.similar.may_write(kind, peer.ip(), now_ms)
    }

    /// A connection is refused: counted, and logged at most every 10 s.
    pub(super) fn refused(&self, refusal: Refusal, id: u64, peer: SocketAddr, now_ms: u64) {
        tracing::debug!(id, %peer, limit = %refusal, "refused");
        if let Some(refused) = self.gate.refused(refusal, now_ms) {
            tracing::warn!(id, %peer, limit = %refusal, refused, "refused: a limit is reached");
            self.outside.tell(|| Event::Refused { peer, limit: refusal.to_string() });
        }
    }
}
