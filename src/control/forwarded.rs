//! Which client a request comes from, if proxies stand between: what `X-Forwarded-For` or `Forwarded` (RFC 7239) says, as far
//! as those who say it are trusted.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

use crate::config::{ClientHeader, Proxy};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request that came from `peer`. Each proxy adds at the right whom it has the request from, so the list
/// is read from the right, for as long as the one that has added an entry is trusted. What a client has written itself is
/// farther left and is not looked at. An entry that names no address (`unknown`, `_hidden`) ends the list.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, proxy: &Proxy) -> SocketAddr {
    if proxy.trusted.is_empty() || !proxy.is_trusted(peer.ip()) {
        return peer;
    }
    let (name, entry): (_, fn(&str) -> Option<SocketAddr>) = match proxy.client_header {
        ClientHeader::XForwardedFor => (X_FORWARDED_FOR, node),
        ClientHeader::Forwarded => (header::FORWARDED, forwarded_for),
    };
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let mut client = peer;
    for line in lines.iter().rev() {
        let line = String::from_utf8_lossy(line.as_bytes());
        for text in pieces(&line, b',').map(str::trim).filter(|text| !text.is_empty()) {
            match entry(text) {
                Some(address) => client = address,
                None => return client,
            }
            if !proxy.is_trusted(client.ip()) {
                return client;
            }
        }
    }
    client
}

/// The pieces of a list, from the right. What is in quotes is not cut. It is read from the right as well, so that a quote
/// that a client has left open does not swallow what proxies have added after it.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        let is_escaped =
            |at: usize| bytes[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1;
        let mut is_quoted = false;
        let cut = (0..bytes.len()).rev().find(|&at| {
            is_quoted ^= bytes[at] == b'"' && !is_escaped(at);
            !is_quoted && bytes[at] == separator
        });
        rest = cut.map(|at| &text[..at]);
        Some(cut.map_or(text, |at| &text[at + 1..]))
    })
}

/// The address in an element of `Forwarded`: `for=192.0.2.7;proto=https`, `For="[2001:db8::7]:50000"`.
fn forwarded_for(element: &str) -> Option<SocketAddr> {
    let mut values = pieces(element, b';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => node(&quoted.strip_suffix('"')?.replace('\\', "")),
        None => node(value),
    }
}

