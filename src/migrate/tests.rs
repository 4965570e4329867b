//! Configurations of other servers, and what becomes of them.

mod rules;

use super::{known::Fate, *};

fn migrated(origin: Origin, text: &str) -> String {
    migrate("f.conf", text, Some(origin), &[]).unwrap_or_else(|error| panic!("{error}\n{text}")).toml
}

fn config(origin: Origin, text: &str) -> Config {
    Config::from_toml("fanfare.toml", &migrated(origin, text)).unwrap()
}

#[test]
fn it_is_recognized_whose_a_file_is() {
    for (file, text, origin) in [
        ("nginx.conf", "rtmp {\n}", Some(Origin::NginxRtmp)),
        ("srs.conf", "listen 1935;\nvhost __defaultVhost__ {\n}", Some(Origin::Srs)),
        ("mediamtx.yml", "", Some(Origin::Mediamtx)),
        ("x", "paths:\n  all:\n", Some(Origin::Mediamtx)),
        ("x", "something", None),
    ] {
        assert_eq!(Origin::of(file, text), origin, "{file}");
    }
    let error = migrate("x", "something", None, &[]).unwrap_err();
    assert!(error.starts_with("x: not recognized"), "{error}");
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_line() {
    let error = |origin, text| migrate("f", text, Some(origin), &[]).unwrap_err();
    assert_eq!(error(Origin::NginxRtmp, "rtmp {\n server {\n"), "f:2: a `{` without its `}`");
    assert_eq!(error(Origin::Srs, "listen 1935"), "f:1: `listen` has no `;`");
    assert!(error(Origin::Mediamtx, "a: [1\nb: 2").starts_with("f:"));
    assert_eq!(error(Origin::Mediamtx, "- a"), "f:1: not a map of options with their values");
}

/// What is not carried over, without its place and its reason.
fn left(toml: &str) -> Vec<String> {
    let (_, end) = toml.split_once("# Not carried over").unwrap_or_default();
    let end = end.split_once("# Needs no option").map_or(end, |(lost, _)| lost);
    let lines = end.lines().filter_map(|line| line.strip_prefix("#     f.conf:"));
    let text =
        |line: &str| line.split_once(": ").map_or("", |(_, text)| text).split(": ").next().map(str::to_owned);
    lines.filter_map(text).map(|text| text.trim_end_matches(':').to_owned()).collect()
}

const SERVER: &str = "rtmp { server { listen 1935; ";

fn nginx(inside: &str) -> Config {
    config(Origin::NginxRtmp, &format!("{SERVER}{inside} }} }}"))
}

/// Whether a peer may, by the rules alone.
fn may(config: &Config, action: crate::access::Action, name: &str, peer: &str) -> bool {
    use crate::access::{Access, Decision, KeyRing, Question, Rules, Verdict};
    let rules = Rules::new(config, KeyRing::new(), || 0).unwrap();
    let peer = (peer.parse::<std::net::IpAddr>().unwrap(), 9).into();
    let decision = rules.decide(&Question::new(action, name, peer, "rtmp"));
    !matches!(decision, Decision::Verdict(Verdict::Deny(_)))
}

#[test]
fn the_smallest_files_become_the_defaults() {
    let toml = migrated(Origin::NginxRtmp, "rtmp { server { listen 1935; application live { live on; } } }");
    assert!(
        left(&toml).is_empty() && toml.contains("# Every line is carried over, or needs no option."),
        "{toml}"
    );
    for (origin, text) in [(Origin::Srs, "listen 1935;"), (Origin::Mediamtx, "rtmpAddress: :1935\n")] {
        let config = config(origin, text);
        assert!(config.listen.rtmp.iter().all(|address| address.port() == 1935), "{origin:?}");
        assert_eq!(config.hooks, Config::default().hooks);
    }
}

#[test]
fn nginx_s_rules_decide_the_same() {
    use crate::access::Action::{Play, Publish};
    let config = nginx(
        "application live { live on; allow publish 10.0.0.0/8; allow publish 198.51.100.7; deny publish all; deny play 192.0.2.0/24; }
         application open { live on; } application vod { play /x; }",
    );
    for (action, name, peer, is_allowed) in [
        (Publish, "live/a", "10.1.2.3", true),
        (Publish, "live/a", "198.51.100.7", true),
        (Publish, "live/a", "198.51.100.8", false),
        (Publish, "live/a", "127.0.0.1", false),
        (Play, "live/a", "198.51.100.8", true),
        (Play, "live/a", "192.0.2.9", false),
        (Publish, "open/a", "198.51.100.8", true),
        (Publish, "vod/a", "10.1.2.3", false),
        (Play, "vod/a", "10.1.2.3", false),
        (Publish, "other/a", "127.0.0.1", false),
    ] {
        assert_eq!(may(&config, action, name, peer), is_allowed, "{action:?} {name} {peer}");
    }
}

#[test]
fn nginx_s_hooks_keep_their_terms_and_applications_without_them_are_not_asked_about() {
    let config = nginx(
        "on_connect http://a/c; notify_method get; application live { live on; on_publish http://a/p; on_play http://a/q;
         on_done http://a/d; on_update http://a/u; notify_update_timeout 10s; } application open { live on; }",
    );
    let hooks = &config.hooks;
    assert_eq!(hooks.dialect, crate::config::Dialect::NginxRtmp);
    assert_eq!(
        [&hooks.on_connect, &hooks.on_publish, &hooks.on_play].map(|list| list.join(" ")),
        ["http://a/c", "http://a/p", "http://a/q"]
    );
    assert_eq!(
        [&hooks.on_unpublish, &hooks.on_stop, &hooks.on_update].map(|list| list.join(" ")),
        ["http://a/d", "http://a/d", "http://a/u"]
    );
    assert_eq!(hooks.update_interval.as_secs(), 10);
    let asks: Vec<(&str, bool)> =
        config.access.iter().map(|rule| (rule.streams.as_str(), rule.ask)).collect();
    assert_eq!(asks, [("live/*", true), ("open/*", false), ("*", true)]);
}

#[test]
fn nginx_s_times_sizes_and_addresses_are_read_and_kept_in_range() {
    let config = nginx(
        "timeout 30s; ping 2m; max_message 8M; drop_idle_publisher 20; buflen 3s; max_connections 500;",
    );
    assert_eq!((config.play.send_timeout.as_secs(), config.play.ping_interval.as_secs()), (30, 120));
    assert_eq!((config.limits.video_message, config.limits.publisher_timeout.as_secs()), (8 << 20, 20));
    assert_eq!((config.play.max_lag.as_secs(), config.limits.connections), (3, 500));
    let toml = migrated(Origin::NginxRtmp, &format!("{SERVER} timeout 10h; ping x; }} }}"));
    assert!(toml.contains("send_timeout = \"10m\"") && left(&toml) == ["timeout 10h", "ping x"], "{toml}");
    let both = config_of("rtmp { server { listen 1935 so_keepalive=on; listen [::]:1936 proxy_protocol; } }");
    assert_eq!(both.listen.rtmp.len(), 2);
    assert_eq!(both.proxy.listeners, [both.listen.rtmp[1]]);
}

fn config_of(nginx: &str) -> Config {
    config(Origin::NginxRtmp, nginx)
}

#[test]
fn what_nginx_does_and_fanfare_does_not_is_named_line_by_line() {
    let text = "worker_processes 4;\nrtmp {\n server {\n  listen 1935;\n  application live {\n   live on;\n   push rtmp://b/live;\n   \
                pull rtmp://c/live;\n   record all;\n   record_path /var/rec;\n   hls on;\n   dash off;\n   exec x;\n   recorder r {\n    \
                record audio;\n   }\n   unheard_of 1;\n  }\n }\n}\nhttp {\n server {\n  listen 8080;\n  location /stat {\n   rtmp_stat all;\n  }\n }\n}\n";
    let toml = migrated(Origin::NginxRtmp, text);
    let expected = [
        "push rtmp",
        "pull rtmp",
        "record all",
        "record_path /var/rec",
        "recorder r { … }",
        "hls on",
        "exec x",
        "unheard_of 1",
        "listen 8080",
    ];
    assert_eq!(left(&toml).len(), expected.len(), "{toml}");
    for (line, begin) in left(&toml).iter().zip(expected) {
        assert!(line.starts_with(begin), "{line} is not {begin}");
    }
    assert!(toml.contains("fanfare-push@.service"), "{toml}");
    assert!(toml.contains("#     f.conf:7: push rtmp://b/live\n"), "{toml}");
    assert!(toml.contains("#     f.conf:14-16: recorder r { … }\n"), "{toml}");
    assert_eq!(config_of(text).cores, 4);
}

#[test]
fn srs_hooks_and_rules_decide_the_same() {
    use crate::access::Action::{Play, Publish};
    let text = "listen 1935; max_connections 1000; vhost __defaultVhost__ { http_hooks { enabled on; on_publish http://a/1 http://b/1; on_stop http://a/2; on_dvr http://a/3; } security { enabled on; deny publish 10.0.0.5; allow publish 10.0.0.0/8; allow play all; } }";
    let config = config(Origin::Srs, text);
    assert_eq!((config.hooks.dialect, config.limits.connections), (crate::config::Dialect::Srs, 1_000));
    assert_eq!(
        (&config.hooks.on_publish[..], config.hooks.on_stop.len()),
        (&["http://a/1".to_owned(), "http://b/1".to_owned()][..], 1)
    );
    assert_eq!(left(&migrated(Origin::Srs, text)), ["on_dvr http://a/3"]);
    for (action, peer, is_allowed) in [
        (Publish, "10.0.0.5", false),
        (Publish, "10.0.0.6", true),
        (Publish, "127.0.0.1", false),
        (Play, "192.0.2.1", true),
    ] {
        assert_eq!(may(&config, action, "live/a", peer), is_allowed, "{action:?} {peer}");
    }
    let only_deny =
        "listen 1935; vhost __defaultVhost__ { security { enabled on; deny play 192.0.2.0/24; } }";
    let config = Config::from_toml("f", &migrated(Origin::Srs, only_deny)).unwrap();
    assert!(may(&config, Play, "live/a", "198.51.100.1") && !may(&config, Play, "live/a", "192.0.2.1"));
}

#[test]
fn srs_ports_certificates_and_times_are_carried_over() {
    let text = "rtmp { listen 1935 1936; } rtmps { enabled on; listen 1443; key k.pem; cert c.pem; }
        http_server { enabled on; listen 8080; crossdomain off; https { enabled on; listen 8443; key k.pem; cert c.pem; } }
        http_api { enabled on; listen 1985; } srs_log_level warn;
        vhost __defaultVhost__ { play { gop_cache off; queue_length 10; mw_latency 350; } publish { normal_timeout 7000; }
        http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } tcp_nodelay on; hls { enabled off; } dvr { enabled on; } }";
    let config = config(Origin::Srs, text);
    let ports =
        |list: &[std::net::SocketAddr]| list.iter().map(std::net::SocketAddr::port).collect::<Vec<_>>();
    let listen = &config.listen;
    assert_eq!(
        [&listen.rtmp, &listen.rtmps, &listen.http, &listen.https].map(|list| ports(list)),
        [vec![1935, 1936], vec![1443], vec![8080], vec![8443]]
    );
    assert_eq!((ports(&config.api.listen), config.tls.certificates.len()), (vec![1985], 1));
    assert_eq!((config.play.max_lag.as_secs(), config.play.latency_budget.as_millis()), (10, 350));
    assert_eq!(
        (config.play.start, config.limits.publisher_timeout.as_secs()),
        (crate::stream::Start::Live, 7)
    );
    assert!(config.http.allow_origins.is_empty());
    assert_eq!(
        left(&migrated(Origin::Srs, text)),
        ["cert c.pem", "key k.pem", "cert c.pem", "key k.pem", "dvr { … }"]
    );
}

