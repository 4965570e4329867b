//! shellcheck on the scripts that make and test packages.

use std::fs;
use std::process::Command;

use crate::support::missing;

#[test]
fn shellcheck_finds_no_fault_in_the_scripts_of_packages() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");
    let path =
        |folder: &str| -> Vec<_> { fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect() };
    let mut scripts = path(folder);
    scripts.retain(|path| path.extension().is_some_and(|it| it == "sh"));
    scripts.extend(["postinst", "prerm", "postrm"].map(|name| format!("{folder}/debian/{name}").into()));
    assert!(scripts.len() > 8, "{scripts:?}");
    let mut shellcheck = Command::new("shellcheck");
    shellcheck.arg("--external-sources").args(scripts).current_dir(folder);
    let output = shellcheck.output().unwrap_or_else(|error| panic!("{error}: {}", missing("shellcheck")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
