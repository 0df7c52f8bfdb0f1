//! What the fake model server does for one request: a list of steps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::chunk;
use crate::runtime::now;

/// The prompt tokens that every well-formed answer reports; its completion tokens are the number of its pieces.
const PROMPT_TOKENS: u64 = 9;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    /// A whole answer that is no stream: status, fields, body.
    Status(u16, Vec<(String, String)>, Bytes),
    /// The head of a stream: 200, `text/event-stream`, chunked. The first step that needs a head sends it by itself.
    Head,
    /// `data: {…}` and the blank line, as one chunk and one write.
    Event(Value),
    /// Bytes of the body, as one chunk and one write.
    Raw(Bytes),
    /// Notes the time.
    Mark(Marks),
    /// Waits: a pace that was asked for.
    Sleep(Duration),
    /// Goes on when notified. A [`Notify::notify_one`] that came earlier counts.
    WaitFor(Arc<Notify>),
    /// Never goes on; the peer must close.
    Stall,
    /// Closes by FIN without the last chunk, then waits for the peer to close.
    Fin,
    /// Closes by RST at once.
    Rst,
    /// The last chunk; the connection stays for the next request. A script that has no ending step ends so.
    End,
    /// A status line and then a field every 50 ms, until the peer closes.
    EndlessHeaders,
    /// Whether each following byte of the body is a chunk and a write of its own.
    SplitEveryByte(bool),
}

/// The times at which a script came by its marks, in order. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<Vec<Instant>>>);

impl Marks {
    /// The times so far.
    pub fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(now());
    }
}

/// A list of steps, played for one request.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

/// Whole answers.
impl Script {
    /// A well-formed text: the role, the pieces, `stop`, the usage, `[DONE]`, the last chunk.
    pub fn text(pieces: &[&str]) -> Self {
        Self::new().role().contents(pieces).ending("stop", pieces.len(), 0)
    }

    /// A well-formed text after a reasoning (`reasoning_content`).
    pub fn reasoning(reasoning: &[&str], pieces: &[&str]) -> Self {
        let thinking = reasoning.iter().fold(Self::new().role(), |script, piece| script.delta(&json!({"reasoning_content": piece})));
        thinking.contents(pieces).ending("stop", reasoning.len() + pieces.len(), reasoning.len())
    }

    /// A well-formed call of one tool; its arguments come in fragments.
    pub fn tool_call(name: &str, id: &str, arguments: &[&str]) -> Self {
        let function = json!({"name": name, "arguments": ""});
        let first = json!({"tool_calls": [{"index": 0, "id": id, "type": "function", "function": function}]});
        let script = arguments.iter().fold(Self::new().role().delta(&first), |script, fragment| {
            script.delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]}))
        });
        script.ending("tool_calls", arguments.len(), 0)
    }

    /// A well-formed refusal.
    pub fn refusal(pieces: &[&str]) -> Self {
        let script = pieces.iter().fold(Self::new().role(), |script, piece| script.delta(&json!({"refusal": piece})));
        script.ending("stop", pieces.len(), 0)
    }

    /// An error instead of a stream.
    pub fn error(status: u16, body: &Value) -> Self {
        Self::status(status, &[("content-type", "application/json")], body.to_string())
    }

    /// Any whole answer instead of a stream.
    pub fn status(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::new().step(Step::Status(status, headers, body.into()))
    }

    /// Nothing at all, not even a head.
    pub fn no_head() -> Self {
        Self::new().stall()
    }

    /// The head of a stream and nothing more.
    pub fn headers_only() -> Self {
        Self::new().head().stall()
    }

    /// A head that never ends.
    pub fn endless_headers() -> Self {
        Self::new().step(Step::EndlessHeaders)
    }
}

/// Step by step.
impl Script {
    /// No steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Appends the head of a stream, so that it goes out before the first event.
    #[must_use]
    pub fn head(self) -> Self {
        self.step(Step::Head)
    }

    /// Appends an event.
    #[must_use]
    pub fn event(self, data: Value) -> Self {
        self.step(Step::Event(data))
    }

