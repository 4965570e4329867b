//! SRS, versions 4 to 8.

use std::time::Duration;

use super::{
    blocks::{self, Directive, Grammar},
    draft::{Draft, Rule},
    files::{Files, base_name},
    known::{
        EXEC, Fate, Known, OFF, PULL, PUSH, RECORD, TRANSCODE, VARIABLE, carried, explain, fate, lost, same,
    },
    nginx::networks,
};

/// Directives and blocks of SRS.
pub(super) const KNOWN: &[Known] = &[
    carried("listen", &["listen.rtmp"]),
    carried("rtmp", &["listen.rtmp"]),
    carried("rtmps", &["listen.rtmps", "tls.certificates"]),
    carried("max_connections", &["limits.connections"]),
    carried("srs_log_level", &["log.level"]),
    carried("srs_log_level_v2", &["log.level"]),
    carried("http_server", &["listen.http", "listen.https"]),
    carried("http_stream", &["listen.http"]),
    carried("http_api", &["api.listen"]),
    carried("crossdomain", &["http.allow_origins", "api.allow_origins"]),
    carried("exporter", &["api.listen"]),
    carried("gop_cache", &["play.start"]),
    carried("queue_length", &["play.max_lag"]),
    carried("mw_latency", &["play.latency_budget"]),
    carried("normal_timeout", &["limits.publisher_timeout"]),
    carried("publish_normal_timeout", &["limits.publisher_timeout"]),
    carried("security", &["access"]),
    carried("on_connect", &["hooks.on_connect"]),
    carried("on_close", &["hooks.on_close"]),
    carried("on_publish", &["hooks.on_publish"]),
    carried("on_unpublish", &["hooks.on_unpublish"]),
    carried("on_play", &["hooks.on_play"]),
    carried("on_stop", &["hooks.on_stop"]),
    same("http_remux", "every stream is at http://HOST:8080/APP/NAME.flv, and over WebSocket"),
    same("mount", "every stream is at http://HOST:8080/APP/NAME.flv, and over WebSocket"),
    same("firstpkt_timeout", "[limits] publisher_timeout counts from the first moment"),
    same("publish_1stpkt_timeout", "[limits] publisher_timeout counts from the first moment"),
    same("fast_cache", "a stream of audio alone begins with its last second"),
    same("drop_if_not_match", "all frames are passed on as they came"),
    same("has_audio", "all frames are passed on as they came"),
    same("has_video", "all frames are passed on as they came"),
    same("guess_has_av", "all frames are passed on as they came"),
    same("try_annexb_first", "all frames are passed on as they came"),
    same("parse_sps", "the page and the API show codec and size in any case"),
    same("chunk_size", "65,536 bytes to players, any size from encoders"),
    same("in_ack_size", "the window is fixed"),
    same("out_ack_size", "the window is fixed"),
    same("tcp_nodelay", "always on"),
    same("gop_cache_max_frames", "the newest group of pictures is kept whole, within [play] stream_buffer"),
    same("mw_msgs", "merging adapts to the load: [play] merge_window, latency_budget"),
    same("min_latency", "merging adapts to the load: [play] merge_window, latency_budget"),
    same("realtime", "merging adapts to the load: [play] merge_window, latency_budget"),
    same("circuit_breaker", "merging adapts to the load: [play] merge_window, latency_budget"),
    same("mr", "receiving adapts to the load"),
    same("mr_latency", "receiving adapts to the load"),
    same("time_jitter", "timestamps are corrected when an encoder's clock jumps"),
    same("mix_correct", "timestamps are corrected when an encoder's clock jumps"),
    same("reduce_sequence_header", "unchanged headers are not repeated"),
    same("stats", "/metrics and the page show the machine and the relay"),
    same("raw_api", "POST /api/v1/reload reads the configuration again"),
    same("inotify_auto_reload", "POST /api/v1/reload reads the configuration again"),
    same("auto_reload_for_docker", "POST /api/v1/reload reads the configuration again"),
    lost(
        "auth",
        "the API takes tokens, not a password: [api] token and read_token, or the one that the first start makes",
    ),
    lost("atc", "timestamps of encoders are not kept as they are"),
    lost("atc_auto", "timestamps of encoders are not kept as they are"),
    lost("send_min_interval", "fanfare does not slow frames down"),
    lost("kickoff_for_idle", "a stream without players stays: it costs only its receiving"),
    lost("vhost", "all hosts have one namespace, that of the default vhost: run a second relay for this one"),
    lost("default_app", "fanfare does not speak SRT: let SRS receive it and forward RTMP to fanfare"),
    lost("forward", PUSH),
    lost("ingest", PULL),
    lost("transcode", TRANSCODE),
    lost("exec", EXEC),
    lost("dvr", RECORD),
    lost("on_dvr", RECORD),
    lost("hls", HLS),
    lost("on_hls", HLS),
    lost("on_hls_notify", HLS),
    lost("dash", HLS),
    lost("hds", HLS),
    lost("http_static", "fanfare serves no files but its page: let a web server serve them"),
    lost("dir", "fanfare serves no files but its page: let a web server serve them"),
    lost("http", "fanfare serves no files but its page: let a web server serve them"),
    lost("mode", EDGE),
    lost("origin", EDGE),
    lost("token_traverse", EDGE),
    lost("debug_srs_upnode", EDGE),
    lost("refer_*", REFER),
    lost("cluster", EDGE),
    lost("refer", REFER),
    lost("bandcheck", "fanfare does not measure a client's bandwidth"),
    lost("is_full", "it marks a list of all options, which is not meant to be run"),
    lost("heartbeat", "fanfare reports to no server: /healthz and /metrics show how it is"),
    lost("rtc_server", RTC),
    lost("rtc", RTC),
    lost("srt_server", SRT),
    lost("srt", SRT),
    lost("rtsp_server", CASTER),
    lost("rtsp", CASTER),
    lost("stream_caster", CASTER),
    lost("tracing", "fanfare sends its log and metrics nowhere: /metrics, [log]"),
    lost("tencentcloud_*", "fanfare sends its log and metrics nowhere: /metrics, [log]"),
    same("daemon", PROCESS),
    same("pid", PROCESS),
    same("work_dir", PROCESS),
    same("asprocess", PROCESS),
    same("empty_ip_ok", PROCESS),
    same("in_docker", PROCESS),
    same("disable_daemon_for_docker", PROCESS),
    same("grace_start_wait", PROCESS),
    same("grace_final_wait", PROCESS),
    same("force_grace_quit", PROCESS),
    same("utc_time", PROCESS),
    same("pithy_print_ms", PROCESS),
    same("ff_log_dir", PROCESS),
    same("ff_log_level", PROCESS),
    same("srs_log_tank", PROCESS),
    same("srs_log_file", PROCESS),
    same("server_id", PROCESS),
    same("service_id", PROCESS),
    same("threads", PROCESS),
    same("tcmalloc_release_rate", PROCESS),
    same("query_latest_version", PROCESS),
    same("first_wait_for_qlv", PROCESS),
];

