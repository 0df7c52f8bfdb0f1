//! With configured keys, opening a page without a session redirects to the sign-in; programs get an error as before.

use std::fs;

use client::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{UID, chat, create_sse, plan};
use crate::house::{ALICE, BOB, House, Plan};

/// A server with a copy of the pages.
async fn house(with_keys: bool) -> (House, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for name in ["1.html", "websocket.html", "deep/er/page.html", "own.js"] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "theirs").unwrap();
    }
    let pages = directory.path().to_owned();
    let house = House::open_with(Plan { with_keys, ..plan(|classic| classic.pages = Some(pages)) }).await;
    (house, directory)
}

/// A browser's request for a page, on a loopback name or with TLS.
fn visit(path: &str) -> Request {
    Request::get(path).header("sec-fetch-dest", "document").header("sec-fetch-mode", "navigate").header("accept", "text/html,*/*;q=0.8")
}

/// Status, `Location` and body of the response.
async fn told(house: &House, request: &Request) -> (u16, Option<String>, String) {
    let mut response = house.send(request).await;
    let location = response.headers.get("location").map(str::to_owned);
    (response.status, location, String::from_utf8(response.collect().await.unwrap().0).unwrap())
}

/// Creates a session and returns its cookie as a browser sends it.
async fn session(house: &House, key: &str) -> String {
    let mut response = house.send(&Request::post("/v1/tickets", &json!({ "cookie": true })).bearer(key)).await;
    assert_eq!(response.status, 200);
    let cookie = response.headers.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    response.collect().await.unwrap();
    cookie
}

#[tokio::test]
async fn a_page_without_a_session_redirects_to_the_sign_in() {
    let (house, _directory) = house(true).await;
    for (path, location) in [
        ("/", "sign-in?to="),
        ("/1.html", "sign-in?to=1.html"),
        ("/websocket", "sign-in?to=websocket"),
        ("/deep/er/page.html?a=b&c=//evil.example", "../../sign-in?to=deep/er/page.html%3Fa%3Db%26c%3D//evil.example"),
    ] {
        let led = (303, Some(location.to_owned()), String::new());
        assert_eq!(told(&house, &visit(path)).await, led, "{path}");
        // Over HTTP to other than loopback names, browsers send only `Accept`.
        assert_eq!(told(&house, &Request::get(path).header("accept", "text/html")).await, led, "{path}");
        for header in [("cookie", "weir_session=ws_guessed"), ("authorization", "Bearer wk_guessed")] {
            assert_eq!(told(&house, &visit(path).header(header.0, header.1)).await, led, "{path} {header:?}");
        }
        let cookie = session(&house, ALICE).await;
        for request in [visit(path).header("cookie", &cookie), visit(path).bearer(BOB)] {
            assert_eq!(told(&house, &request).await, (200, None, "theirs".to_owned()), "{path}");
        }
        assert_eq!(house.send(&Request::new("DELETE", "/v1/tickets").header("cookie", &cookie)).await.status, 204);
        assert_eq!(told(&house, &visit(path).header("cookie", &cookie)).await, led, "{path}: signed out");
    }
    let response = house.send(&visit("/1.html")).await;
    assert_eq!(response.headers.get("cache-control"), Some("no-store"));
    house.close().await;
}

#[tokio::test]
async fn only_our_own_page_is_the_sign_in() {
    let (house, _directory) = house(true).await;
    for path in ["/sign-in", "/sign-in?to=1.html", "/sign-in?to=https://evil.example/"] {
        let mut response = house.send(&visit(path)).await;
        let policy = response.headers.get("content-security-policy").unwrap().to_owned();
        assert!(policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let page = String::from_utf8(response.collect().await.unwrap().0).unwrap();
        assert_eq!((response.status, response.headers.get("location")), (200, None), "{path}");
        assert!(page.contains("<label for=\"key\"") && !page.contains("evil"), "{path}");
    }
    house.close().await;
}

#[tokio::test]
async fn other_requests_are_not_redirected() {
    let (house, _directory) = house(true).await;
    // The page's own files, and its text for a program.
    for request in [visit("/own.js"), Request::get("/1.html"), Request::get("/1.html").header("sec-fetch-dest", "empty")] {
        assert_eq!(told(&house, &request).await, (200, None, "theirs".to_owned()), "{request:?}");
    }
    assert_eq!(house.json(&visit("/none.html")).await.0, 404);
    for request in [create_sse(UID), chat(UID, "hello"), visit("/chat?message=hello"), Request::get("/closeSse").header("uid", UID)] {
        let (status, location, body) = told(&house, &request).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, location, &body["error"]["code"]), (401, None, &json!("missing_api_key")), "{request:?}");
    }
    assert_eq!(house.upstream.requests().len(), 0);
    house.close().await;
}

#[tokio::test]
async fn without_keys_nothing_changes() {
    let (house, _directory) = house(false).await;
    for path in ["/", "/1.html", "/websocket"] {
        assert_eq!(told(&house, &visit(path)).await, (200, None, "theirs".to_owned()), "{path}");
    }
    assert_eq!(told(&house, &visit("/sign-in?to=1.html")).await, (303, Some("./".to_owned()), String::new()));
    house.close().await;
}

#[tokio::test]
async fn without_a_copy_our_own_page_asks_for_the_key_itself() {
    let house = House::open_with(Plan { with_keys: true, ..Plan::default() }).await;
    let (status, _, page) = told(&house, &visit("/")).await;
    assert!(status == 200 && page.contains("key-form"), "{status}");
    house.close().await;
}
