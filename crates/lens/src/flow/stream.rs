//! The bytes that one side sent, in their order, with the time at which each was seen.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::moment::Moment;

/// When a part of a stream was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which bytes, counted from the stream's first.
    pub range: Range<u64>,
    /// When the segment that brought them first was captured.
    pub at: Moment,
    /// When a reader could have them: when all before them had come, too.
    pub readable: Moment,
    /// The number of that segment in its connection.
    pub segment: u64,
}

/// One direction's bytes.
#[derive(Clone, Debug, Default)]
pub struct ReassembledStream {
    bytes: Vec<u8>,
    length: u64,
    arrivals: Vec<Arrival>,
    gaps: Vec<Range<u64>>,
    pending: BTreeMap<u64, Pending>,
    pending_bytes: usize,
    max_bytes: usize,
    max_pending_bytes: usize,
}

#[derive(Clone, Debug)]
struct Pending {
    /// May be shorter than `length`, where the capture cut the packet.
    bytes: Vec<u8>,
    length: u64,
    at: Moment,
    segment: u64,
}

impl Pending {
    /// What holding it takes, about.
    fn cost(&self) -> usize {
        self.bytes.len() + 96
    }
}

/// How many parts are told apart by their time; later ones are joined to the last. Each costs 40
/// bytes.
const MAX_ARRIVALS: usize = 16_384;

impl ReassembledStream {
    pub(super) fn new(max_bytes: usize, max_pending_bytes: usize) -> Self {
        Self { max_bytes, max_pending_bytes, ..Self::default() }
    }

    /// The first bytes of the stream, up to the limit of what is kept. Bytes in [`Self::gaps`] are
    /// zero.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes have come without one missing before them, kept or not.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// When they came, in the order of the stream.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// Bytes that the receiver acknowledged but the capture never saw.
    pub fn gaps(&self) -> &[Range<u64>] {
        &self.gaps
    }

    /// When the byte at `offset` was seen.
    pub fn arrival(&self, offset: u64) -> Option<&Arrival> {
        let index = self.arrivals.partition_point(|arrival| arrival.range.end <= offset);
        self.arrivals.get(index).filter(|arrival| arrival.range.contains(&offset))
    }

    /// How many of the bytes in `range` have not been seen.
    pub(super) fn unseen(&self, range: Range<u64>) -> u64 {
        self.holes(range).map(|hole| hole.end - hole.start).sum()
    }

    /// The parts of `range` that have not been seen. What is pending does not overlap.
    fn holes(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut from = range.start.max(self.length);
        let end = range.end.max(from);
        let before = self.pending.range(..from).next_back();
        let pending = before
            .into_iter()
            .chain(self.pending.range(from..end))
            .map(|(start, pending)| (*start, start + pending.length));
        pending.chain([(end, end)]).filter_map(move |(start, end)| {
            let hole = from..start;
            from = from.max(end);
            (hole.start < hole.end).then_some(hole)
        })
    }

    /// Takes the payload of a segment whose first byte is at `offset`: `length` bytes, of which
    /// `bytes` were captured.
    pub(super) fn insert(
        &mut self,
        offset: u64,
        bytes: &[u8],
        length: u64,
        at: Moment,
        segment: u64,
    ) {
        let end = offset.saturating_add(length);
        if offset <= self.length {
            self.append(offset, bytes, length, at, at, segment);
            self.take_pending(at);
            return;
        }
        let holes: Vec<_> = self.holes(offset..end).collect();
        for hole in holes {
            let place =
                |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX).min(bytes.len());
            let part = Pending {
                bytes: bytes[place(hole.start)..place(hole.end)].to_vec(),
                length: hole.end - hole.start,
                at,
                segment,
            };
            if self.pending_bytes + part.cost() <= self.max_pending_bytes {
                self.pending_bytes += part.cost();
                self.pending.insert(hole.start, part);
            }
        }
    }

    /// The receiver has everything before `offset`, so what is missing was lost by the capture, not
    /// by the network.
    pub(super) fn skip_to(&mut self, offset: u64, at: Moment, segment: u64) {
        while self.length < offset {
            let end = self.pending.keys().next().copied().unwrap_or(offset).min(offset);
            let start = self.length;
            self.append(start, &[], end.saturating_sub(start), at, at, segment);
            self.take_pending(at);
        }
    }

    fn take_pending(&mut self, readable: Moment) {
        while let Some(first) = self.pending.first_entry()
            && *first.key() <= self.length
        {
            let (offset, pending) = first.remove_entry();
            self.pending_bytes -= pending.cost();
            self.append(
                offset,
                &pending.bytes,
                pending.length,
                pending.at,
                readable,
                pending.segment,
            );
        }
    }

    /// Appends what of these bytes is new.
    fn append(
        &mut self,
        offset: u64,
        bytes: &[u8],
        length: u64,
        at: Moment,
        readable: Moment,
        segment: u64,
    ) {
        let end = offset.saturating_add(length);
        if end <= self.length {
            return;
        }
        let (start, skipped) =
            (self.length, usize::try_from(self.length - offset).unwrap_or(usize::MAX));
        let new = bytes.get(skipped..).unwrap_or_default();
        let known_to = (start + new.len() as u64).min(end);
        if self.bytes.len() as u64 == start {
            let room = self.max_bytes - self.bytes.len();
            let kept = new.len().min(room);
            self.bytes.extend_from_slice(&new[..kept]);
            if known_to < end {
                let zeros = usize::try_from(end - known_to).unwrap_or(usize::MAX);
                self.bytes.resize(self.bytes.len() + zeros.min(room - kept), 0);
            }
        }
        if known_to < end {
            self.add_gap(known_to..end);
        }
        self.length = end;
        self.add_arrival(Arrival { range: start..end, at, readable, segment });
    }

    fn add_gap(&mut self, gap: Range<u64>) {
        let is_full = self.gaps.len() >= MAX_ARRIVALS;
        match self.gaps.last_mut() {
            // A joined gap may claim more than is missing, never less.
            Some(last) if is_full || last.end == gap.start => last.end = gap.end,
            Some(_) | None => self.gaps.push(gap),
        }
    }

    fn add_arrival(&mut self, arrival: Arrival) {
        if self.arrivals.len() < MAX_ARRIVALS {
            self.arrivals.push(arrival);
        } else if let Some(last) = self.arrivals.last_mut() {
            last.range.end = arrival.range.end;
        }
    }
}
