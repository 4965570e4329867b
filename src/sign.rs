//! Signed links for people to hand out: `fanfare sign`. Which secret signs is what the rules say that check it.

#![forbid(unsafe_code)]

use std::{fmt, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    access::{Action, Link, Rules},
    config::{Config, Listen, Secrets},
    rtmp::name::StreamName,
};

/// What a link is to allow.
#[derive(Clone, Debug)]
pub struct Request {
    /// To publish or to play.
    pub action: Action,
    /// The stream, `app/name`, in any form in which it can be published.
    pub stream: String,
    /// For how long a session may begin.
    pub expires: Duration,
    /// After how long the session has to end.
    pub session: Option<Duration>,
    /// Where the client has to come from.
    pub network: Option<IpNet>,
    /// The relay's name in the link; if none, as it listens.
    pub host: Option<String>,
}

/// The addresses of a stream with a link's parameters. Displays as a line for each client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Each with what is spoken there.
    pub addresses: Vec<(&'static str, String)>,
    /// For OBS: server and stream key, if it is for publishing.
    pub obs: Option<(String, String)>,
}

/// The addresses of a stream, signed with a secret, or with that of the rule that applies.
///
/// # Errors
/// Why there is no such link, as one line.
pub fn sign(
    config: &Config,
    rules: &Rules,
    secret: Option<&Secrets>,
    request: &Request,
    now: u64,
) -> Result<Signed, String> {
    let name =
        StreamName::of_path(&request.stream).map_err(|error| format!("{}: {error}", request.stream))?;
    let link = Link {
        action: request.action,
        name: &name.to_string(),
        expires: now.saturating_add(request.expires.as_secs()),
        network: request.network,
        session_until: request.session.map(|after| now.saturating_add(after.as_secs())),
    };
    let query = match secret.and_then(|secrets| secrets.values().first()) {
        Some(secret) => link.query(secret),
        None => rules.sign(&link)?,
    };
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let path = encoded(link.name);
    let server = |scheme: &str, default_port: u16, addresses: &[SocketAddr]| {
        let first = addresses.first()?;
        let host = request.host.clone().unwrap_or_else(|| match first.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            _ => SocketAddr::new(first.ip(), 0).to_string().trim_end_matches(":0").to_owned(),
        });
        let port = Some(first.port()).filter(|port| *port != default_port);
        Some(format!("{scheme}://{host}{}", port.map(|port| format!(":{port}")).unwrap_or_default()))
    };
    let Listen { rtmp, rtmps, http, https, .. } = &config.listen;
    let over_rtmp = [("RTMP", server("rtmp", 1935, rtmp)), ("RTMPS", server("rtmps", 443, rtmps))];
    let over_http = [("HTTP-FLV", server("http", 80, http)), ("HTTPS-FLV", server("https", 443, https))];
    let is_play = request.action == Action::Play;
    // The last one is encrypted, if there are two.
    let best = over_rtmp.iter().rev().find_map(|(_, server)| server.clone()).filter(|_| !is_play);
    let obs = best.map(|server| {
        (format!("{server}/{}", encoded(&name.app)), format!("{}?{query}", encoded(&name.name)))
    });
    let over_rtmp = over_rtmp.map(|(what, server)| Some((what, format!("{}/{path}?{query}", server?))));
    let over_http = over_http.map(|(what, server)| Some((what, format!("{}/{path}.flv?{query}", server?))));
    let over_rtmp: Vec<_> = over_rtmp.into_iter().flatten().collect();
    let longest = over_rtmp.iter().map(|(_, address)| address.len()).max();
    if let Some(length) = longest.filter(|length| *length > MAX_RTMP_BYTES) {
        return Err(format!(
            "the link has {length} characters: FFmpeg reads {MAX_RTMP_BYTES} of an RTMP address"
        ));
    }
    let over_http = over_http.into_iter().flatten().filter(|_| is_play);
    Ok(Signed { addresses: over_rtmp.into_iter().chain(over_http).collect(), obs })
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, address) in &self.addresses {
            writeln!(f, "{:<10} {address}", format!("{what}:"))?;
        }
        if let Some((server, key)) = &self.obs {
            return writeln!(f, "{:<10} server {server}, stream key {key}", "OBS:");
        }
        // In quotes: a shell would split the address at its ampersands.
        match self.addresses.first() {
            Some((_, address)) => writeln!(f, "{:<10} vlc '{address}'", "VLC:"),
            None => Ok(()),
        }
    }
}

