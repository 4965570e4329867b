//! What a session holds of what its peer has said, for the account of memory.

use super::Session;

impl Session {
    /// Bytes of what the peer has said and nobody has used: unfinished messages, what is unread, what waits for an
    /// answer.
    pub fn held_bytes(&self) -> usize {
        let aggregate = self.aggregate.as_ref().map_or(0, |parts| parts.held_bytes());
        self.link.held_bytes() + self.held.capacity() + aggregate
    }

    /// Nothing of what the peer has said is read any more: the connection is being closed.
    pub fn let_go_of_input(&mut self) {
        self.link.let_go_of_input();
        self.held = Vec::new();
        self.aggregate = None;
    }
}
