//! The setups in `packaging/examples/`, as their files are, with addresses of the test put in. Each is started as far as it
//! can be without systemd and without containers; those behind a proxy are in `proxies`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{FANFARE, Process, SOON};

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples")
}

/// The text of one of them.
pub fn text(path: &str) -> String {
    let path = folder().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of one of them with the second of each pair in place of the first, which has to be in it exactly once.
pub fn changed(path: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text(path), |text, (from, to)| replace_once(&text, from, to))
}

pub fn replace_once(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replace(from, to)
}

#[test]
fn each_configuration_is_valid_with_the_ports_that_it_names() {
    let logs = tempfile::tempdir().unwrap();
    let mut checked = Vec::new();
    for example in fs::read_dir(folder()).unwrap() {
        let file = example.unwrap().path().join("fanfare.toml");
        if !file.exists() {
            continue;
        }
        let mut check = Command::new(FANFARE);
        check.args(["check", "--config"]).arg(&file);
        Process::start_logged(check, &logs.path().join("log")).expect_success(SOON);
        checked.push(file);
    }
    assert_eq!(checked.len(), 2, "{checked:?}");
}
