//! One side of a connection: what it sent, and what of it was remarkable.

use super::counts::SegmentCounts;
use super::limits::FlowLimits;
use super::sequence::{relative, wrapped};
use super::stream::ReassembledStream;

/// What one side sends. Numbers are relative to its initial sequence number, which counts as 0: the
/// first byte is 1.
#[derive(Clone, Debug)]
pub struct StreamDirection {
    /// The initial sequence number. Where no SYN was seen, it is the number before the first that
    /// was.
    pub initial: Option<u32>,
    /// Whether the initial number is known from a SYN, or from the acknowledgment of one.
    pub is_initial_certain: bool,
    /// The number after the highest that was sent.
    pub next: u64,
    /// The highest acknowledgment number of the other side.
    pub acknowledged: u64,
    /// The FIN's number.
    pub fin: Option<u64>,
    /// By how many bits its windows are shifted; `None` where its SYN was not seen or did not say.
    pub window_scale: Option<u8>,
    /// The largest segment that it takes, by its SYN.
    pub maximum_segment_size: Option<u16>,
    /// The last window that it offered, unshifted.
    pub window: Option<u16>,
    /// Its bytes.
    pub stream: ReassembledStream,
    /// Its sums.
    pub counts: SegmentCounts,
    pub(super) has_syn: bool,
    pub(super) last_acknowledgment: Option<u64>,
    pub(super) last_was_probe: bool,
}

impl StreamDirection {
    pub(super) fn new(limits: FlowLimits) -> Self {
        Self {
            initial: None,
            is_initial_certain: false,
            next: 0,
            acknowledged: 0,
            fin: None,
            window_scale: None,
            maximum_segment_size: None,
            window: None,
            stream: ReassembledStream::new(limits.stream_bytes, limits.pending_bytes),
            counts: SegmentCounts::default(),
            has_syn: false,
            last_acknowledgment: None,
            last_was_probe: false,
        }
    }

    /// The relative number of the absolute one.
    pub fn relative(&self, number: u32) -> Option<u64> {
        relative(self.initial?, self.next, number)
    }

    /// The absolute number of the relative one, as it is on the wire.
    pub fn absolute(&self, number: u64) -> Option<u32> {
        Some(self.initial?.wrapping_add(wrapped(number)))
    }

    /// Learns the initial number, the first time.
    pub(super) fn set_initial(&mut self, initial: u32, is_certain: bool) {
        if self.initial.is_none() {
            self.initial = Some(initial);
            self.is_initial_certain = is_certain;
            self.next = u64::from(!is_certain);
            self.acknowledged = self.next;
        }
    }
}
