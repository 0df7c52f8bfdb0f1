//! Limits: connections, idle connections, slow heads.

use std::time::Duration;

use client::{BodyEnd, Connection, Request};
use serde_json::Value;

use crate::test_server::{TestServer, TestServerPlan};

/// Waits until this many connections are open.
async fn wait_open(test_server: &TestServer, count: u64) {
    let open = async {
        while test_server.connections.open() != count {
            tokio::task::yield_now().await;
        }
    };
    client::soon(open).await.unwrap();
}

async fn check_refusal(test_server: &TestServer) {
    let mut refused = test_server.send(&Request::get("/healthz")).await;
    let (body, end) = refused.collect().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (refused.status, end, refused.headers.get("retry-after")),
        (503, BodyEnd::Clean, Some("1"))
    );
    assert_eq!(body["error"]["code"], "too_many_connections");
}

#[tokio::test]
async fn connections_above_the_limit_are_rejected() {
    for per_address in [0, 2] {
        let test_server = TestServer::open_with(TestServerPlan::server(|server| {
            server.connections = if per_address == 0 { 2 } else { 100 };
            server.connections_per_address = per_address;
        }))
        .await;
        let first = Connection::open(test_server.address).await.unwrap();
        let second = Connection::open(test_server.address).await.unwrap();
        wait_open(&test_server, 2).await;
        check_refusal(&test_server).await;
        check_refusal(&test_server).await;
        assert_eq!(test_server.connections.refused(), 2);
        drop(second);
        wait_open(&test_server, 1).await;
        assert_eq!(test_server.get("/healthz").await.0, 200);
        drop(first);
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_pause_between_requests_may_exceed_the_head_timeout() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.head_timeout = Duration::from_millis(100);
        server.idle_timeout = Duration::from_secs(2);
    }))
    .await;
    let mut response = Connection::open(test_server.address)
        .await
        .unwrap()
        .send(&Request::get("/healthz"))
        .await
        .unwrap();
    response.collect().await.unwrap();
    let connection = response.into_connection().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut response =
        client::soon(connection.send(&Request::get("/healthz"))).await.unwrap().unwrap();
    response.collect().await.unwrap();
    let mut connection = response.into_connection().await.unwrap();
    // Then it is closed without a response.
    let begun = client::now();
    assert!(client::soon(connection.read_raw()).await.unwrap().unwrap().is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    test_server.close().await;
}

#[tokio::test]
async fn a_slow_head_gets_a_timeout_error_wherever_it_stops() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.head_timeout = Duration::from_millis(200);
    }))
    .await;
    for start in ["PRI", "G", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write_raw(start.as_bytes()).await.unwrap();
        let said = client::soon(connection.read_raw()).await.unwrap().unwrap();
        assert!(
            said.starts_with(b"HTTP/1.1 408 "),
            "{start:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
    // Also the head of a second request, and one that arrives byte by byte.
    let mut response = Connection::open(test_server.address)
        .await
        .unwrap()
        .send(&Request::get("/healthz"))
        .await
        .unwrap();
    response.collect().await.unwrap();
    let mut connection = response.into_connection().await.unwrap();
    for _ in 0..3 {
        connection.write_raw(b"G").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = client::soon(connection.read_raw()).await.unwrap().unwrap();
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
    // A connection without a request gets no response.
    let mut silent = Connection::open(test_server.address).await.unwrap();
    assert!(client::soon(silent.read_raw()).await.unwrap().unwrap().is_empty());
    test_server.close().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_an_error() {
    let test_server = TestServer::open().await;
    let response =
        test_server.send(&Request::get("/healthz").header("x-large", &"x".repeat(70_000))).await;
    assert_eq!(response.status, 431);
    drop(response);
    test_server.close().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_idle_connections() {
    let test_server = TestServer::open_with(TestServerPlan {
        grace: Duration::from_secs(60),
        ..TestServerPlan::default()
    })
    .await;
    let _silent = Connection::open(test_server.address).await.unwrap();
    let mut begun = Connection::open(test_server.address).await.unwrap();
    begun.write_raw(b"PRI").await.unwrap();
    let mut idle = Connection::open(test_server.address)
        .await
        .unwrap()
        .send(&Request::get("/healthz"))
        .await
        .unwrap();
    idle.collect().await.unwrap();
    wait_open(&test_server, 3).await;
    test_server.close().await;
}
