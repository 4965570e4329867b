//! Gives memory back where the budget is exceeded: logs of this core's publishers first, then the connections that hold
//! most.

use super::{
    connection::Connection,
    core::Endpoint,
    io::Io,
    reason::{Reason, ReasonKind},
};
use crate::stream::Publication;

/// A connection that holds no more than this is never ended for it: some answers, and a command that is half here.
const SMALL_BYTES: usize = 4 << 10;
/// How often a core looks for memory to give back while the budget is exceeded.
const RELIEVE_EVERY_MS: u64 = 10;

impl<I: Io> Endpoint<I> {
    /// Counts again what a connection holds: after each read, and whenever it has been given answers.
    pub(super) fn recount(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let (input, output) = (connection.input_bytes(), connection.output_bytes());
        self.account.set(&mut connection.counted, input, output);
    }

    /// What a tick does for the account.
    pub(super) fn post_memory(&mut self) {
        let now_ms = self.now.ms;
        self.account.post();
        let registry = self.shared.registry();
        let memory = registry.memory();
        if memory.excess() == 0 {
            memory.observe(now_ms);
            self.shared.largest.set(self.core, 0);
        } else {
            registry.relieve(now_ms);
        }
        if let Some(relief) = memory.relief_to_report(now_ms) {
            tracing::warn!(
                budget = memory.budget(),
                counted = memory.bytes(),
                given_up_bytes = relief.given_up_bytes,
                ended = relief.ended,
                "limits.memory_budget reached: bytes that logs gave up and connections ended since the start"
            );
        }
    }

    /// Gives memory back, if the budget is exceeded; costs a few loads, if not. To be called after each input, with the
    /// bytes of all receive buffers.
    pub fn keep_within_memory(&mut self, buffer_bytes: usize) {
        self.account.set_buffers(buffer_bytes);
        if self.account.memory().excess() > 0 {
            // A turn may last: much can come within one.
            let now_ms = self.io.now_us() / 1_000;
            if now_ms.saturating_sub(self.account.relieved_ms) >= RELIEVE_EVERY_MS {
                self.relieve(now_ms);
            }
        }
    }

    fn relieve(&mut self, now_ms: u64) {
        self.account.relieved_ms = now_ms;
        if self.account.memory().observe(now_ms) {
            // Each core is to look at its own.
            self.shared.signals().iter().for_each(|signal| signal.post());
        }
        for (_, connection) in &mut self.connections {
            connection.publications().for_each(|publication| publication.relieve(now_ms));
        }
        let mut hoarders: Vec<(usize, usize)> = self
            .connections
            .iter()
            .filter(|(_, connection)| !connection.is_closing())
            .map(|(key, connection)| (self.beyond_its_share(connection), key))
            .filter(|&(bytes, _)| bytes > SMALL_BYTES)
            .collect();
        hoarders.sort_unstable_by(|a, b| b.cmp(a));
        self.shared.largest.set(self.core, hoarders.first().map_or(0, |&(bytes, _)| bytes));
        if self.account.memory().must_end_connections(now_ms) {
            self.end_the_largest(&hoarders, now_ms);
        }
    }

    /// Ends connections, those that hold most first, until what they held makes up for the excess.
    fn end_the_largest(&mut self, hoarders: &[(usize, usize)], now_ms: u64) {
        let mut missing = self.account.memory().excess();
        let mut ended = 0;
        for &(bytes, key) in hoarders {
            if missing == 0 || bytes < self.shared.largest.of_all() / 2 {
                break;
            }
            missing = missing.saturating_sub(bytes);
            ended += 1;
            self.shared.largest.set(self.core, bytes);
            let text = format!("limits.memory_budget exceeded, and it held {bytes} bytes beyond its share");
            let reason = Reason::with(ReasonKind::MemoryBudget, text);
            // One that does not read would keep what it is still to be sent.
            let connection = &self.connections[key];
            if connection.is_publishing() && self.pinned_bytes(connection) == 0 {
                let description = "This server is out of memory, and this connection holds most of it.";
                self.connections[key].refuse_all("NetStream.Publish.Denied", description);
                self.finish_after_session(key, reason);
            } else {
                self.end(key, reason);
            }
            self.reap(key);
        }
        if ended > 0 {
            self.account.memory().note_ended(ended, now_ms);
        }
    }

    /// What this connection holds for itself alone: for a publisher, what is beyond its shares.
    fn beyond_its_share(&self, connection: &Connection<I::Socket>) -> usize {
        let own = connection.counted.input + connection.counted.output + self.pinned_bytes(connection);
        let publications = connection.publishing.iter().filter_map(|it| it.publication());
        let streams: usize = publications.clone().map(Publication::own_bytes).sum();
        (own + streams).saturating_sub(self.account.memory().publisher_share() * publications.count())
    }

    /// What of its stream is kept because this player has not read it.
    fn pinned_bytes(&self, connection: &Connection<I::Socket>) -> usize {
        connection.playing.as_ref().map_or(0, |playing| self.hub.pinned_bytes(playing.key))
    }
}
