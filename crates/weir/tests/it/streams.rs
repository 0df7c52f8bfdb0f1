//! Properties of every stream: its headers, heartbeats, single events, and the cost of a slow reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{BodyEnd, Connection, Request, Response, Stream};
use fakes::{Script, Step};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::leaving::heartbeat;
use crate::test_server::{
    MODEL, TestApi, TestFrame, TestServer, TestServerPlan, WAYS, ask, demo, question,
};

fn streamed() -> impl Iterator<Item = (TestApi, TestFrame)> {
    WAYS.into_iter().filter(|(_, frame)| *frame != TestFrame::Json)
}

#[tokio::test]
async fn every_stream_has_its_headers_and_is_never_compressed() {
    let test_server = TestServer::open().await;
    let (_, done) =
        test_server.post("/v1/responses", &json!({ "model": "demo", "input": "/echo hi" })).await;
    let path = format!("/v1/responses/{}", done["id"].as_str().unwrap());
    let resumed = Request::get(&format!("{path}?stream=true"));
    let asked = streamed().map(|way| (question(way, MODEL, &json!({})), way.1));
    let read = [
        (resumed.clone(), TestFrame::Sse),
        (resumed.header("accept", "application/x-ndjson"), TestFrame::Ndjson),
        (Request::get(&format!("{path}/events")), TestFrame::Sse),
    ];
    for (request, frame) in asked.chain(read) {
        let what = format!("{} {} {frame:?}", request.method, request.path);
        let mut response =
            test_server.send(&request.header("accept-encoding", "gzip, deflate, br, zstd")).await;
        assert_eq!(response.status, 200, "{what}");
        let headers = &response.headers;
        for (name, value) in [
            ("content-type", Some(frame.content_type())),
            ("cache-control", Some("no-store, no-transform")),
            ("x-accel-buffering", Some("no")),
            ("incremental", Some("?1")),
            ("x-content-type-options", Some("nosniff")),
            ("content-encoding", None),
            ("content-length", None),
            ("transfer-encoding", Some("chunked")),
        ] {
            assert_eq!(
                headers.all(name).collect::<Vec<_>>(),
                value.into_iter().collect::<Vec<_>>(),
                "{what}: {name}"
            );
        }
        assert!(headers.get("weir-response-id").is_some(), "{what}");
        assert_eq!(response.end().await.unwrap(), BodyEnd::Clean, "{what}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// The next bytes of the body.
async fn piece(response: &mut Response) -> Bytes {
    client::soon(response.chunk()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_silent_upstream_is_covered_by_heartbeats_from_the_start() {
    let mut plan = TestServerPlan::default();
    plan.server.heartbeat = Duration::from_millis(30);
    plan.server.hold = Duration::from_millis(60);
    let test_server = TestServer::open_with(plan).await;
    test_server.upstream.default_script(Script::no_head());
    for way in streamed() {
        let mut response =
            client::soon(test_server.send(&question(way, MODEL, &json!({ "store": false }))))
                .await
                .unwrap();
        let (end, beat): (&[u8], &[u8]) =
            if way.1 == TestFrame::Sse { (b"}\n\n", b": ping\n") } else { (b"}\n", b"\n") };
        let mut first = Vec::new();
        let last = if way.0 == TestApi::Responses {
            "\"type\":\"response.in_progress\""
        } else {
            "\"role\":\"assistant\""
        };
        while !(first.ends_with(end) && String::from_utf8_lossy(&first).contains(last)) {
            first.extend_from_slice(&piece(&mut response).await);
        }
        for _ in 0..3 {
            assert_eq!(&piece(&mut response).await[..], beat, "{way:?}");
        }
    }
    // A browser's reader gets the same after its `retry:`.
    let stream = test_server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    let path = format!(
        "/v1/responses/{}/events?starting_after=1",
        stream.response().headers.get("weir-response-id").unwrap()
    );
    let mut response = test_server.send(&Request::get(&path)).await;
    assert_eq!(&piece(&mut response).await[..], b"retry: 1000\n\n");
    for _ in 0..3 {
        assert_eq!(&piece(&mut response).await[..], b": ping\n");
    }
    drop((response, stream));
    test_server.engine.shut_down();
    test_server.quiet().await;
    test_server.close().await;
}

/// A server that holds heads back for this long, and whose upstream returns 429 once the gate opens.
async fn holding(hold: Duration, gate: &Arc<Notify>) -> TestServer {
    let refused = json!({ "error": { "message": "slow down", "code": "rate_limit_exceeded" } });
    let status =
        Step::Status(429, vec![("retry-after".into(), "7".into())], refused.to_string().into());
    let test_server =
        TestServer::open_with(TestServerPlan::server(|server| server.hold = hold)).await;
    test_server.upstream.script(Script::new().wait_for(gate).step(status));
    test_server
}

#[tokio::test]
async fn a_stream_holds_its_head_for_the_status_but_not_for_ever() {
    for way in streamed() {
        let gate = Arc::new(Notify::new());
        let test_server = holding(Duration::from_secs(60), &gate).await;
        let request = question(way, MODEL, &json!({}));
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write(&request).await.unwrap();
        client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
        gate.notify_one();
        let mut response = client::soon(connection.read_response(&request)).await.unwrap().unwrap();
        let headers = ["retry-after", "x-should-retry", "content-type"]
            .map(|name| response.headers.get(name).map(str::to_owned));
        assert_eq!(
            (response.status, headers),
            (429, [Some("7".into()), None, Some("application/json".into())]),
            "{way:?}: the head was held"
        );
        assert!(response.headers.get("weir-response-id").is_some());
        response.end().await.unwrap();
        test_server.quiet().await;
        test_server.close().await;

        let test_server = holding(Duration::from_millis(50), &gate).await;
        let asked = client::now();
        let stream = test_server.stream(&request).await;
        assert!(asked.elapsed() >= Duration::from_millis(50));
        refused_in_band(stream, way.0, &gate).await;
        test_server.quiet().await;
        test_server.close().await;
    }
}

/// The stream has started, and ends with the error once the gate opens.
async fn refused_in_band(mut stream: Stream, words: TestApi, gate: &Notify) {
    gate.notify_one();
    let (events, end) = stream.collect().await.unwrap();
    let error = events
        .iter()
        .filter_map(|event| event.json().ok())
        .find(|event| event["error"].is_object())
        .unwrap();
    let expected = if words == TestApi::Chat { BodyEnd::Truncated } else { BodyEnd::Clean };
    assert_eq!(
        (&error["error"]["code"], end),
        (&json!("rate_limit_exceeded"), expected),
        "{error}"
    );
}

#[tokio::test]
async fn a_request_may_ask_for_its_head_at_once() {
    for way in streamed() {
        let gate = Arc::new(Notify::new());
        let test_server = holding(Duration::from_secs(60), &gate).await;
        let request = question(way, MODEL, &json!({})).header("prefer", "wait=0");
        let stream = client::soon(test_server.stream(&request)).await.unwrap();
        refused_in_band(stream, way.0, &gate).await;
        test_server.quiet().await;
        test_server.close().await;
    }
}

#[tokio::test]
async fn background_and_resumed_streams_are_not_held() {
    let gate = Arc::new(Notify::new());
    let test_server = holding(Duration::from_secs(60), &gate).await;
    let request =
        question((TestApi::Responses, TestFrame::Sse), MODEL, &json!({ "background": true }));
    let stream = client::soon(test_server.stream(&request)).await.unwrap();
    let id = stream.response().headers.get("weir-response-id").unwrap().to_owned();
    let again =
        client::soon(test_server.stream(&Request::get(&format!("/v1/responses/{id}?stream=true"))))
            .await
            .unwrap();
    refused_in_band(stream, TestApi::Responses, &gate).await;
    refused_in_band(again, TestApi::Responses, &gate).await;
    test_server.quiet().await;
    test_server.close().await;
}

/// The text of the next delta; other events are skipped.
async fn delta(stream: &mut Stream, words: TestApi) -> String {
    loop {
        let event = client::soon(stream.next())
            .await
            .unwrap_or_else(|_late| panic!("the delta waits for the next"))
            .unwrap()
            .unwrap();
        let event = event.json().unwrap();
        let text = match words {
            TestApi::Responses if event["type"] == "response.output_text.delta" => {
                event["delta"].as_str()
            }
            TestApi::Responses => None,
            TestApi::Chat => {
                event["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty())
            }
        };
        if let Some(text) = text {
            return text.to_owned();
        }
    }
}

#[tokio::test]
async fn no_event_waits_for_the_next() {
    let test_server = TestServer::open().await;
    for way in streamed() {
        let gate = Arc::new(Notify::new());
        let pieces: Vec<String> = (0..30).map(|number| format!(" {number}")).collect();
        let script = pieces
            .iter()
            .fold(Script::new().role(), |script, piece| script.wait_for(&gate).content(piece));
        test_server.upstream.script(script.wait_for(&gate).finish("stop").done().end());
        gate.notify_one();
        let mut stream = test_server.stream(&question(way, MODEL, &json!({}))).await;
        for piece in &pieces {
            assert_eq!(delta(&mut stream, way.0).await, *piece, "{way:?}");
            gate.notify_one();
        }
        assert_eq!(stream.end().await.unwrap(), BodyEnd::Clean);
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// The chunks of a chunked body.
async fn chunks(test_server: &TestServer, request: &Request) -> Vec<Vec<u8>> {
    let response = test_server.send(request).await;
    assert_eq!(response.status, 200);
    let mut connection = response.abandon();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        let more = client::soon(connection.read_raw()).await.unwrap().unwrap();
        assert!(!more.is_empty(), "the body ends before its last chunk");
        bytes.extend_from_slice(&more);
    }
    let mut chunks = Vec::new();
    let mut rest = &bytes[..];
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return chunks;
        }
        chunks.push(rest[line + 2..line + 2 + size].to_vec());
        rest = &rest[line + 4 + size..];
    }
}

#[tokio::test]
async fn ready_events_are_sent_together_and_not_split() {
    let test_server = TestServer::open().await;
    let (_, done) = test_server
        .post("/v1/responses", &json!({ "model": "demo", "input": "/count 2000" }))
        .await;
    let path = format!("/v1/responses/{}", done["id"].as_str().unwrap());
    let replay = Request::get(&format!("{path}?stream=true"));
    let replays = [
        (replay.clone(), "\n\n"),
        (replay.header("accept", "application/x-ndjson"), "\n"),
        (Request::get(&format!("{path}/events")), "\n\n"),
    ];
    let live = [
        (Request::post("/v1/responses", &demo("/count 2000")), "\n\n"),
        (
            question(
                (TestApi::Chat, TestFrame::Sse),
                "demo",
                &json!({ "messages": [{ "role": "user", "content": "/count 500" }] }),
            ),
            "\n\n",
        ),
    ];
    for (request, end) in replays.iter().chain(&live) {
        let chunks = chunks(&test_server, request).await;
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        for chunk in &chunks {
            assert!(
                chunk.ends_with(end.as_bytes()),
                "{}: a chunk ends in mid-event: …{:?}",
                request.path,
                String::from_utf8_lossy(chunk).chars().rev().take(40).collect::<String>()
            );
        }
        if request.method == "GET" {
            // 64 KiB of events and their framing.
            let most = 2 + bytes / (48 << 10);
            assert!(
                chunks.len() <= most,
                "{}: {} chunks for {bytes} bytes",
                request.path,
                chunks.len()
            );
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// More events than the kernel buffers for a reader that reads nothing. Small ones, because the whole text is
/// repeated four times at the end of a response.
const PIECES: usize = 20_000;

/// The last piece's position: created, in progress, item, part and "go" come first.
const LAST_PIECE: usize = 4 + PIECES;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_is_cut_off_and_resumes_while_a_hundred_others_finish() {
    let mut plan = TestServerPlan::default();
    // Long enough for readers that wait for CPU time on a busy machine.
    plan.server.write_timeout = Duration::from_secs(3);
    let test_server = TestServer::open_with(plan).await;
    let (flood, rest) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let pieces =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(PIECES);
    let script = Script::new().role().content("go").wait_for(&flood).raw(pieces);
    test_server
        .upstream
        .script(script.wait_for(&rest).content("over").finish("stop").usage(1, 1, 0).done().end());
    let narrow = Connection::open_narrow(test_server.address, 4096).await.unwrap();
    let mut stalled =
        narrow.send(&Request::post("/v1/responses", &ask("hi"))).await.unwrap().events().unwrap();
    assert_eq!(delta(&mut stalled, TestApi::Responses).await, "go");
    let path = format!(
        "/v1/responses/{}?stream=true",
        stalled.response().headers.get("weir-response-id").unwrap()
    );
    flood.notify_one();
    let mut reader = test_server.stream(&Request::get(&path)).await;
    for _ in 0..=LAST_PIECE {
        client::soon(reader.next()).await.unwrap().unwrap().unwrap();
    }

    let before = test_server.engine.census().log_bytes;
    let mut others = JoinSet::new();
    for number in 0..100 {
        let accept = if number % 2 == 0 { "text/event-stream" } else { "application/x-ndjson" };
        // Most have read the flood already: the test is about readers, not about copying memory.
        let path =
            if number < 5 { path.clone() } else { format!("{path}&starting_after={LAST_PIECE}") };
        let mut response = test_server.send(&Request::get(&path).header("accept", accept)).await;
        assert_eq!(response.status, 200);
        others.spawn(async move { response.end().await.unwrap() });
    }
    let census = test_server.engine.census();
    assert_eq!((census.running, census.log_bytes), (1, before), "readers cost nothing in the log");
    rest.notify_one();
    test_server.quiet().await;
    while let Some(end) = client::soon(others.join_next()).await.unwrap() {
        assert_eq!(end.unwrap(), BodyEnd::Clean);
    }
    assert_eq!(reader.end().await.unwrap(), BodyEnd::Clean);
    drop(reader);
    test_server.wait_connections(0).await;

    // What the kernel had buffered arrives, and then the break: never a clean end.
    let (got, end) = stalled.collect_data().await.unwrap();
    assert_eq!(
        (end, stalled.response().cut_by()),
        (BodyEnd::Truncated, Some(std::io::ErrorKind::ConnectionReset))
    );
    let (whole, end) = test_server.stream(&Request::get(&path)).await.collect_data().await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    // It had received everything up to "go".
    let next = 5 + got.len();
    assert_eq!(whole[5..next], got[..], "what it had is a part of the whole");
    let resumed = Request::get(&format!("{path}&starting_after={}", next - 1));
    let (rest, end) = test_server.stream(&resumed).await.collect_data().await.unwrap();
    assert!((&rest[..], end) == (&whole[next..], BodyEnd::Clean));
    test_server.close().await;
}

#[tokio::test]
async fn readers_cost_no_memory_in_the_log() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server
        .upstream
        .script(Script::new().role().content("go").wait_for(&gate).finish("stop").done().end());
    let mut first = test_server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    assert_eq!(delta(&mut first, TestApi::Responses).await, "go");
    let path = format!(
        "/v1/responses/{}?stream=true",
        first.response().headers.get("weir-response-id").unwrap()
    );
    let before = test_server.engine.census();
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut reader = test_server.stream(&Request::get(&path)).await;
        assert_eq!(delta(&mut reader, TestApi::Responses).await, "go");
        readers.push(reader);
    }
    let after = test_server.engine.census();
    assert_eq!(
        (after.log_bytes, after.item_bytes, after.running),
        (before.log_bytes, before.item_bytes, 1)
    );
    assert_eq!(after.tasks, before.tasks + 100, "a task per connection and no more");
    gate.notify_one();
    for mut reader in readers {
        assert_eq!(reader.end().await.unwrap(), BodyEnd::Clean);
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn the_first_bytes_come_at_once_even_if_the_upstream_never_responds() {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(Script::no_head());
    for frame in [TestFrame::Ndjson, TestFrame::Sse] {
        let asked = question((TestApi::Responses, frame), MODEL, &json!({ "store": false }))
            .header("prefer", "wait=0");
        let mut stream = test_server.stream(&asked).await;
        for kind in ["response.created", "response.in_progress"] {
            let event = client::soon(stream.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(event.json().unwrap()["type"], kind);
        }
        // A late reader of a silent response gets a heartbeat at once, too; the default one would come after 15 s.
        let id = stream.response().headers.get("weir-response-id").unwrap();
        let accept = frame.content_type();
        let late = Request::get(&format!("/v1/responses/{id}?stream=true&starting_after=1"))
            .header("accept", accept);
        heartbeat(&mut test_server.stream(&late).await).await;
    }
    test_server.quiet().await;
    test_server.close().await;
}
