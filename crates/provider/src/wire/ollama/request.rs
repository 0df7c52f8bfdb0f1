//! Turns a request into the body of `POST /api/chat`; no I/O.

use std::mem;

use engine::provider::ModelRequest;
use protocol::fault::Fault;
use protocol::item::{FunctionCall, FunctionCallOutput, FunctionOutput, Item, Message, Part, Reasoning, Role};
use protocol::request::{Create, FunctionTool, TextFormat, ToolMode};
use serde_json::{Map, Value, json};

use super::super::shared::{is_abandoned, unlimited};

/// What it knows beside the vocabulary: the `Modelfile` parameters. Those of the runner (`num_ctx`, `num_gpu` and so on) are not a
/// caller's: they make the machine load the model anew, or take its memory.
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

/// And its fields beside the options.
const FIELDS: &[&str] = &["format", "think", "truncate", "shift"];

/// Whether it has a word for a parameter beyond the vocabulary.
pub(super) fn knows(parameter: &str) -> bool {
    OPTIONS.contains(&parameter) || FIELDS.contains(&parameter)
}

/// Says what it has no word for.
///
/// # Errors
/// The first such field.
pub(super) fn check(create: &Create) -> Result<(), Fault> {
    let cannot = |field: &str, what: &str| Err(Fault::invalid("unsupported_parameter", field, what));
    unlimited(create, "Ollama")?;
    if create.tool_choice.mode() == ToolMode::Required {
        return cannot("tool_choice", "Ollama cannot make a model call a tool: 'tool_choice' must be 'auto' or 'none'.");
    }
    if create.parallel_tool_calls == Some(false) && !create.tools.is_empty() {
        return cannot("parallel_tool_calls", "Ollama cannot hold a model to one tool call at a time.");
    }
    if create.text.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium") {
        return cannot("text.verbosity", "Ollama has no word for how verbose a text is.");
    }
    Ok(())
}

/// The body of the request.
///
/// # Errors
/// An input that this wire has no word for.
pub(super) fn body(request: &ModelRequest) -> Result<Value, Fault> {
    let create = &*request.create;
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    body.insert("messages".into(), messages(request)?.into_iter().map(Value::Object).collect());
    body.insert("stream".into(), true.into());
    // The only way to forbid a tool is not to offer it. Nor can its arguments be held to the letter of their schema (`strict`).
    let tools: Vec<Value> = create.tools.iter().filter(|offered| create.tool_choice.allows(&offered.name)).map(tool).collect();
    put(&mut body, "tools", (!tools.is_empty()).then_some(tools));
    let format = match &create.text.format {
        TextFormat::Text => None,
        TextFormat::JsonObject => Some("json".into()),
        TextFormat::JsonSchema { schema, .. } => Some(schema.clone()),
    };
    put(&mut body, "format", format);
    put(&mut body, "think", create.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref()).map(think));
    let wants_logprobs = create.top_logprobs.is_some() || create.include.iter().any(|word| word == "message.output_text.logprobs");
    put(&mut body, "logprobs", wants_logprobs.then_some(true));
    put(&mut body, "top_logprobs", create.top_logprobs);
    put(&mut body, "truncate", create.truncation.as_deref().map(|truncation| truncation != "disabled"));
    let options = options(create);
    put(&mut body, "options", (!options.is_empty()).then_some(options));
    for (name, value) in create.extra.iter().filter(|(name, _)| FIELDS.contains(&name.as_str()) && *name != "options") {
        body.insert(name.clone(), value.clone());
    }
    Ok(body.into())
}

/// Puts `value` under `name`, if there is one.
fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// How much to think: three levels for models that have them, which others take for `true`. Models may name more of their own.
fn think(effort: &str) -> Value {
    match effort {
        "none" => false.into(),
        "minimal" => "low".into(),
        "xhigh" => "high".into(),
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
    // Its server refuses a single text here.
    if let Some(stop) = options.get_mut("stop").filter(|stop| stop.is_string()) {
        *stop = vec![stop.take()].into();
    }
    options
}

fn tool(tool: &FunctionTool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    put(&mut function, "description", tool.description.as_deref());
    // Templates read the properties without asking whether there are any.
    function.insert("parameters".into(), tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} })));
    json!({ "type": "function", "function": function })
}

fn messages(request: &ModelRequest) -> Result<Vec<Map<String, Value>>, Fault> {
    let mut messages = Messages::default();
    if let Some(instructions) = request.create.instructions.as_ref().filter(|text| !text.is_empty()) {
        messages.heard(text_message("system", instructions));
    }
    for (index, item) in request.context.iter().enumerate() {
        match item {
            Item::Message(message) => messages.message(message, index)?,
            Item::FunctionCall(call) if is_abandoned(call, &request.context) => {}
            Item::FunctionCall(call) => messages.call(call),
            Item::FunctionCallOutput(output) => messages.output(output, name_of(&output.call_id, &request.context), index)?,
            Item::Reasoning(reasoning) => messages.think(reasoning),
            Item::Compaction(compaction) => messages.heard(text_message("system", &compaction.told())),
        }
    }
    Ok(messages.list)
}

/// The function that was called; what it gave is found by its name.
fn name_of<'a>(call_id: &str, context: &'a [Item]) -> Option<&'a str> {
    context.iter().rev().find_map(|item| match item {
        Item::FunctionCall(call) if call.call_id == call_id => Some(call.name.as_str()),
        Item::FunctionCall(_) | Item::Message(_) | Item::FunctionCallOutput(_) | Item::Reasoning(_) | Item::Compaction(_) => None,
    })
}

