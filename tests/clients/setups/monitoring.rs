//! `monitoring/`: a real Prometheus with the files of the example scrapes a relay, the dashboard's queries have answers and an
//! alert fires. Without containers: what Docker would do with `compose.yaml` is checked in the file.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

use super::{changed, folder, replace_once, secret_file, text};
use crate::support::peer::{Http, ask_at, get};
use crate::support::{Clip, Player, Process, Publisher, Relay, SOON, Signal, eventually, missing};

const PROMETHEUS: &str = "/usr/bin/prometheus";
const READ_TOKEN: &str = "a-token-for-reading";

fn yaml(path: &str) -> Value {
    let text = text(path);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    to_json(&documents[0])
}

fn to_json(node: &Yaml) -> Value {
    match node {
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), to_json(value))).collect()
        }
        Yaml::Sequence(entries) => entries.iter().map(to_json).collect(),
        _ => node
            .as_str()
            .map(Value::from)
            .or(node.as_integer().map(Value::from))
            .or(node.as_bool().map(Value::from))
            .unwrap_or_default(),
    }
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

/// From where to where this service mounts files of the checkout.
fn mounts<'a>(compose: &'a Value, service: &str) -> Vec<(&'a str, &'a str)> {
    let volumes = strings(&compose["services"][service]["volumes"]).into_iter();
    let pairs = volumes.map(|volume| volume.strip_suffix(":ro").unwrap_or(volume).split_once(':').unwrap());
    pairs.filter(|(from, _)| from.starts_with('.')).collect()
}

