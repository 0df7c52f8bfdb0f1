//! Two turns (K2, K7): what a caller gets in the first, it can send back in the second, and the upstream gets it back
//! unchanged: in both dialects, and with `previous_response_id`.

use std::fmt;

use engine::provider::route::Timeouts;
use fakes::{Script, Upstream, Vendor};
use provider::config::{Preset, UpstreamConfig, WireKind};
use serde_json::{Value, json};

use super::case::{USAGE, c, call, chunks, f};
use crate::test_server::{TestServer, TestServerPlan, upstream_of};

/// How the caller continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoesOn {
    /// With the items it got.
    Items,
    /// With the response's id.
    Id,
    /// With the message it got.
    Messages,
}

pub(super) const EVERY: [GoesOn; 3] = [GoesOn::Items, GoesOn::Id, GoesOn::Messages];

/// A server with one upstream of this kind.
pub(super) struct OddServer {
    pub(super) test_server: TestServer,
    pub(super) fake: Upstream,
}

const MODEL: &str = "odd";

impl OddServer {
    pub(super) async fn open(preset: Preset) -> Self {
        Self::open_with(preset, preset.wire(), |_| {}).await
    }

    pub(super) async fn open_with(
        preset: Preset,
        wire: WireKind,
        change: impl FnOnce(&mut UpstreamConfig),
    ) -> Self {
        let fake = Upstream::start().await.unwrap();
        let vendor = match wire {
            WireKind::Chat => Vendor::OpenAi,
            WireKind::Responses => Vendor::Responses,
            WireKind::Anthropic => Vendor::Anthropic,
            WireKind::Gemini => Vendor::Gemini,
            WireKind::Ollama => Vendor::Ollama,
        };
        let mut upstream = UpstreamConfig {
            preset,
            wire,
            ..upstream_of(MODEL, fake.base_url_of(vendor), Timeouts::default())
        };
        change(&mut upstream);
        let test_server = TestServer::open_with(TestServerPlan {
            more_upstreams: vec![upstream],
            ..TestServerPlan::default()
        })
        .await;
        Self { test_server, fake }
    }

    /// Sends a Responses API request, and returns the response.
    pub(super) async fn respond(&self, more: &Value) -> Value {
        let (status, response) =
            self.test_server.post("/v1/responses", &with(&json!({ "model": MODEL }), more)).await;
        assert_eq!((status, &response["status"]), (200, &json!("completed")), "{more}: {response}");
        response
    }

    /// Sends a chat completions request, and returns the message.
    pub(super) async fn chat(&self, more: &Value) -> Value {
        let (status, completion) = self
            .test_server
            .post("/v1/chat/completions", &with(&json!({ "model": MODEL }), more))
            .await;
        assert_eq!(status, 200, "{more}: {completion}");
        completion["choices"][0]["message"].clone()
    }

    /// The last request to the upstream.
    pub(super) fn asked(&self) -> Value {
        self.fake.requests().pop().unwrap().body
    }

    /// Two turns: the first is answered by `script`, its calls by `ok`. Returns the second request to the upstream.
    pub(super) async fn round(&self, script: &Script, goes_on: GoesOn, tools: &Tools) -> Value {
        self.fake.script(script.clone());
        self.fake.default_script(Script::text(&["Done."]));
        if goes_on == GoesOn::Messages {
            let question = json!({ "role": "user", "content": "hi" });
            let mut body = with(&json!({ "messages": [question] }), &tools.chat);
            let said = self.chat(&body).await;
            let mut messages = vec![question, said.clone()];
            let calls = said["tool_calls"].as_array().into_iter().flatten();
            messages.extend(calls.map(
                |call| json!({ "role": "tool", "tool_call_id": call["id"], "content": "ok" }),
            ));
            if said["tool_calls"].is_null() {
                messages.push(json!({ "role": "user", "content": "and?" }));
            }
            body["messages"] = messages.into();
            self.chat(&body).await;
            return self.asked();
        }
        let question = json!({ "type": "message", "role": "user", "content": "hi" });
        let mut body = with(&json!({ "input": [question] }), &tools.responses);
        let said = self.respond(&body).await;
        let output = said["output"].as_array().unwrap();
        let mut input = Vec::new();
        if goes_on == GoesOn::Id {
            body["previous_response_id"] = said["id"].clone();
        } else {
            input.push(question);
            input.extend(output.iter().cloned());
        }
        let before = input.len();
        input.extend(output.iter().filter(|item| item["call_id"].is_string()).map(|call| {
            let kind = if call["type"] == "custom_tool_call" {
                "custom_tool_call_output"
            } else {
                "function_call_output"
            };
            json!({ "type": kind, "call_id": call["call_id"], "output": "ok" })
        }));
        if input.len() == before {
            input.push(json!({ "type": "message", "role": "user", "content": "and?" }));
        }
        body["input"] = input.into();
        self.respond(&body).await;
        self.asked()
    }

    pub(super) async fn close(self) {
        self.test_server.quiet().await;
        self.test_server.close().await;
    }
}

/// The tools of a request, in each dialect.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) responses: Value,
    pub(super) chat: Value,
}

