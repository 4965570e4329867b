//! Responses of the API and the page.

use fanfare::rtmp::client::Role;

use crate::peer::{Http, Response, Rtmp, ask_with, bearer, get, get_with_token, json_when};
use crate::support::{Relay, SOON, Signal, eventually};

#[test]
fn the_page_is_served_with_a_strict_policy_and_cached() {
    let relay = Relay::start("");
    let page = get(&relay, "/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    for part in ["default-src 'self'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("access-control-allow-origin"), "", "other sites may not read the page");
    let known = format!("If-None-Match: {}\r\n", page.header("etag"));
    let again = ask_with(&relay, "GET", "/", &known);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = ask_with(&relay, "HEAD", "/", "");
    assert_eq!((head.status, head.header("content-length")), (200, page.body.len().to_string().as_str()));
}

#[test]
fn every_file_of_the_page_is_served() {
    let relay = Relay::start("");
    let page = get(&relay, "/").text();
    let names = page.split('"').filter(|text| text.starts_with("assets/"));
    for name in names {
        let file = get(&relay, &format!("/{name}"));
        assert_eq!(file.status, 200, "{name}");
        let kind = file.header("content-type");
        assert!(!kind.is_empty() && kind != "application/octet-stream", "{name} is {kind}");
    }
    for name in ["/assets/README.md", "/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/assets/"] {
        assert_eq!(get(&relay, name).status, 404, "{name}");
    }
}

