//! Turns a request into the body of `POST /messages`; no I/O.

use engine::provider::ModelRequest;
use protocol::fault::Fault;
use protocol::request::{Create, FunctionTool, TextFormat, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::super::shared::{self, no_value, no_word, put};
use super::messages::Conversation;
use super::model::Generation;

const VENDOR: &str = "Anthropic";

/// Parameters of Anthropic's own that go through as they are.
const OWN: &[&str] = &["thinking", "cache_control"];

/// The smallest budget that Anthropic takes.
const LEAST_BUDGET: u64 = 1_024;

/// Whether this wire has a word for a parameter that the vocabulary has none for.
pub(super) fn knows(parameter: &str) -> bool {
    ["stop", "top_k"].contains(&parameter) || OWN.contains(&parameter)
}

/// Says what in a request Anthropic has no word for, whatever the model.
///
/// # Errors
/// The first such field.
pub(super) fn check(create: &Create) -> Result<(), Fault> {
    shared::check(create, VENDOR, knows)?;
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    if is_set(create.presence_penalty) {
        return Err(no_word(VENDOR, "presence_penalty"));
    }
    if is_set(create.frequency_penalty) {
        return Err(no_word(VENDOR, "frequency_penalty"));
    }
    if shared::wants_logprobs(create) {
        return Err(no_word(VENDOR, "top_logprobs"));
    }
    if let Some(temperature) = create.temperature.filter(|temperature| *temperature > 1.0) {
        return Err(no_value(VENDOR, "temperature", &temperature.to_string()));
    }
    if create.text.format == TextFormat::JsonObject {
        let message = "Anthropic, which serves this model, needs the schema of the JSON: use the format json_schema.";
        return Err(Fault::invalid("unsupported_value", "text.format", message));
    }
    service_tier(create).map(|_| ())
}

/// The body of the request.
///
/// # Errors
/// An input that this wire has no word for.
pub(super) fn body(request: &ModelRequest) -> Result<Value, Fault> {
    let create = &*request.create;
    let generation = Generation::of(request.model());
    let max_tokens = create.max_output_tokens.unwrap_or_else(|| generation.default_max_tokens());
    let mut conversation = Conversation::default();
    conversation.instructions(create.instructions.as_deref().unwrap_or_default());
    conversation.read(&request.context)?;
    let (system, messages) = conversation.finish();
    let mut body = Map::new();
    body.insert("model".into(), request.model().into());
    body.insert("max_tokens".into(), max_tokens.into());
    put(&mut body, "system", (!system.is_empty()).then_some(system));
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());
    tools(create, &mut body);
    output(create, generation, max_tokens, &mut body)?;
    sampling(create, &mut body)?;
    put(&mut body, "service_tier", service_tier(create)?);
    put(&mut body, "metadata", create.safety_identifier.as_deref().map(|user| json!({ "user_id": user })));
    for name in OWN {
        put(&mut body, name, create.extra.get(*name).cloned());
    }
    Ok(body.into())
}

fn tools(create: &Create, body: &mut Map<String, Value>) {
    let tools: Vec<Value> = shared::allowed_tools(create).map(tool).collect();
    if tools.is_empty() {
        return;
    }
    let mut choice = match (&create.tool_choice, create.tool_choice.mode()) {
        (ToolChoice::Function(function), _) => json!({ "type": "tool", "name": function.name }),
        (ToolChoice::Mode(_) | ToolChoice::Allowed(_), ToolMode::Required) => json!({ "type": "any" }),
        (ToolChoice::Mode(_) | ToolChoice::Allowed(_), ToolMode::Auto) => json!({ "type": "auto" }),
        (ToolChoice::Mode(_) | ToolChoice::Allowed(_), ToolMode::None) => json!({ "type": "none" }),
    };
    if create.parallel_tool_calls == Some(false) && create.tool_choice.mode() != ToolMode::None {
        choice["disable_parallel_tool_use"] = true.into();
    }
    body.insert("tools".into(), tools.into());
    body.insert("tool_choice".into(), choice);
}

fn tool(tool: &FunctionTool) -> Value {
    let mut schema = match &tool.parameters {
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) | None => Map::new(),
    };
    // Anthropic demands it, and OpenAI means it.
    schema.entry("type").or_insert_with(|| "object".into());
    let mut sent = Map::new();
    sent.insert("name".into(), tool.name.as_str().into());
    put(&mut sent, "description", tool.description.as_deref());
    sent.insert("input_schema".into(), schema.into());
    // Older models refuse the word, whatever its value.
    put(&mut sent, "strict", tool.strict.filter(|strict| *strict));
    sent.into()
}

/// What is said of the answer's form, and of the thoughts before it.
fn output(create: &Create, generation: Generation, max_tokens: u64, body: &mut Map<String, Value>) -> Result<(), Fault> {
    let mut config = Map::new();
    if generation.is_adaptive() {
        adaptive_thinking(create, &mut config, body);
    } else {
        budgeted_thinking(create, max_tokens, body)?;
    }
    if let TextFormat::JsonSchema { schema, .. } = &create.text.format {
        config.insert("format".into(), json!({ "type": "json_schema", "schema": schema }));
    }
    put(body, "output_config", (!config.is_empty()).then_some(config));
    Ok(())
}

/// The model decides, guided by an effort. Models that always think refuse `none` themselves.
fn adaptive_thinking(create: &Create, config: &mut Map<String, Value>, body: &mut Map<String, Value>) {
    let effort = match shared::effort(create) {
        Some("none") => {
            body.insert("thinking".into(), json!({ "type": "disabled" }));
            return;
        }
        // No model has less than `low`.
        Some("minimal") => Some("low"),
        other => other,
    };
    let is_shown = shared::wants_summary(create);
    if effort.is_some() || is_shown {
        let mut thinking = json!({ "type": "adaptive" });
        if is_shown {
            // Newer models leave the thoughts out unless asked for them.
            thinking["display"] = "summarized".into();
        }
        body.insert("thinking".into(), thinking);
    }
    put(config, "effort", effort);
}

/// The model thinks up to a budget of tokens, which the limit on output has to leave room beside: half of it at most.
fn budgeted_thinking(create: &Create, max_tokens: u64, body: &mut Map<String, Value>) -> Result<(), Fault> {
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
        let message = format!("A model of Anthropic that is to think needs at least {} output tokens.", 2 * LEAST_BUDGET);
        return Err(Fault::invalid("unsupported_value", "max_output_tokens", message));
    }
    body.insert("thinking".into(), json!({ "type": "enabled", "budget_tokens": budget }));
    Ok(())
}

fn sampling(create: &Create, body: &mut Map<String, Value>) -> Result<(), Fault> {
    put(body, "temperature", create.temperature);
    put(body, "top_p", create.top_p);
    put(body, "top_k", shared::whole_number(create, "top_k")?);
    put(body, "stop_sequences", shared::stop_sequences(create)?);
    Ok(())
}

/// Anthropic's word for a tier: it has none for those that cost less or more by request.
fn service_tier(create: &Create) -> Result<Option<&str>, Fault> {
    match create.service_tier.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some("auto")),
        Some("default" | "standard_only") => Ok(Some("standard_only")),
        Some(other) => Err(no_value(VENDOR, "service_tier", other)),
    }
}

#[cfg(test)]
mod tests;
