//! The options of MediaMTX: what becomes of each, those of a file, and variables of the environment that override them.

use std::{collections::HashMap, rc::Rc};

use super::{
    draft::{Draft, Place},
    files::base_name,
    known::{EXEC, Known, NOT_READ_VARIABLE, PULL, PUSH, RECORD, carried, lost, part, same},
    yaml::{self, Node, Value},
};

/// Options of the file.
pub(super) const KNOWN: &[Known] = &[
    carried("logLevel", &["log.level"]),
    carried("logStructured", &["log.format"]),
    carried("readTimeout", &["limits.publisher_timeout"]),
    carried("writeTimeout", &["play.send_timeout"]),
    carried("rtmp", &["listen.rtmp"]),
    carried("rtmpDisable", &["listen.rtmp"]),
    carried("rtmpAddress", &["listen.rtmp"]),
    carried("rtmpEncryption", &["listen.rtmp", "listen.rtmps"]),
    carried("rtmpsAddress", &["listen.rtmps"]),
    carried("rtmpServerKey", &["tls.certificates"]),
    carried("rtmpServerCert", &["tls.certificates"]),
    carried("rtmpTrustedProxies", &["proxy.trusted", "proxy.listeners"]),
    carried("api", &["api.listen"]),
    carried("apiAddress", &["api.listen"]),
    carried("apiAllowOrigin", &["api.allow_origins"]),
    carried("apiAllowOrigins", &["api.allow_origins"]),
    carried("apiTrustedProxies", &["proxy.trusted"]),
    carried("metrics", &["api.listen"]),
    carried("metricsAddress", &["api.listen"]),
    carried("metricsTrustedProxies", &["proxy.trusted"]),
    carried("authMethod", &["access"]),
    carried("authInternalUsers", &["users", "access"]),
    carried("authHTTPAddress", &["hooks.on_publish", "hooks.on_play"]),
    carried("externalAuthenticationURL", &["hooks.on_publish", "hooks.on_play"]),
    carried("authHTTPExclude", &["access"]),
    carried("authJWTJWKS", &["jwt.jwks_url"]),
    carried("authJWTIssuer", &["jwt.issuer"]),
    carried("authJWTAudience", &["jwt.audience"]),
    carried("authJWTExclude", &["access"]),
    carried("pathDefaults", &["publish.on_second_publisher", "access"]),
    carried("paths", &["access"]),
    same("authJWTClaimKey", "tokens with mediamtx_permissions are read"),
    same("authJWTInHTTPQuery", "a token may be in the query: ?jwt=…"),
    same("logDestinations", "the log goes to standard error, for the journal: [log]"),
    same("logFile", "the log goes to standard error, for the journal: [log]"),
    same("sysLogPrefix", "the log goes to standard error, for the journal: [log]"),
    same("writeQueueSize", "a player that lags skips to the newest key frame: [play] max_lag, stream_buffer"),
    same(
        "readBufferCount",
        "a player that lags skips to the newest key frame: [play] max_lag, stream_buffer",
    ),
    lost("authHTTPFingerprint", "a service's certificate is checked by its authority: [hooks] ca_file"),
    lost("authJWTJWKSFingerprint", "a service's certificate is checked by its authority"),
    lost("runOnConnect*", EXEC),
    lost("runOnDisconnect", EXEC),
    lost("dumpPackets", "fanfare writes no packets to disk"),
    lost("record*", RECORD),
    lost("apiEncryption", API_TLS),
    lost("metricsEncryption", API_TLS),
    part("apiServer*", API_TLS),
    part("metricsServer*", API_TLS),
    part("metricsAllowOrigin*", "[api] allow_origins is about the metrics as well"),
    part("pprof*", "fanfare has no profiler: /metrics has what each core does"),
    part("playback*", "fanfare does not record, and plays no recordings"),
    part("rtsp*", RTSP),
    part("rtp*", RTSP),
    part("rtcp*", RTSP),
    part("srtp*", RTSP),
    part("srtcp*", RTSP),
    part("multicast*", RTSP),
    part("protocols", RTSP),
    part("encryption", RTSP),
    part("serverKey", RTSP),
    part("serverCert", RTSP),
    part("authMethods", RTSP),
    part("udp*", "fanfare receives no UDP"),
    part(
        "hls*",
        "fanfare does not make HLS: let MediaMTX pull from fanfare (`source: rtmp://FANFARE/PATH`) and do so",
    ),
    part("webrtc*", "fanfare does not speak WebRTC: let MediaMTX receive it and push RTMP to fanfare"),
    part("srt*", "fanfare does not speak SRT: let MediaMTX receive it and push RTMP to fanfare"),
    part("moq*", "fanfare does not speak MoQ"),
];

