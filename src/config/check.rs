//! The range of every number, and the values that only make sense together.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    AccessRule, Config, Listen, MAX_CORES, MIB, RuleAction, access, fault::Fault, limits::MAX_MESSAGE_BYTES,
    units,
};

/// A number of the configuration. Displays as it is written in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// The full key: table, dot, name.
    pub key: &'static str,
    /// In units of `unit`.
    pub value: u64,
    /// The range, both ends included.
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
    /// The range as text: `1s to 10m`.
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

impl Config {
    /// Every number, with its key and range: [`Config::check`] enforces it and `fanfare.toml` documents it.
    pub fn numbers(&self) -> Vec<Number> {
        use Unit::{Bytes, Count, Milliseconds};
        let Config { publish, play, limits, jwt, hooks, http, log, .. } = self;
        let time = |key, value: Duration, range| Number {
            key,
            value: u64::try_from(value.as_millis()).unwrap_or(u64::MAX),
            range,
            unit: Milliseconds,
        };
        let count = |key, value, range| Number { key, value: value as u64, range, unit: Count };
        let size = |key, value, range| Number { key, value: value as u64, range, unit: Bytes };
        let message = |key, value| size(key, value, 1024..=MAX_MESSAGE_BYTES as u64);
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
            count("limits.wrong_credentials", limits.wrong_credentials, 0..=MILLION),
            time("jwt.jwks_refresh", jwt.jwks_refresh, 10 * SECOND_MS..=24 * HOUR_MS),
            time("hooks.update_interval", hooks.update_interval, SECOND_MS..=HOUR_MS),
            time("hooks.timeout", hooks.timeout, 100..=9 * SECOND_MS),
            time("hooks.cache", hooks.cache, 0..=HOUR_MS),
            count("hooks.max_requests", hooks.max_requests, 1..=1024),
            count("hooks.queue", hooks.queue, 1..=MILLION),
            count("hooks.retries", hooks.retries, 0..=100),
            time("http.header_timeout", http.header_timeout, SECOND_MS..=10 * MINUTE_MS),
            time("http.hsts", http.hsts, 0..=2 * YEAR_MS),
            count("http.metrics_max_streams", http.metrics_max_streams, 0..=10_000),
            count("log.lines_per_network", log.lines_per_network, 0..=MILLION),
        ]
    }

    /// Whether neither a rule nor the web service decides who may publish: then only networks nearby may.
    pub fn has_default_publishers(&self) -> bool {
        let is_about_it = |rule: &AccessRule| matches!(rule.action, RuleAction::Any | RuleAction::Publish);
        self.hooks.on_publish.is_empty() && !self.access.iter().any(is_about_it)
    }

    /// Checks every value. A file is checked when it is read; after flags have changed something, this checks again.
    ///
    /// # Errors
    /// The first value that is not allowed, by its key.
    pub fn check(&self) -> Result<(), Fault> {
        if let Some(number) = self.numbers().into_iter().find(|number| !number.is_in_range()) {
            return Err(Fault {
                key: number.key,
                what: format!("{number} is out of range: {}", number.range_text()),
            });
        }
        let addresses = [
            ("listen.rtmp", &self.listen.rtmp, 1),
            ("listen.rtmps", &self.listen.rtmps, 0),
            ("listen.http", &self.listen.http, 0),
            ("listen.https", &self.listen.https, 0),
            ("api.listen", &self.api.listen, 0),
        ];
        let mut taken: Vec<(&SocketAddr, &str)> = Vec::new();
        for (key, addresses, min) in addresses {
            check_addresses(addresses, min).map_err(|what| Fault { key, what })?;
            for address in addresses.iter().filter(|address| address.port() != 0) {
                if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == address) {
                    return Err(Fault { key, what: format!("{address} is also in {other}") });
                }
                taken.push((address, key));
            }
        }
        self.tls.check(!self.listen.http.is_empty())?;
        let Listen { rtmp, rtmps, http, https, .. } = &self.listen;
        let listen = [&**rtmp, &**rtmps, &**http, &**https, &*self.api.listen];
        self.proxy.check(&listen)?;
        access::check(&self.access, &self.users, &self.jwt)?;
        self.hooks.check()?;
        self.http.check(!self.listen.https.is_empty())?;
        self.api.check()
    }
}

fn check_addresses(addresses: &[SocketAddr], min: usize) -> Result<(), String> {
    let count = addresses.len();
    if !(min..=MAX_ADDRESSES).contains(&count) {
        return Err(format!("{count} addresses are out of range: {min} to {MAX_ADDRESSES}"));
    }
    for (index, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..index].contains(address) {
            return Err(format!("{address} is listed twice"));
        }
    }
    Ok(())
}

/// Each core listens on each address: 16,384 sockets at most.
const MAX_ADDRESSES: usize = 64;

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// As a duration is written: 365.25 days.
const YEAR_MS: u64 = 8_766 * HOUR_MS;
const MILLION: u64 = 1_000_000;
