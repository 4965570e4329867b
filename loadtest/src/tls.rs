//! TLS on one connection, without I/O: rustls' buffered interface. Clients check no certificate unless they are given an
//! authority: what is loaded is on this machine, or the user's own.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, version,
};

/// What all connections of clients have in common: TLS 1.3, AES-128-GCM.
#[derive(Clone)]
pub struct Clients {
    config: Arc<ClientConfig>,
    host: ServerName<'static>,
}

/// How clients connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// A file of authorities in PEM. None: any certificate is accepted, and its signature is not looked at.
    pub authorities: Option<&'a Path>,
    /// Whether sessions are resumed; otherwise each connection has a full handshake, as one of a new client.
    pub resumes: bool,
}

/// One connection's TLS.
pub struct Tls(Connection);

impl Clients {
    /// Of a server that is called `host`.
    ///
    /// # Errors
    /// The host is no name, or the file has no authority, as one line.
    pub fn new(host: &str, trust: Trust<'_>) -> Result<Self, String> {
        let host = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider has cipher suites of TLS 1.3");
        let builder = match trust.authorities {
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)),
            Some(path) => builder.with_root_certificates(authorities(path)?),
        };
        let mut config = builder.with_no_client_auth();
        if !trust.resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self { config: Arc::new(config), host })
    }

    /// A connection that begins: its first message is to be sent.
    pub fn connect(&self) -> Tls {
        let connection = ClientConnection::new(self.config.clone(), self.host.clone());
        let mut connection = connection.expect("the name and the versions were checked");
        // What is written before the end of the handshake is kept until then: all of it.
        connection.set_buffer_limit(None);
        Tls(connection.into())
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The configuration of a server with one certificate: TLS 1.3, as [`Clients`].
///
/// # Errors
/// A file cannot be used, as one line.
pub fn server(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, secret);
    Ok(Arc::new(config.map_err(|error| format!("{}: {error}", certificate.display()))?))
}

impl Tls {
    /// The server's end of a connection.
    ///
    /// # Errors
    /// The configuration cannot be used, as one line.
    pub fn accept(config: Arc<ServerConfig>) -> Result<Self, String> {
        let mut connection = ServerConnection::new(config).map_err(explain)?;
        connection.set_buffer_limit(None);
        Ok(Self(connection.into()))
    }

    /// Whether the handshake is not over.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether the session is an earlier one's, once the handshake is over.
    pub fn is_resumed(&self) -> bool {
        self.0.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Takes what was received, and appends what it contains to `plain`. [`Tls::take_records`] may have an answer then.
    ///
    /// # Errors
    /// The peer broke a rule, or its certificate is not accepted, as one line.
    pub fn receive(&mut self, mut records: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        while !records.is_empty() {
            self.0.read_tls(&mut records).map_err(|error| format!("TLS: {error}"))?;
            let state = self.0.process_new_packets().map_err(explain)?;
            let begin = plain.len();
            plain.resize(begin + state.plaintext_bytes_to_read(), 0);
            // All of it is there.
            self.0.reader().read_exact(&mut plain[begin..]).map_err(|error| format!("TLS: {error}"))?;
            if state.peer_has_closed() {
                break;
            }
        }
        Ok(())
    }

    /// Encrypts `plain`, or keeps it until the handshake is over. [`Tls::take_records`] has the records.
    pub fn write(&mut self, plain: &[u8]) {
        self.0.writer().write_all(plain).expect("there is no limit on what is kept");
    }

    /// Appends the records that are to be sent to `out`.
    pub fn take_records(&mut self, out: &mut Vec<u8>) {
        while self.0.wants_write() {
            self.0.write_tls(out).expect("memory takes everything");
        }
    }

    /// Writes as many records as the socket takes. Returns whether that was all.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_records(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("is_handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

/// The cheapest of TLS 1.3 where the CPU knows AES.
fn provider() -> Arc<CryptoProvider> {
    let provider = aws_lc_rs::default_provider();
    let cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..provider })
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(format!("{}: no certificate", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn explain(error: rustls::Error) -> String {
    format!("TLS: {error}")
}

/// Accepts every certificate, at no cost.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
