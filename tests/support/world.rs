//! A whole relay in virtual time: several endpoints, the sockets between them and their peers, no thread, no kernel.
//! A [`Chance`] decides what is open: which completion comes first, how many bytes it moves, whether it fails.

// Each test binary compiles this module and uses a part of it.
#![allow(dead_code)]

#[path = "world_tls.rs"]
mod tls;

use std::{
    cell::RefCell,
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fanfare::{
    access::{Access, Open, Question},
    config::Config,
    endpoint::{
        Asked, Direction, Endpoint, EventSink, Input, Io, IoCounts, IoError, Mail, Mailboxes, SendBuffer,
        Shared, Spoken, TICK, Tls, TlsConfigs, Transport, TransportKind, report::RelayEvent,
    },
    flv::Frame,
    rtmp::{
        chunk::ChunkSize,
        client::{self, Client, ClientConfig, Role, Status},
    },
    stream::Signal,
};

pub use tls::PeerTls;

/// Where each core listens.
pub const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1935);

/// What a socket takes before its peer reads, bytes: as the kernel with its default buffers on a slow line.
const SOCKET_BYTES: usize = 256 << 10;
/// What one receive brings at most, bytes.
const MEDIA_BYTES: usize = 64 << 10;
const COMMAND_BYTES: usize = 4 << 10;
/// A core that is still busy after so many rounds at one moment is spinning.
const MAX_ROUNDS: usize = 100_000;

/// Names a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub usize);

/// What is open in the order of things.
pub trait Chance {
    /// Which of so many completions comes next: below `among`, which is at least 1.
    fn pick(&mut self, among: usize) -> usize;
    /// How many of so many bytes a send or a receive moves: from 1 to `most`, which is at least 1.
    fn amount(&mut self, most: usize) -> usize;
    /// An error for an operation that could succeed: one of the system's, not of the peer's.
    fn trouble(&mut self) -> Option<IoError>;
    /// How long the next piece of work takes, microseconds.
    fn work_us(&mut self) -> u64;
}

/// One after the other, whole, without trouble, in no time.
pub struct Orderly;

impl Chance for Orderly {
    fn pick(&mut self, _among: usize) -> usize {
        0
    }

    fn amount(&mut self, most: usize) -> usize {
        most
    }

    fn trouble(&mut self) -> Option<IoError> {
        None
    }

    fn work_us(&mut self) -> u64 {
        0
    }
}

/// All sockets, and the time.
pub struct Net {
    pub now_us: u64,
    pub sockets: Vec<Socket>,
    pub chance: Box<dyn Chance>,
    /// Questions that wait for a verdict.
    pub questions: Vec<(Asked, Question)>,
    /// What each core has received and sent so far, bytes.
    pub moved: Vec<Moved>,
    /// Of all bytes that sockets have carried, in order.
    digest: DefaultHasher,
    /// Sockets that are not closed.
    open: Vec<usize>,
    operations: u64,
}

/// Bytes that one core has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub received: u64,
    pub sent: u64,
}

/// One connection, as the kernel of the relay's machine sees it.
pub struct Socket {
    /// What the peer has sent and the relay has not received. Not encrypted, wherever TLS is.
    pub to_relay: VecDeque<u8>,
    /// What the relay has sent and the peer has not read. Not encrypted.
    pub to_peer: VecDeque<u8>,
    /// The peer speaks TLS.
    pub tls: Option<Box<PeerTls>>,
    /// What fits into `to_peer`.
    pub capacity: usize,
    /// The peer has closed its sending side.
    pub peer_finished: bool,
    /// The peer has reset the connection.
    pub is_reset: bool,
    /// The relay has shut its receiving side, its sending side.
    pub shut_receive: bool,
    pub shut_send: bool,
    /// The relay has closed it.
    pub is_closed: bool,
    sending: Option<Operation<SendBuffer>>,
    receiving: Option<Operation<Input>>,
    hang_up: Option<Operation<()>>,
}

struct Operation<T> {
    core: usize,
    key: usize,
    order: u64,
    what: T,
}

/// Completions of one core.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    Send,
    Receive,
    HangUp,
}

impl Socket {
    fn new() -> Self {
        Self {
            to_relay: VecDeque::new(),
            to_peer: VecDeque::new(),
            tls: None,
            capacity: SOCKET_BYTES,
            peer_finished: false,
            is_reset: false,
            shut_receive: false,
            shut_send: false,
            is_closed: false,
            sending: None,
            receiving: None,
            hang_up: None,
        }
    }

