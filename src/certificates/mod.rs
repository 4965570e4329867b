//! Certificates and keys: read from files, chosen by the name that a client asks for, made for development. Whoever signs
//! them is asked elsewhere.

#![forbid(unsafe_code)]

mod development;
mod facts;
mod files;
mod names;
mod renewals;
mod stored;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CipherSuite, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
    server::{ProducesTickets, WebPkiClientVerifier},
    sign::CertifiedKey,
};

pub use development::{DevelopmentCertificate, development_folder};
pub use facts::Facts;
pub use files::certificates as in_file;
pub use renewals::{Offer, Renewals};
pub use stored::Store;

use crate::{
    config::{CertificateFiles, Config},
    endpoint::{CertificateReport, TlsConfigs},
};
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
    let mut reports = BTreeMap::new();
    for Source { files, is_issued } in sources(config)? {
        match files::certified_key(&files, &provider) {
            Ok(certificate) => {
                let CertificateReport { name, expires_at } = report(&certificate, &files.certificate);
                let earliest = reports.entry(name).or_insert(expires_at);
                *earliest = expires_at.min(*earliest);
                certificates.push(certificate);
            }
            // It has not been issued, or is issued again.
            Err(_) if is_issued => {}
            Err(error) => return Err(format!("tls.certificates: {error}")),
        }
    }
    let names = ByName::new(certificates);
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let authorities = &config.tls.require_client_ca;
    let mut of_clients = Vec::new();
    let builder = match authorities.as_os_str().is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let explain =
                |error: String| format!("tls.require_client_ca: {}: {error}", authorities.display());
            let mut roots = RootCertStore::empty();
            of_clients = files::certificates(authorities).map_err(explain)?;
            for certificate in &of_clients {
                roots.add(certificate.clone()).map_err(|error| explain(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| explain(error.to_string()))?)
        }
    };
    let mut server = builder.with_cert_resolver(Arc::new(names));
    server.ticketer = sessions.ticketer(of_clients)?;
    server.send_half_rtt_data = false;
    // The cheapest of those that a client offers, whatever it would rather have.
    server.ignore_client_order = true;
    let mut https = server.clone();
    https.alpn_protocols = vec![b"http/1.1".to_vec()];
    let reports = reports.into_iter().map(|(name, expires_at)| CertificateReport { name, expires_at });
    Ok(Some(TlsConfigs { rtmps: Arc::new(server), https: Arc::new(https), certificates: reports.collect() }))
}

/// Every file that [`load`] reads with this configuration.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let sources = sources(config).unwrap_or_default();
    let of_pairs = sources.into_iter().flat_map(|Source { files, .. }| [files.certificate, files.key]);
    let authorities = Some(config.tls.require_client_ca.clone()).filter(|file| !file.as_os_str().is_empty());
    of_pairs.chain(authorities).collect()
}

/// What the certificate in this file says of itself, and a number that differs between certificates; none if it is missing
/// or no key fits it.
pub fn facts(file: &Path) -> Option<(Facts, u16)> {
    let files = CertificateFiles { certificate: file.to_owned(), key: file.to_owned() };
    let certificate = files::certified_key(&files, &provider()).ok()?;
    let der = certificate.end_entity_cert().ok()?;
    // Its last bytes are those of a signature.
    let jitter = u16::from_be_bytes(*der.last_chunk()?);
    Some((Facts::of(der)?, jitter))
}

/// Where a certificate comes from.
struct Source {
    files: CertificateFiles,
    /// By an authority that is asked for it, so that it may be missing.
    is_issued: bool,
}

/// In the order in which clients get them: those that are configured, those that are issued; only where neither is wanted
/// that for development.
fn sources(config: &Config) -> Result<Vec<Source>, String> {
    let tls = &config.tls;
    let of_files = tls.certificates.iter().map(|files| Source { files: files.clone(), is_issued: false });
    let mut sources: Vec<Source> = of_files.collect();
    if !tls.acme_names.is_empty() {
        let store = Store::of(tls)?;
        sources.extend(tls.acme_names.iter().map(|name| {
            let file = store.certificate(name);
            Source { files: CertificateFiles { certificate: file.clone(), key: file }, is_issued: true }
        }));
    }
    if sources.is_empty() {
        let files = development_folder().map(|folder| DevelopmentCertificate::in_folder(&folder));
        let files = files.filter(|files| files.certificate.exists()).ok_or(
            "tls.certificates: RTMPS and HTTPS need a certificate; `fanfare dev-cert` makes one for this machine",
        )?;
        let files = CertificateFiles { certificate: files.certificate, key: files.key };
        sources.push(Source { files, is_issued: false });
    }
    Ok(sources)
}

fn report(certificate: &CertifiedKey, file: &Path) -> CertificateReport {
    let facts = certificate.end_entity_cert().ok().and_then(|der| Facts::of(der));
    let (name, expires_at) = facts.map_or((None, 0), |facts| (facts.name, facts.not_after));
    CertificateReport { name: name.unwrap_or_else(|| file.display().to_string()), expires_at }
}

/// Keys of session tickets, which all cores share and certificates may come and go under: they are replaced by
/// themselves. But a client that comes back with a ticket is not asked for its certificate again, so the keys are others
/// once other authorities sign the certificates of clients.
#[derive(Default)]
pub struct Sessions(Mutex<Option<Tickets>>);

struct Tickets {
    /// The authorities that clients with these tickets had to have a certificate of; none if they needed none.
    of_clients: Vec<CertificateDer<'static>>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl Sessions {
    fn ticketer(&self, of_clients: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ProducesTickets>, String> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tickets.as_ref().filter(|known| known.of_clients == of_clients) {
            return Ok(known.ticketer.clone());
        }
        let ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| format!("no keys for session tickets: {error}"))?;
        *tickets = Some(Tickets { of_clients, ticketer: ticketer.clone() });
        Ok(ticketer)
    }
}

/// The cheapest ones on a processor that has AES in hardware.
const AES_128: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // 256 bits cost an eighth more for each byte of each player.
    provider.cipher_suites.sort_by_key(|suite| !AES_128.contains(&suite.suite()));
    Arc::new(provider)
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
        let TlsConfigs { rtmps, https, .. } = load(&config, &Sessions::default()).unwrap().unwrap();
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
