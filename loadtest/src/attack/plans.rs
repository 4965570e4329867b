//! The table of attacks: what each one sends, and how.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use fanfare_rtmp::rtmp::client::Url;
use fanfare_rtmp::rtmp::message::{Control, UserControl, type_id};

use super::wire::{
    ConnectionSetup, UPGRADE, announced_lengths, announced_on_many_chunk_streams, client_hello, control,
    control_bytes, create_stream, handshake, headers, play, random, request, tls_record,
};
use super::{flood, pin, starve};

/// One kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Thousands of handshakes, each at one byte per second
    SlowHandshakes,
    /// The whole setup of a player, one byte at a time
    SingleBytes,
    /// Random bytes instead of a handshake
    RandomBytes,
    /// A valid handshake and connect, then random bytes
    GarbageAfterConnect,
    /// Messages of 16 MB announced on 61 chunk streams per connection, without their data
    AnnouncedLengths,
    /// Messages of 16 MB announced on 2,000 chunk streams per connection
    ChunkStreams,
    /// Set Chunk Size, again and again
    ChunkSizes,
    /// Ping requests, whose responses are not read
    Pings,
    /// Millions of acknowledgements
    Acknowledgements,
    /// Publishers of 1,000 names that send no frame
    SilentPublishers,
    /// Publishers that send nothing but new headers
    HeadersOnly,
    /// Players that disconnect 50 ms after they connected
    VanishingPlayers,
    /// Players that never read
    DeafPlayers,
    /// Players that reset their connection while frames are sent to them
    Resets,
    /// Connections whose peer disappears without FIN or RST: before the handshake, connected, or publishing
    HalfOpen,
    /// createStream, again and again
    CreateStreams,
    /// play of another stream, again and again, on the same connection
    Plays,
    /// Over HTTP: thousands of requests, each at one byte per second
    SlowRequests,
    /// Over HTTP: lines that are not requests, and headers that never end
    HttpGarbage,
    /// Over HTTP: requests to the API and the metrics, as fast as they are answered
    ApiFlood,
    /// Over HTTP: players that disconnect 50 ms after they connected
    VanishingHttpPlayers,
    /// Over HTTP: players that never read
    DeafHttpPlayers,
    /// Over WebSocket: players that send random bytes instead of frames, and thousands of pings
    WebsocketGarbage,
    /// Over TLS: ClientHellos, 2,000 per second, whose connections end before the handshake does; needs a URL with rtmps
    TlsHellos,
    /// Over TLS: handshakes that stop in the middle of the ClientHello
    TlsHalfHandshakes,
    /// Over TLS: random bytes and records that are none, instead of a handshake or after a ClientHello
    TlsGarbage,
    /// Publishers with 8 MiB of sequence headers, then key frames of two bytes
    KeyFrameCopies,
    /// Aggregate messages of 16 MB with a million messages of one byte
    Aggregates,
    /// Commands of 300 bytes whose references expand to 15,000 values
    AmfReferences,
    /// Publishers that send messages of two bytes, 20 Mbit/s in total
    TinyMessages,
    /// 40 publishers that send messages of two bytes as fast as they are read
    TinyMessageCrowd,
    /// A publisher of 500 Mbit/s
    LargeFlood,
    /// A publisher of 100,000 messages per second
    SmallFlood,
    /// Players that ask for no video
    PlayersWithoutVideo,
    /// Players that pause and resume all the time, on a stream whose headers change all the time
    PauseStorms,
    /// Connections that publish two names in turn: 25 bytes and two log lines each time
    PublishStorms,
    /// The same, with thousands of publish commands in one write
    PublishesInOneRead,
    /// Connections that are refused at once, thousands per second
    RefusedConnections,
    /// Publishers of the name of the honest stream, which reconnect as soon as they are refused
    NameThieves,
    /// Connections that stop after the first byte, from one network: 127.7.7.0/24
    OneNetwork,
    /// Publishers that connect and disconnect all the time, and clients that subscribe to events and do not read; needs --http
    EventFloods,
    /// Publishers whose metadata has 15,000 values, and requests for the list of streams; needs --http
    LargeMetadata,
    /// 150 streams, one of them named "(others)"
    OddNames,
    /// Players that send 32 MB of messages that never end
    UnfinishedMessages,
    /// Players that send one chunk of a message that never ends per 64 KiB of other data
    PinnedBuffers,
    /// Players that read nothing, on a stream with 8 MiB of headers
    UnreadPreambles,
    /// Publishers with 12 MiB of headers
    LargeHeaders,
    /// Requests for a still picture of 24 MB, whose responses are not read; needs --http
    StillPictures,
    /// Players that join and pause, one after another
    PausedPlayers,
    /// Publishers that send one endless group of pictures, with players of each format; needs --http
    GrowingPublishers,
}

