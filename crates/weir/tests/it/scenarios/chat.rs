//! The dialect `chat_completions`: the format of chunks and completions, and their content.

use client::BodyEnd;
use serde_json::{Value, json};

use super::ResponseContent;
use super::content::ContentToolCall;
use super::table::{ExpectedOutcome, ExpectedUsage, Scenario};

/// A completed chat completion, streamed or not.
pub(crate) struct EndedCompletion {
    pub(crate) said: ResponseContent,
    pub(crate) finish_reason: Option<String>,
    /// `None` if not requested.
    pub(crate) usage: Option<Value>,
    pub(crate) error: Option<Value>,
}

/// How a stream's body ends: only a complete response has a clean end.
pub(crate) fn body_end(scenario: &Scenario) -> BodyEnd {
    match scenario.outcome {
        ExpectedOutcome::Completed(_) | ExpectedOutcome::Incomplete(..) => BodyEnd::Clean,
        ExpectedOutcome::Fails { .. } => BodyEnd::Truncated,
    }
}

/// Checks a completion's content and end.
pub(crate) fn check_end(scenario: &Scenario, ended: &EndedCompletion) {
    let name = &scenario.name;
    ended.said.check(name, &scenario.said);
    let (finish_reason, code) = match scenario.outcome {
        ExpectedOutcome::Completed(reason) | ExpectedOutcome::Incomplete(_, reason) => {
            (Some(reason), None)
        }
        ExpectedOutcome::Fails { code, .. } => (None, Some(code)),
    };
    assert_eq!(ended.finish_reason.as_deref(), finish_reason, "{name}");
    assert_eq!(ended.error.as_ref().and_then(|error| error["code"].as_str()), code, "{name}");
    let Some(usage) = &ended.usage else { return };
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert_eq!(
        count("/total_tokens"),
        count("/prompt_tokens") + count("/completion_tokens"),
        "{name}"
    );
    assert!(usage["prompt_tokens_details"]["cached_tokens"].is_u64(), "{name}");
    let reasoning = count("/completion_tokens_details/reasoning_tokens");
    let cost = match usage["source"].as_str() {
        Some("counted") if count("/prompt_tokens") > 0 && count("/completion_tokens") > 0 => {
            ExpectedUsage::Counted
        }
        _ => {
            ExpectedUsage::Provider(count("/prompt_tokens"), count("/completion_tokens"), reasoning)
        }
    };
    assert_eq!(cost, scenario.cost, "{name}: {usage}");
}

/// Reads a complete `chat.completion`.
pub(crate) fn read_completion(name: &str, completion: &Value) -> EndedCompletion {
    check_head(name, completion, "chat.completion");
    let choice = one_choice(name, completion).unwrap();
    let message = &choice["message"];
    assert_eq!(message["role"], "assistant", "{name}");
    assert!(
        ["content", "refusal"].iter().all(|key| message.get(key).is_some()),
        "{name}: {message}"
    );
    let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
    let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
        assert_eq!(call["type"], "function", "{name}");
        let function = |key: &str| call["function"][key].as_str().unwrap().to_owned();
        ContentToolCall {
            id: call["id"].as_str().unwrap().to_owned(),
            name: function("name"),
            arguments: function("arguments"),
        }
    });
    EndedCompletion {
        said: ResponseContent {
            reasoning: text("reasoning_content"),
            text: text("content"),
            refusal: text("refusal"),
            calls: calls.collect(),
        },
        finish_reason: choice["finish_reason"].as_str().map(str::to_owned),
        usage: Some(completion["usage"].clone()),
        error: None,
    }
}

/// Reads a complete stream of chunks.
pub(crate) fn read_stream(
    scenario: &Scenario,
    data: &[String],
    include_usage: bool,
) -> EndedCompletion {
    let name = &scenario.name;
    let mut chunks: Vec<Value> =
        data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let mut ended = EndedCompletion {
        said: ResponseContent::default(),
        finish_reason: None,
        usage: None,
        error: None,
    };
    if matches!(scenario.outcome, ExpectedOutcome::Fails { .. }) {
        let last = chunks.pop().unwrap();
        assert!(
            last.get("choices").is_none(),
            "{name}: clients take a chunk with choices for no error: {last}"
        );
        ended.error = Some(last["error"].clone());
    } else if include_usage {
        let last = chunks.pop().unwrap();
        check_head(name, &last, "chat.completion.chunk");
        assert_eq!(last["choices"], json!([]), "{name}: the chunk of the usage has no choice");
        ended.usage = Some(last["usage"].clone());
    }
    let first = one_choice(name, &chunks[0]).unwrap();
    assert_eq!(
        first["delta"],
        json!({ "role": "assistant", "content": "" }),
        "{name}: the role comes first"
    );
    for (index, chunk) in chunks.iter().enumerate() {
        check_head(name, chunk, "chat.completion.chunk");
        assert_eq!(
            (&chunk["id"], &chunk["created"]),
            (&chunks[0]["id"], &chunks[0]["created"]),
            "{name}"
        );
        let expected_usage = if include_usage { Some(&Value::Null) } else { None };
        assert_eq!(chunk.get("usage"), expected_usage, "{name}");
        let choice = one_choice(name, chunk).unwrap();
        add_delta(name, &mut ended.said, &choice["delta"]);
        assert!(index == 0 || choice["delta"].get("role").is_none(), "{name}: the role comes once");
        if let Some(reason) = choice["finish_reason"].as_str() {
            assert_eq!(index, chunks.len() - 1, "{name}: the finish reason comes last");
            assert_eq!(choice["delta"], json!({}), "{name}");
            ended.finish_reason = Some(reason.to_owned());
        }
    }
    ended
}

fn add_delta(name: &str, said: &mut ResponseContent, delta: &Value) {
    let add = |text: &mut String, key: &str| text.push_str(delta[key].as_str().unwrap_or_default());
    add(&mut said.reasoning, "reasoning_content");
    add(&mut said.text, "content");
    add(&mut said.refusal, "refusal");
    for piece in delta["tool_calls"].as_array().into_iter().flatten() {
        let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
        if let Some(id) = piece["id"].as_str() {
            assert_eq!(index, said.calls.len(), "{name}: calls are numbered in order");
            assert_eq!(piece["type"], "function", "{name}");
            let call_name = piece["function"]["name"].as_str().unwrap();
            said.calls.push(ContentToolCall {
                id: id.to_owned(),
                name: call_name.to_owned(),
                arguments: String::new(),
            });
        }
        said.calls[index].arguments.push_str(piece["function"]["arguments"].as_str().unwrap());
    }
}

fn check_head(name: &str, value: &Value, object: &str) {
    assert_eq!(value["object"], object, "{name}: {value}");
    assert!(
        value["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")),
        "{name}: {}",
        value["id"]
    );
    assert!(value["created"].is_u64() && value["model"].is_string(), "{name}");
}

fn one_choice<'a>(name: &str, value: &'a Value) -> Option<&'a Value> {
    let choices = value["choices"].as_array()?;
    assert_eq!(choices.len(), 1, "{name}: {value}");
    assert_eq!(choices[0]["index"], 0, "{name}");
    assert!(
        choices[0].get("finish_reason").is_some() && choices[0].get("logprobs").is_some(),
        "{name}"
    );
    choices.first()
}
