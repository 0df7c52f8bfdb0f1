//! What was read of one response, on its way to the engine: characters are whole, and calls are of the tools that the caller
//! declared.

use std::collections::{BTreeMap, HashMap, VecDeque};

use engine::provider::event::{Finish, OpaqueStep, ToolCallDelta, Word};
use engine::provider::failure::{Blame, Failure};
use serde_json::Value;

use super::fault::{Callee, ERROR, Reported};
use super::text::{Joiner, remove_marks, without_marks};
use crate::tools::Lifter;

/// What a grammar has read.
#[derive(Debug)]
pub(super) struct Said {
    /// Whom faults name.
    pub(super) callee: Callee,
    lifter: Lifter,
    words: VecDeque<Result<Word, Failure>>,
    joiners: Joiners,
    /// Which call has which id.
    call_ids: HashMap<String, u64>,
    /// The last text that was no part of a response: it may be all that an upstream says of why there is none.
    note: Option<String>,
    has_finish: bool,
    /// Whether the reason is one that is known.
    is_finish_known: bool,
    is_over: bool,
}

/// One for each text that may be split in the middle of a character.
#[derive(Debug, Default)]
struct Joiners {
    text: Joiner,
    reasoning: Joiner,
    summary: Joiner,
    refusal: Joiner,
    calls: BTreeMap<u64, Joiner>,
}

impl Said {
    /// Nothing yet.
    pub(super) fn new(callee: Callee, lifter: Lifter) -> Self {
        let (words, joiners, call_ids) = (VecDeque::new(), Joiners::default(), HashMap::new());
        Self { callee, lifter, words, joiners, call_ids, note: None, has_finish: false, is_finish_known: false, is_over: false }
    }

    /// The tools that were offered.
    pub(super) fn lifter(&self) -> &Lifter {
        &self.lifter
    }

    /// Says a word.
    pub(super) fn word(&mut self, word: Word) {
        if self.is_over {
            return;
        }
        let word = match word {
            Word::Text { text, mut logprobs } => {
                logprobs.iter_mut().for_each(remove_marks);
                Word::Text { text: self.joiners.text.join(text), logprobs }
            }
            Word::Reasoning(text) => Word::Reasoning(self.joiners.reasoning.join(text)),
            Word::ReasoningSummary(text) => Word::ReasoningSummary(self.joiners.summary.join(text)),
            Word::Refusal(text) => Word::Refusal(self.joiners.refusal.join(text)),
            Word::ToolCall(delta) => return self.call(delta),
            Word::Finish(finish) => return self.finish(finish),
            mut other => {
                whole_fields(&mut other);
                other
            }
        };
        let is_empty = match &word {
            Word::Text { text, .. } | Word::Reasoning(text) | Word::ReasoningSummary(text) | Word::Refusal(text) => text.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.words.push_back(Ok(word));
        }
    }

    /// Says words.
    pub(super) fn words(&mut self, words: impl IntoIterator<Item = Word>) {
        for word in words {
            self.word(word);
        }
    }

    /// Why the model stopped. The first reason that is known counts, else the first.
    fn finish(&mut self, finish: Finish) {
        self.flush();
        let is_known = !matches!(finish, Finish::Unknown(_));
        if !self.has_finish || (is_known && !self.is_finish_known) {
            self.words.push_back(Ok(Word::Finish(finish)));
        }
        self.has_finish = true;
        self.is_finish_known |= is_known;
    }

    fn call(&mut self, mut delta: ToolCallDelta) {
        delta.arguments = self.joiners.calls.entry(delta.index).or_default().join(delta.arguments);
        (delta.id, delta.name) = (delta.id.map(without_marks), delta.name.map(without_marks));
        delta.extra.values_mut().for_each(remove_marks);
        // Without an id of its own, a call gets one from Weir: its output is told from others by it.
        let index = delta.index;
        delta.id = delta.id.filter(|id| !id.is_empty() && *self.call_ids.entry(id.clone()).or_insert(index) == index);
        match self.lifter.lift(delta) {
            Ok(delta) => self.words.extend(delta.map(|delta| Ok(Word::ToolCall(delta)))),
            // The model would do the same again.
            Err(fault) => self.fail(Failure::new(fault, Blame::Request)),
        }
    }

    /// Says what still waits: halves of characters, and calls that are whole only now.
    fn flush(&mut self) {
        let Joiners { text, reasoning, summary, refusal, calls } = &mut self.joiners;
        let text = text.finish().map(|text| Word::Text { text, logprobs: Vec::new() });
        let rest = [reasoning.finish().map(Word::Reasoning), summary.finish().map(Word::ReasoningSummary), text];
        let rest = rest.into_iter().chain([refusal.finish().map(Word::Refusal)]).flatten();
        self.words.extend(rest.map(Ok));
        let halves: Vec<(u64, String)> = calls.iter_mut().filter_map(|(index, call)| Some((*index, call.finish()?))).collect();
        for (index, arguments) in halves {
            self.call(ToolCallDelta { index, arguments, ..ToolCallDelta::default() });
        }
        let lifted = self.lifter.finish();
        self.words.extend(lifted.into_iter().map(Ok));
    }

    /// Ends with a failure. Only the first is said.
    pub(super) fn fail(&mut self, failure: Failure) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        self.flush();
        self.words.push_back(Err(failure));
    }

    /// Ends because what came is not what it should be: `what` follows the upstream's name.
    pub(super) fn invalid_data(&mut self, what: &str) {
        if self.has_finish {
            // The response is complete: what comes after it takes nothing of it.
            return self.word(Word::KeepAlive);
        }
        self.fail(self.callee.plain("upstream_invalid_data", what));
    }

    /// Ends with the error in something that is no part of a response, if it speaks of one. Says whether it does.
    pub(super) fn fail_if_error(&mut self, value: &Value) -> bool {
        let Some(reported) = Reported::in_document(value) else { return false };
        self.fail(self.callee.in_band_or(reported, "reported an error and did not say which"));
        true
    }

    /// Nothing more can come.
    pub(super) fn over(&mut self) {
        if !self.is_over {
            self.flush();
            self.is_over = true;
        }
    }

    /// Keeps a text that is no part of a response, if it is a sentence: words such as `ping`, times and comments only keep a
    /// connection alive.
    pub(super) fn note(&mut self, text: &[u8]) {
        let is_sentence =
            |text: &String| text.contains(' ') && text.starts_with(|first: char| first.is_alphabetic() || "\"'".contains(first));
        let message = Reported::from_text(text).message.filter(is_sentence);
        self.note = message.or(self.note.take());
    }

    /// The body has ended. Without a finish reason, what the upstream said beside the response may say why.
    pub(super) fn ended(&mut self) {
        if let (false, false, Some(message)) = (self.has_finish, self.is_over, self.note.take()) {
            let reported = Reported { message: Some(message), ..Reported::default() };
            self.fail(Failure::upstream(self.callee.told(ERROR, "sent no complete response", &reported)));
        }
        self.over();
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many words wait to be taken.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Option<Result<Word, Failure>> {
        self.words.pop_front()
    }
}

/// Takes the marks out of a word's fields that come whole.
fn whole_fields(word: &mut Word) {
    match word {
        Word::Annotation(annotation) => remove_marks(annotation),
        Word::Extra(fields)
        | Word::ReasoningExtra(fields)
        | Word::Item(OpaqueStep::Added { item: fields, .. } | OpaqueStep::Event { fields, .. } | OpaqueStep::Done { item: fields, .. }) => {
            fields.values_mut().for_each(remove_marks);
        }
        _ => {}
    }
}
