//! Plays a script at its speed, within the request's limits.

use std::collections::VecDeque;
use std::time::Duration;

use engine::provider::event::{Finish, ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use protocol::request::Create;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::script::{DemoScript, DemoStep};
use super::told;

/// At unlimited speed, the task yields once after this many words, so that others can run.
const WORDS_PER_TURN: u64 = 64;

/// A longer pause is a typing error, and might overflow the clock.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// A slow reader does not get more than this much of a backlog at once.
const MAX_LAG: Duration = Duration::from_millis(100);

/// The events of a response. 0 tokens per second means unlimited.
pub(super) fn words(script: DemoScript, create: &Create, tokens_per_second: f64) -> ModelStream {
    let usual = WordPace::new(tokens_per_second);
    let pace = WordPace { pause: script.pause.unwrap_or(usual.pause).min(MAX_PAUSE), ..usual };
    let limited = Limited::new(script.steps, create.max_output_tokens);
    let steps = Stopping::new(limited, stop_texts(create.extra.get("stop")));
    let playing = Playing { steps: Some(steps), pace };
    unfold(playing, |mut playing| async move { playing.next().await.map(|word| (word, playing)) })
        .boxed()
}

struct Playing<Steps> {
    /// `None` after the end.
    steps: Option<Steps>,
    pace: WordPace,
}

impl<Steps: Iterator<Item = DemoStep>> Playing<Steps> {
    async fn next(&mut self) -> Option<Result<ModelEvent, ProviderFailure>> {
        match self.steps.as_mut()?.next()? {
            DemoStep::Say(word) => {
                self.pace.wait().await;
                Some(Ok(word))
            }
            DemoStep::Stall => std::future::pending().await,
            DemoStep::Fail(fault) => {
                self.steps = None;
                Some(Err(told(fault)))
            }
            DemoStep::Finish(finish) => {
                self.steps = None;
                Some(Ok(ModelEvent::Finish(finish)))
            }
        }
    }
}

/// The pause between words.
pub(super) struct WordPace {
    pause: Duration,
    next: Option<Instant>,
    count: u64,
}

impl WordPace {
    /// The default speed; 0 tokens per second means unlimited.
    pub(super) fn new(tokens_per_second: f64) -> Self {
        let pause = Duration::try_from_secs_f64(1.0 / tokens_per_second).unwrap_or_default();
        Self { pause: pause.min(MAX_PAUSE), next: None, count: 0 }
    }

    /// Waits until the next word is due.
    pub(super) async fn wait(&mut self) {
        self.count += 1;
        if self.pause.is_zero() {
            if self.count.is_multiple_of(WORDS_PER_TURN) {
                tokio::task::yield_now().await;
            }
            return;
        }
        let now = Instant::now();
        let earliest = now.checked_sub(MAX_LAG).unwrap_or(now);
        // Relative to the previous due time, so that the mean is right although timers tick in
        // milliseconds.
        let due = self.next.map_or(now, |next| next.max(earliest));
        self.next = Some(due + self.pause);
        if due > now {
            sleep_until(due).await;
        }
    }
}

/// Implements `max_output_tokens`: a piece counts as a token.
struct Limited<Steps> {
    steps: Steps,
    /// How many more are allowed.
    left: Option<u64>,
}

impl<Steps> Limited<Steps> {
    fn new(steps: Steps, limit: Option<u64>) -> Self {
        Self { steps, left: limit }
    }
}

impl<Steps: Iterator<Item = DemoStep>> Iterator for Limited<Steps> {
    type Item = DemoStep;

    fn next(&mut self) -> Option<DemoStep> {
        let step = self.steps.next()?;
        if let (DemoStep::Say(_), Some(left)) = (&step, &mut self.left) {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Some(DemoStep::Finish(Finish::Length)),
            }
        }
        Some(step)
    }
}

/// `stop`: a string or a list of strings.
pub(super) fn stop_texts(stop: Option<&Value>) -> Vec<String> {
    let texts = stop
        .into_iter()
        .flat_map(|stop| stop.as_array().map_or(std::slice::from_ref(stop), Vec::as_slice));
    texts.filter_map(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// Implements `stop`: ends before the first stop text, also if it spans pieces.
struct Stopping<Source> {
    source: Source,
    stops: Vec<String>,
    /// Pieces that are held back, because a stop text may start in them.
    held: VecDeque<String>,
    /// Steps to emit before any other.
    ready: VecDeque<DemoStep>,
}

impl<Source: Iterator<Item = DemoStep>> Stopping<Source> {
    fn new(source: Source, stops: Vec<String>) -> Self {
        Self { source, stops, held: VecDeque::new(), ready: VecDeque::new() }
    }

    fn take_text(&mut self, text: String) {
        self.held.push_back(text);
        let joined: String = self.held.iter().map(String::as_str).collect();
        if let Some(end) = self.stops.iter().filter_map(|stop| joined.find(stop.as_str())).min() {
            self.release(end);
            self.held.clear();
            self.ready.push_back(DemoStep::Finish(Finish::Stop));
            return;
        }
        self.release(joined.len() - longest_beginning(&joined, &self.stops));
    }

    /// Releases the first `length` bytes of the held pieces.
    fn release(&mut self, mut length: usize) {
        while length > 0 {
            let Some(mut piece) = self.held.pop_front() else { return };
            if piece.len() > length {
                self.held.push_front(piece.split_off(length));
            }
            length -= piece.len();
            self.ready.push_back(text_step(piece));
        }
    }
}

impl<Source: Iterator<Item = DemoStep>> Iterator for Stopping<Source> {
    type Item = DemoStep;

    fn next(&mut self) -> Option<DemoStep> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            match self.source.next() {
                Some(DemoStep::Say(ModelEvent::Text { text, .. })) if !self.stops.is_empty() => {
                    self.take_text(text);
                }
                step => {
                    // No stop text spans other steps.
                    self.ready.extend(self.held.drain(..).map(text_step));
                    if self.ready.is_empty() {
                        return step;
                    }
                    self.ready.extend(step);
                }
            }
        }
    }
}

fn text_step(text: String) -> DemoStep {
    DemoStep::Say(ModelEvent::Text { text, logprobs: Vec::new() })
}

/// The length of the longest suffix of `text` that is a prefix of one of `stops`.
fn longest_beginning(text: &str, stops: &[String]) -> usize {
    let ends = text.char_indices().map(|(index, _)| &text[index..]);
    ends.filter(|end| stops.iter().any(|stop| stop.starts_with(end)))
        .map(str::len)
        .max()
        .unwrap_or(0)
}
