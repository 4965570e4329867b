//! The response to a request that cannot be served: a status, and the reason as a problem (RFC 9457).

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{access::Denial, endpoint::Stalled};

/// The type of a problem's body.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request cannot be served: a status and a reason.
#[derive(Debug, PartialEq)]
pub(super) struct HttpError {
    pub(super) status: StatusCode,
    /// For people to read.
    pub(super) detail: String,
    /// Where the client is to go instead.
    pub(super) location: Option<HeaderValue>,
    /// With which credentials a client may come back that gets 401: `WWW-Authenticate`.
    challenge: &'static str,
    /// Whether the connection ends with this response.
    is_last: bool,
}

#[derive(Serialize)]
struct Problem<'a> {
    /// The status says what kind of problem it is.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl From<Stalled> for HttpError {
    fn from(stalled: Stalled) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, stalled.to_string())
    }
}

impl HttpError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), location: None, challenge: BEARER, is_last: false }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Access is denied: 401 where other credentials may help. The connection ends, as over RTMP. `request` are the headers
    /// of the request.
    pub(super) fn denied(denial: &Denial, request: &HeaderMap) -> Self {
        let status = match denial.cause.is_about_credentials() {
            true => StatusCode::UNAUTHORIZED,
            false => StatusCode::FORBIDDEN,
        };
        let challenge = if is_of_script(request) { BEARER } else { "Basic realm=\"fanfare\"" };
        Self { challenge, is_last: true, ..Self::new(status, denial.reason.clone()) }
    }

    /// To this address.
    pub(super) fn redirect(address: &str) -> Self {
        match HeaderValue::from_str(address) {
            Ok(location) => Self {
                location: Some(location),
                ..Self::new(StatusCode::FOUND, "the stream is on another server")
            },
            Err(_) => Self::new(StatusCode::BAD_GATEWAY, "the address of another server is not valid"),
        }
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed; see Allow")
    }

    /// The body of the response.
    pub(super) fn body(&self) -> String {
        let title = self.status.canonical_reason().unwrap_or_default();
        let problem =
            Problem { r#type: "about:blank", title, status: self.status.as_u16(), detail: &self.detail };
        // Text and a number: always valid JSON.
        serde_json::to_string(&problem).unwrap_or_default()
    }
}

/// Whether a page's script has sent this request. A browser would ask its user for a name and a password, again and again,
/// while the page has a better text. Only what a user opens in a tab is asked for as `text/html`.
fn is_of_script(request: &HeaderMap) -> bool {
    let has =
        |name, text| request.get(name).and_then(|it| it.to_str().ok()).is_some_and(|it| it.contains(text));
    has(header::USER_AGENT, "Mozilla/") && !has(header::ACCEPT, "text/html")
}

const BEARER: &str = "Bearer";

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, location);
        }
        if self.is_last {
            // hyper leaves it out over HTTP/2, where other requests share the connection.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Cause;

    #[test]
    fn a_denial_asks_for_a_password_where_that_may_help_and_never_a_page_s_script() {
        let answer = |cause, user_agent, accept: &'static str| {
            let denial = Denial { reason: "no key".to_owned(), cause, rule: "1".into() };
            let headers = [(header::USER_AGENT, user_agent), (header::ACCEPT, accept)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let response = HttpError::denied(&denial, &headers.into_iter().collect()).into_response();
            let challenge =
                response.headers().get(header::WWW_AUTHENTICATE).map(|it| it.to_str().unwrap().to_owned());
            (response.status().as_u16(), challenge.unwrap_or_default())
        };
        let basic = "Basic realm=\"fanfare\"".to_owned();
        assert_eq!(answer(Cause::NoCredentials, "VLC/3", "*/*"), (401, basic.clone()));
        assert_eq!(answer(Cause::Expired, "Mozilla/5.0", "text/html,*/*"), (401, basic));
        assert_eq!(answer(Cause::WrongCredentials, "Mozilla/5.0", "*/*"), (401, "Bearer".to_owned()));
        assert_eq!(answer(Cause::Rule, "VLC/3", "*/*"), (403, String::new()));
    }

    #[test]
    fn a_problem_has_the_fields_of_rfc_9457() {
        let json: serde_json::Value =
            serde_json::from_str(&HttpError::not_found("no \"such\"\nstream").body()).unwrap();
        let expected = serde_json::json!({"type": "about:blank", "title": "Not Found", "status": 404,
            "detail": "no \"such\"\nstream"});
        assert_eq!(json, expected);
    }
}
