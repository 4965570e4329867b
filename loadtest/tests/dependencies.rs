//! The load generator, the fuzz targets and the protocol crate build without what only the relay needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const ONLY_THE_RELAY_S: [&str; 6] = ["fanfare", "axum", "hyper", "io-uring", "tokio", "tokio-uring"];

#[test]
fn the_load_generator_and_the_protocol_need_no_runtime_and_no_http_server() {
    for package in ["fanfare-load", "fanfare-rtmp"] {
        let needed = needed_by(package);
        assert!(needed.contains("bytes"), "{package}: {needed:?}");
        assert_eq!(not_allowed(&needed), Vec::<&str>::new(), "{package}");
    }
}

/// Their lock file is their own, so it names exactly what they need.
#[test]
fn the_fuzz_targets_need_no_runtime_and_no_http_server() {
    let lock_file = folder().join("../fuzz/Cargo.lock");
    let text = fs::read_to_string(&lock_file).expect("it is in the repository");
    let name = |line: &str| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned());
    let needed: BTreeSet<_> = text.lines().filter_map(name).collect();
    assert!(needed.contains("fanfare-rtmp"), "{needed:?}");
    assert_eq!(not_allowed(&needed), Vec::<&str>::new());
}

fn not_allowed(needed: &BTreeSet<String>) -> Vec<&'static str> {
    ONLY_THE_RELAY_S.into_iter().filter(|name| needed.contains(*name)).collect()
}

/// The names of all packages in its normal build.
fn needed_by(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}", "--package"];
    let output = Command::new(env!("CARGO")).args(arguments).arg(package).current_dir(folder()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).expect("names are UTF-8");
    packages.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
