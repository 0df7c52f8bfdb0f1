//! Translates a conversation to input items.

use std::collections::HashSet;

use engine::provider::request::ModelRequest;
use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Item, Message, Part, Reasoning, Role};
use serde_json::{Map, Value, json};

use super::super::super::carry::{self, FieldLocation};
use super::super::super::family::ServerFamily;
use super::super::super::shared::{CONTENT_PARTS, put, short_id};
use super::super::sealed;
use super::field;
use crate::config::SystemMessages;
use crate::tools::is_abandoned;

/// OpenAI's limit on the length of call ids; other vendors' ids may be longer.
const LONGEST_CALL_ID: usize = 64;

/// The conversation translated so far.
pub(super) struct ResponsesInput {
    pub(super) instructions: String,
    pub(super) items: Vec<Value>,
    family: ServerFamily,
    /// Reasoning that waits for the item after it. OpenAI rejects reasoning that nothing follows,
    /// which a response cancelled during reasoning leaves.
    thoughts: Vec<Value>,
}

/// Translates a request's conversation.
///
/// # Errors
/// A content part that the API does not support.
pub(super) fn read(
    request: &ModelRequest,
    family: ServerFamily,
    system_messages: SystemMessages,
    upstream: &str,
) -> Result<ResponsesInput, Fault> {
    let instructions = request.create.instructions.clone().unwrap_or_default();
    let mut input =
        ResponsesInput { instructions, items: Vec::new(), family, thoughts: Vec::new() };
    let answered: HashSet<&str> =
        request.context.iter().filter_map(Item::answered_call_id).collect();
    for (index, item) in request.context.iter().enumerate() {
        match item {
            Item::Message(message)
                if system_messages == SystemMessages::First && is_system(message) =>
            {
                let texts: Vec<&str> = message.content.iter().filter_map(Part::text).collect();
                input.instruct(&texts.join("\n\n"));
            }
            Item::Message(message) => input.message(message, index)?,
            Item::FunctionCall(call) if is_abandoned(&call.call_id, call.status, &answered) => {}
            Item::FunctionCall(call) => {
                // A model may write nothing for a function without parameters; servers parse the
                // arguments, and an empty string is not JSON.
                let arguments =
                    if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
                let item = json!({
                    "type": "function_call", "call_id": input.call_id(&call.call_id), "name": call.name, "arguments": arguments,
                });
                input.said(item, &call.extra, FieldLocation::Call);
            }
            Item::CustomToolCall(call) if is_abandoned(&call.call_id, call.status, &answered) => {}
            Item::CustomToolCall(call) => {
                let call_id = input.call_id(&call.call_id);
                let item = json!({ "type": "custom_tool_call", "call_id": call_id, "name": call.name, "input": call.input });
                input.said(item, &call.extra, FieldLocation::Call);
            }
            Item::FunctionCallOutput(output) => {
                let content = input.output(&output.output, index)?;
                let item = json!({ "type": "function_call_output", "call_id": input.call_id(&output.call_id), "output": content });
                input.heard(item, &output.extra, FieldLocation::Output);
            }
            Item::CustomToolCallOutput(output) => {
                let content = input.output(&output.output, index)?;
                let item = json!({ "type": "custom_tool_call_output", "call_id": input.call_id(&output.call_id), "output": content });
                input.heard(item, &output.extra, FieldLocation::Output);
            }
            Item::Reasoning(item) => {
                let thoughts = input.reasoning(item, upstream);
                input.thoughts.extend(thoughts);
            }
            Item::Compaction(compaction) => match system_messages {
                SystemMessages::First => input.instruct(&compaction.summary_message()),
                SystemMessages::InPlace => {
                    input.heard(
                        message(Role::System, &[json!({ "type": "input_text", "text": compaction.summary_message() })]),
                        &Extra::default(),
                        FieldLocation::Message,
                    );
                }
            },
            Item::Opaque(item) => {
                input.said(item.upstream_form().into(), &Extra::default(), FieldLocation::Message);
            }
        }
    }
    Ok(input)
}

