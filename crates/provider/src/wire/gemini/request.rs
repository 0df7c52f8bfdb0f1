//! Builds the body of `streamGenerateContent`, without I/O.

use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::request::{Create, TextFormat, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::super::carry::{self, Carrier, FieldLocation, InnerFields};
use super::super::shared::{self, put, unsupported_value};
use super::contents::GeminiContents;
use super::model::Thinking;
use super::names::{EXTRA_CONTENT, PARTS, SIGNATURE};
use crate::config::HostedTools;
use crate::tools::{OfferedTool, OfferedTools};

const VENDOR: &str = "Gemini";

/// Gemini's own parameters that are passed through.
const OWN: &[&str] = &["safetySettings", "cachedContent"];

/// Whether a parameter beyond the vocabulary is supported.
fn knows(parameter: &str) -> bool {
    ["stop", "top_k", "seed"].contains(&parameter) || OWN.contains(&parameter)
}

/// Checks that Gemini supports the request, for any model. Returns the fields that are left out.
///
/// # Errors
/// The first unsupported field.
pub(super) fn check(create: &Create, hosted_tools: HostedTools) -> Result<Vec<String>, Fault> {
    let mut ignored = Vec::new();
    shared::check(create, VENDOR, knows, &mut ignored)?;
    let carrier = Carrier {
        vendor: VENDOR,
        field: |place, name| place == FieldLocation::Call && name == EXTRA_CONTENT,
        part: |kind| kind == "input_audio",
        item: |kind| {
            kind == "image_generation_call" || PARTS.iter().any(|(known, _)| *known == kind)
        },
        inner: InnerFields::Checked,
        thoughts: |reasoning| {
            reasoning
                .encrypted_content
                .as_deref()
                .is_some_and(|encrypted| encrypted.starts_with(SIGNATURE))
        },
        hosted: Some(hosted_tools),
    };
    carry::check(create, &carrier, &mut ignored)?;
    shared::whole_number(create, "seed")?;
    if create.parallel_tool_calls == Some(false) && !create.tools.is_empty() {
        ignored.push("parallel_tool_calls".to_owned());
    }
    service_tier(create)?;
    Ok(ignored)
}

/// Builds the request body.
///
/// # Errors
/// An input that Gemini does not support.
pub(super) fn body(request: &ModelRequest, hosted_tools: HostedTools) -> Result<Value, Fault> {
    let create = &*request.create;
    let thinking = Thinking::of(request.model());
    let offer = OfferedTools::of(request);
    let mut contents = GeminiContents::new(thinking);
    contents.instructions(create.instructions.as_deref().unwrap_or_default());
    contents.read(&request.context, &offer)?;
    let (system, contents) = contents.finish();
    let mut body = Map::new();
    put(&mut body, "systemInstruction", (!system.is_empty()).then(|| json!({ "parts": system })));
    body.insert("contents".into(), contents.into());
    tools(&offer, hosted_tools, &mut body);
    let config = generation_config(create, thinking)?;
    put(&mut body, "generationConfig", (!config.is_empty()).then_some(config));
    put(&mut body, "serviceTier", service_tier(create)?);
    for name in OWN {
        put(&mut body, name, create.extra.get(*name).cloned());
    }
    Ok(body.into())
}

fn tools(offer: &OfferedTools<'_>, hosted_tools: HostedTools, body: &mut Map<String, Value>) {
    let functions: Vec<Value> = offer.tools.iter().map(tool).collect();
    let mut tools = Vec::new();
    if !functions.is_empty() {
        tools.push(json!({ "functionDeclarations": functions }));
    }
    if hosted_tools == HostedTools::Pass {
        tools.extend(offer.hosted.iter().map(|fields| Value::Object(fields.to_map())));
    }
    put(body, "tools", (!tools.is_empty()).then_some(tools));
    if functions.is_empty() {
        return;
    }
    let choice = match (offer.choice(), offer.choice().mode()) {
        (ToolChoice::Tool(named), _) => {
            json!({ "mode": "ANY", "allowedFunctionNames": [offer.wire_name(&named.name)] })
        }
        (_, ToolMode::Required) => json!({ "mode": "ANY" }),
        (_, ToolMode::Auto) => json!({ "mode": "AUTO" }),
        (_, ToolMode::None) => json!({ "mode": "NONE" }),
    };
    body.insert("toolConfig".into(), json!({ "functionCallingConfig": choice }));
}

fn tool(tool: &OfferedTool<'_>) -> Value {
    let mut sent = Map::new();
    sent.insert("name".into(), tool.name.as_ref().into());
    put(&mut sent, "description", tool.description.as_deref());
    // `parameters` takes an OpenAPI 3.0 dialect, which rejects much of JSON Schema.
    put(&mut sent, "parametersJsonSchema", tool.parameters.as_deref().cloned());
    sent.into()
}

fn generation_config(create: &Create, thinking: Thinking) -> Result<Map<String, Value>, Fault> {
    let mut config = Map::new();
    put(&mut config, "maxOutputTokens", create.max_output_tokens);
    put(&mut config, "temperature", create.temperature);
    put(&mut config, "topP", create.top_p);
    put(&mut config, "topK", shared::whole_number(create, "top_k")?);
    put(&mut config, "seed", shared::whole_number(create, "seed")?);
    put(&mut config, "presencePenalty", create.presence_penalty);
    put(&mut config, "frequencyPenalty", create.frequency_penalty);
    put(&mut config, "stopSequences", shared::stop_sequences(create)?);
    if shared::wants_logprobs(create) {
        config.insert("responseLogprobs".into(), true.into());
        put(&mut config, "logprobs", create.top_logprobs.filter(|count| *count > 0));
    }
    match &create.text.format {
        TextFormat::Text => {}
        format @ (TextFormat::JsonObject { .. } | TextFormat::JsonSchema { .. }) => {
            put(&mut config, "responseMimeType", Some("application/json"));
            put(&mut config, "responseJsonSchema", format.schema().cloned());
        }
    }
    put(&mut config, "thinkingConfig", thinking_config(create, thinking)?);
    Ok(config)
}

/// The reasoning effort, as Google translates OpenAI's efforts in its compatible API.
fn thinking_config(
    create: &Create,
    thinking: Thinking,
) -> Result<Option<Map<String, Value>>, Fault> {
    let mut config = Map::new();
    if let Some(effort) = shared::effort(create) {
        match thinking {
            Thinking::Budget => put(&mut config, "thinkingBudget", Some(budget(effort))),
            Thinking::Level => put(&mut config, "thinkingLevel", Some(level(effort)?)),
        }
    }
    let is_shown = shared::wants_summary(create)
        || shared::effort(create).is_some_and(|effort| effort != "none");
    put(&mut config, "includeThoughts", is_shown.then_some(true));
    Ok((!config.is_empty()).then_some(config))
}

fn budget(effort: &str) -> u64 {
    match effort {
        "none" => 0,
        "minimal" | "low" => 1_024,
        "medium" => 8_192,
        // The largest budget that all models with budgets accept.
        _ => 24_576,
    }
}

fn level(effort: &str) -> Result<&str, Fault> {
    match effort {
        "none" => {
            let message = "This Gemini model always reasons; the lowest effort is minimal.";
            Err(Fault::invalid("unsupported_value", "reasoning.effort", message))
        }
        // Gemini has no higher level.
        "xhigh" | "max" => Ok("high"),
        effort => Ok(effort),
    }
}

fn service_tier(create: &Create) -> Result<Option<&str>, Fault> {
    match create.service_tier.as_deref() {
        None | Some("auto") => Ok(None),
        Some("default" | "standard") => Ok(Some("standard")),
        Some(tier @ ("flex" | "priority")) => Ok(Some(tier)),
        Some(other) => Err(unsupported_value(VENDOR, "service_tier", other)),
    }
}

#[cfg(test)]
mod tests;
