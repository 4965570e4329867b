//! The state that all requests share. Values of the configuration are read from the one in force when they are needed.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use super::{
    client::Scope,
    connections::Connections,
    cors::Origins,
    descriptions::Descriptions,
    events::Events,
    history::History,
    rights::{Granted, Rights},
    stills::Stills,
    wall_clock::WallClock,
};
use crate::{certificates::Renewals, config::Config, net::Handle, reload::Reloader};

/// The state that all requests share.
pub(super) struct Control {
    pub(super) relay: Handle,
    pub(super) reloader: Arc<Reloader>,
    pub(super) renewals: Arc<Renewals>,
    wall_clock: WallClock,
    /// The token since the start. It is in force while the configuration has none.
    pub(super) token: String,
    pub(super) history: History,
    pub(super) descriptions: Descriptions,
    pub(super) stills: Stills,
    pub(super) events: Events,
    pub(super) connections: Connections,
    /// The addresses for HTTP, and what each serves.
    pub(super) http: Vec<(SocketAddr, Entrance)>,
}

impl Control {
    pub(super) fn new(
        relay: Handle,
        reloader: Arc<Reloader>,
        renewals: Arc<Renewals>,
        token: String,
        http: Vec<(SocketAddr, Entrance)>,
    ) -> Self {
        Self {
            reloader,
            renewals,
            wall_clock: WallClock::new(SystemTime::now(), relay.uptime()),
            token,
            history: History::default(),
            descriptions: Descriptions::default(),
            stills: Stills::default(),
            events: Events::new(&relay),
            connections: Connections::default(),
            http,
            relay,
        }
    }

    /// The date of a time on the relay's clock.
    pub(super) fn date(&self, at_ms: u64) -> String {
        self.wall_clock.date(at_ms, SystemTime::now(), self.relay.uptime())
    }

    /// The tokens in force with this configuration.
    pub(super) fn rights<'a>(&'a self, config: &'a Config) -> Rights<'a> {
        let token = if config.api.token.is_empty() { &self.token } else { &config.api.token };
        Rights { token, read_token: &config.api.read_token }
    }

    /// Whether a list for a client with these rights has this stream.
    pub(super) fn shows(&self, stream: &str, granted: Granted) -> bool {
        granted.read || self.relay.config().streams.is_listed(stream)
    }

    /// Where HTTPS is spoken first.
    pub(super) fn encrypted_address(&self) -> Option<SocketAddr> {
        self.http.iter().find(|(_, entrance)| entrance.is_encrypted).map(|(address, _)| *address)
    }

    /// The addresses for HTTP or HTTPS; those of an API that has addresses of its own, only for clients that may read.
    pub(super) fn addresses(&self, granted: Granted, is_encrypted: bool) -> Vec<SocketAddr> {
        let has_own_api = self.http.iter().any(|(_, entrance)| entrance.scope == Scope::WithoutApi);
        let is_shown = |entrance: &Entrance| {
            entrance.is_encrypted == is_encrypted
                && (granted.read || !has_own_api || entrance.scope == Scope::WithoutApi)
        };
        self.http.iter().filter(|(_, entrance)| is_shown(entrance)).map(|(address, _)| *address).collect()
    }
}

/// What is served on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entrance {
    pub(super) scope: Scope,
    /// By TLS.
    pub(super) is_encrypted: bool,
}

/// Sites whose pages may play the streams.
pub(super) fn stream_origins(config: &Config) -> Origins<'_> {
    Origins(&config.http.allow_origins)
}

/// Sites whose pages may read the API.
pub(super) fn api_origins(config: &Config) -> Origins<'_> {
    Origins(&config.api.allow_origins)
}
