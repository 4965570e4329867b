//! What each attack sends, and how: a table.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use fanfare_rtmp::rtmp::client::Url;
use fanfare_rtmp::rtmp::message::{Control, UserControl, type_id};

use super::wire::{
    Openings, UPGRADE, announced_lengths, announced_on_many_chunk_streams, control, control_bytes,
    create_stream, handshake, headers, play, random, request,
};
use super::{pin, starve};

/// One kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Thousands of handshakes, of each a byte a second
    SlowHandshakes,
    /// The whole opening of a player, one byte at a time
    SingleBytes,
    /// Random bytes instead of a handshake
    RandomBytes,
    /// A good opening, then random bytes
    GarbageBehindAnOpening,
    /// Messages of 16 MB announced on as many chunk streams as there are, of which nothing comes
    AnnouncedLengths,
    /// Messages of 16 MB announced on two thousand chunk streams of each connection
    ChunkStreams,
    /// Set Chunk Size, again and again
    ChunkSizes,
    /// Ping requests, whose answers are not read
    Pings,
    /// Acknowledgements, millions of them
    Acknowledgements,
    /// Publishers of many names that send nothing
    SilentPublishers,
    /// Publishers that send nothing but new headers
    HeadersOnly,
    /// Players that connect and vanish
    VanishingPlayers,
    /// Players that never read
    DeafPlayers,
    /// Players that reset their connection while they are sent to
    Resets,
    /// Connections whose peer is gone without FIN or RST: some had said nothing, some connect, some publish
    HalfOpen,
    /// createStream, again and again
    CreateStreams,
    /// play of another stream, again and again, on the same connection
    Plays,
    /// Over HTTP: thousands of requests, of each a byte a second
    SlowRequests,
    /// Over HTTP: lines that are no request, and heads that do not end
    HttpGarbage,
    /// Over HTTP: whatever the API and the metrics can be asked, as fast as it is answered
    ApiFlood,
    /// Over HTTP: players that connect and vanish
    VanishingHttpPlayers,
    /// Over HTTP: players that never read
    DeafHttpPlayers,
    /// Over WebSocket: players that send random bytes for frames, and pings without end
    WebsocketGarbage,
    /// A publisher with 8 MiB of sequence headers, and then key frames of two bytes
    KeyFrameCopies,
    /// Aggregates of 16 MB with a million messages of one byte
    Aggregates,
    /// Commands whose references make 15,000 values of 300 bytes
    AmfReferences,
    /// Publishers that send messages of two bytes, 20 Mbit/s of them together
    TinyMessages,
    /// Forty publishers that send messages of two bytes as fast as they are read
    TinyMessageCrowd,
    /// Players that want no video
    PlayersWithoutVideo,
    /// Players that pause and resume all the time, of a stream whose headers change all the time as well
    PauseStorms,
    /// Connections that publish one name after another: 25 bytes each, and two log lines
    PublishStorms,
    /// The same, thousands of them in one write
    PublishesInOneRead,
    /// Connections that are refused at once, thousands a second
    RefusedConnections,
    /// Publishers of the honest stream's name, which come back as soon as they are refused
    NameThieves,
    /// Handshakes of which nothing comes, from one network: 127.7.7.0/24
    OneNetwork,
    /// Publishers that come and go without end, and listeners to the events that do not read; needs --http
    EventFloods,
    /// Publishers whose metadata has 16,000 values, and requests for the list of streams; needs --http
    DearMetadata,
    /// 150 streams, among them one that is called "(others)"
    OddNames,
    /// Players that send 32 MB of messages that do not end
    UnfinishedMessages,
    /// Players of whom one chunk in each 64 KiB belongs to a message that does not end
    PinnedBuffers,
    /// Players of a stream with 8 MiB of headers that read nothing
    UnreadPreambles,
    /// Publishers with 12 MiB of headers
    LargeHeaders,
    /// Requests for a still picture of 24 MB, whose answers are not read; needs --http
    StillPictures,
    /// Players that join and pause, one after the other
    PausedPlayers,
    /// Publishers that grow once they are in, in each wire form; needs --http
    GrowingPublishers,
}

/// How an attack goes about it: several kinds of connections at a time, such as a publisher and its players.
pub struct Plan {
    /// Each for itself.
    pub troops: Vec<Troop>,
}

/// Connections that all do the same.
pub struct Troop {
    /// Which of the server's ports they go to.
    pub port: Port,
    /// Where they come from: the number of a connection says it. Their own address, unless it is given.
    pub source: Option<fn(u64) -> Ipv4Addr>,
    /// When the first one comes.
    pub after: Duration,
    /// Connections at a time.
    pub connections: usize,
    /// New ones a second, at most.
    pub ramp: f64,
    /// What each sends first; `number` is the connection's.
    pub opening: Box<dyn Fn(u64) -> Bytes>,
    /// What it goes on with, without end.
    pub flood: Vec<u8>,
    /// Bytes of one write of the opening; 0 is as many as of the flood.
    pub opening_piece: usize,
    /// Bytes of one write of the flood.
    pub piece: usize,
    /// From one write of a connection to its next.
    pub pause: Duration,
    /// Whether it reads what comes.
    pub reads: bool,
    /// How long a connection lasts, and how it ends.
    pub end: Option<(Duration, End)>,
}

