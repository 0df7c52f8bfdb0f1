//! The link layer: Ethernet with VLAN tags, Linux's cooked headers, the loopback of the BSDs, or
//! none.

use super::bytes::{array_at, u16_at};
use super::malformed::{MalformedPacket, PacketLayer};

/// The link layer header of an interface's packets. The numbers are those of the registry of link
/// types (draft-ietf-opsawg-pcaplinktype).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet (IEEE 802.3), and what Linux's loopback pretends to be.
    Ethernet,
    /// `LINUX_SLL`, 16 bytes in place of what the interface has.
    Cooked,
    /// `LINUX_SLL2`, 20 bytes, with the number of the interface.
    Cooked2,
    /// The loopback of the BSDs and macOS: the address family in four bytes, in the byte order of
    /// the host.
    Null,
    /// No link layer: IPv4 or IPv6 at once.
    Raw,
}

impl LinkType {
    /// The number that stands for it in capture files.
    pub fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
        }
    }
}

/// Which network layer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

/// The link layer's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkHeader<'a> {
    pub(super) vlan: Option<u16>,
    /// `None` if what follows is not IP.
    pub(super) version: Option<IpVersion>,
    pub(super) payload: &'a [u8],
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86DD;

/// IEEE 802.1Q, 802.1ad, and the number that was used for the latter before it had one.
const ETHERTYPES_OF_TAGS: [u16; 3] = [0x8100, 0x88A8, 0x9100];

pub(super) fn decode(link: LinkType, bytes: &[u8]) -> Result<LinkHeader<'_>, MalformedPacket> {
    let header = match link {
        LinkType::Ethernet => {
            u16_at(bytes, 12).and_then(|ethertype| tagged(ethertype, bytes.get(14..)?))
        }
        LinkType::Cooked => {
            u16_at(bytes, 14).and_then(|ethertype| tagged(ethertype, bytes.get(16..)?))
        }
        LinkType::Cooked2 => {
            u16_at(bytes, 0).and_then(|ethertype| tagged(ethertype, bytes.get(20..)?))
        }
        LinkType::Null => array_at(bytes, 0).and_then(|family| {
            Some(LinkHeader { vlan: None, version: of_family(family), payload: bytes.get(4..)? })
        }),
        LinkType::Raw => bytes.first().map(|first| LinkHeader {
            vlan: None,
            version: of_nibble(first >> 4),
            payload: bytes,
        }),
    };
    header.ok_or(MalformedPacket::Short(PacketLayer::Link))
}

/// Goes through the tags (IEEE 802.1Q, clause 9) to what they hold. The outermost one names the
/// VLAN.
fn tagged(mut ethertype: u16, mut payload: &[u8]) -> Option<LinkHeader<'_>> {
    let mut vlan = None;
    while ETHERTYPES_OF_TAGS.contains(&ethertype) {
        let tag = u16_at(payload, 0)? & 0x0FFF; // the other four bits are priority and eligibility to be dropped
        vlan = vlan.or(Some(tag));
        ethertype = u16_at(payload, 2)?;
        payload = payload.get(4..)?;
    }
    let version = match ethertype {
        ETHERTYPE_IPV4 => Some(IpVersion::Four),
        ETHERTYPE_IPV6 => Some(IpVersion::Six),
        _ => None,
    };
    Some(LinkHeader { vlan, version, payload })
}

/// The families' numbers differ from system to system for IPv6: 24 on NetBSD, 28 on FreeBSD, 30 on
/// macOS, 10 on Linux.
fn of_family(family: [u8; 4]) -> Option<IpVersion> {
    match u32::from_be_bytes(family).min(u32::from_le_bytes(family)) {
        2 => Some(IpVersion::Four),
        10 | 24 | 28 | 30 => Some(IpVersion::Six),
        _ => None,
    }
}

fn of_nibble(nibble: u8) -> Option<IpVersion> {
    match nibble {
        4 => Some(IpVersion::Four),
        6 => Some(IpVersion::Six),
        _ => None,
    }
}
