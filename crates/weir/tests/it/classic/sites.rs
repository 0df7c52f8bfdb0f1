//! Who may use it, from which pages, and with which names: origins, callers and uids.

use client::{Request, Response};
use fakes::Script;
use serde_json::json;

use super::{UID, chat, create_sse, plan, roles_and_texts, sent, told};
use crate::test_server::{ALICE, BOB, TestServer, TestServerPlan};

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    let request = Request::new("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method);
    request.header("access-control-request-headers", "content-type,uid")
}

fn vary(response: &Response) -> Vec<String> {
    response.headers.all("vary").map(str::to_owned).collect()
}

const VARY: [&str; 3] =
    ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"];

#[tokio::test]
async fn b15_b16_pages_of_other_sites_are_rejected_at_no_cost() {
    let test_server = TestServer::open().await;
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for request in [
            create_sse(UID),
            chat(UID, "hello"),
            Request::get("/chat?message=hello"),
            Request::get("/closeSse").header("uid", UID),
        ] {
            let request = request.header(name, value);
            let response = test_server.send(&request).await;
            assert_eq!(response.status, 403, "{request:?}");
            assert_eq!(response.headers.get("access-control-allow-origin"), None);
            assert_eq!(vary(&response), VARY);
        }
    }
    let mut refused = test_server.send(&preflight("/chat", "null", "POST")).await;
    assert_eq!(
        (refused.status, refused.collect().await.unwrap().0),
        (403, b"Invalid CORS request".to_vec())
    );
    assert_eq!(test_server.upstream.requests().len(), 0);
    test_server.close().await;
}

#[tokio::test]
async fn c11_an_allowed_origin_gets_the_demos_cors_headers() {
    let test_server = TestServer::open_with(plan(|classic| {
        classic.origins = vec!["null".into(), "https://app.example".into()];
    }))
    .await;
    for origin in ["null", "https://app.example"] {
        for (path, method) in [("/chat", "POST"), ("/createSse", "GET"), ("/closeSse", "GET")] {
            let response = test_server.send(&preflight(path, origin, method)).await;
            assert_eq!(response.status, 200, "{origin} {path}");
            let told = [
                "access-control-allow-origin",
                "access-control-allow-methods",
                "access-control-allow-headers",
                "access-control-max-age",
            ];
            assert_eq!(
                told.map(|name| response.headers.get(name)),
                [Some("*"), Some(method), Some("content-type,uid"), Some("1800")]
            );
            assert_eq!(response.headers.get("access-control-allow-credentials"), None);
            assert_eq!(vary(&response), VARY);
        }
        let response = test_server
            .send(&create_sse(UID).header("origin", origin).header("sec-fetch-site", "cross-site"))
            .await;
        assert_eq!(
            (response.status, response.headers.get("access-control-allow-origin")),
            (200, Some("*"))
        );
    }
    assert_eq!(
        test_server.send(&preflight("/createSse", "null", "POST")).await.status,
        403,
        "a method that the path does not have"
    );
    assert_eq!(
        test_server.send(&preflight("/chat", "https://evil.example", "POST")).await.status,
        403
    );
    test_server.close().await;
}

#[tokio::test]
async fn c11_a_native_event_source_is_identified_by_its_cookie() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["one"]));
    // Encoded like the page: only what the browser cannot send.
    let mut first =
        test_server.send(&Request::get("/chat?message={a}[b]|c^d\\%20`e`+100%&f")).await;
    assert_eq!(first.status, 200);
    let cookie = first.headers.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let (body, _) = client::soon(first.collect()).await.unwrap().unwrap();
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", "{a}[b]|c^d\\ `e`+100%&f")]));
    let body = String::from_utf8(body).unwrap();
    let greeting = body.split("\n\n").next().unwrap();
    assert!(
        greeting.starts_with(&format!(
            "id:{}\nevent:连接成功！！！！\ndata:\"20",
            cookie.strip_prefix("uid=").unwrap()
        )),
        "{greeting}"
    );
    assert!(greeting.ends_with("\"\nretry:3000"), "{greeting}");
    assert!(
        body.ends_with("data:{}\nretry:3000\n\nid:[DONE]\ndata:[DONE]\nretry:3000\n\n"),
        "without tokens: {body}"
    );
    let second =
        test_server.send(&Request::get("/chat?message=and?").header("cookie", &cookie)).await;
    assert_eq!(second.headers.get("set-cookie"), None);
    assert_eq!(told(second.events().unwrap()).await, "Hello, world!");
    assert_eq!(sent(&test_server).len(), 3, "the same conversation");
    let stranger = test_server.send(&Request::get("/chat?message=and?")).await;
    told(stranger.events().unwrap()).await;
    assert_eq!(sent(&test_server).len(), 1, "and nobody else's");
    test_server.close().await;
}

#[tokio::test]
async fn an_image_in_a_response_does_not_ask() {
    let test_server = TestServer::open().await;
    for dest in ["image", "iframe", "video", "style"] {
        let request = Request::get("/chat?message=hello")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-dest", dest);
        let (status, fault) = test_server.json(&request).await;
        assert_eq!((status, &fault["error"]["param"]), (403, &json!("Sec-Fetch-Dest")), "{dest}");
    }
    assert_eq!(test_server.upstream.requests().len(), 0);
    for dest in ["empty", "document"] {
        let request = Request::get("/chat?message=hello")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-dest", dest);
        assert_eq!(test_server.send(&request).await.status, 200, "{dest}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_head_request_does_not_ask() {
    let test_server = TestServer::open().await;
    assert_eq!(test_server.send(&Request::new("HEAD", "/chat?message=hello")).await.status, 405);
    assert_eq!(test_server.upstream.requests().len(), 0);
    test_server.close().await;
}

#[tokio::test]
async fn b16_with_keys_a_uid_belongs_to_a_caller() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    for request in [
        create_sse(UID),
        chat(UID, "hello"),
        Request::get("/chat?message=hello"),
        Request::get(&format!("/websocket/{UID}")),
    ] {
        assert_eq!(test_server.json(&request).await.0, 401, "{request:?}");
    }
    let ask = async |key: &str, question: &str| {
        let stream = test_server.stream(&create_sse(UID).bearer(key)).await;
        assert_eq!(test_server.json(&chat(UID, question).bearer(key)).await.0, 200);
        told(stream).await
    };
    ask(ALICE, "a secret").await;
    // Alice's idle stream is not available to Bob, although he knows her uid.
    let alices = test_server.send(&create_sse(UID).bearer(ALICE)).await;
    ask(BOB, "what was it?").await;
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", "what was it?")]));
    assert_eq!(
        test_server.json(&Request::get("/closeSse").header("uid", UID).bearer(BOB)).await.0,
        200
    );
    assert_eq!(test_server.json(&chat(UID, "again").bearer(ALICE)).await.0, 200);
    assert_eq!(told(alices.events().unwrap()).await, "Hello, world!");
    assert_eq!(sent(&test_server).len(), 3);
    test_server.close().await;
}

#[tokio::test]
async fn b16_a_browsers_session_works_for_the_pages() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let session = test_server
        .send(&Request::post("/v1/tickets", &json!({ "cookie": true })).bearer(ALICE))
        .await;
    let cookie = session.headers.get("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("Path=/;") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(test_server.send(&create_sse(UID).header("cookie", &cookie)).await.status, 200);
    test_server.close().await;
}
