//! Function tools: their outputs are sent back to the model, and the tool choice is enforced.

use crate::test_server::TestFrame;
use client::Request;
use engine::provider::route::Timeouts;
use fakes::{Script, Upstream};
use provider::config::{Compat, HostedTools, UpstreamConfig};
use serde_json::{Value, json};

use crate::resume::rest;
use crate::test_server::{MODEL, TestServer, TestServerPlan, upstream_of};

#[tokio::test]
async fn a_tools_output_is_sent_back_to_the_model() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::tool_call(
        "weather",
        "call_1",
        &["{\"city\":", "\"Wien\"}"],
    ));
    let (_, first) = test_server.post("/v1/responses", &with_tools("Weather?", &json!({}))).await;
    let call = &first["output"][0];
    assert_eq!(
        (&call["type"], &call["call_id"], &call["arguments"]),
        (&json!("function_call"), &json!("call_1"), &json!("{\"city\":\"Wien\"}"))
    );
    test_server.upstream.script(Script::text(&["Sunny."]));
    let output = json!([{ "type": "function_call_output", "call_id": "call_1", "output": "{\"sun\":true}" }]);
    let (status, second) = test_server
        .post(
            "/v1/responses",
            &with_tools("", &json!({ "input": output, "previous_response_id": first["id"] })),
        )
        .await;
    assert_eq!((status, &second["output"][0]["content"][0]["text"]), (200, &json!("Sunny.")));
    assert_eq!(second["previous_response_id"], first["id"]);
    let messages = json!([
        { "role": "user", "content": "Weather?" },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Wien\"}" } },
        ] },
        { "role": "tool", "tool_call_id": "call_1", "content": "{\"sun\":true}" },
    ]);
    assert_eq!(test_server.upstream.requests()[1].body["messages"], messages);
    // The same turn in the other dialect, where the client sends the conversation itself.
    test_server.upstream.script(Script::text(&["Sunny."]));
    let (status, completion) = test_server
        .post("/v1/chat/completions", &json!({ "model": MODEL, "messages": messages }))
        .await;
    assert_eq!((status, &completion["choices"][0]["message"]["content"]), (200, &json!("Sunny.")));
    assert_eq!(test_server.upstream.requests()[2].body["messages"], messages);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn an_output_without_its_call_is_rejected() {
    let test_server = TestServer::open().await;
    let output = |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": "x" });
    let (_, first) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })).await;
    let asked = test_server.upstream.requests().len();
    let refused = [
        (
            "/v1/responses",
            json!({ "model": MODEL, "input": [output("call_9")] }),
            "input[0].call_id",
        ),
        (
            "/v1/responses",
            json!({ "model": MODEL, "input": [output("call_9")], "previous_response_id": first["id"] }),
            "input[0].call_id",
        ),
        (
            "/v1/responses",
            json!({ "model": MODEL, "stream": true, "input": [{ "role": "user", "content": "x" }, output("call_9")] }),
            "input[1].call_id",
        ),
        (
            "/v1/chat/completions",
            json!({ "model": MODEL, "messages": [{ "role": "tool", "tool_call_id": "call_9", "content": "x" }] }),
            "",
        ),
    ];
    for (path, body, param) in refused {
        let (status, answer) = test_server.post(path, &body).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("unknown_call_id")), "{body}");
        assert!(param.is_empty() || answer["error"]["param"] == param, "{answer}");
    }
    assert_eq!(test_server.upstream.requests().len(), asked);
    test_server.close().await;
}

/// The caller's choice; the choice and tools sent upstream; what the model does; the resulting error.
type Choice = (Value, Value, &'static [&'static str], Script, Option<&'static str>);

