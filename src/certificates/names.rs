//! Which certificate a client gets: by the host that it names (RFC 6066 §3).

use std::sync::Arc;

use rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Certificates, in the order of the configuration.
#[derive(Debug)]
pub(super) struct ByName(Vec<Arc<CertifiedKey>>);

impl ByName {
    /// Without a certificate, handshakes fail.
    pub(super) fn new(certificates: Vec<CertifiedKey>) -> Self {
        Self(certificates.into_iter().map(Arc::new).collect())
    }

    /// The first certificate for this host, or the first of all.
    fn choose(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let first = self.0.first();
        let Some(name) = host.and_then(|host| ServerName::try_from(host).ok()) else { return first };
        let is_for = |certificate: &&Arc<CertifiedKey>| {
            let parsed = certificate.end_entity_cert().ok().map(ParsedCertificate::try_from);
            parsed.and_then(Result::ok).is_some_and(|parsed| verify_server_name(&parsed, &name).is_ok())
        };
        self.0.iter().find(is_for).or(first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn certificate(name: &str) -> CertifiedKey {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        CertifiedKey::from_der(vec![made.cert.der().clone()], key, &super::super::provider()).unwrap()
    }

    #[test]
    fn a_client_gets_the_certificate_of_the_host_that_it_names() {
        let names = ["a.example", "*.b.example", "b.example"];
        let by_name = ByName::new(names.map(certificate).into());
        for (host, index) in [
            (Some("a.example"), 0),
            (Some("A.example"), 0),
            (Some("x.b.example"), 1),
            (Some("b.example"), 2),
            (Some("x.y.b.example"), 0),
            (Some("other.example"), 0),
            (Some("not a host"), 0),
            (None, 0),
        ] {
            assert!(Arc::ptr_eq(by_name.choose(host).unwrap(), &by_name.0[index]), "{host:?}");
        }
        assert!(ByName::new(Vec::new()).choose(Some("a.example")).is_none());
    }
}
