//! Certificates, and a relay that has them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fanfare::certificates::DevelopmentCertificate;
use tempfile::TempDir;

use crate::support::Relay;

/// A certificate by an authority of its own.
pub struct Certificate {
    folder: TempDir,
    files: DevelopmentCertificate,
}

impl Certificate {
    /// For these names.
    pub fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let files = DevelopmentCertificate::make(folder.path(), names).unwrap();
        // Programs that do not run as root are to read what they trust.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder, files }
    }

    /// For the address that the tests use, and `localhost`.
    pub fn local() -> Self {
        Self::of(&["127.0.0.1", "localhost"])
    }

    /// What clients are to trust.
    pub fn authority(&self) -> &Path {
        &self.files.authority
    }

    /// Its key.
    pub fn key(&self) -> &Path {
        &self.files.key
    }

    /// The same files with what another one contains.
    pub fn replace_by(&self, other: &Certificate) {
        for (file, new) in [
            (&self.files.certificate, &other.files.certificate),
            (&self.files.key, &other.files.key),
            (&self.files.authority, &other.files.authority),
        ] {
            fs::copy(new, file).unwrap();
        }
    }

    /// A folder with nothing but the authority in it.
    pub fn trust_folder(&self) -> PathBuf {
        let folder = self.folder.path().join("trust");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.authority(), folder.join("ca.pem")).unwrap();
        folder
    }

    /// The pair as the configuration has it.
    fn pair(&self) -> String {
        let DevelopmentCertificate { certificate, key, .. } = &self.files;
        format!("{{ certificate = '{}', key = '{}' }}", certificate.display(), key.display())
    }
}

/// The configuration of a relay with these certificates.
pub fn config(certificates: &[&Certificate], more: &str) -> String {
    let pairs: Vec<String> = certificates.iter().map(|certificate| certificate.pair()).collect();
    let listen = "listen.rtmps = ['127.0.0.1:0']\nlisten.https = ['127.0.0.1:0']";
    format!("{more}\n{listen}\ntls.certificates = [{}]\n", pairs.join(", "))
}

/// A relay with this certificate, on two cores.
pub fn start(certificate: &Certificate, more: &str) -> Relay {
    Relay::start(&config(&[certificate], more))
}
