//! A road: a second way between the ends, whose delay, bandwidth and losses are made by a thread of this process.
//!
//! Each end has an interface on it, and a third namespace in the middle has the other ends of their cables. There a relay takes
//! every frame from one side and, when it is due, gives it to the other. Frames are not changed, and they do not overtake each
//! other. A frame waits until the narrow place is free, passes it at its rate, and travels for the delay.
//!
//! Each end knows for good where the other is, and has no other address: what programs send is on the road, and next to nothing
//! else, neither ARP (RFC 826) nor neighbour discovery (RFC 4861).

#[cfg(target_os = "linux")]
mod lane;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod relay;

use std::num::NonZero;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use linux::{Loss, Road};
#[cfg(not(target_os = "linux"))]
pub use other::{Loss, Road};

use crate::moment::Moment;

/// What a frame suffers when it leaves an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// How long it travels; the round trip has it from each end.
    pub delay: Duration,
    /// How many bytes pass the narrow place each second, the 14 of Ethernet's header included; `None` for as many as there are.
    pub bytes_per_second: Option<NonZero<u32>>,
}

/// How many frames wait at most for the narrow place to be free. What comes then is lost ("tail drop", RFC 7567, section 1).
/// It is what Linux's interfaces hold by default (`txqueuelen`).
pub const QUEUE_FRAMES: usize = 1000;

/// A segment that is to be lost: the next one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The TCP port of its sender or of its receiver.
    pub port: u16,
    /// How many bytes of payload it has at least.
    pub payload_bytes: usize,
}

/// A segment that was lost because it was told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When it came to the middle.
    pub at: Moment,
    /// The frame, from Ethernet's header on ([`Link::Ethernet`](crate::packet::link::Link::Ethernet)).
    pub bytes: Vec<u8>,
}

/// What became of the frames that left an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That came to the other end.
    pub arrived: u64,
    /// That were lost because they were told to be.
    pub lost: u64,
    /// That found the queue full.
    pub overflowed: u64,
    /// That the kernel had no room for before the relay took them or after it gave them. If there are any, the machine was
    /// too slow, and the road was not what its path says. Where `net.core.rmem_max` is as small as Linux has it by default, a
    /// burst of some hundred long frames can be too much.
    pub missed: u64,
    /// That are still under way.
    pub held: u64,
    /// How much later than they were due those that arrived were sent on, all together. None is ever early.
    pub late: Duration,
    /// The most that one of them was late.
    pub latest: Duration,
}

impl Counts {
    /// How much later than they were due frames were sent on, on average.
    pub fn late_on_average(&self) -> Duration {
        self.late / u32::try_from(self.arrived).unwrap_or(u32::MAX).max(1)
    }
}
