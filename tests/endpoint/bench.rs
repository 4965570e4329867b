//! What these tests share: configurations, frames, peers that speak raw bytes, and what to look for at the relay.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fanfare::{
    access::{Access, Decision, Question},
    amf0::Value,
    config::Config,
    endpoint::{
        Entrance, HttpPlayer, IoError, Mail, Permit, ReasonKind, Reply,
        report::{ConnectionReport, RelayEvent},
    },
    flv::{Frame, FrameKind},
    rtmp::{
        chunk::{Encoder, Message},
        command::Command,
        message::type_id,
    },
    stream::{Form, Next, Start},
};

use super::world::{Chance, Peer, SocketId, World};

/// The default configuration with this change.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

pub fn frame(kind: FrameKind, timestamp_ms: u32, payload: &[u8]) -> Frame {
    Frame { kind, timestamp_ms, payload: payload.to_vec().into() }
}

pub fn key_frame(timestamp_ms: u32) -> Frame {
    frame(FrameKind::Video, timestamp_ms, b"\x17\x01\0\0\0key")
}

pub fn inter_frame(timestamp_ms: u32) -> Frame {
    frame(FrameKind::Video, timestamp_ms, b"\x27\x01\0\0\0inter")
}

pub fn audio(timestamp_ms: u32) -> Frame {
    frame(FrameKind::Audio, timestamp_ms, b"\xAF\x01audio")
}

/// A key frame of so many bytes.
pub fn large_key_frame(timestamp_ms: u32, bytes: usize) -> Frame {
    let mut payload = b"\x17\x01\0\0\0".to_vec();
    payload.resize(bytes, 7);
    frame(FrameKind::Video, timestamp_ms, &payload)
}

/// The times of the frames that a player has got.
pub fn times(player: &Peer) -> Vec<u32> {
    player.frames.iter().map(|frame| frame.timestamp_ms).collect()
}

/// One message on the wire, whole, its header written out.
pub fn message(message_type_id: u8, message_stream_id: u32, payload: Vec<u8>) -> Bytes {
    let mut bytes = Vec::new();
    let message = Message {
        chunk_stream_id: 3,
        timestamp_ms: 0,
        message_type_id,
        message_stream_id,
        payload: Bytes::from(payload).into(),
    };
    Encoder::new().encode(&message, &mut bytes);
    bytes.into()
}

/// A command on message stream 1.
pub fn command(command: &Command) -> Bytes {
    message(type_id::COMMAND_AMF0, 1, command.to_bytes())
}

/// `connect` to the app `live`.
pub fn connect() -> Command {
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([("app", "live".into())]);
    connect
}

/// A handshake in one piece, as a client that waits for no answer sends it.
pub fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

/// Audio messages of two bytes, each but the first three bytes on the wire.
pub fn tiny(count: usize) -> Vec<u8> {
    let head = [6, 0, 0, 0, 0, 0, 2, type_id::AUDIO, 1, 0, 0, 0, 0x2F, 1];
    [&head[..], &[0xC6, 0x2F, 1].repeat(count - 1)].concat()
}

/// A peer sends these bytes.
pub fn say(world: &World, socket: SocketId, bytes: &[u8]) {
    world.at(socket, |socket| socket.to_relay.extend(bytes));
}

/// A peer that shakes hands, connects and sends these commands, and reads nothing.
pub fn raw(world: &mut World, core: usize, commands: &[Command]) -> SocketId {
    let socket = world.connect(core);
    say(world, socket, &handshake());
    for it in [&[connect()], commands].concat() {
        say(world, socket, &command(&it));
    }
    world.settle();
    socket
}

/// A publisher of `live/{key}` that speaks raw bytes and reads nothing.
pub fn raw_publisher(world: &mut World, key: &str) -> SocketId {
    let socket = raw(world, 0, &[Command::call("publish", 2.0, [key.into()])]);
    assert!(is_live(world, key));
    socket
}

/// Whether `live/{key}` has a publisher.
pub fn is_live(world: &World, key: &str) -> bool {
    world.shared.registry().get(&format!("live/{key}")).is_some_and(|stream| stream.is_live())
}

/// Messages of media in the log of `live/{key}`.
pub fn logged(world: &World, key: &str) -> usize {
    let stream = world.shared.registry().get(&format!("live/{key}"));
    let mut segment = stream.and_then(|stream| stream.log(Form::Rtmp).oldest_segment());
    let mut messages = 0;
    while let Some(at) = segment {
        messages += at.committed().entries.len();
        segment = match at.next() {
            Next::Segment(next) => Some(next),
            Next::NotYet | Next::Gone => None,
        };
    }
    messages
}

/// Whether the relay has sent its last on this connection, or has closed it.
pub fn has_ended(world: &World, socket: SocketId) -> bool {
    world.at(socket, |socket| socket.shut_send || socket.is_closed)
}

/// Bytes that wait for the peer to read them.
pub fn unread(world: &World, socket: SocketId) -> Vec<u8> {
    world.at(socket, |socket| socket.to_peer.iter().copied().collect())
}

/// How often these bytes are among those that wait for the peer.
pub fn occurrences(world: &World, socket: SocketId, needle: &[u8]) -> usize {
    unread(world, socket).windows(needle.len()).filter(|window| *window == needle).count()
}

