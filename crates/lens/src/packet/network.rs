//! The network layer: IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200), in one type.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::{array_at, u8_at, u16_at, u32_at};
use super::checksum::{self, Checksum};
use super::link::IpVersion;
use super::malformed::{MalformedPacket, PacketLayer};

/// A packet of the network layer.
#[derive(Clone, Copy, Debug)]
pub struct IpPacket<'a> {
    /// Which one.
    pub version: IpVersion,
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// `TTL`, or `Hop Limit`.
    pub hop_limit: u8,
    /// Bytes of its header, with options or extension headers.
    pub header_length: usize,
    /// Bytes of it all, as the header says. It may be more than were captured.
    pub total_length: usize,
    /// What IPv4's options, or IPv6's extension headers, are.
    pub options: &'a [u8],
    /// Its place, if it is a part of a larger packet.
    pub fragment: Option<IpFragment>,
    /// What it carries, by IANA's number.
    pub protocol: u8,
    /// Whether IPv4's checksum is right (section 3.1); IPv6 has none.
    pub checksum: Checksum,
    /// What it carries, as far as it was captured; padding that the link layer added is left out.
    pub payload: &'a [u8],
}

/// The place of a part in the packet that was cut up (RFC 791, section 2.3; RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFragment {
    /// Which packet it belongs to.
    pub identification: u32,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Whether parts follow it.
    pub has_more: bool,
}

impl IpPacket<'_> {
    /// Bytes that it carries, as the header says.
    pub fn payload_length(&self) -> usize {
        self.total_length - self.header_length
    }

    /// Whether the checksum `found` in the transport layer is right.
    pub(super) fn transport_checksum(&self, found: u16) -> Checksum {
        if self.payload.len() < self.payload_length() {
            return Checksum::Unknown;
        }
        let pseudo = self.pseudo_header();
        if checksum::fold(pseudo + checksum::add(self.payload)) == 0xFFFF {
            return Checksum::Right;
        }
        // A checksum that the network card is to complete starts as the sum of the pseudo-header
        // alone (Linux's CHECKSUM_PARTIAL).
        if checksum::fold(pseudo) == found { Checksum::Offloaded } else { Checksum::Wrong }
    }

    /// The sum of the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1), not
    /// complemented.
    fn pseudo_header(&self) -> u64 {
        let sum = |address: IpAddr| match address {
            IpAddr::V4(address) => checksum::add(&address.octets()),
            IpAddr::V6(address) => checksum::add(&address.octets()),
        };
        let length = self.payload_length() as u64;
        sum(self.source)
            + sum(self.destination)
            + u64::from(self.protocol)
            + (length >> 16)
            + (length & 0xFFFF)
    }
}

pub(super) fn decode(version: IpVersion, bytes: &[u8]) -> Result<IpPacket<'_>, MalformedPacket> {
    match version {
        IpVersion::Four => decode_ipv4(bytes),
        IpVersion::Six => decode_ipv6(bytes),
    }
}

fn check_version(bytes: &[u8], expected: u8, layer: PacketLayer) -> Result<(), MalformedPacket> {
    match bytes.first().map(|first| first >> 4) {
        None => Err(MalformedPacket::Short(layer)),
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(MalformedPacket::Version(found)),
    }
}

fn decode_ipv4(bytes: &[u8]) -> Result<IpPacket<'_>, MalformedPacket> {
    check_version(bytes, 4, PacketLayer::Ipv4)?;
    let header_length = usize::from(bytes[0] & 0x0F) * 4;
    if header_length < 20 {
        return Err(MalformedPacket::Length(PacketLayer::Ipv4));
    }
    let header = bytes.get(..header_length).ok_or(MalformedPacket::Short(PacketLayer::Ipv4))?;
    let read = || {
        let fragment = u16_at(header, 6)?;
        let (offset, has_more) = (u32::from(fragment & 0x1FFF) * 8, fragment & 0x2000 != 0);
        let identification = u32::from(u16_at(header, 4)?);
        Some(IpPacket {
            version: IpVersion::Four,
            source: IpAddr::from(Ipv4Addr::from(array_at(header, 12)?)),
            destination: IpAddr::from(Ipv4Addr::from(array_at(header, 16)?)),
            hop_limit: u8_at(header, 8)?,
            header_length,
            // Zero is what Linux writes for packets of more than 64 KiB that never leave the
            // machine whole (BIG TCP).
            total_length: Some(usize::from(u16_at(header, 2)?))
                .filter(|length| *length != 0)
                .unwrap_or(bytes.len()),
            options: header.get(20..)?,
            fragment: (offset != 0 || has_more).then_some(IpFragment {
                identification,
                offset,
                has_more,
            }),
            protocol: u8_at(header, 9)?,
            checksum: if checksum::sum(&[header]) == 0 { Checksum::Right } else { Checksum::Wrong },
            payload: &[],
        })
    };
    let network = read().ok_or(MalformedPacket::Short(PacketLayer::Ipv4))?;
    with_payload(network, bytes, PacketLayer::Ipv4)
}

