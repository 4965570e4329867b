//! TLS on one connection, without I/O: records in, what they contain and what is to be answered out, by rustls'
//! unbuffered interface. What a player is sent is encrypted from the stream's log into the buffer that is sent.

use std::{mem, sync::Arc};

use bytes::Bytes;
use rustls::{
    HandshakeKind, ServerConfig,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use super::{handshakes::HandshakeResult, sealed::Pool};

/// What one send encrypts at most, bytes: one record of the largest size (RFC 8446 §5.1). A player whose socket takes
/// nothing holds no more than this.
pub const RECORD_BYTES: usize = 16 << 10;
/// What a record has besides its content: header, explicit nonce, type and tag of any cipher of TLS 1.2 and 1.3.
const OVERHEAD_BYTES: usize = 5 + 8 + 1 + 16;
/// Records at the start of a connection have this content, so that the first frames can be decrypted before a whole
/// window of TCP has come: two segments of Ethernet.
const FIRST_RECORD_BYTES: usize = 2_800;
/// What is sent in such records, bytes.
const START_BYTES: u64 = 64 << 10;
/// What a peer may send that is no whole handshake message or record, bytes: a chain of client certificates.
const MAX_INCOMING_BYTES: usize = 64 << 10;
/// The type of a record with a handshake message that is not encrypted.
const HANDSHAKE: u8 = 0x16;
/// Messages that a peer may send without content and without need, at a time: key updates, tickets, empty records.
const MAX_EMPTY_STEPS: usize = 64;

/// One connection's TLS.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// A record or a handshake message that has not come whole: rustls keeps places in it, so each call must be given all
    /// of it, and nothing else.
    incoming: Vec<u8>,
    /// The peer's first bytes have come.
    has_begun: bool,
    /// Records of the relay itself: handshake, alerts, key updates. To be sent before anything else.
    replies: Vec<u8>,
    sealed_bytes: u64,
    /// How the handshake ended, until that is counted.
    handshake: Option<HandshakeResult>,
    /// An error, or the relay's own end: rustls may not be called again, as it says by failed assertions.
    is_over: bool,
    may_seal: bool,
}

/// What came in some records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// What they contain.
    pub plain: Bytes,
    /// The peer has said that it sends nothing more.
    pub has_ended: bool,
}

