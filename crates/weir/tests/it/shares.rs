//! Limits for each caller, so that the others get their share: memory, responses, requests, connections, storage.

use std::sync::Arc;
use std::time::Duration;

use client::websocket::{self, Socket};
use client::{Connection, Request, Response};
use engine::shares::CallerLimits;
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan};

const RESPONSES: &str = "/v1/responses";

async fn test_server(change: impl FnOnce(&mut engine::Config)) -> TestServer {
    let mut plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    change(&mut plan.engine);
    TestServer::open_with(plan).await
}

async fn with_share(change: impl FnOnce(&mut CallerLimits)) -> TestServer {
    test_server(|engine| change(&mut engine.shares.default_limits)).await
}

/// The error's contents.
async fn refusal(mut response: Response) -> (u16, String, bool) {
    let retry = response.headers.get("retry-after").is_some();
    let body: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
    (response.status, body["error"]["code"].as_str().unwrap_or_default().to_owned(), retry)
}

fn busy(code: &str) -> (u16, String, bool) {
    (429, code.to_owned(), true)
}

fn ask(more: &Value) -> Request {
    let mut body = json!({ "model": MODEL, "input": "hi" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Request::post(RESPONSES, &body)
}

#[tokio::test]
async fn the_demo_model_has_a_budget_whatever_the_schema_is() {
    let test_server = TestServer::open().await;
    for schema in [
        json!({ "type": "string", "minLength": 99_999_999_999_u64 }),
        json!({ "type": "array", "minItems": 9, "items": { "$ref": "#" } }),
    ] {
        let format = json!({ "type": "json_schema", "name": "s", "schema": schema });
        let (status, body) = test_server
            .post(
                RESPONSES,
                &json!({ "model": "demo", "input": "/json", "text": { "format": format } }),
            )
            .await;
        assert_eq!(status, 200, "{schema}");
        assert!(body.to_string().len() < 1_000_000, "{schema}");
        let tool = json!({ "type": "function", "function": { "name": "f", "parameters": schema } });
        let messages = json!([{ "role": "user", "content": "hi" }]);
        let chat = json!({ "model": "demo", "messages": messages, "tools": [tool], "tool_choice": "required" });
        assert_eq!(test_server.post("/v1/chat/completions", &chat).await.0, 200, "{schema}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_body_is_rejected_before_it_fills_the_memory() {
    let test_server = TestServer::open().await;
    let zeros = format!(r#"{{"model":"demo","input":"x","x":[{}0]}}"#, "0,".repeat(300_000));
    let (status, code, _) =
        refusal(test_server.send(&Request::new("POST", RESPONSES).body(zeros)).await).await;
    assert_eq!((status, code.as_str()), (413, "body_too_complex"));
    let text = json!({ "model": "demo", "input": "word ".repeat(2_000_000) });
    let (status, code, _) = refusal(test_server.send(&Request::post(RESPONSES, &text)).await).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"));
    test_server.upstream.script(Script::text(&["A picture."]));
    let picture = json!({ "type": "input_image", "image_url": format!("data:image/png;base64,{}", "QUJD".repeat(2_500_000)) });
    let (status, _) = test_server
        .post(
            RESPONSES,
            &json!({ "model": MODEL, "input": [{ "role": "user", "content": [picture] }] }),
        )
        .await;
    assert_eq!(status, 200, "10 MB of a picture are no text");
    test_server.close().await;
}

#[tokio::test]
async fn memory_is_reserved_before_a_body_is_read_and_released() {
    let test_server = with_share(|share| share.memory_bytes = 3_000_000).await;
    let announce = |key: &str| {
        format!(
            "POST {RESPONSES} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{{"
        )
    };
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write_raw(announce(ALICE).as_bytes()).await.unwrap();
        open.push(connection);
    }
    // They have been read once their memory is reserved.
    let taken = async {
        while test_server.engine.usage_by_caller().iter().all(|usage| usage.bytes < 3_000_000) {
            tokio::task::yield_now().await;
        }
    };
    client::soon(taken).await.unwrap();
    assert_eq!(
        refusal(test_server.send(&ask(&json!({})).bearer(ALICE)).await).await,
        busy("too_many_bytes")
    );
    test_server.upstream.script(Script::text(&["Hello"]));
    assert_eq!(test_server.json(&ask(&json!({})).bearer(BOB)).await.0, 200, "nobody else notices");
    drop(open);
    let given_back = async {
        while test_server.engine.usage_by_caller().iter().any(|usage| usage.bytes > 0) {
            tokio::task::yield_now().await;
        }
    };
    client::soon(given_back).await.unwrap();
    test_server.upstream.script(Script::text(&["Hello"]));
    assert_eq!(test_server.json(&ask(&json!({})).bearer(ALICE)).await.0, 200);
    test_server.close().await;
}

#[tokio::test]
async fn queued_turns_on_a_socket_count_as_memory() {
    let test_server = with_share(|share| share.memory_bytes = 2_000_000).await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().content("On").wait_for(&gate).finish("stop").usage(9, 2, 0).done(),
    );
    let bearer = format!("Bearer {ALICE}");
    let mut socket =
        websocket::connect(test_server.address, RESPONSES, &[("authorization", &bearer)])
            .await
            .unwrap()
            .socket;
    send(&mut socket, &json!({ "type": "response.create", "model": MODEL, "input": "hi" })).await;
    let long = "word ".repeat(60_000);
    let mut refused = None;
    for _ in 0..10 {
        send(&mut socket, &json!({ "type": "response.create", "model": MODEL, "input": long }))
            .await;
    }
    let seen = async {
        while refused.is_none() {
            let event: Value =
                serde_json::from_str(&socket.next_text().await.unwrap().unwrap()).unwrap();
            if event["type"] == "error" {
                refused = Some(event);
            }
        }
    };
    client::soon(seen).await.unwrap();
    let refused = refused.unwrap();
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        (&json!(429), &json!("too_many_bytes")),
        "{refused}"
    );
    test_server.upstream.script(Script::text(&["Hello"]));
    assert_eq!(test_server.json(&ask(&json!({})).bearer(BOB)).await.0, 200);
    drop((socket, gate));
    test_server.close().await;
}

async fn send(socket: &mut Socket, message: &Value) {
    socket.send_text(&message.to_string()).await.unwrap();
}

#[tokio::test]
async fn a_conversation_has_a_limit_however_it_is_assembled() {
    let test_server = test_server(|engine| engine.context_bytes = 100_000).await;
    let long = "word ".repeat(8_000);
    let mut previous = Value::Null;
    let mut items = Vec::new();
    let mut last = (0, Value::Null);
    for _ in 0..4 {
        test_server.upstream.script(Script::text(&["Hm."]));
        last = test_server
            .json(&ask(&json!({ "input": long, "previous_response_id": previous })).bearer(ALICE))
            .await;
        if last.0 != 200 {
            break;
        }
        previous = last.1["id"].clone();
        let path = format!("{RESPONSES}/{}/input_items", previous.as_str().unwrap());
        items = test_server.json(&Request::get(&path).bearer(ALICE)).await.1["data"]
            .as_array()
            .cloned()
            .unwrap_or(items);
    }
    assert_eq!(
        (last.0, &last.1["error"]["code"]),
        (400, &json!("conversation_too_large")),
        "{}",
        last.1
    );
    let reference = json!({ "type": "item_reference", "id": items[0]["id"] });
    let many = json!({ "input": vec![reference; 50] });
    let (status, body) = test_server.json(&ask(&many).bearer(ALICE)).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("conversation_too_large")), "{body}");
    test_server.close().await;
}

