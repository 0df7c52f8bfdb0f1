//! What was seen of a stream: the reads of its body, the events in them, and the bursts that they
//! form. Times count from the request.

use std::time::Duration;

use crate::stats::Summary;

/// Reads that are closer than this belong to one burst: the segments of one write arrive within it
/// even on a slow line, and no model's tokens do.
const BURST_GAP: Duration = Duration::from_millis(2);

/// One read of the socket that returned bytes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// When it returned.
    pub at: Duration,
    /// Bytes of the body in it, as they were transferred: compressed, but without chunk sizes.
    pub bytes: usize,
    /// Whether the body was cut inside of an event here.
    pub ends_inside_event: bool,
}

/// An event that was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When the read that completed it returned.
    pub at: Duration,
    /// The length of its data.
    pub bytes: usize,
    /// When its source sent it, in microseconds from the request; may be negative within the
    /// uncertainty of the clocks. Only a calibrated source tells.
    pub sent_us: Option<i64>,
}

/// Everything that was seen of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The reads, in order.
    pub reads: Vec<Read>,
    /// The events, in order.
    pub arrivals: Vec<Arrival>,
    /// When the measuring machine did not run: from, to.
    pub stalls: Vec<(Duration, Duration)>,
}

/// Reads that arrived together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// When its first read returned.
    pub at: Duration,
    /// When its last read returned.
    pub until: Duration,
    /// How many reads it had.
    pub reads: usize,
    /// Bytes of the body in it.
    pub bytes: usize,
    /// How many events it completed.
    pub events: usize,
    /// Whether it ended inside of an event.
    pub ends_inside_event: bool,
}

impl Trace {
    /// The bursts, in order.
    pub fn bursts(&self) -> Vec<Burst> {
        let mut bursts: Vec<Burst> = Vec::new();
        for read in &self.reads {
            match bursts.last_mut().filter(|burst| read.at.saturating_sub(burst.until) <= BURST_GAP)
            {
                Some(burst) => {
                    burst.until = read.at;
                    burst.reads += 1;
                    burst.bytes += read.bytes;
                    burst.ends_inside_event = read.ends_inside_event;
                }
                None => bursts.push(Burst {
                    at: read.at,
                    until: read.at,
                    reads: 1,
                    bytes: read.bytes,
                    events: 0,
                    ends_inside_event: read.ends_inside_event,
                }),
            }
        }
        let mut arrivals = self.arrivals.iter().peekable();
        for burst in &mut bursts {
            while arrivals.next_if(|arrival| arrival.at <= burst.until).is_some() {
                burst.events += 1;
            }
        }
        bursts
    }

    /// The pauses between events, without those in which the measuring machine was stalled.
    pub fn gaps(&self) -> Summary {
        let (gaps, excluded) = self.gap_samples();
        Summary::of(gaps, excluded)
    }

    /// The samples of [`Self::gaps`], and how many were left out.
    pub(crate) fn gap_samples(&self) -> (Vec<Duration>, usize) {
        let (mut gaps, mut excluded) = (Vec::new(), 0);
        for (before, after) in self.arrivals.iter().zip(self.arrivals.iter().skip(1)) {
            if self.is_stalled(before.at, after.at) {
                excluded += 1;
            } else {
                gaps.push(after.at.saturating_sub(before.at));
            }
        }
        (gaps, excluded)
    }

    /// How long events were under way; `None` if their source does not tell when it sent them.
    pub fn delays(&self) -> Option<Summary> {
        let (delays, excluded) = self.delay_samples()?;
        Some(Summary::of(delays, excluded))
    }

    /// The samples of [`Self::delays`], and how many were left out.
    pub(crate) fn delay_samples(&self) -> Option<(Vec<Duration>, usize)> {
        let (mut delays, mut excluded) = (Vec::new(), 0);
        for arrival in &self.arrivals {
            let sent_us = arrival.sent_us?;
            let late = i64::try_from(arrival.at.as_micros()).unwrap_or(i64::MAX) - sent_us;
            let late = Duration::from_micros(u64::try_from(late).unwrap_or_default());
            if self.is_stalled(arrival.at.saturating_sub(late), arrival.at) {
                excluded += 1;
            } else {
                delays.push(late);
            }
        }
        Some((delays, excluded))
    }

    /// The first and the last event.
    pub(crate) fn span(&self) -> Option<(Duration, Duration)> {
        Some((self.arrivals.first()?.at, self.arrivals.last()?.at))
    }

    /// Bytes of the body.
    pub fn bytes(&self) -> usize {
        self.reads.iter().map(|read| read.bytes).sum()
    }

    fn is_stalled(&self, from: Duration, to: Duration) -> bool {
        self.stalls.iter().any(|(start, end)| *start < to && *end > from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn trace(events: &[u64]) -> Trace {
        let read = |at| Read { at, bytes: 100, ends_inside_event: false };
        let arrival = |at| Arrival { at, bytes: 90, sent_us: None };
        Trace {
            reads: events.iter().map(|event| read(at(*event))).collect(),
            arrivals: events.iter().map(|event| arrival(at(*event))).collect(),
            stalls: Vec::new(),
        }
    }

    #[test]
    fn reads_that_arrive_together_are_one_burst() {
        let bursts = trace(&[10, 11, 12, 40, 80, 81]).bursts();
        let seen: Vec<_> =
            bursts.iter().map(|burst| (burst.at, burst.events, burst.bytes)).collect();
        assert_eq!(seen, [(at(10), 3, 300), (at(40), 1, 100), (at(80), 2, 200)]);
    }

    #[test]
    fn gaps_of_a_stalled_machine_do_not_count() {
        let mut trace = trace(&[0, 10, 20, 500, 510, 520, 530]);
        trace.stalls.push((at(30), at(490)));
        let gaps = trace.gaps();
        assert_eq!((gaps.samples, gaps.excluded, gaps.max), (5, 1, Some(at(10))));
    }

    #[test]
    fn delays_are_measured_against_the_source() {
        let mut trace = trace(&[100, 110, 120, 130, 140]);
        for (arrival, sent) in trace.arrivals.iter_mut().zip([40, 50, 60, 70, 80]) {
            arrival.sent_us = Some(sent * 1000);
        }
        assert_eq!(trace.delays().and_then(|delays| delays.p50), Some(at(60)));
        trace.arrivals[3].sent_us = None;
        assert_eq!(trace.delays(), None);
    }
}
