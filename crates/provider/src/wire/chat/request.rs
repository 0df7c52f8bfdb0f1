//! Turns a request into the body of `POST /chat/completions`; no I/O.

use std::mem;

use engine::provider::ModelRequest;
use protocol::fault::Fault;
use protocol::item::{FunctionCall, FunctionCallOutput, FunctionOutput, Item, Message, Part, Reasoning, Role};
use protocol::request::{Create, FunctionTool, TextFormat, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::super::family::Family;
use super::super::shared::{is_abandoned, put};

/// What Weir itself decides; `extra` cannot change it.
const OURS: &[&str] = &["model", "messages", "stream", "stream_options", "n"];

/// Whether earlier thoughts go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoughts {
    /// Most servers refuse or ignore them.
    Never,
    /// With the calls they led to: without them, thinking models refuse to go on behind their tools (DeepSeek, Moonshot).
    WithCalls,
}

/// The body of the request.
///
/// # Errors
/// An input that this wire has no word for.
pub(super) fn body(request: &ModelRequest, family: Family, thoughts: Thoughts) -> Result<Value, Fault> {
    let create = &*request.create;
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    body.insert("messages".into(), messages(request, family, thoughts)?.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), stream_options(family));
    tools(create, &mut body);
    text(create, &mut body);
    sampling(create, family, &mut body);
    if family != Family::Compatible {
        account(create, &mut body);
    }
    for (name, value) in &create.extra {
        if !OURS.contains(&name.as_str()) {
            body.insert(name.clone(), value.clone());
        }
    }
    Ok(body.into())
}

fn stream_options(family: Family) -> Value {
    match family {
        // Padding against eavesdroppers who measure lengths: half of the bytes, for a line that TLS has to our own server.
        Family::OpenAi => json!({ "include_usage": true, "include_obfuscation": false }),
        Family::Azure | Family::Compatible => json!({ "include_usage": true }),
    }
}

fn messages(request: &ModelRequest, family: Family, thoughts: Thoughts) -> Result<Vec<Value>, Fault> {
    let mut messages = Messages { list: Vec::new(), family, thoughts: String::new() };
    if let Some(instructions) = request.create.instructions.as_ref().filter(|text| !text.is_empty()) {
        messages.list.push(json!({ "role": "system", "content": instructions }));
    }
    for (index, item) in request.context.iter().enumerate() {
        match item {
            Item::Message(message) => messages.message(message, index)?,
            Item::FunctionCall(call) if is_abandoned(call, &request.context) => {}
            Item::FunctionCall(call) => messages.call(call),
            Item::FunctionCallOutput(output) => messages.output(output, index)?,
            Item::Reasoning(reasoning) if thoughts == Thoughts::WithCalls => messages.think(reasoning),
            Item::Reasoning(_) => {}
            Item::Compaction(compaction) => messages.list.push(json!({ "role": "system", "content": compaction.told() })),
        }
    }
    Ok(messages.list)
}

/// The messages so far. One assistant message takes all calls of a turn, and what was said beside them.
struct Messages {
    list: Vec<Value>,
    family: Family,
    /// What was thought before a call that has not come yet.
    thoughts: String,
}

