//! Which request may watch, monitor, read and write. `control::rights` tests tokens in detail; these tests check what
//! each path of a running relay serves.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use fanfare::rtmp::client::Role;

use crate::peer::{Http, Response, Rtmp, ask_at, ask_with, bearer, get, get_with_token, json_when};
use crate::support::{Relay, SOON, eventually};

/// Paths for viewers.
const WATCHING: [&str; 4] =
    ["/api/v1/summary", "/api/v1/streams", "/api/v1/streams/live/a", "/api/v1/streams/live/a/still.flv"];
/// Paths for monitoring.
const COUNTING: [&str; 4] = ["/metrics", "/api/v1/cores", "/api/v1/history", "/api/v1/publishers"];
/// Paths for operators.
const READING: [&str; 4] =
    ["/api/v1/players", "/api/v1/players?limit=7", "/api/v1/config", "/api/v1/nothing-yet"];

#[test]
fn without_a_token_a_client_sees_no_addresses_and_changes_nothing() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    let list = json_when(&relay, "/api/v1/players", |json| json["total"] == 1);
    let publishers = get_with_token(&relay, "/api/v1/publishers").json();
    let addresses = [&list["players"][0]["peer"], &publishers["publishers"][0]["peer"]]
        .map(|address| address.as_str().unwrap().to_owned());
    wait_for_still(&relay);
    for path in WATCHING.iter().chain(&COUNTING) {
        let answer = get(&relay, path);
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(addresses.iter().all(|address| !text.contains(address)), "{path}: {text}");
    }
    let stream = get(&relay, "/api/v1/streams/live/a").json();
    assert!(stream["publisher"]["id"].is_u64() && stream["publisher"]["peer"].is_null(), "{stream}");
    let stream = get_with_token(&relay, "/api/v1/streams/live/a").json();
    assert_eq!(stream["publisher"]["peer"], addresses[1]);
    for path in READING {
        expect_unauthorized(path, &get(&relay, path));
    }
    assert_eq!(events(&relay, "").status, 401);
    assert_eq!(events(&relay, &format!("?token={}", relay.token())).status, 200);
    let summary = get(&relay, "/api/v1/summary").json();
    assert_eq!((&summary["may_read"], &summary["may_write"]), (&false.into(), &false.into()));

    for id in [&list["players"][0]["id"], &publishers["publishers"][0]["id"]] {
        for kind in ["players", "publishers"] {
            let path = format!("/api/v1/{kind}/{id}");
            for headers in ["", "Host: localhost\r\n", "X-Forwarded-For: 127.0.0.1\r\n"] {
                expect_unauthorized(&path, &ask_with(&relay, "DELETE", &path, headers));
            }
        }
    }
    assert_eq!(json_when(&relay, "/api/v1/players", |_| true)["total"], 1);
    assert_eq!(get(&relay, "/api/v1/streams/live/a").json()["is_live"], true);
}

/// Requests through reverse proxies and tunnels come from an address of this machine, and simple ones add no header.
#[test]
fn a_request_through_a_proxy_that_adds_no_header_has_no_more_rights() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let list = json_when(&relay, "/api/v1/publishers", |json| json["publishers"][0]["id"].is_u64());
    let path = format!("/api/v1/publishers/{}", list["publishers"][0]["id"]);
    let tunnel = tunnel_to(relay.http_address());
    let hosts = [relay.http_address().to_string(), tunnel.to_string(), "localhost".to_owned()];
    for host in &hosts {
        let host = format!("Host: {host}\r\n");
        expect_unauthorized(&path, &ask_at(tunnel, "DELETE", &path, &host));
        expect_unauthorized(&path, &ask_at(tunnel, "GET", "/api/v1/players", &host));
    }
    assert_eq!(get(&relay, "/api/v1/streams/live/a").json()["is_live"], true);
    // The operator comes through the same proxy.
    assert_eq!(ask_at(tunnel, "DELETE", &path, &bearer(&relay.token())).status, 204);
    publisher.expect_closed();
}

