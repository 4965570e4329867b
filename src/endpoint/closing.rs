//! How a connection ends: what its peer is sent first, how long that may take, and what is logged.

use super::{
    connection::{Connection, Phase},
    core::Endpoint,
    io::{Direction, Io},
    log_limits::LineKind,
    reason::{Reason, ReasonKind},
    session::Violation,
    told::Progress,
};
use crate::access::NoticeKind;

impl<I: Io> Endpoint<I> {
    /// Sends what there is to send and closes: first what is half sent, then what the session has to send.
    pub(super) fn finish(&mut self, key: usize, reason: Reason) {
        if !self.connections[key].is_closing() {
            self.connections[key].reason = Some(reason);
            self.enter(key, Phase::Flushing);
            self.release(key);
        }
        self.flush(key);
    }

    /// Ends at once. Bytes that are not sent are lost.
    pub(super) fn end(&mut self, key: usize, reason: Reason) {
        let connection = &mut self.connections[key];
        connection.reason.get_or_insert(reason);
        if connection.phase != Phase::Shut {
            self.io.shut(&connection.socket, Direction::Both);
            self.enter(key, Phase::Shut);
        }
        self.release(key);
        self.leave_stream(key);
    }

    /// All is sent: waits for the peer to close its side.
    pub(super) fn linger(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.has_finished {
            return self.end(key, Reason::peer_closed());
        }
        if connection.transport.close() {
            return self.flush(key);
        }
        self.io.shut(&connection.socket, Direction::Send);
        self.enter(key, Phase::Lingering);
        self.leave_stream(key);
        self.receive(key);
    }

    fn enter(&mut self, key: usize, phase: Phase) {
        let connection = &mut self.connections[key];
        debug_assert!(connection.phase < phase, "a connection does not go back");
        (connection.phase, connection.phase_since_ms) = (phase, self.now.patient_ms);
    }

    /// Removes a connection that is over.
    pub(super) fn reap(&mut self, key: usize) {
        if !self.connections.get(key).is_some_and(Connection::is_over) {
            return;
        }
        let connection = self.connections.remove(key);
        self.account.forget(connection.counted, self.connections.len());
        let Connection { id, peer, socket, reason, opened_ms, has_played, .. } = connection;
        let (received_bytes, sent_bytes) = (connection.bytes_in, connection.bytes_out);
        self.io.close(socket);
        let reason = reason.unwrap_or_else(Reason::peer_closed);
        self.counts.ends[reason.kind.index()] += 1;
        let duration_ms = self.now.ms.saturating_sub(opened_ms);
        self.tell(NoticeKind::Closed, &connection.permit, || Progress {
            name: connection.party.as_ref().map(|party| party.app.clone()).unwrap_or_default(),
            sent_bytes,
            received_bytes,
            duration_ms,
            timestamp_ms: 0,
            reason: reason.kind.label(),
        });
        let (label, detail) = (reason.kind.label(), reason.detail());
        let kind = match reason.kind {
            ReasonKind::Violation => LineKind::Violation,
            _ => LineKind::Closed,
        };
        let is_silent = received_bytes == 0 && !has_played;
        let is_probe =
            matches!(reason.kind, ReasonKind::PeerClosed | ReasonKind::Socket | ReasonKind::HandshakeTimeout);
        if is_silent && is_probe {
            // The health check of a load balancer or a monitoring system: every few seconds, for ever.
            tracing::debug!(id, %peer, reason = label, detail, received_bytes, sent_bytes, duration_ms, "closed");
        } else if !self.shared.may_log(kind, peer, self.now.ms) {
        } else if kind == LineKind::Violation {
            tracing::warn!(id, %peer, reason = label, detail, received_bytes, sent_bytes, duration_ms, "closed: protocol violation");
        } else {
            tracing::info!(id, %peer, reason = label, detail, received_bytes, sent_bytes, duration_ms, "closed");
        }
    }

    /// Closes for this reason, which the peer is sent first.
    pub(super) fn dismiss(&mut self, key: usize, code: &str, description: &str, reason: Reason) {
        self.connections[key].session.close(code, description);
        self.finish_after_session(key, reason);
    }

    /// Ends a peer that broke its protocol. One that does speak it is sent the error: an encoder's operator may read it.
    pub(super) fn expel(&mut self, key: usize, violation: &Violation) {
        let connection = &mut self.connections[key];
        if !connection.is_closing() && connection.session.reject(violation) {
            self.finish_after_session(key, Reason::violation(violation));
        } else {
            self.end(key, Reason::violation(violation));
        }
    }

    /// Closes for this reason, once what the session has to send is sent.
    pub(super) fn finish_after_session(&mut self, key: usize, reason: Reason) {
        self.connections[key].collect_out();
        self.finish(key, reason);
    }

    /// A connection that is to be closed gives its names back at once, whatever it still has to send.
    fn release(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.asked = None;
        let reason = connection.reason.clone().unwrap_or_else(Reason::peer_closed);
        let all: Vec<_> = connection.publishing.iter().map(|it| it.message_stream_id).collect();
        for message_stream_id in all {
            self.unpublish(key, message_stream_id, reason.clone());
        }
        self.connections[key].session.drop_input();
        self.recount(key);
    }

    /// The process is about to end.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            let connection = &mut self.connections[key];
            if connection.is_closing() {
                continue;
            }
            let reason = ReasonKind::ShuttingDown.into();
            if connection.playing.is_some() {
                connection.session.end_play();
                self.finish_after_session(key, reason);
            } else {
                let code = "NetConnection.Connect.AppShutdown";
                self.dismiss(key, code, "The server is shutting down.", reason);
            }
            self.reap(key);
        }
    }
}
