//! The options that an operator has, with their defaults. A file is parsed once (`text`), every value is checked
//! (`check`), what cannot change while the relay runs is named (`restart`), and so is what differs (`changes`).

#![forbid(unsafe_code)]

mod access;
mod addresses;
mod changes;
mod check;
mod environment;
mod fault;
mod hooks;
mod http;
mod limits;
mod log;
mod proxy;
mod renamed;
mod restart;
mod secret;
mod secret_file;
mod secret_value;
mod streams;
mod text;
mod tls;
mod units;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use access::{AccessRule, Jwt, MIN_SIGNING_BYTES, PublicKeys, RuleAction, Then, Users};
pub use addresses::{is_everywhere, parse_addresses};
pub use changes::{Change, changes, options};
pub use check::Number;
pub use environment::Ignored;
pub use fault::Fault;
pub use hooks::{Dialect, Hooks, NotifyMethod, OnError};
pub use http::{Api, Http, MAX_TOKEN_BYTES, RedirectToHttps, check_token};
pub use limits::Limits;
pub use log::{Filter, Log, LogFormat};
pub use proxy::{ClientHeader, Proxy};
pub use secret::read_token;
pub use secret_value::Secrets;
pub use streams::{StreamRule, StreamRules};
pub use text::Error;
pub use tls::{CertificateFiles, Tls};

use crate::stream::Start;

/// Every option. The keys of the file are the names of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that serve connections; 0 is one per CPU, more threads than CPUs are allowed. [`Config::core_count`]
    /// resolves the 0.
    pub cores: usize,
    /// Whether each of these threads is pinned to one CPU.
    pub pin_cores: bool,
    /// How long a shutdown waits until players are notified and their sends have ended; 0 exits at once.
    #[serde(with = "units::DurationText")]
    pub shutdown_timeout: Duration,
    /// Rules for streams by name. The first rule that matches a name applies.
    pub streams: StreamRules,
    /// Who may publish and play. The first rule that applies decides.
    pub access: Vec<AccessRule>,
    /// Users that rules name.
    pub users: Users,
    /// Where encoders and players connect.
    pub listen: Listen,
    /// Options for publishers.
    pub publish: Publish,
    /// Options for players.
    pub play: Play,
    /// Limits on what peers may use.
    pub limits: Limits,
    /// Tokens that rules take.
    pub jwt: Jwt,
    /// Certificates for RTMPS and HTTPS.
    pub tls: Tls,
    /// The operator's web service.
    pub hooks: Hooks,
    /// Proxies in front of the relay.
    pub proxy: Proxy,
    /// Options for HTTP.
    pub http: Http,
    /// Access to the API.
    pub api: Api,
    /// Options for the log.
    pub log: Log,
}

/// Where encoders and players connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Addresses for RTMP, 1 to 64, each once. With port 0 the system chooses a port.
    #[serde(deserialize_with = "addresses::deserialize")]
    pub rtmp: Vec<SocketAddr>,
    /// Addresses for RTMPS, RTMP over TLS; up to 64, each once. There are none by default.
    #[serde(deserialize_with = "addresses::deserialize")]
    pub rtmps: Vec<SocketAddr>,
    /// Addresses for HTTPS; up to 64, each once. There are none by default.
    #[serde(deserialize_with = "addresses::deserialize")]
    pub https: Vec<SocketAddr>,
    /// Addresses for HTTP: the page, streams, the API. Up to 64, each once; an empty list turns HTTP off.
    #[serde(deserialize_with = "addresses::deserialize")]
    pub http: Vec<SocketAddr>,
    /// `http` has the default addresses. The relay starts without those that cannot be bound.
    #[serde(skip)]
    pub is_default_http: bool,
}

/// Options for publishers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// What happens when a second publisher requests a name that is in use.
    pub on_second_publisher: SecondPublisher,
    /// A second publisher takes over the name of one that has sent nothing for this long, not even an answer to a
    /// ping, whatever `on_second_publisher` is.
    #[serde(with = "units::DurationText")]
    pub takeover_after: Duration,
    /// How long players wait for their publisher to come back; with 0 they end when it disconnects.
    #[serde(with = "units::DurationText")]
    pub publisher_grace: Duration,
}