#[test]
fn with_a_read_token_everything_except_watching_needs_a_token() {
    let relay = Relay::start("api.read_token = 'read-token'\napi.token = 'write-token'");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    wait_for_still(&relay);
    for path in WATCHING {
        assert_eq!(get(&relay, path).status, 200, "{path}");
    }
    for path in COUNTING.iter().chain(&READING) {
        expect_unauthorized(path, &get(&relay, path));
        let found = if path.ends_with("nothing-yet") { 404 } else { 200 };
        for token in ["read-token", "write-token"] {
            assert_eq!(ask_with(&relay, "GET", path, &bearer(token)).status, found, "{path}");
        }
        assert_eq!(ask_with(&relay, "GET", path, &bearer("wrong-token")).status, 401, "{path}");
    }
    for (token, status) in [("read-token", 200), ("write-token", 200), ("wrong-token", 401)] {
        assert_eq!(get(&relay, &format!("/metrics?token={token}")).status, status);
        assert_eq!(events(&relay, &format!("?token={token}")).status, status);
    }
    assert_eq!(ask_with(&relay, "OPTIONS", "/api/v1/players", "").status, 204);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(get(&relay, path).status, 200, "{path}");
    }
    assert_eq!(get(&relay, "/live/nobody.flv").status, 404, "watching needs no token");
    let summary = |token| get(&relay, &format!("/api/v1/summary?token={token}")).json();
    let may = |token| (summary(token)["may_read"] == true, summary(token)["may_write"] == true);
    assert_eq!(
        [may("write-token"), may("read-token"), may("wrong-token")],
        [(true, true), (true, false), (false, false)]
    );
}

