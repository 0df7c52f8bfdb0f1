//! TCP segments (RFC 9293, section 3.1).

use std::fmt;

use super::bytes::{u16_at, u32_at};
use super::checksum::Checksum;
use super::malformed::{MalformedPacket, PacketLayer};
use super::network::IpPacket;
use super::options::{TcpOptionIterator, TcpOptions};

/// IANA's number.
pub const PROTOCOL: u8 = 6;

/// One segment.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The number of the first byte, or of the SYN.
    pub sequence: u32,
    /// The number that is expected next, if [`TcpFlags::ACK`].
    pub acknowledgment: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// How much more may be sent to the sender of this, before it is shifted by the window scale.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Whether the checksum is right.
    pub checksum: Checksum,
    /// Bytes of the header, with options.
    pub header_length: usize,
    /// The options, as bytes.
    pub option_bytes: &'a [u8],
    /// Bytes of the payload, by the network layer's length.
    pub payload_length: usize,
    /// The payload, as far as it was captured.
    pub payload: &'a [u8],
}

impl<'a> TcpSegment<'a> {
    /// Each option, in its order.
    pub fn option_iterator(&self) -> TcpOptionIterator<'a> {
        TcpOptionIterator::new(self.option_bytes)
    }

    /// The options that are known, by name.
    pub fn options(&self) -> TcpOptions {
        TcpOptions::read(self.option_bytes)
    }
}

/// The control bits (section 3.1; ECE and CWR: RFC 3168; AE: RFC 9768).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No more from the sender.
    pub const FIN: Self = Self(0x001);
    /// The sequence number is the initial one.
    pub const SYN: Self = Self(0x002);
    /// The connection is no more.
    pub const RST: Self = Self(0x004);
    /// What came so far is to be handed to the reader.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment number holds.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer holds.
    pub const URG: Self = Self(0x020);
    /// Congestion was seen.
    pub const ECE: Self = Self(0x040);
    /// The sender has slowed down.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN.
    pub const AE: Self = Self(0x100);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::SYN, "SYN"),
        (Self::FIN, "FIN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::ACK, "ACK"),
        (Self::URG, "URG"),
        (Self::ECE, "ECE"),
        (Self::CWR, "CWR"),
        (Self::AE, "AE"),
    ];

    /// Whether all of `others` are set.
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any of `others` is set.
    pub fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl std::ops::BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(formatter, "{separator}{name}")?;
            separator = "+";
        }
        if separator.is_empty() { formatter.write_str("none") } else { Ok(()) }
    }
}

pub(super) fn decode<'a>(network: &IpPacket<'a>) -> Result<TcpSegment<'a>, MalformedPacket> {
    let bytes = network.payload;
    let bits = u16_at(bytes, 12).ok_or(MalformedPacket::Short(PacketLayer::Tcp))?;
    let header_length = usize::from(bits >> 12) * 4;
    if header_length < 20 || header_length > network.payload_length() {
        return Err(MalformedPacket::Length(PacketLayer::Tcp));
    }
    let read = || {
        Some(TcpSegment {
            source_port: u16_at(bytes, 0)?,
            destination_port: u16_at(bytes, 2)?,
            sequence: u32_at(bytes, 4)?,
            acknowledgment: u32_at(bytes, 8)?,
            flags: TcpFlags(bits & 0x1FF),
            window: u16_at(bytes, 14)?,
            urgent: u16_at(bytes, 18)?,
            checksum: network.transport_checksum(u16_at(bytes, 16)?),
            header_length,
            option_bytes: bytes.get(20..header_length)?,
            payload_length: network.payload_length() - header_length,
            payload: bytes.get(header_length..)?,
        })
    };
    read().ok_or(MalformedPacket::Short(PacketLayer::Tcp))
}
