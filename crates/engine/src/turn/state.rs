//! One answer as a pure state machine: words from upstream go in, numbered entries come out.

mod parts;
mod resume;

use std::collections::BTreeMap;

use protocol::event::{ArgumentsDelta, ArgumentsDone, Entry, Event, ItemEvent, Snapshot};
use protocol::fault::{Fault, FaultKind};
use protocol::item::{FunctionCall, Item, ItemStatus};
use protocol::request::ToolMode;
use protocol::response::{IncompleteDetails, Response, ResponseStatus};
use protocol::usage::Usage;

use crate::id;
use crate::provider::{Finish, Word};
use crate::turn::Cause;

/// How many bytes of arguments may come before the name of their function. It comes with the first piece, or never.
const LONGEST_HELD_BACK: usize = 64 << 10;

/// How an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The upstream's stream is over. Whether the answer is whole, the evidence says (promise 4).
    Over,
    /// Something failed.
    Failed(Fault),
    /// Somebody stopped it.
    Stopped(Cause),
}

/// An answer in the making.
pub(crate) struct Answer {
    response: Response,
    position: u64,
    open: Option<Open>,
    /// Whether the last part of the open item still grows.
    is_part_open: bool,
    calls: BTreeMap<u64, Call>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    entries: Vec<Entry>,
}

/// The item that grows: it closes when another kind of word comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Reasoning,
    Summary,
    Text,
    Refusal,
}

impl Open {
    /// Whether both go into one item.
    fn shares_item(self, other: Self) -> bool {
        let is_thought = |open| matches!(open, Self::Reasoning | Self::Summary);
        is_thought(self) == is_thought(other)
    }
}

/// A tool call. Calls may be interleaved, so they stay open until the end.
#[derive(Default)]
struct Call {
    id: Option<String>,
    name: Option<String>,
    /// What came before the name was known.
    held_back: String,
    output_index: Option<usize>,
}

impl Answer {
    /// An answer to `response`, which has just been accepted. Its first entries are ready.
    pub(crate) fn begin(response: Response) -> Self {
        let queued = response.status == ResponseStatus::Queued;
        let mut answer = Self {
            response,
            position: 0,
            open: None,
            is_part_open: false,
            calls: BTreeMap::new(),
            finish: None,
            usage: None,
            entries: Vec::new(),
        };
        let created = answer.snapshot();
        answer.push(&Event::Created(created));
        if queued {
            let snapshot = answer.snapshot();
            answer.push(&Event::Queued(snapshot));
            answer.response.status = ResponseStatus::InProgress;
        }
        let snapshot = answer.snapshot();
        answer.push(&Event::InProgress(snapshot));
        answer
    }

    /// The entries made since the last call.
    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// The response so far.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// What upstream says it cost.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Why the model stopped.
    pub(crate) fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Whether the model has said why it stopped.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether the model has made anything.
    pub(crate) fn has_output(&self) -> bool {
        !self.response.output.is_empty()
    }

    /// Forgets what was heard of a call that failed before it made anything: another begins anew.
    pub(crate) fn forget(&mut self) {
        (self.calls, self.finish, self.usage) = (BTreeMap::new(), None, None);
    }

    /// Takes a word in.
    ///
    /// # Errors
    /// The model did what the request forbids.
    pub(crate) fn word(&mut self, word: Word) -> Result<(), Fault> {
        match word {
            Word::Text { text, logprobs } => {
                self.open(Open::Text);
                self.text(text, logprobs);
            }
            Word::Annotation(annotation) => self.annotate(annotation),
            Word::Reasoning(text) => {
                self.open(Open::Reasoning);
                self.reasoning(text);
            }
            Word::ReasoningSummary(text) => {
                self.open(Open::Summary);
                self.summary(text);
            }
            Word::ReasoningBreak if matches!(self.open, Some(Open::Reasoning | Open::Summary)) => self.close_part(),
            Word::ReasoningEnd { encrypted } => self.end_reasoning(encrypted),
            Word::Refusal(text) => {
                self.open(Open::Refusal);
                self.refusal(text);
            }
            Word::ToolCall { index, id, name, arguments } => self.tool_call(index, id, name, &arguments)?,
            Word::Usage(usage) => self.usage = Some(usage),
            Word::Finish(finish) => self.finish = Some(finish),
            Word::ReasoningBreak | Word::KeepAlive => {}
        }
        Ok(())
    }

