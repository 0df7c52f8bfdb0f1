//! Translates a conversation to Anthropic's system prompt and messages.

use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Item, Message, Part, Reasoning, Role};
use serde_json::{Map, Value, json};

use super::super::carry::{self, FieldLocation};
use super::super::shared::{self, DataUrl, is_web_address, put};
use super::fields::field;
use super::thought::{REDACTED, SIGNATURE};
use crate::tools::{
    ConversationStep as Step, FunctionCallStep, FunctionResultStep, OfferedTools, turns,
};

/// The conversation translated so far.
#[derive(Debug, Default)]
pub(super) struct AnthropicMessages {
    system: Vec<Value>,
    turns: Vec<Turn>,
}

/// The role of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    User,
    Assistant,
}

#[derive(Debug)]
struct Turn {
    speaker: Speaker,
    /// Tool results come first in their message, and all results of one turn in one message.
    results: Vec<Value>,
    blocks: Vec<Value>,
}

impl Turn {
    fn is_empty(&self) -> bool {
        self.results.is_empty() && self.blocks.is_empty()
    }
}

impl AnthropicMessages {
    /// Adds to the system prompt. There is only one, so instructions from within the conversation
    /// move there.
    pub(super) fn instructions(&mut self, text: &str) {
        self.system.extend(text_block(text));
    }

    /// Translates the items in order.
    ///
    /// # Errors
    /// A content part that Anthropic does not support.
    pub(super) fn read(&mut self, context: &[Item], offer: &OfferedTools<'_>) -> Result<(), Fault> {
        for (index, step) in turns(context, offer) {
            match step {
                Step::Message(message) => self.message(message, index)?,
                Step::Call(call) => self.call(&call),
                Step::Output(output) => self.output(&output, index)?,
                Step::Reasoning(reasoning) => self.reasoning(reasoning),
                Step::Compaction(compaction) => self.instructions(&compaction.summary_message()),
                Step::Opaque(item) if is_block(&item.kind) => {
                    self.turn(Speaker::Assistant).blocks.push(item.upstream_form().into());
                }
                Step::Opaque(_) => {}
            }
        }
        Ok(())
    }

    /// The system prompt's blocks, and the messages.
    pub(super) fn finish(self) -> (Vec<Value>, Vec<Value>) {
        let mut turns: Vec<Turn> = Vec::new();
        for mut turn in self.turns {
            if turn.speaker == Speaker::Assistant {
                // A turn that was cut off after its reasoning: Anthropic rejects a message that
                // ends with reasoning.
                while turn.blocks.last().is_some_and(is_thought) {
                    turn.blocks.pop();
                }
            }
            match turns.last_mut() {
                _ if turn.is_empty() => {}
                Some(last) if last.speaker == turn.speaker => {
                    last.results.append(&mut turn.results);
                    last.blocks.append(&mut turn.blocks);
                }
                Some(_) | None => turns.push(turn),
            }
        }
        if let Some(last) = turns.last_mut().filter(|last| last.speaker == Speaker::Assistant) {
            trim_end(&mut last.blocks);
        }
        (self.system, turns.into_iter().map(message).collect())
    }

    fn message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        let speaker = match message.role {
            Role::User => Speaker::User,
            Role::Assistant => Speaker::Assistant,
            Role::System | Role::Developer => return self.system_message(message, index),
        };
        for (number, part) in message.content.iter().enumerate() {
            let block = content_block(part, &format!("input[{index}].content[{number}]"))?;
            self.turn(speaker).blocks.extend(block);
        }
        // A field on a message applies to its last block.
        if let Some(last) = self.turn(speaker).blocks.last_mut() {
            add_fields(last, &message.extra, FieldLocation::Message);
        }
        Ok(())
    }

    fn system_message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        for (number, part) in message.content.iter().enumerate() {
            let Some(text) = part.text() else {
                let what = "Anthropic accepts images and files from the user only.";
                return Err(Fault::invalid(
                    "unsupported_value",
                    format!("input[{index}].content[{number}]"),
                    what,
                ));
            };
            let block = text_block(text).map(|mut block| {
                part.extra()
                    .into_iter()
                    .for_each(|extra| add_fields(&mut block, extra, FieldLocation::Part));
                block
            });
            self.system.extend(block);
        }
        if let Some(last) = self.system.last_mut() {
            add_fields(last, &message.extra, FieldLocation::Message);
        }
        Ok(())
    }

    fn call(&mut self, call: &FunctionCallStep<'_>) {
        let input = shared::arguments(&call.arguments);
        let mut block =
            json!({ "type": "tool_use", "id": fit_id(call.id), "name": call.name, "input": input });
        call.extra.into_iter().for_each(|extra| add_fields(&mut block, extra, FieldLocation::Call));
        self.turn(Speaker::Assistant).blocks.push(block);
    }

    fn output(&mut self, output: &FunctionResultStep<'_>, index: usize) -> Result<(), Fault> {
        let content: Value = match &*output.content {
            FunctionOutput::Text(text) => text.as_str().into(),
            FunctionOutput::Parts(parts) => {
                let mut blocks = Vec::new();
                for (number, part) in parts.iter().enumerate() {
                    blocks
                        .extend(content_block(part, &format!("input[{index}].output[{number}]"))?);
                }
                blocks.into()
            }
        };
        let mut result = json!({ "type": "tool_result", "tool_use_id": fit_id(output.call_id), "content": content });
        output
            .extra
            .into_iter()
            .for_each(|extra| add_fields(&mut result, extra, FieldLocation::Output));
        self.turn(Speaker::User).results.push(result);
        Ok(())
    }

    /// Sends reasoning back unchanged, with its signature. Reasoning without an Anthropic signature
    /// comes from another vendor and is left out, because Anthropic would reject it.
    fn reasoning(&mut self, reasoning: &Reasoning) {
        let encrypted = reasoning.encrypted_content.as_deref().unwrap_or_default();
        let block = if let Some(signature) = encrypted.strip_prefix(SIGNATURE) {
            json!({ "type": "thinking", "thinking": reasoning.text(), "signature": signature })
        } else if let Some(data) = encrypted.strip_prefix(REDACTED) {
            json!({ "type": "redacted_thinking", "data": data })
        } else {
            return;
        };
        self.turn(Speaker::Assistant).blocks.push(block);
    }

    /// The message that the next content of `speaker` belongs to.
    fn turn(&mut self, speaker: Speaker) -> &mut Turn {
        let is_other = self.turns.last().is_none_or(|last| last.speaker != speaker);
        if is_other {
            self.turns.push(Turn { speaker, results: Vec::new(), blocks: Vec::new() });
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }
}

