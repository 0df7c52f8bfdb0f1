//! Blocks of Markdown as rows, line by line: which blocks a line continues, starts and ends.

use super::code::Painter;
use super::inline::{self, Growth};
use super::lines::{self, Fence, expand, is_blank, is_rule, quoted, starts, starts_item};
use super::style::{RenderOptions, TerminalColour, TextStyle};
use super::table::{self, Alignment};
use super::text::{StyledCharacter, ansi, cells, cut, width, wrap};

/// Deeper nesting is shown as it was written.
const DEEP: usize = 12;

/// The least number of columns, however deep the nesting.
const NARROWEST: usize = 10;

/// A block that contains others.
#[derive(Clone, Debug)]
enum Container {
    Quote { is_drawn: bool },
    Item(Item),
}

#[derive(Clone, Debug)]
struct Item {
    indent: usize,
    content: usize,
    mark: char,
    number: Option<u64>,
    /// Whether the marker has been drawn.
    is_drawn: bool,
}

/// The open block.
#[derive(Clone, Debug, Default)]
enum Leaf {
    #[default]
    None,
    Paragraph(Vec<String>),
    Code(Fence, Painter),
    Table {
        head: Vec<String>,
        sides: Vec<Alignment>,
        rows: Vec<Vec<String>>,
    },
}

/// The blocks of a text, line by line.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    containers: Vec<Container>,
    leaf: Leaf,
    has_output: bool,
    /// Whether the last block was in a list, and whether a blank line followed it.
    was_in_list: bool,
    was_blank: bool,
    /// The final rows.
    pub(super) out: String,
}

impl Blocks {
    /// Adds a line.
    pub(super) fn line(&mut self, line: &str, look: &RenderOptions, growth: Growth) {
        let line = expand(line);
        let (matched, mut rest) = self.continued(&line);
        if is_blank(rest) && !matches!(self.leaf, Leaf::Code(..)) {
            self.finish(look, growth);
            self.close(matched, look, growth);
            self.was_blank = true;
            return;
        }
        if let (Leaf::Paragraph(lines), true) = (&mut self.leaf, matched < self.containers.len())
            && !starts(rest)
            && lines::item(rest).is_none()
        {
            lines.push(rest.trim_start().to_owned());
            return;
        }
        let sibling = match self.containers.get(matched) {
            Some(Container::Item(item)) => Some(item.clone()),
            Some(Container::Quote { .. }) | None => None,
        };
        self.close(matched, look, growth);
        if self.continues(rest, look, growth) {
            return;
        }
        let mut sibling = sibling;
        while self.containers.len() < DEEP {
            if let Some(inner) = quoted(rest) {
                self.finish(look, growth);
                self.containers.push(Container::Quote { is_drawn: false });
                rest = inner;
            } else if let Some(found) = self.item(rest, sibling.as_ref()) {
                self.finish(look, growth);
                rest = lines::item(rest).map_or(rest, |item| item.text);
                self.containers.push(Container::Item(found));
            } else {
                break;
            }
            sibling = None;
        }
        self.start(rest, look, growth);
    }

