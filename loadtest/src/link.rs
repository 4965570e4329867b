//! One socket with a client's session on it: what the session would say goes out, what comes in goes to it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use fanfare_rtmp::rtmp::client::{Client, ClientConfig, Event};

use crate::flv_client::FlvClient;
use crate::sys::{self, Origin, Received};

/// A connection of a client.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    is_connected: bool,
    /// The protocol, as long as it is followed.
    client: Option<Box<Client>>,
    /// Likewise, where it is HTTP's.
    flv_client: Option<Box<FlvClient>>,
    is_rtmp: bool,
    /// What the socket had no room for.
    unsent: Vec<u8>,
    received_bytes: u64,
    sent_bytes: u64,
}

/// The connection is over: closed by the peer, broken, or against the protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Over(pub String);

impl Link {
    /// Begins to connect.
    ///
    /// # Errors
    /// No port or file is left.
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

    /// Begins to connect, to ask for a stream over HTTP.
    ///
    /// # Errors
    /// No port or file is left.
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

    /// Is told that the socket became ready; sends what waits.
    ///
    /// # Errors
    /// It did not connect, or is broken.
    pub fn ready(&mut self) -> Result<(), Over> {
        if !self.is_connected {
            sys::connected(&self.socket)?;
            self.is_connected = true;
        }
        self.flush()
    }

    /// Takes what came, `scrap.len()` and `limit` bytes at most, and tells what it means. Returns how many bytes it
    /// was; fewer than asked for means that nothing is left.
    ///
    /// # Errors
    /// The connection is over.
    pub fn receive(
        &mut self,
        scrap: &mut [u8],
        limit: usize,
        mut event: impl FnMut(Event),
    ) -> Result<usize, Over> {
        let len = scrap.len().min(limit);
        let n = match sys::receive(&self.socket, &mut scrap[..len]) {
            Received::Bytes(n) => n,
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(Over("closed by the server".to_owned())),
        };
        self.received_bytes += n as u64;
        if let Some(client) = &mut self.client {
            let bytes = Bytes::copy_from_slice(&scrap[..n]);
            client.receive(bytes, sys::now_ns() / 1_000_000).map_err(|error| Over(error.to_string()))?;
            while let Some(next) = client.poll() {
                match next {
                    Event::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                    other => event(other),
                }
            }
        }
        if let Some(client) = &mut self.flv_client {
            client.receive(&scrap[..n], &mut event).map_err(Over)?;
        }
        self.flush()?;
        Ok(n)
    }

    /// Lets the kernel throw away what came, unread. Returns how many bytes it was.
    ///
    /// # Errors
    /// The connection is over.
    pub fn discard(&mut self, scrap: &mut [u8]) -> Result<usize, Over> {
        let n = match sys::discard(&self.socket, scrap) {
            Received::Bytes(n) => n,
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(Over("closed by the server".to_owned())),
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

    /// Follows the protocol no longer: only [`Link::discard`] makes sense from now on.
    pub fn forget_protocol(&mut self) {
        self.client = None;
        self.flv_client = None;
        self.unsent.shrink_to_fit();
    }

    /// Has the session say something, and sends it.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn say(&mut self, what: impl FnOnce(&mut Client)) -> Result<(), Over> {
        let Some(client) = &mut self.client else { return Ok(()) };
        what(client);
        while let Some(Event::Send(bytes)) = client.poll() {
            self.unsent.extend_from_slice(&bytes);
        }
        self.flush()
    }

    /// Bytes that wait for room in the socket.
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

    fn flush(&mut self) -> Result<(), Over> {
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

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Handshakes must differ, not be secret.
fn random(now_ns: u64) -> [u8; 32] {
    let mut random = [0; 32];
    random[..8].copy_from_slice(&now_ns.to_be_bytes());
    random
}

/// As the session acknowledges by itself: a server may want to hear of the player.
const ACKNOWLEDGE_EVERY: u64 = 2_500_000;
/// Chunk stream 2, type 0, 4 bytes of message type 3.
const ACKNOWLEDGEMENT_HEADER: &[u8] = b"\x02\0\0\0\0\0\x04\x03\0\0\0\0";
