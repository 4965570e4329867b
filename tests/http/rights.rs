//! Who may watch, read and act. All tokens and their spellings are in `control::rights`; here is what each address of a
//! running relay gives to whom.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use fanfare::rtmp::client::Role;

use crate::peer::{Http, Response, Rtmp, ask_at, ask_with, bearer, get, get_with_token, json_when};
use crate::support::{Relay, SOON, eventually};

/// What viewers need.
const WATCHING: [&str; 4] =
    ["/api/v1/summary", "/api/v1/streams", "/api/v1/streams/live/a", "/api/v1/streams/live/a/still.flv"];
/// What counts the relay.
const COUNTING: [&str; 4] = ["/metrics", "/api/v1/cores", "/api/v1/history", "/api/v1/publishers"];
/// What is for operators alone.
const READING: [&str; 4] =
    ["/api/v1/players", "/api/v1/players?limit=7", "/api/v1/config", "/api/v1/nothing-yet"];

#[test]
fn without_a_token_nobody_sees_an_address_and_nobody_acts() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    let list = json_when(&relay, "/api/v1/players", |json| json["total"] == 1);
    let publishers = get_with_token(&relay, "/api/v1/publishers").json();
    let addresses = [&list["players"][0]["address"], &publishers["publishers"][0]["address"]]
        .map(|address| address.as_str().unwrap().to_owned());
    wait_for_still(&relay);
    for path in WATCHING.iter().chain(&COUNTING) {
        let answer = get(&relay, path);
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(addresses.iter().all(|address| !text.contains(address)), "{path}: {text}");
    }
    let stream = get(&relay, "/api/v1/streams/live/a").json();
    assert!(stream["publisher"]["id"].is_u64() && stream["publisher"]["address"].is_null(), "{stream}");
    let stream = get_with_token(&relay, "/api/v1/streams/live/a").json();
    assert_eq!(stream["publisher"]["address"], addresses[1]);
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

/// Reverse proxies and tunnels bring a stranger's bytes from an address of this machine, and the simplest of them add
/// nothing to the request.
#[test]
fn a_proxy_that_says_nothing_of_itself_makes_no_operator_of_a_stranger() {
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
    // The operator comes the same way.
    assert_eq!(ask_at(tunnel, "DELETE", &path, &bearer(&relay.token())).status, 204);
    publisher.expect_closed();
}

#[test]
fn with_a_token_for_reading_all_but_watching_asks_for_one() {
    let relay = Relay::start("api.read_token = 'read-token'\napi.token = 'act-token'");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    wait_for_still(&relay);
    for path in WATCHING {
        assert_eq!(get(&relay, path).status, 200, "{path}");
    }
    for path in COUNTING.iter().chain(&READING) {
        expect_unauthorized(path, &get(&relay, path));
        let found = if path.ends_with("nothing-yet") { 404 } else { 200 };
        for token in ["read-token", "act-token"] {
            assert_eq!(ask_with(&relay, "GET", path, &bearer(token)).status, found, "{path}");
        }
        assert_eq!(ask_with(&relay, "GET", path, &bearer("wrong-token")).status, 401, "{path}");
    }
    for (token, status) in [("read-token", 200), ("act-token", 200), ("wrong-token", 401)] {
        assert_eq!(get(&relay, &format!("/metrics?token={token}")).status, status);
        assert_eq!(events(&relay, &format!("?token={token}")).status, status);
    }
    assert_eq!(ask_with(&relay, "OPTIONS", "/api/v1/players", "").status, 204);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(get(&relay, path).status, 200, "{path}");
    }
    assert_eq!(get(&relay, "/live/nobody.flv").status, 404, "watching is no reading");
    let summary = |token| get(&relay, &format!("/api/v1/summary?token={token}")).json();
    let may = |token| (summary(token)["may_read"] == true, summary(token)["may_write"] == true);
    assert_eq!(
        [may("act-token"), may("read-token"), may("wrong-token")],
        [(true, true), (true, false), (false, false)]
    );
}

#[test]
fn whoever_may_act_ends_publishers_and_nobody_else_does() {
    let relay = Relay::start("api.token = 'act-token'\napi.read_token = 'read-token'");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let id = eventually("the publisher is listed", SOON, || {
        let list = get(&relay, "/api/v1/publishers?token=read-token").json();
        list["publishers"][0]["id"].as_u64()
    });
    let path = format!("/api/v1/publishers/{id}");
    for headers in ["", &bearer("read-token"), &bearer("act-tokem")] {
        expect_unauthorized(&path, &ask_with(&relay, "DELETE", &path, headers));
    }
    let token = bearer("act-token");
    let as_player = format!("/api/v1/players/{id}");
    assert_eq!(ask_with(&relay, "DELETE", &as_player, &token).status, 404, "it is no player");
    assert_eq!(get(&relay, "/api/v1/streams/live/a").json()["is_live"], true);
    assert_eq!(ask_with(&relay, "DELETE", &path, &token).status, 204);
    publisher.expect_closed();
    assert_eq!(ask_with(&relay, "DELETE", &path, &token).status, 404, "it is gone");
    relay.wait_for_log(&["publish ended", "live/a", "ended by the operator"]);
    relay.wait_for_log(&["ended by the API"]);
    assert!(relay.log().iter().all(|line| !line.contains("-token")));
    assert!(!relay.token_file().exists(), "none is made where one is configured");
}

#[test]
fn the_token_of_the_first_start_ends_players_and_is_its_owner_s_alone() {
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
fn an_api_with_addresses_of_its_own_leaves_to_the_others_what_viewers_need() {
    let relay = Relay::start("api.listen = ['127.0.0.1:0']");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    wait_for_still(&relay);
    // Not even with the token: that is what an address of its own is for.
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
        assert!(stream["publisher"]["address"].is_null(), "{stream}");
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
fn a_name_that_is_not_listed_is_found_by_those_who_have_it_alone() {
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
    // Who has the name watches.
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
    eventually("a key frame is there", SOON, || {
        (get(relay, "/api/v1/streams/live/a/still.flv").status == 200).then_some(())
    });
}

fn expect_unauthorized(path: &str, answer: &Response) {
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{path}");
    assert!(answer.json()["error"].as_str().unwrap().contains("token"), "{path}");
}

/// As haproxy in TCP mode, stunnel or `ssh -L`: bytes, and no word of its own.
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
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}
