//! All fuzz targets: those of `fanfare-rtmp`, and of the stream log and PROXY headers. These two belong to the relay, but need
//! neither axum, hyper nor io_uring. So they are compiled here from their own files: depending on the relay takes four
//! times as long to build.

use fanfare_rtmp::fuzz::{TARGETS, Target};
// The log's files name `crate::flv`, its seeds `crate::rtmp`.
use fanfare_rtmp::{flv, rtmp};

#[path = "../../src/fuzz.rs"]
mod fuzz;
#[path = "../../src/endpoint/proxy_header.rs"]
pub mod proxy_header;
#[path = "../../src/stream/mod.rs"]
pub mod stream;

/// All of them.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    TARGETS.iter().chain([&PROXY_HEADER, &STREAM])
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
