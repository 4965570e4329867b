//! Counts what connections make this core hold, and gives memory back where the budget is exceeded: logs of its
//! publishers first, then the connections that hold most.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    common::Mail,
    connection::{Connection, Reason},
    core::Core,
    dialogue::Dialogue,
};
use crate::stream::{Ledger, Memory, MemoryKind, Publication};

/// A connection with its session, its player, its place in the ring and at the gate, without what it holds besides:
/// measured, rounded up.
const CONNECTION_BYTES: usize = 4 << 10;
/// A connection that holds no more than this is never ended for it: some answers, and a command that is half here.
const SMALL_BYTES: usize = 4 << 10;
/// How often a core looks for memory to give back while the budget is exceeded.
const BETWEEN_MS: u64 = 10;

/// What a core has counted.
pub(super) struct Holdings {
    ledger: Ledger,
    connections: usize,
    buffers: usize,
    relieved_ms: u64,
}

/// What of a connection has been counted, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    input: usize,
    output: usize,
}

/// What the connection that holds most holds, by core: so that a core spares its own largest while another core has a
/// far larger one.
pub(super) struct Largest(Box<[AtomicUsize]>);

impl Largest {
    pub(super) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| AtomicUsize::new(0)).collect())
    }

    fn set(&self, core: usize, bytes: usize) {
        self.0[core].store(bytes, Ordering::Relaxed);
    }

    fn of_all(&self) -> usize {
        self.0.iter().map(|bytes| bytes.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}

impl Holdings {
    pub(super) fn new(memory: &Memory) -> Self {
        Self { ledger: memory.ledger(), connections: 0, buffers: 0, relieved_ms: 0 }
    }

    fn memory(&self) -> &Memory {
        self.ledger.memory()
    }
}

impl Core {
    /// Counts anew what a connection holds: after each read, and whenever it has been given answers.
    pub(super) fn recount(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let (input, output) = (connection.dialogue.held_bytes(), connection.output_bytes());
        let counted = &mut connection.counted;
        self.holdings.ledger.change(MemoryKind::Input, &mut counted.input, input);
        self.holdings.ledger.change(MemoryKind::Output, &mut counted.output, output);
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, mut counted: Counted) {
        self.holdings.ledger.change(MemoryKind::Input, &mut counted.input, 0);
        self.holdings.ledger.change(MemoryKind::Output, &mut counted.output, 0);
        self.count_connections();
    }

    /// Counts the connections themselves.
    pub(super) fn count_connections(&mut self) {
        let bytes = self.connections.len() * CONNECTION_BYTES;
        self.holdings.ledger.change(MemoryKind::Connections, &mut self.holdings.connections, bytes);
    }

    /// What a tick does for the account.
    pub(super) fn post_memory(&mut self) {
        let now_ms = self.now_ms;
        self.holdings.ledger.post();
        let memory = self.common.registry.memory();
        if memory.excess() == 0 {
            memory.observe(now_ms);
            self.common.largest.set(self.number, 0);
        } else {
            self.common.registry.relieve(now_ms);
        }
        if let Some(relief) = memory.relief_to_report(now_ms) {
            tracing::warn!(
                budget = memory.budget(),
                counted = memory.bytes(),
                given_up_bytes = relief.given_up_bytes,
                ended = relief.ended,
                "limits.memory_budget was reached: what logs gave up and connections that were ended, since the start"
            );
        }
    }

    /// Gives memory back, if the budget is exceeded. Costs a look at a few counts, if not.
    pub(super) fn keep_within_memory(&mut self) {
        let buffers = self.buffer_bytes();
        self.holdings.ledger.change(MemoryKind::Input, &mut self.holdings.buffers, buffers);
        if self.holdings.memory().excess() > 0 {
            // A turn may last: much can come within one.
            let now_ms = self.clock_us() / 1_000;
            if now_ms.saturating_sub(self.holdings.relieved_ms) >= BETWEEN_MS {
                self.relieve(now_ms);
            }
        }
    }

    fn relieve(&mut self, now_ms: u64) {
        self.holdings.relieved_ms = now_ms;
        if self.holdings.memory().observe(now_ms) {
            // Each core is to look at its own.
            self.common.mailboxes.post_to_all(|| Mail::Tasks);
        }
        for (_, connection) in &mut self.connections {
            connection.publications().for_each(|publication| publication.relieve(now_ms));
        }
        let mut hoarders: Vec<(usize, usize)> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.step().is_none())
            .map(|(key, connection)| (self.beyond_its_share(connection), key))
            .filter(|&(bytes, _)| bytes > SMALL_BYTES)
            .collect();
        hoarders.sort_unstable_by(|a, b| b.cmp(a));
        self.common.largest.set(self.number, hoarders.first().map_or(0, |&(bytes, _)| bytes));
        if self.holdings.memory().must_end_connections(now_ms) {
            self.end_the_largest(&hoarders, now_ms);
        }
    }

    /// Ends connections, those that hold most first, until what they held makes up for the excess.
    fn end_the_largest(&mut self, hoarders: &[(usize, usize)], now_ms: u64) {
        let mut missing = self.holdings.memory().excess();
        let mut ended = 0;
        for &(bytes, key) in hoarders {
            if missing == 0 || bytes < self.common.largest.of_all() / 2 {
                break;
            }
            missing = missing.saturating_sub(bytes);
            ended += 1;
            self.common.largest.set(self.number, bytes);
            // One that does not read would keep what it is still to be sent.
            let connection = &self.connections[key];
            if connection.is_publishing() && self.pinned_bytes(connection) == 0 {
                let description = "This server is out of memory, and this connection holds most of it.";
                self.connections[key].refuse_all("NetStream.Publish.Denied", description);
                self.finish_after_session(key, Reason::OutOfMemory { bytes });
            } else {
                self.end(key, Reason::OutOfMemory { bytes });
            }
            self.reap(key);
        }
        if ended > 0 {
            self.holdings.memory().note_ended(ended, now_ms);
        }
    }

    /// What this connection holds for itself alone: for a publisher, what is beyond its shares.
    fn beyond_its_share(&self, connection: &Connection) -> usize {
        let own = connection.counted.input + connection.counted.output + self.pinned_bytes(connection);
        let publications = connection.publishing.iter().filter_map(|it| it.publication.as_ref());
        let streams: usize = publications.clone().map(Publication::own_bytes).sum();
        (own + streams).saturating_sub(self.holdings.memory().publisher_share() * publications.count())
    }

    /// What of its stream is kept because this player has not read it.
    fn pinned_bytes(&self, connection: &Connection) -> usize {
        connection.playing.as_ref().map_or(0, |playing| self.hub.pinned_bytes(playing.key))
    }
}

impl Connection {
    /// Bytes that wait for this peer alone to read them.
    fn output_bytes(&self) -> usize {
        self.outbox.capacity() + self.own_bytes
    }
}

impl Dialogue {
    /// Bytes of what the peer has said and the relay has not used.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Rtmp(session) => session.held_bytes(),
            Self::HttpFlv(_) => 0,
            Self::WebSocket(socket) => socket.held_bytes(),
        }
    }
}