const EDGE: &str = "fanfare has no edges and origins: one relay serves all players of its streams";
const REFER: &str = "a page's address is not looked at: [http] allow_origins limits which pages may play, and a hook sees pageUrl";
const HLS: &str =
    "fanfare does not make HLS, DASH or HDS: keep SRS for it, and let it ingest the stream from fanfare";
const RTC: &str = "fanfare does not speak WebRTC: let SRS receive it and forward RTMP to fanfare";
const SRT: &str = "fanfare does not speak SRT: let SRS receive it and forward RTMP to fanfare";
const CASTER: &str = "fanfare receives RTMP alone: let SRS receive this and forward RTMP to fanfare";
const PROCESS: &str =
    "of SRS's process and its log: fanfare logs to standard error, and its systemd unit has what is needed";
const WITH_ITS_BLOCK: &str = "its block is carried over";

const HOOKS: [(&str, &str); 6] = [
    ("on_connect", "hooks.on_connect"),
    ("on_close", "hooks.on_close"),
    ("on_publish", "hooks.on_publish"),
    ("on_unpublish", "hooks.on_unpublish"),
    ("on_play", "hooks.on_play"),
    ("on_stop", "hooks.on_stop"),
];

/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn read(file: &str, text: &str, files: &Files, draft: &mut Draft) -> Result<(), String> {
    let found = blocks::parse(file, base_name(file), text, Grammar::Srs)?;
    let found = blocks::include(found, Grammar::Srs, files, draft, 0);
    // The one that serves clients of any host, or else the first.
    let hosts = || found.iter().filter(|it| it.name == "vhost" && is_enabled_unless_off(it));
    let main = hosts().find(|it| it.argument(0) == "__defaultVhost__").or_else(|| hosts().next());
    // Addresses of streams come before those of the API: they may be the same.
    let is_api = |it: &&Directive| ["http_api", "exporter"].contains(&it.name.as_str());
    for directive in found.iter().filter(|it| !is_api(it)).chain(found.iter().filter(is_api)) {
        match directive.name.as_str() {
            "listen" => listen(directive, "listen.rtmp", draft),
            "rtmp" => block(directive, draft, &mut |it, draft| match it.name.as_str() {
                "listen" => listen(it, "listen.rtmp", draft),
                _ => other(it, draft),
            }),
            "rtmps" => encrypted(directive, "listen.rtmps", "1443", draft),
            "max_connections" => match directive.argument(0).parse() {
                Ok(count) => draft.set_number("limits.connections", count, directive.place()),
                Err(_) => draft.lose(directive.place(), "not a number"),
            },
            "srs_log_level" if found.iter().any(|it| it.name == "srs_log_level_v2") => {
                draft.same(directive.place(), "srs_log_level_v2 is in force");
            }
            "srs_log_level" | "srs_log_level_v2" => log_level(directive, draft),
            "http_server" | "http_stream" => http(directive, "listen.http", "8080", draft),
            "http_api" => http(directive, "api.listen", "1985", draft),
            "exporter" => exporter(directive, draft),
            "vhost" if main.is_some_and(|main| std::ptr::eq(main, directive)) => vhost(directive, draft),
            "vhost" if !is_enabled_unless_off(directive) => whole_same(directive, OFF, draft),
            _ => other(directive, draft),
        }
    }
    open_publishing(draft);
    draft.account_for(blocks::places(&found), blocks::lines(&found));
    Ok(())
}

