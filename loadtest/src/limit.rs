//! The baseline: a server that only calls `send()`.
//!
//! One thread, one stream. The protocol's session answers a connection until it plays. From then on a player is a socket
//! and a position, and each pass is a plain loop over all players that sends each one everything it lacks, in one call. It
//! never skips, drops only players that are too far behind, and optimises nothing: what a relay costs more than this is
//! the relay's own work. Over TLS each player's bytes are also encrypted by rustls' buffered interface, and its records
//! are what the socket gets: then what a relay costs more is its own way to encrypt.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, net::SocketAddr};

use bytes::Bytes;
use fanfare_rtmp::flv::{Frame, FrameKind, WireFormat, audio, video};
use fanfare_rtmp::rtmp::chunk::MediaFormat;
use fanfare_rtmp::rtmp::session::{Answer, Output, Session, SessionConfig};
use rustls::ServerConfig;

use crate::link::Disconnected;
use crate::sys::{self, Poller, Received, SocketWriter};
use crate::tls::Tls;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 picks a free one.
    pub address: SocketAddr,
    /// Another address, for players over TLS.
    pub encrypted: Option<Encrypted>,
    /// How long frames are collected before they are sent. Zero: each is sent at once.
    pub window: Duration,
    /// How long to serve.
    pub time: Duration,
}

/// An address for TLS.
#[derive(Clone, Debug)]
pub struct Encrypted {
    /// Address to listen on; port 0 picks a free one.
    pub address: SocketAddr,
    /// With its certificate.
    pub config: Arc<ServerConfig>,
}

/// The addresses that it listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For RTMP.
    pub rtmp: SocketAddr,
    /// For RTMP over TLS.
    pub rtmps: Option<SocketAddr>,
}

/// Totals so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Current number of players.
    pub players: usize,
    /// Calls of `send()` for media.
    pub sends: u64,
    /// Bytes of media sent.
    pub bytes: u64,
    /// Sends that filled the socket.
    pub full: u64,
    /// Players that were disconnected because they were too far behind.
    pub dropped: u64,
    /// Bytes of the stream that all current players together lack.
    pub pending: u64,
}

/// Serves until the time is over or `stop` is set. Calls `listening` with the addresses, and `on_progress` every second with
/// the totals so far.
///
/// # Errors
/// It cannot listen on the address, as one line.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    listening: impl FnOnce(Listening),
    mut on_progress: impl FnMut(Sent),
) -> Result<Sent, String> {
    sys::raise_file_limit();
    let (mut server, rtmp) =
        Server::new(options.address).map_err(|error| format!("{}: {error}", options.address))?;
    let rtmps = options.encrypted.as_ref().map(|encrypted| {
        server.listen_encrypted(encrypted).map_err(|error| format!("{}: {error}", encrypted.address))
    });
    listening(Listening { rtmp, rtmps: rtmps.transpose()? });
    let end_ns = sys::now_ns().saturating_add(sys::nanos(options.time));
    let window_ns = sys::nanos(options.window);
    let mut pass_ns = sys::now_ns();
    let mut report_ns = sys::now_ns() + SECOND_NS;
    let mut ready = Vec::new();
    loop {
        let now_ns = sys::now_ns();
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            return Ok(server.sent);
        }
        if now_ns >= report_ns {
            report_ns += SECOND_NS;
            server.sent.pending = server.pending();
            on_progress(server.sent);
        }
        let wake_ns = if window_ns > 0 { pass_ns.min(report_ns) } else { report_ns };
        server.poller.wait(wake_ns.min(end_ns).saturating_sub(now_ns), &mut ready);
        for &number in &ready {
            server.on_ready(number);
        }
        if sys::now_ns() >= pass_ns {
            server.pass();
            // A window starts when the last one ends; a missed one is not made up for.
            pass_ns = (pass_ns + window_ns).max(sys::now_ns());
        }
    }
}

struct Server {
    poller: Poller,
    listener: OwnedFd,
    encrypted: Option<(OwnedFd, Arc<ServerConfig>)>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    log: Log,
    /// The slot of the publisher.
    publisher: Option<usize>,
    /// The log's head at the last pass.
    passed: u64,
    scratch: Vec<u8>,
    sent: Sent,
}

enum Slot {
    Free,
    Session(Box<SessionPeer>),
    Playing(Playing),
}

