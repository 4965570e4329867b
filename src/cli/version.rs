//! Which fanfare this is.

#![forbid(unsafe_code)]

/// Of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version, the commit it was built from, what was built in, and for which machine.
pub const fn long() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (",
        env!("BUILD_COMMIT"),
        ")\nfeatures: ",
        "RTMP, RTMPS, HTTP-FLV, WebSocket-FLV, HTTP/2, ACME, hooks, PROXY protocol, systemd",
        "\ntarget: ",
        env!("BUILD_TARGET"),
    )
}
