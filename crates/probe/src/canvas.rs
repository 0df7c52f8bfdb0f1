//! Lines for a terminal of 80 columns: wrapped, aligned in cells rather than characters, and
//! coloured where that is wanted. What comes from a server cannot control the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of everything.
const WIDTH: usize = 80;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Escape sequences of colours, for a terminal.
    On,
    /// None.
    Off,
}

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Bold,
    Good,
    Bad,
    Faint,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[1;31m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// The text that grows.
#[derive(Debug)]
pub(crate) struct Canvas {
    colours: Colours,
    text: String,
}

impl Canvas {
    pub(crate) fn new(colours: Colours) -> Self {
        Self { colours, text: String::new() }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// An empty line.
    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// One line of pieces, which is not wrapped.
    pub(crate) fn line(&mut self, pieces: &[(Look, &str)]) {
        for (look, piece) in pieces {
            let piece = clean(piece);
            if self.colours == Colours::On && *look != Look::Plain {
                self.text.push_str(look.code());
                self.text.push_str(&piece);
                self.text.push_str("\x1b[0m");
            } else {
                self.text.push_str(&piece);
            }
        }
        let end = self.text.trim_end_matches(' ').len();
        self.text.truncate(end);
        self.text.push('\n');
    }

    /// A text that is wrapped: `first` stands before its first line, and as much space before the
    /// others.
    pub(crate) fn wrapped(&mut self, first: &[(Look, &str)], look: Look, text: &str) {
        let indent: usize = first.iter().map(|(_, piece)| width(piece)).sum();
        let space = " ".repeat(indent);
        for (index, row) in wrap(&clean(text), WIDTH.saturating_sub(indent)).iter().enumerate() {
            let mut pieces: Vec<(Look, &str)> =
                if index == 0 { first.to_vec() } else { vec![(Look::Plain, space.as_str())] };
            pieces.push((look, row));
            self.line(&pieces);
        }
    }
}

/// How many cells a text takes.
pub(crate) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text, filled with spaces to a number of cells.
pub(crate) fn padded(text: &str, cells: usize) -> String {
    let missing = cells.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// The text, with spaces before it.
pub(crate) fn right(text: &str, cells: usize) -> String {
    let missing = cells.saturating_sub(width(text));
    format!("{}{text}", " ".repeat(missing))
}

/// Without what could move a cursor or change the direction of the text.
fn clean(text: &str) -> String {
    let is_dangerous = |next: char| {
        next.is_control()
            || matches!(next, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|next| if is_dangerous(next) { '\u{FFFD}' } else { next }).collect()
}

/// Rows of at most `cells`. Words stay whole where they fit; between wide characters a row may end
/// anywhere, but not before a closing mark.
fn wrap(text: &str, cells: usize) -> Vec<String> {
    let (mut rows, mut row, mut used) = (Vec::new(), String::new(), 0);
    for piece in pieces(text).into_iter().flat_map(|piece| cut(piece, cells)) {
        let wanted = width(piece.trim_end());
        if used > 0 && used + wanted > cells {
            rows.push(row.trim_end().to_owned());
            row.clear();
            used = 0;
        }
        row.push_str(piece);
        used += width(piece);
    }
    rows.push(row.trim_end().to_owned());
    rows
}

/// A part that is wider than a row, in parts that are not.
fn cut(piece: &str, cells: usize) -> Vec<&str> {
    let (mut parts, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, character) in piece.char_indices() {
        let wide = character.width().unwrap_or_default();
        if used + wide > cells.max(2) && character != ' ' {
            parts.push(&piece[start..at]);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    parts.push(&piece[start..]);
    parts
}

/// The parts between which a row may end.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let Some((_, next)) = characters.peek() else { break };
        let is_wide = |character: char| character.width() == Some(2);
        let closes = "，。：；、！？）”』」".contains(*next);
        let opens = "（“『「".contains(character);
        let may_end = character == ' ' || ((is_wide(character) || is_wide(*next)) && *next != ' ');
        if may_end && !closes && !opens {
            let end = at + character.len_utf8();
            pieces.push(&text[start..end]);
            start = end;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fit_and_words_stay_whole() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(wrap("缓冲到最后，才放行", 8), ["缓冲到最", "后，才放", "行"]);
        assert_eq!(wrap("0123456789 ab", 4), ["0123", "4567", "89", "ab"]);
        for row in wrap("事件被攒到约 4 KiB 才放行 and then some more words", 20) {
            assert!(width(&row) <= 20, "{row}");
        }
    }

    #[test]
    fn a_server_cannot_control_the_terminal() {
        let mut canvas = Canvas::new(Colours::On);
        canvas.line(&[(Look::Bad, "a\x1b[2Jb\u{202E}"), (Look::Plain, "c\n")]);
        assert_eq!(canvas.finish(), "\x1b[1;31ma\u{FFFD}[2Jb\u{FFFD}\x1b[0mc\u{FFFD}\n");
    }

    #[test]
    fn cells_are_counted_and_not_characters() {
        assert_eq!(width(&padded("延迟", 8)), 8);
        assert_eq!(right("5 ms", 6), "  5 ms");
    }
}
