//! Parses the events of a response, without I/O.

mod output;

use std::mem;
use std::sync::Arc;

use engine::provider::event::{Finish, ModelEvent, OpaqueStep, ToolCallDelta};
use protocol::event::EventKind;
use serde_json::{Map, Value};

use self::output::{CallProgress, OutputItem, OutputKind, PieceExtent, PieceKind, piece_of};
use super::super::body::Grammar;
use super::super::fault::is_truthy;
use super::super::finish::{self, FinishVerdict};
use super::super::json::{self, Broken};
use super::super::parsed_output::ParsedOutput;
use super::super::shared::CONTENT_PARTS;
use super::event::{self, ResponsesEvent};
use super::sealed;

/// The state of one response.
#[derive(Debug)]
pub(super) struct ResponsesGrammar {
    upstream: Arc<str>,
    items: Vec<OutputItem>,
    /// The number of calls.
    calls: u64,
    /// The last reasoning part, while nothing else arrived: its item, kind and part.
    last_thought: Option<(usize, PieceKind, u64)>,
}

impl Grammar for ResponsesGrammar {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput) {
        if name == Some("error") {
            return said.fail(event::failure_of_event(data, &said.callee));
        }
        match json::read_all(data, |event| self.read(name, event, data, said)) {
            Ok(_) => {}
            Err(Broken::Cut) => said.invalid_data("sent an event with truncated JSON"),
            Err(Broken::Invalid) => {
                said.invalid_data("sent something that is not a response event")
            }
        }
    }

    fn document(&mut self, document: &[u8], said: &mut ParsedOutput) {
        let response = match json::value(document) {
            Ok(response) => response,
            Err(Broken::Cut) => return said.fail(said.callee.cut()),
            Err(Broken::Invalid) => {
                return said.invalid_data("sent something that is not a response");
            }
        };
        if response.get("output").is_some()
            || response.get("object").is_some_and(|object| object == "response")
        {
            self.end("", response, said);
        } else if response.is_array() || response.get("error").is_some_and(is_truthy) {
            said.fail(event::failure_of_event(document, &said.callee));
        } else if !said.fail_if_error(&response) {
            said.invalid_data("sent something that is not a response");
        }
    }
}

impl ResponsesGrammar {
    /// The grammar for the upstream with this name.
    pub(super) fn new(upstream: Arc<str>) -> Self {
        Self { upstream, items: Vec::new(), calls: 0, last_thought: None }
    }

    fn read(
        &mut self,
        name: Option<&str>,
        mut event: ResponsesEvent,
        data: &[u8],
        said: &mut ParsedOutput,
    ) {
        let before = said.len();
        let kind = event.kind.take().or_else(|| name.map(str::to_owned)).unwrap_or_default();
        if let Some((piece, extent)) = piece_of(&kind) {
            self.piece(piece, extent, event, said);
        } else {
            match kind.as_str() {
                "response.output_item.added" => {
                    self.item_added(event.output_index, &event.item, said)
                }
                "response.output_item.done" => self.item_done(event.output_index, event.item, said),
                "response.content_part.done" | "response.reasoning_summary_part.done" => {
                    self.part_event(event, said)
                }
                "response.content_part.added" => self.part_added(event),
                "response.output_text.annotation.added" => self.annotation(event, said),
                "response.completed"
                | "response.incomplete"
                | "response.failed"
                | "response.cancelled"
                | "response.done" => {
                    self.end(&kind, event.response, said);
                }
                "error" => said.fail(event::failure_of_event(data, &said.callee)),
                _ if is_truthy(&event.error) => {
                    said.fail(event::failure_of_event(data, &said.callee))
                }
                _ if event.choices.is_array() => said
                    .invalid_data("serves chat completions at this address, not the Responses API"),
                // Anything but an event of this API may be an error of a proxy.
                kind if !kind.starts_with("response.") => {
                    _ = json::read_all(data, |value: Value| _ = said.fail_if_error(&value))
                }
                _ => self.hosted(&kind, &event, data, said),
            }
        }
        if said.len() == before && !said.is_over() {
            said.word(ModelEvent::KeepAlive);
        }
    }

