//! Capture of one TCP port's packets, where the kernel lets us: Linux, and `CAP_NET_RAW` in the network namespace.

#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
mod recorder;
#[cfg(target_os = "linux")]
mod stamps;

use std::io;

use crate::moment::Moment;
use crate::packet::link::Link;

#[cfg(target_os = "linux")]
pub use linux::{Capture, Stopper};
#[cfg(not(target_os = "linux"))]
pub use other::{Capture, Stopper};
pub use recorder::{Recorder, Recording};

/// What to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// On which interface; `None` for all.
    pub interface: Option<String>,
    /// Which TCP port, of either side; `None` for everything.
    pub port: Option<u16>,
    /// How many bytes of each packet are kept.
    pub packet_bytes: usize,
    /// How many bytes of packets the kernel holds until they are taken.
    pub kernel_bytes: usize,
}

impl Default for Config {
    /// Whole packets, also the 64 KiB ones of loopback; 16 MiB last for a moment in which nobody takes them.
    fn default() -> Self {
        Self { interface: None, port: None, packet_bytes: 65_549 + 64, kernel_bytes: 16 << 20 }
    }
}

/// Why there can be no capture.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// Not this system.
    #[error("packets can be captured on Linux only")]
    NotLinux,
    /// Not this process.
    #[error("this process may not capture packets: it has no CAP_NET_RAW (be root, or `setcap cap_net_raw+ep` on the program)")]
    NotPermitted,
    /// There is no such interface.
    #[error("there is no network interface {0:?}")]
    NoInterface(String),
    /// Anything else.
    #[error("the capture failed: {0}")]
    Failed(#[from] io::Error),
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To this host. What goes over loopback is told once, as this.
    Incoming,
    /// From this host.
    Outgoing,
    /// Neither: a broadcast, or another host's.
    Other,
}

/// A packet, as the kernel gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When the kernel saw it.
    pub at: Moment,
    /// How it begins.
    pub link: Link,
    /// On which interface, by the kernel's number.
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// How long it was.
    pub original_length: usize,
    /// Its bytes, or the first of them.
    pub bytes: Vec<u8>,
}

/// What [`Capture::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A packet.
    Packet(Captured),
    /// Nothing came in time.
    Idle,
    /// The stop handle was used, and nothing is left.
    Stopped,
}

/// How many packets there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// That passed the filter, dropped ones included.
    pub received: u64,
    /// That the kernel had no room for.
    pub dropped: u64,
    /// On an interface whose link layer we cannot read.
    pub unreadable: u64,
}

#[cfg(test)]
mod tests;
