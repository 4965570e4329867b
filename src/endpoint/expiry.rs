//! What becomes of a session whose right has ended: its peer is told, and it ends. Each connection is checked once a
//! second.

use super::{
    core::Endpoint,
    io::Io,
    permit::Permit,
    reason::{Reason, ReasonKind},
};

impl<I: Io> Endpoint<I> {
    /// Ends what the connection has no right to any longer.
    pub(super) fn check_expiry(&mut self, key: usize) {
        let now_ms = self.now.ms;
        let has_expired =
            |permit: &Option<Box<Permit>>| permit.as_ref().is_some_and(|permit| permit.has_expired(now_ms));
        let reason = Reason::from(ReasonKind::Expired);
        let connection = &mut self.connections[key];
        if connection.is_closing() {
            return;
        }
        if has_expired(&connection.permit) {
            connection.session.close("NetConnection.Connect.Closed", EXPIRED);
            // Now, whenever the peer reads what is under way.
            self.leave_stream_for(key, reason.clone());
            return self.finish_after_session(key, reason);
        }
        if connection.playing.as_ref().is_some_and(|playing| has_expired(&playing.permit)) {
            connection.session.expire_play(EXPIRED);
            self.leave_stream_for(key, reason.clone());
            let connection = &self.connections[key];
            if connection.publishing.is_empty() && connection.asked.is_none() {
                return self.finish_after_session(key, reason);
            }
            self.poll_session(key);
        }
        let publishing = self.connections[key].publishing.iter();
        let expired: Vec<_> =
            publishing.filter(|it| has_expired(&it.permit)).map(|it| it.message_stream_id).collect();
        for message_stream_id in expired {
            self.end_publication(key, message_stream_id, "NetStream.Publish.Denied", EXPIRED, reason.clone());
            self.poll_session(key);
        }
    }
}

/// What a peer is told.
const EXPIRED: &str = "session expired";
