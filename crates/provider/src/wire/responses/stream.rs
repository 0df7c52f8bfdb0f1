//! Reads the events of a response into words; no I/O.

mod output;

use std::mem;
use std::sync::Arc;

use engine::provider::event::{Finish, OpaqueStep, ToolCallDelta, Word};
use protocol::event::EventKind;
use serde_json::{Map, Value};

use self::output::{Call, Extent, Kind, Output, Piece, piece_of};
use super::super::body::Grammar;
use super::super::fault::is_truthy;
use super::super::finish::{self, Verdict};
use super::super::json::{self, Broken};
use super::super::said::Said;
use super::super::shared::CONTENT_PARTS;
use super::event::{self, Event};
use super::sealed;

/// What was read of one answer so far.
#[derive(Debug)]
pub(super) struct Events {
    upstream: Arc<str>,
    items: Vec<Output>,
    /// How many calls there are.
    calls: u64,
    /// Where the last thoughts stood, while nothing else came: which item, of what kind, which part.
    last_thought: Option<(usize, Piece, u64)>,
}

impl Grammar for Events {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut Said) {
        if name == Some("error") {
            return said.fail(event::failure_of_event(data, &said.callee));
        }
        match json::read_all(data, |event| self.read(name, event, data, said)) {
            Ok(_) => {}
            Err(Broken::Cut) => said.invalid_data("sent an event that ends in the middle of its JSON"),
            Err(Broken::Invalid) => said.invalid_data("sent something that is no event of a response"),
        }
    }

    fn document(&mut self, document: &[u8], said: &mut Said) {
        let response = match json::value(document) {
            Ok(response) => response,
            Err(Broken::Cut) => return said.fail(said.callee.cut()),
            Err(Broken::Invalid) => return said.invalid_data("sent something that is no response"),
        };
        if response.get("output").is_some() || response.get("object").is_some_and(|object| object == "response") {
            self.end("", response, said);
        } else if response.is_array() || response.get("error").is_some_and(is_truthy) {
            said.fail(event::failure_of_event(document, &said.callee));
        } else if !said.fail_if_error(&response) {
            said.invalid_data("sent something that is no response");
        }
    }
}

impl Events {
    /// What this upstream sends.
    pub(super) fn new(upstream: Arc<str>) -> Self {
        Self { upstream, items: Vec::new(), calls: 0, last_thought: None }
    }

