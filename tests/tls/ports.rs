//! Peers on the wrong port, and peers that do not finish: each is closed, and the log says why.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::certificates::{Certificate, start};
use crate::support::{Clip, Player, Publisher, Relay, SOON, assert_gap_free, packets};
use crate::tls_client::{connect, trusting};

/// Sends these bytes, and waits until the relay closes. What it answered.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    // The relay may have closed by then.
    let _ = socket.write_all(bytes);
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// C0 and C1.
fn rtmp() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 1536];
    bytes[0] = 3;
    bytes
}

/// The first bytes of a client of TLS.
fn client_hello(certificate: &Certificate) -> Vec<u8> {
    let config = trusting(certificate.authority());
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n";

#[test]
fn a_log_line_says_what_a_peer_speaks_on_the_wrong_port() {
    let certificate = Certificate::local();
    let relay = start(&certificate, "");
    let hello = client_hello(&certificate);
    let cases = [
        (relay.rtmps_address(), &rtmp()[..], "the peer speaks plain RTMP, this port speaks TLS"),
        (relay.rtmps_address(), HTTP, "the peer speaks plain HTTP, this port speaks TLS"),
        (relay.https_address(), &rtmp(), "the peer speaks plain RTMP, this port speaks TLS"),
        (relay.https_address(), HTTP, "the peer speaks plain HTTP, this port speaks TLS"),
        (relay.address(), &hello, "the peer speaks TLS (rtmps), this port speaks plain RTMP"),
        (relay.http_address(), &hello, "the peer speaks TLS (https), this port speaks plain HTTP"),
        (relay.rtmps_address(), b"\0\0\0\0", "the peer speaks something else, this port speaks TLS"),
        (relay.https_address(), b"\0\0\0\0", "the peer speaks something else, this port speaks TLS"),
    ];
    for (number, (address, bytes, line)) in cases.into_iter().enumerate() {
        send(address, bytes);
        let same = cases[..number].iter().filter(|case| case.2 == line).count();
        let lines = relay.wait_for_logs(same + 1, &["closed: protocol violation", line], SOON);
        assert_eq!(lines.len(), same + 1, "{lines:?}");
    }
}

#[test]
fn what_breaks_the_rules_of_tls_is_answered_with_an_alert_on_both_ports() {
    let certificate = Certificate::local();
    let relay = start(&certificate, "");
    let mut changed = client_hello(&certificate);
    // A ServerHello.
    changed[5] = 2;
    let cases: [&[u8]; 3] = [&[0x16, 3, 1, 0xFF, 0xFF, 0, 0], &[0x16, 3, 1, 0, 0].repeat(10), &changed];
    for (number, bytes) in cases.into_iter().enumerate() {
        for address in [relay.rtmps_address(), relay.https_address()] {
            let answer = send(address, bytes);
            let alert = answer.windows(3).any(|window| window == [0x15, 3, 3]);
            assert!(alert, "case {number}: {answer:02x?}");
        }
    }
    relay.wait_for_logs(2 * cases.len(), &["closed: protocol violation", "TLS: "], SOON);
}

#[test]
fn peers_that_do_not_finish_the_handshake_are_closed_in_time_and_cost_a_player_nothing() {
    let certificate = Certificate::local();
    let relay = start(
        &certificate,
        "limits.handshake_timeout = '2s'\nhttp.header_timeout = '2s'\npublish.publisher_grace = '500ms'",
    );
    let clip = Clip::AUDIO_VIDEO;
    let player = Player::Rtmpdump.record(&relay, NAME);
    relay.wait_for_players(NAME, 1);
    let mut publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), NAME);
    relay.wait_for_publisher(NAME);
    let hello = client_hello(&certificate);
    let began = Instant::now();
    let mut half: Vec<TcpStream> = Vec::new();
    for address in [relay.rtmps_address(), relay.https_address()] {
        for len in [0, 1, 5, 100, hello.len()] {
            for is_half_closed in [false, true] {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.write_all(&hello[..len]).unwrap();
                if is_half_closed {
                    socket.shutdown(Shutdown::Write).unwrap();
                }
                half.push(socket);
            }
            // One that resets: closed with unread bytes, or at once.
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(&hello[..len]).unwrap();
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    for mut socket in half {
        socket.set_read_timeout(Some(SOON)).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    publisher.expect_success(clip.duration() + SOON);
    let published = packets(&clip.file());
    let recorded = player.finish(SOON);
    assert_gap_free("rtmpdump", &published, &recorded);
    assert_eq!(recorded.len(), published.len());
    assert_is_well(&relay, &certificate);
}

/// Both ports take clients.
fn assert_is_well(relay: &Relay, certificate: &Certificate) {
    for address in [relay.rtmps_address(), relay.https_address()] {
        connect(address, &trusting(certificate.authority())).unwrap();
    }
}

const NAME: &str = "live/stream";
