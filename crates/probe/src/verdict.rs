//! The verdict: how the events of a stream arrive, and by which rule they are held back.

use std::time::Duration;

use crate::stats::{median, variation};
use crate::trace::{Burst, Trace};

/// With fewer events nothing can be said.
const FEWEST_EVENTS: usize = 8;

/// A source that takes at least this long to send does not send everything at one instant.
const SLOW_SOURCE: Duration = Duration::from_millis(300);

/// Below this a delay is noise: of a busy machine, or of a clock that is compared over the network.
const LATE: Duration = Duration::from_millis(40);

/// How a stream arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Each event by itself, when it is sent.
    Steady,
    /// Each event by itself, but all of them late. Only a calibrated source shows it.
    Late {
        /// The median delay.
        by: Duration,
    },
    /// Events are collected, and let through at regular times.
    ByTime {
        /// The time between two bursts.
        period: Duration,
    },
    /// Bytes are collected until a buffer is full.
    BySize {
        /// The bytes in a burst.
        bytes: usize,
    },
    /// Everything is held back until the response has ended.
    ToEnd,
    /// A compressor holds events back: without compression the stream is steady.
    Compressed,
    /// Several events arrive at a time, without a rule: the source sends so, or the line does.
    Uneven {
        /// The most events in one burst.
        most: usize,
    },
    /// It cannot be judged.
    Unknown(Unjudged),
}

/// Why a stream cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// It has too few events.
    TooFewEvents,
    /// Everything came within moments of the request: the source is too fast.
    TooFast,
}

impl Verdict {
    /// Its name in JSON and in thresholds.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Late { .. } => "late",
            Self::ByTime { .. } => "coalesced_by_time",
            Self::BySize { .. } => "coalesced_by_size",
            Self::ToEnd => "buffered_to_the_end",
            Self::Compressed => "compressed_without_flushing",
            Self::Uneven { .. } => "uneven",
            Self::Unknown(Unjudged::TooFewEvents) => "too_few_events",
            Self::Unknown(Unjudged::TooFast) => "too_fast_to_judge",
        }
    }

    /// The period of the bursts, or the delay of each event.
    pub fn duration(&self) -> Option<Duration> {
        if let Self::ByTime { period: duration } | Self::Late { by: duration } = self {
            return Some(*duration);
        }
        None
    }

    /// The bytes in a burst.
    pub fn size(&self) -> Option<usize> {
        if let Self::BySize { bytes } = self { Some(*bytes) } else { None }
    }

    /// Whether something holds events back.
    pub fn is_problem(&self) -> bool {
        match self {
            Self::Late { .. }
            | Self::ByTime { .. }
            | Self::BySize { .. }
            | Self::ToEnd
            | Self::Compressed => true,
            Self::Steady | Self::Uneven { .. } | Self::Unknown(_) => false,
        }
    }
}

/// What is known of a stream before it is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How long the source took to send the events, if it tells.
    pub sent_over: Option<Duration>,
    /// Whether the head has a `content-length`: something knew the end before it sent the head.
    pub has_length: bool,
    /// How far the clocks of source and client may differ; `None` if they were not compared.
    pub clock_error: Option<Duration>,
}

/// Judges one stream.
pub fn judge(trace: &Trace, known: Known) -> Verdict {
    let events = trace.arrivals.len();
    let bursts: Vec<Burst> =
        trace.bursts().into_iter().filter(|burst| burst.events > 0 || burst.bytes > 0).collect();
    let (Some((first, last)), true) = (trace.span(), events >= FEWEST_EVENTS) else {
        return Verdict::Unknown(Unjudged::TooFewEvents);
    };
    let most = bursts.iter().map(|burst| burst.events).max().unwrap_or_default();
    if is_steady(trace, &bursts) {
        return late(trace, known).unwrap_or(Verdict::Steady);
    }
    if most * 10 >= events * 9 {
        return judge_one_burst(first, last, &bursts, known);
    }
    by_rule(&bursts).unwrap_or(Verdict::Uneven { most })
}

