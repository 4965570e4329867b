//! Who may watch, read and act. Knows tokens; writes none of them anywhere. Where a request comes from, and what its
//! headers lack, proves nothing: a proxy on this machine has its address, and need not say that it is one.

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use super::error::HttpError;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// What a viewer needs: the names that are listed, what a stream consists of, stills. Everybody has it, wherever
    /// there are streams.
    Watch,
    /// What counts the relay and names no peer. Everybody has it while there is no token for reading.
    Count,
    /// Addresses of peers, connections, events, names that are not listed, the configuration: an operator's.
    Read,
    /// Ending players and publishers.
    Write,
}

/// What a request may do beyond what it asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    /// It is shown addresses of peers, and names that are not listed.
    pub(super) read: bool,
    /// It could end players and publishers.
    pub(super) write: bool,
}

/// The tokens in force.
pub(super) struct Rights<'a> {
    /// There always is one.
    pub(super) token: &'a str,
    /// Empty where there is none.
    pub(super) read_token: &'a str,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// What an address of API and metrics needs; none for what is not theirs. An address that is not named here is an
/// operator's.
pub(super) fn needed(method: &Method, path: &str) -> Option<Right> {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    match path {
        "/api/v1/summary" | "/api/v1/streams" | "/api/v1/openapi.yaml" => Some(Right::Watch),
        _ if below("/api/v1/streams/") => Some(Right::Watch),
        "/metrics" | "/api/v1/cores" | "/api/v1/history" | "/api/v1/publishers" => Some(Right::Count),
        _ if method == Method::DELETE && (below("/api/v1/players/") || below("/api/v1/publishers/")) => {
            Some(Right::Write)
        }
        _ if path == "/api" || path.starts_with("/api/") => Some(Right::Read),
        _ => None,
    }
}

impl Rights<'_> {
    /// Whether this one may.
    pub(super) fn check(&self, right: Right, asker: Asker<'_>) -> Result<(), HttpError> {
        let is_open = match right {
            Right::Watch => true,
            Right::Count => self.read_token.is_empty(),
            Right::Read | Right::Write => false,
        };
        if is_open {
            return Ok(());
        }
        let to = if right == Right::Write { "act" } else { "read" };
        let given = token_of(asker).ok_or_else(|| unauthorized(format!("a token is needed to {to}")))?;
        // Both, so that the time tells nothing of which it was.
        let (acts, reads) = (is_same(&given, self.token), is_same(&given, self.read_token));
        match acts | (reads & (right != Right::Write)) {
            true => Ok(()),
            false => Err(unauthorized(format!("this token is not one to {to} with"))),
        }
    }

    pub(super) fn granted(&self, asker: Asker<'_>) -> Granted {
        Granted {
            read: self.check(Right::Read, asker).is_ok(),
            write: self.check(Right::Write, asker).is_ok(),
        }
    }
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

/// An empty token is none.
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
        Rights { token: "act-token", read_token }
    }

    /// Whether an asker may count, read and act.
    fn outcome(rights: &Rights<'_>, uri: &str, headers: &[(&'static str, &str)]) -> [bool; 3] {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let headers: HeaderMap =
            headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect();
        let uri: Uri = uri.parse().unwrap();
        let asker = Asker { uri: &uri, headers: &headers };
        assert_eq!(rights.check(Right::Watch, asker), Ok(()));
        let may = [Right::Count, Right::Read, Right::Write].map(|right| match rights.check(right, asker) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.status, StatusCode::UNAUTHORIZED);
                assert!(!error.reason.contains("-token"));
                false
            }
        });
        let granted = Granted { read: may[1], write: may[2] };
        assert_eq!(rights.granted(asker), granted);
        may
    }

    #[test]
    fn without_a_token_nobody_reads_or_acts_whatever_the_headers() {
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
            assert_eq!(outcome(&rights(""), uri, &[]), [true, false, false], "{uri}: an empty token is none");
        }
    }

    #[test]
    fn the_token_to_act_with_is_for_everything() {
        let ask = |token| outcome(&rights(""), "/", &[("authorization", token)]);
        assert_eq!(ask("Bearer act-token"), [true; 3]);
        assert_eq!(ask("bearer act-token"), [true; 3]);
        for wrong in ["Bearer act-tokem", "Bearer act-toke", "Basic act-token", "act-token"] {
            assert_eq!(ask(wrong), [true, false, false], "{wrong}");
        }
        assert_eq!(outcome(&rights(""), "/?token=act-token", &[]), [true; 3]);
        assert_eq!(outcome(&rights(""), "/?token=act%2Dtoken", &[]), [true; 3]);
        assert_eq!(outcome(&rights(""), "/?token=act-token&token=x", &[]), [true, false, false]);
        let both = [("authorization", "Bearer wrong-token")];
        assert_eq!(outcome(&rights(""), "/?token=act-token", &both), [true, false, false]);
    }

    #[test]
    fn reading_takes_either_token_and_acting_only_its_own() {
        let ask = |token| outcome(&rights("read-token"), "/", &[("authorization", token)]);
        assert_eq!(ask("Bearer read-token"), [true, true, false]);
        assert_eq!(ask("Bearer act-token"), [true; 3]);
        assert_eq!(ask("Bearer other-token"), [false; 3]);
    }

    #[test]
    fn what_is_not_named_as_a_viewer_s_is_an_operator_s() {
        let get = |path| needed(&Method::GET, path);
        let delete = |path| needed(&Method::DELETE, path);
        for path in ["/api/v1/streams", "/api/v1/streams/live/a", "/api/v1/streams/a/still.flv"] {
            assert_eq!(get(path), Some(Right::Watch), "{path}");
        }
        for path in ["/metrics", "/api/v1/publishers", "/api/v1/cores", "/api/v1/history"] {
            assert_eq!(get(path), Some(Right::Count), "{path}");
        }
        for path in ["/api/v1/players", "/api/v1/events", "/api/v1/config"] {
            assert_eq!(get(path), Some(Right::Read), "{path}");
        }
        for path in ["/api/v1/what-comes-next", "/api/v1/players/7", "/api/", "/api", "/api/v1/%73treams"] {
            assert_eq!(get(path), Some(Right::Read), "{path}");
        }
        assert_eq!(delete("/api/v1/players/7"), Some(Right::Write));
        assert_eq!(delete("/api/v1/publishers/7"), Some(Right::Write));
        for path in ["/", "/assets/x.js", "/healthz", "/readyz", "/live/a.flv", "/apis/x"] {
            assert_eq!((get(path), delete(path)), (None, None), "{path}");
        }
    }
}
