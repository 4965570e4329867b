//! What the operator may choose: every option, its default and its range. Parsed and validated once, plain
//! values and read-only after. Reading a file, and saying where in it a mistake is, is in `text`.

mod http;
mod limits;
mod renamed;
mod streams;
mod text;
mod units;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stream::Start;

pub use http::{Api, Http, MAX_TOKEN, check_token};
pub use limits::Limits;
pub use streams::{StreamRule, patterns};
pub use text::Error;

/// All that is in force. The keys of the file are the names of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that carry connections; 0 is one a CPU, more than there are CPUs is allowed.
    /// [`Config::core_count`] has the zero resolved.
    pub cores: usize,
    /// Whether each of these threads stays on one CPU.
    pub pin_cores: bool,
    /// How long a shutdown waits for players to be told and their sends to end; 0 leaves at once.
    #[serde(with = "units::duration")]
    pub shutdown_timeout: Duration,
    /// What holds for some streams, by their names. The first that fits a name decides.
    pub streams: Vec<StreamRule>,
    /// Where encoders and players connect.
    pub listen: Listen,
    /// What a publisher may do.
    pub publish: Publish,
    /// What a player is given, and how much patience it is shown.
    pub play: Play,
    /// What peers may take.
    pub limits: Limits,
    /// What HTTP serves, and to whom.
    pub http: Http,
    /// Who may ask the API, and have it act.
    pub api: Api,
    /// Log lines.
    pub log: Log,
}

/// Where encoders and players connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Addresses for RTMP, 1 to 64, no two alike. Port 0 lets the system choose one.
    pub rtmp: Vec<SocketAddr>,
    /// Addresses for HTTP: the page, live bodies, the API. Up to 64, no two alike; none is no HTTP.
    pub http: Vec<SocketAddr>,
    /// `rtmp` has the default addresses, written down or not. Defaults are tried: a host without IPv6 starts
    /// without the IPv6 one, as long as another works. Addresses of one's own are required: each must work.
    #[serde(skip)]
    pub is_default: bool,
    /// `http` has the default addresses. They are tried, too, and a relay starts without any of them.
    #[serde(skip)]
    pub is_default_http: bool,
}

/// What a publisher may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// What happens when a second publisher comes for a name that has one.
    pub on_second_publisher: SecondPublisher,
    /// A publisher that was not heard for this long, not even by an answer to a ping, gives its name to a second one,
    /// whatever the choice above.
    #[serde(with = "units::duration")]
    pub takeover_after: Duration,
    /// How long players wait for their publisher to come back; 0 ends them when it goes.
    #[serde(with = "units::duration")]
    pub publisher_grace: Duration,
}

/// What a player is given, and how much patience it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// Where a player joins a stream, unless its URL says otherwise.
    pub start: Start,
    /// How long a player waits for a name that nobody publishes; 0 refuses it at once.
    #[serde(with = "units::duration")]
    pub wait_for_publisher: Duration,
    /// A player that is further behind than this is moved to the newest key frame.
    #[serde(with = "units::duration")]
    pub max_lag: Duration,
    /// A player whose socket takes nothing for this long is dropped.
    #[serde(with = "units::duration")]
    pub send_timeout: Duration,
    /// Memory that one stream may hold for its players, in bytes.
    #[serde(with = "units::size")]
    pub stream_buffer: usize,
    /// How often a player that says nothing is pinged, and a publisher whatever it says.
    #[serde(with = "units::duration")]
    pub ping_interval: Duration,
    /// How long audio waits for a picture to go out with, in a stream that has pictures.
    #[serde(with = "units::duration")]
    pub merge_window: Duration,
    /// How long a frame may wait at most on a core that is busy with the ones before.
    #[serde(with = "units::duration")]
    pub latency_budget: Duration,
    /// Sends of at least this many bytes are not copied, where kernel and network card can do without; 0 copies all.
    #[serde(with = "units::size")]
    pub zero_copy_threshold: usize,
}

/// Log lines; they go to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines are written: a level or `tracing` directives, checked by [`crate::logging::filter`].
    pub level: String,
    /// Lines of one kind about one network, an IPv4 /24 or an IPv6 /56, that are written within 10 s; 0 is no limit.
    pub lines_per_network: usize,
}

