//! What server and client do alike once hands are shaken: chunks both ways, acknowledgements, pings.

use bytes::Bytes;

use super::chunk::{self, ChunkStreamId, Decoder, Encoder, Limits, Message};
use super::command::Command;
use super::error::{Error, ErrorKind};
use super::message::{Control, UserControl, type_id};
use crate::amf0::{self, Value};

/// One end of a connection, below the commands. What it has to say piles up in one buffer until it is taken.
#[derive(Debug)]
pub(super) struct Link {
    decoder: Decoder,
    encoder: Encoder,
    out: Vec<u8>,
    /// Bytes of the peer's handshake, which the decoder never saw.
    handshake_bytes: u64,
    /// Bytes received, handshake and all. As librtmp counts.
    received: u64,
    /// `received` when we last acknowledged.
    acknowledged: u64,
    /// Bytes after which we acknowledge; 0 for never.
    window_bytes: u32,
    /// The window that we announced last.
    announced_window_bytes: u32,
    /// Bytes of ours that the peer has acknowledged; its counter, unwrapped.
    peer_acknowledged: u64,
    /// When the connection began.
    started_ms: u64,
    /// When the caller last said what time it is.
    now_ms: u64,
    round_trip_ms: Option<u32>,
}

/// One message that came.
pub(super) enum Taken {
    /// There is nothing left to do about it.
    Settled,
    /// It is the caller's.
    Message(Message),
}

impl Link {
    pub fn new(limits: Limits, now_ms: u64) -> Self {
        Self {
            decoder: Decoder::new(limits),
            encoder: Encoder::new(),
            out: Vec::new(),
            handshake_bytes: 0,
            received: 0,
            acknowledged: 0,
            window_bytes: WINDOW_BYTES,
            announced_window_bytes: 0,
            peer_acknowledged: 0,
            started_ms: now_ms,
            now_ms,
            round_trip_ms: None,
        }
    }

    /// Takes note of bytes that came, whoever is going to read them.
    pub fn count(&mut self, bytes: usize, now_ms: u64) {
        self.received += bytes as u64;
        self.now_ms = now_ms;
    }

    /// Takes note of bytes that the handshake read, and sends what it has to say.
    pub fn shook_hands(&mut self, consumed: usize, send: &[u8]) {
        self.handshake_bytes += consumed as u64;
        self.out.extend_from_slice(send);
    }

    /// Takes chunks; they have been counted.
    pub fn feed(&mut self, bytes: Bytes) {
        self.decoder.feed(bytes);
    }

    /// Whether the payload of media is wanted: see [`Decoder::want_media`].
    pub fn want_media(&mut self, wants_media: bool) {
        self.decoder.want_media(wants_media);
    }

    /// Whether all bytes that were fed have been read.
    pub fn is_drained(&self) -> bool {
        self.decoder.is_drained()
    }

