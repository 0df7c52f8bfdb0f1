//! What the probe does now, on standard error: one line that is replaced on a terminal, else a line
//! for each step.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::{Task, now, spawn};
use probe::text::{Language, Text};
use protocol::visible::visible_in_line;
use tokio::time::interval;

/// How often the seconds of a step are shown.
const TICK: Duration = Duration::from_secs(1);

/// Longer lines would wrap, and could not be replaced.
const WIDTH: usize = 70;

/// The line. Dropping it clears the line.
pub(super) struct ProgressLine {
    language: Language,
    is_terminal: bool,
    step: Arc<Mutex<(String, Instant)>>,
    _ticking: Option<Task>,
}

impl ProgressLine {
    /// A line that is empty until the first step.
    pub(super) fn start(language: Language) -> Self {
        let is_terminal = stderr().is_terminal();
        let step = Arc::new(Mutex::new((String::new(), now())));
        let shown = Arc::clone(&step);
        let ticking = is_terminal.then(|| {
            spawn(async move {
                let mut ticks = interval(TICK);
                loop {
                    ticks.tick().await;
                    draw(&shown);
                }
            })
        });
        Self { language, is_terminal, step, _ticking: ticking }
    }

    /// Shows the next step.
    pub(super) fn show(&self, text: &Text) {
        let text = visible_in_line(text.get(self.language)).into_owned();
        if !self.is_terminal {
            return write(&format!("weir probe: {text}\n"));
        }
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = (text, now());
        draw(&self.step);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_terminal {
            write("\r\x1b[K");
        }
    }
}

fn draw(step: &Mutex<(String, Instant)>) {
    let (text, since) = &*step.lock().unwrap_or_else(PoisonError::into_inner);
    if text.is_empty() {
        return;
    }
    let text: String = text.chars().take(WIDTH).collect();
    let seconds = since.elapsed().as_secs();
    let elapsed = if seconds > 0 { format!(" {seconds} s") } else { String::new() };
    write(&format!("\r\x1b[K{text} …{elapsed}"));
}

fn write(text: &str) {
    let mut stream = stderr().lock();
    // Errors are ignored: the probe works without a display.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
