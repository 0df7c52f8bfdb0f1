//! Limits: concurrent calls, bytes in either direction; and shutdown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{BodyEnd, Connection, Request};
use fakes::{Script, Step};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{PATHS, Pair, request};
use crate::test_server::{ALICE, TestServer, TestServerPlan};

#[tokio::test]
async fn a_key_is_required_if_keys_are_configured() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    for (path, _) in PATHS {
        let (status, body) = test_server.json(&request(path, "demo", &json!({}))).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("missing_api_key")), "{path}");
    }
    assert_eq!(
        test_server.json(&request("/v1/embeddings", "demo", &json!({})).bearer(ALICE)).await.0,
        200
    );
    test_server.close().await;
}

#[tokio::test]
async fn calls_count_as_running_responses() {
    let pair = Pair::start().await;
    let gate = Arc::new(Notify::new());
    let mut plan = pair.plan(|_| {});
    plan.engine.running = 1;
    let test_server = TestServer::open_with(plan).await;
    pair.first.script(Script::new().wait_for(&gate));
    let (address, held) = (test_server.address, request("/v1/embeddings", "both", &json!({})));
    let running = tokio::spawn(async move { client::send(address, &held).await.unwrap().status });
    client::soon(pair.first.wait_requests(1)).await.unwrap();
    let (status, body) = test_server.json(&request("/v1/completions", "both", &json!({}))).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("too_many_answers")));
    let (status, _) =
        test_server.post("/v1/responses", &json!({ "model": "demo", "input": "x" })).await;
    assert_eq!(status, 429, "answers and calls are counted together");
    gate.notify_one();
    assert_eq!(client::soon(running).await.unwrap().unwrap(), 200);
    assert_eq!(test_server.json(&request("/v1/completions", "both", &json!({}))).await.0, 200);
    test_server.close().await;
}

#[tokio::test]
async fn bodies_have_their_limits() {
    let pair = Pair::start().await;
    let mut plan = pair.plan(|_| {});
    plan.server.body_bytes = 1000;
    let test_server = TestServer::open_with(plan).await;
    for (path, input) in PATHS {
        let (status, body) =
            test_server.json(&request(path, "both", &json!({ input: "x".repeat(2000) }))).await;
        assert_eq!((status, &body["error"]["code"]), (413, &json!("body_too_large")), "{path}");
        let wrong = Request::new("POST", path).header("content-type", "text/plain").body("{}");
        assert_eq!(test_server.json(&wrong).await.0, 415, "{path}");
        assert_eq!(
            test_server.json(&request(path, "both", &json!({})).body("{\"model\":")).await.0,
            400,
            "{path}"
        );
        assert_eq!(
            test_server.json(&request(path, "both", &json!({})).body("")).await.1["error"]["code"],
            "empty_body",
            "{path}"
        );
    }
    assert_eq!(pair.asked(), [0, 0]);
    test_server.close().await;
}

#[tokio::test]
async fn a_response_that_is_too_large_is_rejected() {
    let pair = Pair::start().await;
    let test_server = TestServer::open_with(pair.plan(|_| {})).await;
    pair.first
        .script(Script::new().step(Step::Partial(Bytes::from(vec![b'1'; 129 << 20]))).stall());
    let (status, body) = test_server.json(&request("/v1/embeddings", "first", &json!({}))).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (502, &json!("upstream_response_too_large")),
        "{body}"
    );
    client::soon(pair.first.wait_streams(0)).await.unwrap();
    test_server.close().await;
}

#[tokio::test]
async fn a_shutdown_lets_calls_finish_and_ends_those_that_do_not() {
    for (grace, is_stream) in
        [(Duration::from_secs(60), false), (Duration::ZERO, false), (Duration::ZERO, true)]
    {
        let pair = Pair::start().await;
        let gate = Arc::new(Notify::new());
        let test_server =
            TestServer::open_with(TestServerPlan { grace, ..pair.plan(|_| {}) }).await;
        let address = test_server.address;
        let script = if is_stream {
            Script::new().content("Once").stall()
        } else {
            Script::new().wait_for(&gate).content("Once")
        };
        pair.first.script(script);
        let asked = request("/v1/completions", "both", &json!({ "stream": is_stream }));
        let response = tokio::spawn(async move { client::send(address, &asked).await.unwrap() });
        client::soon(pair.first.wait_requests(1)).await.unwrap();
        let mut response = if is_stream {
            client::soon(response).await.unwrap().unwrap()
        } else {
            let closing = tokio::spawn(test_server.close());
            let refused = async { while Connection::open(address).await.is_ok() {} };
            client::soon(refused).await.unwrap();
            gate.notify_one();
            let mut response = client::soon(response).await.unwrap().unwrap();
            let body: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
            let expected = if grace.is_zero() {
                (503, "/error/code", "server_shutdown")
            } else {
                (200, "/choices/0/text", "Once")
            };
            assert_eq!(
                (response.status, body.pointer(expected.1)),
                (expected.0, Some(&json!(expected.2))),
                "{body}"
            );
            client::soon(closing).await.unwrap().unwrap();
            continue;
        };
        let closing = tokio::spawn(test_server.close());
        let (body, end) = client::soon(response.collect()).await.unwrap().unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("server_shutdown") && !body.contains("[DONE]"), "{body}");
        assert_ne!(end, BodyEnd::Clean);
        client::soon(closing).await.unwrap().unwrap();
    }
}
