//! What time alone does to a connection: deadlines, pings, and what a publisher sends in a while. Each connection is
//! checked once a second; publishers are pinged each tick, if they are due. Silence and patience go by the core's patient
//! clock, rates by the relay's.

use super::{
    backlog::RATE_WINDOW_MS,
    connection::{Phase, Publishing, Sending},
    core::{Endpoint, millis},
    io::Io,
    reason::{Reason, ReasonKind},
    report::ConnectionRole,
};

/// How long a peer has, once the relay has sent its last, to close its side.
const LINGER_MS: u64 = 2_000;

/// A publisher that is quiet is pinged after this part of the shortest silence that counts against it: an answer that
/// takes up to as long again still comes in time, and one ping may be lost.
const PINGED_AFTER: u64 = 3;
/// It is pinged no more often than this: one tick.
const MIN_PINGED_AFTER_MS: u64 = 100;

impl<I: Io> Endpoint<I> {
    /// Pings publishers: those that send nothing, so that a quiet encoder that is well neither loses its name nor is
    /// ended; and every `play.ping_interval` those that send, since some count on hearing something.
    pub(super) fn ping_publishers(&mut self) {
        let config = self.shared.config();
        let shortest = config.publish.takeover_after.min(config.limits.publisher_timeout);
        let ping_ms = millis(config.play.ping_interval);
        drop(config);
        let quiet_ms = (millis(shortest) / PINGED_AFTER).clamp(MIN_PINGED_AFTER_MS, ping_ms);
        let mut publishers = std::mem::take(&mut self.publishers);
        // A connection that stops to publish and begins again is there twice until now.
        publishers.sort_unstable();
        publishers.dedup();
        publishers.retain(|&(key, id)| {
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.id == id) else {
                return false;
            };
            if connection.is_closing() || !connection.is_publishing() {
                return false;
            }
            if connection.session.has_open_question() {
                // It may be talking: it is not read before its question is answered.
                connection.heard_ms = self.now.patient_ms;
                connection.publications().for_each(|publication| publication.heard(self.now.ms));
            }
            let since_ping_ms = self.now.patient_ms - connection.pinged_ms;
            let is_quiet = self.now.patient_ms - connection.heard_ms >= quiet_ms;
            if since_ping_ms >= ping_ms || (is_quiet && since_ping_ms >= quiet_ms) {
                self.ping(key);
            }
            true
        });
        publishers.append(&mut self.publishers);
        self.publishers = publishers;
    }

    fn ping(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.pinged_ms = self.now.patient_ms;
        connection.session.ping(self.now.ms);
        self.poll_session(key);
    }

    /// Checks all deadlines of one connection.
    pub(super) fn check_deadlines(&mut self, key: usize) {
        let (now_ms, patient_ms) = (self.now.ms, self.now.patient_ms);
        let config = self.shared.config();
        let (send_timeout_ms, ping_ms) =
            (millis(config.play.send_timeout), millis(config.play.ping_interval));
        drop(config);
        let connection = &mut self.connections[key];
        connection.publications().for_each(|publication| publication.tick(now_ms));
        if connection.sending != Sending::No {
            connection.note_acknowledged(&self.io, patient_ms);
            if patient_ms - connection.progress_ms >= send_timeout_ms {
                return self.end(key, ReasonKind::SendTimeout.into());
            }
        }
        if connection.is_closing() {
            let time_ms = match connection.phase {
                // A peer that takes a byte from time to time makes progress, and would never be done.
                Phase::Flushing => send_timeout_ms,
                _ => LINGER_MS,
            };
            if patient_ms - connection.phase_since_ms >= time_ms {
                self.end(key, Reason::peer_closed());
            }
            return;
        }
        if connection.is_gone(&mut self.io) {
            return self.end(key, Reason::peer_closed());
        }
        let quiet_ms = patient_ms - connection.heard_ms.max(connection.pinged_ms);
        if connection.playing.is_some() && quiet_ms >= ping_ms {
            self.ping(key);
        }
        self.check_verdict(key);
        if self.connections.contains(key) {
            self.check_expiry(key);
            self.check_hand_over(key);
            self.check_idle(key);
            self.check_silence(key);
            self.check_rate(key);
            self.check_updates(key);
        }
    }

    /// Ends a connection that takes too long for its handshake, or to publish or play. While its question is open, it is
    /// not the one that is late.
    fn check_idle(&mut self, key: usize) {
        let config = self.shared.config();
        let limits = &config.limits;
        let connection = &mut self.connections[key];
        if connection.is_closing() || connection.role() != ConnectionRole::Idle {
            return;
        }
        if connection.asked.is_some() {
            connection.idle_since_ms = self.now.patient_ms;
            return;
        }
        let idle_ms = self.now.patient_ms.saturating_sub(connection.idle_since_ms);
        if connection.phase == Phase::Handshake {
            if idle_ms >= millis(limits.handshake_timeout) {
                drop(config);
                self.end(key, ReasonKind::HandshakeTimeout.into());
            }
        } else if idle_ms >= millis(limits.request_timeout) {
            drop(config);
            let reason = Reason::from(ReasonKind::RequestTimeout);
            let description = reason.to_string();
            self.dismiss(key, "NetConnection.Connect.IdleTimeOut", &description, reason);
        }
    }

    /// Ends a publisher that sends nothing and answers nothing: its name is free again, and its players are notified in
    /// time.
    fn check_silence(&mut self, key: usize) {
        let patience_ms = millis(self.shared.config().limits.publisher_timeout);
        let connection = &self.connections[key];
        let silent_ms = self.now.patient_ms.saturating_sub(connection.heard_ms);
        if !connection.is_closing() && connection.is_publishing() && silent_ms >= patience_ms {
            let code = "NetStream.Publish.Idle";
            let description = "Nothing was received from this publisher, not even an answer to a ping.";
            self.dismiss(key, code, description, ReasonKind::PublisherTimeout.into());
        }
    }

    /// Ends a publisher that sends more than it may.
    fn check_rate(&mut self, key: usize) {
        let now_ms = self.now.ms;
        let kbps = self.shared.config().limits.publisher_kbps as u64;
        let connection = &mut self.connections[key];
        let window_ms = now_ms.saturating_sub(connection.rated_ms);
        if connection.is_closing() || connection.publishing.is_empty() || window_ms < RATE_WINDOW_MS {
            return;
        }
        // What piled up while the core stood still comes at once.
        let since_ms = connection.rated_ms.saturating_sub(RATE_WINDOW_MS);
        let standstill_ms = self.shared.signals()[self.core].patience().stalled_ms_since(since_ms);
        // Bits per millisecond are kilobits per second.
        let rate_kbps = |bytes: u64| bytes * 8 / window_ms.max(RATE_WINDOW_MS + standstill_ms);
        let sent_kbps = rate_kbps(connection.bytes_in - connection.rated_bytes);
        (connection.rated_ms, connection.rated_bytes) = (now_ms, connection.bytes_in);
        let since = |it: &mut Publishing| it.bytes - std::mem::replace(&mut it.rated_bytes, it.bytes);
        let fastest_kbps = rate_kbps(connection.publishing.iter_mut().map(since).max().unwrap_or(0));
        // The limit is one stream's, and all that is sent beside frames counts as well.
        let all_kbps = kbps * connection.publishing.len() as u64;
        if kbps > 0 && (sent_kbps > all_kbps || fastest_kbps > kbps) {
            let description = format!("{sent_kbps} kbit/s are more than the {all_kbps} that are allowed.");
            connection.refuse_all("NetStream.Publish.Denied", &description);
            let text = format!("published {sent_kbps} kbit/s, more than limits.publisher_kbps");
            self.finish_after_session(key, Reason::with(ReasonKind::PublisherRate, text));
        }
    }
}