/// All but what RFC 3986 §2.3 leaves as it is, and slashes.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// FFmpeg keeps an RTMP address in 1,024 bytes, with a zero at the end.
const MAX_RTMP_BYTES: usize = 1023;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Access, Decision, KeyRing, Question, Verdict};

    const NOW: u64 = 1_700_000_000;

    fn request(action: Action, stream: &str) -> Request {
        Request {
            action,
            stream: stream.to_owned(),
            expires: Duration::from_secs(3600),
            session: None,
            network: None,
            host: Some("relay.example".to_owned()),
        }
    }

    fn config(toml: &str) -> Config {
        Config::from_toml("f", toml).unwrap()
    }

    fn signed(toml: &str, request: &Request) -> Result<Signed, String> {
        let config = config(toml);
        let rules = Rules::new(&config, KeyRing::new(), || NOW).unwrap();
        sign(&config, &rules, None, request, NOW)
    }

    const LINKS: &str =
        "[[access]]\nstreams = 'live/*'\nlinks = ['a-secret-of-ours', 'an-older-secret-of-ours']\n";

    #[test]
    fn each_client_has_its_address_and_the_rules_accept_it() {
        let links = signed(LINKS, &request(Action::Play, "/live//my show.flv")).unwrap();
        let (_, rtmp) = &links.addresses[0];
        let (address, query) = rtmp.split_once('?').unwrap();
        assert_eq!(address, "rtmp://relay.example/live/my%20show");
        assert!(query.starts_with("exp=1700003600&sig=") && rtmp.len() < 1024);
        assert_eq!(
            links.to_string(),
            format!(
                "RTMP:      {address}?{query}\n\
                 HTTP-FLV:  http://relay.example:8080/live/my%20show.flv?{query}\n\
                 VLC:       vlc '{address}?{query}'\n"
            )
        );
        let rules = Rules::new(&config(LINKS), KeyRing::new(), || NOW).unwrap();
        let question = Question::new(Action::Play, "live/my show", ([203, 0, 113, 7], 9).into(), "rtmp");
        let decision = rules.decide(&Question { query: query.to_owned(), ..question });
        assert!(matches!(decision, Decision::Verdict(Verdict::Allow(_))), "{decision:?}");

        let publish =
            Request { session: Some(Duration::from_secs(60)), ..request(Action::Publish, "live/a/b") };
        let links = signed(LINKS, &publish).unwrap();
        let (server, key) = links.obs.clone().unwrap();
        assert_eq!(server, "rtmp://relay.example/live/a");
        assert!(key.starts_with("b?exp=1700003600&session=1700000060&sig="), "{key}");
        assert!(
            links.addresses.len() == 1
                && links.to_string().contains(&format!("server {server}, stream key {key}\n"))
        );
    }

    #[test]
    fn the_address_is_that_of_the_configuration() {
        let here = Request { host: None, ..request(Action::Play, "live/a") };
        let toml = format!("listen.rtmp = ['[::1]:1936']\nlisten.http = [80]\n{LINKS}");
        let prefixes = |toml: &str, request: &Request| {
            let links = signed(toml, request).unwrap();
            let prefix = |(_, address): &(_, String)| address.split_once('?').unwrap().0.to_owned();
            links.addresses.iter().map(prefix).collect::<Vec<_>>()
        };
        assert_eq!(prefixes(&toml, &here), ["rtmp://[::1]:1936/live/a", "http://localhost/live/a.flv"]);
        let off = format!("listen.http = []\n{LINKS}");
        assert_eq!(prefixes(&off, &here), ["rtmp://localhost/live/a"]);
        let tls = "listen.rtmps = [443]\nlisten.https = [8443]\ntls.certificates = [{ certificate = '/a', key = '/b' }]\n";
        let all =
            ["rtmp://h/live/a", "rtmps://h/live/a", "http://h:8080/live/a.flv", "https://h:8443/live/a.flv"];
        let there = Request { host: Some("h".to_owned()), ..here };
        assert_eq!(prefixes(&format!("{tls}{LINKS}"), &there), all);
        let publish =
            signed(&format!("{tls}{LINKS}"), &Request { action: Action::Publish, ..there }).unwrap();
        assert_eq!(publish.obs.unwrap().0, "rtmps://h/live", "encrypted where that is possible");
    }

    #[test]
    fn a_link_that_no_rule_would_accept_is_not_made() {
        let play = |toml: &str, stream: &str| signed(toml, &request(Action::Play, stream)).unwrap_err();
        assert_eq!(play("", "live/a"), "no rule in [[access]] takes links to play live/a");
        assert_eq!(play(LINKS, "other/a"), "no rule in [[access]] takes links to play other/a");
        let publish = LINKS.replace("links", "action = 'publish'\nlinks");
        assert_eq!(play(&publish, "live/a"), "no rule in [[access]] takes links to play live/a");
        let first = format!("[[access]]\nname = 'first'\nkeys = 'k'\n{LINKS}");
        assert_eq!(play(&first, "live/a"), "rule first applies to live/a before any that takes links");
        let near = first.replace("keys", "from = ['10.0.0.0/8']\nkeys");
        assert!(signed(&near, &request(Action::Play, "live/a")).is_ok());
        assert_eq!(
            play(LINKS, "live/.."),
            "live/..: path contains a component of dots, which is not allowed"
        );
        let long = Request { host: Some("h".repeat(950)), ..request(Action::Play, "live/a") };
        let error = signed(LINKS, &long).unwrap_err();
        assert!(error.starts_with("the link has 10") && error.contains("FFmpeg reads 1023"), "{error}");
    }
}
