//! Collects the parsed events of a response for the engine: characters are complete, and calls
//! refer to the tools that the caller declared.

use std::collections::{BTreeMap, HashMap, VecDeque};

use engine::provider::event::{Finish, ModelEvent, OpaqueStep, ToolCallDelta};
use engine::provider::failure::{FailureScope, ProviderFailure};
use serde_json::Value;

use super::fault::{Callee, ERROR, Reported};
use super::text::{Joiner, remove_marks, without_marks};
use crate::tools::Lifter;

/// The events a grammar has parsed.
#[derive(Debug)]
pub(super) struct ParsedOutput {
    /// The upstream to name in faults.
    pub(super) callee: Callee,
    lifter: Lifter,
    words: VecDeque<Result<ModelEvent, ProviderFailure>>,
    joiners: Joiners,
    /// Call indices by id.
    call_ids: HashMap<String, u64>,
    /// The last text that was not part of the response: it may be the upstream's only explanation
    /// for a failure.
    note: Option<String>,
    has_finish: bool,
    /// Whether the finish reason is a known one.
    is_finish_known: bool,
    is_over: bool,
}

/// Joiners for texts that may be split inside a character.
#[derive(Debug, Default)]
struct Joiners {
    text: Joiner,
    reasoning: Joiner,
    summary: Joiner,
    refusal: Joiner,
    calls: BTreeMap<u64, Joiner>,
}

impl ParsedOutput {
    /// An empty output.
    pub(super) fn new(callee: Callee, lifter: Lifter) -> Self {
        let (words, joiners, call_ids) = (VecDeque::new(), Joiners::default(), HashMap::new());
        Self {
            callee,
            lifter,
            words,
            joiners,
            call_ids,
            note: None,
            has_finish: false,
            is_finish_known: false,
            is_over: false,
        }
    }

    /// The offered tools.
    pub(super) fn lifter(&self) -> &Lifter {
        &self.lifter
    }

    /// Emits an event.
    pub(super) fn word(&mut self, word: ModelEvent) {
        if self.is_over {
            return;
        }
        let word = match word {
            ModelEvent::Text { text, mut logprobs } => {
                logprobs.iter_mut().for_each(remove_marks);
                ModelEvent::Text { text: self.joiners.text.join(text), logprobs }
            }
            ModelEvent::Reasoning(text) => ModelEvent::Reasoning(self.joiners.reasoning.join(text)),
            ModelEvent::ReasoningSummary(text) => {
                ModelEvent::ReasoningSummary(self.joiners.summary.join(text))
            }
            ModelEvent::Refusal(text) => ModelEvent::Refusal(self.joiners.refusal.join(text)),
            ModelEvent::ToolCall(delta) => return self.call(delta),
            ModelEvent::Finish(finish) => return self.finish(finish),
            mut other => {
                whole_fields(&mut other);
                other
            }
        };
        let is_empty = match &word {
            ModelEvent::Text { text, .. }
            | ModelEvent::Reasoning(text)
            | ModelEvent::ReasoningSummary(text)
            | ModelEvent::Refusal(text) => text.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.words.push_back(Ok(word));
        }
    }

    /// Emits events.
    pub(super) fn words(&mut self, words: impl IntoIterator<Item = ModelEvent>) {
        for word in words {
            self.word(word);
        }
    }

    /// Records why the model stopped. The first known reason counts, otherwise the first.
    fn finish(&mut self, finish: Finish) {
        self.flush();
        let is_known = !matches!(finish, Finish::Unknown(_));
        if !self.has_finish || (is_known && !self.is_finish_known) {
            self.words.push_back(Ok(ModelEvent::Finish(finish)));
        }
        self.has_finish = true;
        self.is_finish_known |= is_known;
    }

    fn call(&mut self, mut delta: ToolCallDelta) {
        delta.arguments = self.joiners.calls.entry(delta.index).or_default().join(delta.arguments);
        (delta.id, delta.name) = (delta.id.map(without_marks), delta.name.map(without_marks));
        delta.extra.values_mut().for_each(remove_marks);
        // A call without an id gets one from Weir, which identifies its output.
        let index = delta.index;
        delta.id = delta.id.filter(|id| {
            !id.is_empty() && *self.call_ids.entry(id.clone()).or_insert(index) == index
        });
        match self.lifter.lift(delta) {
            Ok(delta) => self.words.extend(delta.map(|delta| Ok(ModelEvent::ToolCall(delta)))),
            // A retry would have the same result.
            Err(fault) => self.fail(ProviderFailure::new(fault, FailureScope::Request)),
        }
    }

