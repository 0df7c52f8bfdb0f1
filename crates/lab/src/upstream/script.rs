//! What the fake model server does for one request: a list of steps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

use super::answer::PROMPT_TOKENS;
use super::said::{Said, Trouble, Usage};
use super::wire;
use crate::runtime::now;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    /// A whole answer that is no stream: status, fields, body.
    Status(u16, Vec<(String, String)>, Bytes),
    /// A whole answer with an error status, the vendor's own if none is given, in its form, and how long it says one should
    /// wait.
    Refuse(Option<u16>, Trouble, Option<Duration>),
    /// The head of a stream: 200, the vendor's media type, chunked. The first step that needs a head sends it by itself.
    Head,
    /// A thing said, in the vendor's words: each of its events is one chunk and one write.
    Say(Said),
    /// Any JSON as an event in the vendor's frame, as one chunk and one write.
    Event(Value),
    /// Bytes of the body, as one chunk and one write.
    Raw(Bytes),
    /// A part of a JSON document, as one chunk and one write, whatever was asked for. The first one sends the head.
    Partial(Bytes),
    /// Notes the time.
    Mark(Marks),
    /// Waits: a pace that was asked for.
    Sleep(Duration),
    /// Goes on when notified. A [`Notify::notify_one`] that came earlier counts.
    WaitFor(Arc<Notify>),
    /// Never goes on; the peer must close.
    Stall,
    /// Closes by FIN without the last chunk, then waits for the peer to close. Over HTTP/2 it closes the whole connection.
    Fin,
    /// Closes by RST at once. Over HTTP/2 it resets the stream only (`INTERNAL_ERROR`).
    Rst,
    /// The last chunk; the connection stays for the next request. A script that has no ending step ends so.
    End,
    /// A status line and then a field every 50 ms, until the peer closes.
    EndlessHeaders,
    /// Whether each following byte of the body is a chunk and a write of its own.
    SplitEveryByte(bool),
}

impl Step {
    /// Whether it is a part of the body.
    fn is_body(&self) -> bool {
        matches!(self, Self::Say(_) | Self::Event(_) | Self::Raw(_))
    }
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

    /// A well-formed text after a reasoning.
    pub fn reasoning(reasoning: &[&str], pieces: &[&str]) -> Self {
        let thinking = reasoning.iter().fold(Self::new().role(), |script, piece| script.reason(piece));
        thinking.contents(pieces).ending("stop", reasoning.len() + pieces.len(), reasoning.len())
    }

    /// A well-formed call of one tool; its arguments come in fragments.
    pub fn tool_call(name: &str, id: &str, arguments: &[&str]) -> Self {
        Self::new().role().call(0, id, name, arguments).ending("tool_calls", arguments.len(), 0)
    }

    /// A well-formed refusal.
    pub fn refusal(pieces: &[&str]) -> Self {
        let script = pieces.iter().fold(Self::new().role(), |script, piece| script.refuse(piece));
        script.ending("stop", pieces.len(), 0)
    }

    /// A prompt that the vendor's filter does not let through.
    pub fn blocked() -> Self {
        Self::new().role().ending("content_filter", 0, 0)
    }

    /// An error instead of a stream, in the vendor's form.
    pub fn refused(status: u16, trouble: Trouble) -> Self {
        Self::new().step(Step::Refuse(Some(status), trouble, None))
    }

    /// Like [`Self::refused`], with the status that the vendor answers it with.
    pub fn refused_as(trouble: Trouble) -> Self {
        Self::new().step(Step::Refuse(None, trouble, None))
    }