#[tokio::test]
async fn the_running_responses_of_a_key_are_limited_and_others_have_places() {
    let test_server = with_share(|share| share.running = 2).await;
    let gate = Arc::new(Notify::new());
    for _ in 0..2 {
        test_server.upstream.script(
            Script::new().role().wait_for(&gate).content("On").finish("stop").usage(9, 2, 0).done(),
        );
        let (status, _) =
            test_server.json(&ask(&json!({ "background": true })).bearer(ALICE)).await;
        assert_eq!(status, 200);
    }
    let refused = test_server.send(&ask(&json!({})).bearer(ALICE)).await;
    let left = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"]
        .map(|name| refused.headers.get(name).map(str::to_owned));
    assert_eq!(left, [Some("2".to_owned()), Some("0".to_owned())]);
    assert_eq!(refusal(refused).await, busy("too_many_responses"));
    let embeddings =
        Request::post("/v1/embeddings", &json!({ "model": "demo", "input": "hi" })).bearer(ALICE);
    assert_eq!(refusal(test_server.send(&embeddings).await).await, busy("too_many_responses"));
    test_server.upstream.script(Script::text(&["Hello"]));
    assert_eq!(test_server.json(&ask(&json!({})).bearer(BOB)).await.0, 200);
    drop(gate);
    test_server.close().await;
}

