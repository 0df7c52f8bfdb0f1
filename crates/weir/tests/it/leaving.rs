//! Cancelling and leaving: a cancelled response's upstream call is closed at once, and a leaving reader cancels
//! nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{BodyEnd, Connection, Request, Stream};
use fakes::{Script, Upstream};
use protocol::on_leave::OnLeave;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::test_server::{
    MODEL, TestApi, TestFrame, TestServer, TestServerPlan, WAYS, question, stateless,
};

/// How far the upstream has come at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    BeforeHeaders,
    BeforeFirstToken,
    MidStream,
}

const PHASES: [Phase; 3] = [Phase::BeforeHeaders, Phase::BeforeFirstToken, Phase::MidStream];

/// A first piece long enough to be noticed in the log's size.
const LONG: usize = 20_000;

fn script(phase: Phase) -> Script {
    match phase {
        Phase::BeforeHeaders => Script::no_head(),
        Phase::BeforeFirstToken => Script::new().role().comment().stall(),
        Phase::MidStream => Script::new().role().content(&"a".repeat(LONG)).stall(),
    }
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    /// Its process closes the socket: FIN, and RST for later data.
    Drop,
    Rst,
}

impl Leave {
    fn go(self, connection: Connection) {
        match self {
            Self::Drop => drop(connection),
            Self::Rst => connection.reset().unwrap(),
        }
    }
}

/// The slowest close so far.
#[derive(Default)]
pub(crate) struct Slowest(Duration, String);

impl Slowest {
    /// Waits for the upstream call to be closed, and measures from `act`.
    pub(crate) async fn wait(
        &mut self,
        upstream: &Upstream,
        request: usize,
        act: Instant,
        what: &str,
    ) {
        let closed = client::soon(upstream.wait_closed(request)).await;
        let closed = closed.unwrap_or_else(|_late| panic!("{what}: the upstream was not closed"));
        let took = closed.saturating_duration_since(act);
        assert!(took < Duration::from_secs(1), "{what}: {took:?}");
        if took > self.0 {
            *self = Self(took, what.to_owned());
        }
    }

    /// The promise is 100 ms; a busy machine may be slower than the product.
    #[expect(clippy::print_stderr, reason = "the measure is part of the test's report")]
    pub(crate) fn tell(&self, of: &str) {
        eprintln!("slowest close: {} ms ({of}; {})", self.0.as_millis(), self.1);
    }
}

/// Resolves when the response's log contains the long piece.
async fn has_come(test_server: &TestServer, phase: Phase, before: u64) {
    let come = async {
        while phase == Phase::MidStream
            && test_server.engine.census().log_bytes < before + LONG as u64
        {
            tokio::task::yield_now().await;
        }
    };
    client::soon(come).await.unwrap();
}

#[tokio::test]
async fn the_last_reader_of_a_stateless_response_closes_the_upstream_by_leaving() {
    let test_server = TestServer::open().await;
    let mut slowest = Slowest::default();
    let mut count = 0;
    for phase in PHASES {
        for way in WAYS {
            for leave in [Leave::Drop, Leave::Rst] {
                let what = format!("{phase:?}, {way:?}, {leave:?}");
                test_server.upstream.script(script(phase));
                let before = test_server.engine.census().log_bytes;
                let request = stateless(way, MODEL);
                let mut connection = Connection::open(test_server.address).await.unwrap();
                connection.write(&request).await.unwrap();
                client::soon(test_server.upstream.wait_requests(count + 1)).await.unwrap();
                has_come(&test_server, phase, before).await;
                let has_head = way.1 != TestFrame::Json
                    && (way.0 == TestApi::Responses || phase == Phase::MidStream);
                if has_head {
                    let mut stream =
                        connection.read_response(&request).await.unwrap().events().unwrap();
                    assert!(stream.next().await.unwrap().is_some(), "{what}");
                    connection = stream.abandon();
                }
                let act = client::now();
                leave.go(connection);
                slowest.wait(&test_server.upstream, count, act, &what).await;
                test_server.quiet().await;
                assert_eq!(
                    test_server.engine.census().log_bytes,
                    before,
                    "{what}: nobody can read it any more"
                );
                count += 1;
            }
        }
    }
    assert_eq!(test_server.upstream.requests().len(), count);
    slowest.tell("the last reader left");
    test_server.close().await;
}

