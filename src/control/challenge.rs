//! Answers an authority that asks over plain HTTP whether the relay has a name (RFC 8555 §8.3).

use axum::{
    body::Body,
    http::{Method, Request, header},
    response::{IntoResponse, Response},
};

use crate::certificates::Renewals;

/// What its paths begin with. No stream's does.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// Whether a path is an authority's.
pub(super) fn is_challenge(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The answer, if there is one to this request.
pub(super) fn answer<B>(renewals: &Renewals, request: &Request<B>) -> Option<Response> {
    let token = request.uri().path().strip_prefix(PREFIX)?;
    let text = renewals.answer(token).filter(|_| request.method() == Method::GET)?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Some((headers, Body::from(text)).into_response())
}
