//! Builds the body of `POST /api/chat`, without I/O.

use std::mem;

use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Message, Part, Reasoning, Role};
use protocol::request::{Create, TextFormat, ToolMode};
use serde_json::{Map, Value, json};

use super::super::carry::{self, Carrier, InnerFields};
use super::super::shared::{image_url, omitted, parameters, tier_is_omitted};
use crate::config::{HostedTools, SystemMessages};
use crate::tools::{
    ConversationStep, FunctionCallStep, FunctionResultStep, OfferedTool, OfferedTools, turns,
};

const VENDOR: &str = "Ollama";

/// Supported `Modelfile` parameters beyond the vocabulary. Those of the runner (`num_ctx`,
/// `num_gpu` etc.) are not available to callers: they reload the model or take the machine's
/// memory.
const OPTIONS: &[&str] = &[
    "num_keep",
    "seed",
    "num_predict",
    "top_k",
    "min_p",
    "tfs_z",
    "typical_p",
    "repeat_last_n",
    "repeat_penalty",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "penalize_newline",
    "stop",
];

/// Supported fields next to the options.
const FIELDS: &[&str] = &["format", "think", "truncate", "shift"];

/// Whether a parameter beyond the vocabulary is supported.
fn knows(parameter: &str) -> bool {
    OPTIONS.contains(&parameter) || FIELDS.contains(&parameter)
}

fn carrier(hosted_tools: HostedTools) -> Carrier<'static> {
    // `images` and `tool_name` are translated; messages have no other fields.
    Carrier {
        vendor: VENDOR,
        field: |_, _| false,
        part: |_| false,
        item: |_| false,
        inner: InnerFields::Checked,
        thoughts: |_| true,
        hosted: Some(hosted_tools),
    }
}

/// Checks that Ollama supports the request. Returns the fields that are left out.
///
/// # Errors
/// The first unsupported field.
pub(super) fn check(create: &Create, hosted_tools: HostedTools) -> Result<Vec<String>, Fault> {
    let cannot =
        |field: &str, what: &str| Err(Fault::invalid("unsupported_parameter", field, what));
    let mut ignored = Vec::new();
    parameters(create, &knows, &mut ignored)?;
    omitted(create, &mut ignored);
    ignored.extend(tier_is_omitted(create));
    carry::check(create, &carrier(hosted_tools), &mut ignored)?;
    if create.tool_choice.mode() == ToolMode::Required {
        return cannot(
            "tool_choice",
            "Ollama cannot force a model to call a tool: 'tool_choice' must be 'auto' or 'none'.",
        );
    }
    if create.parallel_tool_calls == Some(false) && !create.tools.is_empty() {
        ignored.push("parallel_tool_calls".to_owned());
    }
    if create.text.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium") {
        ignored.push("text.verbosity".to_owned());
    }
    Ok(ignored)
}

/// Builds the request body.
///
/// # Errors
/// An input that Ollama does not support.
pub(super) fn body(
    request: &ModelRequest,
    system_messages: SystemMessages,
    hosted_tools: HostedTools,
) -> Result<Value, Fault> {
    let create = &*request.create;
    let offer = OfferedTools::of(request);
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    body.insert(
        "messages".into(),
        messages(request, &offer, system_messages)?.into_iter().map(Value::Object).collect(),
    );
    body.insert("stream".into(), true.into());
    // The only way to forbid a tool is not to offer it. Strict schemas (`strict`) are not
    // supported.
    let is_allowed = create.tool_choice.mode() != ToolMode::None;
    let hosted = offer
        .hosted
        .iter()
        .filter(|_| hosted_tools == HostedTools::Pass)
        .map(|fields| Value::Object(fields.to_map()));
    let tools: Vec<Value> =
        offer.tools.iter().map(tool).chain(hosted).filter(|_| is_allowed).collect();
    put(&mut body, "tools", (!tools.is_empty()).then_some(tools));
    let format = match &create.text.format {
        TextFormat::Text => None,
        format @ (TextFormat::JsonObject { .. } | TextFormat::JsonSchema { .. }) => {
            Some(format.schema().cloned().unwrap_or_else(|| "json".into()))
        }
    };
    put(&mut body, "format", format);
    put(
        &mut body,
        "think",
        create.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref()).map(think),
    );
    let wants_logprobs = create.top_logprobs.is_some()
        || create.include.iter().any(|word| word == "message.output_text.logprobs");
    put(&mut body, "logprobs", wants_logprobs.then_some(true));
    put(&mut body, "top_logprobs", create.top_logprobs);
    put(
        &mut body,
        "truncate",
        create.truncation.as_deref().map(|truncation| truncation != "disabled"),
    );
    let options = options(create);
    put(&mut body, "options", (!options.is_empty()).then_some(options));
    for (name, value) in create
        .extra
        .iter()
        .filter(|(name, _)| FIELDS.contains(&name.as_str()) && *name != "options")
    {
        body.insert(name.clone(), value.clone());
    }
    Ok(body.into())
}

