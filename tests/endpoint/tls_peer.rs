//! A peer of TLS whose moves a script chooses: for the tests, and as a fuzz target. It speaks TLS, cuts its records anywhere, and may change
//! bytes or send others. As long as it changes nothing, each side reads what the other one wrote.

use std::{
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

// From the crate that compiles this: the tests of the endpoint, and the fuzz target.
use super::{Pool, Tls, cryptography};

/// Runs one script: its first byte chooses version and start, each further one a move, some with an argument.
///
/// # Panics
/// The relay's side fails badly, holds much, or what it was sent or sends is not what the other side gets.
pub fn check_any_bytes(script: &[u8]) {
    let Some((&first, mut moves)) = script.split_first() else { return };
    let mut peer = Peer::new(first & 1 != 0);
    if first & 2 != 0 {
        peer.shake_hands();
    }
    while let Some((&what, rest)) = moves.split_first() {
        let (argument, rest) = rest.split_first().map_or((0, rest), |(&argument, rest)| (argument, rest));
        moves = rest;
        let is_over = match what % 9 {
            // These bytes, whatever they are.
            0 => {
                let (raw, rest) = moves.split_at(moves.len().min(usize::from(argument)));
                moves = rest;
                peer.is_honest &= raw.is_empty();
                peer.wire.extend_from_slice(raw);
                false
            }
            1 => peer.write(usize::from(argument) * 90),
            2 => peer.send(usize::from(argument) + 1),
            3 => peer.send(usize::MAX),
            4 => peer.change(argument, 1 << (what / 9 % 8)),
            5 => peer.read(),
            6 => peer.seal(usize::from(argument) * 70),
            7 => peer.refresh(argument),
            _ => peer.repeat(argument),
        };
        assert!(peer.relay.memory_bytes() < MAX_MEMORY_BYTES, "{} bytes", peer.relay.memory_bytes());
        if is_over {
            return;
        }
    }
    peer.send(usize::MAX);
}

/// Scripts that shake hands and talk, with the beginning of what a client sent in them.
pub fn seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let raw = &capture[..capture.len().min(48)];
    let whole =
        [1, 9, 3, 0, 5, 0, 3, 0, 5, 0, 6, 200, 1, 99, 2, 7, 2, 200, 3, 0, 7, 0, 3, 0, 6, 9, 7, 1, 3, 0];
    (0..4)
        .flat_map(|first| {
            let garbage = [&[first, 0, raw.len() as u8][..], raw].concat();
            [[&[first][..], &whole].concat(), garbage, [&[first][..], &whole, &[4, 30, 8, 3, 3, 0]].concat()]
        })
        .collect()
}

struct Peer {
    relay: Tls,
    client: ClientConnection,
    pool: Pool,
    /// What the client has said and the relay has not received.
    wire: Vec<u8>,
    /// What the client has written, and how much of it the relay has read.
    written: usize,
    opened: usize,
    /// Nothing of it has been changed.
    is_honest: bool,
    is_tls13: bool,
    refreshed: u32,
}

impl Peer {
    fn new(is_tls13: bool) -> Self {
        let (server, clients) = configs();
        let client = clients[usize::from(is_tls13)].clone();
        let mut client = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
        client.set_buffer_limit(None);
        let relay = Tls::new(server.clone()).unwrap();
        let (wire, pool) = (Vec::new(), Pool::default());
        Self { relay, client, pool, wire, written: 0, opened: 0, is_honest: true, is_tls13, refreshed: 0 }
    }

    fn shake_hands(&mut self) {
        while self.relay.is_shaking_hands() || self.client.is_handshaking() {
            self.send(usize::MAX);
            self.read();
        }
        assert!(self.relay.may_seal());
    }

    /// The client writes so many bytes.
    fn write(&mut self, len: usize) -> bool {
        let content: Vec<u8> = (self.written..self.written + len).map(content_at).collect();
        self.client.writer().write_all(&content).unwrap();
        self.written += len;
        false
    }

