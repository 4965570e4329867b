//! The page is embedded in the binary: adding or removing a file under `web/` rebuilds it. A release also names the commit
//! that it was built from.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=web");
    println!("cargo:rerun-if-env-changed=BUILD_COMMIT");
    println!("cargo:rustc-env=BUILD_COMMIT={}", commit());
    println!("cargo:rustc-env=BUILD_TARGET={}", env::var("TARGET").unwrap_or_default());
}

/// As the environment of a package's build names it, or the packaged source, or git. Development builds have none, because
/// everything would be built again after each commit.
fn commit() -> String {
    if let Ok(commit) = env::var("BUILD_COMMIT") {
        return commit;
    }
    if let Some(hash) = of_packaged_source() {
        return short(&hash);
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return "development build".to_owned();
    }
    // A package of some distribution may be built within its own repository.
    let Some(hash) =
        git(&["log", "-1", "--format=%H", "--", "Cargo.toml"]).and_then(|_| git(&["rev-parse", "HEAD"]))
    else {
        return "unknown commit".to_owned();
    };
    for path in ["HEAD", "logs/HEAD", "index"] {
        if let Some(file) = git(&["rev-parse", "--git-path", path]) {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    for source in ["src", "Cargo.toml", "Cargo.lock", "fanfare-rtmp"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    short(&hash) + if changed { ", changed" } else { "" }
}

/// `cargo package` puts it into the source.
fn of_packaged_source() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    Some(rest.split('"').nth(1)?.to_owned())
}

fn short(hash: &str) -> String {
    format!("commit {}", &hash[..hash.len().min(12)])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !arguments.is_empty()).then(|| text.trim().to_owned())
}