/// Whether it is a system or developer message with text only.
fn is_system(message: &Message) -> bool {
    matches!(message.role, Role::System | Role::Developer)
        && message.content.iter().all(|part| part.text().is_some())
}

impl ResponsesInput {
    /// Adds to the instructions.
    fn instruct(&mut self, text: &str) {
        if !self.instructions.is_empty() && !text.is_empty() {
            self.instructions.push_str("\n\n");
        }
        self.instructions.push_str(text);
    }

    /// Adds an item from the model.
    fn said(&mut self, item: Value, extra: &Extra, place: FieldLocation) {
        self.items.append(&mut self.thoughts);
        self.push(item, extra, place);
    }

    /// Adds an item from outside the model.
    fn heard(&mut self, item: Value, extra: &Extra, place: FieldLocation) {
        self.thoughts.clear();
        self.push(item, extra, place);
    }

    fn push(&mut self, mut item: Value, extra: &Extra, place: FieldLocation) {
        self.add_fields(&mut item, extra, place);
        self.items.push(item);
    }

    /// Adds unknown fields. Those that chat completions nest in inner objects do not exist in this
    /// API.
    fn add_fields(&self, item: &mut Value, extra: &Extra, place: FieldLocation) {
        let inner = ["function", "custom", "image_url", "file", CONTENT_PARTS];
        for (name, value) in carry::carried(extra, place, field(self.family))
            .filter(|(name, _)| !inner.contains(&name.as_str()))
        {
            item[name] = value.clone();
        }
    }

    fn message(&mut self, item: &Message, index: usize) -> Result<(), Fault> {
        let path = |number| format!("input[{index}].content[{number}]");
        let others = item.extra.get(CONTENT_PARTS).and_then(Value::as_array);
        let parts = |read: fn(&Self, &Part, &str) -> Result<Value, Fault>, input: &Self| {
            let parts = item.content.iter().enumerate();
            parts
                .map(|(number, part)| read(input, part, &path(number)))
                .collect::<Result<Vec<_>, _>>()
        };
        match item.role {
            // A response that was cancelled before its first text is left out.
            Role::Assistant
                if item.content.is_empty()
                    && carry::carried(&item.extra, FieldLocation::Message, field(self.family))
                        .next()
                        .is_none() => {}
            Role::Assistant => {
                let mut parts = parts(Self::model_part, self)?;
                parts.extend(others.into_iter().flatten().cloned());
                self.said(message(Role::Assistant, &parts), &item.extra, FieldLocation::Message);
            }
            role @ (Role::User | Role::System | Role::Developer) => {
                let parts = parts(Self::input_part, self)?;
                self.heard(message(role, &parts), &item.extra, FieldLocation::Message);
            }
        }
        Ok(())
    }

    /// A content part from the model.
    fn model_part(&self, part: &Part, path: &str) -> Result<Value, Fault> {
        match part {
            Part::OutputText { text, annotations, .. } => {
                let mut sent = json!({ "type": "output_text", "text": text });
                if !annotations.is_empty() {
                    sent["annotations"] = annotations.clone().into();
                }
                part.extra()
                    .into_iter()
                    .for_each(|extra| self.add_fields(&mut sent, extra, FieldLocation::Part));
                Ok(sent)
            }
            Part::InputText { text, .. }
            | Part::ReasoningText { text }
            | Part::SummaryText { text } => Ok(json!({ "type": "output_text", "text": text })),
            Part::Refusal { refusal } => Ok(json!({ "type": "refusal", "refusal": refusal })),
            Part::InputImage { .. } | Part::InputFile { .. } => Err(Fault::invalid(
                "unsupported_value",
                path,
                "This model's upstream does not accept images or files from the assistant.",
            )),
            Part::Opaque(fields) => Ok(fields.to_map().into()),
        }
    }

