//! Requests to upstreams: one system message (K9), fields of messages, parts and tools (K7), and requests of real
//! clients (K12).

use fakes::Script;
use provider::config::{Preset, WireKind};
use serde_json::{Value, json};

use super::rounds::{OddServer, check};

/// Instructions, a developer message, and another in the middle of the conversation.
fn instructed() -> Value {
    json!({ "instructions": "Be brief.", "input": [
        { "role": "developer", "content": "Use metric units." },
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "Hello." },
        { "role": "system", "content": "The user is in a hurry." },
        { "role": "user", "content": "and?" },
    ] })
}

/// The same as chat completions.
fn instructed_chat() -> Value {
    let mut messages = instructed()["input"].clone();
    messages.as_array_mut().unwrap().insert(0, json!({ "role": "system", "content": "Be brief." }));
    json!({ "messages": messages })
}

const ALL: &str = "Be brief.\n\nUse metric units.\n\nThe user is in a hurry.";

#[tokio::test]
async fn system_messages_are_merged_at_the_start() {
    let roles = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|message| message["role"].as_str().unwrap().to_owned())
            .collect()
    };
    for preset in [
        Preset::Compatible,
        Preset::Vllm,
        Preset::LlamaCpp,
        Preset::OpenRouter,
        Preset::DeepSeek,
        Preset::Qwen,
        Preset::Ollama,
    ] {
        let talk = OddServer::open(preset).await;
        for is_chat in [false, true] {
            if is_chat {
                talk.chat(&instructed_chat()).await
            } else {
                talk.respond(&instructed()).await
            };
            let asked = talk.asked();
            assert_eq!(
                roles(&asked["messages"]),
                ["system", "user", "assistant", "user"],
                "{preset:?}: {asked}"
            );
            check(&asked, &[("/messages/0/content", json!(ALL))], &preset);
        }
        talk.close().await;
    }
    // OpenAI's own API accepts them in place, and has a developer role.
    let talk = OddServer::open(Preset::OpenAi).await;
    talk.respond(&instructed()).await;
    assert_eq!(
        roles(&talk.asked()["messages"]),
        ["system", "developer", "user", "assistant", "system", "user"]
    );
    talk.close().await;
}

