//! What comes and goes on the sockets of a core: completed sends and receives, and what is sent and received next.

use bytes::Bytes;

use super::{
    connection::{Connection, Phase, Sending},
    core::Endpoint,
    io::{Input, Io, IoError},
    reason::Reason,
    retry::Retry,
    tls::Opened,
    transport::SendBuffer,
};
use crate::fanout::Batch;

impl<I: Io> Endpoint<I> {
    /// A receive has completed: what came, nothing where that is the peer's end, or why it failed.
    pub fn received(&mut self, key: usize, result: Result<Bytes, IoError>) {
        let connection = &mut self.connections[key];
        connection.is_receiving = false;
        match result {
            Ok(bytes) if !bytes.is_empty() => {
                connection.bytes_in += bytes.len() as u64;
                self.counts.bytes_in += bytes.len() as u64;
                connection.heard_ms = self.now.patient_ms;
                let bytes = if connection.is_closing() { None } else { self.after_proxy_header(key, bytes) };
                if let Some(bytes) = bytes {
                    let connection = &mut self.connections[key];
                    if connection.transport.is_shaking_hands() {
                        // It has its turn once all that others are owed has been done, and is not read before.
                        let id = connection.id;
                        return self.handshakes.push_back((key, id, bytes));
                    }
                    self.open(key, bytes);
                }
                self.receive(key);
            }
            // While the last of it is being sent as well.
            Ok(_end) if connection.phase < Phase::Lingering && connection.session.is_one_sided() => {
                connection.has_finished = true;
            }
            Ok(_end) => self.end(key, Reason::peer_closed()),
            Err(IoError::Interrupted) => self.receive(key),
            Err(IoError::Shortage) => {
                connection.is_receiving = true;
                self.retries.push(Retry::Receive { key });
            }
            Err(IoError::Broken(error)) => {
                let reason = connection.broken_by(&error);
                self.end(key, reason);
            }
        }
        self.reap(key);
    }

    /// The peer has hung up, or its connection was reset. Where the relay does not read, this alone says so.
    pub fn hung_up(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.is_watched = false;
        // What it sent before is read as far as it can be, and its end comes with that.
        if !connection.is_closing() && connection.session.has_open_question() {
            self.end(key, Reason::peer_closed());
        }
        self.reap(key);
    }

    /// A send has completed: the buffer, and how many of its bytes the socket took.
    pub fn sent(&mut self, key: usize, mut buffer: SendBuffer, result: Result<usize, IoError>) {
        let connection = &mut self.connections[key];
        let what = std::mem::replace(&mut connection.sending, Sending::No);
        match result {
            Ok(n) => {
                let progress = buffer.progress(n);
                connection.bytes_out += n as u64;
                self.counts.bytes_out[connection.session.protocol().index()] += n as u64;
                connection.progress_ms = self.now.patient_ms;
                if let (Sending::Media, Some(playing), false) = (what, &connection.playing, progress.is_cut) {
                    self.hub.sent(playing.key, progress.log_bytes, progress.is_whole);
                    self.flush(key);
                } else {
                    buffer.advance(n);
                    self.send_rest(key, what, buffer);
                }
            }
            Err(IoError::Interrupted) => self.send(key, what, buffer),
            Err(IoError::Shortage) => {
                connection.sending = what;
                self.retries.push(Retry::Send { key, buffer });
            }
            Err(IoError::Broken(error)) => {
                let reason = connection.broken_by(&error);
                self.end(key, reason);
            }
        }
        self.reap(key);
    }

    /// Goes on with what must be sent to its end.
    fn send_rest(&mut self, key: usize, what: Sending, buffer: SendBuffer) {
        let connection = &mut self.connections[key];
        let left_bytes = buffer.left_bytes();
        if what == Sending::Own {
            connection.own_bytes = connection.own_bytes.min(left_bytes);
            self.recount(key);
        }
        if !buffer.bytes().is_empty() {
            self.send(key, what, buffer);
        } else if let Some(rest) = buffer.into_rest() {
            self.seal_and_send(key, what, rest);
        } else {
            self.flush(key);
        }
    }

    /// Takes up all that waits for the next tick.
    pub(super) fn retry(&mut self) {
        for retry in self.retries.take() {
            let (Retry::Send { key, .. } | Retry::Receive { key }) = retry;
            let connection = &mut self.connections[key];
            match retry {
                Retry::Send { buffer, .. } => {
                    // It may have left its stream since.
                    let what = std::mem::replace(&mut connection.sending, Sending::No);
                    if connection.phase != Phase::Shut {
                        self.send(key, what, buffer);
                    }
                }
                Retry::Receive { .. } => {
                    connection.is_receiving = false;
                    self.receive(key);
                }
            }
            self.reap(key);
        }
    }

