//! What the client of a request says of itself, for the rules and the service that is asked. May contain secrets: not for
//! the log.

use axum::http::{HeaderMap, HeaderName, Uri, header};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::access::{Login, Party};

/// What this request says. Its head is 16 KiB at most, and so is this.
pub(super) fn party(uri: &Uri, headers: &HeaderMap) -> Party {
    let text = |name: HeaderName| {
        let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.unwrap_or_default()
    };
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    Party {
        tc_url: format!("http://{}{path}", text(header::HOST)),
        page_url: text(header::REFERER),
        client: text(header::USER_AGENT),
        login: login(headers),
        ..Party::default()
    }
}

/// `Authorization`: Basic (RFC 7617) or Bearer (RFC 6750).
fn login(headers: &HeaderMap) -> Option<Login> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Login::Token(rest.to_owned()));
    }
    let is_basic = scheme.eq_ignore_ascii_case("basic");
    let decoded = BASE64_STANDARD.decode(rest).ok().filter(|_| is_basic)?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Login::Password { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(HeaderName, &str)]) -> Party {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
        party(&"/live/a.flv?key=k".parse().expect("a URI"), &headers.collect())
    }

    #[test]
    fn a_request_says_its_url_its_page_and_its_client() {
        let headers = [
            (header::HOST, "relay.example:8080"),
            (header::REFERER, "https://page.example/"),
            (header::USER_AGENT, "VLC/3"),
        ];
        let said = of(&headers);
        assert_eq!(said.tc_url, "http://relay.example:8080/live/a.flv?key=k");
        assert_eq!((&*said.page_url, &*said.client), ("https://page.example/", "VLC/3"));
        assert_eq!(said.login, None);
    }

    #[test]
    fn credentials_are_basic_or_bearer() {
        let login = |value| of(&[(header::AUTHORIZATION, value)]).login;
        let ann =
            |password: &str| Some(Login::Password { user: "ann".to_owned(), password: password.to_owned() });
        assert_eq!(login("Basic YW5uOnNlY3JldA=="), ann("secret"));
        assert_eq!(login("basic YW5uOmE6Yg=="), ann("a:b"), "a password may contain a colon");
        assert_eq!(login("Bearer  x.y.z "), Some(Login::Token("x.y.z".to_owned())));
        for other in [
            "Basic",
            "Basic !",
            "Basic YW5u",
            "Basic /////w==",
            "Digest YW5uOnNlY3JldA==",
            "YW5uOnNlY3JldA==",
        ] {
            assert_eq!(login(other), None, "{other}");
        }
    }
}
