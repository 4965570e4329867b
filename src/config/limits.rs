//! Limits on what peers may use.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::units;

/// Limits. When one is reached, new connections or requests are refused and existing ones stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in total.
    pub connections: usize,
    /// Connections per IP address.
    pub connections_per_address: usize,
    /// Connections per network: an IPv4 /24 or an IPv6 /56.
    pub connections_per_network: usize,
    /// Connections per block of networks: an IPv4 /16 or an IPv6 /32.
    pub connections_per_block: usize,
    /// Networks that the limits per address, network and block do not count.
    pub exempt: Vec<IpNet>,
    /// RTMP connections with an unfinished handshake; those from `exempt` are counted apart, up to the same number.
    pub handshakes: usize,
    /// Unfinished handshakes per IP address.
    pub handshakes_per_address: usize,
    /// Unfinished handshakes per network: an IPv4 /24 or an IPv6 /56.
    pub handshakes_per_network: usize,
    /// Unfinished handshakes per block of networks: an IPv4 /16 or an IPv6 /32.
    pub handshakes_per_block: usize,
    /// How long a handshake may take.
    #[serde(with = "units::DurationText")]
    pub handshake_timeout: Duration,
    /// How long a connection may neither publish nor play.
    #[serde(with = "units::DurationText")]
    pub request_timeout: Duration,
    /// How long a publisher may send nothing, not even answers to pings.
    #[serde(with = "units::DurationText")]
    pub publisher_timeout: Duration,
    /// Published streams.
    pub streams: usize,
    /// Memory that peers can make the relay use, bytes.
    #[serde(with = "units::SizeText")]
    pub memory_budget: usize,
    /// Bitrate per publisher over 5 s, kilobits per second; 0 is no limit.
    pub publisher_kbps: usize,
    /// Messages per second per publisher over 5 s; 0 is no limit.
    pub messages_per_second: usize,
    /// Bytes of one video message. A chunk header has 24 bits for it.
    #[serde(with = "units::SizeText")]
    pub video_message: usize,
    /// Bytes of one audio message.
    #[serde(with = "units::SizeText")]
    pub audio_message: usize,
    /// Bytes of one data message: metadata, cue points.
    #[serde(with = "units::SizeText")]
    pub data_message: usize,
    /// Bytes of one command.
    #[serde(with = "units::SizeText")]
    pub command_message: usize,
    /// Incomplete messages per connection.
    pub partial_messages: usize,
    /// Bytes of all incomplete messages of a connection.
    #[serde(with = "units::SizeText")]
    pub partial_bytes: usize,
    /// Wrong keys, passwords, links and tokens per minute from one network at one rule; 0 is no limit.
    pub wrong_credentials: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        Self {
            connections: 100_000,
            connections_per_address: 1_000,
            connections_per_network: 4_000,
            connections_per_block: 50_000,
            exempt: loopback.iter().map(|net| net.parse().expect("a network with a prefix")).collect(),
            handshakes: 10_000,
            handshakes_per_address: 500,
            handshakes_per_network: 1_000,
            handshakes_per_block: 2_000,
            handshake_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            publisher_timeout: Duration::from_secs(15),
            streams: 4_000,
            memory_budget: 4 << 30,
            publisher_kbps: 0,
            messages_per_second: 20_000,
            video_message: MAX_MESSAGE_BYTES,
            audio_message: 1 << 20,
            data_message: 256 << 10,
            command_message: 64 << 10,
            partial_messages: 32,
            partial_bytes: 32 << 20,
            wrong_credentials: 60,
        }
    }
}

/// 24 bits: the length of a message in a chunk header.
pub(super) const MAX_MESSAGE_BYTES: usize = 0xFF_FFFF;
