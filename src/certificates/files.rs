//! Certificates and keys in PEM files.

use std::{fs, path::Path};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::config::CertificateFiles;

/// Larger than any chain; a device that was given by mistake is not read to its end.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A certificate with its key, which fit each other.
pub(super) fn certified_key(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let CertificateFiles { certificate, key } = files;
    let chain = certificates(certificate).map_err(|error| format!("{}: {error}", certificate.display()))?;
    let secret = private_key(key).map_err(|error| format!("{}: {error}", key.display()))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{}: is not the key of {}", key.display(), certificate.display())
        }
        error => format!("{}: {error}", certificate.display()),
    })
}

/// All certificates in a file, at least one.
///
/// # Errors
/// What is wrong with it, as one line.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("not PEM: {error:?}"))?;
    if found.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| format!("no private key in it: {error:?}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err("not a file of at most 1 MiB".to_owned());
    }
    fs::read(path).map_err(|error| error.to_string())
}
