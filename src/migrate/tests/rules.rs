//! Random rules of the other servers: fanfare decides as their source code does.

use proptest::prelude::*;

use super::super::{Origin, migrate, nginx};
use crate::{
    access::{self, Access, Decision, KeyRing, Question, Rules, Verdict},
    config::Config,
};

const NETWORKS: [&str; 5] = ["all", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "2001:db8::/32"];
const PEERS: [&str; 5] = ["10.1.1.1", "10.1.9.9", "10.9.9.9", "192.0.2.1", "2001:db8::1"];

/// `allow` or `deny`, for publishing, playing or both, a network.
#[derive(Clone, Debug)]
struct Line {
    allows: bool,
    action: &'static str,
    network: &'static str,
}

fn line(actions: &'static [&'static str]) -> impl Strategy<Value = Line> {
    let parts = (any::<bool>(), prop::sample::select(actions), prop::sample::select(&NETWORKS[..]));
    parts.prop_map(|(allows, action, network)| Line { allows, action, network })
}

fn lines(actions: &'static [&'static str]) -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec(line(actions), 0..5)
}

impl Line {
    fn text(&self) -> String {
        format!("{} {} {};\n", if self.allows { "allow" } else { "deny" }, self.action, self.network)
    }

    fn applies(&self, action: &str, peer: &str) -> bool {
        let peer: std::net::IpAddr = peer.parse().unwrap();
        let networks = nginx::networks(self.network).unwrap();
        let is_within = |network: &String| network.parse::<ipnet::IpNet>().unwrap().contains(&peer);
        (self.action.is_empty() || self.action == action)
            && (networks.is_empty() || networks.iter().any(is_within))
    }
}

fn texts(lines: &[Line]) -> String {
    lines.iter().map(Line::text).collect()
}

/// Whether fanfare lets in, by the rules alone.
fn lets_in(rules: &Rules, action: &str, name: &str, peer: &str) -> bool {
    let action = if action == "publish" { access::Action::Publish } else { access::Action::Play };
    let peer = (peer.parse::<std::net::IpAddr>().unwrap(), 9).into();
    !matches!(rules.decide(&Question::new(action, name, peer, "rtmp")), Decision::Verdict(Verdict::Deny(_)))
}

fn rules(origin: Origin, text: &str) -> (Rules, String) {
    let toml = migrate("f", text, Some(origin), &[]).unwrap().toml;
    let config = Config::from_toml("f", &toml).unwrap();
    (Rules::new(&config, KeyRing::new(), || 0).unwrap(), toml)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// nginx-rtmp: the first line that applies, those of the application before those of the server and of the block around
    /// it; all may if none applies.
    #[test]
    fn of_nginx_rtmp(
        own in lines(&["", "publish", "play"]),
        server in lines(&["", "publish", "play"]),
        outer in lines(&["", "publish", "play"]),
    ) {
        let text = format!(
            "rtmp {{ {} server {{ {} application live {{ live on; {} }} application other {{ live on; }} }} }}",
            texts(&outer), texts(&server), texts(&own),
        );
        let (rules, toml) = rules(Origin::NginxRtmp, &text);
        for action in ["publish", "play"] {
            for peer in PEERS {
                for (name, levels) in [("live/a", vec![&own, &server, &outer]), ("other/a", vec![&server, &outer])] {
                    let first = levels.into_iter().flatten().find(|line| line.applies(action, peer));
                    let expected = first.is_none_or(|line| line.allows);
                    prop_assert_eq!(lets_in(&rules, action, name, peer), expected, "{} {} {}\n{}", action, name, peer, toml);
                }
                prop_assert!(!lets_in(&rules, action, "elsewhere/a", peer));
            }
        }
    }

    /// SRS: a `deny` that applies refuses, then an `allow` that applies lets in; if none applies, all may where there are only
    /// lines that deny, and none otherwise.
    #[test]
    fn of_srs(all in lines(&["publish", "play"]), is_on in any::<bool>()) {
        let is_on_text = if is_on { "on" } else { "off" };
        let text = format!(
            "listen 1935; vhost __defaultVhost__ {{ security {{ enabled {is_on_text}; {} }} }}", texts(&all)
        );
        let (rules, toml) = rules(Origin::Srs, &text);
        for action in ["publish", "play"] {
            for peer in PEERS {
                let applies = |allows: bool| {
                    all.iter().any(|line| line.allows == allows && line.applies(action, peer))
                };
                let is_closed = all.is_empty() || all.iter().any(|line| line.allows);
                let expected = !is_on || !applies(false) && (applies(true) || !is_closed);
                prop_assert_eq!(lets_in(&rules, action, "live/a", peer), expected, "{} {}\n{}", action, peer, toml);
            }
        }
    }
}