    /// A content part from outside the model.
    fn input_part(&self, part: &Part, path: &str) -> Result<Value, Fault> {
        let cannot = |field: &str, what: &str| {
            Err(Fault::invalid("unsupported_value", format!("{path}.{field}"), what))
        };
        let has_file_id = || part.extra().is_some_and(|extra| extra.get("file_id").is_some());
        let mut sent = match part {
            Part::InputText { text, .. }
            | Part::OutputText { text, .. }
            | Part::ReasoningText { text }
            | Part::SummaryText { text } => {
                json!({ "type": "input_text", "text": text })
            }
            Part::Refusal { refusal } => json!({ "type": "input_text", "text": refusal }),
            Part::InputImage { image_url: None, .. } if !has_file_id() => {
                return cannot(
                    "image_url",
                    "This model's upstream requires the image as a URL or a data URL.",
                );
            }
            Part::InputImage { image_url, detail, .. } => {
                let mut image = Map::new();
                image.insert("type".into(), "input_image".into());
                put(&mut image, "image_url", image_url.as_deref());
                image.insert("detail".into(), detail.as_str().into());
                image.into()
            }
            Part::InputFile { file_data: None, file_url: None, .. } if !has_file_id() => {
                return cannot(
                    "file_data",
                    "This model's upstream requires the file's content as a data URL, or its URL.",
                );
            }
            Part::InputFile { filename, file_data, file_url, .. } => {
                let mut file = Map::new();
                file.insert("type".into(), "input_file".into());
                put(&mut file, "filename", filename.as_deref());
                put(&mut file, "file_data", file_data.as_deref());
                put(&mut file, "file_url", file_url.as_deref());
                file.into()
            }
            Part::Opaque(fields) => return Ok(fields.to_map().into()),
        };
        part.extra()
            .into_iter()
            .for_each(|extra| self.add_fields(&mut sent, extra, FieldLocation::Part));
        Ok(sent)
    }

    fn output(&self, output: &FunctionOutput, index: usize) -> Result<Value, Fault> {
        match output {
            FunctionOutput::Text(text) => Ok(text.as_str().into()),
            FunctionOutput::Parts(parts) => {
                let parts = parts.iter().enumerate();
                parts
                    .map(|(number, part)| {
                        self.input_part(part, &format!("input[{index}].output[{number}]"))
                    })
                    .collect()
            }
        }
    }

    /// The upstream's own call id, shortened for OpenAI if it is from another vendor and too long.
    fn call_id(&self, call_id: &str) -> String {
        match self.family {
            ServerFamily::OpenAi | ServerFamily::Azure if call_id.len() > LONGEST_CALL_ID => {
                short_id(call_id)
            }
            ServerFamily::OpenAi | ServerFamily::Azure | ServerFamily::Compatible => {
                call_id.to_owned()
            }
        }
    }

    /// Reasoning in the upstream's form. No upstream accepts another's encrypted reasoning; servers
    /// of open models accept unencrypted reasoning.
    fn reasoning(&self, item: &Reasoning, upstream: &str) -> Option<Value> {
        let mut sent = match item.encrypted_content.as_deref() {
            Some(encrypted) => {
                let (id, encrypted_content) = sealed::open(upstream, encrypted)?;
                // Summaries were returned as reasoning if the caller had not requested a summary.
                let parts = if item.summary.is_empty() { &item.content } else { &item.summary };
                let summary: Vec<Value> = parts
                    .iter()
                    .filter_map(Part::text)
                    .map(|text| json!({ "type": "summary_text", "text": text }))
                    .collect();
                json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": encrypted_content })
            }
            None if self.family == ServerFamily::Compatible && !item.text().is_empty() => {
                let content = [json!({ "type": "reasoning_text", "text": item.text() })];
                json!({ "type": "reasoning", "id": item.id, "summary": [], "content": content })
            }
            None => return None,
        };
        self.add_fields(&mut sent, &item.extra, FieldLocation::Reasoning);
        Some(sent)
    }
}

/// A message without an id: Weir's ids are unknown upstream, and with its own ids the upstream
/// looks for the reasoning before it.
fn message(role: Role, content: &[Value]) -> Value {
    json!({ "type": "message", "role": role.as_str(), "content": content })
}
