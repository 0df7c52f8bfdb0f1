//! An emulated link: a second way between the ends, whose delay, bandwidth and losses are made by a thread of
//! this process.
//!
//! Each end has an interface on it, and a third namespace in the middle has the other ends of their
//! cables. There a relay takes every frame from one side and, when it is due, gives it to the
//! other. Frames are not changed, and they do not overtake each other. A frame waits until the
//! bottleneck is free, passes it at its rate, and travels for the delay.
//!
//! Each end knows for good where the other is, and has no other address: what programs send is on
//! the link, and next to nothing else, neither ARP (RFC 826) nor neighbour discovery (RFC 4861).

pub mod counts;
#[cfg(target_os = "linux")]
mod direction;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod relay;
pub mod settings;

#[cfg(target_os = "linux")]
pub use linux::{EmulatedLink, PendingLoss};
#[cfg(not(target_os = "linux"))]
pub use other::{EmulatedLink, PendingLoss};