/// What happens when a second publisher comes for a name that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondPublisher {
    /// The second one is refused with `NetStream.Publish.BadName`.
    Reject,
    /// The second one gets the name and the first one's connection ends.
    Takeover,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Config {
    /// Reads and validates a file.
    pub fn load(path: &Path) -> Result<Config, Error> {
        text::load(path)
    }

    /// Validates the text of a file; `name` is what an error calls it.
    pub fn from_toml(name: &str, toml: &str) -> Result<Config, Error> {
        text::parse(name, toml)
    }

    /// The same as a file, every option written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every option has a TOML form: numbers, strings and lists in tables")
    }

    /// The same, with `***` in the place of whatever is to stay secret: fit to be shown.
    pub fn without_secrets(&self) -> Config {
        Config { api: self.api.without_secrets(), ..self.clone() }
    }

    /// Puts other addresses for RTMP in the place of all that were there.
    pub fn set_rtmp(&mut self, addresses: Vec<SocketAddr>) {
        (self.listen.rtmp, self.listen.is_default) = (addresses, false);
    }

    /// Puts other addresses for HTTP in the place of all that were there.
    pub fn set_http(&mut self, addresses: Vec<SocketAddr>) {
        (self.listen.http, self.listen.is_default_http) = (addresses, false);
    }

    /// How many threads carry connections, at least 1: `cores`, or one a CPU this process may use.
    pub fn core_count(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.cores == 0 { available().min(MAX_CORES) } else { self.cores }
    }

    /// Every number here, with its key and range: what [`Config::check`] holds and `fanfare.toml` documents.
    pub fn numbers(&self) -> Vec<Number> {
        use Unit::{Bytes, Count, Milliseconds};
        let Config { publish, play, limits, http, log, .. } = self;
        let time = |key, value: Duration, range| Number {
            key,
            value: u64::try_from(value.as_millis()).unwrap_or(u64::MAX),
            range,
            unit: Milliseconds,
        };
        let count = |key, value, range| Number { key, value: value as u64, range, unit: Count };
        let size = |key, value, range| Number { key, value: value as u64, range, unit: Bytes };
        let message = |key, value| size(key, value, 1024..=limits::LARGEST_MESSAGE as u64);
        vec![
            count("cores", self.cores, 0..=MAX_CORES as u64),
            time("shutdown_timeout", self.shutdown_timeout, 0..=5 * MINUTE_MS),
            time("publish.takeover_after", publish.takeover_after, 100..=HOUR_MS),
            time("publish.publisher_grace", publish.publisher_grace, 0..=HOUR_MS),
            time("play.wait_for_publisher", play.wait_for_publisher, 0..=HOUR_MS),
            time("play.max_lag", play.max_lag, 200..=10 * MINUTE_MS),
            time("play.send_timeout", play.send_timeout, SECOND_MS..=10 * MINUTE_MS),
            size("play.stream_buffer", play.stream_buffer, MIB..=4096 * MIB),
            time("play.ping_interval", play.ping_interval, SECOND_MS..=HOUR_MS),
            time("play.merge_window", play.merge_window, 0..=20),
            time("play.latency_budget", play.latency_budget, 0..=SECOND_MS),
            size("play.zero_copy_threshold", play.zero_copy_threshold, 0..=MIB),
            count("limits.connections", limits.connections, 1..=MILLION),
            count("limits.connections_per_address", limits.connections_per_address, 1..=MILLION),
            count("limits.connections_per_network", limits.connections_per_network, 1..=MILLION),
            count("limits.connections_per_block", limits.connections_per_block, 1..=MILLION),
            count("limits.handshakes", limits.handshakes, 1..=MILLION),
            count("limits.handshakes_per_address", limits.handshakes_per_address, 1..=MILLION),
            count("limits.handshakes_per_network", limits.handshakes_per_network, 1..=MILLION),
            count("limits.handshakes_per_block", limits.handshakes_per_block, 1..=MILLION),
            time("limits.handshake_timeout", limits.handshake_timeout, SECOND_MS..=10 * MINUTE_MS),
            time("limits.request_timeout", limits.request_timeout, SECOND_MS..=10 * MINUTE_MS),
            time("limits.publisher_timeout", limits.publisher_timeout, SECOND_MS..=HOUR_MS),
            count("limits.streams", limits.streams, 1..=MILLION),
            size("limits.memory_budget", limits.memory_budget, MIB..=1 << 50),
            count("limits.publisher_kbps", limits.publisher_kbps, 0..=10 * MILLION),
            count("limits.messages_per_second", limits.messages_per_second, 0..=10 * MILLION),
            message("limits.video_message", limits.video_message),
            message("limits.audio_message", limits.audio_message),
            message("limits.data_message", limits.data_message),
            size("limits.command_message", limits.command_message, 1024..=64 << 10),
            count("limits.partial_messages", limits.partial_messages, 4..=1024),
            size("limits.partial_bytes", limits.partial_bytes, 64 << 10..=1 << 30),
            time("http.header_timeout", http.header_timeout, SECOND_MS..=10 * MINUTE_MS),
            count("http.metrics_max_streams", http.metrics_max_streams, 0..=10_000),
            count("log.lines_per_network", log.lines_per_network, 0..=MILLION),
        ]
    }

    /// Holds every value to its range. A file was checked when it was read; this is for what flags changed.
    pub fn check(&self) -> Result<(), Fault> {
        if let Some(number) = self.numbers().into_iter().find(|number| !number.is_in_range()) {
            return Err(Fault {
                key: number.key,
                what: format!("{number} is outside {}", number.range_text()),
            });
        }
        let addresses = [
            ("listen.rtmp", &self.listen.rtmp, 1),
            ("listen.http", &self.listen.http, 0),
            ("api.listen", &self.api.listen, 0),
        ];
        let mut taken: Vec<(&SocketAddr, &str)> = Vec::new();
        for (key, addresses, least) in addresses {
            check_addresses(addresses, least).map_err(|what| Fault { key, what })?;
            for address in addresses.iter().filter(|address| address.port() != 0) {
                if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == address) {
                    return Err(Fault { key, what: format!("{address} is in {other} as well") });
                }
                taken.push((address, key));
            }
        }
        patterns(&self.streams).map_err(|what| Fault { key: "streams", what })?;
        self.http.check()?;
        self.api.check()?;
        crate::logging::filter(&self.log.level).map_err(|what| Fault { key: "log.level", what })?;
        Ok(())
    }
}

