//! What server and client have in common after the handshake: chunks in both directions, acknowledgements, pings.

use bytes::Bytes;

use super::chunk::{self, ChunkLimits, ChunkStreamId, Decoder, Encoder, Message};
use super::command::Command;
use super::error::{Error, ErrorKind};
use super::message::{Control, UserControl, type_id};
use crate::amf0::{self, Value};

/// One end of a connection, below the commands. Messages to send accumulate in one buffer until they are taken.
#[derive(Debug)]
pub(super) struct Link {
    decoder: Decoder,
    encoder: Encoder,
    unsent: Vec<u8>,
    /// Bytes of the peer's handshake, which the decoder does not count.
    handshake_bytes: u64,
    /// Bytes received, including the handshake, as librtmp counts.
    received: u64,
    /// `received` at the last acknowledgement.
    acknowledged: u64,
    /// Bytes after which we acknowledge; 0 means never.
    window_bytes: u32,
    /// The window that we announced last.
    announced_window_bytes: u32,
    /// Bytes that the peer has acknowledged: its 32-bit counter, extended to 64 bits.
    peer_acknowledged: u64,
    /// When the connection began.
    started_ms: u64,
    /// The caller's newest time.
    now_ms: u64,
    round_trip_ms: Option<u32>,
}

/// One received message.
pub(super) enum Received {
    /// The link has handled it.
    Handled,
    /// The caller has to handle it.
    Message(Message),
}

impl Link {
    pub fn new(limits: ChunkLimits, now_ms: u64) -> Self {
        Self {
            decoder: Decoder::new(limits),
            encoder: Encoder::new(),
            unsent: Vec::new(),
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

    /// Counts received bytes, of the handshake or not.
    pub fn note_received(&mut self, bytes: usize, now_ms: u64) {
        self.received += bytes as u64;
        self.now_ms = now_ms;
    }

    /// Counts bytes that the handshake has read, and sends its answer.
    pub fn note_handshake(&mut self, consumed: usize, send: &[u8]) {
        self.handshake_bytes += consumed as u64;
        self.unsent.extend_from_slice(send);
    }

    /// Takes chunks, which have been counted.
    pub fn feed(&mut self, bytes: Bytes) {
        self.decoder.feed(bytes);
    }

    /// See [`Decoder::set_wants_media`].
    pub fn set_wants_media(&mut self, wants_media: bool) {
        self.decoder.set_wants_media(wants_media);
    }

    /// Whether all bytes that were fed have been read.
    pub fn is_drained(&self) -> bool {
        self.decoder.is_drained()
    }

    /// The next message for the caller. Call it until there is none, before the next `feed`.
    pub fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.take()? {
                Some(Received::Handled) => {}
                Some(Received::Message(message)) => return Ok(Some(message)),
                None => return Ok(None),
            }
        }
    }

    /// As [`Link::next`], but returns after each message, so that the caller can stop.
    pub fn take(&mut self) -> Result<Option<Received>, Error> {
        let Some(message) = self.decoder.next().map_err(|error| self.misread(error))? else {
            return Ok(None);
        };
        Ok(Some(if self.handle_control(&message)? { Received::Handled } else { Received::Message(message) }))
    }

    /// Acknowledges the received bytes if the window is full (§5.4.3). Called at most once per read, however small the
    /// window is.
    pub fn acknowledge(&mut self) {
        let due = u64::from(self.window_bytes.max(MIN_WINDOW_BYTES));
        if self.window_bytes != 0 && self.received - self.acknowledged >= due {
            self.acknowledged = self.received;
            self.control(Control::Acknowledgement(self.received as u32));
        }
    }