/// A port of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Port {
    Rtmp,
    Http,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As sockets are closed.
    Close,
    /// By a reset, at once.
    Reset,
    /// Without a packet, as a machine that loses its power.
    Vanish,
}

impl Troop {
    /// A hundred that connect and say nothing: what an attack begins with.
    pub fn still() -> Self {
        Self {
            port: Port::Rtmp,
            source: None,
            after: Duration::ZERO,
            connections: 100,
            ramp: 1_000.0,
            opening: Box::new(|_| Bytes::new()),
            flood: Vec::new(),
            opening_piece: 0,
            piece: 64 << 10,
            pause: Duration::from_millis(10),
            reads: true,
            end: None,
        }
    }

    /// Whether its connections end so.
    pub fn ends_with(&self, end: End) -> bool {
        self.end.is_some_and(|(_, with)| with == end)
    }
}

impl Plan {
    /// The plan of this kind, against the stream of `url`.
    pub fn new(kind: Kind, url: &Url) -> Self {
        Self { troops: troops(kind, url) }
    }
}

fn troops(kind: Kind, url: &Url) -> Vec<Troop> {
    let openings = Openings::new(url);
    let Url { app, key, .. } = url.clone();
    let live = format!("/{app}/{key}.flv");
    let over_http = Troop { port: Port::Http, ..Troop::still() };
    let still = Troop::still();
    let troop = match kind {
        Kind::SlowHandshakes => Troop {
            connections: 3_000,
            opening: opening(|_| handshake()),
            piece: 1,
            pause: Duration::from_secs(1),
            ..still
        },
        Kind::SingleBytes => Troop {
            connections: 50,
            opening: opening(move |_| openings.plays()),
            piece: 1,
            pause: Duration::from_millis(2),
            end: Some((Duration::from_secs(8), End::Close)),
            ..still
        },
        Kind::RandomBytes => Troop {
            ramp: 500.0,
            opening: opening(|number| random(number, 4_000)),
            end: Some((Duration::from_millis(200), End::Close)),
            ..still
        },
        Kind::GarbageBehindAnOpening => Troop {
            ramp: 500.0,
            opening: opening(move |number| [openings.connected(), random(number, 20_000)].concat()),
            end: Some((Duration::from_millis(200), End::Close)),
            ..still
        },
        Kind::AnnouncedLengths => Troop {
            ramp: 500.0,
            opening: opening(move |_| [openings.connected(), announced_lengths()].concat()),
            end: Some((Duration::from_secs(2), End::Close)),
            ..still
        },
        Kind::ChunkStreams => {
            let bytes = [openings.connected(), announced_on_many_chunk_streams()].concat();
            Troop {
                // Slower than the others: most of what it says comes when it has been sent away, and keeps the
                // kernel busy for nothing.
                ramp: 100.0,
                opening: opening(move |_| bytes.clone()),
                end: Some((Duration::from_secs(2), End::Close)),
                ..still
            }
        }
        Kind::ChunkSizes => Troop {
            connections: 10,
            opening: opening(move |_| openings.connected()),
            flood: (0..400u32)
                .flat_map(|i| control_bytes(type_id::SET_CHUNK_SIZE, &(4 + i * 7919 % 65_532).to_be_bytes()))
                .collect(),
            piece: 8 << 10,
            ..still
        },
        Kind::Pings => Troop {
            connections: 10,
            opening: opening(move |_| openings.connected()),
            flood: (0..400).flat_map(|i| control(Control::User(UserControl::PingRequest(i)))).collect(),
            piece: 8 << 10,
            reads: false,
            ..still
        },
        Kind::Acknowledgements => Troop {
            connections: 10,
            opening: opening(move |_| openings.plays()),
            flood: (0..400).flat_map(|i| control(Control::Acknowledgement(i * 0x0101_0101))).collect(),
            piece: 8 << 10,
            ..still
        },
        Kind::SilentPublishers => Troop {
            connections: 1_000,
            opening: opening(move |number| openings.publishes(number)),
            pause: Duration::from_secs(1),
            ..still
        },
        Kind::HeadersOnly => Troop {
            connections: 50,
            opening: opening(move |number| openings.publishes(number)),
            flood: (0..40).flat_map(headers).collect(),
            piece: 4 << 10,
            pause: Duration::from_millis(20),
            ..still
        },
        Kind::VanishingPlayers => Troop {
            connections: 400,
            ramp: 2_000.0,
            opening: opening(move |_| openings.plays()),
            end: Some((Duration::from_millis(50), End::Close)),
            ..still
        },
        Kind::DeafPlayers => {
            Troop { connections: 500, opening: opening(move |_| openings.plays()), reads: false, ..still }
        }
        Kind::Resets => Troop {
            connections: 400,
            opening: opening(move |_| openings.plays()),
            reads: false,
            end: Some((Duration::from_millis(300), End::Reset)),
            ..still
        },
        Kind::HalfOpen => Troop {
            ramp: 300.0,
            opening: opening(move |number| match number % 3 {
                0 => Vec::new(),
                1 => openings.connected(),
                _ => openings.publishes(number),
            }),
            end: Some((Duration::from_millis(200), End::Vanish)),
            ..still
        },
        Kind::CreateStreams => Troop {
            connections: 10,
            opening: opening(move |_| openings.connected()),
            flood: create_stream().repeat(100),
            piece: 4 << 10,
            ..still
        },
        Kind::Plays => Troop {
            connections: 10,
            opening: opening(move |_| [openings.connected(), create_stream()].concat()),
            flood: (0..50).flat_map(|i| play(&format!("{key}-{i}"))).chain(play(&key)).collect(),
            piece: 4 << 10,
            ..still
        },
        Kind::SlowRequests => Troop {
            connections: 3_000,
            opening: opening(|_| request("/", "X-Slow: slow\r\n")),
            piece: 1,
            pause: Duration::from_secs(1),
            ..over_http
        },
        Kind::HttpGarbage => Troop {
            ramp: 500.0,
            opening: opening(|number| match number % 3 {
                0 => random(number, 4_000),
                1 => [request("/", "").strip_suffix(b"\r\n").unwrap_or_default(), &[b'x'; 1 << 20]].concat(),
                _ => b"GET /../../%00%ff.flv HTTP/1.1\r\nHost:\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
            }),
            end: Some((Duration::from_millis(200), End::Close)),
            ..over_http
        },
        Kind::ApiFlood => Troop {
            connections: 10,
            flood: [
                // With the token that attack.py gives the relay: what an operator's tools ask for costs the most.
                "/api/v1/players?limit=1000&token=attack-token",
                "/api/v1/streams",
                "/metrics?token=attack-token",
                "/api/v1/history",
                "/",
            ]
            .iter()
            .flat_map(|path| request(path, ""))
            .collect(),
            piece: 400,
            ..over_http
        },
        Kind::VanishingHttpPlayers => Troop {
            ramp: 2_000.0,
            opening: opening(move |_| request(&live, "")),
            end: Some((Duration::from_millis(50), End::Close)),
            ..over_http
        },
        Kind::DeafHttpPlayers => Troop {
            connections: 500,
            opening: opening(move |_| request(&live, "")),
            reads: false,
            ..over_http
        },
        Kind::WebsocketGarbage => Troop {
            ramp: 500.0,
            opening: opening(move |number| {
                let ping = b"\x89\x80\0\0\0\0".repeat(if number % 2 == 0 { 2_000 } else { 1 });
                [request(&live, UPGRADE), ping, random(number, 4_000)].concat()
            }),
            end: Some((Duration::from_millis(300), End::Close)),
            ..over_http
        },
        Kind::KeyFrameCopies => return starve::key_frame_copies(&openings),
        Kind::Aggregates => return starve::aggregates(&openings),
        Kind::AmfReferences => return starve::amf_references(&openings),
        Kind::TinyMessages => return starve::tiny_messages(&openings, 10, 2_500),
        Kind::TinyMessageCrowd => return starve::tiny_messages(&openings, 40, 64 << 10),
        Kind::PlayersWithoutVideo => return starve::players_without_video(&openings),
        Kind::PauseStorms => return starve::pause_storms(&openings),
        Kind::PublishStorms => return starve::publish_storms(&openings, 10, 2 << 10),
        Kind::PublishesInOneRead => return starve::publish_storms(&openings, 10, 64 << 10),
        Kind::RefusedConnections => return starve::refused_connections(),
        Kind::NameThieves => return starve::name_thieves(&openings),
        Kind::OneNetwork => return starve::one_network(),
        Kind::EventFloods => return starve::event_floods(&openings),
        Kind::DearMetadata => return starve::dear_metadata(&openings),
        Kind::OddNames => return starve::odd_names(&openings),
        Kind::UnfinishedMessages => return pin::unfinished_messages(&openings),
        Kind::PinnedBuffers => return pin::pinned_buffers(&openings),
        Kind::UnreadPreambles => return pin::unread_preambles(&openings),
        Kind::LargeHeaders => return pin::large_headers(&openings),
        Kind::StillPictures => return pin::still_pictures(&openings),
        Kind::PausedPlayers => return pin::paused_players(&openings),
        Kind::GrowingPublishers => return pin::growing_publishers(&openings),
    };
    vec![troop]
}

/// Bytes that are made for each connection.
pub fn opening(bytes: impl Fn(u64) -> Vec<u8> + 'static) -> Box<dyn Fn(u64) -> Bytes> {
    Box::new(move |number| bytes(number).into())
}

/// The same bytes for each connection.
pub fn same_opening(bytes: Vec<u8>) -> Box<dyn Fn(u64) -> Bytes> {
    let bytes = Bytes::from(bytes);
    Box::new(move |_| bytes.clone())
}
