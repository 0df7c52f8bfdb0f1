//! Turns a request into the body of `streamGenerateContent`; no I/O.

use engine::provider::ModelRequest;
use protocol::fault::Fault;
use protocol::request::{Create, FunctionTool, TextFormat, ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::super::shared::{self, no_value, put};
use super::contents::Contents;
use super::model::Thinking;

const VENDOR: &str = "Gemini";

/// Parameters of Gemini's own that go through as they are.
const OWN: &[&str] = &["safetySettings", "cachedContent"];

/// Whether this wire has a word for a parameter that the vocabulary has none for.
pub(super) fn knows(parameter: &str) -> bool {
    ["stop", "top_k", "seed"].contains(&parameter) || OWN.contains(&parameter)
}

/// Says what in a request Gemini has no word for, whatever the model.
///
/// # Errors
/// The first such field.
pub(super) fn check(create: &Create) -> Result<(), Fault> {
    shared::check(create, VENDOR, knows)?;
    shared::whole_number(create, "seed")?;
    if create.parallel_tool_calls == Some(false) && !create.tools.is_empty() {
        return Err(no_value(VENDOR, "parallel_tool_calls", "false"));
    }
    service_tier(create).map(|_| ())
}

/// The body of the request.
///
/// # Errors
/// An input that this wire has no word for.
pub(super) fn body(request: &ModelRequest) -> Result<Value, Fault> {
    let create = &*request.create;
    let thinking = Thinking::of(request.model());
    let mut contents = Contents::new(thinking);
    contents.instructions(create.instructions.as_deref().unwrap_or_default());
    contents.read(&request.context)?;
    let (system, contents) = contents.finish();
    let mut body = Map::new();
    put(&mut body, "systemInstruction", (!system.is_empty()).then(|| json!({ "parts": system })));
    body.insert("contents".into(), contents.into());
    tools(create, &mut body);
    let config = generation_config(create, thinking)?;
    put(&mut body, "generationConfig", (!config.is_empty()).then_some(config));
    put(&mut body, "serviceTier", service_tier(create)?);
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
    let choice = match (&create.tool_choice, create.tool_choice.mode()) {
        (ToolChoice::Function(function), _) => json!({ "mode": "ANY", "allowedFunctionNames": [function.name] }),
        (ToolChoice::Mode(_) | ToolChoice::Allowed(_), ToolMode::Required) => json!({ "mode": "ANY" }),
        (ToolChoice::Mode(_) | ToolChoice::Allowed(_), ToolMode::Auto) => json!({ "mode": "AUTO" }),
        (ToolChoice::Mode(_) | ToolChoice::Allowed(_), ToolMode::None) => json!({ "mode": "NONE" }),
    };
    body.insert("tools".into(), json!([{ "functionDeclarations": tools }]));
    body.insert("toolConfig".into(), json!({ "functionCallingConfig": choice }));
}

fn tool(tool: &FunctionTool) -> Value {
    let mut sent = Map::new();
    sent.insert("name".into(), tool.name.as_str().into());
    put(&mut sent, "description", tool.description.as_deref());
    // `parameters` would be a dialect of its own (OpenAPI 3.0), which refuses much of JSON Schema.
    put(&mut sent, "parametersJsonSchema", tool.parameters.clone());
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
        TextFormat::JsonObject => put(&mut config, "responseMimeType", Some("application/json")),
        TextFormat::JsonSchema { schema, .. } => {
            put(&mut config, "responseMimeType", Some("application/json"));
            put(&mut config, "responseJsonSchema", Some(schema.clone()));
        }
    }
    put(&mut config, "thinkingConfig", thinking_config(create, thinking)?);
    Ok(config)
}

/// How much to think, as Google itself translates OpenAI's efforts for its compatible API.
fn thinking_config(create: &Create, thinking: Thinking) -> Result<Option<Map<String, Value>>, Fault> {
    let mut config = Map::new();
    if let Some(effort) = shared::effort(create) {
        match thinking {
            Thinking::Budget => put(&mut config, "thinkingBudget", Some(budget(effort))),
            Thinking::Level => put(&mut config, "thinkingLevel", Some(level(effort)?)),
        }
    }
    let is_shown = shared::wants_summary(create) || shared::effort(create).is_some_and(|effort| effort != "none");
    put(&mut config, "includeThoughts", is_shown.then_some(true));
    Ok((!config.is_empty()).then_some(config))
}

fn budget(effort: &str) -> u64 {
    match effort {
        "none" => 0,
        "minimal" | "low" => 1_024,
        "medium" => 8_192,
        // The most that every model with budgets takes.
        _ => 24_576,
    }
}

fn level(effort: &str) -> Result<&str, Fault> {
    match effort {
        "none" => {
            let message = "This model of Gemini always thinks; the least effort is minimal.";
            Err(Fault::invalid("unsupported_value", "reasoning.effort", message))
        }
        // Gemini has nothing above it.
        "xhigh" | "max" => Ok("high"),
        effort => Ok(effort),
    }
}

fn service_tier(create: &Create) -> Result<Option<&str>, Fault> {
    match create.service_tier.as_deref() {
        None | Some("auto") => Ok(None),
        Some("default" | "standard") => Ok(Some("standard")),
        Some(tier @ ("flex" | "priority")) => Ok(Some(tier)),
        Some(other) => Err(no_value(VENDOR, "service_tier", other)),
    }
}

#[cfg(test)]
mod tests;
