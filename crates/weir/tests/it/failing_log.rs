//! Promise 1 with a failing log: readers of a failing log get an error, and a slow log delivers nothing early.

use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Connection, Request, Stream};
use engine::log::Log;
use engine::testing::failing::FailingLog;
use engine::testing::late::LateLog;
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::leaving::heartbeat;
use crate::test_server::{MODEL, TestApi, TestFrame, TestServer, TestServerPlan, ask, question};

async fn test_server(log: Arc<dyn Log>) -> TestServer {
    let mut plan = TestServerPlan { log: Some(log), ..TestServerPlan::default() };
    plan.server.heartbeat = Duration::from_millis(20);
    // This test is not about holding the head back.
    plan.server.hold = Duration::ZERO;
    TestServer::open_with(plan).await
}

fn once_and_more(gate: &Arc<Notify>) -> Script {
    Script::new().role().content("Once").wait_for(gate).content(" more").finish("stop").done().end()
}

/// Reads until the first piece of the text.
async fn until_once(stream: &mut Stream) {
    while !client::soon(stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .data
        .windows(4)
        .any(|window| window == b"Once")
    {}
}

#[tokio::test]
async fn readers_of_a_failing_log_get_an_error_and_are_cut_off() {
    let log = FailingLog::new();
    let test_server = test_server(Arc::new(log.clone())).await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(once_and_more(&gate));
    let mut sse = test_server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    let id = sse.response().headers.get("weir-response-id").unwrap().to_owned();
    let again = Request::get(&format!("/v1/responses/{id}?stream=true"));
    let mut ndjson =
        test_server.stream(&again.clone().header("accept", "application/x-ndjson")).await;
    let mut browser =
        test_server.stream(&Request::get(&format!("/v1/responses/{id}/events"))).await;
    for stream in [&mut sse, &mut ndjson, &mut browser] {
        until_once(stream).await;
    }
    log.break_after(0);
    gate.notify_one();
    for (frame, stream) in
        [("sse", &mut sse), ("ndjson", &mut ndjson), ("EventSource", &mut browser)]
    {
        let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
        assert_eq!(end, BodyEnd::Truncated, "{frame}");
        let [error] = &events[..] else { panic!("{frame}: {events:?}") };
        let name = (frame == "sse").then_some("error");
        assert_eq!((error.name.as_deref(), error.id.as_ref()), (name, None), "{frame}");
        let error = error.json().unwrap();
        assert_eq!(
            (&error["type"], &error["error"]["code"]),
            (&json!("error"), &json!("log_unavailable")),
            "{frame}"
        );
        assert_eq!(error.get("sequence_number"), None, "{frame}: it has no position");
    }
    // Nothing new starts, and new requests get a correct error status.
    assert!(log.is_broken());
    let (status, refused) = test_server.post("/v1/responses", &ask("hi")).await;
    assert_eq!((status, &refused["error"]["code"]), (503, &json!("log_unavailable")));

    log.repair();
    test_server.quiet().await;
    let (events, end) = test_server.stream(&again).await.collect().await.unwrap();
    let said: Vec<Value> = events.iter().filter_map(|event| event.json().ok()).collect();
    let numbers: Vec<_> =
        said.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..said.len() as u64), "{numbers:?}");
    let [.., error, terminal] = &said[..] else { panic!("{said:?}") };
    assert_eq!(
        (&error["type"], &terminal["type"], end),
        (&json!("error"), &json!("response.failed"), BodyEnd::Clean)
    );
    assert_eq!(terminal["response"]["error"]["code"], "log_failed");
    test_server.close().await;
}

#[tokio::test]
async fn chat_and_json_readers_of_a_failing_log_get_an_error_too() {
    for frame in [TestFrame::Json, TestFrame::Ndjson, TestFrame::Sse] {
        for words in [TestApi::Responses, TestApi::Chat] {
            let what = format!("{words:?} {frame:?}");
            let log = FailingLog::new();
            let test_server = test_server(Arc::new(log.clone())).await;
            let gate = Arc::new(Notify::new());
            test_server.upstream.script(once_and_more(&gate));
            let request = question((words, frame), MODEL, &json!({ "store": true }));
            let mut connection = Connection::open(test_server.address).await.unwrap();
            connection.write(&request).await.unwrap();
            client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
            if frame == TestFrame::Json {
                log.break_after(0);
                gate.notify_one();
                let mut response =
                    client::soon(connection.read_response(&request)).await.unwrap().unwrap();
                assert_eq!(response.status, 503, "{what}");
                let body: Value =
                    serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
                assert_eq!(body["error"]["code"], "log_unavailable", "{what}");
            } else {
                let mut stream =
                    connection.read_response(&request).await.unwrap().events().unwrap();
                until_once(&mut stream).await;
                log.break_after(0);
                gate.notify_one();
                let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
                assert_eq!(end, BodyEnd::Truncated, "{what}");
                let last = events
                    .last()
                    .unwrap_or_else(|| panic!("{what}: nothing was said"))
                    .json()
                    .unwrap();
                assert_eq!(last["error"]["code"], "log_unavailable", "{what}");
            }
            log.repair();
            test_server.quiet().await;
            test_server.close().await;
        }
    }
}

