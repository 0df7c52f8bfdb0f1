//! Markdown that still grows, as rows for a terminal: what is whole is given out once and for all, what may still change
//! can be looked at as often as one likes. The rules are those of the page (web/js/markdown.js).

mod blocks;
mod code;
mod inline;
mod lines;
mod style;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use style::{Paint, TerminalColour, TextStyle};
pub(crate) use text::{is_harmless, width};

use blocks::Blocks;
use inline::Growth;
use text::{StyledCharacter, ansi, cells, wrap};

/// How it is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenderOptions {
    /// The width of the terminal.
    pub(crate) columns: usize,
    pub(crate) paint: Paint,
    /// What everything is based on.
    pub(crate) base: TextStyle,
}

/// A growing text.
#[derive(Debug, Default)]
pub(crate) struct Markdown {
    /// The line that has no end yet.
    rest: String,
    blocks: Blocks,
}

impl Markdown {
    /// Takes in more of the text; gives the rows that are now final, each with its line end.
    pub(crate) fn push(&mut self, text: &str, look: &RenderOptions) -> String {
        for character in text.chars() {
            match character {
                '\n' => self.blocks.line(&std::mem::take(&mut self.rest), look, Growth::Whole),
                '\r' => {}
                other => self.rest.push(other),
            }
        }
        std::mem::take(&mut self.blocks.out)
    }

    /// The rows that may still change.
    pub(crate) fn live(&self, look: &RenderOptions) -> Vec<String> {
        let mut blocks = self.blocks.clone();
        if !blocks.is_mark_of_code(&self.rest) && !self.rest.is_empty() {
            blocks.line(&self.rest, look, Growth::Grows);
        }
        blocks.finish(look, Growth::Grows);
        blocks.close(0, look, Growth::Grows);
        blocks.out.lines().map(str::to_owned).collect()
    }

    /// The text is whole: its last rows.
    pub(crate) fn end(&mut self, look: &RenderOptions) -> String {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.blocks.line(&rest, look, Growth::Whole);
        }
        self.blocks.finish(look, Growth::Whole);
        self.blocks.close(0, look, Growth::Whole);
        std::mem::take(&mut self.blocks.out)
    }
}

/// A text that is no Markdown and does not grow, in rows of at most `columns`. What stands behind a gap, as in a list of
/// commands, stays in a column of its own where there is room for one.
pub(crate) fn rows(text: &str, style: TextStyle, columns: usize, paint: Paint) -> Vec<String> {
    text.lines()
        .flat_map(|line| hanging(line, style, columns))
        .map(|row| ansi(&row, paint))
        .collect()
}

/// What makes a gap: two spaces may also stand between sentences.
const GAP: &str = "   ";

/// The narrowest column that is worth keeping: two or three words.
const COLUMN: usize = 16;

fn hanging(line: &str, style: TextStyle, columns: usize) -> Vec<Vec<StyledCharacter>> {
    let text = line.trim_start_matches(' ');
    let gap = text.find(GAP).map(|gap| line.len() - text[gap..].trim_start_matches(' ').len());
    let (head, rest) = line.split_at(gap.unwrap_or_default());
    let room = columns.saturating_sub(width(head));
    if head.is_empty() || room < COLUMN {
        return wrap(&cells(line, style), columns);
    }
    let margin = " ".repeat(width(head));
    let margins = std::iter::once(head).chain(std::iter::repeat(margin.as_str()));
    margins
        .zip(wrap(&cells(rest, style), room))
        .map(|(margin, row)| [cells(margin, style), row].concat())
        .collect()
}
