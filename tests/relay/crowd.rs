//! Many clients on one thread: each is a socket and the client's side of a session.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::net::TcpStream;
use std::ops::{Index, IndexMut, Range};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::flv::Frame;
use fanfare::rtmp::chunk::{ChunkLimits, ChunkSize, Decoder, Message};
use fanfare::rtmp::client::{Client, ClientConfig, Event, Role};
use fanfare::rtmp::command::Command;
use fanfare::rtmp::handshake::PACKET_LEN;
use fanfare::rtmp::message::type_id;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

use crate::frames::{Seen, Source};
use crate::support::{Relay, SOON};

/// Clients that are served together whenever one of them is waited for.
pub struct Crowd {
    started: Instant,
    clients: Vec<Member>,
    buffer: Vec<u8>,
}

/// A client of a crowd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

/// One client, and what it has received.
pub struct Member {
    socket: TcpStream,
    client: Client,
    unsent: Vec<u8>,
    sent: usize,
    tap: Option<Tap>,
    /// How its writes are cut.
    pub cut: Cut,
    /// Bytes that it may still read: 0 is a player that has stopped reading.
    pub may_read: usize,
    /// It reads and sends nothing more, not even a response to a ping.
    pub is_mute: bool,
    /// The relay has accepted the play or publish.
    pub has_started: bool,
    /// It received StreamEOF.
    pub has_ended: bool,
    /// The relay has closed the connection.
    pub is_closed: bool,
    /// Every frame.
    pub seen: Vec<Seen>,
    /// The code of every onStatus and `_error`.
    pub statuses: Vec<String>,
}

/// How a client's bytes are cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// One byte each.
    Bytes,
    /// 1 to 2000 bytes, chosen by a generator in this state.
    Anywhere(u64),
}

/// Decodes the same bytes again, for messages that the client session does not report.
struct Tap {
    handshake_left: usize,
    decoder: Decoder,
    /// Message type and body, media left out.
    messages: Vec<(u8, Bytes)>,
}

impl Crowd {
    pub fn new() -> Crowd {
        Crowd { started: Instant::now(), clients: Vec::new(), buffer: vec![0; 256 << 10] }
    }

    /// A player of `app/name`.
    pub fn play(&mut self, relay: &Relay, name: &str) -> Id {
        self.add(relay, name, Role::Play, ChunkSize::INITIAL, None)
    }

    /// `count` players of `app/name`, all of them accepted.
    pub fn play_all(&mut self, relay: &Relay, name: &str, count: usize) -> Vec<Id> {
        let players: Vec<Id> = (0..count).map(|_| self.play(relay, name)).collect();
        self.until("all play", |crowd| players.iter().all(|&id| crowd[id].has_started));
        players
    }

    /// A player whose kernel buffers no more than about `receive_buffer` unread bytes.
    pub fn play_with_buffer(&mut self, relay: &Relay, name: &str, receive_buffer: usize) -> Id {
        self.add(relay, name, Role::Play, ChunkSize::INITIAL, Some(receive_buffer))
    }

    /// A publisher that has been accepted.
    pub fn publish(&mut self, relay: &Relay, name: &str) -> Id {
        self.publish_in_chunks(relay, name, 4096)
    }

    /// A publisher that has been accepted and sends chunks of this size.
    pub fn publish_in_chunks(&mut self, relay: &Relay, name: &str, chunk_size: u32) -> Id {
        let id = self.request_publish(relay, name, chunk_size);
        self.until("it publishes", |crowd| crowd[id].has_started);
        id
    }

    /// A publisher that has not been accepted or refused yet.
    pub fn request_publish(&mut self, relay: &Relay, name: &str, chunk_size: u32) -> Id {
        self.add(relay, name, Role::Publish, ChunkSize::new(chunk_size).unwrap(), None)
    }

