//! permessage-deflate on sockets (RFC 7692): negotiated only if both sides want it, and bounded.

use std::cell::Cell;
use std::time::Duration;

use client::websocket::{self, Connected, End};
use codec::websocket::Opcode;
use codec::websocket::deflate::Compressor;
use codec::websocket::encode::WebSocketFrameHead;
use fakes::Script;
use serde_json::{Value, json};

use crate::test_server::{MODEL, TestServer, TestServerPlan};

const PATH: &str = "/v1/responses";
const COMPRESSED: WebSocketFrameHead =
    WebSocketFrameHead { fin: true, rsv1: true, opcode: Opcode::Text };

async fn open(deflate: bool) -> TestServer {
    TestServer::open_with(TestServerPlan::server(|server| server.websocket_deflate = deflate)).await
}

async fn connect(test_server: &TestServer, offer: &str) -> Connected {
    websocket::connect(test_server.address, PATH, &[("sec-websocket-extensions", offer)])
        .await
        .unwrap()
}

fn create(text: &str) -> String {
    json!({ "type": "response.create", "model": MODEL, "input": text }).to_string()
}

#[tokio::test]
async fn it_is_negotiated_only_if_both_sides_want_it() {
    const AGREED: Option<&str> =
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    for (is_on, offer, agreed) in [
        (false, "permessage-deflate", None),
        (true, "permessage-deflate; client_max_window_bits", AGREED),
        (
            true,
            "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=9, permessage-deflate",
            AGREED,
        ),
        (true, "permessage-deflate; unknown", None),
        (true, "permessage-deflate; server_max_window_bits=9", None),
    ] {
        let test_server = open(is_on).await;
        let mut connected = connect(&test_server, offer).await;
        assert_eq!(connected.headers.get("sec-websocket-extensions"), agreed, "{is_on} {offer}");
        test_server.upstream.script(Script::text(&["Hel", "lo"]));
        connected.socket.send_text(&create("hi")).await.unwrap();
        let first = client::soon(connected.socket.connection().read_raw()).await.unwrap().unwrap();
        assert_eq!(
            first[0],
            if agreed.is_some() { 0xC1 } else { 0x81 },
            "a response's first event is large enough"
        );
        drop(connected);
        test_server.quiet().await;
        test_server.close().await;
    }
}

#[tokio::test]
async fn compression_without_negotiation_is_a_violation() {
    for (is_on, offer) in [(false, "permessage-deflate"), (true, "permessage-deflate; unknown")] {
        let test_server = open(is_on).await;
        let mut socket = connect(&test_server, offer).await.socket;
        socket
            .send_frame(
                COMPRESSED,
                &Compressor::new(1).compress(create(&"hi".repeat(100)).as_bytes()).unwrap(),
            )
            .await
            .unwrap();
        let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        assert!(matches!(end, End::Closed { code: Some(1002), .. }), "{end:?}");
        drop(socket);
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_compressed_turn_is_the_log_message_by_message() {
    let test_server = open(true).await;
    let mut socket = connect(&test_server, "permessage-deflate").await.socket;
    let text = "你好 and hello. ".repeat(100);
    // A small response, one that is compressed, and one that is too large to be.
    for (turn, answer) in
        ["hi".to_owned(), "word ".repeat(2000), "0123456789".repeat(20_000)].into_iter().enumerate()
    {
        test_server.upstream.script(Script::text(&[&answer]));
        let request = Compressor::new(1).compress(create(&text).as_bytes()).unwrap();
        let (start, end) = request.split_at(request.len() / 2);
        // In two frames, of which only the first marks the message as compressed, with a ping between.
        socket.send_frame(WebSocketFrameHead { fin: false, ..COMPRESSED }, start).await.unwrap();
        socket.ping(b"still there?").await.unwrap();
        socket.send_frame(WebSocketFrameHead::whole(Opcode::Continuation), end).await.unwrap();
        let mut texts: Vec<String> = Vec::new();
        while !texts.last().is_some_and(|text| text.starts_with("{\"type\":\"response.completed\""))
        {
            texts.push(client::soon(socket.next_text()).await.unwrap().unwrap().unwrap());
        }
        assert_eq!(test_server.upstream.requests()[turn].body["messages"][0]["content"], text);
        let created: Value = serde_json::from_str(&texts[0]).unwrap();
        let id = created["response"]["id"].as_str().unwrap();
        assert_eq!(
            texts,
            crate::resume::tail(&test_server, id, None, crate::test_server::TestFrame::Sse).await
        );
    }
    socket.close(1000, "").await.unwrap();
    let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1000), .. }), "{end:?}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn corrupt_compressed_data_is_an_error() {
    let test_server = open(true).await;
    let mut socket = connect(&test_server, "permessage-deflate").await.socket;
    socket.send_frame(COMPRESSED, b"\xff\xff\xff\xff").await.unwrap();
    let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1007), .. }), "{end:?}");
    drop(socket);
    test_server.close().await;
}

