//! Translates a conversation to messages.

use std::mem;

use engine::provider::request::ModelRequest;
use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Message, Part, Reasoning, Role};
use serde_json::{Map, Value, json};

use super::super::super::carry::{self, FieldLocation};
use super::super::super::family::ServerFamily;
use super::super::super::shared::{CONTENT_PARTS, image_url, put};
use crate::config::{Preset, ReasoningHistory, SystemMessages};
use crate::tools::{ConversationStep, FunctionCallStep, FunctionResultStep, OfferedTools, turns};
use crate::wire::chat::style::ChatFeatures;

/// OpenAI's limit on the length of call ids; other vendors' ids may be longer.
const LONGEST_CALL_ID: usize = 64;

/// The messages so far. An assistant message contains all calls of a turn and the text next to
/// them.
pub(super) struct ChatMessages<'a> {
    style: &'a ChatFeatures,
    list: Vec<Map<String, Value>>,
    /// The merged system message, if there may be only one.
    system: Map<String, Value>,
    /// Reasoning before a message or call that has not been added yet.
    thoughts: String,
    /// Unknown fields of that reasoning. In chat completions they belong to the message.
    thoughts_extra: Map<String, Value>,
}

impl<'a> ChatMessages<'a> {
    pub(super) fn new(style: &'a ChatFeatures) -> Self {
        Self {
            style,
            list: Vec::new(),
            system: Map::new(),
            thoughts: String::new(),
            thoughts_extra: Map::new(),
        }
    }

    /// The messages of a request.
    ///
    /// # Errors
    /// A content part that this API does not support.
    pub(super) fn of(
        mut self,
        request: &ModelRequest,
        offer: &OfferedTools<'_>,
    ) -> Result<Vec<Value>, Fault> {
        if let Some(instructions) =
            request.create.instructions.as_ref().filter(|text| !text.is_empty())
        {
            self.system("system", instructions.as_str().into(), Map::new());
        }
        for (index, turn) in turns(&request.context, offer) {
            match turn {
                ConversationStep::Message(message) => self.message(message, index)?,
                ConversationStep::Call(call) => self.call(&call),
                ConversationStep::Output(output) => self.output(&output, index)?,
                ConversationStep::Reasoning(reasoning) => self.think(reasoning),
                ConversationStep::Compaction(compaction) => {
                    self.system("system", compaction.summary_message().into(), Map::new());
                }
                ConversationStep::Opaque(item) => {
                    if let Some(url) = image_url(item) {
                        self.image(&url);
                    }
                }
            }
        }
        let system = (!self.system.is_empty()).then_some(self.system);
        Ok(system.into_iter().chain(self.list).map(Value::Object).collect())
    }

    /// Adds a system or developer message.
    fn system(&mut self, role: &str, content: Value, extra: Map<String, Value>) {
        if self.style.system_messages == SystemMessages::First {
            self.system.insert("role".into(), "system".into());
            append(self.system.entry("content").or_insert(Value::Null), content);
            return self.system.extend(extra);
        }
        self.heard(role, content, extra);
    }

    /// Adds a message from outside the model.
    fn heard(&mut self, role: &str, content: Value, extra: Map<String, Value>) {
        self.thoughts.clear();
        self.thoughts_extra.clear();
        let mut message = Map::new();
        message.insert("role".into(), role.into());
        message.insert("content".into(), content);
        message.extend(extra);
        self.list.push(message);
    }

