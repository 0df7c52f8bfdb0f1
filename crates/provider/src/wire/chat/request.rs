//! Builds the body of `POST /chat/completions`, without I/O.

mod messages;

use engine::provider::request::ModelRequest;
use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::request::{Create, NamedKind, TextFormat, Tool, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use self::messages::ChatMessages;
use super::super::carry::{self, FieldLocation};
use super::super::family::ServerFamily;
use super::super::shared::{parameters, put, tier_is_omitted};
use super::style::ChatFeatures;
use crate::config::Preset;
use crate::tools::{HostedTools, OfferedTool, OfferedTools};

/// Fields that Weir sets itself; `extra` cannot change them.
const OURS: &[&str] = &["model", "messages", "stream", "stream_options", "n"];

/// Parameters of other APIs that would change the request's meaning.
const NEVER: &[&str] = &[
    "n",
    "audio",
    "messages",
    "stream_options",
    "functions",
    "function_call",
    "conversation",
    "prompt",
    "context_management",
    "background",
    "input",
];

/// Whether a parameter beyond the vocabulary is passed on. Servers differ and reject what they do
/// not know; parameters whose effect Weir could not return are rejected here.
pub(super) fn knows(parameter: &str, style: &ChatFeatures) -> bool {
    !is_operators(parameter, style) && !NEVER.contains(&parameter)
}

/// Whether a field would select models beyond the settings, or spend more than the caller may.
pub(super) fn is_operators(parameter: &str, style: &ChatFeatures) -> bool {
    style.preset == Preset::OpenRouter
        && ["models", "route", "provider", "plugins"].contains(&parameter)
}

/// Checks that this API supports the request. Returns the fields that are left out.
///
/// # Errors
/// The path of the first unsupported field.
pub(super) fn check(create: &Create, style: &ChatFeatures) -> Result<Vec<String>, Fault> {
    let mut ignored = Vec::new();
    parameters(create, &|name| knows(name, style), &mut ignored)?;
    // Tools in this API's own format are passed on; the upstream may know them.
    carry::check(create, &style.carrier(), &mut ignored)?;
    if style.family == ServerFamily::Compatible {
        ignored.extend(tier_is_omitted(create));
    }
    ignored.extend(create.text.extra.iter().map(|(name, _)| format!("text.{name}")));
    ignored.extend(
        create
            .reasoning
            .iter()
            .flat_map(|reasoning| reasoning.extra.iter())
            .map(|(name, _)| format!("reasoning.{name}")),
    );
    Ok(ignored)
}

/// Builds the request body.
///
/// # Errors
/// An input that this API does not support.
pub(super) fn body(request: &ModelRequest, style: &ChatFeatures) -> Result<Value, Fault> {
    let create = &*request.create;
    let offer = OfferedTools::of(request);
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    body.insert("messages".into(), ChatMessages::new(style).of(request, &offer)?.into());
    body.insert("stream".into(), true.into());
    put(&mut body, "stream_options", style.stream_options.then(|| stream_options(style.family)));
    tools(&offer, style, create, &mut body);
    text(create, &mut body);
    sampling(create, style.family, &mut body);
    if style.family != ServerFamily::Compatible {
        account(create, &mut body);
    }
    for (name, value) in create.extra.iter().filter(|(name, _)| knows(name, style)) {
        if !OURS.contains(&name.as_str()) {
            body.insert(name.clone(), value.clone());
        }
    }
    Ok(body.into())
}

fn stream_options(family: ServerFamily) -> Value {
    match family {
        // Padding against traffic analysis doubles the bytes, on a connection that TLS protects
        // anyway.
        ServerFamily::OpenAi => json!({ "include_usage": true, "include_obfuscation": false }),
        ServerFamily::Azure | ServerFamily::Compatible => json!({ "include_usage": true }),
    }
}

fn tools(
    offer: &OfferedTools<'_>,
    style: &ChatFeatures,
    create: &Create,
    body: &mut Map<String, Value>,
) {
    let mut tools: Vec<Value> =
        offer.tools.iter().map(|offered| tool(offered, create, style)).collect();
    if style.hosted_tools == HostedTools::Pass {
        tools.extend(offer.hosted.iter().map(|fields| Value::Object(fields.to_map())));
    }
    if tools.is_empty() {
        return;
    }
    // Only OpenAI's newest models support `allowed_tools`. Sending only the allowed tools has the
    // same effect everywhere.
    let choice = match offer.choice() {
        ToolChoice::Tool(named)
            if is_native(style, create, &named.name) && named.kind == NamedKind::Custom =>
        {
            json!({ "type": "custom", "custom": { "name": named.name } })
        }
        ToolChoice::Tool(named) => {
            json!({ "type": "function", "function": { "name": offer.wire_name(&named.name) } })
        }
        ToolChoice::Opaque(choice) if style.hosted_tools == HostedTools::Pass => {
            choice.to_map().into()
        }
        choice @ (ToolChoice::Mode(_) | ToolChoice::Allowed(_) | ToolChoice::Opaque(_)) => {
            match choice.mode() {
                ToolMode::None => "none".into(),
                ToolMode::Auto => "auto".into(),
                ToolMode::Required => "required".into(),
            }
        }
    };
    body.insert("tools".into(), tools.into());
    body.insert("tool_choice".into(), choice);
    put(body, "parallel_tool_calls", create.parallel_tool_calls);
}

/// Whether a custom tool is sent to OpenAI as such.
fn is_native(style: &ChatFeatures, create: &Create, name: &str) -> bool {
    style.family != ServerFamily::Compatible
        && create
            .tools
            .iter()
            .any(|tool| matches!(tool, Tool::Custom(custom) if custom.name == name))
}

fn tool(offered: &OfferedTool<'_>, create: &Create, style: &ChatFeatures) -> Value {
    let custom = create.tools.iter().find_map(|tool| match tool {
        Tool::Custom(custom) if custom.name == offered.name => Some(custom),
        _ => None,
    });
    if let (Some(custom), false) = (custom, style.family == ServerFamily::Compatible) {
        let mut inner = Map::new();
        inner.insert("name".into(), custom.name.as_str().into());
        put(&mut inner, "description", custom.description.as_deref());
        put(&mut inner, "format", custom.format.as_ref().map(nested_format));
        return outer("custom", inner, &custom.extra, style);
    }
    let mut function = Map::new();
    function.insert("name".into(), offered.name.as_ref().into());
    put(&mut function, "description", offered.description.as_deref());
    put(&mut function, "parameters", offered.parameters.as_deref().cloned());
    put(&mut function, "strict", offered.strict);
    outer("function", function, offered.extra.unwrap_or(&Extra::default()), style)
}

/// A tool with its unknown fields; those of the nested object go under its name.
fn outer(kind: &str, mut inner: Map<String, Value>, extra: &Extra, style: &ChatFeatures) -> Value {
    let mut tool = Map::new();
    tool.insert("type".into(), kind.into());
    for (name, value) in carry::carried(extra, FieldLocation::Tool, style.field()) {
        match (name == kind, value) {
            (true, Value::Object(fields)) => inner.extend(fields.clone()),
            _ => _ = tool.insert(name.clone(), value.clone()),
        }
    }
    tool.insert(kind.into(), inner.into());
    tool.into()
}

/// The format of a custom tool: chat completions nest a grammar's fields.
fn nested_format(format: &Value) -> Value {
    match (format.get("type").and_then(Value::as_str), format.get("grammar")) {
        (Some("grammar"), None) => {
            let inner: Map<String, Value> = ["syntax", "definition"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), format.get(*name)?.clone())))
                .collect();
            json!({ "type": "grammar", "grammar": inner })
        }
        _ => format.clone(),
    }
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
            let mut form = Map::new();
            form.insert("name".into(), name.as_str().into());
            put(&mut form, "description", description.as_deref());
            form.insert("schema".into(), schema.clone());
            form.insert("strict".into(), (*strict).into());
            form.extend(extra.to_map());
            Some(json!({ "type": "json_schema", "json_schema": form }))
        }
    };
    put(body, "response_format", format);
    put(body, "verbosity", create.text.verbosity.as_deref());
}

