//! A response on a terminal: final rows scroll away, rows that may still change are redrawn.

use std::fmt::Write as _;
use std::io;

use super::render::style::{Paint, RenderOptions, TerminalColour, TextStyle};
use super::render::text::{is_harmless, width};
use super::render::{Markdown, rows};
use super::terminal;
use crate::cli::output;

/// The kind of text that is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    Answer,
    Refusal,
    Thoughts,
}

/// The shortest time between two redraws: more than 30 a second do not make text look smoother.
pub(super) const FRAME: std::time::Duration = std::time::Duration::from_millis(33);

/// The part of the terminal that shows a growing response.
pub(super) struct Screen {
    paint: Paint,
    text: Option<(LineKind, Markdown)>,
    /// Final rows that are not on the terminal yet, each with its line end.
    ready: String,
    /// Rows on the terminal that may still change. The cursor is at the end of the last one.
    drawn: Vec<String>,
    /// A row below the text while it grows.
    status: String,
}

impl Screen {
    pub(super) fn new(paint: Paint) -> Self {
        Self { paint, text: None, ready: String::new(), drawn: Vec::new(), status: String::new() }
    }

    /// Adds text, which the next [`Self::draw`] shows.
    pub(super) fn push(&mut self, voice: LineKind, text: &str) {
        if self.text.as_ref().is_none_or(|(speaking, _)| *speaking != voice) {
            self.finish();
            self.ready.push('\n');
            self.text = Some((voice, Markdown::default()));
        }
        let look = self.look(voice);
        if let Some((_, markdown)) = &mut self.text {
            self.ready += &markdown.push(text, &look);
        }
    }

    /// Sets the row below the text; an empty one is not shown.
    pub(super) fn status(&mut self, text: &str) {
        self.status = text.chars().filter(|character| is_harmless(*character)).collect();
    }

    pub(super) fn draw(&mut self) -> io::Result<()> {
        let size = terminal::size();
        let mut live = match &self.text {
            Some((voice, markdown)) => markdown.live(&self.look(*voice)),
            None => Vec::new(),
        };
        if !self.status.is_empty() {
            let short: String = self
                .status
                .chars()
                .rev()
                .take(size.columns / 2)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            live.push(TextStyle::PLAIN.dim().paint(&short, self.paint));
        }
        // Rows that have scrolled off the screen cannot be redrawn.
        let hidden = live.len().saturating_sub(size.rows.saturating_sub(1).max(1));
        live.drain(..hidden);
        let frame = frame(&self.drawn, &std::mem::take(&mut self.ready), &live, size.columns);
        self.drawn = live;
        output::write_out(&frame)
    }

    /// Prints a note in a row of its own above the rows that may still change.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.wipe()?;
        note(text, Some(self.paint));
        self.draw()
    }

    /// Ends the response: draws the rest of it.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.finish();
        self.status.clear();
        self.draw()
    }

    fn finish(&mut self) {
        if let Some((voice, mut markdown)) = self.text.take() {
            self.ready += &markdown.end(&self.look(voice));
        }
    }

    fn wipe(&mut self) -> io::Result<()> {
        let frame = frame(&std::mem::take(&mut self.drawn), "", &[], terminal::size().columns);
        output::write_out(&frame)
    }

    fn look(&self, voice: LineKind) -> RenderOptions {
        let base = match voice {
            LineKind::Answer => TextStyle::PLAIN,
            LineKind::Refusal => TextStyle::PLAIN.colour(TerminalColour::Yellow),
            LineKind::Thoughts => TextStyle::PLAIN.dim().italic(),
        };
        // The last column stays empty: some terminals wrap a row that ends in it.
        RenderOptions {
            columns: terminal::size().columns.saturating_sub(1),
            paint: self.paint,
            base,
        }
    }
}

/// Prints a note outside the response.
pub(super) fn note(text: &str, paint: Option<Paint>) {
    complain(text, TextStyle::PLAIN.dim(), paint);
}

/// Prints an error.
pub(super) fn wrong(text: &str, paint: Option<Paint>) {
    complain(text, TextStyle::PLAIN.colour(TerminalColour::Red), paint);
}

