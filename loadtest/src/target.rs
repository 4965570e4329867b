//! Which servers may be loaded: those on this machine, unless the user confirms that another one is theirs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use fanfare_rtmp::rtmp::client::Url;

use crate::tls::{Clients, Trust};

/// The server's address, and the stream on it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Of the stream.
    pub url: Url,
    /// Of the server.
    pub address: SocketAddr,
    /// How the stream is requested.
    pub protocol: Protocol,
    /// For connections that are encrypted.
    pub tls: Option<Clients>,
}

/// What a player speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// FLV as the body of an HTTP response.
    HttpFlv,
    /// FLV in WebSocket messages.
    WebsocketFlv,
}

impl Target {
    /// Resolves `rtmp://host:port/app/key`, or `http://host:port/app/key.flv`, or the same with `ws`; each with an `s` over
    /// TLS. An address that is not on this machine is refused unless `is_mine`.
    ///
    /// # Errors
    /// What is wrong with the address, as one line.
    pub fn resolve(text: &str, is_mine: bool) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (protocol, is_encrypted) = match scheme {
            "http" => (Protocol::HttpFlv, false),
            "https" => (Protocol::HttpFlv, true),
            "ws" => (Protocol::WebsocketFlv, false),
            "wss" => (Protocol::WebsocketFlv, true),
            _ => (Protocol::Rtmp, scheme == "rtmps"),
        };
        let url = match protocol {
            Protocol::Rtmp if !is_encrypted => text.to_owned(),
            Protocol::Rtmp => format!("rtmp://{rest}"),
            // The port must be given: their default is not RTMP's.
            Protocol::HttpFlv | Protocol::WebsocketFlv => format!("rtmp://{}", rest.replacen(".flv", "", 1)),
        };
        let url = Url::from_str(&url).map_err(|error| error.to_string())?;
        let addresses = (url.host.as_str(), url.port).to_socket_addrs();
        let addresses: Vec<_> = addresses.map_err(|error| format!("{}: {error}", url.host))?.collect();
        // IPv4 first: players on loopback use many source addresses in 127.0.0.0/8.
        let address = addresses.iter().find(|it| it.is_ipv4()).or(addresses.first());
        let address = *address.ok_or_else(|| format!("{} has no address", url.host))?;
        if !address.ip().is_loopback() && !is_mine {
            return Err(format!(
                "{address} is not this machine; if you may put load on it: --i-own-this-host"
            ));
        }
        let tls = is_encrypted.then(|| Clients::new(&url.host, Trust::default())).transpose()?;
        Ok(Self { url, address, protocol, tls })
    }

    /// The same with these certificates and sessions, if it is over TLS.
    ///
    /// # Errors
    /// The file has no authority, as one line.
    pub fn with_trust(self, trust: Trust<'_>) -> Result<Self, String> {
        let tls = self.tls.is_some().then(|| Clients::new(&self.url.host, trust)).transpose()?;
        Ok(Self { tls, ..self })
    }

    /// The URL of stream `number` on the same server: `key`, `key-1`, `key-2`, …
    pub fn stream(&self, number: usize) -> Url {
        let mut url = self.url.clone();
        if number > 0 {
            let at = url.key.find('?').unwrap_or(url.key.len());
            url.key.insert_str(at, &format!("-{number}"));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_refused_unless_the_user_confirms_that_they_are_theirs() {
        assert!(Target::resolve("rtmp://127.0.0.1:1935/live/key", false).is_ok());
        assert!(Target::resolve("rtmp://localhost/live/key", false).is_ok());
        assert!(
            Target::resolve("rtmp://192.0.2.1/live/key", false).unwrap_err().contains("--i-own-this-host")
        );
        assert!(Target::resolve("rtmp://192.0.2.1/live/key", true).is_ok());
        assert!(Target::resolve("http://127.0.0.1/", true).is_err());
    }

    #[test]
    fn the_scheme_selects_the_protocol() {
        for (text, protocol, is_encrypted) in [
            ("rtmp://127.0.0.1:8/live/key?start=live", Protocol::Rtmp, false),
            ("rtmps://127.0.0.1:8/live/key?start=live", Protocol::Rtmp, true),
            ("http://127.0.0.1:8/live/key.flv?start=live", Protocol::HttpFlv, false),
            ("https://127.0.0.1:8/live/key.flv?start=live", Protocol::HttpFlv, true),
            ("ws://127.0.0.1:8/live/key.flv?start=live", Protocol::WebsocketFlv, false),
            ("wss://127.0.0.1:8/live/key.flv?start=live", Protocol::WebsocketFlv, true),
        ] {
            let target = Target::resolve(text, false).unwrap();
            assert_eq!(
                (target.protocol, target.url.app.as_str(), target.url.key.as_str(), target.address.port()),
                (protocol, "live", "key?start=live", 8)
            );
            assert_eq!(target.tls.is_some(), is_encrypted, "{text}");
        }
    }

    #[test]
    fn the_number_of_a_stream_goes_before_the_query() {
        let target = Target::resolve("rtmp://127.0.0.1/live/key?token=1", false).unwrap();
        assert_eq!(target.stream(0).key, "key?token=1");
        assert_eq!(target.stream(2).key, "key-2?token=1");
    }
}
