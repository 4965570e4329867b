//! What the relay reports of itself: plain values, taken at one moment. The API, the metrics and the page are made of
//! them; nothing here is on the data path of a frame.

use std::{net::SocketAddr, sync::Arc};

use serde::Serialize;

use super::{
    client_name::ClientName,
    protocol::Protocol,
    reason::{Reason, ReasonKind},
};
use crate::stream::{Facts, Form, Registry, Stream, Totals};

/// Upper bounds of the buckets of [`CoreReport::lag_ms`], milliseconds; one more bucket is beyond them.
pub const LAG_MS: [u64; 10] = [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
/// Upper bounds of the buckets of [`CoreReport::pass_us`], microseconds; one more bucket is beyond them.
pub const PASS_US: [u64; 10] = [100, 300, 1_000, 3_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000];
/// Upper bounds of the buckets of [`CoreReport::send_bytes`], bytes; one more bucket is beyond them.
pub const SEND_BYTES: [u64; 8] = [512, 2_048, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144];

/// A count of observations by size: `counts[i]` are those up to the i-th bound and above the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<const BOUNDS: usize> {
    bounds: &'static [u64; BOUNDS],
    counts: [u64; BOUNDS],
    beyond: u64,
    sum: u64,
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// An empty one over these upper bounds, which ascend.
    pub const fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self { bounds, counts: [0; BOUNDS], beyond: 0, sum: 0 }
    }

    /// Counts one observation.
    pub fn observe(&mut self, value: u64) {
        self.sum += value;
        match self.bounds.iter().position(|&bound| value <= bound) {
            Some(bucket) => self.counts[bucket] += 1,
            None => self.beyond += 1,
        }
    }

    /// Adds what another one over the same bounds counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.beyond += other.beyond;
        self.sum += other.sum;
    }

    /// Upper bounds, each with how many were counted in its bucket; the last one is for all that is beyond.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounded = self.bounds.iter().map(|&bound| Some(bound)).zip(self.counts);
        bounded.chain(std::iter::once((None, self.beyond)))
    }

    /// All that were observed.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// One core, as of its last tick. All counts are since the start, but for those that say *now*.
#[derive(Clone, Debug)]
pub struct CoreReport {
    /// Its number, from 0.
    pub core: usize,
    /// When this was taken, milliseconds on the relay's clock: rates are made of two of these.
    pub at_ms: u64,
    /// Connections now, whatever they do.
    pub connections: u64,
    /// Publishers now.
    pub publishers: u64,
    /// Players now, by protocol: indexed by [`Protocol::index`].
    pub players: [u64; Protocol::COUNT],
    /// TLS handshakes now that wait for their turn.
    pub handshakes_waiting: u64,
    /// Connections that were let in.
    pub connects: u64,
    /// Players whose request came over HTTP, as they were handed over.
    pub taken_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent, by protocol of the player they went to; what goes to no player counts as RTMP.
    pub bytes_out: [u64; Protocol::COUNT],
    /// Frames received from publishers.
    pub frames_in: u64,
    /// Sends that were handed to the kernel.
    pub sends: u64,
    /// Calls into the kernel that handed over sends and receives.
    pub submissions: u64,
    /// Completions that came back.
    pub completions: u64,
    /// Players that were moved ahead to a key frame.
    pub skips: u64,
    /// Passes over the players.
    pub passes: u64,
    /// How long they took, microseconds.
    pub pass_us: Histogram<10>,
    /// Bytes of each send to a player: how many frames were merged.
    pub send_bytes: Histogram<8>,
    /// How old the oldest message of each send to a player was, milliseconds.
    pub lag_ms: Histogram<10>,
    /// Connections that ended, by reason: indexed by [`ReasonKind::index`].
    pub ends: [u64; ReasonKind::COUNT],
    /// Streams that are followed here, with what their players here got.
    pub streams: Vec<Followed>,
}

/// One stream's players on one core, by one protocol and in one wire format.
#[derive(Clone, Debug)]
pub struct Followed {
    /// `app/name`.
    pub stream: Arc<str>,
    /// How they get it.
    pub protocol: Protocol,
    /// Players now.
    pub players: u64,
}

impl CoreReport {
    /// An empty one.
    pub fn new(core: usize) -> Self {
        Self {
            core,
            at_ms: 0,
            connections: 0,
            publishers: 0,
            players: [0; Protocol::COUNT],
            handshakes_waiting: 0,
            connects: 0,
            taken_in: 0,
            bytes_in: 0,
            bytes_out: [0; Protocol::COUNT],
            frames_in: 0,
            sends: 0,
            submissions: 0,
            completions: 0,
            skips: 0,
            passes: 0,
            pass_us: Histogram::new(&PASS_US),
            send_bytes: Histogram::new(&SEND_BYTES),
            lag_ms: Histogram::new(&LAG_MS),
            ends: [0; ReasonKind::COUNT],
            streams: Vec::new(),
        }
    }
}

/// One stream, published or waited for.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// `app/name`.
    pub name: Arc<str>,
    /// Whether it has a publisher now.
    pub is_live: bool,
    /// The connection that does.
    pub publisher: Option<u64>,
    /// Milliseconds since its publisher was heard; none if it is not live.
    pub silent_ms: Option<u64>,
    /// What its publisher has sent so far.
    pub facts: Arc<Facts>,
    /// Whether it has or had a publisher: otherwise only players know the name.
    pub was_published: bool,
    /// What its players have been sent.
    pub totals: Totals,
}

