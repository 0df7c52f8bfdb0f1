//! The table for the terminal.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::advice::ADVICE;
use super::data::Report;
use super::labels::{COLUMNS, Labels};
use super::row::{Figure, row};
use crate::numbers::Measured;
use crate::plan::Cell;

/// All cells, and the verdicts, for a terminal of this width.
pub fn table(report: &Report, width: usize) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail, here and below.
    for line in wrap(&report.load.note().en, width.min(TEXT_WIDTH)) {
        let _ = writeln!(text, "{line}");
    }
    let mut group: Vec<&Measured> = Vec::new();
    for measured in &report.cells {
        let key = |measured: &Measured| measured.cell.map(|cell| (cell.dialect, cell.tls));
        if group.first().is_some_and(|first| key(first) != key(measured)) {
            rows(&mut text, &std::mem::take(&mut group), width);
        }
        group.push(measured);
    }
    rows(&mut text, &group, width);
    text.push('\n');
    for line in wrap(LEGEND, width.min(TEXT_WIDTH)) {
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
    for verdict in report.verdicts.iter().filter(|verdict| verdict.is_measured) {
        let ruling = verdict.words.en.to_uppercase();
        let (claim, evidence) =
            (verdict.claim.pick(Language::English), verdict.evidence.pick(Language::English));
        for (index, line) in wrap(claim, width.min(TEXT_WIDTH) - 4).iter().enumerate() {
            let number = if index == 0 { verdict.number() } else { "" };
            let _ = writeln!(text, "{number:>2}  {line}");
        }
        for line in wrap(&format!("{ruling}: {evidence}"), width.min(TEXT_WIDTH) - 4) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push_str("\nIn short:\n");
    for advice in ADVICE {
        let line = format!("{}: {}. {}.", advice.have.0, advice.take.0, advice.because.0);
        for (index, line) in wrap(&line, width.min(TEXT_WIDTH) - 4).iter().enumerate() {
            let _ = writeln!(text, "{}{line}", if index == 0 { "  - " } else { "    " });
        }
    }
    text
}

/// What the columns are.
const LEGEND: &str = "In parentheses: how many values. 1st: from asking to the first token, median. added: from the model to the client, median/slowest, or median/p99/slowest with 200 values \
and more. B/event: mostly of one token, median. B/token: all that came, over the tokens; wire: both ways, with the headers of TCP, IP and Ethernet. report.html has more columns.";

/// The widest text that is pleasant to read.
const TEXT_WIDTH: usize = 104;

/// Wraps text at word boundaries; only a single word can be longer than the width.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The rows of one dialect in clear, or through TLS. A column in which nothing was measured is left
/// out, and those for which there is no room.
fn rows(text: &mut String, group: &[&Measured], width: usize) {
    let words = Labels(Language::English);
    let Some(cell) = group.first().and_then(|measured| measured.cell) else { return };
    let name = |measured: &Measured| {
        measured.cell.map(|cell| words.cell(Cell { tls: false, ..cell })).unwrap_or_default()
    };
    let cells: Vec<Vec<String>> =
        group.iter().map(|measured| row(measured).iter().map(Figure::plain).collect()).collect();
    let is_measured = |column: usize| {
        group
            .iter()
            .zip(&cells)
            .any(|(measured, row)| measured.failed.is_none() && row[column] != "-")
    };
    let first =
        group.iter().map(|measured| name(measured).chars().count()).max().unwrap_or_default();
    let column_width = |index: usize, head: &str| {
        cells
            .iter()
            .map(|row| row[index].chars().count())
            .chain([head.chars().count()])
            .max()
            .unwrap_or_default()
    };
    let mut shown: Vec<(usize, &str, u8)> = COLUMNS
        .iter()
        .enumerate()
        .filter_map(|(index, column)| {
            let (head, gives_way) = column.short?;
            Some((index, head, gives_way))
        })
        .filter(|(index, ..)| is_measured(*index))
        .collect();
    let needed = |shown: &[(usize, &str, u8)]| {
        first + shown.iter().map(|(index, head, _)| 2 + column_width(*index, head)).sum::<usize>()
    };
    while needed(&shown) > width
        && let Some(most) = shown.iter().map(|(.., gives_way)| *gives_way).max()
        && most > 0
    {
        shown.retain(|(.., gives_way)| *gives_way != most);
    }
    let line = |name: &str, cell: &dyn Fn(usize, &str) -> String| {
        let cells = shown.iter().map(|(index, head, _)| {
            format!("  {:>width$}", cell(*index, head), width = column_width(*index, head))
        });
        format!("{name:first$}{}\n", cells.collect::<String>())
    };
    let tls = if cell.tls { "through TLS" } else { "in clear" };
    let _ = write!(text, "\n{}, {tls}\n", words.dialect(cell.dialect));
    *text += &line("", &|_, head| head.to_owned());
    for (measured, row) in group.iter().zip(&cells) {
        match &measured.failed {
            Some(why) => drop(writeln!(text, "{:first$}  not measured: {why}", name(measured))),
            None => *text += &line(&name(measured), &|index, _| row[index].clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Dialect, Transport, Version, cells};
    use crate::spread::Spread;

    #[test]
    fn lines_are_no_longer_than_a_terminal() {
        let long = "x".repeat(300);
        assert_eq!(
            wrap(&format!("{} {long} b", "a ".repeat(60).trim_end()), TEXT_WIDTH)
                .iter()
                .map(String::len)
                .collect::<Vec<_>>(),
            [103, 15, 300, 1]
        );
        assert_eq!(wrap("one line", TEXT_WIDTH), ["one line"]);
    }

    #[test]
    fn columns_give_way_in_a_narrow_terminal() {
        let all = cells(&[Dialect::Classic], &Transport::ALL, &Version::ALL, &[false]);
        let measured: Vec<Measured> = all
            .into_iter()
            .map(|cell| {
                let mut measured = Measured { cell: Some(cell), ..Measured::default() };
                measured.tokens = Some(36);
                measured.bytes.down.body = 12_345;
                measured.times.first_token_ms = Spread::of(vec![57.2; 6]);
                measured.times.added_ms = Spread::of((0..72).map(f64::from).collect());
                measured.event_bytes = Spread::of(vec![220.0; 72]);
                measured
            })
            .collect();
        let group: Vec<&Measured> = measured.iter().collect();
        let at = |width: usize| {
            let mut text = String::new();
            rows(&mut text, &group, width);
            text
        };
        let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
        let (narrow, wide) = (at(80), at(200));
        assert!(longest(&narrow) <= 80, "{narrow}");
        assert!(narrow.contains("added ms") && !narrow.contains("req."), "{narrow}");
        assert!(wide.contains("req.") && longest(&wide) > 80, "{wide}");
    }
}