#[test]
fn only_the_token_for_writing_disconnects_publishers() {
    let relay = Relay::start("api.token = 'write-token'\napi.read_token = 'read-token'");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let id = eventually("the publisher is listed", SOON, || {
        let list = get(&relay, "/api/v1/publishers?token=read-token").json();
        list["publishers"][0]["id"].as_u64()
    });
    let path = format!("/api/v1/publishers/{id}");
    for headers in ["", &bearer("act-tokem")] {
        expect_unauthorized(&path, &ask_with(&relay, "DELETE", &path, headers));
    }
    for path in [&path, "/api/v1/publishers/7777", "/api/v1/players/7777"] {
        let refused = ask_with(&relay, "DELETE", path, &bearer("read-token"));
        assert_eq!((refused.status, refused.header("www-authenticate")), (403, ""), "{path}: {refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("may only read"), "{refused:?}");
    }
    let token = bearer("write-token");
    let as_player = format!("/api/v1/players/{id}");
    assert_eq!(ask_with(&relay, "DELETE", &as_player, &token).status, 404, "it is not a player");
    assert_eq!(get(&relay, "/api/v1/streams/live/a").json()["is_live"], true);
    assert_eq!(ask_with(&relay, "DELETE", &path, &token).status, 204);
    publisher.expect_closed();
    assert_eq!(ask_with(&relay, "DELETE", &path, &token).status, 404, "it has ended");
    relay.wait_for_log(&["publish ended", "live/a", "ended by the operator"]);
    relay.wait_for_log(&["disconnected by the API"]);
    assert!(relay.log().iter().all(|line| !line.contains("-token")));
    assert!(!relay.token_file().exists(), "none is generated if one is configured");
}

#[test]
fn the_token_of_the_first_start_disconnects_players_and_only_its_owner_can_read_it() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let mut player = Rtmp::started(&relay, Role::Play, "live/a");
    let mode = std::fs::metadata(relay.token_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = json_when(&relay, "/api/v1/players?stream=live/a", |json| json["total"] == 1);
    assert_eq!(list["players"][0]["protocol"], "rtmp");
    let path = format!("/api/v1/players/{}", list["players"][0]["id"]);
    assert_eq!(ask_with(&relay, "DELETE", &path, &bearer(&relay.token())).status, 204);
    player.expect_closed();
    json_when(&relay, "/api/v1/players", |json| json["total"] == 0);
    assert!(relay.log().iter().all(|line| !line.contains(&relay.token())));
}

#[test]
fn with_a_separate_api_address_the_other_addresses_serve_only_what_viewers_need() {
    let relay = Relay::start("api.listen = ['127.0.0.1:0']");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    wait_for_still(&relay);
    // Not even with the token: that is the purpose of a separate address.
    for token in ["", &bearer(&relay.token())] {
        for path in COUNTING.iter().chain(&READING) {
            assert_eq!(ask_with(&relay, "GET", path, token).status, 404, "{path}");
        }
        assert_eq!(ask_with(&relay, "DELETE", "/api/v1/players/7", token).status, 404);
        for path in WATCHING {
            let answer = ask_with(&relay, "GET", path, token);
            assert_eq!(answer.status, 200, "{path}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(&relay.own_api_address().to_string()));
        }
        let stream = ask_with(&relay, "GET", "/api/v1/streams/live/a", token).json();
        assert!(stream["publisher"]["peer"].is_null(), "{stream}");
        let summary = ask_with(&relay, "GET", "/api/v1/summary", token).json();
        assert_eq!((&summary["has_api"], &summary["may_read"]), (&false.into(), &false.into()));
    }
    assert_eq!(get(&relay, "/").status, 200);
    let own = relay.own_api_address();
    let token = bearer(&relay.token());
    for path in WATCHING.iter().chain(&COUNTING).chain(&READING[..3]).chain(&["/"]) {
        assert_eq!(ask_at(own, "GET", path, &token).status, 200, "{path}");
    }
    expect_unauthorized("players", &ask_at(own, "GET", "/api/v1/players", ""));
    assert_eq!(ask_at(own, "DELETE", "/api/v1/players/7", &token).status, 404);
}

#[test]
fn an_unlisted_stream_is_found_only_by_its_name() {
    let relay = Relay::start(
        "streams = [{ pattern = 'private/open', listed = true }, { pattern = 'private/*', listed = false }]",
    );
    let names = ["live/a", "private/b", "private/c/d", "private/open"];
    let mut publishers = names.map(|name| Rtmp::publishing(&relay, name));
    json_when(&relay, "/api/v1/streams", |json| json["streams"].as_array().unwrap().len() == 4);
    let _player = Rtmp::started(&relay, Role::Play, "private/b");
    json_when(&relay, "/api/v1/publishers", |json| json["publishers"].as_array().unwrap().len() == 4);
    let shown = ["live/a", "private/open"];
    let names_in = |list: &serde_json::Value, key: &str| -> Vec<String> {
        let mut names: Vec<_> =
            list.as_array().unwrap().iter().map(|each| each[key].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names_in(&get(&relay, "/api/v1/streams").json()["streams"], "name"), shown);
    assert_eq!(names_in(&get(&relay, "/api/v1/publishers").json()["publishers"], "stream"), shown);
    let of_operator = get_with_token(&relay, "/api/v1/streams").json();
    assert_eq!(names_in(&of_operator["streams"], "name"), names);
    let of_operator = get_with_token(&relay, "/api/v1/publishers").json();
    assert_eq!(names_in(&of_operator["publishers"], "stream"), names);
    for path in WATCHING[..2].iter().chain(&COUNTING) {
        let text = get(&relay, path).text();
        assert!(!text.contains("private/b") && !text.contains("private/c"), "{path}: {text}");
    }
    // A client that knows the name can watch.
    assert_eq!(get(&relay, "/api/v1/streams/private/c/d").json()["name"], "private/c/d");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /private/b.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.head().status, 200);
    publishers[1].key_frame(b"for those who know");
    http.until(b"for those who know");
}

fn events(relay: &Relay, query: &str) -> Response {
    let mut http = Http::connect(relay.http_address());
    http.say(&format!("GET /api/v1/events{query} HTTP/1.1\r\nHost: x\r\n\r\n"));
    http.head()
}

fn wait_for_still(relay: &Relay) {
    eventually("a key frame has come", SOON, || {
        (get(relay, "/api/v1/streams/live/a/still.flv").status == 200).then_some(())
    });
}

fn expect_unauthorized(path: &str, answer: &Response) {
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{path}");
    assert!(answer.json()["detail"].as_str().unwrap().contains("token"), "{path}");
}

/// As haproxy in TCP mode, stunnel or `ssh -L`: passes bytes on and adds none.
fn tunnel_to(address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(address) else { return };
            let (to_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass_on(client, to_server));
            thread::spawn(move || pass_on(server, to_client));
        }
    });
    own
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // The other side may have closed already.
    let _ = to.shutdown(Shutdown::Write);
}
