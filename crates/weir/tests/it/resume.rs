//! A response that is cut off anywhere resumes anywhere: the same bytes, none missing, none repeated (promise 2).

use std::sync::Arc;

use crate::test_server::TestFrame;
use client::soon;
use client::{BodyEnd, Request, Stream};
use fakes::Script;
use fakes::{Cut, FaultProxy};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::test_server::{MODEL, TestServer, ask};

/// The frames in which a response can be cut off.
pub(crate) const FRAMES: [TestFrame; 2] = [TestFrame::Sse, TestFrame::Ndjson];

/// The number of events of the rich response once its first `n` gates are open: reasoning, text and a tool call.
pub(crate) const EVENTS_BEHIND_GATES: [usize; 12] = [2, 5, 6, 7, 13, 14, 15, 19, 20, 21, 22, 25];

/// The request with the frame of its stream.
pub(crate) fn accept(request: Request, frame: TestFrame) -> Request {
    request.header("accept", frame.media_type())
}

/// Resumes a stream.
pub(crate) fn resume(id: &str, after: Option<u64>, frame: TestFrame) -> Request {
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    accept(Request::get(&format!("/v1/responses/{id}?stream=true{after}")), frame)
}

/// All events after a position, to the end of the response.
pub(crate) async fn tail(
    test_server: &TestServer,
    id: &str,
    after: Option<u64>,
    frame: TestFrame,
) -> Vec<String> {
    let mut stream = test_server.stream(&resume(id, after, frame)).await;
    rest(&mut stream, frame).await
}

/// The data of all remaining events; checks that the body ends cleanly.
pub(crate) async fn rest(stream: &mut Stream, frame: TestFrame) -> Vec<String> {
    let (data, end) = soon(stream.collect_data()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let mut data: Vec<String> =
        data.iter().map(|data| String::from_utf8(data.to_vec()).unwrap()).collect();
    if frame == TestFrame::Sse {
        assert_eq!(data.pop().as_deref(), Some("[DONE]"));
    }
    data
}

/// The data of the next `count` events.
pub(crate) async fn take(stream: &mut Stream, count: usize) -> Vec<String> {
    let mut data = Vec::new();
    while data.len() < count {
        let event = soon(stream.next()).await.unwrap().unwrap().unwrap();
        data.push(String::from_utf8(event.data.to_vec()).unwrap());
    }
    data
}

/// The id in a response's first event.
pub(crate) fn id_of(created: &str) -> String {
    let created: Value = serde_json::from_str(created).unwrap();
    created["response"]["id"].as_str().unwrap().to_owned()
}

/// A script that waits at a gate before each chunk, and a matching request.
pub(crate) struct GatedScript {
    pub(crate) script: Script,
    pub(crate) gates: Vec<Arc<Notify>>,
}

impl GatedScript {
    /// Reasoning, text and a tool call.
    pub(crate) fn rich() -> Self {
        let call = |piece: &Value| json!({ "tool_calls": [piece] });
        let named = json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "" } });
        let arguments =
            |text: &str| call(&json!({ "index": 0, "function": { "arguments": text } }));
        let deltas = [
            json!({ "reasoning_content": "Let " }),
            json!({ "reasoning_content": "me " }),
            json!({ "reasoning_content": "think…" }),
            json!({ "content": "你好" }),
            json!({ "content": " \"there\"\n" }),
            json!({ "content": "👋" }),
            call(&named),
            arguments("{\"ci"),
            arguments("ty\":\"W"),
            arguments("ien\"}"),
        ];
        let mut gated = Self { script: Script::new().role(), gates: Vec::new() };
        for delta in &deltas {
            gated = gated.gate();
            gated.script = gated.script.delta(delta);
        }
        gated = gated.gate();
        gated.script = gated.script.finish("tool_calls").usage(9, 9, 3).done();
        gated
    }

    fn gate(mut self) -> Self {
        let gate = Arc::new(Notify::new());
        self.script = self.script.wait_for(&gate);
        self.gates.push(gate);
        self
    }

    /// Opens the gates from one to another.
    pub(crate) fn open(&self, gates: std::ops::Range<usize>) {
        self.gates[gates].iter().for_each(|gate| gate.notify_one());
    }

    pub(crate) fn open_all(&self) {
        self.open(0..self.gates.len());
    }
}

/// A request for the rich response.
pub(crate) fn ask_rich() -> Value {
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    json!({ "model": MODEL, "input": "How is the weather?", "stream": true, "tools": [tool] })
}

/// Runs the rich response to its end; returns its id and the data of its events.
pub(crate) async fn rich_answer(test_server: &TestServer) -> (String, Vec<String>) {
    let gated = GatedScript::rich();
    gated.open_all();
    test_server.upstream.script(gated.script);
    let data = rest(
        &mut test_server.stream(&Request::post("/v1/responses", &ask_rich())).await,
        TestFrame::Sse,
    )
    .await;
    assert_eq!(data.len(), EVENTS_BEHIND_GATES[gated.gates.len()]);
    (id_of(&data[0]), data)
}

