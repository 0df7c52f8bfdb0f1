//! `Idempotency-Key`: a repeated request is executed and paid once.

use std::sync::Arc;

use crate::test_server::TestFrame;
use client::soon;
use client::{Connection, Request};
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::resume::{FRAMES, accept, id_of, rest, take};
use crate::test_server::{MODEL, TestServer};

#[tokio::test]
async fn the_same_request_gets_the_same_bytes_while_it_runs_and_after() {
    let test_server = TestServer::open().await;
    for frame in FRAMES {
        let gate = Arc::new(Notify::new());
        test_server.upstream.script(
            Script::new()
                .role()
                .content("On")
                .wait_for(&gate)
                .content("ce.")
                .finish("stop")
                .usage(9, 2, 0)
                .done(),
        );
        let key = format!("key of {frame:?}");
        let ask =
            accept(keyed(&key, &json!({ "model": MODEL, "input": "hi", "stream": true })), frame);
        let mut first = test_server.stream(&ask).await;
        let mut first_data = take(&mut first, 5).await;
        // While it runs: a second device, and one that lost its connection and retries.
        let mut second = test_server.stream(&ask).await;
        let mut second_data = take(&mut second, 5).await;
        first.abandon().reset().unwrap();
        gate.notify_one();
        second_data.extend(rest(&mut second, frame).await);
        let third_data = rest(&mut test_server.stream(&ask).await, frame).await;
        assert_eq!(third_data, second_data);
        first_data.extend_from_slice(&second_data[5..]);
        assert_eq!(first_data, second_data);
    }
    assert_eq!(
        test_server.upstream.requests().len(),
        FRAMES.len(),
        "upstream was asked once for each key"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn json_waits_for_the_first_response() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().wait_for(&gate).content("Once.").finish("stop").usage(9, 2, 0).done(),
    );
    let ask = keyed("k", &json!({ "model": MODEL, "input": "hi" }));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write(&ask).await.unwrap();
        waiting.push(connection);
    }
    soon(test_server.upstream.wait_requests(1)).await.unwrap();
    gate.notify_one();
    let mut bodies = Vec::new();
    for connection in waiting {
        let mut response = soon(connection.read_response(&ask)).await.unwrap().unwrap();
        assert_eq!(response.status, 200);
        bodies.push(response.collect().await.unwrap().0);
    }
    bodies.push(test_server.send(&ask).await.collect().await.unwrap().0);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let response: Value = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!(response["output"][0]["content"][0]["text"], "Once.");
    assert_eq!(test_server.upstream.requests().len(), 1);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn another_request_with_the_same_key_is_a_conflict() {
    let test_server = TestServer::open().await;
    let chat = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(
        test_server.json(&keyed("k", &json!({ "model": MODEL, "input": "hi" }))).await.0,
        200
    );
    let others = [
        keyed("k", &json!({ "model": MODEL, "input": "bye" })),
        keyed("k", &json!({ "model": MODEL, "input": "hi", "stream": true })),
        Request::post("/v1/chat/completions", &chat).header("idempotency-key", "k"),
    ];
    for other in others {
        let mut response = test_server.send(&other).await;
        // SDKs retry a 409 by themselves.
        assert_eq!((response.status, response.headers.get("x-should-retry")), (409, Some("false")));
        let body: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
        let error = &body["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("idempotency_key_reused"), &json!("Idempotency-Key"))
        );
    }
    assert_eq!(test_server.upstream.requests().len(), 1);
    assert_eq!(
        test_server.json(&keyed("l", &json!({ "model": MODEL, "input": "bye" }))).await.0,
        200
    );
    for wrong in ["", " ", &"k".repeat(256)] {
        let (status, body) =
            test_server.json(&keyed(wrong, &json!({ "model": MODEL, "input": "hi" }))).await;
        assert_eq!(
            (status, &body["error"]["param"]),
            (400, &json!("Idempotency-Key")),
            "{wrong:?}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_stateless_response_with_a_key_survives_its_reader() {
    let test_server = TestServer::open().await;
    let stateless = json!({ "model": MODEL, "input": "hi", "stream": true, "store": false });
    let chat = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    let asks = [
        keyed("r", &stateless),
        Request::post("/v1/chat/completions", &chat).header("idempotency-key", "c"),
    ];
    for (number, ask) in asks.iter().enumerate() {
        let gate = Arc::new(Notify::new());
        test_server.upstream.script(
            Script::new()
                .role()
                .content("Kept")
                .wait_for(&gate)
                .content(" on.")
                .finish("stop")
                .usage(9, 2, 0)
                .done(),
        );
        let mut reader = test_server.stream(ask).await;
        let first = take(&mut reader, 2).await;
        reader.abandon().reset().unwrap();
        // The server must have noticed before the upstream continues; it serves other requests meanwhile.
        soon(async {
            while test_server.connections() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        gate.notify_one();
        let again = rest(&mut test_server.stream(ask).await, TestFrame::Sse).await;
        assert_eq!(again[..2], first);
        let text: String = again.iter().filter_map(|data| delta(data)).collect();
        assert_eq!(
            (text.as_str(), test_server.upstream.requests().len()),
            ("Kept on.", number + 1)
        );
        test_server.quiet().await;
        // It was not stored: only its key finds it.
        if first[0].contains("response.created") {
            let (status, _) = test_server.get(&format!("/v1/responses/{}", id_of(&first[0]))).await;
            assert_eq!(status, 404);
        }
        assert_eq!(rest(&mut test_server.stream(ask).await, TestFrame::Sse).await, again);
    }
    test_server.quiet().await;
    test_server.close().await;
}

fn keyed(key: &str, body: &Value) -> Request {
    Request::post("/v1/responses", body).header("idempotency-key", key)
}

/// The text of a delta in either dialect.
fn delta(data: &str) -> Option<String> {
    let value: Value = serde_json::from_str(data).unwrap();
    let delta =
        value["delta"].as_str().or_else(|| value["choices"][0]["delta"]["content"].as_str());
    delta.map(str::to_owned)
}