/// The plan of an attack: groups of connections at the same time, such as a publisher and its players.
pub struct Plan {
    /// The groups.
    pub groups: Vec<Group>,
}

/// Connections that all behave the same.
pub struct Group {
    /// Which port of the server they connect to.
    pub port: Port,
    /// The source address by the number of the connection; the kernel's choice if `None`.
    pub source: Option<fn(u64) -> Ipv4Addr>,
    /// When the first one connects.
    pub after: Duration,
    /// Connections at the same time.
    pub connections: usize,
    /// Maximum of new connections per second.
    pub ramp: f64,
    /// What each sends first, by the number of the connection.
    pub setup: Box<dyn Fn(u64) -> Bytes>,
    /// What it repeats after that, without end.
    pub flood: Vec<u8>,
    /// Bytes per write of the setup; 0 for `write_bytes`.
    pub setup_write_bytes: usize,
    /// Bytes per write of the flood.
    pub write_bytes: usize,
    /// Time between two writes of a connection.
    pub write_interval: Duration,
    /// Whether it reads what it is sent.
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
    /// A normal close.
    Close,
    /// A reset.
    Reset,
    /// Without a packet, like a machine that loses power.
    Vanish,
}

impl Group {
    /// 100 connections that send nothing: the defaults of a group.
    pub fn idle() -> Self {
        Self {
            port: Port::Rtmp,
            source: None,
            after: Duration::ZERO,
            connections: 100,
            ramp: 1_000.0,
            setup: Box::new(|_| Bytes::new()),
            flood: Vec::new(),
            setup_write_bytes: 0,
            write_bytes: 64 << 10,
            write_interval: Duration::from_millis(10),
            reads: true,
            end: None,
        }
    }

    /// Whether its connections end this way.
    pub fn ends_with(&self, end: End) -> bool {
        self.end.is_some_and(|(_, with)| with == end)
    }
}

impl Plan {
    /// The plan of this kind of attack, on the stream of `url`.
    pub fn new(kind: Kind, url: &Url) -> Self {
        Self { groups: groups(kind, url) }
    }
}

