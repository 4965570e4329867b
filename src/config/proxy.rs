//! Proxies in front of the relay, which tell it where a peer really comes from.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{addresses, fault::Fault};

/// Proxies in front of the relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Networks whose word is taken: the PROXY protocol on `listeners`, and `client_header` over HTTP.
    pub trusted: Vec<IpNet>,
    /// Over HTTP, the header that names the client. The other one is not looked at: a proxy passes it on as the client has
    /// written it.
    pub client_header: ClientHeader,
    /// Those of the addresses in `[listen]` where each connection begins with a PROXY header, version 1 or 2.
    #[serde(deserialize_with = "addresses::deserialize")]
    pub listeners: Vec<SocketAddr>,
}

/// A header in which proxies name the client of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientHeader {
    /// `X-Forwarded-For`: what nearly all of them write.
    #[default]
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

impl Proxy {
    /// Whether the word of this address is taken.
    pub fn is_trusted(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Whether each connection to this address of the relay begins with a PROXY header.
    pub fn expects_header(&self, listener: SocketAddr) -> bool {
        let is_it = |it: &SocketAddr| *it == listener || it.port() == 0 && it.ip() == listener.ip();
        self.listeners.iter().any(is_it)
    }

    pub(super) fn check(&self, listen: &[&[SocketAddr]]) -> Result<(), Fault> {
        let other = self.listeners.iter().find(|it| !listen.iter().any(|list| list.contains(it)));
        if let Some(other) = other {
            let what = format!("{other} is neither in listen.rtmp nor in listen.http nor in api.listen");
            return Err(Fault { key: "proxy.listeners", what });
        }
        if !self.listeners.is_empty() && self.trusted.is_empty() {
            let what = "no network is trusted to send the PROXY header: set proxy.trusted".to_owned();
            return Err(Fault { key: "proxy.listeners", what });
        }
        Ok(())
    }
}