#[test]
fn the_summary_has_the_numbers_of_the_relay() {
    let relay = Relay::start("");
    let summary = json_when(&relay, "/api/v1/summary", |json| json["cores"] == 2);
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(summary["is_draining"], false);
    for key in ["has_api", "may_read", "may_write"] {
        assert_eq!(summary[key], true, "{key}");
    }
    assert_eq!(summary["listen"]["rtmp"], serde_json::json!([relay.address().to_string()]));
    assert_eq!(summary["listen"]["http"], serde_json::json!([relay.http_address().to_string()]));
    assert_eq!(summary["memory"]["budget_bytes"], 4u64 << 30);
    assert!(summary["memory"]["resident_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(summary["open_files"].as_u64().unwrap() > 5);
    assert!(summary["open_files_limit"].as_u64().unwrap() >= summary["open_files"].as_u64().unwrap());
}

#[test]
fn a_stream_exists_from_publish_to_unpublish() {
    let relay = Relay::start("publish.publisher_grace = '0s'");
    assert_eq!(get(&relay, "/api/v1/streams").json(), serde_json::json!({"streams": [], "next": null}));
    assert_eq!(get(&relay, "/api/v1/streams/live/a").status, 404);
    let publisher = Rtmp::publishing(&relay, "live/a");
    let _other = Rtmp::started(&relay, Role::Publish, "live/b");
    let list = json_when(&relay, "/api/v1/streams", |json| json["streams"].as_array().unwrap().len() == 2);
    assert_eq!(
        (&list["streams"][0]["name"], &list["streams"][1]["name"]),
        (&"live/a".into(), &"live/b".into())
    );
    for path in ["/api/v1/streams/live/a", "/api/v1/streams/live%2Fa"] {
        let stream = get(&relay, path).json();
        assert_eq!((&stream["name"], &stream["is_live"]), (&"live/a".into(), &true.into()));
        assert_eq!(stream["players"]["total"], 0);
    }
    drop(publisher);
    json_when(&relay, "/api/v1/streams", |json| json["streams"].as_array().unwrap().len() == 1);
}

#[test]
fn missing_resources_and_invalid_requests_are_refused_with_a_problem() {
    let relay = Relay::start("");
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/streams/live/a/still.flv", 404),
        ("GET", "/api/v1/players?limit=0", 400),
        ("GET", "/api/v1/players?limit=1001", 400),
        ("GET", "/api/v1/players?limit=many", 400),
        ("GET", "/api/v1/players?after=many", 400),
        ("GET", "/api/v1/streams?limit=0", 400),
        ("GET", "/api/v1/streams?limit=1001", 400),
        ("GET", "/api/v1/players?offset=-1", 400),
        ("GET", "/api/v1/players?offset=1000001", 400),
        ("DELETE", "/api/v1/players/many", 400),
        ("DELETE", "/api/v1/players/7777", 404),
        ("DELETE", "/api/v1/publishers/7777", 404),
        ("GET", "/api/v1/nothing?limit=7", 404),
        ("GET", "/api/v1/players/7?limit=7", 405),
        ("DELETE", "/api/v1/streams?limit=7", 405),
        ("POST", "/api/v1/streams", 405),
        ("PUT", "/", 405),
    ] {
        let answer = ask_with(&relay, method, path, &bearer(&relay.token()));
        assert_eq!(answer.status, status, "{method} {path}");
        expect_problem(&answer);
        assert_eq!(answer.header("allow").is_empty(), status != 405, "{method} {path}: {answer:?}");
    }
}

#[test]
fn a_stream_s_path_without_its_ending_is_answered_with_the_whole_one() {
    let relay = Relay::start("");
    let detail = |path: &str| {
        let answer = get_with_token(&relay, path);
        assert_eq!(answer.status, 404, "{path}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    for path in ["/live/a", "/live/a/", "/live/a?start=live"] {
        assert_eq!(detail(path), "not found; a stream of this name is at /live/a.flv", "{path}");
    }
    assert_eq!(detail("/live/%E0%B8%81/b"), "not found; a stream of this name is at /live/%E0%B8%81/b.flv");
    for path in ["/nothing", "/live/a.m3u8", "/api/v1/nothing"] {
        assert_eq!(detail(path), "not found", "{path}");
    }
}

/// Each path of the API, with the parameters that it takes.
const PARAMETERS: [(&str, &str, &[&str]); 16] = [
    ("POST", "/api/v1/reload", &[]),
    ("GET", "/metrics", &[]),
    ("GET", "/api/v1/openapi.yaml", &[]),
    ("GET", "/api/v1/summary", &[]),
    ("GET", "/api/v1/cores", &[]),
    ("GET", "/api/v1/history", &[]),
    ("GET", "/api/v1/config", &[]),
    ("GET", "/api/v1/events", &[]),
    ("GET", "/api/v1/events/past", &["after=1-1"]),
    ("GET", "/api/v1/streams", &["limit=7", "after=live%2Fa"]),
    ("GET", "/api/v1/streams/live/a", &[]),
    ("GET", "/api/v1/streams/live/a/still.flv", &[]),
    ("GET", "/api/v1/players", &["stream=live%2Fa", "limit=7", "offset=0", "after=7"]),
    ("GET", "/api/v1/publishers", &[]),
    ("DELETE", "/api/v1/players/7777", &[]),
    ("DELETE", "/api/v1/publishers/7777", &["stream=live%2Fa"]),
];

#[test]
fn each_path_of_the_api_takes_its_own_parameters_once_and_no_others() {
    let documented = include_str!("../../docs/openapi.yaml");
    let paths =
        documented.lines().filter(|line| line.starts_with("  /metrics") || line.starts_with("  /api/"));
    assert_eq!(paths.count(), PARAMETERS.len(), "each path is in the table");
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    eventually("a key frame has come", SOON, || {
        (get(&relay, "/api/v1/streams/live/a/still.flv").status == 200).then_some(())
    });
    let token = format!("token={}", relay.token());
    let ask = |method: &str, path: &str, query: &str| {
        let mut http = Http::connect(relay.http_address());
        http.say(&format!("{method} {path}?{token}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        // The response of the events does not end.
        if query.is_empty() && path.ends_with("/events") { http.head() } else { http.response() }
    };
    for (method, path, own) in PARAMETERS {
        let found = if method == "DELETE" { 404 } else { 200 };
        let all: String = own.iter().map(|parameter| format!("&{parameter}")).collect();
        assert_eq!(ask(method, path, &all).status, found, "{method} {path}?{all}");
        let others = ["limit=7", "offset=0", "after=7", "stream=live%2Fa", "name=x", "Limit=7"];
        let others = others.iter().filter(|other| {
            let name = other.split('=').next().unwrap();
            own.iter().all(|own| !own.starts_with(&format!("{name}=")))
        });
        for other in others {
            let refused = ask(method, path, &format!("{all}&{other}"));
            assert_eq!(refused.status, 400, "{method} {path}?{other}");
            let (name, _) = other.split_once('=').unwrap();
            let detail = expect_problem(&refused);
            assert!(detail.contains(&format!("unknown parameter `{name}`")), "{method} {path}: {detail}");
        }
        for twice in own.iter().copied().chain([&*token]) {
            let refused = ask(method, path, &format!("{all}&{twice}"));
            let name = twice.split('=').next().unwrap();
            let detail = expect_problem(&refused);
            assert!(refused.status == 400 && detail.contains(&format!("`{name}` is given more")), "{detail}");
        }
    }
}

/// The detail of a problem, whose other fields are as they have to be.
fn expect_problem(answer: &Response) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    let problem = answer.json();
    let fields: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["detail", "status", "title", "type"]);
    assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &answer.status.into()));
    assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.is_empty(), "{problem}");
    detail.to_owned()
}