#[tokio::test]
async fn the_requests_a_second_of_a_key_are_limited() {
    let test_server = with_share(|share| share.requests_per_second = 5).await;
    let models = |key: &str| Request::get("/v1/models").bearer(key);
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(test_server.json(&models(ALICE)).await.0);
    }
    assert!(
        statuses[..10].iter().all(|status| *status == 200) && statuses.contains(&429),
        "{statuses:?}"
    );
    assert_eq!(test_server.json(&models(BOB)).await.0, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(test_server.json(&models(ALICE)).await.0, 200);
    test_server.close().await;
}

#[tokio::test]
async fn the_connections_of_a_key_are_limited() {
    let test_server = with_share(|share| share.connections = 2).await;
    let models = |key: &str| Request::get("/v1/models").bearer(key);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut response = Connection::open(test_server.address)
            .await
            .unwrap()
            .send(&models(ALICE))
            .await
            .unwrap();
        assert_eq!(response.status, 200);
        response.collect().await.unwrap();
        kept.push(response.into_connection().await.unwrap());
    }
    assert_eq!(refusal(test_server.send(&models(ALICE)).await).await, busy("too_many_connections"));
    assert_eq!(test_server.json(&models(BOB)).await.0, 200);
    let mut again = kept.pop().unwrap().send(&models(ALICE)).await.unwrap();
    assert_eq!(again.status, 200, "one that is open is counted once");
    again.collect().await.unwrap();
    drop((kept, again));
    let free = async {
        while test_server.send(&models(ALICE)).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    client::soon(free).await.unwrap();
    test_server.close().await;
}

#[tokio::test]
async fn the_caller_that_stores_most_makes_room() {
    let test_server = test_server(|engine| engine.kept_bytes = 1_000_000).await;
    test_server.upstream.script(Script::text(&["Hello"]));
    let (_, kept) = test_server.json(&ask(&json!({})).bearer(ALICE)).await;
    let mut first = Value::Null;
    for _ in 0..20 {
        test_server.upstream.script(Script::text(&["Hm."]));
        let (status, body) =
            test_server.json(&ask(&json!({ "input": "word ".repeat(20_000) })).bearer(BOB)).await;
        assert_eq!(status, 200, "{body}");
        first = if first.is_null() { body["id"].clone() } else { first };
    }
    let gone = async {
        let path = format!("{RESPONSES}/{}", first.as_str().unwrap());
        while test_server.json(&Request::get(&path).bearer(BOB)).await.0 != 410 {
            tokio::task::yield_now().await;
        }
    };
    client::soon(gone).await.unwrap();
    let path = format!("{RESPONSES}/{}", kept["id"].as_str().unwrap());
    assert_eq!(
        test_server.json(&Request::get(&path).bearer(ALICE)).await.0,
        200,
        "hers has outlived his"
    );
    test_server.close().await;
}
