//! SRS, versions 4 to 8.

use std::time::Duration;

use super::{
    blocks::{self, Directive},
    draft::{Draft, From, Rule},
    nginx::{address_of, from, networks},
};

const HOOKS: [(&str, &str); 6] = [
    ("on_connect", "hooks.on_connect"),
    ("on_close", "hooks.on_close"),
    ("on_publish", "hooks.on_publish"),
    ("on_unpublish", "hooks.on_unpublish"),
    ("on_play", "hooks.on_play"),
    ("on_stop", "hooks.on_stop"),
];

/// Blocks and directives that fanfare does not do, or always does.
const OTHERS: [(&str, &str); 38] = [
    ("forward", "fanfare does not push: run FFmpeg"),
    ("ingest", "fanfare does not pull: run FFmpeg"),
    ("transcode", "fanfare does not transcode: run FFmpeg"),
    ("exec", "fanfare starts no programs"),
    ("dvr", "fanfare does not record: run FFmpeg"),
    ("hls", "fanfare does not make HLS"),
    ("dash", "fanfare does not make DASH"),
    ("hds", "fanfare does not make HDS"),
    ("rtc", "fanfare does not speak WebRTC: let SRS receive it and forward RTMP"),
    ("rtc_server", "fanfare does not speak WebRTC: let SRS receive it and forward RTMP"),
    ("srt", "fanfare does not speak SRT: let SRS receive it and forward RTMP"),
    ("srt_server", "fanfare does not speak SRT: let SRS receive it and forward RTMP"),
    ("rtsp_server", "fanfare does not speak RTSP"),
    ("rtsp", "fanfare does not speak RTSP"),
    ("stream_caster", "let SRS receive these and forward RTMP"),
    ("cluster", "fanfare has no edges: one relay serves all players of its streams"),
    (
        "refer",
        "fanfare does not look at the page's address; [http] allow_origins limits which pages may play",
    ),
    ("bandcheck", "fanfare does not measure a client's bandwidth"),
    ("heartbeat", "no option; /healthz and /metrics say how the relay is"),
    ("stats", "no option; /metrics and the page"),
    ("exporter", "no option: /metrics on the HTTP port"),
    ("tracing", "no option"),
    ("circuit_breaker", "merging adapts to the load"),
    ("chunk_size", "65,536 bytes to players, any size from encoders"),
    ("in_ack_size", "fixed"),
    ("out_ack_size", "fixed"),
    ("tcp_nodelay", "always on"),
    ("min_latency", "merging adapts to the load: [play] merge_window"),
    ("realtime", "merging adapts to the load: [play] merge_window"),
    ("atc", "timestamps are corrected when an encoder's clock jumps"),
    ("atc_auto", "timestamps are corrected when an encoder's clock jumps"),
    ("mix_correct", "timestamps are corrected when an encoder's clock jumps"),
    ("time_jitter", "timestamps are corrected when an encoder's clock jumps"),
    ("http_static", "fanfare serves no files but its page"),
    ("send_min_interval", "no option"),
    ("reduce_sequence_header", "always: unchanged headers are not repeated"),
    ("gop_cache_max_frames", "[play] stream_buffer is in bytes"),
    ("try_annexb_first", "streams are passed on as they are"),
];

/// Of the process, of its log and its files.
const PROCESS: [&str; 26] = [
    "daemon",
    "pid",
    "work_dir",
    "asprocess",
    "empty_ip_ok",
    "in_docker",
    "grace_start_wait",
    "grace_final_wait",
    "force_grace_quit",
    "disable_daemon_for_docker",
    "inotify_auto_reload",
    "auto_reload_for_docker",
    "utc_time",
    "pithy_print_ms",
    "ff_log_dir",
    "ff_log_level",
    "srs_log_tank",
    "srs_log_file",
    "server_id",
    "service_id",
    "threads",
    "tcmalloc_release_rate",
    "query_latest_version",
    "first_wait_for_qlv",
    "log",
    "max_streams",
];

