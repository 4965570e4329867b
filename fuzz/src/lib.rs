//! All fuzz targets: those of `fanfare-rtmp`, and of the stream log, PROXY headers and TLS. These three belong to the relay,
//! but need neither axum, hyper nor io_uring. So they are compiled here from their own files: depending on the relay takes
//! four times as long to build.

use fanfare_rtmp::fuzz::{TARGETS, Target};
// The log's files name `crate::flv`, its seeds `crate::rtmp`.
use fanfare_rtmp::{flv, rtmp};

#[path = "../../src/fuzz.rs"]
mod fuzz;
#[cfg(not(fanfare_loom))]
#[path = "../../src/endpoint/handshakes.rs"]
pub mod handshakes;
#[path = "../../src/endpoint/proxy_header.rs"]
pub mod proxy_header;
#[cfg(not(fanfare_loom))]
#[path = "../../src/endpoint/sealed.rs"]
pub mod sealed;
#[path = "../../src/stream/mod.rs"]
pub mod stream;
#[cfg(not(fanfare_loom))]
#[path = "../../src/endpoint/tls.rs"]
pub mod tls;
#[cfg(not(fanfare_loom))]
#[path = "../../tests/endpoint/tls_peer.rs"]
mod tls_peer;

#[cfg(not(fanfare_loom))]
use {rustls::crypto::ring as cryptography, sealed::Pool, tls::Tls};

/// All of them.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    #[cfg(not(fanfare_loom))]
    let tls = [&TLS];
    #[cfg(fanfare_loom)]
    let tls = [];
    TARGETS.iter().chain([&PROXY_HEADER, &STREAM]).chain(tls)
}

/// Checks one input of the target of that name.
///
/// # Panics
/// If the input breaks a rule, or there is no such target.
pub fn check(name: &str, bytes: &[u8]) {
    let target = targets().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("no fuzz target {name}"));
    (target.check)(bytes);
}

const PROXY_HEADER: Target =
    Target { name: "proxy_header", check: proxy_header::check_any_bytes, seeds: proxy_header::seeds };
const STREAM: Target =
    Target { name: "stream", check: stream::fuzz::check_any_bytes, seeds: fuzz::stream_seeds };
#[cfg(not(fanfare_loom))]
const TLS: Target = Target { name: "tls", check: tls_peer::check_any_bytes, seeds: tls_peer::seeds };
