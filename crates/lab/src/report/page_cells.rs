//! The tables of the page: the lanes side by side, every cell, and the advice.

use std::fmt::Write;

use super::advice::ADVICE;
use super::data::Report;
use super::html::{both, each, pair, with_code};
use super::labels::{COLUMNS, EXPERIMENT_COLUMNS, Labels};
use super::row::{Figure, row};
use super::summary::{self, lanes};
use super::xml::escape;
use crate::bilingual::Bilingual;
use crate::numbers::{CutCost, Measured, MidStreamRequest};
use crate::plan::{Cell, Dialect};

/// The lanes side by side.
pub(super) fn summary_table(out: &mut String, report: &Report) {
    out.push_str("<table id=\"lanes\">");
    head(out, &summary::COLUMNS, &[4, 5]);
    let mut dialect: Option<Dialect> = None;
    for lane in lanes(&report.cells) {
        if dialect.replace(lane.cell.dialect) != Some(lane.cell.dialect) {
            group(out, lane.cell.dialect, "", summary::COLUMNS.len() + 1);
        }
        let name = each(|language| Labels(language).cell(lane.cell), "span");
        // The longest bar is 8em.
        let bytes = lane.bytes.map_or_else(
            || "-".to_owned(),
            |(bytes, share)| {
                format!(
                    "<i class=\"bar\" style=\"width:{:.2}em\"></i>{bytes:.0}",
                    (share * 8.0).max(0.1)
                )
            },
        );
        // Writing to a `String` cannot fail, here and below.
        let _ = writeln!(
            out,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{bytes}</td><td>{}</td><td class=\"words\">{}</td><td class=\"words\">{}</td></tr>",
            figure(&lane.first_text),
            figure(&lane.added),
            both(&lane.connections),
            both(&lane.cut),
            both(&lane.mid_stream)
        );
    }
    out.push_str("</tbody></table>\n");
}

/// The names of the columns of all cells.
pub(super) fn cell_columns() -> Vec<(&'static str, &'static str)> {
    COLUMNS.iter().chain(&EXPERIMENT_COLUMNS).map(|column| column.head).collect()
}

/// Every cell.
pub(super) fn cell_table(out: &mut String, report: &Report) {
    let columns = cell_columns();
    out.push_str("<table id=\"cells\">");
    head(out, &columns, &[COLUMNS.len(), COLUMNS.len() + 1]);
    let mut known = None;
    for measured in &report.cells {
        let Some(cell) = measured.cell else { continue };
        if known.replace((cell.dialect, cell.tls)) != Some((cell.dialect, cell.tls)) {
            let tls = if cell.tls { " · TLS" } else { "" };
            group(out, cell.dialect, tls, columns.len() + 1);
        }
        cell_row(out, measured, cell);
    }
    out.push_str("</tbody></table>\n");
}

fn cell_row(out: &mut String, measured: &Measured, cell: Cell) {
    let name = each(|language| Labels(language).cell(Cell { tls: false, ..cell }), "span");
    let _ = write!(out, "<tr><td>{name}</td>");
    if let Some(why) = &measured.failed {
        let columns = COLUMNS.len() + EXPERIMENT_COLUMNS.len();
        let _ =
            writeln!(out, "<td colspan=\"{columns}\" class=\"words\">{}</td></tr>", escape(why));
        return;
    }
    for number in row(measured) {
        let _ = write!(out, "<td>{}</td>", figure(&number));
    }
    let how = measured.cut.as_ref().and_then(|cut| cut.resumed_by).unwrap_or_default();
    let _ = writeln!(
        out,
        "<td class=\"words\" title=\"{}\">{}</td><td class=\"words\">{}</td></tr>",
        escape(how),
        both(&short_cut(measured.cut.as_ref())),
        both(&short_mid_stream(measured.mid_stream.as_ref()))
    );
}

/// What is left after a cut, in a narrow column.
fn short_cut(cut: Option<&CutCost>) -> Bilingual {
    let Some((cut, missing)) = cut.and_then(|cut| Some((cut, cut.missing?))) else {
        return Bilingual::new("-", "-");
    };
    match (cut.resumed_by, cut.pieces_whole) {
        (None, Some(whole)) => {
            Bilingual::new(format!("{missing}/{whole} lost"), format!("丢失 {missing}/{whole}"))
        }
        _ => Bilingual::new(format!("{missing} lost"), format!("丢失 {missing}")),
    }
}

/// The connections that a message of the client takes, in a narrow column.
fn short_mid_stream(request: Option<&MidStreamRequest>) -> Bilingual {
    request.map_or_else(
        || Bilingual::new("-", "-"),
        |request| {
            let new = request.new_connections;
            Bilingual::new(format!("+{new} conn."), format!("+{new} 连接"))
        },
    )
}

/// The five lines of advice.
pub(super) fn advice_table(out: &mut String, report: &Report) {
    out.push_str("<table id=\"advice\"><thead><tr>");
    for heading in [("You have", "你的情况"), ("Take", "选择"), ("Because", "原因")].map(pair)
    {
        let _ = write!(out, "<th>{heading}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for advice in ADVICE {
        let of = |(en, zh): (&str, &str)| with_code(&Bilingual::new(en, zh));
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            of(advice.have),
            of(advice.take),
            with_code(&advice.reason(&report.cells))
        );
    }
    out.push_str("</tbody></table>\n");
}

/// The head of a table. Some columns are words and stand at the left.
fn head(out: &mut String, columns: &[(&str, &str)], words: &[usize]) {
    out.push_str("<thead><tr><th></th>");
    for (index, column) in columns.iter().enumerate() {
        let class = if words.contains(&index) { " class=\"words\"" } else { "" };
        let _ = write!(out, "<th{class}>{}</th>", pair(*column));
    }
    out.push_str("</tr></thead><tbody>\n");
}

fn group(out: &mut String, dialect: Dialect, tls: &str, columns: usize) {
    let name = each(|language| format!("{}{tls}", Labels(language).dialect(dialect)), "span");
    let _ = writeln!(out, "<tr class=\"group\"><td colspan=\"{columns}\">{name}</td></tr>");
}

/// A number with the size of its sample.
fn figure(number: &Figure) -> String {
    let text = escape(&number.text);
    match &number.count {
        Some(count) => format!("{text} <small>({})</small>", escape(count)),
        None => text,
    }
}
