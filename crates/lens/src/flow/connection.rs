//! One connection, from its first segment that was seen to its last.

use std::net::SocketAddr;
use std::time::Duration;

use super::close::{ClosingSequence, ConnectionEnding};
use super::direction::StreamDirection;
use super::limits::FlowLimits;
use super::mark::SegmentMark;
use super::segment::Segment;
use super::side::{PerSide, Side};
use crate::moment::Moment;
use crate::packet::DecodedPacket;
use crate::packet::network::IpPacket;
use crate::packet::options::TcpOptions;
use crate::packet::tcp::{TcpFlags, TcpSegment};

/// The three segments of RFC 9293, section 3.5, figure 6: each the number in the connection and the
/// time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpHandshake {
    /// The first SYN.
    pub syn: Option<(u64, Moment)>,
    /// The first SYN+ACK.
    pub syn_ack: Option<(u64, Moment)>,
    /// The acknowledgment of the server's SYN, which may carry data.
    pub ack: Option<(u64, Moment)>,
    /// Whether a SYN or SYN+ACK was repeated, so that the round trip cannot be told (Karn's rule,
    /// RFC 6298, section 3).
    pub is_repeated: bool,
}

impl TcpHandshake {
    /// From SYN to ACK: one round trip, wherever the capture was made.
    pub fn round_trip(&self) -> Option<Duration> {
        let ((_, syn), (_, ack)) = self.syn.zip(self.ack)?;
        (!self.is_repeated).then(|| ack.since(syn))
    }

