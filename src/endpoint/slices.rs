//! How a core's time is shared among peers that send: what came on one connection is worked off for a slice of a turn,
//! and what is left then waits in the backlog, where connections take turns. Meanwhile it is not read any further: its
//! peer's sends wait, and no other peer's.

use super::{backlog::RATE_WINDOW_MS, core::Endpoint, io::Io};

/// What a connection may send whose input is never worked off, messages per second: as many as encoders do. Of more, each
/// so small that a read of them takes many slices, what piles up in the kernel would be worked off for long after it left.
const BEHIND_PER_SECOND: u64 = 2_000;

impl<I: Io> Endpoint<I> {
    /// What came on this connection is to be worked off: now, or in its turn.
    pub(super) fn work_off(&mut self, key: usize) {
        if self.connections[key].input.is_heavy {
            self.fall_behind(key);
        } else {
            self.poll_session(key);
        }
    }

    /// A slice is over before the work was.
    pub(super) fn use_up_slice(&mut self, key: usize) {
        let input = &mut self.connections[key].input;
        input.slices = input.slices.saturating_add(1);
        input.behind_since_ms.get_or_insert(self.now.ms);
        self.fall_behind(key);
    }

    fn fall_behind(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !std::mem::replace(&mut connection.input.is_behind, true) {
            self.backlog.push(key, connection.id);
        }
    }

    /// How many wait in the backlog.
    pub fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// Gives the connection of the backlog that has waited longest a slice of time. False where the backlog is empty.
    pub fn work_off_backlog(&mut self) -> bool {
        while let Some((key, id)) = self.backlog.pop() {
            // It may have ended since, and another one have its place.
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.id == id) else { continue };
            connection.input.is_behind = false;
            // It is the relay that is late with what the peer has sent; a ping may take more than a slice as well.
            if connection.session.has_unread_input() {
                connection.heard_ms = self.now.patient_ms;
                connection.publications().for_each(|publication| publication.heard(self.now.ms));
            }
            if !connection.is_closing() {
                self.poll_session(key);
            }
            self.receive(key);
            self.reap(key);
            return true;
        }
        false
    }

    /// Counts the messages of a connection. Where they are more than a peer may send, returns how many per second: a
    /// publisher by the limit, and any connection that the relay cannot keep up with, if it sends more than encoders do.
    pub(super) fn excessive_messages(&mut self, key: usize) -> Option<u64> {
        let limit = self.shared.config().limits.messages_per_second as u64;
        let connection = &mut self.connections[key];
        let (is_publishing, messages) = (connection.is_publishing(), connection.session.messages());
        let input = &mut connection.input;
        let window_ms = self.now.ms.saturating_sub(input.counted_since_ms);
        let came = messages.saturating_sub(input.counted_before);
        let per_second = came * 1_000 / window_ms.max(1_000);
        if window_ms >= RATE_WINDOW_MS {
            let is_always_behind = input.behind_since_ms.is_some_and(|since| since <= input.counted_since_ms);
            (input.counted_since_ms, input.counted_before) = (self.now.ms, messages);
            return Some(per_second).filter(|&per_second| is_always_behind && per_second > BEHIND_PER_SECOND);
        }
        if limit == 0 || !is_publishing || came <= limit * RATE_WINDOW_MS / 1_000 {
            return None;
        }
        // What piled up while the core stood still comes at once.
        let since_ms = input.counted_since_ms.saturating_sub(RATE_WINDOW_MS);
        let standstill_ms = self.shared.signals()[self.core].patience().stalled_ms_since(since_ms);
        let is_excess = came > limit * (RATE_WINDOW_MS + standstill_ms) / 1_000;
        is_excess.then_some(per_second)
    }
}
