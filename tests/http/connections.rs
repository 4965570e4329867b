//! Connections to the HTTP port: reuse, timeouts, limits, refusals.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::peer::{Http, ask_with, bearer, get};
use crate::support::{Relay, SOON, eventually};

#[test]
fn a_connection_serves_several_requests_also_pipelined_ones() {
    let relay = Relay::start("");
    let mut http = Http::connect(relay.http_address());
    for _ in 0..3 {
        http.say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        let response = http.response();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
    http.say(&"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5));
    for _ in 0..5 {
        assert_eq!(http.response().text(), "ready");
    }
}

#[test]
fn a_request_header_that_does_not_end_in_time_ends_the_connection() {
    let relay = Relay::start("http.header_timeout = '1s'");
    let mut silent = Http::connect(relay.http_address());
    let mut slow = Http::connect(relay.http_address());
    let mut idle = Http::connect(relay.http_address());
    idle.say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.response().status, 200);
    let since = Instant::now();
    slow.say("GET /healthz HTTP/1.1\r\nHost: x\r\n");
    // A line every 50 ms must not extend the timeout.
    while since.elapsed() < Duration::from_secs(4) && slow.socket.write_all(b"X: y\r\n").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(since.elapsed() < Duration::from_secs(4), "a header with a line every 50 ms was accepted");
    assert_eq!(silent.until_closed(), b"");
    assert_eq!(idle.until_closed(), b"");
    assert!(since.elapsed() < SOON);
}

#[test]
fn a_request_header_that_is_too_large_is_refused() {
    let relay = Relay::start("");
    for head in [format!("X: {}\r\n", "x".repeat(40 << 10)), "X: y\r\n".repeat(200)] {
        let mut http = Http::connect(relay.http_address());
        // The relay may close the connection before everything is sent.
        let _ = http.socket.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes());
        assert_eq!(http.head().status, 431);
        http.until_closed();
    }
    for nonsense in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/3.0\r\n\r\n"] {
        let mut http = Http::connect(relay.http_address());
        http.say(nonsense);
        assert_eq!(http.head().status, 400, "{nonsense:?}");
    }
    // A long token and many cookies are accepted.
    assert_eq!(ask_with(&relay, "GET", "/", &format!("Cookie: {}\r\n", "x".repeat(10 << 10))).status, 200);
}

#[test]
fn rtmp_and_tls_at_the_http_port_are_named_in_the_log_which_they_do_not_flood() {
    let relay = Relay::start("log.lines_per_network = 3");
    let first_bytes = |bytes: &[u8]| {
        let mut http = Http::connect(relay.http_address());
        http.socket.write_all(bytes).unwrap();
        let peer = http.socket.local_addr().unwrap();
        assert_eq!(http.head().status, 400);
        format!("peer={peer} ")
    };
    let rtmp = [&[3][..], &[0; 1536]].concat();
    let client_hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    let line = |bytes| relay.wait_for_log(&["WARN", "closed: protocol violation", &first_bytes(bytes)]);
    let named = line(&rtmp);
    assert!(named.contains("detail=\"the peer speaks RTMP, this port speaks HTTP\""), "{named}");
    let named = line(client_hello);
    assert!(named.contains("detail=\"the peer speaks TLS (https), this port speaks plain HTTP\""), "{named}");
    line(&rtmp);
    // What is neither is logged at debug, and takes no line from these.
    first_bytes(b"\0\0\0\0\r\n\r\n");
    (0..5).for_each(|_| drop(first_bytes(&rtmp)));
    relay.wait_for_log(&["similar lines suppressed", "kind=\"violation\"", "suppressed=5"]);
    assert_eq!(relay.log().iter().filter(|line| line.contains("protocol violation")).count(), 3);
}

#[test]
fn one_connection_over_the_limit_is_refused_until_another_one_ends() {
    let relay = Relay::start("limits.connections = 3");
    let mut inside: Vec<Http> = (0..3).map(|_| Http::connect(relay.http_address())).collect();
    for http in &mut inside {
        http.say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(http.response().status, 200);
    }
    let refused = get(&relay, "/healthz");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.json()["detail"], "limits.connections is reached");
    relay.wait_for_log(&["refused", "limits.connections "]);
    // Publishers and players count as well.
    let mut rtmp = Http::connect(relay.address());
    assert_eq!(rtmp.until_closed(), b"");
    inside.pop();
    eventually("there is room again", SOON, || (get(&relay, "/healthz").status == 200).then_some(()));
}

#[test]
fn a_client_that_sends_requests_and_does_not_read_is_disconnected() {
    let relay = Relay::start("play.send_timeout = '1s'");
    let before = relay.open_sockets();
    let mut greedy = TcpStream::connect(relay.http_address()).unwrap();
    greedy.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let many = "GET /api/v1/openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let error = (0..1_000).find_map(|_| greedy.write_all(many.as_bytes()).err());
    assert!(error.is_some(), "it accepted gigabytes of requests");
    eventually("it is closed", SOON, || (relay.open_sockets() <= before).then_some(()));
    assert_eq!(get(&relay, "/healthz").status, 200);
    assert!(relay.resident_bytes() < 128 << 20);
}

#[test]
fn an_http_1_0_request_is_answered_and_the_connection_closed() {
    let relay = Relay::start("");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /healthz HTTP/1.0\r\n\r\n");
    let response = http.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(http.until_closed(), b"");
}

#[test]
fn a_client_that_closes_its_sending_side_still_gets_its_response() {
    let relay = Relay::start("");
    // The second response waits for the cores; meanwhile the server sees the end of the client's side.
    let token = bearer(&relay.token());
    for path in ["/healthz", "/api/v1/players"].repeat(20) {
        let mut http = Http::connect(relay.http_address());
        http.say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\r\n"));
        http.socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(http.response().status, 200, "{path}");
    }
}
