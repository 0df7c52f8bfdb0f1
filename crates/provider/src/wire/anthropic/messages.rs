//! Turns a conversation into Anthropic's system prompt and its turns of user and assistant.

use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Item, Message, Part, Reasoning, Role};
use serde_json::{Map, Value, json};

use super::super::carry::{self, Place};
use super::super::shared::{self, DataUrl, is_web_address, put};
use super::fields::field;
use super::thought::{REDACTED, SIGNATURE};
use crate::tools::{Call, Offer, Output, Turn as Step, turns};

/// What was read of a conversation so far.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    system: Vec<Value>,
    turns: Vec<Turn>,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    User,
    Assistant,
}

#[derive(Debug)]
struct Turn {
    speaker: Speaker,
    /// Results of the calls before it: they have to come first, and all of one turn in one message.
    results: Vec<Value>,
    blocks: Vec<Value>,
}

impl Turn {
    fn is_empty(&self) -> bool {
        self.results.is_empty() && self.blocks.is_empty()
    }
}

impl Conversation {
    /// Adds to the system prompt. There is one, at the top: instructions from the middle of a conversation move there.
    pub(super) fn instructions(&mut self, text: &str) {
        self.system.extend(text_block(text));
    }

    /// Reads the items in their order.
    ///
    /// # Errors
    /// A part that Anthropic has no word for.
    pub(super) fn read(&mut self, context: &[Item], offer: &Offer<'_>) -> Result<(), Fault> {
        for (index, step) in turns(context, offer) {
            match step {
                Step::Message(message) => self.message(message, index)?,
                Step::Call(call) => self.call(&call),
                Step::Output(output) => self.output(&output, index)?,
                Step::Reasoning(reasoning) => self.reasoning(reasoning),
                Step::Compaction(compaction) => self.instructions(&compaction.told()),
                Step::Opaque(item) if is_block(&item.kind) => self.turn(Speaker::Assistant).blocks.push(item.upstream_form().into()),
                Step::Opaque(_) => {}
            }
        }
        Ok(())
    }

