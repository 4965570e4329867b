//! How much memory a session uses for the data of its peer.

use super::{core::Session, output::Output};

impl Session {
    /// Memory on the heap, bytes: unfinished messages with the receive buffers that they keep alive, unread bytes, names,
    /// and bytes to send. Without the session itself.
    pub fn memory_bytes(&self) -> usize {
        let handshake = self.handshake.as_ref().map_or(0, |handshake| handshake.memory_bytes());
        let connect = self.connect.as_ref().map_or(0, |connect| connect.memory_bytes());
        let question = self.question.as_ref().map_or(0, |question| question.memory_bytes());
        let aggregate = self.aggregate.as_ref().map_or(0, |aggregate| aggregate.memory_bytes());
        let outputs = self.outputs.capacity() * size_of::<Output>();
        let parts = [
            handshake,
            connect,
            question,
            aggregate,
            outputs,
            self.pending.capacity(),
            self.streams.memory_bytes(),
        ];
        self.link.memory_bytes() + parts.iter().sum::<usize>()
    }

    /// Frees all input that has not been read, and closes the open question: the connection is being closed.
    pub fn discard_input(&mut self) {
        self.link.discard_input();
        self.question = None;
        self.pending = Vec::new();
        self.aggregate = None;
    }
}
