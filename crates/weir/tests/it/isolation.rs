//! Two callers that must not see each other's data, and pages that must not call at all (promise 9).

use std::sync::Arc;

use client::Request;
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::resume::{id_of, rest, take};
use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan};

#[tokio::test]
async fn a_key_is_required_everywhere_under_v1() {
    let test_server = with_keys().await;
    let ask = json!({ "model": MODEL, "input": "hi" });
    let requests = [
        Request::post("/v1/responses", &ask),
        Request::post("/v1/responses/input_tokens", &ask),
        Request::get("/v1/responses/resp_1"),
        Request::get("/v1/responses/resp_1/events"),
        Request::get("/v1/responses/resp_1/event_times"),
        Request::get("/v1/responses/resp_1/input_items"),
        Request::new("DELETE", "/v1/responses/resp_1"),
        Request::post("/v1/responses/resp_1/cancel", &json!({})),
        Request::post(
            "/v1/chat/completions",
            &json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
        Request::get("/v1/models"),
        Request::get("/v1/models/scripted"),
    ];
    for request in &requests {
        for (authorization, code) in [
            (None, "missing_api_key"),
            (Some("Basic d2tfYWxpY2U6"), "missing_api_key"),
            (Some("Bearer wk_nobody"), "invalid_api_key"),
            (Some("Bearer "), "missing_api_key"),
        ] {
            let mut refused = request.clone();
            refused
                .headers
                .extend(authorization.map(|value| ("authorization".to_owned(), value.to_owned())));
            let mut response = test_server.send(&refused).await;
            assert_eq!(response.headers.get("www-authenticate"), Some("Bearer"), "{refused:?}");
            let body: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
            let found = body["error"]["code"].as_str().unwrap();
            // A header with nothing but its scheme may be read either way.
            assert!(found == code || authorization == Some("Bearer "), "{refused:?}: {body}");
            assert_eq!(
                (response.status, &body["error"]["type"]),
                (401, &json!("authentication_error")),
                "{refused:?}"
            );
        }
    }
    assert!(test_server.upstream.requests().is_empty(), "nobody was let in");
    assert_eq!(test_server.json(&Request::get("/healthz")).await.0, 200);
    assert_eq!(test_server.json(&requests[0].clone().bearer(ALICE)).await.0, 200);
    test_server.close().await;
}

#[tokio::test]
async fn another_callers_data_is_not_found() {
    let test_server = with_keys().await;
    let (_, first) = test_server
        .json(
            &Request::post("/v1/responses", &json!({ "model": MODEL, "input": "mine" }))
                .bearer(ALICE),
        )
        .await;
    let (id, item) = (first["id"].as_str().unwrap(), first["output"][0]["id"].as_str().unwrap());
    let before = test_server.upstream.requests().len();
    for ask in asks_for(id, item) {
        let hers = test_server.json(&ask.bearer(BOB)).await;
        assert!([400, 404].contains(&hers.0), "{hers:?}");
    }
    // The same requests for ids that do not exist: the responses are identical except for the ids.
    let (unknown_id, unknown_item) = ("x".repeat(id.len()), "y".repeat(item.len()));
    for (foreign, unknown) in
        asks_for(id, item).into_iter().zip(asks_for(&unknown_id, &unknown_item))
    {
        let foreign = test_server.json(&foreign.bearer(BOB)).await;
        let unknown = test_server.json(&unknown.bearer(BOB)).await;
        assert_eq!(foreign.0, unknown.0);
        assert_eq!(
            foreign.1.to_string().replace(id, &unknown_id).replace(item, &unknown_item),
            unknown.1.to_string()
        );
        // `previous_response_id` is a field of a request, and an invalid field is OpenAI's 400.
        let expected =
            if foreign.1["error"]["param"] == "previous_response_id" { 400 } else { 404 };
        assert_eq!(foreign.0, expected, "{}", foreign.1);
    }
    assert_eq!(test_server.upstream.requests().len(), before, "nothing went upstream");
    let (status, still) =
        test_server.json(&Request::get(&format!("/v1/responses/{id}")).bearer(ALICE)).await;
    assert_eq!((status, still), (200, first.clone()), "and nothing happened to it");
    for ask in asks_for(id, item) {
        let mine = test_server.json_or_stream(&ask.bearer(ALICE)).await;
        assert_eq!(mine, 200);
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// Every request that names something by id. The last one deletes it.
fn asks_for(id: &str, item: &str) -> Vec<Request> {
    let path = |rest: &str| format!("/v1/responses/{id}{rest}");
    vec![
        Request::get(&path("")),
        Request::get(&path("?stream=true")),
        Request::get(&path("?stream=true&starting_after=1")),
        Request::get(&path("/events")),
        Request::get(&path("/events?wait=1")),
        Request::get(&path("/event_times")),
        Request::get(&path("/input_items")),
        Request::post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": "hi", "previous_response_id": id }),
        ),
        Request::post(
            "/v1/responses/input_tokens",
            &json!({ "model": MODEL, "input": "hi", "previous_response_id": id }),
        ),
        Request::post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": [{ "type": "item_reference", "id": item }] }),
        ),
        Request::post(
            "/v1/responses/input_tokens",
            &json!({ "model": MODEL, "input": [{ "id": item }] }),
        ),
        Request::post(&path("/cancel"), &json!({})),
        Request::new("DELETE", &path("")),
    ]
}

#[tokio::test]
async fn a_running_response_cannot_be_cancelled_by_another_caller() {
    let test_server = with_keys().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("He")
            .wait_for(&gate)
            .content("re.")
            .finish("stop")
            .usage(9, 2, 0)
            .done(),
    );
    let request =
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi", "stream": true }))
            .bearer(ALICE);
    let mut stream = test_server.stream(&request).await;
    let id = id_of(&take(&mut stream, 3).await[0]);
    for request in [
        Request::post(&format!("/v1/responses/{id}/cancel"), &json!({})),
        Request::new("DELETE", &format!("/v1/responses/{id}")),
        Request::get(&format!("/v1/responses/{id}?stream=true")),
    ] {
        let (status, body) = test_server.json(&request.bearer(BOB)).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("response_not_found")));
    }
    gate.notify_one();
    let data = rest(&mut stream, crate::test_server::TestFrame::Sse).await;
    assert!(data.last().unwrap().contains("\"text\":\"Here.\""));
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn idempotency_keys_are_separate_for_each_caller() {
    let test_server = with_keys().await;
    let ask = Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" }))
        .header("idempotency-key", "one");
    let (_, hers) = test_server.json(&ask.clone().bearer(ALICE)).await;
    let (status, his) = test_server.json(&ask.clone().bearer(BOB)).await;
    assert_eq!((status, test_server.upstream.requests().len()), (200, 2));
    assert_ne!(hers["id"], his["id"]);
    let other = Request::post("/v1/responses", &json!({ "model": MODEL, "input": "bye" }))
        .header("idempotency-key", "one");
    assert_eq!(test_server.json(&other.bearer(BOB)).await.0, 409);
    assert_eq!(test_server.json(&ask.bearer(ALICE)).await.1["id"], hers["id"]);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn other_host_names_are_rejected() {
    let test_server = test_server_with_names().await;
    for path in ["/", "/v1/models", "/healthz"] {
        let (status, body) =
            test_server.json(&Request::get(path).header("host", "evil.example")).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (421, &json!("misdirected_request")),
            "{path}"
        );
        assert!(body["error"]["message"].as_str().unwrap().contains("server.hosts"), "{body}");
    }
    for host in ["chat.example", "chat.example:8443", "localhost:1", "127.0.0.1", "[::1]:8000"] {
        assert_eq!(
            test_server
                .send(&Request::get("/v1/models").header("host", host).bearer(ALICE))
                .await
                .status,
            200,
            "{host}"
        );
    }
    test_server.close().await;
}

