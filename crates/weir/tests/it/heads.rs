//! Response headers that OpenAI's clients and tools expect.

use std::time::{SystemTime, UNIX_EPOCH};

use client::{Connection, Request};
use fakes::Script;
use serde_json::{Value, json};

use crate::test_server::{
    ALICE, MODEL, TestApi, TestFrame, TestServer, TestServerPlan, WAYS, demo, question,
};

#[tokio::test]
async fn the_version_and_processing_time_are_in_the_headers() {
    let test_server = TestServer::open().await;
    for request in [
        Request::get("/v1/models"),
        Request::get("/v1/nothing"),
        question((TestApi::Chat, TestFrame::Json), "demo", &json!({})),
        question((TestApi::Responses, TestFrame::Sse), "demo", &json!({})),
    ] {
        let response = test_server.send(&request).await;
        assert_eq!(response.headers.get("openai-version"), Some("2020-10-01"), "{}", request.path);
        let took: u64 = response.headers.get("openai-processing-ms").unwrap().parse().unwrap();
        assert!(took < 60_000, "{}: {took}", request.path);
        drop(response);
    }
    let page = test_server.send(&Request::get("/")).await;
    assert_eq!(page.headers.get("openai-processing-ms"), None, "a page is not the API");
    drop(page);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn the_limit_on_running_responses_is_in_the_headers() {
    let mut plan = TestServerPlan::default();
    plan.engine.running = 3;
    let test_server = TestServer::open_with(plan).await;
    test_server.upstream.default_script(Script::new().role().content("Once").stall());
    let mut streams = Vec::new();
    for left in [2, 1, 0] {
        let stream = test_server
            .stream(&question(
                (TestApi::Responses, TestFrame::Sse),
                MODEL,
                &json!({ "store": false }),
            ))
            .await;
        let headers = &stream.response().headers;
        let told = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"]
            .map(|name| headers.get(name).map(str::to_owned));
        assert_eq!(told, [Some("3".to_owned()), Some(left.to_string())]);
        streams.push(stream);
    }
    for way in WAYS {
        let refused = test_server.send(&question(way, MODEL, &json!({}))).await;
        assert_eq!(
            (refused.status, refused.headers.get("x-ratelimit-remaining-requests")),
            (429, Some("0")),
            "{way:?}"
        );
        assert_eq!(
            refused.headers.get("x-ratelimit-reset-requests"),
            None,
            "nobody knows when one ends"
        );
    }
    let listed = test_server.send(&Request::get("/v1/models")).await;
    assert_eq!(listed.headers.get("x-ratelimit-limit-requests"), None, "a list is not limited");
    drop((streams, listed));
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn pages_of_other_origins_may_read_them() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.origins = vec!["https://app.example".into()];
    }))
    .await;
    let asked = Request::post("/v1/responses", &demo("hi")).header("origin", "https://app.example");
    let response = test_server.send(&asked).await;
    let exposed: Vec<String> = response
        .headers
        .get("access-control-expose-headers")
        .unwrap()
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    for name in [
        "weir-response-id",
        "x-request-id",
        "openai-processing-ms",
        "x-ratelimit-remaining-requests",
        "retry-after",
        "x-should-retry",
    ] {
        assert!(exposed.iter().any(|exposed| exposed == name), "{name}: {exposed:?}");
    }
    drop(response);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_cancelled_response_says_that_its_client_left() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::no_head());
    let request =
        question((TestApi::Responses, TestFrame::Json), MODEL, &json!({ "store": false }));
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(&request).await.unwrap();
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    connection.half_close().await.unwrap();
    let head = client::soon(connection.read_raw()).await.unwrap().unwrap();
    assert!(
        head.starts_with(b"HTTP/1.1 499 Client Closed Request\r\n"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    drop(connection);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_model_has_a_plausible_creation_time() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let test_server = TestServer::open().await;
    let (_, list) = test_server.get("/v1/models").await;
    let (_, again) = test_server.get("/v1/models").await;
    let (_, one) = test_server.get("/v1/models/demo").await;
    let of = |list: &Value| {
        list["data"].as_array().unwrap().iter().find(|model| model["id"] == "demo").unwrap()["created"].clone()
    };
    assert_eq!((of(&list), of(&list)), (of(&again), one["created"].clone()));
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((before..=after).contains(&one["created"].as_u64().unwrap()), "{one}");
    test_server.close().await;
}

#[tokio::test]
async fn a_position_alone_requests_a_stream() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let ask = Request::post("/v1/responses", &json!({ "model": "demo", "input": "/echo hi" }))
        .bearer(ALICE);
    let id = test_server.json(&ask).await.1["id"].as_str().unwrap().to_owned();
    let get = |query: &str| Request::get(&format!("/v1/responses/{id}{query}")).bearer(ALICE);
    let (expected, _) =
        test_server.stream(&get("?stream=true&starting_after=1")).await.collect().await.unwrap();
    let (found, _) = test_server.stream(&get("?starting_after=1")).await.collect().await.unwrap();
    assert!(
        !found.is_empty()
            && found.iter().map(|event| &event.data).eq(expected.iter().map(|event| &event.data))
    );
    let (status, body) = test_server.json(&get("?stream=false&starting_after=1")).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("starting_after")), "{body}");
    assert_eq!(test_server.json(&get("")).await.1["object"], "response");
    test_server.quiet().await;
    test_server.close().await;
}
