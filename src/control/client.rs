//! The client of a request, and the scope of the address that received it.

use std::net::SocketAddr;

/// What a listening address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything.
    All,
    /// Page and streams: the API has addresses of its own.
    WithoutApi,
}

/// The client of a request; each request carries it.
#[derive(Clone, Copy)]
pub(super) struct Client {
    /// The connection's number.
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) scope: Scope,
}
