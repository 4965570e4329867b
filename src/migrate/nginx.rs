//! nginx with nginx-rtmp-module: the `rtmp` block, and what in the `http` block serves it.

use std::time::Duration;

use super::{
    blocks::{self, Directive},
    draft::{Draft, From, Rule},
};

/// What concerns notifications, by the names in nginx-rtmp and here.
const HOOKS: [(&str, &str); 8] = [
    ("on_connect", "hooks.on_connect"),
    ("on_publish", "hooks.on_publish"),
    ("on_play", "hooks.on_play"),
    ("on_publish_done", "hooks.on_unpublish"),
    ("on_play_done", "hooks.on_stop"),
    ("on_done", "hooks.on_unpublish"),
    ("on_disconnect", "hooks.on_close"),
    ("on_update", "hooks.on_update"),
];

/// Directives that need nothing here, or that fanfare always or never does, with what it does.
const ALWAYS: [(&str, &str); 19] = [
    ("live", "every name can be published"),
    ("wait_key", "players start at a key frame: [play] start"),
    ("publish_notify", "players are notified of a publisher that comes and goes"),
    ("interleave", "audio and video are always interleaved"),
    ("sync", "timestamps are corrected when an encoder's clock jumps"),
    ("meta", "metadata is passed through"),
    ("chunk_size", "65,536 bytes to players, any size from encoders"),
    ("ack_window", "fixed"),
    ("max_streams", "fixed"),
    ("out_queue", "merging adapts to the load: [play] merge_window, latency_budget"),
    ("out_cork", "merging adapts to the load: [play] merge_window, latency_budget"),
    ("busy", "a slow player skips to the newest key frame: [play] max_lag"),
    ("session_relay", "a connection may publish and play several streams"),
    ("play_restart", "players stay connected while an encoder restarts: [publish] publisher_grace"),
    ("wait_video", "audio and video start at a key frame"),
    ("rtmp_auto_push", "one stream is served by all cores"),
    ("rtmp_auto_push_reconnect", "one stream is served by all cores"),
    ("rtmp_socket_dir", "one stream is served by all cores"),
    ("publish_time_fix", "timestamps are corrected when an encoder's clock jumps"),
];

/// What fanfare does not do, by how the directive begins.
const NEVER: [(&str, &str); 14] = [
    ("push", "fanfare does not push: run FFmpeg, or let the other server pull"),
    ("pull", "fanfare does not pull: run FFmpeg"),
    ("relay_buffer", "fanfare does not push or pull"),
    ("record", "fanfare does not record: run FFmpeg"),
    ("recorder", "fanfare does not record: run FFmpeg"),
    ("hls", "fanfare does not make HLS"),
    ("dash", "fanfare does not make DASH"),
    ("exec", "fanfare starts no programs; hooks or /api/v1/events notify of streams"),
    ("respawn", "fanfare starts no programs"),
    ("play", "fanfare plays no files"),
    ("play_temp_path", "fanfare plays no files"),
    ("play_local_path", "fanfare plays no files"),
    ("rtmp_control", "the API ends publishers and players"),
    ("limit", "limits are in [limits]"),
];

/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn read(file: &str, text: &str, draft: &mut Draft) -> Result<(), String> {
    let directives = blocks::parse(text).map_err(|(line, what)| format!("{file}:{line}: {what}"))?;
    for directive in &directives {
        let from = from(directive);
        match directive.name.as_str() {
            "rtmp" => rtmp(directive.inner(), draft),
            "http" => http(directive.inner(), draft),
            "worker_processes" => match directive.argument(0).parse() {
                Ok(count) => draft.set_number("cores", count, from),
                Err(_) => draft.set_number("cores", 0, from),
            },
            "error_log" => log_level(directive, draft),
            "include" => draft.leave(from, "the included file is not read: migrate it as well"),
            "load_module" | "user" | "pid" | "daemon" | "events" | "worker_rlimit_nofile" => {
                draft.leave(from, "of nginx's process; fanfare needs nothing like it");
            }
            name if name.starts_with("rtmp_auto_push") => always_or_never(directive, draft),
            _ => draft.leave(from, "not of nginx-rtmp"),
        }
    }
    Ok(())
}

fn rtmp(directives: &[Directive], draft: &mut Draft) {
    for directive in directives {
        match directive.name.as_str() {
            "server" => server(directive.inner(), draft),
            _ => common(directive, draft, ""),
        }
    }
}

