//! The lens's breakdown of responses, byte by byte: JSON, the classic API, and socket messages.

use client::Request;
use client::websocket::{self, Socket};
use fakes::Script;
use serde_json::{Value, json};

use super::{PIECES, check_sum, count, of, raw};
use crate::classic::UID;
use crate::test_server::{MODEL, TestServer};

/// The size of the model's text as JSON.
fn spoken() -> usize {
    PIECES.iter().map(|piece| serde_json::to_string(piece).unwrap().len() - 2).sum()
}

fn check_said(seen: &Value, events: usize, framing: usize) {
    let said = &seen["said"];
    assert_eq!(
        (count(&said["events"]), count(&said["framing"]), count(&said["text"])),
        (events, framing, spoken()),
        "{seen}"
    );
    let parts: usize = ["framing", "dialect", "text"].iter().map(|kind| count(&said[kind])).sum();
    assert_eq!(parts, count(&seen["sent"]["body"]), "all of the body is told: {seen}");
}

/// A request whose response is the last on its connection.
fn post(path: &str, accept: &str, body: &Value) -> String {
    let body = body.to_string();
    let fields = format!(
        "host: localhost\r\nconnection: close\r\naccept: {accept}\r\ncontent-type: application/json"
    );
    format!("POST {path} HTTP/1.1\r\n{fields}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn head_of(answer: &[u8]) -> usize {
    answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4
}

#[tokio::test]
async fn json_answers_are_text_and_the_json_around_it() {
    let test_server = TestServer::open().await;
    for (path, body) in [
        ("/v1/responses", json!({ "model": MODEL, "input": "hi", "store": false })),
        (
            "/v1/chat/completions",
            json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
    ] {
        test_server.upstream.script(Script::text(&PIECES));
        let (answer, port) = raw(&test_server, &post(path, "application/json", &body)).await;
        let seen = ended(&test_server, port).await;
        check_sum(&seen["sent"], answer.len());
        assert_eq!(count(&seen["sent"]["body"]), answer.len() - head_of(&answer), "{path}");
        check_said(&seen, 0, 0);
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_retrieved_response_is_text_and_the_json_around_it() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&PIECES));
    let body = json!({ "model": MODEL, "input": "hi" }).to_string();
    let (_, asked) = test_server
        .json(
            &Request::new("POST", "/v1/responses")
                .header("content-type", "application/json")
                .body(body),
        )
        .await;
    let id = asked["id"].as_str().unwrap();
    for (method, path) in
        [("GET", format!("/v1/responses/{id}")), ("POST", format!("/v1/responses/{id}/cancel"))]
    {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let (answer, port) = raw(&test_server, &request).await;
        let seen = ended(&test_server, port).await;
        check_sum(&seen["sent"], answer.len());
        check_said(&seen, 0, 0);
    }
    test_server.close().await;
}

/// A connection after its close.
async fn ended(test_server: &TestServer, port: u16) -> Value {
    test_server.wait_connections(0).await;
    of(test_server, port).await
}

/// Checks the breakdown of a stream against what its client received: the number of events, and all bytes outside of
/// their data as framing.
fn check_stream(seen: &Value, answer: Vec<u8>, data: impl Fn(&str) -> Option<&str>) {
    check_sum(&seen["sent"], answer.len());
    let text = String::from_utf8(answer).unwrap();
    let data: Vec<&str> = text.lines().filter_map(data).collect();
    let bytes: usize = data.iter().map(|data| data.len()).sum();
    check_said(seen, data.len(), count(&seen["sent"]["body"]) - bytes);
}

#[tokio::test]
async fn chat_completions_streams_are_broken_down_in_both_frames() {
    let test_server = TestServer::open().await;
    for accept in ["text/event-stream", "application/x-ndjson"] {
        test_server.upstream.script(Script::text(&PIECES));
        let body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }], "stream": true });
        let (answer, port) = raw(&test_server, &post("/v1/chat/completions", accept, &body)).await;
        let seen = ended(&test_server, port).await;
        check_stream(&seen, answer, |line| {
            Some(line.strip_prefix("data: ").unwrap_or(line)).filter(|data| data.starts_with('{'))
        });
    }
    test_server.close().await;
}

