//! `POST /v1/completions`, complete and streamed.

use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Request};
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Pair, Vendors, request};
use crate::http2::Http2Client;
use crate::test_server::{TestServer, TestServerPlan};

const PATH: &str = "/v1/completions";

/// The APIs with completions.
const WITH: [&str; 4] = ["compatible", "openai", "responses", "ollama"];

/// The data of a complete stream, `[DONE]` included, and how its body ended.
async fn stream(test_server: &TestServer, request: &Request) -> (Vec<String>, BodyEnd) {
    let (events, end) =
        client::soon(test_server.stream(request).await.collect()).await.unwrap().unwrap();
    assert!(events.iter().all(|event| event.name.is_none() && event.id.is_none()));
    (events.into_iter().map(|event| String::from_utf8(event.data.to_vec()).unwrap()).collect(), end)
}

/// The texts, finish reasons and usage of events.
fn read(events: &[String], model: &str) -> (String, Vec<String>, Value) {
    let (mut text, mut reasons, mut usage) = (String::new(), Vec::new(), Value::Null);
    for event in events {
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!(
            (&event["object"], &event["model"]),
            (&json!("text_completion"), &json!(model)),
            "{event}"
        );
        for choice in event["choices"].as_array().unwrap() {
            text.push_str(choice["text"].as_str().unwrap());
            reasons.extend(choice["finish_reason"].as_str().map(str::to_owned));
        }
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
    }
    (text, reasons, usage)
}

#[tokio::test]
async fn every_api_with_completions_returns_the_same() {
    let vendors = Vendors::open().await;
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "source": "provider" });
    for model in WITH {
        let (status, whole) =
            vendors.test_server.json(&request(PATH, model, &json!({ "suffix": "end" }))).await;
        assert_eq!(
            (status, &whole["choices"][0]["text"], &whole["model"]),
            (200, &json!("Hello, world!"), &json!(model)),
            "{whole}"
        );
        assert_eq!((&whole["usage"], &whole["system_fingerprint"]), (&usage, &json!("fp_lab")));

        let more =
            json!({ "stream": true, "suffix": "end", "stream_options": { "include_usage": true } });
        for accept in ["text/event-stream", "application/x-ndjson"] {
            let (mut events, end) = stream(
                &vendors.test_server,
                &request(PATH, model, &more.clone()).header("accept", accept),
            )
            .await;
            if accept == "text/event-stream" {
                assert_eq!(events.pop().as_deref(), Some("[DONE]"));
            }
            assert_eq!(end, BodyEnd::Clean);
            let (text, reasons, said) = read(&events, model);
            assert_eq!(
                (text.as_str(), reasons, said),
                ("Hello, world!", vec!["stop".to_owned()], usage.clone()),
                "{model}"
            );
        }
        let asked = vendors.fake(model).requests().pop().unwrap();
        assert_eq!(
            (asked.path.as_str(), &asked.body["suffix"]),
            ("/v1/completions", &json!("end")),
            "FIM editors need it"
        );
    }
    vendors.close().await;
}

#[tokio::test]
async fn apis_with_only_chat_return_an_error_with_a_remedy() {
    let vendors = Vendors::open().await;
    for model in ["anthropic", "gemini"] {
        for stream in [false, true] {
            let (status, body) =
                vendors.test_server.json(&request(PATH, model, &json!({ "stream": stream }))).await;
            assert_eq!(
                (status, &body["error"]["code"], &body["error"]["param"]),
                (400, &json!("unsupported_operation"), &json!("model"))
            );
            let message = body["error"]["message"].as_str().unwrap();
            assert!(
                message.contains(&format!("'lab-{model}'"))
                    && message.contains("/v1/chat/completions"),
                "{message}"
            );
        }
    }
    let (_, body) =
        vendors.test_server.json(&request(PATH, "ollama", &json!({ "prompt": ["a", "b"] }))).await;
    assert_eq!(
        (&body["error"]["code"], &body["error"]["param"]),
        (&json!("unsupported_value"), &json!("prompt"))
    );
    // OpenAI's own message for a chat model.
    let words = "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?";
    vendors.fake("openai").script(Script::error(
        404,
        &json!({ "error": { "message": words, "type": "invalid_request_error", "code": null } }),
    ));
    let (status, body) = vendors.test_server.json(&request(PATH, "openai", &json!({}))).await;
    let told = format!("{words} (upstream 'lab-openai', status 404)");
    assert_eq!((status, &body["error"]["message"]), (404, &json!(told)), "{body}");
    vendors.close().await;
}

