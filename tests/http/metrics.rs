//! `/metrics`, as a monitoring system reads it; and that every metric used in `packaging/` exists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare::certificates::DevelopmentCertificate;
use fanfare::rtmp::client::Role;

use crate::peer::{Http, Rtmp, ask_with, bearer, get, get_with_token, json_when};
use crate::support::{Relay, SOON, eventually};

/// The samples: name with labels, and value.
fn samples(text: &str) -> Vec<(String, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
    };
    let samples: Vec<(String, f64)> = lines.map(sample).collect();
    let mut keys = BTreeSet::new();
    samples.iter().for_each(|(key, _)| {
        assert!(keys.insert(key), "{key} is there twice: Prometheus rejects the scrape")
    });
    samples
}

/// The names of metrics in the queries of a file.
fn used_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("fanfare_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn metrics_cover_cores_and_streams() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    // Each core reports at its own times.
    json_when(&relay, "/api/v1/cores", |json| {
        let sum = |of: fn(&serde_json::Value) -> &serde_json::Value| {
            json["cores"].as_array().unwrap().iter().filter_map(|core| of(core).as_u64()).sum::<u64>()
        };
        sum(|core| &core["players"]["rtmp"]) == 1 && sum(|core| &core["publishers"]) == 1
    });
    let text = get_with_token(&relay, "/metrics").text();
    let samples = samples(&text);
    let sum = |name: &str, label: &str| -> f64 {
        let of = samples.iter().filter(|(key, _)| key.starts_with(name) && key.contains(label));
        of.map(|(_, value)| value).sum()
    };
    assert_eq!(sum("fanfare_players{", "protocol=\"rtmp\""), 1.0);
    assert_eq!(sum("fanfare_publishers{", ""), 1.0);
    assert_eq!(sum("fanfare_connections_accepted_total{", ""), 2.0);
    assert_eq!(sum("fanfare_streams{", "state=\"live\""), 1.0);
    assert_eq!(sum("fanfare_stream_players{", "stream=\"live/a\""), 1.0);
    assert_eq!(sum("fanfare_build_info{", env!("CARGO_PKG_VERSION")), 1.0);
    assert!(sum("fanfare_memory_bytes{", "kind=\"resident\"") > 1e6);
    assert!(sum("fanfare_received_bytes_total{", "") > 3_000.0, "a handshake alone has as many bytes");
    for core in ["core=\"0\"", "core=\"1\""] {
        let inf = format!("le=\"+Inf\",{core}");
        assert_eq!(
            sum("fanfare_lag_seconds_bucket{", &inf),
            sum("fanfare_lag_seconds_count{", core),
            "{text}"
        );
    }
}

#[test]
fn the_format_is_openmetrics_if_the_client_asks_for_it_and_otherwise_that_of_prometheus() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let scrape = |accept: &str| {
        let headers = format!("{}{accept}", bearer(&relay.token()));
        let answer = ask_with(&relay, "GET", "/metrics", &headers);
        (answer.header("content-type").to_owned(), answer.text())
    };
    let names =
        |text: &str| -> BTreeSet<String> { samples(text).into_iter().map(|(name, _)| name).collect() };
    let (kind, open) = scrape("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(open.ends_with("# EOF\n") && open.contains("\n# TYPE fanfare_sends counter\n"), "{open}");
    let (kind, plain) = scrape("");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(!plain.contains("EOF") && plain.contains("\n# TYPE fanfare_sends_total counter\n"), "{plain}");
    assert_eq!(names(&open), names(&plain));
}

