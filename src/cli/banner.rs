//! The lines at the start: where fanfare listens, how to publish and how to watch.

#![forbid(unsafe_code)]

use std::{net::SocketAddr, thread};

use fanfare::{
    config::LogFormat,
    control::{Started, TokenNotice},
    net,
};

use super::{print, version::VERSION};

/// Reports that connections are accepted: as text on standard output, or as a log line for machines.
pub fn announce(
    rtmp: &net::Addresses,
    http: Option<&Started>,
    format: LogFormat,
    is_for_networks_nearby: bool,
) {
    let token = http.map(|started| &started.token);
    let https = http.map_or(&[][..], |started| &started.encrypted_addresses);
    let net::Addresses { rtmp, rtmps } = rtmp;
    let http = http.map_or(&[][..], |started| &started.addresses);
    match format {
        LogFormat::Text => {
            let access = if is_for_networks_nearby { PUBLISHERS_NEARBY } else { "" };
            let banner =
                banner([rtmp, rtmps], [http, https]) + &token.map(token_lines).unwrap_or_default() + access;
            // If standard output is not read, this thread must still handle signals.
            let printer = thread::Builder::new().name("banner".to_owned()).spawn(move || print(&banner));
            if let Err(error) = printer {
                tracing::warn!(%error, ?rtmp, ?http, "listening: no thread to print the start-up lines");
            }
        }
        LogFormat::Json => {
            let page = https.first().map(|first| format!("https://{}/", reachable(first)));
            let page = page
                .or(http.first().map(|first| format!("http://{}/", reachable(first))))
                .unwrap_or_default();
            let list = |addresses: &[SocketAddr]| {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            tracing::info!(
                version = VERSION,
                rtmp = list(rtmp),
                rtmps = list(rtmps),
                http = list(http),
                https = list(https),
                page,
                "listening"
            );
            if is_for_networks_nearby {
                tracing::info!(
                    "only this machine and private networks may publish: see access in fanfare.toml"
                );
            }
            match token {
                Some(TokenNotice::Generated { file, .. } | TokenNotice::Stored(file)) => {
                    tracing::info!(file = %file.display(), "API token is in a file");
                }
                // It is stored nowhere else.
                Some(TokenNotice::ForThisRun { token, .. }) => {
                    tracing::info!(token, "API token for this run only");
                }
                Some(TokenNotice::Configured) | None => {}
            }
        }
    }
}

/// The start-up lines about the token: a new one is printed once.
fn token_lines(token: &TokenNotice) -> String {
    match token {
        TokenNotice::Configured => String::new(),
        TokenNotice::Stored(file) => format!("  Token:    in {}\n", file.display()),
        TokenNotice::Generated { token, file } => format!(
            "  Token:    {token}\n            for the API, to disconnect players and publishers; stored in {}\n",
            file.display()
        ),
        TokenNotice::ForThisRun { token, why } => format!(
            "  Token:    {token}\n            for the API, to disconnect players and publishers; for this run only, \
             because it cannot be stored: {why}\n"
        ),
    }
}

/// The start-up lines: where fanfare listens, how to publish and how to watch.
fn banner([rtmp, rtmps]: [&[SocketAddr]; 2], [http, https]: [&[SocketAddr]; 2]) -> String {
    let lists = [("rtmps", rtmps), ("rtmp", rtmp), ("https", https), ("http", http)];
    let listening: Vec<String> = (lists.into_iter())
        .flat_map(|(scheme, list)| list.iter().map(move |address| format!("{scheme}://{address}")))
        .collect();
    let mut text = format!("fanfare {VERSION} listens on {}\n", listening.join(" and "));
    let first_of = |scheme: &str, list: &[SocketAddr]| {
        list.first().map(|first| format!("{scheme}://{}/", reachable(first)))
    };
    let (rtmp, https) = (first_of("rtmp", rtmp), first_of("https", https));
    if let Some(url) = first_of("rtmps", rtmps).or(rtmp.clone()) {
        text += &format!("  Publish:  {TEST_PATTERN} {url}live/live_stream\n");
    }
    // VLC does not speak RTMPS.
    let flv = https.as_ref().map(|url| format!("{url}live/live_stream.flv"));
    if let Some(url) = flv.or(rtmp.map(|url| format!("{url}live/live_stream"))) {
        text += &format!("  Watch:    vlc {url}\n");
    }
    if let Some(url) = https.or(first_of("http", http)) {
        text += &format!("  HTTP-FLV: {url}live/live_stream.flv\n");
        text += &format!("  Page:     {url}\n");
    }
    text
}

/// The host and port for a URL on this machine.
fn reachable(address: &SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    }
}