#[test]
fn a_second_service_of_nginx_rtmp_refuses_what_it_would_have_decided() {
    let text = "rtmp { server { on_play http://a/play; application one { live on; on_publish http://a/one; }
        application two { live on; on_publish http://a/two; } application three { live on; on_publish http://a/one; } } }";
    let (rules, toml) = rules(Origin::NginxRtmp, text);
    for (name, is_let_in) in [("one/a", true), ("two/a", false), ("three/a", true)] {
        assert_eq!(lets_in(&rules, "publish", name, "10.1.1.1"), is_let_in, "{name}\n{toml}");
        assert!(lets_in(&rules, "play", name, "192.0.2.1"), "{name}");
    }
    assert!(toml.contains("f:2: on_publish http://a/two"), "{toml}");
}

#[test]
fn an_application_of_two_servers_with_different_rules_is_refused() {
    let two = |first: &str, second: &str| {
        let server = |port: u16, inside: &str| {
            format!("server {{ listen {port}; application live {{ live on; {inside} }} }} ")
        };
        rules(Origin::NginxRtmp, &format!("rtmp {{ {} {} }}", server(1935, first), server(1936, second)))
    };
    for (first, second, is_let_in) in [
        ("", "", true),
        ("allow publish all;", "allow publish all; hls on;", true),
        ("", "deny publish all;", false),
        ("", "on_publish http://a/;", false),
    ] {
        let (rules, toml) = two(first, second);
        assert_eq!(lets_in(&rules, "publish", "live/a", "192.0.2.1"), is_let_in, "{first} {second}\n{toml}");
        assert_eq!(lets_in(&rules, "play", "live/a", "192.0.2.1"), is_let_in, "{first} {second}\n{toml}");
    }
}

#[test]
fn paths_of_mediamtx_are_all_that_can_be_published() {
    let text = "paths:\n  one:\n  ~^many/.*$:\n  pulled:\n    source: rtsp://a/\n";
    let (rules, toml) = rules(Origin::Mediamtx, text);
    for (name, is_let_in) in
        [("one", true), ("many/a", true), ("pulled", false), ("two", false), ("one/a", false)]
    {
        assert_eq!(lets_in(&rules, "publish", name, "192.0.2.1"), is_let_in, "{name}\n{toml}");
        assert!(lets_in(&rules, "play", name, "192.0.2.1"), "{name}");
    }
    for text in ["logLevel: info\n", "paths:\n  all_others:\n", "paths:\n  one:\n  all:\n"] {
        let (rules, toml) = self::rules(Origin::Mediamtx, text);
        assert!(lets_in(&rules, "publish", "any/name", "192.0.2.1"), "{toml}");
    }
}

#[test]
fn who_cannot_be_carried_over_is_not_let_in() {
    for text in [
        "authInternalUsers: [{user: a, pass: 'sha256:x', permissions: [{action: publish}]}]",
        "authInternalUsers: [{user: a, permissions: [{action: publish}]}]",
        "authInternalUsers: [{user: any, ips: [host.example], permissions: [{action: publish}]}]",
        "authInternalUsers: [{user: any, permissions: [{action: publish, path: '~[^/]+'}]}]",
        "authInternalUsers: []",
        "authMethod: http\n",
        "authMethod: http\nauthHTTPAddress: http://user:pass@a/\n",
        "authMethod: jwt\n",
        "paths: {a: {publishUser: a, publishPass: 'argon2:x'}}",
    ] {
        let (rules, toml) = rules(Origin::Mediamtx, text);
        assert!(!lets_in(&rules, "publish", "a", "10.1.1.1"), "{text}\n{toml}");
        assert!(!lets_in(&rules, "publish", "a", "127.0.0.1"), "{text}\n{toml}");
    }
    let (rules, toml) =
        rules(Origin::NginxRtmp, "rtmp { server { application a { live on; on_publish ftp://a/; } } }");
    assert!(!lets_in(&rules, "publish", "a/b", "127.0.0.1"), "{toml}");
}