#[test]
fn a_stream_that_has_ended_still_says_when_it_was_live() {
    let relay = Relay::start("publish.publisher_grace = '0s'");
    let publisher = Rtmp::publishing(&relay, "live/a");
    let last_live = || {
        let samples = samples(&get_with_token(&relay, "/metrics").text());
        let name = "fanfare_stream_last_live_timestamp_seconds{stream=\"live/a\"}";
        samples.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let unix_time = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let while_live = eventually("the stream was seen", SOON, last_live);
    assert!((unix_time() - while_live).abs() < 10.0, "{while_live}");
    drop(publisher);
    json_when(&relay, "/api/v1/summary", |json| json["streams"]["live"] == 0);
    let ended_at = last_live().expect("it is still there");
    assert!(ended_at >= while_live - 1.0 && ended_at <= unix_time() + 1.0, "{ended_at}");
    assert!(!get(&relay, "/metrics").text().contains("live/a"), "without a token there are no names");
}

#[test]
fn the_process_has_the_metrics_that_other_programs_have() {
    let relay = Relay::start("");
    let samples: BTreeMap<String, f64> = samples(&get(&relay, "/metrics").text()).into_iter().collect();
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((unix_time - samples["process_start_time_seconds"]).abs() < 60.0);
    assert!(samples["process_resident_memory_bytes"] > 1e6);
    assert!(samples["process_virtual_memory_bytes"] > samples["process_resident_memory_bytes"]);
    assert!(samples["process_open_fds"] > 5.0);
    assert!(samples["process_max_fds"] >= samples["process_open_fds"]);
    assert!(samples["process_cpu_seconds_total"] >= 0.0);
}

#[test]
fn streams_beyond_the_limit_are_added_up() {
    let relay = Relay::start("http.metrics_max_streams = 2");
    // Two of them try to have the label of the others.
    let names = ["(others)", "x/others", "live/2", "live/3"];
    let _publishers = names.map(|name| Rtmp::publishing(&relay, name));
    json_when(&relay, "/api/v1/summary", |json| json["streams"]["live"] == 4);
    let samples = samples(&get_with_token(&relay, "/metrics").text());
    let of = |name: &str| samples.iter().filter(|(key, _)| key.starts_with(name)).count();
    assert_eq!(of("fanfare_stream_players{"), (2 + 1) * 3);
    assert_eq!(of("fanfare_stream_received_bytes_total{"), 2);
    assert!(samples.iter().any(|(key, _)| key.contains("stream=\"/others\"")));
}

#[test]
fn without_a_token_the_metrics_add_up_all_streams_and_name_none() {
    let relay = Relay::start("");
    let _publishers: Vec<_> = (0..2).map(|i| Rtmp::publishing(&relay, &format!("live/{i}"))).collect();
    let _player = Rtmp::started(&relay, Role::Play, "live/1");
    json_when(&relay, "/api/v1/streams/live/1", |json| json["players"]["total"] == 1);
    let text = get(&relay, "/metrics").text();
    assert!(!text.contains("live/"), "{text}");
    let samples = samples(&text);
    let value = |name: &str, label: &str| -> f64 {
        let of = samples.iter().filter(|(key, _)| key.starts_with(name) && key.contains(label));
        of.map(|(_, value)| value).sum()
    };
    assert_eq!(value("fanfare_stream_players{", "stream=\"/others\""), 1.0);
    assert_eq!(value("fanfare_streams{", "state=\"live\""), 2.0);
    assert!(get_with_token(&relay, "/metrics").text().contains("live/1"));
}

/// The counters.
fn totals(relay: &Relay) -> BTreeMap<String, f64> {
    let samples = samples(&get_with_token(relay, "/metrics").text());
    samples.into_iter().filter(|(name, _)| is_counter(name)).collect()
}

fn is_counter(name: &str) -> bool {
    let name = name.split('{').next().unwrap();
    ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
}

/// Scrapes until a counter with these parts in its name and labels is positive and the stream has so many players. No
/// counter may be lower than in the scrape before.
fn scrape_until(relay: &Relay, before: &mut BTreeMap<String, f64>, positive: &[&str], players: f64) {
    eventually("the counters are as wanted", SOON, || {
        let now = totals(relay);
        for (name, was) in &*before {
            let is = now.get(name).copied().unwrap_or_else(|| panic!("{name} is gone"));
            assert!(is >= *was, "{name} was {was} and is {is}");
        }
        *before = now;
        let is_wanted = |name: &str| positive.iter().all(|part| name.contains(part));
        let has_counted = before.iter().any(|(name, value)| is_wanted(name) && *value > 0.0);
        let samples = samples(&get_with_token(relay, "/metrics").text());
        let watching = samples.iter().filter(|(name, _)| name.starts_with("fanfare_stream_players{"));
        (has_counted && watching.map(|(_, value)| value).sum::<f64>() == players).then_some(())
    });
}

#[test]
fn no_counter_decreases_when_players_come_and_go_and_the_encoder_reconnects() {
    let relay = Relay::start("");
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
    let mut before = BTreeMap::new();
    let sent = |protocol| ["stream_sent_bytes_total", protocol];
    for _ in 0..2 {
        let player = Rtmp::started(&relay, Role::Play, "live/a");
        scrape_until(&relay, &mut before, &sent("\"rtmp\""), 1.0);
        let mut viewer = Http::connect(relay.http_address());
        viewer.say("GET /live/a.flv HTTP/1.1\r\nHost: x\r\n\r\n");
        viewer.until(b"\r\n\r\n");
        publisher.inter_frame(b"next");
        scrape_until(&relay, &mut before, &sent("\"http_flv\""), 2.0);
        drop(player);
        drop(viewer);
        publisher.inter_frame(b"last");
        scrape_until(&relay, &mut before, &["stream_received_bytes_total"], 0.0);
    }
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    drop(publisher);
    relay.wait_for_publisher_gone("live/a");
    scrape_until(&relay, &mut before, &["stream_received_frames_total"], 1.0);
    let received =
        |totals: &BTreeMap<String, f64>| totals["fanfare_stream_received_frames_total{stream=\"live/a\"}"];
    let so_far = received(&before);
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    publisher.inter_frame(b"again");
    eventually("the new publisher counts on", SOON, || {
        scrape_until(&relay, &mut before, &sent("\"rtmp\""), 1.0);
        (received(&before) > so_far).then_some(())
    });
}

#[test]
fn a_name_that_only_players_have_named_has_no_metrics_of_its_own() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let _waiting = Rtmp::started(&relay, Role::Play, "live/invented");
    json_when(&relay, "/api/v1/summary", |json| json["streams"]["waiting"] == 1);
    let count = |name: &str| {
        let text = get_with_token(&relay, "/metrics").text();
        assert!(!text.contains("invented"), "{text}");
        let samples = samples(&text);
        samples.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum::<f64>()
    };
    eventually("the player is counted", SOON, || {
        (count("fanfare_stream_players{stream=\"/others\"") == 1.0).then_some(())
    });
    let _later = Rtmp::publishing(&relay, "live/invented");
    json_when(&relay, "/api/v1/summary", |json| json["streams"]["live"] == 2);
    assert!(get_with_token(&relay, "/metrics").text().contains("stream=\"live/invented\""));
}