    /// Sends what is next for this connection, if nothing is under way: the rest of a message first, then what the
    /// session has to say, then media.
    pub(super) fn flush(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.sending != Sending::No || connection.phase > Phase::Flushing {
            return;
        }
        connection.progress_ms = self.now.patient_ms;
        if let Some(replies) = connection.transport.take_replies() {
            connection.own_bytes = replies.bytes().len();
            return self.send(key, Sending::Own, replies);
        }
        if !connection.transport.may_seal() {
            if connection.is_closing() {
                self.linger(key);
            }
            return;
        }
        let player = connection.playing.as_ref().map(|playing| playing.key);
        let has_own = !connection.outbox.is_empty();
        let is_half_sent = player.is_some_and(|player| !self.hub.is_at_boundary(player));
        if has_own && !is_half_sent {
            let bytes = connection.take_outbox();
            connection.own_bytes = bytes.len();
            return self.seal_and_send(key, Sending::Own, Batch::Own(bytes));
        }
        let is_closing = connection.is_closing();
        let only_rest = has_own || is_closing;
        let skips = self.hub.skips();
        let batch = player.and_then(|player| self.hub.next_batch(player, only_rest, self.now.ms));
        if self.hub.skips() != skips {
            let Connection { id, peer, .. } = self.connections[key];
            tracing::debug!(id, %peer, "player moved ahead");
        }
        match batch {
            Some(batch) => {
                self.counts.send_bytes.observe(batch.bytes().len() as u64);
                let lag_ms = player.and_then(|player| self.hub.lag_ms(player, self.now.ms));
                self.counts.lag_ms.observe(lag_ms.unwrap_or(0).into());
                self.seal_and_send(key, Sending::Media, batch);
            }
            None if is_closing => self.linger(key),
            None => {}
        }
    }

    fn seal_and_send(&mut self, key: usize, what: Sending, batch: Batch) {
        let connection = &mut self.connections[key];
        match connection.transport.seal(batch, &self.sealed) {
            Ok(buffer) => self.send(key, what, buffer),
            Err(error) => self.end(key, Reason::violation(&error.into())),
        }
    }

    fn send(&mut self, key: usize, what: Sending, buffer: SendBuffer) {
        let connection = &mut self.connections[key];
        connection.sending = what;
        self.counts.sends += 1;
        self.io.send(&connection.socket, key, buffer);
    }

    /// Waits for the peer's next bytes, if they are to be read now. While they are not, what the peer sends waits in its
    /// socket, and only its hang-up is waited for. Where the peer has announced its end, that comes now.
    pub(super) fn receive(&mut self, key: usize) {
        let connection = &self.connections[key];
        let has_worked_off = !connection.input.is_behind && !connection.session.has_open_question();
        if connection.has_said_end && has_worked_off && !connection.is_closing() {
            self.finish(key, Reason::peer_closed());
        }
        let connection = &mut self.connections[key];
        if connection.is_receiving
            || connection.has_finished
            || connection.input.is_behind
            || connection.phase == Phase::Shut
        {
            return;
        }
        if connection.session.has_open_question() && !connection.is_closing() {
            if !std::mem::replace(&mut connection.is_watched, true) {
                self.io.await_hang_up(&connection.socket, key);
            }
            return;
        }
        connection.is_receiving = true;
        let expected = match connection.is_publishing() {
            false => Input::Commands,
            true if connection.publications().any(|publication| publication.has_readers()) => Input::Media,
            true => Input::UnreadMedia,
        };
        self.io.receive(&connection.socket, key, expected);
    }

    /// What came on a connection is opened, and what is in it goes to its session.
    fn open(&mut self, key: usize, bytes: Bytes) {
        let transport = &mut self.connections[key].transport;
        let opened = transport.open(bytes);
        if let Some(result) = transport.take_handshake() {
            self.shared.handshakes().count(result);
        }
        match opened {
            Ok(Opened { plain, has_ended }) => {
                if plain.is_empty() {
                    self.flush(key);
                } else {
                    self.feed(key, plain);
                }
                let Some(connection) = self.connections.get_mut(key) else { return };
                if !has_ended || connection.is_closing() {
                } else if connection.session.is_one_sided() {
                    connection.has_finished = true;
                } else {
                    connection.has_said_end = true;
                }
            }
            Err(error) => self.finish(key, Reason::violation(&error.into())),
        }
    }

    /// Handshakes that wait for their turn.
    pub fn handshakes_len(&self) -> usize {
        self.handshakes.len()
    }

    /// Goes on with the TLS handshake that has waited longest. False where there is none.
    pub fn work_off_handshake(&mut self) -> bool {
        while let Some((key, id, bytes)) = self.handshakes.pop_front() {
            // It may have ended since, and another one have its place.
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.id == id) else { continue };
            if !connection.is_closing() {
                self.open(key, bytes);
            }
            self.receive(key);
            self.reap(key);
            return true;
        }
        false
    }

    /// What came on a connection goes to its session, which does it now or in its turn.
    pub(super) fn feed(&mut self, key: usize, bytes: Bytes) {
        let now_ms = self.now.ms;
        let connection = &mut self.connections[key];
        connection.publications().for_each(|publication| publication.heard(now_ms));
        let outcome = connection.session.receive(bytes, now_ms);
        if connection.phase == Phase::Handshake && connection.session.is_handshake_done() {
            connection.phase = Phase::Open;
            connection.ticket.shook_hands();
        }
        match outcome {
            Ok(()) => self.work_off(key),
            Err(violation) => {
                self.poll_session(key);
                self.expel(key, &violation);
            }
        }
    }
}
