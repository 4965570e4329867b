//! MediaMTX, version 1: `mediamtx.yml`, and variables of the environment that override it.

use std::time::Duration;

use super::{
    draft::{Draft, Place},
    known::{Fate, OFF, PULL, explain, fate},
    mediamtx_access as access,
    mediamtx_options::{KNOWN, OF_PATHS, Options},
    nginx::network,
    yaml::{Node, Value},
};

/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn read(
    file: &str,
    text: &str,
    variables: &[(String, String)],
    draft: &mut Draft,
) -> Result<(), String> {
    let all = Options::read(file, text, variables, draft)?;
    listen(&all, draft);
    api(&all, draft);
    for (name, node) in all.all() {
        option(&all, name, node, draft);
    }
    paths(&all, draft);
    access::read(&all, draft);
    let note = "MediaMTX's default: a second publisher takes the first one's place.";
    draft.set_default("publish.on_second_publisher", "takeover", note);
    draft.account_for(all.places(), all.lines());
    Ok(())
}

/// Where it listens, and by default on port 1935.
fn listen(all: &Options, draft: &mut Draft) {
    if !all.has_rtmp() {
        let place =
            ["rtmp", "rtmpDisable"].iter().find_map(|name| all.get(name).map(|node| all.place(name, node)));
        let why = "fanfare is for RTMP, and listens for it in any case";
        place.into_iter().for_each(|place| draft.lose(place, why));
    }
    let is_plain = all.encryption() != "strict";
    let is_encrypted = all.encryption() != "no";
    let mut address = |name: &'static str, key: &'static str, default: &'static str| match all.get(name) {
        Some(node) if !node.text().is_empty() => _ = draft.listen(key, node.text(), all.place(name, node)),
        _ => {
            draft.set_default(
                key,
                toml::Value::Array(vec![default.parse::<i64>().unwrap_or_default().into()]),
                "MediaMTX's default.",
            );
        }
    };
    if is_plain {
        address("rtmpAddress", "listen.rtmp", "1935");
    }
    if !is_encrypted {
        return;
    }
    address("rtmpsAddress", "listen.rtmps", "1936");
    let file = |name: &str, default: &str| all.text(name).unwrap_or(default).to_owned();
    let (certificate, key) = (file("rtmpServerCert", "server.crt"), file("rtmpServerKey", "server.key"));
    let names = ["rtmpServerCert", "rtmpServerKey"].into_iter();
    let mut places: Vec<Place> =
        names.filter_map(|name| all.get(name).map(|it| all.place(name, it))).collect();
    if places.is_empty() {
        places.extend(all.get("rtmpEncryption").map(|node| all.place("rtmpEncryption", node)));
    }
    let mut pair = toml::Table::new();
    pair.insert("certificate".to_owned(), certificate.as_str().into());
    pair.insert("key".to_owned(), key.as_str().into());
    for place in &places {
        draft.add("tls.certificates", pair.clone(), place.clone());
    }
    if !certificate.starts_with('/') || !key.starts_with('/') {
        let why = "a path from MediaMTX's working folder: write it from /";
        places.into_iter().for_each(|place| draft.lose(place, why));
    }
    if !is_plain {
        let note = "There is always an address for RTMP: this one is of this machine alone, since encryption is strict.";
        draft.set_default("listen.rtmp", toml::Value::Array(vec!["127.0.0.1:1935".into()]), note);
    }
}

fn api(all: &Options, draft: &mut Draft) {
    for (switch, name, default) in [("api", "apiAddress", "9997"), ("metrics", "metricsAddress", "9998")] {
        if !all.is_on(switch) {
            continue;
        }
        let place = all.get(switch).map(|node| all.place(switch, node));
        match (all.get(name).filter(|node| !node.text().is_empty()), place) {
            (Some(node), _) => _ = draft.listen("api.listen", node.text(), all.place(name, node)),
            (None, Some(place)) => _ = draft.listen("api.listen", default, place),
            (None, None) => {}
        }
    }
}

