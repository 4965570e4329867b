//! One socket and its client session: sends what the session outputs, and feeds it what the socket receives.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use fanfare_rtmp::rtmp::client::{Client, ClientConfig, Event};

use crate::flv_client::FlvClient;
use crate::sys::{self, Origin, Received};

/// A client's connection.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    is_connected: bool,
    /// The RTMP session, until [`Link::forget_protocol`].
    client: Option<Box<Client>>,
    /// The HTTP session, until [`Link::forget_protocol`].
    flv_client: Option<Box<FlvClient>>,
    is_rtmp: bool,
    /// Bytes that the socket has not accepted yet.
    unsent: Vec<u8>,
    received_bytes: u64,
    sent_bytes: u64,
}

/// Why the connection ended: closed by the peer, broken, or a protocol error.
#[derive(Debug, PartialEq, Eq)]
pub struct Disconnected(pub String);

impl Link {
    /// Starts to connect.
    ///
    /// # Errors
    /// No free port or file descriptor.
    pub fn new(config: ClientConfig, target: SocketAddr, origin: Origin) -> io::Result<Self> {
        let now_ns = sys::now_ns();
        let client = Client::new(config, now_ns / 1_000_000, random(now_ns));
        Ok(Self {
            socket: sys::connect(target, origin)?,
            is_connected: false,
            client: Some(Box::new(client)),
            flv_client: None,
            is_rtmp: true,
            unsent: Vec::new(),
            received_bytes: 0,
            sent_bytes: 0,
        })
    }

    /// Starts to connect, to request a stream over HTTP.
    ///
    /// # Errors
    /// No free port or file descriptor.
    pub fn over_http(mut client: FlvClient, target: SocketAddr, origin: Origin) -> io::Result<Self> {
        Ok(Self {
            socket: sys::connect(target, origin)?,
            is_connected: false,
            client: None,
            unsent: client.request().unwrap_or_default().into(),
            flv_client: Some(Box::new(client)),
            is_rtmp: false,
            received_bytes: 0,
            sent_bytes: 0,
        })
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
        mut event: impl FnMut(Event),
    ) -> Result<usize, Disconnected> {
        let len = scratch.len().min(limit);
        let n = match sys::receive(&self.socket, &mut scratch[..len]) {
            Received::Bytes(n) => n,
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(Disconnected("closed by the server".to_owned())),
        };
        self.received_bytes += n as u64;
        if let Some(client) = &mut self.client {
            let bytes = Bytes::copy_from_slice(&scratch[..n]);
            client
                .receive(bytes, sys::now_ns() / 1_000_000)
                .map_err(|error| Disconnected(error.to_string()))?;
            while let Some(next) = client.poll() {
                match next {
                    Event::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                    other => event(other),
                }
            }
        }
        if let Some(client) = &mut self.flv_client {
            client.receive(&scratch[..n], &mut event).map_err(Disconnected)?;
        }
        self.flush()?;
        Ok(n)
    }

    /// Has the kernel discard what was received, unread. Returns the number of bytes.
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
            self.unsent.extend_from_slice(ACKNOWLEDGEMENT_HEADER);
            self.unsent.extend_from_slice(&(self.received_bytes as u32).to_be_bytes());
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
        while let Some(Event::Send(bytes)) = client.poll() {
            self.unsent.extend_from_slice(&bytes);
        }
        self.flush()
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
        if let (Some(client), true) = (&mut self.client, self.is_connected && self.sent_bytes == 0) {
            while let Some(Event::Send(bytes)) = client.poll() {
                self.unsent.extend_from_slice(&bytes);
            }
        }
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
