//! The configuration is read again, at a signal or a request: what changes, what waits for a restart, what a fault in
//! the file does, and that running sessions notice nothing.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fanfare::rtmp::client::Role;

use crate::bystanders::Bystanders;
use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::peer::{Response, Rtmp, ask_with, bearer, get, get_with_token};
use crate::support::{FANFARE, Relay, SOON, Signal, eventually};

/// Writes the file of this relay anew.
fn write(relay: &Relay, toml: &str) {
    fs::write(relay.dir().join("fanfare.toml"), format!("log.lines_per_network = 0\n{toml}")).unwrap();
}

fn request_reload(relay: &Relay) -> Response {
    ask_with(relay, "POST", "/api/v1/reload", &bearer(&relay.token()))
}

/// Reloads by the API, and returns what has changed and what needs a restart.
fn reload(relay: &Relay, toml: &str) -> serde_json::Value {
    write(relay, toml);
    let response = request_reload(relay);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// Reloads by the signal, and waits for the line in the log.
fn hang_up(relay: &Relay, toml: &str) {
    let words = ["configuration reloaded", "SIGHUP"];
    let is_it = |line: &&String| words.iter().all(|word| line.contains(word));
    let before = relay.log().iter().filter(is_it).count();
    write(relay, toml);
    relay.signal(Signal::HUP);
    relay.wait_for_logs(before + 1, &words, SOON);
}

fn config_of(relay: &Relay) -> serde_json::Value {
    get_with_token(relay, "/api/v1/config").json()
}

#[test]
fn a_reload_names_what_has_changed_and_what_needs_a_restart() {
    let relay = Relay::start("play.max_lag = '7s'");
    assert_eq!(
        reload(&relay, "play.max_lag = '7s'"),
        serde_json::json!({"changed": [], "restart_needed": []})
    );
    let answer = reload(&relay, "play.max_lag = '9s'\nplay.send_timeout = '9s'\npin_cores = true");
    let expected = serde_json::json!({
        "changed": ["play.send_timeout"],
        "restart_needed": ["pin_cores", "play.max_lag"],
    });
    assert_eq!(answer, expected);
    relay.wait_for_log(&["configuration reloaded", "API", "play.send_timeout", "pin_cores play.max_lag"]);
    let shown = config_of(&relay);
    assert_eq!(shown["restart_needed"], expected["restart_needed"]);
    let play = &shown["config"]["play"];
    assert_eq!((&play["send_timeout"], &play["max_lag"]), (&"9s".into(), &"7s".into()), "what is in force");
    assert_eq!(shown["config"]["pin_cores"], false);
    // A flag comes before the file, as at the start.
    let answer = reload(&relay, "cores = 7\nplay.max_lag = '7s'");
    assert_eq!(answer, serde_json::json!({"changed": ["play.send_timeout"], "restart_needed": []}));
}

#[test]
fn a_faulty_file_changes_nothing_and_the_answer_says_where() {
    let relay = Relay::start("play.send_timeout = '7s'");
    let before = config_of(&relay);
    for (toml, fault) in [
        (
            "play.send_timeout = '9s'\nplay.latency_budget = '9'",
            "fanfare.toml:3:23: play.latency_budget: `9` is",
        ),
        (
            "play.send_timeout = '9s'\n[limits]\nconections = 7",
            "fanfare.toml:4:1: limits.conections: unknown key",
        ),
        ("play.send_timeout = '9s", "fanfare.toml:2:"),
        (
            "play.send_timeout = '9s'\napi.read_token_file = '/no/such/file'",
            "api.read_token_file: /no/such/file: ",
        ),
    ] {
        write(&relay, toml);
        let response = request_reload(&relay);
        assert_eq!((response.status, response.header("content-type")), (422, "application/problem+json"));
        let detail = response.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(fault), "{detail}");
        relay.wait_for_log(&["WARN", "reload failed", "API", fault]);
        relay.signal(Signal::HUP);
        relay.wait_for_log(&["WARN", "reload failed", "SIGHUP", fault]);
        assert_eq!(config_of(&relay), before);
    }
    fs::remove_file(relay.dir().join("fanfare.toml")).unwrap();
    assert_eq!(request_reload(&relay).status, 422);
    assert_eq!(config_of(&relay), before);
    let repaired = reload(&relay, "play.send_timeout = '9s'");
    assert_eq!(repaired["changed"], serde_json::json!(["play.send_timeout"]));
}

