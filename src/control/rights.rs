//! Which request may watch, monitor, read and write. Never logs or returns a token. The source address of a request and
//! missing headers prove nothing: a proxy on this machine has a local address and need not identify itself.

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use super::error::HttpError;

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// What a viewer needs: names of listed streams, their formats, stills. Every client has it.
    Watch,
    /// Counts of the relay, which name no peer. Every client has it while no token for reading is configured.
    Monitor,
    /// For operators: addresses of peers, connections, events, names of unlisted streams, the configuration.
    Read,
    /// Disconnecting players and publishers, reading the configuration again.
    Write,
}

/// The rights that the token of a request gives, whatever it requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    /// It sees addresses of peers and names of unlisted streams.
    pub(super) read: bool,
    /// It may disconnect players and publishers.
    pub(super) write: bool,
}

/// The tokens in force.
pub(super) struct Rights<'a> {
    /// There always is one.
    pub(super) token: &'a str,
    /// Empty if there is none.
    pub(super) read_token: &'a str,
}

/// The parts of a request that can contain a token.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// The right that a path of the API or the metrics needs; none for other paths. A path of the API that is not named
/// here is for operators.
pub(super) fn needed(method: &Method, path: &str) -> Option<Right> {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    match path {
        "/api/v1/summary" | "/api/v1/streams" | "/api/v1/openapi.yaml" => Some(Right::Watch),
        _ if below("/api/v1/streams/") => Some(Right::Watch),
        "/metrics" | "/api/v1/cores" | "/api/v1/history" | "/api/v1/publishers" => Some(Right::Monitor),
        _ if method == Method::DELETE && (below("/api/v1/players/") || below("/api/v1/publishers/")) => {
            Some(Right::Write)
        }
        "/api/v1/reload" => Some(Right::Write),
        _ if path == "/api" || path.starts_with("/api/") => Some(Right::Read),
        _ => None,
    }
}

impl Rights<'_> {
    /// Checks that a request has a right.
    ///
    /// # Errors
    /// 401 without a token or with a wrong one, 403 if the token does not give this right.
    pub(super) fn check(&self, right: Right, credentials: Credentials<'_>) -> Result<(), HttpError> {
        if self.is_open(right) {
            return Ok(());
        }
        let to = if right == Right::Write { "[api] token" } else { "[api] read_token or token" };
        let given =
            token_of(credentials).ok_or_else(|| unauthorized(format!("this request needs a token: {to}")))?;
        // Both are compared, so that the time does not reveal which one matched.
        let (writes, reads) = (is_same(&given, self.token), is_same(&given, self.read_token));
        match (writes | (reads & (right != Right::Write)), reads) {
            (true, _) => Ok(()),
            (false, true) => Err(HttpError::new(
                StatusCode::FORBIDDEN,
                format!("this token may only read; this request needs {to}"),
            )),
            (false, false) => Err(unauthorized(format!("wrong token: this request needs {to}"))),
        }
    }

    /// Whether every client has this right.
    pub(super) fn is_open(&self, right: Right) -> bool {
        match right {
            Right::Watch => true,
            Right::Monitor => self.read_token.is_empty(),
            Right::Read | Right::Write => false,
        }
    }

    /// The token of a request, if it is none of these.
    pub(super) fn wrong_token(&self, credentials: Credentials<'_>) -> Option<String> {
        let is_wrong = |given: &String| !(is_same(given, self.token) | is_same(given, self.read_token));
        token_of(credentials).filter(is_wrong)
    }

    pub(super) fn granted(&self, credentials: Credentials<'_>) -> Granted {
        Granted {
            read: self.check(Right::Read, credentials).is_ok(),
            write: self.check(Right::Write, credentials).is_ok(),
        }
    }
}

/// `Authorization: Bearer …`, or `?token=…` for clients that cannot set headers.
pub(super) fn token_of(credentials: Credentials<'_>) -> Option<String> {
    let header = credentials.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    bearer.or_else(|| parameter(credentials.uri, "token")).filter(|token| !token.is_empty())
}

/// The decoded value of a query parameter; if it is there twice, the last one.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.rsplit('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// An empty token never matches.
fn is_same(given: &str, wanted: &str) -> bool {
    !wanted.is_empty() & bool::from(given.as_bytes().ct_eq(wanted.as_bytes()))
}

