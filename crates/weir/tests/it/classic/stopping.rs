//! The page's stop button: closing the stream or the socket closes the upstream call, and the question is not stored.

use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Request};
use fakes::Script;
use tokio::sync::Notify;

use super::sockets;
use super::{UID, ask, converse, open, roles_and_texts, sent, told};
use crate::test_server::{TestServer, TestServerPlan};

/// Checks that the upstream call was closed and the conversation does not contain it.
async fn check_stopped(test_server: &TestServer, request: usize, what: &str) {
    client::soon(test_server.upstream.wait_closed(request))
        .await
        .unwrap_or_else(|_late| panic!("{what}: the upstream was not closed"));
    test_server.quiet().await;
    let census = test_server.engine.census();
    assert_eq!((census.item_bytes, census.log_bytes), (0, 0), "{what}: something stayed");
}

fn endless() -> Script {
    Script::new().role().content("on and on").stall()
}

#[tokio::test]
async fn b10_closing_a_stream_or_a_socket_stops_the_model() {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(endless());
    let (_tokens, mut stream) = ask(&test_server, UID, "hello").await;
    let is_text = |data: &[u8]| data.starts_with(b"{\"content\"");
    while !is_text(&client::soon(stream.next()).await.unwrap().unwrap().unwrap().data) {}
    drop(stream);
    check_stopped(&test_server, 0, "/createSse").await;

    let mut stream = test_server.stream(&Request::get("/chat?message=hello")).await;
    while !is_text(&client::soon(stream.next()).await.unwrap().unwrap().unwrap().data) {}
    drop(stream);
    check_stopped(&test_server, 1, "GET /chat").await;

    for is_polite in [true, false] {
        let mut socket = sockets::open(&test_server).await;
        socket.send_text("hello").await.unwrap();
        while !is_text(client::soon(socket.next_text()).await.unwrap().unwrap().unwrap().as_bytes())
        {
        }
        if is_polite {
            socket.close(1000, "").await.unwrap();
            client::soon(socket.collect()).await.unwrap().unwrap();
        } else {
            drop(socket);
        }
        check_stopped(&test_server, 2 + usize::from(!is_polite), "/websocket").await;
    }
    test_server.upstream.script(Script::text(&["Hi"]));
    assert_eq!(converse(&test_server, UID, "hello").await, "Hi");
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", "hello")]));
    test_server.close().await;
}

#[tokio::test]
async fn a_stream_closed_before_the_response_starts_stops_it_too() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::no_head());
    let (_tokens, stream) = ask(&test_server, UID, "hello").await;
    drop(stream);
    check_stopped(&test_server, 0, "before the first token").await;
    test_server.close().await;
}

#[tokio::test]
async fn close_sse_stops_the_model_and_ends_the_stream_cleanly() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(endless());
    let (_tokens, mut stream) = ask(&test_server, UID, "hello").await;
    while !client::soon(stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .data
        .starts_with(b"{\"content\"")
    {}
    assert_eq!(test_server.json(&Request::get("/closeSse").header("uid", UID)).await.0, 200);
    let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let ids: Vec<_> =
        events.iter().skip(1).map(|event| event.id.as_deref().unwrap().to_vec()).collect();
    assert_eq!(ids, [b"[TOKENS]".to_vec(), b"[DONE]".to_vec()]);
    drop(stream);
    check_stopped(&test_server, 0, "/closeSse").await;
    test_server.close().await;
}

#[tokio::test]
async fn a_completed_response_is_kept_even_if_its_page_closes_at_once() {
    let test_server = TestServer::open().await;
    let (_tokens, stream) = ask(&test_server, UID, "first").await;
    told(stream).await;
    test_server.quiet().await;
    converse(&test_server, UID, "second").await;
    assert_eq!(sent(&test_server).len(), 3);
    test_server.close().await;
}

#[tokio::test]
async fn a_shutdown_ends_waiting_streams_and_lets_responses_finish() {
    let test_server = TestServer::open_with(TestServerPlan {
        grace: Duration::from_secs(60),
        ..TestServerPlan::default()
    })
    .await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("Hi")
            .wait_for(&gate)
            .finish("stop")
            .usage(1, 1, 0)
            .done()
            .end(),
    );
    let (_tokens, busy) = ask(&test_server, UID, "hello").await;
    let mut idle = open(&test_server, "another").await;
    let closing = tokio::spawn(test_server.close());
    assert_eq!(client::soon(idle.end()).await.unwrap().unwrap(), BodyEnd::Clean);
    gate.notify_one();
    assert_eq!(told(busy).await, "Hi");
    client::soon(closing).await.unwrap().unwrap();
}
