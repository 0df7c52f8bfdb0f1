//! One table of scenarios, run in every frame and dialect: what the upstream sends, and what each client must
//! receive.

use crate::test_server::TestFrame;
use client::{BodyEnd, Request, StreamEvent};
use serde_json::{Value, json};

use self::content::ResponseContent;
use self::table::{ExpectedOutcome, Scenario, table};
use crate::resume::{accept, tail};
use crate::test_server::{MODEL, TestServer};

pub(crate) mod content;
pub(crate) mod table;

mod asked;
pub(crate) mod chat;
mod resource;
pub(crate) mod responses;

#[tokio::test]
async fn responses_as_json() {
    run(|test_server, scenario| async move {
        let (status, response) = test_server.post("/v1/responses", &responses_request(false)).await;
        if let ExpectedOutcome::Fails { status: expected, code, .. } = scenario.outcome {
            return check_refusal(&scenario.name, status, &response, (expected, code));
        }
        assert_eq!(status, 200, "{}: {response}", scenario.name);
        responses::check_end(&scenario, &response);
    })
    .await;
}

#[tokio::test]
async fn responses_as_ndjson() {
    run(|test_server, scenario| {
        responses_streamed(test_server, scenario, TestFrame::Ndjson, TestFrame::Sse)
    })
    .await;
}

#[tokio::test]
async fn responses_as_sse() {
    run(|test_server, scenario| {
        responses_streamed(test_server, scenario, TestFrame::Sse, TestFrame::Ndjson)
    })
    .await;
}

#[tokio::test]
async fn chat_completions_as_json() {
    run(|test_server, scenario| async move {
        let (status, completion) =
            test_server.post("/v1/chat/completions", &chat_request(&json!({}))).await;
        if let ExpectedOutcome::Fails { status: expected, code, .. } = scenario.outcome {
            return check_refusal(&scenario.name, status, &completion, (expected, code));
        }
        assert_eq!(status, 200, "{}: {completion}", scenario.name);
        chat::check_end(&scenario, &chat::read_completion(&scenario.name, &completion));
    })
    .await;
}

#[tokio::test]
async fn chat_completions_as_ndjson() {
    run(|test_server, scenario| chat_streamed(test_server, scenario, TestFrame::Ndjson)).await;
}

#[tokio::test]
async fn chat_completions_as_sse() {
    run(|test_server, scenario| chat_streamed(test_server, scenario, TestFrame::Sse)).await;
}

/// Runs every scenario once, one after another, on one server.
async fn run<F: Future<Output = ()>>(check: impl Fn(std::rc::Rc<TestServer>, Scenario) -> F) {
    let test_server = std::rc::Rc::new(TestServer::open().await);
    for scenario in table() {
        test_server.upstream.default_script(scenario.script.clone());
        check(std::rc::Rc::clone(&test_server), scenario).await;
    }
    test_server.quiet().await;
    std::rc::Rc::into_inner(test_server).unwrap().close().await;
}

/// A streamed response: the stream, the stored response, and a replay in another frame have the same content.
async fn responses_streamed(
    test_server: std::rc::Rc<TestServer>,
    scenario: Scenario,
    frame: TestFrame,
    other: TestFrame,
) {
    // Errors in band in any case; other tests check early failures reported by the status.
    let request = accept(Request::post("/v1/responses", &responses_request(true)), frame)
        .header("prefer", "wait=0");
    let (events, end) = test_server.stream(&request).await.collect().await.unwrap();
    assert_eq!(end, BodyEnd::Clean, "{}", scenario.name);
    let data: Vec<String> =
        data(&scenario.name, (frame, end), &events, |event| event["type"].as_str());
    let terminal = responses::check_stream(&scenario, &data);
    let id = terminal["id"].as_str().unwrap();
    let (status, stored) = test_server.get(&format!("/v1/responses/{id}")).await;
    assert_eq!(status, 200, "{}", scenario.name);
    assert!(stored == terminal, "{}: what is stored is not what was streamed", scenario.name);
    assert!(
        tail(&test_server, id, None, other).await == data,
        "{}: the replay differs",
        scenario.name
    );
}

/// A streamed chat completion, with and without the usage chunk.
async fn chat_streamed(test_server: std::rc::Rc<TestServer>, scenario: Scenario, frame: TestFrame) {
    for include_usage in [true, false] {
        let options =
            json!({ "stream": true, "stream_options": { "include_usage": include_usage } });
        let request = accept(Request::post("/v1/chat/completions", &chat_request(&options)), frame);
        if let ExpectedOutcome::Fails { status, code, after_output: false } = scenario.outcome {
            let (found, body) = test_server.json(&request).await;
            check_refusal(&scenario.name, found, &body, (status, code));
            continue;
        }
        let (events, end) = test_server.stream(&request).await.collect().await.unwrap();
        assert_eq!(end, chat::body_end(&scenario), "{}", scenario.name);
        let data = data(&scenario.name, (frame, end), &events, |_chunk| None);
        chat::check_end(&scenario, &chat::read_stream(&scenario, &data, include_usage));
    }
}

/// The data of a stream without the final `[DONE]`, which only SSE has and only with a clean end; checks the frame's
/// other contents.
pub(crate) fn data(
    scenario: &str,
    (frame, end): (TestFrame, BodyEnd),
    events: &[StreamEvent],
    name: impl Fn(&Value) -> Option<&str>,
) -> Vec<String> {
    let mut data: Vec<String> =
        events.iter().map(|event| String::from_utf8(event.data.to_vec()).unwrap()).collect();
    if (frame, end) == (TestFrame::Sse, BodyEnd::Clean) {
        assert_eq!(data.pop().as_deref(), Some("[DONE]"), "{scenario}");
    }
    assert!(!data.iter().any(|data| data == "[DONE]"), "{scenario}: [DONE] before the end");
    for (event, data) in events.iter().zip(&data) {
        assert_eq!((event.id.as_ref(), event.retry), (None, None), "{scenario}");
        let value: Value = serde_json::from_str(data).unwrap();
        let expected = if frame == TestFrame::Sse { name(&value) } else { None };
        assert_eq!(event.name.as_deref(), expected, "{scenario}");
    }
    data
}

pub(crate) fn check_refusal(scenario: &str, status: u16, body: &Value, expected: (u16, &str)) {
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (expected.0, Some(expected.1)),
        "{scenario}: {body}"
    );
    assert!(
        ["message", "type", "code", "param"].iter().all(|key| body["error"].get(key).is_some()),
        "{scenario}: {body}"
    );
}

pub(crate) fn responses_request(stream: bool) -> Value {
    let tool = |name: &str| json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": {} } });
    json!({ "model": MODEL, "input": "How is the weather?", "stream": stream, "tools": [tool("weather"), tool("time")] })
}

fn chat_request(more: &Value) -> Value {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object", "properties": {} } } });
    let mut request = json!({
        "model": MODEL, "messages": [{ "role": "user", "content": "How is the weather?" }], "tools": [tool("weather"), tool("time")],
    });
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}
