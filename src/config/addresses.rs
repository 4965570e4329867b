//! Addresses to listen on, as an operator writes them: `192.0.2.7:1935`, `[::1]:1935`, or a port alone, `1935` or
//! `:1935`, for all addresses of the host.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The addresses that a text stands for: one, or for a port alone those of IPv4 and IPv6.
///
/// # Errors
/// What is wrong, as one line.
pub fn parse_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if is_number => Ok(everywhere(port)),
        _ => Err(invalid(text)),
    }
}

/// What is wrong with a text that is no address.
fn invalid(text: &str) -> String {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_name = host.starts_with(|c: char| c.is_ascii_alphabetic())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_name {
        return format!("`{host}` is a name; an IP address and a port are needed, such as 127.0.0.1:1935");
    }
    INVALID.to_owned()
}

/// Whether `listen` has `address` because it has the port on all addresses of the host. On a host without IPv6 (or
/// without IPv4) the other address is enough.
pub fn is_everywhere(listen: &[SocketAddr], address: SocketAddr) -> bool {
    address.ip().is_unspecified() && everywhere(address.port()).iter().all(|it| listen.contains(it))
}

/// This port on all addresses of the host.
pub(super) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// A list of addresses in a file.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let written = Vec::<Written>::deserialize(deserializer)?;
    Ok(written.into_iter().flat_map(|written| written.0).collect())
}

/// An entry of such a list.
struct Written(Vec<SocketAddr>);

struct WrittenVisitor;

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

impl Visitor<'_> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address with a port, or a port")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
        parse_addresses(text).map(Written).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, port: i64) -> Result<Written, E> {
        u16::try_from(port).map(|port| Written(everywhere(port))).map_err(|_| E::custom(INVALID))
    }
}

const INVALID: &str =
    "not an address with a port, such as 0.0.0.0:1935 or [::]:1935, nor a port, such as 1935";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse_addresses(text).map_or_else(
            |error| error,
            |addresses| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        )
    }

    #[test]
    fn a_port_alone_stands_for_all_addresses_of_the_host() {
        assert_eq!(shown("1935"), "0.0.0.0:1935 [::]:1935");
        assert_eq!(shown(":1935"), "0.0.0.0:1935 [::]:1935");
        assert_eq!(shown("127.0.0.1:1935"), "127.0.0.1:1935");
        assert_eq!(shown("[::1]:1935"), "[::1]:1935");
        for other in ["", ":", "65536", "+1935", "-1", "::1935", "1935 ", "127.0.0.1", "fe80::1", "rtmp://a"]
        {
            assert_eq!(shown(other), INVALID, "{other}");
        }
        for name in ["localhost", "localhost:1935", "localhost:"] {
            let expected =
                "`localhost` is a name; an IP address and a port are needed, such as 127.0.0.1:1935";
            assert_eq!(shown(name), expected);
        }
    }

    #[test]
    fn either_address_of_a_pair_is_enough() {
        let both = everywhere(1935);
        assert!(both.iter().all(|&address| is_everywhere(&both, address)));
        assert!(!is_everywhere(&both[1..], both[1]));
        let one = "127.0.0.1:1935".parse().unwrap();
        assert!(!is_everywhere(&[both.clone(), vec![one]].concat(), one));
    }
}
