//! Questions and their answers.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::rtmp::client::Role;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::peer::{Rtmp, ask_with, get};
use crate::support::web_service::{Reply, WebService};
use crate::support::{Relay, SOON, Signal};

/// A relay that asks this service to publish and to play.
pub fn relay_with(service: &WebService, more: &str) -> Relay {
    let url = service.url("/hooks");
    Relay::start(&format!("[hooks]\non_publish = ['{url}']\non_play = ['{url}']\n{more}\n"))
}

#[test]
fn srs_s_service_is_asked_and_lets_in() {
    let service = WebService::start(|_| Reply::yes());
    let relay = relay_with(&service, "dialect = 'srs'");
    let _publisher = Rtmp::publishing(&relay, "live/show?key=hunter22");
    relay.wait_for_publisher("live/show");
    let _player = Rtmp::started(&relay, Role::Play, "live/show?token=1");
    let requests = service.wait_for(2);
    let [publish, play] = [requests[0].json(), requests[1].json()];
    assert_eq!(requests[0].method, "POST");
    assert_eq!(requests[0].path, "/hooks");
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(publish["action"], "on_publish");
    assert_eq!(publish["ip"], "127.0.0.1");
    assert_eq!(publish["app"], "live");
    assert_eq!(publish["stream"], "show");
    assert_eq!(publish["param"], "?key=hunter22");
    assert_eq!(publish["tcUrl"], format!("rtmp://{}/live", relay.address()));
    assert_eq!(publish["stream_url"], "/live/show");
    assert_eq!((&play["action"], &play["param"]), (&"on_play".into(), &"?token=1".into()));
    assert_ne!(publish["client_id"], play["client_id"]);
    assert_eq!(publish["stream_id"], play["stream_id"]);
    assert_eq!(publish["server_id"], play["server_id"]);
    assert_eq!(service.connections(), 1, "the connection is used again");
}

#[test]
fn the_reason_for_a_refusal_reaches_the_client_and_the_log_and_no_secret_does() {
    let service = WebService::start(|_| Reply::no("no such key: hunter22"));
    let relay = relay_with(&service, "");
    let refusal = Rtmp::refusal(&relay, Role::Publish, "live/show?key=hunter22");
    assert_eq!(refusal, ("NetStream.Publish.Denied".to_owned(), "no such key: ***".to_owned()));
    let refusal = Rtmp::refusal(&relay, Role::Play, "live/show?key=hunter22");
    assert_eq!(refusal, ("NetStream.Play.Failed".to_owned(), "no such key: ***".to_owned()));
    let answer = get(&relay, "/live/show.flv?key=hunter22");
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (403, Some("no such key: ***")));
    relay.wait_for_log(&["publisher refused: access denied", "no such key: ***", "hook"]);
    relay.wait_for_log(&["player refused: access denied", "no such key: ***", "hook"]);
    assert!(!relay.log().iter().any(|line| line.contains("hunter22")), "{:#?}", relay.log());
    let metrics = get(&relay, "/metrics").text();
    assert!(
        metrics.contains("fanfare_hook_requests_total{hook=\"on_publish\",result=\"no\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("fanfare_hook_requests_total{hook=\"on_play\",result=\"no\"} 2"), "{metrics}");
}

#[test]
fn all_of_several_services_have_to_agree_and_the_first_refusal_is_the_answer() {
    let (one, other) = (WebService::start(|_| Reply::yes()), WebService::start(|_| Reply::no("not here")));
    let last = WebService::start(|_| Reply::yes());
    let urls = [&one, &other, &last].map(|service| format!("'{}'", service.url("/"))).join(", ");
    let relay = Relay::start(&format!("[hooks]\non_publish = [{urls}]\n"));
    assert_eq!(Rtmp::refusal(&relay, Role::Publish, "live/show").1, "not here");
    assert_eq!([&one, &other, &last].map(|service| service.requests().len()), [1, 1, 0]);
}

/// Before SRS 5.0.212 it was said before, and OBS reconnected for ever.
#[test]
fn the_publisher_hears_of_its_start_after_the_yes() {
    let (release, is_released) = mpsc::channel();
    let is_released = Mutex::new(is_released);
    let service = WebService::start(move |_| {
        let _: Instant = is_released.lock().unwrap().recv().unwrap();
        Reply::yes()
    });
    let relay = Arc::new(relay_with(&service, ""));
    let publisher = thread::spawn({
        let relay = relay.clone();
        move || (Rtmp::started(&relay, Role::Publish, "live/show"), Instant::now())
    });
    service.wait_for(1);
    assert!(!relay.log().iter().any(|line| line.contains("publishing")));
    let released = Instant::now();
    release.send(released).unwrap();
    let (_publisher, started) = publisher.join().unwrap();
    assert!(started >= released);
    relay.wait_for_publisher("live/show");
}