/// Reads up to the event of this type.
pub(crate) async fn read_until(stream: &mut Stream, kind: &str) -> Value {
    loop {
        let event = client::soon(stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap_or_else(|| panic!("no {kind}"))
            .json()
            .unwrap();
        if event["type"] == kind {
            return event;
        }
    }
}

pub(crate) fn id_of(stream: &Stream) -> String {
    stream.response().headers.get("weir-response-id").unwrap().to_owned()
}

pub(crate) fn cancel(id: &str) -> Request {
    Request::new("POST", &format!("/v1/responses/{id}/cancel"))
}

#[tokio::test]
async fn a_cancel_closes_the_upstream_and_every_reader_is_notified() {
    let test_server = TestServer::open().await;
    let mut slowest = Slowest::default();
    let mut count = 0;
    for phase in PHASES {
        for frame in [TestFrame::Ndjson, TestFrame::Sse] {
            for store in [true, false] {
                let what = format!("{phase:?}, {frame:?}, store {store}");
                test_server.upstream.script(script(phase));
                let before = test_server.engine.census().log_bytes;
                let asked =
                    question((TestApi::Responses, frame), MODEL, &json!({ "store": store }))
                        .header("prefer", "wait=0");
                let mut stream = test_server.stream(&asked).await;
                let id = id_of(&stream);
                let accept =
                    if frame == TestFrame::Ndjson { "application/x-ndjson" } else { "*/*" };
                let again = Request::get(&format!("/v1/responses/{id}?stream=true"))
                    .header("accept", accept);
                let mut second = test_server.stream(&again).await;
                client::soon(test_server.upstream.wait_requests(count + 1)).await.unwrap();
                has_come(&test_server, phase, before).await;
                let act = client::now();
                let (status, cancelled) = test_server.json(&cancel(&id)).await;
                slowest.wait(&test_server.upstream, count, act, &what).await;
                assert_eq!(
                    (status, cancelled["status"].as_str()),
                    (200, Some("cancelled")),
                    "{what}"
                );
                for reader in [&mut stream, &mut second] {
                    let terminal = read_until(reader, "response.incomplete").await;
                    check_cancelled(&terminal["response"], phase, &what);
                    assert_eq!(terminal["response"], cancelled, "{what}");
                    let (rest, end) = reader.collect().await.unwrap();
                    assert_eq!(
                        (rest.len(), end),
                        (usize::from(frame == TestFrame::Sse), BodyEnd::Clean),
                        "{what}"
                    );
                }
                if store {
                    assert_eq!(
                        test_server.json(&cancel(&id)).await,
                        (200, cancelled),
                        "{what}: twice is once"
                    );
                }
                count += 1;
            }
        }
    }
    slowest.tell("a cancel");
    test_server.quiet().await;
    test_server.close().await;
}

fn check_cancelled(response: &Value, phase: Phase, what: &str) {
    assert_eq!(response["status"], "cancelled", "{what}");
    assert_eq!(response["incomplete_details"]["reason"], "cancelled", "{what}");
    assert_eq!(response["error"], Value::Null, "{what}");
    if phase == Phase::MidStream {
        assert_eq!(response["usage"]["source"], "counted", "{what}");
        assert!(
            response["usage"]["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
            "{what}: {}",
            response["usage"]
        );
        let text = response["output"][0]["content"][0]["text"].as_str().unwrap();
        assert_eq!(text.len(), LONG, "{what}: the text so far is kept");
    } else {
        assert_eq!((&response["usage"], &response["output"]), (&Value::Null, &json!([])), "{what}");
    }
}

#[tokio::test]
async fn a_cancelled_chat_stream_ends_with_an_error_and_does_not_look_complete() {
    let test_server = TestServer::open().await;
    for frame in [TestFrame::Ndjson, TestFrame::Sse] {
        test_server.upstream.script(Script::new().role().content("Once").stall());
        let mut stream =
            test_server.stream(&question((TestApi::Chat, frame), MODEL, &json!({}))).await;
        let (status, _) = test_server.json(&cancel(&id_of(&stream))).await;
        assert_eq!(status, 200);
        let (mut events, end) = stream.collect().await.unwrap();
        let last = events.pop().unwrap().json().unwrap();
        assert_eq!(
            (end, last["error"]["code"].as_str()),
            (BodyEnd::Truncated, Some("response_cancelled"))
        );
        assert!(
            events
                .iter()
                .all(|event| event.json().unwrap()["choices"][0]["finish_reason"].is_null())
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_background_response_can_be_cancelled_and_a_finished_one_is_unchanged() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::no_head());
    let (_, begun) = test_server
        .json(&question(
            (TestApi::Responses, TestFrame::Json),
            MODEL,
            &json!({ "background": true }),
        ))
        .await;
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    let (_, cancelled) = test_server.json(&cancel(begun["id"].as_str().unwrap())).await;
    assert_eq!(cancelled["status"], "cancelled");
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();

    let (_, done) =
        test_server.json(&question((TestApi::Responses, TestFrame::Json), MODEL, &json!({}))).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(test_server.json(&cancel(done["id"].as_str().unwrap())).await, (200, done));
    test_server.quiet().await;
    test_server.close().await;
}

/// Resolves at the next heartbeat; an event before it is an error.
pub(crate) async fn heartbeat(stream: &mut Stream) {
    let before = stream.heartbeats();
    let beat = async {
        while stream.heartbeats() == before {
            tokio::select! {
                biased;
                event = stream.next() => panic!("no heartbeat, but {event:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    client::soon(beat).await.unwrap_or_else(|_late| panic!("no heartbeat"));
}

#[tokio::test]
async fn a_half_close_during_a_stream_is_not_leaving() {
    let test_server = TestServer::open().await;
    for (count, (words, frame)) in
        WAYS.into_iter().filter(|(_, frame)| *frame != TestFrame::Json).enumerate()
    {
        let gate = Arc::new(Notify::new());
        test_server.upstream.script(
            Script::new()
                .role()
                .content("Once")
                .wait_for(&gate)
                .content(" more")
                .finish("stop")
                .done()
                .end(),
        );
        let mut stream = test_server.stream(&stateless((words, frame), MODEL)).await;
        // What the client has received before the gate: up to the first piece.
        for _ in 0..if words == TestApi::Chat { 2 } else { 5 } {
            client::soon(stream.next()).await.unwrap().unwrap().unwrap();
        }
        stream.connection().half_close().await.unwrap();
        // The default heartbeat would come after 15 s.
        heartbeat(&mut stream).await;
        gate.notify_one();
        let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
        let rest: String =
            events.iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect();
        assert_eq!(end, BodyEnd::Clean, "{words:?} {frame:?}");
        assert!(
            rest.contains(" more")
                && (rest.contains("response.completed") || rest.contains("\"stop\"")),
            "{words:?} {frame:?}: {rest}"
        );
        assert_eq!(test_server.upstream.requests().len(), count + 1);
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// Requests JSON, half-closes once the upstream was called, and returns the connection.
async fn half_closed(test_server: &TestServer, request: &Request) -> Connection {
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(request).await.unwrap();
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    connection.half_close().await.unwrap();
    connection
}

#[tokio::test]
async fn a_fin_before_a_json_response_counts_as_leaving_by_default() {
    for words in [TestApi::Responses, TestApi::Chat] {
        let request = stateless((words, TestFrame::Json), MODEL);
        let test_server = TestServer::open().await;
        test_server.upstream.script(Script::no_head());
        let connection = half_closed(&test_server, &request).await;
        client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
        drop(connection);
        test_server.quiet().await;
        test_server.close().await;

        let mut plan = TestServerPlan::default();
        plan.server.fin_leaves_json = false;
        let test_server = TestServer::open_with(plan).await;
        let gate = Arc::new(Notify::new());
        test_server
            .upstream
            .script(Script::new().wait_for(&gate).content("whole").finish("stop").end());
        let connection = half_closed(&test_server, &request).await;
        gate.notify_one();
        let mut response = client::soon(connection.read_response(&request)).await.unwrap().unwrap();
        let (body, end) = response.collect().await.unwrap();
        assert_eq!((response.status, end), (200, BodyEnd::Clean));
        assert!(String::from_utf8_lossy(&body).contains("whole"));
        test_server.quiet().await;
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_stored_response_continues_after_its_readers_have_left() {
    let test_server = TestServer::open().await;
    for frame in [TestFrame::Json, TestFrame::Ndjson, TestFrame::Sse] {
        for leave in [Leave::Drop, Leave::Rst] {
            let gate = Arc::new(Notify::new());
            let asked = test_server.upstream.requests().len();
            test_server.upstream.script(
                Script::new()
                    .role()
                    .content("Once")
                    .wait_for(&gate)
                    .content(" more")
                    .finish("stop")
                    .done()
                    .end(),
            );
            let request = question((TestApi::Responses, frame), MODEL, &json!({}));
            let mut connection = Connection::open(test_server.address).await.unwrap();
            connection.write(&request).await.unwrap();
            client::soon(test_server.upstream.wait_requests(asked + 1)).await.unwrap();
            let mut id = None;
            if frame != TestFrame::Json {
                let response = connection.read_response(&request).await.unwrap();
                id = response.headers.get("weir-response-id").map(str::to_owned);
                connection = response.abandon();
            }
            leave.go(connection);
            // A stream notices with its heartbeat, which the closed socket answers with a reset.
            test_server.wait_connections(0).await;
            assert_eq!(test_server.engine.census().running, 1, "{frame:?} {leave:?}");
            gate.notify_one();
            test_server.quiet().await;
            if let Some(id) = id {
                let (_, response) = test_server.get(&format!("/v1/responses/{id}")).await;
                let text = &response["output"][0]["content"][0]["text"];
                assert_eq!(
                    (&response["status"], text),
                    (&json!("completed"), &json!("Once more")),
                    "{frame:?} {leave:?}"
                );
            }
        }
    }
    // No call was cancelled: all used one kept connection.
    assert!(test_server.upstream.requests().iter().all(|request| request.connection == 0));
    test_server.close().await;
}

#[tokio::test]
async fn a_second_reader_keeps_a_stateless_response_alive() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("Once")
            .wait_for(&gate)
            .content(" more")
            .finish("stop")
            .done()
            .end(),
    );
    let first = test_server.stream(&stateless((TestApi::Responses, TestFrame::Sse), MODEL)).await;
    let id = id_of(&first);
    let mut second =
        test_server.stream(&Request::get(&format!("/v1/responses/{id}?stream=true"))).await;
    first.abandon().reset().unwrap();
    test_server.wait_connections(1).await;
    gate.notify_one();
    let done = read_until(&mut second, "response.completed").await;
    assert_eq!(done["response"]["output"][0]["content"][0]["text"], "Once more");
    drop(second);
    test_server.quiet().await;
    assert_eq!(
        test_server.get(&format!("/v1/responses/{id}")).await.0,
        404,
        "it was not to be kept"
    );
    test_server.close().await;
}

#[tokio::test]
async fn leaving_is_handled_as_configured() {
    let mut plan = TestServerPlan::default();
    plan.engine.on_leave_stored = OnLeave::Cancel;
    plan.engine.on_leave_stateless = OnLeave::Finish;
    let test_server = TestServer::open_with(plan).await;
    test_server.upstream.script(Script::no_head());
    let stream = test_server
        .stream(
            &question((TestApi::Responses, TestFrame::Sse), MODEL, &json!({}))
                .header("prefer", "wait=0"),
        )
        .await;
    let id = id_of(&stream);
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    stream.abandon().reset().unwrap();
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    test_server.quiet().await;
    let (_, response) = test_server.get(&format!("/v1/responses/{id}")).await;
    assert_eq!(
        (&response["status"], &response["incomplete_details"]["reason"]),
        (&json!("cancelled"), &json!("client_left"))
    );

    let gate = Arc::new(Notify::new());
    test_server
        .upstream
        .script(Script::new().wait_for(&gate).content("whole").finish("stop").end());
    let stream = test_server
        .stream(&stateless((TestApi::Responses, TestFrame::Sse), MODEL).header("prefer", "wait=0"))
        .await;
    client::soon(test_server.upstream.wait_requests(2)).await.unwrap();
    stream.abandon().reset().unwrap();
    test_server.wait_connections(0).await;
    assert_eq!(test_server.engine.census().running, 1);
    gate.notify_one();
    test_server.quiet().await;
    // The upstream's response was read to its end: its connection serves the next request.
    test_server.upstream.script(Script::text(&["next"]));
    test_server.json(&question((TestApi::Responses, TestFrame::Json), MODEL, &json!({}))).await;
    let requests = test_server.upstream.requests();
    assert_eq!(requests[1].connection, requests[2].connection);
    test_server.quiet().await;
    test_server.close().await;
}
