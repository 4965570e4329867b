//! Which sites' pages may play and read in a browser (CORS, and the Origin of WebSockets), and the answer to OPTIONS.
//! Decides nothing for programs that are not browsers: they send no origin.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Origins that are allowed, as the configuration has them; `*` is all of them.
#[derive(Clone, Copy)]
pub(super) struct Origins<'a>(pub(super) &'a [String]);

impl Origins<'_> {
    /// Adds the headers that allow the page of this request to read the response. `request` are its headers.
    pub(super) fn allow(self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.has("*") {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        if self.0.is_empty() {
            return;
        }
        // A cache must not give one site what another one may not have.
        response.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = request.get(header::ORIGIN)
            && self.has(origin)
        {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // A login in front of the relay may need cookies. Browsers accept this for named origins only.
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Whether the request, if it comes from a page, may open a WebSocket: from an allowed page or from the relay's
    /// own.
    pub(super) fn may_open(self, request: &HeaderMap) -> bool {
        let Some(origin) = request.get(header::ORIGIN) else {
            return true;
        };
        self.has("*") || self.has(origin) || is_own(origin, request)
    }

    fn has(self, origin: impl AsRef<[u8]>) -> bool {
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_ref())
    }
}

/// Whether the page came from the address that the request goes to.
fn is_own(origin: &HeaderValue, request: &HeaderMap) -> bool {
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, of_page)), Some(host)) if of_page.eq_ignore_ascii_case(host))
}

/// The response to OPTIONS, with the methods that the routes report in Allow for a method they do not have.
pub(super) fn options(request: &HeaderMap, response: Response) -> Response {
    let Some(allow) = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()) else {
        return response;
    };
    let allow: Vec<&str> = allow.split(',').map(str::trim).chain(["OPTIONS"]).collect();
    let mut with_methods = preflight(request, &allow.join(", "));
    let is_of_body = |name: &HeaderName| [header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name);
    for (name, value) in response.headers().iter().filter(|(name, _)| !is_of_body(name)) {
        with_methods.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    with_methods
}

/// The response to OPTIONS. A page of another origin may only read, with any headers: a player adds its own, and the
/// relay ignores those that it does not know. Browsers heed this only if the origin is allowed.
pub(super) fn preflight(request: &HeaderMap, allow: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        headers.insert(header::ALLOW, allow);
    }
    let requested = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let allowed_headers =
        requested.unwrap_or(HeaderValue::from_static("authorization, last-event-id, range"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
    for (name, value) in
        [(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"), (header::ACCESS_CONTROL_MAX_AGE, "600")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A page on the internet, and a relay in the viewer's own network.
    if request.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response
}

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn allowed(origins: &[&str], origin: &'static str) -> Option<String> {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut response = HeaderMap::new();
        Origins(&origins).allow(&headers(&[(header::ORIGIN, origin)]), &mut response);
        let value = response.get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_must_match_exactly() {
        assert_eq!(allowed(&["*"], "https://a.example").as_deref(), Some("*"));
        let one = ["https://a.example"];
        assert_eq!(allowed(&one, "https://a.example").as_deref(), Some("https://a.example"));
        for other in ["http://a.example", "https://a.example.evil", "https://b.example", "null"] {
            assert_eq!(allowed(&one, other), None, "{other}");
        }
        assert_eq!(allowed(&[], "https://a.example"), None);
    }

    #[test]
    fn a_websocket_may_be_opened_by_allowed_pages_the_relay_s_own_and_programs() {
        let origins = ["https://a.example".to_owned()];
        let some = Origins(&origins);
        let host = (header::HOST, "relay:8080");
        assert!(some.may_open(&headers(std::slice::from_ref(&host))));
        assert!(some.may_open(&headers(&[host.clone(), (header::ORIGIN, "https://a.example")])));
        assert!(some.may_open(&headers(&[host.clone(), (header::ORIGIN, "http://relay:8080")])));
        assert!(!some.may_open(&headers(&[host, (header::ORIGIN, "https://b.example")])));
    }
}
