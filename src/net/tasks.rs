//! What a core does for the control plane: takes in players whose request came over HTTP, tells of its connections, ends
//! one of them.

use super::{
    connection::{Connection, Playing, Reason},
    core::Core,
    dialogue::{Body, Dialogue},
    handle::{HttpPlayer, Task},
    report::{ConnectionReport, Event, Followed, Role},
    similar::LineKind,
};
use crate::stream::Form;

impl Core {
    /// Takes over what has been asked for; [`Core::work_off_tasks`] does it.
    pub(super) fn take_tasks(&mut self) {
        let tasks = self.common.outside.take_tasks(self.number);
        self.tasks.extend(tasks);
    }

    /// Does what has been asked for: one thing at least, and others for a slice of time. A thousand players over HTTP
    /// that come at once, or lists of a hundred thousand connections, keep the others waiting for no longer than that.
    /// False where there was nothing.
    pub(super) fn work_off_tasks(&mut self) -> bool {
        if self.tasks.is_empty() {
            return false;
        }
        let end_us = self.clock_us().saturating_add(self.slice_us);
        while let Some(task) = self.tasks.pop_front() {
            match task {
                // The request has been answered with 503 by now: it must not take effect later.
                Task::Report(answer) if answer.is_closed() => {}
                Task::End { answer, .. } if answer.is_closed() => {}
                Task::Report(answer) => _ = answer.send(self.tell_of_connections()),
                Task::End { connection_id, role, stream, answer } => {
                    _ = answer.send(self.kick(connection_id, role, stream.as_deref()));
                }
                Task::Play(player) => self.take_in(*player),
            }
            if self.clock_us() >= end_us {
                break;
            }
        }
        true
    }

    /// A player comes that has been let in already. Once it is here it is like any other.
    fn take_in(&mut self, player: HttpPlayer) {
        let HttpPlayer { socket, peer, ticket, stream, form, start, head, rest } = player;
        self.tally.taken_in += 1;
        if self.is_draining {
            return;
        }
        // The ring waits for sockets by itself, and for those alone that block.
        if let Err(error) = socket.set_nonblocking(false) {
            tracing::debug!(%peer, %error, "a player's socket is gone");
            return;
        }
        let id = self.common.next_connection_id();
        let dialogue = match form {
            Form::WebsocketFlv => Dialogue::WebSocket(Box::default()),
            Form::HttpFlvChunked => Dialogue::HttpFlv(Body::chunked()),
            Form::HttpFlv | Form::Rtmp => Dialogue::HttpFlv(Body::default()),
        };
        let socket = tokio_uring::net::TcpStream::from_std(socket);
        let mut connection = Connection::new(id, socket, peer, ticket, dialogue, self.now());
        connection.outbox.extend_from_slice(&head);
        let key = self.connections.insert(connection);
        self.tally.connects += 1;
        self.count_connections();
        self.begin_to_play(key, stream.into_boxed_str(), start);
        if rest.is_empty() {
            self.flush(key);
        } else {
            self.feed(key, rest);
        }
        self.receive(key);
        self.reap(key);
    }

    /// A player's place in its stream.
    pub(super) fn begin_to_play(&mut self, key: usize, name: Box<str>, start: crate::stream::Start) {
        let connection = &mut self.connections[key];
        let (id, peer, protocol) = (connection.id, connection.peer, connection.dialogue.protocol());
        let player = self.hub.join(key, &name, connection.dialogue.form(), start, self.now_ms);
        let is_live = self.hub.stream(player).is_live();
        if self.common.may_log(LineKind::Playing, peer, self.now_ms) {
            tracing::info!(id, %peer, stream = &*name, protocol = protocol.name(), core = self.number, is_live, "playing");
        }
        self.common.outside.tell(|| Event::Playing { id, peer, stream: name.to_string(), protocol });
        let bytes_out_before = connection.bytes_out;
        connection.playing = Some(Playing { key: player, name, since_ms: self.now_ms, bytes_out_before });
    }

    /// Ends a connection because the operator wants it. False where there is none of that number and role.
    fn kick(&mut self, connection_id: u64, role: Role, stream: Option<&str>) -> bool {
        let Some(key) = self.find(connection_id) else { return false };
        let connection = &mut self.connections[key];
        if connection.closing.is_some() || connection.role() != role {
            return false;
        }
        let (code, description) = ("NetStream.Publish.Denied", "Ended by the operator.");
        if let (Role::Publisher, Some(stream)) = (role, stream) {
            let named = connection.publishing.iter().find(|it| it.name.to_string() == stream);
            let Some(message_stream_id) = named.map(|it| it.message_stream_id) else { return false };
            self.end_publication(key, message_stream_id, code, description, Reason::Kicked);
            self.poll_session(key);
        } else {
            connection.refuse_all(code, description);
            connection.dialogue.end_play();
            self.finish_after_session(key, Reason::Kicked);
        }
        self.reap(key);
        true
    }

    fn tell_of_connections(&self) -> Vec<ConnectionReport> {
        self.connections.iter().flat_map(|(_, connection)| self.tell_of(connection)).collect()
    }

    /// One report, but for a connection that publishes several streams: one for each of those.
    fn tell_of(&self, connection: &Connection) -> Vec<ConnectionReport> {
        let report = |stream, since_ms| self.tell_of_one(connection, stream, since_ms);
        match (&connection.playing, connection.publishing.as_slice()) {
            (None, []) => vec![report(None, connection.opened_ms)],
            (Some(it), []) => vec![report(Some(it.name.to_string()), it.since_ms)],
            (_, all) => all.iter().map(|it| report(Some(it.name.to_string()), it.since_ms)).collect(),
        }
    }

    fn tell_of_one(
        &self,
        connection: &Connection,
        stream: Option<String>,
        since_ms: u64,
    ) -> ConnectionReport {
        let lag_ms = connection.playing.as_ref().and_then(|it| self.hub.lag_ms(it.key, self.now_ms));
        ConnectionReport {
            id: connection.id,
            peer: connection.peer,
            core: self.number,
            role: connection.role(),
            protocol: connection.dialogue.protocol(),
            stream,
            duration_ms: self.now_ms.saturating_sub(since_ms),
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
            lag_ms: lag_ms.map(u64::from),
        }
    }

    /// Lays out what this core has counted, and what there is now.
    pub(super) fn lay_out_report(&mut self) {
        let mut report = self.tally.clone();
        report.at_ms = self.now_ms;
        report.connections = self.connections.len() as u64;
        report.skips = self.hub.skips();
        report.streams = self
            .hub
            .followed()
            .map(|(stream, form, players, bytes_out, skips)| Followed {
                stream: stream.shared_name(),
                protocol: form.into(),
                players: players as u64,
                bytes_out,
                skips,
            })
            .collect();
        for followed in &report.streams {
            report.players[followed.protocol.index()] += followed.players;
        }
        (report.submissions, report.completions) = self.ring_counts();
        self.common.outside.lay_out(report);
    }
}
