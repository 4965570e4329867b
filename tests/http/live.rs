//! Live bodies over HTTP: a connection of the server's becomes a player's, and nothing is lost or added on the way.

use std::net::Shutdown;

use fanfare::flv::FrameKind;
use fanfare::rtmp::client::Role;

use crate::peer::{Http, Response, Rtmp, ask_with, bearer, get, get_with_token, json_when};
use crate::support::{Relay, SOON, eventually};

#[test]
fn a_stream_that_nobody_publishes_or_a_bad_address_is_refused_with_a_reason() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    for (path, status) in [
        ("/live/nobody.flv", 404),
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
fn an_invalid_start_is_refused_with_the_same_sentence_over_http_and_rtmp() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let over_http = get(&relay, "/live/a.flv?start=nonsense");
    assert_eq!(over_http.status, 400);
    let sentence = "start must be keyframe or live".to_owned();
    assert_eq!(over_http.json()["error"], sentence);
    let over_rtmp = Rtmp::refusal(&relay, Role::Play, "live/a?start=nonsense");
    assert_eq!(over_rtmp, ("NetStream.Play.Failed".to_owned(), sentence));
    // What players append that seek in files.
    assert_eq!(ask_with(&relay, "HEAD", "/live/a.flv?start=0", "").status, 200);
    drop(Rtmp::started(&relay, Role::Play, "live/a?start=0"));
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
fn a_live_body_is_flv_in_chunks_for_http_1_1_and_bare_for_http_1_0() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    for (number, (version, coding)) in [("1.1", "chunked"), ("1.0", "")].into_iter().enumerate() {
        let mut http = Http::connect(relay.http_address());
        http.say(&format!(
            "GET /live/a.flv HTTP/{version}\r\nHost: x\r\nAccept: */*\r\nOrigin: https://x.example\r\n\r\n"
        ));
        let head = http.head();
        assert_eq!(head.status, 200);
        relay.wait_for_logs(number + 1, &["playing", "http_flv"], SOON);
        publisher.inter_frame(b"next");
        for (name, value) in [
            ("content-type", "video/x-flv"),
            ("connection", "close"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", "*"),
            ("content-length", ""),
            ("transfer-encoding", coding),
        ] {
            assert_eq!(head.header(name), value, "{name}");
        }
        if coding == "chunked" {
            assert_eq!(http.exactly(3), b"D\r\n");
        }
        assert_eq!(http.exactly(4), b"FLV\x01");
        http.until(b"first");
        publisher.inter_frame(format!("next{version}").as_bytes());
        http.until(format!("next{version}").as_bytes());
    }
}

#[test]
fn a_client_that_says_nothing_of_itself_gets_the_bare_file() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = http.head();
    assert_eq!((head.header("transfer-encoding"), head.header("connection")), ("", "close"));
    relay.wait_for_log(&["playing", "http_flv"]);
    publisher.inter_frame(b"next");
    assert_eq!(http.exactly(4), b"FLV\x01");
    http.until(b"first");
}

/// Reads a body to its end: the data of its chunks. One that does not end with the last chunk and then the connection
/// fails the test.
fn chunked_body(http: &mut Http) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = http.until(b"\r\n");
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{error}: {digits:?}"));
        body.extend(http.exactly(size));
        assert_eq!(http.exactly(2), b"\r\n");
        if size == 0 {
            assert_eq!(http.until_closed(), b"", "nothing comes after the last chunk");
            return body;
        }
    }
}

/// All of a body that begins with a file's header and ends with a tag.
fn expect_whole_file(mut file: &[u8]) {
    file = file.strip_prefix(b"FLV\x01").map(|rest| &rest[9..]).expect("a file's header");
    while let Some(&[_, a, b, c, ..]) = file.first_chunk::<11>() {
        file = &file[11 + u32::from_be_bytes([0, a, b, c]) as usize + 4..];
    }
    assert_eq!(file, b"", "no tag is cut off");
}

