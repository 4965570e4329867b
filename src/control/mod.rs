//! The control plane: HTTP, on a thread of its own. It serves the page, the API, events and metrics, and passes players
//! that request a stream over HTTP to the cores. No core ever waits for it.

#![forbid(unsafe_code)]

mod access;
mod api;
mod challenge;
mod client;
mod client_hello;
mod configuration;
mod connections;
mod cors;
mod descriptions;
mod encrypted;
mod error;
mod events;
mod exposition;
mod forwarded;
mod given_token;
mod gzip;
mod history;
mod http2;
mod last_live;
mod linger;
mod live;
mod metrics;
mod named;
mod page;
mod parameters;
mod party;
mod rights;
mod secure;
mod server;
mod state;
mod stills;
mod streams;
mod system;
mod token;
mod trim;
mod unread;
mod wall_clock;
mod write_timeout;

use std::{
    future::pending,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use client::Scope;

use state::{Control, Entrance};
pub use token::{TokenNotice, token_file};
use tokio::sync::oneshot;
use trim::Trim;

use crate::beside;
use crate::certificates::Renewals;
use crate::net::{self, Handle};
use crate::reload::Reloader;

/// HTTP after its start, for the start-up lines.
pub struct Started {
    /// The addresses in force that are not encrypted: for HTTP, and for the API.
    pub addresses: Vec<SocketAddr>,
    /// Those for HTTPS.
    pub encrypted_addresses: Vec<SocketAddr>,
    /// Where the token for writing comes from.
    pub token: TokenNotice,
    /// Where to ask for the end of the responses with events; what is sent there answers once they have ended.
    end: oneshot::Sender<mpsc::Sender<()>>,
}

/// How long the process waits at its end for clients to take their last events.
const END_WITHIN: Duration = Duration::from_millis(300);

impl Started {
    /// Ends the responses with events as HTTP demands it, so that clients can distinguish the end of the relay from a
    /// broken connection. To be called when nothing can happen any more, right before the end of the process.
    pub fn end_events(self) {
        let (ended, has_ended) = mpsc::channel();
        if self.end.send(ended).is_ok() {
            // A client that does not read is not waited for.
            let _ = has_ended.recv_timeout(END_WITHIN);
        }
    }
}

/// Binds the addresses for HTTP and serves them on a thread of its own as long as the process lives. None if no address
/// is configured, or if no default address can be bound.
///
/// # Errors
/// Why it cannot start, as one line.
pub async fn start(
    relay: Handle,
    reloader: Arc<Reloader>,
    renewals: Arc<Renewals>,
) -> Result<Option<Started>, String> {
    let config = relay.config();
    let http = net::bind_http(&config.listen.http, config.listen.is_default_http).await?;
    let api = net::bind_http(&config.api.listen, false).await?;
    let scope = if api.is_empty() { Scope::All } else { Scope::WithoutApi };
    let https = net::bind_http(&config.listen.https, false).await?;
    let entrance = |scope, is_encrypted| move |listener| (listener, Entrance { scope, is_encrypted });
    let listeners: Vec<(TcpListener, Entrance)> = (http.into_iter().map(entrance(scope, false)))
        .chain(https.into_iter().map(entrance(scope, true)))
        .chain(api.into_iter().map(entrance(Scope::All, false)))
        .collect();
    let http: Vec<(SocketAddr, Entrance)> = listeners
        .iter()
        .filter_map(|(listener, entrance)| Some((listener.local_addr().ok()?, *entrance)))
        .collect();
    let of = |is_encrypted| {
        let these = http.iter().filter(move |(_, entrance)| entrance.is_encrypted == is_encrypted);
        these.map(|(address, _)| *address).collect()
    };
    let (addresses, encrypted_addresses) = (of(false), of(true));
    if listeners.is_empty() {
        return Ok(None);
    }
    let (token, notice) = token::obtain(&config.api)?;
    if let TokenNotice::ForThisRun { why, .. } = &notice {
        tracing::warn!(reason = why, "API token not stored");
    }
    let control = Arc::new(Control::new(relay, reloader, renewals, token, http));
    let cannot = |error| format!("cannot start the thread for HTTP: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let (end, is_ending) = oneshot::channel();
    let run = move || runtime.block_on(serve(control, listeners, is_ending));
    beside::start("control", run).map_err(cannot)?;
    Ok(Some(Started { addresses, encrypted_addresses, token: notice, end }))
}

async fn serve(
    control: Arc<Control>,
    listeners: Vec<(TcpListener, Entrance)>,
    is_ending: oneshot::Receiver<mpsc::Sender<()>>,
) {
    for (listener, entrance) in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(server::serve(control.clone(), listener, entrance))),
            Err(error) => tracing::error!(%error, "HTTP listener failed"),
        }
    }
    tokio::spawn({
        let control = control.clone();
        async move {
            let mut ended = None;
            let end = async {
                match is_ending.await {
                    Ok(sender) => ended = Some(sender),
                    // No end will be asked for.
                    Err(_) => pending().await,
                }
            };
            control.events.collect(end).await;
            // Its error is that the process did not wait.
            let _ = ended.map(|ended| ended.send(()));
        }
    });
    let mut trim = Trim::default();
    let mut tick = tokio::time::interval(history::INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        control.history.sample(&control.relay);
        control.stills.drop_old(Instant::now());
        control.descriptions.retain(|name| control.relay.stream(name).is_some());
        if trim.is_due(control.relay.connection_count()) {
            net::give_free_pages_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        thread,
        time::Duration,
    };

    use super::*;
    use crate::access::{
        Access, Action, Cause, Decision, Denial, Grant, KeyRing, Login, Notice, Question, Rules, Service,
        Verdict,
    };
    use crate::config::Config;

    const TOKEN: &str = "token-for-writing";

    /// Status line and body.
    fn ask(address: SocketAddr, method: &str, path: &str) -> (String, String) {
        let (head, body) = ask_with(TOKEN, address, method, path);
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    /// Head and body.
    fn ask_with(token: &str, address: SocketAddr, method: &str, path: &str) -> (String, String) {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let headers = format!("Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
        let request = format!("{method} {path} HTTP/1.1\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).expect("it reads");
        let mut response = String::new();
        socket.read_to_string(&mut response).expect("it answers");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    async fn start(relay: Handle) -> Result<Option<Started>, String> {
        let reloader = Reloader::new(Box::new(|| Err("there is no file".to_owned())));
        super::start(relay, reloader, Arc::default()).await
    }

    fn config(cores: usize) -> Config {
        let mut config = Config { cores, ..Config::default() };
        config.listen.http = vec![([127, 0, 0, 1], 0).into()];
        config.listen.is_default_http = false;
        config.api.token = TOKEN.to_owned();
        config
    }

    #[tokio::test]
    async fn a_replaced_configuration_is_in_force_from_the_next_request_on() {
        let relay = net::without_cores(config(1), Box::new(crate::access::Open));
        let started = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted");
        let head = |token: &str, path: &str| ask_with(token, started.addresses[0], "GET", path).0;
        let may_read = |token: &str| head(token, "/api/v1/config").starts_with("HTTP/1.1 200 ");
        let another = "another-token-for-writing";
        assert_eq!((may_read(TOKEN), may_read(another)), (true, false));
        assert!(!head(TOKEN, "/api/v1/summary").contains("access-control-allow-origin"));
        assert!(head(TOKEN, "/live/a.flv").contains("access-control-allow-origin: *"));

        let mut changed = config(1);
        changed.api.token = another.to_owned();
        changed.api.allow_origins = vec!["*".to_owned()];
        changed.http.allow_origins.clear();
        relay.set_config(changed);
        assert_eq!((may_read(TOKEN), may_read(another)), (false, true));
        assert!(head(another, "/api/v1/summary").contains("access-control-allow-origin: *"));
        assert!(!head(another, "/live/a.flv").contains("access-control-allow-origin"));

        // If the token is removed, the one of the start stays in force until the next start.
        relay.set_config(Config { api: Default::default(), ..config(1) });
        assert_eq!((may_read(TOKEN), may_read(another), may_read("")), (true, false, false));
    }

    /// Decides by the stream's name.
    struct ByName;

    impl Access for ByName {
        fn decide(&self, question: &Question) -> Decision {
            assert_eq!((question.action, question.protocol), (Action::Play, "http_flv"));
            assert_eq!(question.query, "key=secret");
            Decision::Verdict(match question.name.as_str() {
                "live/denied" => Verdict::deny("not with this key"),
                "live/elsewhere" => Verdict::Redirect("http://other.example/live/a.flv".to_owned()),
                "live/renamed" => Verdict::allow_as("live/another".to_owned()),
                "live/asked" => return Decision::Ask(Grant::default()),
                _ => Verdict::allow(),
            })
        }
    }

    #[tokio::test]
    async fn a_player_over_http_is_asked_about_like_any_other() {
        let started = start(net::without_cores(config(1), Box::new(ByName))).await;
        let address = started.expect("it starts").expect("HTTP is wanted").addresses[0];
        let get = |name: &str| ask_with(TOKEN, address, "GET", &format!("/live/{name}.flv?key=secret"));
        let (head, body) = get("denied");
        assert!(head.starts_with("HTTP/1.1 403 ") && body.contains("not with this key"), "{head} {body}");
        assert!(head.contains("access-control-allow-origin"), "a page learns why: {head}");
        let head = get("elsewhere").0;
        assert!(head.starts_with("HTTP/1.1 302 "), "{head}");
        assert!(head.contains("location: http://other.example/live/a.flv"), "{head}");
        assert!(get("renamed").1.contains("live/another is not published"));
        assert!(get("asked").0.starts_with("HTTP/1.1 403 "));
        assert!(get("a").0.starts_with("HTTP/1.1 404 "));
    }

    /// Lets in who shows the right password, whatever it wants.
    struct WithPassword;

    impl Access for WithPassword {
        fn decide(&self, question: &Question) -> Decision {
            assert_ne!(question.connection, 0);
            assert!(question.party.tc_url.ends_with(&question.query), "{question:?}");
            let deny = |cause, reason: &str| {
                Verdict::Deny(Denial { reason: reason.to_owned(), cause, rule: "cameras".into() })
            };
            let right = Login::Password { user: "ann".to_owned(), password: "right".to_owned() };
            Decision::Verdict(match (&*question.name, &question.party.login) {
                ("live/nowhere" | "/api/v1/cores", _) => deny(Cause::Rule, "not from there"),
                (_, Some(login)) if *login == right => Verdict::allow(),
                (_, Some(_)) => deny(Cause::WrongCredentials, "wrong user or password"),
                (_, None) => deny(Cause::NoCredentials, "this stream takes a user and a password"),
            })
        }
    }

    /// The whole answer to a request with these headers.
    fn ask_raw(address: SocketAddr, line: &str, headers: &str) -> Vec<u8> {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket
            .write_all(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes())
            .expect("it reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("it answers and closes");
        answer
    }

    const RIGHT: &str = "Authorization: Basic YW5uOnJpZ2h0\r\nConnection: close\r\n";
    const WRONG: &str = "Authorization: Basic YW5uOndyb25n\r\nConnection: close\r\n";

    #[tokio::test]
    async fn a_viewer_that_is_denied_gets_401_or_403_and_the_reason() {
        let relay = net::without_cores(config(1), Box::new(WithPassword));
        let address = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted").addresses[0];
        let ask =
            |line: &str, headers: &str| String::from_utf8(ask_raw(address, line, headers)).expect("text");
        let basic = "www-authenticate: Basic realm=\"fanfare\"";
        for (name, headers, status, reason, has_challenge) in [
            ("a", "Connection: close\r\n", 401, "this stream takes a user", true),
            ("a", WRONG, 401, "wrong user or password", true),
            ("a", RIGHT, 404, "live/a is not published", false),
            ("nowhere", RIGHT, 403, "not from there", false),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = ask(&format!("{method} /live/{name}.flv?key=secret"), headers);
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                assert_eq!(answer.contains(basic), has_challenge, "{answer}");
                assert_eq!(answer.contains(reason), method == "GET", "{answer}");
                assert!(answer.contains("access-control-allow-origin: *"), "a page can read it: {answer}");
                assert!(answer.contains("content-type: application/problem+json"), "{answer}");
            }
        }
        let counts: Vec<_> =
            relay.denials().into_iter().map(|(labels, count)| (labels.cause, count)).collect();
        assert_eq!(counts, [(Cause::Rule, 2), (Cause::NoCredentials, 2), (Cause::WrongCredentials, 2)]);
    }

    #[tokio::test]
    async fn the_connection_of_a_client_that_is_denied_is_closed() {
        let relay = net::without_cores(config(1), Box::new(WithPassword));
        let address = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted").addresses[0];
        for (path, status) in [
            ("/live/a.flv", "401"),
            ("/live/nowhere.flv", "403"),
            ("/api/v1/summary", "401"),
            ("/api/v1/cores", "403"),
            ("/metrics", "401"),
        ] {
            for method in ["GET", "HEAD"] {
                let right = if status == "403" { "Authorization: Basic YW5uOnJpZ2h0\r\n" } else { "" };
                // To its end.
                let answer = ask_raw(address, &format!("{method} {path}"), right);
                let answer = String::from_utf8(answer).expect("text");
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                assert!(answer.contains("\r\nconnection: close\r\n"), "{method} {path}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn a_websocket_that_is_denied_is_opened_and_closed_with_a_code_and_the_reason() {
        let started = start(net::without_cores(config(1), Box::new(WithPassword))).await;
        let address = started.expect("it starts").expect("HTTP is wanted").addresses[0];
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (name, code, reason) in
            [("a", 4401_u16, "this stream takes a user and a password"), ("nowhere", 4403, "not from there")]
        {
            let answer = ask_raw(address, &format!("GET /live/{name}.flv"), upgrade);
            let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
            let head = String::from_utf8_lossy(&answer[..end]);
            assert!(
                head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                "{head}"
            );
            let close =
                [&[0x88, 2 + reason.len() as u8][..], &code.to_be_bytes(), reason.as_bytes()].concat();
            assert_eq!(answer[end..], close);
        }
        // What is no handshake gets no WebSocket.
        let answer = ask_raw(address, "GET /live/a.flv", &upgrade.replace("13", "8"));
        assert!(answer.starts_with(b"HTTP/1.1 426 "));
    }

    #[tokio::test]
    async fn rules_decide_on_the_api_before_its_tokens_do() {
        let relay = net::without_cores(config(1), Box::new(WithPassword));
        let address = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted").addresses[0];
        let status = |line: &str, headers: &str| {
            let answer = String::from_utf8(ask_raw(address, line, headers)).expect("text");
            answer["HTTP/1.1 ".len()..][..3].to_owned()
        };
        let close = "Connection: close\r\n";
        for path in ["/api/v1/summary", "/metrics", "/api/v1/config"] {
            assert_eq!(status(&format!("GET {path}"), close), "401", "{path}");
            assert_eq!(status(&format!("GET {path}?token={TOKEN}"), WRONG), "401", "{path}");
            assert_eq!(status(&format!("GET {path}?token={TOKEN}"), RIGHT), "200", "{path}");
            assert_eq!(status(&format!("OPTIONS {path}"), close).as_bytes()[0], b'2', "{path}");
        }
        assert_eq!(status("GET /api/v1/config", RIGHT), "401", "no token");
        assert_eq!(status("GET /api/v1/cores", RIGHT), "403");
        for path in ["/", "/healthz", "/readyz"] {
            assert_eq!(status(&format!("GET {path}"), close), "200", "{path} is no part of it");
        }
        let counts = relay.denials();
        assert!(counts.iter().all(|(labels, _)| labels.action == Action::Api && &*labels.rule == "cameras"));
        assert_eq!(counts.iter().map(|it| it.1).sum::<u64>(), 7);
        let answer = String::from_utf8(ask_raw(address, "GET /metrics", RIGHT)).expect("text");
        let metric = "fanfare_access_denied_total{action=\"api\",rule=\"cameras\",cause=\"rule\"} 1";
        assert!(answer.contains(metric), "{answer}");
    }

    /// With its limit on wrong credentials, also for this machine.
    fn with_rules(wrong_credentials: usize) -> net::Handle {
        let mut config = config(1);
        (config.limits.wrong_credentials, config.limits.exempt) = (wrong_credentials, Vec::new());
        let rules = Rules::new(&config, KeyRing::new(), || 1_700_000_000).expect("no rules");
        net::without_cores(config, Box::new(rules))
    }

    #[tokio::test]
    async fn tokens_of_the_api_cannot_be_guessed() {
        // Each path that a token makes a difference to.
        for (path, is_open) in
            [("/api/v1/config", false), ("/api/v1/events/past", false), ("/api/v1/summary", true)]
        {
            let relay = with_rules(3);
            let started = start(relay.clone()).await;
            let address = started.expect("it starts").expect("HTTP is wanted").addresses[0];
            let status =
                |token: &str| ask_with(token, address, "GET", path).0["HTTP/1.1 ".len()..][..3].to_owned();
            let wrong = if is_open { "200" } else { "401" };
            // One that comes again is no other guess.
            for _ in 0..10 {
                assert_eq!(status("an-old-token"), wrong, "{path}");
            }
            assert_eq!(status(TOKEN), "200", "{path}");
            for token in ["guess-one", "guess-two"] {
                assert_eq!(status(token), wrong, "{path}");
            }
            // Not even the right one is looked at.
            for token in ["guess-three", TOKEN] {
                let (head, body) = ask_with(token, address, "GET", path);
                assert_eq!(head["HTTP/1.1 ".len()..][..3], *if is_open { "200" } else { "403" }, "{path}");
                assert!(!is_open || body.contains("\"may_write\":false"), "{body}");
            }
            assert_eq!(ask_with("", address, "GET", "/api/v1/streams").0["HTTP/1.1 ".len()..][..3], *"200");
            let counts = relay.denials();
            assert!(counts.iter().all(|(labels, _)| &*labels.rule == "api.token"), "{counts:?}");
            let counts: Vec<_> = counts.into_iter().map(|(labels, count)| (labels.cause, count)).collect();
            let expected = [(Cause::WrongCredentials, 12), (Cause::TooManyAttempts, 2)];
            assert_eq!(counts, if is_open { &[][..] } else { &expected }, "{path}");
        }
    }

    /// Lets everybody use the API, and nobody play.
    struct NobodyPlays;

    impl Access for NobodyPlays {
        fn decide(&self, question: &Question) -> Decision {
            match (question.action, &*question.name) {
                (Action::Api, _) => Decision::Verdict(Verdict::allow()),
                (_, "live/asked") => Decision::Ask(Grant::default()),
                _ => Decision::Verdict(Verdict::deny("not you")),
            }
        }
    }

    #[tokio::test]
    async fn a_still_is_only_for_those_who_may_watch_and_for_operators() {
        let relay = net::without_cores(config(1), Box::new(NobodyPlays));
        let address = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted").addresses[0];
        for name in ["a", "asked"] {
            let path = format!("/api/v1/streams/live/{name}/still.flv");
            assert!(ask_with("", address, "GET", &path).0.starts_with("HTTP/1.1 403 "), "{name}");
            assert!(ask_with(TOKEN, address, "GET", &path).0.starts_with("HTTP/1.1 404 "), "{name}");
        }
        assert_eq!(relay.denials(), [], "a page asks again and again");
    }

    type LateAnswer = Box<dyn FnOnce(Verdict) + Send>;

    /// Hands each question's answer to the test.
    struct Late(mpsc::Sender<LateAnswer>);

    impl Service for Late {
        fn ask(&self, _question: Question, answer: LateAnswer) {
            self.0.send(answer).expect("the test goes on");
        }

        fn tell(&self, notice: Notice) {
            panic!("nothing has begun: {notice:?}");
        }
    }

    /// Leaves each question to the service.
    struct Asks;

    impl Access for Asks {
        fn decide(&self, _question: &Question) -> Decision {
            Decision::Ask(Grant::default())
        }
    }

    #[tokio::test]
    async fn a_viewer_that_goes_away_while_it_is_asked_about_leaves_nothing() {
        let relay = net::without_cores(config(1), Box::new(Asks));
        let (questions, asked) = mpsc::channel();
        relay.set_service(Box::new(Late(questions)));
        let address = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted").addresses[0];
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (headers, verdict) in [
            ("", Verdict::allow()),
            ("", Verdict::deny("too late")),
            (upgrade, Verdict::deny("too late")),
            (upgrade, Verdict::Redirect("http://elsewhere/".to_owned())),
        ] {
            let mut socket = TcpStream::connect(address).expect("it listens");
            let request = format!("GET /live/a.flv HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
            socket.write_all(request.as_bytes()).expect("it reads");
            let answer = asked.recv_timeout(Duration::from_secs(20)).expect("it asks");
            assert_eq!(relay.connection_count(), 1);
            drop(socket);
            answer(verdict);
            let deadline = Instant::now() + Duration::from_secs(20);
            while relay.connection_count() > 0 {
                assert!(Instant::now() < deadline, "its place is free");
                thread::sleep(Duration::from_millis(10));
            }
        }
        assert_eq!(relay.memory().of(crate::stream::MemoryKind::Connections), 0);
    }

    #[tokio::test]
    async fn a_stalled_core_is_named_in_time_and_delays_no_request() {
        let relay = net::without_cores(config(2), Box::new(crate::access::Open));
        let started = start(relay.clone()).await.expect("it starts").expect("HTTP is wanted");
        let address = started.addresses[0];
        let unavailable = "HTTP/1.1 503 Service Unavailable";
        let asked = Instant::now();
        let paths =
            [("GET", "/api/v1/players"), ("GET", "/api/v1/publishers"), ("DELETE", "/api/v1/players/7")];
        for (method, path) in paths {
            let (status, body) = ask(address, method, path);
            assert_eq!(
                (status.as_str(), body.contains("core 0 does not answer")),
                (unavailable, true),
                "{path} {body}"
            );
        }
        // Two of the three requests waited for a core that was not yet known to be stalled.
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert_eq!(ask(address, "GET", "/api/v1/streams").0, "HTTP/1.1 200 OK", "it needs no core");

        let until = |what: &str, wanted: &str| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while ask(address, "GET", "/healthz").1 != wanted {
                assert!(Instant::now() < deadline, "{what}");
                relay.check_pulses();
            }
        };
        until("the health check names it", "core 0 does not answer");
        // From then on no request waits, and its mailbox does not grow.
        let (asked, waiting) = (Instant::now(), relay.waiting_mail(0));
        for _ in 0..100 {
            assert_eq!(ask(address, "DELETE", "/api/v1/players/7").0, unavailable);
        }
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert_eq!(relay.waiting_mail(0), waiting);
        relay.publish_report(0);
        until("the other one is named", "core 1 does not answer");
    }
}