impl Messages {
    fn message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        let content = content(&message.content, message.role, self.family, index)?;
        if message.role == Role::Assistant
            && let Some(last) = self.assistant_with_calls()
        {
            last["content"] = merge(&last["content"], &content);
            return Ok(());
        }
        if message.role != Role::Assistant {
            self.thoughts.clear();
        }
        let role = match (message.role, self.family) {
            // `developer` is OpenAI's own word; templates of open models know `system` only.
            (Role::Developer, Family::Compatible) => "system",
            (role, _) => role.as_str(),
        };
        self.list.push(json!({ "role": role, "content": content }));
        Ok(())
    }

    fn call(&mut self, call: &FunctionCall) {
        // A model that needs no arguments may have written none; servers parse them, and an empty text is no JSON.
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        let call = json!({ "id": call.call_id, "type": "function", "function": { "name": call.name, "arguments": arguments } });
        if self.list.last().is_none_or(|last| last["role"] != "assistant") {
            self.list.push(json!({ "role": "assistant", "content": null }));
        }
        if let Some(Value::Object(last)) = self.list.last_mut() {
            let calls = last.entry("tool_calls").or_insert_with(|| Vec::<Value>::new().into());
            if let Some(calls) = calls.as_array_mut() {
                calls.push(call);
            }
            if !self.thoughts.is_empty() {
                last.insert("reasoning_content".to_owned(), mem::take(&mut self.thoughts).into());
            }
        }
    }

    fn think(&mut self, reasoning: &Reasoning) {
        self.thoughts.extend(reasoning.content.iter().filter_map(Part::text));
    }

    fn output(&mut self, output: &FunctionCallOutput, index: usize) -> Result<(), Fault> {
        let content = match &output.output {
            FunctionOutput::Text(text) => text.as_str().into(),
            FunctionOutput::Parts(parts) if parts.iter().all(|part| part.text().is_some()) => output.output.text().into(),
            // Few servers take pictures here; those that do not will say so.
            FunctionOutput::Parts(parts) => content(parts, Role::User, self.family, index)?,
        };
        self.list.push(json!({ "role": "tool", "tool_call_id": output.call_id, "content": content }));
        Ok(())
    }

    /// The last message, if it calls: its outputs have to follow at once, so no second one may come between.
    fn assistant_with_calls(&mut self) -> Option<&mut Value> {
        self.list.last_mut().filter(|last| last["role"] == "assistant" && last.get("tool_calls").is_some())
    }
}

fn merge(before: &Value, after: &Value) -> Value {
    match (before.as_str(), after.as_str()) {
        (Some(before), Some(after)) => format!("{before}\n\n{after}").into(),
        _ if before.is_null() => after.clone(),
        _ => [into_parts(before), into_parts(after)].concat().into(),
    }
}

fn into_parts(content: &Value) -> Vec<Value> {
    match content.as_str() {
        Some(text) => vec![json!({ "type": "text", "text": text })],
        None => content.as_array().cloned().unwrap_or_default(),
    }
}

/// The content: a text where one part is all there is, a list otherwise.
fn content(parts: &[Part], role: Role, family: Family, index: usize) -> Result<Value, Fault> {
    let is_all_text =
        parts.iter().all(|part| part.text().is_some() && !(matches!(part, Part::Refusal { .. }) && family != Family::Compatible));
    // Several compatible servers take nothing but a text from the assistant.
    if is_all_text && (parts.len() <= 1 || role == Role::Assistant) {
        return Ok(parts.iter().filter_map(Part::text).collect::<String>().into());
    }
    let parts = parts.iter().enumerate();
    parts.map(|(number, part)| content_part(part, family, &format!("input[{index}].content[{number}]"))).collect()
}

fn content_part(part: &Part, family: Family, path: &str) -> Result<Value, Fault> {
    let cannot = |field: &str, what: &str| Err(Fault::invalid("unsupported_value", format!("{path}.{field}"), what));
    match part {
        Part::InputText { text } | Part::OutputText { text, .. } | Part::ReasoningText { text } | Part::SummaryText { text } => {
            Ok(json!({ "type": "text", "text": text }))
        }
        Part::Refusal { refusal } => match family {
            Family::OpenAi | Family::Azure => Ok(json!({ "type": "refusal", "refusal": refusal })),
            Family::Compatible => Ok(json!({ "type": "text", "text": refusal })),
        },
        Part::InputImage { image_url: Some(url), detail } => {
            Ok(json!({ "type": "image_url", "image_url": { "url": url, "detail": detail } }))
        }
        Part::InputImage { image_url: None, .. } => cannot("image_url", "This model's upstream needs the image as a URL or a data URL."),
        Part::InputFile { filename, file_data: Some(data), .. } => {
            let mut file = Map::new();
            put(&mut file, "filename", filename.clone());
            put(&mut file, "file_data", Some(data.as_str()));
            Ok(json!({ "type": "file", "file": file }))
        }
        Part::InputFile { file_data: None, .. } => cannot("file_data", "This model's upstream needs the file itself, as a data URL."),
    }
}

