//! Builds the body of `POST /responses`, without I/O.

mod input;

use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::request::{
    AllowedTool, Create, FunctionTool, TextFormat, Tool, ToolChoice, ToolMode,
};
use serde_json::{Map, Value, json};

use super::super::carry::{self, Carrier, FieldLocation, InnerFields};
use super::super::family::ServerFamily;
use super::super::shared::{UPSTREAM_FIELDS, parameters, put};
use crate::config::{HostedTools, SystemMessages};

const ENCRYPTED_CONTENT: &str = "reasoning.encrypted_content";
const LOGPROBS: &str = "message.output_text.logprobs";

/// OpenAI's parameters beyond the vocabulary, except those that change the response in a way that
/// Weir could not return (`moderation`, `context_management`).
const OPENAI_KNOWS: &[&str] = &[
    "user",
    "prompt",
    "prompt_cache_retention",
    "prompt_cache_options",
    "access_programs",
    "image",
];

/// Fields that Weir sets itself, for every family.
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
    "prompt",
    "generate",
];

/// Chat completions parameters that the Responses API and Open Responses lack; servers ignore them
/// silently.
const CHAT_ONLY: &[&str] = &[
    "n",
    "stop",
    "seed",
    "logit_bias",
    "logprobs",
    "messages",
    "functions",
    "function_call",
    "audio",
    "modalities",
    "prediction",
];

/// Whether a parameter beyond the vocabulary is passed on. OpenAI's parameters are known; other
/// servers reject what they do not know.
fn knows(parameter: &str, family: ServerFamily) -> bool {
    match family {
        ServerFamily::OpenAi | ServerFamily::Azure => OPENAI_KNOWS.contains(&parameter),
        ServerFamily::Compatible => !OURS.contains(&parameter) && !CHAT_ONLY.contains(&parameter),
    }
}

/// Which unknown fields are passed on. Other servers reject what they do not know; OpenAI is not
/// sent other vendors' fields.
pub(super) fn field(family: ServerFamily) -> fn(FieldLocation, &str) -> bool {
    match family {
        ServerFamily::OpenAi | ServerFamily::Azure => |_, name| {
            !carry::is_hint(name) || ["phase", "namespace", "caller", "encrypted"].contains(&name)
        },
        ServerFamily::Compatible => {
            |_, name| !["status", "upstream_id", UPSTREAM_FIELDS].contains(&name)
        }
    }
}

/// Checks that the API supports the request. Returns the fields that are left out.
///
/// # Errors
/// The first unsupported field.
pub(super) fn check(
    create: &Create,
    family: ServerFamily,
    hosted_tools: HostedTools,
) -> Result<Vec<String>, Fault> {
    let mut ignored = Vec::new();
    parameters(create, &|name| knows(name, family), &mut ignored)?;
    // These upstreams run hosted tools or reject them, unless the settings refuse them.
    let hosted = if hosted_tools == HostedTools::Refuse { Some(hosted_tools) } else { None };
    let carrier = Carrier {
        vendor: API,
        field: field(family),
        part: |_| true,
        item: |_| true,
        inner: InnerFields::Omitted,
        thoughts: |_| true,
        hosted,
    };
    carry::check(create, &carrier, &mut ignored)?;
    match family {
        ServerFamily::OpenAi | ServerFamily::Azure => {}
        // Open Responses supports them.
        ServerFamily::Compatible => return Ok(ignored),
    }
    let penalties = [
        ("presence_penalty", create.presence_penalty),
        ("frequency_penalty", create.frequency_penalty),
    ];
    // Zero means no penalty; many clients send it with every request.
    match penalties.into_iter().find(|(_, penalty)| penalty.is_some_and(|penalty| penalty != 0.0)) {
        Some((name, _)) => Err(Fault::invalid(
            "unsupported_parameter",
            name,
            format!("The Responses API of this model's upstream does not support '{name}'."),
        )),
        None => Ok(ignored),
    }
}

