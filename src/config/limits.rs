//! What peers may take of the relay before newcomers are refused or one of them is ended.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::units;

/// Limits. Over one of them the newcomer is refused, never those who are in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IP address.
    pub connections_per_address: usize,
    /// Connections of one network: an IPv4 /24 or an IPv6 /56.
    pub connections_per_network: usize,
    /// Connections of one block of networks: an IPv4 /16 or an IPv6 /32.
    pub connections_per_block: usize,
    /// Networks that no limit per address, network or block counts.
    pub exempt: Vec<IpNet>,
    /// RTMP connections whose handshake is not over: of those that are counted, and of those from `exempt`, each.
    pub handshakes: usize,
    /// Those of one IP address.
    pub handshakes_per_address: usize,
    /// Those of one network: an IPv4 /24 or an IPv6 /56.
    pub handshakes_per_network: usize,
    /// Those of one block of networks: an IPv4 /16 or an IPv6 /32.
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
    /// Streams that are published.
    pub streams: usize,
    /// All memory that peers can make the relay hold, bytes.
    #[serde(with = "units::SizeText")]
    pub memory_budget: usize,
    /// What a publisher may send over 5 s, kilobits a second; 0 is no limit.
    pub publisher_kbps: usize,
    /// What a publisher may send over 5 s, messages a second; 0 is no limit.
    pub messages_per_second: usize,
    /// Bytes of one video message. The wire has 24 bits for it.
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
    /// Messages that one connection may have begun and not ended.
    pub partial_messages: usize,
    /// Bytes of those together.
    #[serde(with = "units::SizeText")]
    pub partial_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        Self {
            connections: 100_000,
            connections_per_address: 1_000,
            connections_per_network: 4_000,
            connections_per_block: 50_000,
            exempt: loopback.iter().map(|net| net.parse().expect("it is a network")).collect(),
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
        }
    }
}

/// A chunk header has 24 bits for the length of a message.
pub(super) const MAX_MESSAGE_BYTES: usize = 0xFF_FFFF;
