//! One socket and its client session: sends what the session outputs, and feeds it what the socket receives; encrypted
//! where the target is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use fanfare_rtmp::rtmp::client::{Client, ClientConfig, Event};

use crate::flv_client::FlvClient;
use crate::sys::{self, Origin, Received};
use crate::target::Target;
use crate::tls::Tls;

/// A client's connection.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    is_connected: bool,
    tls: Option<Box<Tls>>,
    /// The RTMP session, until [`Link::forget_protocol`].
    client: Option<Box<Client>>,
    /// The HTTP session, until [`Link::forget_protocol`].
    flv_client: Option<Box<FlvClient>>,
    is_rtmp: bool,
    /// Bytes for the socket that it has not accepted yet.
    unsent: Vec<u8>,
    received_bytes: u64,
    sent_bytes: u64,
}

/// Why the connection ended: closed by the peer, broken, or a protocol error.
#[derive(Debug, PartialEq, Eq)]
pub struct Disconnected(pub String);

impl Link {
    /// Starts to connect, to publish or to play over RTMP.
    ///
    /// # Errors
    /// No free port or file descriptor.
    pub fn new(config: ClientConfig, target: &Target, origin: Origin) -> io::Result<Self> {
        let now_ns = sys::now_ns();
        let client = Client::new(config, now_ns / 1_000_000, random(now_ns));
        let mut link = Self::connect(target, origin, true)?;
        link.client = Some(Box::new(client));
        link.poll_client();
        Ok(link)
    }

    /// Starts to connect, to request a stream over HTTP.
    ///
    /// # Errors
    /// No free port or file descriptor.
    pub fn over_http(mut client: FlvClient, target: &Target, origin: Origin) -> io::Result<Self> {
        let mut link = Self::connect(target, origin, false)?;
        link.push(&client.request().unwrap_or_default());
        link.flv_client = Some(Box::new(client));
        Ok(link)
    }

    fn connect(target: &Target, origin: Origin, is_rtmp: bool) -> io::Result<Self> {
        let mut link = Self {
            socket: sys::connect(target.address, origin)?,
            is_connected: false,
            tls: target.tls.as_ref().map(|clients| Box::new(clients.connect())),
            client: None,
            flv_client: None,
            is_rtmp,
            unsent: Vec::new(),
            received_bytes: 0,
            sent_bytes: 0,
        };
        link.push(&[]);
        Ok(link)
    }

    /// To be called when the socket becomes ready. Sends what is pending.
    ///
    /// # Errors
    /// It could not connect, or the connection is broken.
    pub fn on_ready(&mut self) -> Result<(), Disconnected> {
        if !self.is_connected {
            sys::connected(&self.socket)?;
            self.is_connected = true;
        }
        self.flush()
    }

    /// Receives at most `scratch.len()` and `limit` bytes, and calls `event` for what they mean. Returns the number of bytes;
    /// fewer than asked for means that nothing is left.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        limit: usize,
        event: impl FnMut(Event),
    ) -> Result<usize, Disconnected> {
        let len = scratch.len().min(limit);
        let n = match sys::receive(&self.socket, &mut scratch[..len]) {
            Received::Bytes(n) => n,
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(Disconnected("closed by the server".to_owned())),
        };
        self.received_bytes += n as u64;
        let bytes = &scratch[..n];
        let Some(tls) = &mut self.tls else {
            self.understand(Bytes::copy_from_slice(bytes), event)?;
            return Ok(n);
        };
        let mut plain = Vec::new();
        let outcome = tls.receive(bytes, &mut plain);
        self.push(&[]);
        match outcome {
            Ok(()) => self.understand(plain.into(), event)?,
            Err(error) => {
                // The server is sent why, if its socket takes it.
                let _ = self.flush();
                return Err(Disconnected(error));
            }
        }
        Ok(n)
    }

    /// What was received goes to the session, and what that outputs is sent.
    fn understand(&mut self, bytes: Bytes, mut event: impl FnMut(Event)) -> Result<(), Disconnected> {
        if let Some(client) = &mut self.flv_client {
            client.receive(&bytes, &mut event).map_err(Disconnected)?;
        }
        if let Some(client) = &mut self.client {
            let now_ms = sys::now_ns() / 1_000_000;
            client.receive(bytes, now_ms).map_err(|error| Disconnected(error.to_string()))?;
            while let Some(next) = client.poll() {
                match next {
                    Event::Send(bytes) => push(&mut self.tls, &mut self.unsent, &bytes),
                    other => event(other),
                }
            }
        }
        self.flush()
    }

    /// Has the kernel discard what was received, unread and still encrypted. Returns the number of bytes.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn discard(&mut self, scratch: &mut [u8]) -> Result<usize, Disconnected> {
        let n = match sys::discard(&self.socket, scratch) {
            Received::Bytes(n) => n,
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(Disconnected("closed by the server".to_owned())),
        };
        let before = self.received_bytes;
        self.received_bytes += n as u64;
        if self.is_rtmp && before / ACKNOWLEDGE_EVERY != self.received_bytes / ACKNOWLEDGE_EVERY {
            let count = (self.received_bytes as u32).to_be_bytes();
            self.push(&[ACKNOWLEDGEMENT_HEADER, &count].concat());
            self.flush()?;
        }
        Ok(n)
    }

    /// Drops the session: from now on only [`Link::discard`] makes sense.
    pub fn forget_protocol(&mut self) {
        self.client = None;
        self.flv_client = None;
        self.unsent.shrink_to_fit();
    }

    /// Calls `what` with the RTMP session, and sends what the session outputs.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn with_client(&mut self, what: impl FnOnce(&mut Client)) -> Result<(), Disconnected> {
        let Some(client) = &mut self.client else { return Ok(()) };
        what(client);
        self.poll_client();
        self.flush()
    }

    /// Takes what the RTMP session has to send.
    fn poll_client(&mut self) {
        let Some(client) = &mut self.client else { return };
        while let Some(Event::Send(bytes)) = client.poll() {
            push(&mut self.tls, &mut self.unsent, &bytes);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        push(&mut self.tls, &mut self.unsent, bytes);
    }

    /// Bytes that the socket has not accepted yet.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Bytes received.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Bytes sent.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    fn flush(&mut self) -> Result<(), Disconnected> {
        while self.is_connected && !self.unsent.is_empty() {
            let sent = sys::send(&self.socket, &self.unsent)?;
            if sent == 0 {
                break;
            }
            self.sent_bytes += sent as u64;
            self.unsent.drain(..sent);
        }
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<io::Error> for Disconnected {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Adds bytes to what is to be sent, and whatever TLS has to send.
fn push(tls: &mut Option<Box<Tls>>, unsent: &mut Vec<u8>, bytes: &[u8]) {
    match tls {
        None => unsent.extend_from_slice(bytes),
        Some(tls) => {
            tls.write(bytes);
            tls.take_records(unsent);
        }
    }
}

/// Handshakes must differ; they need not be secret.
fn random(now_ns: u64) -> [u8; 32] {
    let mut random = [0; 32];
    random[..8].copy_from_slice(&now_ns.to_be_bytes());
    random
}

/// As the session does by itself: a server may rely on acknowledgements.
const ACKNOWLEDGE_EVERY: u64 = 2_500_000;
/// Chunk stream 2, type 0, 4 bytes of message type 3.
const ACKNOWLEDGEMENT_HEADER: &[u8] = b"\x02\0\0\0\0\0\x04\x03\0\0\0\0";
