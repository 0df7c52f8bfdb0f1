//! A response that fails midway, for a caller that waits for JSON: the error, the partial response, and no retry by
//! an SDK, which would pay again.

use client::Response;
use fakes::Script;
use serde_json::{Value, json};

use crate::test_server::{MODEL, TestApi, TestFrame, TestServer, question};

/// A response that fails after output: reasoning, text and a call.
fn broken() -> Script {
    Script::new()
        .role()
        .delta(&json!({ "reasoning_content": "Hm." }))
        .content("Once ")
        .content("upon")
        .delta(&json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":" } }] }))
        .fin()
}

async fn ask(test_server: &TestServer, words: TestApi, more: Value) -> (Response, Value) {
    let tools = match words {
        TestApi::Responses => {
            json!([{ "type": "function", "name": "f", "parameters": { "type": "object" } }])
        }
        TestApi::Chat => {
            json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }])
        }
    };
    let mut asked = json!({ "tools": tools });
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    let mut response = test_server.send(&question((words, TestFrame::Json), MODEL, &asked)).await;
    let (body, _) = response.collect().await.unwrap();
    (response, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_partial_response_is_in_the_error_and_under_its_id() {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(broken());
    for store in [true, false] {
        let (response, body) =
            ask(&test_server, TestApi::Responses, json!({ "store": store })).await;
        assert_eq!(
            (response.status, &body["error"]["code"]),
            (502, &json!("upstream_cut")),
            "{body}"
        );
        assert_eq!(response.headers.get("x-should-retry"), Some("false"));
        let part = &body["response"];
        let id = response.headers.get("weir-response-id").unwrap();
        assert_eq!(
            (&part["id"], &part["status"], &part["error"]["code"]),
            (&json!(id), &json!("failed"), &json!("upstream_cut"))
        );
        let text = part["output"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["type"] == "message")
            .unwrap();
        assert_eq!(text["content"][0]["text"], "Once upon", "{part}");
        assert!(
            part["output"]
                .as_array()
                .unwrap()
                .iter()
                .any(|item| item["type"] == "function_call" && item["arguments"] == "{\"a\":")
        );
        assert_eq!(part["usage"]["source"], "counted", "{part}");
        let (status, stored) = test_server.get(&format!("/v1/responses/{id}")).await;
        assert_eq!(status, if store { 200 } else { 404 });
        assert!(!store || stored == *part, "{stored}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_partial_chat_completion_has_no_finish_reason() {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(broken());
    for store in [true, false] {
        let (response, body) = ask(&test_server, TestApi::Chat, json!({ "store": store })).await;
        assert_eq!(
            (response.status, &body["error"]["code"]),
            (502, &json!("upstream_cut")),
            "{body}"
        );
        assert_eq!(response.headers.get("x-should-retry"), Some("false"));
        let part = &body["completion"];
        let (choice, message) = (&part["choices"][0], &part["choices"][0]["message"]);
        assert_eq!(
            (&part["object"], &choice["finish_reason"]),
            (&json!("chat.completion"), &Value::Null),
            "{part}"
        );
        assert_eq!(
            (&message["content"], &message["reasoning_content"]),
            (&json!("Once upon"), &json!("Hm.")),
            "{part}"
        );
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{\"a\":", "{part}");
        assert!(part["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{part}");
        let id = response.headers.get("weir-response-id").unwrap();
        assert_eq!(
            test_server.get(&format!("/v1/responses/{id}")).await.0,
            if store { 200 } else { 404 }
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn failures_before_output_may_be_retried() {
    let test_server = TestServer::open().await;
    let slow_down = json!({ "error": { "message": "slow down", "code": "rate_limit_exceeded" } });
    for script in [
        Script::error(429, &slow_down),
        Script::status(503, &[], "busy"),
        Script::new().head().fin(),
    ] {
        test_server.upstream.default_script(script);
        for words in [TestApi::Responses, TestApi::Chat] {
            let (response, body) = ask(&test_server, words, json!({})).await;
            assert!([429, 502, 503].contains(&response.status), "{body}");
            assert_eq!(response.headers.get("x-should-retry"), None, "{body}");
            assert!(body.get("response").is_none() && body.get("completion").is_none(), "{body}");
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}
