//! Where a caller's key may be in a request, and WebSocket subprotocols, which may contain it too.

use client::websocket::{self, Handshake};
use client::{Connection, Request, http2};
use serde_json::{Value, json};

use crate::drain::event;
use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan};

const HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

async fn test_server() -> TestServer {
    TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() }).await
}

fn value(name: &str, key: &str) -> String {
    if name == "authorization" { format!("Bearer {key}") } else { key.to_owned() }
}

fn requests() -> Vec<Request> {
    let chat = json!({ "model": "demo", "messages": [{ "role": "user", "content": "hi" }] });
    vec![
        Request::get("/v1/models"),
        Request::post("/v1/responses", &json!({ "model": "demo", "input": "hi" })),
        Request::post("/v1/chat/completions", &chat),
        Request::post("/v1/tickets", &json!({})),
    ]
}

#[tokio::test]
async fn a_key_may_be_in_any_vendors_header() {
    let test_server = test_server().await;
    for request in requests() {
        for name in HEADERS {
            let what = format!("{} {name}", request.path);
            assert_eq!(
                test_server.json(&request.clone().header(name, &value(name, ALICE))).await.0,
                200,
                "{what}"
            );
            let (status, body) =
                test_server.json(&request.clone().header(name, &value(name, "wk_nobody"))).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (401, &json!("invalid_api_key")),
                "{what}"
            );
            assert!(!body.to_string().contains("wk_nobody"), "{body}");
        }
        let (status, body) = test_server.json(&request.clone().header("x-api-key", "")).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (401, &json!("missing_api_key")),
            "{}",
            request.path
        );
        let (status, _) = test_server
            .json(&Request {
                path: format!("{}?key={ALICE}&api-key={ALICE}", request.path),
                ..request
            })
            .await;
        assert_eq!(status, 401, "never in a URL");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn two_keys_must_be_equal() {
    let test_server = test_server().await;
    for request in requests() {
        for first in HEADERS {
            for second in HEADERS.into_iter().filter(|second| *second != first) {
                let what = format!("{} {first} {second}", request.path);
                let one = request.clone().header(first, &value(first, ALICE));
                assert_eq!(
                    test_server.json(&one.clone().header(second, &value(second, ALICE))).await.0,
                    200,
                    "{what}"
                );
                let (status, body) =
                    test_server.json(&one.header(second, &value(second, BOB))).await;
                assert_eq!(
                    (status, &body["error"]["code"]),
                    (400, &json!("conflicting_api_keys")),
                    "{what}"
                );
                assert!(!body.to_string().contains("wk_"), "{body}");
            }
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_header_decides_the_caller() {
    let test_server = test_server().await;
    let ask = Request::post("/v1/responses", &json!({ "model": "demo", "input": "hi" }))
        .header("x-goog-api-key", ALICE);
    let id = test_server.json(&ask).await.1["id"].as_str().unwrap().to_owned();
    let read = Request::get(&format!("/v1/responses/{id}"));
    assert_eq!(test_server.json(&read.clone().header("api-key", ALICE)).await.0, 200);
    assert_eq!(test_server.json(&read.header("api-key", BOB)).await.0, 404);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_subprotocol_is_chosen_and_a_key_among_them_is_used() {
    let test_server = test_server().await;
    let key = format!("openai-insecure-api-key.{ALICE}");
    for (offers, chosen) in [
        (format!("realtime, {key}, openai-beta.realtime-v1"), Some("realtime")),
        (format!("{key}, weir"), Some("weir")),
        (key.clone(), None),
    ] {
        let mut connected = websocket::connect(
            test_server.address,
            "/v1/responses",
            &[("sec-websocket-protocol", &offers)],
        )
        .await
        .unwrap();
        assert_eq!(connected.headers.get("sec-websocket-protocol"), chosen, "{offers}");
        connected
            .socket
            .send_text(
                &json!({ "type": "response.create", "model": "demo", "input": "hi" }).to_string(),
            )
            .await
            .unwrap();
        let id = event(&mut connected.socket).await["response"]["id"].as_str().unwrap().to_owned();
        assert_eq!(
            test_server.json(&Request::get(&format!("/v1/responses/{id}")).bearer(ALICE)).await.0,
            200,
            "{offers}"
        );
        assert_eq!(
            test_server.json(&Request::get(&format!("/v1/responses/{id}")).bearer(BOB)).await.0,
            404,
            "{offers}"
        );
    }
    for (offers, status) in [("realtime", 401), (&*format!("{key}x"), 401), (&*key, 400)] {
        let connection = Connection::open(test_server.address).await.unwrap();
        let mut headers = vec![("sec-websocket-protocol", offers)];
        headers.extend((status == 400).then_some(("x-api-key", BOB)));
        match websocket::shake_hands(connection, "/v1/responses", &headers).await.unwrap() {
            Handshake::Refused(refused) => assert_eq!(refused.status, status, "{offers}"),
            Handshake::Open(_) => panic!("{offers}: it was opened"),
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn http_2_and_classic_sockets_choose_the_same_way() {
    let test_server = TestServer::open().await;
    let stream = tokio::net::TcpStream::connect(test_server.address).await.unwrap();
    let client = http2::Client::over(stream).await.unwrap();
    let offers = [
        ("sec-websocket-protocol", "openai-insecure-api-key.unused"),
        ("sec-websocket-protocol", "chat, other"),
    ];
    let (response, _sending) = client.extended_connect("/v1/responses", &offers).await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers().get("sec-websocket-protocol").unwrap().as_bytes()
        ),
        (200, &b"chat"[..])
    );
    let classic = websocket::connect(test_server.address, "/websocket/u1", &offers).await.unwrap();
    assert_eq!(classic.headers.get("sec-websocket-protocol"), Some("chat"));
    let without = websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap();
    assert_eq!(without.headers.get("sec-websocket-protocol"), None);
    drop((response, classic, without, client));
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn without_configured_keys_credentials_are_ignored() {
    let test_server = TestServer::open().await;
    let two = Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" }))
        .bearer("one")
        .header("x-api-key", "two");
    let (status, body): (u16, Value) = test_server.json(&two).await;
    assert_eq!(status, 200, "{body}");
    test_server.quiet().await;
    test_server.close().await;
}