    /// Passes events of hosted tools on. Unknown event types are left out: clients reject them.
    fn hosted(&self, kind: &str, event: &ResponsesEvent, data: &[u8], said: &mut ParsedOutput) {
        let Some(kind) = EventKind::parse(kind.as_bytes()).filter(|kind| kind.is_hosted()) else {
            return;
        };
        let Some(position) =
            self.find(OutputKind::Opaque, event.item_id.as_deref(), event.output_index)
        else {
            return;
        };
        let Ok(Value::Object(mut fields)) = json::value(data) else { return };
        fields.retain(|name, _| {
            !["type", "sequence_number", "item_id", "output_index"].contains(&name.as_str())
        });
        said.word(ModelEvent::Item(OpaqueStep::Event { key: position as u64, kind, fields }));
    }

    fn piece(
        &mut self,
        piece: PieceKind,
        extent: PieceExtent,
        event: ResponsesEvent,
        said: &mut ParsedOutput,
    ) {
        let position = self.place(piece.kind(), event.item_id.as_deref(), event.output_index);
        let (number, whole) = match piece {
            PieceKind::Text | PieceKind::Thought => (event.content_index, event.text),
            PieceKind::Summary => (event.summary_index, event.text),
            PieceKind::Refusal => (event.content_index, event.refusal),
            PieceKind::Arguments => (None, event.arguments),
            PieceKind::Input => (None, event.input),
        };
        let number = number.unwrap_or(0);
        match extent {
            PieceExtent::More => {
                self.say(position, piece, number, event.delta, event.logprobs, said)
            }
            PieceExtent::Whole => {
                self.say_whole(position, piece, number, whole, event.logprobs, said)
            }
        }
    }

    /// The position of the item that an event refers to, which may be new.
    fn place(&mut self, kind: OutputKind, id: Option<&str>, index: Option<u64>) -> usize {
        if let Some(position) = self.find(kind, id, index) {
            return position;
        }
        // Earlier deltas may not have named their item.
        let is_unnamed = |item: &OutputItem| {
            item.kind == kind && item.id.is_none() && item.index.is_none() && !item.is_done
        };
        let Some(position) = self.items.iter().rposition(is_unnamed) else {
            return self.push(kind, id, index);
        };
        let item = &mut self.items[position];
        (item.id, item.index) = (id.map(str::to_owned), index);
        position
    }

    /// Finds an item by id; since some servers use another id in every event, otherwise by output
    /// index; without either, the current item.
    fn find(&self, kind: OutputKind, id: Option<&str>, index: Option<u64>) -> Option<usize> {
        let last = |is_it: &dyn Fn(&OutputItem) -> bool| {
            self.items.iter().rposition(|item| item.kind == kind && is_it(item))
        };
        let by_id = || last(&|item| id.is_some() && item.id.as_deref() == id);
        let by_index = || last(&|item| index.is_some() && item.index == index && !item.is_done);
        let open = || last(&|item| id.is_none() && index.is_none() && !item.is_done);
        by_id().or_else(by_index).or_else(open)
    }

    fn push(&mut self, kind: OutputKind, id: Option<&str>, index: Option<u64>) -> usize {
        let call = CallProgress { index: self.calls, ..CallProgress::default() };
        self.calls +=
            u64::from(matches!(kind, OutputKind::FunctionCall | OutputKind::CustomToolCall));
        let id = id.map(str::to_owned);
        self.items.push(OutputItem { kind, id, index, call, ..OutputItem::default() });
        self.items.len() - 1
    }

    /// Emits a delta of a part.
    fn say(
        &mut self,
        position: usize,
        piece: PieceKind,
        number: u64,
        text: Value,
        logprobs: Value,
        said: &mut ParsedOutput,
    ) {
        let text = match text {
            Value::String(text) => text,
            Value::Object(object) if piece == PieceKind::Arguments => {
                Value::Object(object).to_string()
            }
            Value::Object(mut object) => ["text", "content", "delta"]
                .into_iter()
                .find_map(|name| object.shift_remove(name)?.as_str().map(str::to_owned))
                .unwrap_or_default(),
            _ => String::new(),
        };
        if text.is_empty() {
            return;
        }
        self.items[position].so_far(piece, number).add(&text);
        let place = (position, piece, number);
        let last_thought = self.last_thought.take();
        match piece {
            PieceKind::Text => {
                let logprobs =
                    if let Value::Array(logprobs) = logprobs { logprobs } else { Vec::new() };
                said.word(ModelEvent::Text { text, logprobs });
            }
            PieceKind::Refusal => said.word(ModelEvent::Refusal(text)),
            PieceKind::Thought | PieceKind::Summary => {
                // An event of the other kind has separated them already.
                if last_thought.is_some_and(|last| last != place && last.1 == piece) {
                    said.word(ModelEvent::ReasoningBreak);
                }
                self.last_thought = Some(place);
                said.word(if piece == PieceKind::Summary {
                    ModelEvent::ReasoningSummary(text)
                } else {
                    ModelEvent::Reasoning(text)
                });
            }
            PieceKind::Arguments | PieceKind::Input => {
                let (index, is_custom) =
                    (self.items[position].call.index, piece == PieceKind::Input);
                said.word(ModelEvent::ToolCall(ToolCallDelta {
                    index,
                    is_custom,
                    arguments: text,
                    ..ToolCallDelta::default()
                }));
            }
        }
    }