/// What a peer did wrong, or what keeps TLS from going on.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// By the protocol's rules.
    #[error("TLS: {0}")]
    Protocol(#[from] rustls::Error),
    /// The first bytes are none of TLS.
    #[error("the peer speaks {0}, this port speaks TLS")]
    NotTls(&'static str),
    /// A message that is too large, or too many that have no content.
    #[error("TLS: {0}")]
    Excess(&'static str),
    /// After an error, or after the end.
    #[error("TLS: the connection is over")]
    Over,
    /// The keys are used up, and the peer's version has no new ones.
    #[error("TLS: no more can be encrypted with these keys")]
    UsedUp,
}

impl Tls {
    /// A connection that begins.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            has_begun: false,
            replies: Vec::new(),
            sealed_bytes: 0,
            handshake: None,
            is_over: false,
            may_seal: false,
        })
    }

    /// Whether the handshake is not over: what comes costs much more time than later.
    pub fn is_shaking_hands(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// How the handshake ended, once.
    pub fn take_handshake(&mut self) -> Option<HandshakeResult> {
        self.handshake.take()
    }

    /// Whether content can be encrypted by now.
    pub fn may_seal(&self) -> bool {
        self.may_seal && !self.is_over
    }

    /// What the peer chose of ALPN (RFC 7301), once its first message has come.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Memory beyond the connection's own, bytes.
    pub fn memory_bytes(&self) -> usize {
        mem::size_of::<Self>() + self.incoming.capacity() + self.replies.capacity()
    }

    /// Takes what came from the socket, and opens it. What comes after an error or after [`Tls::close`] is dropped.
    ///
    /// # Errors
    /// The peer broke a rule, once: what [`Tls::take_replies`] has then tells it so.
    pub fn open(&mut self, bytes: &[u8]) -> Result<Opened, TlsError> {
        if self.is_over {
            return Ok(Opened::default());
        }
        let was_shaking_hands = self.is_shaking_hands();
        let opened = self.open_records(bytes);
        self.is_over = opened.is_err();
        if was_shaking_hands && opened.is_err() {
            self.handshake = Some(HandshakeResult::Failed);
        } else if was_shaking_hands && !self.is_shaking_hands() {
            let is_resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
            self.handshake = Some(if is_resumed { HandshakeResult::Resumed } else { HandshakeResult::Full });
        }
        opened
    }

    fn open_records(&mut self, bytes: &[u8]) -> Result<Opened, TlsError> {
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some(spoken) = other_protocol(bytes)
        {
            return Err(TlsError::NotTls(spoken));
        }
        self.incoming.extend_from_slice(bytes);
        let opened = self.process();
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        } else if self.incoming.len() > MAX_INCOMING_BYTES {
            return Err(TlsError::Excess("a message of more than 64 KiB"));
        }
        opened
    }

    fn process(&mut self) -> Result<Opened, TlsError> {
        let mut plain = Vec::new();
        let mut has_ended = false;
        let mut incoming = mem::take(&mut self.incoming);
        let mut used = 0;
        let mut empty_steps = 0;
        let outcome = loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut incoming[used..]);
            let mut discarded = discard;
            let state = match state {
                Ok(state) => state,
                Err(error) => break Err(TlsError::Protocol(error)),
            };
            let step = match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    let before = plain.len();
                    loop {
                        match traffic.next_record() {
                            Some(Ok(record)) => {
                                discarded += record.discard;
                                plain.extend_from_slice(record.payload);
                            }
                            Some(Err(error)) => break Err(TlsError::Protocol(error)),
                            None => break Ok(plain.len() > before),
                        }
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut data, &mut self.replies).map(|()| false)
                }
                ConnectionState::TransmitTlsData(mut data) => {
                    self.may_seal |= data.may_encrypt_app_data().is_some();
                    data.done();
                    Ok(false)
                }
                ConnectionState::WriteTraffic(_) => {
                    self.may_seal = true;
                    used += discarded;
                    break Ok(());
                }
                ConnectionState::PeerClosed => {
                    has_ended = true;
                    used += discarded;
                    break Ok(());
                }
                ConnectionState::BlockedHandshake | ConnectionState::Closed => {
                    used += discarded;
                    break Ok(());
                }
                // No early data is offered.
                _ => Err(TlsError::Excess("early data")),
            };
            used += discarded;
            match step {
                Ok(true) => empty_steps = 0,
                Ok(false) => empty_steps += 1,
                Err(error) => break Err(error),
            }
            if empty_steps > MAX_EMPTY_STEPS {
                break Err(TlsError::Excess("too many messages without content"));
            }
        };
        if outcome.is_err() {
            self.encode_alert(&mut incoming[used..]);
        } else {
            incoming.drain(..used);
            self.incoming = incoming;
        }
        outcome.map(|()| Opened { plain: plain.into(), has_ended })
    }

    /// After an error: the alert that rustls has for the peer, and what it had before that. Nothing else is done with the
    /// connection then, as rustls wants it.
    fn encode_alert(&mut self, incoming: &mut [u8]) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(incoming).state
        {
            let at = self.replies.len();
            if encode(&mut data, &mut self.replies).is_err() || self.replies.get(at) != Some(&HANDSHAKE) {
                return;
            }
        }
    }

    /// Whether the relay's own records wait.
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// The relay's own records, to be sent as they are, before anything else.
    pub fn take_replies(&mut self) -> Bytes {
        mem::take(&mut self.replies).into()
    }

    /// Records that [`Tls::take_replies`] or [`Tls::seal`] gave and that the socket has not taken: they go first.
    pub fn put_back(&mut self, records: &[u8]) {
        self.replies.splice(..0, records.iter().copied());
    }

    /// How much of `len` bytes one send takes.
    pub fn record_bytes(&self, len: usize) -> usize {
        let most = if self.sealed_bytes < START_BYTES { FIRST_RECORD_BYTES } else { RECORD_BYTES };
        len.min(most)
    }

    /// Encrypts `content`, at most [`Tls::record_bytes`] of it, into a buffer of the pool.
    ///
    /// # Errors
    /// The handshake is not over, or the keys are used up.
    pub fn seal(&mut self, content: &[u8], pool: &Pool) -> Result<Bytes, TlsError> {
        if self.is_over {
            return Err(TlsError::Over);
        }
        let sealed = self.seal_now(content, pool);
        self.is_over = sealed.is_err();
        sealed
    }

    fn seal_now(&mut self, content: &[u8], pool: &Pool) -> Result<Bytes, TlsError> {
        let mut buffer = pool.take(content.len() + OVERHEAD_BYTES);
        let written = loop {
            // What has come was processed as far as it can be: nothing is discarded.
            match self.connection.process_tls_records(&mut self.incoming).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    match traffic.encrypt(content, buffer.space()) {
                        Ok(written) => break written,
                        Err(EncryptError::InsufficientSize(more)) => {
                            buffer = pool.take(more.required_size);
                        }
                        Err(EncryptError::EncryptExhausted) => return Err(TlsError::UsedUp),
                    }
                }
                // A key update: what is encrypted from now on comes after it, in the same buffer.
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut self.replies)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(TlsError::Protocol(rustls::Error::HandshakeNotComplete)),
            }
        };
        self.sealed_bytes += content.len() as u64;
        let sealed = buffer.filled(written);
        if self.replies.is_empty() {
            return Ok(sealed);
        }
        let mut both = mem::take(&mut self.replies);
        both.extend_from_slice(&sealed);
        Ok(both.into())
    }

    /// Says that nothing more is sent (RFC 8446 §6.1), once.
    pub fn close(&mut self) {
        if !self.may_seal() {
            return;
        }
        while let Ok(state) = self.connection.process_tls_records(&mut self.incoming).state {
            match state {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let mut alert = [0; OVERHEAD_BYTES + 2];
                    if let Ok(written) = traffic.queue_close_notify(&mut alert) {
                        self.replies.extend_from_slice(&alert[..written]);
                    }
                    break;
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    if encode(&mut data, &mut self.replies).is_err() {
                        break;
                    }
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => break,
            }
        }
        self.is_over = true;
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("is_shaking_hands", &self.is_shaking_hands()).finish_non_exhaustive()
    }
}

