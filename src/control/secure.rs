//! From plain HTTP to HTTPS: which requests are redirected, and what makes browsers ask over HTTPS from then on (RFC 6797).

use std::net::SocketAddr;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{challenge, client::Scope, live, state::Entrance};
use crate::config::{Config, RedirectToHttps};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What supervisors ask for, who follow no redirect.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// The redirect that answers this request, if it is to be made over HTTPS. `https` is where the relay listens for that.
pub(super) fn redirect<B>(
    config: &Config,
    https: Option<SocketAddr>,
    entrance: Entrance,
    peer: SocketAddr,
    request: &Request<B>,
) -> Option<Response> {
    let (uri, headers) = (request.uri(), request.headers());
    let is_wanted = match config.http.redirect_to_https {
        RedirectToHttps::Off => false,
        RedirectToHttps::Page => !live::is_stream(uri),
        RedirectToHttps::All => true,
    };
    // Addresses of the API alone are for other programs, on networks that the operator trusts.
    let is_of_api = !config.api.listen.is_empty() && entrance.scope == Scope::All;
    if !is_wanted || entrance.is_encrypted || is_of_api || was_encrypted(config, peer, headers) {
        return None;
    }
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    // No browser follows a redirect of a WebSocket.
    if !is_get
        || headers.contains_key(header::UPGRADE)
        || HEALTH.contains(&uri.path())
        || challenge::is_challenge(uri.path())
    {
        return None;
    }
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let location = format!("https://{}{path}", authority(&config.http.https_host, https, headers)?);
    // A browser that kept it would come back to HTTPS after the operator has turned it off.
    let response = [
        (header::LOCATION, HeaderValue::try_from(location).ok()?),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Some((StatusCode::PERMANENT_REDIRECT, response, Body::empty()).into_response())
}

/// For responses over HTTPS, if the operator wants it.
pub(super) fn strict_transport_security(config: &Config) -> Option<HeaderValue> {
    let seconds = config.http.hsts.as_secs();
    (seconds > 0).then(|| HeaderValue::try_from(format!("max-age={seconds}")).ok()).flatten()
}

/// Whether a proxy that is trusted has taken it over HTTPS.
fn was_encrypted(config: &Config, peer: SocketAddr, headers: &HeaderMap) -> bool {
    config.proxy.is_trusted(peer.ip()) && headers.get(X_FORWARDED_PROTO).is_some_and(|it| it == "https")
}

/// Host and port for HTTPS: as configured, or the host that the client names with the relay's port.
fn authority(configured: &str, https: Option<SocketAddr>, headers: &HeaderMap) -> Option<String> {
    if !configured.is_empty() {
        return Some(configured.to_owned());
    }
    let named = headers.get(header::HOST)?.to_str().ok()?;
    let host = match named.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => named,
    };
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_of_host) {
        return None;
    }
    Some(match https?.port() {
        443 => host.to_owned(),
        port => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Entrance = Entrance { scope: Scope::All, is_encrypted: false };

    fn config(toml: &str) -> Config {
        Config::from_toml("f", &format!("listen.https = [443]\n{toml}")).unwrap()
    }

    fn location(config: &Config, https: &str, entrance: Entrance, request: &Request<()>) -> Option<String> {
        let https = Some(https.parse().unwrap());
        let response = redirect(config, https, entrance, ([192, 0, 2, 7], 9).into(), request)?;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Some(response.headers()[header::LOCATION].to_str().unwrap().to_owned())
    }

    fn get(path: &str, host: &str) -> Request<()> {
        Request::get(path).header(header::HOST, host).body(()).unwrap()
    }

    #[test]
    fn the_page_and_the_api_are_redirected_and_what_other_programs_ask_for_is_not() {
        let page = config("http.redirect_to_https = 'page'");
        let of = |path: &str| location(&page, "0.0.0.0:443", PLAIN, &get(path, "relay.example:8080"));
        assert_eq!(of("/").as_deref(), Some("https://relay.example/"));
        assert_eq!(
            of("/api/v1/streams?page=2").as_deref(),
            Some("https://relay.example/api/v1/streams?page=2")
        );
        for path in ["/live/a.flv", "/healthz", "/readyz", "/.well-known/acme-challenge/token"] {
            assert_eq!(of(path), None, "{path}");
        }
        let all = config("http.redirect_to_https = 'all'");
        let stream = get("/live/a.flv?start=live", "relay.example");
        let expected = "https://relay.example/live/a.flv?start=live";
        assert_eq!(location(&all, "0.0.0.0:443", PLAIN, &stream).as_deref(), Some(expected));
        let mut socket = get("/live/a.flv", "relay.example");
        socket.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        assert_eq!(location(&all, "0.0.0.0:443", PLAIN, &socket), None);
        let post = Request::post("/").header(header::HOST, "relay.example").body(()).unwrap();
        assert_eq!(location(&all, "0.0.0.0:443", PLAIN, &post), None);

        let encrypted = Entrance { is_encrypted: true, ..PLAIN };
        assert_eq!(location(&all, "0.0.0.0:443", encrypted, &get("/", "relay.example")), None);
        assert_eq!(location(&config(""), "0.0.0.0:443", PLAIN, &get("/", "relay.example")), None);
        let own_api = config("http.redirect_to_https = 'page'\napi.listen = [9]");
        assert_eq!(location(&own_api, "0.0.0.0:443", PLAIN, &get("/", "relay.example")), None);
    }

    #[test]
    fn the_client_keeps_the_host_that_it_asks_for_unless_one_is_configured() {
        let page = config("http.redirect_to_https = 'page'");
        for (host, expected) in [
            ("relay.example", Some("https://relay.example:8443/")),
            ("192.0.2.7:80", Some("https://192.0.2.7:8443/")),
            ("[::1]", Some("https://[::1]:8443/")),
            ("[::1]:8080", Some("https://[::1]:8443/")),
            ("relay.example/evil", None),
            ("user@relay.example", None),
            ("", None),
        ] {
            assert_eq!(location(&page, "[::]:8443", PLAIN, &get("/", host)).as_deref(), expected, "{host}");
        }
        let named = config("http.redirect_to_https = 'page'\nhttp.https_host = 'other.example:444'");
        let found = location(&named, "[::]:8443", PLAIN, &get("/", "relay.example"));
        assert_eq!(found.as_deref(), Some("https://other.example:444/"));
    }

    #[test]
    fn what_a_trusted_proxy_has_taken_over_https_is_not_redirected_again() {
        let mut request = get("/", "relay.example");
        request.headers_mut().insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        let page = "http.redirect_to_https = 'page'\n";
        assert!(location(&config(page), "[::]:443", PLAIN, &request).is_some());
        let trusting = config(&format!("{page}proxy.trusted = ['192.0.2.0/24']"));
        assert_eq!(location(&trusting, "[::]:443", PLAIN, &request), None);
    }
}