/// Judges two streams of a calibrated source, the second of which sends more slowly. What is
/// collected by time has the same period in both, what is collected by size the same size.
pub fn judge_pair(fast: &Trace, fast_known: Known, slow: &Trace, slow_known: Known) -> Verdict {
    let (first, second) = (judge(fast, fast_known), judge(slow, slow_known));
    let is_held = |verdict: &Verdict| {
        matches!(verdict, Verdict::ByTime { .. } | Verdict::BySize { .. } | Verdict::Uneven { .. })
    };
    let rhythm = |trace: &Trace| {
        let bursts = trace.bursts();
        let inner = inner(&bursts);
        Some((median(intervals(inner))?, median(sizes(inner))?))
    };
    match (first, second) {
        (first, second) if is_held(&first) && is_held(&second) => {
            let (Some((fast_period, fast_size)), Some((slow_period, slow_size))) =
                (rhythm(fast), rhythm(slow))
            else {
                return first;
            };
            let by_period = (slow_period / fast_period).ln().abs();
            let by_size = (slow_size / fast_size).ln().abs();
            if by_period < by_size {
                Verdict::ByTime {
                    period: Duration::from_secs_f64(fast_period.midpoint(slow_period)),
                }
            } else {
                Verdict::BySize { bytes: whole(fast_size.midpoint(slow_size)) }
            }
        }
        // The slower stream fills fewer buffers, and may fit into one that the other one does not;
        // and a period may be shorter than the pause between two of its events.
        (first @ Verdict::BySize { .. }, Verdict::ToEnd)
        | (first @ Verdict::ByTime { .. }, Verdict::Steady | Verdict::Late { .. }) => first,
        (first, second) if first.is_problem() && !second.is_problem() => first,
        (_, second) => second,
    }
}

fn judge_one_burst(first: Duration, last: Duration, bursts: &[Burst], known: Known) -> Verdict {
    let most = bursts.iter().map(|burst| burst.events).max();
    let is_last = bursts
        .iter()
        .rfind(|burst| burst.events > 0)
        .is_some_and(|burst| Some(burst.events) == most);
    if let Some(sent_over) = known.sent_over {
        // The source needed longer to send than the client to receive.
        return if is_last && sent_over > last.saturating_sub(first) + SLOW_SOURCE / 2 {
            Verdict::ToEnd
        } else {
            Verdict::Unknown(Unjudged::TooFast)
        };
    }
    if is_last && (known.has_length || last >= SLOW_SOURCE) {
        return Verdict::ToEnd;
    }
    Verdict::Unknown(Unjudged::TooFast)
}

#[expect(clippy::cast_precision_loss, reason = "counts of events are small")]
fn is_steady(trace: &Trace, bursts: &[Burst]) -> bool {
    let events = trace.arrivals.len() as f64;
    let with_events = bursts.iter().filter(|burst| burst.events > 0).count() as f64;
    // A model's API may send two events for one token.
    if events / with_events <= 2.0 {
        return true;
    }
    // A fast source: its events are so close that they form long bursts, but each has a read of
    // its own.
    let duration =
        bursts.iter().map(|burst| burst.until.saturating_sub(burst.at).as_secs_f64()).sum::<f64>();
    events / trace.reads.len() as f64 <= 1.5 && duration / with_events >= 0.010
}

fn late(trace: &Trace, known: Known) -> Option<Verdict> {
    let by = trace.delays()?.p50?;
    let least = LATE + known.clock_error? * 2;
    (by > least).then_some(Verdict::Late { by })
}

/// The rule by which bursts are formed, from what varies less: their sizes or the times between
/// them.
fn by_rule(bursts: &[Burst]) -> Option<Verdict> {
    let inner = inner(bursts);
    let (sizes, intervals) = (sizes(inner), intervals(inner));
    let by_size = variation(&sizes)?;
    let by_time = variation(&intervals).unwrap_or(f64::INFINITY);
    let (size, period) = (median(sizes)?, median(intervals)?);
    let cut = inner.iter().filter(|burst| burst.ends_inside_event).count() * 10 >= inner.len() * 6;
    let size = Verdict::BySize { bytes: whole(size) };
    let time = Verdict::ByTime { period: Duration::from_secs_f64(period) };
    // What collects by size does not look at events, and cuts them.
    if cut && by_size < 0.25 {
        return Some(size);
    }
    match (by_size < 0.15, by_time < 0.25) {
        (true, true) => Some(if by_time <= by_size { time } else { size }),
        (true, false) => Some(size),
        (false, true) => Some(time),
        (false, false) => None,
    }
}

/// The bursts between the first and the last, which are cut short by the ends of the stream.
fn inner(bursts: &[Burst]) -> &[Burst] {
    match bursts {
        [_, inner @ .., _] if inner.len() >= 2 => inner,
        [inner @ .., _] => inner,
        [] => &[],
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of bursts are small")]
fn sizes(bursts: &[Burst]) -> Vec<f64> {
    bursts.iter().map(|burst| burst.bytes as f64).collect()
}

fn intervals(bursts: &[Burst]) -> Vec<f64> {
    bursts.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at).as_secs_f64()).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a median of sizes that came from usize"
)]
fn whole(bytes: f64) -> usize {
    bytes.round() as usize
}

#[cfg(test)]
mod tests;
