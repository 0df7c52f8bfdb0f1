//! How a connection ends (RFC 9293, section 3.6): which side closes first, in how many segments,
//! and which side waits.

use super::direction::Direction;
use super::mark::Mark;
use super::segment::Segment;
use super::side::{Both, Side};
use crate::moment::Moment;
use crate::packet::tcp::Flags;

/// How a connection ended, as far as was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
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

impl Ending {
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
    pub steps: Steps,
}

/// How many segments an end took, repetitions left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// The second FIN acknowledged the first.
    Three,
    /// Each FIN had an acknowledgment of its own (figures 12 and 13).
    Four,
}

/// One side's FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fin {
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
pub struct Closing {
    /// Each side's FIN.
    pub fins: Both<Option<Fin>>,
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

impl Closing {
    /// How it ended.
    pub fn ending(&self) -> Ending {
        match (self.reset, self.first) {
            (Some((by, ..)), _) if !self.was_over_before_reset => Ending::Reset { by },
            (_, None) => Ending::Open,
            (_, Some(first)) => self.orderly(first),
        }
    }

    /// The number of the segment with which it was over, if it is.
    pub fn over_since(&self) -> Option<u64> {
        match self.ending() {
            Ending::Open | Ending::HalfClosed { .. } | Ending::Closing { .. } => None,
            Ending::Reset { .. } => self.reset.map(|(_, segment, _)| segment),
            Ending::Closed(_) => self.fins.client?.acknowledged.max(self.fins.server?.acknowledged),
        }
    }

    fn orderly(&self, first: Side) -> Ending {
        let (Some(one), Some(two)) = (*self.fins.of(first), *self.fins.of(first.other())) else {
            return Ending::HalfClosed { by: first };
        };
        let (Some(acknowledged), Some(_)) = (one.acknowledged, two.acknowledged) else {
            return Ending::Closing { first };
        };
        let steps = if acknowledged == two.segment { Steps::Three } else { Steps::Four };
        Ending::Closed(Closed { first, is_simultaneous: acknowledged > two.segment, steps })
    }

    pub(super) fn observe(&mut self, segment: &Segment, directions: &Both<Direction>) {
        self.step(segment, directions);
        if self.ending().is_over() {
            self.over_at = self.over_at.or(Some(segment.at));
        }
    }

    fn step(&mut self, segment: &Segment, directions: &Both<Direction>) {
        let from = segment.from;
        if segment.flags.contains(Flags::RST) {
            self.was_over_before_reset =
                self.reset.is_none() && self.ending().is_over() || self.was_over_before_reset;
            self.reset = self.reset.or(Some((from, segment.number, segment.at)));
            return;
        }
        if self.first == Some(from.other())
            && !segment.marks.iter().any(|mark| matches!(mark, Mark::Retransmission { .. }))
        {
            self.bytes_after_first += segment.payload_bytes;
        }
        if segment.flags.contains(Flags::FIN)
            && let Some(number) = directions.of(from).fin
        {
            let fin = Fin { segment: segment.number, at: segment.at, number, acknowledged: None };
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