fn unauthorized(reason: String) -> HttpError {
    HttpError::new(StatusCode::UNAUTHORIZED, reason)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn rights(read_token: &str) -> Rights<'_> {
        Rights { token: "write-token", read_token }
    }

    /// Whether a request may monitor, read and write.
    fn outcome(rights: &Rights<'_>, uri: &str, headers: &[(&'static str, &str)]) -> [bool; 3] {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let headers: HeaderMap =
            headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect();
        let uri: Uri = uri.parse().unwrap();
        let credentials = Credentials { uri: &uri, headers: &headers };
        assert_eq!(rights.check(Right::Watch, credentials), Ok(()));
        let may =
            [Right::Monitor, Right::Read, Right::Write].map(|right| match rights.check(right, credentials) {
                Ok(()) => true,
                Err(error) => {
                    let gives_another = rights.check(Right::Read, credentials).is_ok();
                    let status = if gives_another { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
                    assert_eq!(error.status, status);
                    assert!(!error.detail.contains("-token"));
                    false
                }
            });
        let granted = Granted { read: may[1], write: may[2] };
        assert_eq!(rights.granted(credentials), granted);
        may
    }

    #[test]
    fn without_a_token_no_request_reads_or_writes_whatever_its_headers() {
        for headers in [
            &[][..],
            &[("host", "localhost:8080")],
            &[("host", "127.0.0.1")],
            &[("host", "localhost:8080"), ("origin", "http://localhost:8080")],
            &[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1"), ("forwarded", "for=127.0.0.1")],
            &[("authorization", "")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer")],
        ] {
            assert_eq!(outcome(&rights(""), "/", headers), [true, false, false], "{headers:?}");
            assert_eq!(outcome(&rights("read-token"), "/", headers), [false; 3], "{headers:?}");
        }
        for uri in ["/?token=", "/?token", "/?token=%00"] {
            assert_eq!(
                outcome(&rights(""), uri, &[]),
                [true, false, false],
                "{uri}: an empty token never matches"
            );
        }
    }

    #[test]
    fn the_token_for_writing_gives_every_right() {
        let ask = |token| outcome(&rights(""), "/", &[("authorization", token)]);
        assert_eq!(ask("Bearer write-token"), [true; 3]);
        assert_eq!(ask("bearer write-token"), [true; 3]);
        for wrong in ["Bearer write-tokem", "Bearer write-toke", "Basic write-token", "write-token"] {
            assert_eq!(ask(wrong), [true, false, false], "{wrong}");
        }
        assert_eq!(outcome(&rights(""), "/?token=write-token", &[]), [true; 3]);
        assert_eq!(outcome(&rights(""), "/?token=write%2Dtoken", &[]), [true; 3]);
        assert_eq!(outcome(&rights(""), "/?token=write-token&token=x", &[]), [true, false, false]);
        let both = [("authorization", "Bearer wrong-token")];
        assert_eq!(outcome(&rights(""), "/?token=write-token", &both), [true, false, false]);
    }

    #[test]
    fn reading_accepts_either_token_and_writing_only_its_own() {
        let ask = |token| outcome(&rights("read-token"), "/", &[("authorization", token)]);
        assert_eq!(ask("Bearer read-token"), [true, true, false]);
        assert_eq!(ask("Bearer write-token"), [true; 3]);
        assert_eq!(ask("Bearer other-token"), [false; 3]);
    }

    #[test]
    fn paths_that_are_not_for_viewers_are_for_operators() {
        let get = |path| needed(&Method::GET, path);
        let delete = |path| needed(&Method::DELETE, path);
        for path in ["/api/v1/streams", "/api/v1/streams/live/a", "/api/v1/streams/a/still.flv"] {
            assert_eq!(get(path), Some(Right::Watch), "{path}");
        }
        for path in ["/metrics", "/api/v1/publishers", "/api/v1/cores", "/api/v1/history"] {
            assert_eq!(get(path), Some(Right::Monitor), "{path}");
        }
        for path in ["/api/v1/players", "/api/v1/events", "/api/v1/config"] {
            assert_eq!(get(path), Some(Right::Read), "{path}");
        }
        for path in ["/api/v1/future", "/api/v1/players/7", "/api/", "/api", "/api/v1/%73treams"] {
            assert_eq!(get(path), Some(Right::Read), "{path}");
        }
        assert_eq!(needed(&Method::POST, "/api/v1/reload"), Some(Right::Write));
        assert_eq!(delete("/api/v1/players/7"), Some(Right::Write));
        assert_eq!(delete("/api/v1/publishers/7"), Some(Right::Write));
        for path in ["/", "/assets/x.js", "/healthz", "/readyz", "/live/a.flv", "/apis/x"] {
            assert_eq!((get(path), delete(path)), (None, None), "{path}");
        }
    }
}