impl StreamReport {
    /// Of all streams, by name.
    pub fn all(registry: &Registry) -> Vec<Self> {
        let mut streams: Vec<_> = registry.list().iter().map(|stream| Self::of(stream)).collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        streams
    }

    /// Of this stream, as of now.
    pub fn of(stream: &Stream) -> Self {
        let is_live = stream.is_live();
        Self {
            name: stream.shared_name(),
            is_live,
            publisher: stream.publisher(),
            silent_ms: is_live.then(|| stream.silent_ms()),
            facts: stream.facts(),
            was_published: stream.was_published(),
            totals: stream.totals(),
        }
    }

    /// Bytes sent to its players by protocol: indexed by [`Protocol::index`].
    pub fn sent_bytes(&self) -> [u64; Protocol::COUNT] {
        let mut bytes = [0; Protocol::COUNT];
        for form in Form::ALL {
            bytes[Protocol::of(form).index()] += self.totals.sent_bytes[form.index()];
        }
        bytes
    }
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionRole {
    /// It has neither published nor played yet.
    Idle,
    /// It publishes a stream.
    Publisher,
    /// It plays one.
    Player,
}

/// One connection, as its core sees it now.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionReport {
    /// Its number in the process: what log lines call it, and what ends it.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Name and version of the client, as it says.
    pub client: Option<ClientName>,
    /// The core that has it.
    pub core: usize,
    /// What it does.
    pub role: ConnectionRole,
    /// What it speaks.
    pub protocol: Protocol,
    /// `app/name` of what it publishes or plays.
    pub stream: Option<String>,
    /// When it began to publish or play, or when it came; milliseconds on the relay's clock.
    pub since_ms: u64,
    /// How long that is ago, milliseconds.
    pub duration_ms: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// How old the oldest message is that a player has not been sent whole, milliseconds.
    pub lag_ms: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RelayEvent {
    /// A publisher has its name.
    Publishing {
        /// The connection.
        id: u64,
        /// Where it comes from.
        peer: SocketAddr,
        /// Name and version of the client, as it says.
        client: Option<ClientName>,
        /// `app/name`.
        stream: String,
    },
    /// A publisher is gone, or has stopped.
    PublishEnded {
        /// The connection.
        id: u64,
        /// Where it came from.
        peer: SocketAddr,
        /// Name and version of the client, as it says.
        client: Option<ClientName>,
        /// `app/name`.
        stream: String,
        /// Why.
        #[serde(flatten)]
        reason: Reason,
        /// How long it published, milliseconds.
        duration_ms: u64,
    },
    /// A player has begun.
    Playing {
        /// The connection.
        id: u64,
        /// Where it comes from.
        peer: SocketAddr,
        /// Name and version of the client, as it says.
        client: Option<ClientName>,
        /// `app/name`.
        stream: String,
        /// How it gets the stream.
        protocol: Protocol,
    },
    /// A player is gone, or has stopped.
    PlayEnded {
        /// The connection.
        id: u64,
        /// Where it came from.
        peer: SocketAddr,
        /// Name and version of the client, as it says.
        client: Option<ClientName>,
        /// `app/name`.
        stream: String,
        /// How it gets the stream.
        protocol: Protocol,
        /// Why.
        #[serde(flatten)]
        reason: Reason,
        /// How long it played, milliseconds.
        duration_ms: u64,
    },
    /// A connection was refused because of a limit; at most one event per limit every 10 s.
    Refused {
        /// Where it came from.
        peer: SocketAddr,
        /// The limit, as the configuration calls it.
        limit: String,
    },
    /// A peer was denied what it wanted to do, by a rule or by the service; not each one of a flood.
    Denied {
        /// The connection.
        id: u64,
        /// Where it comes from.
        peer: SocketAddr,
        /// Name and version of the client, as it says.
        client: Option<ClientName>,
        /// What it wanted to do: `connect`, `publish`, `play` or `api`.
        action: &'static str,
        /// `app/name`, the application, or the path of the API.
        name: String,
        /// What is spoken.
        protocol: &'static str,
        /// The rule that decided, `default` or `hook`.
        rule: String,
        /// Why, as a label of the metrics.
        cause: &'static str,
        /// Why, as the peer was sent it.
        detail: String,
    },
    /// The relay is about to end.
    Draining,
}

impl RelayEvent {
    /// Its kind, as in the field `event`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Publishing { .. } => "publishing",
            Self::PublishEnded { .. } => "publish_ended",
            Self::Playing { .. } => "playing",
            Self::PlayEnded { .. } => "play_ended",
            Self::Refused { .. } => "refused",
            Self::Denied { .. } => "denied",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_in_the_first_bucket_that_bounds_it() {
        let mut lag = Histogram::new(&LAG_MS);
        [0, 5, 6, 5_000, 5_001].iter().for_each(|&value| lag.observe(value));
        let counts: Vec<_> = lag.buckets().filter(|bucket| bucket.1 > 0).collect();
        assert_eq!(counts, [(Some(5), 2), (Some(10), 1), (Some(5_000), 1), (None, 1)]);
        assert_eq!((lag.count(), lag.sum()), (5, 10_012));
        let mut both = lag.clone();
        both.add(&lag);
        assert_eq!((both.count(), both.sum()), (10, 20_024));
    }
}