#[test]
fn of_several_hosts_of_srs_the_default_one_counts() {
    let text = "listen 1935; vhost a.example { security { enabled on; deny publish all; } } vhost __defaultVhost__ { play { gop_cache on; } } vhost off.example { enabled off; }";
    let toml = migrated(Origin::Srs, text);
    assert_eq!(left(&toml), ["vhost a.example { … }"]);
    assert!(may(&config(Origin::Srs, text), crate::access::Action::Publish, "live/a", "192.0.2.1"));
}

#[test]
fn mediamtx_users_decide_the_same() {
    use crate::access::Action::{Play, Publish};
    let text = "rtmpAddress: :1935
authInternalUsers:
  - user: any
    ips: ['10.0.0.0/8']
    permissions: [{action: publish}, {action: read, path: inside}]
  - user: camera
    pass: secret
    permissions: [{action: publish, path: '~^cam/.*$'}]
  - user: other
    pass: secret2
    permissions: [{action: publish, path: '~^cam/.*$'}, {action: api}]
  - user: hashed
    pass: sha256:abc
    permissions: [{action: publish}]
  - user: any
    permissions: [{action: read, path: outside}]
";
    let config = config(Origin::Mediamtx, text);
    for (action, name, peer, is_allowed) in [
        (Publish, "x", "10.1.2.3", true),
        (Publish, "x", "192.0.2.1", false),
        (Publish, "cam/1", "192.0.2.1", false),
        (Play, "inside", "10.1.2.3", true),
        (Play, "inside", "192.0.2.1", false),
        (Play, "outside", "192.0.2.1", true),
    ] {
        assert_eq!(may(&config, action, name, peer), is_allowed, "{action:?} {name} {peer}");
    }
    let of_cameras =
        config.access.iter().find(|rule| rule.streams == "cam/*" && rule.from.is_empty()).unwrap();
    assert_eq!(of_cameras.users, ["camera", "other"]);
    assert_eq!(config.users.len(), 2);
    assert_eq!(
        left(&migrated(Origin::Mediamtx, text)),
        ["user", "user"],
        "a digest, and an API by a password"
    );
}

