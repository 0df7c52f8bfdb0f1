//! The two ends of the cable, and of the link.

use std::net::IpAddr;

/// Which end of the cable, and of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkEnd {
    /// Where the process is after it entered.
    Near,
    /// The other namespace.
    Far,
}

impl NetworkEnd {
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

    /// The name of its interface on the link.
    pub fn link_interface(self) -> &'static str {
        match self {
            Self::Near => "slow-near",
            Self::Far => "slow-far",
        }
    }

    /// Its address on the link, of those that are kept for examples (RFC 5737, TEST-NET-2).
    pub fn link_ipv4(self) -> IpAddr {
        IpAddr::from([198, 51, 100, self.number()])
    }

    /// Its address on the link, of those that are kept for examples (RFC 3849), in a network of its
    /// own.
    pub fn link_ipv6(self) -> IpAddr {
        IpAddr::from([0x2001, 0xDB8, 1, 0, 0, 0, 0, u16::from(self.number())])
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Near => 1,
            Self::Far => 2,
        }
    }
}

/// The longest packet on the cable and on the link, in bytes, without the link layer: Ethernet's.
pub const MTU: u32 = 1500;
