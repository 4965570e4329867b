//! What a session holds of what its peer has said, for the account of memory.

use super::{Output, Session};

impl Session {
    /// Bytes of what the peer has sent and nothing has used: unfinished messages with the receive buffers that they keep,
    /// what is unread, what waits for an answer; and what is kept of names. Not the session itself.
    pub fn held_bytes(&self) -> usize {
        let handshake = self.handshake.as_ref().map_or(0, |handshake| handshake.held_bytes());
        let connect = self.connect.as_ref().map_or(0, |connect| connect.held_bytes());
        let question = self.question.as_ref().map_or(0, |question| question.held_bytes());
        let aggregate = self.aggregate.as_ref().map_or(0, |aggregate| aggregate.held_bytes());
        let outputs = self.outputs.capacity() * size_of::<Output>();
        let parts = [
            handshake,
            connect,
            question,
            aggregate,
            outputs,
            self.held.capacity(),
            self.streams.held_bytes(),
        ];
        self.link.held_bytes() + parts.iter().sum::<usize>()
    }

    /// Nothing of what the peer has said is read any more, and no answer to it matters: the connection is being closed.
    pub fn let_go_of_input(&mut self) {
        self.link.let_go_of_input();
        self.question = None;
        self.held = Vec::new();
        self.aggregate = None;
    }
}
