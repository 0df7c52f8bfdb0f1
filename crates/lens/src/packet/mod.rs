//! Packets, decoded where they lie: link, network and transport layer, without I/O, for any bytes whatever.

mod bytes;
pub mod checksum;
pub mod link;
pub mod network;
pub mod options;
pub mod tcp;

use link::Link;
use network::Network;
use tcp::Tcp;

/// What one packet says, as far as it can be read.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The outermost VLAN it belongs to, as it stands in the bytes (IEEE 802.1Q).
    pub vlan: Option<u16>,
    /// How many bytes stand before the network layer's.
    pub link_length: usize,
    /// The network layer; `None` if it is neither IPv4 nor IPv6.
    pub network: Option<Network<'a>>,
    /// The transport layer.
    pub transport: Transport<'a>,
}

/// What a network packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Tcp<'a>),
    /// A part of a packet, which is not put together here. Only the first part would tell the ports.
    Fragment,
    /// Another protocol, by IANA's number; or none, where there is no network layer either.
    Other(Option<u8>),
}

/// Which layer a complaint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Ethernet, or what stands for it.
    Link,
    /// IPv4.
    Ipv4,
    /// IPv6, or one of its extension headers.
    Ipv6,
    /// TCP.
    Tcp,
}

/// Why a packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end before the header does.
    #[error("{0:?}: the header is cut off")]
    Short(Layer),
    /// A length field that contradicts the header it stands in.
    #[error("{0:?}: a length is smaller than the header it counts")]
    Length(Layer),
    /// The version of IP is neither what the link layer said nor one we know.
    #[error("{0} is no version of IP")]
    Version(u8),
}

/// Decodes one packet. Bytes may be missing at its end (a capture that was told to cut): lengths come from the headers.
pub fn decode(link: Link, bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    let header = link::decode(link, bytes)?;
    let mut packet =
        Packet { vlan: header.vlan, link_length: bytes.len() - header.payload.len(), network: None, transport: Transport::Other(None) };
    let Some(version) = header.version else { return Ok(packet) };
    let network = network::decode(version, header.payload)?;
    packet.network = Some(network);
    packet.transport = match (network.fragment, network.protocol) {
        (Some(_), _) => Transport::Fragment,
        (None, tcp::PROTOCOL) => Transport::Tcp(tcp::decode(&network)?),
        (None, other) => Transport::Other(Some(other)),
    };
    Ok(packet)
}

#[cfg(test)]
mod tests;