    fn read(&mut self, name: Option<&str>, mut event: Event, data: &[u8], said: &mut Said) {
        let before = said.len();
        let kind = event.kind.take().or_else(|| name.map(str::to_owned)).unwrap_or_default();
        if let Some((piece, extent)) = piece_of(&kind) {
            self.piece(piece, extent, event, said);
        } else {
            match kind.as_str() {
                "response.output_item.added" => self.item_added(event.output_index, &event.item, said),
                "response.output_item.done" => self.item_done(event.output_index, event.item, said),
                "response.content_part.done" | "response.reasoning_summary_part.done" => self.part_event(event, said),
                "response.content_part.added" => self.part_added(event),
                "response.output_text.annotation.added" => self.annotation(event, said),
                "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "response.done" => {
                    self.end(&kind, event.response, said);
                }
                "error" => said.fail(event::failure_of_event(data, &said.callee)),
                _ if is_truthy(&event.error) => said.fail(event::failure_of_event(data, &said.callee)),
                _ if event.choices.is_array() => said.invalid_data("speaks chat completions at this address, not the Responses API"),
                // What is no event of this API may be an error of a proxy in between.
                kind if !kind.starts_with("response.") => _ = json::read_all(data, |value: Value| _ = said.fail_if_error(&value)),
                _ => self.hosted(&kind, &event, data, said),
            }
        }
        if said.len() == before && !said.is_over() {
            said.word(Word::KeepAlive);
        }
    }

    /// A step of a tool that runs upstream goes on as it came. What is yet to be invented is left out: clients refuse events that
    /// they do not know.
    fn hosted(&self, kind: &str, event: &Event, data: &[u8], said: &mut Said) {
        let Some(kind) = EventKind::parse(kind.as_bytes()).filter(|kind| kind.is_hosted()) else { return };
        let Some(position) = self.find(Kind::Opaque, event.item_id.as_deref(), event.output_index) else { return };
        let Ok(Value::Object(mut fields)) = json::value(data) else { return };
        fields.retain(|name, _| !["type", "sequence_number", "item_id", "output_index"].contains(&name.as_str()));
        said.word(Word::Item(OpaqueStep::Event { key: position as u64, kind, fields }));
    }

    fn piece(&mut self, piece: Piece, extent: Extent, event: Event, said: &mut Said) {
        let position = self.place(piece.kind(), event.item_id.as_deref(), event.output_index);
        let (number, whole) = match piece {
            Piece::Text | Piece::Thought => (event.content_index, event.text),
            Piece::Summary => (event.summary_index, event.text),
            Piece::Refusal => (event.content_index, event.refusal),
            Piece::Arguments => (None, event.arguments),
            Piece::Input => (None, event.input),
        };
        let number = number.unwrap_or(0);
        match extent {
            Extent::More => self.say(position, piece, number, event.delta, event.logprobs, said),
            Extent::Whole => self.say_whole(position, piece, number, whole, event.logprobs, said),
        }
    }

    /// Where the item stands that an event is about, which may be a new one.
    fn place(&mut self, kind: Kind, id: Option<&str>, index: Option<u64>) -> usize {
        if let Some(position) = self.find(kind, id, index) {
            return position;
        }
        // The pieces before may have said nothing of their item.
        let is_unnamed = |item: &Output| item.kind == kind && item.id.is_none() && item.index.is_none() && !item.is_done;
        let Some(position) = self.items.iter().rposition(is_unnamed) else { return self.push(kind, id, index) };
        let item = &mut self.items[position];
        (item.id, item.index) = (id.map(str::to_owned), index);
        position
    }

    /// By its id; some servers give another id with every event, so else by its place in the output; where there is neither, it
    /// is the one that is being written.
    fn find(&self, kind: Kind, id: Option<&str>, index: Option<u64>) -> Option<usize> {
        let last = |is_it: &dyn Fn(&Output) -> bool| self.items.iter().rposition(|item| item.kind == kind && is_it(item));
        let by_id = || last(&|item| id.is_some() && item.id.as_deref() == id);
        let by_index = || last(&|item| index.is_some() && item.index == index && !item.is_done);
        let open = || last(&|item| id.is_none() && index.is_none() && !item.is_done);
        by_id().or_else(by_index).or_else(open)
    }

    fn push(&mut self, kind: Kind, id: Option<&str>, index: Option<u64>) -> usize {
        let call = Call { index: self.calls, ..Call::default() };
        self.calls += u64::from(matches!(kind, Kind::FunctionCall | Kind::CustomToolCall));
        let id = id.map(str::to_owned);
        self.items.push(Output { kind, id, index, call, ..Output::default() });
        self.items.len() - 1
    }

    /// Says more of a part.
    fn say(&mut self, position: usize, piece: Piece, number: u64, text: Value, logprobs: Value, said: &mut Said) {
        let text = match text {
            Value::String(text) => text,
            Value::Object(object) if piece == Piece::Arguments => Value::Object(object).to_string(),
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
            Piece::Text => {
                let logprobs = if let Value::Array(logprobs) = logprobs { logprobs } else { Vec::new() };
                said.word(Word::Text { text, logprobs });
            }
            Piece::Refusal => said.word(Word::Refusal(text)),
            Piece::Thought | Piece::Summary => {
                // A word of the other kind has parted them already.
                if last_thought.is_some_and(|last| last != place && last.1 == piece) {
                    said.word(Word::ReasoningBreak);
                }
                self.last_thought = Some(place);
                said.word(if piece == Piece::Summary { Word::ReasoningSummary(text) } else { Word::Reasoning(text) });
            }
            Piece::Arguments | Piece::Input => {
                let (index, is_custom) = (self.items[position].call.index, piece == Piece::Input);
                said.word(Word::ToolCall(ToolCallDelta { index, is_custom, arguments: text, ..ToolCallDelta::default() }));
            }
        }
    }

    /// Says a whole part, as far as it was not said. Where it is another text than the pieces were, these count.
    fn say_whole(&mut self, position: usize, piece: Piece, number: u64, text: Value, logprobs: Value, said: &mut Said) {
        let text = match text {
            Value::String(text) => text,
            Value::Object(object) if piece == Piece::Arguments => Value::Object(object).to_string(),
            _ => return,
        };
        let so_far = self.items[position].so_far(piece, number);
        let Some(rest) = so_far.rest(&text) else { return };
        // The log probabilities are those of the whole text.
        let logprobs = if so_far.is_empty() { logprobs } else { Value::Null };
        self.say(position, piece, number, rest.into(), logprobs, said);
    }

    fn item_added(&mut self, index: Option<u64>, item: &Value, said: &mut Said) {
        let Some(kind) = kind_of(item) else { return };
        let is_known = self.find(kind, event::text(item, "id"), None).is_some_and(|position| !self.items[position].is_done);
        let id = event::text(item, "id");
        let has_id = |known: &Output| known.kind == kind && id.is_some() && known.id.as_deref() == id;
        let position = self.items.iter().rposition(has_id).unwrap_or_else(|| self.push(kind, id, index));
        match kind {
            // What text it may hold already comes again.
            Kind::Message => said.words(self.new_fields(position, item).map(Word::Extra)),
            Kind::Reasoning => {}
            Kind::FunctionCall | Kind::CustomToolCall => self.name_call(position, item, said),
            Kind::Opaque => {
                if let (false, Value::Object(item)) = (is_known && event::text(item, "id").is_some(), item) {
                    said.word(Word::Item(OpaqueStep::Added { key: position as u64, item: item.clone() }));
                }
            }
        }
    }

    /// The fields beyond the vocabulary that were not said yet.
    fn new_fields(&mut self, position: usize, item: &Value) -> Option<Map<String, Value>> {
        let output = &mut self.items[position];
        let is_new = |name: &String, value: &Value| {
            !output.kind.fields().contains(&name.as_str()) && !output.extra.contains(name) && !value.is_null()
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

    /// Says a call's id and name, as far as they were not said.
    fn name_call(&mut self, position: usize, item: &Value, said: &mut Said) {
        let extra = self.new_fields(position, item).unwrap_or_default();
        let is_custom = self.items[position].kind == Kind::CustomToolCall;
        let call = &mut self.items[position].call;
        let id = event::text(item, "call_id").filter(|_| !call.has_id).map(str::to_owned);
        let name = event::text(item, "name").filter(|_| !call.has_name).map(str::to_owned);
        call.has_id |= id.is_some();
        call.has_name |= name.is_some();
        if id.is_some() || name.is_some() || !extra.is_empty() {
            let index = call.index;
            self.last_thought = None;
            said.word(Word::ToolCall(ToolCallDelta { index, id, name, is_custom, arguments: String::new(), extra }));
        }
    }

    /// An item as it is in the end: says what has not come before.
    fn item_done(&mut self, index: Option<u64>, item: Value, said: &mut Said) {
        let Some(kind) = kind_of(&item) else { return };
        let position = self.place(kind, event::text(&item, "id"), index);
        if !self.items[position].is_done {
            self.end_item(position, item, said);
        }
    }

    fn end_item(&mut self, position: usize, mut item: Value, said: &mut Said) {
        let kind = self.items[position].kind;
        if kind == Kind::Opaque {
            self.items[position].is_done = true;
            if let Value::Object(item) = item {
                said.word(Word::Item(OpaqueStep::Done { key: position as u64, item }));
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
            Kind::Message => said.words(self.new_fields(position, &item).map(Word::Extra)),
            Kind::Reasoning => {
                said.words(self.new_fields(position, &item).map(Word::ReasoningExtra));
                self.seal(&item, said);
            }
            Kind::FunctionCall | Kind::CustomToolCall => {
                self.name_call(position, &item, said);
                let (piece, field) = if kind == Kind::FunctionCall { (Piece::Arguments, "arguments") } else { (Piece::Input, "input") };
                let text = item.get_mut(field).map(Value::take).unwrap_or_default();
                self.say_whole(position, piece, 0, text, Value::Null, said);
            }
            Kind::Opaque => {}
        }
        self.items[position].is_done = true;
    }

    /// The end of thoughts that the upstream wants back.
    fn seal(&mut self, item: &Value, said: &mut Said) {
        if let (Some(id), Some(encrypted_content)) = (event::text(item, "id"), event::text(item, "encrypted_content")) {
            self.last_thought = None;
            said.word(Word::ReasoningEnd { encrypted: sealed::seal(&self.upstream, id, encrypted_content) });
        }
    }

    fn part_event(&mut self, event: Event, said: &mut Said) {
        let kind = match event.part.get("type").and_then(Value::as_str) {
            Some("output_text" | "refusal") => Kind::Message,
            Some("reasoning_text" | "summary_text") => Kind::Reasoning,
            Some(_) | None => return,
        };
        let position = self.place(kind, event.item_id.as_deref(), event.output_index);
        let number = event.summary_index.or(event.content_index).unwrap_or(0);
        self.part(position, number, event.part, said);
    }

    /// What a part holds at its start is said at the end, if nothing else has said anything of it.
    fn part_added(&mut self, event: Event) {
        let has_text = ["text", "refusal"].iter().any(|name| event::text(&event.part, name).is_some());
        if has_text && event.part.get("type").is_some_and(|kind| kind == "output_text" || kind == "refusal") {
            let position = self.place(Kind::Message, event.item_id.as_deref(), event.output_index);
            self.items[position].added.push((event.content_index.unwrap_or(0), event.part));
        }
    }

    /// A part as it is in the end.
    fn part(&mut self, position: usize, number: u64, mut part: Value, said: &mut Said) {
        let kind = event::text(&part, "type").unwrap_or_default().to_owned();
        let piece = match kind.as_str() {
            "output_text" => Piece::Text,
            "refusal" => Piece::Refusal,
            "reasoning_text" => Piece::Thought,
            "summary_text" => Piece::Summary,
            // Of a type that has no place in the vocabulary.
            "" => return,
            _ if self.items[position].kind != Kind::Message || self.items[position].others.contains(&number) => return,
            _ => {
                self.items[position].others.push(number);
                return said.word(Word::Extra(Map::from_iter([(CONTENT_PARTS.to_owned(), vec![part].into())])));
            }
        };
        let mut take = |field: &str| part.get_mut(field).map(Value::take).unwrap_or_default();
        let (text, logprobs) = (take(if piece == Piece::Refusal { "refusal" } else { "text" }), take("logprobs"));
        self.say_whole(position, piece, number, text, logprobs, said);
        if piece == Piece::Text && !self.items[position].annotated.contains(&number) {
            for annotation in event::take_list(&mut part, "annotations") {
                self.annotate(position, number, annotation, said);
            }
        }
    }

    fn annotation(&mut self, event: Event, said: &mut Said) {
        let position = self.place(Kind::Message, event.item_id.as_deref(), event.output_index);
        self.annotate(position, event.content_index.unwrap_or(0), event.annotation, said);
    }

    fn annotate(&mut self, position: usize, number: u64, annotation: Value, said: &mut Said) {
        if annotation.is_object() {
            let annotated = &mut self.items[position].annotated;
            if !annotated.contains(&number) {
                annotated.push(number);
            }
            said.word(Word::Annotation(annotation));
        }
    }

    /// The items of the last event, which repeats the whole response: what is needed of it are items whose end has not come.
    fn last_items(&mut self, items: Vec<Value>, said: &mut Said) {
        // Where neither id nor index tell which item it is, the first of a kind is the first of it that came, if there came no
        // more than these.
        let known: Vec<(Kind, usize)> = self.items.iter().zip(0..).map(|(item, position)| (item.kind, position)).collect();
        let kinds: Vec<Option<Kind>> = items.iter().map(kind_of).collect();
        for (index, item) in items.into_iter().enumerate() {
            let Some(kind) = kinds[index] else { continue };
            let of_kind = || known.iter().filter(move |(known, _)| *known == kind).map(|(_, position)| *position);
            let is_same = |other: &&Option<Kind>| **other == Some(kind);
            let place = index as u64;
            let found = self
                .find(kind, event::text(&item, "id"), Some(place))
                .or_else(|| of_kind().nth(kinds[..index].iter().filter(is_same).count()));
            match found {
                Some(position) if self.items[position].is_done => {}
                Some(position) => self.end_item(position, item, said),
                None if of_kind().count() < kinds.iter().filter(is_same).count() => self.item_done(Some(place), item, said),
                None => {}
            }
        }
    }

    /// The terminal event `kind`, or a whole document, with its response.
    fn end(&mut self, kind: &str, mut response: Value, said: &mut Said) {
        self.last_items(event::take_list(&mut response, "output"), said);
        for position in 0..self.items.len() {
            for (number, part) in mem::take(&mut self.items[position].added) {
                if self.items[position].parts.is_empty() {
                    self.part(position, number, part, said);
                }
            }
        }
        if let Some(usage) = event::usage(&response) {
            said.word(Word::Usage(usage));
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
            _ if response.get("error").is_some_and(is_truthy) => said.fail(event::failure_of_response(&response, &said.callee)),
            "completed" => said.word(Word::Finish(Finish::Stop)),
            "incomplete" => match incomplete(&response) {
                Ok(finish) => said.word(Word::Finish(finish)),
                Err(reason) => {
                    let what = format!("stopped in the middle of the response (reason '{reason}')");
                    said.fail(said.callee.plain("upstream_error", &what));
                }
            },
            "failed" => said.fail(event::failure_of_response(&response, &said.callee)),
            "cancelled" => said.fail(said.callee.plain("upstream_error", "cancelled the answer")),
            // It runs on without us, or is no evidence of anything.
            _ => {}
        }
        said.over();
    }
}

fn kind_of(item: &Value) -> Option<Kind> {
    match item.get("type")?.as_str()? {
        "message" => Some(Kind::Message),
        "reasoning" => Some(Kind::Reasoning),
        "function_call" => Some(Kind::FunctionCall),
        "custom_tool_call" => Some(Kind::CustomToolCall),
        "" => None,
        _ => Some(Kind::Opaque),
    }
}

/// Why a response is incomplete.
///
/// # Errors
/// It has failed, for this reason.
fn incomplete(response: &Value) -> Result<Finish, String> {
    let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str).unwrap_or("incomplete");
    match finish::read(reason) {
        // An incomplete response is not complete, whatever its reason is called.
        Verdict::Finish(Finish::Stop) | Verdict::Absent => Ok(Finish::Unknown(reason.to_owned())),
        Verdict::Finish(finish) => Ok(finish),
        Verdict::Failed => Err(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests;
