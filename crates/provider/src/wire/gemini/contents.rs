//! Translates a conversation to Gemini's system instruction and contents.

use std::collections::HashMap;

use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Item, Message, Part, Reasoning, Role};
use serde_json::{Map, Value, json};

use super::super::shared::{self, DataUrl, is_web_address, put};
use super::model::Thinking;
use super::names::{EXTRA_CONTENT, PARTS, SIGNATURE};
use crate::tools::{ConversationStep, FunctionCallStep, FunctionResultStep, OfferedTools, turns};

/// Google's documented placeholder for calls by other models: since Gemini 3, a conversation is
/// rejected if the first call of a step has no signature.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The conversation translated so far.
#[derive(Debug)]
pub(super) struct GeminiContents {
    thinking: Thinking,
    system: Vec<Value>,
    list: Vec<Content>,
    /// The signature of the next part.
    signature: Option<String>,
}

/// The role of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentRole {
    User,
    /// Function results: Gemini requires one for each call, and nothing else between them.
    Functions,
    Model,
}

#[derive(Debug)]
struct Content {
    kind: ContentRole,
    parts: Vec<Value>,
    /// Whether the parts include a call.
    has_call: bool,
}

impl GeminiContents {
    /// The contents for a model with this kind of reasoning.
    pub(super) fn new(thinking: Thinking) -> Self {
        Self { thinking, system: Vec::new(), list: Vec::new(), signature: None }
    }

    /// Adds to the system instruction. There is only one, so instructions from within the
    /// conversation move there.
    pub(super) fn instructions(&mut self, text: &str) {
        self.system.extend(text_part(text));
    }

    /// Translates the items in order.
    ///
    /// # Errors
    /// A content part that Gemini does not support.
    pub(super) fn read(&mut self, context: &[Item], offer: &OfferedTools<'_>) -> Result<(), Fault> {
        let steps = turns(context, offer);
        // The functions' names by call id.
        let calls: HashMap<&str, String> =
            steps.iter().rev().filter_map(|(_, step)| called(step)).collect();
        let mut last = None;
        for (index, step) in &steps {
            // A signature before an item that is left out is left out with it.
            if last.is_some_and(|last| index - last > 1) {
                self.signature = None;
            }
            last = Some(*index);
            match step {
                ConversationStep::Message(message) => self.message(message, *index)?,
                ConversationStep::Call(call) => self.call(call),
                ConversationStep::Output(output) => self.output(output, &calls, *index)?,
                ConversationStep::Reasoning(reasoning) => self.reasoning(reasoning),
                ConversationStep::Compaction(compaction) => {
                    self.instructions(&compaction.summary_message());
                }
                ConversationStep::Opaque(item) => {
                    if let Some(url) = shared::image_url(item)
                        && let Some(part) = media_part(DataUrl::read(&url), &url)
                    {
                        self.push(ContentRole::Model, part);
                    } else if let Some((_, field)) =
                        PARTS.iter().find(|(kind, _)| *kind == item.kind)
                    {
                        let mut part = item.upstream_form();
                        part.shift_remove("type");
                        self.push(ContentRole::Model, json!({ *field: part }));
                    }
                }
            }
        }
        Ok(())
    }

    /// The system instruction's parts, and the contents.
    pub(super) fn finish(mut self) -> (Vec<Value>, Vec<Value>) {
        self.end_model_turn();
        let content = |Content { kind, parts, .. }| {
            let role = match kind {
                ContentRole::User | ContentRole::Functions => "user",
                ContentRole::Model => "model",
            };
            json!({ "role": role, "parts": parts })
        };
        (self.system, self.list.into_iter().map(content).collect())
    }

    fn message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        let kind = match message.role {
            Role::User => ContentRole::User,
            Role::Assistant => ContentRole::Model,
            Role::System | Role::Developer => return self.system_message(message, index),
        };
        for (number, part) in message.content.iter().enumerate() {
            if let Some(part) = content_part(part, &format!("input[{index}].content[{number}]"))? {
                self.push(kind, part);
            }
        }
        Ok(())
    }

    fn system_message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        for (number, part) in message.content.iter().enumerate() {
            let Some(text) = part.text() else {
                let what = "Gemini accepts images and files from the user only.";
                return Err(Fault::invalid(
                    "unsupported_value",
                    format!("input[{index}].content[{number}]"),
                    what,
                ));
            };
            self.instructions(text);
        }
        Ok(())
    }

    fn call(&mut self, call: &FunctionCallStep<'_>) {
        let signature = call.extra.and_then(|extra| {
            extra.get(EXTRA_CONTENT)?.pointer("/google/thought_signature")?.as_str()
        });
        self.signature = self.signature.take().or(signature.map(str::to_owned));
        let is_first =
            self.list.last().is_none_or(|last| last.kind != ContentRole::Model || !last.has_call);
        if self.thinking == Thinking::Level && is_first && self.signature.is_none() {
            self.signature = Some(NO_SIGNATURE.to_owned());
        }
        let call =
            json!({ "id": call.id, "name": call.name, "args": shared::arguments(&call.arguments) });
        self.push(ContentRole::Model, json!({ "functionCall": call }));
    }

    fn output(
        &mut self,
        output: &FunctionResultStep<'_>,
        calls: &HashMap<&str, String>,
        index: usize,
    ) -> Result<(), Fault> {
        let Some(name) = calls.get(output.call_id) else {
            let what = "Gemini matches outputs to calls by the function's name, and there is no call with this call_id.";
            return Err(Fault::invalid("invalid_value", format!("input[{index}].call_id"), what));
        };
        let mut response = Map::new();
        response.insert("id".into(), output.call_id.into());
        response.insert("name".into(), name.as_str().into());
        response.insert("response".into(), result(&output.content));
        let media = media(&output.content, index)?;
        put(&mut response, "parts", (!media.is_empty()).then_some(media));
        self.push(ContentRole::Functions, json!({ "functionResponse": response }));
        Ok(())
    }

    /// Gemini requires a signature back in the part it came with, and not the reasoning itself.
    /// Other vendors' signatures are left out.
    fn reasoning(&mut self, reasoning: &Reasoning) {
        let signature = reasoning
            .encrypted_content
            .as_deref()
            .and_then(|encrypted| encrypted.strip_prefix(SIGNATURE));
        if let Some(signature) = signature {
            self.end_model_turn();
            self.signature = Some(signature.to_owned());
        }
    }

    fn push(&mut self, kind: ContentRole, mut part: Value) {
        match kind {
            ContentRole::Model => {
                if let Some(signature) = self.signature.take() {
                    part["thoughtSignature"] = signature.into();
                }
            }
            ContentRole::User | ContentRole::Functions => self.end_model_turn(),
        }
        match self.list.last_mut() {
            Some(last) if last.kind == kind => {
                last.has_call |= is_call(&part);
                last.parts.push(part);
            }
            Some(_) | None => {
                self.list.push(Content { kind, has_call: is_call(&part), parts: vec![part] });
            }
        }
    }

    /// A signature after the last text came with an empty text part, and is sent back like that. It
    /// can only follow the model's own content.
    fn end_model_turn(&mut self) {
        if let (Some(signature), Some(Content { kind: ContentRole::Model, parts, .. })) =
            (self.signature.take(), self.list.last_mut())
        {
            parts.push(json!({ "text": "", "thoughtSignature": signature }));
        }
    }
}