/// An address with or without a port: `192.0.2.7`, `192.0.2.7:50000`, `2001:db8::7`, `[2001:db8::7]:50000`. A port that is
/// hidden, or that is not there, is 0.
fn node(text: &str) -> Option<SocketAddr> {
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (ip, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None if text.parse::<IpAddr>().is_ok() => (text, None),
        None => text.rsplit_once(':').map_or((text, None), |(ip, port)| (ip, Some(port))),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let port = match port {
        Some(hidden) if hidden.starts_with('_') => 0,
        Some(port) => port.parse().ok()?,
        None => 0,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Trusts these networks.
    fn proxy(client_header: ClientHeader) -> Proxy {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().unwrap());
        Proxy { trusted: trusted.to_vec(), client_header, ..Proxy::default() }
    }

    fn found(client_header: ClientHeader, name: &str, peer: &str, lines: &[&str]) -> String {
        let name: HeaderName = name.parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, line.parse().unwrap());
        }
        client(peer.parse().unwrap(), &headers, &proxy(client_header)).to_string()
    }

    fn x_forwarded_for(lines: &[&str]) -> String {
        found(ClientHeader::XForwardedFor, "x-forwarded-for", "10.0.0.1:7", lines)
    }

    fn forwarded(lines: &[&str]) -> String {
        found(ClientHeader::Forwarded, "forwarded", "10.0.0.1:7", lines)
    }

    #[test]
    fn the_rightmost_address_that_is_not_a_trusted_proxy_s_is_the_client() {
        for (lines, client) in [
            (&["192.0.2.7"][..], "192.0.2.7:0"),
            (&["192.0.2.7:50000"], "192.0.2.7:50000"),
            (&["2001:db8::7"], "[2001:db8::7]:0"),
            (&["[2001:db8::7]:50000"], "[2001:db8::7]:50000"),
            (&["::ffff:192.0.2.7"], "192.0.2.7:0"),
            (&["198.51.100.1, 192.0.2.7"], "192.0.2.7:0"),
            (&["198.51.100.1", "192.0.2.7"], "192.0.2.7:0"),
            (&["198.51.100.1, 192.0.2.7, 10.0.0.2,2001:db8:1::3"], "192.0.2.7:0"),
            (&["192.0.2.7", "10.0.0.2", "10.0.0.3"], "192.0.2.7:0"),
            (&["192.0.2.7, , "], "192.0.2.7:0"),
            // All of them are proxies: the first one speaks for itself.
            (&["10.0.0.2, 10.0.0.3"], "10.0.0.2:0"),
            (&[], "10.0.0.1:7"),
            (&[""], "10.0.0.1:7"),
        ] {
            assert_eq!(x_forwarded_for(lines), client, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (lines, client) in [
            (&["for=192.0.2.7"][..], "192.0.2.7:0"),
            (&["For=\"192.0.2.7:50000\";proto=https;by=10.0.0.1"], "192.0.2.7:50000"),
            (&["proto=https; for=\"[2001:db8::7]:50000\""], "[2001:db8::7]:50000"),
            (&["for=\"[2001:db8::7]\""], "[2001:db8::7]:0"),
            (&["for=\"192.0.2.7:_hidden\""], "192.0.2.7:0"),
            (&["for=198.51.100.1, for=192.0.2.7;host=\"a,b;for=10.0.0.9\", for=10.0.0.2"], "192.0.2.7:0"),
            (&["for=198.51.100.1", "for=192.0.2.7"], "192.0.2.7:0"),
            (&["for=\"\\192.0.2.7\""], "192.0.2.7:0"),
        ] {
            assert_eq!(forwarded(lines), client, "{lines:?}");
        }
    }

    #[test]
    fn what_names_no_address_ends_the_list() {
        for text in
            ["unknown", "_hidden", "192.0.2", "192.0.2.7:65536", "[2001:db8::7", "localhost", "192.0.2.7 x"]
        {
            assert_eq!(x_forwarded_for(&[&format!("192.0.2.7, {text}")]), "10.0.0.1:7", "{text}");
            assert_eq!(x_forwarded_for(&[&format!("192.0.2.7, {text}, 10.0.0.2")]), "10.0.0.2:0", "{text}");
            assert_eq!(forwarded(&[&format!("for=192.0.2.7, for={text}")]), "10.0.0.1:7", "{text}");
        }
        for element in ["proto=https", "for=\"192.0.2.7", "for=192.0.2.7;for=192.0.2.8", "for", "192.0.2.7"] {
            assert_eq!(
                forwarded(&[&format!("for=192.0.2.9, {element}, for=10.0.0.2")]),
                "10.0.0.2:0",
                "{element}"
            );
        }
    }

    #[test]
    fn headers_count_only_from_trusted_networks_and_only_the_one_that_is_configured() {
        let of = |peer| found(ClientHeader::XForwardedFor, "x-forwarded-for", peer, &["192.0.2.7"]);
        assert_eq!(of("198.51.100.1:7"), "198.51.100.1:7");
        assert_eq!(of("[::ffff:10.0.0.1]:7"), "192.0.2.7:0");
        // A proxy passes on what it does not write itself.
        let other = found(ClientHeader::XForwardedFor, "forwarded", "10.0.0.1:7", &["for=192.0.2.7"]);
        assert_eq!(other, "10.0.0.1:7");
        let other = found(ClientHeader::Forwarded, "x-forwarded-for", "10.0.0.1:7", &["192.0.2.7"]);
        assert_eq!(other, "10.0.0.1:7");
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, "192.0.2.7".parse().unwrap())]);
        let peer = "127.0.0.1:7".parse().unwrap();
        assert_eq!(client(peer, &headers, &Proxy::default()), peer, "none is trusted by default");
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        let proxies = prop_oneof![Just("10.0.0.2".parse().unwrap()), Just("2001:db8:1::3".parse().unwrap())];
        prop_oneof![any::<IpAddr>(), proxies]
    }

    proptest! {
        /// Whatever a client writes before what proxies add.
        #[test]
        fn a_client_changes_nothing_by_what_it_writes(
            written in "[ -~]{0,60}", ip in any::<IpAddr>(), proxies in 0_usize..4, on_one_line: bool,
        ) {
            let ip = ip.to_canonical();
            prop_assume!(!proxy(ClientHeader::Forwarded).is_trusted(ip));
            let quoted = match ip {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("\"[{ip}]\""),
            };
            let client = SocketAddr::new(ip, 0).to_string();
            let separator = if on_one_line { ", " } else { "\n" };
            for (first, next) in [(ip.to_string(), "10.0.0.2"), (format!("for={quoted}"), "for=10.0.0.2")] {
                let added = format!("{first}{}", format!("{separator}{next}").repeat(proxies));
                let all = format!("{written}{separator}{added}");
                let lines: Vec<&str> = all.split('\n').collect();
                let found = if next.contains('=') { forwarded(&lines) } else { x_forwarded_for(&lines) };
                prop_assert_eq!(&found, &client);
            }
        }

        #[test]
        fn a_list_of_addresses_is_walked_from_the_right(addresses in proptest::collection::vec(address(), 0..6)) {
            let proxy = proxy(ClientHeader::XForwardedFor);
            let is_client = |ip: &&IpAddr| !proxy.is_trusted(ip.to_canonical());
            let expected = addresses.iter().rev().find(is_client).or(addresses.first());
            let expected = expected.map_or("10.0.0.1:7".to_owned(), |ip| SocketAddr::new(ip.to_canonical(), 0).to_string());
            let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            prop_assert_eq!(x_forwarded_for(&[&text.join(",")]), expected);
        }

        #[test]
        fn no_header_is_a_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let Ok(value) = axum::http::HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            for (name, header) in
                [(X_FORWARDED_FOR, ClientHeader::XForwardedFor), (header::FORWARDED, ClientHeader::Forwarded)]
            {
                client("10.0.0.1:7".parse().unwrap(), &HeaderMap::from_iter([(name, value.clone())]), &proxy(header));
            }
        }
    }
}
