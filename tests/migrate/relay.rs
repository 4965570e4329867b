//! The built relay with what a configuration has become: it lets in whom the other server let in, and asks its service in the
//! other server's terms.

use std::{fs, path::Path};

use fanfare::{migrate, rtmp::client::Role};

use crate::support::{
    Relay,
    peer::{Rtmp, get},
    web_service::{Reply, WebService},
};

/// What this configuration becomes with another text in place of a part of it.
fn migrated(file: &str, part: &str, other: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate").join(file);
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(part), "{file} has {part}");
    let toml = migrate::migrate(file, &text.replace(part, other), None, &[]).unwrap().toml;
    // Its port may be taken here.
    let listen = |line: &str| {
        if line.starts_with("rtmp = ") { "rtmp = ['<rtmp>']".to_owned() } else { line.to_owned() }
    };
    toml.lines().map(|line| listen(line) + "\n").collect()
}

/// A header names the address of each client.
const BEHIND_A_PROXY: &str = "\n[proxy]\ntrusted = ['127.0.0.1/32']\nlisteners = ['<rtmp>']\n";

fn from(address: &str) -> String {
    format!("PROXY TCP4 {address} 198.51.100.1 50000 1935\r\n")
}

/// The configuration has 70 lines: `allow` and `deny`, hooks, `push`, `record` and `hls`.
#[test]
fn an_nginx_rtmp_of_seventy_lines_lets_in_the_same_and_asks_in_the_same_terms() {
    let service = WebService::start(|request| match request.path.as_str() {
        "/play" if request.body.contains("token=wrong") => Reply::Status(403, String::new()),
        _ => Reply::Status(204, String::new()),
    });
    let url = service.url("");
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let toml = migrated("nginx/event.conf", "127.0.0.1:9080", &address);
    let relay = Relay::start(&format!("{toml}{BEHIND_A_PROXY}"));
    let answer =
        |client: &str, role, name: &str| Rtmp::answer_through(relay.address(), &from(client), role, name);

    // By the rules alone: the service is not asked about what they refuse.
    for (client, role, name, code) in [
        ("10.7.0.66", Role::Publish, "stage/show", "NetStream.Publish.Denied"),
        ("192.0.2.1", Role::Publish, "stage/show", "NetStream.Publish.Denied"),
        ("203.0.113.9", Role::Play, "stage/show", "NetStream.Play.Failed"),
        ("192.0.2.1", Role::Play, "monitor/show", "NetStream.Play.Failed"),
        ("10.7.0.1", Role::Publish, "elsewhere/show", "NetStream.Publish.Denied"),
    ] {
        let refusal = answer(client, role, name).map(drop).unwrap_err();
        assert_eq!(refusal.0, code, "{client} {name}");
    }
    let paths = |service: &WebService| -> Vec<String> {
        service.requests().into_iter().map(|request| request.path).collect()
    };
    assert!(paths(&service).iter().all(|path| path == "/connect"), "{:?}", paths(&service));

    let publisher =
        answer("10.7.0.1", Role::Publish, "stage/show?key=1").map_err(|error| panic!("{error:?}")).unwrap();
    relay.wait_for_publisher("stage/show");
    let publish =
        service.wait_until("on_publish", |requests| requests.iter().any(|it| it.path == "/publish"));
    let publish = publish.iter().find(|it| it.path == "/publish").unwrap();
    assert_eq!(publish.header("content-type"), Some("application/x-www-form-urlencoded"));
    for field in ["app=stage", "addr=10.7.0.1", "call=publish", "name=show", "type=live", "key=1"] {
        assert!(publish.body.split('&').any(|it| it == field), "{field} in {}", publish.body);
    }

    let refusal = answer("192.0.2.7", Role::Play, "stage/show?token=wrong").map(drop).unwrap_err();
    assert_eq!(refusal.0, "NetStream.Play.Failed");
    let player = answer("192.0.2.7", Role::Play, "stage/show").map_err(|error| panic!("{error:?}")).unwrap();
    relay.wait_for_players("stage/show", 1);

    // An application without hooks: the service is not asked.
    let questions = |service: &WebService| {
        let is_one = |path: &&String| ["/publish", "/play"].contains(&path.as_str());
        paths(service).iter().filter(is_one).count()
    };
    let before = questions(&service);
    let _other =
        answer("192.0.2.1", Role::Publish, "monitor/show").map_err(|error| panic!("{error:?}")).unwrap();
    relay.wait_for_publisher("monitor/show");
    assert_eq!(questions(&service), before);

    drop(player);
    let has = |path: &'static str, call: &'static str| {
        let seen =
            service.wait_until(call, |all| all.iter().any(|it| it.path == path && it.body.contains(call)));
        assert!(!seen.is_empty());
    };
    has("/play_done", "call=play_done");
    drop(publisher);
    has("/publish_done", "call=publish_done");
}

