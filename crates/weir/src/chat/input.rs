//! Line input at the terminal: editing, the history of this session, and Tab completion of
//! commands.

use std::borrow::Cow;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use super::command::ChatCommand;
use super::render::style::{Paint, TerminalColour, TextStyle};

const PROMPT: &str = "> ";

/// The result of waiting for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadLine {
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// The line editor.
pub(super) struct LineEditor(Editor<EditorHelper, MemHistory>);

impl LineEditor {
    pub(super) fn new(paint: Option<Paint>) -> anyhow::Result<Self> {
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = Editor::with_history(config, MemHistory::new())?;
        editor.set_helper(Some(EditorHelper { paint }));
        Ok(Self(editor))
    }

    /// Waits for a line, which starts with what was typed already. A line that ends with `\`
    /// continues in the next.
    pub(super) fn line(&mut self, typed: &str) -> anyhow::Result<ReadLine> {
        match self.0.readline_with_initial(PROMPT, (typed, "")) {
            Ok(line) => Ok(ReadLine::Line(line.replace("\\\n", "\n"))),
            Err(ReadlineError::Interrupted) => Ok(ReadLine::Interrupted),
            Err(ReadlineError::Eof) => Ok(ReadLine::End),
            Err(error) => Err(error.into()),
        }
    }
}

struct EditorHelper {
    paint: Option<Paint>,
}

impl Helper for EditorHelper {}

impl Hinter for EditorHelper {
    type Hint = String;
}

impl Validator for EditorHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let goes_on = context.input().ends_with('\\');
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Completer for EditorHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((0, ChatCommand::completions(line.get(..position).unwrap_or_default())))
    }
}

impl Highlighter for EditorHelper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        match self.paint {
            Some(paint) => Cow::Owned(
                TextStyle::PLAIN.bold().colour(TerminalColour::Cyan).paint(prompt, paint),
            ),
            None => Cow::Borrowed(prompt),
        }
    }
}