    fn has_input(&self) -> bool {
        let has_content = !self.to_relay.is_empty();
        match &self.tls {
            None => has_content || self.has_hung_up(),
            Some(tls) => tls.has_input(has_content, self.peer_finished) || self.has_hung_up(),
        }
    }

    fn has_hung_up(&self) -> bool {
        let is_whole = |tls: &PeerTls| tls.has_finished() || self.shut_send;
        let has_finished = self.peer_finished && self.tls.as_deref().is_none_or(is_whole);
        has_finished || self.is_reset || self.shut_receive
    }

    /// What the relay receives next, as it is on the wire.
    fn wire(&mut self, most: usize) -> &mut VecDeque<u8> {
        match &mut self.tls {
            None => &mut self.to_relay,
            Some(tls) => {
                tls.encrypt(&mut self.to_relay, most, self.peer_finished);
                tls.wire()
            }
        }
    }

    /// What the peer has sent and the relay has not received, bytes.
    pub fn unread_bytes(&self) -> usize {
        self.to_relay.len() + self.tls.as_ref().map_or(0, |tls| tls.unread_bytes())
    }

    fn can_send(&self) -> bool {
        self.is_reset || self.shut_send || self.to_peer.len() < self.capacity
    }

    /// Names what could complete now for this core, each with its place in the order in which operations began.
    fn ready(&self, core: usize, mut each: impl FnMut(u64, Ready)) {
        fn of<T>(operation: &Option<Operation<T>>, core: usize, is_ready: bool) -> Option<u64> {
            operation.as_ref().filter(|it| is_ready && it.core == core).map(|it| it.order)
        }
        if let Some(order) = of(&self.sending, core, self.can_send()) {
            each(order, Ready::Send);
        }
        if let Some(order) = of(&self.receiving, core, self.has_input()) {
            each(order, Ready::Receive);
        }
        if let Some(order) = of(&self.hang_up, core, self.has_hung_up()) {
            each(order, Ready::HangUp);
        }
    }

    /// Whether a send is under way that waits for the peer to read.
    pub fn is_send_blocked(&self) -> bool {
        self.sending.is_some() && !self.can_send()
    }

    /// Whether the peer has read all that it will ever be sent.
    pub fn is_at_end(&self) -> bool {
        self.to_peer.is_empty() && (self.shut_send || self.is_closed)
    }

    /// What the peer reads, up to `most` bytes.
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        take(&mut self.to_peer, most)
    }

    /// Whether the relay has an operation under way on it.
    pub fn is_in_use(&self) -> bool {
        self.sending.is_some() || self.receiving.is_some() || self.hang_up.is_some()
    }
}

/// The sockets of one core.
pub struct FakeIo {
    core: usize,
    net: Rc<RefCell<Net>>,
}

impl FakeIo {
    fn start<T>(
        &self,
        socket: SocketId,
        key: usize,
        what: T,
        place: fn(&mut Socket) -> &mut Option<Operation<T>>,
    ) {
        let mut net = self.net.borrow_mut();
        net.operations += 1;
        let order = net.operations;
        let socket = &mut net.sockets[socket.0];
        assert!(!socket.is_closed, "an operation on a closed socket");
        let place = place(socket);
        assert!(place.is_none(), "two operations of a kind on one socket");
        *place = Some(Operation { core: self.core, key, order, what });
    }
}

impl Io for FakeIo {
    type Socket = SocketId;

    fn send(&mut self, socket: &SocketId, key: usize, buffer: SendBuffer) {
        assert!(!buffer.bytes().is_empty(), "a send of nothing");
        self.start(*socket, key, buffer, |socket| &mut socket.sending);
    }

    fn receive(&mut self, socket: &SocketId, key: usize, expected: Input) {
        self.start(*socket, key, expected, |socket| &mut socket.receiving);
    }

    fn await_hang_up(&mut self, socket: &SocketId, key: usize) {
        self.start(*socket, key, (), |socket| &mut socket.hang_up);
    }

    fn shut(&mut self, socket: &SocketId, direction: Direction) -> bool {
        let socket = &mut self.net.borrow_mut().sockets[socket.0];
        assert!(!socket.is_closed);
        socket.shut_receive |= matches!(direction, Direction::Receive | Direction::Both);
        socket.shut_send |= matches!(direction, Direction::Send | Direction::Both);
        !socket.is_reset
    }

