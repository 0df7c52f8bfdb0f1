//! Growing Markdown as rows for a terminal: final rows are returned once, rows that may still
//! change on request. The rules are those of the page (web/js/markdown.js).

pub(super) mod style;
pub(super) mod text;

mod blocks;
mod code;
mod inline;
mod lines;
mod table;

#[cfg(test)]
mod tests;

use blocks::Blocks;
use inline::Growth;
use style::{Paint, RenderOptions, TextStyle};
use text::{StyledCharacter, ansi, cells, width, wrap};

#[derive(Debug, Default)]
pub(crate) struct Markdown {
    /// The incomplete last line.
    rest: String,
    blocks: Blocks,
}

impl Markdown {
    /// Adds text; returns the rows that are now final, each with its line end.
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

    /// Ends the text; returns its last rows.
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

/// A complete text that is not Markdown, in rows of at most `columns`. Text after a gap, as in a
/// list of commands, keeps a column of its own where there is room for one.
pub(crate) fn rows(text: &str, style: TextStyle, columns: usize, paint: Paint) -> Vec<String> {
    text.lines()
        .flat_map(|line| hanging(line, style, columns))
        .map(|row| ansi(&row, paint))
        .collect()
}

/// The shortest gap: two spaces may also separate sentences.
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