/// The extension headers that are written as "next header, length in units of 8 bytes beyond the
/// first" (RFC 8200, section 4): hop-by-hop options, routing, destination options, mobility, host
/// identity, shim6.
const EXTENSIONS: [u8; 6] = [0, 43, 60, 135, 139, 140];
const FRAGMENT: u8 = 44;
/// The authentication header counts in units of 4 bytes, and from the third (RFC 4302, section
/// 2.2).
const AUTHENTICATION: u8 = 51;

fn decode_ipv6(bytes: &[u8]) -> Result<IpPacket<'_>, MalformedPacket> {
    check_version(bytes, 6, PacketLayer::Ipv6)?;
    let short = MalformedPacket::Short(PacketLayer::Ipv6);
    let (mut protocol, mut header_length, mut fragment) = (u8_at(bytes, 6).ok_or(short)?, 40, None);
    loop {
        let length_field = |unit: usize, more: usize| {
            u8_at(bytes, header_length + 1).map(|field| (usize::from(field) + more) * unit)
        };
        let length = match protocol {
            FRAGMENT => {
                let place = u16_at(bytes, header_length + 2).ok_or(short)?;
                let identification = u32_at(bytes, header_length + 4).ok_or(short)?;
                let (offset, has_more) = (u32::from(place & !7), place & 1 != 0);
                // A whole packet may carry the header all the same: an "atomic fragment" (RFC
                // 6946).
                if offset != 0 || has_more {
                    fragment = Some(IpFragment { identification, offset, has_more });
                }
                8
            }
            AUTHENTICATION => length_field(4, 2).ok_or(short)?,
            extension if EXTENSIONS.contains(&extension) => length_field(8, 1).ok_or(short)?,
            _ => break,
        };
        protocol = u8_at(bytes, header_length).ok_or(short)?;
        header_length += length;
        // Only the first part holds the headers that belong to what was cut up.
        if fragment.is_some_and(|fragment: IpFragment| fragment.offset != 0) {
            break;
        }
    }
    let read = || {
        let payload_length = Some(usize::from(u16_at(bytes, 4)?)).filter(|length| *length != 0);
        Some(IpPacket {
            version: IpVersion::Six,
            source: IpAddr::from(Ipv6Addr::from(array_at::<16>(bytes, 8)?)),
            destination: IpAddr::from(Ipv6Addr::from(array_at::<16>(bytes, 24)?)),
            hop_limit: u8_at(bytes, 7)?,
            header_length,
            // Zero is a jumbogram (RFC 2675), or a packet that fills its header and nothing else.
            total_length: payload_length.map_or(bytes.len(), |length| length + 40),
            options: bytes.get(40..header_length)?,
            fragment,
            protocol,
            checksum: Checksum::Unknown,
            payload: &[],
        })
    };
    let network = read().ok_or(short)?;
    with_payload(network, bytes, PacketLayer::Ipv6)
}

fn with_payload<'a>(
    network: IpPacket<'a>,
    bytes: &'a [u8],
    layer: PacketLayer,
) -> Result<IpPacket<'a>, MalformedPacket> {
    if network.total_length < network.header_length {
        return Err(MalformedPacket::Length(layer));
    }
    let end = network.total_length.min(bytes.len());
    Ok(IpPacket { payload: bytes.get(network.header_length..end).unwrap_or_default(), ..network })
}
