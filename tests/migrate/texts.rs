//! Any text: cut, mixed up, too deep, too large, or none at all. It becomes a valid configuration, or an error with the line.

use std::{fs, time::Instant};

use fanfare::{
    config::Config,
    migrate::{self, Origin},
};
use proptest::prelude::*;

use crate::configurations;

const ORIGINS: [Origin; 3] = [Origin::NginxRtmp, Origin::Srs, Origin::Mediamtx];

/// Fails unless it becomes a valid configuration, or an error of one line with the line that is wrong.
fn check(text: &str, origin: Origin) {
    match migrate::migrate("f", text, Some(origin), &[]) {
        Ok(made) => {
            Config::from_toml("f", &made.toml)
                .unwrap_or_else(|error| panic!("{error}\n{text}\n{}", made.toml));
        }
        Err(error) => {
            let line = error.strip_prefix("f:").and_then(|rest| rest.split_once(": ")).map(|(line, _)| line);
            let line = line.and_then(|line| line.parse::<usize>().ok());
            let last = text.split(['\n', '\r']).count() + 1;
            assert!(line.is_some_and(|line| (1..=last).contains(&line)), "{error}\n{text}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

fn texts() -> Vec<(String, Origin)> {
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (text.clone(), Origin::of(path.to_str().unwrap(), &text).unwrap())
    };
    configurations::all().into_iter().map(|(path, _)| read(path)).collect()
}

#[test]
fn a_text_that_ends_anywhere_is_read_or_the_error_says_where() {
    for (text, origin) in texts() {
        let ends = text.char_indices().map(|(at, _)| at).filter(|at| at % 7 == 0);
        ends.for_each(|end| check(&text[..end], origin));
    }
}

#[test]
fn what_is_quoted_in_an_error_is_short_and_on_one_line() {
    let long = "x".repeat(10_000);
    for (text, origin) in [
        ("'\n\u{1b}[31m'".to_owned(), Origin::Srs),
        (long.clone(), Origin::NginxRtmp),
        (format!("? \"a\\n{long}\"\n: 1\n? \"a\\n{long}\"\n: 1\n"), Origin::Mediamtx),
    ] {
        let error = migrate::migrate("f", &text, Some(origin), &[]).unwrap_err();
        assert!(error.len() < 300 && !error.contains(char::is_control), "{error}");
    }
}

#[test]
fn the_text_of_one_server_is_no_trap_for_another() {
    for (text, _) in texts() {
        ORIGINS.iter().for_each(|origin| check(&text, *origin));
    }
}

#[test]
fn line_ends_and_a_mark_at_the_begin_change_nothing() {
    for (text, origin) in texts() {
        let toml = |text: &str| migrate::migrate("f", text, Some(origin), &[]).unwrap().toml;
        let plain = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        assert_eq!(toml(&plain), toml(&format!("\u{feff}{}", plain.replace('\n', "\r\n"))));
    }
}

#[test]
fn nothing_is_too_deep_or_too_long_to_be_refused() {
    let begun = Instant::now();
    for bomb in [
        "a {",
        "rtmp { server { ",
        "[",
        "{a: ",
        "- ",
        "? ",
        "&a [",
        "*a ",
        "a: &a [*a, *a]\n",
        "'",
        "\"",
        "\\",
        "#",
        "a ",
        "a;",
        "a: |\n",
        "%",
        "!!",
        "---\n",
        "<<: ",
        "application a { live on; } ",
        "listen 1;",
        "- user: a\n",
        "vhost a {} ",
    ] {
        for origin in ORIGINS {
            check(&bomb.repeat(100_000 / bomb.len()), origin);
            let inside = format!("rtmp {{ server {{ {} }} }}", bomb.repeat(20_000 / bomb.len()));
            check(&inside, origin);
        }
    }
    let many = |begin: &str, each: &dyn Fn(usize) -> String| {
        (0..10_000).fold(begin.to_owned(), |text, number| text + &each(number))
    };
    check(
        &(many("rtmp { server { ", &|n| format!("application a{n} {{ live on; }} ")) + "} }"),
        Origin::NginxRtmp,
    );
    check(
        &(many("vhost x { security { enabled on; ", &|n| {
            format!("allow publish 10.0.{}.{}; ", n / 200, n % 200)
        }) + "} }"),
        Origin::Srs,
    );
    check(
        &many("authInternalUsers:\n", &|n| {
            format!("- {{user: u{n}, pass: p, permissions: [{{action: read, path: p{n}}}]}}\n")
        }),
        Origin::Mediamtx,
    );
    check(&many("paths:\n", &|n| format!("  p{n}:\n")), Origin::Mediamtx);
    let seconds = begun.elapsed().as_secs();
    assert!(seconds < 120, "{seconds} s");
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_refused() {
    for origin in ORIGINS {
        let error = migrate::migrate("f", &"#".repeat((1 << 20) + 1), Some(origin), &[]).unwrap_err();
        assert_eq!(error, "f: larger than 1 MiB, which no configuration is");
    }
}

#[test]
fn bytes_that_are_no_text_are_read_where_they_are_in_comments() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nginx.conf");
    let text =
        [b"# caf\xe9 \xff\nrtmp { server { listen 1935; application live { live on; } } }\n".as_slice()]
            .concat();
    fs::write(&file, text).unwrap();
    let made = migrate::of_file(&file, None).unwrap();
    assert!(made.toml.contains("listen 1935"), "{}", made.toml);
    assert_eq!(made.counts.lost, 0);
    let error = migrate::of_file(directory.path(), None).unwrap_err();
    assert!(error.ends_with(": is a folder"), "{error}");
}

/// Of several, each is named; files that include themselves end.
#[test]
fn files_that_include_each_other_end() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("nginx.conf", "rtmp { server { include a; include *.d; } }");
    write("a", "include b; listen 1935;");
    write("b", "include a;\ninclude /dev/zero;");
    let made = migrate::of_file(&directory.path().join("nginx.conf"), None).unwrap();
    assert!(made.toml.contains("files include each other"), "{}", made.toml);
    assert!(made.toml.contains("larger than 1 MiB"), "{}", made.toml);
    assert!(made.toml.contains("no file matches it"), "{}", made.toml);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        ORIGINS.iter().for_each(|origin| check(&text, *origin));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        ORIGINS.iter().for_each(|origin| check(&text, *origin));
    }

    #[test]
    fn lines_in_any_order_are_read_or_refused(at in 0..20_usize, seed in any::<u64>(), keep in 10..100_u64) {
        let (text, origin) = texts().swap_remove(at);
        let mut lines: Vec<&str> = text.lines().collect();
        let mut state = seed | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for index in (1..lines.len()).rev() {
            lines.swap(index, (random() % (index as u64 + 1)) as usize);
        }
        lines.retain(|_| random() % 100 < keep);
        check(&lines.join("\n"), origin);
    }

    #[test]
    fn words_of_configurations_in_any_order_are_read_or_refused(
        words in proptest::collection::vec((0..20_usize, any::<prop::sample::Index>()), 0..60)
    ) {
        let texts = texts();
        let pick = |(at, index): &(usize, prop::sample::Index)| {
            let words: Vec<&str> = texts[*at].0.split_inclusive([' ', '\n']).collect();
            words[index.index(words.len())].to_owned()
        };
        let text: String = words.iter().map(pick).collect();
        ORIGINS.iter().for_each(|origin| check(&text, *origin));
    }
}