#[tokio::test]
async fn other_apis_have_their_own_field_for_system_messages() {
    let texts = |list: &Value| {
        list.as_array()
            .unwrap()
            .iter()
            .map(|part| part["text"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n\n")
    };
    let anthropic = OddServer::open(Preset::Anthropic).await;
    anthropic.respond(&instructed()).await;
    let asked = anthropic.asked();
    assert_eq!(
        (texts(&asked["system"]).as_str(), asked["messages"].as_array().unwrap().len()),
        (ALL, 3),
        "{asked}"
    );
    anthropic.close().await;
    let gemini = OddServer::open(Preset::Gemini).await;
    gemini.respond(&instructed()).await;
    let asked = gemini.asked();
    assert_eq!(
        (
            texts(&asked["systemInstruction"]["parts"]).as_str(),
            asked["contents"].as_array().unwrap().len()
        ),
        (ALL, 3),
        "{asked}"
    );
    gemini.close().await;
    let responses = OddServer::open_with(Preset::Compatible, WireKind::Responses, |_| {}).await;
    responses.respond(&instructed()).await;
    let asked = responses.asked();
    assert_eq!(
        (&asked["instructions"], asked["input"].as_array().unwrap().len()),
        (&json!(ALL), 3),
        "{asked}"
    );
    responses.close().await;
}

#[tokio::test]
async fn cache_control_marks_reach_upstreams_that_support_them() {
    let mark = json!({ "type": "ephemeral" });
    let chat = json!({ "messages": [
        { "role": "system", "content": [{ "type": "text", "text": "S", "cache_control": mark }] },
        { "role": "user", "content": [{ "type": "text", "text": "U", "cache_control": mark }, { "type": "text", "text": "V" }] },
    ] });
    let responses = json!({ "input": [
        { "role": "system", "content": [{ "type": "input_text", "text": "S", "cache_control": mark }] },
        { "role": "user", "content": [{ "type": "input_text", "text": "U", "cache_control": mark }, { "type": "input_text", "text": "V" }] },
    ] });
    for (preset, system) in [
        (Preset::Anthropic, "/system/0"),
        (Preset::OpenRouter, "/messages/0/content/0"),
        (Preset::Compatible, "/messages/0/content/0"),
    ] {
        let talk = OddServer::open(preset).await;
        let user =
            if preset == Preset::Anthropic { "/messages/0/content" } else { "/messages/1/content" };
        for is_chat in [false, true] {
            if is_chat {
                talk.chat(&chat).await
            } else {
                talk.respond(&responses).await
            };
            let part = |text: &str| json!({ "type": "text", "text": text, "cache_control": mark });
            let held = [
                (system, part("S")),
                (&*format!("{user}/0"), part("U")),
                (&*format!("{user}/1"), json!({ "type": "text", "text": "V" })),
            ];
            check(&talk.asked(), &held, &preset);
        }
        talk.close().await;
    }
}

#[tokio::test]
async fn fields_of_messages_and_schemas_reach_the_upstream() {
    let talk = OddServer::open(Preset::Compatible).await;
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    talk.chat(&json!({
        "messages": [{ "role": "user", "name": "ada", "content": "hi" }, { "role": "assistant", "content": "```json\n", "prefix": true }],
        "response_format": { "type": "json_object", "schema": schema },
        "chat_template_kwargs": { "enable_thinking": false },
        "top_k": 5,
    }))
    .await;
    let held = [
        ("/messages/0/name", json!("ada")),
        ("/messages/1/prefix", json!(true)),
        ("/response_format", json!({ "type": "json_object", "schema": schema })),
        ("/chat_template_kwargs", json!({ "enable_thinking": false })),
        ("/top_k", json!(5)),
    ];
    check(&talk.asked(), &held, &"fields");
    talk.close().await;
}

#[tokio::test]
async fn the_effort_max_is_sent_or_replaced_by_the_highest() {
    for (preset, place, value) in [
        (Preset::Compatible, "/reasoning_effort", json!("max")),
        (Preset::Ollama, "/think", json!("high")),
    ] {
        let talk = OddServer::open(preset).await;
        talk.respond(&json!({ "input": "hi", "reasoning": { "effort": "max" } })).await;
        check(&talk.asked(), &[(place, value.clone())], &preset);
        talk.chat(&json!({ "messages": [{ "role": "user", "content": "hi" }], "reasoning_effort": "max" })).await;
        check(&talk.asked(), &[(place, value)], &preset);
        talk.close().await;
    }
    // Which of them an Anthropic model supports depends on its name.
    let talk = OddServer::open_with(Preset::Anthropic, WireKind::Anthropic, |upstream| {
        upstream.models = vec!["claude-sonnet-5".into()];
    })
    .await;
    let body =
        json!({ "model": "claude-sonnet-5", "input": "hi", "reasoning": { "effort": "max" } });
    talk.respond(&body).await;
    check(&talk.asked(), &[("/output_config/effort", json!("max"))], &"Anthropic");
    talk.close().await;
}

#[tokio::test]
async fn a_deprecated_function_call_and_its_output_are_translated() {
    let talk = OddServer::open(Preset::Compatible).await;
    talk.fake.default_script(Script::text(&["Sunny."]));
    talk.chat(&json!({
        "functions": [{ "name": "weather", "parameters": { "type": "object", "properties": {} } }],
        "messages": [
            { "role": "user", "content": "Weather?" },
            { "role": "assistant", "content": null, "function_call": { "name": "weather", "arguments": "{\"city\":\"Wien\"}" } },
            { "role": "function", "name": "weather", "content": "sun" },
        ],
    }))
    .await;
    let asked = talk.asked();
    let id = asked["messages"][1]["tool_calls"][0]["id"].clone();
    assert!(id.as_str().is_some_and(|id| !id.is_empty()), "{asked}");
    let function = json!({ "name": "weather", "arguments": "{\"city\":\"Wien\"}" });
    let held = [
        ("/messages/1/tool_calls/0/function", function),
        ("/messages/1/function_call", Value::Null),
        ("/messages/2", json!({ "role": "tool", "tool_call_id": id, "content": "sun" })),
        ("/functions", Value::Null),
        ("/tools/0/function/name", json!("weather")),
    ];
    check(&asked, &held, &"function_call");
    talk.close().await;
}
