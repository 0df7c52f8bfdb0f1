//! Blocks of addresses (CIDR), and which addresses are those of trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A block of addresses with a common prefix, in the notation of RFC 4632: `10.0.0.0/8`,
/// `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    /// As IPv6; an IPv4 address is mapped into it (RFC 4291 §2.5.5.2).
    address: u128,
    /// How many leading bits count, of 128.
    bits: u32,
}

/// Not a valid CIDR block.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected addresses or networks such as 127.0.0.1 or 10.0.0.0/8, got {0:?}")]
pub struct ParseNetworkError(String);

impl IpNetwork {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        (number(address) ^ self.address) & self.mask() == 0
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - self.bits).unwrap_or(0)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for IpNetwork {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let invalid = || ParseNetworkError(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_error| invalid())?;
        let (length, before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let bits = bits
            .map_or(Some(length), |bits| bits.parse().ok().filter(|bits| *bits <= length))
            .ok_or_else(invalid)?;
        let network = Self { address: number(address), bits: bits + before };
        // Bits after the mask are a typing error, in either the address or the mask.
        if network.address & !network.mask() == 0 { Ok(network) } else { Err(invalid()) }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.address);
        match address.to_ipv4_mapped() {
            Some(v4) if self.bits >= 96 => write!(formatter, "{v4}/{}", self.bits - 96),
            Some(_) | None => write!(formatter, "{address}/{}", self.bits),
        }
    }
}

/// Whether an address is a trusted proxy's.
pub(crate) fn is_trusted(proxies: &[IpNetwork], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(address))
}