/// A connection with a session: a new one, or the publisher's.
struct SessionPeer {
    socket: OwnedFd,
    tls: Option<Box<Tls>>,
    session: Session,
    unsent: Vec<u8>,
}

/// A player.
struct Playing {
    socket: OwnedFd,
    tls: Option<Box<Tls>>,
    /// Its position in the log.
    at: u64,
    is_full: bool,
    /// What is sent before the log: responses to its commands, metadata, sequence headers.
    unsent: Vec<u8>,
}

impl Server {
    fn new(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let (listener, address) = sys::listen(address)?;
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER)?;
        let server = Self {
            poller,
            listener,
            encrypted: None,
            slots: Vec::new(),
            free: Vec::new(),
            log: Log::new(),
            publisher: None,
            passed: 0,
            scratch: vec![0; 64 << 10],
            sent: Sent::default(),
        };
        Ok((server, address))
    }

    fn listen_encrypted(&mut self, Encrypted { address, config }: &Encrypted) -> io::Result<SocketAddr> {
        let (listener, address) = sys::listen(*address)?;
        self.poller.add(&listener, ENCRYPTED_LISTENER)?;
        self.encrypted = Some((listener, config.clone()));
        Ok(address)
    }

    /// The bare send loop.
    fn pass(&mut self) {
        if self.passed == self.log.head() {
            return;
        }
        self.passed = self.log.head();
        for number in 0..self.slots.len() {
            let Slot::Playing(player) = &mut self.slots[number] else { continue };
            if !player.is_full && player.send(&self.log, &mut self.sent).is_err() {
                self.close(number);
            }
        }
    }

    fn pending(&self) -> u64 {
        let behind = self.slots.iter().map(|slot| match slot {
            Slot::Playing(player) => self.log.head() - player.at,
            Slot::Free | Slot::Session(_) => 0,
        });
        behind.sum()
    }

    fn on_ready(&mut self, number: usize) {
        if number == LISTENER {
            while let Some(socket) = sys::accept(&self.listener) {
                self.open(socket, None);
            }
            return;
        }
        if number == ENCRYPTED_LISTENER {
            while let Some((listener, config)) = &self.encrypted
                && let Some(socket) = sys::accept(listener)
            {
                if let Ok(tls) = Tls::accept(config.clone()) {
                    self.open(socket, Some(Box::new(tls)));
                }
            }
            return;
        }
        let outcome = match &mut self.slots[number] {
            Slot::Free => Ok(()),
            Slot::Session(_) => self.read_session(number),
            Slot::Playing(player) => player.on_ready(&mut self.scratch, &self.log, &mut self.sent),
        };
        if outcome.is_err() {
            self.close(number);
        }
    }

    fn open(&mut self, socket: OwnedFd, tls: Option<Box<Tls>>) {
        let number = self.free.pop().unwrap_or(self.slots.len());
        if self.poller.add(&socket, number).is_err() {
            self.free.extend((number < self.slots.len()).then_some(number));
            return;
        }
        let now_ns = sys::now_ns();
        let session = Session::new(&SessionConfig::default(), now_ns / 1_000_000, [now_ns as u8; 32]);
        let slot = Slot::Session(Box::new(SessionPeer { socket, tls, session, unsent: Vec::new() }));
        match self.slots.get_mut(number) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
    }

    fn close(&mut self, number: usize) {
        self.sent.players -= usize::from(matches!(self.slots[number], Slot::Playing(_)));
        self.slots[number] = Slot::Free;
        self.free.push(number);
        self.publisher = self.publisher.filter(|publisher| *publisher != number);
    }

    fn read_session(&mut self, number: usize) -> Result<(), Disconnected> {
        loop {
            let Slot::Session(peer) = &mut self.slots[number] else { return Ok(()) };
            let n = match sys::receive(&peer.socket, &mut self.scratch) {
                Received::Bytes(n) => n,
                Received::Nothing => return peer.flush(),
                Received::Closed => return Err(Disconnected("closed".to_owned())),
            };
            let mut bytes = Vec::new();
            match &mut peer.tls {
                None => bytes.extend_from_slice(&self.scratch[..n]),
                Some(tls) => tls.receive(&self.scratch[..n], &mut bytes).map_err(Disconnected)?,
            }
            peer.session
                .receive(Bytes::from(bytes), sys::now_ns() / 1_000_000)
                .map_err(|it| Disconnected(it.to_string()))?;
            let plays = peer.handle_outputs(number, &mut self.publisher, &mut self.log)?;
            peer.flush()?;
            if plays {
                self.play(number);
            }
        }
    }

    fn play(&mut self, number: usize) {
        let slot = std::mem::replace(&mut self.slots[number], Slot::Free);
        let Slot::Session(peer) = slot else { return };
        let SessionPeer { socket, tls, mut unsent, .. } = *peer;
        let at = self.log.join(&mut unsent);
        let mut player = Playing { socket, tls, at, is_full: false, unsent };
        self.sent.players += 1;
        let outcome = player.send(&self.log, &mut self.sent);
        self.slots[number] = Slot::Playing(player);
        if outcome.is_err() {
            self.close(number);
        }
    }
}

