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
    /// What certificates there are.
    pub certificates: Vec<CertificateReport>,
}

/// A certificate, for people who watch over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateReport {
    /// A host name that it is for, or else its file.
    pub name: String,
    /// Until when it is valid, Unix seconds.
    pub expires_at: i64,
}