fn check_addresses(addresses: &[SocketAddr], least: usize) -> Result<(), String> {
    let count = addresses.len();
    if !(least..=MAX_ADDRESSES).contains(&count) {
        return Err(format!("{count} addresses are outside {least} to {MAX_ADDRESSES}"));
    }
    for (index, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..index].contains(address) {
            return Err(format!("{address} is there twice"));
        }
    }
    Ok(())
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cores: 0,
            pin_cores: false,
            shutdown_timeout: Duration::from_secs(5),
            streams: Vec::new(),
            listen: Listen::default(),
            publish: Publish::default(),
            play: Play::default(),
            limits: Limits::default(),
            http: Http::default(),
            api: Api::default(),
            log: Log::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        let everywhere =
            |port| vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        Listen {
            rtmp: everywhere(RTMP_PORT),
            http: everywhere(HTTP_PORT),
            is_default: true,
            is_default_http: true,
        }
    }
}

impl Default for Publish {
    fn default() -> Publish {
        Publish {
            on_second_publisher: SecondPublisher::Reject,
            takeover_after: Duration::from_secs(3),
            publisher_grace: Duration::from_secs(10),
        }
    }
}

impl Default for Play {
    fn default() -> Play {
        Play {
            start: Start::KeyFrame,
            wait_for_publisher: Duration::from_secs(30),
            max_lag: Duration::from_secs(5),
            send_timeout: Duration::from_secs(10),
            stream_buffer: 32 * MIB as usize,
            ping_interval: Duration::from_secs(30),
            merge_window: Duration::from_millis(20),
            latency_budget: Duration::from_millis(150),
            zero_copy_threshold: 0,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Text, level: "info".to_owned(), lines_per_network: 20 }
    }
}

/// A number of the configuration. Displays as it would be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// The full key: table, dot, name.
    pub key: &'static str,
    /// In units of `unit`.
    pub value: u64,
    /// What is allowed, both ends included.
    pub range: RangeInclusive<u64>,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Count,
    Milliseconds,
    Bytes,
}

impl Number {
    /// The range as a person writes it: `1s to 10m`.
    pub fn range_text(&self) -> String {
        format!("{} to {}", self.unit.show(*self.range.start()), self.unit.show(*self.range.end()))
    }

    fn is_in_range(&self) -> bool {
        self.range.contains(&self.value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit.show(self.value))
    }
}

impl Unit {
    fn show(self, value: u64) -> String {
        match self {
            Unit::Count => value.to_string(),
            Unit::Milliseconds => units::show_duration(Duration::from_millis(value)),
            Unit::Bytes => units::show_size(value),
        }
    }
}

/// A value that cannot be, by its key: the place is the caller's to name, a line of a file or a flag.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Fault {
    /// The full key: table, dot, name.
    pub key: &'static str,
    /// What is wrong with its value.
    pub what: String,
}

/// The port that RTMP has with IANA.
const RTMP_PORT: u16 = 1935;
/// The alternate port of HTTP with IANA: needs no privilege.
const HTTP_PORT: u16 = 8080;
/// Enough for the largest machines; each thread has its own listeners and rings.
const MAX_CORES: usize = 256;
/// Each core listens on each address: with all of them 16,384 sockets.
const MAX_ADDRESSES: usize = 64;

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const MIB: u64 = 1024 * 1024;
const MILLION: u64 = 1_000_000;