#[test]
fn a_reload_needs_the_token_for_writing() {
    let relay = Relay::start("api.read_token = 'the-read-token'");
    let ask = |method: &str, headers: &str| ask_with(&relay, method, "/api/v1/reload", headers).status;
    assert_eq!(ask("POST", ""), 401);
    assert_eq!(ask("POST", &bearer("another-token")), 401);
    assert_eq!(ask("POST", &bearer("the-read-token")), 403);
    assert_eq!(ask("GET", &bearer(&relay.token())), 405);
    let is_reload =
        |line: &String| ["configuration reloaded", "reload failed"].iter().any(|it| line.contains(it));
    assert!(!relay.log().iter().any(is_reload), "nothing was read");
    assert_eq!(ask("POST", &bearer(&relay.token())), 200);
}

#[test]
fn tokens_are_exchanged_without_a_restart() {
    let relay = Relay::start("api.token = 'the-first-token'\napi.read_token = 'to-read-at-first'");
    let status =
        |method: &str, path: &str, token: &str| ask_with(&relay, method, path, &bearer(token)).status;
    let file = relay.dir().join("read_token");
    fs::write(&file, "to-read-later\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    write(&relay, &format!("api.token = 'the-second-token'\napi.read_token_file = '{}'", file.display()));
    assert_eq!(status("POST", "/api/v1/reload", "the-first-token"), 200);
    assert_eq!(status("POST", "/api/v1/reload", "the-first-token"), 401);
    assert_eq!(status("GET", "/api/v1/config", "to-read-at-first"), 401);
    assert_eq!(status("GET", "/api/v1/config", "to-read-later"), 200);
    // The file alone has changed.
    fs::write(&file, "to-read-at-last\n").unwrap();
    assert_eq!(status("POST", "/api/v1/reload", "the-second-token"), 200);
    assert_eq!(status("GET", "/api/v1/config", "to-read-later"), 401);
    assert_eq!(status("GET", "/api/v1/config", "to-read-at-last"), 200);
    let secrets = ["the-first", "the-second", "to-read"];
    assert!(!relay.log().iter().any(|line| secrets.iter().any(|secret| line.contains(secret))));
}

#[test]
fn a_lower_limit_refuses_the_next_one_and_ends_none() {
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let publisher = crowd.publish(&relay, "live/a");
    let players = crowd.play_all(&relay, "live/a", 3);
    crowd.begin(publisher, &source, &players);
    hang_up(&relay, "limits.connections = 2");
    let mut refused = TcpStream::connect(relay.address()).unwrap();
    refused.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(std::io::Read::read(&mut refused, &mut [0; 1]).unwrap(), 0);
    relay.wait_for_log(&["refused: limit reached", "limits.connections"]);
    crowd.send_frames(publisher, &source, 1..20);
    crowd.until_seen(&players, 19);
    hang_up(&relay, "");
    crowd.play_all(&relay, "live/a", 1);
}

#[test]
fn the_log_level_changes() {
    let relay = Relay::start("log.level = 'warn'");
    write(&relay, "log.level = 'debug'");
    assert_eq!(request_reload(&relay).json()["changed"], serde_json::json!(["log.level"]));
    let client = TcpStream::connect(relay.address()).unwrap();
    relay.wait_for_log(&["DEBUG", "connected", &client.local_addr().unwrap().to_string()]);
    reload(&relay, "log.level = 'off'");
    let lines = relay.log().len();
    let _publisher = Rtmp::publishing(&relay, "live/a");
    get(&relay, "/api/v1/summary");
    assert_eq!(reload(&relay, "log.level = 'info'")["changed"], serde_json::json!(["log.level"]));
    let reloaded = relay.wait_for_logs(2, &["configuration reloaded"], SOON);
    assert_eq!(relay.log()[lines..], reloaded[1..], "nothing else was logged");
}

/// A rule that takes these keys for publishing and playing.
fn with_keys(keys: &str) -> String {
    format!("[[access]]\nkeys = {keys}\n")
}

fn play_with(relay: &Relay, key: &str) -> Result<Rtmp, (String, String)> {
    Rtmp::answer(relay, Role::Play, &format!("live/a?key={key}"))
}

#[test]
fn a_stricter_rule_refuses_the_next_one_and_ends_none() {
    let relay = Relay::start(&with_keys("'first-key'"));
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let publisher = crowd.publish(&relay, "live/a?key=first-key");
    let players = crowd.play_all(&relay, "live/a?key=first-key", 3);
    crowd.begin(publisher, &source, &players);
    let mut sent = 1;
    let mut go_on = |crowd: &mut Crowd| {
        crowd.send_frames(publisher, &source, sent..sent + 20);
        sent += 20;
        crowd.until_seen(&players, sent - 1);
    };
    // Both are valid while clients are given the second one.
    reload(&relay, &with_keys("['first-key', 'second-key']"));
    assert!(play_with(&relay, "first-key").is_ok() && play_with(&relay, "second-key").is_ok());
    go_on(&mut crowd);
    hang_up(&relay, &with_keys("'second-key'"));
    go_on(&mut crowd);
    assert_eq!(play_with(&relay, "first-key").err().expect("it is refused").0, "NetStream.Play.Failed");
    assert!(play_with(&relay, "second-key").is_ok());
    let changed = &reload(&relay, "[[access]]\nthen = 'deny'")["changed"];
    assert_eq!(*changed, serde_json::json!(["access"]));
    assert!(play_with(&relay, "second-key").is_err());
    go_on(&mut crowd);
    for &player in &players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..21 + 40);
    }
    assert!(!relay.log().iter().any(|line| line.contains("first-key") || line.contains("second-key")));
}