/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn read(file: &str, text: &str, draft: &mut Draft) -> Result<(), String> {
    let directives = blocks::parse(text).map_err(|(line, what)| format!("{file}:{line}: {what}"))?;
    // The one that serves clients of any host, or else the first.
    let hosts = || directives.iter().filter(|it| it.name == "vhost" && is_enabled_unless_off(it));
    let main = hosts().find(|it| it.argument(0) == "__defaultVhost__").or_else(|| hosts().next());
    for directive in &directives {
        let at = from(directive);
        match directive.name.as_str() {
            "listen" => listen(directive, "listen.rtmp", draft),
            "rtmp" => rtmp(directive.inner(), draft),
            "rtmps" => encrypted(directive, "listen.rtmps", draft),
            "max_connections" => match directive.argument(0).parse() {
                Ok(count) => draft.set_number("limits.connections", count, at),
                Err(_) => draft.leave(at, "not a number"),
            },
            "srs_log_level" | "srs_log_level_v2" => log_level(directive, draft),
            "http_server" => http(directive, "listen.http", draft),
            "http_api" => http(directive, "api.listen", draft),
            "vhost" if main.is_some_and(|main| std::ptr::eq(main, directive)) => vhost(directive, draft),
            "vhost" => draft.leave(at, "all hosts have one namespace in fanfare: this one is left out"),
            "include" => draft.leave(at, "the included file is not read: migrate it as well"),
            name if PROCESS.contains(&name) => {
                draft.leave(at, "of SRS' process; fanfare needs nothing like it")
            }
            _ => other(directive, draft),
        }
    }
    Ok(())
}

fn rtmp(directives: &[Directive], draft: &mut Draft) {
    for directive in directives {
        match directive.name.as_str() {
            "enabled" => {}
            "listen" => listen(directive, "listen.rtmp", draft),
            _ => other(directive, draft),
        }
    }
}

fn listen(directive: &Directive, key: &'static str, draft: &mut Draft) {
    for argument in &directive.arguments {
        match address_of(argument) {
            Some(address) => draft.add(key, address, from(directive)),
            None => draft.leave(from(directive), "not an address with a port"),
        }
    }
}

/// `rtmps { enabled on; listen 1443; key …; cert …; }`, and the `https` blocks.
fn encrypted(block: &Directive, key: &'static str, draft: &mut Draft) {
    if !is_enabled(block) {
        return;
    }
    let find = |name: &str| block.inner().iter().find(|it| it.name == name);
    if let Some(directive) = find("listen") {
        listen(directive, key, draft);
    }
    if let (Some(cert), Some(secret)) = (find("cert"), find("key")) {
        let mut pair = toml::Table::new();
        pair.insert("certificate".to_owned(), cert.argument(0).into());
        pair.insert("key".to_owned(), secret.argument(0).into());
        draft.add("tls.certificates", pair, from(cert));
    }
}

fn http(block: &Directive, key: &'static str, draft: &mut Draft) {
    if !is_enabled(block) {
        return;
    }
    for directive in block.inner() {
        let at = from(directive);
        match directive.name.as_str() {
            "enabled" => {}
            "listen" => listen(directive, key, draft),
            "https" if key == "listen.http" => encrypted(directive, "listen.https", draft),
            "https" if is_enabled(directive) => {
                draft.leave(at, "the API is on the addresses for HTTPS as well")
            }
            "https" => {}
            "crossdomain" if directive.is_on() => {}
            "crossdomain" => draft.set(
                if key == "api.listen" { "api.allow_origins" } else { "http.allow_origins" },
                toml::Value::Array(vec![]),
                at,
            ),
            "auth" if is_enabled(directive) => {
                draft.leave(
                    at,
                    "the API takes tokens: [api] token and read_token, or the one that the first start makes",
                );
            }
            "auth" => {}
            "raw_api" => draft.leave(at, "POST /api/v1/reload reads the configuration again"),
            "dir" => draft.leave(at, "fanfare serves no files but its page"),
            _ => other(directive, draft),
        }
    }
}

fn vhost(block: &Directive, draft: &mut Draft) {
    if block.argument(0) != "__defaultVhost__" {
        draft.leave(
            from(block),
            "all hosts have one namespace in fanfare: what is in its block is for all of them",
        );
    }
    for directive in block.inner() {
        let at = from(directive);
        match directive.name.as_str() {
            "enabled" => {}
            "http_hooks" if is_enabled(directive) => hooks(directive, draft),
            "security" if is_enabled(directive) => security(directive, draft),
            "http_hooks" | "security" => {}
            "http_remux" if is_enabled(directive) => http_remux(directive, draft),
            "http_remux" => draft.leave(at, "HTTP-FLV is always on where [listen] http has addresses"),
            "play" => directive.inner().iter().for_each(|inner| play(inner, draft)),
            "publish" => directive.inner().iter().for_each(|inner| publish(inner, draft)),
            "gop_cache" | "queue_length" | "mw_latency" => play(directive, draft),
            _ => other(directive, draft),
        }
    }
}

