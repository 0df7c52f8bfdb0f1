//! Questions on a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use client::websocket::{self, End, Handshake, Message, Socket};
use client::{Connection, Request};
use codec::websocket::Opcode;
use codec::websocket::encode::WebSocketFrameHead;
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{UID, roles_and_texts, sent};
use crate::test_server::{TestServer, TestServerPlan};

pub(super) async fn open(test_server: &TestServer) -> Socket {
    websocket::connect(test_server.address, &format!("/websocket/{UID}"), &[]).await.unwrap().socket
}

/// Every message of the next response.
async fn messages(socket: &mut Socket) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|last| last != "[DONE]") {
        messages.push(client::soon(socket.next_text()).await.unwrap().unwrap().unwrap());
    }
    messages
}

/// Asks, and returns what a page shows of the response: it ignores messages without content.
pub(super) async fn answer(socket: &mut Socket, question: &str) -> String {
    socket.send_text(question).await.unwrap();
    let (mut text, mut shown) = (String::new(), String::new());
    for message in messages(socket).await {
        let content = serde_json::from_str::<Value>(&message)
            .ok()
            .and_then(|json| json["content"].as_str().map(str::to_owned));
        match content.filter(|content| content != "null") {
            Some(content) => {
                text.push_str(&content);
                shown.clone_from(&text);
            }
            None => text.clear(),
        }
    }
    shown
}

#[tokio::test]
async fn c10_messages_are_only_json_and_done() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["Hi", "!"]));
    let mut socket = open(&test_server).await;
    socket.send_text("hello").await.unwrap();
    let expected =
        ["{\"role\":\"assistant\"}", "{\"content\":\"Hi\"}", "{\"content\":\"!\"}", "{}", "[DONE]"];
    assert_eq!(
        messages(&mut socket).await,
        expected,
        "the first message is the answer's: there is no greeting"
    );
    test_server.upstream.script(Script::text(&["again"]));
    assert_eq!(answer(&mut socket, "and?").await, "again", "the socket stays open");
    socket.close(1000, "").await.unwrap();
    let (rest, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert_eq!((rest.len(), end), (0, End::Closed { code: Some(1000), reason: String::new() }));
    test_server.close().await;
}

#[tokio::test]
async fn c5_reasoning_does_not_erase_what_a_page_shows() {
    let test_server = TestServer::open().await;
    let thinking = || {
        Script::new()
            .role()
            .content("a")
            .delta(&json!({ "reasoning_content": "hm" }))
            .content("b")
            .finish("stop")
            .usage(1, 2, 1)
            .done()
            .end()
    };
    test_server.upstream.script(thinking());
    let mut socket = open(&test_server).await;
    assert_eq!(answer(&mut socket, "hello").await, "ab");
    drop(socket);
    test_server.upstream.script(thinking());
    let mut stream = test_server.stream(&Request::get("/chat?message=hello")).await;
    let (events, _) = client::soon(stream.collect()).await.unwrap().unwrap();
    let shown: Vec<_> = events
        .iter()
        .filter(|event| event.name.is_none())
        .map(|event| String::from_utf8_lossy(&event.data).into_owned())
        .collect();
    assert_eq!(
        shown,
        ["{\"role\":\"assistant\"}", "{\"content\":\"a\"}", "{\"content\":\"b\"}", "{}", "[DONE]"]
    );
    test_server.close().await;
}

#[tokio::test]
async fn c7_a_socket_reports_failures_and_continues() {
    let test_server = TestServer::open().await;
    let mut socket = open(&test_server).await;
    test_server.upstream.script(Script::error(500, &json!({ "error": { "message": "no" } })));
    assert!(!answer(&mut socket, "hello").await.is_empty());
    assert_eq!(answer(&mut socket, " ").await, "The question is blank.");
    test_server.upstream.script(Script::text(&["Hi"]));
    assert_eq!(answer(&mut socket, "hello").await, "Hi");
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn questions_on_one_socket_are_answered_in_order() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["one"]));
    test_server.upstream.script(Script::text(&["two"]));
    let mut socket = open(&test_server).await;
    socket.send_text("first").await.unwrap();
    socket.send_text("second").await.unwrap();
    assert_eq!(messages(&mut socket).await[1], "{\"content\":\"one\"}");
    assert_eq!(messages(&mut socket).await[1], "{\"content\":\"two\"}");
    assert_eq!(
        sent(&test_server),
        roles_and_texts(&[("user", "first"), ("assistant", "one"), ("user", "second")])
    );
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn too_many_questions_at_once_close_the_socket() {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(Script::new().role().stall());
    let mut socket = open(&test_server).await;
    for number in 0..40 {
        // The server may have closed before the last one was sent.
        drop(socket.send_text(&number.to_string()).await);
    }
    let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1008), .. }), "{end:?}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn b15_a_long_question_is_accepted_and_the_socket_is_pinged() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.heartbeat = Duration::from_millis(400);
    }))
    .await;
    let mut socket = open(&test_server).await;
    assert!(matches!(client::soon(socket.next()).await.unwrap().unwrap(), Some(Message::Ping(_))));
    let long = "漢".repeat(20_000);
    assert_eq!(answer(&mut socket, &long).await, "Hello, world!");
    assert_eq!(sent(&test_server)[0].1, long);
    socket.send_frame(WebSocketFrameHead::whole(Opcode::Binary), b"hello").await.unwrap();
    let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1003), .. }), "{end:?}");
    test_server.close().await;
}

#[tokio::test]
async fn b15_a_foreign_page_gets_no_socket_and_a_plain_request_an_error() {
    let test_server = TestServer::open().await;
    let path = format!("/websocket/{UID}");
    for headers in [
        [("origin", "http://evil.example")],
        [("origin", "null")],
        [("sec-fetch-site", "cross-site")],
    ] {
        let connection = Connection::open(test_server.address).await.unwrap();
        let Handshake::Refused(refused) =
            websocket::shake_hands(connection, &path, &headers).await.unwrap()
        else {
            panic!("{headers:?}")
        };
        assert_eq!(refused.status, 403, "{headers:?}");
    }
    let own = format!("http://{}", test_server.address);
    drop(websocket::connect(test_server.address, &path, &[("origin", &own)]).await.unwrap());
    // The page may be opened with another name of this machine than the one written into it.
    let other = format!("http://localhost:{}", test_server.address.port());
    drop(websocket::connect(test_server.address, &path, &[("origin", &other)]).await.unwrap());
    assert_eq!(test_server.json(&Request::get(&path)).await.0, 426);
    test_server.close().await;
}

#[tokio::test]
async fn a_shutdown_closes_idle_sockets_and_ends_running_responses() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("a")
            .wait_for(&gate)
            .finish("stop")
            .usage(1, 1, 0)
            .done()
            .end(),
    );
    let (mut idle, mut busy) = (open(&test_server).await, open(&test_server).await);
    busy.send_text("hello").await.unwrap();
    test_server.upstream.wait_requests(1).await;
    let closing = tokio::spawn(test_server.close());
    let (_, end) = client::soon(idle.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1012), .. }), "{end:?}");
    let (texts, end) = client::soon(busy.collect()).await.unwrap().unwrap();
    assert_eq!(texts.last().map(String::as_str), Some("[DONE]"), "{texts:?}");
    assert!(matches!(end, End::Closed { code: Some(1012), .. }), "{end:?}");
    client::soon(closing).await.unwrap().unwrap();
}
