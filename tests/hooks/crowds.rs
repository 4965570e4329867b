//! Many clients at once, and what they cost the service and each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fanfare::rtmp::client::Role;
use socket2::{Domain, Socket, Type};

use crate::asked::relay_with;
use crate::crowd::{Crowd, Id};
use crate::frames::Source;
use crate::peer::{Http, Rtmp};
use crate::support::Relay;
use crate::support::web_service::{Received, Reply, WebService};

fn plays(requests: &[Received]) -> Vec<Instant> {
    requests.iter().filter(|request| request.action() == "on_play").map(|request| request.at).collect()
}

/// The most within any second.
fn most_per_second(mut times: Vec<Instant>) -> usize {
    times.sort_unstable();
    let within = |from: &Instant| {
        times.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(*at)).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[test]
fn nine_thousand_players_that_join_at_once_are_few_questions() {
    let service = WebService::start(|_| Reply::yes());
    let relay =
        relay_with(&service, "cache = '1s'\n[limits]\nhandshake_timeout = '1m'\nrequest_timeout = '1m'");
    let mut crowd = Crowd::new();
    let _publisher = crowd.publish(&relay, "live/show");
    let mut players: Vec<Id> = Vec::new();
    let started = Instant::now();
    while players.len() < PLAYERS {
        players.extend((0..100).map(|_| crowd.play(&relay, "live/show?key=1")));
        crowd.serve_for(Duration::ZERO);
        crowd.until("few are on their way", |crowd| waiting(crowd, &players) < 500);
    }
    crowd.until("all play", |crowd| waiting(crowd, &players) == 0);
    let times = plays(&service.requests());
    assert!(
        !times.is_empty() && most_per_second(times.clone()) <= 50,
        "{} in {:?}",
        times.len(),
        started.elapsed()
    );
}

fn waiting(crowd: &Crowd, players: &[Id]) -> usize {
    players.iter().filter(|&&id| !crowd[id].has_started).count()
}

/// Without a cache too, players of one address that ask the same at the same time are one question.
#[test]
fn players_that_ask_the_same_while_the_service_thinks_share_its_answer() {
    let (release, is_released) = std::sync::mpsc::channel();
    let is_released = std::sync::Mutex::new(is_released);
    let service = WebService::start(move |request| {
        if request.action() == "on_play" {
            let () = is_released.lock().unwrap().recv().unwrap();
        }
        Reply::yes()
    });
    let relay = relay_with(&service, "timeout = '9s'");
    let mut crowd = Crowd::new();
    let _publisher = crowd.publish(&relay, "live/show");
    let mut players: Vec<Id> = (0..100).map(|_| crowd.play(&relay, "live/show?key=1")).collect();
    // One that asks something else.
    players.push(crowd.play(&relay, "live/show?key=2"));
    let is_joined = || {
        crate::peer::get(&relay, "/metrics")
            .text()
            .contains("fanfare_hook_shared_answers_total{by=\"request\"} 99")
    };
    crowd.until("all ask", |_| is_joined() && plays(&service.requests()).len() == 2);
    release.send(()).unwrap();
    release.send(()).unwrap();
    crowd.until("all play", |crowd| waiting(crowd, &players) == 0);
    assert_eq!(plays(&service.requests()).len(), 2);
}

#[test]
fn players_about_whom_the_service_thinks_delay_no_publisher() {
    let (release, is_released) = std::sync::mpsc::channel::<()>();
    let is_released = std::sync::Mutex::new(is_released);
    let service = WebService::start(move |request| {
        if request.action() == "on_play" {
            // Until the end of the test.
            let _ = is_released.lock().unwrap().recv();
        }
        Reply::yes()
    });
    let relay = relay_with(&service, "timeout = '9s'\nmax_requests = 4");
    let mut crowd = Crowd::new();
    let _first = crowd.publish(&relay, "live/first");
    (0..20).for_each(|key| _ = crowd.play(&relay, &format!("live/first?key={key}")));
    crowd.until("the service thinks", |_| !plays(&service.requests()).is_empty());
    let started = Instant::now();
    let second = crowd.publish(&relay, "live/second");
    crowd.until("it publishes", |crowd| crowd[second].has_started);
    assert!(started.elapsed() < Duration::from_secs(8), "only after the players' time was over");
    drop(release);
}

#[test]
fn a_service_that_takes_its_time_costs_no_watcher_a_frame() {
    let service = WebService::start(|request| match request.body.contains("slow=") {
        true => Reply::Nothing,
        false => Reply::yes(),
    });
    let relay = relay_with(&service, "timeout = '5s'\nmax_requests = 1024");
    let mut crowd = Crowd::new();
    let source = Source::new(1);
    let publisher = crowd.publish(&relay, "live/show");
    let watchers = crowd.play_all(&relay, "live/show", 20);
    crowd.begin(publisher, &source, &watchers);
    let joins: Vec<Id> =
        (0..1_000).map(|join| crowd.play(&relay, &format!("live/show?slow={join}"))).collect();
    let mut number = 0;
    let mut slowest = Duration::ZERO;
    // Each frame has come before the next one goes out.
    while joins.iter().any(|&id| crowd[id].statuses.is_empty()) {
        number += 1;
        let sent = Instant::now();
        crowd.send(publisher, &source.frame(number));
        crowd.until_seen(&watchers, number);
        slowest = slowest.max(sent.elapsed());
        crowd.serve_for(Duration::from_millis(20));
    }
    for &id in &watchers {
        source.assert_from_the_start("a watcher", &crowd[id].seen, 0..number + 1);
    }
    assert!(number > 20, "only {number} frames while a thousand waited");
    // Far more than a frame takes on a busy machine, and less than the service does.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    assert!(joins.iter().all(|&id| crowd[id].statuses == ["NetStream.Play.Failed"]));
}

const PLAYERS: usize = 9_000;

/// A player over HTTP from this address, with these headers; returns the status.
fn status(relay: &Relay, from: [u8; 4], path: &str, headers: &str) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&relay.http_address().into()).unwrap();
    let mut http = Http { socket: socket.into(), unread: Vec::new() };
    http.say(&format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
    http.head().status
}

#[test]
fn an_answer_is_used_again_for_the_same_address_and_credentials_alone() {
    let service = WebService::start(|_| Reply::yes());
    let relay = relay_with(&service, "cache = '1h'");
    let _publisher = Rtmp::publishing(&relay, "live/show");
    relay.wait_for_publisher("live/show");
    let asked = || plays(&service.requests()).len();
    let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let basic = "Authorization: Basic YW5uOmh1bnRlcjIy\r\n";
    for (from, path, headers, questions) in [
        (one, "/live/show.flv?key=1", "", 1),
        (one, "/live/show.flv?key=1", "", 1),
        (other, "/live/show.flv?key=1", "User-Agent: another\r\n", 1),
        (one, "/live/show.flv?key=2", "", 2),
        (one, "/live/show.flv?key=1", basic, 3),
        (other, "/live/show.flv?key=1", basic, 3),
        (one, "/live/show.flv?key=1", "Authorization: Bearer a.b.c\r\n", 4),
        (one, "/live/show.flv?key=1", "Referer: http://site.example/\r\n", 5),
    ] {
        assert_eq!(status(&relay, from, path, headers), 200);
        assert_eq!(asked(), questions, "{path} {headers}");
    }
    // An encoder's question is its own.
    drop(Rtmp::started(&relay, Role::Publish, "live/another"));
    relay.wait_for_publisher_gone("live/another");
    drop(Rtmp::started(&relay, Role::Publish, "live/another"));
    assert_eq!(service.requests().len(), 5 + 3);
}