/// A function called `f`.
pub(super) fn function() -> Tools {
    let inner = json!({ "name": "f", "parameters": { "type": "object", "properties": {} } });
    Tools {
        responses: json!({ "tools": [with(&inner, &json!({ "type": "function" }))] }),
        chat: json!({ "tools": [{ "type": "function", "function": inner }] }),
    }
}

/// An object with further fields.
pub(super) fn with(object: &Value, more: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in more.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
    object
}

/// Checks values of a request to the upstream.
pub(super) fn check(asked: &Value, held: &[(&str, Value)], what: &dyn fmt::Debug) {
    for (place, value) in held {
        assert_eq!(
            asked.pointer(place).unwrap_or(&Value::Null),
            value,
            "{what:?}, {place}: {asked}"
        );
    }
}

/// A stream with pieces of calls after some other deltas.
fn calls(deltas: &[&str], pieces: &[&str]) -> Script {
    let deltas = deltas.iter().map(|delta| c(delta));
    chunks(
        deltas
            .chain(pieces.iter().map(|piece| call(piece)))
            .chain([f("tool_calls"), USAGE.to_owned()]),
    )
}

#[tokio::test]
async fn ids_and_names_of_calls_are_sent_back_unchanged() {
    let id = format!("chatcmpl-tool-{}|fc_x/y+z=:{}", "0123456789".repeat(6), "a".repeat(10));
    assert_eq!(id.len(), 95);
    let name = format!("mcp.server/{}", "n".repeat(80));
    let piece = format!(
        r#"{{"index":0,"id":"{id}","type":"function","function":{{"name":"{name}","arguments":"{{\"city\":\"A\"}}"}}}}"#
    );
    let script = calls(&[], &[&piece]);
    for preset in [Preset::Compatible, Preset::Vllm, Preset::OpenRouter] {
        let talk = OddServer::open(preset).await;
        for goes_on in EVERY {
            let asked = talk.round(&script, goes_on, &function()).await;
            let held = [
                ("/messages/1/tool_calls/0/id", json!(id)),
                ("/messages/1/tool_calls/0/function/name", json!(name)),
                ("/messages/1/tool_calls/0/function/arguments", json!(r#"{"city":"A"}"#)),
                ("/messages/2", json!({ "role": "tool", "tool_call_id": id, "content": "ok" })),
            ];
            check(&asked, &held, &(preset, goes_on));
        }
        talk.close().await;
    }
}

#[tokio::test]
async fn fields_of_calls_are_sent_back_unchanged() {
    let piece = r#"{"index":0,"id":"call_a","type":"function","extra_content":{"google":{"thought_signature":"SIG=="}},"function":{"name":"f","arguments":"{}"}}"#;
    let script = calls(&[], &[piece]);
    for preset in [Preset::Compatible, Preset::OpenRouter] {
        let talk = OddServer::open(preset).await;
        for goes_on in EVERY {
            let asked = talk.round(&script, goes_on, &function()).await;
            let held = [(
                "/messages/1/tool_calls/0/extra_content",
                json!({ "google": { "thought_signature": "SIG==" } }),
            )];
            check(&asked, &held, &(preset, goes_on));
        }
        talk.close().await;
    }
}

#[tokio::test]
async fn reasoning_is_sent_back_with_its_calls() {
    let piece =
        r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{}"}}"#;
    let script =
        calls(&[r#"{"reasoning_content":"Let me "}"#, r#"{"reasoning_content":"see."}"#], &[piece]);
    let compatible = [
        Preset::Compatible,
        Preset::Vllm,
        Preset::OpenRouter,
        Preset::DeepSeek,
        Preset::Moonshot,
        Preset::LlamaCpp,
    ];
    for preset in compatible {
        let talk = OddServer::open(preset).await;
        let reasoning = if matches!(preset, Preset::Vllm | Preset::OpenRouter) {
            json!("Let me see.")
        } else {
            Value::Null
        };
        for goes_on in EVERY {
            let asked = talk.round(&script, goes_on, &function()).await;
            let held = [
                ("/messages/1/reasoning_content", json!("Let me see.")),
                ("/messages/1/reasoning", reasoning.clone()),
                ("/messages/1/tool_calls/0/id", json!("call_a")),
                ("/messages/2/tool_call_id", json!("call_a")),
            ];
            check(&asked, &held, &(preset, goes_on));
        }
        talk.close().await;
    }
    // OpenAI's own API rejects the field.
    let talk = OddServer::open(Preset::OpenAi).await;
    for goes_on in EVERY {
        let asked = talk.round(&script, goes_on, &function()).await;
        check(
            &asked,
            &[
                ("/messages/1/reasoning_content", Value::Null),
                ("/messages/1/tool_calls/0/id", json!("call_a")),
            ],
            &goes_on,
        );
    }
    talk.close().await;
}

#[tokio::test]
async fn reasoning_details_and_images_are_sent_back_on_their_message() {
    let details =
        json!([{ "type": "reasoning.text", "text": "hm", "signature": "SIG==", "index": 0 }]);
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } });
    let thoughts = c(&json!({ "reasoning": "hm", "reasoning_details": details }).to_string());
    let picture = c(&json!({ "content": "Here.", "images": [image] }).to_string());
    let script = chunks([thoughts, picture, f("stop"), USAGE.to_owned()]);
    let talk = OddServer::open(Preset::OpenRouter).await;
    for goes_on in EVERY {
        let asked = talk.round(&script, goes_on, &Tools::default()).await;
        let held = [
            ("/messages/1/reasoning_details", details.clone()),
            ("/messages/1/content", json!("Here.")),
            ("/messages/1/images/0/image_url", image["image_url"].clone()),
            ("/messages/2/content", json!("and?")),
        ];
        check(&asked, &held, &goes_on);
    }
    talk.close().await;
}

#[tokio::test]
async fn custom_tools_become_functions_and_custom_tools_again() {
    let tools = || Tools {
        responses: json!({ "tools": [{ "type": "custom", "name": "patch", "description": "Edits." }] }),
        chat: json!({ "tools": [{ "type": "custom", "custom": { "name": "patch", "description": "Edits." } }] }),
    };
    let input = "*** Begin\n\"x\"";
    let arguments = json!({ "input": input }).to_string();
    let piece = json!({ "index": 0, "id": "call_a", "type": "function", "function": { "name": "patch", "arguments": arguments } });
    let script = calls(&[], &[&piece.to_string()]);
    let talk = OddServer::open(Preset::Compatible).await;
    talk.fake.script(script.clone());
    let response = talk.respond(&with(&json!({ "input": "hi" }), &tools().responses)).await;
    let item = &response["output"][0];
    assert_eq!(
        (&item["type"], &item["name"], &item["input"]),
        (&json!("custom_tool_call"), &json!("patch"), &json!(input))
    );
    talk.fake.script(script.clone());
    let message = talk
        .chat(&with(&json!({ "messages": [{ "role": "user", "content": "hi" }] }), &tools().chat))
        .await;
    assert_eq!(message["tool_calls"][0]["custom"], json!({ "name": "patch", "input": input }));
    for goes_on in EVERY {
        let asked = talk.round(&script, goes_on, &tools()).await;
        let held = [
            ("/tools/0/function/name", json!("patch")),
            ("/messages/1/tool_calls/0/type", json!("function")),
            ("/messages/1/tool_calls/0/function/name", json!("patch")),
            ("/messages/1/tool_calls/0/function/arguments", json!(arguments)),
            ("/messages/2", json!({ "role": "tool", "tool_call_id": "call_a", "content": "ok" })),
        ];
        check(&asked, &held, &goes_on);
    }
    talk.close().await;
}

#[tokio::test]
async fn unknown_items_are_sent_back_to_an_upstream_that_knows_them() {
    let search = json!({ "type": "web_search_call", "id": "ws_123", "status": "completed", "action": { "type": "search", "query": "weirs" } });
    let poem = json!({ "type": "poem", "id": "poem_1", "verses": [1, 2], "mood": { "x": "y" } });
    let event = |kind: &str, more: &Value| {
        let event = with(&json!({ "type": format!("response.{kind}") }), more);
        format!("event: response.{kind}\ndata: {event}\n\n")
    };
    let usage = json!({ "input_tokens": 9, "output_tokens": 2, "total_tokens": 11 });
    let part = json!({ "type": "output_text", "text": "Found.", "annotations": [] });
    let message = json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part] });
    let script = Script::new()
        .raw(event("created", &json!({ "response": { "id": "resp_1", "status": "in_progress", "output": [] } })))
        .raw(event("output_item.added", &json!({ "output_index": 0, "item": with(&search, &json!({ "status": "in_progress" })) })))
        .raw(event("web_search_call.searching", &json!({ "output_index": 0, "item_id": "ws_123" })))
        .raw(event("output_item.done", &json!({ "output_index": 0, "item": search })))
        .raw(event("output_item.added", &json!({ "output_index": 1, "item": poem })))
        .raw(event("output_item.done", &json!({ "output_index": 1, "item": poem })))
        .raw(event("output_text.delta", &json!({ "output_index": 2, "item_id": "msg_1", "content_index": 0, "delta": "Found." })))
        .raw(event(
            "completed",
            &json!({ "response": { "id": "resp_1", "status": "completed", "output": [search, poem, message], "usage": usage } }),
        ));
    let talk = OddServer::open_with(Preset::Compatible, WireKind::Responses, |_| {}).await;
    for goes_on in [GoesOn::Items, GoesOn::Id] {
        let asked = talk.round(&script, goes_on, &Tools::default()).await;
        let held = [
            ("/input/1", search.clone()),
            ("/input/2", poem.clone()),
            ("/input/3/content/0/text", json!("Found.")),
        ];
        check(&asked, &held, &goes_on);
    }
    talk.close().await;
    // An upstream without items of that type cannot get them, and leaving them out might matter.
    let talk = OddServer::open(Preset::Compatible).await;
    let (status, body) = talk
        .test_server
        .post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": [poem, { "role": "user", "content": "x" }] }),
        )
        .await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("input[0].type")), "{body}");
    assert!(talk.fake.requests().is_empty());
    talk.close().await;
}
