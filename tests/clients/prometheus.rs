//! Prometheus's own tool on `/metrics` and on the rules in `packaging/`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use fanfare::rtmp::client::Role;

use crate::support::peer::{Rtmp, get_with_token, json_when};
use crate::support::{Process, Relay, SOON, missing};

const PROMTOOL: &str = "/usr/bin/promtool";

fn promtool(arguments: &[&str]) -> Command {
    assert!(Path::new(PROMTOOL).exists(), "{}", missing(PROMTOOL));
    let mut command = Command::new(PROMTOOL);
    command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging"));
    command
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    let relay = Relay::start("");
    let _publisher = Rtmp::publishing(&relay, "live/a");
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    json_when(&relay, "/api/v1/streams/live/a", |json| json["players"]["total"] == 1);
    let text = get_with_token(&relay, "/metrics").text();
    let mut command = promtool(&["check", "metrics"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut promtool = command.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let mut found = String::new();
    promtool.stdout.take().unwrap().read_to_string(&mut found).unwrap();
    promtool.stderr.take().unwrap().read_to_string(&mut found).unwrap();
    assert!(promtool.wait().unwrap().success() && found.is_empty(), "{found}");
}

#[test]
fn the_alerts_fire_when_they_should() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    Process::start_logged(promtool(&["check", "rules", "alerts.yaml"]), &log).expect_success(SOON);
    Process::start_logged(promtool(&["test", "rules", "alerts_test.yaml"]), &log).expect_success(SOON);
}