fn encode<Data>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, Data>,
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let len = out.len();
    let mut room = 256;
    loop {
        out.resize(len + room, 0);
        match data.encode(&mut out[len..]) {
            Ok(written) => {
                out.truncate(len + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(more)) => room = more.required_size,
            Err(EncodeError::AlreadyEncoded) => {
                out.truncate(len);
                return Ok(());
            }
        }
    }
}

/// What a peer speaks whose first bytes are none of TLS: ports get mixed up.
fn other_protocol(first: &[u8]) -> Option<&'static str> {
    match first {
        [0x16 | 0x15, ..] | [] => None,
        [3 | 6 | 8 | 9, ..] => Some("plain RTMP"),
        [b'A'..=b'Z', ..] => Some("plain HTTP"),
        _ => Some("something else"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
        pki_types::{PrivateKeyDer, ServerName},
        version::{TLS12, TLS13},
    };

    use super::*;

    /// A configuration with a certificate for `localhost`, and one of a client that trusts it.
    fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }

    fn client_of(config: Arc<ClientConfig>) -> ClientConnection {
        ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap()
    }

    fn pair(version: &'static SupportedProtocolVersion) -> (Tls, ClientConnection) {
        let (server, client) = configs(version);
        (Tls::new(server).unwrap(), client_of(client))
    }

    fn said(client: &mut ClientConnection) -> Vec<u8> {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        out
    }

    fn hears(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
            let mut some = [0; 64 << 10];
            while let Ok(len @ 1..) = client.reader().read(&mut some) {
                plain.extend_from_slice(&some[..len]);
            }
        }
        Ok(plain)
    }

    /// Exchanges what both have to say, `cut` bytes at a time to the relay; what the client said in the end.
    fn exchange(tls: &mut Tls, client: &mut ClientConnection, cut: usize) -> Vec<u8> {
        let mut plain = Vec::new();
        loop {
            let out = said(client);
            if out.is_empty() && !tls.has_replies() {
                return plain;
            }
            for piece in out.chunks(cut) {
                plain.extend_from_slice(&tls.open(piece).unwrap().plain);
            }
            let replies = tls.take_replies();
            assert!(hears(client, &replies).unwrap().is_empty());
        }
    }

    fn seal_all(tls: &mut Tls, content: &[u8]) -> (Vec<u8>, usize) {
        let pool = Pool::default();
        let (mut sealed, mut rest, mut records) = (Vec::new(), content, 0);
        while !rest.is_empty() {
            let len = tls.record_bytes(rest.len());
            sealed.extend_from_slice(&tls.seal(&rest[..len], &pool).unwrap());
            (rest, records) = (&rest[len..], records + 1);
        }
        (sealed, records)
    }

    #[test]
    fn what_one_side_says_the_other_hears_wherever_it_is_cut() {
        for version in [&TLS12, &TLS13] {
            for cut in (1..60).chain([100, 1_000, 20_000]) {
                let (mut tls, mut client) = pair(version);
                assert!(tls.is_shaking_hands() && !tls.may_seal());
                client.writer().write_all(b"command").unwrap();
                assert_eq!(exchange(&mut tls, &mut client, cut), b"command");
                assert!(!tls.is_shaking_hands() && tls.may_seal());
                let content: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
                let (sealed, records) = seal_all(&mut tls, &content);
                assert_eq!(records, 64 * 1024 / FIRST_RECORD_BYTES + 1 + 9, "small ones come first");
                assert!(hears(&mut client, &sealed).unwrap() == content);
                client.set_buffer_limit(None);
                client.writer().write_all(&content).unwrap();
                let mut plain = Vec::new();
                for piece in said(&mut client).chunks(cut.max(7)) {
                    plain.extend_from_slice(&tls.open(piece).unwrap().plain);
                }
                assert!(plain == content);
                assert!(tls.incoming.capacity() == 0, "nothing is kept between two records");
            }
        }
    }

    #[test]
    fn each_side_tells_the_other_that_it_sends_nothing_more() {
        for version in [&TLS12, &TLS13] {
            let (mut tls, mut client) = pair(version);
            exchange(&mut tls, &mut client, 1_000);
            client.send_close_notify();
            assert!(tls.open(&said(&mut client)).unwrap().has_ended);
            assert!(tls.may_seal(), "the other direction goes on");
            let (sealed, _) = seal_all(&mut tls, b"frame");
            tls.close();
            tls.close();
            let all = [sealed, tls.take_replies().to_vec()].concat();
            assert_eq!(hears(&mut client, &all).unwrap(), b"frame");
            assert_eq!(client.reader().read(&mut [0; 10]).unwrap(), 0, "an end that was announced");
            assert!(!tls.may_seal() && !tls.has_replies());
        }
    }

    /// As when a connection lingers: what comes is read, and changes nothing.
    #[test]
    fn after_an_error_or_its_own_end_nothing_that_comes_has_any_effect() {
        let pool = Pool::default();
        for version in [&TLS12, &TLS13] {
            for end in 0..5 {
                let (mut tls, mut client) = pair(version);
                let hello = said(&mut client);
                match end {
                    // In the middle of a handshake message, whose part stays.
                    0 => assert!(
                        tls.open(&hello[..20]).is_ok()
                            && tls.open(&[0x17, 9, 9, 0, 1, 0].repeat(60)).is_err()
                    ),
                    1 => assert!(tls.open(b"no TLS").is_err()),
                    _ => {
                        assert!(tls.open(&hello).is_ok());
                        let replies = tls.take_replies();
                        hears(&mut client, &replies).unwrap();
                        exchange(&mut tls, &mut client, 1_000);
                        match end {
                            2 => tls.close(),
                            3 => assert!(tls.open(&[0x17, 3, 3, 0, 30, 1].repeat(20)).is_err()),
                            _ => {
                                tls.close();
                                assert!(
                                    tls.open(&[0x17, 3, 3, 0, 30, 1].repeat(20)).is_ok(),
                                    "it is dropped"
                                );
                            }
                        }
                    }
                }
                let more =
                    [&hello[..], &[0x16, 3, 3, 0, 4, 1, 0, 0, 0], &[0x15, 3, 3, 0, 2, 1, 0], &[0; 3_000]];
                for bytes in more {
                    assert_eq!(tls.open(bytes).unwrap(), Opened::default());
                    assert!(!tls.may_seal() && matches!(tls.seal(b"frame", &pool), Err(TlsError::Over)));
                    tls.close();
                }
                assert!(tls.memory_bytes() < 20_000);
            }
        }
    }

    #[test]
    fn a_peer_that_speaks_no_tls_is_told_apart() {
        let cases: [(&[u8], &str); 4] = [
            (b"\x03\0\0\0\0", "the peer speaks plain RTMP, this port speaks TLS"),
            (b"GET / HTTP/1.1\r\n\r\n", "the peer speaks plain HTTP, this port speaks TLS"),
            (b"\0\0\0", "the peer speaks something else, this port speaks TLS"),
            (b"\x16\x03\x01\0\x05hello", "TLS: "),
        ];
        for (bytes, error) in cases {
            let (mut tls, _) = pair(&TLS13);
            let found = tls.open(bytes).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
            assert!(!tls.may_seal());
        }
    }

    #[test]
    fn how_a_handshake_ended_is_said_once() {
        for version in [&TLS12, &TLS13] {
            let (server, client) = configs(version);
            for result in [HandshakeResult::Full, HandshakeResult::Resumed] {
                let (mut tls, mut client) = (Tls::new(server.clone()).unwrap(), client_of(client.clone()));
                assert_eq!(tls.take_handshake(), None);
                exchange(&mut tls, &mut client, 1_000);
                assert_eq!((tls.take_handshake(), tls.take_handshake()), (Some(result), None));
            }
            let (mut tls, _) = pair(version);
            assert!(tls.open(b"GET / HTTP/1.1").is_err());
            assert_eq!(tls.take_handshake(), Some(HandshakeResult::Failed));
        }
    }

    #[test]
    fn a_record_that_was_changed_ends_the_connection_with_an_alert() {
        for version in [&TLS12, &TLS13] {
            let (mut tls, mut client) = pair(version);
            exchange(&mut tls, &mut client, 1_000);
            client.writer().write_all(b"command").unwrap();
            let mut changed = said(&mut client);
            *changed.last_mut().unwrap() ^= 1;
            assert!(matches!(tls.open(&changed), Err(TlsError::Protocol(_))));
            let alert = hears(&mut client, &tls.take_replies()).unwrap_err();
            assert!(matches!(alert, rustls::Error::AlertReceived(_)), "{alert}");
        }
    }

    #[test]
    fn new_keys_are_taken_and_a_flood_of_them_ends_the_connection() {
        let (mut tls, mut client) = pair(&TLS13);
        exchange(&mut tls, &mut client, 1_000);
        for _ in 0..3 {
            client.refresh_traffic_keys().unwrap();
            client.writer().write_all(b"command").unwrap();
            assert_eq!(tls.open(&said(&mut client)).unwrap().plain, "command");
            let (sealed, _) = seal_all(&mut tls, b"frame");
            assert_eq!(hears(&mut client, &sealed).unwrap(), b"frame");
        }
        let mut flood = Vec::new();
        for _ in 0..10_000 {
            client.refresh_traffic_keys().unwrap();
            flood.extend_from_slice(&said(&mut client));
        }
        let mut outcome = Ok(Opened::default());
        for piece in flood.chunks(4_096) {
            outcome = tls.open(piece);
            assert!(tls.memory_bytes() < 100_000);
            if outcome.is_err() {
                break;
            }
        }
        assert!(outcome.is_err(), "{outcome:?}");
    }

    #[test]
    fn a_peer_never_makes_it_hold_much_and_no_bytes_make_it_fail_badly() {
        let mut random = 1_u32;
        for round in 0..300 {
            let (mut tls, mut client) = pair(&TLS13);
            if round % 2 == 0 {
                exchange(&mut tls, &mut client, 1_000);
            }
            for _ in 0..40 {
                let bytes: Vec<u8> = (0..2_000)
                    .map(|at| {
                        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        match at % 1_000 {
                            0 => [0x16, 0x17, 0x15, 0x14][random as usize >> 30],
                            1 | 2 => 3,
                            _ => (random >> 24) as u8,
                        }
                    })
                    .collect();
                if tls.open(&bytes).is_err() {
                    break;
                }
                assert!(tls.memory_bytes() < 200_000);
            }
        }
    }
}
