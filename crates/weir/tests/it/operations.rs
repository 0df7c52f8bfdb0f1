//! What operators can see of a server, and where: health, readiness and metrics, and a listener for only these.

use std::net::SocketAddr;

use client::Request;
use server::MetricsAccess;

use crate::test_server::{ADMIN, ALICE, TestServer, TestServerPlan};

#[expect(clippy::unnecessary_wraps, reason = "settings have none, too")]
fn anywhere() -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], 0)))
}

#[tokio::test]
async fn activity_is_shown_to_admins_only() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    for request in [
        Request::get("/readyz"),
        Request::get("/readyz").bearer(ALICE),
        Request::get("/readyz").bearer("wk_wrong"),
    ] {
        assert_eq!(
            test_server.json(&request).await,
            (200, serde_json::json!({ "status": "ready" })),
            "{request:?}"
        );
    }
    let (status, said) = test_server.json(&Request::get("/readyz").bearer(ADMIN)).await;
    assert_eq!(
        (status, &said["status"], &said["answers_running"]),
        (200, &"ready".into(), &0.into())
    );
    assert!(said["connections"].as_u64() > Some(0), "{said}");
    test_server.close().await;
}

#[tokio::test]
async fn the_operations_listener_serves_nothing_else_and_needs_no_key_on_loopback() {
    let plan = TestServerPlan {
        with_keys: true,
        ..TestServerPlan::server(|server| server.admin_listen = anywhere())
    };
    let test_server = TestServer::open_with(plan).await;
    let operations = test_server.admin_address.unwrap();
    let ask = async |request: Request| {
        let mut response = client::send(operations, &request).await.unwrap();
        (response.status, String::from_utf8(response.collect().await.unwrap().0).unwrap())
    };
    assert_eq!(ask(Request::get("/healthz")).await.0, 200);
    let (status, ready) = ask(Request::get("/readyz")).await;
    assert!(status == 200 && ready.contains("answers_running"), "{ready}");
    let (status, metrics) = ask(Request::get("/metrics")).await;
    assert!(status == 200 && metrics.contains("weir_connections_open"), "{metrics}");
    for path in ["/", "/v1/models", "/v1/responses/resp_1", "/lab", "/createSse", "/openapi.json"] {
        assert_eq!(ask(Request::get(path)).await.0, 404, "{path}");
    }
    assert_eq!(
        ask(Request::get("/metrics").header("host", "evil.example")).await.0,
        421,
        "a name that was pointed here"
    );
    assert_eq!(
        test_server.json(&Request::get("/metrics")).await.0,
        401,
        "the public one is as it was"
    );
    test_server.close().await;
}

#[tokio::test]
async fn operations_are_on_the_public_listener_only_if_configured() {
    let open = TestServerPlan {
        with_keys: true,
        ..TestServerPlan::server(|server| server.metrics = MetricsAccess::Open)
    };
    let test_server = TestServer::open_with(open).await;
    assert!(test_server.json(&Request::get("/readyz")).await.1["answers_running"].is_number());
    assert!(test_server.admin_address.is_none());
    test_server.close().await;
}

#[tokio::test]
async fn request_ids_reveal_nothing_about_other_requests() {
    let test_server = TestServer::open().await;
    let mut names = Vec::new();
    for _request in 0..3 {
        let response = test_server.send(&Request::get("/healthz")).await;
        names.push(response.headers.get("x-request-id").unwrap().to_owned());
    }
    for name in &names {
        let random = name.strip_prefix("req_").unwrap();
        assert!(
            random.len() == 32 && random.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{name}"
        );
    }
    // Consecutive numbers would have most digits in common.
    let common =
        names[0].bytes().zip(names[1].bytes()).take_while(|(one, other)| one == other).count();
    assert!(common < 16 && names[1] != names[2], "{names:?}");
    test_server.close().await;
}

#[tokio::test]
async fn ambiguous_requests_are_rejected() {
    let test_server = TestServer::open().await;
    for (host, status) in [
        ("localhost:8000/#@evil", 400),
        ("127.0.0.1:x", 400),
        ("u@localhost", 400),
        ("localhost:8000", 200),
    ] {
        let mut stream = tokio::net::TcpStream::connect(test_server.address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert!(
            exchange(&mut stream, &request).await.starts_with(&format!("HTTP/1.1 {status} ")),
            "{host}"
        );
    }
    for (coding, status) in [("gzip, chunked", 501), ("identity, chunked", 501), ("chunked", 404)] {
        let mut stream = tokio::net::TcpStream::connect(test_server.address).await.unwrap();
        let head = format!(
            "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(&mut stream, &(head + "2\r\n{}\r\n0\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{coding}: {answer}");
    }
    test_server.close().await;
}

async fn exchange(stream: &mut tokio::net::TcpStream, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client::soon(stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
