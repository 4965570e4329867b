//! Networks of addresses: which ones contain a peer, and which ones are near.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Whether a network contains an address. An IPv4 address may be written as IPv6 in either of them.
pub(super) fn contains(network: &IpNet, address: IpAddr) -> bool {
    canonical(network).contains(&address.to_canonical())
}

/// An IPv6 network of mapped IPv4 addresses as that of IPv4.
fn canonical(network: &IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED_BITS => match v6.addr().to_ipv4_mapped() {
            Some(address) => {
                let net = Ipv4Net::new(address, v6.prefix_len() - MAPPED_BITS);
                IpNet::V4(net.expect("128 bits less 96 are 32"))
            }
            None => *network,
        },
        _ => *network,
    }
}

/// Whether an address is this machine's, or one that the internet does not route: RFC 1918, link-local, ULA. Addresses of
/// carriers (100.64.0.0/10) are not near: a carrier's customers share them.
pub(super) fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || is_unique_local(v6) || is_link_local(v6),
    }
}

/// `fc00::/7` (RFC 4193).
fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

/// `fe80::/10` (RFC 4291 §2.5.6).
fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Bits before the IPv4 address in a mapped one.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_and_this_machine_are_near_and_the_internet_is_not() {
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "2001:db8::1",
            "fe00::1",
            "fec0::1",
            "ff02::1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
        ] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn an_ipv4_address_is_the_same_when_it_is_mapped() {
        let is_in =
            |network: &str, address: &str| contains(&network.parse().unwrap(), address.parse().unwrap());
        for network in ["203.0.113.0/24", "::ffff:203.0.113.0/120"] {
            assert!(is_in(network, "203.0.113.9") && is_in(network, "::ffff:203.0.113.9"), "{network}");
            assert!(!is_in(network, "203.0.114.9") && !is_in(network, "2001:db8::1"), "{network}");
        }
        assert!(is_in("::/0", "2001:db8::1") && !is_in("::/0", "203.0.113.9"));
    }
}
