//! The control plane of the built relay, over plain sockets: connections, players that move to the cores, the API,
//! rights, events, metrics. Publishers and RTMP players use our own client. No other program takes part.

mod answers;
mod connections;
mod live;
mod metrics;
mod rights;
mod websocket;

#[path = "../support/mod.rs"]
mod support;
use support::peer;
