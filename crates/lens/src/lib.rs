//! Measurement: packets, connections, what they hold, and how the kernel sees them.

pub mod live;
