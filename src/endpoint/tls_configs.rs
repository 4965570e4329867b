//! What connections with TLS begin with: one configuration per protocol.

use std::sync::Arc;

use rustls::ServerConfig;

/// Configurations with the same certificates and the same keys of session tickets. ALPN differs (RFC 7301): RTMPS has no
/// name there.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// For RTMPS.
    pub rtmps: Arc<ServerConfig>,
    /// For HTTPS.
    pub https: Arc<ServerConfig>,
}
