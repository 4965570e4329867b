//! Certificates and keys: read from files, chosen by the name that a client asks for, made for development.

#![forbid(unsafe_code)]

mod development;
mod files;
mod names;

use std::sync::{Arc, OnceLock};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ProducesTickets, WebPkiClientVerifier},
};

pub use development::{DevelopmentCertificate, development_folder};

use crate::{config::Config, endpoint::TlsConfigs};
use names::ByName;

/// What RTMPS and HTTPS need, as it is configured; none if no address uses it. `sessions` has the keys of session
/// tickets.
///
/// # Errors
/// The key, the file and what is wrong with it, as one line.
pub fn load(config: &Config, sessions: &Sessions) -> Result<Option<TlsConfigs>, String> {
    let is_used = !config.listen.rtmps.is_empty() || !config.listen.https.is_empty();
    if !is_used {
        return Ok(None);
    }
    let provider = provider();
    let mut certificates = Vec::new();
    for files in &config.tls.certificates {
        certificates.push(
            files::certified_key(files, &provider).map_err(|error| format!("tls.certificates: {error}"))?,
        );
    }
    if certificates.is_empty() {
        let files = development_folder().map(|folder| DevelopmentCertificate::in_folder(&folder));
        let files = files.filter(|files| files.certificate.exists()).ok_or(
            "tls.certificates: RTMPS and HTTPS need a certificate; `fanfare dev-cert` makes one for this machine",
        )?;
        let files = crate::config::CertificateFiles { certificate: files.certificate, key: files.key };
        certificates.push(files::certified_key(&files, &provider)?);
    }
    let names = ByName::new(certificates).ok_or("tls.certificates: there is none")?;
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let authorities = &config.tls.require_client_ca;
    let builder = match authorities.as_os_str().is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let explain =
                |error: String| format!("tls.require_client_ca: {}: {error}", authorities.display());
            let mut roots = RootCertStore::empty();
            for certificate in files::certificates(authorities).map_err(explain)? {
                roots.add(certificate).map_err(|error| explain(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| explain(error.to_string()))?)
        }
    };
    let mut server = builder.with_cert_resolver(Arc::new(names));
    server.ticketer = sessions.ticketer()?;
    server.send_half_rtt_data = false;
    let mut https = server.clone();
    https.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsConfigs { rtmps: Arc::new(server), https: Arc::new(https) }))
}

/// Keys of session tickets, which all cores share and certificates may come and go under: they are replaced by
/// themselves.
#[derive(Default)]
pub struct Sessions(OnceLock<Arc<dyn ProducesTickets>>);

impl Sessions {
    fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, String> {
        if let Some(ticketer) = self.0.get() {
            return Ok(ticketer.clone());
        }
        let made =
            aws_lc_rs::Ticketer::new().map_err(|error| format!("no keys for session tickets: {error}"))?;
        Ok(self.0.get_or_init(|| made).clone())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A configuration with an address for RTMPS, and files that were made for these names.
    fn config(folder: &std::path::Path, names: &[&str]) -> Config {
        let made = DevelopmentCertificate::make(folder, names.iter().map(|&name| name.to_owned()).collect())
            .unwrap();
        let mut config = Config::default();
        config.listen.rtmps = vec!["127.0.0.1:0".parse().unwrap()];
        config.tls.certificates =
            vec![crate::config::CertificateFiles { certificate: made.certificate, key: made.key }];
        config
    }

    #[test]
    fn certificates_are_loaded_only_where_an_address_uses_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &["localhost"]);
        assert!(load(&config, &Sessions::default()).unwrap().is_some());
        config.listen.rtmps.clear();
        config.tls.certificates[0].key = "/no/such/file".into();
        assert!(load(&config, &Sessions::default()).unwrap().is_none());
    }

    #[test]
    fn only_https_has_names_for_alpn_and_tickets_are_for_both() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &["localhost"]);
        let TlsConfigs { rtmps, https } = load(&config, &Sessions::default()).unwrap().unwrap();
        assert_eq!((rtmps.alpn_protocols.len(), &*https.alpn_protocols), (0, &[b"http/1.1".to_vec()][..]));
        assert!(Arc::ptr_eq(&rtmps.ticketer, &https.ticketer));
        assert!(Arc::ptr_eq(&rtmps.cert_resolver, &https.cert_resolver));
    }

    #[test]
    fn a_pair_that_cannot_be_used_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let good = config(folder.path(), &["localhost"]);
        let strange = config(other.path(), &["localhost"]).tls.certificates[0].key.clone();
        let files = &good.tls.certificates[0];
        fs::write(folder.path().join("empty.pem"), "").unwrap();
        type Change<'a> = &'a dyn Fn(&mut Config);
        let cases: [(Change<'_>, &str); 5] = [
            (
                &|config| config.tls.certificates[0].certificate = "/no/such/file".into(),
                "/no/such/file: No such",
            ),
            (&|config| config.tls.certificates[0].key = "/no/such/file".into(), "/no/such/file: No such"),
            (&|config| config.tls.certificates[0].key = strange.clone(), "is not the key of"),
            (&|config| config.tls.certificates[0].certificate = files.key.clone(), "no certificate in it"),
            (
                &|config| config.tls.require_client_ca = folder.path().join("empty.pem"),
                "no certificate in it",
            ),
        ];
        for (change, reason) in cases {
            let mut config = good.clone();
            change(&mut config);
            let error = load(&config, &Sessions::default()).unwrap_err();
            assert!(error.starts_with("tls.") && error.contains(reason), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }
}
