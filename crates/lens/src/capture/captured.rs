//! What a capture gives: packets, and how many were missed.

use crate::moment::Moment;
use crate::packet::link::LinkType;

/// The direction of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketDirection {
    /// To this host. Packets on loopback are reported once, as this.
    Incoming,
    /// From this host.
    Outgoing,
    /// Neither: a broadcast, or another host's.
    Other,
}

/// A packet, as the kernel gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedPacket {
    /// When the kernel saw it.
    pub at: Moment,
    /// Its link layer.
    pub link: LinkType,
    /// On which interface, by the kernel's number.
    pub interface: u32,
    /// Which way it went.
    pub direction: PacketDirection,
    /// How long it was.
    pub original_length: usize,
    /// Its bytes, or the first of them.
    pub bytes: Vec<u8>,
}

/// What [`Capture::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureEvent {
    /// A packet.
    Packet(CapturedPacket),
    /// Nothing came in time.
    Idle,
    /// The stop handle was used, and nothing is left.
    Stopped,
}

/// How many packets there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStatistics {
    /// That passed the filter, dropped ones included.
    pub received: u64,
    /// That the kernel had no room for.
    pub dropped: u64,
    /// On an interface whose link layer we cannot read.
    pub unreadable: u64,
}
