//! The upstream's request for a request with every field.

use fakes::RecordedRequest;
use serde_json::{Value, json};

use crate::test_server::{MODEL, TestServer};

#[tokio::test]
async fn a_full_response_request_reaches_the_upstream_completely() {
    let schema = json!({ "type": "object", "properties": { "z": { "type": "string" }, "a": { "type": "number" } } });
    let request = json!({
        "model": MODEL,
        "instructions": "Be brief.",
        "input": [
            { "role": "developer", "content": "Use metric units." },
            { "role": "user", "content": [
                { "type": "input_text", "text": "What is this?" },
                { "type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low" },
            ] },
            { "type": "reasoning", "summary": [], "content": [{ "type": "reasoning_text", "text": "hm" }] },
            { "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "call_1", "output": "a cat" },
        ],
        "tools": [{ "type": "function", "name": "look", "description": "Looks.", "parameters": schema, "strict": true }],
        "tool_choice": "auto",
        "parallel_tool_calls": false,
        "text": { "format": { "type": "json_schema", "name": "thing", "schema": schema, "strict": true }, "verbosity": "low" },
        "reasoning": { "effort": "low" },
        "temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": -0.1, "top_logprobs": 2,
        "max_output_tokens": 100,
        "metadata": { "who": "me" }, "user": "u1", "prompt_cache_key": "k",
        "seed": 7, "stop": ["END"],
    });
    let expected = json!({
        "model": MODEL,
        "messages": [
            { "role": "system", "content": "Be brief.\n\nUse metric units." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA", "detail": "low" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "look", "arguments": "{}" } },
            ], "reasoning_content": "hm" },
            { "role": "tool", "tool_call_id": "call_1", "content": "a cat" },
        ],
        "stream": true,
        "stream_options": { "include_usage": true },
        "tools": [{ "type": "function", "function": { "name": "look", "description": "Looks.", "parameters": schema, "strict": true } }],
        "tool_choice": "auto",
        "parallel_tool_calls": false,
        "response_format": { "type": "json_schema", "json_schema": { "name": "thing", "schema": schema, "strict": true } },
        "verbosity": "low",
        "reasoning_effort": "low",
        "temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": -0.1,
        "logprobs": true, "top_logprobs": 2,
        "max_tokens": 100,
        "seed": 7, "stop": ["END"],
    });
    let asked = ask("/v1/responses", &request).await;
    assert_eq!(asked.body, expected);
    // A schema keeps the order of its keys.
    assert!(
        asked
            .body
            .to_string()
            .contains(r#""properties":{"z":{"type":"string"},"a":{"type":"number"}}"#)
    );
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(asked.headers.get("authorization"), Some("Bearer sk-of-q8Zv41Tn0bX"));
    assert_eq!(asked.headers.get("accept-encoding"), Some("identity"));
    assert_eq!(asked.headers.get("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_full_chat_request_reaches_the_upstream_completely() {
    let schema = json!({ "type": "object", "properties": {} });
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "look", "arguments": "{\"at\":1}" } });
    let tools = json!([{ "type": "function", "function": { "name": "look", "description": "Looks.", "parameters": schema } }]);
    let image = json!({ "type": "image_url", "image_url": { "url": "https://example.org/cat.png", "detail": "high" } });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "thing", "schema": schema, "strict": true } });
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "What is this?" }, image] },
        { "role": "assistant", "content": "Let me look.", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call_1", "content": "a cat" },
        { "role": "user", "content": "Sure?" },
    ]);
    let request = json!({
        "model": MODEL, "messages": messages, "tools": tools, "tool_choice": { "type": "function", "function": { "name": "look" } },
        "response_format": format, "reasoning_effort": "high", "temperature": 0, "max_completion_tokens": 5,
        "logit_bias": { "1": -100 }, "stop": "END", "seed": 3, "n": 1,
    });
    let expected = json!({
        "model": MODEL, "messages": messages, "tools": tools, "tool_choice": { "type": "function", "function": { "name": "look" } },
        "response_format": format, "reasoning_effort": "high", "temperature": 0.0, "max_tokens": 5,
        "logit_bias": { "1": -100 }, "stop": "END", "seed": 3,
        "stream": true, "stream_options": { "include_usage": true },
    });
    assert_eq!(ask("/v1/chat/completions", &request).await.body, expected);
}

/// Sends the request, and returns what the upstream received.
async fn ask(path: &str, request: &Value) -> RecordedRequest {
    let test_server = TestServer::open().await;
    // A named tool must be called.
    test_server.upstream.default_script(fakes::Script::tool_call("look", "call_2", &["{}"]));
    let (status, answer) = test_server.post(path, request).await;
    assert_eq!(status, 200, "{answer}");
    let asked = test_server.upstream.requests().remove(0);
    test_server.quiet().await;
    test_server.close().await;
    asked
}
