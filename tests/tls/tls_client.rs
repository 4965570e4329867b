//! A client of TLS for what no program offers: which certificate it gets, whether it resumes, on which core it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::SOON;

/// An open connection.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Trusts this authority alone. Sessions are kept: connections with the same configuration resume them.
pub fn trusting(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Connects and shakes hands.
pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<Stream, rustls::Error> {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let name = ServerName::from(address.ip());
    let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
            return Err(inner.unwrap_or_else(|| panic!("the relay has closed: {error}")));
        }
    }
    Ok(stream)
}

/// Asks for this path, without chunks in the answer.
pub fn get(stream: &mut Stream, path: &str) {
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    stream.flush().unwrap();
}

/// The body of an answer, until the relay announces its end.
pub fn body(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the end is announced");
    let head = all.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    all.split_off(head + 4)
}

/// Waits for the ticket of TLS 1.3, which comes in records of its own.
pub fn take_ticket(stream: &mut Stream) {
    stream.sock.set_nonblocking(false).unwrap();
    stream.conn.read_tls(&mut stream.sock).unwrap();
    stream.conn.process_new_packets().unwrap();
}
