//! What one side of a connection sent, counted exactly.

use super::mark::SegmentMark;
use super::segment::Segment;
use crate::packet::tcp::TcpFlags;

/// Sums over all segments of one side, also over those that are not listed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentCounts {
    /// Segments of any kind.
    pub segments: u64,
    /// Bytes on the wire: link, network and transport headers, payload and padding. Neither the
    /// preamble nor the check sequence of Ethernet (24 bytes with the gap) can be seen by a
    /// capture.
    pub wire_bytes: u64,
    /// Bytes of headers in front of the network layer's.
    pub link_bytes: u64,
    /// Bytes of headers of IPv4 or IPv6, with options or extension headers.
    pub network_bytes: u64,
    /// Bytes of headers of TCP, with options.
    pub transport_bytes: u64,
    /// Bytes of payload, repetitions included.
    pub payload_bytes: u64,
    /// Segments with payload.
    pub data_segments: u64,
    /// Segments that only acknowledge: no payload, no SYN, FIN or RST.
    pub pure_acks: u64,
    /// Segments that repeat a byte, a SYN or a FIN; keep-alives are counted apart.
    pub retransmitted_segments: u64,
    /// Bytes of payload that had been seen before, without those of keep-alives.
    pub retransmitted_bytes: u64,
    /// Segments that arrived after one with a higher sequence number.
    pub out_of_order: u64,
    /// Acknowledgments of what was acknowledged before, while more is under way.
    pub duplicate_acks: u64,
    /// Segments that forbid the other side to send.
    pub zero_windows: u64,
    /// Probes of whether the other side is still there (RFC 9293, section 3.8.4).
    pub keep_alives: u64,
    /// Segments with SYN.
    pub syn: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
}

impl SegmentCounts {
    /// Bytes of all headers, and padding.
    pub fn header_bytes(&self) -> u64 {
        self.wire_bytes - self.payload_bytes.min(self.wire_bytes)
    }

    pub(super) fn add(&mut self, segment: &Segment) {
        self.segments += 1;
        self.wire_bytes += segment.wire_bytes;
        self.link_bytes += segment.link_bytes;
        self.network_bytes += segment.network_bytes;
        self.transport_bytes += segment.transport_bytes;
        self.payload_bytes += segment.payload_bytes;
        self.data_segments += u64::from(segment.payload_bytes > 0);
        self.pure_acks += u64::from(segment.is_pure_ack());
        for (flag, count) in [
            (TcpFlags::SYN, &mut self.syn),
            (TcpFlags::FIN, &mut self.fin),
            (TcpFlags::RST, &mut self.rst),
        ] {
            *count += u64::from(segment.flags.contains(flag));
        }
        for mark in &segment.marks {
            match mark {
                SegmentMark::Retransmission { bytes } => {
                    self.retransmitted_segments += 1;
                    self.retransmitted_bytes += bytes;
                }
                SegmentMark::OutOfOrder => self.out_of_order += 1,
                SegmentMark::DuplicateAck => self.duplicate_acks += 1,
                SegmentMark::ZeroWindow => self.zero_windows += 1,
                SegmentMark::KeepAlive => self.keep_alives += 1,
                SegmentMark::Gap
                | SegmentMark::KeepAliveAnswer
                | SegmentMark::WindowUpdate
                | SegmentMark::WindowProbe => {}
            }
        }
    }
}
