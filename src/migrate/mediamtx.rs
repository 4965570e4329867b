//! MediaMTX, version 1.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::{
    draft::{Draft, From, Rule},
    nginx::{address_of, networks},
};

/// A value, and the line that its key is on.
struct Node {
    value: Value,
    line: usize,
}

enum Value {
    /// Nothing, or an empty text.
    None,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Options of parts that fanfare has not, by how they begin.
const PARTS: [(&str, &str); 13] = [
    ("rtsp", "fanfare does not speak RTSP: let MediaMTX receive it and push RTMP"),
    ("rtp", "fanfare does not speak RTSP"),
    ("rtcp", "fanfare does not speak RTSP"),
    ("multicast", "fanfare does not speak RTSP"),
    ("srtp", "fanfare does not speak RTSP"),
    ("srtcp", "fanfare does not speak RTSP"),
    ("udp", "fanfare receives no UDP"),
    ("hls", "fanfare does not make HLS"),
    ("webrtc", "fanfare does not speak WebRTC: let MediaMTX receive it and push RTMP"),
    ("srt", "fanfare does not speak SRT: let MediaMTX receive it and push RTMP"),
    ("moq", "fanfare does not speak MoQ"),
    ("pprof", "no option: /metrics"),
    ("playback", "fanfare does not record"),
];

/// Options of paths.
const OF_PATHS: [(&str, &str); 13] = [
    ("moq", "fanfare does not speak MoQ"),
    ("record", "fanfare does not record: run FFmpeg"),
    ("forward", "fanfare does not push: run FFmpeg"),
    ("source", "fanfare does not pull: run FFmpeg"),
    ("runOn", "fanfare starts no programs; hooks or /api/v1/events notify of streams"),
    ("alwaysAvailable", "players wait for their encoder: [publish] publisher_grace"),
    ("maxReaders", "limits are for the whole relay, and per address and network: [limits]"),
    ("fallback", "fanfare has no second stream to fall back on"),
    ("rtsp", "fanfare does not speak RTSP"),
    ("rpiCamera", "fanfare does not read cameras: run FFmpeg"),
    ("srt", "fanfare does not speak SRT"),
    ("whep", "fanfare does not speak WebRTC"),
    ("useAbsoluteTimestamp", "timestamps are corrected when an encoder's clock jumps"),
];

/// # Errors
/// The place and what is wrong, as one line.
pub(super) fn read(file: &str, text: &str, draft: &mut Draft) -> Result<(), String> {
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| format!("{file}:{}: {}", error.marker().line(), error.info()))?;
    let Some(document) = documents.first() else { return Ok(()) };
    let Value::Map(options) = node(document, 1).value else {
        return Err(format!("{file}:1: not a list of options with their values"));
    };
    let all = Options(&options);
    // Off, or a protocol that is not used: its other options say nothing.
    let is_off = |name: &str| all.text(name).is_some_and(|value| !is_yes(value));
    let rtmp_is_off = is_off("rtmp");
    for (name, node) in &options {
        let at = node.from(name);
        let text = node.text();
        match name.as_str() {
            "rtmp" | "rtmpEncryption" | "rtmpServerCert" | "paths" | "pathDefaults" | "authMethod" => {}
            "logLevel" => draft.set(
                "log.level",
                if text == "error" || text == "warn" || text == "debug" { text } else { "info" },
                at,
            ),
            "readTimeout" => duration(draft, "limits.publisher_timeout", text, at),
            "writeTimeout" => duration(draft, "play.send_timeout", text, at),
            "rtmpAddress" if rtmp_is_off || all.text("rtmpEncryption") == Some("strict") => {}
            "rtmpAddress" => address(draft, "listen.rtmp", text, at),
            "rtmpsAddress" if matches!(all.text("rtmpEncryption"), Some("optional" | "strict" | "yes")) => {
                address(draft, "listen.rtmps", text, at);
            }
            "rtmpsAddress" => {}
            "rtmpServerKey" if matches!(all.text("rtmpEncryption"), Some("optional" | "strict" | "yes")) => {
                let mut pair = toml::Table::new();
                pair.insert(
                    "certificate".to_owned(),
                    all.text("rtmpServerCert").unwrap_or("server.crt").into(),
                );
                pair.insert("key".to_owned(), text.into());
                draft.add("tls.certificates", pair, at);
            }
            "rtmpServerKey" => {}
            "rtmpTrustedProxies" => {
                for network in node.texts().into_iter().filter_map(|text| networks(&text)).flatten() {
                    draft.add("proxy.trusted", network, at.clone());
                }
            }
            "apiAddress" | "metricsAddress" => {
                let switch = name.trim_end_matches("Address");
                if all.text(switch).is_some_and(is_yes) {
                    address(draft, "api.listen", text, at);
                }
            }
            "apiAllowOrigins" if all.text("api").is_some_and(is_yes) => {
                node.texts()
                    .into_iter()
                    .for_each(|origin| draft.add("api.allow_origins", origin, at.clone()));
            }
            "authInternalUsers" | "authHTTPAddress" | "authJWTJWKS" | "authJWTIssuer" | "authJWTAudience" => {
            }
            "authHTTPExclude" | "authJWTExclude" => {
                let others = node.list().iter().filter_map(|it| it.get("action"));
                let why = "an action that is left out of this has to be allowed by a rule in [[access]]";
                if others.into_iter().any(|action| ["publish", "read"].contains(&action.text())) {
                    draft.leave(at, why);
                }
            }
            "authJWTClaimKey" if text == "mediamtx_permissions" => {}
            "writeQueueSize" => {
                draft.leave(at, "[play] max_lag and stream_buffer: a player that lags skips to a key frame")
            }
            "logDestinations" if node.texts() == ["stdout"] => {}
            "logFile" | "sysLogPrefix" => {}
            "logStructured" if !is_yes(text) => {}
            "logDestinations" | "logStructured" => {
                draft
                    .leave(at, "the log goes to standard error; [log] format = \"json\" makes it structured");
            }
            _ => part(draft, name, node),
        }
    }
    // MediaMTX listens on it without being told.
    if all.get("rtmpAddress").is_none() && !rtmp_is_off && all.text("rtmpEncryption") != Some("strict") {
        draft.set("listen.rtmp", toml::Value::Array(vec![1935.into()]), From::default());
    }
    authentication(&all, draft);
    paths(&all, draft);
    Ok(())
}

