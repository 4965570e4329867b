//! docs/openapi.yaml is true: schemathesis makes requests of it, right ones and wrong ones, and the running relay answers
//! each as it says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Clip, Player, Process, Publisher, Relay, missing};

/// Where `./test` puts it.
const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/schemathesis");
const OPENAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml");

#[test]
fn the_api_answers_as_its_document_says() {
    assert!(Path::new(SCHEMATHESIS).exists(), "{}", missing(SCHEMATHESIS));
    let relay = Relay::start("");
    let name = "live/live_stream";
    let clip = Clip::AUDIO_VIDEO.seconds(15);
    let _publisher = Publisher::Ffmpeg.publish(&relay, &clip.file(), name);
    relay.wait_for_publisher(name);
    // It is found, listed, and ended in the course of it.
    let _player = Player::Ffmpeg.record(&relay, name);
    relay.wait_for_players(name, 1);

    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", SCHEMATHESIS)
        .current_dir(relay.dir())
        .args(["-m", "schemathesis.cli", "run", OPENAPI, "--no-color", "--seed", "1", "--max-examples", "25"])
        .args(["--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all"])
        // A stream of events does not end; tests/http reads it.
        .args(["--exclude-operation-id", "events"])
        .args(["--url", &relay.http_url("")]);
    let mut schemathesis = Process::start_logged(command, &relay.dir().join("schemathesis.log"));
    let status = schemathesis.expect_end(Duration::from_secs(240));
    let said = schemathesis.output();
    assert!(status.success() && said.contains("15 selected / 16 total"), "{status}\n{said}");
}