/// Sets `name` if there is a value.
fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// The reasoning effort: three levels for models that have them; others treat them as `true`.
/// Models may define more.
fn think(effort: &str) -> Value {
    match effort {
        "none" => false.into(),
        "minimal" => "low".into(),
        "xhigh" | "max" => "high".into(),
        level => level.into(),
    }
}

fn options(create: &Create) -> Map<String, Value> {
    let mut options = Map::new();
    put(&mut options, "temperature", create.temperature);
    put(&mut options, "top_p", create.top_p);
    put(&mut options, "num_predict", create.max_output_tokens);
    put(&mut options, "presence_penalty", create.presence_penalty);
    put(&mut options, "frequency_penalty", create.frequency_penalty);
    if let Some(Value::Object(more)) = create.extra.get("options") {
        options.extend(more.clone());
    }
    for (name, value) in create.extra.iter().filter(|(name, _)| OPTIONS.contains(&name.as_str())) {
        options.insert(name.clone(), value.clone());
    }
    // Ollama rejects a string here.
    if let Some(stop) = options.get_mut("stop").filter(|stop| stop.is_string()) {
        *stop = vec![stop.take()].into();
    }
    options
}

fn tool(tool: &OfferedTool<'_>) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_ref().into());
    put(&mut function, "description", tool.description.as_deref());
    // Templates read `properties` without checking that it exists.
    let parameters = tool.parameters.as_deref().cloned();
    function.insert(
        "parameters".into(),
        parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} })),
    );
    json!({ "type": "function", "function": function })
}

fn messages(
    request: &ModelRequest,
    offer: &OfferedTools<'_>,
    system_messages: SystemMessages,
) -> Result<Vec<Map<String, Value>>, Fault> {
    let mut messages = Messages::new(system_messages == SystemMessages::First);
    if let Some(instructions) = request.create.instructions.as_ref().filter(|text| !text.is_empty())
    {
        messages.system(instructions);
    }
    // The functions' names by call id: results are matched by name.
    let mut called: Vec<(&str, String)> = Vec::new();
    for (index, turn) in turns(&request.context, offer) {
        match turn {
            ConversationStep::Message(message) => messages.message(message, index)?,
            ConversationStep::Call(call) => {
                messages.call(&call);
                called.push((call.id, call.name.into_owned()));
            }
            ConversationStep::Output(output) => {
                let name = called
                    .iter()
                    .rev()
                    .find(|(call_id, _)| *call_id == output.call_id)
                    .map(|(_, name)| name.as_str());
                messages.output(&output, name, index)?;
            }
            ConversationStep::Reasoning(reasoning) => messages.think(reasoning),
            ConversationStep::Compaction(compaction) => {
                messages.system(&compaction.summary_message());
            }
            // Ollama's models generate no images and accept none from the assistant: only the fact
            // that there was one is kept.
            ConversationStep::Opaque(item) if image_url(item).is_some() => {
                append(messages.said(), "content", "[image]");
            }
            ConversationStep::Opaque(_) => {}
        }
    }
    let system = (!messages.system.is_empty()).then(|| text_message("system", &messages.system));
    Ok(system.into_iter().chain(messages.list).collect())
}

/// The messages so far. An assistant message contains all reasoning, text and calls of a turn, like
/// Ollama's own responses.
struct Messages {
    list: Vec<Map<String, Value>>,
    /// Whether all system and developer messages are merged at the start.
    is_system_first: bool,
    /// The merged system message.
    system: String,
    /// Reasoning before a message or call that has not been added yet. Ollama's documentation sends
    /// it back with the message; the model's template decides what the model sees.
    thoughts: String,
}

impl Messages {
    fn new(is_system_first: bool) -> Self {
        Self { list: Vec::new(), is_system_first, system: String::new(), thoughts: String::new() }
    }

    fn think(&mut self, reasoning: &Reasoning) {
        // If the caller requested a summary, the reasoning was returned as one.
        let parts =
            if reasoning.content.is_empty() { &reasoning.summary } else { &reasoning.content };
        for text in parts.iter().filter_map(Part::text) {
            join(&mut self.thoughts, text);
        }
    }

    /// Adds a system or developer message.
    fn system(&mut self, text: &str) {
        if self.is_system_first {
            join(&mut self.system, text);
        } else {
            self.heard(text_message("system", text));
        }
    }

    /// Adds a message from outside the model.
    fn heard(&mut self, message: Map<String, Value>) {
        self.thoughts.clear();
        self.list.push(message);
    }

