//! Parses the chunks of a response, without I/O.

use std::collections::BTreeSet;
use std::mem;

use engine::provider::event::{ModelEvent, OpaqueStep, ToolCallDelta};
use serde_json::{Map, Value};

use super::super::body::Grammar;
use super::super::fault::{Reported, is_truthy};
use super::super::finish::{self, FinishVerdict};
use super::super::json::{self, Broken, Tail};
use super::super::parsed_output::ParsedOutput;
use super::super::repeat::SoFar;
use super::super::shared::{CONTENT_PARTS, UPSTREAM_FIELDS, flat_annotation, made_image};
use super::calls::ToolCalls;
use super::chunk::ChatChunk;
use super::delta::{CallPiece, ChatContent, ChatDelta, SplitContent};
use super::template::Template;

/// The state of one response.
#[derive(Debug, Default)]
pub(super) struct ChatGrammar {
    calls: ToolCalls,
    text: Channel,
    reasoning: Channel,
    refusal: Channel,
    has_annotations: bool,
    images: u64,
    /// Names of unknown fields that arrived in deltas, and of the fields in them.
    extra: BTreeSet<String>,
    /// The index of the first choice: servers need not start at 0.
    choice: Option<u64>,
    /// Fields next to the choices that every chunk repeats and that belong to the message.
    beside: Map<String, Value>,
    /// Fields that are passed to the caller and not sent back.
    upstream_fields: Map<String, Value>,
    is_finish_said: bool,
    /// What the chunks of the text have around it.
    template: Template,
}

/// Where fields of a message come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A delta.
    Delta,
    /// The last delta, which may repeat the complete message.
    LastDelta,
    /// A complete message: what already arrived in deltas is not emitted again.
    Message,
}

/// One of the message's texts.
#[derive(Debug, Default)]
struct Channel {
    so_far: SoFar,
    /// Whether it arrived in deltas. Otherwise each chunk's message may contain a piece of it.
    has_deltas: bool,
}

impl Channel {
    /// Adds a text; returns what is new in it.
    fn take(&mut self, text: String, source: Source) -> Option<String> {
        let added = match source {
            Source::Delta => Some(text),
            Source::LastDelta => Some(text).filter(|text| !self.so_far.is_summary(text)),
            Source::Message => match self.so_far.rest(&text) {
                Some(rest) => Some(rest.to_owned()),
                None => Some(text).filter(|_| !self.has_deltas),
            },
        };
        let added = added.filter(|added| !added.is_empty())?;
        self.has_deltas |= source != Source::Message;
        self.so_far.add(&added);
        Some(added)
    }
}

impl Grammar for ChatGrammar {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput) {
        if name == Some("error") {
            return error_event(data, said);
        }
        if let Some(text) = self.template.text(data).filter(|_| !self.is_finish_said) {
            let text = self.text.take(text, Source::Delta);
            return said.words(text.map(|text| ModelEvent::Text { text, logprobs: Vec::new() }));
        }
        let before = said.len();
        match self.read(data, said) {
            Ok(_) => {}
            Err(Broken::Cut) => said.invalid_data("sent an event with truncated JSON"),
            Err(Broken::Invalid) => {
                said.invalid_data("sent something that is not a chat completion");
            }
        }
        if let Some(text) = said.only_text_after(before) {
            self.template.learn(data, text);
        }
    }

    fn document(&mut self, document: &[u8], said: &mut ParsedOutput) {
        match self.read(document, said) {
            Err(Broken::Cut) => said.fail(said.callee.cut()),
            Ok(true) => {}
            Ok(false) if said.is_over() => {}
            Ok(false) | Err(Broken::Invalid) => {
                said.invalid_data("sent something that is not a chat completion");
            }
        }
    }
}

/// `event: error`, whose data may be the error itself.
fn error_event(data: &[u8], said: &mut ParsedOutput) {
    said.fail(said.callee.in_band_or(Reported::from_body(data), "reported an unspecified error"));
}

/// Fails with the error in a chunk, which may be in its choice (OpenRouter).
fn fail_if_error(value: &Value, said: &mut ParsedOutput) {
    let choices = value.get("choices").and_then(Value::as_array).into_iter().flatten();
    match choices.filter_map(|choice| choice.get("error")).find(|error| is_truthy(error)) {
        Some(error) => said.fail(
            said.callee.in_band_or(Reported::from_error(error), "reported an unspecified error"),
        ),
        None => _ = said.fail_if_error(value),
    }
}

