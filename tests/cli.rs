//! The command line, with the built binary: help, the resulting configuration, errors, start-up lines.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn fanfare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(arguments).env_remove("FANFARE_LOG").env("COLUMNS", "100");
    // A generated token must not be stored in the state directory of the person who runs the tests.
    command.env("STATE_DIRECTORY", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn output_of(arguments: &[&str]) -> Output {
    fanfare(arguments).output().unwrap()
}

fn stdout_of(arguments: &[&str]) -> String {
    let output = output_of(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a start that must fail.
fn error_of(arguments: &[&str]) -> String {
    let output = output_of(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn file(toml: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    fs::write(&path, toml).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

#[test]
fn help_shows_how_to_publish_and_how_to_watch() {
    let help = stdout_of(&["--help"]);
    for part in [
        "ffmpeg -re -i FILE -c copy -f flv rtmp://localhost/live/live_stream",
        "vlc rtmp://localhost/live/live_stream",
        "Stream Key live_stream",
        "--config <FILE>",
        "--rtmp <ADDR>",
        "--http <ADDR>",
        "--cores <N>",
        "--log-format <FORMAT>",
        "--log-level <LEVEL>",
        "check",
        "FANFARE_LOG",
        "Exit code",
    ] {
        assert!(help.contains(part), "no `{part}` in\n{help}");
    }
}

#[test]
fn help_and_the_annotated_file_name_the_same_sources_of_options() {
    let help = stdout_of(&["--help"]);
    let file = include_str!("../fanfare.toml");
    for name in [
        "FANFARE_CONFIG",
        "FANFARE_LOG",
        "FANFARE_PLAY_MAX_LAG",
        "fanfare.api.token",
        "fanfare.api.read_token",
    ] {
        assert!(help.contains(name) && file.contains(name), "{name}");
    }
}

/// Lines that end before the next word would not fit any more.
fn ragged_lines(help: &str, width: usize) -> Vec<&str> {
    let (_, options) = help.split_once("Options:\n").expect("a list of options");
    let lines: Vec<&str> = options.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let pairs = lines.iter().zip(&lines[1..]);
    let is_paragraph = |line: &str, next: &str| {
        let are_texts = [line, next].iter().all(|it| !it.trim().is_empty() && !it.trim().starts_with('-'));
        are_texts && indent(line) == indent(next)
    };
    let fits = |line: &str, next: &str| {
        next.split_whitespace().next().is_some_and(|word| line.len() + 1 + word.len() <= width)
    };
    pairs.filter(|(line, next)| is_paragraph(line, next) && fits(line, next)).map(|(line, _)| *line).collect()
}

#[test]
fn help_is_wrapped_to_the_width_of_the_terminal_and_at_most_100_columns() {
    assert_eq!(ragged_lines("Options:\none two\nthree\n\nfour\n  five\n", 13), ["one two"]);
    assert_eq!(ragged_lines("Options:\none two\nthree\n\nfour\n  five\n", 12), [""; 0]);
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["check", "--help"],
        &["check", "-h"],
        &["help", "check"],
        &["capacity", "--help"],
        &["capacity", "-h"],
        &["help", "capacity"],
        &["sign", "--help"],
        &["sign", "-h"],
    ] {
        for (columns, width) in [(Some("80"), 80), (Some("100"), 100), (Some("120"), 100), (None, 100)] {
            let mut command = fanfare(arguments);
            command.env_remove("COLUMNS").envs(columns.map(|columns| ("COLUMNS", columns)));
            let help = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let too_long = help.lines().find(|line| line.chars().count() > width);
            assert_eq!(too_long, None, "{arguments:?} at {columns:?} columns");
            assert_eq!(ragged_lines(&help, width), [""; 0], "{arguments:?} at {columns:?} columns:\n{help}");
        }
    }
}

#[test]
fn a_subcommand_lists_its_own_options_first() {
    let options_of = |command| -> Vec<String> {
        let help = stdout_of(&[command, "-h"]);
        let words =
            help.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
        words.map(|word| word.trim_end_matches(',').to_owned()).collect()
    };
    let common = [
        "--config",
        "--rtmp",
        "--rtmps",
        "--http",
        "--https",
        "--cores",
        "--log-format",
        "--log-level",
        "--help",
    ];
    assert_eq!(
        options_of("check"),
        [&["--system", "--diff", "--ready", "--relay", "--token-file", "--quiet"][..], &common].concat()
    );
    assert_eq!(options_of("capacity"), [&["--bitrate", "--seconds", "--json"][..], &common].concat());
}

#[test]
fn version_is_the_name_and_the_number_and_at_length_also_what_was_built_and_from_where() {
    let name = format!("fanfare {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout_of(&["-V"]), format!("{name}\n"));
    let long = stdout_of(&["--version"]);
    let [first, features, target] = long.lines().collect::<Vec<_>>()[..] else { panic!("{long}") };
    // Which commit it is, only a release says.
    let commit = first.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(" (")?.strip_suffix(')'));
    assert!(commit.is_some_and(|it| it == "development build" || it.starts_with("commit ")), "{first}");
    assert!(features.starts_with("features: RTMP, "), "{features}");
    assert!(target.starts_with("target: ") && target.contains("-linux-"), "{target}");
}

#[test]
fn shells_get_completions_and_man_a_page_for_each_command() {
    for (shell, words) in
        [("bash", "complete -F _fanfare"), ("zsh", "#compdef fanfare"), ("fish", "complete -c fanfare")]
    {
        let script = stdout_of(&["completions", shell]);
        assert!(script.contains(words) && script.contains("log-format"), "{shell}: {script}");
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("man1");
    assert_eq!(stdout_of(&["man", folder.to_str().unwrap()]), "");
    let help = stdout_of(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = commands.filter(|name| !["", "help"].contains(name)).map(|name| format!("fanfare-{name}.1"));
    let mut expected: Vec<String> = names.chain(["fanfare.1", "fanfare.toml.5"].map(str::to_owned)).collect();
    let mut found: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let page = fs::read_to_string(folder.join("fanfare.1")).unwrap();
    assert!(page.contains(env!("CARGO_PKG_VERSION")) && page.contains("Examples:"), "{page}");

    let file = folder.join("fanfare.1");
    let output = output_of(&["man", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("fanfare.1: ") && error.lines().count() == 1, "{error}");
}

#[test]
fn containers_get_a_profile_that_allows_io_uring() {
    let profile: serde_json::Value = serde_json::from_str(&stdout_of(&["seccomp"])).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(profile["syscalls"].to_string().contains("\"io_uring_setup\""), "{profile}");
}

#[test]
fn a_health_check_fails_where_no_relay_answers() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = output_of(&["check", "--ready", "--relay", &closed]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&closed) && error.lines().count() == 1, "{error}");
    assert!(error_of(&["check", "--relay", &closed]).contains("--ready"), "it is for others alone");
}

#[test]
fn a_quiet_check_prints_only_what_is_wrong() {
    assert_eq!(stdout_of(&["check", "--quiet"]), "");
    let error = error_of(&["check", "--quiet", "--cores", "5000"]);
    assert!(error.contains("--cores"), "{error}");
}

#[test]
fn check_without_a_file_prints_the_defaults() {
    let shown = stdout_of(&["check"]);
    assert!(shown.starts_with("# Valid."), "{shown}");
    assert_eq!(fanfare::config::Config::from_toml("shown", &shown).unwrap(), Default::default());
}

#[test]
fn check_accepts_the_annotated_file() {
    stdout_of(&["check", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/fanfare.toml")]);
}

#[test]
fn flags_override_the_file() {
    let (_folder, path) =
        file("cores = 2\npin_cores = true\n[listen]\nrtmp = [\"127.0.0.1:1\"]\n[log]\nlevel = \"warn\"\n");
    let flags = ["--cores", "3", "--rtmp", "127.0.0.1:5", "--rtmp", "[::1]:6", "--log-format", "json"];
    for order in [
        [&["check", "--config", &path][..], &flags].concat(),
        [&flags[..], &["check", "--config", &path]].concat(),
    ] {
        let shown = stdout_of(&order);
        for part in
            ["cores = 3", "pin_cores = true", "[\"127.0.0.1:5\", \"[::1]:6\"]", "\"json\"", "\"warn\""]
        {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
    }
}

#[test]
fn check_prints_no_secrets() {
    let (_folder, path) = file("[api]\ntoken = \"one-of-our-secrets\"\n");
    let shown = stdout_of(&["check", "--config", &path, "--http", "127.0.0.1:5"]);
    assert!(shown.contains("token = \"***\"") && !shown.contains("one-of-our"), "{shown}");
    assert!(shown.contains("http = [\"127.0.0.1:5\"]"), "{shown}");
}

#[test]
fn an_error_in_the_file_is_one_line_and_exit_code_2() {
    let (_folder, path) = file("[publish]\npublisher_grace = \"2h\"\n");
    let expected = format!("fanfare: {path}:2:19: publish.publisher_grace: 2h is out of range: 0s to 1h\n");
    assert_eq!(error_of(&["check", "--config", &path]), expected);
    assert_eq!(error_of(&["--config", &path]), expected);
}

#[test]
fn a_missing_file_is_one_line_and_exit_code_2() {
    let error = error_of(&["--config", "no/such/file.toml"]);
    assert!(error.starts_with("fanfare: no/such/file.toml: "), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn an_invalid_flag_is_named_and_the_exit_code_is_2() {
    for (flags, part) in [
        (&["--cores", "257"][..], "--cores: 257 is out of range: 0 to 256"),
        (&["--log-level", "inof"], "--log-level <LEVEL>': `inof` is not a level: error, warn"),
        (&["--rtmp", "[::]:1935", "--rtmp", "[::]:1935"], "--rtmp: [::]:1935 is listed twice"),
        (&["--http", "[::]:80", "--http", "[::]:80"], "--http: [::]:80 is listed twice"),
        (&["--rtmp", "[::]:80", "--http", "[::]:80"], "--http: [::]:80 is also in listen.rtmp"),
        (&["--rtmp", "1935/tcp"], "not an address with a port"),
        (&["--rtmp", "localhost:1935"], "`localhost` is a name; an IP address and a port are needed"),
        (&["--cores", "many"], "--cores <N>"),
        (&["--log-format", "xml"], "text, json"),
        (&["--colour"], "--colour"),
        (&["chekc"], "check"),
    ] {
        let error = error_of(flags);
        assert!(error.contains(part), "{flags:?} gives {error}");
    }
}

#[test]
fn an_invalid_level_in_the_environment_is_an_error_that_names_the_variable() {
    for arguments in [&["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"][..], &["check"]] {
        let output = fanfare(arguments).env("FANFARE_LOG", "inof").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("fanfare: FANFARE_LOG: `inof`"));
    }
}

#[test]
fn the_variable_for_the_level_overrides_the_flag_and_an_empty_one_is_as_good_as_none() {
    let shown = |level: &str| {
        let empty = ["FANFARE_CONFIG", "CREDENTIALS_DIRECTORY"].map(|name| (name, ""));
        let mut command = fanfare(&["check", "--log-level", "warn"]);
        let output = command.envs(empty).env("FANFARE_LOG", level).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown("debug").contains("\nlevel = \"debug\""));
    assert!(shown("").contains("\nlevel = \"warn\""));
}

#[test]
fn lines_for_the_journal_begin_with_their_level() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let lines_with = |is_journal: bool| {
        let journal = fs::File::create(&path).unwrap();
        let metadata = journal.metadata().unwrap();
        let inode = metadata.ino() + u64::from(!is_journal);
        let mut command = fanfare(&["--config", "no/such/file.toml"]);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev())).stderr(journal);
        assert_eq!(command.status().unwrap().code(), Some(2));
        fs::read_to_string(&path).unwrap()
    };
    assert!(lines_with(true).starts_with("<3>fanfare: no/such/file.toml: "));
    assert!(lines_with(false).starts_with("fanfare: no/such/file.toml: "));
}

#[test]
fn start_prints_addresses_and_how_to_publish_and_watch() {
    let flags = ["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--cores", "1"];
    let mut running = Running::start(fanfare(&flags).stdout(Stdio::piped()));
    let lines = running.first_lines(5);
    assert!(lines[0].starts_with("fanfare ") && lines[0].contains("rtmp://127.0.0.1:"), "{lines:?}");
    let page = lines[4].strip_prefix("  Page:     http://127.0.0.1:").expect("the page line");
    assert!(lines[0].ends_with(&format!("http://127.0.0.1:{}", page.trim_end_matches('/'))), "{lines:?}");
    assert!(lines[3].ends_with("/live/live_stream.flv"), "{lines:?}");
    let url = lines[2].strip_prefix("  Watch:    vlc ").expect("the watch line");
    assert!(lines[1].starts_with("  Publish:  ffmpeg -re -f lavfi -i testsrc2 "), "{lines:?}");
    assert!(lines[1].ends_with(&format!(" -f flv {url}")), "{lines:?}");
}

#[test]
fn start_with_json_is_a_log_line_on_standard_error() {
    let rtmp = ["--rtmp", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"];
    let flags = [&rtmp[..], &["--http", "127.0.0.1:0", "--cores", "1", "--log-format", "json"]].concat();
    let mut running = Running::start(fanfare(&flags).stderr(Stdio::piped()));
    let listening = running.first_log_line_with("listening");
    let line: serde_json::Value = serde_json::from_str(&listening).unwrap();
    assert_eq!(line["level"], "INFO");
    let addresses = line["rtmp"].as_str().unwrap().split(' ').map(|it| it.parse().unwrap());
    assert_eq!(
        addresses.map(|it: std::net::SocketAddr| it.ip().is_loopback()).collect::<Vec<_>>(),
        [true; 2]
    );
    assert!(line["page"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{line}");
}

#[test]
fn a_flag_overrides_the_environment_and_the_environment_the_file() {
    let (folder, path) = file(
        "cores = 2\n[play]\nmax_lag = \"2s\"\n[log]\nlevel = \"warn\"\n[api]\ntoken = \"from-the-file\"\n",
    );
    fs::write(folder.path().join("fanfare.api.token"), "from-a-credential\n").unwrap();
    let mut command = fanfare(&["check", "--cores", "4"]);
    command.env("FANFARE_CONFIG", &path).env("FANFARE_CORES", "3").env("FANFARE_PLAY_MAX_LAG", "3s");
    let output = command.env("CREDENTIALS_DIRECTORY", folder.path()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in ["cores = 4", "max_lag = \"3s\"", "level = \"warn\"", "token = \"***\""] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let output = fanfare(&["check"]).env("FANFARE_PLAY_MAXLAG", "3s").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "fanfare: FANFARE_PLAY_MAXLAG: there is no such option\n"
    );
}

#[test]
fn a_variable_that_is_probably_misspelled_is_named() {
    let output = fanfare(&["check"]).env("FANFARE_CORE", "3").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "fanfare: FANFARE_CORE is ignored: there is no such option\n");
    let output = fanfare(&["check"]).env("FANFARE_RTMP", "1936").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let expected =
        "fanfare: FANFARE_RTMP is ignored: there is no such option; did you mean FANFARE_LISTEN_RTMP?\n";
    assert_eq!(error, expected);
    let mut running = Running::start(
        fanfare(&ANYWHERE).env("FANFARE_CORE", "3").stderr(Stdio::piped()).stdout(Stdio::null()),
    );
    let line = running.first_log_line_with("environment variable ignored");
    assert!(line.contains("WARN") && line.ends_with("variable=\"FANFARE_CORE\""), "{line}");
}

#[test]
fn the_read_token_comes_from_a_file_and_without_the_file_nothing_starts() {
    let (folder, path) = file("[api]\nread_token_file = \"/no/such/file\"\n");
    let error = error_of(&["--config", &path]);
    assert!(error.starts_with("fanfare: api.read_token_file: /no/such/file: No such file"), "{error}");
    let token = folder.path().join("read_token");
    fs::write(&token, "one-of-our-secrets\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = fanfare(&["check", "--config", &path]);
    let output = command.env("FANFARE_API_READ_TOKEN_FILE", &token).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("read_token_file = \"{}\"", token.display())), "{shown}");
    assert!(shown.contains("read_token = \"\"") && !shown.contains("our-secrets"), "{shown}");
    let variable = [("FANFARE_API_READ_TOKEN", "another-of-our-secrets")];
    let output = fanfare(&["check", "--config", &path]).envs(variable).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("read_token = \"***\"") && shown.contains("read_token_file = \"\""), "{shown}");
}

#[test]
fn a_port_alone_is_that_port_on_all_addresses() {
    for port in ["1936", ":1936"] {
        let shown = stdout_of(&["check", "--rtmp", port, "--http", "8081"]);
        assert!(shown.contains("rtmp = [\"0.0.0.0:1936\", \"[::]:1936\"]"), "{shown}");
        assert!(shown.contains("http = [\"0.0.0.0:8081\", \"[::]:8081\"]"), "{shown}");
    }
}

#[test]
fn the_system_check_says_what_would_stop_it_from_starting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let check = |rtmp: &str| {
        output_of(&["check", "--system", "--rtmp", rtmp, "--http", "127.0.0.1:0", "--cores", "1"])
    };
    let output = check(&address);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("ok       io_uring: allowed"), "{shown}");
    assert!(shown.contains(&format!("fatal    listen.rtmp: {address}: ")), "{shown}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "fanfare: cannot start on this system\n");
    drop(taken);
    let output = check(&address);
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("fatal"));
}

const ANYWHERE: [&str; 6] = ["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--cores", "1"];

/// The first `count` lines that a start with this state directory prints.
fn start_in(state: &Path, count: usize) -> Vec<String> {
    let mut command = fanfare(&ANYWHERE);
    command.env("STATE_DIRECTORY", state).stdout(Stdio::piped()).stderr(Stdio::null());
    Running::start(&mut command).first_lines(count)
}

#[test]
fn the_first_start_prints_the_token_and_later_ones_print_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state/token");
    let state = file.parent().unwrap();
    let first = start_in(state, 7);
    let token = fs::read_to_string(&file).unwrap();
    assert_eq!(first[5], format!("  Token:    {}", token.trim_end()));
    assert!(first[6].ends_with(&format!("stored in {}", file.display())), "{first:?}");
    let second = start_in(state, 6);
    assert_eq!(second[5], format!("  Token:    in {}", file.display()));
}

#[test]
fn a_start_says_that_only_networks_nearby_may_publish_unless_that_is_decided() {
    let toml = |access: &str| file(&format!("api.token = 'one-of-our-tokens'\n{access}"));
    let sixth = |access: &str| {
        let (_folder, path) = toml(access);
        let flags = [&ANYWHERE[..], &["--config", &path]].concat();
        let mut running = Running::start(fanfare(&flags).stdout(Stdio::piped()).stderr(Stdio::piped()));
        // With rules there is no other line: the one about the shutdown is on standard error.
        match access.contains("publish") {
            true => running.first_lines(5).pop().unwrap(),
            false => running.first_lines(6).pop().unwrap(),
        }
    };
    for access in ["", "[[access]]\naction = 'play'\nthen = 'deny'"] {
        assert_eq!(
            sixth(access),
            "  Access:   only this machine and private networks may publish; to change that, see access in fanfare.toml"
        );
    }
    for access in ["access = [{ action = 'publish' }]", "hooks.on_publish = ['http://127.0.0.1:1/']"] {
        assert!(sixth(access).starts_with("  Page:"));
        let (_folder, path) = toml(access);
        let flags = [&ANYWHERE[..], &["--log-format", "json", "--config", &path]].concat();
        let mut running = Running::start(fanfare(&flags).stderr(Stdio::piped()));
        assert!(!running.first_log_line_with("listening").contains("private networks"));
    }
    let flags = [&ANYWHERE[..], &["--log-format", "json"]].concat();
    let mut running = Running::start(fanfare(&flags).stderr(Stdio::piped()));
    let line = running.first_log_line_with("private networks");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_token_that_cannot_be_stored_is_printed_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::write(&state, "a file in its place").unwrap();
    let (first, second) = (start_in(&state, 7), start_in(&state, 7));
    assert!(first[6].contains("for this run only") && first[6].contains("state/token: "), "{first:?}");
    assert_ne!(first[5], second[5]);
}

#[test]
fn json_lines_contain_a_token_only_if_it_is_stored_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let line_with = |part: &str, state: &Path| -> serde_json::Value {
        let mut command = fanfare(&[&ANYWHERE[..], &["--log-format", "json"]].concat());
        command.env("STATE_DIRECTORY", state).stderr(Stdio::piped());
        serde_json::from_str(&Running::start(&mut command).first_log_line_with(part)).unwrap()
    };
    let kept = line_with("API token is in a file", folder.path());
    assert_eq!(kept["file"], folder.path().join("token").display().to_string());
    assert!(kept["token"].is_null(), "{kept}");
    let no_directory = folder.path().join("token");
    let lost = line_with("API token for this run only", &no_directory);
    assert_eq!(lost["token"].as_str().map(str::len), Some(32), "{lost}");
}

/// A running fanfare; killed on drop.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }

    fn first_lines(&mut self, count: usize) -> Vec<String> {
        let stdout = self.0.stdout.take().unwrap();
        BufReader::new(stdout).lines().take(count).map(Result::unwrap).collect()
    }

    fn first_log_line_with(&mut self, part: &str) -> String {
        let stderr = self.0.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
        lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no line with `{part}`"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LINKS: &str = "listen.rtmp = [1935]\n[[access]]\nstreams = 'live/*'\nlinks = 'a-secret-for-links'\n";

#[test]
fn sign_prints_a_link_for_each_client_and_no_secret() {
    let (folder, path) = file(LINKS);
    let sign = ["sign", "--config", &path, "--stream", "live/show", "--expires", "2h"];
    let more = ["--network", "203.0.113.0/24", "--session", "4h", "--host", "relay.example"];
    let shown = stdout_of(&[&sign[..], &more].concat());
    let links: Vec<&str> = shown.lines().collect();
    assert!(links[0].starts_with("RTMP:      rtmp://relay.example/live/show?exp="), "{shown}");
    assert!(links[0].contains("&net=203.0.113.0%2F24&session=") && links[0].contains("&sig="), "{shown}");
    assert!(links[1].starts_with("HTTP-FLV:  http://relay.example:8080/live/show.flv?exp="), "{shown}");
    assert!(links[2].starts_with("VLC:       vlc 'rtmp://relay.example/live/show?exp=") && links.len() == 3);
    assert!(!shown.contains("a-secret"), "{shown}");
    let encoder = stdout_of(&[&sign[..], &["--action", "publish"]].concat());
    assert!(encoder.contains("OBS:       server rtmp://localhost/live, stream key show?exp="), "{encoder}");

    let secret = folder.path().join("secret");
    fs::write(&secret, "another-secret-of-ours\nan-older-one-of-ours\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let with_file =
        ["sign", "--stream", "any/thing", "--expires", "30m", "--secret-file", secret.to_str().unwrap()];
    assert!(stdout_of(&with_file).starts_with("RTMP:      rtmp://localhost/any/thing?exp="));
}

#[test]
fn sign_without_a_secret_a_valid_stream_or_a_time_is_an_error() {
    let (folder, path) = file(LINKS);
    let open = folder.path().join("open");
    fs::write(&open, "another-secret-of-ours\n").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let open = open.to_str().unwrap();
    let hour = ["--expires", "1h"];
    for (flags, expected) in [
        (&["--stream", "other/a"][..], "fanfare: no rule in [[access]] takes links to play other/a\n"),
        (&["--stream", ""], "fanfare: : no stream name\n"),
        (
            &["--stream", "live/a", "--secret-file", open],
            "other users can access it (mode 644); chmod 600 it",
        ),
        (&["--stream", "live/a", "--secret-file", "/no/such"], "fanfare: /no/such: No such file"),
        (&["--stream", "live/a", "--network", "here"], "--network"),
        (&["--stream", "live/a", "--session", "4"], "--session"),
        (&["--stream", "live/a", "--action", "api"], "--action"),
        (&[], "--stream"),
    ] {
        let error = error_of(&[&["sign", "--config", &path][..], &hour, flags].concat());
        assert!(error.contains(expected) && !error.contains("secret-of-ours"), "{error}");
    }
    assert!(error_of(&["sign", "--config", &path, "--stream", "live/a"]).contains("--expires"));
}

#[test]
fn check_shows_where_secrets_come_from_and_none_of_them() {
    let (_folder, path) = file(
        "[[access]]\nkeys = ['our-secret-1', { env = 'FANFARE_TEST_KEY' }]\nlinks = 'our-secret-2-of-links'\n\
         [users]\nann = 'our-secret-3'\n[jwt]\nsecrets = 'our-secret-4-of-tokens'\n\
         jwks_url = 'https://example.org/keys?key=our-secret-7'\n[hooks]\nsecret = 'our-secret-5'\n",
    );
    let check =
        |value: &str| fanfare(&["check", "--config", &path]).env("FANFARE_TEST_KEY", value).output().unwrap();
    let output = check("our-secret-6");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !shown.contains("our-secret"), "{shown}");
    assert_eq!(shown.matches("\"***\"").count(), 5, "{shown}");
    assert!(shown.contains("env = \"FANFARE_TEST_KEY\""), "{shown}");
    let unset = fanfare(&["check", "--config", &path]).output().unwrap();
    assert_eq!(unset.status.code(), Some(2));
    let expected = "fanfare: access: rule 1: keys: environment variable FANFARE_TEST_KEY: is not set\n";
    assert_eq!(String::from_utf8(unset.stderr).unwrap(), expected);
}