/// Options of paths, and of `pathDefaults`.
pub(super) const OF_PATHS: &[Known] = &[
    carried("source", &["access"]),
    carried("overridePublisher", &["publish.on_second_publisher"]),
    carried("disablePublisherOverride", &["publish.on_second_publisher"]),
    carried("publishUser", &["users", "access"]),
    carried("publishPass", &["users", "access"]),
    carried("publishIPs", &["access"]),
    carried("readUser", &["users", "access"]),
    carried("readPass", &["users", "access"]),
    carried("readIPs", &["access"]),
    same("useAbsoluteTimestamp", "timestamps are corrected when an encoder's clock jumps"),
    lost("maxReaders", "limits are for the whole relay, and per address and network: [limits]"),
    lost("forward", PUSH),
    lost("fallback", "fanfare has no second stream to fall back on: players wait for their encoder"),
    lost(
        "alwaysAvailable*",
        "players wait for their encoder: [publish] publisher_grace, [play] wait_for_publisher",
    ),
    lost("record*", RECORD),
    lost("runOn*", EXEC),
    lost("sourceRedirect", "a hook may redirect players: docs/hooks.md"),
    part("playback", "fanfare does not record, and plays no recordings"),
    part("source*", PULL),
    part("rpiCamera*", "fanfare reads no cameras: run FFmpeg or rpicam-vid as a service"),
    part("rtsp*", RTSP),
    part("rtp*", RTSP),
    part("mpegts*", RTSP),
    part("srt*", "fanfare does not speak SRT: let MediaMTX receive it and push RTMP to fanfare"),
    part("whep*", "fanfare does not speak WebRTC: let MediaMTX receive it and push RTMP to fanfare"),
    part("moq*", "fanfare does not speak MoQ"),
];

const RTSP: &str = "fanfare does not speak RTSP: let MediaMTX receive it and push RTMP to fanfare";
const API_TLS: &str = "the API is over TLS where [listen] https has addresses, and on none of its own";

/// Names in variables of the environment; those of paths and users as well.
const NAMES: [&str; 46] = [
    "logLevel",
    "logStructured",
    "readTimeout",
    "writeTimeout",
    "rtmp",
    "rtmpDisable",
    "rtmpAddress",
    "rtmpEncryption",
    "rtmpsAddress",
    "rtmpServerKey",
    "rtmpServerCert",
    "rtmpTrustedProxies",
    "api",
    "apiAddress",
    "apiAllowOrigins",
    "metrics",
    "metricsAddress",
    "authMethod",
    "authInternalUsers",
    "authHTTPAddress",
    "authHTTPExclude",
    "authJWTJWKS",
    "authJWTIssuer",
    "authJWTAudience",
    "authJWTExclude",
    "authJWTClaimKey",
    "pathDefaults",
    "paths",
    "writeQueueSize",
    "logDestinations",
    "logFile",
    "hls",
    "rtsp",
    "webrtc",
    "srt",
    "moq",
    "runOnConnect",
    "runOnDisconnect",
    "pprof",
    "playback",
    "externalAuthenticationURL",
    "record",
    "hlsAddress",
    "rtspAddress",
    "webrtcAddress",
    "srtAddress",
];
/// Within users, and within paths.
const INNER_NAMES: [&str; 17] = [
    "user",
    "pass",
    "ips",
    "permissions",
    "action",
    "path",
    "source",
    "overridePublisher",
    "record",
    "publishUser",
    "publishPass",
    "publishIPs",
    "readUser",
    "readPass",
    "readIPs",
    "runOnReady",
    "runOnDemand",
];