/// What lets in: users of the file, a web service, or tokens.
fn authentication(all: &Options<'_>, draft: &mut Draft) {
    match all.text("authMethod").unwrap_or("internal") {
        "http" => {
            draft.set("hooks.dialect", "mediamtx", From::default());
            let Some(node) = all.get("authHTTPAddress").filter(|node| !node.text().is_empty()) else {
                return;
            };
            for key in ["hooks.on_publish", "hooks.on_play"] {
                draft.add(key, node.text(), node.from("authHTTPAddress"));
            }
        }
        "jwt" => {
            let keys = [
                ("authJWTJWKS", "jwt.jwks_url"),
                ("authJWTIssuer", "jwt.issuer"),
                ("authJWTAudience", "jwt.audience"),
            ];
            for (name, key) in keys {
                if let Some(node) = all.get(name).filter(|node| !node.text().is_empty()) {
                    draft.set(key, node.text(), node.from(name));
                }
            }
            draft.rule(Rule { name: "tokens".to_owned(), jwt: true, ..Rule::default() });
        }
        _ => internal_users(all, draft),
    }
}

fn internal_users(all: &Options<'_>, draft: &mut Draft) {
    let Some(users) = all.get("authInternalUsers") else { return };
    let mut rules: Vec<Rule> = Vec::new();
    for user in users.list() {
        let text = |name: &str| user.get(name).map_or("", Node::text);
        let (name, password) = (text("user"), text("pass"));
        let from = From::new(user.line, format!("user: {name}"));
        if password.starts_with("sha256:")
            || password.starts_with("argon2:")
            || name.starts_with("sha256:")
            || name.starts_with("argon2:")
        {
            let why = "a digest cannot be carried over: fanfare needs the password, in [users] or in a file of its own";
            draft.leave(from, why);
            continue;
        }
        let is_anyone = name == "any" || name.is_empty();
        if !is_anyone {
            draft.user(name, password, from.clone());
        }
        let networks: Vec<String> = user
            .get("ips")
            .map(Node::texts)
            .unwrap_or_default()
            .iter()
            .filter_map(|it| networks(it))
            .flatten()
            .collect();
        for permission in user.get("permissions").map(Node::list).unwrap_or_default() {
            let action = match permission.get("action").map_or("", Node::text) {
                "publish" => "publish",
                "read" => "play",
                "api" | "metrics" if is_anyone => "api",
                "api" | "metrics" => {
                    draft.leave(from.clone(), "the API takes tokens: [api] token and read_token");
                    continue;
                }
                _ => continue,
            };
            let path = permission.get("path").map_or("", Node::text);
            let Some(streams) = pattern(path) else {
                draft.leave(
                    From::new(permission.line, format!("path: {path}")),
                    "not a name: fanfare's patterns have *, ? and {a,b}",
                );
                continue;
            };
            let users = if is_anyone { Vec::new() } else { vec![name.to_owned()] };
            // Several users of the same streams are one rule: the first that applies decides.
            let same = rules.iter_mut().find(|rule| {
                !rule.users.is_empty()
                    && !users.is_empty()
                    && rule.action == action
                    && rule.streams == streams
                    && rule.networks == networks
            });
            match same {
                Some(rule) => rule.users.extend(users),
                None => rules.push(Rule {
                    action,
                    streams,
                    networks: networks.clone(),
                    users,
                    from: from.clone(),
                    ..Rule::default()
                }),
            }
        }
    }
    // Whom a network lets in need not be a user; and what is said of one stream comes before what is said of all.
    rules.sort_by_key(|rule| {
        (rule.networks.is_empty(), rule.streams.is_empty() || rule.streams == "*", !rule.users.is_empty())
    });
    let is_open = |action: &str| {
        rules.iter().any(|it| {
            it.action == action && it.users.is_empty() && it.networks.is_empty() && it.streams.is_empty()
        })
    };
    let closed: Vec<&'static str> =
        ["publish", "play", "api"].into_iter().filter(|action| !is_open(action)).collect();
    rules.into_iter().for_each(|rule| draft.rule(rule));
    for action in closed.into_iter().filter(|action| *action != "api") {
        draft.rule(Rule { name: "no others".to_owned(), action, denies: true, ..Rule::default() });
    }
}

