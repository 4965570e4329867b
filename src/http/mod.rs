//! Streams as HTTP players get them: FLV tags in a body that does not end, or each in a WebSocket message. Pure: no
//! socket, no clock. Requests are the control plane's; sending is the fan-out's, as for every player.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod tag;
pub mod websocket;

pub use tag::FlvFormat;
