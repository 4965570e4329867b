//! A client that looks at the relay's certificates.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use fanfare::certificates::Facts;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::support::{Relay, peer};

/// What a relay served.
pub struct Served {
    pub facts: Facts,
}

/// Where it listens for RTMPS and HTTPS.
pub fn addresses(relay: &Relay) -> [SocketAddr; 2] {
    let summary = peer::get(relay, "/api/v1/summary").json();
    ["rtmps", "https"].map(|key| summary["listen"][key][0].as_str().unwrap().parse().unwrap())
}

/// Authorities in PEM.
pub fn trusting(pems: &[Vec<u8>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    }
    roots
}

/// Shakes hands as a client that asks for this name and trusts these authorities.
pub fn connect(address: SocketAddr, name: &str, roots: &RootCertStore) -> Result<Served, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider);
    shake_hands(address, name, Some(verifier.build().unwrap()))
}

/// What a client that trusts everything is served.
pub fn served(address: SocketAddr, name: &str) -> Facts {
    shake_hands(address, name, None).unwrap().facts
}

fn shake_hands(
    address: SocketAddr,
    name: &str,
    inner: Option<Arc<WebPkiServerVerifier>>,
) -> Result<Served, String> {
    let seen = Arc::new(Mutex::new(None));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let verifier = Recorder { inner, seen: seen.clone() };
    let config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    let host = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), host).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|error| error.to_string())?;
    }
    let der = seen.lock().unwrap().take().expect("the relay showed a certificate");
    Ok(Served { facts: Facts::of(&der).expect("a certificate") })
}

/// Verifies with another one, or not at all, and keeps what it was shown.
#[derive(Debug)]
struct Recorder {
    inner: Option<Arc<WebPkiServerVerifier>>,
    seen: Arc<Mutex<Option<Vec<u8>>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap() = Some(end_entity.to_vec());
        match &self.inner {
            Some(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