/// Options for players.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// Where a player starts, unless its URL specifies it.
    pub start: Start,
    /// How long a player waits for a stream that is not published; with 0 it is refused at once.
    #[serde(with = "units::DurationText")]
    pub wait_for_publisher: Duration,
    /// A player that lags by more than this is moved to the newest key frame.
    #[serde(with = "units::DurationText")]
    pub max_lag: Duration,
    /// A player whose socket accepts no data for this long is disconnected.
    #[serde(with = "units::DurationText")]
    pub send_timeout: Duration,
    /// Memory that one stream may use for its players, in bytes.
    #[serde(with = "units::SizeText")]
    pub stream_buffer: usize,
    /// How often a player that sends nothing is pinged, and every publisher.
    #[serde(with = "units::DurationText")]
    pub ping_interval: Duration,
    /// How long a frame waits at most for others that are expected, to be sent with them.
    #[serde(with = "units::DurationText")]
    pub merge_window: Duration,
    /// How long a frame waits at most on a core that is still sending earlier frames.
    #[serde(with = "units::DurationText")]
    pub latency_budget: Duration,
    /// Sends of at least this many bytes use zero copy, if the kernel and the network card support it; 0 turns it off.
    #[serde(with = "units::SizeText")]
    pub zero_copy_threshold: usize,
}

/// What happens when a second publisher requests a name that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondPublisher {
    /// The second publisher is refused with `NetStream.Publish.BadName`.
    Reject,
    /// The second publisher gets the name, and the first one's connection ends.
    Takeover,
}

impl Config {
    /// The same configuration with `***` in place of each secret.
    pub fn without_secrets(&self) -> Config {
        let (api, hooks) = (self.api.without_secrets(), self.hooks.without_secrets());
        let mut config = Config { api, hooks, ..self.clone() };
        for (_key, _min_bytes, secrets) in config.secrets() {
            *secrets = secrets.without_secrets();
        }
        // As that of a hook's address.
        if let Some((path, _query)) = config.jwt.jwks_url.split_once('?') {
            config.jwt.jwks_url = format!("{path}?***");
        }
        config
    }

    /// Each list of secrets, with its key and how long each of them has to be, bytes.
    fn secrets(&mut self) -> Vec<(String, usize, &mut Secrets)> {
        let Config { access, users, jwt, hooks, .. } = self;
        let mut secrets = vec![
            ("jwt.secrets".to_owned(), MIN_SIGNING_BYTES, &mut jwt.secrets),
            ("hooks.secret".to_owned(), 1, &mut hooks.secret),
        ];
        secrets.extend(users.iter_mut().map(|(name, passwords)| (format!("users: {name}"), 1, passwords)));
        for (rule, number) in access.iter_mut().zip(1..) {
            secrets.push((format!("access: rule {number}: keys"), 1, &mut rule.keys));
            secrets.push((format!("access: rule {number}: links"), MIN_SIGNING_BYTES, &mut rule.links));
        }
        secrets
    }

    /// Replaces the addresses for RTMP.
    pub fn set_rtmp(&mut self, addresses: Vec<SocketAddr>) {
        self.listen.rtmp = addresses;
    }

    /// Replaces the addresses for HTTP.
    pub fn set_http(&mut self, addresses: Vec<SocketAddr>) {
        (self.listen.http, self.listen.is_default_http) = (addresses, false);
    }

    /// The number of threads that serve connections, at least 1: `cores`, or one for each CPU that this process may
    /// use.
    pub fn core_count(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.cores == 0 { available().min(MAX_CORES) } else { self.cores }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cores: 0,
            pin_cores: false,
            shutdown_timeout: Duration::from_secs(5),
            streams: StreamRules::default(),
            access: Vec::new(),
            users: Users::default(),
            listen: Listen::default(),
            publish: Publish::default(),
            play: Play::default(),
            limits: Limits::default(),
            jwt: Jwt::default(),
            tls: Tls::default(),
            hooks: Hooks::default(),
            proxy: Proxy::default(),
            http: Http::default(),
            api: Api::default(),
            log: Log::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        let everywhere = addresses::everywhere;
        Listen {
            rtmp: everywhere(RTMP_PORT),
            rtmps: Vec::new(),
            http: everywhere(HTTP_PORT),
            https: Vec::new(),
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
            merge_window: Duration::from_millis(14),
            latency_budget: Duration::from_millis(150),
            zero_copy_threshold: 0,
        }
    }
}

/// IANA's port for RTMP.
const RTMP_PORT: u16 = 1935;
/// IANA's alternate port for HTTP: it needs no privileges.
const HTTP_PORT: u16 = 8080;
/// Enough for the largest machines; each thread has listeners and rings of its own.
const MAX_CORES: usize = 256;
const MIB: u64 = 1024 * 1024;
