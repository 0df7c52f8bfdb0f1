//! Turns a request into the body of `POST /responses`; no I/O.

use engine::provider::ModelRequest;
use protocol::fault::Fault;
use protocol::item::{FunctionCall, FunctionCallOutput, FunctionOutput, Item, Message, Part, Reasoning, Role};
use protocol::request::{Create, FunctionTool, NamedFunction, TextFormat, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::super::family::Family;
use super::super::shared::{is_abandoned, put};
use super::sealed;

const ENCRYPTED_CONTENT: &str = "reasoning.encrypted_content";
const LOGPROBS: &str = "message.output_text.logprobs";

/// What OpenAI's API knows beyond the vocabulary. Left out is what changes the answer into something that Weir could not give
/// back (`moderation`, `context_management`).
const OPENAI_KNOWS: &[&str] = &["user", "prompt", "prompt_cache_retention", "prompt_cache_options", "access_programs", "image"];

/// What Weir itself decides, in every family.
const OURS: &[&str] = &[
    "model",
    "input",
    "stream",
    "stream_options",
    "store",
    "include",
    "background",
    "background_options",
    "conversation",
    "context_management",
    "generate",
];

/// Words of chat completions that the Responses API and Open Responses lack: servers ignore them without a word.
const CHAT_ONLY: &[&str] =
    &["n", "stop", "seed", "logit_bias", "logprobs", "messages", "functions", "function_call", "audio", "modalities", "prediction"];

/// Whether the API has a word for a parameter beyond the vocabulary. OpenAI's is known; other servers have words of their own
/// and say themselves what they do not know.
pub(super) fn knows(parameter: &str, family: Family) -> bool {
    match family {
        Family::OpenAi | Family::Azure => OPENAI_KNOWS.contains(&parameter),
        Family::Compatible => !OURS.contains(&parameter) && !CHAT_ONLY.contains(&parameter),
    }
}

/// Says what the API has no word for.
///
/// # Errors
/// The first such field.
pub(super) fn check(create: &Create, family: Family) -> Result<(), Fault> {
    match family {
        Family::OpenAi | Family::Azure => {}
        // Open Responses has them.
        Family::Compatible => return Ok(()),
    }
    let penalties = [("presence_penalty", create.presence_penalty), ("frequency_penalty", create.frequency_penalty)];
    // Zero is no penalty at all; many clients say so with every request.
    match penalties.into_iter().find(|(_, penalty)| penalty.is_some_and(|penalty| penalty != 0.0)) {
        Some((name, _)) => {
            Err(Fault::invalid("unsupported_parameter", name, format!("The Responses API of this model's upstream has no '{name}'.")))
        }
        None => Ok(()),
    }
}

/// The body of the request.
///
/// # Errors
/// An input that this wire has no word for.
pub(super) fn body(request: &ModelRequest, family: Family, upstream: &str) -> Result<Value, Fault> {
    let create = &*request.create;
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    put(&mut body, "instructions", create.instructions.as_deref().filter(|text| !text.is_empty()));
    body.insert("input".into(), input(request, upstream)?.into());
    body.insert("stream".into(), true.into());
    // Weir itself keeps the conversation and sends the whole context each time: a copy at the upstream would serve nobody, and
    // outlive a deletion here. Metadata are notes on what is kept, so none are sent.
    body.insert("store".into(), false.into());
    put(&mut body, "include", include(request, family));
    match family {
        // Padding against eavesdroppers who measure lengths: half of the bytes, for a line that TLS has to our own server.
        Family::OpenAi => put(&mut body, "stream_options", Some(json!({ "include_obfuscation": false }))),
        Family::Azure | Family::Compatible => {}
    }
    tools(create, &mut body);
    text(create, &mut body);
    sampling(create, family, &mut body);
    put(&mut body, "truncation", create.truncation.as_deref());
    put(&mut body, "service_tier", create.service_tier.as_deref());
    put(&mut body, "safety_identifier", create.safety_identifier.as_deref());
    put(&mut body, "prompt_cache_key", create.prompt_cache_key.as_deref());
    for (name, value) in create.extra.iter().filter(|(name, _)| knows(name, family)) {
        body.insert(name.clone(), value.clone());
    }
    Ok(body.into())
}

/// What is wanted beside the answer.
fn include(request: &ModelRequest, family: Family) -> Option<Vec<Value>> {
    let create = &*request.create;
    let asked_for = |word: &str| create.include.iter().any(|asked| asked == word);
    // Without it, what was thought in one turn would be lost to the next: nothing is stored upstream.
    let wants_thoughts = asked_for(ENCRYPTED_CONTENT) || may_think(request.model(), family, create.reasoning.is_some());
    let wants_logprobs = asked_for(LOGPROBS) || create.top_logprobs.is_some();
    let words: Vec<Value> = [(ENCRYPTED_CONTENT, wants_thoughts), (LOGPROBS, wants_logprobs)]
        .into_iter()
        .filter(|(_, wants)| *wants)
        .map(|(word, _)| word.into())
        .collect();
    (!words.is_empty()).then_some(words)
}

/// OpenAI refuses to encrypt the thoughts of models that have none. Their names are known, and no new ones will come.
fn may_think(model: &str, family: Family, is_asked_to: bool) -> bool {
    let name = model.strip_prefix("ft:").unwrap_or(model);
    let is_thoughtless = || ["gpt-3", "gpt-4", "chatgpt-", "gpt-5-chat"].iter().any(|begin| name.starts_with(begin));
    match family {
        Family::OpenAi => !is_thoughtless(),
        // There the name is that of a deployment, which says nothing of the model.
        Family::Azure => is_asked_to,
        Family::Compatible => true,
    }
}

fn input(request: &ModelRequest, upstream: &str) -> Result<Vec<Value>, Fault> {
    let mut input = Input::default();
    for (index, item) in request.context.iter().enumerate() {
        match item {
            Item::Message(item) => input.message(item, index)?,
            Item::FunctionCall(call) if is_abandoned(call, &request.context) => {}
            Item::FunctionCall(call) => input.said(function_call(call)),
            Item::FunctionCallOutput(output) => input.heard(function_call_output(output, index)?),
            Item::Reasoning(item) => input.thoughts.extend(reasoning(item, upstream)),
            Item::Compaction(compaction) => input.heard(message(Role::System, &[input_text(&compaction.told())])),
        }
    }
    Ok(input.items)
}

/// The conversation so far.
#[derive(Default)]
struct Input {
    items: Vec<Value>,
    /// Thoughts that wait for what the model made of them. OpenAI refuses thoughts that nothing follows, as an answer that was
    /// stopped while the model still thought has left them.
    thoughts: Vec<Value>,
}

impl Input {
    /// Takes what the model said or called for.
    fn said(&mut self, item: Value) {
        self.items.append(&mut self.thoughts);
        self.items.push(item);
    }

    /// Takes what the model was told.
    fn heard(&mut self, item: Value) {
        self.thoughts.clear();
        self.items.push(item);
    }

    fn message(&mut self, item: &Message, index: usize) -> Result<(), Fault> {
        let parts = item.content.iter().enumerate();
        let path = |number| format!("input[{index}].content[{number}]");
        match item.role {
            // An answer that was stopped before its first word says nothing.
            Role::Assistant if item.content.is_empty() => {}
            Role::Assistant => {
                let parts = parts.map(|(number, part)| said_part(part, &path(number))).collect::<Result<Vec<_>, _>>()?;
                self.said(message(Role::Assistant, &parts));
            }
            role @ (Role::User | Role::System | Role::Developer) => {
                let parts = parts.map(|(number, part)| heard_part(part, &path(number))).collect::<Result<Vec<_>, _>>()?;
                self.heard(message(role, &parts));
            }
        }
        Ok(())
    }
}

/// A message without an id: Weir's ids mean nothing upstream, and where it is told its own it looks for the thoughts before it.
fn message(role: Role, content: &[Value]) -> Value {
    json!({ "type": "message", "role": role.as_str(), "content": content })
}

fn input_text(text: &str) -> Value {
    json!({ "type": "input_text", "text": text })
}

/// A part of what the model said.
fn said_part(part: &Part, path: &str) -> Result<Value, Fault> {
    match part {
        Part::InputText { text } | Part::OutputText { text, .. } | Part::ReasoningText { text } | Part::SummaryText { text } => {
            Ok(json!({ "type": "output_text", "text": text }))
        }
        Part::Refusal { refusal } => Ok(json!({ "type": "refusal", "refusal": refusal })),
        Part::InputImage { .. } | Part::InputFile { .. } => {
            Err(Fault::invalid("unsupported_value", path, "This model's upstream takes no images or files from the assistant."))
        }
    }
}

/// A part of what the model was told.
fn heard_part(part: &Part, path: &str) -> Result<Value, Fault> {
    let cannot = |field: &str, what: &str| Err(Fault::invalid("unsupported_value", format!("{path}.{field}"), what));
    match part {
        Part::InputText { text } | Part::OutputText { text, .. } | Part::ReasoningText { text } | Part::SummaryText { text } => {
            Ok(input_text(text))
        }
        Part::Refusal { refusal } => Ok(input_text(refusal)),
        Part::InputImage { image_url: Some(url), detail } => Ok(json!({ "type": "input_image", "image_url": url, "detail": detail })),
        Part::InputImage { image_url: None, .. } => cannot("image_url", "This model's upstream needs the image as a URL or a data URL."),
        Part::InputFile { file_data: None, file_url: None, .. } => {
            cannot("file_data", "This model's upstream needs the file itself, as a data URL, or its URL.")
        }
        Part::InputFile { filename, file_data, file_url } => {
            let mut file = Map::new();
            file.insert("type".into(), "input_file".into());
            put(&mut file, "filename", filename.as_deref());
            put(&mut file, "file_data", file_data.as_deref());
            put(&mut file, "file_url", file_url.as_deref());
            Ok(file.into())
        }
    }
}

fn function_call(call: &FunctionCall) -> Value {
    // A model that needs no arguments may have written none; servers parse them, and an empty text is no JSON.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    json!({ "type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": arguments })
}

fn function_call_output(output: &FunctionCallOutput, index: usize) -> Result<Value, Fault> {
    let content: Value = match &output.output {
        FunctionOutput::Text(text) => text.as_str().into(),
        FunctionOutput::Parts(parts) => {
            let parts = parts.iter().enumerate();
            parts.map(|(number, part)| heard_part(part, &format!("input[{index}].output[{number}]"))).collect::<Result<_, _>>()?
        }
    };
    Ok(json!({ "type": "function_call_output", "call_id": output.call_id, "output": content }))
}

/// Thoughts as the upstream gave them. It takes nothing back that it has not sealed itself.
fn reasoning(item: &Reasoning, upstream: &str) -> Option<Value> {
    let (id, encrypted_content) = sealed::open(upstream, item.encrypted_content.as_deref()?)?;
    let summary: Vec<Value> =
        item.summary.iter().filter_map(Part::text).map(|text| json!({ "type": "summary_text", "text": text })).collect();
    Some(json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": encrypted_content }))
}

fn tools(create: &Create, body: &mut Map<String, Value>) {
    if create.tools.is_empty() {
        return;
    }
    let choice = match &create.tool_choice {
        ToolChoice::Mode(mode) => mode_word(*mode).into(),
        ToolChoice::Function(function) => named(function),
        ToolChoice::Allowed(allowed) => match allowed.mode {
            // OpenAI's list of allowed tools knows no `none`, which allows none anyway.
            ToolMode::None => "none".into(),
            ToolMode::Auto | ToolMode::Required => {
                let tools: Vec<Value> = allowed.tools.iter().map(named).collect();
                json!({ "type": "allowed_tools", "mode": mode_word(allowed.mode), "tools": tools })
            }
        },
    };
    body.insert("tools".into(), create.tools.iter().map(tool).collect());
    body.insert("tool_choice".into(), choice);
    put(body, "parallel_tool_calls", create.parallel_tool_calls);
    put(body, "max_tool_calls", create.max_tool_calls);
}

fn mode_word(mode: ToolMode) -> &'static str {
    match mode {
        ToolMode::None => "none",
        ToolMode::Auto => "auto",
        ToolMode::Required => "required",
    }
}

fn named(function: &NamedFunction) -> Value {
    json!({ "type": "function", "name": function.name })
}

fn tool(tool: &FunctionTool) -> Value {
    let mut function = Map::new();
    function.insert("type".into(), "function".into());
    function.insert("name".into(), tool.name.as_str().into());
    put(&mut function, "description", tool.description.as_deref());
    // OpenAI wants it said also where there is none.
    function.insert("parameters".into(), tool.parameters.clone().unwrap_or(Value::Null));
    put(&mut function, "strict", tool.strict);
    function.into()
}

fn text(create: &Create, body: &mut Map<String, Value>) {
    let format = match &create.text.format {
        TextFormat::Text => None,
        TextFormat::JsonObject => Some(json!({ "type": "json_object" })),
        TextFormat::JsonSchema { name, description, schema, strict } => {
            let mut format = Map::new();
            format.insert("type".into(), "json_schema".into());
            format.insert("name".into(), name.as_str().into());
            put(&mut format, "description", description.as_deref());
            format.insert("schema".into(), schema.clone());
            format.insert("strict".into(), (*strict).into());
            Some(format.into())
        }
    };
    let mut text = Map::new();
    put(&mut text, "format", format);
    put(&mut text, "verbosity", create.text.verbosity.as_deref());
    put(body, "text", (!text.is_empty()).then_some(text));
}

fn sampling(create: &Create, family: Family, body: &mut Map<String, Value>) {
    if let Some(asked) = &create.reasoning {
        let mut reasoning = Map::new();
        put(&mut reasoning, "effort", asked.effort.as_deref());
        put(&mut reasoning, "summary", asked.summary.as_deref());
        put(body, "reasoning", (!reasoning.is_empty()).then_some(reasoning));
    }
    put(body, "temperature", create.temperature);
    put(body, "top_p", create.top_p);
    put(body, "top_logprobs", create.top_logprobs);
    put(body, "max_output_tokens", create.max_output_tokens);
    match family {
        // Its API lacks them, and `check` has refused all but zeros.
        Family::OpenAi | Family::Azure => {}
        Family::Compatible => {
            put(body, "presence_penalty", create.presence_penalty);
            put(body, "frequency_penalty", create.frequency_penalty);
        }
    }
}

#[cfg(test)]
mod tests;