    fn add(
        &mut self,
        relay: &Relay,
        name: &str,
        role: Role,
        chunk_size: ChunkSize,
        receive_buffer: Option<usize>,
    ) -> Id {
        let url = relay.url(name).parse().unwrap();
        let config = ClientConfig { url, role, chunk_size, fmle: true };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(bytes) = receive_buffer {
            // Before connecting: it decides the window that is offered.
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.set_tcp_nodelay(true).unwrap();
        socket.connect(&relay.address().into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let id = Id(self.clients.len());
        let mut member = Member {
            socket: socket.into(),
            client: Client::new(config, self.now_ms(), [7; 32]),
            unsent: Vec::new(),
            sent: 0,
            tap: None,
            cut: Cut::Whole,
            may_read: usize::MAX,
            is_mute: false,
            has_started: false,
            has_ended: false,
            is_closed: false,
            seen: Vec::new(),
            statuses: Vec::new(),
        };
        member.poll();
        self.clients.push(member);
        id
    }

    /// Sends a frame.
    pub fn send(&mut self, id: Id, frame: &Frame) {
        let member = &mut self[id];
        member.client.send_frame(frame);
        member.poll();
        member.write();
    }

    /// Sends a frame on a message stream of the caller's choice.
    pub fn send_on(&mut self, id: Id, message_stream_id: u32, frame: &Frame) {
        self.message(id, message_stream_id, frame.kind as u8, frame.timestamp_ms, frame.payload.to_bytes());
    }

    /// Sends a command on a message stream of the caller's choice.
    pub fn command_on(&mut self, id: Id, message_stream_id: u32, command: &Command) {
        self.message(id, message_stream_id, type_id::COMMAND_AMF0, 0, command.to_bytes().into());
    }

    /// Each message stream has a chunk stream of its own.
    fn message(
        &mut self,
        id: Id,
        message_stream_id: u32,
        message_type_id: u8,
        timestamp_ms: u32,
        body: Bytes,
    ) {
        let chunk_stream_id = 20 + message_stream_id;
        let payload = body.into();
        self[id].client.send_message(&Message {
            chunk_stream_id,
            timestamp_ms,
            message_type_id,
            message_stream_id,
            payload,
        });
        self[id].poll();
        self[id].write();
    }

    /// Sends metadata and sequence headers.
    pub fn send_headers(&mut self, id: Id, source: &Source) {
        source.headers().iter().for_each(|header| self.send(id, header));
    }

    /// Sends headers, waits until these players, which were waiting for them, have them, and sends frame 0. Thus they
    /// miss nothing; otherwise where they start depends on timing.
    pub fn begin(&mut self, id: Id, source: &Source, players: &[Id]) {
        self.send_headers(id, source);
        let count = source.headers().len();
        self.until("headers at all players", |crowd| players.iter().all(|&id| crowd[id].seen.len() == count));
        self.send(id, &source.frame(0));
        self.until_seen(players, 0);
    }

    /// Sends these frames of a source.
    pub fn send_frames(&mut self, id: Id, source: &Source, numbers: Range<u64>) {
        for number in numbers {
            self.send(id, &source.frame(number));
        }
    }

    /// Sends bytes that do not come from the session.
    pub fn send_bytes(&mut self, id: Id, bytes: &[u8]) {
        self[id].unsent.extend_from_slice(bytes);
        self[id].write();
    }

    /// Sends a command.
    pub fn command(&mut self, id: Id, command: &Command) {
        self[id].client.send_command(command);
        self[id].poll();
        self[id].write();
    }

    /// Waits until the relay has read and processed all that this client has sent.
    pub fn round_trip(&mut self, id: Id) {
        let responses = |crowd: &Crowd| {
            crowd[id].statuses.iter().filter(|&code| code == "NetConnection.Call.Failed").count()
        };
        let before = responses(self);
        self.command(id, &Command::call("unknownCommand", 99.0, []));
        self.until("the response to an unknown command", |crowd| responses(crowd) > before);
    }

    /// Waits until these players have received this frame of the source that they play.
    pub fn until_seen(&mut self, players: &[Id], number: u64) {
        self.until(&format!("frame {number} at all players"), |crowd| {
            players.iter().all(|&id| crowd[id].last() == Some(number))
        });
    }

    /// Serves all clients until `condition` is true; fails the test if that takes longer than [`SOON`].
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Crowd) -> bool) {
        let deadline = Instant::now() + SOON;
        while !condition(self) {
            if Instant::now() >= deadline {
                self.fail(what);
            }
            self.turn();
        }
    }

