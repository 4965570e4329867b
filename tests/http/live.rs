//! Live bodies over HTTP: a connection of the server's becomes a player's, and nothing is lost or added on the way.

use crate::peer::{Http, Response, Rtmp, ask_with, get, json_when};
use crate::support::{Relay, SOON, eventually};

#[test]
fn a_stream_that_nobody_publishes_or_a_bad_address_is_refused_with_a_reason() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    for (path, status) in [
        ("/live/nobody.flv", 404),
        ("/live/a.flv?start=now", 400),
        ("/live/../a.flv", 400),
        ("/live/%00.flv", 400),
        ("/live/%ff.flv", 400),
        ("/live/a%3fb.flv", 400),
        (&format!("/live/{}.flv", "x".repeat(300)), 400),
        // A player of RTMP may wait for its encoder; a browser hears that there is none.
        ("/live/waiting.flv", 404),
    ] {
        let answer = get(&relay, path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"].is_string());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "a page is to see why");
    }
    let body = ask_with(&relay, "GET", "/live/a.flv", "Content-Length: 5\r\n");
    assert_eq!(body.status, 400);
}

#[test]
fn heads_and_preflights_of_live_bodies_are_answered_and_other_methods_refused() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let head = ask_with(&relay, "HEAD", "/live/a.flv", "");
    assert_eq!((head.status, head.header("content-type")), (200, "video/x-flv"));
    assert_eq!(head.header("content-length"), "", "a live body has none");
    assert_eq!(ask_with(&relay, "HEAD", "/live/nobody.flv", "").status, 404);
    let preflight = ask_with(&relay, "OPTIONS", "/live/a.flv", "Origin: https://site.example\r\n");
    assert_eq!((preflight.status, preflight.header("allow")), (204, "GET, HEAD, OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    let post = ask_with(&relay, "POST", "/live/a.flv", "");
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[test]
fn a_live_body_is_a_response_without_length_that_begins_with_flv() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    for version in ["1.1", "1.0"] {
        let mut http = Http::connect(relay.http_address());
        http.say(&format!("GET /live/a.flv HTTP/{version}\r\nHost: x\r\nOrigin: https://x.example\r\n\r\n"));
        let head = http.head();
        assert_eq!(head.status, 200);
        for (name, value) in [
            ("content-type", "video/x-flv"),
            ("connection", "close"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", "*"),
            ("content-length", ""),
            ("transfer-encoding", ""),
        ] {
            assert_eq!(head.header(name), value, "{name}");
        }
        assert_eq!(http.exactly(4), b"FLV\x01");
        http.until(b"first");
        publisher.inter_frame(format!("next{version}").as_bytes());
        http.until(format!("next{version}").as_bytes());
    }
}

#[test]
fn a_player_begins_where_its_address_says() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    // A publisher is there before its key frame is.
    still_with(&relay, b"first");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/a.flv?start=live HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.head().status, 200);
    relay.wait_for_log(&["playing", "http_flv"]);
    publisher.inter_frame(b"between");
    publisher.key_frame(b"fresh");
    let got = http.until(b"fresh");
    for earlier in [&b"first"[..], b"between"] {
        assert!(!contains(&got, earlier));
    }
}

#[test]
fn a_connection_that_asked_for_the_page_goes_on_with_a_live_body_and_no_byte_between() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    // One after the other, and both at once.
    let mut http = Http::connect(relay.http_address());
    http.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.response().status, 200);
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.head().header("content-type"), "video/x-flv");
    assert_eq!(http.exactly(3), b"FLV");

    let mut http = Http::connect(relay.http_address());
    http.say(
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
         GET /live/a.flv HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert_eq!(http.response().status, 200);
    assert_eq!(http.response().text(), "ok");
    assert_eq!(http.head().header("content-type"), "video/x-flv");
    http.until(b"first");
}

#[test]
fn responses_that_wait_for_their_reader_are_not_lost_to_a_live_body() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut http = Http::connect(relay.http_address());
    // So much that some of it waits in the server, whatever the sockets hold.
    const PAGES: usize = 4_000;
    let pages = "GET /api/v1/openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n".repeat(PAGES);
    let mut writer = http.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        writer.write_all(pages.as_bytes()).unwrap();
        writer.write_all(b"GET /live/a.flv HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    for page in 0..PAGES {
        let response = http.response();
        assert!(response.status == 200 && response.text().starts_with("openapi"), "page {page}");
    }
    writing.join().unwrap();
    assert_eq!(http.head().header("content-type"), "video/x-flv");
    publisher.key_frame(b"fresh");
    http.until(b"fresh");
}

#[test]
fn a_player_over_http_counts_and_can_be_ended_like_any_other() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    http.until(b"first");
    json_when(&relay, "/api/v1/streams/live/a", |json| json["players"]["http_flv"] == 1);
    let list = json_when(&relay, "/api/v1/players", |json| json["total"] == 1);
    let player = &list["players"][0];
    assert_eq!((&player["protocol"], &player["stream"]), (&"http_flv".into(), &"live/a".into()));
    assert_eq!(player["address"], http.socket.local_addr().unwrap().to_string());
    let path = format!("/api/v1/players/{}", player["id"]);
    assert_eq!(ask_with(&relay, "DELETE", &path, "").status, 204);
    http.until_closed();
    eventually("it is gone", SOON, || (get(&relay, "/api/v1/players").json()["total"] == 0).then_some(()));
}

#[test]
fn a_still_is_a_whole_file_with_the_newest_key_frame() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    publisher.key_frame(b"newest");
    let still = still_with(&relay, b"newest");
    assert_eq!(still.header("content-type"), "video/x-flv");
    assert!(still.body.starts_with(b"FLV\x01"));
    assert!(!contains(&still.body, b"first"));
}

/// The still, once its key frame is this one.
fn still_with(relay: &Relay, mark: &[u8]) -> Response {
    eventually("the key frame is there", SOON, || {
        let still = get(relay, "/api/v1/streams/live/a/still.flv");
        (still.status == 200 && contains(&still.body, mark)).then_some(still)
    })
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

#[test]
fn facts_of_a_stream_are_what_its_encoder_sends() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let stream = publisher.until(&relay, "/api/v1/streams/live/a", |json| {
        json["frames_in"].as_u64() >= Some(8) && json["kbps"].as_u64() > Some(0)
    });
    assert_eq!(stream["video"]["codec_string"], "avc1.64001F");
    assert_eq!(stream["video"]["width"], 1280);
    // One every 40 ms, as this test sends them; on a busy machine they come in bursts.
    assert!((1.0..=100.0).contains(&stream["video"]["fps"].as_f64().unwrap()), "{stream}");
    assert_eq!(stream["audio"]["codec_string"], "mp4a.40.2");
    assert_eq!(stream["encoder"], "fanfare's tests");
    assert!(stream["publisher"]["id"].is_u64() && stream["silent_ms"].is_u64(), "{stream}");
}