#[tokio::test]
async fn reasoning_calls_and_refusals_are_text_too() {
    let test_server = TestServer::open().await;
    let script = || {
        let call = json!({ "tool_calls": [{ "index": 0, "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } }] });
        let script = Script::new()
            .role()
            .delta(&json!({ "reasoning_content": "h\"m" }))
            .content("yes")
            .delta(&call);
        script.finish("tool_calls").usage(1, 2, 3).done().end()
    };
    let mut texts = Vec::new();
    for stream in [false, true] {
        test_server.upstream.script(script());
        let body = json!({ "model": MODEL, "input": "hi", "stream": stream, "tools": [{ "type": "function", "name": "f" }] });
        let (_, port) = raw(&test_server, &post("/v1/responses", "text/event-stream", &body)).await;
        texts.push(count(&ended(&test_server, port).await["said"]["text"]));
    }
    assert_eq!(texts, [4 + 3 + 9, 4 + 3 + 9], "h\\\"m, yes, and {{\\\"a\\\":1}}");
    test_server.close().await;
}

#[tokio::test]
async fn a_classic_query_response_is_broken_down_with_its_greeting() {
    let test_server = TestServer::open_with(crate::test_server::TestServerPlan::server(|server| {
        server.classic.model = Some(MODEL.into());
    }))
    .await;
    test_server.upstream.script(Script::text(&PIECES));
    let request = "GET /chat?message=hi HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (answer, port) = raw(&test_server, request).await;
    let seen = ended(&test_server, port).await;
    check_stream(&seen, answer, |line| line.strip_prefix("data:"));
    assert_eq!(seen["last_requests"][0]["path"], "/chat", "without the question");
    test_server.close().await;
}

#[tokio::test]
async fn a_classic_stream_is_broken_down_with_its_opening() {
    let test_server = TestServer::open_with(crate::test_server::TestServerPlan::server(|server| {
        server.classic.model = Some(MODEL.into());
    }))
    .await;
    test_server.upstream.script(Script::text(&PIECES));
    let request = format!(
        "GET /createSse HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nuid: {UID}\r\n\r\n"
    );
    let asking = async {
        let question = Request::new("POST", "/chat")
            .header("content-type", "application/json")
            .header("uid", UID);
        assert_eq!(
            test_server.send(&question.body(json!({ "msg": "hi" }).to_string())).await.status,
            200
        );
    };
    let ((answer, port), ()) = tokio::join!(raw(&test_server, &request), asking);
    let seen = ended(&test_server, port).await;
    check_stream(&seen, answer, |line| line.strip_prefix("data:"));
    test_server.close().await;
}

/// Asks on a socket, and returns its messages up to one that ends with `last`.
async fn messages(socket: &mut Socket, question: &str, last: &str) -> Vec<String> {
    socket.send_text(question).await.unwrap();
    let mut messages: Vec<String> = Vec::new();
    while !messages.last().is_some_and(|message| message.contains(last)) {
        messages.push(client::soon(socket.next_text()).await.unwrap().unwrap().unwrap());
    }
    messages
}

#[tokio::test]
async fn socket_messages_are_dialect_and_text() {
    let test_server = TestServer::open_with(crate::test_server::TestServerPlan::server(|server| {
        server.classic.model = Some(MODEL.into());
    }))
    .await;
    let create =
        json!({ "type": "response.create", "model": MODEL, "input": "hi", "store": false })
            .to_string();
    for (path, question, last) in [
        ("/v1/responses", create.as_str(), "\"response.completed\""),
        (&*format!("/websocket/{UID}"), "hi", "[DONE]"),
    ] {
        test_server.upstream.script(Script::text(&PIECES));
        let mut socket = websocket::connect(test_server.address, path, &[]).await.unwrap().socket;
        let port = socket.connection().stream().local_addr().unwrap().port();
        let mut heard = messages(&mut socket, question, last).await;
        if path == "/v1/responses" {
            // An error is a message too.
            heard.extend(messages(&mut socket, "{}", "\"error\"").await);
        }
        let seen = of(&test_server, port).await;
        let bytes: usize = heard.iter().map(String::len).sum();
        assert_eq!(count(&seen["sent"]["body"]), bytes);
        check_said(&seen, heard.len(), 0);
    }
    test_server.close().await;
}