    /// Emits the rest of a complete part. If its text differs from the deltas, the deltas count.
    fn say_whole(
        &mut self,
        position: usize,
        piece: PieceKind,
        number: u64,
        text: Value,
        logprobs: Value,
        said: &mut ParsedOutput,
    ) {
        let text = match text {
            Value::String(text) => text,
            Value::Object(object) if piece == PieceKind::Arguments => {
                Value::Object(object).to_string()
            }
            _ => return,
        };
        let so_far = self.items[position].so_far(piece, number);
        let Some(rest) = so_far.rest(&text) else { return };
        // The log probabilities are those of the complete text.
        let logprobs = if so_far.is_empty() { logprobs } else { Value::Null };
        self.say(position, piece, number, rest.into(), logprobs, said);
    }

    fn item_added(&mut self, index: Option<u64>, item: &Value, said: &mut ParsedOutput) {
        let Some(kind) = kind_of(item) else { return };
        let is_known = self
            .find(kind, event::text(item, "id"), None)
            .is_some_and(|position| !self.items[position].is_done);
        let id = event::text(item, "id");
        let has_id =
            |known: &OutputItem| known.kind == kind && id.is_some() && known.id.as_deref() == id;
        let position =
            self.items.iter().rposition(has_id).unwrap_or_else(|| self.push(kind, id, index));
        match kind {
            // Text that it may contain already is repeated later.
            OutputKind::Message => {
                said.words(self.new_fields(position, item).map(ModelEvent::Extra))
            }
            OutputKind::Reasoning => {}
            OutputKind::FunctionCall | OutputKind::CustomToolCall => {
                self.name_call(position, item, said)
            }
            OutputKind::Opaque => {
                if let (false, Value::Object(item)) =
                    (is_known && event::text(item, "id").is_some(), item)
                {
                    said.word(ModelEvent::Item(OpaqueStep::Added {
                        key: position as u64,
                        item: item.clone(),
                    }));
                }
            }
        }
    }