/// The messages so far. One assistant message takes all that was thought, said and called for in a turn, as its own answers
/// have it.
#[derive(Default)]
struct Messages {
    list: Vec<Map<String, Value>>,
    /// Thoughts that wait for what the model made of them. Its documentation gives them back with the message; which of them
    /// the model is shown again, its template decides.
    thoughts: String,
}

impl Messages {
    fn think(&mut self, reasoning: &Reasoning) {
        // Summaries are for people; only the thoughts themselves are.
        for text in reasoning.content.iter().filter_map(Part::text) {
            join(&mut self.thoughts, text);
        }
    }

    /// Takes what the model was told.
    fn heard(&mut self, message: Map<String, Value>) {
        self.thoughts.clear();
        self.list.push(message);
    }

    /// The assistant's last message, or a new one, with what was thought before it.
    fn said(&mut self) -> &mut Map<String, Value> {
        if self.list.last().and_then(|last| last.get("role")).is_none_or(|role| role != "assistant") {
            self.list.push(text_message("assistant", ""));
        }
        let last = self.list.len() - 1;
        let last = &mut self.list[last];
        let thoughts = mem::take(&mut self.thoughts);
        append(last, "thinking", &thoughts);
        last
    }

    fn message(&mut self, message: &Message, index: usize) -> Result<(), Fault> {
        let role = match message.role {
            Role::Assistant => {
                let (text, images) = content(&message.content, "", &format!("input[{index}].content"))?;
                if !images.is_empty() {
                    let what = "Ollama takes no images from the assistant.";
                    return Err(Fault::invalid("unsupported_value", format!("input[{index}].content"), what));
                }
                append(self.said(), "content", &text);
                return Ok(());
            }
            Role::User => "user",
            // Its templates know no developer.
            Role::System | Role::Developer => "system",
        };
        let (text, images) = content(&message.content, "\n", &format!("input[{index}].content"))?;
        let mut message = text_message(role, &text);
        put(&mut message, "images", (!images.is_empty()).then_some(images));
        self.heard(message);
        Ok(())
    }

    fn call(&mut self, call: &FunctionCall) {
        let call = json!({ "id": call.call_id, "type": "function", "function": { "name": call.name, "arguments": arguments(call) } });
        let calls = self.said().entry("tool_calls").or_insert_with(|| Vec::<Value>::new().into());
        if let Some(calls) = calls.as_array_mut() {
            calls.push(call);
        }
    }

    fn output(&mut self, output: &FunctionCallOutput, name: Option<&str>, index: usize) -> Result<(), Fault> {
        let (text, images) = match &output.output {
            FunctionOutput::Text(text) => (text.clone(), Vec::new()),
            FunctionOutput::Parts(parts) => content(parts, "\n", &format!("input[{index}].output"))?,
        };
        let mut message = text_message("tool", &text);
        put(&mut message, "images", (!images.is_empty()).then_some(images));
        put(&mut message, "tool_name", name);
        message.insert("tool_call_id".into(), output.call_id.as_str().into());
        self.heard(message);
        Ok(())
    }
}

fn text_message(role: &str, text: &str) -> Map<String, Value> {
    Map::from_iter([("role".to_owned(), role.into()), ("content".to_owned(), text.into())])
}

/// Adds to the text in a field, as a paragraph of its own.
fn append(message: &mut Map<String, Value>, field: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let mut whole = message.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    join(&mut whole, text);
    message.insert(field.to_owned(), whole.into());
}

fn join(whole: &mut String, text: &str) {
    if !whole.is_empty() && !text.is_empty() {
        whole.push_str("\n\n");
    }
    whole.push_str(text);
}

/// The arguments as an object, which is all that its server takes. What a model wrote that is none goes back as it was, in a
/// field: the conversation has to go on.
fn arguments(call: &FunctionCall) -> Value {
    match serde_json::from_str(&call.arguments) {
        Ok(Value::Object(arguments)) => arguments.into(),
        _ if call.arguments.trim().is_empty() => Map::new().into(),
        Ok(_) | Err(_) => json!({ "arguments": call.arguments }),
    }
}

/// The text, its parts with `between` them, and the images as base64.
fn content(parts: &[Part], between: &str, path: &str) -> Result<(String, Vec<Value>), Fault> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (number, part) in parts.iter().enumerate() {
        match part {
            Part::InputText { text }
            | Part::OutputText { text, .. }
            | Part::ReasoningText { text }
            | Part::SummaryText { text }
            | Part::Refusal { refusal: text } => texts.push(text.as_str()),
            Part::InputImage { image_url, .. } => {
                let Some(base64) = image_url.as_deref().and_then(base64_of) else {
                    let what = "Ollama fetches no images: it must be a data URL in base64.";
                    return Err(Fault::invalid("unsupported_value", format!("{path}[{number}].image_url"), what));
                };
                images.push(base64.into());
            }
            Part::InputFile { .. } => {
                return Err(Fault::invalid(
                    "unsupported_value",
                    format!("{path}[{number}]"),
                    "Ollama takes no files, only text and images.",
                ));
            }
        }
    }
    Ok((texts.join(between), images))
}

/// The data of a data URL (RFC 2397) in base64.
fn base64_of(url: &str) -> Option<&str> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    kind.ends_with(";base64").then_some(data)
}

#[cfg(test)]
mod tests;
