//! Builds the body of `POST /messages`, without I/O.

use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::request::{Create, TextFormat, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::super::carry::{self, Carrier, FieldLocation, InnerFields};
use super::super::shared::{self, put, unsupported_parameter, unsupported_value};
use super::fields::field;
use super::messages::AnthropicMessages;
use super::model::Generation;
use crate::config::HostedTools;
use crate::tools::{OfferedTool, OfferedTools};

const VENDOR: &str = "Anthropic";

/// Anthropic's own parameters that are passed through.
const OWN: &[&str] = &["thinking", "cache_control"];

/// The smallest budget that Anthropic accepts.
const LEAST_BUDGET: u64 = 1_024;

/// The highest temperature.
const MAX_TEMPERATURE: f64 = 1.0;

/// Whether a parameter outside the Responses vocabulary is supported.
fn knows(parameter: &str) -> bool {
    ["stop", "top_k"].contains(&parameter) || OWN.contains(&parameter)
}

/// Checks that Anthropic supports the request, for any model. Returns the fields that are left out.
///
/// # Errors
/// The first unsupported field.
pub(super) fn check(create: &Create, hosted_tools: HostedTools) -> Result<Vec<String>, Fault> {
    let mut ignored = Vec::new();
    shared::check(create, VENDOR, knows, &mut ignored)?;
    let carrier = Carrier {
        vendor: VENDOR,
        field,
        part: |_| false,
        item: super::messages::is_block,
        inner: InnerFields::Checked,
        thoughts: super::messages::is_signed,
        hosted: Some(hosted_tools),
    };
    carry::check(create, &carrier, &mut ignored)?;
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    if is_set(create.presence_penalty) {
        return Err(unsupported_parameter(VENDOR, "presence_penalty"));
    }
    if is_set(create.frequency_penalty) {
        return Err(unsupported_parameter(VENDOR, "frequency_penalty"));
    }
    if shared::wants_logprobs(create) {
        return Err(unsupported_parameter(VENDOR, "top_logprobs"));
    }
    // Anthropic's scale ends at 1, the most random.
    if create.temperature.is_some_and(|temperature| temperature > MAX_TEMPERATURE) {
        ignored.push("temperature".to_owned());
    }
    if matches!(create.text.format, TextFormat::JsonObject { .. })
        && create.text.format.schema().is_none()
    {
        let message = "Anthropic, which serves this model, requires a JSON schema: use the format json_schema.";
        return Err(Fault::invalid("unsupported_value", "text.format", message));
    }
    service_tier(create)?;
    Ok(ignored)
}

/// Builds the request body.
///
/// # Errors
/// An input that Anthropic does not support.
pub(super) fn body(request: &ModelRequest, hosted_tools: HostedTools) -> Result<Value, Fault> {
    let create = &*request.create;
    let offer = OfferedTools::of(request);
    let generation = Generation::of(request.model());
    let max_tokens = create.max_output_tokens.unwrap_or_else(|| generation.default_max_tokens());
    let mut conversation = AnthropicMessages::default();
    conversation.instructions(create.instructions.as_deref().unwrap_or_default());
    conversation.read(&request.context, &offer)?;
    let (system, messages) = conversation.finish();
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    body.insert("max_tokens".into(), max_tokens.into());
    put(&mut body, "system", (!system.is_empty()).then_some(system));
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());
    tools(&offer, create, hosted_tools, &mut body);
    output(create, generation, max_tokens, &mut body)?;
    sampling(create, &mut body)?;
    put(&mut body, "service_tier", service_tier(create)?);
    put(
        &mut body,
        "metadata",
        create.safety_identifier.as_deref().map(|user| json!({ "user_id": user })),
    );
    for name in OWN {
        put(&mut body, name, create.extra.get(*name).cloned());
    }
    Ok(body.into())
}

fn tools(
    offer: &OfferedTools<'_>,
    create: &Create,
    hosted_tools: HostedTools,
    body: &mut Map<String, Value>,
) {
    let mut tools: Vec<Value> = offer.tools.iter().map(tool).collect();
    if hosted_tools == HostedTools::Pass {
        tools.extend(offer.hosted.iter().map(|fields| Value::Object(fields.to_map())));
    }
    if tools.is_empty() {
        return;
    }
    let mut choice = match (offer.choice(), offer.choice().mode()) {
        (ToolChoice::Tool(named), _) => {
            json!({ "type": "tool", "name": offer.wire_name(&named.name) })
        }
        (_, ToolMode::Required) => json!({ "type": "any" }),
        (_, ToolMode::Auto) => json!({ "type": "auto" }),
        (_, ToolMode::None) => json!({ "type": "none" }),
    };
    if create.parallel_tool_calls == Some(false) && create.tool_choice.mode() != ToolMode::None {
        choice["disable_parallel_tool_use"] = true.into();
    }
    body.insert("tools".into(), tools.into());
    body.insert("tool_choice".into(), choice);
}