impl ChatGrammar {
    /// Reads every chunk in `data`. Returns whether there was any.
    fn read(&mut self, data: &[u8], said: &mut ParsedOutput) -> Result<bool, Broken> {
        let (mut is_chunk, mut may_be_error) = (false, false);
        let tail = json::read_all(data, |chunk: ChatChunk| {
            is_chunk |= chunk.choices.is_some();
            may_be_error |= chunk.may_be_error();
            self.chunk(chunk, said);
        });
        if may_be_error {
            // An error may have any format, with its message anywhere.
            _ = json::read_all(data, |value: Value| fail_if_error(&value, said));
        }
        if tail? == Tail::Done {
            said.ended();
        }
        Ok(is_chunk)
    }

    fn chunk(&mut self, mut chunk: ChatChunk, said: &mut ParsedOutput) {
        let before = said.len();
        let (usage, has_error) = (chunk.usage(), chunk.has_error());
        self.beside.extend(
            mem::take(&mut chunk.sources).into_iter().filter(|(_, value)| is_truthy(value)),
        );
        let mut extra = chunk.take_extra();
        // Sources may also be in the choice.
        self.beside.extend(
            ["citations", "search_results"].into_iter().filter_map(|name| extra.remove_entry(name)),
        );
        if !extra.is_empty() {
            self.beside.insert(UPSTREAM_FIELDS.to_owned(), Value::Null);
            self.upstream_fields.extend(extra);
        }
        // Weir requests one choice; others are ignored.
        let mut choices = chunk.choices.take().unwrap_or_default().into_iter();
        let wanted = self.choice;
        if let Some(mut choice) =
            choices.find(|choice| wanted.is_none_or(|wanted| choice.index.unwrap_or(0) == wanted))
        {
            self.choice = Some(choice.index.unwrap_or(0));
            let logprobs = choice.take_logprobs();
            let reason = choice.finish_reason.take().unwrap_or_default();
            if let Some(delta) = choice.take_delta() {
                let source = if reason.is_empty() { Source::Delta } else { Source::LastDelta };
                self.delta(delta, logprobs, source, said);
                // What already arrived in deltas is not emitted again.
                choice
                    .message
                    .into_iter()
                    .for_each(|message| self.delta(message, Vec::new(), Source::Message, said));
            } else if let Some(message) = choice.message {
                self.delta(message, logprobs, Source::Message, said);
            }
            said.words(usage.map(ModelEvent::Usage));
            self.finish_reason(&reason, has_error, said);
        } else {
            said.words(usage.map(ModelEvent::Usage));
        }
        if self.is_finish_said {
            self.beside(said);
        }
        if said.len() == before && !has_error {
            said.word(ModelEvent::KeepAlive);
        }
    }