fn groups(kind: Kind, url: &Url) -> Vec<Group> {
    let setups = ConnectionSetup::new(url);
    let Url { app, key, .. } = url.clone();
    let live = format!("/{app}/{key}.flv");
    let over_http = Group { port: Port::Http, ..Group::idle() };
    let idle = Group::idle();
    let group = match kind {
        Kind::SlowHandshakes => Group {
            connections: 3_000,
            setup: setup(|_| handshake()),
            write_bytes: 1,
            write_interval: Duration::from_secs(1),
            ..idle
        },
        Kind::SingleBytes => Group {
            connections: 50,
            setup: setup(move |_| setups.plays()),
            write_bytes: 1,
            write_interval: Duration::from_millis(2),
            end: Some((Duration::from_secs(8), End::Close)),
            ..idle
        },
        Kind::RandomBytes => Group {
            ramp: 500.0,
            setup: setup(|number| random(number, 4_000)),
            end: Some((Duration::from_millis(200), End::Close)),
            ..idle
        },
        Kind::GarbageAfterConnect => Group {
            ramp: 500.0,
            setup: setup(move |number| [setups.connected(), random(number, 20_000)].concat()),
            end: Some((Duration::from_millis(200), End::Close)),
            ..idle
        },
        Kind::AnnouncedLengths => Group {
            ramp: 500.0,
            setup: setup(move |_| [setups.connected(), announced_lengths()].concat()),
            end: Some((Duration::from_secs(2), End::Close)),
            ..idle
        },
        Kind::ChunkStreams => {
            let bytes = [setups.connected(), announced_on_many_chunk_streams()].concat();
            Group {
                // Slower than the others: most of the data arrives after the connection was closed, and only keeps the
                // kernel busy.
                ramp: 100.0,
                setup: setup(move |_| bytes.clone()),
                end: Some((Duration::from_secs(2), End::Close)),
                ..idle
            }
        }
        Kind::ChunkSizes => Group {
            connections: 10,
            setup: setup(move |_| setups.connected()),
            flood: (0..400u32)
                .flat_map(|i| control_bytes(type_id::SET_CHUNK_SIZE, &(4 + i * 7919 % 65_532).to_be_bytes()))
                .collect(),
            write_bytes: 8 << 10,
            ..idle
        },
        Kind::Pings => Group {
            connections: 10,
            setup: setup(move |_| setups.connected()),
            flood: (0..400).flat_map(|i| control(Control::User(UserControl::PingRequest(i)))).collect(),
            write_bytes: 8 << 10,
            reads: false,
            ..idle
        },
        Kind::Acknowledgements => Group {
            connections: 10,
            setup: setup(move |_| setups.plays()),
            flood: (0..400).flat_map(|i| control(Control::Acknowledgement(i * 0x0101_0101))).collect(),
            write_bytes: 8 << 10,
            ..idle
        },
        Kind::SilentPublishers => Group {
            connections: 1_000,
            setup: setup(move |number| setups.publishes(number)),
            write_interval: Duration::from_secs(1),
            ..idle
        },
        Kind::HeadersOnly => Group {
            connections: 50,
            setup: setup(move |number| setups.publishes(number)),
            flood: (0..40).flat_map(headers).collect(),
            write_bytes: 4 << 10,
            write_interval: Duration::from_millis(20),
            ..idle
        },
        Kind::VanishingPlayers => Group {
            connections: 400,
            ramp: 2_000.0,
            setup: setup(move |_| setups.plays()),
            end: Some((Duration::from_millis(50), End::Close)),
            ..idle
        },
        Kind::DeafPlayers => {
            Group { connections: 500, setup: setup(move |_| setups.plays()), reads: false, ..idle }
        }
        Kind::Resets => Group {
            connections: 400,
            setup: setup(move |_| setups.plays()),
            reads: false,
            end: Some((Duration::from_millis(300), End::Reset)),
            ..idle
        },
        Kind::HalfOpen => Group {
            ramp: 300.0,
            setup: setup(move |number| match number % 3 {
                0 => Vec::new(),
                1 => setups.connected(),
                _ => setups.publishes(number),
            }),
            end: Some((Duration::from_millis(200), End::Vanish)),
            ..idle
        },
        Kind::CreateStreams => Group {
            connections: 10,
            setup: setup(move |_| setups.connected()),
            flood: create_stream().repeat(100),
            write_bytes: 4 << 10,
            ..idle
        },
        Kind::Plays => Group {
            connections: 10,
            setup: setup(move |_| [setups.connected(), create_stream()].concat()),
            flood: (0..50).flat_map(|i| play(&format!("{key}-{i}"))).chain(play(&key)).collect(),
            write_bytes: 4 << 10,
            ..idle
        },
        Kind::SlowRequests => Group {
            connections: 3_000,
            setup: setup(|_| request("/", "X-Slow: slow\r\n")),
            write_bytes: 1,
            write_interval: Duration::from_secs(1),
            ..over_http
        },
        Kind::HttpGarbage => Group {
            ramp: 500.0,
            setup: setup(|number| match number % 3 {
                0 => random(number, 4_000),
                1 => [request("/", "").strip_suffix(b"\r\n").unwrap_or_default(), &[b'x'; 1 << 20]].concat(),
                _ => b"GET /../../%00%ff.flv HTTP/1.1\r\nHost:\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
            }),
            end: Some((Duration::from_millis(200), End::Close)),
            ..over_http
        },
        Kind::ApiFlood => Group {
            connections: 10,
            flood: [
                // With the token that attack.py configures: the requests of an operator's tools cost the most.
                "/api/v1/players?limit=1000&token=attack-token",
                "/api/v1/streams",
                "/metrics?token=attack-token",
                "/api/v1/history",
                "/",
            ]
            .iter()
            .flat_map(|path| request(path, ""))
            .collect(),
            write_bytes: 400,
            ..over_http
        },
        Kind::VanishingHttpPlayers => Group {
            ramp: 2_000.0,
            setup: setup(move |_| request(&live, "")),
            end: Some((Duration::from_millis(50), End::Close)),
            ..over_http
        },
        Kind::DeafHttpPlayers => {
            Group { connections: 500, setup: setup(move |_| request(&live, "")), reads: false, ..over_http }
        }
        Kind::WebsocketGarbage => Group {
            ramp: 500.0,
            setup: setup(move |number| {
                let ping = b"\x89\x80\0\0\0\0".repeat(if number % 2 == 0 { 2_000 } else { 1 });
                [request(&live, UPGRADE), ping, random(number, 4_000)].concat()
            }),
            end: Some((Duration::from_millis(300), End::Close)),
            ..over_http
        },
        Kind::TlsHellos => Group {
            connections: 1_000,
            ramp: 2_000.0,
            setup: same_setup(client_hello()),
            end: Some((Duration::from_millis(100), End::Close)),
            ..idle
        },
        Kind::TlsHalfHandshakes => {
            let hello = client_hello();
            Group {
                connections: 3_000,
                setup: setup(move |number| hello[..number as usize % hello.len()].to_vec()),
                ..idle
            }
        }
        Kind::TlsGarbage => {
            let hello = client_hello();
            Group {
                ramp: 1_000.0,
                setup: setup(move |number| match number % 4 {
                    0 => random(number, 4_000),
                    1 => tls_record(&random(number, 4_000)),
                    2 => [&hello, &tls_record(&random(number, 4_000))[..]].concat(),
                    // Warnings (user_canceled, RFC 8446 §6.1), and records without content.
                    _ => [&hello[..], &b"\x15\x03\x03\0\x02\x01\x5A\x17\x03\x03\0\0".repeat(1_000)].concat(),
                }),
                end: Some((Duration::from_millis(200), End::Close)),
                ..idle
            }
        }
        Kind::KeyFrameCopies => return starve::key_frame_copies(&setups),
        Kind::Aggregates => return starve::aggregates(&setups),
        Kind::AmfReferences => return starve::amf_references(&setups),
        Kind::TinyMessages => return starve::tiny_messages(&setups, 10, 2_500),
        Kind::TinyMessageCrowd => return starve::tiny_messages(&setups, 40, 64 << 10),
        Kind::LargeFlood => return flood::large(&setups),
        Kind::SmallFlood => return flood::small(&setups),
        Kind::PlayersWithoutVideo => return starve::players_without_video(&setups),
        Kind::PauseStorms => return starve::pause_storms(&setups),
        Kind::PublishStorms => return starve::publish_storms(&setups, 10, 2 << 10),
        Kind::PublishesInOneRead => return starve::publish_storms(&setups, 10, 64 << 10),
        Kind::RefusedConnections => return starve::refused_connections(),
        Kind::NameThieves => return starve::name_thieves(&setups),
        Kind::OneNetwork => return starve::one_network(),
        Kind::EventFloods => return starve::event_floods(&setups),
        Kind::LargeMetadata => return starve::large_metadata(&setups),
        Kind::OddNames => return starve::odd_names(&setups),
        Kind::UnfinishedMessages => return pin::unfinished_messages(&setups),
        Kind::PinnedBuffers => return pin::pinned_buffers(&setups),
        Kind::UnreadPreambles => return pin::unread_preambles(&setups),
        Kind::LargeHeaders => return pin::large_headers(&setups),
        Kind::StillPictures => return pin::still_pictures(&setups),
        Kind::PausedPlayers => return pin::paused_players(&setups),
        Kind::GrowingPublishers => return pin::growing_publishers(&setups),
    };
    vec![group]
}

/// A setup that is made for each connection.
pub fn setup(bytes: impl Fn(u64) -> Vec<u8> + 'static) -> Box<dyn Fn(u64) -> Bytes> {
    Box::new(move |number| bytes(number).into())
}

/// The same setup for each connection.
pub fn same_setup(bytes: Vec<u8>) -> Box<dyn Fn(u64) -> Bytes> {
    let bytes = Bytes::from(bytes);
    Box::new(move |_| bytes.clone())
}
