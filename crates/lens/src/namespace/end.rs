//! The two ends of the cable, and of the road.

use std::net::IpAddr;

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

    /// Its address on the road, of those that are kept for examples (RFC 3849), in a network of its
    /// own.
    pub fn road_ipv6(self) -> IpAddr {
        IpAddr::from([0x2001, 0xDB8, 1, 0, 0, 0, 0, u16::from(self.number())])
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Near => 1,
            Self::Far => 2,
        }
    }
}

/// The longest packet on the cable and on the road, in bytes, without the link layer: Ethernet's.
pub const MTU: u32 = 1500;