#[test]
fn an_srs_of_networks_lets_in_the_same() {
    let toml = migrated("srs/intranet.conf", "tv.company.example", "company.example");
    let relay = Relay::start(&format!("{toml}{BEHIND_A_PROXY}"));
    let is_let_in = |client: &str, role, name: &str| {
        Rtmp::answer_through(relay.address(), &from(client), role, name).is_ok()
    };
    assert!(is_let_in("10.3.4.5", Role::Publish, "tv/a"));
    assert!(!is_let_in("10.3.0.13", Role::Publish, "tv/b"));
    assert!(!is_let_in("10.4.0.1", Role::Publish, "tv/b"));
    assert!(is_let_in("192.168.7.7", Role::Play, "tv/a"));
    assert!(!is_let_in("10.66.0.1", Role::Play, "tv/a"));
    assert!(!is_let_in("192.0.2.1", Role::Play, "tv/a"));
}

#[test]
fn users_of_mediamtx_are_let_in_where_they_were() {
    let toml = migrated("mediamtx/club.yml", "court1", "court1");
    let relay = Relay::start(&format!("{toml}{BEHIND_A_PROXY}"));
    let is_let_in = |client: &str, role, name: &str| {
        Rtmp::answer_through(relay.address(), &from(client), role, name).is_ok()
    };
    assert!(is_let_in("192.168.3.9", Role::Publish, "court1?user=cam1&pass=Ace.40-15"));
    assert!(!is_let_in("192.168.4.9", Role::Publish, "court1?user=cam1&pass=Ace.40-15"));
    assert!(!is_let_in("192.168.3.9", Role::Publish, "court1?user=cam2&pass=Ace.40-30"));
    assert!(is_let_in("192.0.2.1", Role::Publish, "court2?user=cam2&pass=Ace.40-30"));
    assert!(is_let_in("192.0.2.1", Role::Publish, "hall?user=office&pass=Match_Point"));
    assert!(!is_let_in("192.0.2.1", Role::Publish, "hall?user=office&pass=Deuce"));
    assert!(!is_let_in("192.0.2.1", Role::Publish, "hall"));
    assert!(is_let_in("192.0.2.1", Role::Play, "hall"));
}

#[test]
fn a_service_of_mediamtx_is_asked_as_mediamtx_did() {
    let service = WebService::start(|request| match request.json()["user"].as_str() {
        Some("ann") => Reply::Status(200, String::new()),
        _ => Reply::Status(401, String::new()),
    });
    let url = service.url("/mtx");
    let toml = migrated("mediamtx/studio.yml", "https://auth.studio.example/mtx", &url);
    // Its addresses are not of this machine.
    let toml = toml
        .replace("\"127.0.0.1:9997\", 9998", "\"127.0.0.1:0\"")
        .replace("[log]\n", "[log]\nlines_per_network = 0\n");
    let relay = Relay::start(&toml.replace("format = \"json\"", "format = \"text\""));
    let may = |role, name: &str| Rtmp::answer(&relay, role, name).is_ok();
    assert!(may(Role::Publish, "live/a?user=ann&pass=x"));
    assert!(!may(Role::Publish, "live/b?user=bob&pass=x"));
    assert!(!may(Role::Publish, "live/long?user=ann&pass=x"), "no path of the file");
    assert!(may(Role::Play, "public/lobby"), "it is excluded");
    let asked = service.requests();
    let first = asked[0].json();
    assert_eq!(
        [&first["action"], &first["path"], &first["protocol"]],
        ["publish", "live/a", "rtmp"].map(serde_json::Value::from).each_ref()
    );
    assert_eq!(asked.len(), 2, "{asked:#?}");
    assert_eq!(get(&relay, "/healthz").status, 200);
}