/// SRS lets everyone publish what no rule refuses.
fn open_publishing(draft: &mut Draft) {
    let is_decided = draft.has("hooks.on_publish") && draft.rules.is_empty();
    let is_closed = draft.rules.iter().any(|rule| {
        rule.denies && rule.networks.is_empty() && rule.streams.is_empty() && rule.action != "play"
    });
    if !is_decided && !is_closed {
        draft.rule(Rule {
            name: "everyone".to_owned(),
            action: "publish",
            note: "SRS lets everyone publish. Without this rule, fanfare lets private networks do so.",
            ..Rule::default()
        });
    }
}

/// A block that is read line by line.
fn block(directive: &Directive, draft: &mut Draft, each: &mut dyn FnMut(&Directive, &mut Draft)) {
    draft.read(directive.place());
    for inner in directive.inner() {
        match inner.name.as_str() {
            "enabled" => draft.same(inner.place(), WITH_ITS_BLOCK),
            _ => each(inner, draft),
        }
    }
}

/// A block, or a line, with one remark for all of it.
fn whole(directive: &Directive, draft: &mut Draft) {
    if directive.block.is_some() {
        draft.read(directive.place());
        blocks::places(directive.inner()).into_iter().for_each(|place| draft.read(place));
    }
}

fn whole_same(directive: &Directive, why: &str, draft: &mut Draft) {
    whole(directive, draft);
    draft.same(directive.whole(), why);
}

fn listen(directive: &Directive, key: &'static str, draft: &mut Draft) {
    for argument in &directive.arguments {
        if argument.starts_with('$') {
            draft.lose(directive.place(), VARIABLE);
            continue;
        }
        let address =
            argument.parse::<u16>().map_or_else(|_| argument.clone(), |port| format!("0.0.0.0:{port}"));
        let address = address.strip_prefix(':').map_or(address.clone(), |port| format!("0.0.0.0:{port}"));
        draft.listen(key, &address, directive.place());
    }
}

/// Of a block that names no address.
fn listen_default(block: &Directive, key: &'static str, port: &str, draft: &mut Draft) {
    if block.find("listen").is_none() {
        draft.listen(key, &format!("0.0.0.0:{port}"), block.place());
    }
}