/// The API's name in error messages.
const API: &str = "The Responses API";

/// Builds the request body.
///
/// # Errors
/// An input that the API does not support.
pub(super) fn body(
    request: &ModelRequest,
    family: ServerFamily,
    system_messages: SystemMessages,
    upstream: &str,
) -> Result<Value, Fault> {
    let create = &*request.create;
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    let input = input::read(request, family, system_messages, upstream)?;
    put(&mut body, "instructions", Some(input.instructions).filter(|text| !text.is_empty()));
    body.insert("input".into(), input.items.into());
    body.insert("stream".into(), true.into());
    // Weir stores the conversation and sends all of it each time. A copy at the upstream would be
    // useless, and would outlive a deletion here. Metadata describe stored responses, so they are
    // not sent.
    body.insert("store".into(), false.into());
    put(&mut body, "include", include(request, family));
    match family {
        // Padding against traffic analysis doubles the bytes, on a connection that TLS protects
        // anyway.
        ServerFamily::OpenAi => {
            put(&mut body, "stream_options", Some(json!({ "include_obfuscation": false })));
        }
        ServerFamily::Azure | ServerFamily::Compatible => {}
    }
    tools(create, family, &mut body);
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

/// The `include` list of the request.
fn include(request: &ModelRequest, family: ServerFamily) -> Option<Vec<Value>> {
    let create = &*request.create;
    let asked_for = |word: &str| create.include.iter().any(|asked| asked == word);
    // Without encrypted reasoning, the next turn would lack it, since nothing is stored upstream.
    let wants_thoughts = asked_for(ENCRYPTED_CONTENT)
        || may_think(request.model(), family, create.reasoning.is_some());
    let wants_logprobs = asked_for(LOGPROBS) || create.top_logprobs.is_some();
    let known = [(ENCRYPTED_CONTENT, wants_thoughts), (LOGPROBS, wants_logprobs)]
        .into_iter()
        .filter(|(_, wants)| *wants);
    // The caller's other entries concern hosted tools.
    let others = create
        .include
        .iter()
        .map(String::as_str)
        .filter(|word| ![ENCRYPTED_CONTENT, LOGPROBS].contains(word));
    let words: Vec<Value> = known.map(|(word, _)| word).chain(others).map(Value::from).collect();
    (!words.is_empty()).then_some(words)
}

/// Whether to request encrypted reasoning. OpenAI rejects that for models without reasoning; their
/// names are known and final.
fn may_think(model: &str, family: ServerFamily, is_asked_to: bool) -> bool {
    let name = model.strip_prefix("ft:").unwrap_or(model);
    let is_thoughtless = || {
        ["gpt-3", "gpt-4", "chatgpt-", "gpt-5-chat"].iter().any(|prefix| name.starts_with(prefix))
    };
    match family {
        ServerFamily::OpenAi => !is_thoughtless(),
        // On Azure the name is a deployment's, which does not reveal the model.
        ServerFamily::Azure => is_asked_to,
        ServerFamily::Compatible => true,
    }
}

fn tools(create: &Create, family: ServerFamily, body: &mut Map<String, Value>) {
    if create.tools.is_empty() {
        return;
    }
    let choice = match &create.tool_choice {
        ToolChoice::Mode(mode) => mode_word(*mode).into(),
        ToolChoice::Tool(named) => json!(named),
        ToolChoice::Opaque(choice) => choice.to_map().into(),
        ToolChoice::Allowed(allowed) => match allowed.mode {
            // OpenAI's `allowed_tools` has no mode `none`, which allows none anyway.
            ToolMode::None => "none".into(),
            ToolMode::Auto | ToolMode::Required => {
                let tools: Vec<Value> = allowed.tools.iter().map(allowed_tool).collect();
                json!({ "type": "allowed_tools", "mode": mode_word(allowed.mode), "tools": tools })
            }
        },
    };
    body.insert("tools".into(), create.tools.iter().map(|offered| tool(offered, family)).collect());
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

fn allowed_tool(tool: &AllowedTool) -> Value {
    match tool {
        AllowedTool::Named(named) => json!(named),
        AllowedTool::Hosted(fields) => fields.to_map().into(),
    }
}

fn tool(tool: &Tool, family: ServerFamily) -> Value {
    let (mut sent, extra) = match tool {
        Tool::Function(tool) => (function(tool), &tool.extra),
        Tool::Custom(custom) => {
            let mut sent = named_tool("custom", &custom.name, custom.description.as_deref());
            put(&mut sent, "format", custom.format.clone());
            (sent, &custom.extra)
        }
        Tool::Namespace(namespace) => {
            let mut sent =
                named_tool("namespace", &namespace.name, namespace.description.as_deref());
            sent.insert(
                "tools".into(),
                namespace.tools.iter().map(|inner| self::tool(inner, family)).collect(),
            );
            (sent, &namespace.extra)
        }
        Tool::Hosted(fields) => return fields.to_map().into(),
    };
    let inner = ["function", "custom"];
    let extra = carry::carried(extra, FieldLocation::Tool, field(family))
        .filter(|(name, _)| !inner.contains(&name.as_str()));
    sent.extend(extra.map(|(name, value)| (name.clone(), value.clone())));
    sent.into()
}

fn named_tool(kind: &str, name: &str, description: Option<&str>) -> Map<String, Value> {
    let mut tool = Map::new();
    tool.insert("type".into(), kind.into());
    tool.insert("name".into(), name.into());
    put(&mut tool, "description", description);
    tool
}

fn function(tool: &FunctionTool) -> Map<String, Value> {
    let mut function = named_tool("function", &tool.name, tool.description.as_deref());
    // OpenAI requires `parameters` even if there are none.
    function.insert("parameters".into(), tool.parameters.clone().unwrap_or(Value::Null));
    put(&mut function, "strict", tool.strict);
    function
}

fn text(create: &Create, body: &mut Map<String, Value>) {
    let format = match &create.text.format {
        TextFormat::Text => None,
        TextFormat::JsonObject { extra } => {
            let mut format = Map::from_iter([("type".to_owned(), Value::from("json_object"))]);
            format.extend(extra.to_map());
            Some(Value::Object(format))
        }
        TextFormat::JsonSchema { name, description, schema, strict, extra } => {
            let mut format = Map::new();
            format.insert("type".into(), "json_schema".into());
            format.insert("name".into(), name.as_str().into());
            put(&mut format, "description", description.as_deref());
            format.insert("schema".into(), schema.clone());
            format.insert("strict".into(), (*strict).into());
            format.extend(extra.to_map());
            Some(format.into())
        }
    };
    let mut text = Map::new();
    put(&mut text, "format", format);
    put(&mut text, "verbosity", create.text.verbosity.as_deref());
    text.extend(create.text.extra.to_map());
    put(body, "text", (!text.is_empty()).then_some(text));
}

fn sampling(create: &Create, family: ServerFamily, body: &mut Map<String, Value>) {
    if let Some(asked) = &create.reasoning {
        let mut reasoning = Map::new();
        put(&mut reasoning, "effort", asked.effort.as_deref());
        put(&mut reasoning, "summary", asked.summary.as_deref());
        reasoning.extend(asked.extra.to_map());
        put(body, "reasoning", (!reasoning.is_empty()).then_some(reasoning));
    }
    put(body, "temperature", create.temperature);
    put(body, "top_p", create.top_p);
    put(body, "top_logprobs", create.top_logprobs);
    put(body, "max_output_tokens", create.max_output_tokens);
    match family {
        // Not supported; `check` has rejected all but zeros.
        ServerFamily::OpenAi | ServerFamily::Azure => {}
        ServerFamily::Compatible => {
            put(body, "presence_penalty", create.presence_penalty);
            put(body, "frequency_penalty", create.frequency_penalty);
        }
    }
}

#[cfg(test)]
mod tests;