fn tools(create: &Create, body: &mut Map<String, Value>) {
    // Only OpenAI's newest models know `allowed_tools`: sending just the allowed ones means the same everywhere.
    let is_sent = |tool: &&FunctionTool| match &create.tool_choice {
        ToolChoice::Allowed(allowed) => allowed.tools.iter().any(|named| named.name == tool.name),
        ToolChoice::Mode(_) | ToolChoice::Function(_) => true,
    };
    let tools: Vec<Value> = create.tools.iter().filter(is_sent).map(tool).collect();
    if tools.is_empty() {
        return;
    }
    let choice = match &create.tool_choice {
        ToolChoice::Function(function) => json!({ "type": "function", "function": { "name": function.name } }),
        ToolChoice::Mode(_) | ToolChoice::Allowed(_) => match create.tool_choice.mode() {
            ToolMode::None => "none".into(),
            ToolMode::Auto => "auto".into(),
            ToolMode::Required => "required".into(),
        },
    };
    body.insert("tools".into(), tools.into());
    body.insert("tool_choice".into(), choice);
    put(body, "parallel_tool_calls", create.parallel_tool_calls);
}

fn tool(tool: &FunctionTool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    put(&mut function, "description", tool.description.as_deref());
    put(&mut function, "parameters", tool.parameters.clone());
    put(&mut function, "strict", tool.strict);
    json!({ "type": "function", "function": function })
}

fn text(create: &Create, body: &mut Map<String, Value>) {
    let format = match &create.text.format {
        TextFormat::Text => None,
        TextFormat::JsonObject => Some(json!({ "type": "json_object" })),
        TextFormat::JsonSchema { name, description, schema, strict } => {
            let mut form = Map::new();
            form.insert("name".into(), name.as_str().into());
            put(&mut form, "description", description.as_deref());
            form.insert("schema".into(), schema.clone());
            form.insert("strict".into(), (*strict).into());
            Some(json!({ "type": "json_schema", "json_schema": form }))
        }
    };
    put(body, "response_format", format);
    put(body, "verbosity", create.text.verbosity.as_deref());
}

fn sampling(create: &Create, family: Family, body: &mut Map<String, Value>) {
    put(body, "reasoning_effort", create.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref()));
    put(body, "temperature", create.temperature);
    put(body, "top_p", create.top_p);
    put(body, "presence_penalty", create.presence_penalty);
    put(body, "frequency_penalty", create.frequency_penalty);
    let wants_logprobs = create.top_logprobs.is_some() || create.include.iter().any(|word| word == "message.output_text.logprobs");
    put(body, "logprobs", wants_logprobs.then_some(true));
    put(body, "top_logprobs", create.top_logprobs);
    let limit = match family {
        Family::OpenAi | Family::Azure => "max_completion_tokens",
        Family::Compatible => "max_tokens",
    };
    put(body, limit, create.max_output_tokens);
}

/// What is between the operator and OpenAI; others have no such account, and some refuse unknown fields.
fn account(create: &Create, body: &mut Map<String, Value>) {
    // Said in any case: for newer accounts OpenAI's own default is to keep.
    body.insert("store".into(), create.store.into());
    // OpenAI takes notes only on what it keeps.
    put(body, "metadata", (create.store && !create.metadata.is_empty()).then(|| create.metadata.clone()));
    put(body, "service_tier", create.service_tier.as_deref());
    put(body, "safety_identifier", create.safety_identifier.as_deref());
    put(body, "prompt_cache_key", create.prompt_cache_key.as_deref());
}

#[cfg(test)]
mod tests;