    /// Like [`Self::refused`], and the vendor says how long to wait, where it has a way to.
    pub fn refused_for(status: u16, trouble: Trouble, wait: Duration) -> Self {
        Self::new().step(Step::Refuse(Some(status), trouble, Some(wait)))
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

    /// Appends a thing said.
    #[must_use]
    pub fn say(self, said: Said) -> Self {
        self.step(Step::Say(said))
    }

    /// Appends a chunk of chat completions with one choice and this delta.
    #[must_use]
    pub fn delta(self, delta: &Value) -> Self {
        self.event(wire::chat_choice(delta, None))
    }

    /// Appends the begin of an answer: the role, and empty content.
    #[must_use]
    pub fn role(self) -> Self {
        self.say(Said::Begin)
    }

    /// Appends a piece of reasoning.
    #[must_use]
    pub fn reason(self, piece: &str) -> Self {
        self.say(Said::Reasoning(piece.to_owned()))
    }

    /// Appends the seal of the reasoning so far: base64.
    #[must_use]
    pub fn signature(self, signature: &str) -> Self {
        self.say(Said::Signature(signature.to_owned()))
    }

    /// Appends a piece of text.
    #[must_use]
    pub fn content(self, piece: &str) -> Self {
        self.say(Said::Text(piece.to_owned()))
    }

    /// Appends pieces of text.
    #[must_use]
    pub fn contents(self, pieces: &[&str]) -> Self {
        pieces.iter().fold(self, |script, piece| script.content(piece))
    }

    /// Appends a piece of a refusal.
    #[must_use]
    pub fn refuse(self, piece: &str) -> Self {
        self.say(Said::Refusal(piece.to_owned()))
    }

    /// Appends a whole call of a tool, whose arguments come in fragments. `index` counts the calls of the answer from 0.
    #[must_use]
    pub fn call(self, index: usize, id: &str, name: &str, arguments: &[&str]) -> Self {
        let call = self.say(Said::Call { index, id: id.to_owned(), name: name.to_owned() });
        arguments.iter().fold(call, |script, fragment| script.say(Said::Arguments { index, fragment: (*fragment).to_owned() }))
    }

    /// Appends the finish reason, in the words of chat completions.
    #[must_use]
    pub fn finish(self, reason: &str) -> Self {
        self.say(Said::Finish(reason.to_owned()))
    }

    /// Appends the usage.
    #[must_use]
    pub fn usage(self, prompt_tokens: u64, completion_tokens: u64, reasoning_tokens: u64) -> Self {
        self.cost_of(Usage { input: prompt_tokens, cached: 0, output: completion_tokens, reasoning: reasoning_tokens })
    }

    /// Appends the usage, with all that there is to say of it.
    #[must_use]
    pub fn cost_of(self, usage: Usage) -> Self {
        self.say(Said::Usage(usage))
    }

    /// Appends an error inside the stream.
    #[must_use]
    pub fn failure(self, trouble: Trouble) -> Self {
        self.say(Said::Failure(trouble))
    }

    /// Appends what comes after all else: `data: [DONE]` in chat completions.
    #[must_use]
    pub fn done(self) -> Self {
        self.say(Said::Done)
    }

    /// Appends a sign of life: a comment in chat completions, as queues send them.
    #[must_use]
    pub fn comment(self) -> Self {
        self.say(Said::KeepAlive)
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

    /// Only the first `count` things said, events and raw pieces are left, for what is to happen after them.
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

    /// A wait before each thing said, event and raw piece.
    #[must_use]
    pub fn paced(self, pause: Duration) -> Self {
        let paced = |step: Step| if step.is_body() { vec![Step::Sleep(pause), step] } else { vec![step] };
        Self { steps: self.steps.into_iter().flat_map(paced).collect() }
    }

    /// Every byte of the whole body is a chunk and a write of its own.
    #[must_use]
    pub fn byte_by_byte(mut self) -> Self {
        self.steps.insert(0, Step::SplitEveryByte(true));
        self
    }

    /// What the script says of the cost, at last.
    pub(super) fn cost(&self) -> Option<Usage> {
        self.steps.iter().rev().find_map(|step| if let Step::Say(Said::Usage(usage)) = step { Some(*usage) } else { None })
    }

    fn ending(self, reason: &str, completion_tokens: usize, reasoning_tokens: usize) -> Self {
        self.finish(reason).usage(PROMPT_TOKENS, completion_tokens as u64, reasoning_tokens as u64).done().end()
    }
}
