//! A certificate for development: an authority of this machine's own, which a browser or a player can be told to trust.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// The files of a certificate for development.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevelopmentCertificate {
    /// The authority that clients are to trust.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where the certificate for development is by default: beside the other state of the service or the user.
pub fn development_folder() -> Option<PathBuf> {
    Some(state_folder()?.join("dev-cert"))
}

/// The state directory of the service or the user.
pub(super) fn state_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("STATE_DIRECTORY")
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("fanfare")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/fanfare")))
}

impl DevelopmentCertificate {
    /// The files that this folder has, or would have.
    pub fn in_folder(folder: &Path) -> Self {
        let file = |name| folder.join(name);
        Self { authority: file("ca.pem"), certificate: file("cert.pem"), key: file("key.pem") }
    }

    /// How the relay and its clients use it, at this host: commands to copy.
    pub fn usage(&self, host: &str) -> String {
        let DevelopmentCertificate { authority, certificate, key } = self;
        let (authority, certificate, key) = (authority.display(), certificate.display(), key.display());
        format!(
            "Authority    {authority}\n\
         Certificate  {certificate}\n\
         Key          {key}\n\
         \n\
         Relay:     fanfare --rtmps 1936 --https 8443\n\
         FFmpeg:    ffmpeg -re -i FILE -c copy -f flv -ca_file {authority} -tls_verify 1 rtmps://{host}:1936/live/live_stream\n\
         ffplay:    ffplay -ca_file {authority} -tls_verify 1 rtmps://{host}:1936/live/live_stream\n\
         VLC:       vlc --gnutls-dir-trust={folder} https://{host}:8443/live/live_stream.flv\n\
         curl:      curl --cacert {authority} https://{host}:8443/api/v1/summary\n\
         OBS:       uses the authorities of the system:\n\
         \x20          sudo cp {authority} /usr/local/share/ca-certificates/fanfare-dev.crt && sudo update-ca-certificates\n\
         Chromium:  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n fanfare-dev -i {authority}\n",
            folder = self.authority.parent().unwrap_or(Path::new(".")).display(),
        )
    }

    /// Makes an authority and a certificate for these names and addresses, and writes them to this folder in place of
    /// earlier ones. The authority's key is forgotten: nothing else can be signed with it.
    ///
    /// # Errors
    /// A name that is none, or a file that cannot be written, as one line.
    pub fn make(folder: &Path, names: Vec<String>) -> Result<Self, String> {
        let explain = |error: rcgen::Error| format!("cannot make a certificate: {error}");
        let authority_key = KeyPair::generate().map_err(explain)?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "fanfare development CA");
        (authority.not_before, authority.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
        let authority_certificate = authority.self_signed(&authority_key).map_err(explain)?;
        let issuer = Issuer::new(authority, authority_key);

        let common_name = names.first().cloned().unwrap_or_default();
        let key = KeyPair::generate().map_err(explain)?;
        let mut leaf = CertificateParams::new(names).map_err(explain)?;
        leaf.distinguished_name.push(DnType::CommonName, common_name);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        // Browsers refuse those that last for more than 825 days, where the authority is the user's own.
        let (today, end) = validity();
        (leaf.not_before, leaf.not_after) = (today, end);
        let certificate = leaf.signed_by(&key, &issuer).map_err(explain)?;

        let files = Self::in_folder(folder);
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            write_file(&files.authority, &authority_certificate.pem(), 0o644)?;
            write_file(&files.certificate, &certificate.pem(), 0o644)?;
            write_file(&files.key, &key.serialize_pem(), 0o600)
        };
        write().map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(files)
    }
}

/// From yesterday on, for 800 days.
fn validity() -> (time::OffsetDateTime, time::OffsetDateTime) {
    let now = time::OffsetDateTime::now_utc();
    (now - time::Duration::days(1), now + time::Duration::days(799))
}

fn write_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_for_its_owner_alone_and_a_second_call_replaces_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let names = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let files = DevelopmentCertificate::make(&inner, names()).unwrap();
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(&files.certificate).unwrap();
        assert_eq!(DevelopmentCertificate::make(&inner, names()), Ok(files.clone()));
        assert_ne!(fs::read(&files.certificate).unwrap(), before);
        let error = DevelopmentCertificate::make(Path::new("/proc/none"), names()).unwrap_err();
        assert!(error.starts_with("/proc/none: "), "{error}");
    }
}
