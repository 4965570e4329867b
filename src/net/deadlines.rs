//! What time alone does to a connection: deadlines, pings, and what a publisher sends in a while. Each connection is
//! looked at once a second; publishers are asked for a sign of life each tick, if they are due. Silence and patience go
//! by the core's patient clock, rates by the relay's.

use super::{
    connection::{Publishing, Reason, Sending, Step},
    core::{Core, millis},
    report::Role,
};

/// How long a peer has, once we have said our last, to close its side.
const LINGER_MS: u64 = 2_000;
/// What a publisher sends is averaged over this, milliseconds: a key frame is no excess.
pub(super) const RATE_WINDOW_MS: u64 = 5_000;

/// A publisher that is quiet is asked for a sign of life after this part of the shortest silence that counts against
/// it: an answer that takes up to as long again still comes in time, and one ping may be lost.
const ASKED_AFTER: u64 = 3;
/// It is asked no more often than this: one tick.
const MIN_ASKED_AFTER_MS: u64 = 100;

impl Core {
    /// Asks publishers for a sign of life: those that send nothing, so that a quiet encoder that is well neither loses
    /// its name nor is ended; and now and then those that send, since some count on hearing something.
    pub(super) fn ask_quiet_publishers(&mut self) {
        let config = self.common.config();
        let shortest = config.publish.takeover_after.min(config.limits.publisher_timeout);
        let ping_ms = millis(config.play.ping_interval);
        let quiet_ms = (millis(shortest) / ASKED_AFTER).clamp(MIN_ASKED_AFTER_MS, ping_ms);
        let mut publishers = std::mem::take(&mut self.publishers);
        // A connection that stops to publish and begins again is there twice until now.
        publishers.sort_unstable();
        publishers.dedup();
        publishers.retain(|&(key, id)| {
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.id == id) else {
                return false;
            };
            if connection.closing.is_some() || !connection.is_publishing() {
                return false;
            }
            let since_ping_ms = self.patient_ms - connection.pinged_ms;
            let is_quiet = self.patient_ms - connection.heard_ms >= quiet_ms;
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
        connection.pinged_ms = self.patient_ms;
        connection.dialogue.ping(self.now_ms);
        self.poll_session(key);
    }

    /// What time alone does to one connection.
    pub(super) fn look_at(&mut self, key: usize) {
        let (now_ms, patient_ms) = (self.now_ms, self.patient_ms);
        let config = self.common.config();
        let play = &config.play;
        let (send_timeout_ms, ping_ms) = (millis(play.send_timeout), millis(play.ping_interval));
        let connection = &mut self.connections[key];
        connection.publications().for_each(|publication| publication.tick(now_ms));
        if connection.sending != Sending::No {
            connection.note_acknowledged(patient_ms);
            if patient_ms - connection.progress_ms >= send_timeout_ms {
                return self.end(key, Reason::SendTimeout);
            }
        }
        if let Some(closing) = &connection.closing {
            let time_ms = match closing.step {
                // A peer that takes a byte now and then makes progress, and would never be done.
                Step::Flushing => send_timeout_ms,
                Step::Lingering | Step::Shut => LINGER_MS,
            };
            if patient_ms - closing.since_ms >= time_ms {
                self.end(key, Reason::PeerClosed);
            }
            return;
        }
        if connection.is_gone() {
            return self.end(key, Reason::PeerClosed);
        }
        let quiet_ms = patient_ms - connection.heard_ms.max(connection.pinged_ms);
        if connection.playing.is_some() && quiet_ms >= ping_ms {
            self.ping(key);
        }
        self.give_up_waiting_to_publish(key);
        self.end_the_idle(key);
        self.end_the_silent(key);
        self.end_the_excessive(key);
    }

    /// Ends a connection that takes too long to shake hands, or to say what it wants.
    fn end_the_idle(&mut self, key: usize) {
        let config = self.common.config();
        let limits = &config.limits;
        let connection = &self.connections[key];
        let idle_ms = self.patient_ms.saturating_sub(connection.idle_since_ms);
        if connection.closing.is_some() || connection.role() != Role::Idle {
            return;
        }
        if !connection.dialogue.has_shaken_hands() {
            if idle_ms >= millis(limits.handshake_timeout) {
                self.end(key, Reason::HandshakeTimeout);
            }
        } else if idle_ms >= millis(limits.request_timeout) {
            let code = "NetConnection.Connect.IdleTimeOut";
            let description = Reason::RequestTimeout.to_string();
            self.dismiss(key, code, &description, Reason::RequestTimeout);
        }
    }

    /// Ends a publisher that sends nothing and answers nothing: its name is free again, and its players are told in time.
    fn end_the_silent(&mut self, key: usize) {
        let patience_ms = millis(self.common.config().limits.publisher_timeout);
        let connection = &self.connections[key];
        let silent_ms = self.patient_ms.saturating_sub(connection.heard_ms);
        if connection.closing.is_none() && connection.is_publishing() && silent_ms >= patience_ms {
            let code = "NetStream.Publish.Idle";
            let description = "Nothing was heard from this publisher, not even an answer to a ping.";
            self.dismiss(key, code, description, Reason::PublisherSilent);
        }
    }

    /// Ends a publisher that sends more than it may.
    fn end_the_excessive(&mut self, key: usize) {
        let now_ms = self.now_ms;
        let kbps = self.common.config().limits.publisher_kbps as u64;
        let connection = &mut self.connections[key];
        let window_ms = now_ms.saturating_sub(connection.rated_ms);
        if connection.closing.is_some() || connection.publishing.is_empty() || window_ms < RATE_WINDOW_MS {
            return;
        }
        // What piled up while we stood still comes at once.
        let since_ms = connection.rated_ms.saturating_sub(RATE_WINDOW_MS);
        let standstill_ms = self.common.signals[self.number].patience().standstill_ms_since(since_ms);
        // Bits a millisecond are kilobits a second.
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
            self.finish_after_session(key, Reason::TooFast { sent_kbps });
        }
    }
}
