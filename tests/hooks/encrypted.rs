//! A service at an `https://` address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use fanfare::rtmp::client::Role;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::peer::Rtmp;
use crate::support::Relay;

/// Its certificate is for `localhost` and 127.0.0.1, by an authority of its own. It agrees to everything.
fn start() -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
                let mut buffer = [0; 16 << 10];
                // A request comes in one or two records.
                while stream
                    .read(&mut buffer)
                    .is_ok_and(|count| count > 0 && !buffer[..count].ends_with(b"}"))
                {}
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n0");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
    address
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hooks/tls").join(name)
}

fn relay(host: &str, ca_file: &str) -> Relay {
    Relay::start(&format!("[hooks]\non_publish = ['https://{host}/']\nca_file = '{ca_file}'\n"))
}

#[test]
fn a_service_is_trusted_by_its_authority_and_its_name() {
    let address = start();
    let ca_file = file("ca.pem").display().to_string();
    for host in [address.to_string(), format!("localhost:{}", address.port())] {
        drop(Rtmp::started(&relay(&host, &ca_file), Role::Publish, "live/show"));
    }
    let other = format!("127.0.0.2:{}", address.port());
    for (host, ca_file, reason) in [
        (&address.to_string(), "", "UnknownIssuer"),
        (&address.to_string(), "/no/such/file", "hooks.ca_file: /no/such/file: No such file"),
        (&other, &ca_file, "refused"),
    ] {
        let (_, description) = Rtmp::refusal(&relay(host, ca_file), Role::Publish, "live/show");
        assert!(description.contains(reason), "{description}");
    }
}
