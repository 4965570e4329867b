//! Configurations of other servers, and what becomes of them.

use super::*;

fn migrated(origin: Origin, text: &str) -> String {
    migrate("f.conf", text, Some(origin)).unwrap_or_else(|error| panic!("{error}\n{text}"))
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
    let error = migrate("x", "something", None).unwrap_err();
    assert!(error.starts_with("x: not recognized"), "{error}");
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_line() {
    let error = |origin, text| migrate("f", text, Some(origin)).unwrap_err();
    assert_eq!(error(Origin::NginxRtmp, "rtmp {\n server {\n"), "f:2: a `{` without its `}`");
    assert_eq!(error(Origin::Srs, "listen 1935"), "f:1: `listen` has no `;`");
    assert!(error(Origin::Mediamtx, "a: [1\nb: 2").starts_with("f:"));
    assert_eq!(error(Origin::Mediamtx, "- a"), "f:1: not a list of options with their values");
}

/// What is not carried over, without its place and its reason.
fn left(toml: &str) -> Vec<String> {
    let (_, end) = toml.split_once("# Not carried over").unwrap_or_default();
    let lines = end.lines().filter_map(|line| line.strip_prefix("#   f.conf:"));
    lines.map(|line| line.split(": ").nth(1).unwrap_or_default().to_owned()).collect()
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
    assert!(left(&toml).is_empty() && toml.contains("# Every line was carried over."), "{toml}");
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
        "hls on",
        "exec x",
        "recorder r",
        "recorder r { record audio }",
        "unheard_of 1",
        "listen 8080",
        "rtmp_stat all",
    ];
    assert_eq!(left(&toml).len(), expected.len(), "{toml}");
    for (line, begin) in left(&toml).iter().zip(expected) {
        assert!(line.starts_with(begin), "{line} is not {begin}");
    }
    assert!(toml.contains("f.conf:7: push rtmp://b/live: fanfare does not push"), "{toml}");
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
    assert_eq!(left(&migrated(Origin::Srs, text)), ["tcp_nodelay on", "dvr"]);
}

#[test]
fn of_several_hosts_of_srs_the_default_one_counts() {
    let text = "listen 1935; vhost a.example { security { enabled on; deny publish all; } } vhost __defaultVhost__ { play { gop_cache on; } } vhost off.example { enabled off; }";
    let toml = migrated(Origin::Srs, text);
    assert_eq!(left(&toml), ["vhost a.example", "vhost off.example"]);
    assert!(config(Origin::Srs, text).access.is_empty());
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
    let of_cameras = config.access.iter().find(|rule| rule.streams == "cam/*").unwrap();
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
    assert_eq!(left(&migrated(Origin::Mediamtx, text)).len(), 5, "hls, record, source, runOnReady, cam");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_fail_badly(text in "(rtmp|server|listen|application|live|allow|publish|vhost|paths|user|pass|any|:|[{};\n -]|[a-z0-9.:/]{1,8}){0,40}") {
        for origin in [Origin::NginxRtmp, Origin::Srs, Origin::Mediamtx] {
            if let Ok(toml) = migrate("f", &text, Some(origin)) {
                proptest::prop_assert!(Config::from_toml("f", &toml).is_ok());
            }
        }
    }
}