    fn unacknowledged_bytes(&self, socket: &SocketId) -> Option<u32> {
        Some(self.net.borrow().sockets[socket.0].to_peer.len() as u32)
    }

    fn close(&mut self, socket: SocketId) {
        let mut net = self.net.borrow_mut();
        net.open.retain(|&open| open != socket.0);
        let socket = &mut net.sockets[socket.0];
        assert!(!socket.is_in_use(), "a socket is closed while something of it is under way");
        assert!(!std::mem::replace(&mut socket.is_closed, true), "closed twice");
    }

    fn ask(&mut self, asked: Asked, question: Question) {
        self.net.borrow_mut().questions.push((asked, question));
    }

    fn now_us(&self) -> u64 {
        let mut net = self.net.borrow_mut();
        let work_us = net.chance.work_us();
        net.now_us += work_us;
        net.now_us
    }
}

/// All events so far.
#[derive(Clone, Default)]
pub struct Events(pub Arc<Mutex<Vec<RelayEvent>>>);

impl EventSink for Events {
    fn is_wanted(&self) -> bool {
        true
    }

    fn send(&self, event: RelayEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// A relay, its network and its peers' side of it.
pub struct World {
    pub net: Rc<RefCell<Net>>,
    pub shared: Arc<Shared>,
    pub mailboxes: Arc<Mailboxes<SocketId>>,
    pub cores: Vec<Endpoint<FakeIo>>,
    pub events: Events,
    /// What peers that come from now on speak.
    pub transport: TransportKind,
    /// Those of them that speak TLS speak 1.2.
    pub is_old_tls: bool,
    tls: tls::Configs,
    /// When each core's next tick is due.
    ticks_us: Vec<u64>,
    /// Cores that take no turns: see [`World::stop_core`].
    stopped: Vec<bool>,
    connections: u32,
}

impl World {
    /// With one core, everything allowed, in order.
    pub fn new(config: Config) -> Self {
        Self::with(1, config, Box::new(Open), Box::new(Orderly), 1_000_000)
    }

    /// With so many cores, at this time since the relay started.
    pub fn with(
        cores: usize,
        config: Config,
        access: Box<dyn Access>,
        chance: Box<dyn Chance>,
        now_us: u64,
    ) -> Self {
        let signals: Arc<[Signal]> = (0..cores).map(|_| Signal::new(|| ())).collect();
        let mailboxes = Arc::new(Mailboxes::new(signals.clone()));
        let events = Events::default();
        let post = mailboxes.clone();
        let shared =
            Shared::new(config, signals, access, Box::new(events.clone()), move |connection, notice| {
                post.post(connection.core, Mail::Name { connection, notice });
            });
        let net = Net {
            now_us,
            sockets: Vec::new(),
            chance,
            questions: Vec::new(),
            moved: vec![Moved::default(); cores],
            digest: DefaultHasher::new(),
            open: Vec::new(),
            operations: 0,
        };
        let net = Rc::new(RefCell::new(net));
        let endpoint = |core| Endpoint::new(core, shared.clone(), FakeIo { core, net: net.clone() });
        let cores: Vec<_> = (0..cores).map(endpoint).collect();
        let ticks_us = vec![now_us + TICK.as_micros() as u64; cores.len()];
        let stopped = vec![false; cores.len()];
        let tls = tls::Configs::new();
        shared.set_tls(TlsConfigs {
            rtmps: tls.server.clone(),
            https: tls.server.clone(),
            certificates: Vec::new(),
        });
        World {
            net,
            shared,
            mailboxes,
            cores,
            events,
            transport: default_transport(),
            is_old_tls: false,
            tls,
            ticks_us,
            stopped,
            connections: 0,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.net.borrow().now_us / 1_000
    }

    /// Names all that sockets have carried so far: which bytes, on which, in which order.
    pub fn digest(&self) -> u64 {
        self.net.borrow().digest.finish()
    }

    /// A new socket, which no core has yet.
    pub fn socket(&mut self) -> SocketId {
        let mut net = self.net.borrow_mut();
        let id = net.sockets.len();
        let mut socket = Socket::new();
        if self.transport == TransportKind::Tls {
            socket.tls = Some(Box::new(PeerTls::new(&self.tls, self.is_old_tls)));
        }
        net.sockets.push(socket);
        net.open.push(id);
        SocketId(id)
    }

    /// The relay's side of a socket that no core has yet: where it is encrypted, with the handshake done, as the HTTP server
    /// hands it over. What it has to send after that is not sent.
    pub fn shake_hands(&mut self, socket: SocketId) -> Transport {
        self.at(socket, |socket| {
            let Some(peer) = &mut socket.tls else { return Transport::Plain };
            let mut tls = Tls::new(self.tls.server.clone()).expect("a usable configuration");
            while !peer.is_ready() || tls.is_shaking_hands() {
                peer.encrypt(&mut VecDeque::new(), 0, false);
                let said: Vec<u8> = peer.wire().drain(..).collect();
                tls.open(&said).expect("the peer speaks TLS");
                if !peer.is_ready() {
                    peer.decrypt(&tls.take_replies());
                }
            }
            Transport::Tls(Box::new(tls))
        })
    }

    /// An address that no other peer has.
    pub fn address(&mut self) -> SocketAddr {
        self.connections += 1;
        (IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + self.connections * 256)), 1).into()
    }

    /// A peer connects to a core.
    pub fn connect(&mut self, core: usize) -> SocketId {
        let peer = self.address();
        self.connect_from(core, peer)
    }

    /// A peer connects from this address.
    pub fn connect_from(&mut self, core: usize, peer: SocketAddr) -> SocketId {
        let socket = self.socket();
        let spoken = Spoken { transport: self.transport, ..Spoken::RTMP.at(LISTENER) };
        self.cores[core].admit(socket, peer, spoken, [7; 32]);
        socket
    }

    /// Access to one socket, as its peer has it.
    pub fn at<T>(&self, socket: SocketId, look: impl FnOnce(&mut Socket) -> T) -> T {
        look(&mut self.net.borrow_mut().sockets[socket.0])
    }

    /// All cores do all that there is to do now.
    pub fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut was_busy = false;
            for core in 0..self.cores.len() {
                was_busy |= !self.stopped[core] && self.round(core);
            }
            if !was_busy {
                return;
            }
        }
        panic!("the cores do not come to rest");
    }

    /// One round of a core's turn. False where there was nothing to do.
    pub fn round(&mut self, core: usize) -> bool {
        let endpoint = &mut self.cores[core];
        endpoint.advance();
        let mut was_busy = self.shared.signals()[core].take_posted();
        if was_busy {
            self.mailboxes.take(core).into_iter().for_each(|mail| endpoint.deliver(mail));
        }
        was_busy |= endpoint.work_off_mail();
        was_busy |= self.complete_all(core);
        let endpoint = &mut self.cores[core];
        was_busy |= endpoint.pass();
        was_busy |= endpoint.work_off_backlog();
        was_busy |= endpoint.work_off_handshake();
        endpoint.keep_within_memory(0);
        let now_us = self.net.borrow().now_us;
        if now_us >= self.ticks_us[core] {
            self.ticks_us[core] = now_us + TICK.as_micros() as u64;
            endpoint.tick(IoCounts::default());
            was_busy = true;
        }
        was_busy
    }

    /// Completes all operations of a core that are ready now. False where there were none.
    pub fn complete_all(&mut self, core: usize) -> bool {
        let mut batch = Vec::new();
        let net = self.net.borrow();
        for &id in &net.open {
            net.sockets[id].ready(core, |order, what| batch.push((order, id, what)));
        }
        drop(net);
        batch.sort_unstable_by_key(|&(order, ..)| order);
        let mut batch = VecDeque::from(batch);
        let was_busy = !batch.is_empty();
        while !batch.is_empty() {
            let at = self.net.borrow_mut().chance.pick(batch.len());
            let (_, socket, what) = batch.remove(at).expect("it is one of them");
            self.complete(core, SocketId(socket), what);
            self.cores[core].keep_within_memory(0);
        }
        was_busy
    }

    fn complete(&mut self, core: usize, id: SocketId, what: Ready) {
        // The endpoint uses the network in its turn.
        let Some(completed) = self.net.borrow_mut().complete(core, id, what) else { return };
        let endpoint = &mut self.cores[core];
        match completed {
            Completed::Sent(key, buffer, result) => endpoint.sent(key, buffer, result),
            Completed::Received(key, result) => endpoint.received(key, result),
            Completed::HungUp(key) => endpoint.hung_up(key),
        }
    }

    /// When something happens next by itself, microseconds: a tick, or what a core has due.
    pub fn next_us(&self) -> u64 {
        let running = |core: &usize| !self.stopped[*core];
        let due = (0..self.cores.len()).filter(running).filter_map(|core| self.cores[core].due_us());
        let ticks = (0..self.cores.len()).filter(running).map(|core| self.ticks_us[core]);
        due.chain(ticks).min().unwrap_or(u64::MAX)
    }

    /// Lets so much time pass, with all that happens by itself in it.
    pub fn pass_ms(&mut self, ms: u64) {
        let until_us = self.net.borrow().now_us + ms * 1_000;
        self.settle();
        loop {
            let next_us = self.next_us();
            if next_us > until_us {
                break;
            }
            self.advance_to(next_us);
            self.settle();
        }
        self.advance_to(until_us);
        self.settle();
    }

    /// The cores stand still for so long: nothing happens meanwhile.
    pub fn stand_still_ms(&mut self, ms: u64) {
        self.net.borrow_mut().now_us += ms * 1_000;
    }

    /// This core takes no turns until [`World::start_core`], while the others go on.
    pub fn stop_core(&mut self, core: usize) {
        self.stopped[core] = true;
    }

    /// This core takes turns again.
    pub fn start_core(&mut self, core: usize) {
        self.stopped[core] = false;
    }

    /// Moves the time on, if it is before this.
    pub fn advance_to(&mut self, us: u64) {
        let mut net = self.net.borrow_mut();
        net.now_us = net.now_us.max(us);
    }

    /// A client that plays or publishes `live/{key}`, on a connection of its own. It has said nothing as yet.
    pub fn client(&mut self, core: usize, role: Role, key: &str) -> Peer {
        let socket = self.connect(core);
        Peer::new(socket, role, key, self.now_ms())
    }

    /// A publisher of `live/{key}` that has begun.
    pub fn publisher(&mut self, core: usize, key: &str) -> Peer {
        let mut peer = self.client(core, Role::Publish, key);
        self.talk(&mut peer);
        assert!(peer.has_started, "{key} is published: {:?}", peer.statuses);
        peer
    }

    /// A player of `live/{key}` that has begun.
    pub fn player(&mut self, core: usize, key: &str) -> Peer {
        let mut peer = self.client(core, Role::Play, key);
        self.talk(&mut peer);
        assert!(peer.has_started, "{key} is played: {:?}", peer.statuses);
        peer
    }

    /// Moves bytes both ways until both sides are silent.
    pub fn talk(&mut self, peer: &mut Peer) {
        loop {
            let mut is_quiet = !peer.send(self);
            self.settle();
            is_quiet &= !peer.receive(self);
            if is_quiet {
                return;
            }
        }
    }

    /// Whether the relay has let go of this connection.
    pub fn is_closed(&self, socket: SocketId) -> bool {
        self.at(socket, |socket| socket.is_closed)
    }
}