#[test]
fn mediamtx_services_and_tokens_are_carried_over() {
    let http = config(Origin::Mediamtx, "authMethod: http\nauthHTTPAddress: http://auth/x\n");
    assert_eq!(
        (http.hooks.dialect, http.hooks.on_publish.len(), http.hooks.on_play.len()),
        (crate::config::Dialect::Mediamtx, 1, 1)
    );
    let jwt = config(Origin::Mediamtx, "authMethod: jwt\nauthJWTJWKS: https://a/jwks\nauthJWTIssuer: me\n");
    assert_eq!(
        (jwt.jwt.jwks_url.as_str(), jwt.jwt.issuer.as_str(), jwt.access[0].jwt),
        ("https://a/jwks", "me", true)
    );
}

#[test]
fn mediamtx_ports_times_and_paths_are_carried_over() {
    let text = "logLevel: debug
readTimeout: 20s
writeTimeout: 15s
api: yes
apiAddress: 127.0.0.1:9997
rtmpEncryption: \"optional\"
rtmpAddress: :1935
rtmpsAddress: :1936
rtmpServerKey: k.pem
rtmpServerCert: c.pem
rtmpTrustedProxies: ['10.0.0.0/8']
rtsp: no
hls: yes
hlsAddress: :8888
pathDefaults:
  overridePublisher: no
  record: yes
paths:
  cam:
    source: rtsp://camera/1
    runOnReady: x
  all_others:
";
    let config = config(Origin::Mediamtx, text);
    assert_eq!(
        (config.listen.rtmp[0].port(), config.listen.rtmps[0].port(), config.api.listen[0].port()),
        (1935, 1936, 9997)
    );
    assert_eq!((config.limits.publisher_timeout.as_secs(), config.play.send_timeout.as_secs()), (20, 15));
    assert_eq!((config.tls.certificates.len(), config.proxy.trusted.len()), (1, 1));
    assert_eq!(config.publish.on_second_publisher, crate::config::SecondPublisher::Reject);
    let toml = migrated(Origin::Mediamtx, text);
    let expected = [
        "rtmpServerKey",
        "rtmpServerCert",
        "rtmpTrustedProxies",
        "pathDefaults.record",
        "cam.source",
        "cam.runOnReady",
        "cam",
        "hls",
        "hlsAddress",
    ];
    assert_eq!(left(&toml), expected, "{toml}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_fail_badly(text in "(rtmp|server|listen|application|live|allow|publish|vhost|paths|user|pass|any|:|[{};\n -]|[a-z0-9.:/]{1,8}){0,40}") {
        for origin in [Origin::NginxRtmp, Origin::Srs, Origin::Mediamtx] {
            match migrate("f", &text, Some(origin), &[]) {
                Ok(made) => proptest::prop_assert!(Config::from_toml("f", &made.toml).is_ok()),
                Err(error) => proptest::prop_assert!(has_line(&error), "{error}"),
            }
        }
    }
}

