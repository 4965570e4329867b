//! The configuration from outside: the annotated `fanfare.toml` matches the code, and errors name their place.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare::config::{Config, Number, SecondPublisher};
use fanfare::stream::Start;
use proptest::prelude::*;

const ANNOTATED: &str = include_str!("../fanfare.toml");

fn error_of(toml: &str) -> String {
    Config::from_toml("fanfare.toml", toml).expect_err(toml).to_string()
}

/// A file that sets one key.
fn file_with(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((table, name)) => format!("[{table}]\n{name} = {value}\n"),
        None => format!("{key} = {value}\n"),
    }
}

fn keys(table: &toml::Table) -> BTreeSet<String> {
    let inner = |name: &String, value: &toml::Value| match value {
        toml::Value::Table(table) => keys(table).into_iter().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name.clone()],
    };
    table.iter().flat_map(|(name, value)| inner(name, value)).collect()
}

/// The comment above a key of the annotated file.
fn comment_of(key: &str) -> String {
    let (table, name) = key.split_once('.').unwrap_or(("", key));
    let mut current = "";
    let mut comment = String::new();
    for line in ANNOTATED.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment += text;
        } else if current == table && line.starts_with(&format!("{name} = ")) {
            return comment;
        } else {
            current = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(current);
            comment.clear();
        }
    }
    panic!("{key} is not in fanfare.toml");
}

/// This value as it is written in a file.
fn written(number: &Number, value: u64) -> String {
    let mut other = number.clone();
    other.value = value;
    let text = other.to_string();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text } else { format!("\"{text}\"") }
}

#[test]
fn the_annotated_file_has_the_defaults() {
    assert_eq!(Config::from_toml("fanfare.toml", ANNOTATED).unwrap(), Config::default());
}

#[test]
fn the_annotated_file_has_every_key_of_the_code_and_no_other() {
    let code: toml::Table = Config::default().to_toml().parse().unwrap();
    let file: toml::Table = ANNOTATED.parse().unwrap();
    assert_eq!(keys(&file), keys(&code));
}

#[test]
fn the_annotated_file_describes_every_key_and_gives_the_range_of_every_number() {
    for key in keys(&ANNOTATED.parse().unwrap()) {
        assert!(comment_of(&key).len() > 20, "{key} is not described");
    }
    for number in Config::default().numbers() {
        let range = format!("Range: {}.", number.range_text());
        assert!(comment_of(number.key).contains(&range), "{}: no `{range}`", number.key);
    }
}

#[test]
fn every_key_with_a_unit_or_a_count_has_a_range() {
    let with_range: BTreeSet<_> =
        Config::default().numbers().iter().map(|number| number.key.to_owned()).collect();
    let without = [
        "access",
        "api.allow_origins",
        "api.listen",
        "api.read_token",
        "api.read_token_file",
        "api.token",
        "api.token_file",
        "hooks.ca_file",
        "hooks.dialect",
        "hooks.notify_method",
        "hooks.on_close",
        "hooks.on_connect",
        "hooks.on_error",
        "hooks.on_play",
        "hooks.on_publish",
        "hooks.on_stop",
        "hooks.on_unpublish",
        "hooks.on_update",
        "hooks.secret",
        "http.allow_origins",
        "http.https_host",
        "http.redirect_to_https",
        "jwt.audience",
        "jwt.issuer",
        "jwt.jwks_url",
        "jwt.public_keys",
        "jwt.secrets",
        "limits.exempt",
        "listen.http",
        "listen.https",
        "listen.rtmp",
        "listen.rtmps",
        "log.format",
        "log.level",
        "pin_cores",
        "play.start",
        "proxy.client_header",
        "proxy.listeners",
        "proxy.trusted",
        "publish.on_second_publisher",
        "streams",
        "tls.acme_ca_file",
        "tls.acme_directory",
        "tls.acme_email",
        "tls.acme_folder",
        "tls.acme_names",
        "tls.acme_terms_agreed",
        "tls.certificates",
        "tls.require_client_ca",
    ];
    let all = keys(&Config::default().to_toml().parse().unwrap());
    let left: BTreeSet<_> = all.difference(&with_range).map(String::as_str).collect();
    assert_eq!(left, BTreeSet::from(without));
}

