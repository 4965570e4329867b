//! Notifications: of each session that has ended, once and in order, and of those that go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare::rtmp::client::Role;

use crate::peer::{Http, Rtmp, get};
use crate::support::web_service::{Received, Reply, WebService};
use crate::support::{Relay, SOON, Signal, eventually};

/// The hooks that notify, all at this service.
fn notifying(service: &WebService) -> String {
    let url = service.url("/told");
    format!("[hooks]\non_unpublish = ['{url}']\non_stop = ['{url}']\non_close = ['{url}']\n")
}

fn actions(requests: &[Received]) -> Vec<String> {
    requests.iter().map(Received::action).collect()
}

/// What the metrics say.
fn metric(relay: &Relay, line: &str) -> bool {
    get(relay, "/metrics").text().contains(line)
}

#[test]
fn each_session_that_has_ended_is_told_once_and_in_order() {
    let service = WebService::start(|_| Reply::yes());
    let url = service.url("/asked");
    let asking = format!("on_connect = ['{url}']\non_publish = ['{url}']\non_play = ['{url}']\n");
    let relay = Relay::start(&(notifying(&service) + &asking));
    let mut publisher = Rtmp::publishing(&relay, "live/show?key=1");
    relay.wait_for_publisher("live/show");
    let player = Rtmp::started(&relay, Role::Play, "live/show");
    let mut http = Http::connect(relay.http_address());
    http.say("GET /live/show.flv HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n");
    assert_eq!(http.head().status, 200);
    drop(player);
    service.wait_until("on_close", |requests| actions(requests).contains(&"on_close".to_owned()));
    drop(http);
    // A client over HTTP may half-close: that it has gone is seen when it is sent something.
    eventually("two on_stop", SOON, || {
        publisher.inter_frame(b"next");
        let stopped = actions(&service.requests()).iter().filter(|action| *action == "on_stop").count();
        (stopped == 2).then_some(())
    });
    drop(publisher);
    let requests = service.wait_until("two on_close", |requests| {
        requests.iter().filter(|request| request.action() == "on_close").count() == 2
    });
    let of = |connection: u64| {
        let of = requests.iter().filter(|request| request.json()["connection"] == connection);
        of.cloned().collect::<Vec<_>>()
    };
    let ids: Vec<u64> =
        requests.iter().map(|request| request.json()["connection"].as_u64().unwrap()).collect();
    let (publisher, player, http) = (ids[0], ids[2], ids[4]);
    assert_eq!(actions(&of(publisher)), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(actions(&of(player)), ["on_connect", "on_play", "on_stop", "on_close"]);
    assert_eq!(actions(&of(http)), ["on_play", "on_stop"], "RTMP alone has connections to close");
    for connection in [publisher, player, http] {
        let of = of(connection);
        let client_ids: Vec<_> = of.iter().map(|request| request.json()["client_id"].to_string()).collect();
        assert!(client_ids.iter().all(|id| *id == client_ids[0] && id.len() > 8), "{client_ids:?}");
    }
    let unpublished = of(publisher)[2].json();
    assert_eq!(unpublished["param"], "?key=1");
    assert_eq!(unpublished["name"], "live/show");
    assert!(unpublished["recv_bytes"].as_u64().unwrap() > 0, "{unpublished}");
    assert!(unpublished["duration_ms"].as_u64().unwrap() > 0, "{unpublished}");
    assert_eq!(unpublished["reason"], "closed_by_peer");
    assert!(of(http)[1].json()["send_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_notification_that_is_not_taken_is_sent_again_before_the_next_one_of_its_connection() {
    let tries = AtomicUsize::new(0);
    let service = WebService::start(move |request| {
        let is_bad = request.action() == "on_unpublish" && tries.fetch_add(1, Ordering::Relaxed) < 2;
        if is_bad { Reply::Status(503, String::new()) } else { Reply::yes() }
    });
    let relay = Relay::start(&notifying(&service));
    drop(Rtmp::started(&relay, Role::Publish, "live/show"));
    let requests = service.wait_for(4);
    assert_eq!(actions(&requests), ["on_unpublish", "on_unpublish", "on_unpublish", "on_close"]);
    assert!(requests[..3].windows(2).all(|pair| pair[0].body == pair[1].body));
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(900));
    assert!(requests[2].at - requests[1].at >= Duration::from_millis(1_900));
    relay.wait_for_log(&["hook failed", "on_unpublish", "status 503"]);
    eventually("nothing waits", SOON, || {
        metric(&relay, "fanfare_hook_waiting{kind=\"notice\"} 0").then_some(())
    });
    assert!(metric(&relay, "fanfare_hook_notices_dropped_total 0"));
}

#[test]
fn what_is_not_taken_after_all_retries_is_dropped_and_counted() {
    let service = WebService::start(|_| Reply::Close);
    let relay = Relay::start(&(notifying(&service) + "retries = 0\n"));
    drop(Rtmp::started(&relay, Role::Publish, "live/show"));
    relay.wait_for_log(&["notices to the web service dropped", "the service did not take them"]);
    eventually("both are dropped", SOON, || {
        metric(&relay, "fanfare_hook_notices_dropped_total 2").then_some(())
    });
}

#[test]
fn beyond_the_queue_notifications_are_dropped_and_counted_and_others_of_the_relay_are_not_slowed() {
    let service = WebService::start(|_| Reply::Nothing);
    let relay = Relay::start(&(notifying(&service) + "queue = 3\ntimeout = '9s'\n"));
    for name in 0..5 {
        drop(Rtmp::started(&relay, Role::Publish, &format!("live/{name}")));
    }
    eventually("7 of 10 are dropped", SOON, || {
        metric(&relay, "fanfare_hook_notices_dropped_total 7").then_some(())
    });
    assert!(metric(&relay, "fanfare_hook_waiting{kind=\"notice\"} 3"));
    let lines = relay.wait_for_logs(1, &["notices to the web service dropped", "hooks.queue is full"], SOON);
    assert_eq!(lines.len(), 1, "at most every 10 s");
}

/// A relay whose service is notified every second, and a publisher.
fn updating(service: &WebService, dialect: &str) -> (Relay, Rtmp) {
    let url = service.url("/update");
    let relay = Relay::start(&format!(
        "[hooks]\ndialect = '{dialect}'\non_update = ['{url}']\nupdate_interval = '1s'\n"
    ));
    let publisher = Rtmp::publishing(&relay, "live/show");
    (relay, publisher)
}

#[test]
fn an_update_that_is_refused_ends_the_session_where_the_dialect_says_so() {
    let refusals = [("nginx-rtmp", Reply::Status(403, String::new())), ("fanfare", Reply::no("enough"))];
    for (dialect, refusal) in refusals {
        let count = AtomicUsize::new(0);
        let service = WebService::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::yes(),
            _ => refusal.clone(),
        });
        let (relay, mut publisher) = updating(&service, dialect);
        publisher.expect_closed();
        assert_eq!(service.requests().len(), 2, "{dialect}");
        relay.wait_for_log(&["session ended by the web service", "live/show"]);
        let first = &service.requests()[0];
        let expected =
            if dialect == "fanfare" { "\"action\":\"on_update\"" } else { "&call=update_publish&time=" };
        assert!(first.body.contains(expected), "{first:?}");
    }
}

