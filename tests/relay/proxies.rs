//! Clients behind proxies: the API, limits, rules and the log see their addresses. `clients proxies` does it with real
//! proxies, `endpoint proxies` with every cut of a header.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fanfare::rtmp::client::Role;

use crate::support::peer::{Http, Response, Rtmp, ask_at, bearer};
use crate::support::{Relay, SOON};

const HEADER: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 50000 1935\r\n";

/// Clients may publish wherever they come from.
const OPEN: &str = "access = [{ action = 'publish' }]\n";

/// Each listener but that of the API expects a header.
fn start(config: &str) -> Relay {
    Relay::start(&format!(
        "listen.rtmp = ['<rtmp>']\nlisten.http = ['127.0.0.1:0']\napi.listen = ['127.0.0.2:0']\n\
         proxy.listeners = ['<rtmp>', '127.0.0.1:0']\nproxy.trusted = ['127.0.0.1/32', '10.0.0.0/8']\n{config}"
    ))
}

fn api(relay: &Relay, path: &str) -> serde_json::Value {
    ask_at(relay.own_api_address(), "GET", path, &bearer(&relay.token())).json()
}

/// Says this, and returns everything until the relay closes the connection.
fn say(address: SocketAddr, text: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request on a connection that begins with this header.
fn request(relay: &Relay, header: &str, path: &str, headers: &str) -> Response {
    let mut http = Http::connect(relay.http_address());
    http.say(&format!("{header}GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n{headers}\r\n"));
    http.head()
}

#[test]
fn publishers_and_players_behind_proxies_are_shown_with_their_own_addresses() {
    let relay = start(OPEN);
    let mut publisher = Rtmp::started_through(relay.address(), HEADER, Role::Publish, "live/a");
    relay.wait_for_log(&["publishing", "192.0.2.7:50000", "live/a"]);
    publisher.key_frame(b"frame");
    let header = "PROXY TCP6 2001:db8::8 2001:db8::1 50001 1935\r\n";
    let _player = Rtmp::started_through(relay.address(), header, Role::Play, "live/a");
    relay.wait_for_log(&["playing", "[2001:db8::8]:50001"]);
    let header = "PROXY TCP4 192.0.2.9 198.51.100.1 50002 80\r\n";
    let mut viewer = Http::connect(relay.http_address());
    viewer.say(&format!("{header}GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n"));
    assert_eq!(viewer.head().status, 200);
    relay.wait_for_log(&["playing", "192.0.2.9:50002"]);
    let players = api(&relay, "/api/v1/players");
    let mut peers: Vec<_> =
        players["players"].as_array().unwrap().iter().map(|it| it["peer"].as_str().unwrap()).collect();
    peers.sort_unstable();
    assert_eq!(peers, ["192.0.2.9:50002", "[2001:db8::8]:50001"]);
    assert_eq!(api(&relay, "/api/v1/publishers")["publishers"][0]["peer"], "192.0.2.7:50000");
}

#[test]
fn a_header_of_http_names_the_client_if_it_comes_from_a_proxy() {
    let relay = start(OPEN);
    let _publisher = Rtmp::started_through(relay.address(), HEADER, Role::Publish, "live/a");
    let mut publisher = Rtmp::started_through(relay.address(), HEADER, Role::Publish, "live/b");
    publisher.key_frame(b"frame");
    // A chain: the load balancer in front names a proxy of ours, which names the client.
    let proxy = "PROXY TCP4 10.0.0.9 198.51.100.1 50002 80\r\n";
    for (header, headers, client) in [
        (proxy, "X-Forwarded-For: 198.51.100.3, 192.0.2.66, 10.0.0.2\r\n", "192.0.2.66:0"),
        (proxy, "X-Forwarded-For: 192.0.2.67:4711\r\n", "192.0.2.67:4711"),
        (proxy, "Forwarded: for=192.0.2.68\r\n", "10.0.0.9:50002"),
        (HEADER, "X-Forwarded-For: 192.0.2.69\r\n", "192.0.2.7:50000"),
    ] {
        let mut viewer = Http::connect(relay.http_address());
        viewer.say(&format!("{header}GET /live/b.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n{headers}\r\n"));
        assert_eq!(viewer.head().status, 200);
        relay.wait_for_log(&["playing", "live/b", &format!("peer={client} ")]);
    }
    // A client without a proxy writes what it likes.
    let answer = ask_at(relay.own_api_address(), "GET", "/api/v1/summary", "X-Forwarded-For: 192.0.2.70\r\n");
    assert_eq!(answer.status, 200);
}

#[test]
fn limits_per_address_are_those_of_the_client() {
    let limits = "limits.connections_per_address = 2\nlimits.exempt = ['127.0.0.0/8', '10.0.0.0/8']";
    let relay = start(&format!("{OPEN}{limits}"));
    let mut publisher = Rtmp::started_through(relay.address(), HEADER, Role::Publish, "live/a");
    publisher.key_frame(b"frame");
    let _second = Rtmp::started_through(relay.address(), HEADER, Role::Play, "live/a");
    assert_eq!(say(relay.address(), HEADER), "", "it is closed");
    relay.wait_for_log(&["refused: limit reached", "192.0.2.7:50000", "limits.connections_per_address"]);
    let response = request(&relay, HEADER, "/healthz", "");
    assert_eq!((response.status, response.header("retry-after")), (503, "10"));
    // A player counts for the client that a header of HTTP names, once it is one.
    let proxy = "PROXY TCP4 10.0.0.9 198.51.100.1 50002 80\r\n";
    let by_header =
        |client: &str| request(&relay, proxy, "/live/a.flv", &format!("X-Forwarded-For: {client}\r\n"));
    assert_eq!(by_header("192.0.2.7").status, 503);
    assert_eq!(by_header("192.0.2.8").status, 200);
    let another = "PROXY TCP4 192.0.2.8 198.51.100.1 50000 1935\r\n";
    let _another = Rtmp::started_through(relay.address(), another, Role::Play, "live/a");
}

#[test]
fn rules_are_for_the_client_s_network() {
    let relay = start(
        "[[access]]\naction = 'publish'\nfrom = ['192.0.2.0/24']\n[[access]]\naction = 'publish'\nthen = 'deny'\n\
         [[access]]\naction = 'api'\nstreams = '/api/v1/streams/private/*'\nthen = 'deny'\n\
         [[access]]\naction = 'api'\nfrom = ['192.0.2.0/24', '127.0.0.0/8']\n[[access]]\naction = 'api'\nthen = 'deny'",
    );
    let _publisher = Rtmp::started_through(relay.address(), HEADER, Role::Publish, "live/a");
    relay.wait_for_log(&["publishing", "192.0.2.7:50000"]);
    let elsewhere = "PROXY TCP4 198.51.100.7 198.51.100.1 50000 1935\r\n";
    let status = |header: &str, path: &str, headers: &str| request(&relay, header, path, headers).status;
    assert_eq!(status(HEADER, "/api/v1/streams", ""), 200);
    assert_eq!(status(elsewhere, "/api/v1/streams", ""), 403);
    assert_eq!(status(elsewhere, "/api/v1/streams", "X-Forwarded-For: 192.0.2.7\r\n"), 403);
    assert_eq!(status(elsewhere, "/healthz", ""), 200, "it is not of the API");
    relay.wait_for_log(&["API request refused", "198.51.100.7:50000", "/api/v1/streams"]);
    // The name is the path, however it is written.
    for path in ["/api/v1/streams/private/a", "/api/v1/streams/%70rivate/a", "/api/v1/streams/private%2Fa"] {
        assert_eq!(status(HEADER, path, ""), 403, "{path}");
    }
    assert_eq!(status(HEADER, "/api/v1/streams/live/a", ""), 200);
}

#[test]
fn a_connection_without_a_header_or_from_elsewhere_is_closed_and_logged_and_a_health_check_is_neither() {
    let mut relay = start("log.level = 'info'");
    let lines = relay.log().len();
    for address in [relay.address(), relay.http_address()] {
        drop(TcpStream::connect(address).unwrap());
        // HAProxy's check of a server, version 1 and 2.
        for check in ["PROXY UNKNOWN\r\n", "\r\n\r\n\0\r\nQUIT\n\u{20}\0\0\0"] {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(check.as_bytes()).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            let _ = socket.read_to_end(&mut Vec::new());
        }
    }
    assert_eq!(relay.log()[lines..], [""; 0], "checks of health are silent");
    for address in [relay.address(), relay.http_address()] {
        assert_eq!(say(address, "GET / HTTP/1.1\r\n\r\n"), "");
        let line = relay.wait_for_log(&["WARN", "closed: protocol violation", "no PROXY header"]);
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
    }
    let all = relay.wait_for_logs(2, &["no PROXY header"], SOON);
    assert_eq!(all.len(), 2);
    relay.expect_running();

    let relay = Relay::start(
        "listen.rtmp = ['<rtmp>']\nlisten.http = ['127.0.0.1:0']\nproxy.listeners = ['<rtmp>', '127.0.0.1:0']\n\
         proxy.trusted = ['192.0.2.0/24']",
    );
    for address in [relay.address(), relay.http_address()] {
        drop(TcpStream::connect(address).unwrap());
        assert_eq!(say(address, &format!("{HEADER}GET /healthz HTTP/1.1\r\n\r\n")), "");
    }
    relay.wait_for_logs(2, &["WARN", "peer=127.0.0.1:", "proxies in proxy.trusted alone"], SOON);
    assert!(!relay.log().iter().any(|line| line.contains("192.0.2.7")));
}