#[test]
fn streams_of_one_connection_are_listed_and_ended_one_by_one() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    publisher.publish_also(2, "b");
    let both = |json: &serde_json::Value| json["publishers"].as_array().is_some_and(|list| list.len() == 2);
    let list = json_when(&relay, "/api/v1/publishers", both);
    let id = &list["publishers"][0]["id"];
    assert_eq!(list["publishers"][1]["id"], *id);
    let names: Vec<_> = [0, 1].map(|at| list["publishers"][at]["stream"].as_str().unwrap()).into();
    assert_eq!(names, ["live/a", "live/b"]);
    let end = |query: &str| {
        let path = format!("/api/v1/publishers/{id}{query}");
        ask_with(&relay, "DELETE", &path, &bearer(&relay.token())).status
    };
    assert_eq!(end("?stream=live/c"), 404);
    assert_eq!(end("?stream=live%2Fb"), 204);
    let list = json_when(&relay, "/api/v1/publishers", |json| !both(json));
    assert_eq!(list["publishers"][0]["stream"], "live/a");
    publisher.until(&relay, "/api/v1/streams/live/a", |json| json["is_live"] == true);
    assert_eq!(end(""), 204);
    publisher.expect_closed();
}

#[test]
fn options_list_the_methods_of_a_path() {
    let relay = Relay::start("");
    for (path, status, allow) in [
        ("/api/v1/streams", 204, "GET, HEAD, OPTIONS"),
        ("/api/v1/players/7", 204, "DELETE, OPTIONS"),
        ("/", 204, "GET, HEAD, OPTIONS"),
        ("/nothing", 404, ""),
    ] {
        let answer = ask_with(&relay, "OPTIONS", path, "");
        let found: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        assert_eq!((answer.status, found.join(", ").as_str()), (status, allow), "{path}");
    }
}

#[test]
fn the_configuration_is_served_without_secrets() {
    let relay = Relay::start("api.token = 'one-of-our-secrets'\nplay.max_lag = '7s'");
    let answer = ask_with(&relay, "GET", "/api/v1/config", &bearer("one-of-our-secrets"));
    assert_eq!(answer.json()["restart_needed"], serde_json::json!([]));
    let config = answer.json()["config"].take();
    assert_eq!((&config["api"]["token"], &config["play"]["max_lag"]), (&"***".into(), &"7s".into()));
    assert!(!answer.text().contains("one-of-our-secrets"));
    assert!(!relay.log().join("\n").contains("one-of-our-secrets"));
}

