//! Why a packet cannot be read.

/// The layer of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketLayer {
    /// Ethernet, or what stands for it.
    Link,
    /// IPv4.
    Ipv4,
    /// IPv6, or one of its extension headers.
    Ipv6,
    /// TCP.
    Tcp,
}

/// Why a packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPacket {
    /// The bytes end before the header does.
    #[error("{0:?}: the header is cut off")]
    Short(PacketLayer),
    /// A length field that contradicts the header it stands in.
    #[error("{0:?}: a length is smaller than the header it counts")]
    Length(PacketLayer),
    /// The version of IP is neither what the link layer said nor one we know.
    #[error("{0} is no version of IP")]
    Version(u8),
}
