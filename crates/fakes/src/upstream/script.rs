//! Scripts: the steps that the fake model server takes for one request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

use super::encode;
use super::event::{ScriptEvent, Usage};
use super::played::PROMPT_TOKENS;
use super::vendor_error::VendorError;
use client::now;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    /// A complete response without streaming: status, header fields, body.
    Status(u16, Vec<(String, String)>, Bytes),
    /// An error response in the vendor's format, with its own status if none is given, and with the
    /// wait in it.
    Refuse(Option<u16>, VendorError, Option<Duration>),
    /// The head of a stream: 200, the vendor's media type, chunked. The first step that needs a
    /// head sends it by itself.
    Head,
    /// An event of the model in the vendor's format: each of the vendor's events is one chunk and
    /// one write.
    Emit(ScriptEvent),
    /// Any JSON in the vendor's framing, as one chunk and one write.
    Event(Value),
    /// Bytes of the body, as one chunk and one write.
    Raw(Bytes),
    /// A part of a JSON document, as one chunk and one write, with or without streaming. The first
    /// one sends the head.
    Partial(Bytes),
    /// Records the time.
    Mark(Marks),
    /// Waits, as a model's pace.
    Sleep(Duration),
    /// Waits for the notification. An earlier [`Notify::notify_one`] counts.
    WaitFor(Arc<Notify>),
    /// Waits until the peer closes.
    Stall,
    /// Closes by FIN without the last chunk, then waits for the peer to close. Over HTTP/2 it
    /// closes the whole connection.
    Fin,
    /// Closes by RST at once. Over HTTP/2 it resets the stream only (`INTERNAL_ERROR`).
    Rst,
    /// The last chunk; the connection is kept for the next request. A script without an ending step
    /// ends like this.
    End,
    /// A status line and then a field every 50 ms, until the peer closes.
    EndlessHeaders,
    /// Whether each following byte of the body is a chunk and a write.
    SplitEveryByte(bool),
}

impl Step {
    /// Whether it writes a part of the body.
    fn is_body(&self) -> bool {
        matches!(self, Self::Emit(_) | Self::Event(_) | Self::Raw(_))
    }
}

/// The times at which a script reached its marks, in order. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<Vec<Instant>>>);

impl Marks {
    /// The times so far.
    pub fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn record(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(now());
    }
}

/// A list of steps for one request.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

/// Complete responses.
impl Script {
    /// A well-formed text: role, pieces, `stop`, usage, `[DONE]`, the last chunk.
    pub fn text(pieces: &[&str]) -> Self {
        Self::new().role().contents(pieces).ending("stop", pieces.len(), 0)
    }

    /// A well-formed text after reasoning.
    pub fn reasoning(reasoning: &[&str], pieces: &[&str]) -> Self {
        let thinking =
            reasoning.iter().fold(Self::new().role(), |script, piece| script.reason(piece));
        thinking.contents(pieces).ending("stop", reasoning.len() + pieces.len(), reasoning.len())
    }

    /// A well-formed tool call; its arguments are sent in fragments.
    pub fn tool_call(name: &str, id: &str, arguments: &[&str]) -> Self {
        Self::new().role().call(0, id, name, arguments).ending("tool_calls", arguments.len(), 0)
    }

    /// A well-formed refusal.
    pub fn refusal(pieces: &[&str]) -> Self {
        let script = pieces.iter().fold(Self::new().role(), |script, piece| script.refuse(piece));
        script.ending("stop", pieces.len(), 0)
    }

    /// A prompt that the vendor's content filter blocks.
    pub fn blocked() -> Self {
        Self::new().role().ending("content_filter", 0, 0)
    }

    /// An error response in the vendor's format.
    pub fn refused(status: u16, error: VendorError) -> Self {
        Self::new().step(Step::Refuse(Some(status), error, None))
    }

    /// Like [`Self::refused`], with the vendor's own status.
    pub fn refused_as(error: VendorError) -> Self {
        Self::new().step(Step::Refuse(None, error, None))
    }

    /// Like [`Self::refused`], with the time to wait if the vendor's format has it.
    pub fn refused_for(status: u16, error: VendorError, wait: Duration) -> Self {
        Self::new().step(Step::Refuse(Some(status), error, Some(wait)))
    }

    /// An error response with this body.
    pub fn error(status: u16, body: &Value) -> Self {
        Self::status(status, &[("content-type", "application/json")], body.to_string())
    }

    /// Any complete response without streaming.
    pub fn status(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::new().step(Step::Status(status, headers, body.into()))
    }

    /// No response at all, not even a head.
    pub fn no_head() -> Self {
        Self::new().stall()
    }

    /// The head of a stream and nothing else.
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

    /// Appends the head of a stream, so that it is sent before the first event.
    #[must_use]
    pub fn head(self) -> Self {
        self.step(Step::Head)
    }

    /// Appends any JSON as an event.
    #[must_use]
    pub fn event(self, data: Value) -> Self {
        self.step(Step::Event(data))
    }