#[test]
fn history_grows_by_one_sample_per_second() {
    let relay = Relay::start("");
    let history = json_when(&relay, "/api/v1/history", |json| json["samples"].as_array().unwrap().len() >= 3);
    assert_eq!(history["interval_ms"], 1000);
    let at = |index: usize| history["samples"][index]["uptime_ms"].as_u64().unwrap();
    assert!((at(1) - at(0)).abs_diff(1_000) < 500, "{history}");
}

#[test]
fn a_relay_that_shuts_down_is_not_ready() {
    let relay = Relay::start("shutdown_timeout = '5m'");
    // Reads nothing, so that the relay waits for it.
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    for _ in 0..40 {
        publisher.key_frame(&[0; 1 << 20]);
    }
    assert_eq!(get(&relay, "/readyz").text(), "ready");
    relay.signal(Signal::TERM);
    let answer = eventually("the relay is draining", SOON, || {
        let answer = get(&relay, "/readyz");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(answer.text(), "draining");
    assert_eq!(get(&relay, "/healthz").status, 200, "it is not ill");
    assert_eq!(get(&relay, "/api/v1/summary").json()["is_draining"], true);
    assert_eq!(get(&relay, "/live/a.flv").status, 503);
    relay.signal(Signal::TERM);
}

#[test]
fn two_options_say_which_origins_play_streams_and_read_the_api() {
    let from = "Origin: https://site.example\r\n";
    let allowed = |relay: &Relay, method: &str, path: &str| {
        ask_with(relay, method, path, from).header("access-control-allow-origin").to_owned()
    };
    let api = ["/api/v1/streams", "/api/v1/summary", "/api/v1/streams/live/a", "/api/v1/players", "/metrics"];

    let by_default = Relay::start("");
    assert_eq!(allowed(&by_default, "GET", "/live/a.flv"), "*");
    for path in api {
        assert_eq!(allowed(&by_default, "GET", path), "", "{path}");
        assert_eq!(allowed(&by_default, "OPTIONS", path), "", "{path}");
    }
    let preflight = ask_with(&by_default, "OPTIONS", "/api/v1/players/7", from);
    assert_eq!(preflight.status, 204);
    assert!(!preflight.header("access-control-allow-methods").contains("DELETE"), "{preflight:?}");

    let api_alone = Relay::start("http.allow_origins = []\napi.allow_origins = ['https://site.example']");
    assert_eq!(allowed(&api_alone, "GET", "/live/a.flv"), "");
    for path in api {
        assert_eq!(allowed(&api_alone, "GET", path), "https://site.example", "{path}");
        assert_eq!(allowed(&api_alone, "OPTIONS", path), "https://site.example", "{path}");
    }
    let reading = ask_with(&api_alone, "GET", "/api/v1/streams", "Origin: https://other.example\r\n");
    assert_eq!((reading.status, reading.header("access-control-allow-origin")), (200, ""));
    assert_eq!(reading.header("vary"), "Origin");
}

#[test]
fn streams_come_in_pages_that_a_name_continues() {
    let relay = Relay::start("");
    let names = ["live/a", "live/b", "live/c"];
    let mut publishers: Vec<_> = names.iter().map(|name| Some(Rtmp::publishing(&relay, name))).collect();
    names.iter().for_each(|name| relay.wait_for_publisher(name));
    let page = |after: &str| {
        let json = get(&relay, &format!("/api/v1/streams?limit=2&after={after}")).json();
        let streams = json["streams"].as_array().unwrap().iter();
        (streams.map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), json["next"].clone())
    };
    assert_eq!(page(""), (vec!["live/a".to_owned(), "live/b".to_owned()], "live/b".into()));
    assert_eq!(page("live%2Fb"), (vec!["live/c".to_owned()], serde_json::Value::Null));
    // A stream that ends between two pages does not make the next one leave out another.
    publishers[1] = None;
    eventually("live/b is gone", SOON, || (page("").0 == ["live/a", "live/c"]).then_some(()));
    assert_eq!(page("live%2Fb").0, ["live/c"]);
    assert_eq!(page("live%2Fc").0.len(), 0);
}

#[test]
fn a_long_list_is_compressed_for_a_client_that_accepts_it() {
    let relay = Relay::start("");
    let _publishers: Vec<_> =
        (0..5).map(|number| Rtmp::publishing(&relay, &format!("live/{number}"))).collect();
    (0..5).for_each(|number| relay.wait_for_publisher(&format!("live/{number}")));
    let plain = get(&relay, "/api/v1/streams");
    let compressed = ask_with(&relay, "GET", "/api/v1/streams", "Accept-Encoding: gzip\r\n");
    assert_eq!((plain.header("content-encoding"), compressed.header("content-encoding")), ("", "gzip"));
    let length = |response: &str| response.parse::<usize>().unwrap();
    assert!(
        length(compressed.header("content-length")) < length(plain.header("content-length")) / 3,
        "{} of {}",
        compressed.header("content-length"),
        plain.header("content-length")
    );
}

#[test]
fn past_events_come_first_and_then_events_as_they_happen() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut first = Http::connect(relay.http_address());
    let token = bearer(&relay.token());
    first.say(&format!("GET /api/v1/events HTTP/1.1\r\nHost: x\r\n{token}\r\n"));
    let head = first.head();
    assert_eq!((head.header("content-type"), head.header("x-accel-buffering")), ("text/event-stream", "no"));
    let (id, event) = next_event(&mut first);
    assert_eq!((&event["event"], &event["stream"]), (&"publishing".into(), &"live/a".into()));
    let _second = Rtmp::publishing(&relay, "live/b");
    let (next, event) = next_event(&mut first);
    assert_eq!((number(&next), &event["stream"]), (number(&id) + 1, &"live/b".into()));

    // A client that reconnects gets the events that it missed.
    let mut again = Http::connect(relay.http_address());
    again.say(&format!("GET /api/v1/events HTTP/1.1\r\nHost: x\r\n{token}Last-Event-ID: {id}\r\n\r\n"));
    again.head();
    assert_eq!(next_event(&mut again).0, next);
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    let (_, event) = next_event(&mut again);
    assert_eq!((&event["event"], &event["protocol"]), (&"playing".into(), &"rtmp".into()));
}

