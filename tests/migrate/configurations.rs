//! Configurations of our own, written from the servers' documents, each with what it becomes beside it.
//!
//! After a change that is meant, `FANFARE_WRITE_EXPECTED=1 cargo test --test migrate` writes all of them anew: look at the
//! difference before you commit it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use fanfare::{config::Config, migrate};

const WRITE: &str = "FANFARE_WRITE_EXPECTED";

/// Each configuration with what it is expected to become.
pub fn all() -> Vec<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate");
    let mut found = Vec::new();
    for server in ["nginx", "nginx/split", "srs", "mediamtx"] {
        let files = fs::read_dir(folder.join(server)).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|it| it == "conf" || it == "yml")));
    }
    found.sort();
    found.into_iter().map(|path| (path.clone(), path.with_extension("toml"))).collect()
}

fn migrated(path: &Path) -> migrate::Migrated {
    migrate::of_file(path, None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_of_twenty_becomes_what_is_written_beside_it() {
    let all = all();
    assert_eq!(all.len(), 20);
    let is_to_be_written = std::env::var_os(WRITE).is_some();
    for (path, expected) in all {
        let toml = migrated(&path).toml;
        if is_to_be_written {
            fs::write(&expected, &toml).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        let first = expected.lines().zip(toml.lines()).position(|(expected, line)| expected != line);
        let line = first.unwrap_or_else(|| expected.lines().count().min(toml.lines().count()));
        assert!(
            expected == toml,
            "{}: line {} is `{}`: {WRITE}=1 accepts it",
            path.display(),
            line + 1,
            toml.lines().nth(line).unwrap_or("nothing"),
        );
    }
}

#[test]
fn each_result_is_a_configuration_that_the_relay_takes() {
    for (path, _) in all() {
        let toml = migrated(&path).toml;
        Config::from_toml("fanfare.toml", &toml)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let next_steps = toml.lines().nth(1).unwrap_or_default();
        assert_eq!(next_steps, "#   fanfare check --config fanfare.toml && fanfare --config fanfare.toml");
    }
}

/// Counted by the text alone, without what reads the configurations.
#[test]
fn each_line_of_each_is_in_a_comment() {
    for (path, _) in all() {
        let migrated = migrated(&path);
        let name = path.file_name().unwrap().to_str().unwrap();
        let named = lines_named(&migrated.toml, name);
        let text = fs::read_to_string(&path).unwrap();
        let is_yaml = name.ends_with(".yml");
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let line = line.trim();
            let is_block = if is_yaml { line.ends_with(':') } else { line.ends_with('{') };
            let is_empty = line.is_empty() || line.starts_with('#') || ["}", "{ }"].contains(&line);
            assert!(
                is_empty || is_block || named.contains(&number),
                "{}:{number}: {line}\n{}",
                path.display(),
                migrated.toml
            );
        }
        let counts = migrated.counts;
        assert!(counts.carried > 0 && counts.carried + counts.same + counts.lost >= named.len().min(5));
        assert!(!migrated.toml.contains("has not been read"), "{}", path.display());
    }
}

/// `name:7` and `name:7-9` in comments.
fn lines_named(toml: &str, name: &str) -> BTreeSet<usize> {
    let comments = toml.lines().filter(|line| line.starts_with('#'));
    let positions = comments.flat_map(|line| line.split(name).skip(1));
    let ranges = positions.filter_map(|rest| {
        let numbers: String =
            rest.strip_prefix(':')?.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        let (first, last) = numbers.split_once('-').unwrap_or((&numbers, &numbers));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[test]
fn no_password_is_in_a_comment() {
    for (path, _) in all() {
        let toml = migrated(&path).toml;
        for secret in [
            "Night-Shift-7",
            "to-the-archive",
            "Main_Stage!",
            "Lecture+2024",
            "Ace.40-15",
            "Deuce",
            "not-to-be-shown",
        ] {
            let comments: Vec<&str> =
                toml.lines().filter(|line| line.starts_with('#') && line.contains(secret)).collect();
            assert!(comments.is_empty(), "{}: {comments:?}", path.display());
        }
    }
}

/// A rule for what takes the place of `push` and the like is there for the operator to put in force.
#[test]
fn what_is_suggested_is_valid_once_its_comment_signs_are_removed() {
    let mut rules = 0;
    for (path, _) in all() {
        let toml = migrated(&path).toml;
        let is_suggested = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
        let lines = toml.lines().map(|line| if is_suggested(line) { &line[1..] } else { line });
        let with = lines.collect::<Vec<&str>>().join("\n");
        let count = |toml: &str| Config::from_toml("fanfare.toml", toml).unwrap().access.len();
        rules += count(&with) - count(&toml);
    }
    assert!(rules > 3);
}
