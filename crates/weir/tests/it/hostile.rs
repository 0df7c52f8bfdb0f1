//! Invalid input: an error in OpenAI's format with the correct status, and a connection that remains usable where
//! HTTP allows.

use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Connection, Request, Response};
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::test_server::{MODEL, TestApi, TestFrame, TestServer, TestServerPlan, demo, question};

const RESPONSES: &str = "/v1/responses";
const CHAT: &str = "/v1/chat/completions";

/// A body limit that a test can exceed.
const BODY: usize = 10_000;

async fn test_server() -> TestServer {
    let mut plan = TestServerPlan::default();
    plan.server.body_bytes = BODY;
    TestServer::open_with(plan).await
}

/// What an error must contain; an empty code or param is not checked.
#[derive(Clone, Copy, Debug)]
struct Expected {
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
}

fn expect(status: u16, code: &'static str) -> Expected {
    Expected { status, code, param: None }
}

fn wrong(code: &'static str, param: &'static str) -> Expected {
    Expected { status: 400, code, param: Some(param) }
}

/// The error's body, whose format is checked.
async fn refusal(response: &mut Response, expected: Expected, what: &str) {
    assert_eq!(response.status, expected.status, "{what}");
    assert_eq!(response.headers.get("content-type"), Some("application/json"), "{what}");
    assert_eq!(response.headers.get("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(response.headers.get("cache-control"), Some("no-store"), "{what}");
    let (body, end) = response.collect().await.unwrap();
    assert_eq!(end, BodyEnd::Clean, "{what}");
    let body: Value = serde_json::from_slice(&body)
        .unwrap_or_else(|_| panic!("{what}: {}", String::from_utf8_lossy(&body)));
    let error = &body["error"];
    let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["message", "type", "code", "param"], "{what}");
    assert_eq!(
        (error["code"].as_str(), error["param"].as_str()),
        (Some(expected.code), expected.param),
        "{what}: {error}"
    );
    assert!(
        error["message"].as_str().is_some_and(|message| !message.is_empty())
            && error["type"].is_string(),
        "{what}: {error}"
    );
}

/// Sends an invalid request, and then a valid one on the same connection.
async fn check(test_server: &TestServer, request: &Request, expected: Expected) {
    let what = format!(
        "{} {} {}",
        request.method,
        request.path,
        String::from_utf8_lossy(&request.body[..request.body.len().min(80)])
    );
    let connection = Connection::open(test_server.address).await.unwrap();
    let mut response = client::soon(connection.send(request))
        .await
        .unwrap()
        .unwrap_or_else(|error| panic!("{what}: {error:#}"));
    refusal(&mut response, expected, &what).await;
    let connection =
        response.into_connection().await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    good(connection, &what).await;
}

/// Checks that the connection still works.
async fn good(connection: Connection, what: &str) -> Connection {
    let request =
        Request::post(RESPONSES, &json!({ "model": "demo", "input": "/echo still here" }));
    let mut response = client::soon(connection.send(&request))
        .await
        .unwrap()
        .unwrap_or_else(|error| panic!("{what}: then {error:#}"));
    let (body, end) = response.collect().await.unwrap();
    assert_eq!((response.status, end), (200, BodyEnd::Clean), "{what}");
    assert!(String::from_utf8_lossy(&body).contains("still here"), "{what}");
    response.into_connection().await.unwrap()
}

#[tokio::test]
async fn invalid_bodies_are_reported_by_path() {
    let test_server = test_server().await;
    let deep = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    for path in [RESPONSES, CHAT] {
        for (body, expected) in [
            ("", expect(400, "empty_body")),
            ("hello", expect(400, "invalid_json")),
            ("{\"model\":", expect(400, "invalid_json")),
            ("{\"model\":\"demo\"} and more", expect(400, "invalid_json")),
            ("{\"model\":\"\\ud800\"}", expect(400, "invalid_json")),
            ("{\"temperature\":1e999}", expect(400, "invalid_json")),
            (deep.as_str(), expect(400, "invalid_json")),
            ("[]", expect(400, "invalid_type")),
            ("\"hello\"", expect(400, "invalid_type")),
            ("null", expect(400, "invalid_type")),
        ] {
            check(
                &test_server,
                &Request::new("POST", path).header("content-type", "application/json").body(body),
                expected,
            )
            .await;
        }
        let not_text = b"{\"model\":\"\xff\xfe\"}".to_vec();
        check(
            &test_server,
            &Request::new("POST", path).header("content-type", "application/json").body(not_text),
            expect(400, "invalid_json"),
        )
        .await;
    }
    for (body, expected) in [
        (json!({ "input": "hi" }), wrong("missing_required_parameter", "model")),
        (json!({ "model": null, "input": "hi" }), wrong("missing_required_parameter", "model")),
        (json!({ "model": 7, "input": "hi" }), wrong("invalid_type", "model")),
        (json!({ "model": "", "input": "hi" }), wrong("invalid_value", "model")),
        (
            json!({ "model": "nobody", "input": "hi" }),
            Expected { status: 404, ..wrong("model_not_found", "model") },
        ),
        (json!({ "model": "demo" }), wrong("missing_required_parameter", "input")),
        (json!({ "model": "demo", "input": "" }), wrong("empty_input", "input")),
        (json!({ "model": "demo", "input": [] }), wrong("empty_input", "input")),
        (json!({ "model": "demo", "input": 7 }), wrong("invalid_type", "input")),
        (json!({ "model": "demo", "input": ["hi"] }), wrong("invalid_type", "input[0]")),
        (
            json!({ "model": "demo", "input": [{}] }),
            wrong("missing_required_parameter", "input[0].type"),
        ),
        (
            json!({ "model": "demo", "input": [{ "role": "user" }] }),
            wrong("missing_required_parameter", "input[0].content"),
        ),
        (
            json!({ "model": "demo", "input": [{ "role": "user", "content": 7 }] }),
            wrong("invalid_type", "input[0].content"),
        ),
        (
            json!({ "model": "demo", "input": [{ "role": "king", "content": "hi" }] }),
            wrong("invalid_value", "input[0].role"),
        ),
        (
            json!({ "model": "demo", "input": [{ "role": "user", "content": "a" }, { "role": "user", "content": [{ "type": "input_text", "text": [] }] }] }),
            wrong("invalid_type", "input[1].content[0].text"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "stream": "yes" }),
            wrong("invalid_type", "stream"),
        ),
        (json!({ "model": "demo", "input": "hi", "store": 1 }), wrong("invalid_type", "store")),
        (
            json!({ "model": "demo", "input": "hi", "temperature": 3 }),
            wrong("invalid_value", "temperature"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "temperature": "hot" }),
            wrong("invalid_type", "temperature"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "max_output_tokens": 0 }),
            wrong("invalid_value", "max_output_tokens"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "metadata": { "a": 1 } }),
            wrong("invalid_type", "metadata.a"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "tools": [{ "type": "function" }] }),
            wrong("missing_required_parameter", "tools[0].name"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "background": true, "store": false }),
            wrong("invalid_value", "background"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "previous_response_id": "resp_x" }),
            wrong("previous_response_not_found", "previous_response_id"),
        ),
        (
            json!({ "model": "demo", "input": "hi", "wibble": 1 }),
            wrong("unknown_parameter", "wibble"),
        ),
    ] {
        check(&test_server, &Request::post(RESPONSES, &body), expected).await;
    }
    let hi = json!([{ "role": "user", "content": "hi" }]);
    for (body, expected) in [
        (json!({ "messages": hi }), wrong("missing_required_parameter", "model")),
        (
            json!({ "model": "nobody", "messages": hi }),
            Expected { status: 404, ..wrong("model_not_found", "model") },
        ),
        (json!({ "model": "demo" }), wrong("missing_required_parameter", "messages")),
        (json!({ "model": "demo", "messages": [] }), wrong("empty_input", "messages")),
        (json!({ "model": "demo", "messages": "hi" }), wrong("invalid_type", "messages")),
        (
            json!({ "model": "demo", "messages": [{ "content": "hi" }] }),
            wrong("missing_required_parameter", "messages[0].role"),
        ),
        (
            json!({ "model": "demo", "messages": [{ "role": "user", "content": { "text": "hi" } }] }),
            wrong("invalid_type", "messages[0].content"),
        ),
        (
            json!({ "model": "demo", "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": "x" }] }] }),
            wrong("invalid_type", "messages[0].content[0].image_url"),
        ),
        (json!({ "model": "demo", "messages": hi, "stream": 1 }), wrong("invalid_type", "stream")),
        (json!({ "model": "demo", "messages": hi, "n": 2 }), wrong("unsupported_value", "n")),
        (
            json!({ "model": "demo", "messages": hi, "stream_options": {} }),
            wrong("invalid_value", "stream_options"),
        ),
    ] {
        check(&test_server, &Request::post(CHAT, &body), expected).await;
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn invalid_paths_methods_and_types_are_named() {
    let test_server = test_server().await;
    let missing = "/v1/responses/resp_0123456789abcdef";
    for (request, expected) in [
        (Request::get("/v1/nothing"), expect(404, "unknown_path")),
        (
            Request::get("/v1/responses/"),
            Expected { status: 426, ..wrong("upgrade_required", "Upgrade") },
        ),
        (
            Request::get("/v1/models/nobody"),
            Expected { status: 404, ..wrong("model_not_found", "model") },
        ),
        (Request::get(missing), expect(404, "response_not_found")),
        (Request::get(&format!("{missing}?stream=true")), expect(404, "response_not_found")),
        (Request::get(&format!("{missing}/events")), expect(404, "response_not_found")),
        (Request::get(&format!("{missing}/event_times")), expect(404, "response_not_found")),
        (Request::get(&format!("{missing}/input_items")), expect(404, "response_not_found")),
        (Request::new("DELETE", missing), expect(404, "response_not_found")),
        (Request::new("POST", &format!("{missing}/cancel")), expect(404, "response_not_found")),
        (
            Request::new("POST", &format!("{missing}/cancel")).body("whatever"),
            expect(404, "response_not_found"),
        ),
        (
            Request::get(&format!("{missing}?stream=true&starting_after=-1")),
            wrong("invalid_value", "starting_after"),
        ),
        (
            Request::get(&format!("{missing}?stream=true&starting_after=soon")),
            wrong("invalid_value", "starting_after"),
        ),
        (Request::get(&format!("{missing}?stream=maybe")), wrong("invalid_value", "stream")),
        (Request::get("/v1/responses/%FF"), expect(400, "invalid_path")),
        (Request::new("DELETE", "/v1/responses/%FF"), expect(400, "invalid_path")),
        (Request::get("/v1/responses/%FF/events"), expect(400, "invalid_path")),
        (Request::new("POST", "/v1/responses/%FF/cancel"), expect(400, "invalid_path")),
        (Request::get("/v1/models/%FF"), expect(400, "invalid_path")),
        (Request::get("/assets/..%2f..%2fCargo.toml"), expect(404, "unknown_path")),
        (Request::get("/assets/../Cargo.toml"), expect(404, "unknown_path")),
        (Request::get("/assets/lab.html"), expect(404, "unknown_path")),
        (Request::get("/assets/%FF"), expect(400, "invalid_path")),
        (Request::get(&format!("{missing}?stream=%FF")), wrong("invalid_value", "stream")),
        (Request::new("POST", RESPONSES).header("content-type", "text/plain").body("{}"), media()),
        (
            Request::new("POST", CHAT)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("a=b"),
            media(),
        ),
        (
            Request::post(RESPONSES, &demo("hi")).header("idempotency-key", ""),
            wrong("invalid_value", "Idempotency-Key"),
        ),
    ] {
        check(&test_server, &request, expected).await;
    }
    for (method, path, allow) in [
        ("PUT", RESPONSES, "POST"),
        ("GET", CHAT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", missing, "GET"),
        ("GET", "/v1/responses/x/cancel", "POST"),
        ("BREW", "/healthz", "GET"),
    ] {
        let request = Request::new(method, path);
        // RFC 9110, section 9.1: a method that is not known is another matter than one that the path has not.
        let expected = if method == "BREW" {
            expect(501, "method_not_implemented")
        } else {
            expect(405, "method_not_allowed")
        };
        check(&test_server, &request, expected).await;
        let response = test_server.send(&request).await;
        let allowed = response.headers.get("allow").unwrap_or_default().to_owned();
        assert!(
            allowed.split(',').any(|word| word.trim() == allow),
            "{method} {path}: Allow is {allowed:?}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

fn media() -> Expected {
    Expected { status: 415, ..wrong("unsupported_media_type", "Content-Type") }
}

#[tokio::test]
async fn an_empty_cancel_needs_no_content_type() {
    let test_server = test_server().await;
    let (_, done) =
        test_server.post(RESPONSES, &json!({ "model": "demo", "input": "/echo hi" })).await;
    let path = format!("/v1/responses/{}/cancel", done["id"].as_str().unwrap());
    for request in [
        Request::new("POST", &path),
        Request::post(&path, &json!({})),
        Request::new("POST", &path).header("content-type", "text/plain"),
    ] {
        assert_eq!(test_server.json(&request).await, (200, done.clone()));
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn bodies_above_the_limit_are_rejected_with_and_without_a_length() {
    let test_server = test_server().await;
    let body = json!({ "model": "demo", "input": "a".repeat(2 * BODY) }).to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for path in [RESPONSES, CHAT] {
        let typed = Request::new("POST", path).header("content-type", "application/json");
        let endless = typed.clone().header("content-length", "99999999999");
        let chunks = typed.clone().header("transfer-encoding", "chunked").body(chunked.clone());
        let expects = endless.clone().header("expect", "100-continue");
        for request in [typed.clone().body(body.clone()), chunks, endless, expects] {
            let mut response = client::soon(test_server.send(&request)).await.unwrap();
            refusal(&mut response, expect(413, "body_too_large"), path).await;
        }
        // Exactly at the limit.
        let prefix = json!({ "model": "nobody" }).to_string();
        let fits = format!("{prefix}{}", " ".repeat(BODY - prefix.len()));
        let mut response = test_server.send(&typed.body(fits)).await;
        let (_, end) = response.collect().await.unwrap();
        assert_eq!((response.status, end), (400, BodyEnd::Clean));
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// Writes raw bytes and reads the response; the server may close before it has read everything.
async fn raw(test_server: &TestServer, bytes: &[u8]) -> Response {
    let mut connection = Connection::open(test_server.address).await.unwrap();
    let _cut_off = connection.write_raw(bytes).await;
    client::soon(connection.read_response(&Request::get("/"))).await.unwrap().unwrap()
}

#[tokio::test]
async fn malformed_heads_get_an_error_response() {
    let test_server = test_server().await;
    let many = "x: 1\r\n".repeat(200);
    let cases: [(String, Expected); 10] = [
        ("GARBAGE\r\n\r\n".into(), expect(400, "malformed_request")),
        ("GET /healthz HTTP/1.1\r\nno colon here\r\n\r\n".into(), expect(400, "malformed_request")),
        (
            "GET /healthz HTTP/1.1\r\nhost: a\r\nbad\x01name: b\r\n\r\n".into(),
            expect(400, "malformed_request"),
        ),
        (
            format!(
                "POST {RESPONSES} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
            ),
            expect(400, "malformed_request"),
        ),
        (
            format!("POST {RESPONSES} HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n"),
            expect(400, "malformed_request"),
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"),
            expect(431, "head_too_large"),
        ),
        (
            format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
                "a".repeat(300_000)
            ),
            expect(431, "head_too_large"),
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(300_000)),
            expect(431, "head_too_large"),
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(65_535)),
            expect(431, "head_too_large"),
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(60_000)),
            expect(404, "unknown_path"),
        ),
    ];
    for (bytes, expected) in cases {
        let what = &bytes[..bytes.len().min(60)];
        let mut response = raw(&test_server, bytes.as_bytes()).await;
        refusal(&mut response, expected, what).await;
        if expected.code != "unknown_path" {
            let end = client::soon(response.connection().read_raw()).await.unwrap();
            assert!(
                end.is_ok_and(|bytes| bytes.is_empty())
                    || expected.status == 431
                    || expected.status == 414,
                "{what}: the connection is closed"
            );
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_malformed_head_after_a_valid_request_is_rejected_too() {
    let test_server = test_server().await;
    let mut connection = good(Connection::open(test_server.address).await.unwrap(), "first").await;
    connection.write_raw(b"GARBAGE\r\n\r\n").await.unwrap();
    let mut response =
        client::soon(connection.read_response(&Request::get("/"))).await.unwrap().unwrap();
    refusal(&mut response, expect(400, "malformed_request"), "after a good request").await;
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn slow_clients_get_an_error_and_silent_ones_none() {
    let mut plan = TestServerPlan::default();
    plan.server.head_timeout = Duration::from_millis(100);
    plan.server.body_timeout = Duration::from_millis(100);
    let test_server = TestServer::open_with(plan).await;
    for begun in ["G", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nhost: loc"] {
        let mut response = raw(&test_server, begun.as_bytes()).await;
        refusal(&mut response, expect(408, "head_timeout"), begun).await;
        assert!(
            client::soon(response.connection().read_raw()).await.unwrap().unwrap().is_empty(),
            "closed"
        );
    }
    let mut silent = Connection::open(test_server.address).await.unwrap();
    assert!(
        client::soon(silent.read_raw()).await.unwrap().unwrap().is_empty(),
        "closed without a word"
    );
    for path in [RESPONSES, CHAT] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        );
        for body in [
            "content-length: 100\r\n\r\n{\"model\":",
            "transfer-encoding: chunked\r\n\r\n5\r\n{\"mod\r\n",
        ] {
            let mut response = raw(&test_server, format!("{head}{body}").as_bytes()).await;
            refusal(&mut response, expect(408, "body_timeout"), body).await;
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_truncated_body_starts_nothing() {
    let test_server = test_server().await;
    let head = format!(
        "POST {RESPONSES} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    );
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write_raw(format!("{head}{{\"model\":").as_bytes()).await.unwrap();
    connection.half_close().await.unwrap();
    let mut response =
        client::soon(connection.read_response(&Request::get("/"))).await.unwrap().unwrap();
    refusal(&mut response, expect(400, "truncated_body"), "a FIN in the body").await;
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write_raw(format!("{head}{{\"model\":").as_bytes()).await.unwrap();
    connection.reset().unwrap();
    drop(response);
    test_server.wait_connections(0).await;
    assert_eq!(test_server.engine.census().running, 0);
    test_server.close().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let test_server = test_server().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(Script::new().wait_for(&gate).content("slow").finish("stop").end());
    test_server.upstream.script(Script::text(&["fast"]));
    let requests = [
        (question((TestApi::Responses, TestFrame::Json), MODEL, &json!({})), 200, "slow"),
        (Request::get("/healthz"), 200, "ok"),
        (Request::post(RESPONSES, &json!({})), 400, "model"),
        (question((TestApi::Chat, TestFrame::Sse), MODEL, &json!({})), 200, "[DONE]"),
        (Request::get("/v1/nothing"), 404, "unknown_path"),
    ];
    let mut connection = Connection::open(test_server.address).await.unwrap();
    for (request, ..) in &requests {
        connection.write(request).await.unwrap();
    }
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    gate.notify_one();
    for (request, status, word) in &requests {
        let mut response = client::soon(connection.read_response(request)).await.unwrap().unwrap();
        let (body, end) = response.collect().await.unwrap();
        let body = String::from_utf8(body).unwrap();
        assert_eq!(
            (response.status, end),
            (*status, BodyEnd::Clean),
            "{} {}: {body}",
            request.method,
            request.path
        );
        assert!(body.contains(word), "{} {}: {body}", request.method, request.path);
        connection = response.into_connection().await.unwrap();
    }
    drop(connection);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn head_and_options_are_answered_without_a_body() {
    let mut plan = TestServerPlan::default();
    plan.server.origins = vec!["https://app.example".into()];
    let test_server = TestServer::open_with(plan).await;
    let connection = Connection::open(test_server.address).await.unwrap();
    let response = connection.send(&Request::new("HEAD", "/healthz")).await.unwrap();
    assert_eq!((response.status, response.headers.get("content-length")), (200, Some("15")));
    let response =
        response.into_connection().await.unwrap().send(&Request::new("HEAD", CHAT)).await.unwrap();
    assert_eq!(response.status, 405);
    let preflight = Request::new("OPTIONS", RESPONSES)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let response = response.into_connection().await.unwrap().send(&preflight).await.unwrap();
    assert_eq!(response.status, 204);
    assert_eq!(response.headers.get("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(
        response.headers.get("access-control-allow-headers"),
        Some("authorization,content-type")
    );
    good(response.into_connection().await.unwrap(), "after HEAD and OPTIONS").await;
    let foreign = Request::new("OPTIONS", RESPONSES)
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    let mut response = test_server.send(&foreign).await;
    refusal(
        &mut response,
        Expected { status: 403, ..wrong("origin_not_allowed", "Origin") },
        "a foreign page",
    )
    .await;
    test_server.quiet().await;
    test_server.close().await;
}