    /// Ends the answer: closes what is open and appends the terminal event, with an `error` before it where it failed. Gives
    /// that failure.
    pub(crate) fn end(&mut self, end: &End, usage: Option<Usage>, now: u64) -> Option<Fault> {
        let failure = match end {
            End::Failed(fault) => Some(fault.clone()),
            End::Over => self.missing_evidence(),
            End::Stopped(cause) => cause.fault(),
        };
        let reason = match (end, &self.finish) {
            (End::Stopped(cause), _) => Some(cause.reason()),
            (_, Some(Finish::Length)) => Some("max_output_tokens"),
            (_, Some(Finish::ContentFilter)) => Some("content_filter"),
            (_, Some(Finish::Stop | Finish::Other(_)) | None) => None,
        };
        let whole = failure.is_none() && reason.is_none();
        self.close(if whole { ItemStatus::Completed } else { ItemStatus::Incomplete });
        if let Some(fault) = &failure {
            self.push(&Event::error(fault));
        }
        let response = &mut self.response;
        response.usage = usage;
        response.error = failure.as_ref().map(Into::into);
        response.status = match (&failure, end, reason) {
            (Some(_), _, _) => ResponseStatus::Failed,
            (None, End::Stopped(cause), _) => cause.status(),
            (None, _, Some(_)) => ResponseStatus::Incomplete,
            (None, _, None) => ResponseStatus::Completed,
        };
        if failure.is_none() {
            response.incomplete_details = reason.map(|reason| IncompleteDetails { reason: reason.into() });
        }
        response.completed_at = whole.then_some(now);
        let terminal = Event::terminal(response.clone());
        self.push(&terminal);
        failure
    }

    /// Why a stream that is over was not the whole answer.
    fn missing_evidence(&self) -> Option<Fault> {
        if self.finish.is_none() {
            return Some(truncated());
        }
        if self.calls.values().any(|call| call.output_index.is_none()) {
            return Some(nameless());
        }
        let called = !self.calls.is_empty();
        if self.finish == Some(Finish::Stop) && self.response.tool_choice.mode() == ToolMode::Required && !called {
            return Some(Fault::new(FaultKind::Upstream, "tool_choice_unmet", "the model had to call a tool and did not"));
        }
        None
    }

    fn tool_call(&mut self, index: u64, call_id: Option<String>, name: Option<String>, arguments: &str) -> Result<(), Fault> {
        self.close_open(ItemStatus::Completed);
        let call = self.calls.entry(index).or_default();
        call.id = call.id.take().or(call_id);
        call.name = call.name.take().or(name);
        if let Some(output_index) = call.output_index {
            self.arguments(output_index, arguments.to_owned());
            return Ok(());
        }
        call.held_back.push_str(arguments);
        let Some(name) = call.name.clone() else {
            return if call.held_back.len() > LONGEST_HELD_BACK { Err(nameless()) } else { Ok(()) };
        };
        let known = self.response.tools.iter().any(|tool| tool.name == name);
        if !known || !self.response.tool_choice.allows(&name) {
            let message = format!("the model called the tool '{name}', which this request does not allow");
            return Err(Fault::new(FaultKind::Upstream, "tool_not_allowed", message));
        }
        let held_back = std::mem::take(&mut call.held_back);
        let call_id = call.id.clone().unwrap_or_else(|| id::item("call").as_str().to_owned());
        let output_index = self.response.output.len();
        call.output_index = Some(output_index);
        self.add_item(Item::FunctionCall(FunctionCall {
            id: id::item("fc"),
            call_id,
            name,
            arguments: String::new(),
            status: ItemStatus::InProgress,
        }));
        self.arguments(output_index, held_back);
        Ok(())
    }

    fn arguments(&mut self, output_index: usize, delta: String) {
        if delta.is_empty() {
            return;
        }
        let Some(Item::FunctionCall(call)) = self.response.output.get_mut(output_index) else { return };
        call.arguments.push_str(&delta);
        let item_id = call.id.clone();
        self.push(&Event::FunctionCallArgumentsDelta(ArgumentsDelta { item_id, output_index, delta }));
    }

    /// Closes everything, in the order of the output.
    fn close(&mut self, status: ItemStatus) {
        self.close_open(status);
        let open: Vec<usize> = self.calls.values().filter_map(|call| call.output_index).collect();
        for output_index in open {
            let Some(Item::FunctionCall(call)) = self.response.output.get_mut(output_index) else { continue };
            call.status = status;
            let call = call.clone();
            // Arguments that were cut are not called done: a client might run them.
            if status == ItemStatus::Completed {
                self.push(&Event::FunctionCallArgumentsDone(ArgumentsDone {
                    item_id: call.id.clone(),
                    output_index,
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                }));
            }
            self.push(&Event::OutputItemDone(ItemEvent { output_index, item: Item::FunctionCall(call) }));
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { response: Box::new(self.response.clone()) }
    }

    fn push(&mut self, event: &Event) {
        self.entries.push(Entry::new(self.position, event));
        self.position += 1;
    }
}

/// An answer that stopped without the evidence that it is whole.
pub(super) fn truncated() -> Fault {
    let message = "the upstream's answer stopped without a finish reason: it is not whole";
    Fault::new(FaultKind::Upstream, "upstream_truncated", message)
}

fn nameless() -> Fault {
    Fault::new(FaultKind::Upstream, "upstream_invalid_data", "the model called a tool without naming it")
}