    /// Appends bytes of the body.
    #[must_use]
    pub fn raw(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Raw(bytes.into()))
    }

    /// Appends an event of the model.
    #[must_use]
    pub fn emit(self, event: ScriptEvent) -> Self {
        self.step(Step::Emit(event))
    }

    /// Appends a chunk of chat completions with one choice and this delta.
    #[must_use]
    pub fn delta(self, delta: &Value) -> Self {
        self.event(encode::chat_choice(delta, None))
    }

    /// Appends the start of a response: the role, and empty content.
    #[must_use]
    pub fn role(self) -> Self {
        self.emit(ScriptEvent::Start)
    }

    /// Appends a piece of reasoning.
    #[must_use]
    pub fn reason(self, piece: &str) -> Self {
        self.emit(ScriptEvent::Reasoning(piece.to_owned()))
    }

    /// Appends the signature of the reasoning so far: base64.
    #[must_use]
    pub fn signature(self, signature: &str) -> Self {
        self.emit(ScriptEvent::Signature(signature.to_owned()))
    }

    /// Appends a piece of text.
    #[must_use]
    pub fn content(self, piece: &str) -> Self {
        self.emit(ScriptEvent::Text(piece.to_owned()))
    }

    /// Appends pieces of text.
    #[must_use]
    pub fn contents(self, pieces: &[&str]) -> Self {
        pieces.iter().fold(self, |script, piece| script.content(piece))
    }

    /// Appends a piece of a refusal.
    #[must_use]
    pub fn refuse(self, piece: &str) -> Self {
        self.emit(ScriptEvent::Refusal(piece.to_owned()))
    }

    /// Appends a tool call whose arguments are sent in fragments. `index` counts the calls from 0.
    #[must_use]
    pub fn call(self, index: usize, id: &str, name: &str, arguments: &[&str]) -> Self {
        let call = self.emit(ScriptEvent::Call { index, id: id.to_owned(), name: name.to_owned() });
        arguments.iter().fold(call, |script, fragment| {
            script.emit(ScriptEvent::Arguments { index, fragment: (*fragment).to_owned() })
        })
    }

    /// Appends the finish reason, as in chat completions.
    #[must_use]
    pub fn finish(self, reason: &str) -> Self {
        self.emit(ScriptEvent::Finish(reason.to_owned()))
    }

    /// Appends the usage.
    #[must_use]
    pub fn usage(self, prompt_tokens: u64, completion_tokens: u64, reasoning_tokens: u64) -> Self {
        self.usage_of(Usage {
            input: prompt_tokens,
            cached: 0,
            output: completion_tokens,
            reasoning: reasoning_tokens,
        })
    }

    /// Appends the usage, with all its counts.
    #[must_use]
    pub fn usage_of(self, usage: Usage) -> Self {
        self.emit(ScriptEvent::Usage(usage))
    }

    /// Appends an error within the stream.
    #[must_use]
    pub fn failure(self, error: VendorError) -> Self {
        self.emit(ScriptEvent::Failure(error))
    }

    /// Appends the last event: `data: [DONE]` in chat completions.
    #[must_use]
    pub fn done(self) -> Self {
        self.emit(ScriptEvent::Done)
    }

    /// Appends a keep-alive: in chat completions a comment, as servers with queues send it.
    #[must_use]
    pub fn comment(self) -> Self {
        self.emit(ScriptEvent::KeepAlive)
    }

    /// Appends a mark: the time before the next step.
    #[must_use]
    pub fn mark(self, marks: &Marks) -> Self {
        self.step(Step::Mark(marks.clone()))
    }

    /// Appends a wait.
    #[must_use]
    pub fn sleep(self, duration: Duration) -> Self {
        self.step(Step::Sleep(duration))
    }

    /// Appends a wait for `notify_one`.
    #[must_use]
    pub fn wait_for(self, gate: &Arc<Notify>) -> Self {
        self.step(Step::WaitFor(Arc::clone(gate)))
    }

    /// Appends an endless wait.
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

    /// Keeps only the first `count` steps that write to the body, so that other steps can follow.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        let mut seen = 0;
        let is_over = |step: &Step| {
            seen += usize::from(step.is_body());
            seen > count || matches!(step, Step::End)
        };
        let end = self.steps.iter().position(is_over).unwrap_or(self.steps.len());
        self.steps.truncate(end);
        self
    }

    /// Adds a pause before each step that writes to the body.
    #[must_use]
    pub fn paced(self, pause: Duration) -> Self {
        let paced =
            |step: Step| if step.is_body() { vec![Step::Sleep(pause), step] } else { vec![step] };
        Self { steps: self.steps.into_iter().flat_map(paced).collect() }
    }

    /// Sends every byte of the body as a chunk and a write.
    #[must_use]
    pub fn byte_by_byte(mut self) -> Self {
        self.steps.insert(0, Step::SplitEveryByte(true));
        self
    }

    /// The usage that the script reports last.
    pub(super) fn reported_usage(&self) -> Option<Usage> {
        self.steps.iter().rev().find_map(|step| {
            if let Step::Emit(ScriptEvent::Usage(usage)) = step { Some(*usage) } else { None }
        })
    }

    fn ending(self, reason: &str, completion_tokens: usize, reasoning_tokens: usize) -> Self {
        self.finish(reason)
            .usage(PROMPT_TOKENS, completion_tokens as u64, reasoning_tokens as u64)
            .done()
            .end()
    }
}