    /// Emits what was held back: split characters and incomplete calls.
    fn flush(&mut self) {
        let Joiners { text, reasoning, summary, refusal, calls } = &mut self.joiners;
        let text = text.finish().map(|text| ModelEvent::Text { text, logprobs: Vec::new() });
        let rest = [
            reasoning.finish().map(ModelEvent::Reasoning),
            summary.finish().map(ModelEvent::ReasoningSummary),
            text,
        ];
        let rest = rest.into_iter().chain([refusal.finish().map(ModelEvent::Refusal)]).flatten();
        self.words.extend(rest.map(Ok));
        let halves: Vec<(u64, String)> =
            calls.iter_mut().filter_map(|(index, call)| Some((*index, call.finish()?))).collect();
        for (index, arguments) in halves {
            self.call(ToolCallDelta { index, arguments, ..ToolCallDelta::default() });
        }
        let lifted = self.lifter.finish();
        self.words.extend(lifted.into_iter().map(Ok));
    }

    /// Ends with a failure. Only the first one is emitted.
    pub(super) fn fail(&mut self, failure: ProviderFailure) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        self.flush();
        self.words.push_back(Err(failure));
    }

    /// Ends because of invalid data: `what` follows the upstream's name.
    pub(super) fn invalid_data(&mut self, what: &str) {
        if self.has_finish {
            // The response is complete: later data does not affect it.
            return self.word(ModelEvent::KeepAlive);
        }
        self.fail(self.callee.plain("upstream_invalid_data", what));
    }

    /// Fails with the error in a value that is not part of a response, if it contains one. Returns
    /// whether it does.
    pub(super) fn fail_if_error(&mut self, value: &Value) -> bool {
        let Some(reported) = Reported::in_document(value) else { return false };
        self.fail(self.callee.in_band_or(reported, "reported an unspecified error"));
        true
    }

    /// No more events can follow.
    pub(super) fn over(&mut self) {
        if !self.is_over {
            self.flush();
            self.is_over = true;
        }
    }

    /// Keeps a text that is not part of the response if it is a sentence; words such as `ping`,
    /// times and comments are only keep-alives.
    pub(super) fn note(&mut self, text: &[u8]) {
        let is_sentence = |text: &String| {
            text.contains(' ')
                && text.starts_with(|first: char| first.is_alphabetic() || "\"'".contains(first))
        };
        let message = Reported::from_text(text).message.filter(is_sentence);
        self.note = message.or(self.note.take());
    }

    /// The body has ended. Without a finish reason, the upstream's text next to the response may
    /// explain why.
    pub(super) fn ended(&mut self) {
        if let (false, false, Some(message)) = (self.has_finish, self.is_over, self.note.take()) {
            let reported = Reported { message: Some(message), ..Reported::default() };
            self.fail(ProviderFailure::upstream(self.callee.told(
                ERROR,
                "sent no complete response",
                &reported,
            )));
        }
        self.over();
    }

    /// Whether no more events can follow.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The number of queued events.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The text of the only event after the first `before`, if that is a text and nothing more.
    pub(super) fn only_text_after(&self, before: usize) -> Option<&str> {
        match self.words.back() {
            Some(Ok(ModelEvent::Text { text, logprobs }))
                if logprobs.is_empty() && self.words.len() == before + 1 =>
            {
                Some(text)
            }
            _ => None,
        }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Option<Result<ModelEvent, ProviderFailure>> {
        self.words.pop_front()
    }
}

/// Removes the marks from an event's complete fields.
fn whole_fields(word: &mut ModelEvent) {
    match word {
        ModelEvent::Annotation(annotation) => remove_marks(annotation),
        ModelEvent::Extra(fields)
        | ModelEvent::ReasoningExtra(fields)
        | ModelEvent::Item(
            OpaqueStep::Added { item: fields, .. }
            | OpaqueStep::Event { fields, .. }
            | OpaqueStep::Done { item: fields, .. },
        ) => {
            fields.values_mut().for_each(remove_marks);
        }
        _ => {}
    }
}