/// `~^live/.*$` is a regular expression; nothing is every path.
fn pattern(path: &str) -> Option<String> {
    let Some(expression) = path.strip_prefix('~') else { return Some(path.to_owned()) };
    let inner = expression.strip_prefix('^').unwrap_or(expression);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let prefix = inner.strip_suffix(".*").or(inner.strip_suffix(".+"))?;
    let is_plain = prefix.chars().all(|c| c.is_alphanumeric() || "/_-".contains(c));
    is_plain.then(|| format!("{prefix}*"))
}

fn paths(all: &Options<'_>, draft: &mut Draft) {
    let defaults = all.get("pathDefaults").map(|node| ("pathDefaults", node));
    let named = all.get("paths").map(Node::map).unwrap_or_default();
    for (path, node) in defaults.into_iter().chain(named.iter().map(|(name, node)| (name.as_str(), node))) {
        for (name, option) in node.map() {
            let at = From::new(option.line, format!("{path}: {name}: {}", option.text()));
            match name.as_str() {
                "overridePublisher" if path == "pathDefaults" || path == "all_others" => {
                    let policy = if is_yes(option.text()) { "takeover" } else { "reject" };
                    draft.set("publish.on_second_publisher", policy, at);
                }
                "source" if ["publisher", ""].contains(&option.text()) => {}
                _ if is_default(option) => {}
                _ => match OF_PATHS.iter().find(|(begin, _)| name.starts_with(begin)) {
                    // What says how is of no interest where it is not done.
                    Some((begin, why))
                        if name == begin
                            || name.starts_with("runOn")
                                && !name.ends_with("Timeout")
                                && !name.ends_with("After") =>
                    {
                        draft.leave(at, *why);
                    }
                    Some(_) => {}
                    None => draft.leave(at, "fanfare has nothing like it"),
                },
            }
        }
        if !["pathDefaults", "all", "all_others"].contains(&path) {
            draft.leave(
                From::new(node.line, format!("{path}:")),
                "names need not be listed: any can be published, if [[access]] allows it",
            );
        }
    }
}