/// TLS in a run of tests that is told so: see `encrypted` in tests/endpoint.
fn default_transport() -> TransportKind {
    match std::env::var_os(TRANSPORT_VARIABLE) {
        Some(_) => TransportKind::Tls,
        None => TransportKind::Plain,
    }
}

/// If it is set, peers speak TLS.
pub const TRANSPORT_VARIABLE: &str = "FANFARE_TEST_TLS";

/// What has completed, for the connection of this key.
enum Completed {
    Sent(usize, SendBuffer, Result<usize, IoError>),
    Received(usize, Result<Bytes, IoError>),
    HungUp(usize),
}

impl Net {
    /// Completes an operation that was ready when the round began. None where an earlier completion has changed that.
    fn complete(&mut self, core: usize, id: SocketId, what: Ready) -> Option<Completed> {
        let Self { sockets, chance, moved, digest, .. } = self;
        let moved = &mut moved[core];
        let socket = &mut sockets[id.0];
        let mut is_ready = false;
        socket.ready(core, |_, ready| is_ready |= ready == what);
        if !is_ready {
            return None;
        }
        let broken = |errno| IoError::Broken(std::io::Error::from_raw_os_error(errno));
        Some(match what {
            Ready::Send => {
                let Operation { key, what: buffer, .. } = socket.sending.take()?;
                let trouble = chance.trouble();
                let result = if socket.is_reset {
                    Err(broken(CONNECTION_RESET))
                } else if socket.shut_send {
                    Err(broken(BROKEN_PIPE))
                } else if let Some(trouble) = trouble {
                    Err(trouble)
                } else {
                    // A record may bring more than there is room for: TLS itself has taken it.
                    let room = socket.capacity.saturating_sub(socket.to_peer.len());
                    let n = chance.amount(room.min(buffer.bytes().len()));
                    let bytes = &buffer.bytes()[..n];
                    match &mut socket.tls {
                        None => {
                            socket.to_peer.extend(bytes);
                            (id, bytes).hash(digest);
                        }
                        Some(tls) => {
                            let content = tls.decrypt(bytes);
                            (id, n, &content).hash(digest);
                            socket.to_peer.extend(content);
                        }
                    }
                    moved.sent += n as u64;
                    Ok(n)
                };
                Completed::Sent(key, buffer, result)
            }
            Ready::Receive => {
                let Operation { key, what: expected, .. } = socket.receiving.take()?;
                let most = if expected == Input::Commands { COMMAND_BYTES } else { MEDIA_BYTES };
                let trouble = chance.trouble();
                let result = if socket.is_reset {
                    Err(broken(CONNECTION_RESET))
                } else if let Some(trouble) = trouble {
                    Err(trouble)
                } else if socket.wire(most).is_empty() {
                    assert!(socket.has_hung_up(), "there was something to receive");
                    Ok(Bytes::new())
                } else {
                    let is_encrypted = socket.tls.is_some();
                    let wire = socket.wire(most);
                    let n = chance.amount(wire.len().min(most));
                    let bytes = take(wire, n);
                    moved.received += n as u64;
                    match is_encrypted {
                        true => (id, n).hash(digest),
                        false => (id, &bytes).hash(digest),
                    }
                    Ok(bytes.into())
                };
                Completed::Received(key, result)
            }
            Ready::HangUp => Completed::HungUp(socket.hang_up.take()?.key),
        })
    }
}

