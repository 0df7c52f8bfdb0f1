//! One segment of TCP.

use super::mark::SegmentMark;
use super::side::Side;
use crate::moment::Moment;
use crate::packet::checksum::Checksum;
use crate::packet::options::TcpOptions;
use crate::packet::tcp::TcpFlags;

/// One segment, as it was on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number in the connection, from 0.
    pub number: u64,
    /// When it was captured.
    pub at: Moment,
    /// The sender.
    pub from: Side,
    /// Its sequence number.
    pub sequence: u32,
    /// The same, relative to the sender's initial one; `None` if it lies before that.
    pub relative_sequence: Option<u64>,
    /// The acknowledgment number, if it has one.
    pub acknowledgment: Option<u32>,
    /// The same, relative to the other side's initial one.
    pub relative_acknowledgment: Option<u64>,
    /// The control bits.
    pub flags: TcpFlags,
    /// The window as it was written.
    pub window: u16,
    /// The window in bytes; `None` where the scale is not known, since the handshake was not seen.
    pub window_bytes: Option<u32>,
    /// The options.
    pub options: TcpOptions,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Bytes of the whole packet.
    pub wire_bytes: u64,
    /// Bytes of the link layer's header.
    pub link_bytes: u64,
    /// Bytes of the network layer's header.
    pub network_bytes: u64,
    /// Bytes of TCP's header.
    pub transport_bytes: u64,
    /// Whether its checksum is right.
    pub checksum: Checksum,
    /// Where its payload lies in its side's stream: the place of its first byte.
    pub offset: Option<u64>,
    /// What is remarkable about it.
    pub marks: Vec<SegmentMark>,
}

impl Segment {
    /// Whether it does nothing but acknowledge.
    pub fn is_pure_ack(&self) -> bool {
        self.payload_bytes == 0
            && self.flags.contains(TcpFlags::ACK)
            && !self.flags.intersects(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST)
    }

    /// How many numbers it takes: a SYN and a FIN take one each (RFC 9293, section 3.4).
    pub fn sequence_length(&self) -> u64 {
        self.payload_bytes
            + u64::from(self.flags.contains(TcpFlags::SYN))
            + u64::from(self.flags.contains(TcpFlags::FIN))
    }
}