#[test]
fn when_the_relay_stops_the_events_end_with_the_last_chunk_after_the_last_event() {
    let mut relay = Relay::start("");
    let mut clients: Vec<Http> = (0..3).map(|_| Http::connect(relay.http_address())).collect();
    let token = bearer(&relay.token());
    for client in &mut clients {
        client.say(&format!("GET /api/v1/events HTTP/1.1\r\nHost: x\r\n{token}\r\n"));
        assert_eq!(client.head().header("transfer-encoding"), "chunked");
    }
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    relay.signal(Signal::TERM);
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
    for mut client in clients {
        let body = String::from_utf8(client.until_closed()).unwrap();
        assert!(body.ends_with("\r\n0\r\n\r\n"), "{body}");
        let of = |kind: &str| body.find(&format!("event: {kind}\n"));
        assert!(of("publishing") < of("draining") && of("draining") < of("publish_ended"), "{body}");
    }
}

#[test]
fn clients_have_a_name_and_the_time_since_when_they_are_there() {
    let relay = Relay::start("publish.publisher_grace = '0s'");
    let publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let agent = format!("Player\tof the {}", "long".repeat(100));
    let mut viewer = Http::connect(relay.http_address());
    viewer.say(&format!("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\n\r\n"));
    viewer.until(b"first");
    let players = json_when(&relay, "/api/v1/players", |json| json["total"] == 1);
    let (encoder, player) = ("fanfare/0.1.0", agent.replace('\t', "")[..120].to_owned());
    assert_eq!(players["players"][0]["client"], player);
    let list = |with_token: bool| {
        let ask = if with_token { get_with_token } else { get };
        let first = |path: &str, list: &str| ask(&relay, path).json()[list][0].clone();
        let of_stream = first("/api/v1/streams", "streams");
        (first("/api/v1/publishers", "publishers"), of_stream["publisher"]["client"].clone(), of_stream)
    };
    let (of_publisher, client, of_stream) = list(true);
    assert_eq!((&of_publisher["client"], &client), (&encoder.into(), &encoder.into()));
    let (of_viewer, client, _) = list(false);
    assert!(of_viewer["client"].is_null() && client.is_null(), "only for operators");

    assert_eq!(of_publisher["started_at"], of_stream["started_at"]);
    let times = [
        get(&relay, "/api/v1/summary").json()["started_at"].clone(),
        of_publisher["started_at"].clone(),
        players["players"][0]["started_at"].clone(),
    ];
    let times = times.map(|time| humantime::parse_rfc3339(time.as_str().unwrap()).unwrap());
    assert!(times.is_sorted() && times[2].elapsed().unwrap() < SOON, "{times:?}");
    assert_eq!(list(true).0["started_at"], of_publisher["started_at"], "it does not change");

    drop(viewer);
    drop(publisher);
    let events = json_when(&relay, "/api/v1/events/past", |json| {
        json["events"].as_array().is_some_and(|events| events.len() == 4)
    });
    let kinds: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let client = event["client"].as_str().unwrap();
            (event["event"].as_str().unwrap(), if client == player { "player" } else { client })
        })
        .collect();
    assert_eq!(kinds[..2], [("publishing", encoder), ("playing", "player")]);
    assert!(
        kinds.contains(&("publish_ended", encoder)) && kinds.contains(&("play_ended", "player")),
        "{kinds:?}"
    );
}

