//! The scripts of the load generator, as far as they can be tested without minutes of load.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn the_python_unit_tests_pass() {
    let output = run(Command::new("python3").args(["-m", "unittest"]).env("PYTHONDONTWRITEBYTECODE", "1"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_shell_script_parses_and_has_a_help_text() {
    for script in shell_scripts() {
        let output = run(Command::new("bash").arg("-n").arg(&script));
        assert!(output.status.success(), "{}: {output:?}", script.display());
        if script.ends_with("common.sh") {
            continue;
        }
        // These build before they parse their options.
        let builds = ["measure.sh", "compare.sh", "shapes.sh"].iter().any(|name| script.ends_with(name));
        if !builds {
            let output = run(Command::new(&script).arg("--help"));
            let help = String::from_utf8_lossy(&output.stdout);
            let name = script.file_name().expect("a script has a name").to_string_lossy();
            assert!(output.status.success() && help.contains(&format!("./{name}")), "{name}: {output:?}");
        }
    }
}

#[test]
fn a_wrong_argument_is_answered_with_the_usage() {
    for script in ["players.sh", "vlc.sh", "soak.sh", "churn.sh"] {
        let output = run(Command::new(folder().join(script)).arg("many"));
        assert_eq!(output.status.code(), Some(2), "{script}: {output:?}");
    }
}

/// The faults of `simulate_faults.sh` are patches of the relay's code, which moves.
#[test]
fn each_fault_of_the_simulator_applies_to_the_code_as_it_is() {
    let root = folder().parent().expect("the load generator has a folder in the project's");
    let faults = root.join("tests/simulator/faults").read_dir().expect("the folder is there").flatten();
    let mut count = 0;
    for fault in faults.map(|entry| entry.path()) {
        let check = Command::new("git").args(["apply", "--check"]).arg(&fault).current_dir(root).output();
        let output = check.expect("git is there");
        assert!(output.status.success(), "{}: {}", fault.display(), String::from_utf8_lossy(&output.stderr));
        count += 1;
    }
    assert!(count >= 10, "{count} faults");
}

fn run(command: &mut Command) -> Output {
    command.current_dir(folder()).output().expect("bash and python3 are there")
}

fn shell_scripts() -> Vec<PathBuf> {
    let entries = folder().read_dir().expect("the folder is there").flatten();
    let scripts: Vec<_> = entries.map(|entry| entry.path()).filter(|path| is_shell_script(path)).collect();
    assert!(scripts.len() >= 8, "{scripts:?}");
    scripts
}

fn is_shell_script(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sh")
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