impl SessionPeer {
    /// Returns whether the peer plays from now on.
    fn handle_outputs(
        &mut self,
        number: usize,
        publisher: &mut Option<usize>,
        log: &mut Log,
    ) -> Result<bool, Disconnected> {
        let mut plays = false;
        while let Some(output) = self.session.poll().map_err(|error| Disconnected(error.to_string()))? {
            match output {
                Output::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                Output::Connect(request) => {
                    self.session.answer(request.question, Answer::Allow);
                }
                Output::Publish(request) if publisher.is_none() => {
                    *publisher = Some(number);
                    self.session.answer(request.question, Answer::Allow);
                }
                Output::Publish(request) => {
                    let code = "NetStream.Publish.BadName".to_owned();
                    let denial =
                        Answer::Deny { code, description: "There is a publisher already.".to_owned() };
                    self.session.answer(request.question, denial);
                }
                Output::Play(request) => {
                    self.session.answer(request.question, Answer::Allow);
                    plays = true;
                }
                Output::Frame { frame, .. } => log.append(&frame),
                Output::Close(_) => {
                    // The response fits into an empty socket.
                    let _ = self.flush();
                    return Err(Disconnected("refused".to_owned()));
                }
                _ => {}
            }
        }
        Ok(plays)
    }

    fn flush(&mut self) -> Result<(), Disconnected> {
        match &mut self.tls {
            None => {
                let sent = sys::send(&self.socket, &self.unsent)?;
                self.unsent.drain(..sent);
            }
            Some(tls) => {
                tls.write(&self.unsent);
                self.unsent.clear();
                tls.write_records(&mut SocketWriter(&self.socket))?;
            }
        }
        Ok(())
    }
}

impl Playing {
    /// Sends everything that it lacks. An error ends the connection.
    fn send(&mut self, log: &Log, sent: &mut Sent) -> Result<(), Disconnected> {
        self.is_full = false;
        if self.tls.is_some() {
            return self.encrypt_and_send(log, sent);
        }
        if !self.unsent.is_empty() {
            let n = sys::send(&self.socket, &self.unsent)?;
            self.unsent.drain(..n);
            self.is_full = !self.unsent.is_empty();
            if self.is_full {
                return Ok(());
            }
            self.unsent = Vec::new();
        }
        let lacking = self.lacking(log, sent)?;
        if lacking.is_empty() {
            return Ok(());
        }
        let n = sys::send(&self.socket, lacking)?;
        self.at += n as u64;
        self.is_full = n < lacking.len();
        sent.sends += 1;
        sent.bytes += n as u64;
        sent.full += u64::from(self.is_full);
        Ok(())
    }

    /// The same over TLS. What is encrypted counts as sent: it stays with the player until its socket takes it.
    fn encrypt_and_send(&mut self, log: &Log, sent: &mut Sent) -> Result<(), Disconnected> {
        let Some(mut tls) = self.tls.take() else { return Ok(()) };
        let mut socket = SocketWriter(&self.socket);
        self.is_full = !tls.write_records(&mut socket)?;
        if !self.is_full {
            let lacking = self.lacking(log, sent)?;
            tls.write(&self.unsent);
            tls.write(lacking);
            self.at += lacking.len() as u64;
            sent.sends += 1;
            sent.bytes += lacking.len() as u64;
            self.is_full = !tls.write_records(&mut socket)?;
            sent.full += u64::from(self.is_full);
            self.unsent = Vec::new();
        }
        self.tls = Some(tls);
        Ok(())
    }