#[test]
fn any_stream_name_is_escaped() {
    let relay = Relay::start("");
    let name = "live/\"}\\ 1";
    let _publisher = Rtmp::publishing(&relay, name);
    json_when(&relay, "/api/v1/summary", |json| json["streams"]["live"] == 1);
    let text = get_with_token(&relay, "/metrics").text();
    let of_it: Vec<_> = text.lines().filter(|line| line.contains("stream=\"")).collect();
    let is_escaped = |line: &&str| line.contains("stream=\"live/\\\"}\\\\ 1\"");
    assert!(of_it.len() > 5 && of_it.iter().all(is_escaped), "{of_it:#?}");
    samples(&text);
}

#[test]
fn every_metric_that_the_dashboard_and_the_alerts_use_exists() {
    let folder = tempfile::tempdir().unwrap();
    let files = DevelopmentCertificate::make(folder.path(), vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let relay = Relay::start(&format!(
        "listen.rtmps = ['127.0.0.1:0']\n\
         tls.certificates = [{{ certificate = '{certificate}', key = '{key}' }}]\n"
    ));
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    (0..3).for_each(|_| publisher.key_frame(b"again"));
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    // Until rates and intervals have two samples.
    publisher.until(&relay, "/api/v1/streams/live/a", |json| {
        json["video"]["key_frame_interval_ms"].is_u64() && json["received_kbps"].as_u64() > Some(0)
    });
    let text = get_with_token(&relay, "/metrics").text();
    let served: BTreeSet<String> =
        samples(&text).into_iter().map(|(key, _)| key.split('{').next().unwrap().to_owned()).collect();
    for (file, text) in [
        ("grafana-dashboard.json", include_str!("../../packaging/grafana-dashboard.json")),
        ("alerts.yaml", include_str!("../../packaging/alerts.yaml")),
    ] {
        let used = used_in(text);
        assert!(used.len() > 5, "{file} uses {used:?}");
        let missing: Vec<_> = used.difference(&served).collect();
        assert!(missing.is_empty(), "{file} uses {missing:?}, which is not among {served:?}");
    }
    let _: serde_json::Value =
        serde_json::from_str(include_str!("../../packaging/grafana-dashboard.json")).unwrap();
}
