//! What a core does when other cores and the control plane ask for it: names change hands, questions are decided, players
//! whose request came over HTTP come in, connections are reported and ended.

use super::{
    connection::Connection,
    core::{Endpoint, IoCounts},
    io::Io,
    mail::{HttpPlayer, Mail},
    protocol::Protocol,
    reason::{Reason, ReasonKind},
    report::{ConnectionReport, ConnectionRole, Followed},
    session::{Body, PeerSession},
};
use crate::stream::{ConnectionRef, Form, NameNotice};

impl<I: Io> Endpoint<I> {
    /// Takes a message, for [`Endpoint::work_off_mail`].
    pub fn deliver(&mut self, mail: Mail<I::Socket>) {
        self.mail.push_back(mail);
    }

    /// Does what messages ask for, in their order: at least one, and others for a slice of time. A thousand verdicts or
    /// players over HTTP that come at once, or lists of a hundred thousand connections, keep the others waiting for no
    /// longer than that. False where there was nothing.
    pub fn work_off_mail(&mut self) -> bool {
        if self.mail.is_empty() {
            return false;
        }
        let end_us = self.io.now_us().saturating_add(self.slice_us);
        while let Some(mail) = self.mail.pop_front() {
            match mail {
                Mail::Name { connection, notice } => self.notice(connection, notice),
                Mail::Verdict { asked, verdict } => self.decided(asked, verdict),
                Mail::Drain => self.drain(),
                // The request has been answered with 503 by now: it must not take effect later.
                Mail::Report(reply) if !reply.is_wanted() => {}
                Mail::End { reply, .. } if !reply.is_wanted() => {}
                Mail::Report(reply) => reply.send(self.report_connections()),
                Mail::End { connection_id, role, stream, reply } => {
                    reply.send(self.kick(connection_id, role, stream.as_deref()));
                }
                Mail::Play(player) => self.take_in(*player),
            }
            if self.io.now_us() >= end_us {
                break;
            }
        }
        true
    }

    /// Something has happened to a name that the connection has, or waits for.
    fn notice(&mut self, connection: ConnectionRef, notice: NameNotice) {
        let Some(key) = self.find(connection) else { return };
        match notice {
            NameNotice::Wanted => self.give_way(key),
            NameNotice::Free => self.take_freed_name(key),
        }
        self.reap(key);
    }

    /// A player comes that has been admitted already. From now on it is like any other.
    fn take_in(&mut self, player: HttpPlayer<I::Socket>) {
        let HttpPlayer { socket, peer, ticket, stream, client, form, transport, start, head, rest, permit } =
            player;
        self.counts.taken_in += 1;
        if self.is_draining {
            return self.io.close(socket);
        }
        let session = match form {
            Form::WebsocketFlv => PeerSession::WebSocket(Box::default()),
            Form::HttpFlvChunked => PeerSession::HttpFlv(Body::chunked()),
            Form::HttpFlv | Form::Rtmp => PeerSession::HttpFlv(Body::default()),
        };
        let mut connection = Connection::new(socket, peer, ticket, session, transport, self.now);
        connection.client = client;
        connection.outbox.extend_from_slice(&head);
        let key = self.insert(connection);
        self.begin_play(key, stream.into_boxed_str(), start, permit);
        if rest.is_empty() {
            self.flush(key);
        } else {
            self.feed(key, rest);
        }
        self.receive(key);
        self.reap(key);
    }

    /// Ends a connection because the operator wants it. False where there is none of that number and role.
    fn kick(&mut self, connection_id: u64, role: ConnectionRole, stream: Option<&str>) -> bool {
        // An operator's request is rare: it may walk over all of them.
        let found = self.connections.iter().find(|(_, connection)| connection.id == connection_id);
        let Some(key) = found.map(|(key, _)| key) else { return false };
        let connection = &mut self.connections[key];
        if connection.is_closing() || connection.role() != role {
            return false;
        }
        let (code, description) = ("NetStream.Publish.Denied", "Ended by the operator.");
        let reason = Reason::from(ReasonKind::Kicked);
        if let (ConnectionRole::Publisher, Some(stream)) = (role, stream) {
            let named = connection.publishing.iter().find(|it| it.name.to_string() == stream);
            let Some(message_stream_id) = named.map(|it| it.message_stream_id) else { return false };
            self.end_publication(key, message_stream_id, code, description, reason);
            self.poll_session(key);
        } else {
            connection.refuse_all(code, description);
            connection.session.end_play();
            self.finish_after_session(key, reason);
        }
        self.reap(key);
        true
    }

    fn report_connections(&self) -> Vec<ConnectionReport> {
        self.connections.iter().flat_map(|(_, connection)| self.report(connection)).collect()
    }

    /// One report, but for a connection that publishes several streams: one for each of those.
    fn report(&self, connection: &Connection<I::Socket>) -> Vec<ConnectionReport> {
        let report = |stream, since_ms| self.report_one(connection, stream, since_ms);
        let published = connection.publishing.iter().filter(|it| it.is_allowed());
        match (connection.role(), &connection.playing) {
            (ConnectionRole::Publisher, _) => {
                published.map(|it| report(Some(it.name.to_string()), it.since_ms)).collect()
            }
            (_, Some(it)) => vec![report(Some(it.name.to_string()), it.since_ms)],
            (_, None) => vec![report(None, connection.opened_ms)],
        }
    }

    fn report_one(
        &self,
        connection: &Connection<I::Socket>,
        stream: Option<String>,
        since_ms: u64,
    ) -> ConnectionReport {
        let lag_ms = connection.playing.as_ref().and_then(|it| self.hub.lag_ms(it.key, self.now.ms));
        ConnectionReport {
            id: connection.id,
            peer: connection.peer,
            client: connection.client.clone(),
            core: self.core,
            role: connection.role(),
            protocol: connection.session.protocol(),
            stream,
            since_ms,
            duration_ms: self.now.ms.saturating_sub(since_ms),
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
            lag_ms: lag_ms.map(u64::from),
        }
    }

    /// Publishes what this core has counted, and what there is now.
    pub(super) fn publish_report(&mut self, io: IoCounts) {
        self.hub.add_to_totals();
        let mut report = self.counts.clone();
        report.at_ms = self.now.ms;
        report.connections = self.connections.len() as u64;
        report.handshakes_waiting = self.handshakes.len() as u64;
        report.skips = self.hub.skips();
        report.streams = self
            .hub
            .followed()
            .map(|(stream, form, players)| Followed {
                stream: stream.shared_name(),
                protocol: Protocol::of(form),
                players: players as u64,
            })
            .collect();
        for followed in &report.streams {
            report.players[followed.protocol.index()] += followed.players;
        }
        (report.submissions, report.completions) = (io.submissions, io.completions);
        self.shared.set_report(report);
    }
}