    /// From SYN to SYN+ACK: the round trip, if the capture was made at the client.
    pub fn to_syn_ack(&self) -> Option<Duration> {
        let ((_, syn), (_, syn_ack)) = self.syn.zip(self.syn_ack)?;
        Some(syn_ack.since(syn))
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub struct TcpConnection {
    /// The two ends.
    pub addresses: PerSide<SocketAddr>,
    /// How it started.
    pub handshake: TcpHandshake,
    /// What each side sent.
    pub directions: PerSide<StreamDirection>,
    /// When its first segment was seen.
    pub started: Moment,
    /// When its last segment was seen.
    pub last: Moment,
    /// When another started between the same two addresses: nothing that came later is its own.
    pub replaced: Option<Moment>,
    segments: Vec<Segment>,
    total: u64,
    closing: ClosingSequence,
    limits: FlowLimits,
}

impl TcpConnection {
    pub(super) fn new(addresses: PerSide<SocketAddr>, at: Moment, limits: FlowLimits) -> Self {
        Self {
            addresses,
            handshake: TcpHandshake::default(),
            directions: PerSide {
                client: StreamDirection::new(limits),
                server: StreamDirection::new(limits),
            },
            started: at,
            last: at,
            replaced: None,
            segments: Vec::new(),
            total: 0,
            closing: ClosingSequence::default(),
            limits,
        }
    }

    /// Its segments, in the order of the capture, as many as are listed.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many segments there were, listed or not.
    pub fn total_segments(&self) -> u64 {
        self.total
    }

    /// How it ended, or whether it did.
    pub fn ending(&self) -> ConnectionEnding {
        self.closing.ending()
    }

    /// How it is being closed, step by step.
    pub fn closing(&self) -> &ClosingSequence {
        &self.closing
    }

    /// Which side an address is. Both addresses may be the same (a connection to oneself): then it
    /// is the client.
    pub fn side(&self, from: SocketAddr) -> Side {
        if from == self.addresses.client { Side::Client } else { Side::Server }
    }

    pub(super) fn push(
        &mut self,
        at: Moment,
        wire_bytes: u64,
        packet: &DecodedPacket<'_>,
        network: &IpPacket<'_>,
        tcp: &TcpSegment<'_>,
    ) -> Segment {
        let from = self.side(SocketAddr::new(network.source, tcp.source_port));
        let options = tcp.options();
        self.learn(from, tcp, &options);
        let mut segment = self.segment(from, at, wire_bytes, packet, network, tcp, options);
        segment.marks = self.marks(&segment);
        self.shake_hands(&segment);
        self.take_data(&segment, tcp.payload);
        self.take_acknowledgment(&segment);
        self.closing.observe(&segment, &self.directions);
        self.directions.of_mut(from).counts.add(&segment);
        self.last = at;
        self.total += 1;
        if self.segments.len() < self.limits.segments {
            self.segments.push(segment.clone());
        }
        segment
    }

    /// Initial numbers and what a SYN says.
    fn learn(&mut self, from: Side, tcp: &TcpSegment<'_>, options: &TcpOptions) {
        let own = self.directions.of_mut(from);
        let is_syn = tcp.flags.contains(TcpFlags::SYN);
        if is_syn {
            own.set_initial(tcp.sequence, true);
            own.window_scale = options.window_scale;
            own.maximum_segment_size = options.maximum_segment_size;
        } else if !tcp.flags.contains(TcpFlags::RST) {
            own.set_initial(tcp.sequence.wrapping_sub(1), false);
        }
        if tcp.flags.contains(TcpFlags::ACK) {
            self.directions
                .of_mut(from.other())
                .set_initial(tcp.acknowledgment.wrapping_sub(1), is_syn);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the layers of one packet")]
    fn segment(
        &self,
        from: Side,
        at: Moment,
        wire_bytes: u64,
        packet: &DecodedPacket<'_>,
        network: &IpPacket<'_>,
        tcp: &TcpSegment<'_>,
        options: TcpOptions,
    ) -> Segment {
        let (own, other) = (self.directions.of(from), self.directions.of(from.other()));
        let relative_sequence = own.relative(tcp.sequence);
        let acknowledgment = tcp.flags.contains(TcpFlags::ACK).then_some(tcp.acknowledgment);
        let is_syn = tcp.flags.contains(TcpFlags::SYN);
        // Scaling is in force only if both asked for it, and never in a SYN (RFC 7323, section
        // 2.2).
        let shift = match (is_syn, own.has_syn && other.has_syn) {
            (true, _) => Some(0),
            (false, true) => {
                Some(own.window_scale.filter(|_| other.window_scale.is_some()).unwrap_or(0))
            }
            (false, false) => None,
        };
        Segment {
            number: self.total,
            at,
            from,
            sequence: tcp.sequence,
            relative_sequence,
            acknowledgment,
            relative_acknowledgment: acknowledgment.and_then(|number| other.relative(number)),
            flags: tcp.flags,
            window: tcp.window,
            window_bytes: shift.map(|shift| u32::from(tcp.window) << shift),
            options,
            payload_bytes: tcp.payload_length as u64,
            wire_bytes,
            link_bytes: packet.link_length as u64,
            network_bytes: network.header_length as u64,
            transport_bytes: tcp.header_length as u64,
            checksum: tcp.checksum,
            offset: relative_sequence
                .and_then(|number| (number + u64::from(is_syn)).checked_sub(1)),
            marks: Vec::new(),
        }
    }

    fn marks(&self, segment: &Segment) -> Vec<SegmentMark> {
        let mut marks = Vec::new();
        let (own, other) =
            (self.directions.of(segment.from), self.directions.of(segment.from.other()));
        let flags = segment.flags;
        let is_plain = !flags.intersects(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
        if segment.window == 0 && !flags.intersects(TcpFlags::SYN | TcpFlags::RST) {
            marks.push(SegmentMark::ZeroWindow);
        }
        let Some(sequence) = segment.relative_sequence.filter(|_| !flags.contains(TcpFlags::RST))
        else {
            return marks;
        };
        let is_one_back = is_plain && segment.payload_bytes <= 1 && sequence + 1 == own.next;
        if is_plain
            && segment.payload_bytes <= 1
            && other.window == Some(0)
            && (is_one_back || segment.payload_bytes == 1)
        {
            marks.push(SegmentMark::WindowProbe);
        } else if is_one_back && own.acknowledged >= own.next {
            marks.push(SegmentMark::KeepAlive);
        } else if segment.sequence_length() > 0 {
            let is_repeated_syn = flags.contains(TcpFlags::SYN) && own.has_syn;
            let is_repeated_fin =
                flags.contains(TcpFlags::FIN) && own.fin == Some(sequence + segment.payload_bytes);
            let unseen = segment.offset.map_or(0, |offset| {
                own.stream.unseen(offset..offset.saturating_add(segment.payload_bytes))
            });
            let seen = segment.payload_bytes - unseen.min(segment.payload_bytes);
            if seen > 0 || is_repeated_syn || is_repeated_fin {
                marks.push(SegmentMark::Retransmission { bytes: seen });
            } else if sequence < own.next
                && segment.payload_bytes > 0
                && !flags.contains(TcpFlags::SYN)
            {
                marks.push(SegmentMark::OutOfOrder);
            } else if sequence > own.next && !flags.contains(TcpFlags::SYN) {
                marks.push(SegmentMark::Gap);
            }
        } else if segment.is_pure_ack()
            && segment.relative_acknowledgment == own.last_acknowledgment
        {
            if other.last_was_probe {
                marks.push(SegmentMark::KeepAliveAnswer);
            } else if own.window.is_some_and(|window| window != segment.window) {
                marks.push(SegmentMark::WindowUpdate);
            } else if segment.relative_acknowledgment.is_some_and(|number| number < other.next) {
                marks.push(SegmentMark::DuplicateAck);
            }
        }
        marks
    }

    fn shake_hands(&mut self, segment: &Segment) {
        let step = Some((segment.number, segment.at));
        let handshake = &mut self.handshake;
        match (
            segment.flags.contains(TcpFlags::SYN),
            segment.flags.contains(TcpFlags::ACK),
            segment.from,
        ) {
            (true, false, _) => {
                handshake.is_repeated |= handshake.syn.is_some();
                handshake.syn = handshake.syn.or(step);
            }
            (true, true, _) => {
                handshake.is_repeated |= handshake.syn_ack.is_some();
                handshake.syn_ack = handshake.syn_ack.or(step);
            }
            (false, true, Side::Client)
                if handshake.syn_ack.is_some() && !segment.flags.contains(TcpFlags::RST) =>
            {
                handshake.ack = handshake.ack.or(step);
            }
            (false, ..) => {}
        }
    }

    fn take_data(&mut self, segment: &Segment, payload: &[u8]) {
        let own = self.directions.of_mut(segment.from);
        own.has_syn |= segment.flags.contains(TcpFlags::SYN);
        own.last_was_probe = segment
            .marks
            .iter()
            .any(|mark| matches!(mark, SegmentMark::KeepAlive | SegmentMark::WindowProbe));
        own.window = Some(segment.window);
        // What a reset carries is a remark to people, not a part of the stream (RFC 9293, section
        // 3.5.3).
        let Some(sequence) =
            segment.relative_sequence.filter(|_| !segment.flags.contains(TcpFlags::RST))
        else {
            return;
        };
        if let Some(offset) = segment.offset.filter(|_| segment.payload_bytes > 0) {
            own.stream.insert(offset, payload, segment.payload_bytes, segment.at, segment.number);
        }
        own.next = own.next.max(sequence + segment.sequence_length());
        if segment.flags.contains(TcpFlags::FIN) {
            own.fin = Some(sequence + segment.payload_bytes);
        }
    }

    fn take_acknowledgment(&mut self, segment: &Segment) {
        let number =
            segment.relative_acknowledgment.filter(|_| !segment.flags.contains(TcpFlags::RST));
        self.directions.of_mut(segment.from).last_acknowledgment = number;
        let other = self.directions.of_mut(segment.from.other());
        other.last_was_probe = false;
        // Nothing can be under way that is more than the largest window (RFC 7323, section 2.3):
        // such a number is a forgery.
        let Some(number) = number.filter(|number| *number <= other.next + (1 << 30)) else {
            return;
        };
        other.acknowledged = other.acknowledged.max(number);
        other.next = other.next.max(number);
        let data_end = number.min(other.fin.unwrap_or(number));
        other.stream.skip_to(data_end.saturating_sub(1), segment.at, segment.number);
    }
}