    fn lacking<'a>(&self, log: &'a Log, sent: &mut Sent) -> Result<&'a [u8], Disconnected> {
        let lacking = log.from(self.at);
        sent.dropped += u64::from(lacking.is_none());
        lacking.ok_or_else(|| Disconnected("too far behind".to_owned()))
    }

    /// Ignores what the player sends, and continues after its socket was full.
    fn on_ready(&mut self, scratch: &mut [u8], log: &Log, sent: &mut Sent) -> Result<(), Disconnected> {
        loop {
            match sys::discard(&self.socket, scratch) {
                Received::Bytes(n) if n == scratch.len() => {}
                Received::Bytes(_) | Received::Nothing => break,
                Received::Closed => return Err(Disconnected("closed".to_owned())),
            }
        }
        if self.is_full { self.send(log, sent) } else { Ok(()) }
    }
}

/// The stream, as the bytes that every player gets.
struct Log {
    bytes: Vec<u8>,
    /// The position of the first of `bytes`.
    base: u64,
    /// Position of the newest key frame.
    key_frame: Option<u64>,
    /// What a player that joins there gets first: metadata, video and audio sequence header.
    headers: [Vec<u8>; 3],
}

impl Log {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(LOG_BYTES), base: 0, key_frame: None, headers: Default::default() }
    }

    fn head(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// All bytes from a position on, unless that is no longer in the log.
    fn from(&self, at: u64) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(at.checked_sub(self.base)?).ok()?..)
    }

    fn append(&mut self, frame: &Frame) {
        let format = MediaFormat::default();
        let len = format.wire_len(frame);
        if self.bytes.len() + len > LOG_BYTES {
            // Once per LOG_BYTES / 2, so that appending costs a copy and a half.
            let old = (LOG_BYTES / 2).max(len).min(self.bytes.len());
            self.bytes.drain(..old);
            self.base += old as u64;
        }
        let mut prefix = [0; video::PREFIX];
        let prefix_len = frame.payload.copy_prefix(&mut prefix);
        let prefix = &prefix[..prefix_len];
        let video = || video::Header::parse(prefix);
        let header = match frame.kind {
            FrameKind::Data => Some(0),
            FrameKind::Video => video().is_sequence_header().then_some(1),
            FrameKind::Audio => audio::Header::parse(prefix).is_sequence_header().then_some(2),
        };
        let begin = self.bytes.len();
        self.bytes.resize(begin + len, 0);
        format.write(frame, &mut self.bytes[begin..]);
        if let Some(header) = header {
            self.headers[header] = self.bytes[begin..].to_vec();
        } else if frame.kind == FrameKind::Video && video().is_key_frame() {
            self.key_frame = Some(self.base + begin as u64);
        }
    }

    /// The position at which a new player starts; what it needs before that is appended to `before`.
    fn join(&self, before: &mut Vec<u8>) -> u64 {
        match self.key_frame.filter(|key_frame| *key_frame >= self.base) {
            Some(key_frame) => {
                self.headers.iter().for_each(|header| before.extend_from_slice(header));
                key_frame
            }
            None => self.base,
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// The numbers of the listening sockets; connections count from 0.
const LISTENER: usize = usize::MAX;
const ENCRYPTED_LISTENER: usize = usize::MAX - 1;
/// Two messages of the largest size, and minutes of most streams.
const LOG_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Shape, Source};

    #[test]
    fn a_full_log_drops_its_oldest_bytes_and_none_can_be_read_from_there() {
        let shape = Shape { bitrate: 100_000_000, fps: 30, gop: 30, audio: false };
        let mut source = Source::new(shape, 0, 0);
        let mut log = Log::new();
        source.headers().iter().for_each(|frame| log.append(frame));
        assert_eq!(log.join(&mut Vec::new()), 0, "without a key frame a player starts at the beginning");
        while log.base == 0 {
            log.append(&source.next_frame(0));
        }
        assert_eq!(log.from(log.base - 1), None);
        assert_eq!(log.from(log.head()), Some(&[][..]));
        assert_eq!(log.bytes.capacity(), LOG_BYTES);

        let mut before = Vec::new();
        let joined = log.join(&mut before);
        assert_eq!(log.from(joined).unwrap()[12], 0x17, "a key frame after its chunk header");
        assert_eq!(before[7], 18, "metadata first");
    }
}
