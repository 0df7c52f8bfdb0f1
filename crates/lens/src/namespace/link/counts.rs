//! What became of the frames of an emulated link.

use std::time::Duration;

/// What became of the frames that left an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// That came to the other end.
    pub arrived: u64,
    /// That were lost on request.
    pub lost: u64,
    /// That found the queue full.
    pub overflowed: u64,
    /// That the kernel had no room for before the relay took them or after it gave them. If there
    /// are any, the machine was too slow, and the link was not what its settings say. Where
    /// `net.core.rmem_max` is as small as Linux has it by default, a burst of some hundred long
    /// frames can be too much.
    pub missed: u64,
    /// That are still under way.
    pub in_flight: u64,
    /// How much later than they were due those that arrived were sent on, all together. None is
    /// ever early.
    pub late: Duration,
    /// The most that one of them was late.
    pub latest: Duration,
}

impl FrameCounts {
    /// How much later than they were due frames were sent on, on average.
    pub fn late_on_average(&self) -> Duration {
        self.late / u32::try_from(self.arrived).unwrap_or(u32::MAX).max(1)
    }
}
