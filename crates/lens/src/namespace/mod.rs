//! A network of two hosts inside one process, without root: two network namespaces, a cable and a road between them.
//!
//! On loopback segments are 64 KiB long and nothing is lost or late. On the cable they are what they would be on Ethernet, and
//! nothing else is on the wire. On the [`road`] they take their time too, and some are lost. It needs Linux that lets users have
//! namespaces (user_namespaces(7)), with virtual Ethernet (veth(4)) and packet sockets (packet(7)), and nothing else.

#[cfg(target_os = "linux")]
mod interface;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod message;
#[cfg(not(target_os = "linux"))]
mod other;
pub mod road;
#[cfg(target_os = "linux")]
mod visit;

use std::io;
use std::net::IpAddr;

#[cfg(target_os = "linux")]
pub use linux::Network;
#[cfg(not(target_os = "linux"))]
pub use other::Network;

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

/// Which end of the cable, and of the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the process is after it entered.
    Near,
    /// The other namespace.
    Far,
}

impl End {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Near, Self::Far];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }

    /// The name of its interface on the cable.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// Its address on the cable, of those that are kept for examples (RFC 5737, TEST-NET-1).
    pub fn ipv4(self) -> IpAddr {
        IpAddr::from([192, 0, 2, self.number()])
    }

    /// Its address on the cable, of those that are kept for examples (RFC 3849).
    pub fn ipv6(self) -> IpAddr {
        IpAddr::from([0x2001, 0xDB8, 0, 0, 0, 0, 0, u16::from(self.number())])
    }

    /// The name of its interface on the road.
    pub fn road_interface(self) -> &'static str {
        match self {
            Self::Near => "slow-near",
            Self::Far => "slow-far",
        }
    }

    /// Its address on the road, of those that are kept for examples (RFC 5737, TEST-NET-2).
    pub fn road_ipv4(self) -> IpAddr {
        IpAddr::from([198, 51, 100, self.number()])
    }

    /// Its address on the road, of those that are kept for examples (RFC 3849), in a network of its own.
    pub fn road_ipv6(self) -> IpAddr {
        IpAddr::from([0x2001, 0xDB8, 1, 0, 0, 0, 0, u16::from(self.number())])
    }

    fn number(self) -> u8 {
        match self {
            Self::Near => 1,
            Self::Far => 2,
        }
    }
}

/// The longest packet on the cable and on the road, in bytes, without the link layer: Ethernet's.
pub const MTU: u32 = 1500;
