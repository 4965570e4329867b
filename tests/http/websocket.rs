//! Streams over WebSocket: the opening handshake (RFC 6455 §4.2). The messages are tested elsewhere.

use std::io::Write;

use crate::peer::{Http, Response, Rtmp};
use crate::support::Relay;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn open(relay: &Relay, request_line: &str, headers: &str) -> (Response, Http) {
    let mut http = Http::connect(relay.http_address());
    http.say(&format!("{request_line}\r\nHost: relay\r\n{headers}\r\n"));
    (http.head(), http)
}

fn opening(more: &str) -> String {
    format!(
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n{KEY}{more}"
    )
}

#[test]
fn the_first_message_of_a_websocket_is_the_header_of_an_flv_file() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let (head, mut http) = open(&relay, "GET /live/a.flv HTTP/1.1", &opening(""));
    assert_eq!(head.status, 101);
    assert_eq!(head.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!((head.header("upgrade"), head.header("connection")), ("websocket", "Upgrade"));
    // FIN, binary, 13 bytes, unmasked.
    assert_eq!(http.exactly(2), [0x82, 13]);
    assert_eq!(http.exactly(4), b"FLV\x01");
    http.until(b"first");
}

#[test]
fn an_invalid_websocket_handshake_is_refused() {
    let relay = Relay::start("http.allow_origins = ['https://site.example']");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let get = "GET /live/a.flv HTTP/1.1";
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let (old, _) = open(&relay, get, &format!("{upgrade}{KEY}Sec-WebSocket-Version: 8\r\n"));
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, "13"));
    for (line, headers, status) in [
        (get, format!("{upgrade}{KEY}"), 426),
        (get, format!("{upgrade}Sec-WebSocket-Version: 13\r\n"), 400),
        (get, format!("{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        (get, opening("").replace("keep-alive, Upgrade", "keep-alive"), 400),
        ("GET /live/a.flv HTTP/1.0", opening(""), 400),
        ("GET /live/nobody.flv HTTP/1.1", opening(""), 404),
        (get, opening("Origin: https://evil.example\r\n"), 403),
        (get, opening("Origin: null\r\n"), 403),
    ] {
        assert_eq!(open(&relay, line, &headers).0.status, status, "{line} {headers}");
    }
    for origin in ["https://site.example", "http://relay"] {
        assert_eq!(open(&relay, get, &opening(&format!("Origin: {origin}\r\n"))).0.status, 101, "{origin}");
    }
}

#[test]
fn the_first_offered_subprotocol_is_chosen() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    for (offer, chosen) in [
        ("", ""),
        ("Sec-WebSocket-Protocol: flv\r\n", "flv"),
        ("Sec-WebSocket-Protocol: v2.flv, flv\r\n", "v2.flv"),
        ("Sec-WebSocket-Protocol: flv\r\nSec-WebSocket-Protocol: other\r\n", "flv"),
        ("Sec-WebSocket-Protocol: \r\n", ""),
    ] {
        let (head, _) = open(&relay, "GET /live/a.flv HTTP/1.1", &opening(offer));
        assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, chosen), "{offer}");
    }
}

#[test]
fn a_message_that_comes_together_with_the_handshake_is_processed() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut http = Http::connect(relay.http_address());
    // A ping with the payload "hi" and a mask of zeros.
    let request = format!("GET /live/a.flv HTTP/1.1\r\nHost: relay\r\n{}\r\n", opening(""));
    let mut bytes = request.into_bytes();
    bytes.extend([0x89, 0x82, 0, 0, 0, 0]);
    bytes.extend(b"hi");
    http.socket.write_all(&bytes).unwrap();
    assert_eq!(http.head().status, 101);
    http.until(&[0x8A, 2, b'h', b'i']);
}
