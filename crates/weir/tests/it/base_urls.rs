//! Base URLs with small mistakes: their endpoints are served under the rules of the canonical path, or the error
//! names the right base URL.

use client::{Request, websocket};
use serde_json::{Value, json};

use crate::http2::Http2Client;
use crate::test_server::{TestServer, TestServerPlan};

fn chat() -> Value {
    json!({ "model": "demo", "messages": [{ "role": "user", "content": "/echo hi" }] })
}

#[tokio::test]
async fn endpoints_are_found_however_the_base_url_is_written() {
    let test_server = TestServer::open().await;
    for base in ["/v1", "", "/", "//v1", "/v1/", "/v1/v1", "//v1//v1/", "/v1/v1/v1"] {
        let (status, body) = test_server.post(&format!("{base}/chat/completions"), &chat()).await;
        assert_eq!(
            (status, body["choices"][0]["message"]["content"].as_str()),
            (200, Some("hi")),
            "{base:?}: {body}"
        );
        let (status, body) = test_server
            .post(&format!("{base}/responses/"), &json!({ "model": "demo", "input": "/echo hi" }))
            .await;
        assert_eq!(status, 200, "{base:?}: {body}");
        let id = body["id"].as_str().unwrap();
        assert_eq!(test_server.get(&format!("{base}/responses/{id}")).await.1, body, "{base:?}");
        assert_eq!(
            test_server
                .json(&Request::new("POST", &format!("{base}/responses/{id}/cancel")))
                .await
                .0,
            200,
            "{base:?}"
        );
        let (status, body) = test_server.get(&format!("{base}/models?limit=5")).await;
        assert_eq!((status, &body["object"]), (200, &json!("list")), "{base:?}: {body}");
        assert_eq!(
            test_server.get(&format!("{base}/models/demo")).await.1["id"],
            "demo",
            "{base:?}"
        );
        let socket =
            websocket::connect(test_server.address, &format!("{base}/responses"), &[]).await;
        assert!(socket.is_ok(), "{base:?}: a WebSocket");
    }
    let mut client = Http2Client::open(test_server.address).await;
    for path in ["/chat/completions", "//v1/v1/chat/completions/"] {
        assert_eq!(client.post(path, &chat()).await.status(), 200, "{path} over HTTP/2");
    }
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn another_spelling_has_the_same_rules_as_the_path() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    for path in ["/chat/completions", "//v1/chat/completions", "/v1/v1/chat/completions/"] {
        let (status, body) = test_server.post(path, &chat()).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("missing_api_key")), "{path}");
        let foreign = Request::post(path, &chat()).header("origin", "https://evil.example");
        assert_eq!(test_server.send(&foreign).await.status, 403, "{path}: a page of another site");
        let preflight = Request::new("OPTIONS", path)
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "POST");
        assert_eq!(test_server.send(&preflight).await.status, 403, "{path}");
        let refused = test_server.send(&Request::post(path, &chat())).await;
        assert_eq!(refused.headers.get("cache-control"), Some("no-store"), "{path}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn the_classic_api_keeps_its_paths() {
    let test_server = TestServer::open().await;
    let asked = test_server.send(&Request::post("/chat", &json!({ "msg": "hi" }))).await;
    assert_eq!(asked.status, 400, "a question without a uid");
    let streamed = test_server.send(&Request::get("/chat?message=/echo%20hi")).await;
    assert_eq!((streamed.status, streamed.media_type()), (200, "text/event-stream"));
    drop(streamed);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn an_unknown_path_names_the_base_url() {
    let test_server = TestServer::open().await;
    let right = format!("http://{}/v1", test_server.address);
    for (method, path) in [
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("POST", "/openai/deployments/demo/chat/completions?api-version=2026-01-01"),
        ("POST", "/v1/chat/completions/chat/completions"),
        ("POST", "/v1/responses/responses"),
        ("GET", "/v1/chat/completions/models"),
    ] {
        let (status, body) = test_server.json(&Request::new(method, path)).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            [404, 405].contains(&status) && message.contains(&right),
            "{method} {path}: {status} {message}"
        );
    }
    let (status, body) = test_server.get("/v1/nothing").await;
    assert!(
        status == 404 && body["error"]["message"].as_str().unwrap().contains("/openapi.json"),
        "{body}"
    );
    test_server.close().await;
}

#[tokio::test]
async fn the_base_url_itself_explains_its_use() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    for path in ["/v1", "/v1/", "//v1//"] {
        let (status, body) = test_server.get(path).await;
        assert_eq!(
            (status, &body["base_url"]),
            (200, &json!(format!("http://{}/v1", test_server.address))),
            "{path}: {body}"
        );
        assert_eq!(
            body["description"],
            json!(format!("http://{}/openapi.json", test_server.address)),
            "{path}"
        );
    }
    test_server.close().await;
}