fn server(directives: &[Directive], draft: &mut Draft) {
    let is_application = |it: &&Directive| it.name == "application";
    for directive in directives.iter().filter(|it| !is_application(it)) {
        match directive.name.as_str() {
            "listen" => listen(directive, draft),
            _ => common(directive, draft, ""),
        }
    }
    let applications: Vec<&Directive> = directives.iter().filter(is_application).collect();
    if applications.is_empty() {
        return;
    }
    let hooked: Vec<&str> =
        HOOKS.iter().map(|(name, _)| *name).filter(|name| ["on_publish", "on_play"].contains(name)).collect();
    let asks =
        |application: &Directive| application.inner().iter().any(|it| hooked.contains(&it.name.as_str()));
    let some_ask = applications.iter().any(|it| asks(it));
    for application in &applications {
        let name = application.argument(0);
        let streams = format!("{name}/*");
        let mut is_live = false;
        for directive in application.inner() {
            match directive.name.as_str() {
                "live" => is_live = directive.is_on(),
                "allow" | "deny" => access(directive, &streams, draft),
                _ => common(directive, draft, name),
            }
        }
        if is_live {
            let is_not_asked = some_ask && !asks(application);
            let name = format!("application {name}");
            draft.rule(Rule { name, streams, is_not_asked, from: from(application), ..Rule::default() });
        } else {
            draft.leave(
                from(application),
                "without `live on` it serves no live streams; fanfare refuses its names",
            );
        }
    }
    draft.rule(Rule { name: "no other application".to_owned(), denies: true, ..Rule::default() });
}

/// `allow publish 10.0.0.0/8`, `deny all`.
fn access(directive: &Directive, streams: &str, draft: &mut Draft) {
    let (action, network) = match directive.arguments.as_slice() {
        [network] => ("", network.as_str()),
        [action, network] if action == "publish" => ("publish", network.as_str()),
        [action, network] if action == "play" => ("play", network.as_str()),
        _ => return draft.leave(from(directive), "not understood"),
    };
    let Some(networks) = networks(network) else {
        return draft.leave(from(directive), "not a network: a host name, or a socket");
    };
    let (streams, denies) = (streams.to_owned(), directive.name == "deny");
    draft.rule(Rule { action, streams, networks, denies, from: from(directive), ..Rule::default() });
}

/// `all` is no network; an address alone is one of a single host.
pub(super) fn networks(text: &str) -> Option<Vec<String>> {
    if text == "all" {
        return Some(Vec::new());
    }
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(vec![format!("{address}/{bits}")]);
    }
    text.parse::<ipnet::IpNet>().ok().map(|network| vec![network.to_string()])
}

fn listen(directive: &Directive, draft: &mut Draft) {
    let address = directive.argument(0);
    let Some(listen) = address_of(address) else {
        return draft.leave(from(directive), "not an address with a port");
    };
    draft.add("listen.rtmp", listen.clone(), from(directive));
    for option in directive.arguments.iter().skip(1) {
        match option.as_str() {
            "proxy_protocol" => {
                draft.add("proxy.listeners", listen.clone(), from(directive));
                draft.add("proxy.trusted", "127.0.0.0/8", from(directive));
                let why = "proxy.trusted has this machine alone: add the networks of your proxies";
                draft.leave(from(directive), why);
            }
            _ => {
                draft.leave(from(directive), format!("`{option}`: fanfare sets its sockets' options itself"))
            }
        }
    }
}

/// As fanfare writes it. A port alone is one of all IPv4 addresses.
pub(super) fn address_of(text: &str) -> Option<toml::Value> {
    let port = text.strip_prefix("*:").unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Some(format!("0.0.0.0:{port}").into());
    }
    text.parse::<std::net::SocketAddr>().ok().map(|address| address.to_string().into())
}

