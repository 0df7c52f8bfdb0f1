//! The table for the terminal.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::data::Report;
use super::labels::{COLUMNS, Labels};
use super::row::row;
use crate::numbers::Measured;

/// All cells, and the verdicts, for a terminal.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    let mut group: Vec<&Measured> = Vec::new();
    for measured in &report.cells {
        let key = |measured: &Measured| measured.cell.map(|cell| (cell.dialect, cell.tls));
        if group.first().is_some_and(|first| key(first) != key(measured)) {
            rows(&mut text, &std::mem::take(&mut group));
        }
        group.push(measured);
    }
    rows(&mut text, &group);
    // Writing to a `String` cannot fail, here and below.
    let _ = writeln!(
        text,
        "\n1st: from asking to the first token, p50. added: from the model to the client, p50/p99. B/event: mostly of one\ntoken. B/token: all that came, over the tokens; wire: both ways, with the heads of TCP, IP and Ethernet.\n"
    );
    for verdict in report.verdicts.iter().filter(|verdict| verdict.is_measured) {
        let ruling = verdict.words.en.to_uppercase();
        let (claim, evidence) =
            (verdict.claim.pick(Language::English), verdict.evidence.pick(Language::English));
        let _ = writeln!(text, "{:>2}  {claim}", verdict.number());
        for line in wrap(&format!("{ruling}: {evidence}")) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// The width of text, about that of the tables.
const TEXT_WIDTH: usize = 104;

/// Wraps text at word boundaries; only a single word can be longer than the width.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= TEXT_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The rows of one dialect in clear, or through TLS. A column in which nothing was measured is left
/// out.
fn rows(text: &mut String, group: &[&Measured]) {
    let words = Labels(Language::English);
    let Some(cell) = group.first().and_then(|measured| measured.cell) else { return };
    let name = |measured: &Measured| {
        measured
            .cell
            .map(|cell| format!("{}, {}", words.transport(cell.transport), words.version(cell)))
            .unwrap_or_default()
    };
    let cells: Vec<_> = group.iter().map(|measured| row(measured)).collect();
    let is_measured = |column: usize| {
        group
            .iter()
            .zip(&cells)
            .any(|(measured, row)| measured.failed.is_none() && row[column] != "-")
    };
    let shown: Vec<(usize, &str)> = COLUMNS
        .iter()
        .enumerate()
        .filter_map(|(index, column)| Some((index, column.short?)))
        .filter(|(index, _)| is_measured(*index))
        .collect();
    let width = |index: usize, head: &str| {
        cells
            .iter()
            .map(|row| row[index].chars().count())
            .chain([head.chars().count()])
            .max()
            .unwrap_or_default()
    };
    let first =
        group.iter().map(|measured| name(measured).chars().count()).max().unwrap_or_default();
    let line = |name: &str, cell: &dyn Fn(usize, &str) -> String| {
        let cells = shown.iter().map(|(index, head)| {
            format!("  {:>width$}", cell(*index, head), width = width(*index, head))
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

    #[test]
    fn lines_are_no_longer_than_a_terminal() {
        let long = "x".repeat(300);
        assert_eq!(
            wrap(&format!("{} {long} b", "a ".repeat(60).trim_end()))
                .iter()
                .map(String::len)
                .collect::<Vec<_>>(),
            [103, 15, 300, 1]
        );
        assert_eq!(wrap("one line"), ["one line"]);
    }
}
