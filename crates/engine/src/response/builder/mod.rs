//! A response as a pure state machine: model events go in, numbered entries come out.

mod calls;
pub(super) mod fault;
mod opaque;
mod parts;
mod pending;
mod resume;
mod tool_calls;

use std::collections::BTreeMap;

use protocol::entry::Entry;
use protocol::event::{Event, Snapshot};
use protocol::extra::Extra;
use protocol::fault::{Fault, FaultKind};
use protocol::item::ItemStatus;
use protocol::request::ToolMode;
use protocol::response::{FINISH_REASON, IncompleteDetails, Response, ResponseStatus};
use protocol::usage::Usage;

use self::calls::Calls;
use self::fault::{nameless, of_upstream, truncated};
use self::pending::PendingEntries;
use super::cause::Cause;
use crate::provider::event::{Finish, ModelEvent};

/// The longest value in a response's metadata, in characters.
const LONGEST_METADATA: usize = 512;

/// The most pairs in the metadata.
const MOST_METADATA: usize = 16;

/// More tokens than any model reads or writes in one response.
const MOST_TOKENS: u64 = 1_000_000_000;

/// How a response ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The upstream's stream is over. The evidence decides whether the response is complete
    /// (promise 4).
    Over,
    /// Something failed.
    Failed(Fault),
    /// It was stopped.
    Stopped(Cause),
}

/// A response that is being built.
pub(crate) struct ResponseBuilder {
    response: Response,
    open: Option<Open>,
    /// Whether the last part of the open item is open.
    is_part_open: bool,
    /// Whether the last reasoning from upstream was a summary.
    was_summary: bool,
    calls: Calls,
    /// Opaque items that are not done, by their key: their index in the output.
    opaque: BTreeMap<u64, usize>,
    /// Fields beyond the vocabulary for the next message.
    pending_extra: Extra,
    /// The bytes of all such fields: they grow with the stream and are in no entry before its end.
    extra_bytes: u64,
    finish: Option<Finish>,
    usage: Option<Usage>,
    /// Whether output came after the usage, which then does not include it.
    is_usage_stale: bool,
    entries: PendingEntries,
}

/// The kind of the open item. It is closed when an event of another kind comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Reasoning,
    Summary,
    Text,
    Refusal,
}

impl Open {
    /// Whether both kinds share one item.
    fn shares_item(self, other: Self) -> bool {
        let is_thought = |open| matches!(open, Self::Reasoning | Self::Summary);
        is_thought(self) == is_thought(other)
    }
}

impl ResponseBuilder {
    /// Starts `response`, which has just been accepted. Its first entries are ready.
    pub(crate) fn start(response: Response) -> Self {
        let queued = response.status == ResponseStatus::Queued;
        let mut answer = Self::at(0, response);
        let Self { response, entries, .. } = &mut answer;
        entries.push(&Event::Created(Snapshot { response }));
        if queued {
            entries.push(&Event::Queued(Snapshot { response }));
            response.status = ResponseStatus::InProgress;
        }
        entries.push(&Event::InProgress(Snapshot { response }));
        answer
    }

    /// `response` as its log has it up to `position`, with nothing open.
    fn at(position: u64, response: Response) -> Self {
        Self {
            response,
            open: None,
            is_part_open: false,
            was_summary: false,
            calls: Calls::default(),
            opaque: BTreeMap::new(),
            pending_extra: Extra::default(),
            extra_bytes: 0,
            finish: None,
            usage: None,
            is_usage_stale: false,
            entries: PendingEntries::at(position),
        }
    }