/// `rtmps { enabled on; listen 1443; key …; cert …; }`, and the `https` blocks.
fn encrypted(directive: &Directive, key: &'static str, port: &str, draft: &mut Draft) {
    if !is_enabled(directive) {
        return whole_same(directive, OFF, draft);
    }
    listen_default(directive, key, port, draft);
    let file = |name: &str| directive.find(name).map_or("", |it| it.argument(0)).to_owned();
    let (certificate, secret) = (file("cert"), file("key"));
    block(directive, draft, &mut |it, draft| match it.name.as_str() {
        "listen" => listen(it, key, draft),
        "cert" | "key" => {
            let mut pair = toml::Table::new();
            pair.insert("certificate".to_owned(), certificate.as_str().into());
            pair.insert("key".to_owned(), secret.as_str().into());
            draft.add("tls.certificates", pair, it.place());
            if !it.argument(0).starts_with('/') {
                draft.lose(it.place(), "a path from SRS's working folder: write it from /");
            }
        }
        _ => other(it, draft),
    });
    if certificate.is_empty() || secret.is_empty() {
        draft.lose(directive.place(), "its `cert` and `key` are not there: set [tls] certificates");
    }
}

fn http(directive: &Directive, key: &'static str, port: &str, draft: &mut Draft) {
    if !is_enabled(directive) {
        return whole_same(directive, OFF, draft);
    }
    listen_default(directive, key, port, draft);
    block(directive, draft, &mut |it, draft| match it.name.as_str() {
        "listen" => listen(it, key, draft),
        "https" if key == "listen.http" => encrypted(it, "listen.https", "8088", draft),
        "https" if is_enabled(it) => {
            whole(it, draft);
            draft.lose(
                it.whole(),
                "the API is also on the addresses of [listen] https, and on none of its own over TLS",
            );
        }
        "crossdomain" if it.is_on() => {
            draft.same(it.place(), "pages of all sites may play, as by default: [http] allow_origins")
        }
        "crossdomain" => {
            let origins = if key == "api.listen" { "api.allow_origins" } else { "http.allow_origins" };
            draft.set(origins, toml::Value::Array(vec![]), it.place());
        }
        _ => other(it, draft),
    });
}

/// `/metrics` is where the API is.
fn exporter(directive: &Directive, draft: &mut Draft) {
    if !is_enabled(directive) {
        return whole_same(directive, OFF, draft);
    }
    listen_default(directive, "api.listen", "9972", draft);
    block(directive, draft, &mut |it, draft| match it.name.as_str() {
        "listen" => listen(it, "api.listen", draft),
        _ => draft.lose(it.place(), "metrics have no labels of their own: let Prometheus add them"),
    });
}

fn vhost(directive: &Directive, draft: &mut Draft) {
    if directive.argument(0) != "__defaultVhost__" {
        let why = "all hosts have one namespace: what is in this block is for all of them";
        draft.lose(directive.place(), why);
    }
    block(directive, draft, &mut |it, draft| match it.name.as_str() {
        "http_hooks" if is_enabled(it) => block(it, draft, &mut hook),
        "security" if is_enabled(it) => security(it, draft),
        "http_hooks" | "security" => whole_same(it, OFF, draft),
        "http_remux" if is_enabled(it) => block(it, draft, &mut http_remux),
        "play" => block(it, draft, &mut play),
        "publish" => block(it, draft, &mut publish),
        "publish_normal_timeout" => publish(it, draft),
        _ => play(it, draft),
    });
}

fn hook(directive: &Directive, draft: &mut Draft) {
    match HOOKS.iter().find(|(name, _)| *name == directive.name) {
        Some((_, key)) => {
            draft.set_default("hooks.dialect", "srs", "Requests and answers as SRS has them.");
            directive.arguments.iter().for_each(|url| _ = draft.add(key, url.as_str(), directive.place()));
        }
        None => other(directive, draft),
    }
}

