//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

use super::network::Network;

/// Whether a checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is.
    Right,
    /// It is not: the bytes were changed on their way.
    Wrong,
    /// The sender's kernel left it to the network card, and the packet was seen before the card did it.
    Offloaded,
    /// There is none, or not all the bytes that it is of were captured.
    Unknown,
}

/// The one's complement of the one's complement sum. Over bytes that hold their own checksum it is 0.
/// All parts but the last must be of even length.
pub fn sum(parts: &[&[u8]]) -> u16 {
    !fold(parts.iter().map(|part| add(part)).sum())
}

fn add(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xFFFF) + (sum >> 16),
        }
    }
}

/// The sum of the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1), not complemented.
fn pseudo_header(network: &Network<'_>) -> u64 {
    let addresses = |address: IpAddr| match address {
        IpAddr::V4(address) => add(&address.octets()),
        IpAddr::V6(address) => add(&address.octets()),
    };
    let length = network.payload_length() as u64;
    addresses(network.source) + addresses(network.destination) + u64::from(network.protocol) + (length >> 16) + (length & 0xFFFF)
}

/// What to say of the checksum `found` in the transport layer of `network`.
pub(super) fn of_transport(network: &Network<'_>, found: u16) -> Checksum {
    if network.payload.len() < network.payload_length() {
        return Checksum::Unknown;
    }
    let pseudo = pseudo_header(network);
    if fold(pseudo + add(network.payload)) == 0xFFFF {
        return Checksum::Right;
    }
    // What the card is to complete begins as the sum of the pseudo-header alone (Linux's CHECKSUM_PARTIAL).
    if fold(pseudo) == found { Checksum::Offloaded } else { Checksum::Wrong }
}
