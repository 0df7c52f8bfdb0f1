//! A table: aligned columns, whatever the widths of their characters, narrower where space is
//! short, and a list where it is too short even for that.

use super::style::TextStyle;
use super::text::{StyledCharacter, cells, width_of, wrap};

/// The alignment of a column's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alignment {
    Left,
    Right,
    Middle,
}

/// Columns narrower than this are unreadable.
const NARROWEST: usize = 6;

/// The separator of two columns.
const BETWEEN: &str = " │ ";

/// The rows of a table with a head. Missing cells are empty; those beyond the head are left out.
pub(crate) fn draw(
    head: &[Vec<StyledCharacter>],
    sides: &[Alignment],
    rows: &[Vec<Vec<StyledCharacter>>],
    columns: usize,
) -> Vec<Vec<StyledCharacter>> {
    let natural = natural(head, rows);
    let room = columns.saturating_sub(BETWEEN.chars().count() * head.len().saturating_sub(1));
    let Some(widths) = fit(&natural, room) else {
        return listed(head, rows, columns);
    };
    let line = |row: &[Vec<StyledCharacter>],
                style: fn(TextStyle) -> TextStyle|
     -> Vec<Vec<StyledCharacter>> {
        let wrapped: Vec<Vec<Vec<StyledCharacter>>> = widths
            .iter()
            .enumerate()
            .map(|(index, width)| wrap(row.get(index).map_or(&[], Vec::as_slice), *width))
            .collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        (0..height)
            .map(|level| {
                let mut drawn = Vec::new();
                for (index, width) in widths.iter().enumerate() {
                    if index > 0 {
                        drawn.extend(cells(BETWEEN, TextStyle::PLAIN.dim()));
                    }
                    let mut text = wrapped
                        .get(index)
                        .and_then(|rows| rows.get(level))
                        .cloned()
                        .unwrap_or_default();
                    for cell in &mut text {
                        cell.style = style(cell.style);
                    }
                    let is_last = index + 1 == widths.len();
                    drawn.extend(placed(
                        text,
                        *width,
                        sides.get(index).copied().unwrap_or(Alignment::Left),
                        is_last,
                    ));
                }
                drawn
            })
            .collect()
    };
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    let rule = cells(&rule.join("─┼─"), TextStyle::PLAIN.dim());
    let mut drawn = line(head, TextStyle::bold);
    drawn.push(rule.clone());
    let bodies: Vec<Vec<Vec<StyledCharacter>>> =
        rows.iter().map(|row| line(row, |style| style)).collect();
    // Rows of more than one line need a separator.
    let is_tall = bodies.iter().any(|body| body.len() > 1);
    for (index, body) in bodies.into_iter().enumerate() {
        if is_tall && index > 0 {
            drawn.push(rule.clone());
        }
        drawn.extend(body);
    }
    drawn
}

/// The natural width of each column. Visits only existing cells, to stay linear in their number.
fn natural(head: &[Vec<StyledCharacter>], rows: &[Vec<Vec<StyledCharacter>>]) -> Vec<usize> {
    let mut natural: Vec<usize> = head.iter().map(|title| width_of(title).max(1)).collect();
    for row in rows {
        for (widest, cell) in natural.iter_mut().zip(row) {
            *widest = width_of(cell).max(*widest);
        }
    }
    natural
}

fn placed(
    mut text: Vec<StyledCharacter>,
    width: usize,
    side: Alignment,
    is_last: bool,
) -> Vec<StyledCharacter> {
    let free = width.saturating_sub(width_of(&text));
    let (before, after) = match side {
        Alignment::Left => (0, free),
        Alignment::Right => (free, 0),
        Alignment::Middle => (free / 2, free - free / 2),
    };
    let after = if is_last { 0 } else { after };
    let mut row = cells(&" ".repeat(before), TextStyle::PLAIN);
    row.append(&mut text);
    row.extend(cells(&" ".repeat(after), TextStyle::PLAIN));
    row
}

/// The widths of columns in `room`: the widest shrink first. `None` if they would be too narrow to
/// read.
fn fit(natural: &[usize], room: usize) -> Option<Vec<usize>> {
    let within =
        |limit: usize| natural.iter().map(|width| (*width).min(limit)).sum::<usize>() <= room;
    let widest = natural.iter().copied().max().unwrap_or(0);
    let mut fits = NARROWEST.min(widest);
    if !within(fits) {
        return None;
    }
    let mut beyond = widest + 1;
    while beyond - fits > 1 {
        let limit = fits.midpoint(beyond);
        if within(limit) { fits = limit } else { beyond = limit }
    }
    Some(natural.iter().map(|width| (*width).min(fits)).collect())
}

/// Each row as a list of `head: cell`. Long heads are cut to one line, since each row repeats them.
fn listed(
    head: &[Vec<StyledCharacter>],
    rows: &[Vec<Vec<StyledCharacter>>],
    columns: usize,
) -> Vec<Vec<StyledCharacter>> {
    let mut drawn = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            drawn.push(cells(&"─".repeat(columns.min(12)), TextStyle::PLAIN.dim()));
        }
        for (title, cell) in head.iter().zip(row) {
            let mut text: Vec<StyledCharacter> = title
                .iter()
                .take(columns)
                .map(|cell| StyledCharacter { style: cell.style.bold(), ..cell.clone() })
                .collect();
            if text.len() < title.len() {
                text.extend(cells("…", TextStyle::PLAIN.bold()));
            }
            if !text.is_empty() {
                text.extend(cells(": ", TextStyle::PLAIN.bold()));
            }
            text.extend(cell.iter().cloned());
            drawn.extend(wrap(&text, columns));
        }
    }
    if rows.is_empty() {
        drawn.extend(head.iter().flat_map(|title| wrap(title, columns)));
    }
    drawn
}
