//! Responses that clients have not read yet: they count as memory until they are in the socket, and a response that
//! would exceed their share is refused.

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::error::HttpError;
use crate::stream::{Held, Memory, MemoryKind};

/// Smaller responses are included in the memory that is counted for a connection.
const SMALL_BYTES: u64 = 8 << 10;
/// Unread responses may use this fraction of `limits.memory_budget`: one eighth.
const SHARE: usize = 8;

/// Marks a response whose bytes are counted already, because several responses share them.
#[derive(Clone, Copy)]
pub(super) struct CountedResponse;

/// Whether this many more bytes would exceed the share.
pub(super) fn exceeds_share(memory: &Memory, bytes: usize) -> bool {
    memory.of(MemoryKind::Http) + bytes > memory.budget() / SHARE
}

/// For a response that would exceed the share.
pub(super) fn no_room() -> HttpError {
    let reason = "too many responses have not been read: limits.memory_budget has no room for this one";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason)
}

/// Counts a response whose length is known; any other is produced piece by piece as the client reads.
pub(super) async fn count(memory: &Memory, response: Response) -> Response {
    if response.extensions().get::<CountedResponse>().is_some() {
        return response;
    }
    let Some(bytes) = response.body().size_hint().exact().filter(|&bytes| bytes > SMALL_BYTES) else {
        return response;
    };
    let held = memory.hold(MemoryKind::Http, usize::try_from(bytes).unwrap_or(usize::MAX));
    if memory.of(MemoryKind::Http) > memory.budget() / SHARE {
        return no_room().into_response();
    }
    let (head, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            let unread = Unread { bytes, _held: held };
            Response::from_parts(head, Body::from(Bytes::from_owner(unread)))
        }
        // The body is in memory, so reading it does not fail.
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
    async fn responses_count_until_they_are_written_and_one_that_exceeds_the_share_is_refused() {
        let memory = Memory::new(SHARE * 30_000);
        let first = count(&memory, answer(15_000)).await;
        let second = count(&memory, answer(15_000)).await;
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK), "at the share");
        assert_eq!(memory.of(MemoryKind::Http), 30_000);
        assert_eq!(count(&memory, answer(8_193)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(count(&memory, answer(8_192)).await.status(), StatusCode::OK, "a small response");
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!((bytes.len(), memory.of(MemoryKind::Http)), (15_000, 30_000), "not written yet");
        drop(bytes);
        assert_eq!(memory.of(MemoryKind::Http), 15_000);
        drop(second);
        assert_eq!(memory.of(MemoryKind::Http), 0);
    }
}