fn hooks(block: &Directive, draft: &mut Draft) {
    draft.set("hooks.dialect", "srs", From::default());
    for directive in block.inner().iter().filter(|it| it.name != "enabled") {
        match HOOKS.iter().find(|(name, _)| *name == directive.name) {
            Some((_, key)) => {
                directive.arguments.iter().for_each(|url| draft.add(key, url.as_str(), from(directive)));
            }
            None => draft.leave(from(directive), "fanfare has no such hook"),
        }
    }
}

/// First what is denied, then what is allowed; if there is a rule that allows, of whatever kind, all else is denied.
fn security(block: &Directive, draft: &mut Draft) {
    let rules: Vec<&Directive> =
        block.inner().iter().filter(|it| ["allow", "deny"].contains(&it.name.as_str())).collect();
    let has_allow = rules.iter().any(|it| it.name == "allow");
    for denies in [true, false] {
        for directive in rules.iter().filter(|it| (it.name == "deny") == denies) {
            let action = match directive.argument(0) {
                "publish" => "publish",
                "play" => "play",
                _ => {
                    draft.leave(from(directive), "not understood");
                    continue;
                }
            };
            match networks(directive.argument(1)) {
                Some(networks) => {
                    draft.rule(Rule { action, networks, denies, from: from(directive), ..Rule::default() })
                }
                None => draft.leave(from(directive), "not an address or a network"),
            }
        }
    }
    if has_allow || rules.is_empty() {
        let name = "no others".to_owned();
        draft.rule(Rule { name, denies: true, from: from(block), ..Rule::default() });
    }
}

fn http_remux(block: &Directive, draft: &mut Draft) {
    for directive in block.inner() {
        match (directive.name.as_str(), directive.argument(0)) {
            ("enabled", _) | ("mount", "[vhost]/[app]/[stream].flv") => {}
            ("mount", _) => draft.leave(from(directive), "streams are at /app/name.flv"),
            ("fast_cache", _) => {
                draft.leave(from(directive), "audio without video begins with its last second")
            }
            _ => other(directive, draft),
        }
    }
}

fn play(directive: &Directive, draft: &mut Draft) {
    let at = from(directive);
    let value = directive.argument(0);
    match directive.name.as_str() {
        "gop_cache" => draft.set("play.start", if directive.is_on() { "keyframe" } else { "live" }, at),
        "queue_length" => match value.parse() {
            Ok(seconds) => draft.set_duration("play.max_lag", Duration::from_secs(seconds), at),
            Err(_) => draft.leave(at, "not a number"),
        },
        "mw_latency" => match value.parse() {
            Ok(ms) => draft.set_duration("play.latency_budget", Duration::from_millis(ms), at),
            Err(_) => draft.leave(at, "not a number"),
        },
        "mw_msgs" => draft.leave(at, "merging adapts to the load: [play] merge_window, latency_budget"),
        _ => other(directive, draft),
    }
}

fn publish(directive: &Directive, draft: &mut Draft) {
    let at = from(directive);
    let milliseconds = directive.argument(0).parse().map(Duration::from_millis);
    match (directive.name.as_str(), milliseconds) {
        ("normal_timeout", Ok(time)) => draft.set_duration("limits.publisher_timeout", time, at),
        ("firstpkt_timeout", Ok(time)) => draft.set_duration("limits.request_timeout", time, at),
        ("mr" | "mr_latency", _) => draft.leave(at, "receiving adapts to the load"),
        ("kickoff_for_idle", _) => draft.leave(at, "a stream without players costs only its receiving"),
        ("parse_sps", _) => draft.leave(at, "always: the page shows size and codec"),
        _ => other(directive, draft),
    }
}

fn other(directive: &Directive, draft: &mut Draft) {
    let is_off = directive.argument(0) == "off"
        || directive.block.is_some()
            && directive.inner().iter().any(|it| it.name == "enabled" && !it.is_on());
    match OTHERS.iter().find(|(name, _)| *name == directive.name) {
        Some(_) if is_off => {}
        Some((_, why)) => draft.leave(from(directive), *why),
        None => draft.leave(from(directive), "fanfare has nothing like it"),
    }
}

fn log_level(directive: &Directive, draft: &mut Draft) {
    let level = match directive.argument(0) {
        "verbose" => "trace",
        "info" | "debug" => "debug",
        "trace" => "info",
        "warn" => "warn",
        "error" => "error",
        _ => return draft.leave(from(directive), "not a level"),
    };
    draft.set("log.level", level, from(directive));
}

/// Blocks are off by default.
fn is_enabled(block: &Directive) -> bool {
    block.inner().iter().any(|it| it.name == "enabled" && it.is_on())
}

/// A vhost is on by default.
fn is_enabled_unless_off(block: &Directive) -> bool {
    block.inner().iter().all(|it| it.name != "enabled" || it.is_on())
}