#[tokio::test]
async fn the_choice_of_tools_is_passed_on_and_enforced() {
    let test_server = TestServer::open().await;
    let weather = || Script::tool_call("weather", "call_1", &["{}"]);
    let time = || Script::tool_call("time", "call_1", &["{}"]);
    let named = json!({ "type": "function", "name": "weather" });
    let told = json!({ "type": "function", "function": { "name": "weather" } });
    let allowed = |mode: &str| json!({ "type": "allowed_tools", "mode": mode, "tools": [named] });
    let both: &'static [&str] = &["weather", "time"];
    let cases: Vec<Choice> = vec![
        (json!("auto"), json!("auto"), both, weather(), None),
        (json!("auto"), json!("auto"), both, Script::text(&["No."]), None),
        (json!("none"), json!("none"), both, Script::text(&["No."]), None),
        (json!("none"), json!("none"), both, weather(), None),
        (json!("required"), json!("required"), both, time(), None),
        (
            json!("required"),
            json!("required"),
            both,
            Script::text(&["No."]),
            Some("tool_choice_unmet"),
        ),
        (named.clone(), told.clone(), both, weather(), None),
        (named.clone(), told.clone(), both, time(), None),
        (named.clone(), told, both, Script::text(&["No."]), Some("tool_choice_unmet")),
        (allowed("auto"), json!("auto"), &["weather"], weather(), None),
        (allowed("auto"), json!("auto"), &["weather"], time(), None),
        (allowed("auto"), json!("auto"), &["weather"], Script::text(&["No."]), None),
        (
            allowed("required"),
            json!("required"),
            &["weather"],
            Script::text(&["No."]),
            Some("tool_choice_unmet"),
        ),
    ];
    for (choice, told, tools, script, code) in cases {
        test_server.upstream.script(script);
        let request = with_tools("Weather?", &json!({ "tool_choice": choice, "stream": true }));
        let data = rest(
            &mut test_server
                .stream(&Request::post("/v1/responses", &request).header("prefer", "wait=0"))
                .await,
            TestFrame::Sse,
        )
        .await;
        let last: Value = serde_json::from_str(data.last().unwrap()).unwrap();
        assert_eq!(last["response"]["error"]["code"].as_str(), code, "{choice}: {last}");
        assert_eq!(last["response"]["tool_choice"], choice);
        assert_eq!(
            last["response"]["tools"].as_array().unwrap().len(),
            2,
            "the caller sees what it sent"
        );
        let asked = test_server.upstream.requests().pop().unwrap().body;
        let sent: Vec<&str> = asked["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["function"]["name"].as_str().unwrap())
            .collect();
        assert_eq!((sent.as_slice(), &asked["tool_choice"]), (tools, &told), "{choice}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn chat_completions_choose_tools_in_their_own_format() {
    let test_server = TestServer::open().await;
    let function = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let allowed = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [function("time")] } });
    for (choice, told, tools) in [
        (function("time"), function("time"), 2),
        (allowed, json!("required"), 1),
        (json!("required"), json!("required"), 2),
    ] {
        test_server.upstream.script(Script::tool_call("time", "call_1", &["{}"]));
        let request = json!({
            "model": MODEL, "messages": [{ "role": "user", "content": "Time?" }],
            "tools": [function("weather"), function("time")], "tool_choice": choice,
        });
        let (status, completion) = test_server.post("/v1/chat/completions", &request).await;
        assert_eq!(
            (status, &completion["choices"][0]["finish_reason"]),
            (200, &json!("tool_calls")),
            "{choice}"
        );
        let asked = test_server.upstream.requests().pop().unwrap().body;
        assert_eq!(
            (asked["tools"].as_array().unwrap().len(), &asked["tool_choice"]),
            (tools, &told),
            "{choice}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn invalid_choices_are_rejected_by_name() {
    let test_server = TestServer::open().await;
    let refused = [
        (json!({ "tool_choice": "sometimes" }), "tool_choice"),
        (json!({ "tool_choice": { "type": "function", "name": "launch" } }), "tool_choice.name"),
        (json!({ "tool_choice": { "type": "allowed_tools", "tools": [] } }), "tool_choice.tools"),
        (
            json!({ "tool_choice": { "type": "allowed_tools", "tools": [{ "type": "function", "name": "launch" }] } }),
            "tool_choice.tools[0].name",
        ),
        (json!({ "tool_choice": "required", "tools": [] }), "tool_choice"),
        (json!({ "tools": [{ "type": "function", "name": "no spaces" }] }), "tools[0].name"),
        (
            json!({ "tools": [{ "type": "namespace", "name": "no spaces", "tools": [] }] }),
            "tools[0].name",
        ),
        (json!({ "tools": [{ "name": "weather" }] }), "tools[0].type"),
    ];
    for (more, param) in refused {
        let (status, body) = test_server.post("/v1/responses", &with_tools("x", &more)).await;
        assert_eq!((status, &body["error"]["param"]), (400, &json!(param)), "{more}: {body}");
    }
    assert!(test_server.upstream.requests().is_empty());
    test_server.close().await;
}

/// Clients send a vendor's hosted tools by default: they are left out, unless the settings refuse them.
#[tokio::test]
async fn hosted_tools_are_left_out_or_refused_as_configured() {
    let strict = Upstream::start().await.unwrap();
    let compat = Compat { hosted_tools: HostedTools::Refuse, ..Compat::default() };
    let strict_config =
        UpstreamConfig { compat, ..upstream_of("strict", strict.base_url(), Timeouts::default()) };
    let test_server = TestServer::open_with(TestServerPlan {
        more_upstreams: vec![strict_config],
        ..TestServerPlan::default()
    })
    .await;
    let tools = json!([{ "type": "web_search" }, { "type": "function", "name": "weather", "parameters": { "type": "object" } }]);
    let request = with_tools("x", &json!({ "tools": tools }));
    let (status, response) = test_server.post("/v1/responses", &request).await;
    assert_eq!(
        (status, &response["tools"][0]["type"]),
        (200, &json!("web_search")),
        "the caller sees what it sent: {response}"
    );
    let sent = test_server.upstream.requests().remove(0).body["tools"].clone();
    assert_eq!(
        (sent.as_array().map(Vec::len), &sent[0]["function"]["name"]),
        (Some(1), &json!("weather"))
    );
    let (status, body) = test_server
        .post("/v1/responses", &with_tools("x", &json!({ "tools": tools, "model": "strict" })))
        .await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("tools[0].type")), "{body}");
    assert!(strict.requests().is_empty());
    test_server.quiet().await;
    test_server.close().await;
}

/// A request with two tools.
fn with_tools(input: &str, more: &Value) -> Value {
    let tool = |name: &str| json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": {} } });
    let mut request =
        json!({ "model": MODEL, "input": input, "tools": [tool("weather"), tool("time")] });
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}
