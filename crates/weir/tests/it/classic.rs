//! The classic API by rule (C1 to C12) and by bug (B1 to B19): what the Java demo's pages need, replayed byte by
//! byte.

mod context;
mod pages;
mod polyfill;
mod rules;
mod sign_in;
mod sites;
mod sockets;
mod stopping;

use std::sync::Arc;

use client::{BodyEnd, Request, Response, Stream};
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::metrics::{scrape, until};
use crate::test_server::{TestServer, TestServerPlan};

pub(crate) const UID: &str = "2f6c1a4e-8d0b-4b57-9f0e-0a1b2c3d4e5f";

/// Opens a stream like the polyfill.
fn create_sse(uid: &str) -> Request {
    Request::get("/createSse")
        .header("accept", "text/event-stream")
        .header("uid", uid)
        .header("cache-control", "no-store")
}

/// Posts a question like the page.
fn chat(uid: &str, question: &str) -> Request {
    let body = json!({ "msg": question }).to_string();
    Request::new("POST", "/chat")
        .header("content-type", "application/json;charset=UTF-8")
        .header("uid", uid)
        .body(body)
}

/// Opens a stream, and waits for its headers and first block.
async fn open(test_server: &TestServer, uid: &str) -> Response {
    let mut response = test_server.send(&create_sse(uid)).await;
    assert_eq!(response.status, 200);
    assert_eq!(
        client::soon(response.chunk()).await.unwrap().unwrap().as_deref(),
        Some(b"retry:5000\n\n".as_slice())
    );
    response
}

/// Asks on a new stream. Returns the number of prompt tokens, and the stream.
pub(crate) async fn ask(test_server: &TestServer, uid: &str, question: &str) -> (u64, Stream) {
    let stream = open(test_server, uid).await.events().unwrap();
    let (status, answer) = test_server.json(&chat(uid, question)).await;
    assert_eq!(status, 200, "{answer}");
    (answer["question_tokens"].as_u64().unwrap(), stream)
}

/// The text of a stream with a complete response.
pub(crate) async fn told(mut stream: Stream) -> String {
    let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    assert_eq!(events.last().map(|event| &*event.data), Some(b"[DONE]".as_slice()), "{events:?}");
    let contents =
        events.iter().filter(|event| event.name.is_none()).filter_map(|event| event.json().ok());
    contents.filter_map(|json| json["content"].as_str().map(str::to_owned)).collect()
}

/// A question and its complete response.
async fn converse(test_server: &TestServer, uid: &str, question: &str) -> String {
    let (_tokens, stream) = ask(test_server, uid, question).await;
    told(stream).await
}

/// Role and text of each message in the last request to the model.
fn sent(test_server: &TestServer) -> Vec<(String, String)> {
    let body = test_server.upstream.requests().last().unwrap().body.clone();
    let text = |content: &Value| {
        content
            .as_str()
            .map_or_else(|| content[0]["text"].as_str().unwrap().to_owned(), str::to_owned)
    };
    let messages = body["messages"].as_array().unwrap().iter();
    messages
        .map(|message| (message["role"].as_str().unwrap().to_owned(), text(&message["content"])))
        .collect()
}

fn roles_and_texts(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
}

fn plan(change: impl FnOnce(&mut server::ClassicConfig)) -> TestServerPlan {
    TestServerPlan::server(|server| change(&mut server.classic))
}

#[tokio::test]
async fn its_responses_are_counted_while_they_run() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.default_script(
        Script::new().role().content("a").wait_for(&gate).finish("stop").done().end(),
    );
    let waiting = open(&test_server, "another").await;
    let (_tokens, stream) = ask(&test_server, UID, "hello").await;
    let mut socket = sockets::open(&test_server).await;
    socket.send_text("hello").await.unwrap();
    client::soon(test_server.upstream.wait_requests(2)).await.unwrap();
    let seen = scrape(&test_server).await;
    let classic =
        |frame| seen.value("weir_streams_open", &[("frame", frame), ("dialect", "classic")]);
    assert_eq!(
        (classic("sse"), classic("websocket"), seen.sum("weir_streams_open", &[])),
        (Some(1.0), Some(1.0), 2.0)
    );
    assert_eq!(seen.value("weir_sockets_open", &[]), Some(1.0));
    gate.notify_one();
    gate.notify_one();
    drop((waiting, socket));
    told(stream).await;
    until(&test_server, |seen| seen.sum("weir_streams_open", &[]) == 0.0, "none is open").await;
    test_server.close().await;
}
