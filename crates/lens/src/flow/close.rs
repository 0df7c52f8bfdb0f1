//! How a connection ends (RFC 9293, section 3.6): which side closes first, in how many segments,
//! and which side waits.

use super::direction::StreamDirection;
use super::mark::SegmentMark;
use super::segment::Segment;
use super::side::{PerSide, Side};
use crate::moment::Moment;
use crate::packet::tcp::TcpFlags;

/// How a connection ended, as far as was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnding {
    /// It has not.
    Open,
    /// One side will send no more; the other may (RFC 9293, section 3.6.1).
    HalfClosed {
        /// The side that sent the FIN.
        by: Side,
    },
    /// Both have sent a FIN, but one was not acknowledged.
    Closing {
        /// The side that sent the first FIN.
        first: Side,
    },
    /// Both FINs were acknowledged.
    Closed(Closed),
    /// One side ended it at once (RFC 9293, section 3.5.2).
    Reset {
        /// The side that sent the RST.
        by: Side,
    },
}

impl ConnectionEnding {
    /// Whether nothing can follow.
    pub fn is_over(self) -> bool {
        match self {
            Self::Closed(_) | Self::Reset { .. } => true,
            Self::Open | Self::HalfClosed { .. } | Self::Closing { .. } => false,
        }
    }

    /// Whether a side holds TIME-WAIT for twice the maximum segment lifetime (RFC 9293, section
    /// 3.6.1): the side that closed first, or both.
    pub fn holds_time_wait(self, side: Side) -> bool {
        match self {
            Self::Closed(closed) => closed.is_simultaneous || closed.first == side,
            Self::Open | Self::HalfClosed { .. } | Self::Closing { .. } | Self::Reset { .. } => {
                false
            }
        }
    }
}

/// An orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Whose FIN was captured first.
    pub first: Side,
    /// Whether the second FIN was sent before its sender had seen the first (figure 13).
    pub is_simultaneous: bool,
    /// In how many segments.
    pub steps: ClosingSteps,
}

/// How many segments an end took, repetitions left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingSteps {
    /// The second FIN acknowledged the first.
    Three,
    /// Each FIN had an acknowledgment of its own (figures 12 and 13).
    Four,
}

/// One side's FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinSegment {
    /// The segment's number in the connection.
    pub segment: u64,
    /// When it was captured.
    pub at: Moment,
    /// Its relative sequence number: the one after the last byte (RFC 9293, section 3.4).
    pub number: u64,
    /// Which segment acknowledged it.
    pub acknowledged: Option<u64>,
}

/// The steps of the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClosingSequence {
    /// Each side's FIN.
    pub fins: PerSide<Option<FinSegment>>,
    /// The side that sent the first FIN.
    pub first: Option<Side>,
    /// The first RST: its sender, its segment, and when.
    pub reset: Option<(Side, u64, Moment)>,
    /// Bytes that the other side sent after the first FIN: a half-closed connection at work.
    pub bytes_after_first: u64,
    /// When it was over, also where the segment with which it was is not listed.
    pub over_at: Option<Moment>,
    was_over_before_reset: bool,
}

impl ClosingSequence {
    /// How it ended.
    pub fn ending(&self) -> ConnectionEnding {
        match (self.reset, self.first) {
            (Some((by, ..)), _) if !self.was_over_before_reset => ConnectionEnding::Reset { by },
            (_, None) => ConnectionEnding::Open,
            (_, Some(first)) => self.orderly(first),
        }
    }

    /// The number of the segment with which it was over, if it is.
    pub fn over_since(&self) -> Option<u64> {
        match self.ending() {
            ConnectionEnding::Open
            | ConnectionEnding::HalfClosed { .. }
            | ConnectionEnding::Closing { .. } => None,
            ConnectionEnding::Reset { .. } => self.reset.map(|(_, segment, _)| segment),
            ConnectionEnding::Closed(_) => {
                self.fins.client?.acknowledged.max(self.fins.server?.acknowledged)
            }
        }
    }

    fn orderly(&self, first: Side) -> ConnectionEnding {
        let (Some(one), Some(two)) = (*self.fins.of(first), *self.fins.of(first.other())) else {
            return ConnectionEnding::HalfClosed { by: first };
        };
        let (Some(acknowledged), Some(_)) = (one.acknowledged, two.acknowledged) else {
            return ConnectionEnding::Closing { first };
        };
        let steps =
            if acknowledged == two.segment { ClosingSteps::Three } else { ClosingSteps::Four };
        ConnectionEnding::Closed(Closed {
            first,
            is_simultaneous: acknowledged > two.segment,
            steps,
        })
    }

    pub(super) fn observe(&mut self, segment: &Segment, directions: &PerSide<StreamDirection>) {
        self.step(segment, directions);
        if self.ending().is_over() {
            self.over_at = self.over_at.or(Some(segment.at));
        }
    }

    fn step(&mut self, segment: &Segment, directions: &PerSide<StreamDirection>) {
        let from = segment.from;
        if segment.flags.contains(TcpFlags::RST) {
            self.was_over_before_reset =
                self.reset.is_none() && self.ending().is_over() || self.was_over_before_reset;
            self.reset = self.reset.or(Some((from, segment.number, segment.at)));
            return;
        }
        if self.first == Some(from.other())
            && !segment.marks.iter().any(|mark| matches!(mark, SegmentMark::Retransmission { .. }))
        {
            self.bytes_after_first += segment.payload_bytes;
        }
        if segment.flags.contains(TcpFlags::FIN)
            && let Some(number) = directions.of(from).fin
        {
            let fin =
                FinSegment { segment: segment.number, at: segment.at, number, acknowledged: None };
            let fins = self.fins.of_mut(from);
            *fins = fins.or(Some(fin));
            self.first = self.first.or(Some(from));
        }
        if let (Some(fin), Some(acknowledgment)) =
            (self.fins.of_mut(from.other()), segment.relative_acknowledgment)
            && acknowledgment > fin.number
        {
            fin.acknowledged = fin.acknowledged.or(Some(segment.number));
        }
    }
}