/// An option that only says what fanfare does as well: nothing of the kind.
fn is_default(option: &Node) -> bool {
    match &option.value {
        Value::None => true,
        Value::Text(text) => ["no", "false", "0", "automatic"].contains(&text.as_str()),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
    }
}

fn part(draft: &mut Draft, name: &str, node: &Node) {
    let at = node.from(name);
    if name.starts_with("runOn") && !is_default(node) {
        return draft.leave(at, "fanfare starts no programs; hooks or /api/v1/events notify of clients");
    }
    let Some((begin, why)) = PARTS.iter().find(|(begin, _)| name.starts_with(begin)) else {
        if name.starts_with("api") || name.starts_with("metrics") || is_default(node) {
            return;
        }
        return draft.leave(at, "fanfare has nothing like it");
    };
    // One line for each part, and only where it is used.
    if name == *begin && is_yes(node.text()) {
        draft.leave(at, *why);
    }
}

fn duration(draft: &mut Draft, key: &'static str, text: &str, at: From) {
    match humantime::parse_duration(text) {
        Ok(duration) => draft.set_duration(key, duration, at),
        Err(_) => draft.leave(at, "not a time"),
    }
}

fn address(draft: &mut Draft, key: &'static str, text: &str, at: From) {
    // Of both families, as in fanfare.
    let everywhere =
        text.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).map(|port| i64::from(port).into());
    match everywhere.or_else(|| address_of(text)) {
        Some(address) => draft.add(key, address, at),
        None => draft.leave(at, "not an address with a port"),
    }
}

fn is_yes(text: &str) -> bool {
    ["yes", "true"].contains(&text)
}

struct Options<'a>(&'a [(String, Node)]);

impl<'a> Options<'a> {
    fn get(&self, name: &str) -> Option<&'a Node> {
        self.0.iter().find_map(|(key, node)| (key == name).then_some(node))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).map(Node::text)
    }
}

impl Node {
    fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            Value::None | Value::List(_) | Value::Map(_) => "",
        }
    }

    fn list(&self) -> &[Node] {
        match &self.value {
            Value::List(list) => list,
            Value::None | Value::Text(_) | Value::Map(_) => &[],
        }
    }

    fn texts(&self) -> Vec<String> {
        self.list().iter().map(|node| node.text().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    fn map(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(map) => map,
            Value::None | Value::Text(_) | Value::List(_) => &[],
        }
    }

    fn get(&self, name: &str) -> Option<&Node> {
        Options(self.map()).get(name)
    }

    fn from(&self, name: &str) -> From {
        let text = match &self.value {
            Value::List(_) => format!("[{}]", self.texts().join(", ")),
            Value::None | Value::Text(_) | Value::Map(_) => self.text().to_owned(),
        };
        From::new(self.line, format!("{name}: {text}").trim_end().to_owned())
    }
}

/// The line of a mapping's entry is that of its key.
fn node(yaml: &MarkedYaml<'_>, line: usize) -> Node {
    let of = |yaml: &MarkedYaml<'_>| node(yaml, yaml.span.start.line());
    let value = match &yaml.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::None,
            Scalar::Boolean(value) => Value::Text(value.to_string()),
            Scalar::Integer(value) => Value::Text(value.to_string()),
            Scalar::FloatingPoint(value) => Value::Text(value.to_string()),
            Scalar::String(text) if text.is_empty() => Value::None,
            Scalar::String(text) => Value::Text(text.to_string()),
        },
        YamlData::Representation(text, ..) => Value::Text(text.to_string()),
        YamlData::Sequence(list) => Value::List(list.iter().map(of).collect()),
        YamlData::Mapping(map) => {
            let entry = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| {
                let line = key.span.start.line();
                (node(key, line).text().to_owned(), node(value, line))
            };
            Value::Map(map.iter().map(entry).collect())
        }
        YamlData::Tagged(_, inner) => return node(inner, line),
        YamlData::Alias(_) | YamlData::BadValue => Value::None,
    };
    Node { value, line }
}
