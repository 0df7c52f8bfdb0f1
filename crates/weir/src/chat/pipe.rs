//! One question from standard input; standard output gets the response and nothing else.

use std::io::{self, ErrorKind, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::event::{ResponseEnd, why};
use super::plain_text::PlainText;
use super::response::ResponseRequest;
use super::screen::note;
use super::session::ChatSession;
use super::terminal::{self, Interrupts};
use super::view::{OutputView, PlainOutput};
use super::watch::watch;

/// Exit status for invalid input, as clap uses it.
pub(super) const USAGE: u8 = 2;

/// Exit status after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Reads all of standard input.
pub(super) fn question() -> Result<String> {
    if io::stdin().is_terminal() {
        note("Type the question, then Ctrl-D:", terminal::paint());
    }
    let text = io::read_to_string(io::stdin()).context("cannot read standard input as text")?;
    Ok(text.trim().to_owned())
}

/// Sends the question; an empty question resumes the response that the session names.
pub(super) fn run(
    session: &ChatSession,
    runtime: &Runtime,
    interrupts: &mut Interrupts,
    question: &str,
    is_json: bool,
) -> Result<ExitCode> {
    let asked = match &session.previous {
        Some(id) if question.is_empty() => ResponseRequest::Old(id.clone()),
        Some(_) | None => session.question(question),
    };
    let text = PlainOutput { is_seen: io::stdout().is_terminal(), is_line_open: false };
    let mut view = if is_json { OutputView::Events } else { OutputView::Text(text) };
    let outcome = runtime.block_on(async {
        let answer = session.start(asked)?;
        watch(answer, &mut view, interrupts, None, &mut PlainText::default()).await
    });
    let outcome = match outcome {
        Ok(outcome) => outcome,
        // The reader closed the pipe early, as in `weir config | head`: not an error.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error.into()),
    };
    let wrong = match outcome.end {
        Some(Ok(ResponseEnd::Whole)) => return Ok(ExitCode::SUCCESS),
        Some(Ok(ResponseEnd::Stopped)) | None => return Ok(ExitCode::from(INTERRUPTED)),
        Some(Ok(ResponseEnd::Incomplete(reason))) => {
            format!("the response is incomplete: {}", why(&reason))
        }
        Some(Ok(ResponseEnd::Failed(message))) => message,
        Some(Err(trouble)) => trouble.to_string(),
    };
    view.wrong(&format!("weir chat: {wrong}"));
    Ok(ExitCode::FAILURE)
}
