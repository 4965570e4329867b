//! Who may read and who may act. Knows tokens; writes none of them anywhere.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use super::{cors, error::Refused};
use crate::config::Api;

/// What the configuration grants.
pub(super) struct Rights {
    token: String,
    read_token: String,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) peer: SocketAddr,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// What proxies tell of whom they ask for: then the peer's address is not the asker's.
const PROXIED: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

impl Rights {
    pub(super) fn new(api: &Api) -> Self {
        Self { token: api.token.clone(), read_token: api.read_token.clone() }
    }

    /// Whether this one may see what the relay tells of itself.
    pub(super) fn read(&self, asker: Asker<'_>) -> Result<(), Refused> {
        if self.read_token.is_empty() {
            return Ok(());
        }
        let given = token_of(asker).ok_or_else(|| unauthorized("a token is needed to read"))?;
        // Both, so that the time tells nothing of which it was.
        let may = is_same(&given, &self.read_token) | (!self.token.is_empty() & is_same(&given, &self.token));
        if may { Ok(()) } else { Err(unauthorized("this token is not one to read with")) }
    }

    /// Whether this one may end players and publishers.
    pub(super) fn act(&self, asker: Asker<'_>) -> Result<(), Refused> {
        if self.token.is_empty() {
            return from_this_machine(asker).map_err(|why| Refused::new(StatusCode::FORBIDDEN, why));
        }
        let given = token_of(asker).ok_or_else(|| unauthorized("a token is needed to act"))?;
        match is_same(&given, &self.token) {
            true => Ok(()),
            false => Err(unauthorized("this token is not one to act with")),
        }
    }
}

/// Without a token: a person at this machine, and neither a page from elsewhere that their browser shows (it names its
/// origin), nor one whose name has been made to mean this machine (the name is in Host).
fn from_this_machine(asker: Asker<'_>) -> Result<(), &'static str> {
    if !asker.peer.ip().to_canonical().is_loopback() {
        return Err("without api.token, acting is for this machine itself alone");
    }
    if PROXIED.iter().any(|name| asker.headers.contains_key(*name)) {
        return Err("without api.token, acting is not for requests through a proxy");
    }
    let host = asker.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback_host) {
        return Err("without api.token, acting is for requests to localhost alone: its name is in Host");
    }
    match asker.headers.get(header::ORIGIN) {
        Some(origin) if !cors::is_own(origin, asker.headers) => {
            Err("without api.token, acting is not for pages of other origins")
        }
        _ => Ok(()),
    }
}

/// `localhost`, or a loopback address, with or without a port.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// `Authorization: Bearer …`, or `?token=…` where a browser can set no header.
fn token_of(asker: Asker<'_>) -> Option<String> {
    let header = asker.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    bearer.or_else(|| parameter(asker.uri, "token"))
}

/// The value of a query parameter, percent signs decoded; of the last one if it is there twice.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.rsplit('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn is_same(given: &str, wanted: &str) -> bool {
    given.as_bytes().ct_eq(wanted.as_bytes()).into()
}

fn unauthorized(reason: &str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, reason)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn rights(token: &str, read_token: &str) -> Rights {
        Rights { token: token.to_owned(), read_token: read_token.to_owned() }
    }

    /// The status that an asker gets for reading and for acting; 200 is yes.
    fn outcome(rights: &Rights, peer: &str, uri: &str, headers: &[(&'static str, &str)]) -> (u16, u16) {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let headers: HeaderMap =
            headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect();
        let uri: Uri = uri.parse().unwrap();
        let asker = Asker { peer: peer.parse().unwrap(), uri: &uri, headers: &headers };
        let status = |may: Result<(), Refused>| may.map_or_else(|refused| refused.status.as_u16(), |()| 200);
        (status(rights.read(asker)), status(rights.act(asker)))
    }

    #[test]
    fn without_tokens_everybody_reads_and_this_machine_acts() {
        let open = rights("", "");
        let localhost = [("host", "localhost:8080")];
        assert_eq!(outcome(&open, "127.0.0.1:5", "/", &localhost), (200, 200));
        assert_eq!(outcome(&open, "[::1]:5", "/", &[("host", "[::1]:8080")]), (200, 200));
        assert_eq!(outcome(&open, "127.0.0.1:5", "/", &[("host", "127.0.0.1")]), (200, 200));
        assert_eq!(outcome(&open, "192.0.2.1:5", "/", &localhost), (200, 403));
        assert_eq!(outcome(&open, "[::ffff:192.0.2.1]:5", "/", &localhost), (200, 403));
    }

    #[test]
    fn a_page_from_elsewhere_cannot_act_with_its_reader_s_address() {
        let open = rights("", "");
        let ask = |headers: &[_]| outcome(&open, "127.0.0.1:5", "/", headers).1;
        assert_eq!(ask(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")]), 200);
        assert_eq!(ask(&[("host", "localhost:8080"), ("origin", "https://evil.example")]), 403);
        assert_eq!(ask(&[("host", "localhost:8080"), ("origin", "http://localhost:3000")]), 403);
        assert_eq!(ask(&[("host", "localhost:8080"), ("origin", "null")]), 403);
        // A name that has been made to mean this machine: page and request agree on it.
        assert_eq!(ask(&[("host", "evil.example:8080"), ("origin", "http://evil.example:8080")]), 403);
        assert_eq!(ask(&[("host", "localhost.evil.example")]), 403);
        assert_eq!(ask(&[]), 403);
    }

    #[test]
    fn a_proxy_on_this_machine_is_not_this_machine() {
        let open = rights("", "");
        for name in PROXIED {
            let headers = [("host", "localhost"), (name, "192.0.2.1")];
            assert_eq!(outcome(&open, "127.0.0.1:5", "/", &headers).1, 403, "{name}");
        }
    }

    #[test]
    fn with_a_token_acting_needs_it_from_wherever() {
        let closed = rights("act-token", "");
        let localhost = ("host", "localhost");
        assert_eq!(outcome(&closed, "127.0.0.1:5", "/", &[localhost]), (200, 401));
        let ask = |token| outcome(&closed, "192.0.2.1:5", "/", &[("authorization", token)]);
        assert_eq!(ask("Bearer act-token"), (200, 200));
        assert_eq!(ask("bearer act-token"), (200, 200));
        for wrong in
            ["Bearer act-tokem", "Bearer act-toke", "Bearer ", "Bearer", "Basic act-token", "act-token"]
        {
            assert_eq!(ask(wrong), (200, 401), "{wrong}");
        }
        assert_eq!(outcome(&closed, "192.0.2.1:5", "/?token=act-token", &[]), (200, 200));
        assert_eq!(outcome(&closed, "192.0.2.1:5", "/?token=act-token&token=x", &[]), (200, 401));
    }

    #[test]
    fn reading_takes_either_token_and_acting_only_its_own() {
        let closed = rights("act-token", "read-token");
        let ask = |token| outcome(&closed, "192.0.2.1:5", "/", &[("authorization", token)]);
        assert_eq!(ask("Bearer read-token"), (200, 401));
        assert_eq!(ask("Bearer act-token"), (200, 200));
        assert_eq!(ask("Bearer other-token"), (401, 401));
        assert_eq!(outcome(&closed, "127.0.0.1:5", "/", &[("host", "localhost")]), (401, 401));
        let read_only = rights("", "read-token");
        let headers = [("host", "localhost"), ("authorization", "Bearer ")];
        assert_eq!(outcome(&read_only, "127.0.0.1:5", "/", &headers), (401, 200), "an empty token is none");
    }
}
