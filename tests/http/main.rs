//! The control plane of the built relay, over bare sockets: connections, the hand-over of players to the cores, the
//! API, rights, events, metrics. Publishers and players of RTMP are our own client's. No other program takes part.

mod answers;
mod connections;
mod live;
mod metrics;
mod peer;
mod rights;
mod websocket;

#[path = "../support/mod.rs"]
mod support;
