//! The output items of one response: assigns pieces to their items, and emits each piece once.

use std::mem;
use std::sync::Arc;

use engine::provider::event::{ModelEvent, OpaqueStep, ToolCallDelta};
use serde_json::{Map, Value};

use super::super::super::parsed_output::ParsedOutput;
use super::super::super::shared::CONTENT_PARTS;
use super::super::event::{self, ResponsesEvent};
use super::super::sealed;
use super::output::{CallProgress, OutputItem, OutputKind, PieceExtent, PieceKind};

/// The output items of one response.
#[derive(Debug)]
pub(super) struct OutputItems {
    upstream: Arc<str>,
    items: Vec<OutputItem>,
    /// The number of calls.
    calls: u64,
    /// The last reasoning part, while nothing else arrived: its item, kind and part.
    last_thought: Option<(usize, PieceKind, u64)>,
}

impl OutputItems {
    /// No items yet, of the upstream with this name.
    pub(super) fn new(upstream: Arc<str>) -> Self {
        Self { upstream, items: Vec::new(), calls: 0, last_thought: None }
    }

    /// A delta of a part, or a complete one.
    pub(super) fn piece(
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
                self.say(position, piece, number, event.delta, event.logprobs, said);
            }
            PieceExtent::Whole => {
                self.say_whole(position, piece, number, whole, event.logprobs, said);
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
    pub(super) fn find(
        &self,
        kind: OutputKind,
        id: Option<&str>,
        index: Option<u64>,
    ) -> Option<usize> {
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

    /// A new item: emits what its first event has.
    pub(super) fn item_added(&mut self, index: Option<u64>, item: &Value, said: &mut ParsedOutput) {
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
                said.words(self.new_fields(position, item).map(ModelEvent::Extra));
            }
            OutputKind::Reasoning => {}
            OutputKind::FunctionCall | OutputKind::CustomToolCall => {
                self.name_call(position, item, said);
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
    pub(super) fn item_done(&mut self, index: Option<u64>, item: Value, said: &mut ParsedOutput) {
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
                said.words(self.new_fields(position, &item).map(ModelEvent::Extra));
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

    /// The event of a completed part.
    pub(super) fn part_event(&mut self, event: ResponsesEvent, said: &mut ParsedOutput) {
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
    pub(super) fn part_added(&mut self, event: ResponsesEvent) {
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

    /// An annotation of a part.
    pub(super) fn annotation(&mut self, event: ResponsesEvent, said: &mut ParsedOutput) {
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
    pub(super) fn last_items(&mut self, items: Vec<Value>, said: &mut ParsedOutput) {
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
                    self.item_done(Some(place), item, said);
                }
                None => {}
            }
        }
    }

    /// Emits the parts that had contents in their first event only.
    pub(super) fn last_parts(&mut self, said: &mut ParsedOutput) {
        for position in 0..self.items.len() {
            for (number, part) in mem::take(&mut self.items[position].added) {
                if self.items[position].parts.is_empty() {
                    self.part(position, number, part, said);
                }
            }
        }
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
