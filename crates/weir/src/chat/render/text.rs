//! Grapheme clusters, their widths in columns, and line breaking.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::style::{Paint, TextStyle};

/// Characters that must not start a row, and those that must not end one (W3C, Requirements for
/// Chinese Text Layout, §3.1.3).
const CLOSING: &str = "、。，．：；！？）」』】〉》〕］｝”’…—～·%,.:;!?)]}";
const OPENING: &str = "（「『【〈《〔［｛“‘([{";

/// One grapheme cluster, with its style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StyledCharacter {
    pub(crate) text: String,
    pub(crate) width: usize,
    pub(crate) style: TextStyle,
}

impl StyledCharacter {
    fn new(grapheme: &str, style: TextStyle) -> Self {
        Self { text: grapheme.to_owned(), width: grapheme.width(), style }
    }

    fn is_space(&self) -> bool {
        self.text == " "
    }

    fn is_line_end(&self) -> bool {
        self.text == "\n"
    }
}

/// The width in columns of a text without line ends.
pub(crate) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The width of cells in columns.
pub(crate) fn width_of(cells: &[StyledCharacter]) -> usize {
    cells.iter().map(|cell| cell.width).sum()
}

/// The characters of a text, without control characters: a model must neither move the cursor nor
/// change the direction of the text (Unicode TR 36, §2.10).
pub(crate) fn cells(text: &str, style: TextStyle) -> Vec<StyledCharacter> {
    let clean: String =
        text.chars().filter(|character| *character == '\n' || is_harmless(*character)).collect();
    clean.graphemes(true).map(|grapheme| StyledCharacter::new(grapheme, style)).collect()
}

/// Whether a character has no effect on the terminal but its glyph.
pub(crate) fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Rows of at most `columns`. A row ends after a space or next to a wide character if possible.
pub(crate) fn wrap(cells: &[StyledCharacter], columns: usize) -> Vec<Vec<StyledCharacter>> {
    let columns = columns.max(2);
    let mut rows = Vec::new();
    let (mut start, mut taken, mut chance) = (0, 0, 0);
    for (index, cell) in cells.iter().enumerate() {
        if cell.is_line_end() {
            rows.push(trimmed(&cells[start..index]));
            (start, taken, chance) = (index + 1, 0, index + 1);
            continue;
        }
        if taken + cell.width > columns && !cell.is_space() && index > start {
            let end = if chance > start { chance } else { index };
            rows.push(trimmed(&cells[start..end]));
            start = end;
            taken = width_of(&cells[start..index]);
        }
        taken += cell.width;
        if cells.get(index + 1).is_some_and(|next| may_end(cell, next)) {
            chance = index + 1;
        }
    }
    if start < cells.len() || rows.is_empty() {
        rows.push(trimmed(&cells[start..]));
    }
    rows
}

/// Rows of at most `columns`, cut where they are full: for code, whose spaces are significant.
pub(crate) fn cut(cells: &[StyledCharacter], columns: usize) -> Vec<Vec<StyledCharacter>> {
    let columns = columns.max(2);
    let mut rows = vec![Vec::new()];
    let mut taken = 0;
    for cell in cells {
        if taken + cell.width > columns {
            rows.push(Vec::new());
            taken = 0;
        }
        taken += cell.width;
        if let Some(row) = rows.last_mut() {
            row.push(cell.clone());
        }
    }
    rows
}

fn may_end(before: &StyledCharacter, after: &StyledCharacter) -> bool {
    if before.is_space() {
        return !after.is_space();
    }
    let is_beside_wide = before.width > 1 || after.width > 1;
    is_beside_wide
        && !CLOSING.contains(&after.text)
        && !OPENING.contains(&before.text)
        && !after.is_space()
}

fn trimmed(cells: &[StyledCharacter]) -> Vec<StyledCharacter> {
    let end = cells.iter().rposition(|cell| !cell.is_space()).map_or(0, |last| last + 1);
    cells[..end].to_vec()
}

/// The row's bytes for the terminal; neighbours in the same style share their sequences.
pub(crate) fn ansi(cells: &[StyledCharacter], paint: Paint) -> String {
    let mut text = String::new();
    for run in cells.chunk_by(|one, other| one.style == other.style) {
        let plain: String = run.iter().map(|cell| cell.text.as_str()).collect();
        text += &run.first().map_or(TextStyle::PLAIN, |cell| cell.style).paint(&plain, paint);
    }
    text
}