/// A running Prometheus.
struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// With the flags of `compose.yaml` and the files of this folder.
    fn start(folder: &Path) -> Self {
        assert!(Path::new(PROMETHEUS).exists(), "{}", missing(PROMETHEUS));
        let compose = yaml("monitoring/compose.yaml");
        // Another process may take the port meanwhile: then try another one.
        for _ in 0..10 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let flags = strings(&compose["services"]["prometheus"]["command"]).join("\n");
            let flags = replace_once(&flags, "/etc/prometheus", folder.to_str().unwrap());
            let flags = replace_once(&flags, "=/prometheus", &format!("={}/data", folder.display()));
            let flags = replace_once(&flags, "127.0.0.1:9090", &address.to_string());
            let mut command = Command::new(PROMETHEUS);
            command.args(flags.lines());
            let mut process = Process::start_logged(command, &folder.join("prometheus.log"));
            let is_up = eventually("Prometheus is ready or exits", SOON, || {
                let is_ready = std::net::TcpStream::connect(address).is_ok()
                    && ask_at(address, "GET", "/-/ready", "").status == 200;
                is_ready.then_some(true).or_else(|| process.wait(Duration::ZERO).map(|_| false))
            });
            if is_up {
                return Self { process, address };
            }
            let output = process.output();
            assert!(output.contains("in use"), "{output}");
        }
        panic!("no port was free");
    }

    /// `data` of the answer.
    fn get(&self, path: &str) -> Value {
        let mut http = Http::connect(self.address);
        // Over HTTP/1.0 it has no chunks.
        http.say(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        let head = http.head();
        let body = http.until_closed();
        let answer: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {head:?} {}", String::from_utf8_lossy(&body)));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// Waits until the query has a result.
    fn expect_result(&self, query: &str) {
        let path = format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
        eventually(query, SOON, || {
            let result = &self.get(&path)["result"];
            (!result.as_array().unwrap().is_empty()).then_some(())
        });
    }
}

#[test]
fn prometheus_scrapes_with_the_token_and_the_dashboard_and_the_alerts_have_what_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let token = secret_file(&folder, "read_token", READ_TOKEN);
    let config = changed("monitoring/fanfare.toml", &[("/run/secrets/read_token", &token)]);
    // An encoder that falls silent is soon disconnected, which is an alert.
    let relay = Relay::start(&format!("{config}[limits]\npublisher_timeout = '3s'\n"));
    assert_eq!(get(&relay, "/metrics").status, 401);

    let prometheus_yml = changed(
        "monitoring/prometheus.yml",
        &[
            ("localhost:8080", &relay.http_address().to_string()),
            ("/run/secrets/read_token", &token),
            ("scrape_interval: 15s", "scrape_interval: 500ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 500ms"),
        ],
    );
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, prometheus_yml).unwrap();
    fs::copy(super::folder().join("../alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
    let mut promtool = Command::new("/usr/bin/promtool");
    promtool.args(["check", "config"]).arg(&file);
    Process::start_logged(promtool, &folder.path().join("promtool.log")).expect_success(SOON);

    let prometheus = Prometheus::start(folder.path());
    prometheus.expect_result("up{job=\"fanfare\"} == 1");
    let encoder = Publisher::Ffmpeg.publish(&relay, &Clip::AUDIO_VIDEO.seconds(20).file(), "live/news");
    let _player = Player::Ffmpeg.record(&relay, "live/news");
    prometheus.expect_result("fanfare_stream_players{stream=\"live/news\"} == 1");
    // Reasons for which connections have just been closed: there are none so far.
    let (of_ends, others): (Vec<_>, Vec<_>) =
        queries_of_the_dashboard().into_iter().partition(|query| query.ends_with("> 0"));
    others.iter().for_each(|query| prometheus.expect_result(query));

    let groups = eventually("all rules were evaluated", SOON, || {
        let groups = prometheus.get("/api/v1/rules")["groups"].clone();
        let rules = groups[0]["rules"].as_array()?;
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(groups)
    });
    let rules = groups[0]["rules"].as_array().unwrap();
    let faults: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    assert!(faults.is_empty() && rules.len() > 10, "{groups}");
    encoder.signal(Signal::STOP);
    relay.wait_for_log(&["publish ended", "publisher_timeout"]);
    of_ends.iter().for_each(|query| prometheus.expect_result(query));
    eventually("the alert fires", SOON, || {
        let alerts = prometheus.get("/api/v1/alerts");
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        let is_it = |alert: &&Value| {
            alert["labels"]["alertname"] == "FanfarePublisherTimedOut" && alert["state"] == "firing"
        };
        alerts.find(is_it).map(drop)
    });
    let Prometheus { mut process, .. } = prometheus;
    process.signal(Signal::TERM);
    process.expect_success(SOON);
}

/// As Grafana would send them.
fn queries_of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("../grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| target["expr"].as_str().unwrap());
    let queries: Vec<String> =
        queries.map(|query| query.replace("$instance", ".*").replace("$__rate_interval", "5s")).collect();
    assert!(queries.len() > 20 && !queries.iter().any(|query| query.contains('$')), "{queries:?}");
    queries
}

#[test]
fn grafana_s_files_lead_to_prometheus_and_to_the_dashboard() {
    let compose = yaml("monitoring/compose.yaml");
    let source = &yaml("monitoring/grafana/datasources.yaml")["datasources"][0];
    let flags = strings(&compose["services"]["prometheus"]["command"]).join(" ");
    let url = source["url"].as_str().unwrap();
    assert!(flags.contains(&format!("--web.listen-address={}", &url["http://".len()..])), "{url}");
    assert_eq!((&source["type"], &source["isDefault"]), (&"prometheus".into(), &true.into()));
    assert_eq!(
        source["jsonData"]["timeInterval"],
        yaml("monitoring/prometheus.yml")["global"]["scrape_interval"]
    );
    let dashboard: Value = serde_json::from_str(&text("../grafana-dashboard.json")).unwrap();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!((&variable["type"], &variable["query"]), (&"datasource".into(), &source["type"]));

    let provider = &yaml("monitoring/grafana/dashboards.yaml")["providers"][0];
    let mounts = mounts(&compose, "grafana");
    let mounted = |file: &str| mounts.iter().find(|(from, _)| *from == file).expect("it is mounted").1;
    let dashboard = mounted("../../grafana-dashboard.json");
    assert_eq!(provider["options"]["path"], Path::new(dashboard).parent().unwrap().to_str().unwrap());
    let environment = &compose["services"]["grafana"]["environment"];
    assert_eq!(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], dashboard);
    for (file, kind) in [("datasources", "datasources"), ("dashboards", "dashboards")] {
        let to = mounted(&format!("./grafana/{file}.yaml"));
        assert!(to.starts_with(&format!("/etc/grafana/provisioning/{kind}/")), "{to}");
        assert_eq!(yaml(&format!("monitoring/grafana/{file}.yaml"))["apiVersion"], 1);
    }
}

#[test]
fn compose_finds_no_fault_and_all_that_is_mounted_is_there() {
    let mut config = Command::new("docker-compose");
    config.args(["-f", "compose.yaml", "config", "--quiet"]).current_dir(folder().join("monitoring"));
    let log = tempfile::NamedTempFile::new().unwrap();
    Process::start_logged(config, log.path()).expect_success(SOON);

    let compose = yaml("monitoring/compose.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(compose["services"]["fanfare"]["image"], format!("fanfare:{version}"));
    let readme = text("monitoring/README.md");
    assert!(readme.contains(&format!("`fanfare:{version}`")));
    for service in ["fanfare", "prometheus", "grafana"] {
        for (from, _) in mounts(&compose, service) {
            assert!(folder().join("monitoring").join(from).exists(), "{service}: {from}");
        }
        for secret in strings(&compose["services"][service]["secrets"]) {
            let file = compose["secrets"][secret]["file"].as_str().unwrap();
            assert!(readme.contains(&format!(" > {}\n", &file[2..])), "the README does not create {file}");
        }
        // What a file names as a secret is one of the service.
        let files = match service {
            "fanfare" => text("monitoring/fanfare.toml"),
            "prometheus" => text("monitoring/prometheus.yml"),
            _ => compose["services"]["grafana"]["environment"].to_string(),
        };
        for used in files.split("/run/secrets/").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(strings(&compose["services"][service]["secrets"]).contains(&&*name), "{service}: {name}");
        }
    }
}