fn message(turn: Turn) -> Value {
    let role = match turn.speaker {
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
    };
    let content = [turn.results, turn.blocks].concat();
    json!({ "role": role, "content": content })
}

/// Whether an item is a block of a tool that Anthropic ran, or its result, which is sent back in
/// place.
pub(super) fn is_block(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "mcp_tool_use" | "container_upload")
        || kind.ends_with("_tool_result")
}

/// Whether reasoning has an Anthropic signature.
pub(super) fn is_signed(reasoning: &Reasoning) -> bool {
    reasoning.encrypted_content.as_deref().is_some_and(|encrypted| {
        encrypted.starts_with(SIGNATURE) || encrypted.starts_with(REDACTED)
    })
}

fn is_thought(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

/// Anthropic rejects a final assistant message that ends with white space.
fn trim_end(blocks: &mut [Value]) {
    if let Some(text) = blocks.last_mut().and_then(|block| block.get_mut("text")) {
        *text = text.as_str().unwrap_or_default().trim_end().into();
    }
}

/// A text block; `None` if the text is only white space, which Anthropic rejects.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

/// Adds the unknown fields that Anthropic supports there.
fn add_fields(block: &mut Value, extra: &Extra, place: FieldLocation) {
    for (name, value) in carry::carried(extra, place, field) {
        block[name] = value.clone();
    }
}

fn content_block(part: &Part, path: &str) -> Result<Option<Value>, Fault> {
    let block = match part {
        Part::InputText { text, .. }
        | Part::OutputText { text, .. }
        | Part::ReasoningText { text }
        | Part::SummaryText { text } => text_block(text),
        Part::Refusal { refusal } => text_block(refusal),
        Part::InputImage { image_url, .. } => {
            Some(image(image_url.as_deref().unwrap_or_default(), path)?)
        }
        Part::InputFile { filename, file_data, file_url, .. } => {
            Some(file(filename.as_deref(), file_data.as_deref(), file_url.as_deref(), path)?)
        }
        Part::Opaque(fields) => {
            let what = format!(
                "Anthropic, which serves this model, does not support '{}'.",
                fields.text("type").unwrap_or_default()
            );
            return Err(Fault::invalid("unsupported_value", format!("{path}.type"), what));
        }
    };
    Ok(block.map(|mut block| {
        part.extra()
            .into_iter()
            .for_each(|extra| add_fields(&mut block, extra, FieldLocation::Part));
        block
    }))
}

fn image(url: &str, path: &str) -> Result<Value, Fault> {
    let source = if let Some(DataUrl { media_type, data }) = DataUrl::read(url) {
        json!({ "type": "base64", "media_type": media_type, "data": data })
    } else if is_web_address(url) {
        json!({ "type": "url", "url": url })
    } else {
        let what = "Anthropic accepts an image as a URL, or as a base64 data URL.";
        return Err(Fault::invalid("unsupported_value", format!("{path}.image_url"), what));
    };
    Ok(json!({ "type": "image", "source": source }))
}

fn file(
    name: Option<&str>,
    data: Option<&str>,
    url: Option<&str>,
    path: &str,
) -> Result<Value, Fault> {
    let source = match (data.and_then(DataUrl::of_file), url) {
        (Some(DataUrl { media_type: "application/pdf", data }), _) => {
            json!({ "type": "base64", "media_type": "application/pdf", "data": data })
        }
        (None, Some(url)) if data.is_none() && is_web_address(url) => {
            json!({ "type": "url", "url": url })
        }
        (Some(_) | None, _) => {
            let what = "Anthropic accepts PDF files only, as a URL or a base64 data URL. Send text as text.";
            return Err(Fault::invalid("unsupported_value", format!("{path}.file_data"), what));
        }
    };
    let mut block = Map::new();
    block.insert("type".into(), "document".into());
    block.insert("source".into(), source);
    put(&mut block, "title", name);
    Ok(block.into())
}

/// A valid call id. Anthropic accepts letters, digits, `_` and `-`; other vendors' ids contain more
/// (`functions.f:0`).
fn fit_id(call_id: &str) -> String {
    let fit = |character: char| {
        if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' }
    };
    call_id.chars().map(fit).collect()
}