/// The start-up line where nothing else is configured.
const PUBLISHERS_NEARBY: &str = "  Access:   only this machine and private networks may publish; to change that, see access in fanfare.toml\n";

/// Publishes a test pattern with a tone: works as it is.
pub const TEST_PATTERN: &str =
    "ffmpeg -re -f lavfi -i testsrc2 -f lavfi -i sine -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv";

#[cfg(test)]
mod tests {
    use super::*;

    fn banner_of(rtmp: &[&str], http: &[&str]) -> String {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        banner([&parsed(rtmp), &[]], [&parsed(http), &[]])
    }

    #[test]
    fn banner_lists_every_address_and_shows_how_to_publish_and_watch() {
        let text = banner_of(&["0.0.0.0:1935", "[::]:1935"], &["0.0.0.0:8080"]);
        assert!(
            text.contains("rtmp://0.0.0.0:1935 and rtmp://[::]:1935 and http://0.0.0.0:8080\n"),
            "{text}"
        );
        let publish = format!("  Publish:  {TEST_PATTERN} rtmp://localhost:1935/live/live_stream\n");
        assert!(text.contains(&publish), "{text}");
        assert!(text.contains("  Watch:    vlc rtmp://localhost:1935/live/live_stream\n"), "{text}");
        assert!(text.contains("  HTTP-FLV: http://localhost:8080/live/live_stream.flv\n"), "{text}");
        assert!(text.contains("  Page:     http://localhost:8080/\n"), "{text}");
    }

    #[test]
    fn banner_uses_the_actual_port_and_a_listening_address() {
        let text = banner_of(&["192.0.2.7:41000"], &["[::1]:80"]);
        assert!(text.contains("vlc rtmp://192.0.2.7:41000/live/live_stream\n"), "{text}");
        assert!(text.contains("Page:     http://[::1]:80/\n"), "{text}");
        assert!(banner_of(&["[::1]:1936"], &[]).contains("vlc rtmp://[::1]:1936/live/live_stream\n"));
    }

    #[test]
    fn banner_shows_encrypted_addresses_where_they_exist_and_vlc_what_it_speaks() {
        let address = |text: &str| [text.parse().unwrap()];
        let (rtmp, http) = (address("0.0.0.0:1935"), address("0.0.0.0:8080"));
        let (rtmps, https) = (address("0.0.0.0:1936"), address("0.0.0.0:8443"));
        let text = banner([&rtmp, &rtmps], [&http, &https]);
        let listens =
            "rtmps://0.0.0.0:1936 and rtmp://0.0.0.0:1935 and https://0.0.0.0:8443 and http://0.0.0.0:8080\n";
        assert!(text.contains(listens), "{text}");
        assert!(text.contains(" rtmps://localhost:1936/live/live_stream\n"), "{text}");
        assert!(text.contains("  Watch:    vlc https://localhost:8443/live/live_stream.flv\n"), "{text}");
        assert!(text.contains("  Page:     https://localhost:8443/\n"), "{text}");
        let text = banner([&rtmp, &rtmps], [&http, &[]]);
        assert!(text.contains("  Watch:    vlc rtmp://localhost:1935/live/live_stream\n"), "{text}");
    }

    #[test]
    fn without_http_the_banner_has_no_page() {
        assert!(!banner_of(&["0.0.0.0:1935"], &[]).contains("Page"));
    }
}
