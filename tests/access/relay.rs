//! The built relay with our own clients: refusals in the terms of each protocol, and no secret in anything that it shows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::{
    access::{Action, Link},
    rtmp::client::Role,
};
use serde_json::json;

use super::tokens::{key_file, keys};
use crate::support::{
    Relay, SOON, eventually,
    peer::{Http, Response, Rtmp, ask_with, bearer, get, get_with_token},
};

const RULES: &str = "[[access]]\nname = 'ours'\nstreams = 'live/*'\nkeys = 'the-key-of-ours'\nusers = ['*']\n\
                     links = 'the-secret-of-our-links'\njwt = true\n\
                     [users]\nann = 'the-password-of-ann'\n[jwt]\nsecrets = 'the-secret-of-our-tokens'\n";

/// Answers of the relay that are no secret, and parts of what clients have sent that are.
const SECRETS: [&str; 8] = [
    "the-key-of-ours",
    "the-secret-of-our-links",
    "the-secret-of-our-tokens",
    "the-password-of-ann",
    "dGhlLXBhc3N3b3JkLW9mLWFubg",
    "sig=",
    "a-wrong-key",
    "a-wrong-password",
];

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn link(action: Action, expires: u64) -> String {
    let link = Link { action, name: "live/a", expires, network: None, session_until: None };
    format!("live/a?{}", link.query("the-secret-of-our-links"))
}

fn token(exp: u64) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(b"the-secret-of-our-tokens");
    let claims = json!({ "action": "any", "streams": "live/*", "exp": exp });
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{user}:{password}"));
    format!("Authorization: Basic {text}\r\n")
}

/// The head of the answer to a request to play.
fn play(relay: &Relay, path: &str, headers: &str) -> (Response, Http) {
    let mut http = Http::connect(relay.http_address());
    http.say(&format!("GET {path} HTTP/1.1\r\nHost: relay\r\n{headers}\r\n"));
    (http.head(), http)
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn each_kind_of_credentials_lets_in_over_each_protocol_and_none_refuses_in_its_terms() {
    let relay = Relay::start(RULES);
    let later = unix_seconds() + 3600;
    let refusal = |role, address: &str| Rtmp::refusal(&relay, role, address);
    for (address, expected) in [
        ("live/a".to_owned(), "a key, link, token or user is needed"),
        ("live/a?key=a-wrong-key".to_owned(), "wrong key, link, token, user or password"),
        ("live/a?user=ann&pass=a-wrong-password".to_owned(), "wrong key, link, token, user or password"),
        (link(Action::Play, unix_seconds() - 1), "expired, or not yet valid"),
        (format!("live/a?jwt={}", token(unix_seconds() - 1)), "expired, or not yet valid"),
        (format!("live/a?jwt={}x", token(later)), "wrong key, link, token, user or password"),
    ] {
        let (code, description) = refusal(Role::Play, &address);
        assert_eq!((code.as_str(), description.as_str()), ("NetStream.Play.Failed", expected), "{address}");
    }
    let (code, _) = refusal(Role::Publish, "live/a?key=a-wrong-key");
    assert_eq!(code, "NetStream.Publish.Denied");
    let (code, _) = refusal(Role::Publish, &link(Action::Play, later));
    assert_eq!(code, "NetStream.Publish.Denied", "the link is for playing");
    let line = relay.wait_for_log(&["publisher refused: access denied", "rule=\"ours\""]);
    assert!(line.contains("cause=\"wrong_credentials\""), "{line}");

    let _publisher = Rtmp::publishing(&relay, "live/a?key=the-key-of-ours");
    let ways = [
        "key=the-key-of-ours".to_owned(),
        "user=ann&pass=the-password-of-ann".to_owned(),
        link(Action::Play, later).split_once('?').unwrap().1.to_owned(),
        format!("jwt={}", token(later)),
        format!("token={}", token(later)),
    ];
    for query in &ways {
        drop(Rtmp::started(&relay, Role::Play, &format!("live/a?{query}")));
        let path = format!("/live/a.flv?{query}");
        assert_eq!(play(&relay, &path, "").0.status, 200, "{query}");
        let (head, mut http) = play(&relay, &path, UPGRADE);
        assert_eq!(head.status, 101, "{query}");
        http.until(b"first");
    }
    for header in [basic("ann", "the-password-of-ann"), bearer(&token(later))] {
        assert_eq!(play(&relay, "/live/a.flv", &header).0.status, 200, "{header}");
    }

    for (path, header) in [
        ("/live/a.flv", String::new()),
        ("/live/a.flv?key=a-wrong-key", String::new()),
        ("/live/a.flv", basic("ann", "a-wrong-password")),
        ("/live/a.flv", bearer("the-key-of-ours")),
        (
            "/live/a.flv",
            "User-Agent: the-key-of-ours\r\nReferer: http://x/?key=the-key-of-ours\r\n".to_owned(),
        ),
        ("/live/a.flv", "Cookie: key=the-key-of-ours\r\nX-Key: the-key-of-ours\r\n".to_owned()),
    ] {
        let answer = ask_with(&relay, "GET", path, &header);
        assert_eq!(answer.status, 401, "{path} {header}");
        assert!(!answer.text().contains("the-key"), "{}", answer.text());
        // The handshake succeeds so that a page can read why: a message to close, with a code and the reason.
        let (head, mut http) = play(&relay, path, &format!("{UPGRADE}{header}"));
        assert_eq!(head.status, 101);
        let frame = http.exactly(4);
        assert_eq!((frame[0], &frame[2..]), (0x88, &4401_u16.to_be_bytes()[..]), "{path} {header}");
    }
}

#[test]
fn a_token_of_each_algorithm_publishes_and_plays() {
    let files = keys().map(|(_, _, file)| format!("'{}'", key_file(file).display()));
    let relay =
        Relay::start(&format!("[[access]]\njwt = true\n[jwt]\npublic_keys = [{}]\n", files.join(", ")));
    let claims = json!({ "action": "any", "streams": "live/*", "exp": unix_seconds() + 3600 });
    for (algorithm, key, _) in keys() {
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), &claims, &key).unwrap();
        let address = format!("live/a?jwt={token}");
        // FFmpeg reads no more of an address; a token of RSA with few claims still fits.
        assert!(relay.url(&address).len() < 1024, "{algorithm:?}");
        let publisher = Rtmp::publishing(&relay, &address);
        drop(Rtmp::started(&relay, Role::Play, &address));
        assert_eq!(play(&relay, "/live/a.flv", &bearer(&token)).0.status, 200, "{algorithm:?}");
        Rtmp::refused(&relay, &format!("other/a?jwt={token}"), "NetStream.Publish.Denied");
        drop(publisher);
        relay.wait_for_publisher_gone("live/a");
    }
}

