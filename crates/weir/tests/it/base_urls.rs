//! Base URLs with small mistakes: their endpoints are served under the rules of the canonical path, or the error
//! names the right base URL.

use client::{Request, websocket};
use serde_json::{Value, json};

use crate::house::{House, Plan};
use crate::http2::Client;

fn chat() -> Value {
    json!({ "model": "demo", "messages": [{ "role": "user", "content": "/echo hi" }] })
}

#[tokio::test]
async fn endpoints_are_found_however_the_base_url_is_written() {
    let house = House::open().await;
    for base in ["/v1", "", "/", "//v1", "/v1/", "/v1/v1", "//v1//v1/", "/v1/v1/v1"] {
        let (status, body) = house.post(&format!("{base}/chat/completions"), &chat()).await;
        assert_eq!((status, body["choices"][0]["message"]["content"].as_str()), (200, Some("hi")), "{base:?}: {body}");
        let (status, body) = house.post(&format!("{base}/responses/"), &json!({ "model": "demo", "input": "/echo hi" })).await;
        assert_eq!(status, 200, "{base:?}: {body}");
        let id = body["id"].as_str().unwrap();
        assert_eq!(house.get(&format!("{base}/responses/{id}")).await.1, body, "{base:?}");
        assert_eq!(house.json(&Request::new("POST", &format!("{base}/responses/{id}/cancel"))).await.0, 200, "{base:?}");
        let (status, body) = house.get(&format!("{base}/models?limit=5")).await;
        assert_eq!((status, &body["object"]), (200, &json!("list")), "{base:?}: {body}");
        assert_eq!(house.get(&format!("{base}/models/demo")).await.1["id"], "demo", "{base:?}");
        let socket = websocket::connect(house.address, &format!("{base}/responses"), &[]).await;
        assert!(socket.is_ok(), "{base:?}: a WebSocket");
    }
    let mut client = Client::open(house.address).await;
    for path in ["/chat/completions", "//v1/v1/chat/completions/"] {
        assert_eq!(client.post(path, &chat()).await.status(), 200, "{path} over HTTP/2");
    }
    drop(client);
    house.quiet().await;
    house.close().await;
}

#[tokio::test]
async fn another_spelling_has_the_same_rules_as_the_path() {
    let house = House::open_with(Plan { with_keys: true, ..Plan::default() }).await;
    for path in ["/chat/completions", "//v1/chat/completions", "/v1/v1/chat/completions/"] {
        let (status, body) = house.post(path, &chat()).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("missing_api_key")), "{path}");
        let foreign = Request::post(path, &chat()).header("origin", "https://evil.example");
        assert_eq!(house.send(&foreign).await.status, 403, "{path}: a page of another site");
        let preflight =
            Request::new("OPTIONS", path).header("origin", "https://evil.example").header("access-control-request-method", "POST");
        assert_eq!(house.send(&preflight).await.status, 403, "{path}");
        let refused = house.send(&Request::post(path, &chat())).await;
        assert_eq!(refused.headers.get("cache-control"), Some("no-store"), "{path}");
    }
    house.close().await;
}

#[tokio::test]
async fn the_classic_api_keeps_its_paths() {
    let house = House::open().await;
    let asked = house.send(&Request::post("/chat", &json!({ "msg": "hi" }))).await;
    assert_eq!(asked.status, 400, "a question without a uid");
    let streamed = house.send(&Request::get("/chat?message=/echo%20hi")).await;
    assert_eq!((streamed.status, streamed.media_type()), (200, "text/event-stream"));
    drop(streamed);
    house.quiet().await;
    house.close().await;
}

#[tokio::test]
async fn an_unknown_path_names_the_base_url() {
    let house = House::open().await;
    let right = format!("http://{}/v1", house.address);
    for (method, path) in [
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("POST", "/openai/deployments/demo/chat/completions?api-version=2026-01-01"),
        ("POST", "/v1/chat/completions/chat/completions"),
        ("POST", "/v1/responses/responses"),
        ("GET", "/v1/chat/completions/models"),
    ] {
        let (status, body) = house.json(&Request::new(method, path)).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!([404, 405].contains(&status) && message.contains(&right), "{method} {path}: {status} {message}");
    }
    let (status, body) = house.get("/v1/nothing").await;
    assert!(status == 404 && body["error"]["message"].as_str().unwrap().contains("/openapi.json"), "{body}");
    house.close().await;
}

#[tokio::test]
async fn the_base_url_itself_explains_its_use() {
    let house = House::open_with(Plan { with_keys: true, ..Plan::default() }).await;
    for path in ["/v1", "/v1/", "//v1//"] {
        let (status, body) = house.get(path).await;
        assert_eq!((status, &body["base_url"]), (200, &json!(format!("http://{}/v1", house.address))), "{path}: {body}");
        assert_eq!(body["description"], json!(format!("http://{}/openapi.json", house.address)), "{path}");
    }
    house.close().await;
}
