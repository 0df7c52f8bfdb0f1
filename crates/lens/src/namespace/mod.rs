//! A network of two hosts inside one process, without root: two network namespaces and a cable between them.
//!
//! On loopback segments are 64 KiB long and nothing is lost or late. Here they are what they would be on Ethernet, and nothing
//! else is on the wire. It needs Linux that lets users have namespaces (user_namespaces(7)).

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod message;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use linux::Network;

/// Why there can be no such network.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// Not this system.
    #[error("network namespaces exist on Linux only")]
    NotLinux,
    /// Threads run already, and a user namespace is entered by whole processes only.
    #[error("this process has threads already: a user namespace must be entered before any is started")]
    Threads,
    /// The system forbids it.
    #[error("this system lets no user have {what} ({source}); see user.max_user_namespaces, AppArmor, or the container's seccomp profile")]
    NotPermitted {
        /// What it does not let us have.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The kernel has been built without something.
    #[error("this kernel has no {what} ({source})")]
    Missing {
        /// What it has not.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{what}: {source}")]
    Failed {
        /// What was done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Unable {
    #[cfg(target_os = "linux")]
    fn new(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EUSERS) => Self::NotPermitted { what, source },
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENOSYS | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => {
                Self::Missing { what, source }
            }
            _ => Self::Failed { what, source },
        }
    }
}

/// Which end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the process is after it entered.
    Near,
    /// The other namespace.
    Far,
}

impl End {
    /// The name of its interface.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// Its address, of those that are kept for examples (RFC 5737).
    pub fn ipv4(self) -> IpAddr {
        match self {
            Self::Near => IpAddr::from([192, 0, 2, 1]),
            Self::Far => IpAddr::from([192, 0, 2, 2]),
        }
    }

    /// Its address, of those that are kept for examples (RFC 3849).
    pub fn ipv6(self) -> IpAddr {
        match self {
            Self::Near => IpAddr::from([0x2001, 0xDB8, 0, 0, 0, 0, 0, 1]),
            Self::Far => IpAddr::from([0x2001, 0xDB8, 0, 0, 0, 0, 0, 2]),
        }
    }
}

/// What a packet suffers when it leaves an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// How long it takes; the round trip has it from each end.
    pub delay: Duration,
    /// Bytes per second that pass; `None` for as many as there are.
    pub bytes_per_second: Option<u32>,
}

/// The longest packet on the cable, in bytes, without the link layer: Ethernet's.
pub const MTU: u32 = 1500;

/// The network, which there is none of on this system.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Network(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl Network {
    /// Says why not.
    pub fn enter() -> Result<Self, Unable> {
        Err(Unable::NotLinux)
    }

    /// Gives an end a delay or a narrower path.
    pub fn shape(&self, _: End, _: Path) -> Result<(), Unable> {
        match self.0 {}
    }

    /// Does something with this thread at an end.
    pub fn at<T>(&self, _: End, _: impl FnOnce() -> T) -> Result<T, Unable> {
        match self.0 {}
    }

    /// Makes a program begin at an end.
    pub fn start_at(&self, _: End, _: &mut std::process::Command) {
        match self.0 {}
    }
}
