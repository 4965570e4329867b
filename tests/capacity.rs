//! `fanfare capacity`: runs for a second, prints an answer, and refuses what makes no sense.

use std::process::{Command, Output};

#[test]
fn a_short_measurement_prints_how_much_one_core_carries() {
    let output = run(&["capacity", "--bitrate", "600k", "--seconds", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for part in
        ["at 0.6 Mbit/s per stream", "players of one stream", "publishers without players", "Not included"]
    {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn the_answer_as_json_is_of_the_bitrate() {
    let output = run(&["capacity", "--bitrate", "2.5M", "--seconds", "1", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["bitrate"], 2_500_000);
    assert_eq!(answer["costs"]["send_bytes"], 15_625, "what a player gets in 50 ms");
    assert!(answer["players"].as_u64() > Some(0) && answer["publishers"].as_u64() > Some(0), "{answer}");
}

#[test]
fn a_bitrate_or_time_that_makes_no_sense_is_refused() {
    for arguments in [["--bitrate", "10"], ["--bitrate", "fast"], ["--seconds", "0"]] {
        let output = run(&["capacity", arguments[0], arguments[1]]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(arguments[0]), "{error}");
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fanfare")).args(arguments).output().unwrap()
}
