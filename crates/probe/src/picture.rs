//! Pictures of text: the phases as bars on one axis, and a strip that shows when events arrived.

use std::time::Duration;

use crate::measure::Measured;
use crate::text::{Text, text};
use crate::trace::Trace;

/// The cells of a bar or strip.
pub(crate) const CELLS: usize = 52;

const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One phase: its name, when it started and how long it took, on the axis of all phases.
pub(crate) struct PhaseRow {
    pub(crate) name: Text,
    pub(crate) start: Duration,
    pub(crate) took: Duration,
}

/// The phases up to the first text, one after the other.
pub(crate) fn phases(run: &Measured) -> Vec<PhaseRow> {
    let mut rows = Vec::new();
    let mut at = Duration::ZERO;
    let mut row = |name: Text, took: Duration, at: &mut Duration| {
        rows.push(PhaseRow { name, start: *at, took });
        *at += took;
    };
    if let Some(dns) = run.connecting.dns {
        row(text!("DNS", "DNS"), dns, &mut at);
    }
    row(text!("TCP", "TCP"), run.connecting.tcp, &mut at);
    if let Some(tls) = &run.connecting.tls {
        row(text!("TLS", "TLS"), tls.duration, &mut at);
    }
    row(text!("head", "响应头"), run.phases.head, &mut at);
    let mut before = run.phases.head;
    let later = [
        (text!("first byte", "首字节"), run.phases.first_byte),
        (text!("first event", "首个事件"), run.phases.first_event),
        (text!("first text", "首段文本"), run.phases.first_text),
    ];
    for (name, moment) in later {
        if let Some(moment) = moment {
            row(name, moment.saturating_sub(before), &mut at);
            before = moment;
        }
    }
    rows
}

/// A bar from `start` for `took`, on an axis of `total`.
pub(crate) fn bar(start: Duration, took: Duration, total: Duration) -> String {
    let eighths = |duration: Duration| {
        let share = duration.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a few hundred eighths"
        )]
        let eighths = (share * (CELLS * 8) as f64).round() as usize;
        eighths.min(CELLS * 8)
    };
    let (from, to) = (eighths(start), eighths(start + took));
    // A cell's left part cannot be empty, so a bar starts with a whole cell.
    let from = from / 8;
    let length = to.saturating_sub(from * 8).max(1);
    let mut bar = " ".repeat(from.min(CELLS - 1));
    bar.extend(std::iter::repeat_n('█', length / 8));
    if !length.is_multiple_of(8) {
        bar.push(EIGHTHS[length % 8]);
    }
    bar
}

/// When events arrived, from the request to the end of the stream.
pub(crate) fn arrived(trace: &Trace, end: Duration) -> String {
    let times: Vec<Duration> = trace.arrivals.iter().map(|arrival| arrival.at).collect();
    strip(&times, end)
}

/// When events were sent; `None` if their source does not tell.
pub(crate) fn sent(trace: &Trace, end: Duration) -> Option<String> {
    let time = |sent_us: i64| Duration::from_micros(u64::try_from(sent_us).unwrap_or_default());
    let times: Option<Vec<Duration>> =
        trace.arrivals.iter().map(|arrival| arrival.sent_us.map(time)).collect();
    times.filter(|times| !times.is_empty()).map(|times| strip(&times, end))
}

/// A column for each part of the time; its height is the number of events in it, so that what
/// arrives together stands out.
fn strip(times: &[Duration], end: Duration) -> String {
    let mut counts = [0_usize; CELLS];
    let total = end.as_secs_f64().max(f64::MIN_POSITIVE);
    for time in times {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a column of a few dozen"
        )]
        let column = (time.as_secs_f64() / total * CELLS as f64) as usize;
        counts[column.min(CELLS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or_default();
    // Columns of an even stream are low: a quarter of the height.
    let full = most.max(4 * times.len().div_ceil(CELLS));
    let glyph = |count: usize| match count {
        0 => '·',
        count => HEIGHTS[(count * HEIGHTS.len()).div_ceil(full).clamp(1, HEIGHTS.len()) - 1],
    };
    counts.into_iter().map(glyph).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn an_even_stream_is_a_low_line_and_a_burst_a_peak() {
        let end = Duration::from_millis(1040);
        let even = strip(&milliseconds((0..104).map(|index| index * 10 + 5)), end);
        assert_eq!(even, "▂".repeat(CELLS));
        let late = strip(&milliseconds(std::iter::repeat_n(1039, 50)), end);
        assert_eq!(late, format!("{}█", "·".repeat(CELLS - 1)));
    }

    #[test]
    fn bars_stand_where_their_time_is() {
        let (half, whole) = (Duration::from_millis(500), Duration::from_millis(1000));
        assert_eq!(bar(Duration::ZERO, whole, whole), "█".repeat(CELLS));
        assert_eq!(bar(half, half, whole), format!("{}{}", " ".repeat(26), "█".repeat(26)));
        assert_eq!(bar(Duration::ZERO, Duration::ZERO, whole), "▏");
        assert!(bar(whole, Duration::ZERO, whole).chars().count() <= CELLS);
    }
}