/// Waits until this many entries are pending in the log.
async fn waiting(log: &LateLog, count: usize) {
    let come = async {
        while log.waiting() < count {
            tokio::task::yield_now().await;
        }
    };
    client::soon(come).await.unwrap();
}

/// Reads the first events of a response.
async fn start((words, _): (TestApi, TestFrame), stream: &mut Stream) {
    for _ in 0..if words == TestApi::Responses { 2 } else { 1 } {
        let event = client::soon(stream.next()).await.unwrap().unwrap().unwrap();
        assert!(!event.data.is_empty(), "the start comes before any heartbeat: {event:?}");
    }
}

#[tokio::test]
async fn a_slow_log_delivers_nothing_before_it_commits() {
    for way in [
        (TestApi::Responses, TestFrame::Ndjson),
        (TestApi::Responses, TestFrame::Sse),
        (TestApi::Chat, TestFrame::Ndjson),
        (TestApi::Chat, TestFrame::Sse),
    ] {
        let log = LateLog::with_first_commits();
        let test_server = test_server(Arc::new(log.clone())).await;
        let gate = Arc::new(Notify::new());
        test_server.upstream.script(once_and_more(&gate));
        let mut stream = test_server.stream(&question(way, MODEL, &json!({ "store": true }))).await;
        // Item, part, delta: the upstream has sent "Once", and only heartbeats follow the first events.
        waiting(&log, 3).await;
        start(way, &mut stream).await;
        for _ in 0..3 {
            heartbeat(&mut stream).await;
        }
        log.release();
        until_once(&mut stream).await;
        gate.notify_one();
        // Delta, text, part, item, completed: the response has ended, but nothing is visible yet.
        waiting(&log, 5).await;
        for _ in 0..3 {
            heartbeat(&mut stream).await;
        }
        log.open_gate();
        let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
        assert_eq!(end, BodyEnd::Clean, "{way:?}");
        assert!(
            events.iter().any(|event| event.data.windows(5).any(|window| window == b" more")),
            "{way:?}"
        );
        test_server.quiet().await;
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_json_response_from_a_slow_log_waits_for_the_commit() {
    let log = LateLog::with_first_commits();
    let test_server = test_server(Arc::new(log.clone())).await;
    for words in [TestApi::Responses, TestApi::Chat] {
        test_server.upstream.script(Script::text(&["whole"]));
        let request = question((words, TestFrame::Json), MODEL, &json!({ "store": true }));
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write(&request).await.unwrap();
        // The terminal event is the last of seven pending ones after the first events.
        waiting(&log, 7).await;
        let early = connection.stream().try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock, "{words:?}: it has been answered");
        log.release();
        let mut response = client::soon(connection.read_response(&request)).await.unwrap().unwrap();
        let (body, end) = response.collect().await.unwrap();
        assert_eq!((response.status, end), (200, BodyEnd::Clean));
        assert!(String::from_utf8_lossy(&body).contains("whole"));
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_cancel_is_confirmed_once_its_end_is_in_the_log() {
    let log = LateLog::with_first_commits();
    let test_server = test_server(Arc::new(log.clone())).await;
    test_server.upstream.script(Script::no_head());
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    let id = stream.response().headers.get("weir-response-id").unwrap().to_owned();
    let request = Request::new("POST", &format!("/v1/responses/{id}/cancel"));
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(&request).await.unwrap();
    // The upstream call is closed at once, whatever the log does.
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    waiting(&log, 1).await;
    start((TestApi::Responses, TestFrame::Sse), &mut stream).await;
    heartbeat(&mut stream).await;
    let early = connection.stream().try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    log.release();
    let mut response = client::soon(connection.read_response(&request)).await.unwrap().unwrap();
    assert!(
        String::from_utf8(response.collect().await.unwrap().0).unwrap().contains("\"cancelled\"")
    );
    assert_eq!(client::soon(stream.end()).await.unwrap().unwrap(), BodyEnd::Clean);
    test_server.quiet().await;
    test_server.close().await;
}