#[test]
fn an_encoder_that_goes_away_while_it_is_asked_about_leaves_its_name_free() {
    let (release, is_released) = mpsc::channel();
    let is_released = Mutex::new(is_released);
    let service = WebService::start(move |request| {
        if request.body.contains("slow=1") {
            let () = is_released.lock().unwrap().recv().unwrap();
        }
        Reply::yes()
    });
    let relay = relay_with(&service, "timeout = '9s'");
    let is_asked = || !service.requests().is_empty();
    drop(Rtmp::requesting(&relay, Role::Publish, "live/show?slow=1", is_asked));
    relay.wait_for_log(&["closed"]);
    let _publisher = Rtmp::publishing(&relay, "live/show");
    // The answer about the first one comes now, and changes nothing.
    release.send(()).unwrap();
    let _player = Rtmp::started(&relay, Role::Play, "live/show");
    drop(Rtmp::started(&relay, Role::Publish, "live/another"));
    relay.wait_for_publisher("live/another");
    assert_eq!(
        relay.log().iter().filter(|line| line.contains(" publishing")).count(),
        2,
        "{:#?}",
        relay.log()
    );
}

#[test]
fn nginx_rtmp_s_service_renames_and_redirects_by_location() {
    let service = WebService::start(|request| {
        let has = |text: &str| request.body.contains(text);
        match () {
            () if has("call=connect") && has("app=old&") => Reply::Location(302, "live".to_owned()),
            () if has("call=connect") && has("app=far&") => {
                Reply::Location(302, "rtmp://198.51.100.1/live".to_owned())
            }
            () if has("name=secret-key&") => Reply::Location(302, "show".to_owned()),
            () if has("name=elsewhere&") => Reply::Location(301, "rtmp://198.51.100.1/live/show".to_owned()),
            () if has("name=bad&") => Reply::Status(404, String::new()),
            () => Reply::Status(204, String::new()),
        }
    });
    let url = service.url("/auth");
    let relay = Relay::start(&format!(
        "[hooks]\ndialect = 'nginx-rtmp'\non_connect = ['{url}']\non_publish = ['{url}']\non_play = ['{url}']\n"
    ));
    let _publisher = Rtmp::publishing(&relay, "live/secret-key");
    relay.wait_for_log(&["publishing", "live/show"]);
    let _player = Rtmp::started(&relay, Role::Play, "old/show");
    relay.wait_for_log(&["playing", "live/show"]);
    assert_eq!(Rtmp::refusal(&relay, Role::Play, "live/bad").0, "NetStream.Play.Failed");
    for (name, role) in [("live/elsewhere", Role::Play), ("far/show", Role::Publish)] {
        let (code, description) = Rtmp::refusal(&relay, role, name);
        assert!(description.contains("rtmp://198.51.100.1/live"), "{code} {description}");
    }
    let requests = service.requests();
    assert_eq!(requests[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert!(requests[0].body.starts_with("app=live&flashver="), "{:?}", requests[0]);
    assert!(requests[1].body.contains("&call=publish&name=secret-key&type=live"), "{:?}", requests[1]);
}

/// The stream's address as the service writes it, and whether it is one.
#[test]
fn another_name_is_the_same_stream_for_players_over_http_and_rtmp() {
    let names = [
        ("show", true),
        ("show.flv", true),
        ("flv:show", true),
        ("/live/show", true),
        ("live//show/", true),
        ("live/_definst_/show.flv", true),
        ("live/../live/show", false),
        ("live/show?start=live", false),
    ];
    let service = WebService::start(move |request| {
        let asked_for = names.iter().zip(0..).find(|(_, at)| request.body.contains(&format!("name=a{at}&")));
        match asked_for {
            Some(((name, _), _)) => Reply::Location(302, (*name).to_owned()),
            None => Reply::Status(204, String::new()),
        }
    });
    let relay = relay_with(&service, "dialect = 'nginx-rtmp'");
    let _publisher = Rtmp::publishing(&relay, "live/show");
    relay.wait_for_publisher("live/show");
    for ((name, is_valid), at) in names.into_iter().zip(0..) {
        let over_rtmp = Rtmp::answer(&relay, Role::Play, &format!("live/a{at}")).is_ok();
        let over_http = ask_with(&relay, "HEAD", &format!("/live/a{at}.flv"), "").status;
        assert_eq!((over_rtmp, over_http), (is_valid, if is_valid { 200 } else { 403 }), "{name}");
    }
    relay.wait_for_logs(
        names.iter().filter(|(_, is_valid)| *is_valid).count(),
        &["playing", "live/show"],
        SOON,
    );
}

#[test]
fn each_request_is_signed_and_a_get_in_its_query() {
    let service = WebService::start(|_| Reply::yes());
    let url = service.url("/auth?a=b");
    let relay = Relay::start(&format!(
        "[hooks]\nsecret = ['our-secret', 'an-older-one']\ndialect = 'nginx-rtmp'\nnotify_method = 'get'\non_publish = ['{url}']\n"
    ));
    let posted = relay_with(&service, "secret = 'our-secret'");
    drop(Rtmp::started(&relay, Role::Publish, "live/show?key=1"));
    drop(Rtmp::started(&posted, Role::Publish, "live/show?key=1"));
    let [get, post] = &service.wait_for(2)[..] else { panic!("two requests") };
    assert_eq!((get.method.as_str(), get.body.as_str()), ("GET", ""));
    let query = get.path.strip_prefix("/auth?a=b&").expect("the fields follow");
    assert!(query.starts_with("app=live&") && query.ends_with("&key=1"), "{query}");
    for (request, signed) in [(get, query), (post, &*post.body)] {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"our-secret").unwrap();
        mac.update(signed.as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(request.header("x-fanfare-signature"), Some(&*format!("sha256={hex}")));
    }
}

#[test]
fn mediamtx_s_service_gets_credentials_and_asks_for_them_by_401() {
    let service = WebService::start(|request| {
        let json = request.json();
        match json["action"] == "publish" || json["user"] == "ann" && json["password"] == "hunter22" {
            true => Reply::Status(204, String::new()),
            false => Reply::Status(401, String::new()),
        }
    });
    let relay = relay_with(&service, "dialect = 'mediamtx'");
    let _publisher = Rtmp::publishing(&relay, "live/show");
    relay.wait_for_publisher("live/show");
    let _player = Rtmp::started(&relay, Role::Play, "live/show?user=ann&pass=hunter22");
    assert_eq!(Rtmp::refusal(&relay, Role::Play, "live/show?user=ann&pass=wrong").0, "NetStream.Play.Failed");
    let answer = get(&relay, "/live/show.flv");
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Basic"), "{answer:?}");
    let basic = "Authorization: Basic YW5uOmh1bnRlcjIy\r\n";
    assert_eq!(ask_with(&relay, "HEAD", "/live/show.flv", basic).status, 200);
    let [publish, play, ..] = &service.requests()[..] else { panic!("some requests") };
    let (publish, play) = (publish.json(), play.json());
    assert_eq!((&publish["path"], &publish["protocol"]), (&"live/show".into(), &"rtmp".into()));
    assert_eq!((&play["action"], &play["query"]), (&"read".into(), &"user=ann&pass=hunter22".into()));
}

#[test]
fn the_own_dialect_s_service_names_the_stream_and_how_long_it_may_last() {
    let service = WebService::start(|request| {
        let data = match request.action().as_str() {
            "on_publish" => "{\"name\":\"show\",\"user\":\"ann\"}",
            _ => "{\"expire\":0.5}",
        };
        Reply::Status(200, format!("{{\"code\":0,\"data\":{data}}}"))
    });
    let relay = relay_with(&service, "");
    let _publisher = Rtmp::publishing(&relay, "live/secret-key");
    relay.wait_for_log(&["publishing", "live/show"]);
    let started = Instant::now();
    Rtmp::started(&relay, Role::Play, "live/show").expect_closed();
    assert!(
        started.elapsed() < SOON && started.elapsed() >= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn after_a_reload_the_new_service_is_asked() {
    let (old, new) = (WebService::start(|_| Reply::yes()), WebService::start(|_| Reply::no("closed")));
    let relay = relay_with(&old, "cache = '1h'");
    let _publisher = Rtmp::publishing(&relay, "live/show");
    drop(Rtmp::started(&relay, Role::Play, "live/show"));
    drop(Rtmp::started(&relay, Role::Play, "live/show"));
    assert_eq!(old.requests().len(), 2, "the second player's answer is that of the first");
    let file = relay.dir().join("fanfare.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace(&old.url("/hooks"), &new.url("/hooks"))).unwrap();
    relay.signal(Signal::HUP);
    relay.wait_for_log(&["configuration reloaded"]);
    assert_eq!(Rtmp::refusal(&relay, Role::Play, "live/show").1, "closed");
    assert_eq!((old.requests().len(), new.requests().len()), (2, 1));
}
