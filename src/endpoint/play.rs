//! What a core does for players: a place in the stream, the pass that sends them what is new, how playing ends.

use super::{
    connection::{Connection, Playing, Sending},
    core::Endpoint,
    io::Io,
    log_limits::LineKind,
    permit::Permit,
    reason::{Reason, ReasonKind},
    report::RelayEvent,
    told::{Progress, newest_ms},
};
use crate::{access::NoticeKind, fanout::Ended, stream::Start};

/// Players that a round of a pass sends to before completions are looked at: some 2 ms of the kernel's work.
const PLAYERS_PER_ROUND: usize = 256;

impl<I: Io> Endpoint<I> {
    /// Gives the connection a place in a stream. What it played before must have ended.
    pub(super) fn begin_play(
        &mut self,
        key: usize,
        name: Box<str>,
        start: Start,
        permit: Option<Box<Permit>>,
    ) {
        let connection = &mut self.connections[key];
        let Connection { id, peer, bytes_out, ref client, .. } = *connection;
        let client = client.as_deref();
        let protocol = connection.session.protocol();
        let player = self.hub.join(key, &name, connection.session.form(), start, self.now.ms);
        let is_live = self.hub.stream(player).is_live();
        if self.shared.may_log(LineKind::Playing, peer, self.now.ms) {
            let (stream, protocol, core) = (&*name, protocol.name(), self.core);
            if is_live {
                tracing::info!(id, %peer, stream, protocol, core, client, "playing");
            } else {
                tracing::info!(id, %peer, stream, protocol, core, client, "playing: waiting for publisher");
            }
        }
        self.shared.notify(|| {
            let (client, stream) = (connection.client.clone(), name.to_string());
            RelayEvent::Playing { id, peer, client, stream, protocol }
        });
        let since_ms = self.now.ms;
        connection.has_played = true;
        connection.playing =
            Some(Playing { key: player, name, permit, since_ms, bytes_out_before: bytes_out });
    }

    /// The player stops, for whatever reason. What is being sent to it goes out whole.
    pub(super) fn leave_stream(&mut self, key: usize) {
        let reason = self.connections[key].reason.clone().unwrap_or(ReasonKind::Stopped.into());
        self.leave_stream_for(key, reason);
    }

    /// The player stops for this reason.
    pub(super) fn leave_stream_for(&mut self, key: usize, reason: Reason) {
        let connection = &mut self.connections[key];
        let Some(playing) = connection.playing.take() else { return };
        connection.idle_since_ms = self.now.patient_ms;
        if connection.sending == Sending::Media {
            connection.sending = Sending::Own;
        }
        let is_told = playing.permit.as_ref().is_some_and(|permit| permit.question().is_some());
        let timestamp_ms = if is_told { newest_ms(self.hub.stream(playing.key)) } else { 0 };
        self.hub.leave(playing.key);
        let (id, peer) = (connection.id, connection.peer);
        let sent_bytes = connection.bytes_out - playing.bytes_out_before;
        let duration_ms = self.now.ms - playing.since_ms;
        if self.shared.may_log(LineKind::PlayEnded, peer, self.now.ms) {
            let (stream, label, detail) = (&*playing.name, reason.kind.label(), reason.detail());
            tracing::info!(id, %peer, stream, reason = label, detail, sent_bytes, duration_ms, "play ended");
        }
        let protocol = connection.session.protocol();
        let client = connection.client.clone();
        self.tell(NoticeKind::Stopped, &playing.permit, || Progress {
            name: playing.name.to_string(),
            sent_bytes,
            received_bytes: 0,
            duration_ms,
            timestamp_ms,
            reason: reason.kind.label(),
        });
        self.shared.notify(|| {
            let stream = playing.name.into_string();
            RelayEvent::PlayEnded { id, peer, client, stream, protocol, reason, duration_ms }
        });
    }

    /// Sends players of streams that have new data what they lack: at once where a stream has few of them; with the others
    /// goes on with the pass that is under way, or begins one if it is time. Also notifies other cores of frames that have waited long enough. True if there was something to
    /// send.
    pub fn pass(&mut self) -> bool {
        let now_us = self.io.now_us();
        self.notify_due(now_us);
        let signal = &self.shared.signals()[self.core];
        if signal.has_new_data() {
            for (first, bits) in signal.take_new_data() {
                self.hub.new_data(first, bits);
            }
        }
        if self.hub.awaits_pass() {
            self.pump.new_data(now_us);
        }
        if self.due.is_empty() {
            // The last sends of a pass have been submitted since, and their completions have been looked at.
            if let Some(pass_us) = self.pump.end(now_us) {
                signal.set_pass_us(pass_us);
                self.counts.passes += 1;
                self.counts.pass_us.observe(pass_us);
            }
        }
        if self.pump.due_us().is_some_and(|due_us| due_us <= now_us) {
            self.hub.begin_pass(&mut self.due);
            self.pump.begin(self.due.len(), now_us);
        }
        let mut round = Vec::new();
        self.hub.due_at_once(PLAYERS_PER_ROUND, &mut round);
        round.extend(self.due.drain(self.due.len().saturating_sub(PLAYERS_PER_ROUND)..));
        let was_busy = !round.is_empty();
        for key in round.drain(..) {
            // A pass lasts several rounds, in which connections end.
            if self.connections.contains(key) {
                self.flush(key);
            }
        }
        was_busy
    }

    /// Ends the players whose time is up, and begins with those whose stream has shown what it holds.
    pub(super) fn expire_players(&mut self) {
        let mut due = Vec::new();
        self.hub.wake(self.now.ms, &mut due);
        due.into_iter().for_each(|key| self.flush(key));
        let mut ended = Vec::new();
        self.hub.expire(self.now.ms, &mut ended);
        for (key, why) in ended {
            let connection = &mut self.connections[key];
            if connection.is_closing() {
                continue;
            }
            let kind = match why {
                Ended::NotFound => {
                    let name = connection.playing.as_ref().map_or("", |playing| &playing.name);
                    let description = format!("{name} is not being published.");
                    connection.session.fail_play("NetStream.Play.StreamNotFound", &description);
                    ReasonKind::StreamNotFound
                }
                Ended::Unpublished => {
                    connection.session.end_play();
                    ReasonKind::Unpublished
                }
                // It comes back, and is given the right headers.
                Ended::OtherMedia => {
                    connection.session.end_play();
                    ReasonKind::OtherMedia
                }
            };
            self.finish_after_session(key, kind.into());
        }
    }
}
