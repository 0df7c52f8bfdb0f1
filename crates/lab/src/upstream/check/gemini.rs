//! What Gemini demands. Its fields are those of protocol buffers: an unknown one is refused at any depth, and either case of a
//! known one is taken.

use serde_json::Value;

use super::{Asked, Found, is_stream, list, model};

/// The fields of a request, as python-genai writes them.
const FIELDS: &[&str] = &[
    "model",
    "contents",
    "systemInstruction",
    "safetySettings",
    "tools",
    "toolConfig",
    "labels",
    "cachedContent",
    "serviceTier",
    "store",
    "generationConfig",
];

/// The fields of `generationConfig`, as python-genai writes them.
const CONFIG_FIELDS: &[&str] = &[
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "responseLogprobs",
    "logprobs",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "mediaResolution",
    "speechConfig",
    "thinkingConfig",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "audioTranscriptionConfig",
];

/// What a part can hold; it holds exactly one of these.
const PART_DATA: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

/// What a part can have beside its data.
const PART_MORE: &[&str] = &["thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"];

pub(super) fn check(asked: &Asked<'_>, found: &mut Found) {
    if is_stream(asked.route, asked.body) && !asked.query.split('&').any(|pair| pair == "alt=sse") {
        // The vendor would send one JSON array; the lab has no need of that.
        found.invalid("The lab streams with alt=sse only.");
    }
    let model = model(asked.route, asked.body).unwrap_or_default();
    if model.is_empty() {
        found.invalid("The path names no model.");
    }
    let body = camel_case(asked.body);
    let unknown = |name: &str| format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
    found.unknown(&body, FIELDS, unknown);
    found.unknown(&body["generationConfig"], CONFIG_FIELDS, |name| {
        format!("Invalid JSON payload received. Unknown name \"{name}\" at 'generation_config': Cannot find field.")
    });
    if list(&body["contents"]).is_empty() {
        return found.invalid("* GenerateContentRequest.contents: contents is not specified");
    }
    for part in list(&body["systemInstruction"]["parts"]) {
        check_part(&camel_case(part), found);
    }
    check_contents(list(&body["contents"]), model.starts_with("gemini-3"), found);
}

/// `wants_seals`: Gemini 3 wants back the seal of the first call of a turn.
fn check_contents(contents: &[Value], wants_seals: bool, found: &mut Found) {
    let mut calls = 0;
    let mut before = "";
    for (place, content) in contents.iter().enumerate() {
        // Without a role it is the user's, as the SDK's shortest form has it.
        let role = content["role"].as_str().unwrap_or("user");
        if !["user", "model", "function"].contains(&role) {
            found.strict("Please use a valid role: user, model.");
        }
        let parts: Vec<Value> = list(&content["parts"]).iter().map(camel_case).collect();
        if parts.is_empty() {
            found.strict(&format!("* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty."));
        }
        for part in &parts {
            check_part(part, found);
        }
        let count = |name: &str| parts.iter().filter(|part| !part[name].is_null()).count();
        if count("functionResponse") != calls && (calls > 0 || count("functionResponse") > 0) {
            found.strict("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.");
        }
        calls = count("functionCall");
        if calls > 0 && (role != "model" || before == "model" || before.is_empty()) {
            found.strict("Please ensure that function call turn comes immediately after a user turn or after a function response turn.");
        }
        let first_call = parts.iter().find(|part| !part["functionCall"].is_null());
        if wants_seals && first_call.is_some_and(|part| !part["thoughtSignature"].is_string()) {
            found.strict("Function call is missing a thought_signature in functionCall parts.");
        }
        before = role;
    }
    if calls > 0 {
        found.strict("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.");
    }
}

fn check_part(part: &Value, found: &mut Found) {
    let data = PART_DATA.iter().filter(|name| !part[**name].is_null()).count();
    if data != 1 {
        found.strict("* GenerateContentRequest.contents.parts.data: required oneof field 'data' must have one initialized field");
    }
    let known: Vec<&str> = PART_DATA.iter().chain(PART_MORE).copied().collect();
    found.unknown(part, &known, |name| {
        format!("Invalid JSON payload received. Unknown name \"{name}\" at 'contents.parts': Cannot find field.")
    });
    let (call, response) = (&part["functionCall"], &part["functionResponse"]);
    for (name, function) in [("function_call", call), ("function_response", response)] {
        if !function.is_null() && function["name"].as_str().is_none_or(str::is_empty) {
            found.strict(&format!("* GenerateContentRequest.contents.parts.{name}.name: Name cannot be empty."));
        }
    }
    if !response.is_null() && !response["response"].is_object() {
        found.strict("Invalid value at 'contents.parts.function_response.response': it is no object.");
    }
    if !call["args"].is_null() && !call["args"].is_object() {
        found.strict("Invalid value at 'contents.parts.function_call.args': it is no object.");
    }
}

/// The names of an object's fields in the case that JSON has them; their values stay.
fn camel_case(value: &Value) -> Value {
    let Some(fields) = value.as_object() else { return value.clone() };
    let camel = |name: &str| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |so_far, word| {
            let mut letters = word.chars();
            let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
            so_far + &initial.into_iter().chain(letters).collect::<String>()
        })
    };
    fields.iter().map(|(name, value)| (camel(name), value.clone())).collect::<serde_json::Map<_, _>>().into()
}