    fn delta(
        &mut self,
        mut delta: ChatDelta,
        logprobs: Vec<Value>,
        source: Source,
        said: &mut ParsedOutput,
    ) {
        let SplitContent { spoken, thought, refused, images, others } =
            delta.content.take().map(ChatContent::split).unwrap_or_default();
        let is_first = |is_known: bool| source != Source::Message || !is_known;
        let thought = delta.reasoning().unwrap_or(thought);
        let has_details = is_first(!self.reasoning.so_far.is_empty());
        said.words(self.reasoning.take(thought, source).map(ModelEvent::Reasoning));
        if !delta.reasoning_details.is_empty() && has_details {
            said.word(ModelEvent::ReasoningExtra(Map::from_iter([(
                "reasoning_details".to_owned(),
                delta.reasoning_details.into(),
            )])));
        }
        // A message's log probabilities are those of the complete text.
        let logprobs = if is_first(!self.text.so_far.is_empty()) { logprobs } else { Vec::new() };
        said.words(self.text.take(spoken, source).map(|text| ModelEvent::Text { text, logprobs }));
        let refusal = delta.refusal.unwrap_or(refused);
        said.words(self.refusal.take(refusal, source).map(ModelEvent::Refusal));
        if is_first(self.has_annotations) {
            self.has_annotations |= !delta.annotations.is_empty();
            said.words(
                delta
                    .annotations
                    .into_iter()
                    .map(|annotation| ModelEvent::Annotation(flat_annotation(annotation))),
            );
        }
        if is_first(self.images > 0) {
            delta.images.into_iter().chain(images).for_each(|image| self.image(image, said));
        }
        let legacy = delta.function_call.map(|call| CallPiece {
            name: call.name,
            arguments: call.arguments,
            ..CallPiece::default()
        });
        let pieces: Vec<CallPiece> = delta.tool_calls.into_iter().chain(legacy).collect();
        if !pieces.is_empty() && self.calls.is_empty() {
            // A call ends the message.
            self.beside(said);
        }
        let deltas = match source {
            Source::Message => self.calls.read_whole(pieces, said.lifter()),
            Source::Delta | Source::LastDelta => {
                pieces.into_iter().flat_map(|piece| self.calls.read(piece, said.lifter())).collect()
            }
        };
        said.words(deltas.into_iter().map(ModelEvent::ToolCall));
        let mut extra = delta.extra;
        if !others.is_empty() {
            extra.insert(CONTENT_PARTS.to_owned(), others.into());
        }
        let extra = self.new_extra(extra, source);
        said.words((!extra.is_empty()).then_some(ModelEvent::Extra(extra)));
    }

    /// The unknown fields that did not arrive in deltas before.
    fn new_extra(&mut self, mut extra: Map<String, Value>, source: Source) -> Map<String, Value> {
        let inner = |name: &str, field: &str| format!("{name}.{field}");
        if source == Source::Message {
            extra.retain(|name, value| match value {
                Value::Object(fields) => {
                    fields.retain(|field, _| !self.extra.contains(&inner(name, field)));
                    !fields.is_empty()
                }
                _ => !self.extra.contains(name),
            });
        }
        for (name, value) in &extra {
            self.extra.extend(
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(field, _)| inner(name, field))
                    .chain([name.clone()]),
            );
        }
        extra
    }

    /// An image, or a placeholder for one.
    fn image(&mut self, image: Value, said: &mut ParsedOutput) {
        // Calls use their index as key; images count down from the maximum.
        let key = u64::MAX - self.images;
        self.images += 1;
        match made_image(&image) {
            Some(item) => said.word(ModelEvent::Item(OpaqueStep::Done { key, item })),
            None => said.word(ModelEvent::Extra(Map::from_iter([(
                "images".to_owned(),
                vec![image].into(),
            )]))),
        }
    }

    /// Emits the fields next to the message.
    fn beside(&mut self, said: &mut ParsedOutput) {
        // The next chunk may bring them again.
        self.template.forget();
        let mut beside = mem::take(&mut self.beside);
        let fields = mem::take(&mut self.upstream_fields);
        // They do not justify a message of their own.
        let has_message = !(self.text.so_far.is_empty() && self.refusal.so_far.is_empty())
            && self.calls.is_empty();
        match beside.get_mut(UPSTREAM_FIELDS) {
            Some(place) if has_message => *place = fields.into(),
            Some(_) => _ = beside.shift_remove(UPSTREAM_FIELDS),
            None => {}
        }
        said.words((!beside.is_empty()).then_some(ModelEvent::Extra(beside)));
    }

    /// Some servers repeat the reason with the usage, and some send `""` until there is one.
    fn finish_reason(&mut self, reason: &str, has_error: bool, said: &mut ParsedOutput) {
        match finish::read(reason) {
            FinishVerdict::Absent => {}
            // The error itself is more specific.
            FinishVerdict::Failed if has_error => {}
            FinishVerdict::Failed => {
                let what =
                    format!("stopped in the middle of the response (finish_reason '{reason}')");
                said.fail(said.callee.plain("upstream_error", &what));
            }
            FinishVerdict::Finish(finish) => {
                let names: Vec<ToolCallDelta> = self.calls.names();
                said.words(names.into_iter().map(ModelEvent::ToolCall));
                self.beside(said);
                self.is_finish_said = true;
                said.word(ModelEvent::Finish(finish));
            }
        }
    }
}

#[cfg(test)]
mod tests;
