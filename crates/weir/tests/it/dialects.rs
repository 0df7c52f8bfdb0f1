//! Every dialect in every frame that it allows, byte for byte: the files in `dialects/` are what clients receive.
//!
//! `WEIR_WRITE_GOLDEN=1` writes the files anew. Ids, times and heartbeats, which differ from run to run, are replaced or left out.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use client::websocket::{self, Socket};
use client::{BodyEnd, Request, Response};
use fakes::{Script, VendorError};
use serde_json::json;

use crate::test_server::{MODEL, TestApi, TestFrame, TestServer, question};

/// Starts of ids, each followed by characters that differ from run to run.
const IDS: &[&str] = &["resp_", "msg_", "rs_", "fc_", "chatcmpl-"];

/// Fields whose number is a time.
const TIMES: &[&str] = &["\"created_at\":", "\"completed_at\":", "\"created\":"];

#[tokio::test]
async fn a_whole_response() {
    check("whole", || Script::text(&["Hel", "lo 你\n"])).await;
}

#[tokio::test]
async fn a_response_that_fails_after_its_first_words() {
    check("failed", || {
        Script::new().head().role().content("so").failure(VendorError::Internal).end()
    })
    .await;
}

#[tokio::test]
async fn a_response_that_thinks_and_calls_a_function() {
    let script = || {
        Script::new().role().reason("hm").content("so").call(
            0,
            "call_1",
            "weather",
            &["{\"a\"", ":1}"],
        )
    };
    check("called", || script().finish("tool_calls").usage(3, 4, 1).done().end()).await;
}

/// Plays the script once for each dialect and frame, and compares all that clients receive with the file.
async fn check(name: &str, script: impl Fn() -> Script) {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(script());
    let mut received = String::new();
    for words in [TestApi::Responses, TestApi::Chat] {
        for frame in [TestFrame::Json, TestFrame::Ndjson, TestFrame::Sse] {
            let response = test_server.send(&question((words, frame), MODEL, &json!({}))).await;
            let dialect =
                if words == TestApi::Responses { "responses" } else { "chat_completions" };
            put(
                &mut received,
                &format!("{dialect} {}", format!("{frame:?}").to_lowercase()),
                response,
            )
            .await;
        }
    }
    let last = last_response(&test_server).await;
    let replayed = test_server.send(&Request::get(&format!("/v1/responses/{last}/events"))).await;
    put(&mut received, "responses sse (EventSource)", replayed).await;
    let socket =
        websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap().socket;
    let create = json!({ "type": "response.create", "model": MODEL, "input": "hi" });
    put_messages(&mut received, "responses websocket", socket, &create.to_string()).await;
    put_classic(&mut received, &test_server).await;
    test_server.quiet().await;
    test_server.close().await;
    compare(name, &received);
    check_all(&received);
}

/// Every dialect stands there in each of its frames.
fn check_all(received: &str) {
    for dialect in protocol::dialect::ALL {
        for frame in dialect.frames {
            let title = format!("=== {} {frame}", dialect.name);
            assert!(received.contains(&title), "{title} is missing");
        }
    }
}

/// The id of a stored response that was played to its end.
async fn last_response(test_server: &TestServer) -> String {
    let response =
        test_server.send(&question((TestApi::Responses, TestFrame::Sse), MODEL, &json!({}))).await;
    let id = response.headers.get("weir-response-id").unwrap().to_owned();
    let (events, _) = response.events().unwrap().collect().await.unwrap();
    assert!(!events.is_empty());
    id
}

/// The classic API: a channel, the response of a GET, and a socket.
async fn put_classic(received: &mut String, test_server: &TestServer) {
    let channel = test_server.send(&Request::get("/createSse").header("uid", "one")).await;
    let body = json!({ "msg": "hi" }).to_string();
    let post = Request::new("POST", "/chat")
        .header("content-type", "application/json")
        .header("uid", "one")
        .body(body);
    let asked = test_server.send(&post).await;
    put(received, "classic sse (channel)", channel).await;
    put(received, "classic question", asked).await;
    let query = test_server.send(&Request::get("/chat?message=hi&uid=two")).await;
    put(received, "classic sse (query)", query).await;
    let socket =
        websocket::connect(test_server.address, "/websocket/three", &[]).await.unwrap().socket;
    put_messages(received, "classic websocket", socket, "hi").await;
}

async fn put(received: &mut String, title: &str, mut response: Response) {
    let mut head = format!("{}", response.status);
    for name in
        ["content-type", "cache-control", "x-accel-buffering", "incremental", "x-should-retry"]
    {
        if let Some(value) = response.headers.get(name) {
            write!(head, "\n{name}: {value}").unwrap();
        }
    }
    let (body, end) = response.collect().await.unwrap();
    let end = if end == BodyEnd::Clean { "clean" } else { "cut" };
    section(
        received,
        title,
        &format!("{head}\n\n{}\n({end})", steady(&String::from_utf8(body).unwrap())),
    );
}

async fn put_messages(received: &mut String, title: &str, mut socket: Socket, message: &str) {
    socket.send_text(message).await.unwrap();
    let mut messages = Vec::new();
    loop {
        let message = client::soon(socket.next_text()).await.unwrap().unwrap().unwrap();
        let is_last = message == "[DONE]"
            || ["completed", "failed", "incomplete"]
                .iter()
                .any(|end| message.starts_with(&format!("{{\"type\":\"response.{end}\"")));
        messages.push(steady(&message));
        if is_last {
            break;
        }
    }
    socket.close(1000, "").await.unwrap();
    socket.collect().await.unwrap();
    section(received, title, &messages.join("\n"));
}

fn section(received: &mut String, title: &str, text: &str) {
    write!(received, "=== {title}\n{text}\n\n").unwrap();
}

/// The text without what differs from run to run.
fn steady(text: &str) -> String {
    let text = if let Some(first) = text.strip_prefix('\n') { first } else { text };
    let mut text = text.replace(": ping\n", "");
    for start in IDS {
        text = replace_after(&text, start, |character| {
            character.is_ascii_alphanumeric() || character == '_'
        });
    }
    for start in TIMES {
        text = replace_after(&text, start, |character| character.is_ascii_digit());
    }
    // The greeting of `GET /chat` has the time of day.
    if let Some((before, after)) = text.split_once("data:\"20") {
        let rest = after.split_once('"').map_or("", |(_, rest)| rest);
        text = format!("{before}data:\"TIME\"{rest}");
    }
    text
}

/// Replaces the run of characters that `differs` after each `start`.
fn replace_after(text: &str, start: &str, differs: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(start);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&differs);
        let mark = if rest.len() == part.len() { "" } else { "X" };
        write!(replaced, "{start}{mark}{rest}").unwrap();
    }
    replaced
}

fn compare(name: &str, received: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/dialects/{name}.txt"));
    if std::env::var_os("WEIR_WRITE_GOLDEN").is_some() {
        fs::write(&path, received).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let differing =
        expected.lines().zip(received.lines()).find(|(expected, received)| expected != received);
    assert!(expected == received, "{name}: {differing:?}\nall that was received:\n{received}");
}
