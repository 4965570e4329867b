//! Who may read and who may act. All the ways to be refused are in `control::rights`; here is that every address
//! asks.

use fanfare::rtmp::client::Role;

use crate::peer::{Http, Rtmp, ask_at, ask_with, get, json_when};
use crate::support::Relay;

const READING: [&str; 9] = [
    "/metrics",
    "/api/v1/summary",
    "/api/v1/streams",
    "/api/v1/streams/live/a",
    "/api/v1/players",
    "/api/v1/publishers",
    "/api/v1/cores",
    "/api/v1/history",
    "/api/v1/config",
];

#[test]
fn with_a_token_for_reading_api_and_metrics_ask_for_it_and_the_rest_does_not() {
    let relay = Relay::start("api.read_token = 'read-token'\napi.token = 'act-token'");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    for path in READING {
        let refused = get(&relay, path);
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"), "{path}");
        assert!(refused.json()["error"].is_string());
        for token in ["read-token", "act-token"] {
            let bearer = format!("Authorization: Bearer {token}\r\n");
            assert_eq!(ask_with(&relay, "GET", path, &bearer).status, 200, "{path}");
            assert_eq!(get(&relay, &format!("{path}?token={token}")).status, 200, "{path}");
        }
        assert_eq!(get(&relay, &format!("{path}?token=wrong-token")).status, 401, "{path}");
    }
    let events = |query: &str| {
        let mut http = Http::connect(relay.http_address());
        http.say(&format!("GET /api/v1/events{query} HTTP/1.1\r\nHost: x\r\n\r\n"));
        http.head().status
    };
    assert_eq!((events(""), events("?token=read-token")), (401, 200));
    let preflight = ask_with(&relay, "OPTIONS", "/api/v1/streams", "Origin: https://site.example\r\n");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "*"));
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(get(&relay, path).status, 200, "{path}");
    }
    assert_eq!(get(&relay, "/live/nobody.flv").status, 404, "watching is no reading");
    let may_act = |token| get(&relay, &format!("/api/v1/summary?token={token}")).json()["may_act"] == true;
    assert!(may_act("act-token") && !may_act("read-token"));
}

#[test]
fn whoever_may_act_ends_publishers_and_nobody_else_does() {
    let relay = Relay::start("api.token = 'act-token'");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let list = json_when(&relay, "/api/v1/publishers", |json| json["publishers"][0]["id"].is_u64());
    assert_eq!(list["publishers"][0]["stream"], "live/a");
    let id = &list["publishers"][0]["id"];
    let path = format!("/api/v1/publishers/{id}");
    assert_eq!(ask_with(&relay, "DELETE", &path, "").status, 401);
    assert_eq!(ask_with(&relay, "DELETE", &path, "Authorization: Bearer act-tokem\r\n").status, 401);
    let token = "Authorization: Bearer act-token\r\n";
    let as_player = format!("/api/v1/players/{id}");
    assert_eq!(ask_with(&relay, "DELETE", &as_player, token).status, 404, "it is no player");
    assert_eq!(get(&relay, "/api/v1/streams/live/a").json()["is_live"], true);
    assert_eq!(ask_with(&relay, "DELETE", &path, token).status, 204);
    publisher.expect_closed();
    assert_eq!(ask_with(&relay, "DELETE", &path, token).status, 404, "it is gone");
    relay.wait_for_log(&["publish ended", "live/a", "ended by the operator"]);
    relay.wait_for_log(&["ended by the API"]);
    assert!(relay.log().iter().all(|line| !line.contains("act-token")));
}

#[test]
fn without_a_token_this_machine_ends_players() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let mut player = Rtmp::started(&relay, Role::Play, "live/a");
    let list = json_when(&relay, "/api/v1/players?stream=live/a", |json| json["total"] == 1);
    assert_eq!(list["players"][0]["protocol"], "rtmp");
    let path = format!("/api/v1/players/{}", list["players"][0]["id"]);
    for elsewhere in
        ["Host: evil.example\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "Origin: http://evil.example\r\n"]
    {
        assert_eq!(ask_with(&relay, "DELETE", &path, elsewhere).status, 403, "{elsewhere}");
    }
    assert_eq!(ask_with(&relay, "DELETE", &path, "").status, 204);
    player.expect_closed();
    json_when(&relay, "/api/v1/players", |json| json["total"] == 0);
}

#[test]
fn an_api_with_addresses_of_its_own_is_nowhere_else() {
    let relay = Relay::start("api.listen = ['127.0.0.1:0']");
    for path in READING {
        assert_eq!(get(&relay, path).status, 404, "{path}");
    }
    assert_eq!(ask_with(&relay, "DELETE", "/api/v1/players/7", "").status, 404);
    assert_eq!(get(&relay, "/").status, 200);
    let own = relay.own_api_address();
    assert_eq!(ask_at(own, "GET", "/api/v1/summary", "").status, 200);
    assert_eq!(ask_at(own, "GET", "/", "").status, 200);
}
