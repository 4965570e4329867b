//! The peers' side of TLS in virtual time. What a test puts into a socket is encrypted when the relay receives it, and
//! what the relay sends is decrypted when it arrives: the test itself sees neither.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};

/// The relay's configuration, and one of peers for each version.
pub struct Configs {
    pub server: Arc<ServerConfig>,
    clients: [Arc<ClientConfig>; 2],
}

/// TLS as one peer speaks it.
pub struct PeerTls {
    client: ClientConnection,
    /// Encrypted, and not received by the relay as yet.
    wire: VecDeque<u8>,
    /// Bytes of the content that is in `wire`, as long as any of it is.
    wire_content_bytes: usize,
    /// The peer announces its end (RFC 8446 §6.1), and has begun nothing that it does not finish. If not, it just goes.
    pub is_polite: bool,
    has_announced_end: bool,
    /// The relay has announced its end.
    pub relay_has_ended: bool,
    /// What the relay says is wrong.
    pub alert: Option<rustls::Error>,
}

impl Configs {
    /// The certificate is the same in all of a process, and so are the lengths of all handshakes: a run is the same each
    /// time, except for what is encrypted.
    pub fn new() -> Self {
        let (certificate, key) = certificate();
        let server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS12, &TLS13])
            .expect("known versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.clone_key());
        let mut server = server.expect("a certificate with its key");
        server.ticketer = aws_lc_rs::Ticketer::new().expect("keys for tickets");
        server.send_half_rtt_data = false;
        Self {
            server: Arc::new(server),
            clients: [&TLS13, &TLS12].map(|version| client(version, certificate)),
        }
    }
}

impl PeerTls {
    /// A client that trusts the relay, with TLS 1.2 or 1.3. It resumes earlier sessions.
    pub fn new(configs: &Configs, is_old: bool) -> Self {
        let config = configs.clients[usize::from(is_old)].clone();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(config, name).expect("a usable configuration");
        client.set_buffer_limit(None);
        Self {
            client,
            wire: VecDeque::new(),
            wire_content_bytes: 0,
            is_polite: true,
            has_announced_end: false,
            relay_has_ended: false,
            alert: None,
        }
    }

    /// Whether the relay could receive something that is no end. `is_last` if the peer closes its side after this.
    pub fn has_input(&self, has_content: bool, is_last: bool) -> bool {
        let has_end = is_last && self.is_polite && !self.has_announced_end;
        !self.wire.is_empty() || self.client.wants_write() || (self.is_ready() && (has_content || has_end))
    }

    /// Whether the peer, which has closed its side, has closed it by now: a polite one first says what it has to say.
    pub fn has_finished(&self) -> bool {
        !self.is_polite || self.is_ready()
    }

    /// The peer encrypts what it has to say, at most so much of it, unless something encrypted waits. `is_last` if nothing
    /// follows.
    pub fn encrypt(&mut self, content: &mut VecDeque<u8>, most: usize, is_last: bool) {
        if !self.wire.is_empty() {
            return;
        }
        self.wire_content_bytes = 0;
        if self.is_ready() && !content.is_empty() {
            let taken = super::take(content, most);
            self.client.writer().write_all(&taken).expect("no limit");
            self.wire_content_bytes = taken.len();
        }
        if is_last && self.is_polite && self.is_ready() && content.is_empty() && !self.has_announced_end {
            self.has_announced_end = true;
            self.client.send_close_notify();
        }
        let mut out = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut out).expect("a vector takes all");
        }
        self.wire.extend(out);
    }

    /// What the relay receives next.
    pub fn wire(&mut self) -> &mut VecDeque<u8> {
        &mut self.wire
    }

    /// Bytes of content that the relay has not received in whole.
    pub fn unread_bytes(&self) -> usize {
        if self.wire.is_empty() { 0 } else { self.wire_content_bytes }
    }

    /// What these bytes of the relay's contain.
    pub fn decrypt(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        while !bytes.is_empty() && self.alert.is_none() {
            self.client.read_tls(&mut bytes).expect("it is read as it comes");
            match self.client.process_new_packets() {
                Ok(state) => self.relay_has_ended |= state.peer_has_closed(),
                Err(alert @ rustls::Error::AlertReceived(_)) => self.alert = Some(alert),
                Err(error) => panic!("the relay sends what is no TLS: {error}"),
            }
            let mut some = [0; 16 << 10];
            while let Ok(len @ 1..) = self.client.reader().read(&mut some) {
                content.extend_from_slice(&some[..len]);
            }
        }
        content
    }

    /// Whether the handshake is done.
    pub fn is_ready(&self) -> bool {
        !self.client.is_handshaking()
    }

    /// New keys from now on, on both sides (RFC 8446 §4.6.3).
    pub fn refresh_keys(&mut self) {
        self.client.refresh_traffic_keys().expect("TLS 1.3, and the handshake is done");
    }
}

fn client(
    version: &'static SupportedProtocolVersion,
    trusted: &CertificateDer<'static>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
    Arc::new(builder.expect("a known version").with_root_certificates(roots).with_no_client_auth())
}

/// One key exchange, the cheapest one.
fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![aws_lc_rs::kx_group::X25519];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// Its signatures have the same length each time.
fn certificate() -> &'static (CertificateDer<'static>, PrivateKeyDer<'static>) {
    static MADE: OnceLock<(CertificateDer<'static>, PrivateKeyDer<'static>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        parameters.serial_number = Some(1.into());
        let certificate = parameters.self_signed(&key).expect("a certificate");
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    })
}
