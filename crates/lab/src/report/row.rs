//! A row of the tables: one cell of the comparison.

use super::labels::COLUMNS;
use crate::numbers::{Measured, Spread, ratio};

/// The cells of a row, in the order of the columns; a dash if not measured.
pub(super) fn row(measured: &Measured) -> [String; COLUMNS.len()] {
    let wire = measured.wire.as_ref();
    let times = &measured.times;
    let dash = || "-".to_owned();
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(dash, |value| format!("{value:.digits$}"))
    };
    let half =
        |spread: Option<Spread>, digits: usize| number(spread.map(|spread| spread.p50), digits);
    let both = |spread: Option<Spread>| {
        spread.map_or_else(dash, |spread| format!("{:.2}/{:.2}", spread.p50, spread.p99))
    };
    let per_token = |count: Option<u64>| {
        count.zip(measured.tokens).and_then(|(count, tokens)| ratio(count, tokens))
    };
    let tls = match (times.tls_full_ms, times.tls_resumed_ms) {
        (None, None) => dash(),
        (full, resumed) => format!("{}/{}", half(full, 2), half(resumed, 2)),
    };
    [
        measured.connections.to_string(),
        measured.requests.to_string(),
        wire.map_or_else(dash, |wire| {
            // Retransmissions are included in the counts.
            let again = if wire.retransmissions > 0 {
                format!(" (+{})", wire.retransmissions)
            } else {
                String::new()
            };
            format!("{}/{}/{}{again}", wire.syn, wire.fin, wire.rst)
        }),
        half(wire.and_then(|wire| wire.handshake_ms).or(times.connect_ms), 2),
        tls,
        half(times.first_token_ms, 1),
        both(times.gap_ms),
        both(times.added_ms),
        half(measured.event_bytes, 0),
        number(per_token(Some(measured.bytes.down.total())), 0),
        number(per_token(wire.map(|wire| wire.bytes_up + wire.bytes_down)), 0),
        number(per_token(wire.map(|wire| wire.segments_up + wire.segments_down)), 2),
        number(measured.processor_us_per_token, 0),
    ]
}