#[tokio::test]
async fn a_streams_usage_is_counted_if_requested_and_not_reported() {
    let vendors = Vendors::open().await;
    for (wanted, expected) in [
        (
            true,
            json!({ "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "source": "counted" }),
        ),
        (false, Value::Null),
    ] {
        vendors
            .fake("compatible")
            .script(Script::new().content("hello").content(" world").finish("stop").done().end());
        let more = json!({ "stream": true, "stream_options": { "include_usage": wanted } });
        let (mut events, end) =
            stream(&vendors.test_server, &request(PATH, "compatible", &more)).await;
        assert_eq!((events.pop().as_deref(), end), (Some("[DONE]"), BodyEnd::Clean));
        let (text, _, usage) = read(&events, "compatible");
        assert_eq!((text.as_str(), usage), ("hello world", expected));
        if wanted {
            assert!(events.last().unwrap().contains("\"choices\":[]"));
        }
    }
    vendors.close().await;
}

#[tokio::test]
async fn odd_streams_are_read() {
    let vendors = Vendors::open().await;
    let event = |text: &str, reason: &str| {
        format!(
            r#"{{"object":"text_completion","model":"x","odd":1.50,"choices":[{{"text":"{text}","index":0,"finish_reason":{reason}}}]}}"#
        )
    };
    let (a, b) = (event("a \\ud83d", "null"), event("b", "\"eos\""));
    // With OpenAI's reason next to the upstream's own; a half character waits for the other half, which never comes.
    let (first, said) =
        (event("a ", "null"), event("\\ufffdb", "\"stop\",\"native_finish_reason\":\"eos\""));
    let bodies = [
        format!("data: {a}\ndata: {b}\ndata: [DONE]\n"),
        format!("event: ping\ndata: now\n\n: hi\n\ndata:{a}\r\n\r\ndata:{b}\r\n\r\n"),
        format!("data: {a}\n\ndata: {b}"),
    ];
    for body in bodies {
        vendors.fake("compatible").script(Script::new().raw(body.clone()).end().byte_by_byte());
        let (events, end) =
            stream(&vendors.test_server, &request(PATH, "compatible", &json!({ "stream": true })))
                .await;
        let renamed = |event: &str| event.replace("\"model\":\"x\"", "\"model\":\"compatible\"");
        assert_eq!(
            (events, end),
            (vec![renamed(&first), renamed(&said), "[DONE]".to_owned()], BodyEnd::Clean),
            "{body}"
        );
    }
    // A relay that ignores `stream`.
    vendors.fake("compatible").script(Script::status(
        200,
        &[("content-type", "application/json")],
        b.clone(),
    ));
    let (events, _) =
        stream(&vendors.test_server, &request(PATH, "compatible", &json!({ "stream": true })))
            .await;
    assert_eq!((events.len(), events[1].as_str()), (2, "[DONE]"));
    vendors.close().await;
}

#[tokio::test]
async fn a_silent_stream_sends_keep_alives() {
    let pair = Pair::start().await;
    let gate = Arc::new(Notify::new());
    let mut plan = pair.plan(|_| {});
    plan.server.hold = Duration::from_millis(20);
    plan.server.heartbeat = Duration::from_millis(20);
    let test_server = TestServer::open_with(plan).await;
    pair.first.script(Script::new().wait_for(&gate).content("late").finish("stop").done().end());
    let mut stream = test_server.stream(&request(PATH, "both", &json!({ "stream": true }))).await;
    client::soon(pair.first.wait_requests(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.notify_one();
    let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!((events.len(), end), (3, BodyEnd::Clean));
    assert!(stream.heartbeats() >= 2, "{}", stream.heartbeats());
    test_server.close().await;
}

#[tokio::test]
async fn it_works_over_old_and_new_http() {
    let test_server = TestServer::open_with(TestServerPlan::default()).await;
    let stream = |model: &str| request(PATH, model, &json!({ "stream": true, "max_tokens": 3 }));
    let mut response = test_server.send(&stream("demo").http_1_0()).await;
    let (body, end) = response.collect().await.unwrap();
    assert!(String::from_utf8(body).unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!(end, BodyEnd::Clean);
    let mut client = Http2Client::open(test_server.address).await;
    let response = client
        .post(PATH, &json!({ "model": "demo", "prompt": "x", "stream": true, "max_tokens": 3 }))
        .await;
    assert_eq!(response.status(), 200);
    drop(response);
    drop(client);
    test_server.close().await;
}

#[tokio::test]
async fn the_demo_continues_any_prompt() {
    let test_server = TestServer::open_with(TestServerPlan::default()).await;
    let more = json!({ "stream": true, "echo": true, "stream_options": { "include_usage": true } });
    let (mut events, _) = stream(&test_server, &request(PATH, "demo", &more)).await;
    events.pop();
    let (text, reasons, usage) = read(&events, "demo");
    assert!(text.starts_with("hello … This text is of Weir's built-in demo model."), "{text}");
    assert_eq!((reasons, &usage["source"]), (vec!["stop".to_owned()], &json!("counted")));
    let (_, whole) = test_server.json(&request(PATH, "demo", &json!({ "echo": true }))).await;
    assert_eq!(whole["choices"][0]["text"], text.as_str());
    assert_eq!(whole["usage"]["total_tokens"], usage["total_tokens"]);
    test_server.close().await;
}