    /// Unknown fields that were not emitted yet.
    fn new_fields(&mut self, position: usize, item: &Value) -> Option<Map<String, Value>> {
        let output = &mut self.items[position];
        let is_new = |name: &String, value: &Value| {
            !output.kind.fields().contains(&name.as_str())
                && !output.extra.contains(name)
                && !value.is_null()
        };
        let fields: Map<String, Value> = item
            .as_object()?
            .iter()
            .filter(|(name, value)| is_new(name, value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        output.extra.extend(fields.keys().cloned());
        (!fields.is_empty()).then_some(fields)
    }

    /// Emits a call's id and name, unless already emitted.
    fn name_call(&mut self, position: usize, item: &Value, said: &mut ParsedOutput) {
        let extra = self.new_fields(position, item).unwrap_or_default();
        let is_custom = self.items[position].kind == OutputKind::CustomToolCall;
        let call = &mut self.items[position].call;
        let id = event::text(item, "call_id").filter(|_| !call.has_id).map(str::to_owned);
        let name = event::text(item, "name").filter(|_| !call.has_name).map(str::to_owned);
        call.has_id |= id.is_some();
        call.has_name |= name.is_some();
        if id.is_some() || name.is_some() || !extra.is_empty() {
            let index = call.index;
            self.last_thought = None;
            said.word(ModelEvent::ToolCall(ToolCallDelta {
                index,
                id,
                name,
                is_custom,
                arguments: String::new(),
                extra,
            }));
        }
    }

    /// A completed item: emits what is missing.
    fn item_done(&mut self, index: Option<u64>, item: Value, said: &mut ParsedOutput) {
        let Some(kind) = kind_of(&item) else { return };
        let position = self.place(kind, event::text(&item, "id"), index);
        if !self.items[position].is_done {
            self.end_item(position, item, said);
        }
    }

    fn end_item(&mut self, position: usize, mut item: Value, said: &mut ParsedOutput) {
        let kind = self.items[position].kind;
        if kind == OutputKind::Opaque {
            self.items[position].is_done = true;
            if let Value::Object(item) = item {
                said.word(ModelEvent::Item(OpaqueStep::Done { key: position as u64, item }));
            }
            return;
        }
        for (number, part) in (0..).zip(event::take_list(&mut item, "summary")) {
            self.part(position, number, part, said);
        }
        for (number, part) in (0..).zip(event::take_list(&mut item, "content")) {
            self.part(position, number, part, said);
        }
        match kind {
            OutputKind::Message => {
                said.words(self.new_fields(position, &item).map(ModelEvent::Extra))
            }
            OutputKind::Reasoning => {
                said.words(self.new_fields(position, &item).map(ModelEvent::ReasoningExtra));
                self.seal(&item, said);
            }
            OutputKind::FunctionCall | OutputKind::CustomToolCall => {
                self.name_call(position, &item, said);
                let (piece, field) = if kind == OutputKind::FunctionCall {
                    (PieceKind::Arguments, "arguments")
                } else {
                    (PieceKind::Input, "input")
                };
                let text = item.get_mut(field).map(Value::take).unwrap_or_default();
                self.say_whole(position, piece, 0, text, Value::Null, said);
            }
            OutputKind::Opaque => {}
        }
        self.items[position].is_done = true;
    }

    /// Ends reasoning with its encrypted content.
    fn seal(&mut self, item: &Value, said: &mut ParsedOutput) {
        if let (Some(id), Some(encrypted_content)) =
            (event::text(item, "id"), event::text(item, "encrypted_content"))
        {
            self.last_thought = None;
            said.word(ModelEvent::ReasoningEnd {
                encrypted: sealed::seal(&self.upstream, id, encrypted_content),
            });
        }
    }

    fn part_event(&mut self, event: ResponsesEvent, said: &mut ParsedOutput) {
        let kind = match event.part.get("type").and_then(Value::as_str) {
            Some("output_text" | "refusal") => OutputKind::Message,
            Some("reasoning_text" | "summary_text") => OutputKind::Reasoning,
            Some(_) | None => return,
        };
        let position = self.place(kind, event.item_id.as_deref(), event.output_index);
        let number = event.summary_index.or(event.content_index).unwrap_or(0);
        self.part(position, number, event.part, said);
    }

    /// What a part contains at its start is emitted at the end, unless another event contains it.
    fn part_added(&mut self, event: ResponsesEvent) {
        let has_text =
            ["text", "refusal"].iter().any(|name| event::text(&event.part, name).is_some());
        if has_text
            && event.part.get("type").is_some_and(|kind| kind == "output_text" || kind == "refusal")
        {
            let position =
                self.place(OutputKind::Message, event.item_id.as_deref(), event.output_index);
            self.items[position].added.push((event.content_index.unwrap_or(0), event.part));
        }
    }

    /// A completed part.
    fn part(&mut self, position: usize, number: u64, mut part: Value, said: &mut ParsedOutput) {
        let kind = event::text(&part, "type").unwrap_or_default().to_owned();
        let piece = match kind.as_str() {
            "output_text" => PieceKind::Text,
            "refusal" => PieceKind::Refusal,
            "reasoning_text" => PieceKind::Thought,
            "summary_text" => PieceKind::Summary,
            // An unknown type.
            "" => return,
            _ if self.items[position].kind != OutputKind::Message
                || self.items[position].others.contains(&number) =>
            {
                return;
            }
            _ => {
                self.items[position].others.push(number);
                return said.word(ModelEvent::Extra(Map::from_iter([(
                    CONTENT_PARTS.to_owned(),
                    vec![part].into(),
                )])));
            }
        };
        let mut take = |field: &str| part.get_mut(field).map(Value::take).unwrap_or_default();
        let (text, logprobs) =
            (take(if piece == PieceKind::Refusal { "refusal" } else { "text" }), take("logprobs"));
        self.say_whole(position, piece, number, text, logprobs, said);
        if piece == PieceKind::Text && !self.items[position].annotated.contains(&number) {
            for annotation in event::take_list(&mut part, "annotations") {
                self.annotate(position, number, annotation, said);
            }
        }
    }

    fn annotation(&mut self, event: ResponsesEvent, said: &mut ParsedOutput) {
        let position =
            self.place(OutputKind::Message, event.item_id.as_deref(), event.output_index);
        self.annotate(position, event.content_index.unwrap_or(0), event.annotation, said);
    }

    fn annotate(
        &mut self,
        position: usize,
        number: u64,
        annotation: Value,
        said: &mut ParsedOutput,
    ) {
        if annotation.is_object() {
            let annotated = &mut self.items[position].annotated;
            if !annotated.contains(&number) {
                annotated.push(number);
            }
            said.word(ModelEvent::Annotation(annotation));
        }
    }

    /// The items of the terminal event, which repeats the response: only those whose end did not
    /// arrive are of interest.
    fn last_items(&mut self, items: Vec<Value>, said: &mut ParsedOutput) {
        // Without id and index, items are matched by kind, in order, if their numbers agree.
        let known: Vec<(OutputKind, usize)> =
            self.items.iter().zip(0..).map(|(item, position)| (item.kind, position)).collect();
        let kinds: Vec<Option<OutputKind>> = items.iter().map(kind_of).collect();
        for (index, item) in items.into_iter().enumerate() {
            let Some(kind) = kinds[index] else { continue };
            let of_kind = || {
                known.iter().filter(move |(known, _)| *known == kind).map(|(_, position)| *position)
            };
            let is_same = |other: &&Option<OutputKind>| **other == Some(kind);
            let place = index as u64;
            let found = self
                .find(kind, event::text(&item, "id"), Some(place))
                .or_else(|| of_kind().nth(kinds[..index].iter().filter(is_same).count()));
            match found {
                Some(position) if self.items[position].is_done => {}
                Some(position) => self.end_item(position, item, said),
                None if of_kind().count() < kinds.iter().filter(is_same).count() => {
                    self.item_done(Some(place), item, said)
                }
                None => {}
            }
        }
    }

    /// The terminal event `kind`, or a complete document, with its response.
    fn end(&mut self, kind: &str, mut response: Value, said: &mut ParsedOutput) {
        self.last_items(event::take_list(&mut response, "output"), said);
        for position in 0..self.items.len() {
            for (number, part) in mem::take(&mut self.items[position].added) {
                if self.items[position].parts.is_empty() {
                    self.part(position, number, part, said);
                }
            }
        }
        if let Some(usage) = event::usage(&response) {
            said.word(ModelEvent::Usage(usage));
        }
        let status = response.get("status").and_then(Value::as_str).unwrap_or_default();
        let status = match (kind, status) {
            ("response.incomplete", _) => "incomplete",
            ("response.failed", _) => "failed",
            ("response.cancelled", _) => "cancelled",
            (_, "incomplete" | "failed" | "cancelled") => status,
            ("response.completed", _) => "completed",
            (_, status) => status,
        };
        match status {
            _ if response.get("error").is_some_and(is_truthy) => {
                said.fail(event::failure_of_response(&response, &said.callee))
            }
            "completed" => said.word(ModelEvent::Finish(Finish::Stop)),
            "incomplete" => match incomplete(&response) {
                Ok(finish) => said.word(ModelEvent::Finish(finish)),
                Err(reason) => {
                    let what = format!("stopped in the middle of the response (reason '{reason}')");
                    said.fail(said.callee.plain("upstream_error", &what));
                }
            },
            "failed" => said.fail(event::failure_of_response(&response, &said.callee)),
            "cancelled" => said.fail(said.callee.plain("upstream_error", "cancelled the response")),
            // The response continues in the background, or the event is no evidence.
            _ => {}
        }
        said.over();
    }
}

fn kind_of(item: &Value) -> Option<OutputKind> {
    match item.get("type")?.as_str()? {
        "message" => Some(OutputKind::Message),
        "reasoning" => Some(OutputKind::Reasoning),
        "function_call" => Some(OutputKind::FunctionCall),
        "custom_tool_call" => Some(OutputKind::CustomToolCall),
        "" => None,
        _ => Some(OutputKind::Opaque),
    }
}

/// Why a response is incomplete.
///
/// # Errors
/// It has failed for this reason.
fn incomplete(response: &Value) -> Result<Finish, String> {
    let reason = response
        .pointer("/incomplete_details/reason")
        .and_then(Value::as_str)
        .unwrap_or("incomplete");
    match finish::read(reason) {
        // An incomplete response is not complete, whatever its reason.
        FinishVerdict::Finish(Finish::Stop) | FinishVerdict::Absent => {
            Ok(Finish::Unknown(reason.to_owned()))
        }
        FinishVerdict::Finish(finish) => Ok(finish),
        FinishVerdict::Failed => Err(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests;