fn complain(text: &str, style: TextStyle, paint: Option<Paint>) {
    let said = match paint {
        Some(paint) => {
            rows(text, style, terminal::size().columns.saturating_sub(1), paint).join("\n")
        }
        None => {
            text.chars().filter(|character| *character == '\n' || is_harmless(*character)).collect()
        }
    };
    output::complain_drawn(said.trim_end_matches('\n'));
}

/// The bytes that turn `drawn`, with the cursor at the end of its last row, into the rows of
/// `ready` and
/// `live`. Rows that are the same are not written again, so that a growing row costs only itself.
fn frame(drawn: &[String], ready: &str, live: &[String], columns: usize) -> String {
    let rows: Vec<&str> = ready.lines().chain(live.iter().map(String::as_str)).collect();
    let same = drawn.iter().zip(&rows).take_while(|(old, new)| old.as_str() == **new).count();
    // The cursor moves from the last row drawn to the new last row: both are written again.
    let kept = same.min(drawn.len().saturating_sub(1)).min(rows.len().saturating_sub(1));
    if drawn.is_empty() && rows.is_empty()
        || (drawn.len() == rows.len() && same == rows.len() && !live.is_empty() && ready.is_empty())
    {
        return String::new();
    }
    let mut bytes = String::from("\x1b[?2026h");
    let height: usize = drawn[kept..].iter().map(|row| height(row, columns)).sum();
    bytes.push('\r');
    if height > 1 {
        // Writing to a String cannot fail.
        let _ = write!(bytes, "\x1b[{}A", height - 1);
    }
    if height > 0 {
        bytes += "\x1b[J";
    }
    bytes += &rows.get(kept..).unwrap_or_default().join("\n");
    if live.is_empty() && rows.len() > kept {
        bytes.push('\n');
    }
    bytes += "\x1b[?2026l";
    bytes
}

/// The number of terminal rows that a row takes: a narrowed terminal wraps rows drawn when it was
/// wider.
fn height(row: &str, columns: usize) -> usize {
    let mut visible = 0;
    let mut rest = row;
    while let Some((before, after)) = rest.split_once('\x1b') {
        visible += width(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    (visible + width(rest)).div_ceil(columns.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The terminal's contents after these steps, each with final rows and rows that may still
    /// change.
    fn shown(steps: &[(&str, &[&str])], columns: u16) -> String {
        let size = |size: u16| std::num::NonZero::new(size).unwrap();
        let mut terminal = vt100::Parser::new(size(8), size(columns), 100);
        let mut drawn: Vec<String> = Vec::new();
        for (ready, live) in steps {
            let live: Vec<String> = live.iter().map(|row| (*row).to_owned()).collect();
            let bytes = frame(&drawn, ready, &live, columns.into());
            terminal.process(bytes.replace('\n', "\r\n").as_bytes());
            drawn = live;
        }
        terminal.screen().contents().trim_end().to_owned()
    }

    #[test]
    fn changing_rows_are_redrawn_and_final_rows_stay() {
        assert_eq!(
            shown(&[("", &["a"]), ("", &["ab"]), ("abc\n", &[]), ("", &["d"])], 20),
            "abc\nd"
        );
        assert_eq!(
            shown(&[("", &["a", "b", "c"]), ("", &["a", "B"]), ("a\nBB\n\n", &["x"])], 20),
            "a\nBB\n\nx"
        );
        assert_eq!(shown(&[("one\n", &["two"]), ("two\nthree\n", &[])], 20), "one\ntwo\nthree");
        assert_eq!(shown(&[("", &["gone"]), ("", &[])], 20), "");
        assert_eq!(shown(&[("", &["a", "b", "c"]), ("", &["a"]), ("a\nd\n", &[])], 20), "a\nd");
        assert_eq!(shown(&[("", &["a", "b"]), ("a\nb\n", &["c"]), ("c\n", &[])], 20), "a\nb\nc");
    }

    #[test]
    fn wide_rows_are_counted_as_the_terminal_wraps_them() {
        assert_eq!(height("\u{1b}[1m一二三\u{1b}[0m", 6), 1);
        assert_eq!(height("一二三四", 6), 2);
        assert_eq!(height("", 6), 1);
        assert_eq!(shown(&[("", &["0123456789"]), ("", &["x"])], 5), "x");
    }
}
