//! Watches one response to its end: passes its news to the view, and Ctrl-C and `/stop` to the
//! server.

use std::io;

use protocol::usage::Usage;
use tokio::time::{Instant, sleep_until};

use super::event::{EventMeaning, ResponseEnd};
use super::plain_text::PlainText;
use super::response::{News, ResponseHandle};
use super::screen::FRAME;
use super::server::ChatError;
use super::terminal::{Interrupts, KeyInput};
use super::view::OutputView;

/// The outcome of watching a response.
#[derive(Debug, Default)]
pub(super) struct WatchOutcome {
    pub(super) id: Option<String>,
    pub(super) usage: Option<Usage>,
    /// How the response ended; `None` if the user left before.
    pub(super) end: Option<Result<ResponseEnd, ChatError>>,
}

/// Watches `answer`. The first Ctrl-C cancels it, the second leaves it running.
pub(super) async fn watch(
    mut answer: ResponseHandle,
    view: &mut OutputView,
    interrupts: &mut Interrupts,
    mut keys: Option<KeyInput>,
    typed: &mut PlainText,
) -> io::Result<WatchOutcome> {
    let mut outcome = WatchOutcome::default();
    let mut waiting = "…";
    let mut is_stopping = false;
    let mut draw_at = Some(Instant::now());
    let done = loop {
        let due = draw_at.unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            () = interrupts.next() => {
                if std::mem::replace(&mut is_stopping, true) {
                    break Ok(());
                }
                answer.stop();
                waiting = "stopping…";
                draw_at.get_or_insert_with(Instant::now);
            }
            () = sleep_until(due), if draw_at.is_some() => {
                draw_at = None;
                if let Err(error) = view.draw(if typed.text().is_empty() { waiting } else { typed.text() }) {
                    break Err(error);
                }
            }
            bytes = pressed(&mut keys) => {
                if typed.push(&bytes) && !std::mem::replace(&mut is_stopping, true) {
                    answer.stop();
                    waiting = "stopping…";
                }
                draw_at.get_or_insert_with(Instant::now);
            }
            news = answer.news.recv() => {
                let shown = match news {
                    None => break Ok(()),
                    Some(News::Lost(trouble)) => {
                        outcome.end = Some(Err(trouble));
                        break Ok(());
                    }
                    Some(News::Note(text)) => view.note(&text),
                    Some(News::Event(event)) => {
                        if let Some(id) = event.response_id() {
                            outcome.id = Some(id.to_owned());
                        }
                        match event.meaning() {
                            EventMeaning::Text(_) | EventMeaning::Refusal(_) if !is_stopping => waiting = "",
                            EventMeaning::End(end) => {
                                outcome.usage = event.usage();
                                outcome.end = Some(Ok(end));
                            }
                            _ => {}
                        }
                        draw_at.get_or_insert_with(|| Instant::now() + FRAME);
                        view.event(&event)
                    }
                };
                if shown.is_err() || matches!(outcome.end, Some(Ok(_))) {
                    break shown;
                }
            }
        }
    };
    if let Some(keys) = keys {
        typed.push(&keys.close().await);
    }
    if done.is_err() {
        // Standard output is closed, so the rest is not needed.
        answer.stop();
        while let Some(News::Event(_) | News::Note(_)) = answer.news.recv().await {}
    }
    done.and_then(|()| view.end()).map(|()| outcome)
}

/// The next key input; pending forever without a keyboard.
async fn pressed(keys: &mut Option<KeyInput>) -> Vec<u8> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}
