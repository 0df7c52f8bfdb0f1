//! What is remarkable about a segment.

/// What is remarkable about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentMark {
    /// It repeats bytes that were seen before, or only a SYN or a FIN.
    Retransmission {
        /// Bytes that had been seen.
        bytes: u64,
    },
    /// It brings bytes that belong before others that were seen already.
    OutOfOrder,
    /// Segments before it have not been seen.
    Gap,
    /// It acknowledges what was acknowledged already, while more is under way (RFC 5681, section
    /// 2).
    DuplicateAck,
    /// Its sender can take no more (RFC 9293, section 3.8.6).
    ZeroWindow,
    /// Its sender has room again, or more of it.
    WindowUpdate,
    /// It asks whether there is room again (RFC 9293, section 3.8.6.1).
    WindowProbe,
    /// It asks whether the other side is still there (RFC 9293, section 3.8.4).
    KeepAlive,
    /// It answers that, or a window probe.
    KeepAliveAnswer,
}