    fn message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        let mut content = content(&message.content, message.role, self.style, index)?;
        let mut extra = self.extra(&message.extra, FieldLocation::Message);
        if let Some(Value::Array(parts)) = extra.shift_remove(CONTENT_PARTS) {
            let mut all = into_parts(content);
            all.extend(parts);
            content = all.into();
        }
        match (message.role, self.style.family) {
            (Role::Assistant, _) => self.assistant(&message.content, content, extra),
            // `developer` exists at OpenAI only; templates of open models support `system`.
            (Role::Developer, ServerFamily::OpenAi | ServerFamily::Azure) => {
                self.system("developer", content, extra);
            }
            (Role::Developer | Role::System, _) => self.system("system", content, extra),
            (Role::User, _) => self.heard("user", content, extra),
        }
        Ok(())
    }

    fn assistant(&mut self, parts: &[Part], content: Value, extra: Map<String, Value>) {
        // Calls are sent with their reasoning; messages alone only if the settings say so.
        let is_always = self.style.reasoning == ReasoningHistory::Always;
        // A message may consist of unknown fields only.
        let content = if parts.is_empty() && !extra.is_empty() && !content.is_array() {
            Value::Null
        } else {
            content
        };
        let names = reasoning_names(self.style.preset);
        let thoughts = if is_always { mem::take(&mut self.thoughts) } else { String::new() };
        let beside = mem::take(&mut self.thoughts_extra);
        let message = match self.assistant_with_calls() {
            Some(last) => {
                if !content.is_null() && content != "" {
                    append(last.entry("content").or_insert(Value::Null), content);
                }
                last
            }
            None => self.new_assistant(content),
        };
        message.extend(beside.into_iter().chain(extra));
        if !thoughts.is_empty() {
            message.extend(names.iter().map(|name| ((*name).to_owned(), thoughts.as_str().into())));
        }
    }

    fn call(&mut self, call: &FunctionCallStep<'_>) {
        let mut function = Map::new();
        function.insert("name".into(), call.name.as_ref().into());
        function.insert("arguments".into(), call.arguments.as_ref().into());
        let mut sent = Map::new();
        sent.insert("id".into(), self.call_id(call.id).into());
        sent.insert("type".into(), "function".into());
        for (name, value) in call
            .extra
            .into_iter()
            .flat_map(|extra| carry::carried(extra, FieldLocation::Call, self.style.field()))
        {
            match (name.as_str(), value) {
                ("function", Value::Object(fields)) => function.extend(fields.clone()),
                _ => _ = sent.insert(name.clone(), value.clone()),
            }
        }
        sent.insert("function".into(), function.into());
        let is_returned = self.style.reasoning != ReasoningHistory::Never;
        let thoughts = if is_returned { mem::take(&mut self.thoughts) } else { String::new() };
        let (names, beside) =
            (reasoning_names(self.style.preset), mem::take(&mut self.thoughts_extra));
        let is_assistant = self
            .list
            .last()
            .and_then(|last| last.get("role"))
            .is_some_and(|role| role == "assistant");
        let last = if is_assistant { self.list.len() - 1 } else { self.list.len() };
        if !is_assistant {
            self.new_assistant(Value::Null);
        }
        let message = &mut self.list[last];
        message.extend(beside);
        let calls = message.entry("tool_calls").or_insert_with(|| Vec::<Value>::new().into());
        if let Some(calls) = calls.as_array_mut() {
            calls.push(sent.into());
        }
        if !thoughts.is_empty() {
            message.extend(names.iter().map(|name| ((*name).to_owned(), thoughts.as_str().into())));
        }
    }

    /// An image that the model generated is sent back unchanged in its message.
    fn image(&mut self, url: &str) {
        let image = json!({ "type": "image_url", "image_url": { "url": url } });
        let is_assistant = self
            .list
            .last()
            .and_then(|last| last.get("role"))
            .is_some_and(|role| role == "assistant");
        let message = match self.list.last_mut().filter(|_| is_assistant) {
            Some(last) => last,
            None => self.new_assistant(Value::from("")),
        };
        let images = message.entry("images").or_insert_with(|| Vec::<Value>::new().into());
        if let Some(images) = images.as_array_mut() {
            images.push(image);
        }
    }

    fn think(&mut self, reasoning: &Reasoning) {
        self.thoughts.push_str(&reasoning.text());
        let extra = self.extra(&reasoning.extra, FieldLocation::Reasoning);
        self.thoughts_extra.extend(extra);
    }

    fn output(&mut self, output: &FunctionResultStep<'_>, index: usize) -> Result<(), Fault> {
        let content = match &*output.content {
            FunctionOutput::Text(text) => text.as_str().into(),
            FunctionOutput::Parts(parts) if parts.iter().all(is_plain) => {
                output.content.text().into()
            }
            // Few servers accept images here; the others reject them.
            FunctionOutput::Parts(parts) => content(parts, Role::User, self.style, index)?,
        };
        let mut message = Map::new();
        message.insert("role".into(), "tool".into());
        message.insert("tool_call_id".into(), self.call_id(output.call_id).into());
        message.insert("content".into(), content);
        message.extend(
            output.extra.map(|extra| self.extra(extra, FieldLocation::Output)).unwrap_or_default(),
        );
        self.list.push(message);
        Ok(())
    }

    /// The upstream's own call id, shortened for OpenAI if it is from another vendor and too long.
    fn call_id(&self, call_id: &str) -> String {
        match self.style.family {
            ServerFamily::OpenAi | ServerFamily::Azure if call_id.len() > LONGEST_CALL_ID => {
                super::super::super::shared::short_id(call_id)
            }
            ServerFamily::OpenAi | ServerFamily::Azure | ServerFamily::Compatible => {
                call_id.to_owned()
            }
        }
    }

    fn extra(&self, extra: &Extra, place: FieldLocation) -> Map<String, Value> {
        carry::carried(extra, place, self.style.field())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn new_assistant(&mut self, content: Value) -> &mut Map<String, Value> {
        self.list.push(Map::from_iter([
            ("role".to_owned(), "assistant".into()),
            ("content".to_owned(), content),
        ]));
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// The last message if it contains calls: their outputs must follow directly, so no message may
    /// be added in between.
    fn assistant_with_calls(&mut self) -> Option<&mut Map<String, Value>> {
        self.list.last_mut().filter(|last| {
            last.get("role").is_some_and(|role| role == "assistant")
                && last.contains_key("tool_calls")
        })
    }
}

/// The field names in which a server reads reasoning. vLLM and OpenRouter have renamed theirs; they
/// ignore the other one.
fn reasoning_names(preset: Preset) -> &'static [&'static str] {
    match preset {
        Preset::Vllm | Preset::OpenRouter => &["reasoning_content", "reasoning"],
        _ => &["reasoning_content"],
    }
}

