//! The table for the terminal.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::words::{COLUMNS, Words};
use super::{Report, pick};
use crate::compare::claims::Ruling;
use crate::compare::numbers::{Measured, Spread, ratio};

/// The cells of a row, in the order of the columns; a dash is what was not measured.
pub(super) fn row(measured: &Measured) -> [String; COLUMNS.len()] {
    let wire = measured.wire.as_ref();
    let times = &measured.times;
    let dash = || "-".to_owned();
    let number = |value: Option<f64>, digits: usize| value.map_or_else(dash, |value| format!("{value:.digits$}"));
    let half = |spread: Option<Spread>, digits: usize| number(spread.map(|spread| spread.p50), digits);
    let both = |spread: Option<Spread>| spread.map_or_else(dash, |spread| format!("{:.2}/{:.2}", spread.p50, spread.p99));
    let per_token = |count: Option<u64>| count.zip(measured.tokens).and_then(|(count, tokens)| ratio(count, tokens));
    let tls = match (times.tls_full_ms, times.tls_resumed_ms) {
        (None, None) => dash(),
        (full, resumed) => format!("{}/{}", half(full, 2), half(resumed, 2)),
    };
    [
        measured.connections.to_string(),
        measured.requests.to_string(),
        wire.map_or_else(dash, |wire| format!("{}/{}/{}", wire.syn, wire.fin, wire.rst)),
        half(wire.and_then(|wire| wire.handshake_ms).or(times.connect_ms), 2),
        tls,
        half(times.first_token_ms, 1),
        both(times.gap_ms),
        both(times.added_ms),
        number(per_token(Some(measured.bytes.down.total())), 0),
        number(per_token(wire.map(|wire| wire.bytes_up + wire.bytes_down)), 0),
        number(per_token(wire.map(|wire| wire.segments_up + wire.segments_down)), 2),
        number(measured.processor_us_per_token, 0),
    ]
}

/// All cells, and the verdicts, for a terminal.
pub fn table(report: &Report) -> String {
    let words = Words(Language::English);
    let mut text = String::new();
    let mut group = None;
    let widths = widths(report);
    for measured in &report.cells {
        let Some(cell) = measured.cell else { continue };
        if group != Some((cell.dialect, cell.tls)) {
            group = Some((cell.dialect, cell.tls));
            let tls = if cell.tls { "through TLS" } else { "in clear" };
            let heads = COLUMNS
                .iter()
                .zip(&widths[1..])
                .fold(String::new(), |line, (column, width)| line + &format!("  {:>width$}", column.head.0));
            // Writing to a text cannot fail, here and below.
            let _ = write!(text, "\n{}, {tls}\n{:first$}{heads}\n", words.dialect(cell.dialect), "", first = widths[0]);
        }
        let name = format!("{}, {}", words.transport(cell.transport), words.version(cell));
        if let Some(why) = &measured.failed {
            let _ = writeln!(text, "{name:first$}  not measured: {why}", first = widths[0]);
            continue;
        }
        let cells = row(measured).iter().zip(&widths[1..]).fold(String::new(), |line, (cell, width)| line + &format!("  {cell:>width$}"));
        let _ = writeln!(text, "{name:first$}{cells}", first = widths[0]);
    }
    text.push('\n');
    for verdict in &report.verdicts {
        if verdict.ruling == Ruling::NotMeasured {
            continue;
        }
        let ruling = verdict.ruling.words().0.to_uppercase();
        let _ = write!(
            text,
            "{:>4}  {}\n      {ruling}: {}\n",
            verdict.id,
            pick(&verdict.claim, Language::English),
            pick(&verdict.evidence, Language::English)
        );
    }
    text
}

fn widths(report: &Report) -> Vec<usize> {
    let words = Words(Language::English);
    let mut widths: Vec<usize> = std::iter::once(0).chain(COLUMNS.iter().map(|column| column.head.0.len())).collect();
    for measured in report.cells.iter().filter(|measured| measured.failed.is_none()) {
        let Some(cell) = measured.cell else { continue };
        let name = words.transport(cell.transport).len() + 2 + words.version(cell).len();
        widths[0] = widths[0].max(name);
        for (width, cell) in widths[1..].iter_mut().zip(row(measured)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}