    /// The blocks of the system prompt, and the messages.
    pub(super) fn finish(self) -> (Vec<Value>, Vec<Value>) {
        let mut turns: Vec<Turn> = Vec::new();
        for mut turn in self.turns {
            if turn.speaker == Speaker::Assistant {
                // A turn that was cut behind its thoughts: Anthropic refuses one that ends with them.
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
        // A mark on a message is one on its last block.
        if let Some(last) = self.turn(speaker).blocks.last_mut() {
            add_fields(last, &message.extra, Place::Message);
        }
        Ok(())
    }

    fn system_message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        for (number, part) in message.content.iter().enumerate() {
            let Some(text) = part.text() else {
                let what = "Anthropic takes images and files from the user only.";
                return Err(Fault::invalid("unsupported_value", format!("input[{index}].content[{number}]"), what));
            };
            let block = text_block(text).map(|mut block| {
                part.extra().into_iter().for_each(|extra| add_fields(&mut block, extra, Place::Part));
                block
            });
            self.system.extend(block);
        }
        if let Some(last) = self.system.last_mut() {
            add_fields(last, &message.extra, Place::Message);
        }
        Ok(())
    }

    fn call(&mut self, call: &Call<'_>) {
        let input = shared::arguments(&call.arguments);
        let mut block = json!({ "type": "tool_use", "id": fit_id(call.id), "name": call.name, "input": input });
        call.extra.into_iter().for_each(|extra| add_fields(&mut block, extra, Place::Call));
        self.turn(Speaker::Assistant).blocks.push(block);
    }

    fn output(&mut self, output: &Output<'_>, index: usize) -> Result<(), Fault> {
        let content: Value = match &*output.content {
            FunctionOutput::Text(text) => text.as_str().into(),
            FunctionOutput::Parts(parts) => {
                let mut blocks = Vec::new();
                for (number, part) in parts.iter().enumerate() {
                    blocks.extend(content_block(part, &format!("input[{index}].output[{number}]"))?);
                }
                blocks.into()
            }
        };
        let mut result = json!({ "type": "tool_result", "tool_use_id": fit_id(output.call_id), "content": content });
        output.extra.into_iter().for_each(|extra| add_fields(&mut result, extra, Place::Output));
        self.turn(Speaker::User).results.push(result);
        Ok(())
    }

    /// Thoughts go back as they came, with their signature. Those without one of Anthropic's are somebody else's: they are
    /// left out, since Anthropic would refuse them.
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

    /// The turn that takes what `speaker` says next.
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

/// Whether an item is a block of Anthropic's own, which goes back where it stood: a call that Anthropic ran itself, or what it gave.
pub(super) fn is_block(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "mcp_tool_use" | "container_upload") || kind.ends_with("_tool_result")
}

/// Whether thoughts are Anthropic's own.
pub(super) fn is_signed(reasoning: &Reasoning) -> bool {
    reasoning.encrypted_content.as_deref().is_some_and(|encrypted| encrypted.starts_with(SIGNATURE) || encrypted.starts_with(REDACTED))
}

fn is_thought(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

/// A conversation that ends with the assistant is to be continued, and Anthropic refuses white space at its end.
fn trim_end(blocks: &mut [Value]) {
    if let Some(text) = blocks.last_mut().and_then(|block| block.get_mut("text")) {
        *text = text.as_str().unwrap_or_default().trim_end().into();
    }
}

/// A block of text; none where there is nothing but white space, which Anthropic refuses.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

/// Adds the fields beyond the vocabulary that Anthropic takes there.
fn add_fields(block: &mut Value, extra: &Extra, place: Place) {
    for (name, value) in carry::carried(extra, place, field) {
        block[name] = value.clone();
    }
}

fn content_block(part: &Part, path: &str) -> Result<Option<Value>, Fault> {
    let block = match part {
        Part::InputText { text, .. } | Part::OutputText { text, .. } | Part::ReasoningText { text } | Part::SummaryText { text } => {
            text_block(text)
        }
        Part::Refusal { refusal } => text_block(refusal),
        Part::InputImage { image_url, .. } => Some(image(image_url.as_deref().unwrap_or_default(), path)?),
        Part::InputFile { filename, file_data, file_url, .. } => {
            Some(file(filename.as_deref(), file_data.as_deref(), file_url.as_deref(), path)?)
        }
        Part::Opaque(fields) => {
            let what = format!("Anthropic, which serves this model, does not support '{}'.", fields.text("type").unwrap_or_default());
            return Err(Fault::invalid("unsupported_value", format!("{path}.type"), what));
        }
    };
    Ok(block.map(|mut block| {
        part.extra().into_iter().for_each(|extra| add_fields(&mut block, extra, Place::Part));
        block
    }))
}

fn image(url: &str, path: &str) -> Result<Value, Fault> {
    let source = if let Some(DataUrl { media_type, data }) = DataUrl::read(url) {
        json!({ "type": "base64", "media_type": media_type, "data": data })
    } else if is_web_address(url) {
        json!({ "type": "url", "url": url })
    } else {
        let what = "Anthropic takes an image as a URL, or as a data URL in base64.";
        return Err(Fault::invalid("unsupported_value", format!("{path}.image_url"), what));
    };
    Ok(json!({ "type": "image", "source": source }))
}

fn file(name: Option<&str>, data: Option<&str>, url: Option<&str>, path: &str) -> Result<Value, Fault> {
    let source = match (data.and_then(DataUrl::of_file), url) {
        (Some(DataUrl { media_type: "application/pdf", data }), _) => {
            json!({ "type": "base64", "media_type": "application/pdf", "data": data })
        }
        (None, Some(url)) if data.is_none() && is_web_address(url) => json!({ "type": "url", "url": url }),
        (Some(_) | None, _) => {
            let what = "Anthropic takes a PDF as a file: a URL, or a data URL in base64. Text can be sent as text.";
            return Err(Fault::invalid("unsupported_value", format!("{path}.file_data"), what));
        }
    };
    let mut block = Map::new();
    block.insert("type".into(), "document".into());
    block.insert("source".into(), source);
    put(&mut block, "title", name);
    Ok(block.into())
}

/// The name of a call. Anthropic takes letters, digits, `_` and `-`; those of other vendors hold more (`functions.f:0`).
fn fit_id(call_id: &str) -> String {
    let fit = |character: char| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' };
    call_id.chars().map(fit).collect()
}