/// Appends to a content: as a string if both are strings, as parts otherwise. In place, as a message
/// may be made of thousands.
fn append(before: &mut Value, after: Value) {
    match (&mut *before, after) {
        (Value::String(before), Value::String(after)) => {
            before.push_str("\n\n");
            before.push_str(&after);
        }
        (Value::Null, after) => *before = after,
        (Value::Array(before), after) => before.extend(into_parts(after)),
        (_, after) => {
            let mut parts = into_parts(mem::take(before));
            parts.extend(into_parts(after));
            *before = parts.into();
        }
    }
}

fn into_parts(content: Value) -> Vec<Value> {
    match content {
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![json!({ "type": "text", "text": text })],
        Value::Array(parts) => parts,
        _ => Vec::new(),
    }
}

/// Whether a part is plain text.
fn is_plain(part: &Part) -> bool {
    part.text().is_some() && part.extra().is_none_or(Extra::is_empty)
}

/// The content: a string if there is only one text part, a list otherwise.
fn content(parts: &[Part], role: Role, style: &ChatFeatures, index: usize) -> Result<Value, Fault> {
    let is_refusal = |part: &Part| {
        matches!(part, Part::Refusal { .. }) && style.family != ServerFamily::Compatible
    };
    let is_all_text = parts.iter().all(|part| is_plain(part) && !is_refusal(part));
    // Several compatible servers accept only strings from the assistant and in system messages.
    if is_all_text && (parts.len() <= 1 || role != Role::User) {
        let between = if role == Role::Assistant { "" } else { "\n\n" };
        return Ok(parts.iter().filter_map(Part::text).collect::<Vec<_>>().join(between).into());
    }
    let parts = parts.iter().enumerate();
    parts
        .map(|(number, part)| {
            content_part(part, style, &format!("input[{index}].content[{number}]"))
        })
        .collect()
}

fn content_part(part: &Part, style: &ChatFeatures, path: &str) -> Result<Value, Fault> {
    let cannot = |field: &str, what: &str| {
        Err(Fault::invalid("unsupported_value", format!("{path}.{field}"), what))
    };
    let mut fields = Map::new();
    let inner = match part {
        Part::InputText { text, .. }
        | Part::OutputText { text, .. }
        | Part::ReasoningText { text }
        | Part::SummaryText { text } => {
            fields.extend([
                ("type".to_owned(), "text".into()),
                ("text".to_owned(), text.as_str().into()),
            ]);
            None
        }
        Part::Refusal { refusal } => {
            let kind = if style.family == ServerFamily::Compatible {
                ("text", "text")
            } else {
                ("refusal", "refusal")
            };
            fields.extend([
                ("type".to_owned(), kind.0.into()),
                (kind.1.to_owned(), refusal.as_str().into()),
            ]);
            None
        }
        Part::InputImage { image_url: Some(url), detail, .. } => {
            fields.insert("type".into(), "image_url".into());
            Some((
                "image_url",
                Map::from_iter([
                    ("url".to_owned(), url.as_str().into()),
                    ("detail".to_owned(), detail.as_str().into()),
                ]),
            ))
        }
        Part::InputImage { image_url: None, .. } => {
            return cannot(
                "image_url",
                "This model's upstream requires the image as a URL or a data URL.",
            );
        }
        Part::InputFile { filename, file_data, extra, .. }
            if file_data.is_some() || has_file_id(extra) =>
        {
            let mut file = Map::new();
            put(&mut file, "filename", filename.clone());
            put(&mut file, "file_data", file_data.as_deref());
            fields.insert("type".into(), "file".into());
            Some(("file", file))
        }
        Part::InputFile { .. } => {
            return cannot(
                "file_data",
                "This model's upstream requires the file's content as a data URL.",
            );
        }
        Part::Opaque(part) => return Ok(part.to_map().into()),
    };
    let mut inner = inner;
    for (name, value) in part
        .extra()
        .into_iter()
        .flat_map(|extra| carry::carried(extra, FieldLocation::Part, style.field()))
    {
        match (&mut inner, value) {
            (Some((kind, object)), Value::Object(more)) if kind == name => {
                object.extend(more.clone());
            }
            _ => _ = fields.insert(name.clone(), value.clone()),
        }
    }
    if let Some((kind, object)) = inner {
        fields.insert(kind.to_owned(), object.into());
    }
    Ok(fields.into())
}

/// Whether it refers to a file stored at the upstream.
fn has_file_id(extra: &Extra) -> bool {
    extra.get("file").and_then(|file| file.get("file_id")).is_some()
}