/// Whether the part that an option is of is turned off; parts are on unless they are turned off.
fn is_of_off_part(all: &Options, name: &str) -> bool {
    const PARTS: [(&str, bool); 9] = [
        ("hls", true),
        ("webrtc", true),
        ("srt", true),
        ("moq", true),
        ("rtsp", true),
        ("pprof", false),
        ("playback", false),
        ("api", false),
        ("metrics", false),
    ];
    let of_rtsp = ["rtp", "rtcp", "srtp", "srtcp", "multicast"].iter().any(|begin| name.starts_with(begin));
    let part = PARTS.iter().find(|(part, _)| name.starts_with(part) && !of_rtsp);
    let (part, default) = part.copied().unwrap_or(("rtsp", true));
    let is_part = of_rtsp || name.starts_with(part);
    let is_on = all.get(part).map_or(default, Node::is_yes) && !all.is_on(&format!("{part}Disable"));
    is_part && !is_on
}

fn option(all: &Options, name: &str, node: &Node, draft: &mut Draft) {
    let place = all.place(name, node);
    let text = node.text();
    match name {
        // With others: see `listen`, `api`, `paths` and `access`.
        "paths" | "pathDefaults" | "authInternalUsers" => draft.read(place),
        "authMethod" => draft.same(place, "the rules at the end, or [hooks], do it"),
        "rtmp" if node.is_yes() => draft.same(place, "fanfare is for RTMP"),
        "rtmpDisable" if node.is_no() => draft.same(place, "fanfare is for RTMP"),
        "rtmp" | "rtmpDisable" => {}
        "rtmpAddress" if all.encryption() == "strict" => draft.same(place, "rtmpEncryption is strict"),
        "rtmpAddress" if text.is_empty() => draft.same(place, OFF),
        "rtmpAddress" => {}
        "rtmpEncryption" if all.encryption() == "no" => draft.same(place, OFF),
        "rtmpEncryption" => draft.same(place, "see the addresses in [listen]"),
        "rtmpsAddress" | "rtmpServerKey" | "rtmpServerCert" if all.encryption() == "no" => {
            draft.same(place, "rtmpEncryption is off");
        }
        "rtmpsAddress" | "rtmpServerKey" | "rtmpServerCert" => {
            if text.is_empty() {
                draft.same(place, OFF);
            }
        }
        "api" | "metrics" => {
            let why = if node.is_yes() {
                "it has its addresses in api.listen"
            } else {
                "off: fanfare has its API and metrics on port 8080, without addresses of clients unless a token is shown"
            };
            draft.same(place, why);
        }
        "apiAddress" | "metricsAddress" if !all.is_on(name.trim_end_matches("Address")) => {
            draft.same(place, OFF)
        }
        "apiAddress" | "metricsAddress" if text.is_empty() => draft.same(place, OFF),
        "apiAddress" | "metricsAddress" => {}
        "apiAllowOrigins" | "apiAllowOrigin" if all.is_on("api") => {
            let origins = node.texts();
            if origins.is_empty() {
                draft.same(place.clone(), OFF);
            }
            for origin in origins {
                draft.add("api.allow_origins", origin, place.clone());
            }
        }
        "rtmpTrustedProxies" | "apiTrustedProxies" | "metricsTrustedProxies" => {
            proxies(all, name, node, draft)
        }
        "logLevel" => match text {
            "error" | "warn" | "info" | "debug" => draft.set("log.level", text, place),
            _ => draft.lose(place, "not a level"),
        },
        "logStructured" if node.is_yes() => draft.set("log.format", "json", place),
        "logStructured" => draft.same(place, OFF),
        "readTimeout" => duration(draft, "limits.publisher_timeout", text, place),
        "writeTimeout" => duration(draft, "play.send_timeout", text, place),
        "authHTTPAddress"
        | "externalAuthenticationURL"
        | "authJWTJWKS"
        | "authJWTIssuer"
        | "authJWTAudience"
        | "authHTTPExclude"
        | "authJWTExclude" => {
            if !access::is_in_force(all, name) || node.is_no() {
                draft.same(place, OFF);
            }
        }
        "authJWTClaimKey" if text != "mediamtx_permissions" && access::method(all) == "jwt" => {
            draft.lose(
                place,
                "tokens have their permissions in mediamtx_permissions, or in action and streams",
            );
        }
        _ if is_of_off_part(all, name) => draft.same(place, "its part is off"),
        _ => match fate(KNOWN, name) {
            Some(Fate::Carried(_)) => draft.same(place, OFF),
            _ => explain(KNOWN, name, node.is_no() || text == "0", place, draft),
        },
    }
}

