//! How a connection ends: what its peer is told first, how long that may take, and what is left of it in the log.

use std::net::Shutdown;

use super::{
    connection::{Closing, Connection, Reason, Step},
    core::Core,
    dialogue::Violation,
    similar::LineKind,
};

impl Core {
    /// Says its last and closes: after what is half sent, and what the session has to say.
    pub(super) fn finish(&mut self, key: usize, reason: Reason) {
        let connection = &mut self.connections[key];
        if connection.closing.is_none() {
            connection.closing = Some(Closing { reason, since_ms: self.patient_ms, step: Step::Flushing });
            self.release(key);
        }
        self.flush(key);
    }

    /// Ends at once. Bytes that are not sent are lost.
    pub(super) fn end(&mut self, key: usize, reason: Reason) {
        let since_ms = self.patient_ms;
        let connection = &mut self.connections[key];
        connection.closing.get_or_insert(Closing { reason, since_ms, step: Step::Shut }).step = Step::Shut;
        connection.shut(Shutdown::Both);
        self.release(key);
        self.leave_stream(key);
    }

    pub(super) fn linger(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.has_finished {
            return self.end(key, Reason::PeerClosed);
        }
        connection.shut(Shutdown::Write);
        if let Some(closing) = &mut connection.closing {
            closing.step = Step::Lingering;
            closing.since_ms = self.patient_ms;
        }
        self.leave_stream(key);
        self.receive(key);
    }

    /// Lets go of a connection that is over.
    pub(super) fn reap(&mut self, key: usize) {
        if self.connections.get(key).is_some_and(Connection::is_over) {
            let connection = self.connections.remove(key);
            self.forget(connection.counted);
            let duration_ms = self.now_ms.saturating_sub(connection.opened_ms);
            let reason = connection.closing.map(|closing| closing.reason);
            if let Some(reason) = &reason {
                self.tally.ends[reason.end_index()] += 1;
            }
            let violation = matches!(reason, Some(Reason::Violation(_)));
            let reason = reason.map(|reason| reason.to_string()).unwrap_or_default();
            let Connection { id, peer, bytes_in, bytes_out, .. } = connection;
            if violation {
                if self.common.may_log(LineKind::Violation, peer, self.now_ms) {
                    tracing::warn!(id, %peer, reason, bytes_in, bytes_out, duration_ms, "closed: protocol violation");
                }
            } else if self.common.may_log(LineKind::Closed, peer, self.now_ms) {
                tracing::info!(id, %peer, reason, bytes_in, bytes_out, duration_ms, "closed");
            }
        }
    }

    /// Closes for this reason, which the peer is told first.
    pub(super) fn dismiss(&mut self, key: usize, code: &str, description: &str, reason: Reason) {
        self.connections[key].dialogue.close(code, description);
        self.finish_after_session(key, reason);
    }

    /// Ends a peer that broke the protocol. One that does speak it is told how: an encoder's operator may read it.
    pub(super) fn expel(&mut self, key: usize, violation: Violation) {
        let connection = &mut self.connections[key];
        if connection.closing.is_none() && connection.dialogue.reject(&violation) {
            self.finish_after_session(key, Reason::Violation(violation));
        } else {
            self.end(key, Reason::Violation(violation));
        }
    }

    /// Closes for this reason, once what the session has just said is sent.
    pub(super) fn finish_after_session(&mut self, key: usize, reason: Reason) {
        self.collect_out(key);
        self.finish(key, reason);
    }

    /// Takes over what the session has said, to be sent.
    pub(super) fn collect_out(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        while let Some(bytes) = connection.dialogue.take_out() {
            connection.outbox.extend_from_slice(&bytes);
        }
    }
}
