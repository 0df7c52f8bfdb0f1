//! With configured keys, opening a page without a session redirects to the sign-in; programs get an error as before.

use std::fs;

use client::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{UID, chat, create_sse, plan};
use crate::test_server::{ALICE, BOB, TestServer, TestServerPlan};

/// A server with a copy of the pages.
async fn test_server(with_keys: bool) -> (TestServer, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for name in ["1.html", "websocket.html", "deep/er/page.html", "own.js"] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "theirs").unwrap();
    }
    let pages = directory.path().to_owned();
    let test_server = TestServer::open_with(TestServerPlan {
        with_keys,
        ..plan(|classic| classic.pages = Some(pages))
    })
    .await;
    (test_server, directory)
}

/// A browser's request for a page, on a loopback name or with TLS.
fn visit(path: &str) -> Request {
    Request::get(path)
        .header("sec-fetch-dest", "document")
        .header("sec-fetch-mode", "navigate")
        .header("accept", "text/html,*/*;q=0.8")
}

/// Status, `Location` and body of the response.
async fn told(test_server: &TestServer, request: &Request) -> (u16, Option<String>, String) {
    let mut response = test_server.send(request).await;
    let location = response.headers.get("location").map(str::to_owned);
    (response.status, location, String::from_utf8(response.collect().await.unwrap().0).unwrap())
}

/// Creates a session and returns its cookie as a browser sends it.
async fn session(test_server: &TestServer, key: &str) -> String {
    let mut response = test_server
        .send(&Request::post("/v1/tickets", &json!({ "cookie": true })).bearer(key))
        .await;
    assert_eq!(response.status, 200);
    let cookie = response.headers.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    response.collect().await.unwrap();
    cookie
}

#[tokio::test]
async fn a_page_without_a_session_redirects_to_the_sign_in() {
    let (test_server, _directory) = test_server(true).await;
    for (path, location) in [
        ("/", "sign-in?to="),
        ("/1.html", "sign-in?to=1.html"),
        ("/websocket", "sign-in?to=websocket"),
        (
            "/deep/er/page.html?a=b&c=//evil.example",
            "../../sign-in?to=deep/er/page.html%3Fa%3Db%26c%3D//evil.example",
        ),
    ] {
        let led = (303, Some(location.to_owned()), String::new());
        assert_eq!(told(&test_server, &visit(path)).await, led, "{path}");
        // Over HTTP to other than loopback names, browsers send only `Accept`.
        assert_eq!(
            told(&test_server, &Request::get(path).header("accept", "text/html")).await,
            led,
            "{path}"
        );
        for header in
            [("cookie", "weir_session=ws_guessed"), ("authorization", "Bearer wk_guessed")]
        {
            assert_eq!(
                told(&test_server, &visit(path).header(header.0, header.1)).await,
                led,
                "{path} {header:?}"
            );
        }
        let cookie = session(&test_server, ALICE).await;
        for request in [visit(path).header("cookie", &cookie), visit(path).bearer(BOB)] {
            assert_eq!(
                told(&test_server, &request).await,
                (200, None, "theirs".to_owned()),
                "{path}"
            );
        }
        assert_eq!(
            test_server
                .send(&Request::new("DELETE", "/v1/tickets").header("cookie", &cookie))
                .await
                .status,
            204
        );
        assert_eq!(
            told(&test_server, &visit(path).header("cookie", &cookie)).await,
            led,
            "{path}: signed out"
        );
    }
    let response = test_server.send(&visit("/1.html")).await;
    assert_eq!(response.headers.get("cache-control"), Some("no-store"));
    test_server.close().await;
}

#[tokio::test]
async fn only_our_own_page_is_the_sign_in() {
    let (test_server, _directory) = test_server(true).await;
    for path in ["/sign-in", "/sign-in?to=1.html", "/sign-in?to=https://evil.example/"] {
        let mut response = test_server.send(&visit(path)).await;
        let policy = response.headers.get("content-security-policy").unwrap().to_owned();
        assert!(
            policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let page = String::from_utf8(response.collect().await.unwrap().0).unwrap();
        assert_eq!((response.status, response.headers.get("location")), (200, None), "{path}");
        assert!(page.contains("<label for=\"key\"") && !page.contains("evil"), "{path}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn other_requests_are_not_redirected() {
    let (test_server, _directory) = test_server(true).await;
    // The page's own files, and its text for a program.
    for request in [
        visit("/own.js"),
        Request::get("/1.html"),
        Request::get("/1.html").header("sec-fetch-dest", "empty"),
    ] {
        assert_eq!(
            told(&test_server, &request).await,
            (200, None, "theirs".to_owned()),
            "{request:?}"
        );
    }
    assert_eq!(test_server.json(&visit("/none.html")).await.0, 404);
    for request in [
        create_sse(UID),
        chat(UID, "hello"),
        visit("/chat?message=hello"),
        Request::get("/closeSse").header("uid", UID),
    ] {
        let (status, location, body) = told(&test_server, &request).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, location, &body["error"]["code"]),
            (401, None, &json!("missing_api_key")),
            "{request:?}"
        );
    }
    assert_eq!(test_server.upstream.requests().len(), 0);
    test_server.close().await;
}

#[tokio::test]
async fn without_keys_nothing_changes() {
    let (test_server, _directory) = test_server(false).await;
    for path in ["/", "/1.html", "/websocket"] {
        assert_eq!(
            told(&test_server, &visit(path)).await,
            (200, None, "theirs".to_owned()),
            "{path}"
        );
    }
    assert_eq!(
        told(&test_server, &visit("/sign-in?to=1.html")).await,
        (303, Some("./".to_owned()), String::new())
    );
    test_server.close().await;
}

#[tokio::test]
async fn without_a_copy_our_own_page_asks_for_the_key_itself() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let (status, _, page) = told(&test_server, &visit("/")).await;
    assert!(status == 200 && page.contains("key-form"), "{status}");
    test_server.close().await;
}