#[test]
fn a_session_goes_on_while_the_service_is_down_and_where_answers_are_ignored() {
    for (dialect, reply) in
        [("nginx-rtmp", Reply::Close), ("fanfare", Reply::Close), ("srs", Reply::no("ignored"))]
    {
        let service = WebService::start(move |_| reply.clone());
        let (relay, mut publisher) = updating(&service, dialect);
        service.wait_for(3);
        publisher.key_frame(b"still here");
        let _player = Rtmp::started(&relay, Role::Play, "live/show");
        assert!(!relay.log().iter().any(|line| line.contains("session ended")), "{:#?}", relay.log());
    }
}

#[test]
fn what_ends_with_the_relay_is_told_before_the_process_ends() {
    let service = WebService::start(|_| Reply::yes());
    let mut relay = Relay::start(&notifying(&service));
    let _publisher = Rtmp::publishing(&relay, "live/show");
    let _player = Rtmp::started(&relay, Role::Play, "live/show");
    relay.signal(Signal::TERM);
    assert!(relay.expect_end(SOON).success());
    let mut actions = actions(&service.requests());
    actions.sort_unstable();
    assert_eq!(actions, ["on_close", "on_close", "on_stop", "on_unpublish"]);
}

#[test]
fn a_service_that_hangs_delays_the_end_of_the_process_by_one_answer_at_most() {
    let service = WebService::start(|_| Reply::Nothing);
    let mut relay = Relay::start(&(notifying(&service) + "timeout = '1s'\n"));
    let _publisher = Rtmp::publishing(&relay, "live/show");
    let stopped = std::time::Instant::now();
    relay.signal(Signal::TERM);
    assert!(relay.expect_end(SOON).success());
    // A peer may take the relay's shutdown_timeout, 5 s.
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    relay.wait_for_log(&["notices to the web service lost at the end"]);
}

#[test]
fn notifications_that_hang_leave_room_for_questions() {
    let service = WebService::start(|request| match request.path.as_str() {
        "/told" => Reply::Nothing,
        _ => Reply::yes(),
    });
    let url = service.url("/asked");
    let more = format!("on_play = ['{url}']\ntimeout = '9s'\nmax_requests = 2\n");
    let relay = Relay::start(&(notifying(&service) + &more));
    for name in 0..5 {
        drop(Rtmp::started(&relay, Role::Publish, &format!("live/{name}")));
    }
    service.wait_for(1);
    let _player = Rtmp::started(&relay, Role::Play, "live/show");
    let told = service.requests().iter().filter(|request| request.path == "/told").count();
    assert_eq!(told, 1, "one of two places");
}