    /// The relay receives so many bytes of what the client has said. True if that was its end.
    fn send(&mut self, most: usize) -> bool {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.wire).unwrap();
        }
        let sent: Vec<u8> = self.wire.drain(..self.wire.len().min(most)).collect();
        if sent.is_empty() {
            return false;
        }
        match self.relay.open(&sent) {
            Ok(opened) => {
                // What is not changed is all there, and what is changed does not get through.
                let expected = self.opened..self.opened + opened.plain.len();
                assert!(
                    expected.end <= self.written && expected.map(content_at).eq(opened.plain.iter().copied())
                );
                self.opened += opened.plain.len();
                opened.has_ended
            }
            Err(error) => {
                assert!(!self.is_honest, "{error}");
                assert!(!self.relay.may_seal());
                self.relay.take_replies();
                true
            }
        }
    }

    /// The client reads what the relay has to say. True if that was an end.
    fn read(&mut self) -> bool {
        let replies = self.relay.take_replies();
        self.hear(&replies).is_none()
    }

    /// What these bytes contain; none where the client takes no more.
    fn hear(&mut self, mut bytes: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            // Nothing is taken after an end.
            self.client.read_tls(&mut bytes).ok().filter(|&taken| taken > 0)?;
            if let Err(error) = self.client.process_new_packets() {
                assert!(!self.is_honest, "{error}");
                return None;
            }
            let mut some = [0; 16 << 10];
            while let Ok(len @ 1..) = self.client.reader().read(&mut some) {
                plain.extend_from_slice(&some[..len]);
            }
        }
        Some(plain)
    }

    fn change(&mut self, at: u8, bit: u8) -> bool {
        let at = usize::from(at);
        if let Some(byte) = self.wire.get_mut(at) {
            *byte ^= bit;
            self.is_honest = false;
        }
        false
    }

    /// The relay sends so many bytes, if it may.
    fn seal(&mut self, len: usize) -> bool {
        let len = self.relay.record_bytes(len);
        if !self.relay.may_seal() || len == 0 {
            return false;
        }
        let content: Vec<u8> = (0..len).map(content_at).collect();
        let sealed = self.relay.seal(&content, &self.pool).expect("it may");
        let Some(plain) = self.hear(&sealed) else { return true };
        assert!(plain == content);
        false
    }

    /// New keys, or an end.
    fn refresh(&mut self, which: u8) -> bool {
        match which % 4 {
            0 if self.is_tls13 && !self.client.is_handshaking() => {
                self.client.refresh_traffic_keys().unwrap();
                // A relay may refuse too many.
                self.refreshed += 1;
                self.is_honest &= self.refreshed < 32;
            }
            1 => {
                let is_early = self.relay.is_shaking_hands() || self.client.is_handshaking();
                self.client.send_close_notify();
                if is_early {
                    // In the handshake it is a fatal alert, and the client takes nothing more.
                    self.is_honest = false;
                    self.send(usize::MAX);
                    return true;
                }
            }
            2 => self.relay.close(),
            _ => {}
        }
        false
    }

    /// The first bytes come twice.
    fn repeat(&mut self, len: u8) -> bool {
        let len = usize::from(len).min(self.wire.len());
        self.is_honest &= len == 0;
        self.wire.extend_from_within(..len);
        false
    }
}

fn content_at(at: usize) -> u8 {
    (at % 251) as u8
}

/// The relay's configuration, and those of clients of TLS 1.2 and 1.3.
fn configs() -> &'static (Arc<ServerConfig>, [Arc<ClientConfig>; 2]) {
    static MADE: OnceLock<(Arc<ServerConfig>, [Arc<ClientConfig>; 2])> = OnceLock::new();
    MADE.get_or_init(|| {
        let provider = Arc::new(cryptography::default_provider());
        let certificate = CertificateDer::from_pem_slice(include_bytes!("../hooks/tls/server.pem"));
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../hooks/tls/server.key")).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS12, &TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap()], key);
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(include_bytes!("../hooks/tls/ca.pem"));
        roots.add(authority.unwrap()).unwrap();
        let clients = [&TLS12, &TLS13].map(|version| {
            let builder = ClientConfig::builder_with_provider(provider.clone());
            let builder = builder.with_protocol_versions(&[version]).unwrap();
            Arc::new(builder.with_root_certificates(roots.clone()).with_no_client_auth())
        });
        (Arc::new(server.unwrap()), clients)
    })
}

/// What one connection may hold: a message that has not come whole, and what is to be answered.
const MAX_MEMORY_BYTES: usize = 400 << 10;