/// The id and function of a call.
fn called<'a>(step: &ConversationStep<'a>) -> Option<(&'a str, String)> {
    let ConversationStep::Call(call) = step else { return None };
    Some((call.id, call.name.to_string()))
}

fn is_call(part: &Value) -> bool {
    part.get("functionCall").is_some()
}

/// A function's result, as the object that Gemini requires.
fn result(output: &FunctionOutput) -> Value {
    let text = output.text();
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => object.into(),
        Ok(_) | Err(_) => json!({ "output": text }),
    }
}

/// Images and files in a function's result.
fn media(output: &FunctionOutput, index: usize) -> Result<Vec<Value>, Fault> {
    let FunctionOutput::Parts(parts) = output else { return Ok(Vec::new()) };
    let media = parts.iter().enumerate().filter(|(_, part)| part.text().is_none());
    media
        .filter_map(|(number, part)| {
            content_part(part, &format!("input[{index}].output[{number}]")).transpose()
        })
        .collect()
}

fn text_part(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({ "text": text }))
}

fn content_part(part: &Part, path: &str) -> Result<Option<Value>, Fault> {
    let (data, url, field) = match part {
        Part::InputText { text, .. }
        | Part::OutputText { text, .. }
        | Part::ReasoningText { text }
        | Part::SummaryText { text } => {
            return Ok(text_part(text));
        }
        Part::Refusal { refusal } => return Ok(text_part(refusal)),
        Part::InputImage { image_url, .. } => {
            let url = image_url.as_deref().unwrap_or_default();
            (DataUrl::read(url), url, "image_url")
        }
        Part::InputFile { file_data, file_url, .. } => (
            file_data.as_deref().and_then(DataUrl::of_file),
            file_url.as_deref().unwrap_or_default(),
            "file_data",
        ),
        Part::Opaque(fields) => {
            let Some(part) = audio_part(fields) else {
                let what = format!(
                    "Gemini, which serves this model, does not support '{}'.",
                    fields.text("type").unwrap_or_default()
                );
                return Err(Fault::invalid("unsupported_value", format!("{path}.type"), what));
            };
            return Ok(Some(part));
        }
    };
    let Some(part) = media_part(data, url) else {
        let what = "Gemini accepts an image or a file as a URL, or as a base64 data URL.";
        return Err(Fault::invalid("unsupported_value", format!("{path}.{field}"), what));
    };
    Ok(Some(part))
}

/// Inline data or a URL; `None` without either.
fn media_part(data: Option<DataUrl<'_>>, url: &str) -> Option<Value> {
    if let Some(DataUrl { media_type, data }) = data {
        return Some(json!({ "inlineData": { "mimeType": media_type, "data": data } }));
    }
    if !is_web_address(url) {
        return None;
    }
    let mut file = Map::new();
    file.insert("fileUri".into(), url.into());
    put(&mut file, "mimeType", media_type_of(url));
    Some(json!({ "fileData": file }))
}

/// Audio in OpenAI's format (`input_audio`).
fn audio_part(fields: &Extra) -> Option<Value> {
    let audio = fields.get("input_audio").filter(|_| fields.text("type") == Some("input_audio"))?;
    let text = |name: &str| audio.get(name).and_then(Value::as_str);
    let media_type = match text("format")? {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    };
    Some(json!({ "inlineData": { "mimeType": media_type, "data": text("data")? } }))
}

/// The media type for a URL's file extension; without one, Gemini detects it or rejects the file.
fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "gif" => Some("image/gif"),
        "heic" => Some("image/heic"),
        "pdf" => Some("application/pdf"),
        "txt" => Some("text/plain"),
        "md" => Some("text/markdown"),
        "csv" => Some("text/csv"),
        "mp3" => Some("audio/mpeg"),
        "wav" => Some("audio/wav"),
        "mp4" => Some("video/mp4"),
        _ => None,
    }
}