#[test]
fn keys_in_a_file_of_their_own_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let write_keys = |keys: &str| {
        fs::write(&path, keys).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    };
    write_keys("first-key\n");
    let toml = with_keys(&format!("{{ file = '{}' }}", path.display()));
    let relay = Relay::start(&toml);
    assert!(play_with(&relay, "first-key").is_ok() && play_with(&relay, "second-key").is_err());
    write_keys("second-key\nthird-key\n");
    assert_eq!(reload(&relay, &toml)["changed"], serde_json::json!(["access"]), "the file alone has changed");
    assert!(play_with(&relay, "first-key").is_err());
    assert!(play_with(&relay, "second-key").is_ok() && play_with(&relay, "third-key").is_ok());
    // What cannot be read changes nothing.
    fs::remove_file(&path).unwrap();
    let response = request_reload(&relay);
    assert_eq!(response.status, 422);
    assert!(response.text().contains(path.to_str().unwrap()), "{}", response.text());
    assert!(play_with(&relay, "second-key").is_ok());
    let keys = ["first-key", "second-key", "third-key"];
    assert!(!relay.log().iter().any(|line| keys.iter().any(|key| line.contains(key))));
}

#[test]
fn rules_that_cannot_be_made_are_a_fault() {
    let relay = Relay::start("");
    write(&relay, "[[access]]\njwt = true\n[jwt]\npublic_keys = ['/no/such/key.pem']");
    let response = request_reload(&relay);
    assert_eq!(response.status, 422);
    assert!(response.text().contains("/no/such/key.pem"), "{}", response.text());
    assert!(Rtmp::answer(&relay, Role::Play, "live/a").is_ok(), "the rules before are in force");
}

/// Signals that come while the file is read are one; the last one is not lost.
#[test]
fn a_storm_of_signals_costs_no_player_a_frame_and_the_last_file_is_in_force() {
    let mut relay = Relay::start("");
    let mut bystanders = Bystanders::new(&relay);
    for round in 0..50 {
        for _ in 0..40 {
            relay.signal(Signal::HUP);
        }
        write(&relay, &format!("play.send_timeout = '{}s'", 11 + round));
        relay.signal(Signal::HUP);
        bystanders.go_on();
    }
    eventually("the last file is in force", SOON, || {
        (config_of(&relay)["config"]["play"]["send_timeout"] == "1m").then_some(())
    });
    relay.expect_running();
    bystanders.finish();
    assert!(relay.log().iter().filter(|line| line.contains("configuration reloaded")).count() < 2_000);
}