fn sampling(create: &Create, family: ServerFamily, body: &mut Map<String, Value>) {
    put(
        body,
        "reasoning_effort",
        create.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref()),
    );
    put(body, "temperature", create.temperature);
    put(body, "top_p", create.top_p);
    put(body, "presence_penalty", create.presence_penalty);
    put(body, "frequency_penalty", create.frequency_penalty);
    let wants_logprobs = create.top_logprobs.is_some()
        || create.include.iter().any(|word| word == "message.output_text.logprobs");
    put(body, "logprobs", wants_logprobs.then_some(true));
    put(body, "top_logprobs", create.top_logprobs);
    let limit = match family {
        ServerFamily::OpenAi | ServerFamily::Azure => "max_completion_tokens",
        ServerFamily::Compatible => "max_tokens",
    };
    put(body, limit, create.max_output_tokens);
}

/// Fields for the operator's account at OpenAI; others have no such fields, and some reject them.
fn account(create: &Create, body: &mut Map<String, Value>) {
    // Always set: for newer accounts OpenAI stores responses by default.
    body.insert("store".into(), create.store.into());
    // OpenAI accepts metadata only with stored responses.
    put(
        body,
        "metadata",
        (create.store && !create.metadata.is_empty()).then(|| create.metadata.clone()),
    );
    put(body, "service_tier", create.service_tier.as_deref());
    put(body, "safety_identifier", create.safety_identifier.as_deref());
    put(body, "prompt_cache_key", create.prompt_cache_key.as_deref());
}

#[cfg(test)]
mod tests;