    /// The assistant's last message, or a new one, with the reasoning before it.
    fn said(&mut self) -> &mut Map<String, Value> {
        if self.list.last().and_then(|last| last.get("role")).is_none_or(|role| role != "assistant")
        {
            self.list.push(text_message("assistant", ""));
        }
        let last = self.list.len() - 1;
        let last = &mut self.list[last];
        let thoughts = mem::take(&mut self.thoughts);
        append(last, "thinking", &thoughts);
        last
    }

    fn message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        match message.role {
            Role::Assistant => {
                let (text, images) =
                    content(&message.content, "", &format!("input[{index}].content"))?;
                if !images.is_empty() {
                    let what = "Ollama does not accept images from the assistant.";
                    return Err(Fault::invalid(
                        "unsupported_value",
                        format!("input[{index}].content"),
                        what,
                    ));
                }
                append(self.said(), "content", &text);
                return Ok(());
            }
            // Templates have no developer role.
            Role::System | Role::Developer => {
                let (text, images) =
                    content(&message.content, "\n", &format!("input[{index}].content"))?;
                if images.is_empty() {
                    self.system(&text);
                    return Ok(());
                }
            }
            Role::User => {}
        }
        let role = if message.role == Role::User { "user" } else { "system" };
        let (text, images) = content(&message.content, "\n", &format!("input[{index}].content"))?;
        let mut message = text_message(role, &text);
        put(&mut message, "images", (!images.is_empty()).then_some(images));
        self.heard(message);
        Ok(())
    }

    fn call(&mut self, call: &FunctionCallStep<'_>) {
        let function = json!({ "name": call.name, "arguments": arguments(&call.arguments) });
        let call = json!({ "id": call.id, "type": "function", "function": function });
        let calls = self.said().entry("tool_calls").or_insert_with(|| Vec::<Value>::new().into());
        if let Some(calls) = calls.as_array_mut() {
            calls.push(call);
        }
    }

    fn output(
        &mut self,
        output: &FunctionResultStep<'_>,
        name: Option<&str>,
        index: usize,
    ) -> Result<(), Fault> {
        let (text, images) = match &*output.content {
            FunctionOutput::Text(text) => (text.clone(), Vec::new()),
            FunctionOutput::Parts(parts) => {
                content(parts, "\n", &format!("input[{index}].output"))?
            }
        };
        let mut message = text_message("tool", &text);
        put(&mut message, "images", (!images.is_empty()).then_some(images));
        put(&mut message, "tool_name", name);
        message.insert("tool_call_id".into(), output.call_id.into());
        self.heard(message);
        Ok(())
    }
}

fn text_message(role: &str, text: &str) -> Map<String, Value> {
    Map::from_iter([("role".to_owned(), role.into()), ("content".to_owned(), text.into())])
}

/// Appends a paragraph to the text in a field.
fn append(message: &mut Map<String, Value>, field: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    // In place, as a message may be made of thousands.
    match message.get_mut(field) {
        Some(Value::String(whole)) => join(whole, text),
        _ => _ = message.insert(field.to_owned(), text.into()),
    }
}

fn join(whole: &mut String, text: &str) {
    if !whole.is_empty() && !text.is_empty() {
        whole.push_str("\n\n");
    }
    whole.push_str(text);
}

/// The arguments as an object, which Ollama requires. Invalid arguments are kept in a field of one,
/// so that the conversation can continue.
fn arguments(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(arguments)) => arguments.into(),
        Ok(_) | Err(_) => json!({ "arguments": arguments }),
    }
}

/// The text, its parts joined with `between`, and the images in base64.
fn content(parts: &[Part], between: &str, path: &str) -> Result<(String, Vec<Value>), Fault> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (number, part) in parts.iter().enumerate() {
        match part {
            Part::InputText { text, .. }
            | Part::OutputText { text, .. }
            | Part::ReasoningText { text }
            | Part::SummaryText { text }
            | Part::Refusal { refusal: text } => texts.push(text.as_str()),
            Part::InputImage { image_url, .. } => {
                let Some(base64) = image_url.as_deref().and_then(base64_of) else {
                    let what = "Ollama does not fetch images: send a base64 data URL.";
                    return Err(Fault::invalid(
                        "unsupported_value",
                        format!("{path}[{number}].image_url"),
                        what,
                    ));
                };
                images.push(base64.into());
            }
            Part::InputFile { .. } | Part::Opaque(_) => {
                return Err(Fault::invalid(
                    "unsupported_value",
                    format!("{path}[{number}]"),
                    "Ollama accepts text and images only, not files.",
                ));
            }
        }
    }
    Ok((texts.join(between), images))
}

/// The data of a base64 data URL (RFC 2397).
fn base64_of(url: &str) -> Option<&str> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    kind.ends_with(";base64").then_some(data)
}

#[cfg(test)]
mod tests;