#[test]
fn of_a_thousand_players_none_loses_a_frame_while_the_configuration_is_read_again_twenty_times() {
    const PLAYERS: usize = 1_000;
    let relay = Relay::start("");
    let mut crowd = Crowd::new();
    let source = Source::small(1);
    let publisher = crowd.publish(&relay, "live/a");
    let players = crowd.play_all(&relay, "live/a", PLAYERS);
    crowd.begin(publisher, &source, &players);
    let mut sent = 1;
    for round in 0..20 {
        // Limits that all are beyond, timeouts, how frames are merged, the log.
        let toml = format!(
            "limits.connections = {}\nlimits.video_message = '{}KiB'\nplay.send_timeout = '{}s'\nplay.merge_window = '{}ms'\n\
             publish.publisher_grace = '{round}s'\nplay.latency_budget = '{}ms'\nlog.level = '{}'\ncores = 9",
            1 + 700 * round % 2_000,
            64 + round,
            10 + round,
            round % 15,
            100 + round,
            if round % 2 == 0 { "info" } else { "info,fanfare::control=debug" },
        );
        crowd.send_frames(publisher, &source, sent..sent + 5);
        if round % 2 == 0 {
            hang_up(&relay, &toml);
        } else {
            // Its end is not waited for: the next one may come before it.
            write(&relay, &toml);
            relay.signal(Signal::HUP);
        }
        crowd.send_frames(publisher, &source, sent + 5..sent + 10);
        sent += 10;
        crowd.until_seen(&players, sent - 1);
    }
    for &player in &players {
        source.assert_from_the_start("a player", &crowd[player].seen, 0..sent);
    }
}

#[test]
fn what_a_reload_changes_is_in_force_for_the_next_decision() {
    let relay = Relay::start("");
    let _first = Rtmp::publishing(&relay, "live/a");
    Rtmp::refused(&relay, "live/a", "NetStream.Publish.BadName");
    hang_up(&relay, "publish.on_second_publisher = 'takeover'");
    let _second = Rtmp::publishing(&relay, "live/a");
}

/// What `fanfare check --diff` prints for the file of this relay, and its exit code.
fn difference(relay: &Relay, more: &[&str]) -> (String, Option<i32>) {
    let mut check = Command::new(FANFARE);
    let file = relay.dir().join("fanfare.toml");
    check.arg("check").arg("--diff").arg("--config").arg(file).args(more);
    // The flags of the relay.
    check.args(["--rtmp", &relay.address().to_string(), "--http", "127.0.0.1:0", "--cores", "2"]);
    check.env("XDG_STATE_HOME", relay.dir()).env_remove("STATE_DIRECTORY").env_remove("FANFARE_LOG");
    let output = check.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (text, output.status.code())
}

#[test]
fn check_diff_says_what_a_reload_will_change_and_what_needs_a_restart() {
    let relay = Relay::start("api.read_token = 'to-read-at-first'\nplay.send_timeout = '7s'");
    let address = relay.http_address().to_string();
    let at_relay = ["--relay", &*address];
    let (text, code) = difference(&relay, &at_relay);
    let not_compared = "# Not compared, since a relay shows no secrets: api.read_token\n";
    assert_eq!((text, code), (format!("# Nothing differs from the running relay.\n{not_compared}"), Some(0)));

    write(&relay, "play.send_timeout = '9s'\nplay.max_lag = '9s'\napi.read_token = 'to-read-later'");
    let (text, code) = difference(&relay, &at_relay);
    let expected = "# A reload changes:\nplay.send_timeout: \"7s\" -> \"9s\"\n\
                    # A restart is needed for:\nplay.max_lag: \"5s\" -> \"9s\"\n";
    assert_eq!((text, code), (format!("{expected}{not_compared}"), Some(1)));
    let answer = request_reload(&relay).json();
    assert_eq!(answer["restart_needed"], serde_json::json!(["play.max_lag"]));
    assert_eq!(answer["changed"], serde_json::json!(["api.read_token", "play.send_timeout"]));
    let (text, code) = difference(&relay, &at_relay);
    assert!(!text.contains("send_timeout") && text.contains("play.max_lag") && code == Some(1), "{text}");

    write(&relay, "play.send_timeout = 9");
    let (text, code) = difference(&relay, &at_relay);
    assert!(text.contains("fanfare.toml:2:21: play.send_timeout") && code == Some(2), "{text}");
    write(&relay, "api.token = 'of-another-relay'");
    let no_token = relay.dir().join("no_token");
    let (text, code) =
        difference(&relay, &[&at_relay[..], &["--token-file", no_token.to_str().unwrap()]].concat());
    assert!(text.contains("no token for the API") && code == Some(2), "{text}");
    let (text, code) = difference(&relay, &["--relay", "127.0.0.1:1"]);
    assert!(text.contains("no relay answers at 127.0.0.1:1: ") && code == Some(2), "{text}");
    assert!(!text.contains("of-another"), "{text}");
}
