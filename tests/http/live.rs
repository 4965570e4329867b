//! Streams over HTTP: a connection of the HTTP server becomes a player's, and no byte is lost or added.

use std::net::Shutdown;

use fanfare::flv::FrameKind;
use fanfare::rtmp::client::Role;

use crate::peer::{Http, Response, Rtmp, ask_with, bearer, get, get_with_token, json_when};
use crate::support::{Relay, SOON, eventually};

#[test]
fn an_unpublished_stream_or_an_invalid_path_is_refused_with_a_reason() {
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
        // An RTMP player may wait for its publisher; a browser gets an error.
        ("/live/waiting.flv", 404),
    ] {
        let answer = get(&relay, path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert!(answer.json()["detail"].is_string());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "a page can read the reason");
    }
    let body = ask_with(&relay, "GET", "/live/a.flv", "Content-Length: 5\r\n");
    assert_eq!(body.status, 400);
}

#[test]
fn an_invalid_start_is_refused_with_the_same_message_over_http_and_rtmp() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let over_http = get(&relay, "/live/a.flv?start=nonsense");
    assert_eq!(over_http.status, 400);
    let message = "start must be keyframe or live".to_owned();
    assert_eq!(over_http.json()["detail"], message);
    let over_rtmp = Rtmp::refusal(&relay, Role::Play, "live/a?start=nonsense");
    assert_eq!(over_rtmp, ("NetStream.Play.Failed".to_owned(), message));
    // Players that seek in files append this.
    assert_eq!(ask_with(&relay, "HEAD", "/live/a.flv?start=0", "").status, 200);
    drop(Rtmp::started(&relay, Role::Play, "live/a?start=0"));
}