    /// How many containers this line continues, and the rest of it inside them.
    fn continued<'a>(&self, line: &'a str) -> (usize, &'a str) {
        let is_code = matches!(self.leaf, Leaf::Code(..));
        let mut rest = line;
        for (index, container) in self.containers.iter().enumerate() {
            match container {
                Container::Quote { .. } => match quoted(rest) {
                    Some(inner) => rest = inner,
                    None => return (index, rest),
                },
                Container::Item(_) if is_blank(rest) => {}
                Container::Item(item) => {
                    let indent = lines::indent(rest);
                    // Models indent nested items by two, and code sometimes not at all.
                    if indent < item.indent + 2 && !is_code {
                        return (index, rest);
                    }
                    rest = &rest[item.content.min(indent)..];
                }
            }
        }
        (self.containers.len(), rest)
    }

    /// Whether the line only continues the open block.
    fn continues(&mut self, rest: &str, look: &RenderOptions, growth: Growth) -> bool {
        match &mut self.leaf {
            Leaf::None => false,
            Leaf::Code(fence, _) if fence.is_closed_by(rest) => {
                self.leaf = Leaf::None;
                true
            }
            Leaf::Code(fence, painter) => {
                let line = painter.line(&rest[fence.indent.min(lines::indent(rest))..]);
                self.code(&line, look, growth);
                true
            }
            Leaf::Table { rows, .. } => {
                let is_row = rest.contains('|') && !starts(rest);
                if is_row {
                    rows.push(lines::row(rest));
                }
                is_row
            }
            Leaf::Paragraph(lines) => {
                if let Some(level) = lines::underline(rest) {
                    let text = lines.join("\n");
                    self.leaf = Leaf::None;
                    self.heading(level, &text, look, growth);
                    return true;
                }
                let head =
                    lines.last().filter(|line| line.contains('|')).map(|line| lines::row(line));
                if let (Some(head), Some(sides)) = (head, lines::sides(rest))
                    && head.len() == sides.len()
                {
                    lines.pop();
                    if !lines.is_empty() {
                        self.finish(look, growth);
                    }
                    self.leaf = Leaf::Table { head, sides, rows: Vec::new() };
                    return true;
                }
                if starts(rest) || starts_item(rest) {
                    return false;
                }
                lines.push(rest.trim_start().to_owned());
                true
            }
        }
    }

    fn item(&self, rest: &str, sibling: Option<&Item>) -> Option<Item> {
        let found = lines::item(rest).filter(|_| !is_rule(rest))?;
        if matches!(self.leaf, Leaf::Paragraph(_)) && !starts_item(rest) {
            return None;
        }
        let before = sibling.filter(|item| {
            item.mark == found.mark && item.number.is_some() == found.number.is_some()
        });
        let number = found
            .number
            .map(|number| before.and_then(|item| item.number).map_or(number, |before| before + 1));
        Some(Item {
            indent: found.indent,
            content: found.content,
            mark: found.mark,
            number,
            is_drawn: false,
        })
    }

    fn start(&mut self, rest: &str, look: &RenderOptions, growth: Growth) {
        if is_blank(rest) {
            return;
        }
        self.finish(look, growth);
        if let Some(fence) = lines::fence(rest) {
            let painter = Painter::new(&fence.language);
            let label = fence.language.clone();
            self.separate(look);
            self.leaf = Leaf::Code(fence, painter);
            if !label.is_empty() {
                self.code(&cells(&label, TextStyle::PLAIN.dim().italic()), look, growth);
            }
        } else if let Some((level, text)) = lines::heading(rest) {
            self.heading(level, text, look, growth);
        } else if is_rule(rest) {
            self.separate(look);
            let length = self.room(look).min(60);
            self.rows(&[cells(&"─".repeat(length), TextStyle::PLAIN.dim())], look);
        } else {
            self.leaf = Leaf::Paragraph(vec![rest.trim_start().to_owned()]);
        }
    }

    /// Ends the open block and the containers beyond `depth`.
    pub(super) fn close(&mut self, depth: usize, look: &RenderOptions, growth: Growth) {
        if depth < self.containers.len() {
            self.finish(look, growth);
        }
        while self.containers.len() > depth {
            if matches!(self.containers.last(), Some(Container::Item(Item { is_drawn: false, .. })))
            {
                self.separate(look);
                self.rows(&[Vec::new()], look);
            }
            self.containers.pop();
        }
    }

    /// Draws the open block.
    pub(super) fn finish(&mut self, look: &RenderOptions, growth: Growth) {
        match std::mem::take(&mut self.leaf) {
            Leaf::None | Leaf::Code(..) => {}
            Leaf::Paragraph(lines)
                if growth == Growth::Grows && lines.len() == 1 && lines[0].starts_with('|') =>
            {
                // A header row alone is not a table yet; drawing it as one avoids a jump when the
                // next row arrives.
                self.table(&lines::row(&lines[0]), &[], &[], look, growth);
            }
            Leaf::Paragraph(lines) => {
                self.separate(look);
                self.text(&lines.join("\n"), look.base, look, growth);
            }
            Leaf::Table { head, sides, rows } => self.table(&head, &sides, &rows, look, growth),
        }
    }

    fn heading(&mut self, level: usize, text: &str, look: &RenderOptions, growth: Growth) {
        self.separate(look);
        let style = match level {
            1 => look.base.bold().underline().colour(TerminalColour::Magenta),
            2 => look.base.bold().colour(TerminalColour::Magenta),
            _ => look.base.bold(),
        };
        self.text(text, style, look, growth);
    }

    fn text(&mut self, text: &str, style: TextStyle, look: &RenderOptions, growth: Growth) {
        let (text, task) = match self.task(text) {
            Some((text, mark)) => (text, cells(mark, look.base)),
            None => (text, Vec::new()),
        };
        let drawn: Vec<StyledCharacter> =
            task.into_iter().chain(inline::draw(text, style, growth)).collect();
        self.rows(&wrap(&drawn, self.room(look)), look);
    }

    /// The text of a task after its box, and the box.
    fn task<'a>(&self, text: &'a str) -> Option<(&'a str, &'static str)> {
        let Some(Container::Item(Item { is_drawn: false, .. })) = self.containers.last() else {
            return None;
        };
        let done = ["[x] ", "[X] "]
            .iter()
            .find_map(|mark| text.strip_prefix(mark))
            .map(|text| (text, "[x] "));
        done.or_else(|| text.strip_prefix("[ ] ").map(|text| (text, "[ ] ")))
    }

    fn table(
        &mut self,
        head: &[String],
        sides: &[Alignment],
        rows: &[Vec<String>],
        look: &RenderOptions,
        growth: Growth,
    ) {
        self.separate(look);
        let cells = |row: &[String]| -> Vec<Vec<StyledCharacter>> {
            row.iter().map(|cell| inline::draw(cell, look.base, growth)).collect()
        };
        let rows: Vec<Vec<Vec<StyledCharacter>>> = rows.iter().map(|row| cells(row)).collect();
        self.rows(&table::draw(&cells(head), sides, &rows, self.room(look)), look);
    }

    /// A complete line of code is final, and not cut into rows, so that it can be copied unchanged.
    /// A growing one is cut, because its rows are counted.
    fn code(&mut self, line: &[StyledCharacter], look: &RenderOptions, growth: Growth) {
        let indented: Vec<StyledCharacter> =
            cells("  ", TextStyle::PLAIN).into_iter().chain(line.iter().cloned()).collect();
        match growth {
            Growth::Whole => self.rows(&[indented], look),
            Growth::Grows => self.rows(&cut(&indented, self.room(look)), look),
        }
    }

    /// Whether the growing line may become the end of the open code block.
    pub(super) fn is_mark_of_code(&self, rest: &str) -> bool {
        let Leaf::Code(fence, _) = &self.leaf else { return false };
        !is_blank(rest) && rest.trim().chars().all(|character| character == fence.mark)
    }

    /// The columns that the containers leave.
    fn room(&self, look: &RenderOptions) -> usize {
        let taken: usize = self.containers.iter().map(|container| width(&container.marker())).sum();
        look.columns.saturating_sub(taken).max(NARROWEST)
    }

    /// Adds the empty row before a block, except between items that were written without one.
    fn separate(&mut self, look: &RenderOptions) {
        let is_in_list =
            self.containers.iter().any(|container| matches!(container, Container::Item(_)));
        let is_together = is_in_list && self.was_in_list && !self.was_blank;
        if self.has_output && !is_together {
            let bars = self.containers.iter().take_while(|container| container.is_drawn());
            let bars: String = bars.map(Container::rest_marker).collect();
            self.out += &TextStyle::PLAIN.dim().paint(bars.trim_end(), look.paint);
            self.out.push('\n');
        }
        self.has_output = true;
        self.was_in_list = is_in_list;
        self.was_blank = false;
    }

    fn rows(&mut self, rows: &[Vec<StyledCharacter>], look: &RenderOptions) {
        for row in rows {
            let mut line = String::new();
            for container in &mut self.containers {
                let style =
                    if container.is_drawn() { TextStyle::PLAIN.dim() } else { container.style() };
                let marker =
                    if container.is_drawn() { container.rest_marker() } else { container.marker() };
                line += &style.paint(&marker, look.paint);
                container.draw();
            }
            line += &ansi(row, look.paint);
            self.out += line.trim_end_matches(' ');
            self.out.push('\n');
        }
    }
}

impl Container {
    /// The prefix of its first row.
    fn marker(&self) -> String {
        match self {
            Self::Quote { .. } => "│ ".to_owned(),
            Self::Item(Item { number: Some(number), mark, .. }) => format!("{number}{mark} "),
            Self::Item(_) => "• ".to_owned(),
        }
    }

    /// The prefix of its other rows.
    fn rest_marker(&self) -> String {
        match self {
            Self::Quote { .. } => "│ ".to_owned(),
            Self::Item(_) => " ".repeat(width(&self.marker())),
        }
    }

    fn style(&self) -> TextStyle {
        match self {
            Self::Quote { .. } => TextStyle::PLAIN.dim(),
            Self::Item(_) => TextStyle::PLAIN.colour(TerminalColour::Cyan),
        }
    }

    fn is_drawn(&self) -> bool {
        match self {
            Self::Quote { is_drawn } | Self::Item(Item { is_drawn, .. }) => *is_drawn,
        }
    }

    fn draw(&mut self) {
        match self {
            Self::Quote { is_drawn } | Self::Item(Item { is_drawn, .. }) => *is_drawn = true,
        }
    }
}
