//! What comes and goes on the sockets of a core: completions of sends and receives, and what is sent and received next.

use std::io;

use bytes::{Bytes, BytesMut};

use super::{
    buffers::Size,
    connection::{Reason, Sending, Step},
    core::Core,
    shortage::Trouble,
};
use crate::fanout::Batch;

impl Core {
    pub(super) fn received(&mut self, key: usize, mut buffer: BytesMut, result: io::Result<usize>) {
        let connection = &mut self.connections[key];
        connection.is_receiving = false;
        match result {
            Ok(0) if connection.closing.is_none() && connection.dialogue.is_one_sided() => {
                connection.has_finished = true;
            }
            Ok(0) => self.end(key, Reason::PeerClosed),
            Ok(n) => {
                connection.bytes_in += n as u64;
                self.tally.bytes_in += n as u64;
                connection.heard_ms = self.patient_ms;
                let bytes = buffer.split().freeze();
                if connection.closing.is_none() {
                    self.feed(key, bytes);
                }
                self.receive_into(key, buffer);
                return;
            }
            Err(error) => match Trouble::of(error) {
                Trouble::Interrupted => return self.receive_into(key, buffer),
                Trouble::Shortage => self.receive_later(key),
                Trouble::Broken(error) => self.end(key, Reason::Socket(error)),
            },
        }
        self.buffers.give_back(self.connections[key].buffer_size, buffer);
        self.reap(key);
    }

    pub(super) fn sent(&mut self, key: usize, mut batch: Batch, result: io::Result<usize>) {
        let connection = &mut self.connections[key];
        let what = std::mem::replace(&mut connection.sending, Sending::No);
        match result {
            Ok(n) => {
                connection.bytes_out += n as u64;
                self.tally.bytes_out[connection.dialogue.protocol().index()] += n as u64;
                connection.progress_ms = self.patient_ms;
                match (what, &self.connections[key].playing) {
                    (Sending::Media, Some(playing)) => {
                        self.hub.sent(playing.key, n, n == batch.bytes().len());
                    }
                    _ => batch.advance(n),
                }
                if what == Sending::Own {
                    let connection = &mut self.connections[key];
                    connection.own_bytes = connection.own_bytes.min(batch.bytes().len());
                    self.recount(key);
                }
                if what == Sending::Own && !batch.bytes().is_empty() {
                    self.send(key, Sending::Own, batch);
                } else {
                    self.flush(key);
                }
            }
            Err(error) => match Trouble::of(error) {
                Trouble::Interrupted => self.send(key, what, batch),
                Trouble::Shortage => self.send_later(key, what, batch),
                Trouble::Broken(error) => self.end(key, self.connections[key].broken_by(error)),
            },
        }
        self.reap(key);
    }

    /// Sends what is next for this connection, if nothing is under way: the rest of a message first, then what the
    /// session says, then media.
    pub(super) fn flush(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.sending != Sending::No || connection.step() > Some(Step::Flushing) {
            return;
        }
        connection.progress_ms = self.patient_ms;
        let player = connection.playing.as_ref().map(|playing| playing.key);
        let has_own = !connection.outbox.is_empty();
        let is_half_sent = player.is_some_and(|player| !self.hub.is_at_boundary(player));
        if has_own && !is_half_sent {
            let bytes = connection.take_outbox();
            connection.own_bytes = bytes.len();
            return self.send(key, Sending::Own, Batch::Own(bytes));
        }
        let only_rest = has_own || connection.closing.is_some();
        let batch = player.and_then(|player| self.hub.next_batch(player, only_rest, self.now_ms));
        match batch {
            Some(batch) => {
                self.tally.send_bytes.observe(batch.bytes().len() as u64);
                let lag_ms = player.and_then(|player| self.hub.lag_ms(player, self.now_ms));
                self.tally.lag_ms.observe(lag_ms.unwrap_or(0).into());
                self.send(key, Sending::Media, batch);
            }
            None if self.connections[key].closing.is_some() => self.linger(key),
            None => {}
        }
    }

    pub(super) fn send(&mut self, key: usize, what: Sending, batch: Batch) {
        let connection = &mut self.connections[key];
        connection.sending = what;
        self.tally.sends += 1;
        self.ring.send(connection.fd(), key, batch);
    }

    /// Waits for the peer's next bytes. A publisher's go straight into a buffer; nobody else holds one meanwhile.
    pub(super) fn receive(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.is_receiving
            || connection.has_finished
            || connection.input.is_behind
            || connection.step() == Some(Step::Shut)
            || connection.dialogue.is_holding()
        {
            return;
        }
        connection.is_receiving = true;
        if connection.is_publishing() {
            connection.buffer_size = Size::Large;
            let buffer = self.buffers.take(Size::Large);
            self.ring.receive(connection.fd(), key, buffer);
        } else {
            self.ring.readable(connection.fd(), key);
        }
    }

    fn receive_into(&mut self, key: usize, buffer: BytesMut) {
        let connection = &mut self.connections[key];
        // One that publishes may ask to publish more: what it sends meanwhile waits in its socket.
        let waits = connection.input.is_behind || connection.dialogue.is_holding();
        let goes_on = connection.closing.is_none() && !waits;
        if goes_on && connection.is_publishing() {
            connection.is_receiving = true;
            let buffer = self.buffers.renew(connection.buffer_size, buffer);
            connection.buffer_size = Size::Large;
            self.ring.receive(connection.fd(), key, buffer);
        } else {
            self.buffers.give_back(connection.buffer_size, buffer);
            self.receive(key);
        }
        self.reap(key);
    }

    pub(super) fn feed(&mut self, key: usize, bytes: Bytes) {
        let now_ms = self.now_ms;
        let connection = &mut self.connections[key];
        connection.publications().for_each(|publication| publication.heard(now_ms));
        let outcome = connection.dialogue.receive(bytes, now_ms);
        if connection.dialogue.has_shaken_hands() {
            connection.ticket.shook_hands();
        }
        match outcome {
            Ok(()) => self.work_off(key),
            Err(violation) => {
                self.poll_session(key);
                self.expel(key, violation);
            }
        }
    }
}