#[test]
fn a_body_ends_as_its_version_of_http_says_whatever_ends_it() {
    // How it ends, and what makes it.
    type Ending = fn(&Relay, Rtmp) -> Option<Rtmp>;
    let endings: [(&str, Ending); 4] = [
        ("the encoder goes and does not come back", |_, publisher| {
            drop(publisher);
            None
        }),
        ("the operator ends it", |relay, publisher| {
            let list = json_when(relay, "/api/v1/players", |json| json["total"] == 1);
            let path = format!("/api/v1/players/{}", list["players"][0]["id"]);
            assert_eq!(ask_with(relay, "DELETE", &path, &bearer(&relay.token())).status, 204);
            Some(publisher)
        }),
        ("the operator ends it amid frames", |relay, mut publisher| {
            let list = json_when(relay, "/api/v1/players", |json| json["total"] == 1);
            publisher.key_frame(&[7; 3_000_000]);
            let path = format!("/api/v1/players/{}", list["players"][0]["id"]);
            assert_eq!(ask_with(relay, "DELETE", &path, &bearer(&relay.token())).status, 204);
            Some(publisher)
        }),
        ("the relay stops", |relay, publisher| {
            relay.signal(crate::support::Signal::TERM);
            Some(publisher)
        }),
    ];
    for (what, end) in endings {
        for version in ["1.1", "1.0"] {
            let relay = Relay::start("publish.publisher_grace = '1s'");
            let mut publisher = Rtmp::publishing(&relay, "live/a");
            relay.wait_for_publisher("live/a");
            let mut http = Http::connect(relay.http_address());
            http.say(&format!("GET /live/a.flv HTTP/{version}\r\nHost: x\r\nUser-Agent: x\r\n\r\n"));
            assert_eq!(http.head().status, 200);
            // The first player of a format gets its log with the next frame.
            relay.wait_for_log(&["playing", "http_flv"]);
            publisher.inter_frame(b"next");
            let begun = http.until(b"first");
            http.unread.splice(0..0, begun);
            let _publisher = end(&relay, publisher);
            let body = match version {
                "1.1" => chunked_body(&mut http),
                _ => http.until_closed(),
            };
            assert!(contains(&body, b"first"), "{what}");
            expect_whole_file(&body);
        }
    }
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_live_body_all_the_same() {
    let relay = Relay::start("publish.publisher_grace = '1s'");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    // Before the relay has read its request, and when the body is under way.
    for is_at_once in [true, false] {
        let mut http = Http::connect(relay.http_address());
        http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
        if is_at_once {
            http.socket.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(http.head().status, 200);
        http.until(b"first");
        if !is_at_once {
            http.socket.shutdown(Shutdown::Write).unwrap();
        }
        for i in 0..20 {
            let mark = format!("after{i}");
            publisher.inter_frame(mark.as_bytes());
            http.until(mark.as_bytes());
        }
        assert_eq!(json_when(&relay, "/api/v1/players", |json| json["total"] == 1)["total"], 1);
        drop(http);
        // The next frames find out that it has gone.
        publisher.until(&relay, "/api/v1/players", |json| json["total"] == 0);
        relay.wait_for_log(&["closed", "closed by peer"]);
    }
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
    http.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(http.head().status, 200);
    relay.wait_for_logs(3, &["playing", "http_flv"], SOON);
    publisher.inter_frame(b"last");
    let begun = http.until(b"last");
    http.unread.splice(0..0, begun);
    drop(publisher);
    expect_whole_file(&chunked_body(&mut http));
}

#[test]
fn a_viewer_that_comes_during_the_grace_waits_for_the_encoder_whether_others_wait_or_not() {
    let relay = Relay::start("publish.publisher_grace = '5s'");
    let publisher = Rtmp::publishing(&relay, "live/a");
    let announced = Rtmp::started(&relay, Role::Publish, "live/b");
    still_with(&relay, b"first");
    drop((publisher, announced));
    relay.wait_for_publisher_gone("live/a");
    relay.wait_for_publisher_gone("live/b");
    // Nobody has watched it so far: the first comes alone, the second does not.
    let mut viewers = [(); 2].map(|()| {
        let mut http = Http::connect(relay.http_address());
        http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
        assert_eq!(http.head().status, 200);
        http
    });
    assert_eq!(ask_with(&relay, "HEAD", "/live/a.flv", "").status, 200);
    assert_eq!(get(&relay, "/live/b.flv").status, 404, "it never was more than a name");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    viewers.iter_mut().for_each(|http| drop(http.until(b"first")));
}

#[test]
fn a_name_is_no_longer_known_when_the_grace_is_over_whoever_waits_for_it() {
    let relay = Relay::start("publish.publisher_grace = '300ms'");
    let publisher = Rtmp::publishing(&relay, "live/a");
    still_with(&relay, b"first");
    // A player of RTMP waits for longer than that.
    let _waiting = Rtmp::started(&relay, Role::Play, "live/a");
    drop(publisher);
    relay.wait_for_publisher_gone("live/a");
    let gone = || (ask_with(&relay, "HEAD", "/live/a.flv", "").status == 404).then_some(());
    eventually("the name is forgotten", SOON, gone);
}

#[test]
fn an_app_may_be_called_as_any_path_of_http_but_a_version_of_the_api() {
    let relay = Relay::start("");
    let names = [
        "api/a",
        "assets/a",
        "assets/js/main.js",
        "metrics",
        "healthz/a",
        "index.html",
        "favicon.ico",
        "api/v1",
    ];
    for name in names {
        let mut publisher = Rtmp::publishing(&relay, name);
        relay.wait_for_publisher(name);
        let mut http = Http::connect(relay.http_address());
        http.say(&format!("GET /{name}.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n"));
        assert_eq!(http.head().status, 200, "{name}");
        relay.wait_for_log(&["playing", &format!("stream=\"{name}\"")]);
        publisher.inter_frame(b"next");
        http.until(b"first");
    }
    for (path, status) in
        [("/api/v1/summary", 200), ("/assets/js/main.js", 200), ("/metrics", 200), ("/healthz", 200)]
    {
        assert_eq!(get(&relay, path).status, status, "{path} is what it was");
    }
    // Such a stream could not be watched over HTTP, so nobody begins to publish it.
    for name in ["api/v1/a", "api/v1/streams/live/a/still", "api/v2/a"] {
        Rtmp::refused(&relay, name, "NetStream.Publish.BadName");
        assert_eq!(get_with_token(&relay, &format!("/{name}.flv")).status, 404, "{name}");
    }
}

#[test]
fn a_player_begins_where_its_address_says() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    // A publisher is there before its key frame is.
    still_with(&relay, b"first");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/a.flv?start=live HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
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
    http.say("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
    assert_eq!(http.response().status, 200);
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
    assert_eq!(http.head().header("content-type"), "video/x-flv");
    assert_eq!(http.exactly(6), b"D\r\nFLV");

    let mut http = Http::connect(relay.http_address());
    http.say(
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
         GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
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
    let pages = "GET /api/v1/openapi.yaml HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n".repeat(PAGES);
    let mut writer = http.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        writer.write_all(pages.as_bytes()).unwrap();
        writer.write_all(b"GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n").unwrap();
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
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
    http.until(b"first");
    json_when(&relay, "/api/v1/streams/live/a", |json| json["players"]["http_flv"] == 1);
    let list = json_when(&relay, "/api/v1/players", |json| json["total"] == 1);
    let player = &list["players"][0];
    assert_eq!((&player["protocol"], &player["stream"]), (&"http_flv".into(), &"live/a".into()));
    assert_eq!(player["address"], http.socket.local_addr().unwrap().to_string());
    let path = format!("/api/v1/players/{}", player["id"]);
    assert_eq!(ask_with(&relay, "DELETE", &path, &bearer(&relay.token())).status, 204);
    http.until_closed();
    json_when(&relay, "/api/v1/players", |json| json["total"] == 0);
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

#[test]
fn size_rate_and_channels_are_the_headers_also_after_a_change_in_mid_stream() {
    // 1918 x 1078 at 29.97 frames a second, by x264; 48 kHz in one channel. What the metadata say is of before.
    const SET: &[u8] =
        b"\x01\x64\0\x28\xff\xe1\0\x1a\x67\x64\0\x28\xac\xd9\x40\x78\x02\x27\xa9\xb0\x11\0\0\x03\x03\
                         \xe9\0\0\xea\x60\x0f\x18\x31\x96";
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let path = "/api/v1/streams/live/a";
    publisher.until(&relay, path, |json| json["video"]["width"] == 1280 && json["audio"]["channels"] == 2);
    publisher.send(FrameKind::Video, [b"\x17\0\0\0\0", SET].concat());
    publisher.send(FrameKind::Audio, b"\xaf\0\x11\x88".to_vec());
    publisher.key_frame(b"other");
    let stream = publisher
        .until(&relay, path, |json| json["video"]["width"] == 1918 && json["audio"]["channels"] == 1);
    assert_eq!(
        (&stream["video"]["height"], &stream["video"]["codec_string"]),
        (&1078.into(), &"avc1.640028".into())
    );
    assert_eq!(stream["audio"]["sample_rate"], 48_000);
    assert_eq!((&stream["video_tracks"], &stream["audio_tracks"]), (&1.into(), &1.into()));
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
    assert!(stream["publisher"]["id"].is_u64() && stream["idle_ms"].is_u64(), "{stream}");
}