    /// Memory on the heap, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.unsent.capacity() + self.decoder.memory_bytes()
    }

    /// Frees all input that has not been read.
    pub fn discard_input(&mut self) {
        self.decoder.discard();
    }

    /// A violation at the current position.
    pub fn violation(&self, kind: impl Into<ErrorKind>) -> Error {
        Error { position: self.handshake_bytes + self.decoder.position(), kind: kind.into() }
    }

    /// A violation at the decoder's position.
    fn misread(&self, error: chunk::Error) -> Error {
        Error { position: self.handshake_bytes + error.position(), kind: error.into() }
    }

    /// Sends a PingRequest.
    pub fn ping(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.control(Control::User(UserControl::PingRequest(self.clock())));
    }

    /// The round-trip time of the last answered ping, in milliseconds.
    pub fn round_trip_ms(&self) -> Option<u32> {
        self.round_trip_ms
    }

    /// Bytes received, including the handshake.
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Bytes that the peer has acknowledged. It may acknowledge none, or more than it got.
    pub fn peer_acknowledged_bytes(&self) -> u64 {
        self.peer_acknowledged
    }

    /// Sends a control message. Set Chunk Size applies to all messages after it.
    pub fn control(&mut self, control: Control) {
        self.send(ChunkStreamId::CONTROL.get(), control.message_type_id(), 0, control.to_bytes());
        match control {
            Control::SetChunkSize(size) => self.encoder.set_chunk_size(size),
            Control::WindowAcknowledgementSize(window) => self.announced_window_bytes = window,
            _ => {}
        }
    }

    /// Sends a command; on message stream 0 it is about the connection.
    pub fn command(&mut self, message_stream_id: u32, command: &Command) {
        self.send(COMMAND_CHUNK_STREAM_ID, type_id::COMMAND_AMF0, message_stream_id, command.to_bytes());
    }

    /// Sends a data message of these values.
    pub fn data(&mut self, message_stream_id: u32, values: &[Value]) {
        self.send(DATA_CHUNK_STREAM_ID, type_id::DATA_AMF0, message_stream_id, amf0::encode_all(values));
    }

    /// Sends any message.
    pub fn message(&mut self, message: &Message) {
        self.encoder.encode(message, &mut self.unsent);
    }

    /// The messages to send so far. Keeps no buffer afterwards.
    pub fn take_unsent(&mut self) -> Option<Bytes> {
        (!self.unsent.is_empty()).then(|| std::mem::take(&mut self.unsent).into())
    }

    /// As if the peer had sent this many bytes, and they had been acknowledged.
    #[cfg(test)]
    pub fn skip_received(&mut self, bytes: u64) {
        self.received += bytes;
        self.acknowledged = self.received;
    }

    /// As if the peer had acknowledged this many further bytes.
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

    /// Handles a control message, on any chunk stream: cameras use others than 2. False if the caller has to handle it.
    fn handle_control(&mut self, message: &Message) -> Result<bool, Error> {
        let mut body = [0; MAX_CONTROL_BYTES];
        let len = message.payload.copy_prefix(&mut body);
        let control = Control::parse(message.message_type_id, &body[..len]);
        let Some(control) = control.map_err(|error| self.violation(error))? else {
            return Ok(false);
        };
        match control {
            Control::WindowAcknowledgementSize(window) => self.window_bytes = window,
            Control::Acknowledgement(number) => {
                // The counter has 32 bits and wraps.
                let moved = number.wrapping_sub(self.peer_acknowledged as u32);
                self.peer_acknowledged += u64::from(moved);
            }
            // §5.4.5: answered unless this is the window that we announced last.
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
            // For the client; the server ignores it.
            Control::User(UserControl::StreamEof(_)) => return Ok(false),
            Control::SetPeerBandwidth(..) | Control::User(_) | Control::SetChunkSize(_) => {}
        }
        Ok(true)
    }

    /// The timestamp of a ping: milliseconds since the connection began, modulo 2^32.
    fn clock(&self) -> u32 {
        self.now_ms.saturating_sub(self.started_ms) as u32
    }
}

/// The window and bandwidth that we announce, and the window for our acknowledgements if the peer announces none: the
/// value of Flash Media Server, and half a second at 40 Mbit/s.
pub(super) const WINDOW_BYTES: u32 = 2_500_000;
/// For peers that announce a tiny window. An acknowledgement has 16 bytes: 0.4 % of 4 KiB.
const MIN_WINDOW_BYTES: u32 = 4096;
/// An event, a message stream id and a buffer length. Any bytes after them are padding.
const MAX_CONTROL_BYTES: usize = 10;
/// A PingResponse later than this is not an answer to our PingRequest.
const MAX_ROUND_TRIP_MS: u32 = 600_000;
/// As in Flash Media Server and FFmpeg.
const COMMAND_CHUNK_STREAM_ID: u32 = 3;
/// As in [`super::chunk::MediaFormat`].
const DATA_CHUNK_STREAM_ID: u32 = 5;