/// The first bytes of a queue, at most so many. In two pieces: byte by byte takes most of a test's time.
fn take(queue: &mut VecDeque<u8>, most: usize) -> Vec<u8> {
    let n = most.min(queue.len());
    let (front, back) = queue.as_slices();
    let mut taken = front[..n.min(front.len())].to_vec();
    taken.extend_from_slice(&back[..n - taken.len()]);
    queue.drain(..n);
    taken
}

/// ECONNRESET and EPIPE.
const CONNECTION_RESET: i32 = 104;
const BROKEN_PIPE: i32 = 32;

/// An RTMP client at the other end of a socket.
pub struct Peer {
    pub socket: SocketId,
    pub client: Client,
    pub has_started: bool,
    pub has_ended: bool,
    pub frames: Vec<Frame>,
    pub statuses: Vec<Status>,
}

impl Peer {
    pub fn new(socket: SocketId, role: Role, key: &str, now_ms: u64) -> Self {
        let url = format!("rtmp://relay/live/{key}").parse().expect("an address");
        let config = ClientConfig { url, role, chunk_size: ChunkSize::INITIAL, fmle: true };
        let client = Client::new(config, now_ms, [2; 32]);
        let (frames, statuses) = (Vec::new(), Vec::new());
        Self { socket, client, has_started: false, has_ended: false, frames, statuses }
    }

