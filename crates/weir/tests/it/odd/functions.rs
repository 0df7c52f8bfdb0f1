//! Features of Weir itself: the deprecated `functions`, `truncation: "auto"`, and `max_tool_calls`.

use crate::test_server::TestFrame;
use client::Request;
use fakes::{Script, VendorError};
use provider::config::Preset;
use serde_json::{Value, json};

use super::case::{USAGE, call, chunks, f};
use super::rounds::{OddServer, check, function, with};
use super::run::message;
use crate::resume::{accept, rest};

/// Two calls of `f`.
fn two_calls() -> Script {
    chunks([
        call(
            r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\":"}}"#,
        ),
        call(r#"{"index":0,"function":{"arguments":"\"A\"}"}}"#),
        call(
            r#"{"index":1,"id":"call_b","type":"function","function":{"name":"f","arguments":"{\"city\":\"B\"}"}}"#,
        ),
        f("tool_calls"),
        USAGE.to_owned(),
    ])
}

fn functions(more: &Value) -> Value {
    let functions = json!([{ "name": "f", "parameters": { "type": "object", "properties": {} } }]);
    with(
        &json!({ "model": "odd", "messages": [{ "role": "user", "content": "hi" }], "functions": functions }),
        more,
    )
}

#[tokio::test]
async fn functions_are_answered_with_a_function_call() {
    let talk = OddServer::open(Preset::Compatible).await;
    talk.fake.default_script(two_calls());
    let call = json!({ "name": "f", "arguments": "{\"city\":\"A\"}" });
    let (status, completion) = talk
        .test_server
        .post("/v1/chat/completions", &functions(&json!({ "function_call": "auto" })))
        .await;
    let choice = &completion["choices"][0];
    assert_eq!((status, &choice["finish_reason"]), (200, &json!("function_call")), "{completion}");
    assert_eq!(
        (&choice["message"]["function_call"], choice["message"].get("tool_calls")),
        (&call, None),
        "{completion}"
    );
    check(
        &talk.asked(),
        &[("/tools/0/function/name", json!("f")), ("/tool_choice", json!("auto"))],
        &"auto",
    );
    for frame in [TestFrame::Sse, TestFrame::Ndjson] {
        let request = accept(
            Request::post("/v1/chat/completions", &functions(&json!({ "stream": true }))),
            frame,
        );
        let data = rest(&mut talk.test_server.stream(&request).await, frame).await;
        let last: Value = serde_json::from_str(data.last().unwrap()).unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "function_call", "{frame:?}: {last}");
        let said = message(&data);
        assert_eq!(
            (&said["function_call"], said.get("tool_calls")),
            (&call, None),
            "{frame:?}: {said}"
        );
    }
    for (choice, told) in [
        (json!({ "name": "f" }), json!({ "type": "function", "function": { "name": "f" } })),
        (json!("none"), json!("none")),
    ] {
        talk.test_server
            .post("/v1/chat/completions", &functions(&json!({ "function_call": choice })))
            .await;
        check(&talk.asked(), &[("/tool_choice", told)], &choice);
    }
    talk.close().await;
}

/// Three turns, of which the newest stays.
fn conversation() -> Value {
    let user = |text: &str| json!({ "role": "user", "content": text });
    let assistant = |text: &str| json!({ "role": "assistant", "content": text });
    json!([{ "role": "system", "content": "S" }, user("one"), assistant("1"), user("two"), assistant("2"), user("three")])
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_truncated_on_request() {
    let talk = OddServer::open(Preset::Compatible).await;
    let too_long = Script::refused(400, VendorError::ContextLength);
    talk.fake.script(too_long.clone());
    let response = talk.respond(&json!({ "input": conversation(), "truncation": "auto" })).await;
    assert_eq!(response["truncation"], "auto");
    let requests = talk.fake.requests();
    let contents = |body: &Value| -> Vec<String> {
        body["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["content"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(requests.len(), 2);
    assert_eq!(contents(&requests[0].body), ["S", "one", "1", "two", "2", "three"]);
    let shorter = contents(&requests[1].body);
    assert_eq!(
        (shorter.first().map(String::as_str), shorter.last().map(String::as_str)),
        (Some("S"), Some("three")),
        "{shorter:?}"
    );
    assert!(shorter.len() < 6 && !shorter.contains(&"one".to_owned()), "{shorter:?}");

    // Repeatedly, until only the last turn is left.
    (0..9).for_each(|_| talk.fake.script(too_long.clone()));
    let (status, body) = talk
        .test_server
        .post(
            "/v1/responses",
            &json!({ "model": "odd", "input": conversation(), "truncation": "auto" }),
        )
        .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("context_length_exceeded")),
        "{body}"
    );
    assert_eq!(contents(&talk.asked()), ["S", "three"]);
    let asked = talk.fake.requests().len();

    for truncation in [json!("disabled"), Value::Null] {
        (0..9).for_each(|_| talk.fake.script(too_long.clone()));
        let (status, body) = talk
            .test_server
            .post(
                "/v1/responses",
                &json!({ "model": "odd", "input": conversation(), "truncation": truncation }),
            )
            .await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (400, &json!("context_length_exceeded")),
            "{body}"
        );
    }
    assert_eq!(talk.fake.requests().len(), asked + 2, "asked once each");
    talk.close().await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_left_out() {
    let talk = OddServer::open(Preset::Compatible).await;
    talk.fake.default_script(two_calls());
    for (limit, calls) in [(json!(1), 1), (json!(2), 2), (Value::Null, 2)] {
        let response = talk
            .respond(&with(
                &json!({ "input": "hi", "max_tool_calls": limit }),
                &function().responses,
            ))
            .await;
        assert_eq!(
            (response["output"].as_array().unwrap().len(), &response["max_tool_calls"]),
            (calls, &limit),
            "{response}"
        );
    }
    talk.close().await;
}