    /// Appends bytes of the body.
    #[must_use]
    pub fn raw(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Raw(bytes.into()))
    }

    /// Appends a chunk with one choice and this delta.
    #[must_use]
    pub fn delta(self, delta: &Value) -> Self {
        self.event(chunk::choice(delta, None))
    }

    /// Appends the first chunk of an answer: the role, and empty content.
    #[must_use]
    pub fn role(self) -> Self {
        self.delta(&json!({"role": "assistant", "content": ""}))
    }

    /// Appends a piece of text.
    #[must_use]
    pub fn content(self, piece: &str) -> Self {
        self.delta(&json!({"content": piece}))
    }

    /// Appends pieces of text.
    #[must_use]
    pub fn contents(self, pieces: &[&str]) -> Self {
        pieces.iter().fold(self, |script, piece| script.content(piece))
    }

    /// Appends the chunk with the finish reason.
    #[must_use]
    pub fn finish(self, reason: &str) -> Self {
        self.event(chunk::choice(&json!({}), Some(reason)))
    }

    /// Appends the chunk with the usage.
    #[must_use]
    pub fn usage(self, prompt_tokens: u64, completion_tokens: u64, reasoning_tokens: u64) -> Self {
        self.event(chunk::usage(prompt_tokens, completion_tokens, reasoning_tokens))
    }

    /// Appends `data: [DONE]`.
    #[must_use]
    pub fn done(self) -> Self {
        self.raw("data: [DONE]\n\n")
    }

    /// Appends a comment, as queues send them for keep-alive.
    #[must_use]
    pub fn comment(self) -> Self {
        self.raw(": keep-alive\n\n")
    }

    /// Appends a note of the time, for what is written next.
    #[must_use]
    pub fn mark(self, marks: &Marks) -> Self {
        self.step(Step::Mark(marks.clone()))
    }

    /// Appends a wait.
    #[must_use]
    pub fn sleep(self, duration: Duration) -> Self {
        self.step(Step::Sleep(duration))
    }

    /// Appends a gate, opened by `notify_one`.
    #[must_use]
    pub fn wait_for(self, gate: &Arc<Notify>) -> Self {
        self.step(Step::WaitFor(Arc::clone(gate)))
    }

    /// Appends a stall for ever.
    #[must_use]
    pub fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Appends a close by FIN without the last chunk.
    #[must_use]
    pub fn fin(self) -> Self {
        self.step(Step::Fin)
    }

    /// Appends a close by RST.
    #[must_use]
    pub fn rst(self) -> Self {
        self.step(Step::Rst)
    }

    /// Appends the last chunk.
    #[must_use]
    pub fn end(self) -> Self {
        self.step(Step::End)
    }

    /// Only the first `count` chunks of the body are left, for what is to happen after them.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        let mut seen = 0;
        let is_over = |step: &Step| {
            seen += usize::from(matches!(step, Step::Event(_) | Step::Raw(_)));
            seen > count || matches!(step, Step::End)
        };
        let end = self.steps.iter().position(is_over).unwrap_or(self.steps.len());
        self.steps.truncate(end);
        self
    }

    /// A wait before each chunk of the body.
    #[must_use]
    pub fn paced(self, pause: Duration) -> Self {
        let paced = |step| if matches!(step, Step::Event(_) | Step::Raw(_)) { vec![Step::Sleep(pause), step] } else { vec![step] };
        Self { steps: self.steps.into_iter().flat_map(paced).collect() }
    }

    /// Every byte of the whole body is a chunk and a write of its own.
    #[must_use]
    pub fn byte_by_byte(mut self) -> Self {
        self.steps.insert(0, Step::SplitEveryByte(true));
        self
    }

    fn ending(self, reason: &str, completion_tokens: usize, reasoning_tokens: usize) -> Self {
        self.finish(reason).usage(PROMPT_TOKENS, completion_tokens as u64, reasoning_tokens as u64).done().end()
    }
}