fn proxies(all: &Options, name: &str, node: &Node, draft: &mut Draft) {
    let place = all.place(name, node);
    let texts = node.texts();
    let part = name.trim_end_matches("TrustedProxies");
    if texts.is_empty() || part != "rtmp" && !all.is_on(part) {
        return draft.same(place, OFF);
    }
    let networks: Vec<ipnet::IpNet> = texts.iter().filter_map(|text| network(text)).collect();
    if networks.len() < texts.len() {
        draft.lose(place.clone(), "not all of them are addresses or networks");
    }
    for network in &networks {
        draft.add("proxy.trusted", network.to_string(), place.clone());
    }
    if part == "rtmp" {
        draft.lose(
            place,
            "fanfare expects the PROXY header of each connection to an address in [proxy] listeners, and of none elsewhere: add \
             the address that your proxies connect to",
        );
    }
}

fn paths(all: &Options, draft: &mut Draft) {
    let defaults = all.get("pathDefaults").map(|node| ("pathDefaults", node));
    let named = all.get("paths").map(Node::map).unwrap_or_default();
    for (path, node) in defaults.into_iter().chain(named.iter().map(|(name, node)| (name.as_str(), node))) {
        if let Value::Text(_) | Value::List(_) = node.value {
            draft.lose(all.place(path, node), "a path has options, and this is none");
        }
        for (name, option) in node.map() {
            let place = all.place(&format!("{path}.{name}"), option);
            match name.as_str() {
                "overridePublisher" | "disablePublisherOverride" => {
                    let is_override = option.is_yes() == (name == "overridePublisher");
                    let policy = if is_override { "takeover" } else { "reject" };
                    draft.set("publish.on_second_publisher", policy, place);
                }
                "publishUser" | "publishPass" | "publishIPs" | "readUser" | "readPass" | "readIPs" => {
                    if option.is_no() || all.text("authMethod").is_some_and(|method| method != "internal") {
                        draft.same(place, OFF);
                    }
                }
                "source" if ["publisher", ""].contains(&option.text()) => {
                    draft.same(place, "streams come from publishers");
                }
                "source" => {
                    let why = match option.text() {
                        "redirect" => "a hook may redirect players: docs/hooks.md",
                        "rpiCamera" => "fanfare reads no cameras: run FFmpeg or rpicam-vid as a service",
                        _ => PULL,
                    };
                    draft.lose(place, why);
                }
                name => {
                    let is_off = option.is_no() || ["0", "0s", "automatic"].contains(&option.text());
                    match fate(OF_PATHS, name) {
                        // How it is done does not matter where it is not done.
                        Some(Fate::Lost(_)) if !is_used(node, all, name) => draft.same(place, OFF),
                        Some(Fate::Part(_)) if path == "pathDefaults" && !name.starts_with("playback") => {
                            draft.same(place, "about sources and protocols that fanfare does not have");
                        }
                        _ => explain(OF_PATHS, name, is_off, place, draft),
                    }
                }
            }
        }
    }
}

/// Whether the feature of an option is in use: how long recordings are does not matter where none are made.
fn is_used(path: &Node, all: &Options, name: &str) -> bool {
    let value = |name: &str| path.get(name).or_else(|| all.get("pathDefaults").and_then(|it| it.get(name)));
    let is_done = |name: &str| value(name).is_some_and(|node| !node.is_no());
    if name.starts_with("record") {
        return is_done("record");
    }
    if name.starts_with("alwaysAvailable") {
        return is_done("alwaysAvailable");
    }
    if name.starts_with("runOn") {
        let event =
            name.trim_end_matches("Restart").trim_end_matches("StartTimeout").trim_end_matches("CloseAfter");
        return is_done(event);
    }
    true
}

fn duration(draft: &mut Draft, key: &'static str, text: &str, place: Place) {
    match time(text) {
        Some(duration) => draft.set_duration(key, duration, place),
        None => draft.lose(place, "not a time"),
    }
}

/// As Go writes it, with days: `1d`, `10s`, `1.5s`, `1m30s`, `500ms`.
fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut all = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_ends =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let seconds = match &rest[digits..unit_ends] {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        all = all.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[unit_ends..];
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, ms) in [
            ("10s", Some(10_000)),
            ("1.5s", Some(1_500)),
            ("1d", Some(86_400_000)),
            ("1m30s", Some(90_000)),
            ("200ms", Some(200)),
            ("", None),
            ("10", None),
            ("x", None),
            ("-1s", None),
            ("1y", None),
        ] {
            assert_eq!(time(text).map(|it| it.as_millis()), ms, "{text}");
        }
    }
}
