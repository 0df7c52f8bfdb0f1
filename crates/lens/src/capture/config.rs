//! What to capture, and why it may not be possible.

use std::io;

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
    /// Whole packets, also the 64 KiB ones of loopback; 16 MiB bridge a moment in which none are
    /// taken.
    fn default() -> Self {
        Self { interface: None, port: None, packet_bytes: 65_549 + 64, kernel_bytes: 16 << 20 }
    }
}

/// Why there can be no capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Not this system.
    #[error("packets can be captured on Linux only")]
    NotLinux,
    /// Not this process.
    #[error(
        "this process may not capture packets: it has no CAP_NET_RAW (be root, or `setcap cap_net_raw+ep` on the program)"
    )]
    NotPermitted,
    /// There is no such interface.
    #[error("there is no network interface {0:?}")]
    NoInterface(String),
    /// Anything else.
    #[error("the capture failed: {0}")]
    Failed(#[from] io::Error),
}
