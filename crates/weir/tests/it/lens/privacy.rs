//! Callers that share a connection see nothing of each other: not the requests, their size, or their timing.

use std::sync::Arc;

use client::{Connection, Request};
use fakes::Script;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::packets::{LIST, is_captured, ladder, of_lane};
use crate::test_server::{ADMIN, ALICE, BOB, MODEL, TestServer, TestServerPlan};

async fn test_server() -> TestServer {
    TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() }).await
}

fn question(lane: &str, stream: bool) -> Request {
    Request::post(
        &format!("/v1/responses?lane={lane}"),
        &json!({ "model": MODEL, "input": "hi", "stream": stream }),
    )
}

/// Sends a request on a connection, and returns it after the response.
async fn ask(connection: Connection, request: &Request, status: u16) -> Connection {
    let mut response = connection.send(request).await.unwrap();
    assert_eq!(response.status, status);
    response.collect().await.unwrap();
    response.into_connection().await.unwrap()
}

/// Checks that only the connection's existence and the caller's own part are visible.
fn check_little(seen: &Value) {
    let told = seen
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, _)| name.as_str());
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["id", "object", "protocol", "shared", "last_requests"],
        "{seen}"
    );
    assert_eq!(seen["shared"], true);
    let own = seen["last_requests"].as_array().unwrap();
    assert!(
        own.iter().all(|request| request["number"].is_null() && request["lane"].is_string()),
        "{seen}"
    );
}

async fn status_and_code(test_server: &TestServer, key: &str, path: &str) -> (u16, String) {
    let mut response = test_server.send(&Request::get(path).bearer(key)).await;
    let body = response.collect().await.unwrap().0;
    let fault: Option<Value> = serde_json::from_slice(&body).ok();
    (
        response.status,
        fault.map_or(String::new(), |fault| fault["error"]["code"].as_str().unwrap().to_owned()),
    )
}

fn shared() -> (u16, String) {
    (404, "connection_shared".to_owned())
}

#[tokio::test]
async fn a_shared_connection_hides_anothers_streaming_response() {
    let test_server = test_server().await;
    is_captured(&test_server, Some(ADMIN)).await;
    let connection = ask(
        Connection::open(test_server.address).await.unwrap(),
        &question("hers", false).bearer(ALICE),
        200,
    )
    .await;
    assert_eq!(of_lane(&test_server, ALICE, "hers").await["requests"], 1);
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().content("one").wait_for(&gate).content("two").finish("stop").done(),
    );
    let mut his =
        connection.send(&question("his", true).bearer(BOB)).await.unwrap().events().unwrap();
    his.next().await.unwrap().unwrap();
    let before = of_lane(&test_server, ALICE, "hers").await;
    check_little(&before);
    gate.notify_one();
    while his.next().await.unwrap().is_some() {
        assert_eq!(of_lane(&test_server, ALICE, "hers").await, before, "it moves with every token");
    }
    let all = of_lane(&test_server, ADMIN, "his").await;
    assert!(all["said"]["text"].as_u64() >= Some(6) && all["requests"] == 2, "{all}");
    assert_eq!(
        status_and_code(&test_server, ALICE, &ladder(before["id"].as_u64().unwrap())).await,
        shared()
    );
    test_server.close().await;
}

#[tokio::test]
async fn a_missing_or_wrong_key_counts_as_another_caller() {
    let test_server = test_server().await;
    is_captured(&test_server, Some(ADMIN)).await;
    let refused = Request::get("/v1/responses/resp_of_somebody");
    for (name, request, status, is_shared) in [
        ("page", Request::get("/healthz"), 200, false),
        ("ticket", Request::new("POST", "/v1/tickets").bearer(ALICE), 200, false),
        ("none", refused.clone(), 401, true),
        ("wrong", refused.bearer("wk_wrong"), 401, true),
        ("classic", Request::get("/chat?message=hi"), 401, true),
        ("unknown", Request::get("/v1/no/such/path"), 404, true),
        ("foreign", Request::get("/v1/models").header("host", "elsewhere.example"), 421, true),
        ("lens", Request::get(LIST), 401, true),
    ] {
        let connection = ask(
            Connection::open(test_server.address).await.unwrap(),
            &question(name, false).bearer(ALICE),
            200,
        )
        .await;
        let connection = ask(connection, &request, status).await;
        let seen = of_lane(&test_server, ALICE, name).await;
        assert_eq!(seen["shared"], is_shared, "{name}: {seen}");
        if is_shared {
            check_little(&seen);
            assert_eq!(
                status_and_code(&test_server, ALICE, &ladder(seen["id"].as_u64().unwrap())).await,
                shared(),
                "{name}"
            );
        }
        drop(connection);
    }
    test_server.close().await;
}

