//! Where a peer comes from, as far as limits are concerned: its address, its network, and the block of networks around that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the neighbours of an IPv4 host share, and what an IPv6 customer usually gets.
const NETWORK_BITS: (u32, u32) = (24, 56);
/// What one provider, or one large customer of it, usually has.
const BLOCK_BITS: (u32, u32) = (16, 32);

/// A peer's address, and what is around it. Networks and blocks are named by their first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// An IPv4 address that came as IPv6 is one of IPv4.
    pub address: IpAddr,
    /// IPv4 /24, IPv6 /56.
    pub network: IpAddr,
    /// IPv4 /16, IPv6 /32.
    pub block: IpAddr,
}

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, network: first(address, NETWORK_BITS), block: first(address, BLOCK_BITS) }
    }
}

/// The first address of the network of so many bits that this one is in.
fn first(address: IpAddr, (v4_bits, v6_bits): (u32, u32)) -> IpAddr {
    match address {
        IpAddr::V4(v4) => (v4 & Ipv4Addr::from(u32::MAX << (32 - v4_bits))).into(),
        IpAddr::V6(v6) => (v6 & Ipv6Addr::from(u128::MAX << (128 - v6_bits))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_network_and_networks_a_block() {
        for (address, network, block) in [
            ("192.0.2.77", "192.0.2.0", "192.0.0.0"),
            ("2001:db8:1:27f::1", "2001:db8:1:200::", "2001:db8::"),
            ("::ffff:192.0.2.77", "192.0.2.0", "192.0.0.0"),
        ] {
            let origin = Origin::of(address.parse().expect("an address"));
            assert_eq!(
                (origin.network.to_string(), origin.block.to_string()),
                (network.into(), block.into())
            );
            assert!(!origin.address.to_string().contains("ffff"));
        }
    }
}