#[test]
fn head_and_preflight_requests_for_streams_are_answered_and_other_methods_refused() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let head = ask_with(&relay, "HEAD", "/live/a.flv", "");
    assert_eq!((head.status, head.header("content-type")), (200, "video/x-flv"));
    assert_eq!(head.header("content-length"), "", "a stream has no length");
    assert_eq!(ask_with(&relay, "HEAD", "/live/nobody.flv", "").status, 404);
    let preflight = ask_with(&relay, "OPTIONS", "/live/a.flv", "Origin: https://site.example\r\n");
    assert_eq!((preflight.status, preflight.header("allow")), (204, "GET, HEAD, OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    let post = ask_with(&relay, "POST", "/live/a.flv", "");
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[test]
fn a_stream_is_flv_in_chunks_for_http_1_1_and_without_for_http_1_0() {
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
            ("x-accel-buffering", "no"),
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
fn the_line_of_a_player_over_http_has_its_user_agent() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: VLC/3.0.18 LibVLC/3.0.18\r\n\r\n");
    relay.wait_for_log(&["playing", "http_flv", "client=\"VLC/3.0.18 LibVLC/3.0.18\""]);
}

#[test]
fn a_client_that_sends_no_headers_gets_no_chunks() {
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

/// Reads a body to its end and returns the data of its chunks. The test fails if the body does not end with the last
/// chunk and then the end of the connection.
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

/// Checks that a body starts with the header of an FLV file and ends with a complete tag.
fn expect_whole_file(mut file: &[u8]) {
    file = file.strip_prefix(b"FLV\x01").map(|rest| &rest[9..]).expect("a file's header");
    while let Some(&[_, a, b, c, ..]) = file.first_chunk::<11>() {
        file = &file[11 + u32::from_be_bytes([0, a, b, c]) as usize + 4..];
    }
    assert_eq!(file, b"", "no tag is cut off");
}

#[test]
fn a_body_ends_as_its_http_version_requires_whatever_ends_the_stream() {
    // The cause, and how the test brings it about.
    type Ending = fn(&Relay, Rtmp) -> Option<Rtmp>;
    let endings: [(&str, Ending); 4] = [
        ("the encoder disconnects and does not reconnect", |_, publisher| {
            drop(publisher);
            None
        }),
        ("the operator disconnects it", |relay, publisher| {
            let list = json_when(relay, "/api/v1/players", |json| json["total"] == 1);
            let path = format!("/api/v1/players/{}", list["players"][0]["id"]);
            assert_eq!(ask_with(relay, "DELETE", &path, &bearer(&relay.token())).status, 204);
            Some(publisher)
        }),
        ("the operator disconnects it between frames", |relay, mut publisher| {
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
            // The first player of a format gets data with the next frame.
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
fn a_client_that_closes_its_sending_side_still_gets_its_stream() {
    let relay = Relay::start("publish.publisher_grace = '1s'");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    // Before the relay has read the request, and after the body has begun.
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
        // When the next frames are sent, the relay notices that it has disconnected.
        publisher.until(&relay, "/api/v1/players", |json| json["total"] == 0);
        relay.wait_for_log(&["closed", "closed_by_peer"]);
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
fn a_viewer_that_connects_during_the_grace_waits_whether_others_wait_or_not() {
    let relay = Relay::start("publish.publisher_grace = '5s'");
    let publisher = Rtmp::publishing(&relay, "live/a");
    let announced = Rtmp::started(&relay, Role::Publish, "live/b");
    still_with(&relay, b"first");
    drop((publisher, announced));
    relay.wait_for_publisher_gone("live/a");
    relay.wait_for_publisher_gone("live/b");
    // The stream had no viewers: the first one waits alone, the second one does not.
    let mut viewers = [(); 2].map(|()| {
        let mut http = Http::connect(relay.http_address());
        http.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n");
        assert_eq!(http.head().status, 200);
        http
    });
    assert_eq!(ask_with(&relay, "HEAD", "/live/a.flv", "").status, 200);
    assert_eq!(get(&relay, "/live/b.flv").status, 404, "it was never published");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    viewers.iter_mut().for_each(|http| drop(http.until(b"first")));
}

#[test]
fn after_the_grace_a_stream_does_not_exist_even_if_rtmp_players_wait_for_it() {
    let relay = Relay::start("publish.publisher_grace = '300ms'");
    let publisher = Rtmp::publishing(&relay, "live/a");
    still_with(&relay, b"first");
    // An RTMP player waits longer than that.
    let _waiting = Rtmp::started(&relay, Role::Play, "live/a");
    drop(publisher);
    relay.wait_for_publisher_gone("live/a");
    let gone = || (ask_with(&relay, "HEAD", "/live/a.flv", "").status == 404).then_some(());
    eventually("the stream no longer exists", SOON, gone);
}

#[test]
fn an_app_may_have_the_name_of_any_http_path_except_the_api_versions() {
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
        assert_eq!(get(&relay, path).status, status, "{path} is unchanged");
    }
    // Such a stream could not be watched over HTTP, so publishing it is refused.
    for name in ["api/v1/a", "api/v1/streams/live/a/still", "api/v2/a"] {
        Rtmp::refused(&relay, name, "NetStream.Publish.BadName");
        assert_eq!(get_with_token(&relay, &format!("/{name}.flv")).status, 404, "{name}");
    }
}

#[test]
fn a_player_starts_where_its_url_says() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    // The publisher exists before its key frame does.
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
fn a_connection_that_requested_the_page_continues_with_a_stream_and_no_byte_between() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    // One request after the other, and both at once.
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
fn unread_responses_are_not_lost_when_the_connection_becomes_a_player() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut http = Http::connect(relay.http_address());
    // So much that some of it waits in the server, whatever the socket buffers hold.
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
fn a_player_over_http_is_counted_and_can_be_disconnected_like_any_other() {
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
    assert_eq!(player["peer"], http.socket.local_addr().unwrap().to_string());
    let path = format!("/api/v1/players/{}", player["id"]);
    assert_eq!(ask_with(&relay, "DELETE", &path, &bearer(&relay.token())).status, 204);
    http.until_closed();
    json_when(&relay, "/api/v1/players", |json| json["total"] == 0);
}

#[test]
fn a_still_is_a_complete_file_with_the_newest_key_frame() {
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
fn size_rate_and_channels_follow_the_sequence_headers_also_after_a_change() {
    // 1918 x 1078 at 29.97 frames per second, by x264; 48 kHz in one channel. The metadata has the values of before.
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
    assert_eq!(stream["audio"]["sample_rate_hz"], 48_000);
    assert_eq!((&stream["video_tracks"], &stream["audio_tracks"]), (&1.into(), &1.into()));
}

/// The still, as soon as it has this key frame.
fn still_with(relay: &Relay, mark: &[u8]) -> Response {
    eventually("the key frame has come", SOON, || {
        let still = get(relay, "/api/v1/streams/live/a/still.flv");
        (still.status == 200 && contains(&still.body, mark)).then_some(still)
    })
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

#[test]
fn the_fields_of_a_stream_match_what_its_encoder_sends() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    let stream = publisher.until(&relay, "/api/v1/streams/live/a", |json| {
        json["received_frames"].as_u64() >= Some(8) && json["received_kbps"].as_u64() > Some(0)
    });
    assert_eq!(stream["video"]["codec_string"], "avc1.64001F");
    assert_eq!(stream["video"]["width"], 1280);
    // One frame every 40 ms, as this test sends them; on a busy machine they come in bursts.
    assert!((1.0..=100.0).contains(&stream["video"]["fps"].as_f64().unwrap()), "{stream}");
    assert_eq!(stream["audio"]["codec_string"], "mp4a.40.2");
    assert_eq!(stream["encoder"], "fanfare's tests");
    assert!(stream["publisher"]["id"].is_u64() && stream["idle_ms"].is_u64(), "{stream}");
}
