//! docs/openapi.yaml matches the running relay: schemathesis makes valid and invalid requests from it, and checks each
//! response.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Clip, Player, Process, Publisher, Relay, missing};

/// Where `./test` installs it.
const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/schemathesis");
const OPENAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml");

const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openapi.py");

#[test]
fn the_api_answers_as_its_document_says() {
    assert!(Path::new(SCHEMATHESIS).exists(), "{}", missing(SCHEMATHESIS));
    let relay = Relay::start("");
    let name = "live/live_stream";
    let clip = Clip::AUDIO_VIDEO.seconds(15);
    let _publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), name);
    relay.wait_for_publisher(name);
    // The requests find it, list it and disconnect it.
    let _player = Player::Ffmpeg.record(&relay, name);
    relay.wait_for_players(name, 1);

    let python = |arguments: &[&str], log: &str| {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", SCHEMATHESIS).current_dir(relay.dir()).args(arguments);
        let mut process = Process::start_logged(command, &relay.dir().join(log));
        let status = process.expect_end(Duration::from_secs(240));
        assert!(status.success(), "{status}\n{}", process.output());
        process.output()
    };
    let base = relay.http_url("");
    let output = python(&[CHECK, OPENAPI, &base, name, &relay.token()], "fields.log");
    assert!(output.starts_with("9 addresses"), "{output}");

    // The stream of events does not end; tests/http reads it.
    let token = format!("Authorization: Bearer {}", relay.token());
    let what = ["--url", &base, "--exclude-operation-id", "events", "--header", &token];
    let how = ["--seed", "1", "--max-examples", "25", "--phases", "examples,coverage,fuzzing"];
    let run = ["-m", "schemathesis.cli", "run", OPENAPI, "--no-color", "--suppress-health-check", "all"];
    let output = python(&[&run[..], &what, &how].concat(), "schemathesis.log");
    assert!(output.contains("16 selected / 17 total"), "{output}");
}
