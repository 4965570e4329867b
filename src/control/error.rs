//! The response to a request that cannot be served: a status, and the reason as a problem (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::endpoint::Stalled;

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
        Self { status, detail: detail.into(), location: None }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
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

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, location);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_fields_of_rfc_9457() {
        let json: serde_json::Value =
            serde_json::from_str(&HttpError::not_found("no \"such\"\nstream").body()).unwrap();
        let expected = serde_json::json!({"type": "about:blank", "title": "Not Found", "status": 404,
            "detail": "no \"such\"\nstream"});
        assert_eq!(json, expected);
    }
}
