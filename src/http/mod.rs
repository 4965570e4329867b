//! Streams as HTTP players get them: FLV tags in a body that does not end, each in a chunk for HTTP/1.1, or each in a
//! WebSocket message. Pure: no socket, no clock. The control plane handles requests; the fan-out sends, as to every
//! player.

#![forbid(unsafe_code)]

mod chunked;
#[cfg(all(feature = "websocket", any(test, fuzzing)))]
pub mod fuzz;
pub mod paths;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use chunked::{ChunkedFormat, LAST_CHUNK};
