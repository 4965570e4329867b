//! The response to a request that cannot be served: a status, and the reason as JSON.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::endpoint::Stalled;

/// Why a request cannot be served: a status and a reason.
#[derive(Debug, PartialEq)]
pub(super) struct HttpError {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    /// Where the client is to go instead.
    pub(super) location: Option<HeaderValue>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl From<Stalled> for HttpError {
    fn from(stalled: Stalled) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, stalled.to_string())
    }
}

impl HttpError {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), location: None }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
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
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { error: &self.reason })).into_response();
        let headers = response.headers_mut();
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
