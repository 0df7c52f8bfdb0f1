//! WebSocket on `/v1/responses`: turns, lanes, cancelling, resuming, and what only the socket stores.

use std::sync::Arc;
use std::time::Duration;

use client::Request;
use client::websocket::{self, End, Handshake, Message, Socket};
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::test_server::{MODEL, TestServer, TestServerPlan};

const PATH: &str = "/v1/responses";

async fn open(test_server: &TestServer) -> Socket {
    websocket::connect(test_server.address, PATH, &[]).await.unwrap().socket
}

fn create(text: &str) -> Value {
    json!({ "type": "response.create", "model": MODEL, "input": text })
}

async fn send(socket: &mut Socket, message: &Value) {
    socket.send_text(&message.to_string()).await.unwrap();
}

async fn next(socket: &mut Socket) -> Value {
    let text = client::soon(socket.next_text()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(&text).unwrap()
}

fn is_terminal(event: &Value) -> bool {
    matches!(
        event["type"].as_str(),
        Some("response.completed" | "response.incomplete" | "response.failed")
    )
}

/// Every event up to the terminal one.
async fn turn(socket: &mut Socket) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        events.push(next(socket).await);
        if events.last().is_some_and(|event| is_terminal(event) || event.get("status").is_some()) {
            return events;
        }
    }
}

fn id(events: &[Value]) -> String {
    events[0]["response"]["id"].as_str().unwrap().to_owned()
}

fn text(events: &[Value]) -> String {
    events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_turn_on_a_socket_is_the_log_message_by_message() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let mut socket = open(&test_server).await;
    send(&mut socket, &create("hi")).await;
    let mut messages = Vec::new();
    loop {
        let message = client::soon(socket.next_text()).await.unwrap().unwrap().unwrap();
        let is_last = is_terminal(&serde_json::from_str(&message).unwrap());
        messages.push(message);
        if is_last {
            break;
        }
    }
    let created: Value = serde_json::from_str(&messages[0]).unwrap();
    let id = created["response"]["id"].as_str().unwrap();
    let (replayed, _) = test_server
        .stream(&Request::get(&format!("{PATH}/{id}?stream=true")))
        .await
        .collect_data()
        .await
        .unwrap();
    assert_eq!(
        messages.iter().map(String::as_bytes).collect::<Vec<_>>(),
        replayed[..replayed.len() - 1],
        "byte for byte, but for [DONE]"
    );
    socket.close(1000, "bye").await.unwrap();
    let (_, end) = socket.collect().await.unwrap();
    assert!(matches!(end, End::Closed { code: Some(1000), .. }), "{end:?}");
    test_server.close().await;
}

#[tokio::test]
async fn turns_of_one_lane_are_sequential_and_lanes_run_concurrently() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().head().role().content("slow").wait_for(&gate).finish("stop").done().end(),
    );
    test_server.upstream.script(Script::text(&["fast"]));
    let mut socket = open(&test_server).await;
    send(&mut socket, &create("first")).await;
    // The first must call the upstream before the second is sent: scripts are handed out in order.
    test_server.upstream.wait_requests(1).await;
    send(&mut socket, &create("second")).await;
    send(&mut socket, &json!({ "type": "response.create", "model": MODEL, "input": "third", "stream_id": "side" })).await;
    let mut side = Vec::new();
    while !side.last().is_some_and(is_terminal) {
        let event = next(&mut socket).await;
        if event["stream_id"] == "side" {
            side.push(event);
        }
    }
    assert_eq!(text(&side), "fast");
    test_server.upstream.script(Script::text(&["later"]));
    gate.notify_one();
    let mut rest = Vec::new();
    while rest.iter().filter(|event| is_terminal(event)).count() < 2 {
        rest.push(next(&mut socket).await);
    }
    let ends: Vec<usize> = rest
        .iter()
        .enumerate()
        .filter(|(_, event)| is_terminal(event))
        .map(|(index, _)| index)
        .collect();
    let second = &rest[ends[0] + 1];
    assert_eq!(
        second["type"], "response.created",
        "the second turn starts when the first has ended"
    );
    assert!(rest.iter().all(|event| event.get("stream_id").is_none()));
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn a_stateless_turn_can_be_continued_on_its_socket_only() {
    let test_server = TestServer::open().await;
    let stateless = |input: &str, previous: Option<&str>| json!({ "type": "response.create", "model": MODEL, "input": input, "store": false, "previous_response_id": previous });
    let mut socket = open(&test_server).await;
    test_server.upstream.script(Script::text(&["Hi Ada"]));
    send(&mut socket, &stateless("I am Ada", None)).await;
    let first = id(&turn(&mut socket).await);
    test_server.upstream.script(Script::text(&["Ada"]));
    send(&mut socket, &stateless("who am I?", Some(&first))).await;
    let second = turn(&mut socket).await;
    assert_eq!(text(&second), "Ada");
    let asked = test_server.upstream.requests();
    let contents: Vec<_> = asked[1].body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(contents, ["I am Ada", "Hi Ada", "who am I?"]);

    let mut other = open(&test_server).await;
    send(&mut other, &stateless("and I?", Some(&id(&second)))).await;
    let refused = next(&mut other).await;
    assert_eq!(
        (refused["type"].as_str(), refused["error"]["code"].as_str()),
        (Some("error"), Some("previous_response_not_found"))
    );
    assert_eq!(refused["status"], 400);
    let (status, _) = test_server.get(&format!("{PATH}/{}", id(&second))).await;
    assert_eq!(status, 404, "what is not stored cannot be fetched");
    drop((socket, other));
    test_server.close().await;
}

