//! The calibrated source: what it sends, and its limits.

use client::websocket::{self, Message};
use client::{BodyEnd, Request};
use serde_json::Value;

use crate::test_server::{ALICE, BOB, TestServer, TestServerPlan};

const PATH: &str = "/v1/lens/source";

#[tokio::test]
async fn events_have_the_size_and_number_that_were_asked_for() {
    let server = TestServer::open().await;
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let path = format!("{PATH}?events=12&interval_ms=1&bytes=300");
        let mut stream = server.stream(&Request::get(&path).header("accept", accept)).await;
        assert_eq!(stream.response().media_type(), accept);
        let (events, end) = stream.collect_data().await.unwrap();
        assert_eq!((events.len(), end), (12, BodyEnd::Clean), "{accept}");
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event.len(), 300);
            let event: Value = serde_json::from_slice(event).unwrap();
            assert_eq!(event["sequence_number"], number);
            assert!(event["sent_us"].as_u64().unwrap() > 1_600_000_000_000_000);
        }
    }
    let (status, clock) = server.get(&format!("{PATH}?events=0")).await;
    assert_eq!((status, &clock["object"]), (200, &"lens.source".into()));
    server.close().await;
}

#[tokio::test]
async fn a_socket_gets_the_same_events_and_a_proper_close() {
    let server = TestServer::open().await;
    let path = format!("{PATH}?events=5&interval_ms=1&bytes=200");
    let mut socket = websocket::connect(server.address, &path, &[]).await.unwrap().socket;
    let (texts, end) = socket.collect().await.unwrap();
    assert_eq!(texts.len(), 5);
    assert_eq!(end, websocket::End::Closed { code: Some(1000), reason: String::new() });
    let path = format!("{PATH}?events=2&interval_ms=400&heartbeat_ms=100");
    let mut socket = websocket::connect(server.address, &path, &[]).await.unwrap().socket;
    let mut pings = 0;
    while let Some(message) = socket.next().await.unwrap() {
        pings += usize::from(matches!(message, Message::Ping(_)));
    }
    assert!(pings >= 2, "{pings}");
    server.wait_connections(0).await;
    server.close().await;
}

#[tokio::test]
async fn a_source_that_breaks_off_does_not_look_complete() {
    let server = TestServer::open().await;
    let path = format!("{PATH}?events=9&interval_ms=1&cut_after=4");
    let (events, end) = server.stream(&Request::get(&path)).await.collect().await.unwrap();
    assert_eq!((events.len(), end), (4, BodyEnd::Truncated));
    let mut socket = websocket::connect(server.address, &path, &[]).await.unwrap().socket;
    let (texts, end) = socket.collect().await.unwrap();
    assert_eq!(texts.len(), 4);
    assert!(matches!(end, websocket::End::Cut(_)), "{end:?}");
    server.close().await;
}

#[tokio::test]
async fn each_caller_may_open_a_few() {
    let server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let quiet = |key: &str| Request::get(&format!("{PATH}?events=2&interval_ms=60000")).bearer(key);
    assert_eq!(server.send(&Request::get(PATH)).await.status, 401);
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = server.stream(&quiet(ALICE)).await;
        // Its first event shows that it counts.
        stream.next().await.unwrap();
        open.push(stream);
    }
    let (status, refused) = server.json(&quiet(ALICE)).await;
    assert_eq!((status, &refused["error"]["code"]), (429, &"too_many_sources".into()));
    let mut other = server.stream(&quiet(BOB)).await;
    assert!(other.next().await.unwrap().is_some());
    drop((open, other));
    server.wait_connections(0).await;
    server.close().await;
}

#[tokio::test]
async fn it_can_be_switched_off_and_its_limits_are_named() {
    let off = TestServerPlan::server(|server| server.lens.source = false);
    let server = TestServer::open_with(off).await;
    let (status, body) = server.get(PATH).await;
    assert_eq!((status, &body["error"]["code"]), (404, &"source_off".into()));
    server.close().await;
    let server = TestServer::open().await;
    let (status, body) = server.get(&format!("{PATH}?events=10001")).await;
    assert_eq!((status, &body["error"]["param"]), (400, &"events".into()));
    server.close().await;
}
