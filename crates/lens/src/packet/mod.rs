//! Packets, decoded in place: link, network and transport layer, without I/O, for arbitrary bytes.
//!
//! This is not `etherparse`. Its decoders that accept truncated packets start at Ethernet, an
//! EtherType or IP, so the cooked headers of Linux and the loopback of the BSDs would remain here.
//! So would the checksums that the kernel leaves to the network card, the length of zero that Linux
//! writes for packets above 64 KiB, and the position of each header, from which bytes are counted.
//! What it would replace is shorter than the conversion of its types and errors would be.

mod bytes;
pub mod checksum;
pub mod link;
pub mod malformed;
pub mod network;
pub mod options;
pub mod tcp;

use link::LinkType;
use malformed::MalformedPacket;
use network::IpPacket;
use tcp::TcpSegment;

/// The layers of one packet, as far as they can be read.
#[derive(Clone, Copy, Debug)]
pub struct DecodedPacket<'a> {
    /// The outermost VLAN it belongs to, as it stands in the bytes (IEEE 802.1Q).
    pub vlan: Option<u16>,
    /// How many bytes stand before the network layer's.
    pub link_length: usize,
    /// The network layer; `None` if it is neither IPv4 nor IPv6.
    pub network: Option<IpPacket<'a>>,
    /// The transport layer.
    pub transport: TransportPayload<'a>,
}

/// What a network packet carries.
#[derive(Clone, Copy, Debug)]
pub enum TransportPayload<'a> {
    /// A TCP segment.
    Tcp(TcpSegment<'a>),
    /// A part of a packet, which is not put together here. Only the first part would tell the
    /// ports.
    Fragment,
    /// Another protocol, by IANA's number; or none, where there is no network layer either.
    Other(Option<u8>),
}

/// Decodes one packet. Bytes may be missing at its end (a capture that was told to cut): lengths
/// come from the headers.
pub fn decode(link: LinkType, bytes: &[u8]) -> Result<DecodedPacket<'_>, MalformedPacket> {
    let header = link::decode(link, bytes)?;
    let mut packet = DecodedPacket {
        vlan: header.vlan,
        link_length: bytes.len() - header.payload.len(),
        network: None,
        transport: TransportPayload::Other(None),
    };
    let Some(version) = header.version else { return Ok(packet) };
    let network = network::decode(version, header.payload)?;
    packet.network = Some(network);
    packet.transport = match (network.fragment, network.protocol) {
        (Some(_), _) => TransportPayload::Fragment,
        (None, tcp::PROTOCOL) => TransportPayload::Tcp(tcp::decode(&network)?),
        (None, other) => TransportPayload::Other(Some(other)),
    };
    Ok(packet)
}

#[cfg(test)]
mod tests;
