//! What an emulated link does to frames.

use std::num::NonZero;
use std::time::Duration;

use crate::moment::Moment;

/// The delay and bandwidth for frames that leave an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// How long it travels; the round trip has it from each end.
    pub delay: Duration,
    /// How many bytes pass the bottleneck each second, the 14 of Ethernet's header included; `None`
    /// for as many as there are.
    pub bytes_per_second: Option<NonZero<u32>>,
}

/// How many frames wait at most for the bottleneck to be free. What comes then is lost ("tail
/// drop", RFC 7567, section 1). It is what Linux's interfaces hold by default (`txqueuelen`).
pub const QUEUE_FRAMES: usize = 1000;

/// A segment that is to be lost: the next one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossTarget {
    /// The TCP port of its sender or of its receiver.
    pub port: u16,
    /// How many bytes of payload it has at least.
    pub payload_bytes: usize,
}

/// A segment that was lost on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFrame {
    /// When it came to the middle.
    pub at: Moment,
    /// The frame, from Ethernet's header on
    /// ([`Link::Ethernet`](crate::packet::link::LinkType::Ethernet)).
    pub bytes: Vec<u8>,
}