/// Four gigabytes in four megabytes: rejected at the message limit, and never held in memory.
#[tokio::test]
async fn a_compression_bomb_is_too_large_and_costs_no_memory() {
    // The limit is as small as the bomb's frame allows, because inflating is slow in debug builds.
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        (server.websocket_deflate, server.body_bytes) = (true, 6 << 20);
    }))
    .await;
    let mut socket = connect(&test_server, "permessage-deflate").await.socket;
    let mut block = Compressor::new(1).compress(&vec![0; 1 << 20]).unwrap();
    block.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
    let before = peak_bytes();
    socket.send_frame(COMPRESSED, &block.repeat(4096)).await.unwrap();
    let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1009), .. }), "{end:?}");
    // Other tests share the process.
    let grown = peak_bytes() - before;
    assert!(grown < 1 << 30, "{grown} bytes more at the peak");
    drop(socket);
    test_server.close().await;

    // Small enough to be received completely, so that the close code arrives.
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        (server.websocket_deflate, server.body_bytes) = (true, 64 << 10);
    }))
    .await;
    let mut socket = connect(&test_server, "permessage-deflate").await.socket;
    socket.send_frame(COMPRESSED, &block).await.unwrap();
    let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1009), .. }), "{end:?}");
    drop(socket);
    test_server.close().await;
}

/// A few kilobytes were inflated without yielding: a hundred readers got their text seconds later while sixteen
/// sockets sent bombs. Here a single thread must still serve everybody else.
#[tokio::test]
async fn a_compression_bomb_does_not_block_others() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        (server.websocket_deflate, server.body_bytes) = (true, 6 << 20);
    }))
    .await;
    let mut socket = connect(&test_server, "permessage-deflate").await.socket;
    let mut block = Compressor::new(1).compress(&vec![0; 1 << 20]).unwrap();
    block.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
    let bomb = block.repeat(8);
    let begun = processor_time();
    let is_over = Cell::new(false);
    let attack = async {
        socket.send_frame(COMPRESSED, &bomb).await.unwrap();
        let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        assert!(matches!(end, End::Closed { code: Some(1009), .. }), "{end:?}");
        is_over.set(true);
    };
    let bystander = async {
        let (mut last, mut longest) = (begun, Duration::ZERO);
        while !is_over.get() {
            tokio::task::yield_now().await;
            let now = processor_time();
            longest = longest.max(now.saturating_sub(last));
            last = now;
        }
        longest
    };
    let ((), longest) = tokio::join!(attack, bystander);
    let whole = processor_time().saturating_sub(begun);
    assert!(longest < whole / 4, "{longest:?} of {whole:?} without a turn");
    drop(socket);
    test_server.close().await;
}

/// The CPU time of this thread, which excludes other programs.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// The process's peak memory (proc(5), `VmHWM`).
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