    /// Serves all clients for this long: to check that something does not happen.
    pub fn serve_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.turn();
        }
    }

    /// Resets the connection, as the kernel does for a killed process: the relay's next read fails.
    pub fn reset(&mut self, id: Id) {
        let socket = SockRef::from(&self[id].socket);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        // Dropping the old socket resets it.
        let unconnected = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        self[id].socket = unconnected.into();
        self[id].is_closed = true;
    }

    /// Records messages for [`Member::received`] from now on; no byte may have been received yet.
    pub fn tap(&mut self, id: Id) {
        let tap = Tap {
            handshake_left: 1 + 2 * PACKET_LEN,
            decoder: Decoder::new(ChunkLimits::default()),
            messages: Vec::new(),
        };
        self[id].tap = Some(tap);
    }

    fn turn(&mut self) {
        let mut polled = Vec::new();
        let mut ids = Vec::new();
        for (index, member) in self.clients.iter().enumerate() {
            let mut wants = PollFlags::empty();
            wants.set(PollFlags::IN, member.may_read > 0);
            wants.set(PollFlags::OUT, member.sent < member.unsent.len());
            if !wants.is_empty() && !member.is_closed {
                polled.push(PollFd::new(&member.socket, wants));
                ids.push(index);
            }
        }
        match poll(&mut polled, Some(&POLL_TIMEOUT)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let ready: Vec<(usize, PollFlags)> =
            ids.into_iter().zip(&polled).map(|(index, fd)| (index, fd.revents())).collect();
        drop(polled);
        let now_ms = self.now_ms();
        for (index, events) in ready {
            let member = &mut self.clients[index];
            if events.contains(PollFlags::OUT) {
                member.write();
            }
            if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                member.read(&mut self.buffer, now_ms);
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn fail(&self, what: &str) -> ! {
        let states: Vec<String> = self
            .clients
            .iter()
            .enumerate()
            .map(|(index, member)| {
                let Member { has_started, is_closed, statuses, unsent, sent, .. } = member;
                format!(
                    "{index}: started {has_started}, closed {is_closed}, {} frames, last {:?}, {} unsent, {statuses:?}",
                    member.seen.len(),
                    member.last(),
                    unsent.len() - sent,
                )
            })
            .collect();
        panic!("not within {SOON:?}: {what}; clients:\n{}", states.join("\n"));
    }
}

impl Index<Id> for Crowd {
    type Output = Member;

    fn index(&self, id: Id) -> &Member {
        &self.clients[id.0]
    }
}

impl IndexMut<Id> for Crowd {
    fn index_mut(&mut self, id: Id) -> &mut Member {
        &mut self.clients[id.0]
    }
}

impl Member {
    /// Its address, as in the relay's log.
    pub fn peer(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The number of the newest frame that it received.
    pub fn last(&self) -> Option<u64> {
        self.seen.iter().rev().find_map(Seen::number)
    }

    /// Whether it received this status.
    pub fn got_status(&self, code: &str) -> bool {
        self.statuses.iter().any(|status| status == code)
    }

    /// Messages of this type received since [`Crowd::tap`].
    pub fn received(&self, message_type_id: u8) -> Vec<&Bytes> {
        let messages = &self.tap.as_ref().expect("a tap on this client").messages;
        messages.iter().filter(|(kind, _)| *kind == message_type_id).map(|(_, body)| body).collect()
    }

    fn poll(&mut self) {
        while let Some(event) = self.client.poll() {
            match event {
                Event::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                Event::Started => self.has_started = true,
                Event::Frame(frame) => self.seen.push(Seen::new(&frame)),
                Event::Status(status) => self.statuses.push(status.code),
                Event::Ended => self.has_ended = true,
            }
        }
    }

    fn write(&mut self) {
        if self.is_mute {
            self.unsent.truncate(self.sent);
        }
        while self.sent < self.unsent.len() {
            let left = self.unsent.len() - self.sent;
            let len = match &mut self.cut {
                Cut::Whole => left,
                Cut::Bytes => 1,
                Cut::Anywhere(state) => {
                    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    left.min(1 + (*state >> 33) as usize % 2000)
                }
            };
            match self.socket.write(&self.unsent[self.sent..self.sent + len]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The relay has closed the connection; the next read notices it.
                Err(_) => break,
            }
        }
        self.unsent.clear();
        self.sent = 0;
    }

    fn read(&mut self, buffer: &mut [u8], now_ms: u64) {
        let room = buffer.len().min(self.may_read);
        match self.socket.read(&mut buffer[..room]) {
            Ok(0) => self.is_closed = true,
            Ok(n) => {
                if self.may_read != usize::MAX {
                    self.may_read -= n;
                }
                let bytes = Bytes::copy_from_slice(&buffer[..n]);
                if let Some(tap) = &mut self.tap {
                    tap.feed(bytes.clone());
                }
                self.client.receive(bytes, now_ms).expect("the relay sends valid RTMP");
                self.poll();
                self.write();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.is_closed = true,
        }
    }
}

impl Tap {
    fn feed(&mut self, mut bytes: Bytes) {
        let handshake = self.handshake_left.min(bytes.len());
        self.handshake_left -= handshake;
        self.decoder.feed(bytes.split_off(handshake));
        while let Some(message) = self.decoder.next().expect("the relay sends valid RTMP") {
            if !matches!(message.message_type_id, 8 | 9) {
                self.messages.push((message.message_type_id, message.payload.to_bytes()));
            }
        }
    }
}

/// The longest that one poll of the sockets waits: conditions may be about the relay's log.
const POLL_TIMEOUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
