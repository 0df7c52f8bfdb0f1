//! The shortest end-to-end path: a request, a streamed response, and the same response again.

use client::{BodyEnd, Request};
use fakes::Script;

use crate::test_server::{TestServer, ask};

#[tokio::test]
async fn a_response_is_streamed_and_can_be_read_again() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let (events, end) = test_server
        .stream(&Request::post("/v1/responses", &ask("hi")))
        .await
        .collect()
        .await
        .unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let created = events[0].json().unwrap();
    let id = created["response"]["id"].as_str().unwrap();
    let (status, response) = test_server.get(&format!("/v1/responses/{id}")).await;
    assert_eq!(
        (status, response["output"][0]["content"][0]["text"].as_str()),
        (200, Some("Hello"))
    );
    test_server.quiet().await;
    test_server.close().await;
}