    /// The next message that is not settled here. Before the next `feed`, call this until there is none.
    pub fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.take()? {
                Some(Taken::Settled) => {}
                Some(Taken::Message(message)) => return Ok(Some(message)),
                None => return Ok(None),
            }
        }
    }

    /// As [`Link::next`], but gives the caller its turn after each message.
    pub fn take(&mut self) -> Result<Option<Taken>, Error> {
        let Some(message) = self.decoder.next().map_err(|error| self.misread(error))? else {
            return Ok(None);
        };
        Ok(Some(if self.settle(&message)? { Taken::Settled } else { Taken::Message(message) }))
    }

    /// Acknowledges what came, if it is time: at most once a read, however small the window.
    pub fn acknowledge(&mut self) {
        let due = u64::from(self.window_bytes.max(MIN_WINDOW_BYTES));
        if self.window_bytes != 0 && self.received - self.acknowledged >= due {
            self.acknowledged = self.received;
            self.control(Control::Acknowledgement(self.received as u32));
        }
    }

    /// Memory on the heap, bytes.
    pub fn held_bytes(&self) -> usize {
        self.out.capacity() + self.decoder.held_bytes()
    }

    /// Nothing of what the peer has said is read any more.
    pub fn let_go_of_input(&mut self) {
        self.decoder.discard();
    }

    /// A violation at the bytes read so far.
    pub fn violation(&self, kind: impl Into<ErrorKind>) -> Error {
        Error { position: self.handshake_bytes + self.decoder.position(), kind: kind.into() }
    }

    /// A violation where the decoder found it.
    fn misread(&self, error: chunk::Error) -> Error {
        Error { position: self.handshake_bytes + error.position(), kind: error.into() }
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.control(Control::User(UserControl::PingRequest(self.clock())));
    }

    /// How long the last answered ping took.
    pub fn round_trip_ms(&self) -> Option<u32> {
        self.round_trip_ms
    }

    /// Bytes received, handshake and all.
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Bytes of ours that the peer says it has; it may say nothing, or lie.
    pub fn peer_acknowledged_bytes(&self) -> u64 {
        self.peer_acknowledged
    }

    /// Sends a control message. Set Chunk Size holds for what comes after it.
    pub fn control(&mut self, control: Control) {
        self.send(ChunkStreamId::CONTROL.get(), control.message_type_id(), 0, control.to_bytes());
        match control {
            Control::SetChunkSize(size) => self.encoder.set_chunk_size(size),
            Control::WindowAcknowledgementSize(window) => self.announced_window_bytes = window,
            _ => {}
        }
    }

    /// Sends a command: on message stream 0 to the connection, else to a stream of it.
    pub fn command(&mut self, message_stream_id: u32, command: &Command) {
        self.send(COMMAND_CHUNK_STREAM_ID, type_id::COMMAND_AMF0, message_stream_id, command.to_bytes());
    }

    /// Sends a data message of these values.
    pub fn data(&mut self, message_stream_id: u32, values: &[Value]) {
        self.send(DATA_CHUNK_STREAM_ID, type_id::DATA_AMF0, message_stream_id, amf0::encode_all(values));
    }

    /// Sends any message.
    pub fn message(&mut self, message: &Message) {
        self.encoder.encode(message, &mut self.out);
    }

    /// What there is to send, whole messages; leaves no memory behind.
    pub fn take_out(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out).into())
    }

    /// As if a peer had sent so many bytes, all acknowledged.
    #[cfg(test)]
    pub fn skip_received(&mut self, bytes: u64) {
        self.received += bytes;
        self.acknowledged = self.received;
    }

    /// As if the peer had had so many bytes of ours, and acknowledged all.
    #[cfg(test)]
    pub fn skip_sent(&mut self, bytes: u64) {
        self.peer_acknowledged += bytes;
    }

    fn send(&mut self, chunk_stream_id: u32, message_type_id: u8, message_stream_id: u32, body: Vec<u8>) {
        let payload = Bytes::from(body).into();
        self.message(&Message {
            chunk_stream_id,
            timestamp_ms: 0,
            message_type_id,
            message_stream_id,
            payload,
        });
    }

    /// Does what a control message asks, on whatever chunk stream it came: cameras use others than 2. Says whether
    /// that was all.
    fn settle(&mut self, message: &Message) -> Result<bool, Error> {
        let mut body = [0; LONGEST_CONTROL_BYTES];
        let len = message.payload.copy_prefix(&mut body);
        let control = Control::parse(message.message_type_id, &body[..len]);
        let Some(control) = control.map_err(|error| self.violation(error))? else {
            return Ok(false);
        };
        match control {
            Control::WindowAcknowledgementSize(window) => self.window_bytes = window,
            Control::Acknowledgement(number) => {
                // A counter of 32 bits: how far it moved is what counts.
                let moved = number.wrapping_sub(self.peer_acknowledged as u32);
                self.peer_acknowledged += u64::from(moved);
            }
            // §5.4.5: answered unless the peer has heard this very number from us.
            Control::SetPeerBandwidth(window, _) if window != self.announced_window_bytes => {
                self.control(Control::WindowAcknowledgementSize(window));
            }
            Control::User(UserControl::PingRequest(time_ms)) => {
                self.control(Control::User(UserControl::PingResponse(time_ms)));
            }
            Control::User(UserControl::PingResponse(time_ms)) => {
                let round_trip = self.clock().wrapping_sub(time_ms);
                self.round_trip_ms =
                    Some(round_trip).filter(|&ms| ms <= MAX_ROUND_TRIP_MS).or(self.round_trip_ms);
            }
            // Only a client minds.
            Control::User(UserControl::StreamEof(_)) => return Ok(false),
            Control::SetPeerBandwidth(..) | Control::User(_) | Control::SetChunkSize(_) => {}
        }
        Ok(true)
    }

    /// What pings carry: milliseconds since the connection began, modulo 2^32.
    fn clock(&self) -> u32 {
        self.now_ms.saturating_sub(self.started_ms) as u32
    }
}

/// What we announce as window and as bandwidth, and what we acknowledge after when the peer names no window:
/// Flash Media Server's own, and half a second at 40 Mbit/s.
pub(super) const WINDOW_BYTES: u32 = 2_500_000;
/// A peer that wants an answer to each byte gets one for each 4 KiB, of 16 bytes: 0.4 %.
const MIN_WINDOW_BYTES: u32 = 4096;
/// An event, a message stream id and a buffer length. Whatever stands behind is padding.
const LONGEST_CONTROL_BYTES: usize = 10;
/// An answer to a ping later than this is no answer to ours.
const MAX_ROUND_TRIP_MS: u32 = 600_000;
/// As Flash Media Server and FFmpeg have it.
const COMMAND_CHUNK_STREAM_ID: u32 = 3;
/// As [`super::chunk::MediaFormat`] has it.
const DATA_CHUNK_STREAM_ID: u32 = 5;