#[tokio::test]
async fn a_failed_turn_evicts_its_parent_on_its_own_lane_only() {
    let test_server = TestServer::open().await;
    let stateless = |input: &str, previous: Option<&str>, lane: &str| json!({ "type": "response.create", "model": MODEL, "input": input, "store": false, "previous_response_id": previous, "stream_id": lane });
    let mut socket = open(&test_server).await;
    test_server.upstream.script(Script::text(&["one"]));
    send(&mut socket, &stateless("a", None, "main")).await;
    let parent = id(&turn(&mut socket).await);
    // A fork on another lane fails: the source remains.
    test_server
        .upstream
        .script(Script::error(500, &json!({ "error": { "message": "no", "type": "x" } })));
    send(&mut socket, &stateless("b", Some(&parent), "fork")).await;
    assert_eq!(turn(&mut socket).await.last().unwrap()["type"], "response.failed");
    test_server
        .upstream
        .script(Script::error(500, &json!({ "error": { "message": "no", "type": "x" } })));
    send(&mut socket, &stateless("c", Some(&parent), "main")).await;
    assert_eq!(turn(&mut socket).await.last().unwrap()["type"], "response.failed");
    // A failure on its own lane evicts it.
    send(&mut socket, &stateless("d", Some(&parent), "main")).await;
    assert_eq!(next(&mut socket).await["error"]["code"], "previous_response_not_found");
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn a_warm_up_calls_no_upstream_and_can_be_continued() {
    let test_server = TestServer::open().await;
    let mut socket = open(&test_server).await;
    let message = json!({ "type": "response.create", "model": MODEL, "input": "context", "generate": false, "store": false });
    send(&mut socket, &message).await;
    let warm = turn(&mut socket).await;
    assert_eq!(warm.last().unwrap()["response"]["output"], json!([]));
    assert_eq!(test_server.upstream.requests().len(), 0);
    test_server.upstream.script(Script::text(&["yes"]));
    send(
        &mut socket,
        &json!({ "type": "response.create", "model": MODEL, "input": "and?", "previous_response_id": id(&warm), "store": false }),
    )
    .await;
    assert_eq!(text(&turn(&mut socket).await), "yes");
    assert_eq!(test_server.upstream.requests()[0].body["messages"][0]["content"], "context");
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn a_cancel_overtakes_the_queue() {
    let test_server = TestServer::open().await;
    let mut socket = open(&test_server).await;
    test_server.upstream.script(Script::new().head().role().content("a").stall());
    send(&mut socket, &create("first")).await;
    test_server.upstream.wait_requests(1).await;
    test_server.upstream.script(Script::text(&["second"]));
    send(&mut socket, &create("second")).await;
    send(&mut socket, &json!({ "type": "response.cancel" })).await;
    let first = turn(&mut socket).await;
    let end = first.last().unwrap();
    assert_eq!(
        (end["type"].as_str(), end["response"]["status"].as_str()),
        (Some("response.incomplete"), Some("cancelled"))
    );
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    assert_eq!(text(&turn(&mut socket).await), "second");
    send(&mut socket, &json!({ "type": "response.cancel" })).await;
    assert_eq!(next(&mut socket).await["status"], 404);
    send(&mut socket, &json!({ "type": "response.cancel", "response_id": "resp_of_nobody" })).await;
    assert_eq!(next(&mut socket).await["status"], 404);
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn a_response_is_resumed_on_a_socket_at_every_event() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::reasoning(&["hm", "m"], &["Hel", "lo"]));
    let (events, _) = test_server
        .stream(&Request::post(PATH, &json!({ "model": MODEL, "input": "hi", "stream": true })))
        .await
        .collect()
        .await
        .unwrap();
    let data: Vec<_> = events
        .iter()
        .map(|event| event.data.clone())
        .filter(|data| &data[..] != b"[DONE]")
        .collect();
    let id = events[0].json().unwrap()["response"]["id"].as_str().unwrap().to_owned();
    let mut socket = open(&test_server).await;
    for after in 0..data.len() - 1 {
        send(
            &mut socket,
            &json!({ "type": "response.resume", "response_id": id, "starting_after": after }),
        )
        .await;
        for expected in &data[after + 1..] {
            let message = client::soon(socket.next_text()).await.unwrap().unwrap().unwrap();
            assert_eq!(message.as_bytes(), &expected[..], "resumed after {after}");
        }
    }
    send(&mut socket, &json!({ "type": "response.resume", "response_id": id, "starting_after": 999, "stream_id": "x" })).await;
    let refused = next(&mut socket).await;
    assert_eq!(
        (refused["error"]["code"].as_str(), refused["stream_id"].as_str()),
        (Some("position_out_of_range"), Some("x"))
    );
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn closing_a_socket_cancels_unstored_responses() {
    let test_server = TestServer::open().await;
    let mut socket = open(&test_server).await;
    test_server.upstream.script(Script::new().head().role().content("a").stall());
    send(
        &mut socket,
        &json!({ "type": "response.create", "model": MODEL, "input": "hi", "store": false }),
    )
    .await;
    test_server.upstream.wait_requests(1).await;
    socket.reset().unwrap();
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn invalid_messages_are_rejected_and_the_socket_survives() {
    let test_server = TestServer::open().await;
    let mut socket = open(&test_server).await;
    for (message, code) in [
        ("{", "invalid_json"),
        (r#"{"type":"response.create","model":5}"#, "invalid_type"),
        (r#"{"type":"response.create","model":"nobody's","input":"x"}"#, "model_not_found"),
        (r#"{"type":"response.create","stream_id":"no spaces"}"#, "invalid_stream_id"),
    ] {
        socket.send_text(message).await.unwrap();
        assert_eq!(next(&mut socket).await["error"]["code"], code, "{message}");
    }
    test_server.upstream.script(Script::text(&["still here"]));
    // In fragments, split inside a character, with a ping in between.
    let message = create("你好").to_string();
    let middle = message.find('你').unwrap() + 1;
    socket
        .send_fragmented(&[&message.as_bytes()[..middle], &message.as_bytes()[middle..]])
        .await
        .unwrap();
    assert_eq!(text(&turn(&mut socket).await), "still here");
    assert_eq!(test_server.upstream.requests()[0].body["messages"][0]["content"], "你好");
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn a_socket_that_is_too_old_finishes_running_turns_and_starts_nothing() {
    let mut plan = TestServerPlan::default();
    plan.server.socket_age = Duration::from_millis(300);
    let test_server = TestServer::open_with(plan).await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .head()
            .role()
            .content("a")
            .wait_for(&gate)
            .content("b")
            .finish("stop")
            .done()
            .end(),
    );
    let mut socket = open(&test_server).await;
    send(&mut socket, &create("first")).await;
    send(&mut socket, &create("waits")).await;
    let refused = loop {
        let event = next(&mut socket).await;
        if event["type"] == "error" {
            break event;
        }
    };
    assert_eq!(refused["error"]["code"], "websocket_connection_limit_reached");
    gate.notify_one();
    let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(messages.last().unwrap().contains("response.completed"));
    assert!(matches!(end, End::Closed { code: Some(1001), .. }), "{end:?}");
    test_server.close().await;
}

#[tokio::test]
async fn the_heartbeat_is_a_ping_and_a_silent_peer_is_disconnected() {
    let mut plan = TestServerPlan::default();
    plan.server.heartbeat = Duration::from_millis(50);
    let test_server = TestServer::open_with(plan).await;
    let mut socket = open(&test_server).await;
    for _ in 0..3 {
        assert!(matches!(
            client::soon(socket.next()).await.unwrap().unwrap(),
            Some(Message::Ping(_))
        ));
    }
    socket.set_replies(websocket::ControlReplies::None);
    let ended = client::soon(async { while socket.next().await.unwrap().is_some() {} }).await;
    assert!(ended.is_ok(), "a silent peer is let go");
    test_server.close().await;
}

#[tokio::test]
async fn a_foreign_page_and_a_bad_handshake_are_rejected() {
    let test_server = TestServer::open().await;
    let refused = websocket::shake_hands(
        connection(&test_server).await,
        PATH,
        &[("origin", "https://evil.example")],
    )
    .await
    .unwrap();
    assert_eq!(status(refused), 403);
    let refused = websocket::shake_hands(
        connection(&test_server).await,
        PATH,
        &[("sec-websocket-version", "8")],
    )
    .await
    .unwrap();
    assert_eq!(status(refused), 426);
    let refused = websocket::shake_hands(
        connection(&test_server).await,
        PATH,
        &[("sec-websocket-key", "short")],
    )
    .await
    .unwrap();
    assert_eq!(status(refused), 400);
    let (status, body) = test_server.get(PATH).await;
    assert_eq!((status, body["error"]["code"].as_str()), (426, Some("upgrade_required")));
    test_server.close().await;
}

async fn connection(test_server: &TestServer) -> client::Connection {
    client::Connection::open(test_server.address).await.unwrap()
}

fn status(handshake: Handshake) -> u16 {
    match handshake {
        Handshake::Refused(response) => response.status,
        Handshake::Open(_) => 101,
    }
}

#[tokio::test]
async fn a_violation_is_reported_by_its_close_code() {
    let test_server = TestServer::open().await;
    for (bytes, code) in [
        (&b"\x81\x02hi"[..], 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x82\x80\0\0\0\0", 1003),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),
        (b"\x81\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0", 1009),
    ] {
        let mut socket = open(&test_server).await;
        socket.send_raw(bytes).await.unwrap();
        let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        assert!(
            matches!(&end, End::Closed { code: Some(given), .. } if *given == code),
            "{bytes:?}: {end:?}"
        );
    }
    test_server.close().await;
}
