//! Certificates, and what is asked of clients over TLS.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Options for RTMPS and HTTPS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates with their keys. A client gets the first one that is for the host it names, or else the first of all.
    /// If empty, the one that `fanfare dev-cert` has made is used.
    pub certificates: Vec<CertificateFiles>,
    /// A file of certificates in PEM: clients must have one that one of these has signed. If empty, they need none.
    pub require_client_ca: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate and those that lead to a known authority, in PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl Tls {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let count = self.certificates.len();
        if count > MAX_CERTIFICATES {
            let what = format!("{count} certificates are too many: at most {MAX_CERTIFICATES}");
            return Err(Fault { key: "tls.certificates", what });
        }
        Ok(())
    }
}

/// More than hosts that one relay serves.
const MAX_CERTIFICATES: usize = 1_000;