/// First what is denied, then what is allowed; if there is a rule that allows, of whatever kind, all else is denied.
fn security(directive: &Directive, draft: &mut Draft) {
    let is_rule = |it: &&Directive| ["allow", "deny"].contains(&it.name.as_str());
    let rules: Vec<&Directive> = directive.inner().iter().filter(is_rule).collect();
    let has_allow = rules.iter().any(|it| it.name == "allow");
    block(directive, draft, &mut |it, draft| {
        if !is_rule(&it) {
            other(it, draft);
        }
    });
    for denies in [true, false] {
        for it in rules.iter().filter(|it| (it.name == "deny") == denies) {
            let action = match it.argument(0) {
                "publish" => "publish",
                "play" => "play",
                _ => {
                    draft.lose(
                        it.place(),
                        "not understood: `allow` or `deny`, `publish` or `play`, a network",
                    );
                    continue;
                }
            };
            match networks(it.argument(1)) {
                Some(networks) => {
                    draft.rule(Rule {
                        action,
                        networks,
                        denies,
                        places: vec![it.place()],
                        ..Rule::default()
                    });
                }
                None => draft.lose(it.place(), "not an address or a network"),
            }
        }
    }
    if has_allow || rules.is_empty() {
        let note = "SRS refuses what no `allow` lets in.";
        let places = vec![directive.place()];
        draft.rule(Rule { name: "no others".to_owned(), denies: true, places, note, ..Rule::default() });
    }
}

fn http_remux(directive: &Directive, draft: &mut Draft) {
    match (directive.name.as_str(), directive.argument(0)) {
        ("mount", path) if !path.ends_with("[app]/[stream].flv") => {
            draft.lose(
                directive.place(),
                "streams are at /app/name.flv, and in no other format: players need that address",
            );
        }
        _ => other(directive, draft),
    }
}

fn play(directive: &Directive, draft: &mut Draft) {
    let place = directive.place();
    let value = directive.argument(0);
    match directive.name.as_str() {
        "gop_cache" => draft.set("play.start", if directive.is_on() { "keyframe" } else { "live" }, place),
        "queue_length" => match value.parse() {
            Ok(seconds) => draft.set_duration("play.max_lag", Duration::from_secs(seconds), place),
            Err(_) => draft.lose(place, "not a number of seconds"),
        },
        "mw_latency" => match value.parse() {
            Ok(ms) => draft.set_duration("play.latency_budget", Duration::from_millis(ms), place),
            Err(_) => draft.lose(place, "not a number of milliseconds"),
        },
        _ => other(directive, draft),
    }
}

fn publish(directive: &Directive, draft: &mut Draft) {
    let milliseconds = directive.argument(0).parse().map(Duration::from_millis);
    match (directive.name.as_str(), milliseconds) {
        ("normal_timeout" | "publish_normal_timeout", Ok(time)) => {
            draft.set_duration("limits.publisher_timeout", time, directive.place())
        }
        ("normal_timeout" | "publish_normal_timeout", Err(_)) => {
            draft.lose(directive.place(), "not a number of milliseconds")
        }
        _ => other(directive, draft),
    }
}

fn other(directive: &Directive, draft: &mut Draft) {
    let name = directive.name.as_str();
    let is_off = match fate(KNOWN, name) {
        // Off unless they are turned on.
        Some(Fate::Lost(_)) if directive.block.is_some() && name != "vhost" => {
            let is_for_good = ["cluster", "transcode", "ingest"].contains(&name);
            !(is_enabled(directive) || is_for_good && directive.find("enabled").is_none())
        }
        _ => ["off", "0", "0.0"].contains(&directive.argument(0)),
    };
    whole(directive, draft);
    explain(KNOWN, name, is_off, directive.whole(), draft);
}

fn log_level(directive: &Directive, draft: &mut Draft) {
    // The second version of the option has other words for the same levels.
    let is_second = directive.name == "srs_log_level_v2";
    let level = match directive.argument(0).to_ascii_lowercase().as_str() {
        "verbose" => "trace",
        "trace" if is_second => "trace",
        "info" if is_second => "info",
        "info" | "debug" => "debug",
        "trace" => "info",
        "warn" => "warn",
        "error" => "error",
        _ => return draft.lose(directive.place(), "not a level"),
    };
    draft.set("log.level", level, directive.place());
}

/// Blocks are off by default.
fn is_enabled(block: &Directive) -> bool {
    block.find("enabled").is_some_and(Directive::is_on)
}

/// A vhost is on by default.
fn is_enabled_unless_off(block: &Directive) -> bool {
    block.find("enabled").is_none_or(Directive::is_on)
}