#[tokio::test]
async fn a_finished_response_can_be_resumed_at_every_event() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    for (first, second) in pairs() {
        for cut in 0..whole.len() {
            let mut stream = test_server.stream(&resume(&id, None, first)).await;
            let before = take(&mut stream, cut + 1).await;
            stream.abandon().reset().unwrap();
            let after = tail(&test_server, &id, Some(cut as u64), second).await;
            assert_eq!(
                [before, after].concat(),
                whole,
                "{first:?} cut after {cut}, then {second:?}"
            );
        }
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_running_response_can_be_resumed_at_every_event() {
    let test_server = TestServer::open().await;
    for (first, second) in pairs() {
        for cut in 0..*EVENTS_BEHIND_GATES.last().unwrap() {
            let gated = GatedScript::rich();
            test_server.upstream.script(gated.script.clone());
            // Only as many gates as the event needs: the response is still running at the cut, unless the event is
            // its end.
            let opened = EVENTS_BEHIND_GATES.iter().position(|events| cut < *events).unwrap();
            gated.open(0..opened);
            let mut stream = test_server
                .stream(&accept(Request::post("/v1/responses", &ask_rich()), first))
                .await;
            let before = take(&mut stream, cut + 1).await;
            stream.abandon().reset().unwrap();
            let id = id_of(&before[0]);
            let mut stream = test_server.stream(&resume(&id, Some(cut as u64), second)).await;
            let ready = take(&mut stream, EVENTS_BEHIND_GATES[opened] - cut - 1).await;
            gated.open(opened..gated.gates.len());
            let after = rest(&mut stream, second).await;
            let whole = tail(&test_server, &id, None, first).await;
            assert_eq!(
                [before, ready, after].concat(),
                whole,
                "{first:?} cut after {cut}, then {second:?}"
            );
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_response_can_be_resumed_after_a_cut_inside_an_event() {
    let test_server = TestServer::open().await;
    let proxy = FaultProxy::start(test_server.address).await.unwrap();
    let (mut bytes, mut cuts) = (700, 0);
    loop {
        let (gated, frame) = (GatedScript::rich(), FRAMES[cuts % 2]);
        gated.open_all();
        test_server.upstream.script(gated.script);
        proxy.cut_after_bytes(bytes, Cut::Rst);
        let request = accept(Request::post("/v1/responses", &ask_rich()), frame);
        let response = soon(client::send(proxy.address(), &request)).await.unwrap().unwrap();
        let id = response.headers.get("weir-response-id").unwrap().to_owned();
        let (seen, end) = soon(response.events().unwrap().collect_data()).await.unwrap().unwrap();
        if end == BodyEnd::Clean {
            break;
        }
        let before: Vec<String> =
            seen.iter().map(|data| String::from_utf8(data.to_vec()).unwrap()).collect();
        // The client may have received `[DONE]` but not the last chunk.
        let before: Vec<String> = before.into_iter().filter(|data| data != "[DONE]").collect();
        let after = (before.len() as u64).checked_sub(1);
        let rest = tail(&test_server, &id, after, FRAMES[(cuts + 1) % 2]).await;
        assert_eq!(
            [before, rest].concat(),
            tail(&test_server, &id, None, frame).await,
            "{frame:?} cut after {bytes} bytes"
        );
        // A prime, so that the cuts fall everywhere in events.
        bytes += 151;
        cuts += 1;
    }
    assert!(cuts > 20, "{cuts} cuts are too few to say anything");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn nothing_follows_the_last_position() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    for frame in FRAMES {
        assert!(
            tail(&test_server, &id, Some(whole.len() as u64 - 1), frame).await.is_empty(),
            "{frame:?}"
        );
    }
    test_server.close().await;
}

#[tokio::test]
async fn invalid_positions_are_rejected_by_name() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    let running = GatedScript::rich();
    test_server.upstream.script(running.script.clone());
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask_rich())).await;
    let running_id = id_of(&take(&mut stream, 2).await[0]);
    let beyond = whole.len().to_string();
    let refused = [
        (&id, beyond.as_str(), "position_out_of_range"),
        (&id, "18446744073709551615", "position_out_of_range"),
        (&running_id, "2", "position_out_of_range"),
        (&id, "18446744073709551616", "invalid_value"),
        (&id, "-1", "invalid_value"),
        (&id, "1.5", "invalid_value"),
        (&id, "x", "invalid_value"),
        (&id, "", "invalid_value"),
    ];
    for (id, after, code) in refused {
        let (status, body) = test_server
            .get(&format!("/v1/responses/{id}?stream=true&starting_after={after}"))
            .await;
        let error = &body["error"];
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (400, &json!(code), &json!("starting_after")),
            "{after}: {body}"
        );
    }
    let (status, body) =
        test_server.get(&format!("/v1/responses/{id}?stream=false&starting_after=3")).await;
    assert_eq!(
        (status, &body["error"]["param"]),
        (400, &json!("starting_after")),
        "a position without a stream"
    );
    let (status, body) = test_server.get(&format!("/v1/responses/{id}?stream=maybe")).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("stream")));
    running.open_all();
    rest(&mut stream, TestFrame::Sse).await;
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn two_devices_read_the_same_bytes_at_the_same_time() {
    let test_server = TestServer::open().await;
    let gated = GatedScript::rich();
    test_server.upstream.script(gated.script.clone());
    let mut first = test_server.stream(&Request::post("/v1/responses", &ask_rich())).await;
    let start = take(&mut first, 2).await;
    let id = id_of(&start[0]);
    let mut second = test_server.stream(&resume(&id, None, TestFrame::Ndjson)).await;
    let mut third = test_server.stream(&resume(&id, Some(0), TestFrame::Sse)).await;
    let mut heard = [
        start.clone(),
        take(&mut second, 2).await,
        [&start[..1], &take(&mut third, 1).await].concat(),
    ];
    for (gate, counts) in EVENTS_BEHIND_GATES.windows(2).enumerate() {
        gated.open(gate..gate + 1);
        for (heard, stream) in heard.iter_mut().zip([&mut first, &mut second, &mut third]) {
            heard.extend(take(stream, counts[1] - counts[0]).await);
        }
    }
    assert!(rest(&mut first, TestFrame::Sse).await.is_empty());
    assert!(rest(&mut second, TestFrame::Ndjson).await.is_empty());
    assert!(rest(&mut third, TestFrame::Sse).await.is_empty());
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0], heard[2]);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_running_response_shows_its_partial_output() {
    let test_server = TestServer::open().await;
    let gated = GatedScript::rich();
    test_server.upstream.script(gated.script.clone());
    gated.open(0..9);
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask_rich())).await;
    let id = id_of(&take(&mut stream, EVENTS_BEHIND_GATES[9]).await[0]);
    let (status, response) = test_server.get(&format!("/v1/responses/{id}")).await;
    assert_eq!(
        (status, &response["status"], &response["usage"]),
        (200, &json!("in_progress"), &Value::Null)
    );
    let output = &response["output"];
    assert_eq!(output[0]["content"][0]["text"], "Let me think…");
    assert_eq!(
        (&output[1]["content"][0]["text"], &output[1]["status"]),
        (&json!("你好 \"there\"\n👋"), &json!("completed"))
    );
    assert_eq!(
        (&output[2]["arguments"], &output[2]["status"]),
        (&json!("{\"city\":\"W"), &json!("in_progress"))
    );
    gated.open(9..11);
    rest(&mut stream, TestFrame::Sse).await;
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_background_response_returns_at_once_and_can_be_polled() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().wait_for(&gate).content("Here.").finish("stop").usage(9, 1, 0).done(),
    );
    let (status, response) = test_server
        .post("/v1/responses", &json!({ "model": MODEL, "input": "hi", "background": true }))
        .await;
    assert_eq!(
        (status, &response["background"], &response["output"]),
        (200, &json!(true), &json!([]))
    );
    assert!(
        ["queued", "in_progress"].contains(&response["status"].as_str().unwrap()),
        "{response}"
    );
    let path = format!("/v1/responses/{}", response["id"].as_str().unwrap());
    assert_eq!(test_server.get(&path).await.1["status"], "in_progress");
    gate.notify_one();
    let polled = soon(async {
        loop {
            let (_, response) = test_server.get(&path).await;
            if response["status"] != "in_progress" {
                return response;
            }
        }
    });
    let response = polled.await.unwrap();
    assert_eq!(
        (&response["status"], &response["output"][0]["content"][0]["text"]),
        (&json!("completed"), &json!("Here."))
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_background_stream_starts_queued_and_continues_without_its_reader() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("He")
            .wait_for(&gate)
            .content("re.")
            .finish("stop")
            .usage(9, 2, 0)
            .done(),
    );
    let mut request = ask("hi");
    request["background"] = true.into();
    let mut stream = test_server.stream(&Request::post("/v1/responses", &request)).await;
    let before = take(&mut stream, 4).await;
    let kinds: Vec<Value> = before
        .iter()
        .map(|data| serde_json::from_str::<Value>(data).unwrap()["type"].clone())
        .collect();
    assert_eq!(kinds[..3], ["response.created", "response.queued", "response.in_progress"]);
    stream.abandon().reset().unwrap();
    gate.notify_one();
    let id = id_of(&before[0]);
    let after = tail(&test_server, &id, Some(3), TestFrame::Ndjson).await;
    assert!(after.last().unwrap().contains("\"response.completed\""));
    assert_eq!([before, after].concat(), tail(&test_server, &id, None, TestFrame::Sse).await);
    test_server.quiet().await;
    test_server.close().await;
}

/// Every combination of a first frame and a second one.
fn pairs() -> impl Iterator<Item = (TestFrame, TestFrame)> {
    FRAMES.into_iter().flat_map(|first| FRAMES.into_iter().map(move |second| (first, second)))
}