/// The file's options, as the parts of this module see them.
pub(super) struct Options {
    root: Node,
    /// Where in it each option is.
    index: HashMap<String, usize>,
    pub file: Rc<str>,
}

impl Options {
    /// Those of a file, and of variables.
    ///
    /// # Errors
    /// The place and what is wrong, as one line.
    pub fn read(
        file: &str,
        text: &str,
        variables: &[(String, String)],
        draft: &mut Draft,
    ) -> Result<Self, String> {
        let (root, second) = yaml::parse(text).map_err(|(line, what)| format!("{file}:{line}: {what}"))?;
        if !matches!(root.value, Value::Map(_) | Value::None) {
            return Err(format!("{file}:{}: not a map of options with their values", root.line));
        }
        let mut all = Self { root, index: HashMap::new(), file: base_name(file).into() };
        if all.root.value == Value::None {
            all.root.value = Value::Map(Vec::new());
        }
        variables.iter().for_each(|(name, text)| all.set(name, text, draft));
        all.index = all.root.map().iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        if let Some(line) = second {
            let place = Place { file: Rc::clone(&all.file), line, end: line, text: "---".to_owned() };
            draft.lose(place, "MediaMTX reads the first document of a file alone");
        }
        Ok(all)
    }

    /// Each option with its name.
    pub fn all(&self) -> &[(String, Node)] {
        self.root.map()
    }

    fn set(&mut self, name: &str, text: &str, draft: &mut Draft) {
        let Some(path) = name.strip_prefix("MTX_").or_else(|| name.strip_prefix("RTSP_")) else { return };
        let from: Rc<str> = format!("${name}").into();
        let first_is_known = NAMES.iter().any(|it| path.starts_with(&it.to_ascii_uppercase()));
        let is_inner =
            path.starts_with("PATHS_") || path.starts_with("PATHDEFAULTS_") || path.starts_with("AUTH");
        let is_set = first_is_known
            && if is_inner {
                self.root.set(path, text, &from, &[&NAMES[..], &INNER_NAMES[..]].concat())
            } else {
                self.root.set(path, text, &from, &NAMES)
            };
        if !is_set {
            draft.lose(Place::of_variable(name), NOT_READ_VARIABLE);
        }
    }

    /// An option.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.index.get(name).map(|at| &self.root.map()[*at].1)
    }

    /// Its text, if there is any.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(Node::text).filter(|text| !text.is_empty())
    }

    /// Where it is.
    pub fn place(&self, name: &str, node: &Node) -> Place {
        node.place(&self.file, name)
    }

    /// Whether an option is there and on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(Node::is_yes)
    }

    /// Whether the RTMP server is on.
    pub fn has_rtmp(&self) -> bool {
        self.get("rtmp").is_none_or(Node::is_yes) && !self.is_on("rtmpDisable")
    }

    /// `no`, `optional` or `strict`.
    pub fn encryption(&self) -> &'static str {
        match self.get("rtmpEncryption") {
            Some(node) if node.text().eq_ignore_ascii_case("strict") || node.is_yes() => "strict",
            Some(node) if node.text().eq_ignore_ascii_case("optional") => "optional",
            _ => "no",
        }
    }

    /// The lines that keys and values are on.
    pub fn lines(&self) -> Vec<(Rc<str>, usize)> {
        self.root.lines().into_iter().map(|line| (Rc::clone(&self.file), line)).collect()
    }

    /// The places of all options; those of paths one by one.
    pub fn places(&self) -> Vec<Place> {
        let mut all = Vec::new();
        for (name, node) in self.root.map() {
            let of = |path: &str, node: &Node| -> Vec<Place> {
                let options = node.map().iter();
                options.map(|(option, node)| self.place(&format!("{path}.{option}"), node)).collect()
            };
            match name.as_str() {
                "paths" => all.extend(node.map().iter().flat_map(|(path, node)| of(path, node))),
                "pathDefaults" => all.extend(of(name, node)),
                _ => all.push(self.place(name, node)),
            }
        }
        all
    }
}