/// `f:7: what`.
fn has_line(error: &str) -> bool {
    let rest = error.strip_prefix("f:").and_then(|rest| rest.split_once(": "));
    rest.is_some_and(|(line, what)| line.parse::<usize>().is_ok_and(|line| line > 0) && !what.is_empty())
}

/// The options in the first column of a table of docs/migrating.md, each with the second column.
fn documented(section: &str) -> Vec<(String, String)> {
    let document = include_str!("../../docs/migrating.md");
    let (_, rest) = document.split_once(&format!("\n## {section}\n")).unwrap();
    let table = rest.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split_once(" | ").unwrap_or_else(|| panic!("{row}")));
    let each = |(names, what): (&str, &str)| -> Vec<(String, String)> {
        let names = names.split('`').skip(1).step_by(2);
        names.map(|name| (name.to_owned(), what.trim().to_owned())).collect()
    };
    cells.flat_map(each).collect()
}

/// Each option that is known here is in the document, with what becomes of it, and no others are.
#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    // Of the process and the web server around them: one sentence is about it.
    let mut wrong = Vec::new();
    let is_around = |why: &str| why.starts_with("of nginx") || why.starts_with("of SRS's process");
    for (section, tables) in [
        ("nginx-rtmp-module", &[nginx_known::KNOWN][..]),
        ("SRS", &[srs::KNOWN]),
        ("MediaMTX", &[mediamtx_options::KNOWN, mediamtx_options::OF_PATHS]),
    ] {
        let documented = documented(section);
        for known in tables.iter().copied().flatten() {
            let rows: Vec<&str> = documented
                .iter()
                .filter(|(name, _)| name == known.name)
                .map(|(_, what)| what.as_str())
                .collect();
            let is_none = |what: &&str| what.starts_with("none");
            let is_right = match known.fate {
                Fate::Same(why) if is_around(why) => continue,
                Fate::Same(_) => rows.iter().any(|what| !is_none(what)),
                Fate::Lost(_) | Fate::Part(_) => rows.iter().any(is_none),
                Fate::Carried(keys) => rows.iter().any(|what| {
                    keys.iter().all(|key| {
                        let (table, name) = key.split_once('.').unwrap_or((key, ""));
                        what.contains(&format!("[{table}]")) && what.contains(name)
                            || name.is_empty() && what.contains(key)
                    })
                }),
            };
            if !is_right {
                wrong.push(format!("{section}: {}: {rows:?}", known.name));
            }
        }
        for (name, _) in &documented {
            let is_known = tables.iter().copied().flatten().any(|known| known.name == name);
            if !is_known {
                wrong.push(format!("{section}: {name} is not known"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Options become what their table lists.
#[test]
fn options_that_are_carried_become_what_the_table_says() {
    let in_server =
        |line: &str| format!("rtmp {{ server {{ listen 1; application a {{ live on; }} {line} }} }}");
    let in_application = |line: &str| format!("rtmp {{ server {{ application a {{ live on; {line} }} }} }}");
    let in_vhost = |line: &str| format!("listen 1; vhost __defaultVhost__ {{ {line} }}");
    let on = |name: &str, inner: &str| format!("{name} {{ enabled on; listen 2; {inner} }}");
    for known in nginx_known::KNOWN.iter().chain(srs::KNOWN) {
        let Fate::Carried(keys) = known.fate else { continue };
        let is_srs = srs::KNOWN.iter().any(|it| std::ptr::eq(it, known));
        let name = known.name;
        let text = match (is_srs, name) {
            (false, "listen") => in_server("listen 2 proxy_protocol;"),
            (false, "application" | "live") => in_server(""),
            (false, "allow" | "deny") => in_application(&format!("{name} publish 192.0.2.1;")),
            (false, "worker_processes") => format!("worker_processes 2; {}", in_server("")),
            (false, "error_log") => format!("error_log x debug; {}", in_server("")),
            (false, "max_connections") => in_server("max_connections 7;"),
            (false, "max_message") => in_server("max_message 1M;"),
            (false, "idle_streams" | "gop_cache") => in_server(&format!("{name} off;")),
            (false, "notify_method") => in_server("notify_method get;"),
            (false, "on_connect" | "on_disconnect") => in_server(&format!("{name} http://a/;")),
            (false, name) if name.starts_with("on_") => in_application(&format!("{name} http://a/;")),
            (false, _) => in_server(&format!("{name} 3s;")),
            (true, "listen") => "listen 1;".to_owned(),
            (true, "rtmp") => "rtmp { listen 1; }".to_owned(),
            (true, "rtmps") => on(name, "key /k; cert /c;"),
            (true, "max_connections") => "max_connections 7;".to_owned(),
            (true, "srs_log_level" | "srs_log_level_v2") => format!("{name} warn;"),
            (true, "http_server") => on(name, "https { enabled on; listen 3; key /k; cert /c; }"),
            (true, "http_api" | "exporter" | "http_stream") => on(name, ""),
            (true, "crossdomain") => {
                on("http_server", "crossdomain off;") + " http_api { enabled on; crossdomain off; }"
            }
            (true, "gop_cache") => in_vhost("gop_cache off;"),
            (true, "security") => in_vhost("security { enabled on; allow publish all; }"),
            (true, "normal_timeout") => in_vhost("publish { normal_timeout 7000; }"),
            (true, name) if name.starts_with("on_") => {
                in_vhost(&format!("http_hooks {{ enabled on; {name} http://a/; }}"))
            }
            (true, _) => in_vhost(&format!("{name} 700;")),
        };
        let origin = if is_srs { Origin::Srs } else { Origin::NginxRtmp };
        assert_has(keys, name, &migrated(origin, &text));
    }
    for known in mediamtx_options::KNOWN.iter().chain(mediamtx_options::OF_PATHS) {
        let Fate::Carried(keys) = known.fate else { continue };
        let text = match known.name {
            "rtmp" | "rtmpDisable" => "rtmpAddress: :1935",
            "rtmpEncryption" | "rtmpsAddress" | "rtmpServerKey" | "rtmpServerCert" => {
                "rtmpEncryption: optional"
            }
            "rtmpTrustedProxies" => "rtmpTrustedProxies: [192.0.2.1]",
            "logLevel" => "logLevel: warn",
            "logStructured" => "logStructured: yes",
            "readTimeout" | "writeTimeout" => &format!("{}: 3s", known.name),
            "apiTrustedProxies" | "metricsTrustedProxies" => {
                "api: yes\nmetrics: yes\napiTrustedProxies: [192.0.2.1]"
            }
            name if name.starts_with("apiAllow") => "api: yes\napiAllowOrigins: ['https://a.example']",
            name if name.starts_with("api") || name.starts_with("metrics") => "api: yes\nmetrics: yes\n",
            "authHTTPAddress" | "externalAuthenticationURL" => "externalAuthenticationURL: http://a/",
            "authHTTPExclude" => {
                "authMethod: http\nauthHTTPAddress: http://a/\nauthHTTPExclude: [{action: read}]"
            }
            name if name.starts_with("authJWT") => {
                "authMethod: jwt\nauthJWTJWKS: https://a/\nauthJWTIssuer: b\nauthJWTAudience: c\nauthJWTExclude: [{action: read}]"
            }
            "authInternalUsers" | "authMethod" => {
                "authInternalUsers: [{user: a, pass: b, permissions: [{action: read}]}]"
            }
            name if name.starts_with("publish") || name.starts_with("read") => {
                "paths: {a: {publishUser: u, publishPass: p, publishIPs: [192.0.2.1]}}"
            }
            _ => "paths: {a: {overridePublisher: no, source: publisher}}",
        };
        // The address of the proxies is the operator's to add.
        let keys: Vec<&str> = keys.iter().copied().filter(|key| *key != "proxy.listeners").collect();
        assert_has(&keys, known.name, &migrated(Origin::Mediamtx, text));
    }
}

/// Whether these options are in a file.
fn assert_has(keys: &[&str], name: &str, toml: &str) {
    let table: toml::Table = toml.parse().unwrap();
    for key in keys {
        let has = match key.split_once('.') {
            Some((outer, inner)) => table.get(outer).and_then(|it| it.get(inner)).is_some(),
            None => table.contains_key(*key),
        };
        assert!(has, "{name} becomes {key}:\n{toml}");
    }
}