/// Alice's connection, on which she has already made a request.
async fn hers(test_server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(test_server.address).await.unwrap();
    let head = format!(
        "GET /v1/models?lane=hers HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ALICE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(client::soon(stream.read(&mut vec![0; 64 << 10])).await.unwrap().unwrap() > 0);
    stream
}

/// Resolves when Alice sees the connection as hers alone, or as shared.
async fn until_shared(test_server: &TestServer, is_shared: bool) -> Value {
    let seen = async {
        loop {
            let seen = of_lane(test_server, ALICE, "hers").await;
            if seen["shared"] == is_shared {
                return seen;
            }
        }
    };
    client::soon(seen).await.unwrap()
}

#[tokio::test]
async fn incomplete_requests_may_belong_to_anyone() {
    let test_server = test_server().await;
    let is_captured = is_captured(&test_server, Some(ADMIN)).await;
    let mut stream = hers(&test_server).await;
    let seen = until_shared(&test_server, false).await;
    // Packets are captured by a thread, possibly with a delay.
    let captured = async {
        while is_captured && !of_lane(&test_server, ALICE, "hers").await["packets"].is_object() {}
    };
    client::soon(captured).await.unwrap();
    let path = ladder(seen["id"].as_u64().unwrap());
    stream
        .write_all(b"GET /v1/responses/resp_of_somebody HTTP/1.1\r\nhost: localhost\r\n")
        .await
        .unwrap();
    check_little(&until_shared(&test_server, true).await);
    assert_eq!(status_and_code(&test_server, ALICE, &path).await, shared());
    // It was Alice's.
    stream.write_all(format!("authorization: Bearer {ALICE}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(client::soon(stream.read(&mut [0; 4096])).await.unwrap().unwrap() > 0);
    until_shared(&test_server, false).await;
    let picture = if is_captured { (200, String::new()) } else { (404, "not_captured".to_owned()) };
    assert_eq!(status_and_code(&test_server, ALICE, &path).await, picture);
    drop(stream);
    test_server.close().await;
}

#[tokio::test]
async fn unparsable_requests_belong_to_another_caller() {
    let test_server = test_server().await;
    let mut stream = hers(&test_server).await;
    stream.write_all(b"GET /secret\x01 HTTP/9\r\n\r\n").await.unwrap();
    client::soon(stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    test_server.wait_connections(0).await;
    check_little(&until_shared(&test_server, true).await);
    test_server.close().await;
}

#[tokio::test]
async fn only_an_administrators_request_starts_a_capture() {
    let test_server = test_server().await;
    let state = async |key: &str| {
        test_server.json(&Request::get(LIST).bearer(key)).await.1["capture"]["state"].clone()
    };
    assert_eq!(state(ALICE).await, "idle");
    if is_captured(&test_server, Some(ADMIN)).await {
        assert_eq!(state(ALICE).await, "on", "others see their own while it runs");
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_list_is_limited_as_requested() {
    let test_server = test_server().await;
    let ask = async |key: &str, query: &str| {
        test_server.json(&Request::get(&format!("{LIST}{query}")).bearer(key)).await
    };
    let mut held = Vec::new();
    for _ in 0..130 {
        held.push(ask_models(&test_server).await);
    }
    let length = |(status, list): (u16, Value)| {
        assert_eq!(status, 200, "{list}");
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(length(ask(ALICE, "").await), 100);
    assert_eq!(length(ask(ALICE, "?limit=3").await), 3);
    assert!(length(ask(ALICE, "?limit=1000").await) >= 130);
    assert!(length(ask(ADMIN, "").await) >= 130, "an admin sees all");
    assert_eq!(length(ask(ADMIN, "?limit=2").await), 2);
    let (status, fault) = ask(ALICE, "?limit=0").await;
    assert_eq!((status, &fault["error"]["param"]), (400, &json!("limit")), "{fault}");
    drop(held);
    test_server.close().await;
}

async fn ask_models(test_server: &TestServer) -> Connection {
    ask(
        Connection::open(test_server.address).await.unwrap(),
        &Request::get("/v1/models").bearer(ALICE),
        200,
    )
    .await
}
