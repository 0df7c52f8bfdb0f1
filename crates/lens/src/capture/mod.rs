//! Capture of one TCP port's packets, where the kernel lets us: Linux, and `CAP_NET_RAW` in the
//! network namespace.

pub mod captured;
pub mod config;

#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
mod recorder;
#[cfg(target_os = "linux")]
mod stamps;

#[cfg(target_os = "linux")]
pub use linux::{CaptureStopper, PacketCapture};
#[cfg(not(target_os = "linux"))]
pub use other::{CaptureStopper, PacketCapture};
pub use recorder::{PacketRecorder, PacketRecording};

#[cfg(test)]
mod tests;
