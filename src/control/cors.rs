//! Whose pages may play and read in a browser (CORS, and the Origin of WebSockets). Decides nothing for programs that
//! are no browsers: they name no origin.

use axum::http::{HeaderMap, HeaderValue, header};

/// The origins that are allowed.
pub(super) struct Origins {
    all: bool,
    some: Vec<String>,
}

impl Origins {
    pub(super) fn new(allowed: &[String]) -> Self {
        Self { all: allowed.iter().any(|origin| origin == "*"), some: allowed.to_vec() }
    }

    /// What the response says of it. `request` are the headers of the request.
    pub(super) fn allow(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.all {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        if self.some.is_empty() {
            return;
        }
        // Caches must not give one site what another one may not have.
        response.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = request.get(header::ORIGIN)
            && self.some.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }

    /// Whether the page that asks, if it is one, may open a WebSocket: an allowed one, or the relay's own.
    pub(super) fn may_open(&self, request: &HeaderMap) -> bool {
        let Some(origin) = request.get(header::ORIGIN) else {
            return true;
        };
        self.all
            || self.some.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
            || is_own(origin, request)
    }
}

/// Whether the page came from the address that it asks.
pub(super) fn is_own(origin: &HeaderValue, request: &HeaderMap) -> bool {
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, of_page)), Some(host)) if of_page.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn allowed(origins: &[&str], origin: &'static str) -> Option<String> {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut response = HeaderMap::new();
        Origins::new(&origins).allow(&headers(&[(header::ORIGIN, origin)]), &mut response);
        let value = response.get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_allowed_to_the_letter() {
        assert_eq!(allowed(&["*"], "https://a.example").as_deref(), Some("*"));
        let one = ["https://a.example"];
        assert_eq!(allowed(&one, "https://a.example").as_deref(), Some("https://a.example"));
        for other in ["http://a.example", "https://a.example.evil", "https://b.example", "null"] {
            assert_eq!(allowed(&one, other), None, "{other}");
        }
        assert_eq!(allowed(&[], "https://a.example"), None);
    }

    #[test]
    fn a_websocket_is_for_allowed_pages_the_own_one_and_programs() {
        let some = Origins::new(&["https://a.example".to_owned()]);
        let host = (header::HOST, "relay:8080");
        assert!(some.may_open(&headers(std::slice::from_ref(&host))));
        assert!(some.may_open(&headers(&[host.clone(), (header::ORIGIN, "https://a.example")])));
        assert!(some.may_open(&headers(&[host.clone(), (header::ORIGIN, "http://relay:8080")])));
        assert!(!some.may_open(&headers(&[host, (header::ORIGIN, "https://b.example")])));
    }
}