fn tool(tool: &OfferedTool<'_>) -> Value {
    let mut schema = match tool.parameters.as_deref() {
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) | None => Map::new(),
    };
    // Anthropic requires it; OpenAI implies it.
    schema.entry("type").or_insert_with(|| "object".into());
    let mut sent = Map::new();
    sent.insert("name".into(), tool.name.as_ref().into());
    put(&mut sent, "description", tool.description.as_deref());
    sent.insert("input_schema".into(), schema.into());
    // Older models reject the field, whatever its value.
    put(&mut sent, "strict", tool.strict.filter(|strict| *strict));
    if let Some(extra) = tool.extra {
        // Chat completions nest a tool's fields in `function`.
        let inner = extra.get("function").and_then(Value::as_object).into_iter().flatten();
        let fields = extra.iter().chain(inner).filter(|(name, _)| field(FieldLocation::Tool, name));
        sent.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    }
    sent.into()
}

/// Output format and reasoning settings.
fn output(
    create: &Create,
    generation: Generation,
    max_tokens: u64,
    body: &mut Map<String, Value>,
) -> Result<(), Fault> {
    let mut config = Map::new();
    if generation.is_adaptive() {
        adaptive_thinking(create, &mut config, body);
    } else {
        budgeted_thinking(create, max_tokens, body)?;
    }
    if let Some(schema) = create.text.format.schema() {
        config.insert("format".into(), json!({ "type": "json_schema", "schema": schema }));
    }
    put(body, "output_config", (!config.is_empty()).then_some(config));
    Ok(())
}

/// Adaptive thinking, guided by an effort. Models that always think reject `none` themselves.
fn adaptive_thinking(
    create: &Create,
    config: &mut Map<String, Value>,
    body: &mut Map<String, Value>,
) {
    let effort = match shared::effort(create) {
        Some("none") => {
            body.insert("thinking".into(), json!({ "type": "disabled" }));
            return;
        }
        // No model has a lower effort than `low`.
        Some("minimal") => Some("low"),
        other => other,
    };
    let is_shown = shared::wants_summary(create);
    if effort.is_some() || is_shown {
        let mut thinking = json!({ "type": "adaptive" });
        if is_shown {
            // Newer models omit their reasoning unless it is requested.
            thinking["display"] = "summarized".into();
        }
        body.insert("thinking".into(), thinking);
    }
    put(config, "effort", effort);
}

/// Thinking with a token budget. The output limit includes it, so it is at most half of the limit.
fn budgeted_thinking(
    create: &Create,
    max_tokens: u64,
    body: &mut Map<String, Value>,
) -> Result<(), Fault> {
    let budget = match shared::effort(create) {
        None => return Ok(()),
        Some("none") => {
            body.insert("thinking".into(), json!({ "type": "disabled" }));
            return Ok(());
        }
        Some("minimal") => LEAST_BUDGET,
        Some("low") => 2 * LEAST_BUDGET,
        Some("medium") => 8 * LEAST_BUDGET,
        Some("high") => 16 * LEAST_BUDGET,
        Some(_) => 32 * LEAST_BUDGET,
    };
    let budget = budget.min(max_tokens / 2);
    if budget < LEAST_BUDGET {
        let message = format!(
            "Anthropic requires at least {} output tokens for reasoning.",
            2 * LEAST_BUDGET
        );
        return Err(Fault::invalid("unsupported_value", "max_output_tokens", message));
    }
    body.insert("thinking".into(), json!({ "type": "enabled", "budget_tokens": budget }));
    Ok(())
}

fn sampling(create: &Create, body: &mut Map<String, Value>) -> Result<(), Fault> {
    put(
        body,
        "temperature",
        create.temperature.map(|temperature| temperature.min(MAX_TEMPERATURE)),
    );
    put(body, "top_p", create.top_p);
    put(body, "top_k", shared::whole_number(create, "top_k")?);
    put(body, "stop_sequences", shared::stop_sequences(create)?);
    Ok(())
}

/// Anthropic's name for a service tier. It has none for cheaper or more expensive tiers.
fn service_tier(create: &Create) -> Result<Option<&str>, Fault> {
    match create.service_tier.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some("auto")),
        Some("default" | "standard_only") => Ok(Some("standard_only")),
        Some(other) => Err(unsupported_value(VENDOR, "service_tier", other)),
    }
}

#[cfg(test)]
mod tests;