#[test]
fn no_secret_is_in_the_log_the_api_events_or_metrics() {
    let relay = Relay::start(&format!("log.level = 'trace'\n{RULES}"));
    let later = unix_seconds() + 3600;
    let mut events = Http::connect(relay.http_address());
    events.say(&format!("GET /api/v1/events?token={} HTTP/1.1\r\nHost: relay\r\n\r\n", relay.token()));
    events.head();
    let publisher = Rtmp::publishing(&relay, &format!("live/a?key=the-key-of-ours&jwt={}", token(later)));
    let player = Rtmp::started(&relay, Role::Play, "live/a?user=ann&pass=the-password-of-ann");
    let link = link(Action::Play, later);
    let (_, over_http) = play(&relay, &format!("/{}", link.replace("live/a?", "live/a.flv?")), "");
    let (_, by_login) = play(&relay, "/live/a.flv", &basic("ann", "the-password-of-ann"));
    for wrong in
        ["live/b?key=a-wrong-key", "live/b?user=ann&pass=a-wrong-password", &format!("live/b?{}", token(1))]
    {
        Rtmp::refused(&relay, wrong, "NetStream.Publish.Denied");
        get(&relay, &format!("/{}", wrong.replace('?', ".flv?")));
    }
    relay.wait_for_players("live/a", 3);
    let mut shown = String::new();
    for path in ["config", "players", "publishers", "streams", "summary", "events/past", "cores", "history"] {
        shown += &get_with_token(&relay, &format!("/api/v1/{path}")).text();
    }
    assert!(shown.contains("\"***\"") && shown.contains("live/a"), "{shown}");
    shown += &get_with_token(&relay, "/metrics").text();
    assert!(shown.contains("fanfare_access_denied_total{"), "{shown}");
    drop((publisher, player, over_http, by_login));
    relay.wait_for_publisher_gone("live/a");
    shown += &String::from_utf8_lossy(&events.until(b"live/a"));
    shown += &relay.log().join("\n");
    let signature = token(later).rsplit('.').next().unwrap().to_owned();
    for secret in SECRETS.into_iter().chain([signature.as_str()]) {
        let line = shown.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

/// The link says when the session has to end, and the relay's clock ends it.
#[test]
fn a_session_ends_when_its_link_does() {
    let relay = Relay::start(RULES);
    let _publisher = Rtmp::publishing(&relay, "live/a?key=the-key-of-ours");
    let expires = unix_seconds() + 3;
    let mut player = Rtmp::started(&relay, Role::Play, &link(Action::Play, expires));
    let (head, mut http) = play(&relay, &format!("/live/a.flv?jwt={}", token(expires)), "");
    assert_eq!(head.status, 200);
    http.until_closed();
    player.expect_closed();
    let late = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(expires));
    assert!(late.as_ref().is_ok_and(|late| *late < Duration::from_secs(5)), "{late:?}");
    eventually("both are gone", SOON, || {
        let closed = relay.log().into_iter().filter(|line| line.contains("reason=\"expired\"")).count();
        (closed >= 2).then_some(())
    });
}

/// Each of them is a form of a name that is denied, or no name at all.
#[test]
fn no_form_of_a_name_evades_a_rule() {
    let relay = Relay::start("[[access]]\nstreams = 'private/*'\nthen = 'deny'\n");
    for name in [
        "private/a",
        "private//a",
        "private/./a",
        "private/%61",
        "private%2Fa",
        "%70rivate/a",
        "flv:private/a",
        "private/flv:a",
        "private/a.flv",
        "private/_definst_/a",
        "_definst_/private/a",
        "live/../private/a",
        "live/%2e%2e/private/a",
        "private/a%00",
        "private/a%0a",
        "private/a%e2%80%ae",
        "private/a?key=any",
    ] {
        let (code, _) = Rtmp::refusal(&relay, Role::Publish, name);
        assert!(
            ["NetStream.Publish.Denied", "NetStream.Publish.BadName"].contains(&code.as_str()),
            "{name}: {code}"
        );
        let path = name.split_once('?').map_or(name, |(path, _)| path);
        let status = ask_with(&relay, "GET", &format!("/{path}.flv"), "").status;
        assert!([400, 403].contains(&status), "{name}: {status}");
    }
    // Look-alikes are other streams.
    let _other = Rtmp::publishing(&relay, "pr\u{131}vate/a");
}
