//! Responses that wait for their reader: counted until they have gone to the socket, and refused where those that wait
//! are too much.

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::error::HttpError;
use crate::stream::{Held, Memory, MemoryKind};

/// Smaller ones are part of what counts as a connection.
const SMALL_BYTES: u64 = 8 << 10;
/// The share of `limits.memory_budget` that may wait to be read.
const SHARE: usize = 8;

/// Of a response whose bytes are counted already, since others have the same.
#[derive(Clone, Copy)]
pub(super) struct Counted;

/// Whether so many bytes more would be too much.
pub(super) fn is_too_much(memory: &Memory, bytes: usize) -> bool {
    memory.of(MemoryKind::Http) + bytes > memory.budget() / SHARE
}

/// Of an answer that has no room.
pub(super) fn refused() -> HttpError {
    let reason = "too many answers wait to be read: limits.memory_budget has no room for this one";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason)
}

/// Counts a response whose length is known; others are given out piece by piece, as they are read.
pub(super) async fn count(memory: &Memory, response: Response) -> Response {
    if response.extensions().get::<Counted>().is_some() {
        return response;
    }
    let Some(bytes) = response.body().size_hint().exact().filter(|&bytes| bytes > SMALL_BYTES) else {
        return response;
    };
    let held = memory.hold(MemoryKind::Http, usize::try_from(bytes).unwrap_or(usize::MAX));
    if memory.of(MemoryKind::Http) > memory.budget() / SHARE {
        return refused().into_response();
    }
    let (head, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            let unread = Unread { bytes, _held: held };
            Response::from_parts(head, Body::from(Bytes::from_owner(unread)))
        }
        // A body that is here does not fail.
        Err(error) => HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

struct Unread {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Response {
        Body::from(vec![b'x'; bytes]).into_response()
    }

    #[tokio::test]
    async fn answers_count_until_they_are_gone_and_one_past_the_share_is_refused() {
        let memory = Memory::new(SHARE * 30_000);
        let first = count(&memory, answer(15_000)).await;
        let second = count(&memory, answer(15_000)).await;
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK), "at the share");
        assert_eq!(memory.of(MemoryKind::Http), 30_000);
        assert_eq!(count(&memory, answer(8_193)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(count(&memory, answer(8_192)).await.status(), StatusCode::OK, "a small one");
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!((bytes.len(), memory.of(MemoryKind::Http)), (15_000, 30_000), "it is not written yet");
        drop(bytes);
        assert_eq!(memory.of(MemoryKind::Http), 15_000);
        drop(second);
        assert_eq!(memory.of(MemoryKind::Http), 0);
    }
}