/// Whether this text is among the bytes that wait for the peer.
pub fn hears(world: &World, socket: SocketId, text: &str) -> bool {
    occurrences(world, socket, text.as_bytes()) > 0
}

/// PingRequest, without its time: type and length of the message, its stream, the event.
pub const PING_REQUEST: [u8; 10] = [0, 0, 6, type_id::USER_CONTROL, 0, 0, 0, 0, 0, 6];

/// How many connections have ended for this reason, by the cores' next reports.
pub fn ends(world: &mut World, kind: ReasonKind) -> u64 {
    world.pass_ms(500);
    world.shared.reports().iter().map(|report| report.ends[kind.index()]).sum()
}

/// All events so far.
pub fn events(world: &World) -> Vec<RelayEvent> {
    world.events.0.lock().unwrap().clone()
}

/// Lets so much time pass, in which this peer reads what comes and answers pings.
pub fn pass_talking(world: &mut World, peer: &mut Peer, ms: u64) {
    world.talk(peer);
    for _ in 0..ms / 100 {
        world.pass_ms(100);
        world.talk(peer);
    }
}

/// Rules that are a function.
pub struct Rules(pub fn(&Question) -> Decision);

impl Access for Rules {
    fn decide(&self, question: &Question) -> Decision {
        (self.0)(question)
    }
}

/// Where the answer to a message of the control plane is kept.
pub struct Answer<T>(Arc<Mutex<Option<T>>>);

struct Promise<T> {
    answer: Arc<Mutex<Option<T>>>,
    is_wanted: bool,
}

impl<T: Send> Reply<T> for Promise<T> {
    fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    fn send(self: Box<Self>, answer: T) {
        *self.answer.lock().unwrap() = Some(answer);
    }
}

impl<T: Send + 'static> Answer<T> {
    /// One that is waited for.
    pub fn wanted() -> (Self, Box<dyn Reply<T>>) {
        Self::new(true)
    }

    /// One that is no longer waited for.
    pub fn unwanted() -> (Self, Box<dyn Reply<T>>) {
        Self::new(false)
    }

    fn new(is_wanted: bool) -> (Self, Box<dyn Reply<T>>) {
        let answer = Arc::default();
        (Self(Arc::clone(&answer)), Box::new(Promise { answer, is_wanted }))
    }

    /// The answer, once.
    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap().take()
    }
}

/// What a core reports of its connections.
pub fn report(world: &mut World, core: usize) -> Vec<ConnectionReport> {
    let (answer, reply) = Answer::wanted();
    world.mailboxes.post(core, Mail::Report(reply));
    world.settle();
    answer.take().expect("it answers at once")
}

/// The same, with nothing else done meanwhile.
pub fn report_now(world: &mut World, core: usize) -> Vec<ConnectionReport> {
    let (answer, reply) = Answer::wanted();
    world.cores[core].deliver(Mail::Report(reply));
    while world.cores[core].work_off_mail() {}
    answer.take().expect("it answers at once")
}

/// Troubles of the system that come one after the other, and how long a piece of work takes.
#[derive(Clone, Default)]
pub struct Troubled {
    pub troubles: Rc<RefCell<VecDeque<IoError>>>,
    /// By each look at the time, microseconds.
    pub work_us: Rc<Cell<u64>>,
    /// A send or a receive moves no more bytes than this, if it is not 0.
    pub most: Rc<Cell<usize>>,
}

impl Troubled {
    /// The next operation that could succeed has this trouble.
    pub fn next(&self, trouble: IoError) {
        self.troubles.borrow_mut().push_back(trouble);
    }
}

impl Chance for Troubled {
    fn pick(&mut self, _among: usize) -> usize {
        0
    }

    fn amount(&mut self, most: usize) -> usize {
        match self.most.get() {
            0 => most,
            bound => most.min(bound),
        }
    }

    fn trouble(&mut self) -> Option<IoError> {
        self.troubles.borrow_mut().pop_front()
    }

    fn work_us(&mut self) -> u64 {
        self.work_us.get()
    }
}

/// The world's chance is this one from now on.
pub fn trouble(world: &mut World) -> Troubled {
    let troubled = Troubled::default();
    world.net.borrow_mut().chance = Box::new(troubled.clone());
    troubled
}

/// A player over HTTP in this form, with the head of its response, what it has sent after its request, and its permit.
pub fn http_player(
    world: &mut World,
    key: &str,
    form: Form,
    head: &'static [u8],
    rest: &[u8],
    permit: Option<Box<Permit>>,
) -> SocketId {
    let (socket, peer) = (world.socket(), world.address());
    let limits = world.shared.config().limits.clone();
    let transport = world.shake_hands(socket);
    let id = world.shared.next_connection_id();
    let admitted = world.shared.admission().admit(&limits, id, peer.ip(), Entrance::Http);
    let ticket = admitted.expect("there is room");
    let player = HttpPlayer {
        socket,
        peer,
        ticket,
        stream: format!("live/{key}"),
        client: None,
        form,
        transport,
        start: Start::KeyFrame,
        permit,
        head: Bytes::from_static(head),
        rest: Bytes::copy_from_slice(rest),
    };
    world.mailboxes.post(0, Mail::Play(Box::new(player)));
    world.settle();
    socket
}
