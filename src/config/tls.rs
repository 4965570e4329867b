//! Certificates, and what is asked of clients over TLS.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Options for RTMPS and HTTPS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates with their keys. A client gets the first one that is for the host it names, or else the first of all.
    /// If empty, the one that `fanfare dev-cert` has made is used.
    pub certificates: Vec<CertificateFiles>,
    /// A file of certificates in PEM: clients must have one that one of these has signed. If empty, they need none.
    pub require_client_ca: PathBuf,
    /// Host names for which an authority is asked for certificates by ACME (RFC 8555).
    pub acme_names: Vec<String>,
    /// Where the authority can reach the operator; it may be empty.
    pub acme_email: String,
    /// The authority's directory.
    pub acme_directory: String,
    /// The operator agrees to the authority's terms.
    pub acme_terms_agreed: bool,
    /// A file of certificates in PEM that sign the certificate of the authority's own server; if empty, those of the system.
    pub acme_ca_file: PathBuf,
    /// The folder of the account and of the certificates. If empty, it is in the state directory of the service or the user.
    pub acme_folder: PathBuf,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            certificates: Vec::new(),
            require_client_ca: PathBuf::new(),
            acme_names: Vec::new(),
            acme_email: String::new(),
            acme_directory: LETS_ENCRYPT.to_owned(),
            acme_terms_agreed: false,
            acme_ca_file: PathBuf::new(),
            acme_folder: PathBuf::new(),
        }
    }
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
    /// `has_http`: the relay has addresses for plain HTTP.
    pub(super) fn check(&self, has_http: bool) -> Result<(), Fault> {
        let count = self.certificates.len();
        if count > MAX_CERTIFICATES {
            let what = format!("{count} certificates are too many: at most {MAX_CERTIFICATES}");
            return Err(Fault { key: "tls.certificates", what });
        }
        self.check_acme(has_http)
    }

    fn check_acme(&self, has_http: bool) -> Result<(), Fault> {
        let fault = |key, what: String| Err(Fault { key, what });
        if !self.acme_directory.starts_with("https://") {
            let what = format!("`{}` is not an address that begins with https://", self.acme_directory);
            return fault("tls.acme_directory", what);
        }
        let email = &self.acme_email;
        if !email.is_empty() && (!email.contains('@') || email.contains(|c: char| c.is_whitespace())) {
            return fault("tls.acme_email", format!("`{email}` is not an address for e-mail"));
        }
        let count = self.acme_names.len();
        if count > MAX_ACME_NAMES {
            let what = format!("{count} names are too many: at most {MAX_ACME_NAMES}");
            return fault("tls.acme_names", what);
        }
        if let Some(name) = self.acme_names.iter().find(|name| !is_host_name(name)) {
            let what = format!("`{name}` is not a host name in lower case, such as relay.example");
            return fault("tls.acme_names", what);
        }
        if self.acme_names.is_empty() {
            return Ok(());
        }
        if !self.acme_terms_agreed {
            let what =
                "must be true: certificates are issued only to those who agree to the authority's terms";
            return fault("tls.acme_terms_agreed", what.to_owned());
        }
        if !has_http {
            let what = "the authority asks over plain HTTP, on port 80, but listen.http is empty";
            return fault("tls.acme_names", what.to_owned());
        }
        Ok(())
    }
}

/// A name of letters, digits and hyphens with a dot in it (RFC 1123 §2.1): no address, and no wildcard, which takes another
/// proof.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(is_of_name)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.chars().all(|c| c.is_ascii_digit())
}

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// More than hosts that one relay serves; authorities have limits as well.
const MAX_ACME_NAMES: usize = 100;

/// More than hosts that one relay serves.
const MAX_CERTIFICATES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_which_no_certificate_can_be_issued_are_refused() {
        let names = |name: &str, has_http| {
            let acme_names = vec![name.to_owned()];
            Tls { acme_names, acme_terms_agreed: true, ..Tls::default() }.check(has_http)
        };
        assert_eq!(names("relay-1.example", true), Ok(()));
        assert!(names("relay.example", false).unwrap_err().what.contains("listen.http is empty"));
        let long = format!("{}.example", "a".repeat(64));
        for name in
            ["relay", "192.0.2.7", "*.example", "A.example", "a..example", "-a.example", "../a.b", &long]
        {
            assert_eq!(names(name, true).unwrap_err().key, "tls.acme_names", "{name}");
        }
        let acme_names = vec!["relay.example".to_owned()];
        let fault = Tls { acme_names, ..Tls::default() }.check(true).unwrap_err();
        assert_eq!(fault.key, "tls.acme_terms_agreed");
    }
}