    /// The entries since the last call.
    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        self.entries.take()
    }

    /// The most bytes of fields beyond the vocabulary that the response holds.
    pub(crate) fn extra_bytes(&self) -> u64 {
        self.extra_bytes
    }

    /// The response so far.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// The response as it ended.
    pub(crate) fn into_response(self) -> Response {
        self.response
    }

    /// The reported usage, if it is plausible: with output, both counts are positive, and the usage
    /// came after the output.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let is_possible = |usage: &Usage| {
            let is_too_much = usage.input_tokens > MOST_TOKENS || usage.output_tokens > MOST_TOKENS;
            let is_of_output =
                usage.input_tokens > 0 && usage.output_tokens > 0 && !self.is_usage_stale;
            !is_too_much && (!self.has_output() || is_of_output)
        };
        self.usage.filter(is_possible).map(Usage::within_its_sums)
    }

    /// The finish reason.
    pub(crate) fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Whether there is a finish reason.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether there is any output.
    pub(crate) fn has_output(&self) -> bool {
        !self.response.output.is_empty()
    }

    /// Resets what came of a call that failed before any output, for another call.
    pub(crate) fn forget(&mut self) {
        (self.calls, self.finish, self.usage) = (Calls::default(), None, None);
        (self.pending_extra, self.is_usage_stale) = (Extra::default(), false);
    }

    /// Takes a model event.
    ///
    /// # Errors
    /// The upstream's stream makes no sense.
    pub(crate) fn word(&mut self, word: ModelEvent, upstream: &str) -> Result<(), Fault> {
        self.is_usage_stale |= is_output(&word) && self.usage.is_some();
        match word {
            ModelEvent::Text { text, logprobs } => {
                self.open(Open::Text);
                self.text(&text, logprobs);
            }
            ModelEvent::Annotation(annotation) => self.annotate(annotation),
            ModelEvent::Reasoning(text) => self.think(&text, false),
            ModelEvent::ReasoningSummary(text) => self.think(&text, true),
            ModelEvent::ReasoningBreak
                if matches!(self.open, Some(Open::Reasoning | Open::Summary)) =>
            {
                self.close_part();
            }
            ModelEvent::ReasoningEnd { encrypted } => self.end_reasoning(encrypted),
            ModelEvent::Refusal(text) => {
                self.open(Open::Refusal);
                self.refusal(&text);
            }
            ModelEvent::ToolCall(delta) => self.tool_call(delta, upstream)?,
            ModelEvent::Item(step) => self.opaque_step(step),
            ModelEvent::ReasoningExtra(fields) => self.reasoning_extra(fields),
            ModelEvent::Extra(fields) => self.message_extra(fields),
            ModelEvent::Usage(usage) => (self.usage, self.is_usage_stale) = (Some(usage), false),
            ModelEvent::Finish(finish) => self.finish = Some(finish),
            ModelEvent::ReasoningBreak | ModelEvent::KeepAlive => {}
        }
        Ok(())
    }

    /// Ends the response: closes what is open and appends the terminal event, after an `error` if
    /// it failed. Returns the failure.
    pub(crate) fn end(
        &mut self,
        end: &End,
        usage: Option<Usage>,
        now: u64,
        upstream: &str,
    ) -> Option<Fault> {
        let failure = match end {
            End::Failed(fault) => Some(fault.clone()),
            End::Over => self
                .missing_evidence(upstream)
                .or_else(|| self.calls.has_nameless().then(|| nameless(upstream))),
            End::Stopped(cause) => cause.fault(),
        };
        let reason = match (end, &self.finish) {
            (End::Stopped(cause), _) => Some(cause.reason()),
            (_, Some(Finish::Length)) => Some("max_output_tokens"),
            (_, Some(Finish::ContentFilter)) => Some("content_filter"),
            (_, Some(Finish::Unknown(_))) => Some(IncompleteDetails::UNKNOWN_FINISH_REASON),
            (_, Some(Finish::Stop) | None) => None,
        };
        let whole = failure.is_none() && reason.is_none();
        self.close(if whole { ItemStatus::Completed } else { ItemStatus::Incomplete });
        if let Some(fault) = &failure {
            self.entries.push(&Event::error(fault));
        }
        let response = &mut self.response;
        if let (Some(IncompleteDetails::UNKNOWN_FINISH_REASON), Some(Finish::Unknown(word))) =
            (reason, &self.finish)
        {
            // The caller's own metadata have priority: a response with more pairs than the limit
            // would not be accepted back.
            if response.metadata.len() < MOST_METADATA {
                let word: String = word.chars().take(LONGEST_METADATA).collect();
                response.metadata.insert(FINISH_REASON.to_owned(), word.into());
            }
        }
        response.usage = usage;
        response.error = failure.as_ref().map(Into::into);
        response.status = match (&failure, end, reason) {
            (Some(_), _, _) => ResponseStatus::Failed,
            (None, End::Stopped(cause), _) => cause.status(),
            (None, _, Some(_)) => ResponseStatus::Incomplete,
            (None, _, None) => ResponseStatus::Completed,
        };
        if failure.is_none() {
            response.incomplete_details =
                reason.map(|reason| IncompleteDetails { reason: reason.into() });
        }
        response.completed_at = whole.then_some(now);
        self.entries.push(&Event::terminal(response));
        failure
    }

    /// Why a stream that is over is not a complete response.
    fn missing_evidence(&self, upstream: &str) -> Option<Fault> {
        if self.finish.is_none() {
            return Some(truncated(upstream));
        }
        let called = !self.calls.is_empty();
        if self.finish == Some(Finish::Stop)
            && self.response.tool_choice.mode() == ToolMode::Required
            && !called
        {
            let message =
                format!("{}: the model had to call a tool and did not.", of_upstream(upstream));
            return Some(Fault::new(FaultKind::Upstream, "tool_choice_unmet", message));
        }
        None
    }

    /// Closes everything, in the order of the output.
    fn close(&mut self, status: ItemStatus) {
        self.place_extra();
        self.close_open(status);
        let mut open: Vec<usize> = self.calls.open().chain(self.opaque.values().copied()).collect();
        open.sort_unstable();
        for output_index in open {
            self.close_call(output_index, status);
            self.close_opaque(output_index, status);
        }
        self.opaque.clear();
    }
}

/// Whether an event is output of the model.
fn is_output(word: &ModelEvent) -> bool {
    match word {
        ModelEvent::Text { .. }
        | ModelEvent::Reasoning(_)
        | ModelEvent::ReasoningSummary(_)
        | ModelEvent::ToolCall(_)
        | ModelEvent::Item(_) => true,
        // If a filter withheld the output, the vendor's own explanation comes last, and is not in
        // the usage.
        ModelEvent::Refusal(_)
        | ModelEvent::Annotation(_)
        | ModelEvent::ReasoningBreak
        | ModelEvent::ReasoningEnd { .. }
        | ModelEvent::ReasoningExtra(_)
        | ModelEvent::Extra(_)
        | ModelEvent::Usage(_)
        | ModelEvent::Finish(_)
        | ModelEvent::KeepAlive => false,
    }
}
