//! docs/openapi.yaml matches the running relay: schemathesis makes valid and invalid requests from it, and checks each
//! response. Events are checked apart: their response does not end.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fanfare::rtmp::client::Role;

use crate::support::peer::Rtmp;
use crate::support::{Clip, Player, Process, Publisher, Relay, Signal, missing};

/// Where `./test` installs it.
const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/schemathesis");
const OPENAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml");

const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openapi.py");

#[test]
fn the_api_answers_as_its_document_says() {
    let relay = Relay::start("");
    let name = "live/live_stream";
    let clip = Clip::AUDIO_VIDEO.seconds(15);
    let _publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), name);
    relay.wait_for_publisher(name);
    // The requests find it, list it and disconnect it.
    let _player = Player::Ffmpeg.record(&relay, name);
    relay.wait_for_players(name, 1);

    let base = relay.http_url("");
    let output = python(&relay, &[CHECK, "paths", OPENAPI, &base, name, &relay.token()], "paths.log");
    assert!(output.starts_with("9 addresses"), "{output}");

    // The stream of events does not end; tests/http reads it.
    let token = format!("Authorization: Bearer {}", relay.token());
    let what = ["--url", &base, "--exclude-operation-id", "events", "--header", &token];
    let how = ["--seed", "1", "--max-examples", "25", "--phases", "examples,coverage,fuzzing"];
    let run = ["-m", "schemathesis.cli", "run", OPENAPI, "--no-color", "--suppress-health-check", "all"];
    let output = python(&relay, &[&run[..], &what, &how].concat(), "schemathesis.log");
    assert!(output.contains("17 selected / 18 total"), "{output}");
}

#[test]
fn each_kind_of_event_is_as_its_document_says() {
    let rule = "access = [{ streams = 'live/denied', then = 'deny' }]";
    let relay = Relay::start(&format!("limits.streams = 1\nshutdown_timeout = '5m'\n{rule}"));
    let mut publisher = Rtmp::publishing(&relay, "live/a");
    assert_eq!(Rtmp::refusal(&relay, Role::Publish, "live/b").0, "NetStream.Publish.Denied");
    assert_eq!(Rtmp::refusal(&relay, Role::Play, "live/denied").0, "NetStream.Play.Failed");
    drop(Rtmp::started(&relay, Role::Play, "live/a"));
    relay.wait_for_log(&["play ended"]);
    // Reads nothing, so that the relay waits for it.
    let _player = Rtmp::started(&relay, Role::Play, "live/a");
    for _ in 0..40 {
        publisher.key_frame(&[0; 1 << 20]);
    }
    relay.signal(Signal::TERM);
    relay.wait_for_publisher_gone("live/a");
    let base = relay.http_url("");
    let output = python(&relay, &[CHECK, "events", OPENAPI, &base, &relay.token()], "events.log");
    assert_eq!(output, "7 kinds of events are as documented\n");
    relay.signal(Signal::TERM);
}

/// What Python prints.
fn python(relay: &Relay, arguments: &[&str], log: &str) -> String {
    assert!(Path::new(SCHEMATHESIS).exists(), "{}", missing(SCHEMATHESIS));
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", SCHEMATHESIS).current_dir(relay.dir()).args(arguments);
    let mut process = Process::start_logged(command, &relay.dir().join(log));
    let status = process.expect_end(Duration::from_secs(240));
    assert!(status.success(), "{status}\n{}", process.output());
    process.output()
}
