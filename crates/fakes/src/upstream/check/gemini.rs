//! Gemini's rules. Its fields are those of protocol buffers: an unknown one is refused at any
//! depth, and both cases of a known one are accepted.

use serde_json::Value;

use super::findings::{CheckedRequest, Findings, list};
use super::request::{is_stream, model};

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

/// The data of a part; exactly one of these.
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

/// The other fields of a part.
const PART_MORE: &[&str] =
    &["thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"];

pub(super) fn check(checked: &CheckedRequest<'_>, found: &mut Findings) {
    if is_stream(checked.route, checked.body)
        && !checked.query.split('&').any(|pair| pair == "alt=sse")
    {
        // The vendor would send a JSON array, which the fake does not implement.
        found.invalid("The fake streams only with alt=sse.");
    }
    let model = model(checked.route, checked.body).unwrap_or_default();
    if model.is_empty() {
        found.invalid("The path names no model.");
    }
    let body = camel_case(checked.body);
    let unknown = |name: &str| {
        format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
    };
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

/// `needs_signatures`: Gemini 3 requires the signature of the first call of a turn back.
fn check_contents(contents: &[Value], needs_signatures: bool, found: &mut Findings) {
    let mut calls = 0;
    let mut before = "";
    for (index, content) in contents.iter().enumerate() {
        // The role defaults to the user, which the SDK's shortest form relies on.
        let role = content["role"].as_str().unwrap_or("user");
        if !["user", "model", "function"].contains(&role) {
            found.strict("Please use a valid role: user, model.");
        }
        let parts: Vec<Value> = list(&content["parts"]).iter().map(camel_case).collect();
        if parts.is_empty() {
            found.strict(&format!("* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty."));
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
        if needs_signatures && first_call.is_some_and(|part| !part["thoughtSignature"].is_string())
        {
            found.strict("Function call is missing a thought_signature in functionCall parts.");
        }
        before = role;
    }
    if calls > 0 {
        found.strict("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.");
    }
}

fn check_part(part: &Value, found: &mut Findings) {
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
            found.strict(&format!(
                "* GenerateContentRequest.contents.parts.{name}.name: Name cannot be empty."
            ));
        }
    }
    if !response.is_null() && !response["response"].is_object() {
        found.strict(
            "Invalid value at 'contents.parts.function_response.response': it is not an object.",
        );
    }
    if !call["args"].is_null() && !call["args"].is_object() {
        found.strict("Invalid value at 'contents.parts.function_call.args': it is not an object.");
    }
}

/// An object with its field names in camel case, as in JSON; the values are unchanged.
fn camel_case(value: &Value) -> Value {
    let Some(fields) = value.as_object() else { return value.clone() };
    let camel = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |result, part| {
            let mut letters = part.chars();
            let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
            result + &initial.into_iter().chain(letters).collect::<String>()
        })
    };
    fields
        .iter()
        .map(|(name, value)| (camel(name), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
