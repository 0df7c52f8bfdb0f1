//! The output of a response: rows on a screen, plain text, or the events as JSON.

use std::io;

use protocol::visible::visible_json;

use super::event::{EventMeaning, NumberedEvent};
use super::render::style::Paint;
use super::render::text::is_harmless;
use super::screen::{LineKind, Screen, note, wrong};
use crate::cli::output;

/// The destination of a response.
pub(super) enum OutputView {
    /// A terminal with cursor control.
    Screen(Box<Screen>, Paint),
    /// Anything else: only the text of the response.
    Text(PlainOutput),
    /// Each event as a line of JSON.
    Events,
}

/// Buffered plain text.
#[derive(Debug, Default)]
pub(super) struct PlainOutput {
    /// Whether it is written to a terminal, so that control characters must be removed.
    pub(super) is_seen: bool,
    pub(super) is_line_open: bool,
}

impl OutputView {
    /// For a terminal.
    pub(super) fn of_person(paint: Option<Paint>) -> Self {
        match paint {
            Some(paint) => Self::Screen(Box::new(Screen::new(paint)), paint),
            None => Self::Text(PlainOutput { is_seen: true, is_line_open: false }),
        }
    }

    /// Adds the text of a response that was read without events.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Screen(screen, _) => screen.push(LineKind::Answer, text),
            Self::Text(out) => return out.write(text),
            Self::Events => {}
        }
        Ok(())
    }

    /// Adds an event.
    pub(super) fn event(&mut self, event: &NumberedEvent) -> io::Result<()> {
        match self {
            Self::Screen(screen, _) => match event.meaning() {
                EventMeaning::Text(text) => screen.push(LineKind::Answer, text),
                EventMeaning::Refusal(text) => screen.push(LineKind::Refusal, text),
                EventMeaning::Reasoning(text) => screen.push(LineKind::Thoughts, text),
                EventMeaning::Call(name, arguments) => {
                    return screen.note(&called(name, arguments));
                }
                EventMeaning::End(_) | EventMeaning::Other => {}
            },
            Self::Text(out) => match event.meaning() {
                EventMeaning::Text(text) | EventMeaning::Refusal(text) => return out.write(text),
                EventMeaning::Call(name, arguments) => output::complain(&called(name, arguments)),
                EventMeaning::Reasoning(_) | EventMeaning::End(_) | EventMeaning::Other => {}
            },
            Self::Events => {
                // Programs get the text unchanged; a terminal gets it without control characters.
                let data = String::from_utf8_lossy(&event.data);
                return output::write_out(&format!("{}\n", visible_json(&data)));
            }
        }
        Ok(())
    }

    /// Shows what was added.
    pub(super) fn draw(&mut self, status: &str) -> io::Result<()> {
        let Self::Screen(screen, _) = self else { return Ok(()) };
        screen.status(status);
        screen.draw()
    }

    /// Prints a note outside the response.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Screen(screen, _) => screen.note(text),
            Self::Text(_) | Self::Events => {
                note(text, None);
                Ok(())
            }
        }
    }

    /// Ends the response.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Screen(screen, _) => screen.end(),
            Self::Text(out) if out.is_line_open => out.write("\n"),
            Self::Text(_) | Self::Events => Ok(()),
        }
    }

    /// Prints an error.
    pub(super) fn wrong(&self, text: &str) {
        match self {
            Self::Screen(_, paint) => wrong(text, Some(*paint)),
            Self::Text(_) | Self::Events => wrong(text, None),
        }
    }
}

impl PlainOutput {
    fn write(&mut self, text: &str) -> io::Result<()> {
        if let Some(last) = text.chars().last() {
            self.is_line_open = last != '\n';
        }
        if !self.is_seen {
            return output::write_out(text);
        }
        let clean: String = text
            .chars()
            .filter(|character| matches!(character, '\n' | '\t') || is_harmless(*character))
            .collect();
        output::write_out(&clean)
    }
}

fn called(name: &str, arguments: &str) -> String {
    format!("The model calls {name}({arguments}); weir chat cannot run tools.")
}