/// The number in an event's id, which is the run of the relay, a hyphen, and the number.
fn number(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// The id and the data of the next event.
fn next_event(http: &mut Http) -> (String, serde_json::Value) {
    let event = String::from_utf8(http.until(b"\n\n")).unwrap();
    let field = |name: &str| {
        let value = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in {event}"))
    };
    let data: serde_json::Value = serde_json::from_str(field("data")).unwrap();
    assert_eq!(data["event"], field("event"), "the names are the same");
    (field("id").to_owned(), data)
}

#[test]
fn a_preflight_allows_the_headers_that_the_page_wants_to_send_and_the_way_into_a_private_network() {
    let relay = Relay::start("api.allow_origins = ['https://site.example']");
    let asks = "Origin: https://site.example\r\nAccess-Control-Request-Method: GET\r\n\
                Access-Control-Request-Headers: range,x-player\r\n\
                Access-Control-Request-Private-Network: true\r\n";
    for (path, origin) in [("/live/a.flv", "*"), ("/api/v1/streams", "https://site.example")] {
        let preflight = ask_with(&relay, "OPTIONS", path, asks);
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-allow-origin"), origin, "{path}");
        assert_eq!(preflight.header("access-control-allow-headers"), "range,x-player", "{path}");
        assert_eq!(preflight.header("access-control-allow-private-network"), "true", "{path}");
    }
    let plain = ask_with(&relay, "OPTIONS", "/live/a.flv", "Origin: https://site.example\r\n");
    assert_eq!(plain.header("access-control-allow-private-network"), "");
    assert!(plain.header("access-control-allow-headers").contains("range"), "{plain:?}");
}

#[test]
fn pages_of_named_origins_may_send_cookies_and_others_may_not() {
    let relay = Relay::start("http.allow_origins = ['https://site.example']\napi.allow_origins = ['*']");
    let credentials = |path: &str, origin: &str| {
        let answer = ask_with(&relay, "GET", path, &format!("Origin: https://{origin}\r\n"));
        answer.header("access-control-allow-credentials").to_owned()
    };
    assert_eq!(credentials("/live/a.flv", "site.example"), "true");
    assert_eq!(credentials("/live/a.flv", "other.example"), "");
    assert_eq!(credentials("/api/v1/streams", "site.example"), "", "not for all origins");
}