#[test]
fn both_ends_of_every_range_are_accepted() {
    for number in Config::default().numbers() {
        for end in [*number.range.start(), *number.range.end()] {
            let file = file_with(number.key, &written(&number, end));
            let config =
                Config::from_toml("fanfare.toml", &file).unwrap_or_else(|error| panic!("{error}\n{file}"));
            let read = config.numbers().into_iter().find(|read| read.key == number.key).unwrap();
            assert_eq!(read.value, end, "{file}");
        }
    }
}

#[test]
fn a_number_out_of_range_is_refused_with_place_key_and_range() {
    for number in Config::default().numbers() {
        let below = number.range.start().checked_sub(1);
        for beyond in [below, Some(number.range.end() + 1)].into_iter().flatten() {
            let error = error_of(&file_with(number.key, &written(&number, beyond)));
            let line = if number.key.contains('.') { 2 } else { 1 };
            assert!(error.starts_with(&format!("fanfare.toml:{line}:")), "{error}");
            assert!(error.contains(&format!(": {}: ", number.key)), "{error}");
            assert!(error.ends_with(&format!("is out of range: {}", number.range_text())), "{error}");
        }
    }
}

#[test]
fn an_error_is_one_line_with_file_line_column_and_key() {
    let cases = [
        ("cores = 300", "fanfare.toml:1:9: cores: 300 is out of range: 0 to 256"),
        ("cores = -1", "fanfare.toml:1:9: cores: integer `-1`, expected a whole number"),
        (
            "\n[publish]\npublisher_grace = 10",
            "fanfare.toml:3:19: publish.publisher_grace: integer `10`, expected",
        ),
        (
            "[publish]\npublisher_grace = \"10\"",
            "fanfare.toml:2:19: publish.publisher_grace: `10` is not a duration with a unit",
        ),
        (
            "[play]\nmax_lag = \"5 blinks\"",
            "fanfare.toml:2:11: play.max_lag: `5 blinks` is not a duration with a unit",
        ),
        ("[play]\nmax_lag = \"\"", "fanfare.toml:2:11: play.max_lag: `` is not a duration with a unit"),
        ("[play]\nstream_buffer = \"many\"", "fanfare.toml:2:17: play.stream_buffer: `many` is not a size"),
        ("[play]\nstart = \"now\"", "fanfare.toml:2:9: play.start: start must be keyframe or live"),
        (
            "[play]\nstrat = \"live\"",
            "fanfare.toml:2:1: play.strat: unknown key `strat`, expected one of `start`",
        ),
        ("[plya]\nstart = \"live\"", "fanfare.toml:1:2: plya: unknown key `plya`, expected one of `cores`"),
        ("play.start = 5", "fanfare.toml:1:14: play.start: "),
        ("pin_cores = yes", "fanfare.toml:1:13: "),
        ("pin_cores = \"yes\"", "fanfare.toml:1:13: pin_cores: string \"yes\", expected a boolean"),
        ("cores = 1\ncores = 2", "fanfare.toml:2:1: duplicate key"),
        ("[listen]\nrtmp = []", "fanfare.toml:2:8: listen.rtmp: 0 addresses are out of range: 1 to 64"),
        (
            "[listen]\nrtmp = [\n  \"0.0.0.0:1935\",\n  \"here\",\n]",
            "fanfare.toml:4:3: listen.rtmp: `here` is a name",
        ),
        (
            "[listen]\nrtmp = [\"0.0.0.0:1\", \"0.0.0.0:1\"]",
            "fanfare.toml:2:8: listen.rtmp: 0.0.0.0:1 is listed twice",
        ),
        (
            "[listen]\nhttp = [\"[::1]:80\", \"[::1]:80\"]",
            "fanfare.toml:2:8: listen.http: [::1]:80 is listed twice",
        ),
        (
            "[http]\nallow_origins = [\"example.org\"]",
            "fanfare.toml:2:17: http.allow_origins: `example.org` is not an origin, such as",
        ),
        (
            "[api]\nallow_origins = [\"example.org\"]",
            "fanfare.toml:2:17: api.allow_origins: `example.org` is not an origin, such as",
        ),
        (
            "[[streams]]\npattern = \"a/[b\"",
            "fanfare.toml:1:1: streams: `a/[b` is not a pattern: unclosed character class",
        ),
        ("streams = [{ pattern = \"\" }]", "fanfare.toml:1:11: streams: a pattern has 1 to 255 bytes, not 0"),
        ("[[streams]]\nlisted = false", "fanfare.toml:1:1: streams: missing key `pattern`"),
        ("[[streams]]\npatern = \"a\"", "fanfare.toml:2:1: "),
        (
            "streams = [\"private/*\"]",
            "fanfare.toml:1:12: streams: string \"private/*\", expected a rule, such as { pattern =",
        ),
        (
            "[[access]]\n[[access]]\nname = 'a'\nlinks = 'short'",
            "fanfare.toml:4:9: access: rule 2: links: a secret here has 16 to 1024 bytes, not 5",
        ),
        (
            "[[access]]\nkeys = ''\n",
            "fanfare.toml:2:8: access: rule 1: keys: a secret here has 1 to 1024 bytes, not 0",
        ),
        (
            "[[access]]\nusers = ['eve']",
            "fanfare.toml:2:9: access: rule 1: users: there is no user `eve` in [users]",
        ),
        ("[[access]]\nusers = ['*']", "fanfare.toml:2:9: access: rule 1: users: [users] is empty"),
        ("[[access]]\njwt = true", "fanfare.toml:2:7: access: rule 1: jwt: there is no key in [jwt]"),
        (
            "[[access]]\nstreams = 'a/[b'",
            "fanfare.toml:2:11: access: rule 1: streams: `a/[b` is not a pattern",
        ),
        ("[[access]]\nfrom = ['192.0.2.0/33']", "fanfare.toml:2:9: access.from: not a network with a prefix"),
        ("[[access]]\nname = 'default'", "fanfare.toml:2:8: access: rule 1: name: up to 64 bytes"),
        (
            "[[access]]\nthen = 'deny'\nkeys = 'k'",
            "fanfare.toml:1:1: access: rule 1: a rule that denies takes no keys, users, links or tokens",
        ),
        ("[[access]]\naction = 'watch'", "fanfare.toml:2:10: access.action: unknown value `watch`"),
        (
            "[[access]]\nstreams = 'live/[äb]'",
            "fanfare.toml:2:11: access: rule 1: streams: `live/[äb]`: ? and [] stand for one character of ASCII",
        ),
        ("[[access]]\nkeys = []", "fanfare.toml:2:8: access.keys: an empty list is as none"),
        ("[[access]]\nusers = []", "fanfare.toml:2:9: access.users: an empty list is as none"),
        ("[[access]]\nlinks = []", "fanfare.toml:2:9: access.links: an empty list is as none"),
        ("access = [{ from = [] }]", "fanfare.toml:1:20: access.from: an empty list is as none"),
        ("[users]\n'*' = 'a'", "fanfare.toml:2:7: users: *: a user's name"),
        ("[users]\nann = ''", "fanfare.toml:2:7: users: ann: a secret here has 1 to 1024 bytes, not 0"),
        ("[users]\nann = []", "fanfare.toml:2:7: users: ann: a user has a password"),
        ("[jwt]\nsecrets = 'short'", "fanfare.toml:2:11: jwt.secrets: a secret here has 16 to 1024 bytes"),
        (
            "[jwt]\njwks_url = 'https://a:b@example.org/'",
            "fanfare.toml:2:12: jwt.jwks_url: not an address https://HOST/… or http://HOST/…, without a user",
        ),
        ("[api]\ntoken = \"short\"", "fanfare.toml:2:9: api.token: a token has 8 to 1024 bytes, not 5"),
        (
            "[api]\nread_token = \"one-token\"\nread_token_file = \"/a/file\"",
            "fanfare.toml:3:19: api.read_token_file: read_token is set as well: set only one of the two",
        ),
        ("[log]\nlevel = \"inof\"", "fanfare.toml:2:9: log.level: `inof` is not a level: error, warn, info"),
        ("# ü\n[log] # ü\nformat = [\n", "fanfare.toml:3:"),
    ];
    for (toml, expected) in cases {
        let error = error_of(toml);
        assert!(error.starts_with(expected), "{toml}\n  gives {error}\n  wants {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn columns_are_counted_in_characters() {
    assert!(error_of("log = { level = \"ü\", format = \"x\" }").contains("fanfare.toml:1:31: log.format"));
}

#[test]
fn an_empty_file_has_the_defaults_and_a_key_changes_one_value() {
    assert_eq!(Config::from_toml("f", "").unwrap(), Config::default());
    assert_eq!(
        Config::from_toml("f", "\u{feff}").map_err(|error| error.to_string()).unwrap(),
        Config::default()
    );

    let mut expected = Config::default();
    expected.publish.on_second_publisher = SecondPublisher::Takeover;
    expected.play.start = Start::Live;
    expected.play.wait_for_publisher = Duration::from_millis(1500);
    let file = "publish.on_second_publisher = \"takeover\"\n[play]\nstart = \"live\"\nwait_for_publisher = \"1s 500ms\"\n";
    assert_eq!(Config::from_toml("f", file).unwrap(), expected);
}

#[test]
fn a_configuration_written_as_a_file_reads_back_the_same() {
    let file = "cores = 3\npin_cores = true\n[listen]\nrtmp = [\"127.0.0.1:0\"]\n[play]\nstream_buffer = \"1500000B\"\n";
    let config = Config::from_toml("f", file).unwrap();
    assert_eq!(config.play.stream_buffer, 1_500_000);
    assert_eq!(Config::from_toml("f", &config.to_toml()).unwrap(), config);
    let file =
        "[[access]]\n[[access]]\nfrom = ['10.0.0.0/8']\nkeys = 'a'\nusers = ['*']\n[users]\nann = 'b'\n";
    let config = Config::from_toml("f", file).unwrap();
    assert_eq!(Config::from_toml("f", &config.to_toml()).unwrap(), config);
}

/// Keys of options that take effect while the relay runs.
const CHANGEABLE: [&str; 81] = [
    "shutdown_timeout",
    "streams",
    "access",
    "publish.on_second_publisher",
    "publish.takeover_after",
    "publish.publisher_grace",
    "play.start",
    "play.wait_for_publisher",
    "play.send_timeout",
    "play.ping_interval",
    "play.merge_window",
    "play.latency_budget",
    "limits.connections",
    "limits.connections_per_address",
    "limits.connections_per_network",
    "limits.connections_per_block",
    "limits.exempt",
    "limits.handshakes",
    "limits.handshakes_per_address",
    "limits.handshakes_per_network",
    "limits.handshakes_per_block",
    "limits.handshake_timeout",
    "limits.request_timeout",
    "limits.publisher_timeout",
    "limits.streams",
    "limits.memory_budget",
    "limits.publisher_kbps",
    "limits.messages_per_second",
    "limits.video_message",
    "limits.audio_message",
    "limits.data_message",
    "limits.command_message",
    "limits.partial_messages",
    "limits.partial_bytes",
    "limits.wrong_credentials",
    "proxy.trusted",
    "proxy.client_header",
    "proxy.listeners",
    "hooks.dialect",
    "hooks.on_connect",
    "hooks.on_publish",
    "hooks.on_play",
    "hooks.on_unpublish",
    "hooks.on_stop",
    "hooks.on_close",
    "hooks.on_update",
    "hooks.update_interval",
    "hooks.timeout",
    "hooks.on_error",
    "hooks.cache",
    "hooks.max_requests",
    "hooks.queue",
    "hooks.retries",
    "hooks.secret",
    "hooks.notify_method",
    "hooks.ca_file",
    "jwt.secrets",
    "jwt.public_keys",
    "jwt.jwks_url",
    "jwt.jwks_refresh",
    "jwt.audience",
    "jwt.issuer",
    "tls.acme_ca_file",
    "tls.acme_directory",
    "tls.acme_email",
    "tls.acme_folder",
    "tls.acme_names",
    "tls.acme_terms_agreed",
    "tls.certificates",
    "tls.require_client_ca",
    "http.header_timeout",
    "http.allow_origins",
    "http.metrics_max_streams",
    "http.redirect_to_https",
    "http.https_host",
    "http.hsts",
    "api.read_token",
    "api.read_token_file",
    "api.allow_origins",
    "log.level",
    "log.lines_per_network",
];

/// Another value than the default for each key that is not a number.
const OTHER_VALUES: [(&str, &str); 49] = [
    ("pin_cores", "true"),
    ("streams", "[{ pattern = 'private/*', listed = false }]"),
    ("access", "[{ streams = 'private/*', then = 'deny' }]"),
    ("listen.rtmp", "['127.0.0.1:1935']"),
    ("listen.rtmps", "['127.0.0.1:1936']"),
    ("listen.http", "[]"),
    ("listen.https", "['127.0.0.1:8443']"),
    ("tls.certificates", "[{ certificate = '/a/cert.pem', key = '/a/key.pem' }]"),
    ("tls.require_client_ca", "'/a/ca.pem'"),
    ("tls.acme_ca_file", "'/a/ca.pem'"),
    ("tls.acme_directory", "'https://ca.example/directory'"),
    ("tls.acme_email", "'operator@example.org'"),
    ("tls.acme_folder", "'/a/folder'"),
    ("tls.acme_names", "['relay.example']"),
    ("tls.acme_terms_agreed", "true"),
    ("publish.on_second_publisher", "'takeover'"),
    ("play.start", "'live'"),
    ("limits.exempt", "[]"),
    ("proxy.trusted", "['192.0.2.0/24']"),
    ("proxy.client_header", "'forwarded'"),
    // It needs the other one.
    ("proxy.listeners", "['0.0.0.0:1935']\ntrusted = ['192.0.2.0/24']"),
    ("hooks.dialect", "'srs'"),
    ("hooks.on_connect", "['http://127.0.0.1:8085/']"),
    ("hooks.on_publish", "['http://127.0.0.1:8085/']"),
    ("hooks.on_play", "['http://127.0.0.1:8085/']"),
    ("hooks.on_unpublish", "['http://127.0.0.1:8085/']"),
    ("hooks.on_stop", "['http://127.0.0.1:8085/']"),
    ("hooks.on_close", "['http://127.0.0.1:8085/']"),
    ("hooks.on_update", "['http://127.0.0.1:8085/']"),
    ("hooks.on_error", "'allow'"),
    ("hooks.secret", "['sixteen-bytes-of-it']"),
    ("hooks.notify_method", "'get'\ndialect = 'nginx-rtmp'"),
    ("hooks.ca_file", "'/a/ca.pem'"),
    ("jwt.secrets", "['sixteen-bytes-of-it']"),
    ("jwt.public_keys", "['/a/key.pem']"),
    ("jwt.jwks_url", "'https://example.org/jwks.json'"),
    ("jwt.audience", "'fanfare'"),
    ("jwt.issuer", "'https://example.org'"),
    ("http.allow_origins", "[]"),
    ("http.https_host", "'relay.example'"),
    ("http.redirect_to_https", "'page'\nhttps_host = 'relay.example'"),
    ("api.listen", "['127.0.0.1:8081']"),
    ("api.token", "'another-token'"),
    ("api.token_file", "'/another/token'"),
    ("api.read_token", "'another-token'"),
    ("api.read_token_file", "'/another/token'"),
    ("api.allow_origins", "['*']"),
    ("log.format", "'json'"),
    ("log.level", "'debug'"),
];

#[test]
fn every_option_either_takes_effect_at_once_or_is_named_as_one_that_needs_a_restart() {
    let defaults = Config::default();
    let numbers = defaults.numbers();
    for key in keys(&ANNOTATED.parse().unwrap()) {
        let value = match numbers.iter().find(|number| number.key == key) {
            Some(number) if number.value == *number.range.end() => written(number, *number.range.start()),
            Some(number) => written(number, *number.range.end()),
            None => OTHER_VALUES.iter().find(|(other, _)| *other == key).expect(&key).1.to_owned(),
        };
        let mut text = file_with(&key, &value);
        if key == "tls.acme_names" {
            text += "acme_terms_agreed = true\n";
        }
        let changed = Config::from_toml("f", &text).unwrap();
        assert_ne!(changed, defaults, "{key} = {value}");
        // A token that is set takes effect at once; what happens when it is removed is the next test.
        let is_changeable = key == "api.token" || CHANGEABLE.contains(&key.as_str());
        let expected = if is_changeable { vec![] } else { vec![key.as_str()] };
        assert_eq!(defaults.needs_restart(&changed), expected);
        if key != "api.token" {
            assert_eq!(changed.needs_restart(&defaults), expected);
        }
        assert_eq!(changed.needs_restart(&changed), [""; 0]);
        let in_force = changed.clone().with_fixed_options_of(&defaults);
        let not_in_force: Vec<_> = in_force.changes(&changed).into_iter().map(|change| change.key).collect();
        assert_eq!(not_in_force, expected, "what is kept is what needs a restart");
        let differing = defaults.changes(&changed);
        assert!(differing.iter().any(|change| change.key == key), "{key}: {differing:?}");
    }
}

#[test]
fn without_its_configured_token_the_relay_needs_a_restart_that_makes_one() {
    let with_token = |token: &str| Config::from_toml("f", &file_with("api.token", token)).unwrap();
    assert_eq!(with_token("'one-token'").needs_restart(&with_token("''")), ["api.token"]);
    assert_eq!(with_token("'one-token'").needs_restart(&with_token("'another-token'")), [""; 0]);
    let removed = with_token("''").with_fixed_options_of(&with_token("'one-token'"));
    assert_eq!(removed.api.token, "one-token");
}

#[test]
fn default_addresses_are_optional_and_configured_ones_required() {
    let is_default = |file| Config::from_toml("f", file).unwrap().listen.is_default_http;
    assert!(is_default(""));
    assert!(is_default("[listen]\nhttp = [\"0.0.0.0:8080\", \"[::]:8080\"]"));
    assert!(is_default("[listen]\nhttp = [8080]"));
    assert!(!is_default("[listen]\nhttp = [\"[::]:8080\"]"));

    let mut by_flag = Config::default();
    by_flag.set_rtmp(vec!["[::]:1935".parse().unwrap()]);
    assert!(by_flag.listen.is_default_http);
    by_flag.set_http(Vec::new());
    assert!(!by_flag.listen.is_default_http && by_flag.listen.http.is_empty());
}

#[test]
fn a_port_alone_in_a_list_stands_for_all_addresses_of_the_host() {
    let config = Config::from_toml("f", "listen.rtmp = [1936, ':1937', '127.0.0.1:1938']").unwrap();
    let addresses: Vec<_> = config.listen.rtmp.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["0.0.0.0:1936", "[::]:1936", "0.0.0.0:1937", "[::]:1937", "127.0.0.1:1938"]);
    assert!(error_of("listen.rtmp = [70000]").starts_with("fanfare.toml:1:16: listen.rtmp: not an address"));
    assert!(error_of("api.listen = [true]").contains("expected an address with a port, or a port"));
}

#[test]
fn two_addresses_with_port_0_are_not_the_same() {
    Config::from_toml("f", "[listen]\nrtmp = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").unwrap();
}

#[test]
fn cores_0_is_at_least_one_thread_and_any_other_number_is_used_as_it_is() {
    assert!(Config::default().core_count() >= 1);
    assert_eq!(Config { cores: 200, ..Config::default() }.core_count(), 200);
}

#[test]
fn a_missing_file_is_one_line_with_its_name() {
    let error = Config::load("no/such/fanfare.toml".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("no/such/fanfare.toml: "), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_device_is_not_read_without_end() {
    assert!(Config::load("/dev/zero".as_ref()).unwrap_err().to_string().starts_with("/dev/zero: "));
}

proptest! {
    /// The annotated file with a piece replaced: any error is one line and names the file.
    #[test]
    fn any_damage_to_a_file_gives_an_error_of_one_line(
        cut in 0..ANNOTATED.len(),
        length in 0..40usize,
        put in "[\\[\\]\"'=.,#\\n\\ra-z0-9ü\\\\ ]{0,12}",
    ) {
        let mut bytes = ANNOTATED.as_bytes().to_vec();
        bytes.splice(cut..(cut + length).min(ANNOTATED.len()), put.bytes());
        if let Err(error) = Config::from_toml("fanfare.toml", &String::from_utf8_lossy(&bytes)) {
            let error = error.to_string();
            prop_assert!(error.starts_with("fanfare.toml:"), "{error}");
            prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}
