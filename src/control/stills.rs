//! Stills: a stream's newest key frame as a file. It is made at most once per second and shared by all requests, so
//! clients that request it and do not read it hold the same bytes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{error::HttpError, unread};
use crate::stream::{Memory, MemoryKind};

/// How long a still is used: the page requests it every few seconds.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The stills that were requested recently.
#[derive(Default)]
pub(super) struct Stills {
    by_name: Mutex<HashMap<Arc<str>, Still>>,
}

struct Still {
    made: Instant,
    file: Bytes,
}

impl Stills {
    /// The still of a stream; calls `make` if there is none of the last second.
    ///
    /// # Errors
    /// There is no such stream or no key frame, or unread responses use too much memory.
    pub(super) fn of(
        &self,
        name: &str,
        memory: &Memory,
        now: Instant,
        make: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Result<Bytes, HttpError> {
        let mut by_name = self.by_name();
        let known = by_name.get(name);
        if let Some(still) = known.filter(|still| is_fresh(still, now)) {
            return Ok(still.file.clone());
        }
        let made = make().ok_or_else(|| HttpError::not_found("no such stream"))?;
        let file = match known {
            // The same key frame: share the bytes that other responses still hold.
            Some(still) if still.file == made => still.file.clone(),
            _ => {
                if unread::exceeds_share(memory, made.len()) {
                    // Frees the stills that no response holds.
                    by_name.clear();
                }
                if unread::exceeds_share(memory, made.len()) {
                    return Err(unread::no_room());
                }
                memory.counted(MemoryKind::Http, made)
            }
        };
        by_name.insert(name.into(), Still { made: now, file: file.clone() });
        Ok(file)
    }

    /// Drops the stills that were not made in the last second.
    pub(super) fn drop_old(&self, now: Instant) {
        self.by_name().retain(|_, still| is_fresh(still, now));
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Arc<str>, Still>> {
        // The map is consistent between any two statements.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(still: &Still, now: Instant) -> bool {
    now.saturating_duration_since(still.made) < MAX_AGE
}

/// The response with a still, whose bytes are counted already.
pub(super) fn response(file: Bytes) -> Response {
    let mut response = Body::from(file).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("video/x-flv"));
    response.extensions_mut().insert(unread::CountedResponse);
    debug_assert_eq!(response.status(), StatusCode::OK);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn key_frame(mark: u8) -> Option<Vec<u8>> {
        Some(vec![mark; MIB])
    }

    #[test]
    fn a_thousand_requests_for_a_still_share_its_bytes() {
        let (stills, memory, start) = (Stills::default(), Memory::new(64 * MIB), Instant::now());
        let mut made = 0;
        let held: Vec<Bytes> = (0..1_000)
            .map(|request| {
                let now = start + Duration::from_millis(5) * request;
                let still = stills.of("live/a", &memory, now, || {
                    made += 1;
                    key_frame(7)
                });
                still.expect("there is room for one")
            })
            .collect();
        assert_eq!(made, 5, "once a second");
        assert_eq!(memory.of(MemoryKind::Http), MIB, "the key frame is the same all the time");
        drop(held);
        stills.drop_old(start + Duration::from_secs(10));
        assert_eq!(memory.of(MemoryKind::Http), 0);
    }

    #[test]
    fn unread_stills_of_many_key_frames_are_bounded() {
        // Room for eight.
        let (stills, memory, start) = (Stills::default(), Memory::new(64 * MIB), Instant::now());
        let ask = |second: u64| {
            let now = start + Duration::from_secs(second);
            stills.of("live/a", &memory, now, || key_frame(second as u8))
        };
        let mut held: Vec<Bytes> = (0..8).map(|second| ask(second).expect("there is room")).collect();
        assert_eq!(ask(8).expect_err("one more").status, StatusCode::SERVICE_UNAVAILABLE);
        held.pop();
        assert!(ask(9).is_ok(), "one was read");
    }

    #[test]
    fn stills_that_no_response_holds_make_room_for_others() {
        let (stills, memory, now) = (Stills::default(), Memory::new(64 * MIB), Instant::now());
        for stream in 0..100u8 {
            let still = stills.of(&format!("live/{stream}"), &memory, now, || key_frame(stream));
            assert_eq!(still.expect("they are read at once").first(), Some(&stream));
        }
        assert!(stills.of("live/none", &memory, now, || None).is_err());
    }
}