    /// Sends what the client has to say. True if that was something.
    pub fn send(&mut self, world: &World) -> bool {
        let mut has_sent = false;
        while let Some(event) = self.client.poll() {
            match event {
                client::Event::Send(bytes) => {
                    has_sent = true;
                    world.at(self.socket, |socket| socket.to_relay.extend(&bytes[..]));
                }
                client::Event::Started => self.has_started = true,
                client::Event::Frame(frame) => self.frames.push(frame),
                client::Event::Status(status) => self.statuses.push(status),
                client::Event::Ended => self.has_ended = true,
            }
        }
        has_sent
    }

    /// Reads all that has come. True if that was something.
    pub fn receive(&mut self, world: &World) -> bool {
        let bytes = world.at(self.socket, |socket| socket.read(usize::MAX));
        if bytes.is_empty() {
            return false;
        }
        self.client.receive(bytes.into(), world.now_ms()).expect("the relay speaks RTMP");
        true
    }

    /// The peer closes its side.
    pub fn hang_up(&self, world: &World) {
        world.at(self.socket, |socket| socket.peer_finished = true);
    }

    /// The code of the last status.
    pub fn last_code(&self) -> &str {
        self.statuses.last().map_or("", |status| &status.code)
    }

    /// Sends a frame.
    pub fn publish(&mut self, frame: &Frame) {
        self.client.send_frame(frame);
    }
}
