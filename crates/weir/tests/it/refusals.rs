//! Errors before the request's body: the client still receives them, and keeps its connection.

use client::{Connection, Request};
use serde_json::json;

use crate::test_server::{ALICE, TestServer, TestServerPlan};

#[tokio::test]
async fn an_error_before_the_body_does_not_cost_the_connection() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    for _ in 0..20 {
        let mut connection = Connection::open(test_server.address).await.unwrap();
        let refused = Request::post(
            "/v1/responses",
            &json!({ "model": "demo", "input": "x".repeat(50_000) }),
        )
        .bearer("wk_nobody");
        let bytes = refused.encode(&test_server.address.to_string());
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        // The head alone causes the error; the body follows once the server has responded.
        connection.write_raw(&bytes[..head]).await.unwrap();
        tokio::task::yield_now().await;
        connection.write_raw(&bytes[head..]).await.unwrap();
        let mut response = connection.read_response(&refused).await.unwrap();
        assert_eq!(response.status, 401);
        response.collect().await.unwrap();
        let connection = response.into_connection().await.unwrap();
        let good = Request::get("/v1/models").bearer(ALICE);
        assert_eq!(connection.send(&good).await.unwrap().status, 200);
    }
    test_server.close().await;
}
