//! The setups in `packaging/examples/`, as their files are, with addresses of the test put in. Each is started as far as it
//! can be without systemd and without containers; those behind a proxy are in `proxies`.

mod monitoring;
mod one_machine;
mod push_on;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{FANFARE, Process, SOON, missing};

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

/// A file that contains this secret, as the relay expects it to be.
fn secret_file(folder: &TempDir, name: &str, secret: &str) -> String {
    let file = folder.path().join(name);
    fs::write(&file, format!("{secret}\n")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The only line of this README that begins like this: a command for a shell.
fn command_line(readme: &str, beginning: &str) -> String {
    let text = text(readme);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(beginning)).collect();
    let [line] = lines[..] else { panic!("{beginning:?} begins {} lines of {readme}", lines.len()) };
    line.to_owned()
}

fn shell(line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {line}")]);
    shell
}

/// Fails the test if systemd has anything to say about this unit, for which drop-ins may be beside it.
fn verify_unit(unit: &Path) {
    let mut verify = Command::new("systemd-analyze");
    let verify = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(unit).output();
    let verify = verify.unwrap_or_else(|_| panic!("{}", missing("systemd-analyze")));
    let said = String::from_utf8_lossy(&verify.stderr);
    let name = unit.file_name().unwrap().to_str().unwrap();
    // It also warns of faults in units of this machine.
    assert!(verify.status.success() && !said.lines().any(|line| line.contains(name)), "{said}");
}

#[test]
fn each_configuration_is_valid_with_the_ports_that_it_names() {
    let secrets = tempfile::tempdir().unwrap();
    let secret = secret_file(&secrets, "secret", "0123456789abcdef");
    let mut checked = Vec::new();
    for example in fs::read_dir(folder()).unwrap() {
        let name = format!("{}/fanfare.toml", example.unwrap().file_name().to_str().unwrap());
        if !folder().join(&name).exists() {
            continue;
        }
        let file = secrets.path().join(name.replace('/', "-"));
        let text = ["/etc/fanfare/publish-keys", "/etc/fanfare/link-secret", "/run/secrets/read_token"]
            .iter()
            .fold(text(&name), |text, path| text.replace(path, &secret));
        fs::write(&file, text).unwrap();
        let mut check = Command::new(FANFARE);
        check.args(["check", "--config"]).arg(&file);
        Process::start_logged(check, &secrets.path().join("log")).expect_success(SOON);
        checked.push(name);
    }
    assert_eq!(checked.len(), 4, "{checked:?}");
}
