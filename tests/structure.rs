//! Reads the source and holds what ARCHITECTURE.md promises of it: which way imports point, who does I/O, where
//! unsafe code lives, that a file says what it owns and stays small enough to be one idea.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A module, and the modules of the crate that it may name beside itself.
const MAY_NAME: [(&str, &[&str]); 11] = [
    ("amf0", &[]),
    ("flv", &["amf0"]),
    ("rtmp", &["amf0", "flv"]),
    ("http", &["flv"]),
    ("stream", &["flv"]),
    ("fanout", &["stream", "flv"]),
    ("config", &["logging", "stream"]),
    ("logging", &["config"]),
    ("net", &["amf0", "flv", "rtmp", "http", "stream", "fanout", "config", "logging"]),
    ("control", &["amf0", "flv", "rtmp", "http", "stream", "fanout", "config", "logging", "net"]),
    ("fuzz", &["amf0", "flv", "rtmp", "http", "stream"]),
];

/// Files with unsafe code. Each block in them says who keeps the promise; clippy sees to that.
const UNSAFE: [&str; 5] = [
    "src/stream/cells.rs",
    "src/stream/segment.rs",
    "src/net/ring.rs",
    "src/net/queued.rs",
    "src/net/allocator.rs",
];

/// What a module that is pure never names: sockets, clocks, threads, runtimes.
const IO: [&str; 8] =
    ["std::net", "std::fs", "std::thread", "Instant", "SystemTime", "tokio", "socket2", "std::os"];

/// Lines of a file without its tests, beyond which there is likely a second idea in it.
const MOST_LINES: usize = 600;

struct Source {
    path: String,
    module: String,
    /// Without comments and without the tests at its end.
    code: String,
    text: String,
}

#[test]
fn imports_point_one_way() {
    for source in sources() {
        let allowed = MAY_NAME.iter().find(|(module, _)| *module == source.module);
        let Some((_, allowed)) = allowed else {
            assert!(["lib", "main"].contains(&source.module.as_str()), "{}: which layer is it?", source.path);
            continue;
        };
        for named in crate_modules_named_in(&source.code) {
            assert!(
                named == source.module || allowed.contains(&named.as_str()),
                "{} names crate::{named}; {} may name {allowed:?}",
                source.path,
                source.module,
            );
        }
    }
}

#[test]
fn rings_and_runtimes_are_named_in_net_alone() {
    for source in sources().iter().filter(|source| source.module != "net") {
        for name in ["tokio_uring", "io_uring::", "libc::"] {
            assert!(!source.code.contains(name), "{} names {name}", source.path);
        }
    }
}

#[test]
fn protocol_log_and_fan_out_do_no_io() {
    let pure = ["amf0", "flv", "rtmp", "http", "stream", "fanout"];
    for source in sources().iter().filter(|source| pure.contains(&source.module.as_str())) {
        for name in IO {
            assert!(!source.code.contains(name), "{} names {name}", source.path);
        }
    }
}

/// The wall clock may be set by hours at any time: it is for people to read.
#[test]
fn what_the_relay_does_goes_by_the_steady_clock() {
    for source in
        sources().iter().filter(|source| ["net", "stream", "fanout"].contains(&source.module.as_str()))
    {
        assert!(!source.code.contains("SystemTime"), "{} names SystemTime", source.path);
    }
}

#[test]
fn of_rtmp_the_control_plane_names_names_alone() {
    for source in sources().iter().filter(|source| source.module == "control") {
        for (at, start) in source.code.match_indices("rtmp::") {
            let rest = &source.code[at + start.len()..];
            assert!(
                rest.starts_with("name::"),
                "{} names rtmp::{}",
                source.path,
                &rest[..rest.len().min(20)]
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_named_files() {
    let with_unsafe: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| has_word(&source.code, "unsafe"))
        .map(|source| source.path)
        .collect();
    assert_eq!(with_unsafe, UNSAFE.map(String::from).into());
}

#[test]
fn every_file_says_first_what_it_owns() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{}", source.path);
    }
}

#[test]
fn no_file_is_so_long_that_it_must_hold_a_second_idea() {
    for source in sources() {
        let lines = before_tests(&source.text).lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines without its tests", source.path);
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    assert!(paths.len() > 20, "the source is where it was");
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let path = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned();
        let module = path.split('/').nth(1).expect("below src").trim_end_matches(".rs").to_owned();
        let code = before_tests(&text).lines().map(without_comment).collect::<Vec<_>>().join("\n");
        Source { path, module, code, text }
    };
    let is_test = |path: &PathBuf| {
        let path = path.strip_prefix(root).expect("below the root");
        path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "round_trip.rs")
    };
    paths.into_iter().filter(|path| !is_test(path)).map(source).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Test modules come last in a file.
fn before_tests(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod ").or_else(|| text.find("\n#[cfg(all(test"));
    let end = end.into_iter().chain(text.find("\n#[cfg(test)]\npub(crate) mod tests")).min();
    &text[..end.unwrap_or(text.len())]
}

fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |start| &line[..start])
}

/// The first segments of all `crate::…` paths, in groups too.
fn crate_modules_named_in(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut is_first = true;
            for word in group.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
                let (name, end) = word.split_at(word.len() - 1);
                if depth == 0 && is_first && !name.is_empty() {
                    named.insert(name.to_owned());
                    is_first = false;
                }
                match end {
                    "{" => depth += 1,
                    "}" if depth == 0 => break,
                    "}" => depth -= 1,
                    "," if depth == 0 => is_first = true,
                    _ => {}
                }
            }
        } else {
            named.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    named
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let code =
        "use crate::{flv::{Frame, Run}, stream,\n  rtmp::session as s};\n fn f() { crate::config::x() }";
    let named = crate_modules_named_in(code);
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["config", "flv", "rtmp", "stream"]);
}