/// What may be in `rtmp`, in `server` and in an application alike.
fn common(directive: &Directive, draft: &mut Draft, application: &str) {
    let from = from(directive);
    let name = directive.name.as_str();
    if let Some((_, key)) = HOOKS.iter().find(|(hook, _)| *hook == name) {
        return hook(directive, key, draft);
    }
    let value = directive.argument(0);
    let duration = |key| (key, duration(value));
    let set = match name {
        "timeout" => duration("play.send_timeout"),
        "ping" => duration("play.ping_interval"),
        "drop_idle_publisher" => duration("limits.publisher_timeout"),
        "buflen" => duration("play.max_lag"),
        "notify_update_timeout" => duration("hooks.update_interval"),
        "max_connections" => {
            return match value.parse() {
                Ok(count) if application.is_empty() => draft.set_number("limits.connections", count, from),
                _ => {
                    draft.leave(from, "limits are for the whole relay, and per address and network: [limits]")
                }
            };
        }
        "max_message" => {
            return match size(value) {
                Some(bytes) => draft.set_size("limits.video_message", bytes, from),
                None => draft.leave(from, "not a size"),
            };
        }
        "notify_method" => return draft.set("hooks.notify_method", value.to_lowercase(), from),
        "notify_relay_redirect" | "notify_update_strict" => {
            return draft.leave(
                from,
                "a redirect is passed on to the client; an update that is answered with 3xx ends nothing",
            );
        }
        "idle_streams" if value == "off" => return draft.set("play.wait_for_publisher", "0s", from),
        "idle_streams" => return,
        "ping_timeout" => return draft.leave(from, "a client that answers no ping is found by TCP"),
        "access_log" | "log_format" => {
            return draft.leave(from, "one log line per event on standard error: [log]; /api/v1/events");
        }
        "allow" | "deny" => return access(directive, "*", draft),
        _ => return always_or_never(directive, draft),
    };
    match set {
        (key, Some(duration)) => draft.set_duration(key, duration, from),
        (_, None) => draft.leave(from, "not a time"),
    }
}

fn hook(directive: &Directive, key: &'static str, draft: &mut Draft) {
    draft.set("hooks.dialect", "nginx-rtmp", From::default());
    let url = directive.argument(0);
    if directive.name == "on_done" {
        draft.add("hooks.on_stop", url, from(directive));
    }
    let is_new = !url.is_empty() && (url.starts_with("http://") || url.starts_with("https://"));
    match is_new {
        true => draft.add(key, url, from(directive)),
        false => draft.leave(from(directive), "not an address that begins with http://"),
    }
}

fn always_or_never(directive: &Directive, draft: &mut Draft) {
    let name = directive.name.as_str();
    let always = ALWAYS.iter().find(|(always, _)| *always == name);
    let never = NEVER.iter().find(|(begin, _)| name == *begin || name.starts_with(&format!("{begin}_")));
    let why = match (always, never) {
        // Off, where fanfare does nothing of the kind either.
        (None, Some(_)) if directive.argument(0) == "off" => return,
        (Some((_, what)), _) => format!("no option: {what}"),
        (None, Some((_, why))) => (*why).to_owned(),
        (None, None) => "fanfare has nothing like it".to_owned(),
    };
    draft.leave(from(directive), why);
    for inner in directive.inner() {
        draft.leave(from_inner(directive, inner), "see the line of its block");
    }
}

fn http(directives: &[Directive], draft: &mut Draft) {
    for directive in directives {
        let from = from(directive);
        match directive.name.as_str() {
            "server" | "location" => http(directive.inner(), draft),
            "listen" => {
                draft.leave(from, "fanfare serves its page, API and HTTP-FLV on [listen] http, 8080; nginx may stay in front of it");
            }
            "rtmp_stat" | "rtmp_stat_stylesheet" => {
                draft.leave(from, "/api/v1/streams, /metrics and the page show streams and clients");
            }
            "rtmp_control" => draft.leave(from, "DELETE /api/v1/publishers/{id} and /api/v1/players/{id}"),
            "flv_live" => draft.leave(from, "always: /app/name.flv"),
            _ => draft.leave(from, "of nginx's web server"),
        }
    }
}

fn log_level(directive: &Directive, draft: &mut Draft) {
    let level = match directive.argument(1) {
        "debug" => "debug",
        "info" | "notice" => "info",
        "warn" => "warn",
        "error" | "crit" | "alert" | "emerg" | "" => "error",
        _ => return draft.leave(from(directive), "not a level"),
    };
    draft.set("log.level", level, from(directive));
    draft.leave(from(directive), "the log goes to standard error, for the journal or a file of the service");
}

/// `10s`, `1m`, `500ms`, `1h`; a number alone is seconds.
fn duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// `1M`, `512k`, `1g`; a number alone is bytes.
fn size(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().last()?.to_ascii_lowercase() {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn from(directive: &Directive) -> From {
    From::new(directive.line, directive.text())
}

fn from_inner(outer: &Directive, inner: &Directive) -> From {
    From::new(inner.line, format!("{} {{ {} }}", outer.text(), inner.text()))
}