#[tokio::test]
async fn pages_of_other_sites_cannot_spend_tokens() {
    let test_server = test_server_with_names().await;
    let ask =
        || Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })).bearer(ALICE);
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let request = ask().header(name, value);
        let mut response = test_server.send(&request).await;
        assert_eq!(response.headers.get("access-control-allow-origin"), None, "{value}");
        let body: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
        assert_eq!(
            (response.status, &body["error"]["code"]),
            (403, &json!("origin_not_allowed")),
            "{value}"
        );
        assert!(body["error"]["message"].as_str().unwrap().contains("server.origins"), "{body}");
    }
    assert!(test_server.upstream.requests().is_empty());
    let preflight =
        Request::new("OPTIONS", "/v1/responses").header("access-control-request-method", "POST");
    assert_eq!(test_server.json(&preflight.header("origin", "https://evil.example")).await.0, 403);

    // Our own page, an allowed page although its browser says cross-site, and a program.
    let own = format!("http://{}", test_server.address);
    for headers in [
        vec![("origin", own.as_str())],
        vec![("origin", "https://app.example"), ("sec-fetch-site", "cross-site")],
        vec![],
    ] {
        let request =
            headers.iter().fold(ask(), |request, (name, value)| request.header(name, value));
        let response = test_server.send(&request).await;
        let origin = headers.first().map(|(_, origin)| *origin);
        assert_eq!(
            (response.status, response.headers.get("access-control-allow-origin")),
            (200, origin)
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn an_allowed_page_gets_its_cors_headers() {
    let test_server = test_server_with_names().await;
    let preflight = Request::new("OPTIONS", "/v1/responses")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, content-type, idempotency-key");
    let response = test_server.send(&preflight).await;
    assert_eq!(response.status, 204);
    let header = |name: &str| response.headers.get(name).unwrap_or_default().to_owned();
    assert_eq!(header("access-control-allow-origin"), "https://app.example");
    assert_eq!(
        header("access-control-allow-headers"),
        "authorization, content-type, idempotency-key"
    );
    assert!(
        ["GET", "POST", "DELETE"]
            .iter()
            .all(|method| header("access-control-allow-methods").contains(method))
    );
    assert!(header("vary").to_ascii_lowercase().contains("origin"));

    // An error needs the headers too, or the page cannot read it.
    let wrong = Request::post("/v1/responses", &json!({}))
        .header("origin", "https://app.example")
        .bearer(ALICE);
    let response = test_server.send(&wrong).await;
    assert_eq!(
        (response.status, response.headers.get("access-control-allow-origin")),
        (400, Some("https://app.example"))
    );
    let streamed =
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi", "stream": true }));
    let response =
        test_server.send(&streamed.header("origin", "https://app.example").bearer(ALICE)).await;
    assert_eq!(response.headers.get("access-control-allow-origin"), Some("https://app.example"));
    assert!(
        response.headers.get("access-control-expose-headers").unwrap().contains("weir-response-id")
    );
    rest(&mut response.events().unwrap(), crate::test_server::TestFrame::Sse).await;
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn an_upstreams_key_never_reaches_a_client() {
    let test_server = TestServer::open().await;
    let key = "sk-of-q8Zv41Tn0bX";
    let echo = json!({ "error": { "message": format!("Incorrect API key provided: {key}"), "type": "x", "param": key, "code": key } });
    let scripts = [
        Script::error(401, &echo),
        Script::error(403, &echo),
        Script::error(400, &echo),
        Script::error(404, &echo),
        Script::error(422, &echo),
        Script::error(429, &echo),
        Script::error(500, &echo),
        Script::error(503, &echo),
        Script::status(
            500,
            &[("x-key", key), ("retry-after", key)],
            format!("got Authorization: Bearer {key}"),
        ),
        Script::new().event(echo.clone()),
        Script::new().role().content("Hi").event(echo.clone()),
        Script::new().raw(format!("event: error\ndata: Bearer {key}\n\n")),
        Script::new().raw(format!("data: {key}\n\n")),
    ];
    let ask = json!({ "model": MODEL, "input": "hi" });
    let chat = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }] });
    for (number, script) in scripts.iter().enumerate() {
        for (path, body) in [("/v1/responses", &ask), ("/v1/chat/completions", &chat)] {
            for stream in [true, false] {
                test_server.upstream.script(script.clone());
                let mut body = body.clone();
                body["stream"] = stream.into();
                let mut response = test_server.send(&Request::post(path, &body)).await;
                let (content, _) = response.collect().await.unwrap();
                let said = format!("{:?} {}", response.headers, String::from_utf8_lossy(&content));
                assert!(!said.contains(key), "script {number}, {path}, stream {stream}: {said}");
                assert!(
                    said.contains("\"error\""),
                    "script {number}, {path}, stream {stream}: {said}"
                );
            }
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

async fn with_keys() -> TestServer {
    TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() }).await
}

async fn test_server_with_names() -> TestServer {
    let mut plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    plan.server.hosts = vec!["chat.example".into()];
    plan.server.origins = vec!["https://app.example".into()];
    TestServer::open_with(plan).await
}

impl TestServer {
    /// The status of a response read to its end.
    async fn json_or_stream(&self, request: &Request) -> u16 {
        let mut response = self.send(request).await;
        response.collect().await.unwrap();
        response.status
    }
}
